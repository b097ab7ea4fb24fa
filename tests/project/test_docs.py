"""
What evcharge tells people: in plain sentences, with one word for each thing, in both languages.
"""

import argparse
import ast
import re
import shlex
from collections.abc import Iterator
from functools import cache
from itertools import zip_longest
from pathlib import Path

from twisted.python.usage import UsageError
from twisted.trial.unittest import SynchronousTestCase

from evcharge import cli
from evcharge.tap import Options
from tests.support.pages import (
    DOCS,
    NEXT,
    READER,
    WRONG,
    Page,
    lengths,
    page,
    pages,
    sentences,
    wrong_words,
)
from tests.support.servers import ROOT

REFERENCES = {
    *("docs/protocol.md", "docs/pt/protocol.md", "docs/operation/options.md"),
    *("docs/simulator/scenarios.md", "docs/design.md"),
}
MOST_LINES = 250
"""Of a page that is no reference."""

IN_BOTH = {
    *("index.md", "tutorial.md", "concepts.md", "faq.md", "protocol.md", "operation/install.md"),
    "simulator/tutorial.md",
}
CLICKS = 2

OLD = {
    "docs/soak.md": ["what-it-found"],
    "docs/operation.md": [
        *("running-the-server", "the-map-and-http", "as-a-service", "limits", "tls"),
        *("behind-a-proxy", "behind-nginx", "what-is-logged", "shutting-down", "storages"),
        *("sqlite", "postgresql", "moving-a-network-evcharge-migrate-evcharge-export", "workers"),
        *("the-data-directory", "backing-up", "after-a-crash", "damaged-files"),
        *("simulated-users-evcharge-bootstrap", "docker", "where-the-data-comes-from"),
    ],
}
"""Headings of pages whose matter is elsewhere now: they lead there."""


def faults(each: Page) -> Iterator[str]:
    """What is wrong with how a page is written."""
    yield from lengths(each.said)
    yield from wrong_words(each.words, each.language)
    if not each.in_docs:
        return
    lines = len(each.text.splitlines())
    if each.name not in REFERENCES and lines > MOST_LINES:
        yield f"{lines} lines, {MOST_LINES} at the most"
    if not re.search(READER[each.language], each.introduction):
        yield f"the introduction does not say who it is for, as by {READER[each.language]}"
    following = NEXT[each.language]
    if not each.said[-1].startswith(following) or not each.links:
        yield f"does not end with {following!r} and a link to where to go from it"


