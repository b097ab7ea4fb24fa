"""
The operator's side of the HTTP port, which is there only with `--operator-token-file`.

::

    POST /operator/evse        {"uid": "7-2", "status": "OUTOFORDER", "reason": "cabo cortado"}
    GET /operator/evse/7-2     the same EVSE as it is

Who asks is on this machine, and has the token: `Authorization: Bearer …`. Every reply is the
envelope of :mod:`evcharge.wire.envelope`, and its code is HTTP's too.
"""

from __future__ import annotations

import hmac
import os
import secrets
import stat
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import unquote_to_bytes

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.web.server import Request as HTTPRequest

from evcharge.controller import Controller
from evcharge.handlers import Context
from evcharge.handlers.operator import OPERATOR_MESSAGES, SetEvse, ShowEvse
from evcharge.net.guards.clients import counted_under
from evcharge.net.ports import CannotListen
from evcharge.outcomes import (
    FORBIDDEN,
    METHOD_NOT_ALLOWED,
    TOO_LARGE,
    UNAUTHORIZED,
    UNKNOWN_PATH,
    UNSUPPORTED_MEDIA_TYPE,
    Outcome,
    Refusal,
    Reply,
)
from evcharge.storage.private import private
from evcharge.utils.permissions import remedy_to_read
from evcharge.utils.time_utils import iso_utc
from evcharge.web.heads import is_json
from evcharge.wire.envelope import Request, decode_data, encode

ROOT = b"/operator/"
EVSE = b"/operator/evse"

TOKEN_BYTES = 32
"""Random bytes in a token that is made here."""

LONGEST_TOKEN = 1024
"""The longest token, characters."""

CODES = (200, 401, 403)
"""What is counted from 0 on, as what is not there before it increases seems not to increase."""


class TokenError(CannotListen):
    """A file that no operator's token can be taken from: says which, why, and what to do."""


def read_token(path: Path) -> bytes:
    """
    The token in a file; one that is missing is made, for its owner alone, with a new token in it.

    :raise TokenError: it cannot be made or read, others may read it, or there is no token in it.
    """
    try:
        try:
            with open(path, "xb", opener=private) as made:
                made.write(secrets.token_urlsafe(TOKEN_BYTES).encode() + b"\n")
        except FileExistsError:
            pass
        # Without waiting for whoever is to write, where it is a pipe.
        with open(path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK)) as f:
            mode = os.fstat(f.fileno()).st_mode
            token = f.read(LONGEST_TOKEN + 3).strip() if stat.S_ISREG(mode) else b""
    except OSError as error:
        cure = remedy_to_read(error, path)
        raise _unusable(path, f"{error.strerror or error}{cure}") from None
    if not stat.S_ISREG(mode):
        raise _unusable(path, "is no file")
    if mode & stat.S_IRWXO:
        raise _unusable(
            path,
            "every user of this machine may read or change it, and act as the operator; put in a "
            f"new token after: chmod o= {path}",
        )
    if not token:
        raise _unusable(path, "is empty: remove it, and one with a token is made")
    if len(token) > LONGEST_TOKEN or not all(0x20 < byte < 0x7F for byte in token):
        raise _unusable(
            path,
            f"has to have one line of up to {LONGEST_TOKEN} ASCII characters, without blanks: "
            "remove it, and one with a token is made",
        )
    return token


def _unusable(path: Path, why: str) -> TokenError:
    return TokenError(f"--operator-token-file {path}: {why}")


