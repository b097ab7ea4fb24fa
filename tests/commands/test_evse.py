"""`evcharge evse`: an EVSE out of service and back, in a storage or at a running server."""

import socket
from pathlib import Path

import psycopg
from twisted.trial.unittest import SynchronousTestCase

from tests.storage.sql.test_sql import PostgresCase
from tests.support.commands import run
from tests.support.operators import OperatorTestCase
from tests.support.servers import HealthTestCase

OUT = ("--status", "OUTOFORDER", "--reason", "cabo cortado")
STATION = "7-2 at station 7 Paço Municipal Maria Quitéria: "
SINCE = r"since \d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"


class ServerTests(OperatorTestCase):
    """At a running server."""

    def evse(self, *words: str, status: int = 0, http: str = "") -> str:
        """Run the command; what it says."""
        where = ("--http", http or f"http://{self.http}", "--token-file", str(self.token_file))
        found, out, err = run("evse", *words, *where)
        self.assertEqual(found, status, (out, err))
        self.assertNotIn("Traceback", err)
        self.assertNotIn(self.token, out + err)
        return out if status == 0 else err

    def test_out_and_back(self) -> None:
        """The server does it at once, and says how it is."""
        self.serve()
        self.assertEqual(self.evse("7-2"), f"{STATION}IN_SERVICE; 2 of 2 slots free, 0 waiting\n")
        said = self.evse("7-2", *OUT)
        self.assertRegex(said, rf"OUTOFORDER {SINCE} \(cabo cortado\); 1 of 1 slots free")
        self.assertEqual(self.evse("7-2", http=f"http://{self.http}/"), said)
        self.assertRegex(self.evse("7-2", "--status", "IN_SERVICE"), "2 of 2 slots free")

    def test_refused(self) -> None:
        """What the server refuses is said as it says it."""
        self.serve("--language", "en")
        self.assertIn("404 No EVSE 7-99", self.evse("7-99", *OUT, status=1))
        self.assertIn("404 No EVSE 7/9 é", self.evse("7/9 é", status=1))
        self.assertIn("reason must be", self.evse("7-2", *OUT[:3], "x" * 201, status=1))
        self.token_file.write_text("another-one")
        self.assertIn(f"the token in {self.token_file} is refused", self.evse("7-2", status=1))

    def test_other_servers(self) -> None:
        """Whoever answers there, or does not, is told of in one line."""
        server = self.serve()
        drivers = f"http://127.0.0.1:{server.port}"
        said = self.evse("7-2", *OUT, status=3, http=drivers)
        self.assertIn("no evcharge server with an --operator-token-file", said)
        with socket.create_server(("127.0.0.1", 0)) as silent:
            nobody = f"http://127.0.0.1:{silent.getsockname()[1]}"
        self.assertIn("is the server running", self.evse("7-2", status=3, http=nobody))
        for host in ("no.such.host.invalid", "no..host", "x" * 64):
            self.evse("7-2", status=3, http=f"http://{host}:9100")
        HealthTestCase.serve(self)
        said = self.evse("7-2", *OUT, status=1)
        self.assertIn("start the server with --operator-token-file", said)

    def test_in_use(self) -> None:
        """A storage that a server has open is refused, with the server's number."""
        data = Path(self.mktemp()).absolute()
        server = self.serve(data=data)
        found, _, err = run("evse", "7-2", *OUT, "--storage", f"files:{data}")
        self.assertEqual(found, 1)
        self.assertIn(f"in use by another evcharge process ({server.process.pid})", err)


class UsageTests(SynchronousTestCase):
    """What a person can type."""

    def refused(self, *words: str) -> str:
        status, out, err = run("evse", *words)
        self.assertEqual((status, out), (2, ""), err)
        self.assertNotIn("Traceback", err)
        return err

    def test_wrong(self) -> None:
        """What does not go together is said."""
        file = Path(self.mktemp())
        file.write_text("token")
        token, http = ("--token-file", str(file)), ("--http", "http://127.0.0.1:9")
        self.assertIn("UNKNOWN, not 'BROKEN'", self.refused("7-2", "--status", "broken"))
        self.assertIn("which is not given", self.refused("7-2", "--reason", "x"))
        self.assertIn("go together", self.refused("7-2", *token))
        self.assertIn("go together", self.refused("7-2", *http))
        said = self.refused("7-2", *http, *token, "--storage", "sqlite:///x.db")
        self.assertIn("leave out --", said)
        for url in ("127.0.0.1:9100", "https://a:1", "http://a:x", "http://", "http://a/b",
                    "http://u@a", "http://[a"):  # fmt: skip
            self.assertIn("--http must be as", self.refused("7-2", "--http", url, *token))
        self.refused()

    def test_token_file(self) -> None:
        """A file without a token is named."""
        http = ("--http", "http://127.0.0.1:9")
        file = Path(self.mktemp())
        said = self.refused("7-2", *http, "--token-file", str(file))
        self.assertIn(f"--token-file {file}: No such file or directory", said)
        file.write_text("two lines\nsecret")
        said = self.refused("7-2", *http, "--token-file", str(file))
        self.assertIn("has no token in it", said)
        self.assertNotIn("secret", said)

    def test_no_storage(self) -> None:
        """No storage is made."""
        data = Path(self.mktemp()).absolute()
        for url in (f"files:{data}", f"sqlite:///{data}"):
            status, _, err = run("evse", "7-2", *OUT, "--storage", url)
            said = f"evcharge: {data}: no such file or directory: is it the storage that you mean?"
            self.assertEqual((status, err), (1, f"{said}\n"))
        self.assertFalse(data.exists())


class PostgresTests(PostgresCase):
    """A database that is another's."""

    def test_may_only_read(self) -> None:
        """Who may not write there is told so in a line."""
        self.make()
        role = f"reader_{self.url.rpartition('/')[2]}"
        with psycopg.connect(self.url) as connection:
            connection.execute(f"CREATE ROLE {role} LOGIN PASSWORD 'secret'")
            connection.execute(f"GRANT SELECT ON ALL TABLES IN SCHEMA public TO {role}")
        url = self.url.replace("postgres:secret@", f"{role}:secret@")
        status, out, err = run("evse", "7-2", *OUT, "--storage", url)
        self.assertEqual((status, out), (1, ""), err)
        self.assertRegex(err, r"\Aevcharge: .*: permission denied for table network\n\Z")
