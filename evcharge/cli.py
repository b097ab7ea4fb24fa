"""The console script `evcharge`."""

from __future__ import annotations

import argparse
import os
import re
import shutil
import sys
from collections.abc import Iterator, Sequence
from importlib import import_module
from io import BufferedWriter, BytesIO, FileIO, TextIOWrapper, UnsupportedOperation
from textwrap import wrap
from typing import Any, NoReturn

from evcharge import __version__
from evcharge.commands import FAILED, INTERRUPTED, SUCCESS, USAGE, Exit
from evcharge.utils.texts import did_you_mean

PROGRAM = "evcharge"

COMMANDS = {
    "ask": "evcharge.commands.ask",
    "drive": "evcharge.commands.drive",
    "watch": "evcharge.commands.watch",
    "charge": "evcharge.commands.charge",
    "price": "evcharge.commands.price",
    "plan": "evcharge.commands.plan",
    "simulate": "evcharge.commands.simulate",
    "bootstrap": "evcharge.commands.bootstrap",
    "apply": "evcharge.commands.apply",
    "evse": "evcharge.commands.evse",
    "backup": "evcharge.commands.copies",
    "migrate": "evcharge.commands.copies",
    "export": "evcharge.commands.copies",
}
"""Each command, and the module that has it: only that is imported, as some take a while."""


HEADINGS = {
    "ask": "Use a running server",
    "charge": "Work something out, without a server",
    "simulate": "Try out what would happen",
    "bootstrap": "Keep a network and its data",
}
"""Under what the commands are listed, by the first one of each group."""

_OPTION, _BELOW_ZERO = re.compile("--[a-z][a-z-]*"), re.compile(r"-[.0-9]")

_IN_OTHER_WORDS = (
    (r"argument (.+?): expected .*argument.*", r"{0} needs a value"),
    (r"argument (.+?): ignored explicit argument .*", r"{0} takes no value"),
    (r"argument (.+?): not allowed with argument (.+)", r"leave out {0} or {1}: not both can be"),
    (
        r"argument (.+?): invalid choice: (.*?) \(choose from (.*)\)",
        r"{0} must be one of {2}, not {1}",
    ),
    (r"argument (.+?): (must .*)", r"{0} {1}"),
    (r"argument (.+?): (.*)", r"{0}: {1}"),
    (r"the following arguments are required: (.*)", r"{0} is missing"),
    (r"ambiguous option: (\S+) could match (.*)", r"{0} is short for several: {1}"),
)
"""What argparse says, and how a person is told."""


class _Unbroken(argparse.HelpFormatter):
    """Has no line end within the name of an option."""

    def _split_lines(self, text: str, width: int) -> list[str]:
        return wrap(text, width, break_on_hyphens=False)

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        return "\n".join(wrap(text, width, break_on_hyphens=False))


class _Parser(argparse.ArgumentParser):
    """
    A command: it lists those within it with an example each, and tells what is wrong in one line.
    What it says repeats what was written, but no password.

    :param example: how it is called.
    """

    def __init__(self, *args: Any, example: str = "", **more: Any) -> None:
        self.example = example
        self._commands: Any = None
        super().__init__(*args, **{"formatter_class": _Unbroken, **more})

    def add_subparsers(self, **more: Any) -> Any:
        """As ever; but without any of them, they are listed, and that is wrong usage."""
        self._commands = super().add_subparsers(**more)
        self.set_defaults(run=self._list)
        return self._commands

    def _list(self, _: argparse.Namespace) -> NoReturn:
        self.print_help(sys.stderr)
        sys.exit(USAGE)

    def format_help(self) -> str:
        """What `--help` prints."""
        if self._commands is None:
            self.usage = " ".join(("%(prog)s [options]", *self._needed()))
            more = f"\nfor example:\n  {self.example}\n" if self.example else ""
            return super().format_help() + more
        most = shutil.get_terminal_size().columns - 2
        lines = wrap(self.description or "", most)
        listed = {each.dest: each.help or "" for each in self._commands._choices_actions}
        indent = max(map(len, listed)) + 4
        if self.prog != PROGRAM:
            lines.append("")
        for name, told in listed.items():
            if self.prog == PROGRAM and name in HEADINGS:
                lines += ["", f"{HEADINGS[name]}:"]
            room = max(most - indent, indent)
            first, *rest = wrap(told, room, break_on_hyphens=False)
            example = self._commands.choices[name].example
            lines.append(f"  {name:<{indent - 2}}{first}")
            lines += [" " * indent + line for line in rest]
            lines.append(" " * (indent if len(example) <= room else 4) + example)
        lines += ["", *wrap(f"More about each: {self.prog} COMMAND --help", most)]
        return "\n".join(lines) + "\n"

    def _needed(self) -> Iterator[str]:
        """What has a place of its own in how the command is called."""
        for each in self._actions:
            name = str(each.metavar)
            if not each.option_strings:
                yield {"*": f"[{name} …]", "?": f"[{name}]"}.get(str(each.nargs), name)
            elif each.required:
                yield f"{each.option_strings[0]} {name}"

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """As ever; but where an option is followed by what begins as a number below zero, that is
        its value: argparse knows only numbers for such, not a place such as -12.27,-38.97."""
        words: list[str] = []
        for word in args or ():
            if words and _BELOW_ZERO.match(word) and _OPTION.fullmatch(words[-1]):
                words[-1] += f"={word}"
            else:
                words.append(word)
        found, rest = super().parse_known_args(words, namespace)
        for word in rest:
            if word.startswith("-"):
                name = word.partition("=")[0]
                self.error(
                    f"no such option: {name}" + did_you_mean(name, self._option_string_actions)
                )
            if "fields" not in found:
                self.error(f"{word!r} is one too many")
        return found, rest

    def error(self, message: str) -> NoReturn:
        """Say what is wrong, in one line, and exit."""
        from evcharge.storage.location import without_password

        unknown = re.fullmatch(r"argument \w+: invalid choice: '(.*)' \(choose from .*\)", message)
        if unknown and self._commands is not None:
            near = did_you_mean(unknown[1], self._commands.choices)
            self._exit(f"no such command: {unknown[1]}{near}", "lists all")
        for pattern, words in _IN_OTHER_WORDS:
            found = re.fullmatch(pattern, message, re.S)
            if found:
                said = list(found.groups())
                said[2:] = [each.replace("'", "") for each in said[2:]]
                message = words.format(*said)
                break
        if message.endswith(" is missing") and self.example:
            message += f", as in: {self.example}"
        self._exit(without_password(message), "lists all options")

    def _exit(self, problem: str, lists: str) -> NoReturn:
        self.exit(USAGE, f"{self.prog}: {problem} (`{self.prog} --help` {lists})\n")


def _parser(command: str) -> argparse.ArgumentParser:
    """What reads the arguments of `command`; of every one, to list them, where that is none."""
    parser = _Parser(
        prog=PROGRAM,
        description=(
            "Tools of evcharge, the server behind a driver's charging app. The server itself is "
            "started by: twistd -n evcharge --web-port 8080"
        ),
    )
    parser.add_argument("--version", action="version", version=f"evcharge {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND")
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
    options, rest = parser.parse_known_args(words)
    if rest:
        # argparse leaves those that stand behind an option.
        options.fields = [*options.fields, *rest]
    options.run(options)
