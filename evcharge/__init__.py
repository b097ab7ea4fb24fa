"""A charging-network server for electric vehicles: the driver's journey over JSON lines."""

__version__ = "0.2.0"

MADE = "2026-11-26"
"""
When this version was made, or a little before, UTC: a clock that shows an earlier day is wrong. It
is brought up to date before a release.
"""
