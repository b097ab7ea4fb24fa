"""What the head of an HTTP request says; for drivers' side and for operators'."""

from __future__ import annotations

from twisted.web.http import Request


def is_json(http: Request) -> bool:
    """Whether a request says that its body is JSON."""
    kinds = http.requestHeaders.getRawHeaders(b"content-type") or ()
    return len(kinds) == 1 and kinds[0].partition(b";")[0].strip().lower() == b"application/json"


def has_already(http: Request, tag: bytes) -> bool:
    """Whether a client says that it has what `tag` is of (RFC 9110, 13.1.2)."""
    for header in http.requestHeaders.getRawHeaders(b"if-none-match") or ():
        known = [each.strip().removeprefix(b"W/") for each in header.split(b",")]
        if tag.removeprefix(b"W/") in known or known == [b"*"]:
            return True
    return False
