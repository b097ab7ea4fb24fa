"""What the server does for each type of message; no reactor, no transport, no thread in here."""

from __future__ import annotations

from evcharge.handlers.auth import Login
from evcharge.handlers.handler import Answer, Context, Handler, then
from evcharge.handlers.plan import Plan
from evcharge.handlers.receipts import FindReceipt, History
from evcharge.handlers.session import Arrive, Cancel, Reserve, Status, Stop
from evcharge.handlers.start import Start
from evcharge.handlers.station import Payment, SelectionStation
from evcharge.handlers.subscribe import Subscribe
from evcharge.handlers.trip import Navigation

__all__ = ["MESSAGES", "Answer", "Context", "Handler", "handlers", "then"]

MESSAGES: tuple[type[Handler], ...] = (
    Start,
    Login,
    Navigation,
    Plan,
    SelectionStation,
    Payment,
    Reserve,
    Arrive,
    Stop,
    Cancel,
    Status,
    FindReceipt,
    History,
    Subscribe,
)
"""Every message that there is: what else knows of messages has it from here."""


def handlers(context: Context) -> dict[str, Handler]:
    """The handlers of all messages, by type."""
    return {message.TYPE: message(context) for message in MESSAGES}
