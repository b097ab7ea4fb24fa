"""A planner's own process: `python -m evcharge.process.planners.child`."""

from __future__ import annotations

import contextlib
import os
import pickle
import signal
import sys
import traceback
from collections.abc import Collection, Mapping, Sequence
from struct import Struct
from time import monotonic
from typing import Any, BinaryIO

import attrs

from evcharge.models.slots import StationState
from evcharge.models.tariffs import Tariff
from evcharge.planning.itinerary import planned
from evcharge.planning.planner import Asked
from evcharge.planning.sites import Look

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
    # Where that is forbidden, as it may be to a service, trips are planned all the same.
    with contextlib.suppress(OSError):
        os.nice(NICENESS)
    stdin = sys.stdin.buffer
    stdout = os.fdopen(os.dup(1), "wb")
    # What prints by mistake is a complaint.
    os.dup2(2, 1)
    planning = _Planning()
    with contextlib.suppress(EOFError):
        while True:
            answer = planning.told(received(stdin))
            if answer is not None:
                stdout.write(packed(answer))
                stdout.flush()


class _Planning:
    """What a planner knows of its network, as of the last trip."""

    def __init__(self) -> None:
        self._states: dict[int, StationState] = {}
        """By station id."""
        self._tariffs: Mapping[str, Tariff] = {}

    def told(self, value: Any) -> tuple[float, dict[str, Any]] | str | None:
        """
        Take in what the server tells.

        :param value: stations, as they are now, in a list; tariffs, in a dict; or a trip, for which
            they all count, in a tuple.
        :return: of a trip how long the search took, seconds, and what is told of it; or what went
            wrong.
        """
        if isinstance(value, list):
            self._states.update((state.station.station_id, state) for state in value)
        elif isinstance(value, dict):
            self._tariffs = value
        else:
            return self._planned(*value)
        return None

    def _planned(
        self,
        asked: Asked,
        look: Look,
        station_ids: Sequence[int],
        avoid: Collection[str],
        seconds: float,
    ) -> tuple[float, dict[str, Any]] | str:
        began = monotonic()
        try:
            states = [self._states[station_id] for station_id in station_ids]
            look = attrs.evolve(look, tariffs=self._tariffs)
            found = planned(asked, look, states, avoid, lambda: monotonic() - began >= seconds)
            return monotonic() - began, found
        except Exception:
            return traceback.format_exc()


if __name__ == "__main__":
    main()
