"""
Clients that mean harm, each a process of its own:

    python -m tests.support.hostile KIND PORT SECONDS

Each stops by itself, and goes to the loopback interface only. What it has done is printed as one
line of JSON.
"""

import contextlib
import json
import random
import selectors
import socket
import ssl
import struct
import sys
import time

from tests.support.frames import CONT, PING, TEXT, UPGRADE, frame

NAVIGATION = (
    b'{"type":"NAVIGATION","data":{"user_id":"00000000-0000-4000-8000-000000000000",'
    b'"route_distance":10},"status":{},"timestamp":""}\n'
)
START = b'{"type":"START","data":{},"status":{},"timestamp":""}\n'
LOGIN = (
    b'{"type":"LOGIN","data":{"user_name":"Mallory","selected_car":"Tesla Model 3",'
    b'"battery_car":40},"status":{},"timestamp":""}\n'
)
PAD = b"x" * 65000
LONG = b'{"type":"START","data":{"pad":"' + PAD + b'"},"status":{},"timestamp":""}\n'
LIST = {str(number): {"distance_origin_position": number} for number in range(1500)}
SELECTION = (
    json.dumps(
        {
            "type": "SELECTION_STATION",
            "data": {"user_id": "nobody", "list_stations": LIST},
            "status": {},
            "timestamp": "",
        }
    ).encode()
    + b"\n"
)


HOST = b"Host: 127.0.0.1\r\n"
GET = b"GET /api/v1/cars HTTP/1.1\r\n" + HOST + b"\r\n"
GET_BIG = b"GET /static/vendor/leaflet-1.9.4/leaflet.js HTTP/1.1\r\n" + HOST + b"\r\n"
LONG_GET = GET[:-2] + b"X: " + b"x" * 1000
CHUNKED = b"POST /api/v1/start HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n"


