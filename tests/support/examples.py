"""
How many examples Hypothesis tries: few in `make test`, which is run often, and many by night, with
`HYPOTHESIS_PROFILE=nightly make test`.
"""

import os

from hypothesis import HealthCheck, given, settings

__all__ = ["examples", "given"]

OFTEN, NIGHTLY = 50, 1000
"""Examples of a test that names no number."""

# How long one takes says how busy the machine is.
for name, number in (("often", OFTEN), ("nightly", NIGHTLY)):
    settings.register_profile(
        name, max_examples=number, deadline=None, suppress_health_check=[HealthCheck.too_slow]
    )
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "often"))


def examples(number: int) -> int:
    """How many there are to be of a test that is tried with `number` in `make test`."""
    return number * settings().max_examples // OFTEN
