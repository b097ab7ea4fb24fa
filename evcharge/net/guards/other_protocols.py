"""
Clients that speak another protocol.

Any web page can have its client's browser POST to a port of the client's own machine. The server
would answer each line of the request's head with 400, and then carry out what its body says. So a
client whose first line is HTTP is told where it is, in HTTP, and nothing else of it is read. The
same goes for TLS on a port without it: TLS clients can be made to send what others chose, too; and
for plain text on a port with it.
"""

from __future__ import annotations

import re
from codecs import BOM_UTF8
from collections.abc import Callable
from typing import Any

from evcharge.net.guards import OTHER_PROTOCOL, PLAIN_TEXT, OnRefused
from evcharge.net.proxy import V1_START, V2_START
from evcharge.outcomes import Phrase

_HTTP = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+[ \t].*[ \t]HTTP/[0-9]")
"""HTTP's request line, that of version 2's preface too: `PRI * HTTP/2.0`."""

_TLS = b"\x16\x03"
"""How each version of TLS begins."""

HERE = Phrase(
    "Porta{port} do evcharge, para os programas dos motoristas: mensagens em JSON, uma por linha, "
    "sobre TCP. Ela não fala HTTP, e nada do que foi enviado foi executado.\n",
    "Port{port} of evcharge, for drivers' programs: messages in JSON, one a line, over TCP. It "
    "does not speak HTTP, and nothing of what was sent has been carried out.\n",
)


UNENCRYPTED = Phrase(
    "isto não está criptografado, e esta porta fala TLS: conecte-se com TLS, ou à porta sem TLS",
    "this is not encrypted, and this port speaks TLS: connect by TLS, or to the port without it",
)


class OtherProtocols:
    """
    What those are told who do not speak evcharge's protocol, before their connection ends.

    :param dispatch: answers a line that is no JSON.
    :param reply: makes the one to plain text where TLS is spoken, with :data:`UNENCRYPTED`.
    :param language: of the texts, "pt" or "en".
    """

    def __init__(
        self,
        dispatch: Callable[[bytes, Any], Any],
        reply: Callable[[], bytes],
        language: str,
        on_refused: OnRefused,
    ) -> None:
        self._dispatch = dispatch
        self._reply = reply
        self._language = language
        self._on_refused = on_refused

    def __call__(self, first_line: bytes, client: Any, host: Callable[[], Any]) -> bytes | None:
        """
        What is said before the connection ends; None where it may go on.

        :param first_line: of the connection; blank ones do not count.
        :param client: who sent it.
        :param host: gives the address that it came to.
        """
        if first_line.startswith(_TLS):
            last: bytes = self._dispatch(first_line, client) + b"\n"
        elif _HTTP.match(first_line):
            last = self._in_http(getattr(host(), "port", None), first_line.startswith(b"HEAD "))
        else:
            return None
        self._on_refused(OTHER_PROTOCOL, client.name)
        return last

    def unencrypted(self, text: bytes, who: str, host: Any) -> bytes:
        """
        What is said before the connection ends to who sends plain text where TLS is spoken.

        :param text: the first that came.
        :param who: sent it.
        :param host: the address that it came to.
        """
        line = text.removeprefix(BOM_UTF8).lstrip().partition(b"\n")[0]
        if text.startswith((V1_START, V2_START)):
            # A proxy hands on to its client whatever is said.
            what, last = "a PROXY header (--proxy-protocol)", b""
        elif _HTTP.match(line):
            what = "HTTP"
            last = self._in_http(getattr(host, "port", None), line.startswith(b"HEAD "))
        else:
            what = "JSON" if line.startswith(b"{") else "text"
            last = self._reply() + b"\n"
        self._on_refused(PLAIN_TEXT, who, what)
        return last

    def _in_http(self, port: int | None, head_only: bool) -> bytes:
        where = "" if port is None else f" {port}"
        body = HERE.say(self._language, {"port": where}).encode()
        head = (
            "HTTP/1.1 400 Bad Request\r\n"
            "Content-Type: text/plain; charset=utf-8\r\n"
            f"Content-Length: {len(body)}\r\n"
            "Connection: close\r\n"
            "\r\n"
        )
        return head.encode() + (b"" if head_only else body)
