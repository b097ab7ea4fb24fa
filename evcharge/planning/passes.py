"""A search in two passes: among few stations, then those that may be in a better plan. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import inf

from evcharge.planning.chains import charges
from evcharge.planning.piecewise import NOTHING_KWH
from evcharge.planning.reach import Blocked, blocked, carried, some_chain
from evcharge.planning.roads import row
from evcharge.planning.search import Best, Bounds, Search, Task

FEW = 60
"""With so many stations a plan is looked for first, where there are more."""


def best(task: Task, deadline: Callable[[], bool], known: Best) -> Best | Blocked:
    """
    The best chain of stops, of those that may be in a better one than is known; where none is, of
    few stations first.
    """
    every = list(range(len(task.nodes)))
    if len(every) > FEW:
        least, promising = promise(task, every)
        if known.stops is None:
            few = sorted(sorted(every, key=promising.__getitem__)[:FEW])
            if carried(task, few):
                known = _found(task, few, known, deadline)
        if known.stops is not None:
            every = [each for each in every if least[each] < known.cost]
    if known.stops is None:
        why = blocked(task, every, deadline)
        if why is not None:
            return why
    return _found(task, every, known, deadline)


def _found(task: Task, stations: Sequence[int], known: Best, deadline: Callable[[], bool]) -> Best:
    """The best chain of those stations; where time is up, and there is none, any that carries."""
    found = Search(task, stations, known).run(deadline)
    for carefully in (False, True):
        if found.stops is None:
            chain = some_chain(task, stations, carefully)
            carries = None if chain is None else charges(task, chain)
            if carries is not None:
                found.stops, found.cost = chain, carries[0]
    return found


def promise(task: Task, stations: Sequence[int]) -> tuple[list[float], list[float]]:
    """
    Of each station what no plan costs less that stops there, and the same with what it costs to be
    charged at it, not at the best of all.
    """
    bounds = Bounds(task, stations)
    room = task.most_kwh - task.reserve_kwh
    kinds = {id(curve): curve for curve in (task.curves[station] for station in stations)}
    slopes = {
        kind: (curve.least_slope, (curve(task.most_kwh) - curve(task.reserve_kwh)) / room)
        for kind, curve in kinds.items()
    }
    own = [slopes[id(task.curves[station])] for station in stations]
    least, promising = [inf] * len(stations), [inf] * len(stations)
    for leg, (needs, rests) in enumerate(bounds.ends):
        energy = bounds.energy[0] - bounds.energy[leg] - task.start_kwh
        hours = bounds.hours[0] - bounds.hours[leg] + task.stays[0]
        energies = row(task.energy, task.places[leg], bounds.nodes)
        drives = row(task.hours, task.places[leg], bounds.nodes)
        for at, station in enumerate(stations):
            missing = max(0.0, energy + energies[at] + needs[at])
            cost = hours + drives[at] + rests[at] + task.stops[station]
            # All is charged there, or there is another stop.
            others = missing * bounds.slope + max(bounds.stops(missing - room), bounds.stop)
            alone = missing * own[at][0] if missing <= room + NOTHING_KWH else inf
            least[at] = min(least[at], cost + min(others, alone))
            cost += bounds.stops(missing - room)
            promising[at] = min(promising[at], cost + missing * own[at][1])
    return least, promising
