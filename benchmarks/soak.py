"""
A soak: hundreds of drivers make their journeys, badly behaved, while the server is killed now and
then; in the end every slot, payment and user has to add up, and memory not to have grown.

    python benchmarks/soak.py --seconds 600 --storage files

Each driver logs in, looks around, pays, and leaves or waits for the sweep. On the way it drops its
connection, closes its half, sends garbage, trickles bytes, pipelines, reads late; after a loss it
asks again over a new connection, as a program would. It notes what it was told. Where it was told
nothing, either is right.

The last third of the time is without kills: there the server's memory is watched.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import logging
import os
import random
import signal
import socket
import statistics
import struct
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import attrs

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from evcharge.storage.contents import Contents, Payment  # noqa: E402
from evcharge.storage.urls import parse  # noqa: E402

MOST_GROWTH_KIB = 10 * 1024
"""How much memory may have grown in the phase without kills, KiB."""

TIME_SCALE = 200
"""Charging that takes an hour takes 18 seconds here."""

SWEEP_S = 1.0
USER_TTL_S = 60.0
SLACK_S = 5.0
"""How near to its end a session may be found either way, seconds."""

LOST = (ConnectionError, asyncio.IncompleteReadError, asyncio.TimeoutError, OSError)
"""What the loss of a connection looks like."""

GARBAGE = [
    (b"garbage", 400),
    (b"\xff\xfe\xfd", 400),
    (b"[" * 5000, 400),
    (b"{}", 400),
    (b'{"type":"START","data":[],"status":{},"timestamp":""}', 400),
    (b'{"type":"LOGIN","data":{},"status":{},"timestamp":""}', 400),
    (b'{"type":"DANCE","data":{},"status":{},"timestamp":""}', 404),
    (b'{"type":"NAVIGATION","data":{"user_id":"x","route_distance":NaN},"status":{}}', 400),
]


@attrs.define
class Account:
    """What is known of one user."""

    name: str
    since: float
    """When the login was answered, seconds since the epoch."""
    stage: str = "waiting"
    """`waiting`: logged in; `charging`; `left`; `unsure`: something was asked and not answered."""
    station: str = ""
    receipt: str = ""
    amount: float = 0.0
    ends: float = 0.0
    """When charging ends, seconds since the epoch."""


@attrs.define
class Book:
    """What all drivers were told, and what is wrong with it."""

    users: dict[str, Account] = attrs.field(factory=dict)
    lost_logins: int = 0
    """LOGINs that were not answered: each may have made a user."""
    lost_payments: int = 0
    """Users who were gone before it was known whether they had paid."""
    replies: Counter[tuple[str, int]] = attrs.field(factory=Counter)
    events: Counter[str] = attrs.field(factory=Counter)
    findings: list[str] = attrs.field(factory=list)

    def find(self, what: str) -> None:
        """Note something that should not be."""
        if len(self.findings) < 100:
            self.findings.append(what)


class Driver:
    """One driver's program, over one connection at a time."""

    def __init__(self, number: int, port: int, book: Book, chance: random.Random) -> None:
        self.name = f"Driver {number}"
        self._port = port
        self._book = book
        self._chance = chance
        self._reader: asyncio.StreamReader | None = None
        self._writer: Any = None
        self._asked = 0
        self.stopping = False

    async def run(self) -> None:
        """Make journeys until told to stop."""
        while not self.stopping:
            try:
                await self._journey()
            except LOST:
                await self._away()
        self._drop()

    # The journey

    async def _journey(self) -> None:
        if self._chance.random() < 0.3:
            self._check_stations(await self._ask("START", {}))
        login = {
            "user_name": self.name,
            "selected_car": "Tesla Model 3",
            "battery_car": self._chance.randint(1, 79),
        }
        try:
            reply = await self._ask("LOGIN", login)
        except LOST:
            self._book.lost_logins += 1
            raise
        if reply["status"]["code"] == 503:
            # It may have been carried out all the same.
            self._book.lost_logins += 1
            return
        user_id = reply["data"]["user_id"]
        if user_id in self._book.users:
            self._book.find(f"LOGIN gave the id {user_id[:8]}… a second time")
        account = self._book.users[user_id] = Account(self.name, time.time())
        await self._think()
        await self._ask("NAVIGATION", {"user_id": user_id, "route_distance": 10})
        station = await self._choose(user_id)
        if station is None or self._chance.random() < 0.05:
            # Has logged in, and is never heard of again.
            return
        await self._think()
        await self._pay(user_id, account, station)
        if account.stage == "charging":
            await self._charge(user_id, account)
        elif self._chance.random() < 0.8:
            await self._leave(user_id, account)

    async def _choose(self, user_id: str) -> str | None:
        if self._chance.random() < 0.5:
            data: dict[str, Any] = {"position": {"latitude": -12.25, "longitude": -38.95}}
        else:
            ids = self._chance.sample(range(1, 37), 10)
            data = {
                "list_stations": {
                    str(number): {"distance_origin_position": self._chance.uniform(0, 20)}
                    for number in ids
                }
            }
        data["criterion"] = self._chance.choice(["distance", "time", "price"])
        reply = await self._ask("SELECTION_STATION", {"user_id": user_id, **data})
        station: str | None = reply["data"].get("id_station")
        # Not all the same one: in a town that is full everybody is sent to the next to be free.
        return station if self._chance.random() < 0.5 else str(self._chance.randint(1, 36))

    async def _pay(self, user_id: str, account: Account, station: str) -> None:
        """Pay, and if the answer is lost ask again until there is one."""
        data = {"user_id": user_id, "id_station": station, "confirmation": True}
        before, account.stage = account.stage, "unsure"
        reply = await self._insist("PAYMENT", data)
        code, told = reply["status"]["code"], reply["data"]
        if code == 404:
            # It was paid, charged and swept before the answer came through.
            account.stage = "left"
            self._book.lost_payments += 1
        elif told["confirmation"]:
            self._paid(account, station, told)
        else:
            account.stage = before

    def _paid(self, account: Account, station: str, told: dict[str, Any]) -> None:
        if account.receipt and account.receipt != told["receipt_id"]:
            self._book.find(f"{account.name} was given a second receipt for one slot")
        account.stage = "charging"
        account.station = station
        account.receipt = told["receipt_id"]
        account.amount = told["amount"]
        account.ends = told["estimated_timestamp"]

    async def _charge(self, user_id: str, account: Account) -> None:
        if self._chance.random() < 0.4:
            await self._think()
            data = {"user_id": user_id, "id_station": account.station, "confirmation": True}
            reply = await self._insist("PAYMENT", data)
            if reply["status"]["code"] == 200:
                self._paid(account, account.station, reply["data"])
            elif time.time() < account.ends - SLACK_S:
                self._book.find(f"{account.name} is charging, and was told {reply}")
        if self._chance.random() < 0.1:
            other = str(int(account.station) % 36 + 1)
            data = {"user_id": user_id, "id_station": other, "confirmation": True}
            reply = await self._insist("PAYMENT", data)
            if reply["status"]["code"] != 409 and time.time() < account.ends - SLACK_S:
                self._book.find(f"a second slot for {account.name}: {reply}")
        if self._chance.random() < 0.6:
            await self._think()
            await self._leave(user_id, account)

    async def _leave(self, user_id: str, account: Account) -> None:
        data = {"user_id": user_id, "id_station": account.station or "1", "confirmation": False}
        stage, account.stage = account.stage, "unsure"
        reply = await self._insist("PAYMENT", data)
        if reply["status"]["code"] in (200, 404):
            account.stage = "left"
        else:
            account.stage = stage
            self._book.find(f"{account.name} could not leave: {reply}")

    def _check_stations(self, reply: dict[str, Any]) -> None:
        for number, station in reply["data"].get("station_models", {}).items():
            if not 0 <= station["available_slots"] <= station["max_slots"]:
                self._book.find(f"START shows station {number} as {station}")

    # Asking

    async def _insist(self, kind: str, data: dict[str, Any]) -> dict[str, Any]:
        """Ask until there is an answer that is none of 503."""
        while True:
            try:
                reply = await self._ask(kind, data)
            except LOST:
                if self.stopping:
                    raise
                await self._away()
                continue
            if reply["status"]["code"] != 503:
                return reply
            await asyncio.sleep(0.2)

    async def _ask(self, kind: str, data: dict[str, Any]) -> dict[str, Any]:
        """Ask once, in one of many ways; one of :data:`LOST` where no answer comes."""
        chance = self._chance.random()
        if chance < 0.02:
            await self._garbage()
        await self._connect()
        self._asked += 1
        request = {"type": kind, "data": data, "status": {}, "timestamp": "", "id": self._asked}
        line = json.dumps(request).encode() + b"\n"
        if 0.02 <= chance < 0.04:
            self._book.events["dropped"] += 1
            self._writer.write(line)
            self._drop(reset=self._chance.random() < 0.5)
            raise ConnectionResetError
        if 0.04 <= chance < 0.06:
            self._book.events["half-closed"] += 1
            self._writer.write(line[: -self._chance.randint(0, 1) or None])
            self._writer.write_eof()
            reply = await self._reply(kind, self._asked)
            self._drop()
            return reply
        if 0.06 <= chance < 0.08:
            self._book.events["pipelined"] += 1
            start = {**request, "type": "START", "data": {}, "id": "before"}
            self._writer.write(json.dumps(start).encode() + b"\n" + line)
            await self._reply("START", "before")
            return await self._reply(kind, self._asked)
        if 0.08 <= chance < 0.09:
            self._book.events["trickled"] += 1
            for at in range(0, len(line), 20):
                self._writer.write(line[at : at + 20])
                await asyncio.sleep(0.01)
        else:
            self._writer.write(line)
        if 0.09 <= chance < 0.11:
            self._book.events["read late"] += 1
            await asyncio.sleep(1)
        reply = await self._reply(kind, self._asked)
        if 0.11 <= chance < 0.13:
            self._book.events["reconnected"] += 1
            self._drop()
        return reply

    async def _garbage(self) -> None:
        """Say something wrong, and be told so."""
        await self._connect()
        self._book.events["garbage"] += 1
        if self._chance.random() < 0.1:
            self._writer.write(b"x" * 70_000)
            code = 413
        else:
            line, code = self._chance.choice(GARBAGE)
            self._writer.write(line + b"\n")
        reply = await self._line()
        if reply["status"]["code"] != code:
            self._book.find(f"garbage that should get {code} got {reply}")
        if code == 413:
            self._drop()

    async def _reply(self, kind: str, request_id: object) -> dict[str, Any]:
        reply = await self._line()
        code = reply["status"]["code"]
        self._book.replies[kind, code] += 1
        if reply["type"] != kind or reply.get("id") != request_id:
            self._book.find(f"{kind} {request_id} was answered by {reply}")
        allowed = {"START": (200,), "LOGIN": (200,), "PAYMENT": (200, 404, 409)}
        if code != 503 and code not in allowed.get(kind, (200, 404)):
            self._book.find(f"{kind} was answered by {reply}")
        return reply

    async def _line(self) -> dict[str, Any]:
        assert self._reader is not None
        line = await asyncio.wait_for(self._reader.readuntil(b"\n"), 30)
        reply: dict[str, Any] = json.loads(line)
        for field, kind in (("type", str), ("data", dict), ("status", dict), ("timestamp", str)):
            if not isinstance(reply.get(field), kind):
                self._book.find(f"a reply without {field}: {line[:300]!r}")
        return reply

    # The connection

    async def _connect(self) -> None:
        if self._writer is None:
            self._reader, self._writer = await asyncio.open_connection(
                "127.0.0.1", self._port, limit=1 << 20
            )

    def _drop(self, reset: bool = False) -> None:
        if self._writer is not None:
            if reset:
                connected: socket.socket = self._writer.get_extra_info("socket")
                connected.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self._writer.close()
        self._reader = self._writer = None

    async def _away(self) -> None:
        """The connection is lost: wait a little before the next one."""
        self._drop()
        self._book.events["lost"] += 1
        await asyncio.sleep(self._chance.uniform(0.1, 0.5))

    async def _think(self) -> None:
        await asyncio.sleep(self._chance.uniform(0.1, 1.0))


