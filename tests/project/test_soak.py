"""The soak itself: a short one adds up, it leaves nothing behind, and it finds what is wrong."""

import asyncio
import contextlib
import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import attrs
from sqlalchemy import create_engine, text
from twisted.trial.unittest import SynchronousTestCase

from benchmarks.soak import Problem, children, prepare, read_by_server
from benchmarks.soak_audit import (
    MOST_GROWTH_KIB,
    MOST_REMAINS_BYTES,
    SLACK_S,
    SWEEP_S,
    Account,
    Book,
    Sample,
    audit,
    audit_payments,
    check_shown,
    memory,
    read,
)
from benchmarks.soak_drivers import Driver, envelope
from evcharge.bootstrap import make_users
from evcharge.models.electric_car import ElectricCar
from evcharge.models.session import ChargingSession
from evcharge.models.user import User
from evcharge.rules.claims import Claim
from evcharge.rules.journey import AddUser
from evcharge.storage import Storage, carry_out
from evcharge.storage.location import parse
from evcharge.utils.ids import uuid7
from tests.support.servers import ROOT
from tests.support.waiting import until

TTL_S = 60.0
HOLDS = r"should be .*, and is \d"
"""Found of somebody who holds a slot that is not his."""
COMMAND = [sys.executable, "benchmarks/soak.py"]


