"""The heads of answers: what all of them say, written once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from email.utils import formatdate
from http import HTTPStatus
from urllib.parse import urlsplit

JSON = "application/json"
"""The type of what most answers are."""

CSP = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:{tiles}; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)

SECURITY = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "geolocation=(self)",
}
"""What every answer has, beside :data:`CSP`."""

HSTS = {"Strict-Transport-Security": "max-age=31536000"}
"""What it has over TLS."""

SUBDOMAINS = ("a", "b", "c")
"""What a map's `{s}` stands for."""

NO_BODY = (204, 304)
"""The codes of answers that have no content, of whatever type and length."""

_STATUS = {each.value: f"HTTP/1.1 {each.value} {each.phrase}\r\n" for each in HTTPStatus}


def tile_sources(address: str) -> str:
    """The hosts that tiles come from, as a Content-Security-Policy has them."""
    parts = urlsplit(address)
    hosts = [parts.netloc]
    if "{s}" in parts.netloc:
        hosts = [parts.netloc.replace("{s}", name) for name in SUBDOMAINS]
    return " ".join(f"{parts.scheme}://{host}" for host in hosts)


def _fields(headers: Mapping[str, str]) -> str:
    return "".join(f"{name}: {value}\r\n" for name, value in headers.items())


class Heads:
    """
    Writes the heads of answers.

    :param tiles: the address of map tiles, if there are any.
    :param now: the present, seconds since the epoch.
    :param varies: whether answers depend on which page asks.
    """

    def __init__(self, tiles: str | None, now: Callable[[], float], varies: bool) -> None:
        source = "" if tiles is None else f" {tile_sources(tiles)}"
        plain = {"Content-Security-Policy": CSP.format(tiles=source), **SECURITY}
        self._varies = varies
        self._common = {
            False: _fields(plain).encode(),
            True: _fields({**plain, **HSTS}).encode(),
        }
        self._now = now
        self._dated: tuple[int, bytes] = (-1, b"")

    def _date(self) -> bytes:
        second = int(self._now())
        if second != self._dated[0]:
            self._dated = second, f"Date: {formatdate(second, usegmt=True)}\r\n".encode()
        return self._dated[1]

    def __call__(
        self,
        code: int,
        kind: str,
        length: int | None,
        headers: Mapping[bytes, bytes],
        is_secure: bool = False,
        is_last: bool = True,
    ) -> bytes:
        """
        The head of an answer.

        :param code: HTTP's.
        :param kind: the type of the content.
        :param length: that of the content, bytes; None: it has none, and the connection's end is
            the content's.
        :param headers: more of them.
        :param is_secure: whether it goes over TLS.
        :param is_last: whether the connection ends after it.
        """
        parts = [_STATUS[code].encode(), self._date(), self._common[is_secure]]
        if code not in NO_BODY:
            parts.append(f"Content-Type: {kind}\r\n".encode())
            if length is not None:
                parts.append(b"Content-Length: %d\r\n" % length)
        if self._varies:
            others = headers.get(b"vary")
            headers = {**headers, b"vary": b"Origin" if others is None else others + b", Origin"}
        for name, value in headers.items():
            parts.append(b"%b: %b\r\n" % (name, value))
        parts.append(b"Connection: close\r\n\r\n" if is_last else b"\r\n")
        return b"".join(parts)
