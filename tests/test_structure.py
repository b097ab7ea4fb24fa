"""Who imports whom, what is packaged, and that the documents' transcripts are true."""

import ast
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import yaml
from twisted.trial.unittest import SynchronousTestCase

import evcharge
from evcharge.testing import MemoryServer

ROOT = Path(evcharge.__file__).resolve().parent.parent

# Each may import those named, and what stands before it in the same line of thought.
PURE = {"utils", "models", "selection"}
ALLOWED = {
    "utils": {"utils"},
    "models": {"models", "utils"},
    "selection": {"models", "utils"},
    "errors": set(),
    "fields": {"errors", "utils"},
    "envelope": {"errors", "fields", "utils"},
    "sending": set(),
    "protocol": {"sending"},
    "clock": set(),
    "logs": set(),
    "metrics": {"models", "storage"},
    "exposition": {"metrics", "models"},
    "health": {"exposition", "guards", "metrics", "ports", "protocol", "storage"},
    "ports": set(),
    "proxy": {"guards"},
    "tls": {"guards", "ports"},
    "datasets": {"models", "utils"},
    "storage": {"storage", "models", "utils", "datasets"},
    "handlers": {
        "handlers",
        "models",
        "selection",
        "storage",
        "envelope",
        "errors",
        "fields",
        "utils",
    },
    "controller": {"handlers", "envelope", "errors", "fields", "storage", "utils"},
    "guards": {
        "guards",
        "proxy",
        "protocol",
        "controller",
        "handlers",
        "storage",
        "errors",
        "fields",
    },
    "station_monitor": {"storage", "models"},
    "bootstrap": {"storage", "models", "utils"},
    "healthcheck": set(),
}


class ImportTests(SynchronousTestCase):
    """Imports point down."""

    def imports(self, path: Path) -> set[str]:
        names = set()
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and node.module:
                names.add(node.module)
            elif isinstance(node, ast.Import):
                names.update(alias.name for alias in node.names)
        return names

    def test_arrows(self) -> None:
        """No module imports what stands above it, and pure ones know no Twisted."""
        for path in (ROOT / "evcharge").rglob("*.py"):
            place = path.relative_to(ROOT / "evcharge").parts[0].removesuffix(".py")
            names = self.imports(path)
            ours = {n.split(".")[1] for n in names if n.startswith("evcharge.")}
            if place in ALLOWED:
                self.assertLessEqual(ours, ALLOWED[place], path)
            if place in PURE:
                self.assertFalse({n for n in names if n.startswith("twisted")}, path)
            if place not in ("tap", "cli", "workers", "testing"):
                self.assertFalse({n for n in names if n == "twisted.internet.reactor"}, path)

    def test_group_commit(self) -> None:
        """Group commit knows nothing of charging."""
        names = self.imports(ROOT / "evcharge" / "storage" / "group_commit.py")
        self.assertFalse({name for name in names if name.startswith("evcharge")})

    def test_handlers_apart(self) -> None:
        """Handlers do not know one another."""
        for path in (ROOT / "evcharge" / "handlers").glob("[a-z]*.py"):
            self.assertFalse({n for n in self.imports(path) if n.startswith("evcharge.handlers.")})


class PackageTests(SynchronousTestCase):
    """What is shipped."""

    def test_no_init(self) -> None:
        """Nothing of ours would overwrite Twisted's own package."""
        self.assertEqual(list((ROOT / "twisted").rglob("__init__.py")), [])

    def test_wheel(self) -> None:
        """The wheel has the plugin and the data."""
        out = Path(self.mktemp()).absolute()
        copy = Path(self.mktemp()).absolute()
        leave = shutil.ignore_patterns("_trial_temp*", ".venv", ".git", "build", "evcharge-data")
        shutil.copytree(ROOT, copy, ignore=leave)
        subprocess.run(
            [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps",
             "--no-build-isolation", "--wheel-dir", str(out), str(copy)],
            check=True, capture_output=True,
        )  # fmt: skip
        (wheel,) = out.glob("*.whl")
        names = set(zipfile.ZipFile(wheel).namelist())
        for name in (
            "twisted/plugins/evcharge_plugin.py",
            "evcharge/data/car_models.json",
            "evcharge/data/feira_de_santana_stations.csv",
            "evcharge/py.typed",
            "evcharge/storage/files.py",
        ):
            self.assertIn(name, names)
        self.assertNotIn("twisted/__init__.py", names)
        self.assertFalse([name for name in names if name.startswith("tests")])

    def test_compose(self) -> None:
        """The Compose file has both services on the port and the volume."""
        compose = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
        self.assertEqual(set(compose["services"]), {"server", "server-with-bootstrap"})
        for name, service in compose["services"].items():
            self.assertEqual(service["container_name"], name)
            self.assertEqual(service["ports"], ["8888:8888"])
            self.assertEqual(service["volumes"], ["dados-volume:/data"])
        self.assertEqual(compose["volumes"], {"dados-volume": {"name": "dados-volume"}})

    def test_dockerfile(self) -> None:
        """The image runs the server, unprivileged, with a health check."""
        text = (ROOT / "Dockerfile").read_text()
        self.assertIn("USER evcharge", text)
        self.assertIn("evcharge.healthcheck", text)
        self.assertIn("--pidfile=", text)


class TranscriptTests(SynchronousTestCase):
    """The transcripts in the documents."""

    def replay(self, path: Path) -> int:
        blocks = re.findall(r"^```transcript\n(.*?)^```", path.read_text(), re.M | re.S)
        for block in blocks:
            server = MemoryServer()
            expected: list[bytes] = []
            for line in block.splitlines():
                if line.startswith("> "):
                    self.assertEqual(expected, [], f"{path}: no reply shown before {line}")
                    protocol, transport = server.connect()
                    protocol.dataReceived(line[2:].encode() + b"\n")
                    expected = transport.take().splitlines()
                elif line.startswith("< "):
                    reply = expected.pop(0).decode()
                    pattern = ".*".join(re.escape(part) for part in line[2:].split("…"))
                    self.assertTrue(re.fullmatch(pattern, reply), f"{path}: {reply}")
            self.assertEqual(expected, [])
        return len(blocks)

    def test_protocol_page(self) -> None:
        """Every transcript of the protocol page is what the server says."""
        self.assertGreaterEqual(self.replay(ROOT / "docs" / "protocol.md"), 5)

    def test_readme(self) -> None:
        """So are those of the two front pages."""
        for name in ("README.md", "README.pt-BR.md"):
            self.assertEqual(self.replay(ROOT / name), 1)
