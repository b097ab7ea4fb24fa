"""Who imports whom, what is packaged, and that the documents' transcripts are true."""

import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import yaml
from twisted.trial.unittest import SynchronousTestCase

import evcharge
from tests.support.imports import PACKAGE, all_imports, circle, imports, problems, table
from tests.support.transcripts import converse

ROOT = Path(evcharge.__file__).resolve().parent.parent


class ImportTests(SynchronousTestCase):
    """Imports point down."""

    def setUp(self) -> None:
        self.rows = table((ROOT / "docs" / "design.md").read_text())
        self.imported = all_imports(ROOT / PACKAGE)

    def bad_imports(self, module: str, source: str) -> list[str]:
        """What is found where `module` has `source`, and no other; its row is fuller than that."""
        imported = {**self.imported, module: imports(source, module)}
        found = problems(self.rows, imported)
        return [each for each in found if not each.startswith(f"{module} need not know ")]

    def test_table(self) -> None:
        """Each module imports what its row in docs/design.md says, and nothing else."""
        self.assertEqual(problems(self.rows, self.imported), [])

    def test_bad_imports(self) -> None:
        """No way of importing goes unseen, wherever it stands."""
        for source, name in (
            ("from twisted.internet import reactor", "twisted.internet.reactor"),
            ("from twisted.internet import defer, reactor as r", "twisted.internet.reactor"),
            ("from twisted.internet.reactor import fire", "twisted.internet.reactor.fire"),
            ("from twisted.internet import epollreactor", "twisted.internet.epollreactor"),
            ("from twisted.internet import *", "twisted.internet.*"),
            ("from twisted import internet", "twisted.internet"),
            ("import twisted.internet.reactor", "twisted.internet.reactor"),
            ("import twisted.internet as t", "twisted.internet"),
            (
                "import twisted.internet.defer\ntwisted.internet.reactor.stop()",
                "twisted.internet.reactor.stop",
            ),
            ("from evcharge import tap", "evcharge.tap"),
            ("from evcharge import __version__, tap as t", "evcharge.tap"),
            ("from evcharge.tap import makeService", "evcharge.tap.makeService"),
            ("import evcharge.tap", "evcharge.tap"),
            ("import os, evcharge.tap as t", "evcharge.tap"),
            ("import evcharge.net.sending\nf(evcharge.tap.Server)", "evcharge.tap.Server"),
            ("from .. import tap", "evcharge.tap"),
            ("from ..tap import makeService", "evcharge.tap.makeService"),
            ("from ..storage.files import store", "evcharge.storage.files.store"),
            ("from evcharge.storage.files import store", "evcharge.storage.files.store"),
            ("def f():\n    from evcharge import tap", "evcharge.tap"),
            ("class C:\n    async def f(self):\n        import evcharge.tap", "evcharge.tap"),
            ("if TYPE_CHECKING:\n    from evcharge import tap", "evcharge.tap"),
            ("try:\n    import sqlalchemy\nexcept ImportError:\n    pass", "sqlalchemy"),
            ("import importlib\nimportlib.import_module('evcharge.tap')", "evcharge.tap"),
            ("x = __import__('evcharge.tap')", "evcharge.tap"),
            ("x = {'a': 'evcharge.tap'}\nimport_module(x['a'])", "evcharge.tap"),
            ("import threading", "threading"),
            ("from concurrent import futures", "concurrent.futures"),
            ("from twisted.internet import threads", "twisted.internet.threads"),
            ("import time", "time"),
            ("from time import monotonic", "time.monotonic"),
            ("from datetime import datetime\ndatetime.now(utc)", "datetime.now"),
            ("import datetime as dt, datetime\ndatetime.date.today()", "datetime.date.today"),
            ("import a_new_package", "a_new_package"),
        ):
            self.assertEqual(
                self.bad_imports("net.protocol", source), [f"net.protocol imports {name}"]
            )

    def test_bad_neighbours(self) -> None:
        """Nor does a module of a package that imports its neighbours, or what is above."""
        for source, name in (
            ("from . import auth", "handlers.auth"),
            ("from .auth import Login", "handlers.auth.Login"),
            ("from .. import tap", "tap"),
            ("from ..tap import makeService", "tap.makeService"),
            ("from ..handlers import auth", "handlers.auth"),
            ("import evcharge.handlers.auth", "handlers.auth"),
        ):
            self.assertEqual(
                self.bad_imports("handlers.trip", source),
                [f"handlers.trip imports evcharge.{name}"],
            )

    def test_bad_siblings(self) -> None:
        """No storage knows another."""
        for one in ("memory", "files.records", "sql.rows"):
            for other in ("memory", "files.store", "sql.store"):
                if one.partition(".")[0] != other.partition(".")[0]:
                    self.assertIn(
                        f"storage.{one} imports evcharge.storage.{other}",
                        self.bad_imports(f"storage.{one}", f"import evcharge.storage.{other}"),
                    )

    def test_good_imports(self) -> None:
        """What a row allows is allowed however it is written."""
        for source in (
            "from evcharge.net import sending",
            "from evcharge.net.sending import sender",
            "import evcharge.net.sending",
            "from . import sending",
            "from .sending import sender",
            "from evcharge import __version__",
            "from twisted.internet.defer import Deferred",
            "import twisted.internet.defer\ntwisted.internet.defer.Deferred()",
            "import os.path\nx.reactor.stop()",
        ):
            self.assertEqual(self.bad_imports("net.protocol", source), [])

    def test_bad_modules(self) -> None:
        """A module in no row is found, and a row, or a word of one, that is of no use."""
        imported = {**self.imported, "new": [], "package.inner": []}
        self.assertEqual(
            problems(self.rows, imported), ["new is in no row", "package.inner is in no row"]
        )
        imported = {name: self.imported[name] for name in self.imported if name != "net.sending"}
        self.assertIn("there is no net.sending", problems(self.rows, imported))
        imported = {**self.imported, "net.protocol": []}
        self.assertEqual(
            problems(self.rows, imported),
            [
                f"net.protocol need not know {name}"
                for name in (
                    "net.connections",
                    "net.listening",
                    "net.receiver",
                    "net.replies",
                    "net.sending",
                    "net.states",
                    "wire.last_resort",
                    "Twisted",
                )
            ],
        )

    def test_no_circle(self) -> None:
        """No modules import one another, not even for their types or within a function."""
        self.assertEqual(circle(self.imported), "")

    def test_circles(self) -> None:
        """A circle is found, however long and wherever in a module its imports stand."""
        for source in (
            "from evcharge import tap",
            "def f():\n    from evcharge.tap import makeService",
            "if TYPE_CHECKING:\n    import evcharge.tap",
        ):
            for module, least in (("net.ports", 2), ("utils.permissions", 3)):
                imported = {**self.imported, module: imports(source, module)}
                first, *others = circle(imported).split(" -> ")
                self.assertEqual(first, others[-1])
                self.assertGreaterEqual(len(others), least)
                self.assertLessEqual({module, "tap"}, set(others))

    def test_top(self) -> None:
        """At most 12 modules stand beside the folders."""
        self.assertLessEqual(len(list((ROOT / PACKAGE).glob("*.py"))), 12)

    def test_places(self) -> None:
        """Each module is named in "Where things are", and no other."""
        page = (ROOT / "docs" / "design.md").read_text()
        part = page.partition("## Where things are\n")[2].partition("\n## ")[0]
        named = set(re.findall(r"(\w+\.py)\b", part))
        there = {
            path.name for path in (ROOT / PACKAGE).rglob("*.py") if "migrations" not in path.parts
        }
        self.assertEqual(named - {"evcharge_plugin.py"}, there)


