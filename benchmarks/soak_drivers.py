"""The drivers of a soak: what each does on its way, and what it must be told."""

from __future__ import annotations

import asyncio
import itertools
import json
import math
import random
import re
import socket
import struct
import time
import traceback
from typing import TYPE_CHECKING, Any

import attrs

from benchmarks import soak_sessions
from benchmarks.soak_audit import Account, Book, Charge
from benchmarks.soak_charges import Network
from benchmarks.soak_sessions import Means, Visit
from evcharge.utils.ids import ending

if TYPE_CHECKING:
    from benchmarks.soak import Server

STATIONS = 36
"""In the network that evcharge brings along."""

FRAGILE = frozenset(("3", "9", "21", "27", "33"))
"""The stations whose EVSEs break now and then: only drivers who follow their sessions go there."""

REPLY_S = 30.0
"""How long a driver waits for a reply: much longer than any may take."""

LOST = (ConnectionError, asyncio.IncompleteReadError, asyncio.TimeoutError, OSError)
"""What the loss of a connection looks like."""

TIMESTAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")

ALLOWED = {
    "START": {(200, "")},
    "LOGIN": {(200, "")},
    "NAVIGATION": {(200, ""), (404, "user_not_found")},
    "SELECTION_STATION": {(200, ""), (200, "no_station"), (404, "user_not_found")},
    "PAYMENT": {
        *((200, ""), (200, "no_slot"), (404, "user_not_found")),
        *((409, "already_reserved"), (409, "no_compatible_connector")),
    },
    **soak_sessions.ALLOWED,
}
"""The codes and reasons that what is sent here may get."""

WHIMS = {
    **dict.fromkeys(("garbage", "dropped", "half-closed", "pipelined"), 0.02),
    **dict.fromkeys(("read late", "reconnected"), 0.02),
    **{"read slowly": 0.0005, "trickled": 0.009},
}
"""What a driver does with a request now and then, and how often."""

AHEAD = {"pipelined": 1, "read slowly": 60}
"""Requests that are sent before it; many of them fill the server's buffers and ours."""

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
    (b"x" * 70_000, 413),
]


