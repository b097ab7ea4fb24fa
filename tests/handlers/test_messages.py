"""What the messages declare of themselves, held against what is made of it."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

import evcharge
from evcharge import outcomes
from evcharge.controller import UNKNOWN, Controller
from evcharge.handlers import MESSAGES, Context, handlers
from evcharge.handlers.start import Start
from evcharge.models.catalogue import Catalogue
from evcharge.models.stations import Stations
from evcharge.net.lines import Lines
from evcharge.outcomes import Reply
from evcharge.process.virtual_clock import VirtualClock
from evcharge.push.hub import Hub
from evcharge.testing import NOON, MemoryServer
from evcharge.wire.envelope import UNREADABLE_TYPE
from evcharge.wire.fields import Field, ListOf, Object
from tests.support.journey import login, outcome, server, station
from tests.support.messages import TYPES, good_data

DOCS = Path(evcharge.__file__).resolve().parent.parent / "docs"
PAGES = {"en": DOCS / "protocol.md", "pt": DOCS / "pt" / "protocol.md"}
HEADS = {"en": "| field of the request |", "pt": "| campo da requisição |"}
REQUIRED = {"en": ("yes", "optional", "or", "without"), "pt": ("sim", "opcional", "ou", "sem")}
"""What the pages say of a field that must be there, may be absent, or does for another."""


class FieldTests(SynchronousTestCase):
    """Each message reads what it declares."""

    def setUp(self) -> None:
        self.server = server(station(1))
        self.good = good_data(login(self.server))

    def test_good(self) -> None:
        """A request with every field is carried out, and so is one without those it can lack."""
        for message in MESSAGES:
            self.carry_out(message.TYPE, "")
            for field in message.FIELDS:
                if field.optional or field.instead:
                    self.carry_out(message.TYPE, field.name)

    def carry_out(self, kind: str, without: str) -> None:
        """Send a good request without one of its fields, of a driver who may."""
        to = server(station(1))
        user_id = login(to)
        data = good_data(user_id)[kind]
        if kind in ("STOP", "RECEIPT"):
            arrived = to.request("ARRIVE", user_id=user_id, id_station=1)["data"]
            data = {**data, "receipt_id": arrived["receipt_id"]}
        data.pop(without, None)
        self.assertEqual(outcome(to.request(kind, **data))[0], 200, (kind, without))

    def test_missing(self) -> None:
        """A request that lacks another field is told which."""
        for message in MESSAGES:
            for field in message.FIELDS:
                if not field.optional:
                    gone = {field.name, field.instead.name if field.instead else ""}
                    data = self.good[message.TYPE]
                    fewer = {name: value for name, value in data.items() if name not in gone}
                    reply = self.server.request(message.TYPE, **fewer)
                    self.assertEqual(outcome(reply), (400, "missing_fields"))
                    self.assertIn(f"({field.name}", reply["data"]["message"])

    def test_null(self) -> None:
        """Null is no value of any field, be it one that may be absent."""
        for message in MESSAGES:
            for field in message.FIELDS:
                data = {**self.good[message.TYPE], field.name: None}
                reply = self.server.request(message.TYPE, **data)
                self.assertEqual(outcome(reply), (400, "invalid_field"))
                self.assertIn(f" {field.name} deve ser ", reply["data"]["message"])


def rows(
    fields: tuple[Field, ...], language: str, within: str = "", note: str = ""
) -> Iterator[tuple[str, str, str]]:
    """What the protocol's page says of `fields`: the name, what it must be, and whether it must."""
    must, optional, instead, without = REQUIRED[language]
    for field in fields:
        either = field.instead
        told = optional if field.optional else f"{instead} `{either.name}`" if either else note
        phrase = field.kind.must_be
        said = phrase.pt if language == "pt" else phrase.en
        yield f"`{within}{field.name}`", said, told or must
        if isinstance(field.kind, Object):
            yield from rows(field.kind.fields, language, f"{within}{field.name}.")
        if isinstance(field.kind, ListOf) and isinstance(field.kind.kind, Object):
            yield from rows(field.kind.kind.fields, language, f"{within}{field.name}[].")
        if either is not None:
            yield from rows((either,), language, within, f"{without} `{field.name}`")


