"""What things are called by who made a scenario."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias

Text: TypeAlias = str | Mapping[str, str]
"""What something is called: in every language alike, or by the language ("pt" and "en")."""

REPORT_LANGUAGE = "pt"
"""Of reports, where nobody names another."""


def called(name: Text, language: str) -> str:
    """What something is called in a language."""
    return name if isinstance(name, str) else name[language]
