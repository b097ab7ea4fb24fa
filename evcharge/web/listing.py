"""The stations as a table of plain HTML, for browsers that run no scripts."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Any

import msgspec
from twisted.internet.defer import Deferred

from evcharge.handlers.start import Start
from evcharge.outcomes import SUCCESS, Phrase, Reply
from evcharge.utils.figures import decimal
from evcharge.utils.time_utils import iso_utc
from evcharge.web.request import WebContext, WebRequest
from evcharge.wire.envelope import Request, encode

HTML = "text/html; charset=utf-8"

TITLE = Phrase("Postos", "Stations")
AS_OF = Phrase("Como estava em {time}", "As it was at {time}")
FIRST = Phrase("Os primeiros {n} de {m} postos", "The first {n} of {m} stations")
NO_PRICE = Phrase("preço não informado", "price not known")
OUT = Phrase("fora de serviço", "out of service")
COLUMNS = (
    Phrase("Posto", "Station"),
    Phrase("Endereço", "Address"),
    Phrase("Vagas livres", "Free slots"),
    Phrase("Fila", "Queue"),
    Phrase("kW", "kW"),
    Phrase("R$/kWh", "R$/kWh"),
)

PAGE = """<!doctype html>
<html lang="{language}">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{title} – evcharge</title>
<link rel="icon" href="/static/icon.svg" type="image/svg+xml">
<link rel="stylesheet" href="/static/app.css">
<link rel="stylesheet" href="/static/panel.css">
<main class="listing card">
<h1>{title}</h1>
<p class="note">{note}</p>
<table>
<thead><tr>{heads}</tr></thead>
<tbody>
{rows}
</tbody>
</table>
</main>
</html>
"""


class Listing:
    """Answers who asks for the table."""

    def __init__(self, context: WebContext) -> None:
        self._context = context

    def __call__(self, request: WebRequest) -> Deferred[None] | None:
        """Answer a request; what is returned fails where that cannot be."""
        request.route = "/static/stations.html"
        if not request.allows("GET", "HEAD"):
            return None
        controller = self._context.controllers[request.language]
        reply = controller.answer(Request(Start.TYPE), request.client)
        if isinstance(reply, Deferred):
            request.pending = reply
            return reply.addCallback(self._send, request)
        self._send(reply, request)
        return None

    def _send(self, reply: Reply, request: WebRequest) -> None:
        if reply.outcome is not SUCCESS:
            request.answer(reply)
            return
        now = iso_utc(self._context.now())
        # What START has written already is read again: nobody asks for this often.
        data = msgspec.json.decode(encode(reply, now))["data"]
        body = listing(data, now, request.language).encode()
        request.reply(200, HTML, body, {b"cache-control": b"no-store"})


def listing(data: Mapping[str, Any], now: str, language: str) -> str:
    """The page of what START has told, in a language."""
    stations = data["station_models"]
    note = AS_OF.say(language, {"time": f"{now[:10]} {now[11:16]} UTC"})
    if "total_stations" in data:
        figures = {"n": len(stations), "m": data["total_stations"]}
        note = f"{FIRST.say(language, figures)}. {note}"
    rows = [_row(station, language) for station in stations.values()]
    return PAGE.format(
        language="pt-BR" if language == "pt" else "en",
        title=TITLE.say(language),
        note=note,
        heads="".join(f'<th scope="col">{column.say(language)}</th>' for column in COLUMNS),
        rows="\n".join(rows),
    )


def _row(station: Mapping[str, Any], language: str) -> str:
    price = station["price_kwh"] if station["price_known"] else None
    power = station["power_kw"]
    slots = f"{station['available_slots']}/{station['max_slots']}"
    cells = (
        station["address"] or "",
        slots if station["max_slots"] else OUT.say(language),
        str(station["queue_length"]),
        decimal(power, language, 0 if power == int(power) else 1),
        NO_PRICE.say(language) if price is None else decimal(price, language, 2),
    )
    row = "".join(f"<td>{escape(cell)}</td>" for cell in cells)
    return f'<tr><th scope="row">{escape(station["name_station"])}</th>{row}</tr>'