def running(pid: int) -> bool:
    """Whether there is such a process, and it has not ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


class RunTests(SynchronousTestCase):
    """The program."""

    def test_short(self) -> None:
        """A short run with kills adds up, and says what was done."""
        done = subprocess.run(
            [*COMMAND, "--seconds", "8", "--connections", "50", "--kill-every", "2", "--seed", "1"],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=110,
        )
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        for part in (
            "PAYMENT 200: ",
            "server ended by ",
            "audited: 36 stations, ",
            "all adds up",
        ):
            self.assertIn(part, done.stdout)

    def test_early(self) -> None:
        """So does one whose drivers leave at once, and it says what remains of them."""
        options = ["--early", "--seconds", "8", "--connections", "20", "--kill-every", "9"]
        done = subprocess.run(
            [*COMMAND, *options, "--seed", "1"],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=110,
        )
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        for part in (" journeys ended by drivers", "what remains of a journey: ", "all adds up"):
            self.assertIn(part, done.stdout)
        self.assertNotIn("NAVIGATION", done.stdout)

    def end(self, how: signal.Signals) -> tuple[int, str]:
        """End a soak by a signal; its status, what it said, and its server has to be gone too."""
        scratch = Path(self.mktemp()).resolve()
        scratch.mkdir()
        soak = subprocess.Popen(
            [*COMMAND, "--connections", "5", "--scratch", str(scratch)],
            cwd=ROOT,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.addCleanup(soak.stderr.close)
        self.addCleanup(soak.wait, 20)
        self.addCleanup(soak.kill)
        until(
            lambda: any(
                b" listens on " in log.read_bytes() for log in scratch.glob("*/server.log")
            ),
            "its server listens",
            process=soak,
        )
        (server,) = children(soak.pid)
        soak.send_signal(how)
        status, said = soak.wait(20), soak.stderr.read()
        until(lambda: not running(server), "the server ends with it")
        if how is not signal.SIGKILL:
            self.assertEqual(list(scratch.iterdir()), [])
        return status, said

    def test_interrupted(self) -> None:
        """Ctrl-C ends it and its server, without a traceback; SIGTERM does the same."""
        for how in (signal.SIGINT, signal.SIGTERM):
            self.assertEqual(self.end(how), (130, "soak: interrupted\n"))

    def test_killed(self) -> None:
        """Even killed it leaves no server behind."""
        self.assertEqual(self.end(signal.SIGKILL), (-signal.SIGKILL, ""))

    def test_storage_in_use(self) -> None:
        """A storage that somebody uses is not soaked."""
        data = Path(self.mktemp())
        prepare("files", data)
        prepare("files", data)
        storage = parse("files", str(data)).storage()
        storage.open(0)
        make_users(storage, 1, 7, 0)
        storage.close()
        self.assertIn("is in use", str(self.assertRaises(Problem, prepare, "files", data)))


class DriverTests(SynchronousTestCase):
    """What is wrong with replies is found."""

    def ask(self, *replies: bytes, life: int | None = 1) -> str:
        """
        What is found when the server says `replies` to a NAVIGATION and hangs up.

        :param life: the server's when the connection is lost; it is made in the first one.
        """
        book = Book(TTL_S)

        async def talk() -> None:
            async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
                await reader.readline()
                server.life = life
                writer.write(b"".join(replies))
                writer.close()

            listening = await asyncio.start_server(answer, "127.0.0.1", 0)
            port = listening.sockets[0].getsockname()[1]
            server = SimpleNamespace(port=port, life=1, may_refuse=lambda: life is None)
            # This one has no whims.
            calm = SimpleNamespace(random=lambda: 0.5)
            driver = Driver(1, server, book, calm, {})
            with contextlib.suppress(OSError, asyncio.IncompleteReadError):
                await driver._ask("NAVIGATION", {})
            driver._drop()
            listening.close()
            await listening.wait_closed()

        asyncio.run(talk())
        return "\n".join(book.findings)

    def reply(self, **fields: object) -> bytes:
        whole = {
            "type": "NAVIGATION",
            "data": {},
            "status": {"code": 200, "message": "Sucesso"},
            "timestamp": "2025-04-07T13:45:12.678Z",
            "id": 1,
            **fields,
        }
        return json.dumps(whole).encode() + b"\n"

    def failure(self, code: int, reason: str) -> bytes:
        return self.reply(
            data={"message": "x", "reason": reason}, status={"code": code, "message": "x"}
        )

    def test_right(self) -> None:
        """A right reply, and a user who is gone, are no findings."""
        self.assertEqual(self.ask(self.reply()), "")
        self.assertEqual(self.ask(self.failure(404, "user_not_found")), "")

    def test_code(self) -> None:
        """A code or reason that what was sent cannot get; 503 while nothing ends the server."""
        for code, reason in ((500, "internal"), (429, "rate_limited"), (404, "unknown_type")):
            self.assertIn(reason, self.ask(self.failure(code, reason)))
        self.assertIn("unavailable", self.ask(self.failure(503, "unavailable")))
        self.assertEqual(self.ask(self.failure(503, "unavailable"), life=None), "")

    def test_another(self) -> None:
        """A reply to something else."""
        self.assertIn("NAVIGATION 1 was answered by", self.ask(self.reply(id=2)))
        self.assertIn("NAVIGATION 1 was answered by", self.ask(self.reply(type="START")))

    def test_hung_up(self) -> None:
        """A connection lost is a finding, unless the server was killed."""
        self.assertIn("hung up instead of a reply", self.ask())
        self.assertIn("hung up instead of a reply", self.ask(self.reply()[:-1]))
        self.assertEqual(self.ask(life=2), "")

    def test_envelope(self) -> None:
        """What is no whole envelope."""
        self.assertEqual(envelope(self.reply())[0], "")
        for line in (
            b"{\n",
            b"[]\n",
            self.reply(data=None),
            self.reply(more=1),
            self.reply(timestamp="2025-04-07 13:45:12"),
            self.reply(status={"code": 200.0, "message": "x"}),
            self.reply(status={"code": 200, "message": ""}),
            self.reply(status={"code": 404, "message": "x"}),
        ):
            self.assertNotEqual(envelope(line)[0], "", line)
        self.assertIn("or without data", self.ask(self.reply(data=None)))

    def test_promises(self) -> None:
        """A request that the server has read before SIGTERM has to be answered."""
        book = Book(TTL_S)

        async def end(ports: set[int]) -> None:
            async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
                await reader.readline()
                server.life = None
                driver.promise(ports or {writer.get_extra_info("peername")[1]})
                writer.close()

            listening = await asyncio.start_server(hang_up, "127.0.0.1", 0)
            port = listening.sockets[0].getsockname()[1]
            server = SimpleNamespace(port=port, life=1, may_refuse=lambda: True)
            driver = Driver(1, server, book, SimpleNamespace(random=lambda: 0.5), {})
            with contextlib.suppress(OSError, asyncio.IncompleteReadError):
                await driver._ask("NAVIGATION", {})
            driver._drop()
            listening.close()
            await listening.wait_closed()

        asyncio.run(end({1}))
        self.assertEqual(book.findings, [])
        asyncio.run(end(set()))
        self.assertEqual(book.findings, ["a request that was read before SIGTERM was not answered"])

    def test_read_by_server(self) -> None:
        """Only what has left the client, has arrived, and was taken has been read."""
        row = "  0: 0100007F:{:04X} 0100007F:{:04X} 01 {:08X}:{:08X} 00:00000000 00000000 0 0 1"
        clients = {50001: (0, 0), 50002: (9, 0), 50003: (0, 9)}
        rows = ["  sl  local_address rem_address   st tx_queue rx_queue"]
        for client, (unsent, unread) in clients.items():
            rows.append(row.format(client, 8888, unsent, 0))
            rows.append(row.format(8888, client, 0, unread))
        rows.append(row.format(50004, 8888, 0, 0))
        rows.append(row.format(9999, 50005, 0, 0))
        self.assertEqual(read_by_server(8888, "\n".join(rows)), {50001})


class ToldTests(SynchronousTestCase):
    """What a driver is told has to agree with what it was told before."""

    def setUp(self) -> None:
        self.book = Book(TTL_S)
        server = SimpleNamespace(port=1, life=1, may_refuse=lambda: False)
        self.driver = Driver(1, server, self.book, SimpleNamespace(), {})
        now = time.time()
        self.account = Account("Driver 1", now, now)

    def findings(self) -> list[str]:
        found = list(self.book.findings)
        self.book.findings.clear()
        return found

    def test_receipts(self) -> None:
        """One slot has one receipt, one amount and one end, at the station that was paid at."""
        told = {"id_station": "7", "receipt_id": "a", "amount": 1.5, "estimated_timestamp": 9.0}
        self.driver._paid(self.account, "7", told)
        self.driver._paid(self.account, "7", told)
        self.assertEqual(self.findings(), [])
        for field in ("receipt_id", "amount", "estimated_timestamp"):
            self.account = attrs.evolve(self.account, receipt="a", amount=1.5, ends=9.0)
            self.driver._paid(self.account, "7", {**told, field: "another"})
            (finding,) = self.findings()
            self.assertIn("was given another receipt for its slot", finding)
        self.driver._paid(Account("Driver 1", 0, 0), "8", told)
        (finding,) = self.findings()
        self.assertIn("paid at station 8", finding)

    def test_missed(self) -> None:
        """A user is missed unless the sweep may have come by, or an earlier request been served."""
        gone = {"type": "PAYMENT", "status": {"code": 404}}
        held = {"type": "PAYMENT", "status": {"code": 409}}
        full = {"type": "PAYMENT", "status": {"code": 200}}
        now = time.time()
        for account, reply, count in (
            (self.account, gone, 1),
            (attrs.evolve(self.account, asked=now - TTL_S), gone, 0),
            (attrs.evolve(self.account, stage="unsure", tried="7"), gone, 0),
            (attrs.evolve(self.account, stage="charging", ends=now + SLACK_S + 5), gone, 1),
            (attrs.evolve(self.account, stage="charging", ends=now), gone, 0),
            (self.account, held, 1),
            (self.account, full, 1),
            (self.account, {**full, "type": "SELECTION_STATION"}, 0),
        ):
            self.driver._missed(account, reply)
            self.assertEqual(len(self.findings()), count, (account, reply))

    def test_stations(self) -> None:
        """START shows all stations, and for each a possible number of free slots."""
        station = {"available_slots": 2, "max_slots": 2}
        whole = {str(number): station for number in range(1, 37)}
        for stations, count in (
            (whole, 0),
            ({**whole, "37": station}, 1),
            ({**whole, "1": {**station, "available_slots": 3}}, 1),
            ({**whole, "1": {**station, "available_slots": -1}}, 1),
        ):
            reply = {"data": {"station_models": stations}, "status": {"code": 200}}
            self.driver._check_stations(reply)
            self.assertEqual(len(self.findings()), count)


class MemoryTests(SynchronousTestCase):
    """What is said of memory."""

    def find(self, *kib: int) -> list[str]:
        book = Book(TTL_S)
        memory(book, [Sample(each, 100) for each in kib], early=False)
        return book.findings

    def test_growth(self) -> None:
        """It may grow in the first third, and by the tolerance in the others."""
        most = 1000 + MOST_GROWTH_KIB
        self.assertEqual(self.find(*[0] * 10, *[1000] * 10, *[most] * 10), [])
        (finding,) = self.find(*[0] * 10, *[1000] * 10, *[most + 1] * 10)
        self.assertIn(f"from 1000 to {most + 1} KiB", finding)

    def test_remains(self) -> None:
        """What remains of journeys that have ended is found, less the users nobody knows of."""

        def find(each: int, lost: int = 0) -> list[str]:
            book = Book(TTL_S)
            samples = [
                Sample(50_000 + number * 1000 * each // 1024, 100, number * 1000, number * lost)
                for number in range(30)
            ]
            memory(book, samples, early=True)
            return book.findings

        self.assertEqual(find(each=0), [])
        self.assertEqual(find(each=MOST_REMAINS_BYTES), [])
        (finding,) = find(each=MOST_REMAINS_BYTES + 100)
        self.assertIn("164 bytes of memory remain", finding)
        self.assertEqual(find(each=MOST_REMAINS_BYTES + 100, lost=100), [])
        # Of so few it cannot be told from what memory varies by.
        few = [Sample(50_000 + number, 100, number) for number in range(30)]
        book = Book(TTL_S)
        memory(book, few, early=True)
        self.assertEqual(book.findings, [])

    def test_too_short(self) -> None:
        """Of a few seconds nothing can be said."""
        samples = [Sample(1, 1), Sample(10**6, 1)]
        self.assertIn("too short", memory(Book(TTL_S), samples, early=True))


class AuditTests:
    """What is wrong with a storage, of any kind, is found."""

    url: str

    def setUp(self) -> None:
        self.data = Path(self.mktemp())
        self.now = time.time()
        storage = parse(self.url, str(self.data)).storage()
        storage.open(self.now)
        self.drivers(storage)
        storage.close()
        self.book = Book(TTL_S)
        found = read(self.url, self.data)
        self.assertGreater(len(found.sessions), 5)
        for user in found.users:
            self.book.users[user.user_id] = Account(user.user_name, self.now, self.now)
        for session in found.sessions:
            account = self.book.users[session.user_id]
            account.stage, account.station = "charging", str(session.station_id)
            account.receipt, account.amount = session.receipt_id, float(session.amount)
            account.ends = session.estimated_timestamp
        # What ends later is where it should be when this one no more is.
        self.session = min(found.sessions, key=lambda session: session.estimated_timestamp)
        self.account = self.book.users[self.session.user_id]
        self.waiting_id = next(
            user_id for user_id, account in self.book.users.items() if account.stage == "waiting"
        )
        self.waiting = self.book.users[self.waiting_id]

    def drivers(self, storage: Storage) -> None:
        """Thirty drivers log in, of whom twenty charge, paid ahead."""
        models = sorted(storage.catalogue().models.items())
        for number in range(30):
            name, model = models[number]
            car = ElectricCar.charged_to(model, 20.0 + number)
            user = User(uuid7(self.now), f"Cliente_{number + 1}", car, self.now, car_key=name)
            carry_out(storage, AddUser(user))
            if number % 3:
                tried = (
                    carry_out(storage, Claim(user.user_id, str(id), uuid7(self.now), self.now))
                    for id in range(1 + number, 37)
                )
                # The first whose connectors fit.
                self.assertTrue(any(isinstance(found, ChargingSession) for found in tried))

    def findings(self, now: float | None = None) -> str:
        """What is found now; it is forgotten again."""
        audit(self.book, self.url, self.data, self.now if now is None else now)
        found = "\n".join(self.book.findings)
        self.book.findings.clear()
        return found

    def test_right(self) -> None:
        """Where nothing is wrong nothing is found."""
        self.assertEqual(self.findings(), "")

    def test_left(self) -> None:
        """Users who have left, and are there."""
        self.account.stage = self.waiting.stage = "left"
        found = self.findings()
        self.assertEqual(found.count("should be {'gone'}, and is "), 2)

    def test_strangers(self) -> None:
        """A user nobody knows of is one whose LOGIN was not answered, and no second one."""
        account = self.book.users.pop(self.waiting_id)
        self.assertEqual(self.findings(), f"a user nobody knows of: {account.name!r}")
        self.book.lost_logins.add(account.name)
        self.assertEqual(self.findings(), "")
        self.assertIn(
            f"{account.name} has never paid, and is still there",
            self.findings(self.now + TTL_S + SWEEP_S + SLACK_S + 1).splitlines(),
        )
        storage = parse(self.url, str(self.data)).storage()
        storage.open(self.now)
        user = next(user for user in storage.users() if user.user_id == self.waiting_id)
        carry_out(storage, AddUser(attrs.evolve(user, user_id="another")))
        storage.close()
        self.assertEqual(self.findings(), f"one LOGIN made 2 users: {account.name!r}")

    def test_renamed(self) -> None:
        """A user who is there as somebody else."""
        self.waiting.name = "Somebody else"
        self.assertIn("is there as", self.findings())

    def test_swept(self) -> None:
        """Users who have charged, or never paid for too long, are not there any more."""
        over = self.now + TTL_S + SWEEP_S + SLACK_S
        self.account.ends = self.now - SWEEP_S - SLACK_S - 1
        self.assertIn(f"should be {{'gone'}}, and is {self.session.station_id}", self.findings())
        self.assertEqual(self.findings(over - 1).count("should be {'gone'}, and is waiting"), 0)
        self.assertGreater(self.findings(over + 1).count("should be {'gone'}, and is waiting"), 0)

    def test_unsure(self) -> None:
        """Where nothing was told either is right: paid or not, at the station that was asked."""
        receipt, station = self.account.receipt, self.account.station
        self.account.stage, self.account.receipt = "unsure", ""
        self.account.tried, self.account.station = station, ""
        self.waiting.stage, self.waiting.tried = "unsure", station
        self.assertEqual(self.findings(), "")
        # Told that there was no slot, by a worker that was faster than the one with the payment.
        self.account.stage = "waiting"
        self.assertEqual(self.findings(), "")
        # Of one who may have paid the listed payment could be.
        self.waiting.tried = self.account.tried = "999"
        found = self.findings()
        self.assertRegex(found, HOLDS)
        self.assertIn("nobody was told of", found)
        self.account.tried = station
        over = self.session.estimated_timestamp + SWEEP_S + SLACK_S
        self.assertNotRegex(self.findings(over - 1), HOLDS)
        self.assertRegex(self.findings(over + 1), HOLDS)
        self.account.receipt = "another"
        self.assertRegex(self.findings(), HOLDS)
        self.account.receipt, self.account.tried = receipt, station
        self.account.stage, self.account.station = "waiting", ""
        self.account.tried = self.account.receipt = ""
        self.assertRegex(self.findings(), HOLDS)

    def test_one_receipt_for_two(self) -> None:
        """Two users who were given one receipt."""
        other = next(
            account
            for account in self.book.users.values()
            if account.receipt and account is not self.account
        )
        other.receipt = self.account.receipt
        self.assertIn("has the receipt of", self.findings())

    def test_elsewhere(self) -> None:
        """One who stands at another station than was told."""
        self.account.station = "999"
        self.assertIn(f"should be {{'999'}}, and is {self.session.station_id}", self.findings())

    def test_amount(self) -> None:
        """A payment that is listed otherwise than it was told."""
        self.account.amount += 1
        self.assertIn("has paid, and Payment(", self.findings())

    def test_visits(self) -> None:
        """One who followed a session may stand anywhere, until it has left."""
        self.account.visits, self.account.stage, self.account.receipt = True, "unsure", ""
        self.assertEqual(self.findings(), "")
        self.account.stage = "left"
        self.assertIn("has left, and is there", self.findings())

    def test_settled(self) -> None:
        """What is given back belongs to a payment, and is given back once."""
        found = read(self.url, self.data)
        payment = next(one for one in found.payments if one.receipt_id == self.account.receipt)
        back = attrs.evolve(payment, receipt_id="back", refund_of=payment.receipt_id)
        for more, finding in (
            ([back], ""),
            ([back, attrs.evolve(back, receipt_id="again")], "was settled 2 times"),
            ([attrs.evolve(back, refund_of="nothing")], "payment nothing was settled 1 times"),
        ):
            audit_payments(self.book, attrs.evolve(found, payments=[*found.payments, *more]))
            told = "\n".join(self.book.findings)
            self.book.findings.clear()
            self.assertTrue(finding in told if finding else not told, told)

    def test_nobody_to_hold_a_slot(self) -> None:
        """A slot that is held by somebody nobody knows of."""
        del self.book.users[self.session.user_id]
        found = self.findings()
        self.assertIn("who cannot have paid", found)
        self.assertIn("nobody was told of", found)

    def test_shown(self) -> None:
        """START and the storage agree on the slots, but for those that have just ended."""
        found = read(self.url, self.data)
        taken = [str(session.station_id) for session in found.sessions]
        key = str(self.session.station_id)
        shown = {
            record.station.key: {
                "available_slots": record.station.max_slots - taken.count(record.station.key)
            }
            for record in found.contents.stations
        }

        def check() -> int:
            check_shown(self.book, shown, self.now, found)
            count = len(self.book.findings)
            self.book.findings.clear()
            return count

        for account in self.book.users.values():
            account.ends = 0.0
        self.assertEqual(check(), 0)
        shown[key]["available_slots"] -= 1
        self.assertEqual(check(), 1)
        self.account.ends = self.now
        self.assertEqual(check(), 0)
        shown[key]["available_slots"] += 2
        self.assertEqual(check(), 1)


class FilesTests(AuditTests, SynchronousTestCase):
    """What is wrong with a data directory is found."""

    url = "files"

    def setUp(self) -> None:
        super().setUp()
        self.station = self.data / "stations" / f"station_{self.session.station_id}.json"

    def write(self, path: Path, **fields: object) -> None:
        path.write_text(json.dumps({**json.loads(path.read_text()), **fields}))

    def test_slot_given_back(self) -> None:
        """A slot that was given back though it was paid for."""
        station = json.loads(self.station.read_text())
        del station["vehicles"][self.session.user_id]
        station["available_slots"] += 1
        self.station.write_text(json.dumps(station))
        self.assertIn("should be set(), and is waiting: None", self.findings())

    def test_slot_lost(self) -> None:
        """A slot that nobody has."""
        free = json.loads(self.station.read_text())["available_slots"]
        self.write(self.station, available_slots=free - 1)
        self.assertIn("does not add up", self.findings())

    def test_two_stations(self) -> None:
        """A user at two stations."""
        vehicles = json.loads(self.station.read_text())["vehicles"]
        other = self.data / "stations" / f"station_{self.session.station_id % 36 + 1}.json"
        station = json.loads(other.read_text())
        station["vehicles"][self.session.user_id] = vehicles[self.session.user_id]
        self.write(other, vehicles=station["vehicles"])
        self.assertIn(f"…{self.session.user_id[-6:]} stands at 2 stations", self.findings())

    def test_payments(self) -> None:
        """A payment that is listed twice, or not at all, or that nobody was told of."""
        path = self.data / "payments.jsonl"
        lines = path.read_text().splitlines(keepends=True)
        path.write_text("".join([*lines, lines[0]]))
        self.assertIn("is listed 2 times", self.findings())
        other = {**json.loads(lines[0]), "receipt_id": "00000000-0000-4000-8000-000000000000"}
        path.write_text("".join([*lines, json.dumps(other) + "\n"]))
        self.assertIn("nobody was told of", self.findings())
        path.write_text("".join(line for line in lines if self.session.receipt_id not in line))
        self.assertIn("which payments.jsonl does not list", self.findings())
        path.write_text("".join(lines))
        # The payment of one who still stands is read from the station's file too.
        gone = attrs.evolve(self.account, receipt="lost", ends=0.0, stage="left")
        self.book.users["gone"] = gone
        self.assertIn("has paid, and the payment is not listed", self.findings())

    def test_users(self) -> None:
        """Users who are gone, one of whom should be charging."""
        (self.data / "users" / f"{self.waiting_id}.json").unlink()
        (self.data / "users" / f"{self.session.user_id}.json").unlink()
        found = self.findings()
        self.assertIn("should be {'waiting'}, and is gone", found)
        self.assertIn("who is not there", found)

    def test_damage(self) -> None:
        """A file that cannot be read, and one that an interrupted write has left."""
        (self.data / "users" / f"{self.waiting_id}.json.tmp").write_text("{")
        self.assertIn("is left among the users", self.findings())
        (self.data / "stations" / "station_x.json").write_text("{}")
        found = self.findings()
        self.assertIn("the storage remarks: ", found)
        self.assertIn("station_x.json is no station's file", found)
        (self.data / "users" / f"{self.waiting_id}.json").write_text("{")
        self.assertIn("the storage cannot be read", self.findings())


class SqliteTests(AuditTests, SynchronousTestCase):
    """What is wrong with a database is found."""

    def setUp(self) -> None:
        self.url = f"sqlite:///{Path(self.mktemp()).resolve()}"
        super().setUp()

    def execute(self, statement: str) -> None:
        engine = create_engine(self.url)
        with engine.begin() as connection:
            connection.execute(text(statement))
        engine.dispose()

    def test_too_many(self) -> None:
        """More vehicles than slots."""
        station = self.session.station_id
        self.execute(
            f"UPDATE stations SET max_slots = 0, evses = NULL WHERE station_id = {station}"
        )
        self.assertIn(f"stand at the 0 slots of station {station}", self.findings())

    def test_broken(self) -> None:
        """A session, a user and a payment that are gone."""
        for table, finding in (
            ("sessions", "should be set(), and is waiting: None"),
            ("users", "who is not there"),
            ("payments", "has paid, and the payment is not listed"),
            ("payments", "whose payment is not listed"),
        ):
            self.setUp()
            column, value = (
                ("receipt_id", self.session.receipt_id)
                if table == "payments"
                else ("user_id", self.session.user_id)
            )
            self.execute(f"DELETE FROM {table} WHERE {column} = '{value}'")
            self.assertIn(finding, self.findings())
