"""Frames of WebSocket: those of a client, and what a server has sent."""

import struct
from collections.abc import Iterable

CONT, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10

UPGRADE = (
    b"GET /api/v1/socket HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\n"
    b"Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)
"""The request of a client that wants to speak by them."""


def frame(
    opcode: int,
    data: bytes = b"",
    final: bool = True,
    reserved: int = 0,
    mask: bytes | None = b"\x37\xfa\x21\x3d",
) -> bytes:
    """
    One frame of a client.

    :param reserved: the three bits behind the final one.
    :param mask: None: it is not masked, as a client's has to be.
    """
    length = len(data)
    first = final << 7 | reserved << 4 | opcode
    masked = 0 if mask is None else 0x80
    if length < 126:
        head = struct.pack("!BB", first, masked | length)
    elif length < 65536:
        head = struct.pack("!BBH", first, masked | 126, length)
    else:
        head = struct.pack("!BBQ", first, masked | 127, length)
    if mask is None:
        return head + data
    key = (mask * (length // 4 + 1))[:length]
    mixed = int.from_bytes(data, "big") ^ int.from_bytes(key, "big")
    return head + mask + mixed.to_bytes(length, "big")


def close(code: int) -> bytes:
    """A client's Close."""
    return frame(CLOSE, code.to_bytes(2, "big"))


def fragments(pieces: Iterable[bytes], opcode: int = TEXT) -> list[bytes]:
    """A message in so many frames."""
    each = list(pieces)
    return [
        frame(CONT if number else opcode, piece, final=number == len(each) - 1)
        for number, piece in enumerate(each)
    ]


def take_frame(sent: bytes) -> tuple[tuple[int, bytes], bytes] | None:
    """The first frame of what a server has sent, and what is left; None: it is not whole."""
    if len(sent) < 2:
        return None
    first, length = sent[0], sent[1]
    assert first & 0x80, "in fragments"
    assert not first & 0x70, "reserved bits"
    assert not length & 0x80, "masked"
    at = 2
    if length >= 126:
        wide = 2 if length == 126 else 8
        at += wide
        length = int.from_bytes(sent[2:at], "big")
        assert length >= (126 if wide == 2 else 65536), "longer than need be"
    if len(sent) < at + length:
        return None
    return (first & 0x0F, sent[at : at + length]), sent[at + length :]


def frames(sent: bytes) -> list[tuple[int, bytes]]:
    """The opcode and the content of each frame that a server has sent."""
    found = []
    while sent:
        taken = take_frame(sent)
        assert taken is not None, sent
        one, sent = taken
        found.append(one)
    return found