def parsers(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    """A command's, and those of the commands within it."""
    yield parser
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for each in dict.fromkeys(action.choices.values()):
                yield from parsers(each)


@cache
def helps() -> dict[str, list[str]]:
    """What `--help` says, by command: paragraphs, and what it says of each option."""
    found = {}
    for parser in parsers(cli._parser("")):
        text = f"{parser.description or ''}\n\n{parser.epilog or ''}"
        # What is indented is an example.
        said = [" ".join(each.split()) for each in re.split(r"\n\n|\n +.*", text)]
        for action in parser._actions:
            listed = isinstance(action, argparse._SubParsersAction)
            for each in action._choices_actions if listed else [action]:
                said.append((each.help or "") % {"default": each.default, "prog": parser.prog})
        found[parser.prog] = said
    lines = Options().getUsage(width=100_000).splitlines()
    found["twistd evcharge"] = [re.sub(r"^ +(?:-\w, )?--[\w-]+=? *", "", line) for line in lines]
    return found


SHELLS = ("", "console", "sh")
_CALLED = r"(?:\S*/)?evcharge ((?:simulate )?[a-z][a-z-]*)"
_IN_LINE = re.compile(rf"`{_CALLED}")
_IN_CODE = re.compile(rf"^(?:\$ )?{_CALLED}|(?:[|&;:]|server) {_CALLED}", re.M)


def called(each: Page) -> set[str]:
    """The commands that a page names in a line or has in its code, such as `simulate run`."""
    shells = [text for language, text in each.code if language in SHELLS]
    found = set(_IN_LINE.findall(each.text))
    found |= {name for text in shells for names in _IN_CODE.findall(text) for name in names}
    return found - {""}


def options(each: Page) -> Iterator[tuple[str, str]]:
    """The program and each of its options in the command lines of a page."""
    shells = [text.replace("\\\n", " ") for language, text in each.code if language in SHELLS]
    for line in (*re.findall(r"`([^`\n]+)`", each.text), *"\n".join(shells).splitlines()):
        for part in re.split(r"[|;&#>]|\$\(", line):
            found = re.search(rf"\btwistd (?:.* )?evcharge(?= )|{_CALLED}", part)
            if found:
                program = f"evcharge {found[1]}" if found[1] else "twistd evcharge"
                for name in re.findall(r" (--[a-z][a-z-]*)", part[found.end() :]):
                    yield program, name


def said() -> Iterator[tuple[Path, list[str]]]:
    """The texts in each file of the program: in Python all but docstrings and lone words."""
    for path in sorted((ROOT / "evcharge").rglob("*.py")):
        nodes = list(ast.walk(ast.parse(path.read_text())))
        lone = {id(node.value) for node in nodes if isinstance(node, ast.Expr)}
        constants = [node for node in nodes if isinstance(node, ast.Constant)]
        texts = [str(node.value) for node in constants if id(node) not in lone]
        yield path, [text for text in texts if " " in text]
    texts = ROOT / "evcharge" / "web" / "page"
    for path in [texts / "index.html", *texts.glob("app/*-en.js"), *texts.glob("app/*-pt.js")]:
        yield path, [path.read_text()]


def twins() -> Iterator[tuple[Page, Page]]:
    """The pages that are in both languages, the English one first."""
    yield page(ROOT / "README.md"), page(ROOT / "README.pt-BR.md")
    for name in sorted(IN_BOTH):
        yield page(DOCS / name), page(DOCS / "pt" / name)


_COMMENTS = {
    **dict.fromkeys(("python", "sh", "console", "toml", "yaml", "ini"), r"(?:^|\s+)#.*"),
    **dict.fromkeys(("javascript", "js"), r"(?:^|\s+)//.*"),
}
_PROGRAMS = {*_COMMENTS, "html", "css", "nginx"} - {"console"}


def neutral(each: Page, language: str, text: str) -> object:
    """
    A block of code without what may differ between languages: comments and the option `--language`
    of commands and programs; of what is printed, all but the figures of a line; messages in JSON.
    """
    directive, _, argument = language.partition(" ")
    if directive == "{literalinclude}":
        return (each.path.parent / argument).resolve(), text
    lines = re.sub(_COMMENTS.get(language, "(?!)"), "", text, flags=re.M).splitlines()
    if language in _PROGRAMS:
        return language, [re.sub(r"--language \w+", "", line) for line in lines if line]
    if language in ("transcript", "json"):
        return language, [re.sub(r'"message": ?"[^"]*"', "", line) for line in lines]
    return language, [
        re.sub(r" --language \w+", "", line)
        if line.startswith("$ ")
        else re.findall(r"\d+(?:[.,]\d+)*", line.replace(",", "."))
        for line in lines
    ]


class WritingTests(SynchronousTestCase):
    """Every page, in both languages."""

    def test_sentences(self) -> None:
        """Sentences are told apart as a reader does."""
        text = "Run `a.b`. It prints 1.5, e.g. for Av. M.; 2: yes (or no). Is it? “It is.” Go on…"
        self.assertEqual(
            list(sentences(text)),
            [
                "Run `a.b`.",
                "It prints 1.5, e.g. for Av. M.; 2: yes (or no).",
                "Is it?",
                "“It is.",
                "Go on…",
            ],
        )

    def test_written(self) -> None:
        """
        Sentences are short, words are the field's, pages are not long, name their reader and say
        where to go next.
        """
        wrong = [
            f"{each.name}: {fault}" for each in pages() if not each.moved for fault in faults(each)
        ]
        self.assertEqual(wrong, [], "\n" + "\n".join(wrong))

    def test_help(self) -> None:
        """So are the sentences and words of every command's help."""
        wrong = [
            f"{name} --help: {fault}"
            for name, said in helps().items()
            for fault in (*lengths(said), *wrong_words(said, "en"))
        ]
        self.assertEqual(wrong, [], "\n" + "\n".join(wrong))

    def test_texts(self) -> None:
        """So are the words of errors, log lines, messages to drivers and the page."""
        wrong = [
            f"{path.relative_to(ROOT)}: {fault}"
            for path, texts in said()
            for language in WRONG
            for fault in wrong_words(texts, language)
        ]
        self.assertEqual(wrong, [], "\n" + "\n".join(wrong))


class LinkTests(SynchronousTestCase):
    """Where pages lead."""

    def test_there(self) -> None:
        """Each link leads to a file that is there, and to a heading that it has."""
        wrong = []
        for each in pages():
            for link in each.links:
                if re.match(r"[a-z]+:", link):
                    continue
                path, _, anchor = link.partition("#")
                target = (each.path.parent / path).resolve() if path else each.path
                if not target.exists():
                    wrong.append(f"{each.name}: {link}: no such file")
                elif anchor and anchor not in page(target).anchors:
                    wrong.append(f"{each.name}: {link}: no such heading")
        self.assertEqual(wrong, [], "\n" + "\n".join(wrong))

    def test_near(self) -> None:
        """Each page of a language is two links from its first one at the most."""
        for language, first in (("en", DOCS / "index.md"), ("pt", DOCS / "pt" / "index.md")):
            near = {first}
            for _ in range(CLICKS):
                near |= {
                    (path.parent / link.partition("#")[0]).resolve()
                    for path in near
                    if path.suffix == ".md"
                    for link in page(path).links
                }
            wanted = {
                each.path
                for each in pages()
                if each.language == language and each.in_docs and not each.moved
            }
            self.assertEqual(wanted - near, set())

    def test_old(self) -> None:
        """What others have as a bookmark leads on."""
        for name, anchors in OLD.items():
            self.assertEqual(set(anchors) - page(ROOT / name).anchors, set(), name)


class CommandTests(SynchronousTestCase):
    """The commands of `evcharge`, and the pages that tell of them."""

    def setUp(self) -> None:
        names = (name.partition(" ") for name in helps())
        self.there = {rest for program, _, rest in names if program == "evcharge" and rest}

    def test_called(self) -> None:
        """A command is found where a person would copy it, and the program's name is none."""
        page = Page(
            ROOT / "a.md",
            "evcharge runs `evcharge ask START`, not `twistd evcharge` or `an evcharge process`.",
            code=[
                ("", "0 3 * * * cd /srv && evcharge backup copy"),
                ("console", "$ .venv/bin/evcharge simulate run a.toml | evcharge watch\n"),
                ("console", "$ systemctl disable evcharge evcharge-backup.timer\nevcharge: no\n"),
                ("python", "evcharge is\n"),
            ],
        )
        self.assertEqual(called(page), {"ask", "backup", "simulate run", "watch"})

    def test_there(self) -> None:
        """Each command that a page has exists."""
        wrong = [
            f"{each.name}: evcharge {name}"
            for each in pages()
            for name in sorted(called(each) - self.there)
        ]
        self.assertEqual(wrong, [], "\n" + "\n".join(wrong))

    def test_options(self) -> None:
        """Each option of a command line that a page has is one of that command."""
        there = {each.prog: set(each._option_string_actions) for each in parsers(cli._parser(""))}
        there["twistd evcharge"] = {f"--{name.rstrip('=')}" for name in Options().longOpt}
        used = [(each.name, *found) for each in pages() for found in options(each)]
        self.assertGreater(len({program for _, program, _ in used}), 12)
        wrong = [
            f"{name}: {program} {option}"
            for name, program, option in used
            if program in there and option not in there[program]
        ]
        self.assertEqual(wrong, [], "\n" + "\n".join(wrong))

    def test_starts(self) -> None:
        """The server takes each command line that a page starts it by, as a whole."""
        wrong, lines = [], 0
        for each in pages():
            for _, code in each.code:
                for line in code.replace("\\\n", " ").splitlines():
                    before, evcharge, words = line.partition(" evcharge ")
                    if "twistd" not in before or not evcharge or "--help" in words:
                        continue
                    lines += 1
                    try:
                        Options().parseOptions(shlex.split(words, comments=True))
                    except UsageError as error:
                        wrong.append(f"{each.name}: {line.strip()}: {error}")
        self.assertGreater(lines, 10)
        self.assertEqual(wrong, [], "\n" + "\n".join(wrong))

    def test_told(self) -> None:
        """Each command that exists is in a page of the documentation; `simulate` by its own."""
        told = set[str]().union(*(called(each) for each in pages() if each.in_docs))
        self.assertGreater(len(self.there), 12)
        self.assertEqual(self.there - told - {"simulate"}, set())


class LanguageTests(SynchronousTestCase):
    """What is in both languages."""

    def test_both(self) -> None:
        """These pages are in both, and no others."""
        there = {str(path.relative_to(DOCS / "pt")) for path in (DOCS / "pt").rglob("*.md")}
        self.assertEqual(there, IN_BOTH)

    def test_alike(self) -> None:
        """They have the same headings, level by level, and the same code."""
        wrong = []
        for english, portuguese in twins():
            levels = [[level for level, _ in each.headings] for each in (english, portuguese)]
            if levels[0] != levels[1]:
                wrong.append(f"{portuguese.name}: other headings than {english.name}: {levels}")
            codes = [
                [neutral(each, *block) for block in each.code if block[0] != "{toctree}"]
                for each in (english, portuguese)
            ]
            wrong += [
                f"{portuguese.name}: {theirs!r} where {english.name} has {ours!r}"
                for ours, theirs in zip_longest(*codes)
                if ours != theirs
            ]
        self.assertEqual(wrong, [], "\n" + "\n".join(wrong))

    def test_neutral(self) -> None:
        """Comments and what is answered may differ in words; commands and figures may not."""
        english = page(DOCS / "index.md")
        portuguese = page(DOCS / "pt" / "index.md")

        def same(language: str, ours: str, theirs: str) -> bool:
            return neutral(english, language, ours) == neutral(portuguese, language, theirs)

        self.assertTrue(same("python", "x = 1  # one\n# Two\n", "x = 1  # um\n# Dois\n"))
        self.assertFalse(same("python", "x = 1\n", "x = 2\n"))
        self.assertTrue(same("javascript", "a(); // one\n", "a(); // um\n"))
        self.assertTrue(same("sh", "make run  # run it\n", "make run  # execute\n"))
        self.assertFalse(same("sh", "make run\n", "make demo\n"))
        self.assertTrue(same("sh", "a --language en\n", "a --language pt\n"))
        self.assertTrue(same("console", "$ a\nPaid: R$ 41.06\n", "$ a\nPago: R$ 41,06\n"))
        self.assertFalse(same("console", "$ a\nPaid: R$ 41.06\n", "$ a\nPago: R$ 41,07\n"))
        self.assertFalse(same("console", "$ a\nPaid\n", "$ b\nPaid\n"))
        self.assertTrue(same("console", "$ a --language en\nYes\n", "$ a --language pt\nSim\n"))
        self.assertTrue(
            same("transcript", '< {"message":"Yes","a":1}\n', '< {"message":"Sim","a":1}\n')
        )
        self.assertFalse(same("transcript", '> {"a":1}\n', '> {"b":1}\n'))
        here, there = "{literalinclude} examples/plan.py", "{literalinclude} ../examples/plan.py"
        self.assertEqual(neutral(english, here, ""), neutral(portuguese, there, ""))
        self.assertNotEqual(neutral(english, there, ""), neutral(portuguese, there, ""))
