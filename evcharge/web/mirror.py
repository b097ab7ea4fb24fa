"""
The messages over plain HTTP: what is under /api/v1, but for the socket and the stream.

A request becomes a :class:`~evcharge.wire.envelope.Request` by the table of
:mod:`evcharge.web.routes`, and a controller answers it as it does all others: nothing is checked
here but what HTTP itself brings. What is sent back is the envelope, and its code is HTTP's.
"""

from __future__ import annotations

from codecs import BOM_UTF8
from collections.abc import Mapping, Sequence
from hashlib import blake2b
from typing import Any

import msgspec
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from evcharge.controller import Controller
from evcharge.handlers import Context
from evcharge.handlers.public import FindTariff, ShowFigures
from evcharge.models.catalogue import Catalogue
from evcharge.outcomes import (
    INTERNAL,
    LANGUAGES,
    METHOD_NOT_ALLOWED,
    NEEDS_CONNECTION,
    SUCCESS,
    UNKNOWN_PATH,
    UNSUPPORTED_MEDIA_TYPE,
    Refusal,
    Reply,
)
from evcharge.utils.time_utils import iso_utc
from evcharge.web.answers import JSON
from evcharge.web.geojson import feature_collection
from evcharge.web.heads import has_already, is_json
from evcharge.web.openapi import document
from evcharge.web.request import WebContext, WebRequest
from evcharge.web.routes import DOCUMENT, GEOJSON, STAYS_OPEN, Route, find
from evcharge.wire.envelope import (
    UNREADABLE_TYPE,
    Request,
    decode,
    decode_data,
    encode,
    encode_part,
)

NOTHING_MORE: Mapping[bytes, bytes] = {}


