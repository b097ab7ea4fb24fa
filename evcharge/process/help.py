"""What `twistd evcharge --help` prints, and what a wrong command line gets in its place."""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Iterator, Sequence
from textwrap import wrap
from typing import Any, NoReturn

from twisted.python.usage import Options as UsageOptions
from twisted.python.usage import UsageError

from evcharge import __version__
from evcharge.utils.texts import did_you_mean

GROUPS = {
    "Drivers' ports": ["port", "tls-port", "tls-certificate", "tls-key", "proxy-protocol"],
    "Browsers": [
        *("web-port", "web-tls-port", "web-host", "web-origin"),
        *("map-tiles", "map-attribution", "map-geojson"),
    ],
    "Operators": ["http-port", "operator-token-file", "log-format", "verbose"],
    "Data and processes": ["storage", "data", "workers", "sweep-interval", "user-ttl"],
    "Reservations, queues and time": [
        *("hold-minutes", "offer-minutes", "idle-minutes", "queue-limit"),
        *("time-zone", "time-scale", "language"),
    ],
    "Limits for clients": [
        *("max-connections", "max-connections-per-address"),
        *("rate-per-connection", "rate-per-address", "max-pending-logins", "max-line"),
        *("idle-timeout", "line-timeout", "unread-timeout", "max-subscribers", "live-interval"),
    ],
    "Trip plans": [
        *("plan-workers", "plan-seconds", "plan-stations", "plan-cost", "plan-error-seconds"),
    ],
    "Simulated drivers": ["simulate", "speed", "for-ever"],
    "Help": ["help", "version"],
}
"""Each option, beneath the heading under which it is listed."""

COLUMN = 26
"""Where the texts begin, characters; a name that is longer has a line of its own."""

NARROW, INDENT = 70, 6
"""On a terminal that is narrower, each name has a line of its own, and texts begin there."""

_UNKNOWN = re.compile(r"option (-\S+) not recognized")
_PREFIX = re.compile(r"option --(\S+) not a unique prefix")
_VALUE = re.compile(r"option (-\S+) (?:requires argument|must not have an argument)")


class HelpOptions(UsageOptions):
    """The part of the options that tells of them all."""

    longdesc: str
    """What comes before them."""

    def opt_help(self) -> NoReturn:
        """Print this list and exit."""
        try:
            print(self, flush=True)
        except BrokenPipeError:
            # Whoever read has read enough. What is left goes nowhere, also when Python ends.
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        sys.exit(0)

    def opt_version(self) -> NoReturn:
        """Print the version and exit."""
        print(f"evcharge {__version__}")
        sys.exit(0)

    def getUsage(self, width: int | None = None) -> str:
        """All options in groups, each with a text that can be read alone."""
        most = width or shutil.get_terminal_size().columns
        lines = ["", *wrap(self.longdesc, most, break_on_hyphens=False)]
        for heading, names in GROUPS.items():
            lines += ["", f"{heading}:"]
            for name in names:
                lines += self._listed(name, most)
        return "\n".join(lines) + "\n"

    def _listed(self, name: str, most: int) -> Iterator[str]:
        short = next((key for key, of in self.synonyms.items() if of == name and key != name), "")
        short = f"-{short}, " if len(short) == 1 else ""
        shown = f"  {short}--{name}" + "=" * (f"{name}=" in self.longOpt)
        default = self.defaults.get(name)
        said = " ".join(self.docs[name].split())
        if default is not None and f"{name}=" in self.longOpt:
            figure = f"{default:g}" if isinstance(default, float) else default
            # With a space that no line is broken at.
            said += f" (default\N{NO-BREAK SPACE}{figure})"
        column = COLUMN if most >= NARROW else INDENT
        if len(shown) > column - 2:
            yield shown
            shown = ""
        room = max(most - column, INDENT)
        for line in wrap(said, room, break_on_hyphens=False, break_long_words=False):
            yield f"{shown:{column}}{line}".replace("\N{NO-BREAK SPACE}", " ")
            shown = ""

    def parseOptions(self, options: Sequence[str] | None = None) -> None:
        """
        Take the options. UsageError: they are wrong; a command line ends with a line that says so,
        and with status 1: of most versions of twistd it would be 0.
        """
        try:
            super().parseOptions(options)
        except UsageError as error:
            said = self._explained(str(error))
            if self.parent is None:
                raise UsageError(said) from None
            sys.stderr.write(f"evcharge: {said} (`twistd evcharge --help` lists all options)\n")
            sys.exit(1)

    def parseArgs(self, *words: str) -> None:
        """Take what is no option. UsageError: there is something."""
        if words:
            raise UsageError(
                f"{words[0]!r} is no option: each begins with --; "
                "a request is sent by another program: evcharge ask START"
            )

    def _explained(self, problem: str) -> str:
        """What is wrong, in other words than getopt's."""
        names = [name.rstrip("=") for name in self.longOpt]
        unknown, prefix, value = (each.fullmatch(problem) for each in (_UNKNOWN, _PREFIX, _VALUE))
        if unknown:
            parent: Any = self.parent
            typed = unknown[1].lstrip("-")
            of_twistd = [] if parent is None else [each.rstrip("=") for each in parent.longOpt]
            if typed in of_twistd:
                return f"{unknown[1]} is an option of twistd: it goes before the word evcharge"
            return f"no such option: {unknown[1]}" + did_you_mean(typed, names, "--")
        if prefix:
            begin = [f"--{name}" for name in names if name.startswith(prefix[1])]
            return f"--{prefix[1]} is short for several: {', '.join(begin)}"
        if value:
            needs = "requires" in problem
            return f"{value[1]} {'needs a value' if needs else 'takes no value'}"
        return problem
