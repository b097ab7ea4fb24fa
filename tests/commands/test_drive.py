"""`evcharge drive`: whole journeys by questions, in a terminal and piped in."""

import json
import re
import shlex
import subprocess
import time

from twisted.trial.unittest import SynchronousTestCase

from evcharge.commands import questions
from evcharge.commands.journey import moment
from evcharge.commands.search import CRITERIA
from evcharge.commands.tables import numbered
from evcharge.testing import MemoryServer
from tests.support.driving import DriveTestCase
from tests.support.ports import free_port
from tests.support.scripted import COMMAND, command, environment, passes_on, reply, scripted
from tests.support.waiting import until

PORTUGUESE = "áãçéêíóõúÁÃÇÉÊÍÓÕÚ"


class JourneyTests(DriveTestCase):
    """Journeys as they are meant to go."""

    def test_defaults(self) -> None:
        """With nothing but empty lines one gets all the way to a slot, and learns how to leave."""
        status, said = self.drive(*[""] * 9)
        self.assertEqual(status, 0)
        for text in (
            "A rede: 36 postos de recarga, 169 vagas livres, 43 modelos de carro.",
            "Olá, Ana! Há 20 kWh na bateria do seu Tesla Model 3.",
            "A carga não basta: a autonomia é de 130,7 km. Vamos procurar um posto.",
            "1  Av. Maria Quitéria …  CCS2        0,18 km  < 1 min   0 min   24 min  R$ 41,06",
            "Você chega com 39,9 % e recarrega até 80 %: 20 kWh, com até 50 kW.",
            "   1  Pagar R$ 41,06 e recarregar\n",
            "O que você quer fazer? 0: sair [1]: ",
            "Pago: R$ 41,06. A vaga 23-1 é sua.",
            "Até logo!",
        ):
            self.assertIn(text, said)
        (user,) = self.users()
        self.assertEqual(self.held(), {"23": [user["user_id"]]})
        (leave,) = self.told(said)
        self.assertIn(user["user_id"], " ".join(leave))
        self.assertEqual(command(*leave).returncode, 0)
        self.assertEqual((self.held(), self.users()), ({}, []))

    def test_answers(self) -> None:
        """Every question can be answered otherwise, in one's own words, and each answer counts."""
        status, said = self.drive(
            "Zoé", "bmw ix3", "55,5 %", "180,5km", "", "-12,2598; -38,9722", "preço", "2",
            "pagar", "parar",
            options="--show-wire",
        )  # fmt: skip
        self.assertEqual(status, 0)
        sent = [json.loads(line[2:]) for line in said.splitlines() if line.startswith("> ")]
        self.assertEqual(
            [request["type"] for request in sent],
            [
                "START",
                "LOGIN",
                "NAVIGATION",
                "SELECTION_STATION",
                "STATUS",
                "PAYMENT",
                "STATUS",
                "STOP",
            ],
        )
        login = {"user_name": "Zoé", "selected_car": "BMW iX3", "battery_car": 55.5}
        self.assertEqual(sent[1]["data"], login)
        self.assertEqual(sent[2]["data"]["route_distance"], 180.5)
        place = {"latitude": -12.2598, "longitude": -38.9722}
        self.assertEqual(sent[3]["data"]["position"], place)
        self.assertEqual(sent[3]["data"]["criterion"], "price")
        came = [line[2:] for line in said.splitlines() if line.startswith("< ")]
        second = json.loads(came[3])["data"]["alternatives"][0]["id_station"]
        self.assertEqual(sent[5]["data"]["id_station"], second)
        paid = json.loads(came[5])["data"]
        self.assertEqual(sent[7]["data"]["receipt_id"], paid["receipt_id"])
        # START's reply fills no screens.
        self.assertTrue(came[0].endswith("…" + came[0].split("…")[-1]))
        self.assertLess(max(map(len, came)), 3000)
        self.assertEqual((self.held(), self.users()), ({}, []))
        self.assertIn(f"Recibo {paid['receipt_id']}\n", said)
        self.assertEqual(self.told(said), [])

    def test_wrong_answers(self) -> None:
        """Wrong answers are asked again, with what is allowed."""
        status, said = self.drive(
            "x" * 101, "a\x1bb", "Ana",
            "tesla", "0", "44", "Model T", "43",
            "-1", "101", "x", "40 km", "nan", "100%",
            "0", "far", "200%", "100001", "400",
            "here", "91, 0", "0, 181", "1", "-12.25 -38.95",
            "4", "beauty", "tempo",
            "6", "-1", "zz", "1",
            "perhaps", "5", "0", "what", "",
        )  # fmt: skip
        self.assertEqual(status, 0)
        for allowed, times in (
            ("um nome de 1 a 100 caracteres", 2),
            ("um número de 1 a 43 ou um nome da lista", 4),
            ("um número de 0 a 100.", 5),
            ("um número de 0,1 a 100000", 4),
            ("um par de números, como -12.27, -38.97", 4),
            ("Pode ser 1, 2 ou 3.", 2),
            ("um número de 0 a 5, ou uma parte do nome que só um", 3),
            ("um número de 0 a 4, ou uma parte que só uma das escolhas", 2),
            ("Pode ser s ou n.", 1),
        ):
            self.assertEqual(said.count(allowed), times, (allowed, said))
        self.assertEqual((self.held(), self.users()), ({}, []))

    def test_no_need(self) -> None:
        """Who gets there without charging, wants no station or does not pay may go at once."""
        for answers in (
            ["", "", "100", "50", "n", ""],
            ["", "", "", "", "", "", "0", ""],
            ["", "", "", "", "", "", "", "0", "s"],
            ["", "", "1", "", "0 0", "", "n", ""],
        ):
            status, said = self.drive(*answers)
            self.assertEqual(status, 0)
            self.assertIn("Jornada encerrada.\nAté logo!\n", said)
            self.assertEqual((self.held(), self.users()), ({}, []))

    def test_elsewhere(self) -> None:
        """Where no station is within reach another place can be tried."""
        _, said = self.drive("", "", "5", "", "0 0", "", "s", "-12.25 -38.95", "")
        self.assertIn("Daí a carga não chega a nenhum posto.", said)
        self.assertRegex(said, r"O mais próximo é .*: faltam [\d.]+ km\.")
        self.assertIn("R$", said)

    def test_english(self) -> None:
        """In English all is English, whatever language the server speaks, and numbers are too."""
        status, said = self.drive(*[""] * 9, options="--language en")
        self.assertEqual(status, 0)
        for text in (
            "Hello, Ana! There are 20 kWh in the battery of your Tesla Model 3.",
            "not enough: your range is 130.7 km. Let us find a station.",
            "  CCS2        0.18 km  < 1 min  0 min    24 min  R$ 41.06",
            "Paid: R$ 41.06. The slot 23-1 is yours.",
            "See you!",
        ):
            self.assertIn(text, said)
        names = json.dumps(MemoryServer().request("START"), ensure_ascii=False)
        for word in re.findall(rf"\w*[{PORTUGUESE}]\w*", said):
            self.assertIn(word, names)

    def test_full(self) -> None:
        """Somebody may be quicker: nothing is paid, and the stations are looked at again."""
        terminal = self.terminal()
        terminal.until("[Ana]: ")
        terminal.type("\n\n\n\n")
        # The next station has one slot.
        terminal.until("da rede) [")
        terminal.type("-12.2571, -38.9668\n\n\n")
        terminal.until("Pagar R$ 25,00 e recarregar")
        rival = self.client(self.server)
        login = {"user_name": "B", "selected_car": "Tesla Model 3", "battery_car": 40}
        user = rival.request("LOGIN", **login)["data"]["user_id"]
        pay = {"user_id": user, "id_station": 8, "confirmation": True}
        self.assertTrue(rival.request("PAYMENT", **pay)["data"]["confirmation"])
        terminal.until("sair [1]: ")
        terminal.type("1\n")
        terminal.until("Alguém foi mais rápido")
        terminal.until("em nenhum [1]: ")
        terminal.type("\n\n")
        terminal.until("Pago: ")
        terminal.until("sair [1]: ")
        terminal.type("0\n")
        self.assertEqual(terminal.leave(), 0)
        held = self.held()
        self.assertEqual(held.pop("8"), [user])
        self.assertEqual(len(held), 1)

    def test_over(self) -> None:
        """Who stops what has ended meanwhile is shown the receipt all the same."""
        self.server.end()
        fast = ("--time-scale", "1000", "--sweep-interval", "0.05")
        self.server = self.start(self.data, *fast).wait()
        terminal = self.terminal()
        terminal.until("os minutos que se dizem aqui passam 1.000 vezes mais rápido.")
        terminal.until("[Ana]: ")
        terminal.type("\n" * 8)
        terminal.until("Parar e ir embora")
        until(lambda: not self.users(), "the end of the charge")
        terminal.type("parar\n")
        terminal.until("recarga completa")
        terminal.until("Total: R$ 41,06; pago adiantado: R$ 41,06\r\n")
        terminal.until("sair [0]: ")
        terminal.type("\n")
        self.assertEqual(terminal.leave(), 0)
        self.assertTrue(terminal.seen.endswith("Até logo!\r\n"), terminal.seen)
        self.assertEqual(self.told(terminal.seen), [])

    def test_terminal(self) -> None:
        """In a terminal of 80 columns no line is longer, in either language."""
        for language in ("pt", "en"):
            terminal = self.terminal("--language", language)
            for answer in (*[""] * 7, "2", "", "1", "3", "", "2", "2", "1", "0"):
                terminal.until("]: ")
                terminal.type(f"{answer}\n")
                if terminal.seen.count("]: ") == 12:
                    # It is followed, until Enter.
                    terminal.until("R$ ")
                    terminal.type("\n")
            self.assertEqual(terminal.leave(), 0)
            for line in re.split("[\r\n]+", terminal.seen):
                self.assertLessEqual(len(line.replace("\x1b[K", "")), 80, line)