class Hostile:
    """One client."""

    def __init__(self, port: int, seconds: float) -> None:
        self.port = port
        self.ends = time.monotonic() + seconds

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), 10)

    @property
    def over(self) -> bool:
        return time.monotonic() >= self.ends

    def never_reads(self) -> int:
        """Sends requests of which each has a big reply, and reads none."""
        client = self.connect()
        client.settimeout(0.1)
        sent = 0
        while not self.over:
            try:
                sent += client.send(START * 1000)
            except TimeoutError:
                pass
            except ConnectionError:
                client = self.connect()
                client.settimeout(0.1)
        return sent

    def byte_by_byte(self) -> int:
        """Sends a line a byte at a time, over 500 connections."""
        clients = [self.connect() for _ in range(500)]
        sent = 0
        while not self.over:
            for client in clients:
                sent += client.send(START[sent % 40 : sent % 40 + 1])
            # A byte a second, where the test has no time for that: ten a second.
            time.sleep(0.1)
        return sent

    def long_lines(self) -> int:
        """Sends lines of 64 KiB, some of them good and some not, and reads what comes."""
        return self.pump([LONG, b"[" * 65535 + b"\n", SELECTION, b"\xff" * 65535 + b"\n"])

    def tiny_lines(self) -> int:
        """Sends line ends, and lines of one byte."""
        return self.pump([b"\n" * 65536, b"x\n" * 32768])

    def blank_lines(self) -> int:
        """Sends lines of nothing at all."""
        return self.pump([b"\n" * 65536])

    def too_long_lines(self) -> int:
        """Sends lines over the limit, over a new connection each."""
        done = 0
        while not self.over:
            with self.connect() as client:
                try:
                    client.sendall(b"x" * 200_000)
                    client.recv(1000)
                except ConnectionError:
                    pass
            done += 1
        return done

    def opens_and_closes(self) -> int:
        """Opens a connection and closes it, at once, as fast as it can; half of them by a reset."""
        done = 0
        while not self.over:
            client = self.connect()
            if done % 2:
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            client.close()
            done += 1
        return done

    def shakes_hands(self) -> int:
        """Begins TLS over a hundred connections at a time, never ends it, and hangs up."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        hello = ssl.MemoryBIO()
        with contextlib.suppress(ssl.SSLWantReadError):
            context.wrap_bio(ssl.MemoryBIO(), hello, server_hostname="localhost").do_handshake()
        greeting = hello.read()
        done = 0
        while not self.over:
            clients = [self.connect() for _ in range(100)]
            for client in clients:
                client.sendall(greeting)
            for client in clients:
                done += bool(client.recv(65536))
                client.close()
        return done

    def pipelines(self) -> int:
        """Sends 100,000 requests without waiting for the replies, which it reads as they come."""
        return self.pump([NAVIGATION * 1000], most=100)

    def pipelines_big(self) -> int:
        """The same with requests of which each has a big reply."""
        return self.pump([START * 1000], most=100)

    def logs_in(self) -> int:
        """Logs in again and again, without ever paying."""
        return self.pump([LOGIN * 100])

    # Over WebSocket

    def upgraded(self, small: bool = False) -> socket.socket:
        """A connection of WebSocket; `small`: its system takes little that is not read."""
        client = socket.socket()
        if small:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.settimeout(10)
        client.connect(("127.0.0.1", self.port))
        client.sendall(UPGRADE)
        got = b""
        while not got.endswith(b"\r\n\r\n"):
            got += client.recv(1)
        assert got.startswith(b"HTTP/1.1 101 "), got
        return client

    def send_until_ended(self, first: bytes, piece: bytes) -> int:
        """Send a message that has no end, again and again: how often a Close was said to it."""
        done = 0
        while not self.over:
            with self.upgraded() as client:
                client.sendall(first)
                client.settimeout(0.01)
                said = b""
                while not (said or self.over):
                    with contextlib.suppress(TimeoutError):
                        client.send(piece)
                    with contextlib.suppress(TimeoutError):
                        said = client.recv(1000)
                done += said[:1] == b"\x88"
        return done

    def endless_frame(self) -> int:
        """Sends a frame that is said to have a terabyte."""
        return self.send_until_ended(b"\x81\xff" + (1 << 40).to_bytes(8, "big") + bytes(4), PAD)

    def endless_message(self) -> int:
        """Sends fragment after fragment, of a byte each."""
        piece = frame(CONT, b"x", final=False) * 5000
        return self.send_until_ended(frame(TEXT, b"x", final=False), piece)

    def empty_fragments(self) -> int:
        """Sends fragment after fragment, of nothing."""
        piece = frame(CONT, b"", final=False) * 5000
        return self.send_until_ended(frame(TEXT, b"", final=False), piece)

    def pings(self) -> int:
        """Sends pings, and never reads the pongs; how many bytes the server has taken."""
        client = self.upgraded(small=True)
        client.settimeout(0.1)
        piece, sent = frame(PING, b"x" * 125) * 500, 0
        rest = piece
        while not self.over:
            with contextlib.suppress(TimeoutError):
                count = client.send(rest)
                sent += count
                rest = rest[count:] or piece
        return sent

    def never_hears(self) -> int:
        """Listens to all that changes over 200 connections, and reads none of it."""
        ask = {"type": "SUBSCRIBE", "data": {"topics": ["stations"], "interval_ms": 50}}
        subscribe = json.dumps({**ask, "status": {}, "timestamp": ""}).encode()
        deaf = [self.upgraded(small=True) for _ in range(200)]
        for client in deaf:
            client.sendall(frame(TEXT, subscribe))
        driver, done = self.upgraded(), 0
        replies = driver.makefile("rb")

        def request(kind: str, **data: object) -> dict:
            asked = {"type": kind, "data": data, "status": {}, "timestamp": ""}
            driver.sendall(frame(TEXT, json.dumps(asked).encode()))
            head = replies.read(2)
            length = head[1] if head[1] < 126 else int.from_bytes(replies.read(2), "big")
            return json.loads(replies.read(length))["data"]

        car = json.loads(LOGIN)["data"]
        user = request("LOGIN", **car)["user_id"]
        while not self.over:
            # Two changes, of which it is told in one or two lines.
            request("RESERVE", user_id=user, id_station=done % 30 + 1)
            request("CANCEL", user_id=user)
            done += 2
            time.sleep(0.04)
        return done

    def ask_as_evil(self) -> None:
        """Ask for WebSocket as a page of somebody else would, which is refused."""
        origin = b"\r\nOrigin: http://evil.example\r\n\r\n"
        with self.connect() as client:
            client.sendall(UPGRADE.replace(b"\r\n\r\n", origin))
            assert client.recv(65536).startswith(b"HTTP/1.1 403 ")

    # Over HTTP

    def slow_heads(self) -> int:
        """Sends heads a byte at a time, over 500 connections."""
        clients, sent = [self.connect() for _ in range(500)], 0
        while not self.over:
            for client in clients:
                sent += client.send(LONG_GET[sent % 500 : sent % 500 + 1].replace(b"\r", b"x"))
            time.sleep(0.01)
        return sent

    def gets(self) -> int:
        """Asks for much at once, and reads it."""
        return self.pump([GET * 1000])

    def gets_big(self) -> int:
        """Asks for much that is big at once over 20 connections, and reads none of it."""
        clients, sent = [self.connect() for _ in range(20)], 0
        for client in clients:
            client.settimeout(0.01)
        while not self.over:
            for client in clients:
                with contextlib.suppress(TimeoutError):
                    sent += client.send(GET_BIG * 1000)
        return sent

    def large_bodies(self) -> int:
        """Sends bodies over the limit, whole or in chunks, as fast as can be."""
        done = 0
        while not self.over:
            with self.connect() as client, contextlib.suppress(ConnectionError):
                client.sendall(CHUNKED)
                for _ in range(5):
                    client.sendall(b"4000\r\n" + b"x" * 0x4000 + b"\r\n")
                done += client.recv(65536).startswith(b"HTTP/1.1 413 ")
        return done

    def pump(self, pieces: list[bytes], most: int = 10**9) -> int:
        """Send pieces at random, and read meanwhile; how many bytes were read."""
        client = self.connect()
        client.setblocking(False)
        watch = selectors.DefaultSelector()
        watch.register(client, selectors.EVENT_READ | selectors.EVENT_WRITE)
        rest, got, sent = b"", 0, 0
        while not self.over:
            for _, events in watch.select(0.1):
                if events & selectors.EVENT_READ:
                    data = client.recv(1 << 20)
                    if not data:
                        return got
                    got += len(data)
                if events & selectors.EVENT_WRITE:
                    if not rest:
                        if sent >= most:
                            watch.modify(client, selectors.EVENT_READ)
                            continue
                        rest = random.choice(pieces)
                        sent += 1
                    rest = rest[client.send(rest) :]
        return got


if __name__ == "__main__":
    kind, port, seconds = sys.argv[1:]
    done = getattr(Hostile(int(port), float(seconds)), kind)()
    print(json.dumps({"done": done}))
