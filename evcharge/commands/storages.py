"""What the commands that work on a storage have in common: how it is named, and what goes wrong."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

from evcharge.commands import Exit
from evcharge.datasets import listed
from evcharge.storage import StorageError
from evcharge.storage.group_commit import TryAgain, Unavailable
from evcharge.storage.location import FORMS, STORAGE_VARIABLE, Location, parse, without_password
from evcharge.utils.process_title import hide_passwords

T = TypeVar("T")

DIRECTORY = "evcharge-data"

NAMED = f"{FORMS}, or an existing directory"
"""How a storage is named."""


class SourceError(Exception):
    """A file or URL cannot be read: says which, and why."""


def add_storage(command: argparse._ActionsContainer) -> None:
    """Have a command take the option `--storage`."""
    command.add_argument(
        "--storage",
        metavar="URL",
        default=os.environ.get(STORAGE_VARIABLE) or "files",
        help=f"storage: {NAMED} (default: the environment's {STORAGE_VARIABLE}, or files)",
    )


def told(command: Callable[[argparse.Namespace], T]) -> Callable[[argparse.Namespace], T]:
    """Have `command` end by an :class:`Exit` where a person can do something about it."""
    # Before anything can go wrong, and be said with what was typed.
    hide_passwords(without_password)

    def run(options: argparse.Namespace) -> T:
        try:
            return command(options)
        except Exception as error:
            # Where it can be raised, it is imported already; else it would take a while.
            sql = sys.modules.get("evcharge.storage.sql.databases")
            ours = (SourceError, StorageError, Unavailable, TryAgain)
            known = ours if sql is None else (*ours, sql.DBAPIError, sql.StatementRefused)
            if not isinstance(error, known):
                raise
            raise Exit(_text(error)) from None

    return run


def _text(error: Exception) -> str:
    # What a driver says, without the statement and its values.
    said, _, _ = str(getattr(error, "orig", error)).partition(" [SQL: ")
    return without_password(said.strip())


def location(option: str, text: str, directory: str = DIRECTORY) -> Location:
    """
    The storage that an option names.

    :param directory: what is meant by `files`.
    :raise Exit: it names none.
    """
    try:
        return parse(text, directory)
    except ValueError as error:
        if os.path.isdir(text):
            return parse(f"files:{text}", directory)
        raise Exit(f"{option} {error}") from None


def must_exist(place: Location) -> None:
    """
    See that there is a storage, as opening one makes it; a database says so itself.

    :raise Exit: there is none.
    """
    if place.kind != "postgresql" and not place.path.exists():
        raise Exit(f"{place.name}: no such file or directory: is it the storage that you mean?")


def nothing_written(problems: Sequence[str]) -> Exit:
    """The end of a command that has written nothing: names every mistake in its files."""
    return Exit("\n".join(["nothing was written:", *(f"  {line}" for line in listed(problems))]))


def warn(lines: Iterable[str]) -> None:
    """Tell the person, in lines beside the output."""
    for line in lines:
        say(f"evcharge: {line}")


def say(line: str) -> None:
    """Tell the person, in a line beside the output."""
    print(line, file=sys.stderr)
