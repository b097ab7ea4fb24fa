"""What the web ports are told; apart from what answers there, which is big."""

from __future__ import annotations

import attrs


@attrs.frozen
class WebSettings:
    """The ports of people's browsers and of HTTP; a description is None where there is no such."""

    port: str | None
    tls_port: str | None
    hosts: tuple[str, ...] = ()
    """Further names that the server goes by, in lower case."""
    origins: tuple[str, ...] = ()
    """Further pages that may talk to it: the origins as browsers write them."""
    map_tiles: str | None = None
    """The address of map tiles, with {z}, {x} and {y} in it."""
    map_attribution: str | None = None
    """Whose they are."""
    map_geojson: str | None = None
    """The absolute path of a GeoJSON file whose lines the map shows."""
