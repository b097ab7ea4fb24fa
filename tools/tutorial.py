"""
Runs the studies of docs/simulator/tutorial.md, and puts what they come to into the page, and into
its Portuguese twin.

    python tools/tutorial.py

What commands print, the reports' sentences behind `>`, the tables whose heads name figures, and the
pictures with what they say: all of it is taken from the results. The words about them are people's.
Both pages are made of the same results, so each study runs once.
"""

from __future__ import annotations

import html
import re
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from itertools import pairwise
from pathlib import Path

from evcharge.simulator import report, study
from evcharge.simulator.replication import NETWORK, Place
from evcharge.simulator.report_words import SAME
from evcharge.simulator.statistics import Interval
from evcharge.simulator.study import Study
from evcharge.simulator.summaries import differences, places, summary
from evcharge.simulator.words import FIGURES, setting, with_interval

ROOT = Path(__file__).resolve().parent.parent
PAGES = {
    "en": ROOT / "docs" / "simulator" / "tutorial.md",
    "pt": ROOT / "docs" / "pt" / "simulator" / "tutorial.md",
}
PICTURES = {
    "en": ROOT / "docs" / "figures" / "simulator",
    "pt": ROOT / "docs" / "figures" / "simulator" / "pt",
}
RUN_IN = "en"
"""The language of the page whose studies run, and of their reports."""

BLOCK = re.compile(r"^```console\n(.*?)^```\n", re.M | re.S)
COMMAND = re.compile(r"^\$ ((?:.*\\\n)*.*)\n((?:(?!\$ ).*\n)*)", re.M)
QUOTE = re.compile(r"(?:^> .*\n)+", re.M)
HEADS = {
    "figure": "figure", "place": "place", "variant": "variant",
    "medida": "figure", "posto": "place", "variante": "variant",
}  # fmt: skip
"""What a table is about, by the head of its first column."""
TABLE = re.compile(rf"^(\| (?:{'|'.join(HEADS)}) \|.*)\n(\|[-:| ]+)\n((?:\|.*\n)+)", re.M)
PICTURE = re.compile(r"!\[[^\]]*\]\(((?:\.\./)+figures/simulator/(?:pt/)?)([\w-]+)-([a-z]+)\.svg\)")

PROGRAM = "import sys; from evcharge.cli import main; main(sys.argv[1:])"
AT_ONCE = 2
"""Commands that run beside one another."""

PHRASES = {
    language: {each.phrase.say(language, {}): name for name, each in FIGURES.items()}
    for language in PAGES
}
"""The figures' names, by what they are called in a language."""

DIFFERENCE = {"en": "difference: ", "pt": "diferença: "}
EVSES = {"en": "EVSEs", "pt": "vagas"}
STYLE = re.compile(r":root \{.*?\}", re.S)


def commands(page: str) -> Sequence[str]:
    """All command lines of a page, in order."""
    return [line for block in BLOCK.findall(page) for line, _ in COMMAND.findall(block)]


def run(line: str, folder: Path) -> str:
    """What a command line prints, in a folder for its results."""
    words = shlex.split(line.replace("\\\n", " "))
    assert words[0] == "evcharge", line
    # Many at once share the machine better as one process each; it changes no byte.
    alone = ["--workers", "1"] if words[2] == "run" else []
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *words[1:], *alone],
        cwd=folder, env={"PYTHONPATH": str(ROOT), "PATH": ""},
        capture_output=True, text=True, timeout=600, check=False,
    )  # fmt: skip
    if (done.returncode, done.stderr) != (0, ""):
        raise RuntimeError(f"{line}: {done.stderr}")
    return done.stdout


def run_all(page: str, folder: Path) -> Mapping[str, str]:
    """What each command of a page prints."""
    lines = commands(page)
    with ThreadPoolExecutor(AT_ONCE) as pool:
        return dict(zip(lines, pool.map(lambda line: run(line, folder), lines), strict=True))


def without_language(line: str) -> str:
    return re.sub(r" --language \w+", "", line)


def run_others(page: str, printed: Mapping[str, str], folder: Path) -> Mapping[str, str]:
    """
    What each command of a twin prints: a study's has run, the others run here.

    :param printed: what the commands of the page whose studies ran have printed.
    """
    known = {without_language(line): each for line, each in printed.items()}
    return {
        line: known[without_language(line)] if out_of(line) else run(line, folder)
        for line in commands(page)
    }