class Server:
    """The server under test, killed and started again."""

    def __init__(self, folder: Path, url: str, workers: int) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port: int = free.getsockname()[1]
        self._log = folder / "server.log"
        self._command = [
            sys.executable,
            "-c",
            "from twisted.scripts.twistd import run; run()",
            "--nodaemon",
            "--pidfile=",
            "evcharge",
            "--port",
            f"tcp:{self.port}:interface=127.0.0.1",
            "--data",
            str(folder / "data"),
            "--storage",
            url,
            "--workers",
            str(workers),
            "--time-scale",
            str(TIME_SCALE),
            "--sweep-interval",
            str(SWEEP_S),
            "--user-ttl",
            str(USER_TTL_S),
        ]
        self._process: subprocess.Popen[bytes] | None = None
        self.starts = 0

    async def start(self) -> None:
        """Start it, and wait until it listens."""
        self.starts += 1
        for _ in range(20):
            with open(self._log, "ab") as log:
                at = log.tell()
                self._process = subprocess.Popen(
                    self._command,
                    stdout=log,
                    stderr=log,
                    env={**os.environ, "PYTHONPATH": str(ROOT)},
                )
            while self._process.poll() is None:
                if b" listens on " in self._log.read_bytes()[at:]:
                    return
                await asyncio.sleep(0.05)
            # What is left of the one before may still hold the port, or the storage.
            await asyncio.sleep(0.5)
        sys.exit(f"soak: the server does not start:\n{self.log()[-3000:]}")

    async def end(self, how: signal.Signals) -> None:
        """End it by a signal, and wait for that."""
        process = self._process
        if process is None:
            return
        process.send_signal(how)
        while process.poll() is None:
            await asyncio.sleep(0.02)
        self._process = None

    def log(self) -> str:
        """All that it has logged."""
        return self._log.read_text(errors="replace")

    def memory_kib(self) -> int:
        """The memory that it and its workers have for themselves, KiB."""
        if self._process is None:
            return 0
        pid = self._process.pid
        pids = [pid]
        with contextlib.suppress(OSError):
            pids += map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())
        total = 0
        for one in pids:
            with contextlib.suppress(OSError):
                for line in Path(f"/proc/{one}/status").read_text().splitlines():
                    if line.startswith("RssAnon"):
                        total += int(line.split()[1])
        return total