class Mirror:
    """Answers what the table of routes has."""

    def __init__(self, context: WebContext) -> None:
        self._context = context
        public = Context(context.perform, context.catalogue, context.now)
        look_ups = {
            FindTariff.TYPE: FindTariff(public),
            ShowFigures.TYPE: ShowFigures(public, lambda: context.figures.minutes),
        }
        self._look_ups = {
            language: Controller(look_ups, context.now, language) for language in LANGUAGES
        }
        self._document: tuple[Catalogue, bytes] | None = None
        self._features: tuple[Any, bytes] | None = None

    def __call__(self, http: WebRequest) -> None:
        """Answer a request."""
        found = find(http.path)
        if found is None:
            http.refuse(UNKNOWN_PATH)
            return
        routes, in_path = found
        http.route = routes[0].path
        method = "GET" if http.method == b"HEAD" else http.method.decode("latin-1")
        route = next((each for each in routes if each.method == method), None)
        if route is None:
            self._only(http, routes)
        elif route is DOCUMENT:
            self._send_copy(http, JSON, self._described())
        elif method == "GET":
            self._look_up(http, route, in_path)
        else:
            self._post(http, route)

    def _only(self, http: WebRequest, routes: Sequence[Route]) -> None:
        methods = ", ".join("GET, HEAD" if each.method == "GET" else "POST" for each in routes)
        refusal = Refusal(METHOD_NOT_ALLOWED, {"methods": methods})
        self._refuse(http, routes[0], refusal, {b"allow": methods.encode()})

    def _look_up(self, http: WebRequest, route: Route, in_path: Mapping[str, str]) -> None:
        assert route.message is not None
        given: dict[str, Any] = dict(in_path)
        for name, texts in http.args.items():
            values = [text.decode(errors="replace") for text in texts]
            # What is there more than once is none of the values that it may have.
            given.setdefault(name.decode("latin-1"), values[0] if len(values) == 1 else values)
        data = dict(route.asks)
        for parameter in route.parameters:
            value = parameter.read(given)
            if value is not None:
                data[parameter.field.name] = value
        kind = route.message.TYPE
        controllers = self._context.controllers if kind == "START" else self._look_ups
        self._answer(http, route, controllers[http.language], Request(kind, data))

    def _post(self, http: WebRequest, route: Route) -> None:
        controller = self._context.controllers[http.language]
        if not is_json(http):
            self._refuse(http, route, Refusal(UNSUPPORTED_MEDIA_TYPE))
            return
        body = http.body.removeprefix(BOM_UTF8)
        if route.message is STAYS_OPEN:
            asked = Request(STAYS_OPEN.TYPE)
        elif route.message is None:
            asked = decode(body, controller.reads)
        else:
            asked = decode_data(route.message.TYPE, body, controller.reads)
        if asked.type == STAYS_OPEN.TYPE and asked.refusal is None:
            asked.refusal = Refusal(NEEDS_CONNECTION, {"type": asked.type})
        self._answer(http, route, controller, asked)

    def _refuse(
        self,
        http: WebRequest,
        route: Route,
        refusal: Refusal,
        headers: Mapping[bytes, bytes] = NOTHING_MORE,
    ) -> None:
        kind = UNREADABLE_TYPE if route.message is None else route.message.TYPE
        controller = self._context.controllers[http.language]
        self._answer(http, route, controller, Request(kind, refusal=refusal), headers)

    def _answer(
        self,
        http: WebRequest,
        route: Route,
        controller: Controller,
        asked: Request,
        headers: Mapping[bytes, bytes] = NOTHING_MORE,
    ) -> None:
        answer = controller.answer(asked, http.client)
        if isinstance(answer, Deferred):
            http.pending = answer
            answer.addCallback(self._send, http, route, controller, asked, headers)
        else:
            self._send(answer, http, route, controller, asked, headers)

    def _send(
        self,
        reply: Reply,
        http: WebRequest,
        route: Route,
        controller: Controller,
        asked: Request,
        headers: Mapping[bytes, bytes],
    ) -> None:
        """Send a reply, whatever happens."""
        try:
            if route.method == "GET" and reply.outcome is SUCCESS:
                self._show(http, route, controller, asked, reply)
            else:
                http.answer(reply, headers)
        except Exception:
            # It cannot be written: nothing of it has been sent.
            if reply.outcome is INTERNAL:
                http.fail(Failure())
            else:
                again = controller.failed(Failure(), asked)
                self._send(again, http, route, controller, asked, headers)

    def _show(
        self, http: WebRequest, route: Route, controller: Controller, asked: Request, reply: Reply
    ) -> None:
        """Send what a look-up shows of a message's reply."""
        data = reply.data
        if route.absent is not None and not data[route.shows[0]]:
            http.answer(controller.refuse(asked, Refusal(route.absent)))
            return
        if route.shows:
            reply.data = {name: data[name] for name in route.shows if name in data}
        if route.kind == GEOJSON:
            self._send_copy(http, GEOJSON, self._geojson(reply.data))
        else:
            body = encode(reply, iso_utc(self._context.now()))
            # When it was made says nothing of the network.
            self._send_copy(http, JSON, body, encode(reply, ""))

    def _geojson(self, data: Mapping[str, Any]) -> bytes:
        """Stations of START as GeoJSON; all of them are written anew only when START does so."""
        stations = data["station_models"]
        if self._features is None or self._features[0] is not stations:
            shown = msgspec.json.decode(encode_part(stations))
            more = {name: value for name, value in data.items() if name != "station_models"}
            body = msgspec.json.encode({**feature_collection(shown), **more})
            self._features = (stations, body)
        return self._features[1]

    def _described(self) -> bytes:
        """The OpenAPI document: made once, for each catalogue of cars that there is."""
        catalogue = self._context.catalogue()
        if self._document is None or self._document[0] is not catalogue:
            self._document = (catalogue, document(catalogue))
        return self._document[1]

    def _send_copy(
        self, http: WebRequest, kind: str, body: bytes, tagged: bytes | None = None
    ) -> None:
        """
        Send what is public, unless its reader has it.

        :param tagged: what of it makes the difference; by default all of it.
        """
        digest = blake2b(body if tagged is None else tagged, digest_size=12).hexdigest()
        # Weak: two that are alike may differ in when they were made.
        tag = f'W/"{digest}"'.encode()
        headers = {b"etag": tag, b"cache-control": b"no-cache", b"vary": b"accept-language"}
        # Of a 304, the length is that of what is not sent.
        http.reply(304 if has_already(http, tag) else 200, kind, body + b"\n", headers)
