"""
A soak: hundreds of drivers make their journeys, badly behaved, while the server is killed now and
then; in the end every slot, payment and user has to add up, and memory not to have grown.

    python benchmarks/soak.py --seconds 600 --storage files

Each driver logs in, looks around, pays, and leaves or waits for the sweep. On the way it drops its
connection, closes its half, sends garbage, trickles bytes, pipelines, reads late; after a loss it
asks again over a new connection, as a program would. It notes what it was told. Where it was told
nothing, either is right.

The last third of the time is without kills: there the server's memory is watched. With `--early`
every driver leaves as soon as it has logged in, or paid, and comes again: many journeys a second,
of which nothing may be left.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import ctypes
import itertools
import json
import logging
import math
import os
import platform
import random
import re
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
import traceback
from pathlib import Path
from typing import Any

import attrs

import twisted

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.requests import positive  # noqa: E402
from benchmarks.soak_audit import (  # noqa: E402
    SLACK_S,
    SWEEP_S,
    Account,
    Book,
    Ended,
    audit,
    check_shown,
    memory,
    read,
    remains,
)
from evcharge.storage import StorageError  # noqa: E402
from evcharge.storage.location import parse, without_password  # noqa: E402
from evcharge.utils.ids import ending  # noqa: E402

TIME_SCALE = 200
"""Charging that takes an hour takes 18 seconds here."""

STATIONS = 36
"""In the network that evcharge brings along."""

EARLY_TTL_S = 86400.0
"""The same where drivers leave early: what is kept for that time is seen to pile up."""

LONGEST_TTL_S, SHORTEST_TTL_S = 60.0, 10.0
"""After which a user who never paid is removed, in a run of ten minutes or more, and at least."""

REPLY_S = 30.0
"""How long a driver waits for a reply: much longer than any may take."""

LAST_REPLIES_S = 40.0
"""How long the drivers may take to end."""

START_S, END_S = 30.0, 15.0
"""How long the server may take to start, and to end; it gives itself five seconds for that."""

HARD_LIMIT_S = 180.0
"""How much longer than it was told the soak may take in all."""

LIBC = ctypes.CDLL(None)

LOST = (ConnectionError, asyncio.IncompleteReadError, asyncio.TimeoutError, OSError)
"""What the loss of a connection looks like."""

TIMESTAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")

ALLOWED = {
    "START": {(200, "")},
    "LOGIN": {(200, "")},
    "NAVIGATION": {(200, ""), (404, "user_not_found")},
    "SELECTION_STATION": {(200, ""), (200, "no_station"), (404, "user_not_found")},
    "PAYMENT": {(200, ""), (200, "no_slot"), (404, "user_not_found"), (409, "already_reserved")},
}
"""The codes and reasons that what is sent here may get."""

GARBAGE = [
    (b"garbage", 400),
    (b"\xff\xfe\xfd", 400),
    (b"\xff\xfe{\x00}\x00", 400),
    (b"[" * 5000, 400),
    (b'{"a":' * 10_000, 400),
    (b"null", 400),
    (b"{}", 400),
    (b'{"type":"START","data":{},"status":{},"timestamp":"","id":true}', 400),
    (b'{"type":"START","data":[1],"status":{},"timestamp":""}', 400),
    (b'{"type":"LOGIN","data":{},"status":{},"timestamp":""}', 400),
    (b'{"type":"\\ud800","data":{},"status":{},"timestamp":""}', 400),
    (b'{"type":"DANCE","data":{},"status":{},"timestamp":""}', 404),
    (b'{"type":"NAVIGATION","data":{"user_id":"x","route_distance":NaN},"status":{}}', 400),
]


class Driver:
    """
    One driver's program, over one connection at a time.

    :param cars: the catalogue.
    :param early: whether it leaves as soon as it has logged in, or paid.
    """

    def __init__(
        self,
        number: int,
        server: Server,
        book: Book,
        chance: random.Random,
        cars: dict[str, Any],
        early: bool = False,
    ) -> None:
        self._early = early
        self._number = number
        self._server = server
        self._book = book
        self._chance = chance
        self._cars = cars
        self._life: int | None = None
        """The server's, in which the connection was made."""
        self._reader: asyncio.StreamReader | None = None
        self._writer: Any = None
        self._asked = 0
        self._journeys = 0
        self._owed = 0
        """Replies to requests that were sent whole."""
        self._promised = 0
        """Of those, replies to what the server has read before it was asked to end."""
        self.stopping = False

    async def run(self) -> None:
        """Make journeys until told to stop."""
        while not self.stopping:
            try:
                await self._journey()
            except LOST:
                await self._away()
            except (LookupError, TypeError, ValueError) as wrong:
                self._book.find("".join(traceback.format_exception(wrong)))
                await self._away()
        self._drop()

    # The journey

    async def _journey(self) -> None:
        if self._early:
            await self._short_journey()
            return
        if self._chance.random() < 0.3:
            self._check_stations(await self._ask("START", {}))
        car, percent = self._chance.choice(list(self._cars)), self._chance.randint(1, 79)
        user = await self._log_in(car, percent)
        if user is None:
            return
        user_id, account = user
        await self._think()
        if not await self._navigate(user_id, account, car, percent):
            return
        station = await self._choose(user_id, account)
        if station is None or self._chance.random() < 0.05:
            # Has logged in, and is never heard of again.
            return
        await self._think()
        await self._pay(user_id, account, station)
        if account.stage == "charging":
            await self._charge(user_id, account)
        elif account.stage == "waiting" and self._chance.random() < 0.8:
            await self._leave(user_id, account)

    async def _short_journey(self) -> None:
        user = await self._log_in(
            self._chance.choice(list(self._cars)), self._chance.randint(1, 79)
        )
        if user is None:
            return
        user_id, account = user
        if self._chance.random() < 0.5:
            await self._pay(user_id, account, str(self._chance.randint(1, STATIONS)))
        if account.stage in ("waiting", "charging"):
            await self._leave(user_id, account)

    async def _log_in(self, car: str, percent: int) -> tuple[str, Account] | None:
        """Log in: the user's id, and what is known of it; None where the server let nobody in."""
        self._journeys += 1
        name = f"Driver {self._number}, journey {self._journeys}"
        login = {"user_name": name, "selected_car": car, "battery_car": percent}
        asked = time.time()
        # Whatever becomes of it, this LOGIN is not sent again.
        self._book.lost_logins.add(name)
        reply = await self._ask("LOGIN", login)
        if reply["status"]["code"] != 200:
            return None
        self._book.lost_logins.remove(name)
        user_id: str = reply["data"]["user_id"]
        if user_id in self._book.users:
            self._book.find(f"LOGIN gave the id …{ending(user_id)} a second time")
        account = self._book.users[user_id] = Account(name, asked, time.time())
        return user_id, account

    async def _navigate(self, user_id: str, account: Account, car: str, percent: int) -> bool:
        """Ask for the range, and see whether it is this car's. Whether the user is there."""
        reply = await self._ask("NAVIGATION", {"user_id": user_id, "route_distance": 10})
        if reply["status"]["code"] != 200:
            self._missed(account, reply)
            return False
        facts = self._cars[car]
        range_km = facts["battery_capacity"] * percent / 100 / facts["energy_consumption"]
        if not math.isclose(reply["data"]["autonomy"], range_km):
            self._book.find(f"{account} has {percent} % in a {car}, and was told {reply}")
        return True

    async def _choose(self, user_id: str, account: Account) -> str | None:
        if self._chance.random() < 0.5:
            data: dict[str, Any] = {"position": {"latitude": -12.25, "longitude": -38.95}}
        else:
            ids = self._chance.sample(range(1, STATIONS + 1), 10)
            data = {
                "list_stations": {
                    str(number): {"distance_origin_position": self._chance.uniform(0, 20)}
                    for number in ids
                }
            }
        data["criterion"] = self._chance.choice(["distance", "time", "price"])
        reply = await self._ask("SELECTION_STATION", {"user_id": user_id, **data})
        self._missed(account, reply)
        station: str | None = reply["data"].get("id_station")
        # Not all the same one: in a town that is full everybody is sent to the next to be free.
        return station if self._chance.random() < 0.5 else str(self._chance.randint(1, STATIONS))

    async def _pay(self, user_id: str, account: Account, station: str) -> None:
        """Pay, and if the answer is lost ask again until there is one."""
        data = {"user_id": user_id, "id_station": station, "confirmation": True}
        before = attrs.evolve(account)
        account.stage, account.tried = "unsure", station
        reply, times = await self._insist("PAYMENT", data)
        code, told = reply["status"]["code"], reply["data"]
        if code == 404:
            account.stage = "left"
            if times == 1:
                # Else it may have been paid, charged and swept before an answer came through.
                account.tried = ""
                self._missed(before, reply)
        elif told["confirmation"]:
            self._paid(account, station, told)
        else:
            account.stage = "waiting"
            if times == 1:
                # Else one that was not answered may be carried out only now, by another worker.
                account.tried = ""
            if code != 200:
                self._book.find(f"{account} has no slot, and was told {reply}")

    def _paid(self, account: Account, station: str, told: dict[str, Any]) -> None:
        new = (told["receipt_id"], told["amount"], told["estimated_timestamp"])
        if told["id_station"] != station:
            self._book.find(f"{account} paid at station {station}, and was told {told}")
        if account.receipt and new != (account.receipt, account.amount, account.ends):
            self._book.find(f"{account} was given another receipt for its slot: {told}")
        account.stage, account.station, account.tried = "charging", station, ""
        account.receipt, account.amount, account.ends = new

    async def _charge(self, user_id: str, account: Account) -> None:
        data = {"user_id": user_id, "id_station": account.station, "confirmation": True}
        if self._chance.random() < 0.4:
            await self._think()
            reply, _ = await self._insist("PAYMENT", data)
            if reply["data"]["confirmation"]:
                self._paid(account, account.station, reply["data"])
            else:
                self._missed(account, reply)
        if self._chance.random() < 0.1:
            other = str(int(account.station) % STATIONS + 1)
            reply, _ = await self._insist("PAYMENT", {**data, "id_station": other})
            if reply["status"]["code"] != 409:
                self._missed(account, reply)
        if self._chance.random() < 0.6:
            await self._think()
            await self._leave(user_id, account)

    async def _leave(self, user_id: str, account: Account) -> None:
        data = {"user_id": user_id, "id_station": account.station or "1", "confirmation": False}
        before = attrs.evolve(account)
        account.stage = "unsure"
        reply, times = await self._insist("PAYMENT", data)
        if times == 1 and reply["status"]["code"] != 200:
            # Else it may have left before an answer came through.
            self._missed(before, reply)
        account.stage = "left"
        self._book.events["journeys ended by drivers"] += 1

    def _missed(self, account: Account, reply: dict[str, Any]) -> None:
        """A reply that is right when the sweep has removed the user, and only then."""
        code = reply["status"]["code"]
        if code not in (200, 404, 503) or (code == 200 and reply["type"] == "PAYMENT"):
            self._book.find(f"{account} was told {reply}")
        elif code == 404 and not account.may_be_gone(time.time(), self._book.ttl_s):
            self._book.find(f"{account} should be there, and was told {reply}")

    def _check_stations(self, reply: dict[str, Any]) -> None:
        stations = reply["data"].get("station_models", {})
        if len(stations) != STATIONS and reply["status"]["code"] == 200:
            self._book.find(f"START shows {len(stations)} stations")
        for number, station in stations.items():
            if not 0 <= station["available_slots"] <= station["max_slots"]:
                self._book.find(f"START shows station {number} as {station}")

    # Asking

    async def _insist(self, kind: str, data: dict[str, Any]) -> tuple[dict[str, Any], int]:
        """Ask until there is an answer that is none of 503; it, and how often it took asking."""
        for times in itertools.count(1):
            try:
                reply = await self._ask(kind, data)
            except LOST:
                if self.stopping:
                    raise
                await self._away()
                continue
            if reply["status"]["code"] != 503:
                return reply, times
            await asyncio.sleep(0.2)
        raise AssertionError

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
            return await self._half_close(kind, line)
        if 0.06 <= chance < 0.08:
            return await self._pipeline(kind, request, 1)
        if 0.08 <= chance < 0.0805:
            return await self._pipeline(kind, request, 60)
        if 0.081 <= chance < 0.09:
            self._book.events["trickled"] += 1
            await self._trickle(line)
        else:
            self._writer.write(line)
        self._owed += 1
        if 0.09 <= chance < 0.11:
            self._book.events["read late"] += 1
            await asyncio.sleep(1)
        reply = await self._reply(kind, self._asked)
        if 0.11 <= chance < 0.13:
            self._book.events["reconnected"] += 1
            self._drop()
        return reply

    async def _half_close(self, kind: str, line: bytes) -> dict[str, Any]:
        """Say no more behind the request; after its reply there has to be the server's end."""
        self._book.events["half-closed"] += 1
        self._writer.write(line[: -self._chance.randint(0, 1) or None])
        self._writer.write_eof()
        self._owed += 1
        reply = await self._reply(kind, self._asked)
        await self._see_the_end(f"{kind} and a FIN")
        return reply

    async def _pipeline(self, kind: str, request: dict[str, Any], before: int) -> dict[str, Any]:
        """Send further requests first; many of them fill the server's buffers and ours."""
        self._book.events["pipelined" if before == 1 else "read slowly"] += 1
        ids = [f"before {number}" for number in range(before)]
        for one in ids:
            start = {**request, "type": "START", "data": {}, "id": one}
            self._writer.write(json.dumps(start).encode() + b"\n")
        self._writer.write(json.dumps(request).encode() + b"\n")
        self._owed += before + 1
        for one in ids:
            if before > 1:
                await asyncio.sleep(0.02)
            await self._reply("START", one)
        return await self._reply(kind, self._asked)

    async def _trickle(self, line: bytes) -> None:
        for at in range(0, len(line), 20):
            self._writer.write(line[at : at + 20])
            await asyncio.sleep(0.01)

    async def _garbage(self) -> None:
        """Say something wrong, and be told so."""
        await self._connect()
        self._book.events["garbage"] += 1
        if self._chance.random() < 0.1:
            self._writer.write(b"x" * 70_000)
            # Not to be counted on when the server is asked to end: it is no whole line.
            line, code = b"70,000 bytes", 413
        else:
            line, code = self._chance.choice(GARBAGE)
            if self._chance.random() < 0.1 and len(line) < 500:
                await self._trickle(line + b"\n")
            else:
                self._writer.write(line + b"\n")
            self._owed += 1
        reply = await self._line()
        told = reply["status"]["code"]
        if told != code and not (told == 503 and self._server.may_refuse()):
            self._book.find(f"{line[:80]!r} should get {code}, and got {str(reply)[:1000]}")
        if code == 413:
            await self._see_the_end("a line over the limit")

    async def _reply(self, kind: str, request_id: object) -> dict[str, Any]:
        reply = await self._line()
        code, reason = reply["status"]["code"], reply["data"].get("reason", "")
        self._book.replies[kind, code, reason] += 1
        if reply["type"] != kind or reply.get("id") != request_id:
            self._book.find(f"{kind} {request_id} was answered by {str(reply)[:1000]}")
        if (code, reason) not in ALLOWED[kind] and not (code == 503 and self._server.may_refuse()):
            self._book.find(f"{kind} was answered by {str(reply)[:1000]}")
        return reply

    async def _line(self) -> dict[str, Any]:
        """The next reply; any is an envelope."""
        assert self._reader is not None
        try:
            line = await asyncio.wait_for(self._reader.readuntil(b"\n"), REPLY_S)
        except LOST as lost:
            if isinstance(lost, asyncio.TimeoutError):
                self._book.find(f"no reply to driver {self._number} within {REPLY_S:g} s")
            else:
                self._lost("hung up instead of a reply", lost)
            if self._promised:
                self._book.find("a request that was read before SIGTERM was not answered")
            raise
        self._owed = max(0, self._owed - 1)
        self._promised = max(0, self._promised - 1)
        problem, reply = envelope(line)
        if problem:
            self._book.find(f"a reply {problem}: {line[:1000]!r}")
            # What is asked next could be answered by the rest of it.
            raise ConnectionResetError
        return reply

    # The connection

    async def _connect(self) -> None:
        if self._writer is None:
            self._life = self._server.life
            try:
                self._reader, self._writer = await asyncio.open_connection(
                    "127.0.0.1", self._server.port, limit=1 << 17
                )
            except LOST as lost:
                self._lost("let nobody in", lost)
                raise

    def _lost(self, what: str, lost: BaseException) -> None:
        """The connection is lost: see whether the server's end may have been the reason."""
        if self._life is not None and self._life == self._server.life:
            self._book.find(f"the server, which ran all the time, {what}: {lost!r}")

    async def _see_the_end(self, after: str) -> None:
        """The server closes the connection, and has nothing more to say."""
        assert self._reader is not None
        try:
            more = await asyncio.wait_for(self._reader.read(1000), REPLY_S)
            if more:
                self._book.find(f"after {after} comes {more!r}")
        except asyncio.TimeoutError:
            self._book.find(f"after {after} the server does not hang up")
        except OSError as lost:
            self._lost(f"reset the connection after {after}", lost)
        self._drop()

    def promise(self, read: set[int]) -> None:
        """
        The server is asked to end: what it has read it will have answered.

        :param read: the local ports of the connections on which it has read all that was sent.
        """
        if self._writer is None or self._writer.transport.get_write_buffer_size():
            return
        address = self._writer.get_extra_info("sockname")
        if address is not None and address[1] in read:
            self._promised = self._owed
            self._book.events["replies owed at SIGTERM"] += self._owed

    def _drop(self, reset: bool = False) -> None:
        if self._writer is not None:
            if reset:
                connected: socket.socket = self._writer.get_extra_info("socket")
                connected.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self._writer.close()
        self._reader = self._writer = None
        self._owed = self._promised = 0

    async def _away(self) -> None:
        """The connection is lost: wait a little before the next one."""
        self._drop()
        self._book.events["lost"] += 1
        await asyncio.sleep(self._chance.uniform(0.1, 0.5))

    async def _think(self) -> None:
        await asyncio.sleep(self._chance.uniform(0.1, 1.0))


