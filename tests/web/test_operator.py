"""What operators ask of a real server over its HTTP port, and who is kept out."""

import json
import os
import socket
import stat
from collections import Counter
from pathlib import Path

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.error import ConnectionDone
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from evcharge.handlers import Context
from evcharge.process.virtual_clock import VirtualClock
from evcharge.storage import carry_out
from evcharge.testing import NOON, shipped_network
from evcharge.web.health import LONGEST_BODY, REFUSED_S, REQUEST_S, site
from evcharge.web.operator import TOKEN_BYTES, Operator, TokenError, read_token
from tests.support import postgres
from tests.support.operators import JSON, OUT, PATH, OperatorTestCase
from tests.support.servers import LOGIN, ServerTestCase
from tests.web.test_health import LosableTransport, SlowWatched

BACK = {"uid": "7-2", "status": "IN_SERVICE"}


class EvseTests(OperatorTestCase):
    """One process."""

    def station(self, client: object) -> tuple[int, int]:
        """Free and all slots of station 7, as a driver is told."""
        reply = client.request("START", stations=["7"])  # type: ignore[attr-defined]
        (station,) = reply["data"]["station_models"].values()
        return station["available_slots"], station["max_slots"]

    def test_out_and_back(self) -> None:
        """An EVSE that goes out of service is no driver's any more, until it is back."""
        server = self.serve()
        client = self.client(server)
        self.assertEqual(self.station(client), (2, 2))
        code, headers, reply = self.ask(body=OUT)
        self.assertEqual(code, 200)
        self.assertEqual(headers["Content-Type"], "application/json")
        self.assertEqual(headers["Cache-Control"], "no-store")
        self.assertEqual(reply["type"], "EVSE")
        self.assertEqual(reply["status"], {"code": 200, "message": "Sucesso"})
        data = reply["data"]
        self.assertRegex(data.pop("message"), r"7-2 no posto 7 .*OUTOFORDER.*cabo cortado")
        self.assertRegex(data.pop("since"), r"\A\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z\Z")
        self.assertEqual(
            data,
            {
                **OUT,
                "id_station": "7",
                "name_station": "Paço Municipal Maria Quitéria",
                "available_slots": 1,
                "max_slots": 1,
                "queue_length": 0,
            },
        )
        self.assertEqual(self.station(client), (1, 1))
        again = self.ask(body=OUT)[2]
        self.assertEqual(again["data"]["since"], self.ask("GET", PATH + "/7-2")[2]["data"]["since"])
        code, _, reply = self.ask(body=BACK)
        self.assertEqual((code, reply["data"]["reason"]), (200, None))
        self.assertEqual(self.station(client), (2, 2))

    def test_who_charges(self) -> None:
        """Who charges at an EVSE that goes out of service has charged, and is gone."""
        server = self.serve()
        client = self.client(server)
        user = client.request("LOGIN", **LOGIN)["data"]["user_id"]
        paid = client.request("PAYMENT", user_id=user, id_station=7, confirmation=True)
        uid = paid["data"]["id_evse"]
        self.assertEqual(self.ask(body={**OUT, "uid": uid})[0], 200)
        gone = client.request("NAVIGATION", user_id=user, route_distance=1)
        self.assertEqual(gone["data"]["reason"], "user_not_found")
        self.assertEqual(self.station(client), (1, 1))

    def test_shown(self) -> None:
        """An EVSE can be looked at, which changes nothing."""
        self.serve()
        before = self.ask("GET", PATH + "/7-2")[2]["data"]
        self.assertEqual((before["status"], before["since"]), ("IN_SERVICE", None))
        self.ask(body=OUT)
        code, _, reply = self.ask("GET", PATH + "/7%2D2")
        self.assertEqual((code, reply["data"]["status"]), (200, "OUTOFORDER"))
        code, headers, reply = self.ask("HEAD", PATH + "/7-2")
        self.assertEqual((code, reply), (200, {}))
        self.assertGreater(int(headers["Content-Length"]), 100)

    def test_refused(self) -> None:
        """What cannot be done is refused as drivers' requests are, and changes nothing."""
        self.serve("--language", "en")
        said = self.refused(404, "evse_not_found", body={**OUT, "uid": "7-99"})
        self.assertEqual((said["message"], said["uid"]), ("No EVSE 7-99", "7-99"))
        self.refused(404, "evse_not_found", "GET", PATH + "/nowhere")
        for body, names in (
            ({}, "uid, status"),
            ({"uid": "7-2"}, "status"),
            ({"status": "OUTOFORDER"}, "uid"),
        ):
            said = self.refused(400, "missing_fields", body=body)
            self.assertIn(f"({names})", said["message"])
        for wrong in (
            {"uid": 7},
            {"uid": ""},
            {"uid": "x" * 37},
            {"uid": None},
            {"status": "BROKEN"},
            {"status": "outoforder"},
            {"status": 1},
            {"reason": "x" * 201},
            {"reason": "a\nb"},
            {"reason": 5},
        ):
            (name,) = wrong
            said = self.refused(400, "invalid_field", body={**OUT, **wrong})
            self.assertIn(name, said["message"])
        self.refused(400, "invalid_field", body="[1]", **JSON)
        for text in (
            b"",
            b"{",
            b'{"uid": "7-2"',
            b"\xff",
            b'{"x": 1e999}',
            b'{"uid": NaN}',
            b"5",
            b"[" * 60000,
        ):
            reason = "invalid_field" if text == b"5" else "invalid_json"
            self.refused(400, reason, body=text, **JSON)
        self.assertEqual(self.ask("GET", PATH + "/7-2")[2]["data"]["status"], "IN_SERVICE")
        self.assertEqual(self.ask(body={**OUT, "reason": None})[0], 200)

    def test_http(self) -> None:
        """Neither is what is wrong as HTTP; each reply is an envelope."""
        server = self.serve()
        text = json.dumps(OUT)
        for method in ("GET", "PUT", "DELETE", "OPTIONS", "PATCH"):
            _, headers, _ = self.ask(method)
            self.assertEqual(headers["Allow"], "POST")
            self.refused(405, "method_not_allowed", method)
        self.assertEqual(self.ask("POST", PATH + "/7-2", OUT)[1]["Allow"], "GET, HEAD")
        self.refused(405, "method_not_allowed", "POST", PATH + "/7-2", OUT)
        for kind in (None, "text/plain", "application/x-www-form-urlencoded", "application/jsonx"):
            self.refused(415, "unsupported_media_type", body=text, Content_Type=kind)
        kind = "multipart/form-data; boundary=x"
        self.refused(415, "unsupported_media_type", body=text, Content_Type=kind)
        for path in ("/operator/", "/operator/evses", "/operator/other"):
            self.refused(404, "unknown_path", "POST", path, OUT)
        code, _, reply = self.ask(body=text, Content_Type="Application/JSON; charset=utf-8")
        self.assertEqual(code, 200, reply)
        self.assertEqual(self.get("/health/live"), (200, "alive\n"))
        server.end()
        self.assertNotIn("Traceback", "".join(server.log))

    def test_large(self) -> None:
        """A body that is too large is not waited for, however its size is told."""
        self.serve()
        big = b"x" * (LONGEST_BODY + 1)
        self.refused(413, "too_large", body=big, **JSON)
        self.refused(413, "too_large", body=b"x" * 5_000_000, **JSON)
        host, port = self.http.split(":")
        head = f"POST {PATH} HTTP/1.1\r\nHost: x\r\n"
        for rest in (
            "Content-Length: 1000000000\r\nExpect: 100-continue\r\n\r\n",
            "Transfer-Encoding: chunked\r\n\r\n10001\r\n" + "x" * 0x10001,
        ):
            with socket.create_connection((host, int(port)), 20) as sender:
                sender.sendall((head + rest).encode())
                got = b"".join(iter(lambda sender=sender: sender.recv(65536), b""))
            self.assertTrue(got.startswith(b"HTTP/1.1 413 "), got)
            self.assertIn(b'"reason":"too_large"', got)
            self.assertNotIn(b" 100 ", got)
        self.assertEqual(self.ask(body=OUT)[0], 200)
        padded = json.dumps(OUT).ljust(LONGEST_BODY)
        self.assertEqual(self.ask(body=padded, **JSON)[0], 200)

    def test_token(self) -> None:
        """Without the right token nobody is answered, and no log has it, right or wrong."""
        server = self.serve()
        self.assertEqual(stat.S_IMODE(self.token_file.stat().st_mode), 0o600)
        self.assertGreaterEqual(len(self.token), TOKEN_BYTES)
        for given in (
            None,
            "",
            self.token,
            "Bearer",
            "Bearer ",
            f"Basic {self.token}",
            f"Bearer {self.token[:-1]}",
            f"Bearer {self.token}x",
            f"Bearer {self.token} {self.token}",
            "Bearer wrong-and-secret",
            "Bearer \xe9",
        ):
            for method, path in (("POST", PATH), ("GET", PATH + "/7-2"), ("GET", "/operator/")):
                self.refused(401, "unauthorized", method, path, OUT, Authorization=given)
            self.assertEqual(self.ask(Authorization=given)[1]["WWW-Authenticate"], "Bearer")
        self.assertEqual(self.ask("GET", PATH + "/7-2")[2]["data"]["status"], "IN_SERVICE")
        self.assertEqual(self.ask(body=OUT, Authorization=f"bearer {self.token}")[0], 200)
        self.assertEqual(self.samples()["evcharge_operator_requests_total", "401"], 44)
        self.assertEqual(self.samples()["evcharge_operator_requests_total", "200"], 2)
        self.assertEqual(self.samples()["evcharge_operator_requests_total", "403"], 0)
        server.end()
        log = "".join(server.log)
        self.assertIn("Refused 127.0.0.1: without the operator's token", log)
        self.assertIn("has set EVSE 7-2 of station 7 to OUTOFORDER: cabo cortado", log)
        self.assertNotIn(self.token, log)
        self.assertNotIn("wrong-and-secret", log)

    def test_same_token(self) -> None:
        """The file that is there is taken as it is, a group that it was given included."""
        file = Path(self.mktemp()).absolute()
        file.write_text("\tmy-own+token/2026==\r\n")
        file.chmod(0o640)
        self.serve_with_token(file)
        self.assertEqual(self.token, "my-own+token/2026==")
        self.assertEqual(self.ask(body=OUT)[0], 200)
        self.assertEqual(stat.S_IMODE(file.stat().st_mode), 0o640)

    def test_off(self) -> None:
        """Without the option there is nothing, and nothing of it is counted."""
        super(OperatorTestCase, self).serve()
        self.assertEqual(self.get(PATH + "/7-2")[0], 404)
        self.assertEqual(self.get(PATH, "POST")[0], 404)
        names = {key[0] for key in self.samples()}
        self.assertNotIn("evcharge_operator_requests_total", names)

    def test_database_away(self) -> None:
        """Where the database hangs it is 503, and when that is back all works again."""
        database = postgres.shared()
        url = database.url(database.create_database())
        self.serve("--storage", url)
        database.pause()
        try:
            self.refused(503, "unavailable", body=OUT)
            self.assertEqual(self.ask(body=OUT)[1]["Retry-After"], "1")
        finally:
            database.resume()