@attrs.define
class Soak:
    """One run."""

    options: argparse.Namespace
    folder: Path
    url: str
    book: Book = attrs.field(factory=Book)
    memory: list[int] = attrs.field(factory=list)
    """Each second of the phase without kills, KiB."""

    async def run(self) -> None:
        """Run it, and leave the server ended."""
        options = self.options
        server = Server(self.folder, self.url, options.workers)
        await server.start()
        drivers = [
            Driver(number, server.port, self.book, random.Random(f"{options.seed} {number}"))
            for number in range(options.connections)
        ]
        tasks = [asyncio.create_task(driver.run()) for driver in drivers]
        chance = random.Random(options.seed)
        began = time.monotonic()
        next_kill = options.kill_every
        try:
            while (passed := time.monotonic() - began) < options.seconds:
                await asyncio.sleep(min(1.0, options.seconds - passed))
                for task in tasks:
                    if task.done():
                        task.result()
                if passed >= options.seconds * 2 / 3:
                    self.memory.append(server.memory_kib())
                elif passed >= next_kill:
                    next_kill = passed + options.kill_every * chance.uniform(0.5, 1.5)
                    how = signal.SIGTERM if chance.random() < 0.3 else signal.SIGKILL
                    self.book.events[f"server ended by {how.name}"] += 1
                    await server.end(how)
                    await server.start()
            for driver in drivers:
                driver.stopping = True
            _, late = await asyncio.wait(tasks, timeout=40)
            for task in late:
                self.book.find("a driver has waited over 40 seconds for a reply")
                task.cancel()
            await server.end(signal.SIGTERM)
        finally:
            for task in tasks:
                task.cancel()
            await server.end(signal.SIGKILL)
        log = server.log()
        for word in ("Traceback", "Incident"):
            if word in log:
                at = log.index(word)
                self.book.find(f"the log has: {log[max(0, at - 200) : at + 1500]}")

    def check_memory(self) -> str:
        """Compare memory after a warm-up with that at the end; what to print."""
        settled = self.memory[len(self.memory) // 3 :]
        if len(settled) < 6:
            return "memory: the run was too short to say"
        part = max(2, len(settled) // 5)
        first = statistics.median(settled[:part])
        last = statistics.median(settled[-part:])
        if last - first > MOST_GROWTH_KIB:
            self.book.find(f"memory has grown from {first:.0f} to {last:.0f} KiB")
        return (
            f"memory without kills: {first / 1024:.1f} MiB at first, {last / 1024:.1f} at last, "
            f"{max(settled) / 1024:.1f} at most"
        )


def read(url: str, data: Path) -> tuple[Contents, list[Any], list[Any], list[Payment]]:
    """What a storage holds that no server has open: itself, its users, sessions and payments."""
    storage = parse(url, str(data)).storage()
    with storage.read_contents(time.time()) as contents:
        return contents, list(contents.users), list(contents.sessions), list(contents.payments)


def audit(book: Book, url: str, data: Path, now: float) -> str:
    """
    Hold what is in the storage against what the drivers were told.

    :param now: when the server was ended, seconds since the epoch.
    :return: what to print; what is wrong is in the book's findings.
    """
    contents, users, sessions, payments = read(url, data)
    _audit_slots(book, contents, sessions)
    if url == "files":
        _audit_files(book, data)
    here = {user.user_id: user for user in users}
    held = {session.user_id: session for session in sessions}
    strangers = len([user_id for user_id in here if user_id not in book.users])
    if strangers > book.lost_logins:
        book.find(f"{strangers} users nobody knows of; {book.lost_logins} LOGINs were not answered")
    for user_id in held:
        if user_id not in book.users:
            book.find(f"a slot is held by {user_id[:8]}…, who cannot have paid")
        if user_id not in here:
            book.find(f"a slot is held by {user_id[:8]}…, who is not there")
    for user_id, account in book.users.items():
        _audit_account(book, account, user_id in here, held.get(user_id), now)
    _audit_payments(book, payments, held)
    return (
        f"audited: {len(contents.stations)} stations, {len(users)} users, {len(sessions)} "
        f"sessions, {len(payments)} payments against {len(book.users)} logins"
    )


def _audit_slots(book: Book, contents: Contents, sessions: list[Any]) -> None:
    taken = Counter(session.station_id for session in sessions)
    for record in contents.stations:
        station = record.station
        if taken[station.station_id] > station.max_slots:
            book.find(
                f"{taken[station.station_id]} stand at the {station.max_slots} slots of station "
                f"{station.station_id}"
            )
    for user_id, count in Counter(session.user_id for session in sessions).items():
        if count > 1:
            book.find(f"{user_id[:8]}… holds {count} slots")


def _audit_files(book: Book, data: Path) -> None:
    for path in (data / "stations").glob("*.json"):
        station = json.loads(path.read_text())
        if station["available_slots"] + len(station["vehicles"]) != station["max_slots"]:
            book.find(f"{path.name} does not add up: {station}")


def _audit_account(book: Book, account: Account, is_here: bool, session: Any, now: float) -> None:
    if account.stage == "left" and (is_here or session is not None):
        book.find(f"{account} has left, and is there")
    elif account.stage == "waiting":
        age_s = now - account.since
        if age_s < USER_TTL_S - SLACK_S and not is_here:
            book.find(f"{account} has logged in, and is not there")
        if age_s > USER_TTL_S + SWEEP_S + SLACK_S and is_here:
            book.find(f"{account} has never paid, and is still there")
        if session is not None:
            book.find(f"{account} has not paid, and holds {session}")
    elif account.stage == "charging":
        if now < account.ends - SLACK_S:
            if session is None or session.receipt_id != account.receipt or not is_here:
                book.find(f"{account} is charging, and holds {session}")
            elif str(session.station_id) != account.station:
                book.find(f"{account} is charging at station {session.station_id}")
        elif now > account.ends + SWEEP_S + SLACK_S and (session is not None or is_here):
            book.find(f"{account} has charged, and is there")


def _audit_payments(book: Book, payments: list[Payment], held: dict[str, Any]) -> None:
    listed = Counter(payment.receipt_id for payment in payments)
    for receipt, count in listed.items():
        if count > 1:
            book.find(f"payment {receipt} is listed {count} times")
    by_receipt = {payment.receipt_id: payment for payment in payments}
    told = {account.receipt for account in book.users.values() if account.receipt}
    for account in book.users.values():
        if not account.receipt:
            continue
        payment = by_receipt.get(account.receipt)
        if payment is None:
            book.find(f"{account} has paid, and the payment is not listed")
        elif float(payment.amount) != account.amount or str(payment.station_id) != account.station:
            book.find(f"{account} has paid, and {payment} is listed")
    for session in held.values():
        if session.receipt_id not in by_receipt:
            book.find(f"a slot is held by {session}, whose payment is not listed")
    unsure = sum(1 for account in book.users.values() if account.stage == "unsure")
    untold = len(set(listed) - told)
    if untold > book.lost_payments + unsure:
        book.find(
            f"{untold} payments nobody was told of; {book.lost_payments + unsure} may be such"
        )


def report(soak: Soak, audited: str, memory: str) -> int:
    """Print what came of it; the exit status."""
    book, seconds = soak.book, soak.options.seconds
    total = sum(book.replies.values())
    print(f"{total} replies, {total / seconds:.0f} a second:")
    for (kind, code), count in sorted(book.replies.items()):
        print(f"  {kind} {code}: {count}")
    print("; ".join(f"{count} {event}" for event, count in sorted(book.events.items())))
    print(audited)
    print(memory)
    for finding in book.findings:
        print(f"FINDING: {finding}")
    print("all adds up" if not book.findings else f"{len(book.findings)} findings")
    return 1 if book.findings else 0


def main() -> int:
    """Run, audit, report."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--connections", type=int, default=500)
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--kill-every", type=float, default=20, help="seconds, on the average")
    parser.add_argument("--storage", default="files", help="files, sqlite or postgresql://…")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    parser.add_argument("--scratch", help="where to put the folder that it works in")
    options = parser.parse_args()
    # Its own word on connections that are lost, which is what they are here for.
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)
    print(f"soak: {' '.join(sys.argv[1:])} (seed {options.seed})", flush=True)
    with tempfile.TemporaryDirectory(prefix=".evcharge-soak-", dir=options.scratch) as name:
        folder = Path(name)
        url = f"sqlite:///{folder}/soak.db" if options.storage == "sqlite" else options.storage
        soak = Soak(options, folder, url)
        try:
            asyncio.run(soak.run())
        except KeyboardInterrupt:
            print("interrupted")
            return 130
        audited = audit(soak.book, url, folder / "data", time.time())
        return report(soak, audited, soak.check_memory())


if __name__ == "__main__":
    sys.exit(main())