def envelope(line: bytes) -> tuple[str, dict[str, Any]]:
    """What is wrong with the envelope of a reply, or nothing; and the reply."""
    try:
        reply = json.loads(line)
    except ValueError:
        return "that is no JSON", {}
    if not isinstance(reply, dict):
        return "that is no object", {}
    fields = {"type": str, "data": dict, "status": dict, "timestamp": str}
    for field, kind in fields.items():
        if not isinstance(reply.get(field), kind):
            return f"without {field}", {}
    if more := set(reply) - set(fields) - {"id"}:
        return f"with {more}", {}
    if not TIMESTAMP.fullmatch(reply["timestamp"]):
        return "with a strange timestamp", {}
    status, data = reply["status"], reply["data"]
    code, message = status.get("code"), status.get("message")
    if type(code) is not int or not isinstance(message, str) or not message:
        return "with a strange status", {}
    if code != 200 and not (data.get("reason") and data.get("message") == message):
        return "that does not say what is wrong", {}
    return "", reply


def read_by_server(port: int, table: str) -> set[int]:
    """
    The ports of the clients of which the server on `port` has read all that they have sent.

    :param table: the kernel's table of connections, as in /proc/net/tcp.
    """
    arrived, taken = set(), set()
    for row in table.splitlines()[1:]:
        _, here, there, _, queues, *_ = row.split()
        own, other = (int(address.rpartition(":")[2], 16) for address in (here, there))
        unsent, unread = (int(length, 16) for length in queues.split(":"))
        if own == port and not unread:
            taken.add(other)
        elif other == port and not unsent:
            arrived.add(own)
    return arrived & taken


