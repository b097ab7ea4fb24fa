"""The console script `evcharge`."""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Sequence
from importlib import import_module
from io import BufferedWriter, BytesIO, FileIO, TextIOWrapper, UnsupportedOperation
from typing import Any, NoReturn

from evcharge import __version__
from evcharge.commands import FAILED, INTERRUPTED, SUCCESS, USAGE, Exit

COMMANDS = {
    "ask": "evcharge.commands.ask",
    "drive": "evcharge.commands.drive",
    "watch": "evcharge.commands.watch",
    "charge": "evcharge.commands.charge",
    "price": "evcharge.commands.price",
    "plan": "evcharge.commands.plan",
    "bootstrap": "evcharge.commands.bootstrap",
    "apply": "evcharge.commands.apply",
    "evse": "evcharge.commands.evse",
    "simulate": "evcharge.commands.simulate",
    "backup": "evcharge.commands.copies",
    "migrate": "evcharge.commands.copies",
    "export": "evcharge.commands.copies",
}
"""Each command, and the module that has it: only that is imported, as some take a while."""


_OPTION, _BELOW_ZERO = re.compile("--[a-z][a-z-]*"), re.compile(r"-[.0-9]")


class _Parser(argparse.ArgumentParser):
    """Its messages repeat what was written, but no password."""

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """As ever; but where an option is followed by what begins as a number below zero, that is
        its value: argparse knows only numbers for such, not a place such as -12.27,-38.97."""
        words: list[str] = []
        for word in args or ():
            if words and _BELOW_ZERO.match(word) and _OPTION.fullmatch(words[-1]):
                words[-1] += f"={word}"
            else:
                words.append(word)
        return super().parse_known_args(words, namespace)

    def error(self, message: str) -> NoReturn:
        from evcharge.storage.location import without_password

        super().error(without_password(message))


def _parser(command: str) -> argparse.ArgumentParser:
    """What reads the arguments of `command`; of every one, to list them, where that is none."""
    parser = _Parser(
        prog="evcharge",
        description="Tools of the charging-network server. The server itself: twistd evcharge",
    )
    parser.add_argument("--version", action="version", version=f"evcharge {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    modules = [COMMANDS[command]] if command in COMMANDS else dict.fromkeys(COMMANDS.values())
    for module in modules:
        import_module(module).add_to(commands)
    return parser


class _Output(FileIO):
    """The standard output. Once it cannot be written, what is left to write goes nowhere."""

    def write(self, data: Any, /) -> int:
        """
        Write bytes; how many it were.

        :raise BrokenPipeError: whoever read has read enough.
        :raise Exit: why else they cannot be written.
        """
        try:
            return super().write(data)
        except OSError as error:
            os.dup2(os.open(os.devnull, os.O_WRONLY), self.fileno())
            if isinstance(error, BrokenPipeError):
                raise
            raise Exit(f"the output cannot be written: {error.strerror}") from None


def _prepare_streams() -> None:
    """Have a character that a stream cannot have be no reason to say nothing, and errors told."""
    if isinstance(sys.stdin, TextIOWrapper):
        sys.stdin.reconfigure(errors="replace")
    if sys.stdout is None:
        # It was closed: nobody wants to know.
        sys.stdout = TextIOWrapper(BytesIO())
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")
        try:
            raw = _Output(sys.stdout.fileno(), "w", closefd=False)
        except UnsupportedOperation:
            return
        sys.stdout = TextIOWrapper(
            BufferedWriter(raw),
            sys.stdout.encoding,
            "replace",
            line_buffering=sys.stdout.line_buffering,
        )


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command that `arguments` (by default the process's own) name, and exit."""
    words = sys.argv[1:] if arguments is None else arguments
    _prepare_streams()
    try:
        try:
            _run(words)
        finally:
            sys.stdout.flush()
    except Exit as error:
        print(f"evcharge: {error}", file=sys.stderr)
        sys.exit(error.status)
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    except BrokenPipeError:
        sys.exit(FAILED)
    sys.exit(SUCCESS)


def _run(words: Sequence[str]) -> None:
    parser = _parser(words[0] if words else "")
    if not words:
        parser.print_help(sys.stderr)
        sys.exit(USAGE)
    options, rest = parser.parse_known_args(words)
    if "fields" in options:
        # argparse leaves those that stand behind an option.
        options.fields += [word for word in rest if not word.startswith("-")]
        rest = [word for word in rest if word.startswith("-")]
    if rest:
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    options.run(options)
