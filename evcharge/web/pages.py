"""
The page: its files, read once at the start into a dict, so that no path can leave it.

::

    /                       index.html
    /static/NAME            the file of that name in evcharge/web/page
    /static/settings.json   what this server's page is told: its name, what the map stands on
    /static/map.geojson     the operator's lines, where there are some
    /static/stations.html   the stations as a table, for who runs no scripts
    /favicon.ico            the icon, for who asks without having read the page
"""

from __future__ import annotations

import gzip
import hashlib
import re
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

import attrs
import msgspec

from evcharge.outcomes import UNKNOWN_PATH
from evcharge.web.heads import has_already
from evcharge.web.listing import Listing
from evcharge.web.request import WebContext, WebRequest

PAGE = Path(__file__).parent / "page"

STATIC = b"/static/"
STATIONS = b"/static/stations.html"

KINDS = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".json": "application/json",
    ".geojson": "application/geo+json",
    ".png": "image/png",
}
PLAIN = "text/plain; charset=utf-8"
"""Of what has none of these, such as licences."""

ASKED_EACH_TIME = b"no-cache"
"""A browser keeps it, and asks whether it is still so."""

KEPT = b"public, max-age=31536000, immutable"
"""Of what is under another path when it is another: libraries, whose path has their version."""

LEAST_SAVED = 64
"""What is not shorter by so many bytes is not sent compressed."""

REMARKS = re.compile(rb"^ *(?:// .*|/\*(?:[^*]|\*(?!/))*\*/ *)\n|^ +|^\n", re.MULTILINE)
"""Of a script or a style sheet of ours: comments on lines of their own, indentation, empty lines.
They are for who reads the source, and a third of it."""


@attrs.frozen
class Content:
    """A file as it is sent."""

    kind: str
    body: bytes
    compressed: bytes | None
    """None: compressing it would be of no use."""
    tag: bytes
    """Changes with the content."""
    headers: Mapping[bytes, bytes]

    @classmethod
    def of(cls, name: str, body: bytes) -> Content:
        """The content of a file of that name."""
        stays = name.startswith("vendor/") and name.count("/") > 1
        if not name.startswith("vendor/") and name.endswith((".js", ".css")):
            body = REMARKS.sub(b"", body)
        compressed = gzip.compress(body, 9, mtime=0)
        # Weak: it is the same whether compressed or not.
        tag = b'W/"%s"' % hashlib.sha256(body).hexdigest()[:20].encode()
        return cls(
            KINDS.get(PurePosixPath(name).suffix, PLAIN),
            body,
            compressed if len(compressed) + LEAST_SAVED < len(body) else None,
            tag,
            {
                b"etag": tag,
                b"cache-control": KEPT if stays else ASKED_EACH_TIME,
                b"vary": b"Accept-Encoding",
            },
        )


class Pages:
    """Answers the paths of the page, and all that nobody else answers."""

    def __init__(self, context: WebContext) -> None:
        self._contents = contents(context)
        self._listing = Listing(context)

    def __call__(self, request: WebRequest) -> object:
        """Answer a request."""
        if request.path == STATIONS:
            return self._listing(request)
        self._show(request)
        return None

    def _show(self, request: WebRequest) -> None:
        """Answer with the file that is there."""
        path = request.path
        content = self._contents.get(path)
        if content is None:
            request.refuse(UNKNOWN_PATH)
            return
        request.route = "/static/{file}" if path.startswith(STATIC) else path.decode()
        if not request.allows("GET", "HEAD"):
            return
        # One whose content the browser has is of no body; its headers are those of the whole.
        code = 304 if has_already(request, content.tag) else 200
        if content.compressed is not None and accepts_gzip(request):
            headers = {**content.headers, b"content-encoding": b"gzip"}
            request.reply(code, content.kind, content.compressed, headers)
        else:
            request.reply(code, content.kind, content.body, content.headers)


def contents(context: WebContext) -> Mapping[bytes, Content]:
    """What is at which path."""
    found: dict[bytes, Content] = {}
    for path in sorted(PAGE.rglob("*")):
        if path.is_file():
            name = path.relative_to(PAGE).as_posix()
            found[STATIC + name.encode()] = Content.of(name, path.read_bytes())
    found[b"/"] = found.pop(STATIC + b"index.html")
    found[b"/favicon.ico"] = found[STATIC + b"icon.svg"]
    lines = context.web.map_geojson
    if lines is not None:
        found[STATIC + b"map.geojson"] = Content.of("map.geojson", Path(lines).read_bytes())
    settings = msgspec.json.encode(page_settings(context))
    found[STATIC + b"settings.json"] = Content.of("settings.json", settings)
    return found


def page_settings(context: WebContext) -> Mapping[str, object]:
    """What this server's page is told."""
    web = context.web
    return {
        "name": "evcharge",
        "language": context.language,
        "time_scale": context.time_scale,
        "time_zone": context.time_zone,
        "tiles": web.map_tiles,
        "attribution": web.map_attribution,
        "geojson": None if web.map_geojson is None else "/static/map.geojson",
    }


def accepts_gzip(request: WebRequest) -> bool:
    """Whether who asks can read what is compressed."""
    asked = b",".join(request.requestHeaders.getRawHeaders(b"accept-encoding") or ())
    for part in asked.lower().split(b","):
        name, _, weight = part.partition(b";")
        if name.strip() in (b"gzip", b"*"):
            return weight.partition(b"=")[2].strip() not in (b"0", b"0.0", b"0.00", b"0.000")
    return False