def die_with_parent() -> None:
    """In a new process: have the kernel kill it when the soak ends, however that may be."""
    pr_set_pdeathsig = 1
    LIBC.prctl(pr_set_pdeathsig, signal.SIGKILL)


class Server:
    """The server under test, killed and started again."""

    def __init__(self, folder: Path, url: str, workers: int, book: Book) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port: int = free.getsockname()[1]
        self._log = folder / "server.log"
        self._book = book
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
            "--workers",
            str(workers),
            "--time-scale",
            str(TIME_SCALE),
            "--sweep-interval",
            str(SWEEP_S),
            "--user-ttl",
            str(book.ttl_s),
        ]
        # Not on the command line, which others can read: a database's URL may hold a password.
        self._environment = {**os.environ, "PYTHONPATH": str(ROOT), "EVCHARGE_STORAGE": url}
        self._process: subprocess.Popen[bytes] | None = None
        self._lives = 0
        self._refused_until = 0.0
        self.life: int | None = None
        """None while it does not listen; another number after each kill."""

    def may_refuse(self) -> bool:
        """Whether it is ending, or was so short ago that its last replies are still being read."""
        return time.monotonic() < self._refused_until

    async def start(self) -> None:
        """Start it, and wait until it listens."""
        limit = time.monotonic() + START_S
        while time.monotonic() < limit:
            with open(self._log, "ab") as log:
                at = log.tell()
                self._process = subprocess.Popen(
                    self._command,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    env=self._environment,
                    # A Ctrl-C is for this process, which then ends the others in order.
                    start_new_session=True,
                    preexec_fn=die_with_parent,
                )
            while self._process.poll() is None and time.monotonic() < limit:
                if b" listens on " in self._log.read_bytes()[at:]:
                    self._live()
                    return
                await asyncio.sleep(0.05)
            # What is left of the one before may still hold the port, or the storage.
            await asyncio.sleep(0.5)
        raise Problem(f"the server does not start:\n{self.log()[-3000:]}")

    def _live(self) -> None:
        self._lives += 1
        self.life = self._lives

    async def end(self, how: signal.Signals) -> None:
        """End it by a signal, and wait until it and its workers are gone."""
        process, self._process = self._process, None
        self.life = None
        if process is None:
            return
        workers = children(process.pid)
        if how is signal.SIGTERM:
            self._refused_until = math.inf
        process.send_signal(how)
        limit = time.monotonic() + END_S
        while process.poll() is None or any(map(is_worker, workers)):
            if time.monotonic() > limit:
                self._book.find(f"{how.name} has not ended the server within {END_S:g} s")
                for pid in filter(is_worker, workers):
                    os.kill(pid, signal.SIGKILL)
                process.kill()
                limit = math.inf
            await asyncio.sleep(0.02)
        if how is signal.SIGTERM:
            self._refused_until = time.monotonic() + SLACK_S
        if process.returncode != -how:
            self._book.find(f"ended by {how.name}, the server's status is {process.returncode}")

    def kill_a_worker(self, chance: random.Random) -> bool:
        """Kill one of its workers; False where it has none."""
        workers = [] if self._process is None else children(self._process.pid)
        if workers:
            self._live()
            os.kill(chance.choice(workers), signal.SIGKILL)
        return bool(workers)

    def has_ended(self) -> int | None:
        """The status of a server that has ended by itself."""
        return None if self._process is None else self._process.poll()

    def log(self) -> str:
        """All that it has logged."""
        return self._log.read_text(errors="replace")

    def memory_kib(self) -> int:
        """The memory that it and its workers have for themselves, KiB."""
        if self._process is None:
            return 0
        pid = self._process.pid
        total = 0
        for one in (pid, *children(pid)):
            with contextlib.suppress(OSError):
                for line in Path(f"/proc/{one}/status").read_text().splitlines():
                    if line.startswith("RssAnon"):
                        total += int(line.split()[1])
        return total


