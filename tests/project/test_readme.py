"""The two front pages: what they show is so, and they say the same."""

import re
import subprocess
import sys
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.support.scripted import ROOT, environment
from tests.support.servers import ServerTestCase
from tests.support.tools import need

PAGES = {"en": ROOT / "README.md", "pt": ROOT / "README.pt-BR.md"}
PROGRAM = ROOT / "docs" / "examples" / "first_client.py"
MOST_LINES, MOST_WIRE, MOST_MOVING = 120, 99, 1_000_000


def blocks(page: Path, kind: str) -> list[str]:
    """The page's blocks of a kind."""
    return re.findall(rf"^```{kind}\n(.*?)^```", page.read_text(), re.M | re.S)


class ExampleTests(ServerTestCase):
    """What the pages have a person run."""

    def test_program(self) -> None:
        """The first program is the file that is named, and prints what is shown."""
        for language, page in PAGES.items():
            server = self.start(Path(self.mktemp()), "--language", language).wait()
            (program,) = blocks(page, "python")
            self.assertEqual(program, PROGRAM.read_text())
            self.assertIn(f"python {PROGRAM.relative_to(ROOT)}`", page.read_text())
            done = subprocess.run(
                [sys.executable, "-c", program.replace("8888", str(server.port))],
                capture_output=True, text=True, env=environment(), timeout=60,
            )  # fmt: skip
            self.assertEqual((done.stdout, done.stderr), (blocks(page, "text")[0], ""))

    def test_run(self) -> None:
        """A clone has what the pages tell one to run: make knows each of its commands."""
        need("git")
        need("make")
        (package, clone, enter, *rest), (mine,) = (
            block.splitlines() for block in blocks(PAGES["en"], "sh")
        )
        self.assertRegex(package, "^sudo apt install git make ")
        folder = Path(self.mktemp())
        folder.mkdir()
        script = [
            # Also of a checkout that is at no branch, of which git has a word to say.
            clone.replace("clone ADDRESS", f"-c advice.detachedHead=false clone --quiet '{ROOT}'"),
            enter,
            *(line.replace("make ", "make --dry-run ") for line in [*rest, mine]),
            f"test -e {PROGRAM.relative_to(ROOT)}",
        ]
        done = subprocess.run(
            ["sh", "-e", "-c", "\n".join(script)], cwd=folder, capture_output=True, text=True,
            env={key: each for key, each in environment().items() if "MAKE" not in key},
            timeout=60,
        )  # fmt: skip
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.assertIn("--simulate demo", done.stdout)
        self.assertIn("--language en", done.stdout)


class PageTests(SynchronousTestCase):
    """The pages as such."""

    def test_one_page(self) -> None:
        """
        Each is one page, has no table, and what goes over the wire fits a window; its moving map
        does not take long to load.
        """
        for page in PAGES.values():
            text = page.read_text()
            self.assertLessEqual(len(text.splitlines()), MOST_LINES)
            self.assertEqual(re.findall(r"^\|.*", text, re.M), [])
            (wire,) = blocks(page, "transcript")
            self.assertLessEqual(max(map(len, wire.splitlines())), MOST_WIRE)
            (moving,) = re.findall(r"\]\((docs/\S+\.gif)\)", text)
            self.assertLess((ROOT / moving).stat().st_size, MOST_MOVING)

    def test_alike(self) -> None:
        """They have the same parts, the same links and the same commands."""
        # Pages and pictures are those in one's own language, where there are such.
        english, portuguese = (
            re.sub(r"-(en|pt)\.(gif|svg)", r".\2", page.read_text()).replace("docs/pt/", "docs/")
            for page in PAGES.values()
        )
        for pattern in (
            r"^(#+) ",
            r"^(- )",
            r"^```(\w*)",
            r"\]\((docs/[^)]*|C[A-Z]+\.md|LICENSE)\)",
            r"`((?:make|nc|docker|\.venv)[^`]*)`",
        ):
            found = re.findall(pattern, english, re.M)
            self.assertTrue(found, pattern)
            self.assertEqual(found, re.findall(pattern, portuguese, re.M), pattern)

    def test_own_language(self) -> None:
        """Each leads to the pages in its language, where there are such."""
        linked = re.findall(r"\]\((docs/[^)#]*)", PAGES["pt"].read_text())
        twins = [each for each in linked if (ROOT / each.replace("docs/", "docs/pt/", 1)).exists()]
        self.assertEqual(twins, [])

    def test_figures(self) -> None:
        """The figures of how sure one can be are those of the pages that they lead to."""
        (sure,) = re.findall(r"^## How sure\n(.*?)^## ", PAGES["en"].read_text(), re.M | re.S)
        lines = sure.strip().splitlines()
        self.assertEqual(len(lines), 3)
        soak, vectors, speed = (
            (ROOT / re.findall(r"\]\((docs/[^)#]*)", line)[-1]).read_text() for line in lines
        )
        kills = re.search(r"^\| server killed \(SIGKILL\) \|(.*)\|$", soak, re.M)[1].split("|")
        self.assertTrue(lines[0].startswith(f"- **{sum(map(int, kills))} kills "), lines[0])
        self.assertRegex(soak, r"(?m)^\| findings \| none \| none \| none \|$")
        for number, text in ((1, vectors), (2, speed)):
            (figure,) = re.findall(r"- \*\*([\d,]+) ", lines[number])
            self.assertIn(figure, text)
        said = [re.findall(r"^- \*\*([\d.,]+) ", each.read_text(), re.M) for each in PAGES.values()]
        self.assertEqual(said[0], [each.replace(".", ",") for each in said[1]])
