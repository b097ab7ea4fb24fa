"""Points in time as text."""

from __future__ import annotations

from datetime import datetime, timezone


def iso_utc(timestamp: float) -> str:
    """
    Write a point in time as ISO 8601 in UTC with milliseconds: ``2025-04-07T13:45:12.678Z``.

    :param timestamp: seconds since the epoch.
    """
    moment = datetime.fromtimestamp(timestamp, timezone.utc)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1000:03d}Z"