class DeclaredTests(SynchronousTestCase):
    """What comes of the table of messages."""

    def test_types(self) -> None:
        """No two messages have one type: the second would never be answered."""
        self.assertEqual(len(set(TYPES)), len(TYPES))

    def test_page(self) -> None:
        """Each message has a table of its fields in both pages: those it declares, in order."""
        for language, page in PAGES.items():
            parts = dict(re.findall(r"^## (\w+)\n(.*?)(?=^## |\Z)", page.read_text(), re.M | re.S))
            for message in MESSAGES:
                table = parts[message.TYPE].partition(HEADS[language])[2].partition("\n\n")[0]
                cells = [line.strip("| ").split(" | ") for line in table.splitlines()[2:]]
                self.assertEqual(
                    [tuple(row[:3]) for row in cells], list(rows(message.FIELDS, language))
                )
                self.assertTrue(all(len(row) == 4 for row in cells), message.TYPE)

    def test_sections(self) -> None:
        """Each message has a section of both pages."""
        for page in PAGES.values():
            titles = re.findall(r"^## ([A-Z_]+)$", page.read_text(), re.M)
            self.assertEqual(titles, TYPES)

    def test_codes(self) -> None:
        """Both pages have the same codes and reasons, and none that the server does not have."""
        english, portuguese = (
            re.findall(r"^\| (\d{3}) \| (`\w+`)? ?\| \S", page.read_text(), re.M)
            for page in PAGES.values()
        )
        self.assertGreater(len(english), 20)
        self.assertEqual(english, portuguese)
        there = [each for each in vars(outcomes).values() if isinstance(each, outcomes.Outcome)]
        known = {(str(each.code), f"`{each.reason}`" if each.reason else "") for each in there}
        self.assertLessEqual(set(english), known)

    def test_guards(self) -> None:
        """Every guard that a message names is there, and stands around that message."""
        guarded = {message.TYPE for message in MESSAGES if message.GUARD is not None}
        self.assertEqual(set(MemoryServer().guards.around), guarded)

    def test_labels(self) -> None:
        """Requests are counted by the types that there are, and under two names besides."""
        labels: list[str] = []
        hub = Hub(lambda operation: Stations(), VirtualClock(), 0.1, lambda user_id: {})
        context = Context(lambda operation: Stations(), Catalogue, lambda: NOON, hub)
        controller = Controller(
            handlers(context), lambda: NOON, answered=lambda kind, *_: labels.append(kind)
        )
        lines = Lines(controller, lambda: NOON)
        for kind in (*TYPES, "FLY", "\\u0000"):
            lines.dispatch(f'{{"type":"{kind}","data":{{}},"status":0,"timestamp":0}}'.encode())
        self.assertEqual(labels, [*TYPES, UNKNOWN, UNREADABLE_TYPE])


class WrittenOnceTests(SynchronousTestCase):
    """What is the same in many replies is written once."""

    def setUp(self) -> None:
        self.server = server(station(1), station(2), station(3))

    def reply(self, **data: Any) -> Any:
        start = self.server.controller._handlers[Start.TYPE]
        reply = start.answer(data)
        assert isinstance(reply, Reply)
        return reply.data

    def test_start(self) -> None:
        """START's stations are written anew when one of them has changed, and not before."""
        first = self.reply()["station_models"]
        login(self.server)
        self.assertIs(self.reply()["station_models"], first)
        self.assertIs(self.reply(limit=3)["station_models"], first)
        user = login(self.server)
        self.server.request("PAYMENT", user_id=user, id_station=2, confirmation=True)
        second = self.reply()["station_models"]
        self.assertNotEqual(bytes(second), bytes(first))
        self.assertIn(b'"available_slots":0', bytes(second))
        self.assertIs(self.reply()["station_models"], second)

    def test_stations(self) -> None:
        """A station that has not changed is not written anew, with a limit neither."""
        first = self.reply(limit=2)["station_models"]
        user = login(self.server)
        self.server.request("PAYMENT", user_id=user, id_station=2, confirmation=True)
        second = self.reply(limit=2)["station_models"]
        self.assertIs(second["1"], first["1"])
        self.assertIsNot(second["2"], first["2"])

    def test_cars(self) -> None:
        """The catalogue is written once."""
        self.assertIs(self.reply()["car_models"], self.reply(limit=1)["car_models"])
