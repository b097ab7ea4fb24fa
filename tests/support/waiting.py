"""Waiting for what another process, or another thread, brings about."""

import time
from collections.abc import Callable, Iterable
from subprocess import Popen
from typing import TypeVar

T = TypeVar("T")

LIMIT_S = 60.0
"""Within how many seconds what is waited for has to come about, unless a test says otherwise."""


def until(
    condition: Callable[[], T],
    what: str,
    limit_s: float = LIMIT_S,
    process: Popen | None = None,
    log: Iterable[str] = (),
) -> T:
    """
    Wait until `condition` gives something that counts as true, and return that.

    :param what: is waited for, and
    :param log: what the server has said, both for the failure: it came too late, or `process` has
        ended before.
    """
    limit = time.monotonic() + limit_s
    while not (found := condition()):
        if process is not None and process.poll() is not None:
            why = f"ended with {process.returncode}"
        elif time.monotonic() > limit:
            why = f"not within {limit_s:g} s"
        else:
            time.sleep(0.002)
            continue
        raise AssertionError(f"{why}: {what}\n{''.join(list(log))}")
    return found