class StartTests(ServerTestCase):
    """Files that no token can be taken from."""

    def refused(self, file: Path | str, *options: str) -> str:
        """What a server says that does not start with `file`."""
        server = self.start(
            Path(self.mktemp()), "--http-port", "0", "--operator-token-file", str(file), *options
        )
        out, err = server.process.communicate(timeout=20)
        self.assertEqual(server.process.returncode, 1, out)
        self.assertNotIn("Traceback", out + err)
        return err

    def test_readers(self) -> None:
        """One that every user may read is refused, with the command that puts it right."""
        file = Path(self.mktemp()).absolute()
        file.write_text("secret-token\n")
        file.chmod(0o604)
        data = str(Path(self.mktemp()).absolute())
        workers = ("--workers", "2", "--storage", f"sqlite:///{data}.db")
        for options in ((), workers):
            said = self.refused(file, *options)
            self.assertIn(f"--operator-token-file {file}: every user of this machine may", said)
            self.assertIn(f"chmod o= {file}", said)
            self.assertNotIn("secret-token", said)

    def test_option(self) -> None:
        """It needs an HTTP port."""
        server = self.start(Path(self.mktemp()), "--operator-token-file", "token")
        _, err = server.process.communicate(timeout=20)
        self.assertEqual(server.process.returncode, 1)
        self.assertIn("--operator-token-file needs an --http-port", err)


