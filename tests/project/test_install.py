"""The way from a bare Debian to a served port: that what runs it is all that the page says."""

import importlib.util
import re

from twisted.trial.unittest import SynchronousTestCase

from tests.support.servers import ROOT

FOLDER = ROOT / "docs" / "operation"


def tool() -> object:
    """tools/debian.py, which boots a fresh Debian and does there what the pages say."""
    spec = importlib.util.spec_from_file_location("debian", ROOT / "tools" / "debian.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class InstallTests(SynchronousTestCase):
    """docs/operation/install.md and upgrade.md, and tools/debian.py."""

    def setUp(self) -> None:
        self.debian = tool()
        self.lines = [line for line, _ in self.debian.all_commands()]

    def test_all(self) -> None:
        """Each command of both pages is run, and the way out comes last."""
        for name in ("install.md", "upgrade.md"):
            shown = re.findall(r"^\$ (.*)", (FOLDER / name).read_text(), re.M)
            self.assertGreater(len(shown), 15)
            self.assertEqual(set(shown) - set(self.lines), set())
        self.assertIn(self.debian.LEAVING, self.lines)
        self.assertEqual(self.lines[-1], "userdel evcharge")

    def test_demanded(self) -> None:
        """It takes minutes and root, so no other test runs it: before a release somebody does."""
        self.assertIn("make debian", (ROOT / "docs" / "releasing.md").read_text())

    def test_stand_ins(self) -> None:
        """Each stand-in is for a command that there is; all others are run as they stand."""
        for beginning in self.debian.STAND_INS:
            (line,) = [each for each in self.lines if each.startswith(beginning)]
            self.assertNotEqual(self.debian.said(line), line)
        self.assertEqual(self.debian.said("userdel evcharge"), "userdel evcharge")

    def test_files(self) -> None:
        """The files that they install are there."""
        named = re.findall(r"docs/operation/\S+", "\n".join(self.lines))
        self.assertGreater(len(set(named)), 5)
        for path in named:
            self.assertTrue((ROOT / path).is_file(), path)

    def test_undone(self) -> None:
        """What is installed under /etc/systemd is taken out again."""
        removed = " ".join(each for each in self.lines if each.startswith("rm "))
        copied = [each.split()[1:-1] for each in self.lines if each.endswith("/system/")]
        for name in {path.rpartition("/")[2] for paths in copied for path in paths}:
            self.assertIn(f"/etc/systemd/system/{name}", removed)

    def test_matches(self) -> None:
        """What is printed has to be what is shown, where `…` is anything."""
        self.assertTrue(self.debian.matches("ready\n", "ready"))
        self.assertTrue(self.debian.matches("200 …\n", "200 Sucesso\n"))
        self.assertFalse(self.debian.matches("200 …\n", "503 Fora\n"))
        self.assertFalse(self.debian.matches("", "something"))