class LeavingTests(DriveTestCase):
    """However a journey ends, it is said what one holds, and how to give it back."""

    def test_end_of_answers(self) -> None:
        """Where the answers end, so does the journey: at the start, logged in, and with a slot."""
        status, said = self.drive()
        self.assertEqual((status, self.told(said)), (0, []))
        self.assertTrue(said.endswith("]: \nAté logo!\n"), said)
        status, said = self.drive("", "", "")
        self.assertEqual(status, 0)
        self.assertIn("Você está sem vaga.", said)
        self.assertEqual(len(self.users()), 1)
        (leave,) = self.told(said)
        self.assertEqual(command(*leave).returncode, 0)
        self.assertEqual(self.users(), [])
        status, said = self.drive(*[""] * 8)
        self.assertEqual(status, 0)
        self.assertIn("até lá a vaga é sua. Para devolvê-la antes:", self.shown(said))
        self.assertEqual(len(self.held()), 1)
        (leave,) = self.told(said)
        self.assertEqual(command(*leave).returncode, 0)
        self.assertEqual((self.held(), self.users()), ({}, []))

    def test_interrupted(self) -> None:
        """Ctrl-C says the same, with status 130: at the first question and at the last."""
        for answers in (0, 3, 8):
            terminal = self.terminal()
            for _ in range(answers):
                terminal.until("]: ")
                terminal.type("\n")
            terminal.until("]: ")
            terminal.interrupt()
            self.assertEqual(terminal.leave(), 130)
            self.assertTrue(terminal.seen.endswith("Até logo!\r\n"), terminal.seen)
            self.assertNotIn("Traceback", terminal.seen)
            told = self.told(terminal.seen.replace("\r\n", "\n"))
            self.assertEqual(len(told), 1 if answers else 0)
            for leave in told:
                self.assertEqual(command(*leave).returncode, 0)
        self.assertEqual((self.held(), self.users()), ({}, []))

    def losing(self, kind: str, confirmation: bool | None = None, waits: bool = False) -> int:
        """A server that carries everything out, but whose first reply to this is lost."""
        lost = []

        def loses(request: dict) -> bool:
            meant = (request["type"], request["data"].get("confirmation")) == (kind, confirmation)
            if meant:
                lost.append(request)
            return meant and len(lost) == 1

        return scripted(self, passes_on(self.server.port, loses, waits))

    def test_payment_lost(self) -> None:
        """A payment whose reply was lost can be asked for again: it is there, once."""
        status, said = self.drive(*[""] * 8, port=self.losing("PAYMENT", True))
        self.assertEqual(status, 3)
        self.assertIn("a conexão foi fechada sem resposta", said)
        self.assertIn("O pagamento ficou sem resposta", said)
        (station,) = self.held()
        again, leave = self.told(said)
        done = command(*again, "--json")
        self.assertIs(json.loads(done.stdout)["data"]["confirmation"], True)
        self.assertEqual(list(self.held()), [station])
        self.assertEqual(len((self.data / "payments.jsonl").read_text().splitlines()), 1)
        self.assertEqual(command(*leave).returncode, 0)
        self.assertEqual((self.held(), self.users()), ({}, []))

    def test_payment_interrupted(self) -> None:
        """Nor is it known what became of a payment when Ctrl-C ends the wait for its reply."""
        terminal = self.terminal(port=self.losing("PAYMENT", True, waits=True))
        for _ in range(8):
            terminal.until("]: ")
            terminal.type("\n")
        limit = time.monotonic() + 20
        while not self.held():
            self.assertLess(time.monotonic(), limit)
            time.sleep(0.01)
        terminal.interrupt()
        self.assertEqual(terminal.leave(), 130)
        self.assertIn("O pagamento ficou sem resposta", terminal.seen)
        again, leave = self.told(terminal.seen.replace("\r\n", "\n"))
        self.assertEqual([command(*again).returncode, command(*leave).returncode], [0, 0])
        self.assertEqual((self.held(), self.users()), ({}, []))

    def test_others_lost(self) -> None:
        """So is it told of a login, of the end, and of what changes nothing."""
        status, said = self.drive(*[""] * 8, port=self.losing("START"))
        self.assertEqual((status, self.told(said)), (3, []))
        status, said = self.drive(*[""] * 8, port=self.losing("LOGIN"))
        self.assertEqual((status, self.told(said)), (3, []))
        self.assertIn("O cadastro ficou sem resposta.", said)
        status, said = self.drive(*[""] * 8, port=self.losing("NAVIGATION"))
        self.assertEqual((status, len(self.told(said))), (3, 1))
        self.assertIn("Você está sem vaga.", said)
        status, said = self.drive(*[""] * 7, "0", "s", port=self.losing("PAYMENT", False))
        self.assertEqual((status, len(self.told(said))), (3, 1))
        self.assertIn("O encerramento ficou sem resposta", said)
        self.assertEqual(self.held(), {})

    def test_one_stream(self) -> None:
        """An error stands where it happened; and there need be nowhere that answers come from."""
        line = shlex.join([*COMMAND, "drive", "--port", str(self.losing("NAVIGATION"))])
        for answers, status, last in (
            ("", 3, ["[180]: \nevcharge: 127.0.0.1:", "Você está sem vaga."]),
            ("<&-", 0, ["Até logo!"]),
        ):
            done = subprocess.run(
                ["sh", "-c", f"{line} 2>&1 {answers}"], input="\n" * 8, stdout=subprocess.PIPE,
                encoding="utf-8", env=environment(),
            )  # fmt: skip
            self.assertEqual(done.returncode, status, done.stdout)
            places = [done.stdout.index(text) for text in ["Ctrl-C sai", *last]]
            self.assertEqual(places, sorted(places))

    def test_no_server(self) -> None:
        """Without a server it is said how to start one, in the language that was asked for."""
        port = free_port()
        self.assertEqual(
            self.drive(port=port),
            (3, f"evcharge: nenhum servidor em 127.0.0.1:{port}: inicie um com: make run\n"),
        )
        self.assertEqual(
            self.drive(port=port, options="--language en"),
            (3, f"evcharge: no server at 127.0.0.1:{port}: start one with: make run\n"),
        )

    def test_refused(self) -> None:
        """What the server refuses ends the journey with status 1 and its own words."""
        self.server.end()
        self.server = self.start(self.data, "--max-pending-logins", "1").wait()
        self.drive("", "", "")
        status, said = self.drive(*[""] * 8)
        self.assertEqual(status, 1)
        self.assertIn("O servidor recusou: 429 Muitas requisições", said)

    def test_login_refused(self) -> None:
        """A login with what only the server knows to be wrong is asked again."""
        start = MemoryServer().request("START")

        def serve(connection) -> None:
            request = json.loads(connection.recv(65536))
            if request["type"] == "START":
                connection.sendall(reply(1, "START", **start["data"]))
            elif request["data"]["user_name"] == "Ana":
                message = {"message": "Campo inválido", "reason": "invalid_field"}
                connection.sendall(reply(1, "LOGIN", 400, **message))
            else:
                connection.sendall(reply(1, "LOGIN", user_id="u"))

        status, said = self.drive("Ana", "", "", "Bia", "", "", port=scripted(self, serve))
        self.assertEqual(status, 0)
        self.assertIn("O servidor respondeu: 400 Sucesso\n\nComo você se chama?", said)
        self.assertIn("Olá, Bia!", said)

    def test_nothing_there(self) -> None:
        """A network without stations or cars is no place for a journey."""
        port = scripted(
            self,
            lambda connection: (
                connection.recv(65536),
                connection.sendall(reply(1, "START", car_models={}, station_models={})),
            ),
        )
        status, said = self.drive(port=port)
        self.assertEqual(status, 0)
        self.assertIn("Sem postos e carros não há jornada.\nAté logo!\n", said)


