"""
What anybody may look up over HTTP, of nobody in particular: drivers have no such messages.

They are none of :data:`evcharge.handlers.MESSAGES`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import islice
from typing import Any

import attrs

from evcharge.handlers.handler import Answer, Handler, then
from evcharge.models.catalogue import Catalogue
from evcharge.outcomes import TARIFF_NOT_FOUND, Refusal, Reply
from evcharge.rules.network import FindCatalogue
from evcharge.storage import Eventual
from evcharge.wire.fields import Field, Integer, Text

POINTS_AN_HOUR = 60

MOST_HOURS = 24


class FindTariff(Handler):
    """One of the network's tariffs, an OCPI object."""

    TYPE = "TARIFF"
    FIELDS = (Field("tariff_id", Text()),)

    def handle(self, tariff_id: str) -> Eventual[Answer]:
        return then(self.context.perform(FindCatalogue()), self._reply, tariff_id)

    def _reply(self, catalogue: Catalogue, tariff_id: str) -> Answer:
        tariff = catalogue.tariffs.get(tariff_id)
        if tariff is None:
            return Refusal(TARIFF_NOT_FOUND, {"tariff": tariff_id})
        return Reply({"tariffs": {tariff_id: tariff.body}})


@attrs.frozen
class ShowFigures(Handler):
    """
    The figures of the network, a point a minute.

    :param minutes: gives those that there are, the oldest first.
    """

    TYPE = "FIGURES"
    FIELDS = (Field("hours", Integer(1, MOST_HOURS), optional=True),)

    minutes: Callable[[], Sequence[Mapping[str, Any]]]

    def handle(self, hours: int = 1) -> Answer:
        points = self.minutes()
        first = max(0, len(points) - hours * POINTS_AN_HOUR)
        return Reply({"figures": list(islice(points, first, None))})


PUBLIC_MESSAGES: tuple[type[Handler], ...] = (FindTariff, ShowFigures)