class TokenTests(SynchronousTestCase):
    """The file by itself."""

    def setUp(self) -> None:
        # What most systems have: everybody may read a new file.
        self.addCleanup(os.umask, os.umask(0o022))
        self.file = Path(self.mktemp()).absolute()

    def refused(self, path: Path) -> str:
        said = str(self.assertRaises(TokenError, read_token, path))
        self.assertTrue(said.startswith(f"--operator-token-file {path}: "), said)
        return said

    def test_made(self) -> None:
        """Each that is made is another one, for its owner alone, and read again as it is."""
        token = read_token(self.file)
        self.assertEqual(stat.S_IMODE(self.file.stat().st_mode), 0o600)
        self.assertEqual(read_token(self.file), token)
        self.file.unlink()
        self.assertNotEqual(read_token(self.file), token)

    def test_modes(self) -> None:
        """Whatever every user may do with it is too much."""
        self.file.write_text("token")
        for mode in (0o604, 0o602, 0o666, 0o644):
            self.file.chmod(mode)
            self.assertIn("chmod o=", self.refused(self.file))
        for mode in (0o600, 0o400, 0o640, 0o660):
            self.file.chmod(mode)
            self.assertEqual(read_token(self.file), b"token")

    def test_contents(self) -> None:
        """What is no token is refused, and not repeated."""
        read_token(self.file)
        for text in (b"", b"\n", b"two words", b"two\nlines", b"\xc3\xa9", b"a\0b", b"x" * 1025):
            self.file.write_bytes(text)
            said = self.refused(self.file)
            self.assertIn("remove it", said)
            if text.strip():
                self.assertNotIn(repr(text)[2:-1], said)
        self.file.write_bytes(b"x" * 1024 + b"\n")
        self.assertEqual(len(read_token(self.file)), 1024)

    def test_no_file(self) -> None:
        """So is what cannot be read, or is no file; nothing is waited for."""
        self.assertIn("No such file or directory", self.refused(self.file / "token"))
        self.file.mkdir()
        self.assertIn("Is a directory", self.refused(self.file))
        pipe = self.file / "pipe"
        os.mkfifo(pipe, 0o600)
        self.assertIn("is no file", self.refused(pipe))


