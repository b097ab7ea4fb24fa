"""Clients of other protocols on the drivers' port: browsers above all, which web pages can use."""

import http.client
import json
import socket
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from evcharge.net.connections import LINGER_S
from evcharge.testing import MemoryServer
from tests.support.servers import LINE, V1, ServerTestCase, TLSTestCase

LOGIN = (
    b'{"type":"LOGIN","data":{"user_name":"Mallory","selected_car":"Tesla Model 3",'
    b'"battery_car":40},"status":{},"timestamp":""}\n'
)
POST = (
    b"POST / HTTP/1.1\r\nHost: 127.0.0.1:8888\r\nContent-Type: text/plain;charset=UTF-8\r\n"
    b"Address: https://evil.example\r\nContent-Length: 117\r\n\r\n"
)
REQUEST_LINES = (
    b"POST / HTTP/1.1",
    b"GET /?a=b HTTP/1.1",
    b"GET / HTTP/1.0",
    b"OPTIONS * HTTP/1.1",
    b"PUT /a%20b HTTP/1.1",
    b"CONNECT localhost:8888 HTTP/1.1",
    b"GET http://localhost:8888/ HTTP/1.1",
    b"M-SEARCH * HTTP/1.1",
    b"patch /x HTTP/1.1",
    b"POST /with a space HTTP/1.1",
    b"GET /" + b"x" * 60000 + b" HTTP/1.1",
    b"PRI * HTTP/2.0",
)


class HTTPTests(SynchronousTestCase):
    """One connection over a transport in memory."""

    def setUp(self) -> None:
        self.server = MemoryServer()
        self.protocol, self.transport = self.server.connect()

    def test_first_line(self) -> None:
        """Whatever HTTP the first line is: an answer in HTTP, and not one more line is read."""
        for line in REQUEST_LINES:
            for end in (b"\r\n", b"\n"):
                for before in (b"", b"\r\n", b"\n \n", b"\xef\xbb\xbf"):
                    self.setUp()
                    self.protocol.dataReceived(before + line + end + POST + LOGIN * 3)
                    head, _, body = self.transport.take().partition(b"\r\n\r\n")
                    self.assertEqual(
                        head.decode().split("\r\n"),
                        [
                            "HTTP/1.1 400 Bad Request",
                            "Content-Type: text/plain; charset=utf-8",
                            f"Content-Length: {len(body)}",
                            "Connection: close",
                        ],
                    )
                    self.assertIn("evcharge", body.decode())
                    self.assertTrue(self.transport.write_closed)
                    self.protocol.dataReceived(LOGIN)
                    self.server.advance(0)
                    self.assertEqual(self.transport.take(), b"")
                    self.assertEqual(list(self.server.storage.users()), [])
                    self.assertEqual(self.server.refused, ["other_protocol"])
                    self.server.advance(LINGER_S)
                    self.assertTrue(self.transport.aborted)

    def test_bit_by_bit(self) -> None:
        """The line is known as HTTP however it comes in pieces, and without its end as well."""
        for number in range(len(POST)):
            self.protocol.dataReceived(POST[number : number + 1])
        self.assertTrue(self.transport.take().startswith(b"HTTP/1.1 400 "))
        self.setUp()
        self.protocol.dataReceived(b"GET / HTTP/1.1")
        self.protocol.readConnectionLost()
        self.assertTrue(self.transport.take().startswith(b"HTTP/1.1 400 "))

    def test_which_port(self) -> None:
        """The body says which port this is, in the language of the server."""
        for language, words in (
            ("pt", "Porta 12345 do evcharge"),
            ("en", "Port 12345 of evcharge"),
        ):
            self.server = MemoryServer(language=language)
            self.protocol, self.transport = self.server.connect()
            self.protocol.dataReceived(POST)
            self.assertIn(words, self.transport.take().decode())

    def test_head(self) -> None:
        """HEAD has no body, and is told how long it would be."""
        self.protocol.dataReceived(b"HEAD / HTTP/1.1\r\n\r\n")
        reply = self.transport.take()
        self.assertTrue(reply.endswith(b"\r\n\r\n"))
        self.assertNotIn(b"Content-Length: 0", reply)

    def test_later_lines(self) -> None:
        """Behind a line of ours the same is a line that is no JSON, like any other."""
        self.protocol.dataReceived(LOGIN + POST + LOGIN)
        replies = [json.loads(reply) for reply in self.transport.take().splitlines()]
        self.assertEqual([reply["status"]["code"] for reply in replies], [200, *[400] * 5, 200])
        self.assertIn("HTTP", replies[1]["data"]["detail"])

    def test_others(self) -> None:
        """What only resembles HTTP gets the reply to what is no JSON, and may go on."""
        for line in (b"GET /", b"HTTP/1.1 200 OK", b"hello HTTP/1.1", b'"POST / HTTP/1.1"'):
            self.setUp()
            self.protocol.dataReceived(line + b"\n" + LOGIN)
            replies = [json.loads(reply) for reply in self.transport.take().splitlines()]
            self.assertEqual([reply["status"]["code"] for reply in replies], [400, 200], line)

    def test_tls(self) -> None:
        """TLS on a port without it is told so, and nothing in it is taken for a line."""
        for hello in (b"\x16\x03\x01\x02\x00\x01\x00", b"\x16\x03\x03\x00\xff\xff"):
            self.setUp()
            self.protocol.dataReceived(hello + b"\n" + LOGIN * 2)
            (reply,) = [json.loads(reply) for reply in self.transport.take().splitlines()]
            self.assertEqual(reply["data"]["reason"], "invalid_json")
            self.assertIn("TLS", reply["data"]["detail"])
            self.assertTrue(self.transport.write_closed)
            self.assertEqual(list(self.server.storage.users()), [])


class ServerTests(ServerTestCase):
    """Real clients and a real server."""

    def test_browser(self) -> None:
        """A POST gets its 400, and what is in its body is not carried out."""
        data = Path(self.mktemp())
        server = self.start(data).wait()
        client = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
        client.request("POST", "/", LOGIN, {"Content-Type": "text/plain"})
        reply = client.getresponse()
        self.assertEqual((reply.status, reply.getheader("Connection")), (400, "close"))
        self.assertIn(f"Porta {server.port} do evcharge", reply.read().decode())
        client.close()
        self.assertEqual(self.client(server).request("START")["status"]["code"], 200)
        self.assertEqual(list((data / "users").iterdir()), [])

    def test_behind_proxy(self) -> None:
        """So it is behind a proxy that tells for whom it connects."""
        server = self.start(Path(self.mktemp()), "--proxy-protocol").wait()
        with socket.create_connection(("127.0.0.1", server.port), 20) as client:
            client.sendall(V1 + POST + LOGIN)
            client.shutdown(socket.SHUT_WR)
            sent = client.makefile("rb").read()
        self.assertTrue(sent.startswith(b"HTTP/1.1 400 "))
        self.assertNotIn(b'"type"', sent)
        self.wait_for(server, "Refused 203.0.113.7: another protocol than the port is for")


class TLSTests(TLSTestCase):
    """The port with TLS."""

    def test_browser(self) -> None:
        """So it is over TLS."""
        self.serve()
        client = self.connect()
        client.sendall(POST + LOGIN)
        sent = self.ended(client)
        client.close()
        self.assertTrue(sent.startswith(b"HTTP/1.1 400 "))
        self.assertNotIn(b'"type"', sent)
        client = self.connect()
        client.sendall(LINE.encode() + b"\n")
        self.assertEqual(self.line(client)["status"]["code"], 200)
        client.close()
