"""Text: all that a client may send, over every storage, and databases that cannot keep it."""

import json
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, example, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from evcharge.storage import Storage, StorageError
from evcharge.storage.location import parse
from evcharge.testing import NOON, MemoryServer, shipped_network
from tests.support import postgres
from tests.support.commands import run
from tests.support.examples import examples, given
from tests.support.operations import find_user
from tests.support.servers import ServerTestCase

CAR = "Tesla Model 3"
SURROGATES = st.sampled_from(["\ud800", "\udbff", "\udc00", "\udfff", "\ud83d"])
AWKWARD = st.sampled_from(
    ["\0", "\n", "\x1f", "\x7f", "\x9f", "\xa0", "\ufeff", "\ufffe", "\uffff", "\U0010ffff",
     "e\u0301", "\u202e", "\u2028", "Ł", "⚡", "€", "'", '"', "\\", "%s", "%(id)s", ":id", "?",
     "$1", "{}", "/", "..", "%", "_"]
)  # fmt: skip


def pieces(*kinds: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.lists(st.one_of(*kinds), max_size=20).map("".join)


TEXT = st.one_of(
    pieces(st.characters(), AWKWARD),
    pieces(st.characters(), AWKWARD, SURROGATES),
    # Each side of the bounds, of one, two, three and four bytes a character.
    st.builds(
        lambda character, length: character * length,
        st.sampled_from(["x", "é", "€", "🚗"]),
        st.sampled_from([0, 1, 99, 100, 101, 199, 200, 201]),
    ),
)


def good(text: str, longest: int) -> bool:
    """Whether the protocol's page has it for text."""
    unicode = not any("\ud800" <= c <= "\udfff" for c in text)
    return (
        unicode and len(text) <= longest and not any(c < " " or "\x7f" <= c < "\xa0" for c in text)
    )


class TextContract:
    """Whatever a client sends for a text is kept, not found, or refused by name."""

    long = False

    def storage(self) -> Storage:
        raise NotImplementedError

    def opened(self, url: str, shared: bool = False) -> Storage:
        storage = parse(url, self.mktemp()).storage(shared=shared)
        storage.open(NOON)
        self.addCleanup(storage.close)
        return storage

    def ask(self, server: MemoryServer, kind: str, raw: bool, **data: Any) -> dict[str, Any]:
        # Another parser has to make sense of a line with such a number.
        more = {"more": 12345} if self.long else {}
        request = {"type": kind, "data": {**data, **more}, "status": {}, "timestamp": ""}
        line = json.dumps(request, ensure_ascii=not raw).encode("utf-8", "surrogatepass")
        line = line.replace(b'"more": 12345', b'"more": ' + b"1" * 300)
        (reply,) = server.send(line + b"\n")
        return reply

    def test_every_text(self) -> None:
        """No text is an error of the server's, in any field that reaches the storage."""
        server = MemoryServer(self.storage())
        known = server.request("LOGIN", user_name="Ana", selected_car=CAR, battery_car=40)
        user = known["data"]["user_id"]
        stations = server.request("START")["data"]["station_models"]

        @settings(
            max_examples=examples(15),
            deadline=None,
            suppress_health_check=list(HealthCheck),
            database=None,
        )
        @given(TEXT, st.booleans())
        @example("Łukasz", False)
        @example("Ana ⚡", True)
        def check(text: str, raw: bool) -> None:
            if not raw:
                # Escapes of two halves that meet are one character.
                text = json.loads(json.dumps(text))
            login = {"user_name": text, "selected_car": CAR, "battery_car": 40}
            reply = self.ask(server, "LOGIN", raw, **login)
            if text and good(text, 100):
                self.assertEqual(reply["status"]["code"], 200, reply)
                there = find_user(server.storage, reply["data"]["user_id"])
                self.assertEqual(there.user_name, text)
            else:
                self.assertEqual(reply["status"]["code"], 400, reply)
            unknown = 404 if good(text, 200) else 400
            place = {"latitude": 0, "longitude": 0}
            asked = [
                ("LOGIN", {**login, "user_name": "Ana", "selected_car": text}, 400),
                ("NAVIGATION", {"user_id": text, "route_distance": 1}, unknown),
                ("SELECTION_STATION", {"user_id": text, "position": place}, unknown),
                ("PAYMENT", {"user_id": text, "id_station": 1, "confirmation": True}, unknown),
                ("PAYMENT", {"user_id": text, "id_station": 1, "confirmation": False}, unknown),
            ]
            if text not in stations:
                pay = {"user_id": user, "id_station": text, "confirmation": True}
                asked.append(("PAYMENT", pay, unknown))
            for kind, data, code in asked:
                reply = self.ask(server, kind, raw, **data)
                self.assertEqual(reply["status"]["code"], code, (kind, data, reply))

        check()


class MemoryTextTests(TextContract, SynchronousTestCase):
    """In memory."""

    def storage(self) -> Storage:
        return shipped_network()


class FilesTextTests(TextContract, SynchronousTestCase):
    """In a data directory."""

    def storage(self) -> Storage:
        return self.opened("files")


class SqliteTextTests(TextContract, SynchronousTestCase):
    """In SQLite."""

    def storage(self) -> Storage:
        return self.opened(f"sqlite:///{self.mktemp()}")


class SharedSqliteTextTests(TextContract, SynchronousTestCase):
    """In SQLite that several processes share: nothing is answered from memory."""

    def storage(self) -> Storage:
        return self.opened(f"sqlite:///{self.mktemp()}", shared=True)


class PostgresTextTests(TextContract, SynchronousTestCase):
    """In PostgreSQL."""

    parameters = ""

    def storage(self) -> Storage:
        running = postgres.shared()
        return self.opened(running.url(running.create_database()) + self.parameters)


class LongNumberTests(PostgresTextTests):
    """In PostgreSQL, beside a number of very many digits."""

    long = True


class OtherClientEncodingTests(PostgresTextTests):
    """In PostgreSQL, where somebody has asked for text in another encoding."""

    parameters = "?client_encoding=LATIN1"


class EncodingTests(ServerTestCase):
    """A database that cannot keep every text is refused, by all that would use it."""

    def refused(self, name: str, encoding: str, said: str) -> str:
        """The command that it names."""
        (line,) = [line for line in said.splitlines() if "encoding" in line]
        self.assertIn(f"its encoding {encoding} cannot hold every name", line)
        self.assertIn(name, line)
        self.assertNotIn(postgres.shared().password, line)
        self.assertNotIn("Traceback", said)
        return line.partition("make a database that can: ")[2]

    def test_encodings(self) -> None:
        """None but UTF8 can, and the command that is named makes one that does."""
        running = postgres.shared()
        for encoding in ("SQL_ASCII", "LATIN1", "WIN1252", "EUC_JP", "EUC_KR", "KOI8R"):
            name = running.create_database(encoding)
            storage = parse(running.url(name), "").storage()
            error = self.assertRaises(StorageError, storage.open, NOON)
            command = self.refused(name, encoding, str(error))
            self.assertEqual(str(error).count("\n"), 0)
            running.run(command)
            made = parse(running.url(f"{name}_utf8"), "").storage()
            self.addCleanup(made.close)
            self.assertEqual(made.open(NOON).stations, 36)

    def test_all_that_open(self) -> None:
        """The server, with workers too, bootstrap and migrate refuse it, and leave it empty."""
        running = postgres.shared()
        name = running.create_database("LATIN1")
        url = running.url(name)
        data = Path(self.mktemp())
        for options in ((), ("--workers", "2")):
            server = self.start(data, "--storage", url, *options)
            out, err = server.process.communicate(timeout=20)
            self.assertEqual(server.process.returncode, 1)
            self.refused(name, "LATIN1", err)
            self.assertNotIn("Traceback", out)
        self.assertEqual(run("bootstrap", "--data", str(data), "--users=0")[0], 0)
        for command in (
            ("bootstrap", "--storage", url),
            ("migrate", "--from", f"files:{data}", "--to", url),
            ("migrate", "--from", url, "--to", f"files:{data}-new"),
            ("export", "--storage", url, "--data", f"{data}-new"),
        ):
            status, _, err = run(*command)
            self.assertEqual(status, 1)
            self.refused(name, "LATIN1", err)
            self.assertEqual(len(err.splitlines()), 1)
        storage = parse(url, "").storage()
        with storage._database.begin(write=True) as connection:
            count = connection.exec_driver_sql(
                "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'"
            )
            self.assertEqual(count.scalar(), 0)
        storage.close()