class WordsTests(SynchronousTestCase):
    """How answers are read, and figures shown."""

    def test_one_of(self) -> None:
        """A number, a name, or a part that only one has; a whole name before a part of others."""
        read = questions.one_of(["Leaf", "Leaf e+", "Zoe", "500e"])
        for answer, found in (("1", 0), ("leaf", 0), ("E+", 1), ("ZO", 2), ("4", 3), ("500E", 3)):
            self.assertEqual(read(answer), found)
        # What it begins with counts more.
        self.assertEqual(questions.one_of(["Charge, and pay", "Pay, and charge"])("pay"), 1)
        for answer in ("0", "5", "500", "lea", "e", "x", "²", "01"):
            self.assertRaises(ValueError, read, answer)

    def test_place(self) -> None:
        """Two numbers, with points or commas in them and commas, semicolons or blanks between."""
        for answer in ("-12.5, 38", "-12.5 38", "-12,5;38.0", "-12,5 , 38,0", "-12.5,38"):
            self.assertEqual(questions.place(answer), (-12.5, 38.0))
        for answer in ("", "12", "12.5.1, 3", "a, b", "90.1, 0", "0, -180.5", "1, 2, 3"):
            self.assertRaises(ValueError, questions.place, answer)

    def test_moment(self) -> None:
        """The day is told where it is not today, and seconds where it is about now."""
        now = time.time()
        self.assertRegex(moment(now + 30, "pt"), r"^às \d\d:\d\d:\d\d$")
        self.assertRegex(moment(now + 30 * 86400, "pt"), r"^em \d\d/\d\d/\d{4} às \d\d:\d\d$")
        self.assertRegex(moment(now + 30 * 86400, "en"), r"^on \d{4}-\d\d-\d\d at \d\d:\d\d$")

    def test_numbered(self) -> None:
        """Names stand in as many columns as there is room for, and in one where there is none."""
        self.assertEqual(numbered(["a", "b", "c"], 80), ["   1  a    2  b    3  c"])
        self.assertEqual(numbered(["a", "b", "c"], 16), ["   1  a    3  c", "   2  b"])
        self.assertEqual(numbered(["a", "b"], 3), ["   1  a", "   2  b"])

    def test_criteria(self) -> None:
        """The criteria are those that the server knows."""
        from evcharge.planning.selection import CRITERIA as KNOWN

        self.assertEqual(set(CRITERIA), set(KNOWN))
