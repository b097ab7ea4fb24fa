"""`evcharge ask`, run as people run it."""

import json
import re
import shlex
import socket
import subprocess
import sys
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from evcharge.commands.ask import TYPES
from evcharge.testing import MemoryServer
from tests.support.certificates import make_certificate, tls_options
from tests.support.ports import free_port
from tests.support.scripted import (
    COMMAND,
    ROOT,
    command,
    environment,
    reply,
    says,
    scripted,
    silence,
)
from tests.support.servers import ServerTestCase
from tests.support.transcripts import Ids, commands

ANA = ("LOGIN", "user_name=Ana", "selected_car=Tesla Model 3", "battery_car=40")
HEAVY = ("twisted", "sqlalchemy", "alembic", "OpenSSL", "cryptography", "msgspec", "tqdm")


class ReplyTests(ServerTestCase):
    """Replies of a real server."""

    def setUp(self) -> None:
        self.server = self.start(Path(self.mktemp()), "--language", "en").wait()

    def ask(self, *words: str, **more: str) -> subprocess.CompletedProcess:
        return command("ask", "--port", str(self.server.port), *words, **more)

    def test_journey(self) -> None:
        """A driver's journey: each reply can be read, and has what the next request needs."""
        done = self.ask(*ANA)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        first, second, third, fourth = done.stdout.splitlines()
        self.assertEqual(first, "200 Success")
        user = re.fullmatch(r"user_id         (\S{36})", second)[1]
        self.assertEqual(third, "target_percent  80.0")
        self.assertEqual(fourth, f"driver_id       {user}")
        done = self.ask("navigation", f"user_id={user}", "route_distance=180")
        self.assertEqual(
            done.stdout,
            "200 Success\n"
            "The trip is beyond the present range: a range of 130.7 km, a trip of 180 km\n"
            "can_complete     false\n"
            "autonomy         130.718954248366\n"
            "arrival_percent  -\n"
            "margin_km        -49.281046\n",
        )
        place = 'position={"latitude": -12.2664, "longitude": -38.9663}'
        done = self.ask("SELECTION_STATION", f"user_id={user}", place, "criterion=distance")
        lines = done.stdout.splitlines()
        self.assertEqual(lines[3:5], ["id_station        9", "price_loading     39.29"])
        self.assertEqual(
            lines[19:23],
            [
                "",
                "alternatives:",
                "  id_       price_  distance_   travel_    wait_     charge_   arrival_  target_",
                "  station  loading         km   minutes  minutes     minutes    percent  percent",
            ],
        )
        self.assertEqual(len(lines), 28)
        done = self.ask("PAYMENT", f"user_id={user}", "id_station=9", "confirmation=true")
        self.assertIn("\nreceipt_id           ", done.stdout)
        done = self.ask("PAYMENT", f"user_id={user}", "id_station=9", "confirmation=false")
        self.assertIn("200 Success\nJourney ended\n", done.stdout)

    def test_plan(self) -> None:
        """What an object has inside is told by itself: of a plan the figures, then the stops."""
        found = re.search(r"user_id +(\S+)", self.ask(*ANA).stdout)
        assert found is not None
        places = [
            {"latitude": -12.2664, "longitude": -38.9663},
            {"latitude": -12.9714, "longitude": -38.5014},
        ]
        done = self.ask("PLAN", f"user_id={found[1]}", f"places={json.dumps(places)}")
        lines = done.stdout.splitlines()
        self.assertEqual(lines[:2], ["200 Success", "A trip with 1 stop to charge"])
        self.assertRegex(done.stdout, r"\nplan\.total_minutes +98\.4468")
        stops = lines[lines.index("plan.stops:") :]
        self.assertIn("35", stops[3].split())
        self.assertRegex(stops[-1], r"^  \(not shown: .*depart_percent.*; see --json\)$")

    def test_values(self) -> None:
        """What is JSON is sent as JSON, all else as text; options may stand anywhere."""
        fields = ["n=40", "t=true", "z=null", "o={\"a\": [1.5]}", "q=\"40\"", "m=-", "e=", "d=-1.5",
                  "x=a=b", "nan=NaN", "far=1e999", "zeros=007", "half={", "name=Zoé"]  # fmt: skip
        sent: list[bytes] = []

        def serve(connection: socket.socket) -> None:
            sent.append(connection.recv(65536))
            connection.sendall(reply())

        port = scripted(self, serve)
        done = command("ask", "dance", *fields[:3], "--port", str(port), *fields[3:])
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        request = json.loads(sent[0])
        self.assertEqual(request["type"], "DANCE")
        self.assertEqual(
            request["data"],
            {"n": 40, "t": True, "z": None, "o": {"a": [1.5]}, "q": "40", "m": "-", "e": "",
             "d": -1.5, "x": "a=b", "nan": "NaN", "far": "1e999", "zeros": "007", "half": "{",
             "name": "Zoé"},
        )  # fmt: skip

    def test_refused(self) -> None:
        """What the server refuses is told with status 1: what is wrong, and what there is."""
        done = self.ask("DANCE")
        self.assertEqual(done.returncode, 1)
        self.assertEqual(
            done.stdout,
            f"404 Unknown action\nreason  unknown_type\ntypes   {TYPES}\n",
        )
        done = self.ask("LOGIN", "user_name=123", "selected_car=Tesla", "battery_car=40")
        self.assertEqual(done.returncode, 1)
        self.assertEqual(
            done.stdout,
            "400 Invalid field: selected_car must be one of the models of car_models; "
            "similar: Tesla Model 3, Tesla Model 3 Long Range, Tesla Model Y Long Range\n"
            "user_id  -\n"
            "reason   invalid_field\n",
        )

    def test_comma(self) -> None:
        """A decimal comma in the field that is wrong: the last line is what to write."""
        done = self.ask(*ANA[:3], "battery_car=40,5")
        self.assertIn("400 Invalid field: battery_car must be a number from 0 to 100", done.stdout)
        self.assertEqual(done.stderr, "evcharge: battery_car=40,5; write a point: 40.5\n")
        done = self.ask(*ANA[:3], "battery_car=400", "note=40,5")
        self.assertEqual((done.returncode, done.stderr), (1, ""))
        done = self.ask("LOGIN", "user_name=40,5", *ANA[2:])
        self.assertEqual((done.returncode, done.stderr), (0, ""))

    def test_json(self) -> None:
        """With --json the reply is there as it came, and the status is the same."""
        done = self.ask("START", "limit=1", "--json")
        self.assertEqual(done.returncode, 0)
        self.assertTrue(done.stdout.startswith('{"type":"START","data":{"car_models":{"Tesla'))
        self.assertEqual(done.stdout.count("\n"), 1)
        self.assertEqual(len(json.loads(done.stdout)["data"]["station_models"]), 1)
        done = self.ask("--json", "DANCE")
        self.assertEqual((done.returncode, json.loads(done.stdout)["type"]), (1, "DANCE"))

    def test_narrow(self) -> None:
        """START's tables fit the terminal: figures first; what is left out is named."""
        for columns, in_table, left_out in (
            (
                "80",
                "Boulevard Shoppi…",
                "(not shown: address, connectors, evse_groups, tariff, price_known, queue_length; "
                "see --json)",
            ),
            ("200", "Boulevard Shopping  ", "(not shown: evse_groups; see --json)"),
            (
                "30",
                "Boulevard ",
                "connectors, evse_groups, tariff, price_known, queue_length; see --json)",
            ),
        ):
            done = self.ask("START", COLUMNS=columns)
            self.assertIn(in_table, done.stdout)
            self.assertIn(left_out, done.stdout)
            tables = [line for line in done.stdout.splitlines() if not line.startswith("  (not")]
            self.assertLessEqual(max(map(len, tables)), int(columns))
            # Each of its stations and cars, the heads, and what stands around the tables.
            self.assertGreaterEqual(len(tables), 36 + 24 + 2 + 5)

    def test_reader_leaves(self) -> None:
        """Whoever has read enough of it may leave, and nobody complains."""
        line = shlex.join([*COMMAND, "ask", "--port", str(self.server.port), "START"])
        done = subprocess.run(
            ["sh", "-c", f"{line} | head -n 1"], capture_output=True, text=True, env=environment()
        )
        self.assertEqual((done.stdout, done.stderr), ("200 Success\n", ""))

    def test_tls(self) -> None:
        """TLS is spoken to a server that one trusts; else it is said what to do."""
        certificate, key = make_certificate(Path(self.mktemp()).absolute())
        server = self.start(Path(self.mktemp()), *tls_options(certificate, key)).wait()
        ca, port = ("--ca", str(certificate)), str(server.tls_port)
        done = command("ask", "START", "--host", "localhost", "--port", port, *ca)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        for options, *words in (
            (("--host", "localhost", "--tls"), "not accepted: self", "--ca"),
            (ca, "not accepted: ", "IP address mismatch", "--host"),
            ((*ca, "--port", str(server.port)), "TLS could not be agreed on", "leave out --tls"),
        ):
            done = command("ask", "START", "--port", port, *options)
            self.assertEqual((done.returncode, done.stdout), (3, ""))
            for word in words:
                self.assertIn(word, done.stderr)


