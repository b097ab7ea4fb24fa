"""What the head of an HTTP request says; for drivers' side and for operators'."""

from __future__ import annotations

from twisted.web.http import Request


def is_json(http: Request) -> bool:
    """Whether a request says that its body is JSON."""
    kinds = http.requestHeaders.getRawHeaders(b"content-type") or ()
    return len(kinds) == 1 and kinds[0].partition(b";")[0].strip().lower() == b"application/json"
