"""
What SQLAlchemy has made of a statement serves all databases of a kind that a process opens.

Each engine would have it made anew, which takes half the time of tests that open databases by the
hundred; a server opens one.
"""

from collections import defaultdict
from typing import Any

import sqlalchemy

from evcharge.storage.sql import databases


class Compiled(dict[Any, Any]):
    """Statements by their keys, of which the first part is whose dialect it was."""

    def get(self, key: Any, default: Any = None) -> Any:
        return super().get(key[1:], default)

    def __setitem__(self, key: Any, value: Any) -> None:
        super().__setitem__(key[1:], value)


_compiled: defaultdict[str, Compiled] = defaultdict(Compiled)
"""By the kind of database."""


def _create_engine(url: str, **more: Any) -> sqlalchemy.Engine:
    kind = url.partition(":")[0]
    options = {"compiled_cache": _compiled[kind]}
    return sqlalchemy.create_engine(url, execution_options=options, **more)


def share() -> None:
    """Have all engines from now on share it."""
    databases.create_engine = _create_engine  # type: ignore[assignment]
