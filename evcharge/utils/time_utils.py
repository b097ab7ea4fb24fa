"""Points in time as text."""

from __future__ import annotations

from datetime import datetime, timezone
from functools import lru_cache


def iso_utc(timestamp: float) -> str:
    """
    Write a point in time as ISO 8601 in UTC with milliseconds: ``2025-04-07T13:45:12.678Z``.

    :param timestamp: seconds since the epoch.
    """
    second, microsecond = divmod(round(timestamp * 1e6), 1_000_000)
    return f"{_iso_utc_of_second(second)}{microsecond // 1000:03d}Z"


# Many replies are made in one second, and all but the last digits of their text are the same.
@lru_cache(maxsize=4)
def _iso_utc_of_second(second: int) -> str:
    return datetime.fromtimestamp(second, timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.")
