"""What all parts of a report go by: a study, a language, and the variant that it is about."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import attrs

from evcharge.outcomes import Phrase
from evcharge.simulator.replication import NETWORK, Place
from evcharge.simulator.statistics import Interval
from evcharge.simulator.study import Study
from evcharge.simulator.summaries import differences, places, summary
from evcharge.simulator.words import per_cent, setting

MOST_SHOWN = 6
"""Variants that a picture has lines of, or a table columns: the first ones, and the last one."""

LOST_SHARE = "lost_share"
"""The figure that variants are compared by."""


def chosen(study: Study) -> int:
    """The variant that a report is about: the one that is furthest from the first."""
    apart = {
        variant: abs(found.mean)
        for variant, found in enumerate(differences(study, NETWORK, LOST_SHARE), 1)
        if found is not None
    }
    return max(apart, key=lambda variant: apart[variant]) if apart else 0


@attrs.frozen(slots=False)
class View:
    """A study as one report shows it."""

    study: Study
    language: str
    """"pt" or "en"."""
    chosen: int
    """The variant that it is about, beside the first."""

    def say(self, phrase: Phrase, **values: object) -> str:
        """A text in the report's language."""
        return phrase.say(self.language, values)

    def name(self, variant: int) -> str:
        """What a variant is called."""
        return setting(self.study.plan.variants[variant].settings, self.language)

    def found(self, variant: int, place: str, figure: str) -> Interval | None:
        """A figure of a place over a variant's replications."""
        results = self.study.results[variant]
        return summary(results, place, figure, self.study.plan.confidence)

    @cached_property
    def per_cent(self) -> str:
        """The confidence: `95`."""
        return per_cent(self.study.plan.confidence, self.language)

    @cached_property
    def shown(self) -> Sequence[int]:
        """The variants of which all is shown; :attr:`chosen` is one of them."""
        of = range(len(self.study.results))
        if len(of) <= MOST_SHOWN:
            return of
        kept = [*of[: MOST_SHOWN - 1], of[-1]]
        return kept if self.chosen in kept else sorted({*kept[:-2], self.chosen, kept[-1]})

    @cached_property
    def places(self) -> Sequence[Place]:
        """All places that there are figures of."""
        return places(self.study)

    @property
    def both(self) -> Sequence[int]:
        """The first variant, and the one that the report is about."""
        return list(dict.fromkeys((0, self.chosen)))
