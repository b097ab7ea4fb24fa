"""
The lowest versions that setup.cfg allows, as constraints for pip.

    python tools/lowest.py > lowest.txt

Each requirement of the server and of the tests is a name alone, of which any version will do, or
has one lower bound, `name >= 1.2`, perhaps for older Pythons alone, `; python_version < "3.11"`.
Anything else stops this with status 1, so that no bound can be named that nobody tries.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Iterator
from configparser import ConfigParser
from pathlib import Path

SETUP = Path(__file__).resolve().parent.parent / "setup.cfg"
TRIED = (("options", "install_requires"), ("options.extras_require", "test"))

REQUIREMENT = re.compile(
    r"([\w.-]+)(?:\[[\w,-]+\])?(?: *>= *([\d.]+))?(?:; python_version < \"3\.\d+\")?"
)


def requirements(setup: str) -> Iterator[str]:
    """The lines of setup.cfg, whose text is `setup`, that say what the server and tests need."""
    config = ConfigParser()
    config.read_string(setup)
    for section, option in TRIED:
        yield from filter(None, config[section][option].split("\n"))


def lowest(lines: Iterable[str]) -> list[str]:
    """Requirement by requirement the lowest version. ValueError: a line says something else."""
    pins = []
    for line in lines:
        matched = REQUIREMENT.fullmatch(line)
        if matched is None:
            raise ValueError(f"setup.cfg: {line!r} is no name alone, nor `name >= version`")
        name, version = matched.groups()
        if version is not None:
            pins.append(f"{name}=={version}")
    return pins


def main() -> int:
    try:
        print("\n".join(lowest(requirements(SETUP.read_text()))))
    except ValueError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
