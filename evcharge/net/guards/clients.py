"""Where clients come from: what is counted for each address."""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import IPv6Address, ip_address
from typing import Any

import attrs

from evcharge.net.guards.buckets import TokenBucket

IPV6_NETWORK = 64
"""Bits by which IPv6 clients are told apart: a subscriber has the others to choose from."""

NOWHERE = "a local socket"
"""What those are counted under who have no address."""

TIDIED_PER_TURN = 500
"""Addresses that are looked at in one turn of the reactor."""


def counted_under(address: Any) -> tuple[str, bool]:
    """
    What an address is counted under, and whether that is this machine itself.

    :param address: an `IAddress`, or None.
    :return: an IPv4 address, an IPv6 network, or :data:`NOWHERE`, as text.
    """
    host = getattr(address, "host", None)
    if not isinstance(host, str):
        return NOWHERE, True
    try:
        ip = ip_address(host.partition("%")[0])
    except ValueError:
        return host, False
    if isinstance(ip, IPv6Address):
        if ip.ipv4_mapped is None:
            network = int(ip) >> (128 - IPV6_NETWORK) << (128 - IPV6_NETWORK)
            text = str(ip) if ip.is_loopback else f"{IPv6Address(network)}/{IPV6_NETWORK}"
            return text, ip.is_loopback
        ip = ip.ipv4_mapped
    return str(ip), ip.is_loopback


@attrs.define(eq=False)
class Address:
    """What has come from one address, and is still of importance."""

    name: str
    is_local: bool
    """Whether it is this machine: a proxy before the server, or a test."""
    connections: int = 0
    streams: int = 0
    """Those of the connections that are Server-Sent Events."""
    pending_logins: int = 0
    bucket: TokenBucket | None = None

    def limit(self, asked: int | None, otherwise: int) -> int | None:
        """
        The limit that holds here: the one asked for, which may be 0 for none; or, from elsewhere
        than this machine, where proxies and tests are, another one.
        """
        if asked is not None:
            return asked or None
        return None if self.is_local else otherwise


@attrs.define(eq=False)
class CountedClient:
    """Who has made one connection: a :class:`evcharge.net.connections.Client`."""

    address: Address
    _ended: Callable[[Address], None]
    bucket: TokenBucket | None = None
    listens: bool = False
    leaving: Callable[[], object] | None = None
    """What is done as it goes, if anything is."""

    @property
    def name(self) -> str:
        """Where it comes from, for the log."""
        return self.address.name

    def disconnected(self) -> None:
        """The connection has ended."""
        leaving, self.leaving = self.leaving, None
        if leaving is not None:
            leaving()
        self._ended(self.address)


class Addresses:
    """
    The addresses of which something is known.

    :param seconds: the present.
    """

    def __init__(self, seconds: Callable[[], float]) -> None:
        self._seconds = seconds
        self._known: dict[str, Address] = {}
        self._to_tidy: list[Address] = []
        self.connections = 0
        """Open connections of all."""

    def __len__(self) -> int:
        return len(self._known)

    def at(self, address: Any) -> Address:
        """What is known of an address; nothing yet, perhaps."""
        name, is_local = counted_under(address)
        return self._known.get(name) or Address(name, is_local)

    def connected(self, address: Any) -> CountedClient:
        """Count a connection."""
        known = self.at(address)
        self._known[known.name] = known
        known.connections += 1
        self.connections += 1
        return CountedClient(known, self._ended)

    def _ended(self, address: Address) -> None:
        address.connections -= 1
        self.connections -= 1
        self.forget(address)

    def forget(self, address: Address) -> None:
        """Forget an address, unless something of it still counts."""
        if address.connections or address.pending_logins:
            return
        if address.bucket is not None and not address.bucket.is_full(self._seconds()):
            return
        # Its name may stand for somebody who came after it was forgotten.
        if self._known.get(address.name) is address:
            del self._known[address.name]

    def tidy(self) -> bool:
        """
        Forget the addresses whose buckets have filled again.

        :return: whether there are more to look at, in another turn of the reactor.
        """
        if not self._to_tidy:
            # Of very many, this is work enough for one turn.
            self._to_tidy = list(self._known.values())
            return bool(self._to_tidy)
        for _ in range(min(len(self._to_tidy), TIDIED_PER_TURN)):
            self.forget(self._to_tidy.pop())
        return bool(self._to_tidy)