class Driver:
    """
    One driver's program, over one connection at a time.

    :param cars: the catalogue.
    :param early: whether it leaves as soon as it has logged in, or paid.
    :param network: as the shipped files have it; None: the driver follows no session.
    :param alone: whether the server is one process, with a storage to itself.
    """

    def __init__(
        self,
        number: int,
        server: Server,
        book: Book,
        chance: random.Random,
        cars: dict[str, Any],
        early: bool = False,
        network: Network | None = None,
        alone: bool = True,
    ) -> None:
        self._number, self._server, self._book, self._chance = number, server, book, chance
        self._cars, self._early, self._network = cars, early, network
        self._means = Means(
            self._insist,
            asyncio.sleep,
            time.time,
            chance,
            lambda: self._server.life,
            lambda: self.stopping,
            alone,
        )
        self._life: int | None = None
        """The server's, in which the connection was made."""
        self._reader: asyncio.StreamReader | None = None
        self._writer: Any = None
        self._asked = self._journeys = 0
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
        maybe = self._chance.random
        if not self._early and maybe() < 0.3:
            self._check_stations(await self._ask("START", {}))
        car, percent = self._chance.choice(list(self._cars)), self._chance.randint(1, 79)
        if (user := await self._log_in(car, percent)) is None:
            return
        user_id, account = user
        station = str(self._chance.randint(1, STATIONS))
        if self._network is not None and (maybe() < 0.4 or station in FRAGILE):
            account.visits, account.stage, account.station = True, "unsure", station
            visit = Visit(self._means, self._book, self._network, user_id, account, station)
            await visit.run()
            return
        if self._early:
            if maybe() < 0.5:
                await self._pay(user_id, account, station)
            await self._leave(user_id, account)
            return
        await self._think()
        if not await self._navigate(user_id, account, car, percent):
            return
        best = await self._choose(user_id, account)
        if best is None or maybe() < 0.05:
            # Has logged in, and is never heard of again.
            return
        await self._think()
        # Not all the same one: in a town that is full everybody is sent to the next to be free.
        chosen = best if maybe() < 0.5 and best not in FRAGILE else station
        await self._pay(user_id, account, chosen)
        if account.stage == "charging" and maybe() < 0.4:
            await self._think()
            await self._pay(user_id, account, account.station)
        if account.stage == "charging" and maybe() < 0.1:
            await self._pay_elsewhere(user_id, account)
        if maybe() < (0.6 if account.stage == "charging" else 0.8):
            await self._think()
            await self._leave(user_id, account)

    async def _log_in(self, car: str, percent: int) -> tuple[str, Account] | None:
        """Log in: the user's id, and what is known of it; None where the server let nobody in."""
        self._journeys += 1
        name = f"Driver {self._number}, journey {self._journeys}"
        login: dict[str, Any] = {"user_name": name, "selected_car": car, "battery_car": percent}
        target = self._chance.choice((80.0, 80.0, 80.0, 35.0, 95.5, 100.0))
        if target != 80.0:
            login["target_percent"] = target
        asked = time.time()
        # Whatever becomes of it, this LOGIN is not sent again.
        self._book.lost_logins.add(name)
        reply = await self._ask("LOGIN", login)
        if reply["status"]["code"] != 200:
            return None
        self._book.lost_logins.remove(name)
        user_id: str = reply["data"]["user_id"]
        told = f"LOGIN gave the id …{ending(user_id)} a second time"
        self._book.find(told, user_id in self._book.users)
        account = self._book.users[user_id] = Account(name, asked, time.time(), car=car)
        account.driver_id = reply["data"].get("driver_id", "")
        account.start_percent, account.target_percent = float(percent), target
        if self._chance.random() < 0.3:
            account.start_percent = account.arrival_percent = float(percent // 2)
        return user_id, account

    async def _navigate(self, user_id: str, account: Account, car: str, percent: int) -> bool:
        """Ask for the range, and see whether it is this car's. Whether the user is there."""
        reply = await self._ask("NAVIGATION", {"user_id": user_id, "route_distance": 10})
        self._missed(account, reply)
        if reply["status"]["code"] != 200:
            return False
        facts = self._cars[car]
        range_km = facts["battery_capacity"] * percent / 100 / facts["energy_consumption"]
        told = f"{account} has {percent} % in a {car}, and was told {reply}"
        self._book.find(told, not math.isclose(reply["data"]["autonomy"], range_km))
        return True

    async def _choose(self, user_id: str, account: Account) -> str | None:
        data: dict[str, Any] = {"position": {"latitude": -12.25, "longitude": -38.95}}
        if self._chance.random() < 0.5:
            some = self._chance.sample(range(1, STATIONS + 1), 10)
            far = {each: {"distance_origin_position": self._chance.uniform(0, 20)} for each in some}
            data = {"list_stations": far}
        data["criterion"] = self._chance.choice(["distance", "time", "price"])
        reply = await self._ask("SELECTION_STATION", {"user_id": user_id, **data})
        self._missed(account, reply)
        station: str | None = reply["data"].get("id_station")
        return station

    async def _pay(self, user_id: str, account: Account, station: str) -> None:
        """Pay, or ask what was paid; if the answer is lost, ask again until there is one."""
        data = {"user_id": user_id, "id_station": station, "confirmation": True}
        if account.arrival_percent is not None:
            data["arrival_percent"] = account.arrival_percent
        before, asked = attrs.evolve(account), time.time()
        if account.stage != "charging":
            account.stage, account.tried = "unsure", station
        reply, times = await self._insist("PAYMENT", data)
        if reply["data"].get("confirmation"):
            self._paid(account, station, reply["data"])
            if before.stage != "charging":
                charge = Charge(account, asked, time.time(), reply["data"])
                self._book.charges.append(charge)
        elif before.stage == "charging":
            self._missed(account, reply)
        else:
            code, reason = reply["status"]["code"], reply["data"].get("reason", "")
            misfit = reason == "no_compatible_connector"
            if misfit or reason == "no_slot":
                self._book.unserved.add((account.car, station, not misfit))
            account.stage = "left" if code == 404 else "waiting"
            if times == 1:
                # Else it may have been paid, charged and swept before an answer came through, or
                # one that was not answered be carried out only now, by another worker.
                account.tried = ""
                if code == 404:
                    self._missed(before, reply)
            wrong = code not in (200, 404) and not misfit
            self._book.find(f"{account} has no slot, and was told {reply}", wrong)

    def _paid(self, account: Account, station: str, told: dict[str, Any]) -> None:
        new = (told["receipt_id"], told["amount"], told["estimated_timestamp"])
        old = (account.receipt, account.amount, account.ends)
        wrong = told["id_station"] != station
        self._book.find(f"{account} paid at station {station}, and was told {told}", wrong)
        wrong = bool(account.receipt) and new != old
        self._book.find(f"{account} was given another receipt for its slot: {told}", wrong)
        account.stage, account.station, account.tried = "charging", station, ""
        account.receipt, account.amount, account.ends = new

    async def _pay_elsewhere(self, user_id: str, account: Account) -> None:
        other = str(int(account.station) % STATIONS + 1)
        data = {"user_id": user_id, "id_station": other, "confirmation": True}
        reply, _ = await self._insist("PAYMENT", data)
        if reply["status"]["code"] != 409:
            self._missed(account, reply)

    async def _leave(self, user_id: str, account: Account) -> None:
        if account.stage == "left":
            return
        data = {"user_id": user_id, "id_station": account.station or "1", "confirmation": False}
        before = attrs.evolve(account)
        account.stage, account.leaves = "unsure", time.time()
        reply, times = await self._insist("PAYMENT", data)
        if times == 1 and reply["status"]["code"] != 200:
            # Else it may have left before an answer came through.
            self._missed(before, reply)
        account.stage = "left"
        self._book.events["journeys ended by drivers"] += 1

    def _missed(self, account: Account, reply: dict[str, Any]) -> None:
        """A reply that is right when the sweep has removed the user, and only then."""
        code = reply["status"]["code"]
        wrong = code not in (200, 404, 503) or (code == 200 and reply["type"] == "PAYMENT")
        self._book.find(f"{account} was told {reply}", wrong)
        wrong = code == 404 and not account.may_be_gone(time.time(), self._book.ttl_s)
        self._book.find(f"{account} should be there, and was told {reply}", wrong)

    def _check_stations(self, reply: dict[str, Any]) -> None:
        stations = reply["data"].get("station_models", {})
        wrong = len(stations) != STATIONS and reply["status"]["code"] == 200
        self._book.find(f"START shows {len(stations)} stations", wrong)
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
        shares = zip(WHIMS, itertools.accumulate(WHIMS.values()), strict=True)
        whim = next((whim for whim, share in shares if chance < share), "")
        await self._connect()
        self._book.events[whim] += bool(whim)
        if whim == "garbage":
            await self._garbage()
            await self._connect()
        self._asked += 1
        request = {"type": kind, "data": data, "status": {}, "timestamp": "", "id": self._asked}
        ahead = [f"before {number}" for number in range(AHEAD.get(whim, 0))]
        start = {**request, "type": "START", "data": {}}
        sent = b"".join(json.dumps({**start, "id": one}).encode() + b"\n" for one in ahead)
        sent += json.dumps(request).encode() + b"\n"
        if whim == "half-closed":
            self._writer.write(sent[: -self._chance.randint(0, 1) or None])
            self._writer.write_eof()
        else:
            await self._write(sent, whim == "trickled")
        if whim == "dropped":
            self._drop(reset=self._chance.random() < 0.5)
            raise ConnectionResetError
        self._owed += len(ahead) + 1
        if whim == "read late":
            await asyncio.sleep(1)
        for one in ahead:
            await asyncio.sleep(0.02 if whim == "read slowly" else 0)
            await self._reply("START", one)
        reply = await self._reply(kind, self._asked)
        if whim == "half-closed":
            await self._see_the_end(f"{kind} and a FIN")
        if whim == "reconnected":
            self._drop()
        return reply

    async def _write(self, sent: bytes, trickle: bool = False) -> None:
        step = 20 if trickle else len(sent)
        for at in range(0, len(sent), step):
            self._writer.write(sent[at : at + step])
            if trickle:
                await asyncio.sleep(0.01)

    async def _garbage(self) -> None:
        """Say something wrong, and be told so."""
        line, code = self._chance.choice(GARBAGE)
        await self._write(line + b"\n", len(line) < 500 and self._chance.random() < 0.1)
        # What is too long is not to be counted on when the server is asked to end: it has not
        # been read whole.
        self._owed += code != 413
        reply = await self._line()
        told = reply["status"]["code"]
        wrong = told != code and not (told == 503 and self._server.may_refuse())
        self._book.find(f"{line[:80]!r} should get {code}, and got {str(reply)[:1000]}", wrong)
        if code == 413:
            await self._see_the_end("a line over the limit")

    async def _reply(self, kind: str, request_id: object) -> dict[str, Any]:
        reply = await self._line()
        code, reason = reply["status"]["code"], reply["data"].get("reason", "")
        self._book.replies[kind, code, reason] += 1
        refused = code == 503 and self._server.may_refuse()
        other = reply["type"] != kind or reply.get("id") != request_id
        if other or not (refused or (code, reason) in ALLOWED[kind]):
            self._book.find(f"{kind} {request_id} was answered by {str(reply)[:1000]}")
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
            told = "a request that was read before SIGTERM was not answered"
            self._book.find(told, self._promised)
            raise
        self._owed, self._promised = max(0, self._owed - 1), max(0, self._promised - 1)
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
        alive = self._life is not None and self._life == self._server.life
        self._book.find(f"the server, which ran all the time, {what}: {lost!r}", alive)

    async def _see_the_end(self, after: str) -> None:
        """The server closes the connection, and has nothing more to say."""
        assert self._reader is not None
        try:
            more = await asyncio.wait_for(self._reader.read(1000), REPLY_S)
            self._book.find(f"after {after} comes {more!r}", more)
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
        parts = {name: reply.pop(name) for name in ("type", "data", "status", "timestamp")}
        code, message = parts["status"].get("code"), parts["status"].get("message")
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        return f"that is no envelope ({error!r})", {}
    kind, data, _, timestamp = parts.values()
    for right, problem in (
        (isinstance(kind, str) and isinstance(data, dict), "of a strange type, or without data"),
        (not set(reply) - {"id"}, f"with {set(reply)}"),
        (TIMESTAMP.fullmatch(str(timestamp)), "with a strange timestamp"),
        (type(code) is int and isinstance(message, str) and message, "with a strange status"),
    ):
        if not right:
            return problem, {}
    if code != 200 and not (data.get("reason") and data.get("message") == message):
        return "that does not say what is wrong", {}
    return "", {**parts, **reply}
