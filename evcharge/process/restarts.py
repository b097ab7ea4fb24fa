"""How soon a process that has ended, a worker or a planner, is followed by the next one. Pure."""

from __future__ import annotations

LONG_LIFE_S = 5.0
"""After one that lived so long the next is started at once, seconds."""

FIRST_PAUSE_S, LONGEST_PAUSE_S = 1.0, 10.0
"""After one that lived shorter: each time twice as long."""


def next_pause_s(lived_s: float, last_pause_s: float) -> float:
    """
    After how many seconds the next process is to be started.

    :param lived_s: how long the one lived that has ended, seconds.
    :param last_pause_s: the pause before that one, seconds.
    """
    if lived_s >= LONG_LIFE_S:
        return 0.0
    return max(FIRST_PAUSE_S, min(2 * last_pause_s, LONGEST_PAUSE_S))
