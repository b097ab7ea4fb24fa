"""The two front pages: what they show is so, and they say the same."""

import re
import subprocess
import sys
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from evcharge.cli import COMMANDS
from tests.support.scripted import ROOT, command, environment
from tests.support.servers import ServerTestCase

PAGES = {"en": ROOT / "README.md", "pt": ROOT / "README.pt-BR.md"}
UUID = r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"


def block(page: Path, kind: str) -> str:
    """The page's one block of a kind."""
    (found,) = re.findall(rf"^```{kind}\n(.*?)^```", page.read_text(), re.M | re.S)
    return found


class ExampleTests(ServerTestCase):
    """What the pages have a person run."""

    def setUp(self) -> None:
        self.server = self.start(Path(self.mktemp())).wait()

    def test_drive(self) -> None:
        """The first journey goes as it is shown."""
        for language, page in PAGES.items():
            self.assertIn("evcharge drive", page.read_text())
            # One of its own: the first slot is taken by who comes first.
            port = f"--port={self.start(Path(self.mktemp())).wait().port}"
            done = command("drive", port, "--language", language, answers="\n" * 9, COLUMNS="80")
            said = re.sub(" +$", "", done.stdout, flags=re.M)
            parts = re.split(f"{UUID}|…", block(page, "console"))
            self.assertRegex(said, re.compile(".*".join(map(re.escape, parts)), re.S))

    def test_program(self) -> None:
        """So does the first program."""
        for page in PAGES.values():
            program = block(page, "python").replace("8888", str(self.server.port))
            done = subprocess.run(
                [sys.executable, "-c", program], capture_output=True, text=True,
                env=environment(), timeout=60,
            )  # fmt: skip
            self.assertEqual((done.stdout, done.stderr), (block(page, "text"), ""))


class PageTests(SynchronousTestCase):
    """The pages as such."""

    def test_one_page(self) -> None:
        """Each is one page, and has no table of options."""
        for page in PAGES.values():
            text = page.read_text()
            self.assertLessEqual(len(text.splitlines()), 120)
            self.assertEqual(re.findall(r"^\| `--", text, re.M), [])

    def test_alike(self) -> None:
        """They have the same parts, the same links and the same commands."""
        # The pictures are of the page in one's own language.
        english, portuguese = (
            re.sub(r"-(en|pt)\.(gif|png)", r".\2", page.read_text()) for page in PAGES.values()
        )
        for pattern in (
            r"^(#+) ",
            r"^```(\w*)",
            r"\]\((docs/[^)]*)\)",
            r"^```sh\n(.*)",
            r"`((?:make|nc|docker)[^`]*)`",
            r"evcharge (ask|drive|bootstrap|backup|apply|evse|migrate|export)\b",
        ):
            found = re.findall(pattern, english, re.M)
            self.assertEqual(found, re.findall(pattern, portuguese, re.M), pattern)

    def test_links(self) -> None:
        """Each link leads to a page that is there, and to a heading of it."""
        for page in PAGES.values():
            for path, anchor in re.findall(r"\]\(([^)#:]*)(?:#([^)]*))?\)", page.read_text()):
                text = (ROOT / path).read_text(errors="replace")
                titles = re.findall(r"^#+ (.*)", text, re.M)
                anchors = [re.sub(r"[^\w -]", "", t).lower().replace(" ", "-") for t in titles]
                if anchor:
                    self.assertIn(anchor, anchors, path)

    def test_commands(self) -> None:
        """Each command that they name is one."""
        for page in PAGES.values():
            named = set(re.findall(r"[`/]evcharge (\w+)", page.read_text()))
            self.assertTrue(named)
            self.assertLessEqual(named, COMMANDS.keys())
