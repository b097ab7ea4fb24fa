"""The commands of the console script: a module each, imported only when it is asked for."""

from __future__ import annotations

SUCCESS, FAILED, USAGE, NO_REPLY, INTERRUPTED = 0, 1, 2, 3, 130
"""Exit statuses: done; refused, or not done; asked wrongly; no server answers; Ctrl-C."""


class Exit(Exception):
    """The command ends here, with `text` for the person."""

    def __init__(self, text: str, status: int = FAILED) -> None:
        super().__init__(text)
        self.status = status