class SiteTests(SynchronousTestCase):
    """The port without a network."""

    def setUp(self) -> None:
        self.clock = VirtualClock()
        storage = shipped_network()
        file = Path(self.mktemp())
        context = Context(lambda op: carry_out(storage, op), storage.catalogue, lambda: NOON)
        self.counts: Counter[int] = Counter()
        operator = Operator(str(file), context, "pt", self.counts)
        operator.start()
        self.token = file.read_text().strip()
        self.port = site(SlowWatched(), self.clock, operator)

    def connect(self, address: object) -> tuple:
        protocol = self.port.buildProtocol(address)
        transport = LosableTransport(protocol)
        transport.getPeer = lambda: address
        protocol.makeConnection(transport)
        return protocol, transport

    def line(self, size: int | None = None, token: str | None = None) -> bytes:
        body = json.dumps(OUT).encode()
        return (
            f"POST {PATH} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
            f"Authorization: Bearer {token or self.token}\r\n"
            f"Content-Length: {len(body) if size is None else size}\r\n\r\n"
        ).encode() + (body if size is None else b"")

    def test_elsewhere(self) -> None:
        """Whoever is not on this machine is kept out, with the right token too."""
        for address, code in (
            (IPv4Address("TCP", "127.0.0.1", 1), 200),
            (IPv4Address("TCP", "127.8.8.8", 1), 200),
            (IPv6Address("TCP", "::1", 1), 200),
            (IPv6Address("TCP", "::ffff:127.0.0.1", 1), 200),
            (IPv4Address("TCP", "10.0.0.5", 1), 403),
            (IPv6Address("TCP", "fe80::1", 1), 403),
            (IPv6Address("TCP", "::ffff:10.0.0.5", 1), 403),
        ):
            for token in (None, "wrong"):
                protocol, transport = self.connect(address)
                protocol.dataReceived(self.line(token=token))
                got = transport.value()
                want = 401 if code == 200 and token else code
                self.assertIn(f"HTTP/1.1 {want} ".encode(), got, address)
                if want == 403:
                    self.assertIn(b'"reason":"forbidden"', got)
        self.assertEqual(self.counts, {200: 4, 401: 4, 403: 6})

    def test_slow(self) -> None:
        """A request that does not come whole in time is cut off, one that does is answered."""
        address = IPv4Address("TCP", "127.0.0.1", 1)
        slow, transport = self.connect(address)
        line = self.line()
        for number in range(REQUEST_S):
            self.assertFalse(transport.lost)
            slow.dataReceived(line[number : number + 1])
            self.clock.advance(1)
        self.assertTrue(transport.lost)
        late, transport = self.connect(address)
        self.clock.advance(2 * REQUEST_S)
        late.dataReceived(line[:-1])
        self.clock.advance(REQUEST_S - 1)
        late.dataReceived(line[-1:])
        self.assertIn(b"HTTP/1.1 200 ", transport.value())
        self.clock.advance(REQUEST_S)
        self.assertFalse(transport.lost)
        transport.clear()
        late.dataReceived(line)
        self.assertIn(b"HTTP/1.1 200 ", transport.value())

    def test_large(self) -> None:
        """One whose body is too large has time to read why, and no more."""
        protocol, transport = self.connect(IPv4Address("TCP", "127.0.0.1", 1))
        protocol.dataReceived(self.line(LONGEST_BODY + 1))
        self.assertIn(b"HTTP/1.1 413 ", transport.value())
        transport.clear()
        protocol.dataReceived(b"x" * LONGEST_BODY + self.line())
        self.clock.advance(REFUSED_S - 0.1)
        self.assertFalse(transport.disconnecting)
        self.clock.advance(0.2)
        self.assertTrue(transport.disconnecting)
        self.assertEqual(transport.value(), b"")
        self.assertEqual(self.counts, {200: 0, 401: 0, 403: 0, 413: 1})

    def test_gone(self) -> None:
        """Who hangs up in the midst of a request is forgotten."""
        protocol, transport = self.connect(IPv4Address("TCP", "127.0.0.1", 1))
        before = len(self.clock.getDelayedCalls())
        protocol.dataReceived(self.line()[:-1])
        self.assertGreater(len(self.clock.getDelayedCalls()), before)
        transport.connectionLost(Failure(ConnectionDone()))
        self.assertEqual(self.clock.getDelayedCalls(), [])
