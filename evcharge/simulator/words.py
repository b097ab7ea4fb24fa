"""What the report says, in Portuguese and English, and how figures are written."""

from __future__ import annotations

import json
from typing import Any

import attrs

from evcharge.outcomes import Phrase
from evcharge.simulator.statistics import Interval
from evcharge.simulator.texts import Text, called
from evcharge.utils.figures import decimal

COUNT, SHARE, MINUTES, KWH, MONEY, PRICE, KW, CLOCK, KM = (
    *("count", "share", "minutes", "kwh", "money", "price", "kw", "clock", "km"),
)
"""What a figure is: how many decimals it has, and its unit."""

UNITS = {
    COUNT: ("", "", 1.0, 1),
    SHARE: ("", " %", 100.0, 1),
    MINUTES: ("", " min", 1.0, 1),
    KWH: ("", " kWh", 1.0, 1),
    MONEY: ("R$ ", "", 1.0, 2),
    PRICE: ("R$ ", "/kWh", 1.0, 3),
    KW: ("", " kW", 1.0, 1),
    CLOCK: ("", " h", 1.0, 2),
    KM: ("", " km", 1.0, 1),
}
"""Of each kind: what stands before and after it, what it is multiplied by, and its decimals."""

FROM_WHICH_WHOLE = 1000.0
"""From here on nobody reads decimals."""


@attrs.frozen
class Figure:
    """One of the figures of a place."""

    kind: str
    phrase: Phrase


FIGURES: dict[str, Figure] = {
    "born": Figure(COUNT, Phrase("motoristas", "drivers")),
    "served": Figure(COUNT, Phrase("atendidos sem espera", "served at once")),
    "served_after_wait": Figure(COUNT, Phrase("atendidos após espera", "served after a wait")),
    "balked": Figure(COUNT, Phrase("desistiram ao saber da espera", "left, told of the wait")),
    "reneged": Figure(COUNT, Phrase("desistiram na fila", "left the queue")),
    "offer_lapsed": Figure(COUNT, Phrase("deixaram a oferta vencer", "let an offer lapse")),
    "no_fit": Figure(COUNT, Phrase("sem posto que sirva", "no station that fits")),
    "stranded": Figure(COUNT, Phrase("sem posto ao alcance", "no station in range")),
    "no_show": Figure(COUNT, Phrase("reservaram e não vieram", "booked and never came")),
    "evicted": Figure(COUNT, Phrase("interrompidos por defeito", "cut off by a fault")),
    "refused": Figure(COUNT, Phrase("recusados pelo servidor", "refused by the server")),
    "still_there": Figure(COUNT, Phrase("ainda lá no fim", "still there at the end")),
    "lost": Figure(COUNT, Phrase("perdidos", "lost")),
    "lost_share": Figure(SHARE, Phrase("parcela perdida", "share lost")),
    "wait_mean": Figure(MINUTES, Phrase("espera média de todos", "mean wait of all")),
    "wait_mean_of_waiting": Figure(
        MINUTES, Phrase("espera média de quem esperou", "mean wait of those who waited")
    ),
    "wait_p50": Figure(MINUTES, Phrase("espera, mediana", "wait, median")),
    "wait_p90": Figure(MINUTES, Phrase("espera, percentil 90", "wait, 90th percentile")),
    "wait_p95": Figure(MINUTES, Phrase("espera, percentil 95", "wait, 95th percentile")),
    "wait_p99": Figure(MINUTES, Phrase("espera, percentil 99", "wait, 99th percentile")),
    "queue_mean": Figure(COUNT, Phrase("fila média", "mean queue")),
    "queue_most": Figure(COUNT, Phrase("maior fila", "longest queue")),
    "utilisation": Figure(SHARE, Phrase("utilização", "utilisation")),
    "occupancy": Figure(SHARE, Phrase("vagas ocupadas", "EVSEs occupied")),
    "reserved_share": Figure(SHARE, Phrase("reservadas e vazias", "reserved and empty")),
    "idle_share": Figure(SHARE, Phrase("ocupadas após a recarga", "idle after charging")),
    "out_of_service_share": Figure(SHARE, Phrase("fora de serviço", "out of service")),
    "sessions": Figure(COUNT, Phrase("sessões", "sessions")),
    "kwh": Figure(KWH, Phrase("energia", "energy")),
    "power_kw": Figure(KW, Phrase("potência média da recarga", "mean power of charging")),
    "peak_kw": Figure(KW, Phrase("pico de 15 minutos", "peak of 15 minutes")),
    "peak_at": Figure(CLOCK, Phrase("pico, horas desde o início", "peak, hours from the start")),
    "revenue": Figure(MONEY, Phrase("receita", "revenue")),
    "refunds": Figure(MONEY, Phrase("devoluções", "refunds")),
    "price_kwh": Figure(PRICE, Phrase("preço médio", "mean price")),
    "km": Figure(KM, Phrase("km rodados até a recarga", "km driven to charge")),
    "drive_minutes": Figure(MINUTES, Phrase("minutos até a recarga", "minutes driven to charge")),
}
"""All figures of a place by their names, in the order in which tables have them."""


