"""A planner's own process: `python -m evcharge.process.planners.child`."""

from __future__ import annotations

import os
import pickle
import signal
import sys
import traceback
from struct import Struct
from time import monotonic
from typing import Any, BinaryIO

import attrs

from evcharge.planning.planner import Asked, solve
from evcharge.planning.sites import Site

NICENESS = 15
"""Drivers whose requests take microseconds go first."""

HEAD = Struct("!I")
"""What comes before each pickled value: its length, bytes."""


def packed(value: object) -> bytes:
    """A value as it goes through a pipe."""
    content = pickle.dumps(value, pickle.HIGHEST_PROTOCOL)
    return HEAD.pack(len(content)) + content


def received(pipe: BinaryIO) -> Any:
    """
    The next value of a pipe.

    :raise EOFError: there is none.
    """
    head = pipe.read(HEAD.size)
    if len(head) < HEAD.size:
        raise EOFError
    (length,) = HEAD.unpack(head)
    return pickle.loads(pipe.read(length))


def main() -> None:
    """Plan trips, one after another, until the server is gone."""
    # What goes to all processes goes to the server too, which tells us when the time has come.
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    os.nice(NICENESS)
    stdin = sys.stdin.buffer
    stdout = os.fdopen(os.dup(1), "wb")
    # What prints by mistake is a complaint.
    os.dup2(2, 1)
    while True:
        try:
            asked, seconds = received(stdin)
            sites: list[Site] = []
            while part := received(stdin):
                sites += part
        except EOFError:
            return
        # An empty part: to begin; None: there is nothing to be searched any more.
        if part is not None:
            stdout.write(packed(_found(attrs.evolve(asked, sites=sites), seconds)))
            stdout.flush()


def _found(asked: Asked, seconds: float) -> tuple[Any, ...] | str:
    """
    What is found within so many seconds: how long it took, it, and the numbers of the sites that
    were considered, which it lacks; or what went wrong.
    """
    began = monotonic()
    try:
        found = solve(asked, lambda: monotonic() - began >= seconds)
        numbers = {id(site): number for number, site in enumerate(asked.sites)}
        considered = [numbers[id(site)] for site in found.sites]
        return monotonic() - began, attrs.evolve(found, sites=()), considered
    except Exception:
        return traceback.format_exc()


if __name__ == "__main__":
    main()