class Results:
    """What is in a folder of results, in a language."""

    def __init__(self, folder: Path, language: str) -> None:
        self.study: Study = study.read(folder)
        self.language = language
        if language == RUN_IN:
            self.report = (folder / "report.html").read_text("utf-8")
        else:
            self.report = report.page(self.study, language)
        of = [each.settings for each in self.study.plan.variants]
        # What is the same in all variants needs no saying.
        own = [tuple(each for each in one if any(each not in other for other in of)) for one in of]
        self.names = [setting(each, language) for each in own]

    @property
    def sentence(self) -> str:
        """The one that the report begins with."""
        found = re.search(r'<p class="lead">(.*?)</p>', self.report, re.S)
        assert found is not None
        return html.unescape(found[1])

    def pictures(self) -> Mapping[str, tuple[str, str]]:
        """The report's pictures by their names: what each says, and the SVG as a file has it."""
        found = {}
        root = STYLE.search(self.report)
        assert root is not None
        style = re.sub(r"\s+", " ", root[0]) + " svg { background: var(--surface); }"
        for svg in re.findall(r"<svg .*?</svg>", self.report, re.S):
            (name,) = set(re.findall(r'\bid="([a-z]+)-', svg))
            said = html.unescape(re.search(r'aria-label="(.*?)"', svg)[1])
            head, _, rest = svg.partition(">")
            wide, high = re.search(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', head).groups()
            size = f' width="{float(wide):.0f}pt" height="{float(high):.0f}pt"'
            made_by = f"<!-- matplotlib {version('matplotlib')} -->"
            found[name] = said, f"{head}{size}>{made_by}<style>{style}</style>{rest}\n"
        return found

    def cell(self, found: Interval | None, figure: str, is_difference: bool = False) -> str:
        """A figure as the report's table has it."""
        shown = with_interval(found, FIGURES[figure].kind, self.language, is_difference)
        if is_difference and found is not None and not found.is_apart_from_0:
            shown += f", {SAME.say(self.language, {})}"
        return shown

    def found(self, variant: int, place: str, figure: str) -> Interval | None:
        plan = self.study.plan
        return summary(self.study.results[variant], place, figure, plan.confidence)

    def table(self, head: Sequence[str], there: Sequence[str]) -> Iterator[Sequence[str]]:
        """
        The rows of a table of the page.

        :param head: `figure` and one column; or `place` or `variant`, and figures; or as the
            language has it.
        :param there: the first cell of each row; all variants have one.
        """
        if HEADS[head[0]] == "figure":
            for phrase in there:
                figure = PHRASES[self.language][phrase]
                yield phrase, self.cell(self.found(0, NETWORK, figure), figure)
        elif HEADS[head[0]] == "place":
            by_name = {place.name: place for place in places(self.study)}
            for name in there:
                yield name, *(self.of_place(by_name[name], each) for each in head[1:])
        else:
            for variant, name in enumerate(self.names):
                yield name, *(self.of_variant(variant, each) for each in head[1:])

    def of_place(self, place: Place, column: str) -> str:
        if column == EVSES[self.language]:
            return str(place.evses)
        figure = PHRASES[self.language][column]
        return self.cell(self.found(0, place.key, figure), figure)

    def of_variant(self, variant: int, column: str) -> str:
        difference = DIFFERENCE[self.language]
        figure = PHRASES[self.language][column.removeprefix(difference)]
        if not column.startswith(difference):
            return self.cell(self.found(variant, NETWORK, figure), figure)
        if variant == 0:
            return ""
        apart = differences(self.study, NETWORK, figure)[variant - 1]
        return self.cell(apart, figure, is_difference=True)


def cells(row: str) -> Sequence[str]:
    return [each.strip() for each in row.strip().strip("|").split("|")]


def out_of(line: str) -> str | None:
    """The folder that a command writes its results to; None where it runs nothing."""
    words = shlex.split(line.replace("\\\n", " "))
    if words[1:3] != ["simulate", "run"]:
        return None
    return words[words.index("--out") + 1] if "--out" in words else f"results/{words[3]}"


def sections(page: str) -> Iterator[tuple[str, Sequence[str]]]:
    """A page in parts, each from a block of commands on, with these commands."""
    begins = [0, *(found.start() for found in BLOCK.finditer(page)), len(page)]
    for begin, end in pairwise(begins):
        yield page[begin:end], commands(page[begin:end])


def rewritten(
    page: str, printed: Mapping[str, str], folder: Path, language: str
) -> tuple[str, dict[str, str]]:
    """
    The page with what its commands have come to, and its pictures by the names of their files.

    :param printed: what each command printed.
    :param folder: where they ran.
    :param language: the page's.
    """
    whole, pictures = [], {}
    for part, lines in sections(page):

        def output(found: re.Match[str]) -> str:
            return f"$ {found[1]}\n{printed[found[1]]}"

        part = BLOCK.sub(lambda found: f"```console\n{COMMAND.sub(output, found[1])}```\n", part)
        out = next((out_of(line) for line in lines if out_of(line)), None)
        if out is not None:
            results = Results(folder / out, language)
            drawn = results.pictures()

            def sentence(found: re.Match[str], results: Results = results) -> str:
                if " ".join(re.sub(r"^> ", "", found[0], flags=re.M).split()) == results.sentence:
                    return found[0]
                return f"> {results.sentence}\n"

            def table(found: re.Match[str], results: Results = results) -> str:
                there = [cells(row)[0] for row in found[3].splitlines()]
                rows = results.table(cells(found[1]), there)
                body = "".join(f"| {' | '.join(row)} |\n" for row in rows)
                return f"{found[1]}\n{found[2]}\n{body}"

            def picture(found: re.Match[str], drawn: Mapping[str, tuple[str, str]] = drawn) -> str:
                said, svg = drawn[found[3]]
                name = f"{found[2]}-{found[3]}.svg"
                pictures[name] = svg
                return f"![{said}]({found[1]}{name})"

            part = PICTURE.sub(picture, TABLE.sub(table, QUOTE.sub(sentence, part)))
        whole.append(part)
    return "".join(whole), pictures


def made(folder: Path) -> Mapping[str, tuple[str, Mapping[str, str]]]:
    """
    Each page as it is when its commands have been run, and its pictures, by the language.

    :param folder: an empty one, where they run.
    """
    all_printed = run_all(PAGES[RUN_IN].read_text("utf-8"), folder)
    found = {}
    for language, path in PAGES.items():
        page, printed = path.read_text("utf-8"), all_printed
        if language != RUN_IN:
            own = folder / language
            own.mkdir()
            printed = run_others(page, all_printed, own)
        found[language] = rewritten(page, printed, folder, language)
    return found


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        pages = made(Path(folder))
    for language, (page, pictures) in pages.items():
        PAGES[language].write_text(page, "utf-8")
        PICTURES[language].mkdir(parents=True, exist_ok=True)
        for path in PICTURES[language].glob("*.svg"):
            path.unlink()
        for name, svg in pictures.items():
            (PICTURES[language] / name).write_text(svg, "utf-8")


if __name__ == "__main__":
    main()
