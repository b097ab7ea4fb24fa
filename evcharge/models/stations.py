"""The stations in service, each with its state: what START shows, and selection chooses from."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from evcharge.models.slots import StationState


class Stations:
    """
    The states of the stations in service, in the order of their ids, which it iterates over.

    It is live: :meth:`put` has it show another state from then on, for the same price however many
    stations there are. Which stations there are, and what they are but for their slots, does not
    change: then there is another such object. One thread at a time puts; any may look.

    :param states: the states, in any order.
    """

    def __init__(self, states: Iterable[StationState] = ()) -> None:
        ordered = sorted(states, key=lambda state: state.station.station_id)
        self._by_key = {state.station.key: state for state in ordered}
        self._followers: list[dict[str, StationState]] = []

    def __len__(self) -> int:
        return len(self._by_key)

    def __iter__(self) -> Iterator[StationState]:
        return iter(self._by_key.values())

    def get(self, key: str) -> StationState | None:
        """The state of a station by its id, as messages have that; None where there is none."""
        return self._by_key.get(key)

    def put(self, state: StationState) -> None:
        """Have a station show another state; KeyError where it is not among these."""
        key = state.station.key
        if key not in self._by_key:
            # Whoever iterates in another thread would find that the dict has grown.
            raise KeyError(key)
        self._by_key[key] = state
        for changes in self._followers:
            changes[key] = state

    def follow(self) -> dict[str, StationState]:
        """
        What changes from now on: a dict to which each state is added, by its station's id.

        Whoever follows takes out what it has seen, by `popitem`, as another thread may be adding.
        """
        changes: dict[str, StationState] = {}
        self._followers.append(changes)
        return changes
