"""Which storage a person means, and that no password is shown."""

import os
from pathlib import Path

from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from evcharge.storage.location import parse, without_password
from evcharge.testing import NOON
from tests.support import postgres
from tests.support.examples import given

CHARACTERS = st.characters(codec="utf-8", exclude_categories=("Cc", "Zs", "Zl", "Zp"))


class ParseTests(SynchronousTestCase):
    """What is read."""

    def test_paths(self) -> None:
        """Files and SQLite are named by paths, which become absolute."""
        here = os.getcwd()
        for text, kind, path in (
            ("files", "files", f"{here}/D"),
            ("files:x", "files", f"{here}/x"),
            ("files:///a/b", "files", "/a/b"),
            ("sqlite:///a/b.db", "sqlite", f"{here}/a/b.db"),
            ("sqlite:////a b.db", "sqlite", "/a b.db"),
            ("sqlite+pysqlite:////a.db", "sqlite", "/a.db"),
        ):
            location = parse(text, "D")
            self.assertEqual(
                (location.kind, location.path, location.name), (kind, Path(path), path)
            )

    def test_postgresql(self) -> None:
        """PostgreSQL's are libpq's and SQLAlchemy's."""
        for text, expected in (
            (
                "postgresql://u:p%40w@h1:1,h2:2/db?target_session_attrs=read-write",
                {"host": "h1,h2", "port": "1,2", "password": "p@w", "dbname": "db",
                 "target_session_attrs": "read-write"},
            ),
            ("postgres://u@/db?host=/run/x", {"user": "u", "host": "/run/x", "dbname": "db"}),
            (
                "postgresql+psycopg://u:pw@/db?host=a:1&host=b:2",
                {"host": "a,b", "port": "1,2", "user": "u", "password": "pw", "dbname": "db"},
            ),
        ):  # fmt: skip
            parameters = parse(text, "").parameters
            self.assertLessEqual(expected.items(), parameters.items(), text)

    def test_wrong(self) -> None:
        """What names no storage is refused, in one line without the password."""
        for text in (
            "/tmp/x",
            "files:",
            "sqlite://",
            "sqlite:///:memory:",
            "sqlite:///x?mode=ro",
            "sqlite+aiosqlite:///x",
            "mysql://u:secret@h/db",
            "postgresql+asyncpg://u:secret@h/db",
            "postgresql://u:secret@h/db?nonsense=1",
        ):
            error = self.assertRaises(ValueError, parse, text, "D")
            self.assertNotIn("secret", str(error))
            self.assertEqual(len(str(error).splitlines()), 1)

    @given(st.text(CHARACTERS, min_size=4).filter(lambda secret: secret not in "postgresql://***"))
    def test_hidden(self, secret: str) -> None:
        """Whatever a password is made of, none of it is left, and the rest stays."""
        shown = without_password(f"postgresql://ana:{secret}@host/db?sslmode=require")
        self.assertEqual(shown, "postgresql://ana:***@host/db?sslmode=require")

    def test_hidden_parameter(self) -> None:
        """Nor where it is a parameter; and where there is none nothing changes."""
        self.assertEqual(
            without_password("postgresql:///db?password=secret&port=1"),
            "postgresql:///db?password=***&port=1",
        )
        for text in ("sqlite:///a.db", "postgresql://u@h:5432/db", "postgresql://h:5432/db", "x"):
            self.assertEqual(without_password(text), text)


class ReachedTests(SynchronousTestCase):
    """A real server, reached in each way."""

    def setUp(self) -> None:
        self.server = postgres.shared()
        self.database = self.server.create_database()

    def opens(self, url: str) -> None:
        storage = parse(url, "").storage()
        self.assertEqual(storage.open(NOON).stations, 36)
        storage.close()

    def test_socket(self) -> None:
        """By its socket."""
        self.opens(self.server.socket_url(self.database))

    def test_environment(self) -> None:
        """With the password from the environment."""
        os.putenv("PGPASSWORD", self.server.password)
        self.addCleanup(os.unsetenv, "PGPASSWORD")
        self.opens(self.server.url(self.database).replace(f":{self.server.password}@", "@"))

    def test_passfile(self) -> None:
        """With the password from a passfile."""
        passfile = Path(self.mktemp()).absolute()
        passfile.write_text(f"*:*:*:*:{self.server.password}\n")
        passfile.chmod(0o600)
        url = self.server.url(self.database).replace(f":{self.server.password}@", "@")
        self.opens(f"{url}?passfile={passfile}")

    def test_sqlalchemy(self) -> None:
        """By SQLAlchemy's way to name several servers, the first of which is not there."""
        server = self.server
        self.opens(
            f"postgresql+psycopg://{server.user}:{server.password}@/{self.database}"
            f"?host=127.0.0.1:1&host={server.host}:{server.port}"
        )
