"""The options of the web ports."""

import json
from pathlib import Path

from twisted.python.usage import UsageError
from twisted.trial.unittest import SynchronousTestCase

from evcharge.process.options import Options
from evcharge.process.web_options import LARGEST_GEOJSON
from evcharge.web.settings import WebSettings

TILES = "https://tiles.example.org/{z}/{x}/{y}.png"


class WebOptionsTests(SynchronousTestCase):
    """What is typed, and what it comes to."""

    def web(self, *options: str) -> WebSettings:
        """What the server is told."""
        parsed = Options()
        parsed.parseOptions(options)
        assert parsed.settings.web is not None
        return parsed.settings.web

    def refused(self, *options: str) -> str:
        """Why it cannot be."""
        return str(self.assertRaises(UsageError, self.web, *options))

    def test_ports(self) -> None:
        """A number means this machine only, an endpoint what it says."""
        self.assertEqual(self.web("--web-port", "8080").port, "localhost:8080")
        self.assertEqual(self.web("--web-port", "tcp:8080").port, "tcp:8080")
        tls = ["--web-tls-port", "8443", "--tls-certificate", "c.pem", "--tls-key", "k.pem"]
        settings = self.web(*tls)
        self.assertEqual((settings.port, settings.tls_port), (None, "localhost:8443"))

    def test_needs(self) -> None:
        """What is for a web port needs one, TLS its files, an attribution tiles."""
        for option in (
            "--web-host=a.example",
            "--web-origin=https://a.example",
            f"--map-tiles={TILES}",
            "--map-attribution=x",
            "--map-geojson=x",
        ):
            name = option.partition("=")[0]
            expected = f"{name} needs a --web-port or a --web-tls-port"
            self.assertEqual(self.refused(option), expected)
        self.assertIn("--tls-certificate", self.refused("--web-tls-port", "8443"))
        self.assertIn(
            "--map-attribution needs --map-tiles",
            self.refused("--web-port", "0", "--map-attribution", "x"),
        )

    def test_hosts(self) -> None:
        """Names are as browsers send them: in lower case, without dot and port, each once."""
        names = ["--web-host", "Carga.Example.org.", "--web-host=b", "--web-host=carga.example.org"]
        self.assertEqual(self.web("--web-port=0", *names).hosts, ("carga.example.org", "b"))
        for name in ("", "a:80", "http://a", "a b", "[::1]", "-a", "a..b", "*.a", "é.example"):
            self.assertIn(repr(name), self.refused("--web-port=0", f"--web-host={name}"))

    def test_origins(self) -> None:
        """So are pages: without a usual port, and without what follows."""
        for typed, meant in (
            ("https://App.example.org", "https://app.example.org"),
            ("https://app.example.org:443/", "https://app.example.org"),
            ("http://127.0.0.1:3000", "http://127.0.0.1:3000"),
            ("http://[::1]:80", "http://[::1]"),
        ):
            self.assertEqual(self.web("--web-port=0", f"--web-origin={typed}").origins, (meant,))
        for wrong in (
            *("", "null", "*", "app.example.org", "ftp://a", "https://", "https://*.a.example"),
            *("https://a/path", "https://a?x", "https://a#x", "https://u@a", "https://a:99999"),
            *("https://a b", "https://[::1"),
        ):
            self.assertIn(repr(wrong), self.refused("--web-port=0", f"--web-origin={wrong}"))

    def test_tiles(self) -> None:
        """Tiles have an address with the three numbers in it, and a host that a policy can name."""
        for right in (TILES, "http://10.0.0.5:8000/{z}/{x}/{y}?k=1", TILES.replace("tiles", "{s}")):
            self.assertEqual(self.web("--web-port=0", f"--map-tiles={right}").map_tiles, right)
        settings = self.web("--web-port=0", f"--map-tiles={TILES}", "--map-attribution=© OSM")
        self.assertEqual(settings.map_attribution, "© OSM")
        for wrong in (
            *("", "tiles", "https://a.example/tiles.png", "ftp://a/{z}/{x}/{y}"),
            *("https://a;script-src *;/{z}/{x}/{y}", "https://u:p@a/{z}/{x}/{y}"),
            *("https://a b/{z}/{x}/{y}", "https://a/{z}/{x}/{y} b", "https://'self'/{z}/{x}/{y}"),
        ):
            self.assertIn(repr(wrong), self.refused("--web-port=0", f"--map-tiles={wrong}"))
        self.assertIn(
            "one line",
            self.refused("--web-port=0", f"--map-tiles={TILES}", "--map-attribution=a\nb"),
        )

    def test_geojson(self) -> None:
        """A file of lines is looked at when it is named; what is wrong is said by its name."""
        folder = Path(self.mktemp()).absolute()
        folder.mkdir()
        file = folder / "lines.geojson"
        option = f"--map-geojson={file}"
        self.assertIn("No such file", self.refused("--web-port=0", option))
        for content, why in (
            (b"", "no JSON"),
            (b"{", "no JSON"),
            (b"\xff", "no JSON"),
            (b"[" * 100_000, "no JSON"),
            (b"[]", "no GeoJSON"),
            (b'{"type":"Topology"}', "no GeoJSON"),
            (b'{"type":[]}', "no GeoJSON"),
            (b" " * (LARGEST_GEOJSON + 1), "over 4 MiB"),
        ):
            file.write_bytes(content)
            said = self.refused("--web-port=0", option)
            self.assertIn(f"--map-geojson {file}", said)
            self.assertIn(why, said)
        self.assertIn("directory", self.refused("--web-port=0", f"--map-geojson={folder}"))
        file.write_text(json.dumps({"type": "FeatureCollection", "features": []}))
        self.assertEqual(self.web("--web-port=0", option).map_geojson, str(file))

    def test_layers(self) -> None:
        """A PROXY header and TLS of our own need a plain port, and workers one they can share."""
        layered = "haproxy:tcp:8443"
        tls = ["--tls-certificate", "c.pem", "--tls-key", "k.pem"]
        self.assertIn("--web-tls-port", self.refused("--web-tls-port", layered, *tls))
        self.assertIn("--web-tls-port", self.refused("--web-port", layered, "--proxy-protocol"))
        many = ["--workers=2", "--storage=sqlite:///x.db"]
        self.assertIn("--web-port", self.refused("--web-port", layered, *many))

    def test_help(self) -> None:
        """--help has each of them."""
        text = str(Options())
        for name in (
            *("web-port", "web-tls-port", "web-host", "web-origin"),
            *("map-tiles", "map-attribution", "map-geojson"),
        ):
            self.assertIn(f"--{name}=", text)
