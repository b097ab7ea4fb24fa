"""Questions to the person at a terminal, or to what is piped in; a wrong answer is asked again."""

from __future__ import annotations

import re
import select
import sys
import time
from collections.abc import Callable, Sequence
from textwrap import wrap
from typing import TypeVar

from evcharge.commands.tables import CONTROLS, width
from evcharge.outcomes import Phrase

T = TypeVar("T")

YES = ("s", "sim", "y", "yes")
NO = ("n", "nao", "não", "no")

ALLOWED = Phrase("Não entendi. Pode ser {allowed}.", "I did not get that. It can be {allowed}.")
YES_OR_NO = Phrase("s ou n", "y or n")
YES_NO = Phrase("S/n", "Y/n")
NO_YES = Phrase("s/N", "y/N")


class Person:
    """
    Who is asked.

    :param language: that they are spoken to in, "pt" or "en".
    :param redraws: whether a line may be written over: what they see is a terminal.
    """

    def __init__(self, language: str, redraws: bool = False) -> None:
        self.language = language
        self.redraws = redraws

    def say(self, phrase: Phrase, **values: object) -> None:
        """Say something, on lines of its own that the terminal need not break."""
        for line in wrap(phrase.say(self.language, values), width(), break_on_hyphens=False):
            print(line)

    def ask(
        self,
        question: Phrase,
        default: str,
        read: Callable[[str], T],
        allowed: Phrase,
        **values: object,
    ) -> T:
        """
        Ask until the answer is one.

        :param default: the answer where there is an empty line.
        :param read: makes the result of an answer; ValueError: it is none.
        :param allowed: what an answer can be.
        :param values: fill in the question and what is allowed.
        :raise EOFError: there is nobody any more who could answer.
        """
        prompt = f"{question.say(self.language, values)} [{default}]: "
        while True:
            answer = _answer(prompt).strip() or default
            try:
                return read(answer)
            except ValueError:
                self.say(ALLOWED, allowed=allowed.say(self.language, values))

    def confirm(self, question: Phrase, default: bool, **values: object) -> bool:
        """Ask for a yes or a no."""
        shown = (YES_NO if default else NO_YES).say(self.language)

        def read(answer: str) -> bool:
            # The default is shown in the place of an answer.
            return default if answer == shown else _yes(answer)

        return self.ask(question, shown, read, YES_OR_NO, **values)

    @property
    def is_there(self) -> bool:
        """Whether there is a person at a terminal; else answers are piped in."""
        return sys.stdin is not None and sys.stdin.isatty()

    def pause(self, seconds: float) -> bool:
        """
        Wait; whether the person would not, and pressed Enter. What is piped in is for questions.

        :raise EOFError: the person has left.
        """
        if not self.is_there:
            time.sleep(seconds)
            return False
        if not select.select([sys.stdin], [], [], seconds)[0]:
            return False
        if not sys.stdin.readline():
            raise EOFError
        return True


def _yes(answer: str) -> bool:
    if answer.lower() in YES:
        return True
    if answer.lower() in NO:
        return False
    raise ValueError(answer)


def _answer(prompt: str) -> str:
    if sys.stdin is None:
        raise EOFError
    print(prompt, end="", flush=True)
    line = sys.stdin.readline()
    if not line:
        raise EOFError
    if not sys.stdin.isatty():
        # What is piped in shows nowhere; so that the whole can be read, it is repeated.
        print(line.rstrip("\n"))
    return line


def number(least: float, most: float, unit: str = "") -> Callable[[str], float]:
    """Reads a number between two, `12.5` or `12,5`, with its unit or without."""

    def read(answer: str) -> float:
        found = re.fullmatch(rf"(\d+(?:[.,]\d+)?)\s*(?:{re.escape(unit)})?", answer)
        value = float(found[1].replace(",", ".")) if found else least - 1
        if not least <= value <= most:
            raise ValueError(answer)
        return value

    return read


def text(longest: int) -> Callable[[str], str]:
    """Reads a text of up to `longest` characters, none of them a control one."""

    def read(answer: str) -> str:
        if len(answer) > longest or CONTROLS.search(answer):
            raise ValueError(answer)
        return answer

    return read


def place(answer: str) -> tuple[float, float]:
    """Reads a latitude and a longitude, degrees: `-12.25, -38.95` or `-12,25 -38,95`."""
    found = re.fullmatch(r"([-+]?\d+(?:[.,]\d+)?)[\s,;]+([-+]?\d+(?:[.,]\d+)?)", answer)
    if not found:
        raise ValueError(answer)
    latitude, longitude = (float(part.replace(",", ".")) for part in found.groups())
    if abs(latitude) > 90 or abs(longitude) > 180:
        raise ValueError(answer)
    return latitude, longitude


def one_of(names: Sequence[str]) -> Callable[[str], int]:
    """
    Reads which of `names`, from 0: by its number, from 1, by what only its name begins with, or by
    what only its name has in it.
    """
    known = [name.casefold() for name in names]

    def read(answer: str) -> int:
        wanted = answer.casefold()
        if wanted in known:
            return known.index(wanted)
        if answer.isdecimal():
            # A number that is too large is no part of a name.
            found = [i for i in range(len(names)) if answer == str(i + 1)]
        else:
            found = [i for i, name in enumerate(known) if name.startswith(wanted)]
            if len(found) != 1:
                found = [i for i, name in enumerate(known) if wanted in name]
        if len(found) != 1:
            raise ValueError(answer)
        return found[0]

    return read


def one_or_none(names: Sequence[str]) -> Callable[[str], int]:
    """Reads which of `names`, from 1, as :func:`one_of`; 0: none of them."""
    read = one_of(names)
    return lambda answer: 0 if answer == "0" else read(answer) + 1