class PackageTests(SynchronousTestCase):
    """What is shipped."""

    def test_no_init(self) -> None:
        """Nothing of ours would overwrite Twisted's own package."""
        self.assertEqual(list((ROOT / "twisted").rglob("__init__.py")), [])

    def test_wheel(self) -> None:
        """The wheel has the plugin, the data and the page."""
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
            "evcharge/data/scenarios/tariffs.json",
            "evcharge/data/scenarios/weekday.toml",
            "evcharge/py.typed",
            "evcharge/web/page/index.html",
            "evcharge/web/page/app/main.js",
            "evcharge/web/page/vendor/vendor.json",
            "evcharge/web/page/vendor/leaflet-1.9.4/LICENSE",
            "evcharge/storage/files/store.py",
        ):
            self.assertIn(name, names)
        self.assertNotIn("twisted/__init__.py", names)
        self.assertFalse([name for name in names if name.startswith("tests")])

    def test_compose(self) -> None:
        """The Compose file has both services on the ports and the volume."""
        compose = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
        self.assertEqual(set(compose["services"]), {"server", "server-with-bootstrap"})
        for name, service in compose["services"].items():
            self.assertEqual(service["container_name"], name)
            self.assertEqual(service["ports"], ["8888:8888", "8080:8080"])
            self.assertEqual(service["volumes"], ["dados-volume:/data"])
            self.assertEqual(service["restart"], "unless-stopped")
        self.assertEqual(compose["volumes"], {"dados-volume": {"name": "dados-volume"}})


class TranscriptTests(SynchronousTestCase):
    """The transcripts in the documents."""

    def test_protocol_page(self) -> None:
        """Every transcript of the protocol page, in both languages, is what the server says."""
        count = converse(self, ROOT / "docs" / "protocol.md")
        self.assertGreaterEqual(count, 5)
        self.assertIn(converse(self, ROOT / "docs" / "pt" / "protocol.md"), (0, count))

    def test_readme(self) -> None:
        """So are those of the two front pages."""
        for name in ("README.md", "README.pt-BR.md"):
            self.assertEqual(converse(self, ROOT / name), 1)

    def test_short(self) -> None:
        """Where a transcript leaves the status out, the reply has succeeded."""
        page = Path(self.mktemp())
        for asked, told, right in (
            ('{"type": "START", "data": {}}', '{"type":"START","data":{…}}', True),
            ('{"type": "START", "data": {}}', '{"type":"START","data":{"message":"…"}}', False),
            ('{"type": "STATUS", "data": {"user_id": "x"}}', '{"type":"STATUS",…}', False),
        ):
            page.write_text(f"```transcript\n> {asked}\n< {told}\n```\n")
            if right:
                self.assertEqual(converse(self, page), 1)
            else:
                self.assertRaises(self.failureException, converse, self, page)
