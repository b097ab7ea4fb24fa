"""What is said when there is nothing left that could make a reply."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from uuid import uuid4

from twisted.logger import Logger
from twisted.python.failure import Failure

from evcharge.outcomes import INTERNAL, Reply
from evcharge.utils.time_utils import iso_utc
from evcharge.wire.envelope import UNREADABLE_TYPE, encode


def new_incident() -> str:
    """An id under which the log has a failure, and which the client is told."""
    return uuid4().hex[:12]


class LastResort:
    """
    Makes the reply where making one has failed: always the same one, so that it cannot fail too.

    :param now: the present, seconds since the epoch.
    :param language: of the text, "pt" or "en".
    :param counted: called for each such reply.
    """

    log = Logger()

    def __init__(
        self,
        now: Callable[[], float],
        language: str = "pt",
        counted: Callable[[], None] = lambda: None,
    ) -> None:
        self._now = now
        self._counted = counted
        self._message = INTERNAL.phrase.say(language)

    def reply(self, failure: Failure) -> Reply:
        """
        The reply, 500.

        :param failure: what happened; the log has it, beside the incident that the reply names.
        """
        incident = new_incident()
        with contextlib.suppress(Exception):
            self.log.failure(
                "Incident {incident} in making a reply", failure=failure, incident=incident
            )
        with contextlib.suppress(Exception):
            self._counted()
        data = {"message": self._message, "reason": INTERNAL.reason, "incident": incident}
        return Reply(data, INTERNAL, None, UNREADABLE_TYPE, self._message)

    def line(self, failure: Failure) -> bytes:
        """The same as a line, without its end."""
        timestamp = iso_utc(0)
        with contextlib.suppress(Exception):
            timestamp = iso_utc(self._now())
        return encode(self.reply(failure), timestamp)