class Operator:
    """
    Answers those who run the network.

    :param token_file: see :func:`read_token`.
    :param context: what its handlers work with.
    :param language: of the texts, "pt" or "en".
    :param counts: how often it has answered, by the code.
    """

    log = Logger()

    def __init__(
        self, token_file: str, context: Context, language: str, counts: Counter[int]
    ) -> None:
        counts.update(dict.fromkeys(CODES, 0))
        self._token_file = Path(token_file)
        self._token: bytes | None = None
        self._now = context.now
        self._controller = Controller(
            {message.TYPE: message(context) for message in OPERATOR_MESSAGES},
            context.now,
            language,
            answered=lambda kind, code, seconds: counts.update([code]),
        )

    def start(self) -> None:
        """Read the token, unless it has been. TokenError: it cannot be."""
        if self._token is None:
            self._token = read_token(self._token_file)

    def render(self, http: HTTPRequest, body: bytes, finish: Callable[[int, bytes], None]) -> None:
        """
        Answer a request for a path under :data:`ROOT`.

        :param body: what came with it.
        :param finish: sends the reply, of a code and a body.
        """
        asked = self._asked(http, body)
        answer = self._controller.answer(asked)
        if isinstance(answer, Deferred):
            answer.addCallback(self._answer, asked, http, finish)
        else:
            self._answer(answer, asked, http, finish)

    def _asked(self, http: HTTPRequest, body: bytes) -> Request:
        """What is asked; with the refusal where nothing may be, or not so."""
        who, is_local = counted_under(http.getClientAddress())
        if not is_local:
            return self._kept_out(FORBIDDEN, who, "an operator has to be on this machine")
        if not self._has_token(http):
            http.setHeader(b"www-authenticate", b"Bearer")
            return self._kept_out(UNAUTHORIZED, who, "without the operator's token")
        path, method = http.path, http.method
        if path == EVSE:
            if method != b"POST":
                return _only(http, SetEvse.TYPE, "POST")
            if not is_json(http):
                return Request(SetEvse.TYPE, refusal=Refusal(UNSUPPORTED_MEDIA_TYPE))
            return decode_data(SetEvse.TYPE, body)
        if path.startswith(EVSE + b"/"):
            if method not in (b"GET", b"HEAD"):
                return _only(http, ShowEvse.TYPE, "GET, HEAD")
            uid = unquote_to_bytes(path[len(EVSE) + 1 :]).decode(errors="replace")
            return Request(ShowEvse.TYPE, {"uid": uid})
        return Request(refusal=Refusal(UNKNOWN_PATH))

    def _has_token(self, http: HTTPRequest) -> bool:
        given = http.requestHeaders.getRawHeaders(b"authorization") or ()
        scheme, _, token = b"".join(given[:1]).partition(b" ")
        # In a time that says nothing of how much of it is right.
        is_right = self._token is not None and hmac.compare_digest(token.strip(), self._token)
        return len(given) == 1 and scheme.lower() == b"bearer" and is_right

    def _kept_out(self, outcome: Outcome, who: str, why: str) -> Request:
        self.log.info("Refused {who}: {why}", who=who, why=why, reason=outcome.reason)
        return Request(refusal=Refusal(outcome))

    def _answer(
        self, reply: Reply, asked: Request, http: HTTPRequest, finish: Callable[[int, bytes], None]
    ) -> None:
        code = reply.outcome.code
        if code == 200 and asked.type == SetEvse.TYPE:
            data: Any = reply.data
            self.log.info(
                "The operator has set EVSE {evse} of station {station} to {status}: {why}",
                evse=data["uid"],
                station=data["id_station"],
                status=data["status"],
                why=data["reason"] or "no reason given",
            )
        if code == 503:
            http.setHeader(b"retry-after", b"1")
        http.setHeader(b"content-type", b"application/json")
        http.setHeader(b"cache-control", b"no-store")
        finish(code, encode(reply, iso_utc(self._now())) + b"\n")

    def too_large(self) -> bytes:
        """The reply to a request whose body is not read."""
        return encode(self._controller.refuse(Request(), Refusal(TOO_LARGE)), iso_utc(self._now()))


def _only(http: HTTPRequest, kind: str, methods: str) -> Request:
    http.setHeader(b"allow", methods.encode())
    return Request(kind, refusal=Refusal(METHOD_NOT_ALLOWED, {"methods": methods}))