class Problem(Exception):
    """The soak cannot go on; says why."""


def children(pid: int) -> list[int]:
    """The child processes of a process."""
    found: list[int] = []
    with contextlib.suppress(OSError):
        for task in Path(f"/proc/{pid}/task").glob("*/children"):
            found += map(int, task.read_text().split())
    return found


def is_worker(pid: int) -> bool:
    """Whether there is such a process, and it is a worker: ids are given anew."""
    try:
        return b"evcharge.process.workers" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False


@attrs.define
class Soak:
    """One run."""

    options: argparse.Namespace
    folder: Path
    url: str
    book: Book
    memory: list[tuple[int, int]] = attrs.field(factory=list)
    """Each second of the phase without kills: memory, KiB, and users."""
    ended: list[Ended] = attrs.field(factory=list)
    """The same, of what has ended by then."""
    shown: dict[str, Any] = attrs.field(factory=dict)
    """The stations as START had them when nobody asked for anything any more, and"""
    shown_at: float = 0.0
    """when that was, seconds since the epoch."""

    async def run(self) -> None:
        """Run it, and leave the server ended."""
        options, book = self.options, self.book
        running = asyncio.current_task()
        assert running is not None
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, running.cancel)
        server = Server(self.folder, self.url, options.workers, book)
        cars = json.loads((ROOT / "evcharge/data/car_models.json").read_text())
        drivers = [
            Driver(
                number,
                server,
                book,
                random.Random(f"{options.seed} {number}"),
                cars,
                options.early,
            )
            for number in range(options.connections)
        ]
        tasks: list[asyncio.Task[None]] = []
        try:
            await server.start()
            tasks += [asyncio.create_task(driver.run()) for driver in drivers]
            await self._trouble(server, drivers, tasks)
            for driver in drivers:
                driver.stopping = True
            _, late = await asyncio.wait(tasks, timeout=LAST_REPLIES_S)
            if late:
                book.find(f"{len(late)} drivers have not ended within {LAST_REPLIES_S:g} s")
            await self._last_start(server)
            await server.end(signal.SIGTERM)
        finally:
            for task in tasks:
                task.cancel()
            await server.end(signal.SIGKILL)
        self._check_log(server.log())

    async def _trouble(
        self, server: Server, drivers: list[Driver], tasks: list[asyncio.Task[None]]
    ) -> None:
        """Kill the server for two thirds of the time, and watch its memory in the last."""
        options, book = self.options, self.book
        chance = random.Random(options.seed)
        began = time.monotonic()
        next_kill = options.kill_every
        while (passed := time.monotonic() - began) < options.seconds:
            await asyncio.sleep(min(1.0, options.seconds - passed))
            for task in tasks:
                if task.done():
                    task.result()
            if (status := server.has_ended()) is not None:
                book.find(f"the server ended by itself, with {status}:\n{server.log()[-3000:]}")
                await server.start()
            if passed >= options.seconds * 2 / 3:
                kib = server.memory_kib()
                self.memory.append((kib, book.present(time.time())))
                ended = book.events["journeys ended by drivers"]
                self.ended.append(Ended(kib, ended, len(book.lost_logins)))
            elif passed >= next_kill:
                next_kill = passed + options.kill_every * chance.uniform(0.5, 1.5)
                await self._kill(server, drivers, chance)

    async def _kill(self, server: Server, drivers: list[Driver], chance: random.Random) -> None:
        events = self.book.events
        if chance.random() < 0.3 and server.kill_a_worker(chance):
            events["workers killed"] += 1
            return
        how = signal.SIGTERM if chance.random() < 0.3 else signal.SIGKILL
        events[f"server ended by {how.name}"] += 1
        if how is signal.SIGTERM:
            read = read_by_server(server.port, Path("/proc/net/tcp").read_text())
            for driver in drivers:
                driver.promise(read)
        await server.end(how)
        await server.start()

    async def _last_start(self, server: Server) -> None:
        # What START says of the slots may be a second old.
        await asyncio.sleep(1.5)
        self.shown_at = time.time()
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port, limit=1 << 20)
            writer.write(b'{"type":"START","data":{},"status":{},"timestamp":""}\n')
            _, reply = envelope(await asyncio.wait_for(reader.readuntil(b"\n"), REPLY_S))
            writer.close()
            self.shown = reply["data"]["station_models"]
        except (*LOST, KeyError) as error:
            self.book.find(f"the last START was not answered: {error!r}")

    def _check_log(self, log: str) -> None:
        for word in ("Traceback", "Incident"):
            if word in log:
                at = log.index(word)
                self.book.find(f"the log has: {log[max(0, at - 200) : at + 1500]}")
        for line in log.splitlines():
            # That a worker was killed is told as an error.
            if re.search(r"#(error|critical)\]", line) and "the next one starts in" not in line:
                self.book.find(f"the log has: {line}")

    def check(self) -> list[str]:
        """Audit the storage, and look at memory; what to print."""
        now, data = time.time(), self.folder / "data"
        audited = audit(self.book, self.url, data, now)
        if self.shown:
            check_shown(self.book, self.shown, self.shown_at, read(self.url, data))
        told = [audited, memory(self.book, self.memory)]
        return [*told, remains(self.book, self.ended)] if self.options.early else told