class EndTests(SynchronousTestCase):
    """Commands to which no reply comes, or that are used wrongly."""

    def check(self, status: int, said: str, *words: str) -> None:
        """The command ends with this status, and the last line that it says has `said`."""
        done = command("ask", *words)
        self.assertEqual((done.returncode, done.stdout), (status, ""), done.stderr)
        self.assertNotIn("Traceback", done.stderr)
        self.assertIn(said, done.stderr.splitlines()[-1])

    def test_no_reply(self) -> None:
        """Status 3, and what to try next: nobody there, no such name, silence, no evcharge."""
        port = free_port()
        self.check(
            3, f"evcharge: no server at 127.0.0.1:{port}: start one with: make run",
            "START", "--port", str(port),
        )  # fmt: skip
        self.check(
            3, f"evcharge: nenhum servidor em 127.0.0.1:{port}: inicie um com: make run",
            "START", "--port", str(port), "--language", "pt",
        )  # fmt: skip
        self.check(3, "check its address (--host)".capitalize(), "START", "--host", "127.0.0.2",
                   "--port", str(port))  # fmt: skip
        self.check(3, "the name is not known: check --host", "START", "--host", "nobody.invalid")
        for serve, said in (
            (silence, "no reply within 0.2 s: "),
            (lambda connection: connection.recv(65536), "closed without a reply: "),
            (says(b"HTTP/1.1 400 Bad Request\r\n"), "no evcharge server: check --port"),
        ):
            port = scripted(self, serve)
            self.check(3, said, "START", "--port", str(port), "--timeout", "0.2")

    def test_usage(self) -> None:
        """Status 2, and what is wrong with which argument."""
        nothing = Path(self.mktemp()).absolute()
        nothing.write_text("")
        for said, *words in (
            ("TYPE", "--json"),
            ("battery_car=40, not 'battery_car'", "LOGIN", "battery_car"),
            ("battery_car=40, not '=40'", "LOGIN", "=40"),
            ("user_name is given twice", "LOGIN", "user_name=A", "--json", "user_name=B"),
            ("--jsom", "LOGIN", "--jsom"),
            ("1 to 65535, not '0'", "START", "--port", "0"),
            ("1 to 65535, not '70000'", "START", "--port", "70000"),
            ("not 'nan'", "START", "--timeout", "nan"),
            ("No such file", "START", "--ca", f"{nothing}.pem"),
            ("no certificates", "START", "--ca", str(nothing)),
            ("must be UTF-8", "START", "user_name=\udcff"),
        ):
            self.check(2, said, *words)

    def test_not_this_machines_letters(self) -> None:
        """Letters that the terminal does not have are no reason to say nothing."""
        port = scripted(self, says(reply(1, "LOGIN", message="Olá…\x1b[2J")))
        done = command(
            "ask", "START", "--port", str(port), PYTHONUTF8="0", PYTHONIOENCODING="ascii"
        )
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.assertIn("200 Sucesso\nOl???[2J\n", done.stdout)


