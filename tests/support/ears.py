"""Listeners of a hub, and what they know."""

import json
from collections.abc import Mapping
from typing import Any

from twisted.internet.interfaces import IReactorTime

from evcharge.push import Wishes
from evcharge.push.hub import Hub, Subscription
from evcharge.push.lines import live_fields


def as_json(data: Mapping[str, Any]) -> bytes:
    return json.dumps(data).encode()


class Ear:
    """A listener: it may be deaf for a while."""

    form_name = "tcp"

    def __init__(self, clock: IReactorTime) -> None:
        self.form = as_json
        self.can_hear = True
        self.clock = clock
        self.heard: list[dict[str, Any]] = []
        self.at: list[float] = []

    def hear(self, event: bytes) -> None:
        assert self.can_hear
        self.heard.append(json.loads(event))
        self.at.append(self.clock.seconds())

    def take(self) -> list[dict[str, Any]]:
        """The `data` of the events since the last time, without their numbers."""
        heard, self.heard = self.heard, []
        return [{key: value for key, value in each.items() if key != "seq"} for each in heard]


def wishes(*topics: str, interval_s: float = 0.1, **more: Any) -> Wishes:
    return Wishes(frozenset(topics or ["stations"]), interval_s, **more)


def begin(hub: Hub, ear: Ear, wished: Wishes) -> Subscription:
    subscription = hub.subscription(wished)
    subscription.begin(ear)
    return subscription


def shown(stations: Any) -> dict[str, dict[str, Any]]:
    """What changes of all stations, as it is now."""
    return {state.station.key: live_fields(state) for state in stations}