def written(value: float, kind: str, language: str, signed: bool = False) -> str:
    """
    A figure with its unit: `11,7 %`.

    :param signed: whether it is a difference; one of shares is in points.
    """
    before, after, factor, places = UNITS[kind]
    if signed and kind == SHARE:
        after = POINTS.say(language)
    text = number(value * factor, language, places, signed)
    sign = text[:1].strip("0123456789")
    return sign + before + text.removeprefix(sign) + after


def number(value: float, language: str, places: int, signed: bool = False) -> str:
    """A figure without its unit; a true minus, as it stands beside others."""
    whole = abs(value) >= FROM_WHICH_WHOLE
    text = decimal(abs(value), language, 0 if whole else places)
    is_zero = not text.strip("0.,")
    if value < 0 and not is_zero:
        return f"−{text}"
    return f"+{text}" if signed and not is_zero else text


def per_cent(share: float, language: str) -> str:
    """A share in per cent with the digits that it has, without the sign: `95`, `99,9`."""
    return number(100.0 * share, language, 2).rstrip("0").rstrip(",.")


def with_interval(found: Interval | None, kind: str, language: str, signed: bool = False) -> str:
    """A mean and how far it may be off: `11,7 % ± 0,4`; one replication says that it is one."""
    if found is None:
        return "–"
    return f"{written(found.mean, kind, language, signed)} {off(found, kind, language)}"


def off(found: Interval, kind: str, language: str) -> str:
    """How far a mean may be off, in the figure's unit: `± 0,4`."""
    if found.half_width is None:
        return "(n = 1)"
    *_, factor, places = UNITS[kind]
    is_whole = abs(found.mean * factor) >= FROM_WHICH_WHOLE
    return f"± {number(found.half_width * factor, language, 0 if is_whole else places)}"


def setting(settings: tuple[tuple[Text, Any], ...], language: str) -> str:
    """What a variant has different, for a person: `4 vagas a mais`, `study.seed = 7`."""
    parts = []
    for named, value in settings:
        label = called(named, language)
        if isinstance(value, float) and not isinstance(value, bool):
            shown = plain_number(value, language)
        else:
            shown = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        if not label:
            parts.append(shown)
        elif "." in label or isinstance(value, (str, bool, list, dict)):
            parts.append(f"{label} = {shown}")
        else:
            parts.append(f"{shown} {label}")
    return ", ".join(parts) or BASE.say(language)


def plain_number(value: float, language: str) -> str:
    """A number with the digits that it has."""
    return f"{value:g}".replace(".", "," if language == "pt" else ".")


POINTS = Phrase(" pontos", " points")
BASE = Phrase("o cenário", "the scenario")
