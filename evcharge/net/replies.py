"""Replies from which more follows."""

from __future__ import annotations

from evcharge.push import Form
from evcharge.push.hub import Subscription


class LastReply(bytes):
    """A reply after which the client is hung up on."""

    __slots__ = ()


class Subscribed(bytes):
    """
    A reply after which the client is told of changes: instead of those before, if there were any.

    It has the `subscription`, the `form` in which events are written, and the `tail` that ends each
    of them.
    """

    subscription: Subscription
    form: Form
    tail: bytes
