"""Any outcome to one reply: whatever goes wrong, and what is counted and logged of it."""

import json
from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred, fail, succeed
from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from evcharge.controller import UNKNOWN, Controller
from evcharge.net.lines import Lines
from evcharge.outcomes import TOO_LARGE, Reply
from evcharge.testing import NOON
from evcharge.wire.fields import USER_ID
from tests.support.journey import LONG

LINE = b'{"type":"DO","data":{"user_id":"%s"},"status":{},"timestamp":"","id":7}'


class Does:
    """A handler that does what a test wants it to."""

    FIELDS = (USER_ID,)

    def __init__(self, handle: Callable[[], Any], on_failure: Callable[[], Any] = dict) -> None:
        self.answer = lambda data: handle()
        self.on_failure = lambda data: on_failure()


def broken(*_: object) -> Any:
    raise ZeroDivisionError("secret")


def controller(handle: Callable[[], Any], on_failure: Any = dict, **more: Any) -> Lines:
    """A controller with one handler, as one who sends lines sees it."""
    more = {"now": lambda: NOON, **more}
    return Lines(Controller({"DO": Does(handle, on_failure)}, **more), more["now"])


class LastResortTests(SynchronousTestCase):
    """Where making a reply goes wrong there is one all the same."""

    def answer(self, to: Lines, line: bytes = LINE) -> dict:
        reply = to.dispatch(line)
        if isinstance(reply, Deferred):
            reply = self.successResultOf(reply)
        return json.loads(reply)

    def assertIncident(self, reply: dict, times: int = 1) -> None:
        self.assertEqual(
            (reply["status"]["code"], reply["data"]["reason"]), (500, "internal"), reply
        )
        self.assertRegex(reply["data"]["incident"], r"\A[0-9a-f]{12}\Z")
        self.assertNotIn("secret", json.dumps(reply))
        self.assertEqual(len(self.flushLoggedErrors()), times)

    def test_handlers(self) -> None:
        """Whatever a handler does in place of replying, the request is told of an incident."""
        for handle in (
            broken,
            lambda: None,
            lambda: b"x",
            lambda: fail(ZeroDivisionError("secret")),
            lambda: succeed(None),
            lambda: Reply({"text": "\ud800"}),
            lambda: succeed(Reply({"text": "\ud800"})),
            lambda: Reply({"number": object()}),
            lambda: Reply({}, say=broken),
            lambda: succeed(Reply({}, say=lambda language: "\udfff")),
        ):
            reply = self.answer(controller(handle))
            self.assertIncident(reply)
            self.assertEqual((reply["type"], reply["id"]), ("DO", 7))

    def test_reply_to_failure(self) -> None:
        """Where the reply to a failure cannot be made either, there is the constant one."""
        for handle in (broken, lambda: fail(ZeroDivisionError()), lambda: succeed(None)):
            for on_failure in (broken, lambda: {"text": "\ud800"}, lambda: None):
                reply = self.answer(controller(handle, on_failure))
                self.assertEqual(list(reply), ["type", "data", "status", "timestamp"])
                self.assertEqual(reply["type"], "error")
                self.assertEqual(reply["timestamp"], "2025-04-07T13:45:12.678Z")
                self.assertEqual(reply["data"]["message"], reply["status"]["message"])
                self.assertIncident(reply, 2)

    def test_everything_broken(self) -> None:
        """Nor does it need the time, or whoever counts."""
        for more in ({"now": broken}, {"answered": broken}, {"now": broken, "answered": broken}):
            for line in (LINE, b"no JSON", LINE.replace(b"DO", b"FLY")):
                for handle in (broken, lambda: Reply({}), lambda: succeed(Reply({}))):
                    to = controller(handle, **more)
                    reply = self.answer(to, line)
                    self.assertEqual(reply["status"]["code"], 500)
                    self.flushLoggedErrors()
                    reply = json.loads(to.refuse(TOO_LARGE, line))
                    self.assertEqual(reply["status"]["code"], 500)
                    self.flushLoggedErrors()
        reply = self.answer(controller(broken, now=broken))
        self.assertEqual(reply["timestamp"], "1970-01-01T00:00:00.000Z")
        self.flushLoggedErrors()

    def test_guards(self) -> None:
        """A guard that fails is an incident like any other."""
        to = controller(lambda: Reply({}), guards={"DO": broken})
        self.assertIncident(self.answer(to))

    def test_language(self) -> None:
        """The constant reply is in the server's language."""
        for language, message in (("pt", "Erro interno"), ("en", "Internal error")):
            reply = self.answer(controller(broken, broken, language=language))
            self.assertEqual(reply["data"]["message"], message)
            self.assertIncident(reply, 2)

    def test_logged(self) -> None:
        """The log has the incident that the reply names, with what happened."""
        with capturedLogs() as events:
            reply = self.answer(controller(broken, broken))
        self.flushLoggedErrors()
        incidents = [event["incident"] for event in events if "incident" in event]
        self.assertIn(reply["data"]["incident"], incidents)

    def test_counted(self) -> None:
        """It is counted as an incident."""
        counted: list[tuple] = []
        to = controller(broken, broken, answered=lambda *each: counted.append(each))
        self.answer(to)
        self.flushLoggedErrors()
        self.assertEqual(counted, [("error", 500, 0.0)])


class NotesTests(SynchronousTestCase):
    """What is noted of requests."""

    def test_durations(self) -> None:
        """Every request, refused ones too, is counted with what it was and how long it took."""
        counted: list[tuple] = []
        times = iter(range(100))
        to = controller(
            lambda: Reply({}),
            answered=lambda *each: counted.append(each),
            seconds=lambda: float(next(times)),
        )
        to.dispatch(LINE)
        to.dispatch(b"no JSON")
        to.dispatch(LINE.replace(b"DO", b"FLY"))
        to.refuse(TOO_LARGE, LINE)
        to.refuse(TOO_LARGE)
        self.assertEqual(
            counted,
            [
                ("DO", 200, 1.0),
                ("error", 400, 1.0),
                (UNKNOWN, 404, 1.0),
                ("DO", 413, 1.0),
                ("error", 413, 1.0),
            ],
        )

    def test_given_up(self) -> None:
        """Of a request that nobody waits for any more the log says so."""
        to = controller(Deferred)
        reply = to.dispatch(LINE)
        assert isinstance(reply, Deferred)
        with capturedLogs() as events:
            reply.cancel()
        self.assertEqual(
            [formatEvent(event) for event in events], ["DO not served: it was given up"]
        )

    def test_verbose(self) -> None:
        """A line for each request, without what a client has made up as its type."""
        to = controller(lambda: Reply({}), verbose=True)
        with capturedLogs() as events:
            for line in (LINE, LINE.replace(b"DO", b"FORGED"), b"x", LONG.encode()):
                to.dispatch(line)
        self.assertEqual(
            [(event["type"], event["code"], event["reason"]) for event in events],
            [
                ("DO", 200, "ok"),
                ("error", 404, "unknown_type"),
                ("error", 400, "invalid_json"),
                ("error", 400, "invalid_json"),
            ],
        )
