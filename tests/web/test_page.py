"""The page's own files: what it carries from elsewhere, how much that is, and what it says."""

import hashlib
import json
import re
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

import evcharge

PAGE = Path(evcharge.__file__).parent / "web" / "page"
VENDOR = PAGE / "vendor"


class FilesTests(SynchronousTestCase):
    """What the page is made of."""

    def test_vendor(self) -> None:
        """Each library's files are those that were taken from npm, and no other is there."""
        table = json.loads((VENDOR / "vendor.json").read_text())
        sums = {name: found for row in table.values() for name, found in row["files"].items()}
        there = {
            path.relative_to(VENDOR).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in VENDOR.rglob("*")
            if path.is_file() and path.name != "vendor.json"
        }
        self.assertEqual(there, sums)
        for row in table.values():
            self.assertTrue(row["version"] and row["license"])
            self.assertTrue([name for name in row["files"] if name.endswith("/LICENSE")])

    def test_no_markup(self) -> None:
        """Nothing that comes from the network is ever read as markup, nor are there styles or
        scripts within it, which the page's policy would forbid."""
        for path in [*(PAGE / "app").glob("*.js"), PAGE / "index.html"]:
            text = path.read_text()
            for word in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval("):
                self.assertNotIn(word, text, path.name)
            self.assertIsNone(re.search(r"<[^>]*\s(style|on\w+)=", text), path.name)

    def test_lines(self) -> None:
        """No text of a script goes over several lines: the server sends them without indentation,
        and without those that are comments."""
        for path in (PAGE / "app").glob("*.js"):
            for number, line in enumerate(path.read_text().splitlines(), 1):
                if not line.lstrip().startswith(("//", "*", "/*")):
                    self.assertEqual(line.count("`") % 2, 0, f"{path.name}:{number}")

    def test_length(self) -> None:
        """Each file is read at one sitting."""
        for path in PAGE.rglob("*"):
            if path.suffix in (".js", ".css", ".html") and VENDOR not in path.parents:
                self.assertLessEqual(len(path.read_text().splitlines()), 450, path.name)

    def test_imports(self) -> None:
        """Each module that a script asks for, and each file that the page names, is there."""
        for path in (PAGE / "app").glob("*.js"):
            for name in re.findall(r'from "(\./[^"]+)"', path.read_text()):
                self.assertTrue((path.parent / name).is_file(), f"{path.name}: {name}")
        for name in re.findall(r'"/static/([^"?]+)', (PAGE / "index.html").read_text()):
            if name not in ("settings.json", "stations.html"):
                self.assertTrue((PAGE / name).is_file(), name)


class TextsTests(SynchronousTestCase):
    """What the page says, in each language."""

    def texts(self, path: Path) -> dict[str, str]:
        """The texts of a file, by key."""
        return dict(
            re.findall(r'^  "?([\w.]+)"?:\s+"((?:[^"\\]|\\.)*)",?$', path.read_text(), re.M)
        )

    def test_keys(self) -> None:
        """Both languages have the same texts, with the same figures in them."""
        paths = sorted((PAGE / "app").glob("*-pt.js"))
        self.assertIn(PAGE / "app" / "texts-pt.js", paths)
        for path in paths:
            pt = self.texts(path)
            en = self.texts(path.with_name(path.name.replace("-pt.js", "-en.js")))
            self.assertEqual(sorted(pt), sorted(en), path.name)
            self.assertTrue(pt)
            for key in pt:
                figures = [sorted(re.findall(r"\{(\w+)\}", text)) for text in (pt[key], en[key])]
                self.assertEqual(figures[0], figures[1], key)

    def test_used(self) -> None:
        """Each text that is asked for by its whole key is there."""
        known = {key for path in (PAGE / "app").glob("*-pt.js") for key in self.texts(path)}
        asked = set()
        for path in (PAGE / "app").glob("*.js"):
            asked |= set(re.findall(r'\btext\("([\w.]+)"', path.read_text()))
        asked |= set(
            re.findall(r'data-(?:text|label)="([\w.]+)"', (PAGE / "index.html").read_text())
        )
        self.assertEqual(sorted(asked - known), [])
        self.assertGreater(len(asked), 30)