def report(soak: Soak, checked: list[str]) -> int:
    """Print what came of it; the exit status."""
    book, seconds = soak.book, soak.options.seconds
    total = sum(book.replies.values())
    print(f"{total} replies, {total / seconds:.0f} a second:")
    for (kind, code, reason), count in sorted(book.replies.items()):
        print(f"  {kind} {code} {reason}".rstrip() + f": {count}")
    print("; ".join(f"{count} {event}" for event, count in sorted(book.events.items())))
    print(*checked, sep="\n")
    for finding in book.findings:
        print(f"FINDING: {finding}")
    if book.untold_findings:
        print(f"and {book.untold_findings} more")
    count = len(book.findings) + book.untold_findings
    print(f"{count} findings" if count else "all adds up")
    return 1 if count else 0


def prepare(url: str, data: Path) -> None:
    """Make the storage. Problem: it cannot be, or holds something already."""
    try:
        storage = parse(url, str(data)).storage()
        storage.open(time.time())
        storage.close()
        found = read(url, data)
    except (ValueError, StorageError) as error:
        raise Problem(str(error)) from None
    if found.users or found.sessions or found.payments:
        raise Problem(f"{without_password(url)} is in use: name a database that is empty")


def over_zero(value: str) -> float:
    """A number over 0."""
    number = float(value)
    if not 0 < number < math.inf:
        raise argparse.ArgumentTypeError("must be a number over 0")
    return number


