"""Points in time as text."""

from __future__ import annotations

from datetime import datetime, timezone
from functools import lru_cache

HOUR_S, DAY_S = 3600.0, 86400.0


def iso_utc(timestamp: float) -> str:
    """
    Write a point in time as ISO 8601 in UTC with milliseconds: ``2025-04-07T13:45:12.678Z``.

    :param timestamp: seconds since the epoch.
    """
    return _iso_utc_ms(round(timestamp * 1e6) // 1000)


# Many replies are made within one second, and one millisecond.
@lru_cache(maxsize=16)
def _iso_utc_ms(milliseconds: int) -> str:
    second, millisecond = divmod(milliseconds, 1000)
    return f"{_second(second)}.{millisecond:03d}Z"


@lru_cache(maxsize=16)
def _second(second: int) -> str:
    return datetime.fromtimestamp(second, timezone.utc).strftime("%Y-%m-%dT%H:%M:%S")
