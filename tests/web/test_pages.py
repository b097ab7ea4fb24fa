"""The page as the web port gives it: its files, and nothing else."""

import gzip
import json
import re
from pathlib import Path

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from evcharge.rules.journey import ListStations
from evcharge.testing import MemoryServer
from evcharge.web import listing as listing_module
from evcharge.web.listing import listing
from evcharge.web.pages import PAGE
from tests.support.streams import Stream, web_of
from tests.support.visitors import Visitor, reason, request

MOST_BYTES = 80 * 1024
"""All that a browser fetches when it opens the page, compressed."""

GZIP = "Accept-Encoding: gzip, deflate, br\r\n"


class PagesTests(SynchronousTestCase):
    """A web port."""

    def setUp(self) -> None:
        self.server = MemoryServer()
        self.web = web_of(self.server)

    def get(self, path: str, method: str = "GET", head: str = "") -> Stream:
        """The answer."""
        stream = Stream(self.server, self.web, path, method=method, head=head)
        self.addCleanup(stream.transport.loseConnection)
        return stream

    def test_page(self) -> None:
        """The page is at /, as HTML that is asked for each time."""
        answer = self.get("/")
        self.assertEqual(answer.code, 200)
        self.assertEqual(answer.headers["content-type"], "text/html; charset=utf-8")
        self.assertEqual(answer.headers["cache-control"], "no-cache")
        self.assertIn("script-src 'self'", answer.headers["content-security-policy"])
        self.assertEqual(answer.raw, (PAGE / "index.html").read_bytes())

    def test_files(self) -> None:
        """Each file of the page is there, with its type; those from elsewhere are as they were."""
        kinds = {".js": "text/javascript; charset=utf-8", ".css": "text/css; charset=utf-8"}
        for path in PAGE.rglob("*"):
            name = path.relative_to(PAGE).as_posix()
            if not path.is_file() or name == "index.html":
                continue
            answer = self.get(f"/static/{name}")
            self.assertEqual(answer.code, 200, name)
            if path.suffix in kinds:
                self.assertEqual(answer.headers["content-type"], kinds[path.suffix])
            if name.startswith("vendor/"):
                self.assertEqual(answer.raw, path.read_bytes())
                is_kept = "immutable" in answer.headers["cache-control"]
                self.assertEqual(is_kept, path.name != "vendor.json")
            self.assertEqual(answer.headers["x-content-type-options"], "nosniff")
        self.assertEqual(self.get("/favicon.ico").headers["content-type"], "image/svg+xml")

    def test_remarks(self) -> None:
        """Scripts are sent without comments and indentation, and with all else."""
        body = self.get("/static/app/wire.js").raw.decode()
        self.assertNotIn("\n//", "\n" + body)
        self.assertNotIn("\n ", body)
        self.assertIn("${scheme}://${location.host}/api/v1/socket?lang=${language}", body)
        source = (PAGE / "app" / "wire.js").read_text().splitlines()
        code = [line.strip() for line in source if not line.lstrip().startswith(("//", "/*", "*"))]
        self.assertEqual(body.splitlines(), [line for line in code if line not in ("", "*/")])

    def test_size(self) -> None:
        """All that is fetched when the page is opened is small enough for a slow line."""
        named = set(re.findall(r'"/static/([^"?]+)"', self.get("/").raw.decode()))
        asked = {"", "app/texts-pt.js", *named} - {"stations.html"}
        sizes: dict[str, int] = {}
        while asked:
            name = asked.pop()
            plain = self.get(f"/static/{name}" if name else "/")
            packed = self.get(f"/static/{name}" if name else "/", head=GZIP)
            self.assertEqual(plain.code, 200, name)
            sizes[name] = int(packed.headers["content-length"])
            # What is imported by import() is fetched when it is needed.
            imported = re.findall(
                r'^import .*?"\./([^"]+)"|^\} from "\./([^"]+)"', plain.raw.decode(), re.M
            )
            asked |= {f"app/{one or other}" for one, other in imported} - sizes.keys()
        self.assertIn("app/trip.js", sizes)
        self.assertLessEqual(sum(sizes.values()), MOST_BYTES, sizes)

    def test_compressed(self) -> None:
        """Who reads gzip is sent it, of the same content; who does not is not."""
        plain, packed = self.get("/static/app.css"), self.get("/static/app.css", head=GZIP)
        self.assertEqual(packed.headers["content-encoding"], "gzip")
        self.assertEqual(packed.headers["vary"], "Accept-Encoding")
        self.assertEqual(gzip.decompress(packed.raw), plain.raw)
        self.assertNotIn("content-encoding", plain.headers)
        refused = self.get("/static/app.css", head="Accept-Encoding: gzip;q=0, br\r\n")
        self.assertNotIn("content-encoding", refused.headers)

    def test_unchanged(self) -> None:
        """Who has a file is told that it is still so, and sent nothing."""
        tag = self.get("/static/app.css").headers["etag"]
        for head in (
            f"If-None-Match: {tag}\r\n",
            f'If-None-Match: "other", {tag}\r\n{GZIP}',
            "If-None-Match: *\r\n",
        ):
            answer = self.get("/static/app.css", head=head)
            self.assertEqual((answer.code, answer.raw), (304, b""))
            self.assertEqual(answer.headers["etag"], tag)
        self.assertEqual(self.get("/static/app.css", head='If-None-Match: "other"\r\n').code, 200)

    def test_listing_breaks(self) -> None:
        """A table that cannot be made is answered with 500, though the storage took its time."""
        context, stuck = self.server.engine.context, Deferred()
        stations = context.perform(ListStations())
        object.__setattr__(context, "perform", lambda operation: stuck)
        self.patch(listing_module, "_row", lambda *_: 1 / 0)
        visitor = Visitor(self.web)
        self.assertEqual(visitor.send(request("/static/stations.html")), [])
        stuck.callback(stations)
        self.assertEqual([reason(each) for each in visitor.answers()], [(500, "internal")])
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        visitor.protocol.connectionLost()

    def test_head(self) -> None:
        """HEAD is GET without the body."""
        head, whole = self.get("/", "HEAD"), self.get("/")
        self.assertEqual((head.code, head.raw), (200, b""))
        self.assertEqual(head.headers["content-length"], whole.headers["content-length"])

    def test_methods(self) -> None:
        """Nothing else can be done with them."""
        for method in ("POST", "PUT", "DELETE"):
            answer = self.get("/", method, "Content-Length: 0\r\n")
            self.assertEqual(answer.code, 405)
            self.assertEqual(answer.headers["allow"], "GET, HEAD")

    def test_listing(self) -> None:
        """Who runs no scripts gets the stations as a table, in the language asked for; names are
        text, and a price that nobody knows is no zero."""
        answer = self.get("/static/stations.html?lang=en")
        self.assertEqual(answer.code, 200)
        self.assertEqual(answer.headers["content-type"], "text/html; charset=utf-8")
        text = answer.raw.decode()
        self.assertIn("<h1>Stations</h1>", text)
        self.assertEqual(text.count("<tr>"), 37)
        self.assertIn("<td>2.75</td>", text)
        self.assertIn("<td>2,75</td>", self.get("/static/stations.html?lang=pt").raw.decode())
        self.assertEqual(self.get("/static/stations.html", "POST").code, 405)
        station = {
            "name_station": "<b>x</b>",
            "address": None,
            "available_slots": 0,
            "max_slots": 0,
            "queue_length": 0,
            "power_kw": 7.4,
            "price_kwh": 0.0,
            "price_known": False,
        }
        made = listing(
            {"station_models": {"1": station}, "total_stations": 2}, "2025-04-07T13:45:12Z", "pt"
        )
        self.assertIn(
            '<th scope="row">&lt;b&gt;x&lt;/b&gt;</th><td></td><td>fora de serviço</td>', made
        )
        self.assertIn("<td>7,4</td><td>preço não informado</td>", made)
        self.assertIn("Os primeiros 1 de 2 postos", made)

    def test_nothing_else(self) -> None:
        """No path leaves the page's files."""
        for path in (
            "/static/",
            "/static/app",
            "/static/index.html",
            "/static/../pages.py",
            "/static/%2e%2e/pages.py",
            "/static/app/../../pages.py",
            "/static//etc/passwd",
            "/static/app/main.js/",
            "/index.html",
            "//",
        ):
            answer = self.get(path)
            self.assertEqual(answer.code, 404, path)
            self.assertEqual(answer.body["data"]["reason"], "unknown_path")

    def test_settings(self) -> None:
        """The page is told what it stands on, and that there is nothing where there is nothing."""
        told = json.loads(self.get("/static/settings.json").raw)
        self.assertEqual(
            told,
            {
                "name": "evcharge",
                "language": "pt",
                "time_scale": 1.0,
                "time_zone": "America/Bahia",
                "tiles": None,
                "attribution": None,
                "geojson": None,
            },
        )
        self.assertEqual(self.get("/static/map.geojson").code, 404)

    def test_map(self) -> None:
        """Tiles add their host to what the page may show, and lines are given as they are."""
        lines = Path(self.mktemp())
        lines.write_text('{"type": "FeatureCollection", "features": []}')
        self.web = web_of(
            self.server,
            map_tiles="https://tiles.example.org:8443/{z}/{x}/{y}.png?key=1",
            map_attribution="© somebody",
            map_geojson=str(lines),
        )
        told = json.loads(self.get("/static/settings.json").raw)
        self.assertEqual(told["attribution"], "© somebody")
        self.assertEqual(self.get(told["geojson"]).raw, lines.read_bytes())
        policy = self.get("/").headers["content-security-policy"]
        self.assertIn("; img-src 'self' data: https://tiles.example.org:8443;", policy)
        self.assertEqual(policy.count("example.org"), 1)
        self.web = web_of(self.server, map_tiles="https://{s}.example.org/{z}/{x}/{y}.png")
        policy = self.get("/").headers["content-security-policy"]
        self.assertIn("https://a.example.org https://b.example.org https://c.example.org;", policy)