def read_arguments() -> argparse.Namespace:
    """The options of the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n\n")[0].strip())
    add = parser.add_argument
    add("--connections", type=positive, default=500, help="drivers; default %(default)s")
    add("--seconds", type=over_zero, default=600.0, help="default %(default)g")
    add(
        "--kill-every",
        type=over_zero,
        help="seconds, on the average; default: 20, or an eighth of a shorter run's time",
    )
    add("--storage", default="files", help="files, sqlite or the URL of an empty database")
    add("--workers", type=positive, default=1, help="processes of the server; default %(default)s")
    add("--seed", type=int, default=random.randrange(10**6), help="of its choices")
    add("--early", action="store_true", help="drivers who leave at once: many short journeys")
    add("--scratch", type=Path, help="where to put the folder that it works in")
    options = parser.parse_args()
    if options.kill_every is None:
        options.kill_every = min(20.0, options.seconds / 8)
    return options


def soak(options: argparse.Namespace, folder: Path) -> int:
    """Run, audit and report; the exit status."""
    url = f"sqlite:///{folder}/soak.db" if options.storage == "sqlite" else options.storage
    prepare(url, folder / "data")
    ttl_s = min(LONGEST_TTL_S, max(SHORTEST_TTL_S, options.seconds / 10))
    if options.early:
        ttl_s = EARLY_TTL_S
    run = Soak(options, folder, url, Book(ttl_s))
    limit_s = options.seconds + HARD_LIMIT_S
    try:
        asyncio.run(asyncio.wait_for(run.run(), limit_s))
    except asyncio.TimeoutError:
        raise Problem(f"it has not ended within {limit_s:g} s") from None
    return report(run, run.check())


def main() -> int:
    """Soak the server in a folder that is removed afterwards."""
    options = read_arguments()
    # Its own word on connections that are lost, which is what they are here for.
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)
    print(
        f"soak: {options.connections} connections, {options.seconds:g} s, storage "
        f"{without_password(options.storage)}, {options.workers} workers, seed {options.seed}; "
        f"Python {platform.python_version()}, Twisted {twisted.__version__}, "
        f"{os.cpu_count()} cores",
        flush=True,
    )
    try:
        with tempfile.TemporaryDirectory(prefix=".evcharge-soak-", dir=options.scratch) as folder:
            return soak(options, Path(folder))
    except (Problem, OSError) as problem:
        print(f"soak: {problem}", file=sys.stderr)
        return 1
    except (KeyboardInterrupt, asyncio.CancelledError):
        print("soak: interrupted", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