class PageTests(ServerTestCase):
    """The page about all this."""

    def test_transcripts(self) -> None:
        """The commands on the page say what it says that they do."""
        server = self.start(Path(self.mktemp()), "--time-scale=60").wait()
        ids = Ids()
        found = commands(ROOT / "docs" / "ask.md")
        self.assertEqual(len(found), 6)
        for line, shown in found:
            line = ids.real(line)
            name, kind, *more = shlex.split(line)
            self.assertEqual(name, "evcharge")
            done = command(kind, f"--port={server.port}", *more, answers="\n" * 9)
            said = done.stdout.replace(f" --port {server.port}", "")
            if kind == "drive":
                # What is done at a station takes its time, and is at another one each time.
                choice = "What would you like to do?"
                (said, at, _), (shown, _, _) = said.partition(choice), shown.partition(choice)
                self.assertTrue(at)
            ids.check(self, re.sub(" +$", "", said, flags=re.M), shown)

    def test_example(self) -> None:
        """The program on the page gets a slot, and gives it back."""
        server = self.start(Path(self.mktemp())).wait()
        done = subprocess.run(
            [sys.executable, ROOT / "docs" / "examples" / "journey.py", str(server.port)],
            capture_output=True, text=True, env=environment(), timeout=60,
        )  # fmt: skip
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        first, second, third, last = done.stdout.splitlines()
        self.assertIn("Posto indicado: Centro de Abastecimento", first)
        self.assertIn("vaga reservada no posto 9", second)
        self.assertRegex(third, r"^CHARGING: 40\.\d+ % after 0\.\d+ kWh$")
        self.assertIn("Recarga encerrada", last)


class HelpTests(SynchronousTestCase):
    """The console script as a whole."""

    def test_types(self) -> None:
        """The help names the types that there are."""
        (unknown,) = MemoryServer().send(b'{"type":"?","data":{},"status":{},"timestamp":""}\n')
        self.assertEqual(TYPES.split(", "), unknown["data"]["types"])
        self.assertIn("SELECTION_STATION", command("ask", "--help").stdout)

    def test_commands(self) -> None:
        """Every command is in the list, and one that there is not is told so."""
        done = command("--help")
        for name in ("ask", "drive", "bootstrap", "migrate", "export"):
            self.assertRegex(done.stdout, rf"(?m)^  {name}\s+\w")
        done = command("dance")
        self.assertEqual(done.returncode, 2)
        self.assertIn("no such command: dance (", done.stderr)

    def test_light(self) -> None:
        """Commands that only ask start at once: nothing of the server's is imported."""
        port = str(free_port())
        for words in (("ask", "START", "--port", port), ("drive", "--port", port)):
            done = command(*words, PYTHONPROFILEIMPORTTIME="1")
            self.assertEqual(done.returncode, 3)
            imported = set(re.findall(r"\| +([\w.]+)$", done.stderr, re.M))
            self.assertIn("evcharge.client", imported)
            self.assertFalse({name.partition(".")[0] for name in imported} & set(HEAVY))
