"""
Whose pages may talk to the server.

A browser says from which page a script comes (Origin), and by which name it found the server
(Host). A page elsewhere cannot change them; but it can have a name of its own lead here.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from ipaddress import ip_address

LOCALHOST = "localhost"

_HOST = re.compile(r"(?:\[([0-9a-f:.]+)\]|([^\[\]:/@?#\s]+))(?::[0-9]{0,5})?")

_SHOWN = 80
"""Characters of what a client sent that the log shows."""


class Origins:
    """
    Judges by which name the server is asked for, and from which page.

    :param hosts: further names that it goes by, in lower case.
    :param origins: further pages that may talk to it, as browsers write them.
    """

    def __init__(self, hosts: Collection[str], origins: Collection[str]) -> None:
        self._names = frozenset([LOCALHOST, *hosts])
        self._origins = frozenset(each.encode() for each in origins)

    @property
    def are_many(self) -> bool:
        """Whether pages from elsewhere may talk to the server at all."""
        return bool(self._origins)

    def is_here(self, host: bytes) -> bool:
        """Whether a Host is the server's: an IP address, or a name that it goes by."""
        found = _HOST.fullmatch(host.decode("latin-1").lower())
        if found is None:
            return False
        address, name = found.groups()
        if name is not None and name.removesuffix(".") in self._names:
            return True
        try:
            return ip_address(address or name).version == (6 if address else 4)
        except ValueError:
            return False

    def may_ask(self, origins: Sequence[bytes], host: bytes) -> bool:
        """Whether who says that it comes from `origins`, which should be one or none, may ask."""
        if not origins:
            return True
        if len(origins) > 1:
            return False
        origin = origins[0].lower()
        here = host.lower()
        return origin in (b"http://" + here, b"https://" + here) or origin in self._origins

    def is_elsewhere(self, origin: bytes | None) -> bool:
        """Whether a page has to be told that it may read the answer: it comes from elsewhere."""
        return origin is not None and origin.lower() in self._origins


def shown(value: bytes) -> str:
    """What a client sent, for the log."""
    return ascii(value[:_SHOWN].decode("latin-1"))
