"""Files that are there whole, or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

TEMPORARY = ".tmp"
"""The end of the name under which a file is written before it takes its place."""


@contextmanager
def writing(path: Path) -> Iterator[TextIO]:
    """
    Write a text under another name, and give it its own once it is whole. UTF-8, lines end in LF.

    :raise OSError: the file is as it was before.
    """
    beside = path.with_name(f"{path.name}.{os.getpid()}{TEMPORARY}")
    try:
        with beside.open("w", encoding="utf-8", newline="\n") as file:
            yield file
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


def write_whole(path: Path, text: str) -> None:
    """
    Write a text, all of it or nothing.

    :raise OSError: the file is as it was before.
    """
    with writing(path) as file:
        file.write(text)
