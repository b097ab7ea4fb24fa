"""Charging as a bar, and a place in line as it comes nearer: until something else is the case."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

from evcharge.client import NoReply
from evcharge.commands.journey import CHARGING, Journey, Refused, instant, short_minutes
from evcharge.commands.tables import width
from evcharge.outcomes import Phrase
from evcharge.utils.figures import decimal, reais

BAR = 24
"""How long the bar of a whole battery is, characters."""

SHORTEST_S, LONGEST_S = 0.25, 2.0
"""How often it is asked how charging goes on: fifty times or so, but never more seldom."""
TURN_S = 1.0
"""How often it is asked whether it is one's turn."""

PAUSES_S = 0.5, 1.0, 2.0, 4.0, 8.0
"""A server that does not answer is asked again after these; then it is given up."""

TOO_MANY = 429
"""The code of who asks too often."""

HOW_TO = Phrase("Enter volta às escolhas.", "Enter goes back to the choices.")
AGAIN = Phrase("Sem resposta – tentando de novo", "No reply – trying again")
OF_ENERGY = Phrase("{energy} de {planned} kWh", "{energy} of {planned} kWh")
LEFT = Phrase("faltam {minutes}", "{minutes} left")
IN_LINE = Phrase("{position}º na fila", "number {position} in the queue")
TURN = Phrase("vez em {eta}", "turn in {eta}")
BETWEEN = Phrase("{turn} ({least} a {most})", "{turn} ({least} to {most})")
TURN_UNKNOWN = Phrase("vez ainda sem previsão", "it is not known when the turn comes")


def follow(journey: Journey) -> None:
    """Show how it goes on, until the state is another one, or the person presses Enter."""
    person = journey.person
    state, shown = journey.status["state"], None
    if person.is_there:
        person.say(HOW_TO)
    while journey.status["state"] == state:
        now = _stage(journey)
        if person.redraws:
            _redraw(progress(journey))
        elif now != shown:
            print(progress(journey), flush=True)
        shown = now
        if person.pause(_pause_s(journey.status)):
            return
        _look(journey)
    if person.redraws:
        _redraw("")


def progress(journey: Journey) -> str:
    """How far charging, or the line, is: on one line, which a terminal has room for."""
    charges = journey.status["state"] == CHARGING
    said = _charging(journey) if charges else _waiting(journey.status, journey.person.language)
    most = width() - 1
    return said if len(said) <= most else said[: most - 1] + "…"


def _charging(journey: Journey) -> str:
    status, language = journey.status, journey.person.language
    percent, target = status["battery_percent"], status["target_percent"]
    if percent is None or target is None:
        # Nothing is known of the car: it is the share of the charge.
        percent, target = 100 * _time_share(status), 100.0
    full, most = round(BAR * percent / 100), round(BAR * target / 100)
    said = [f"[{'#' * full}{'.' * (most - full)}{' ' * (BAR - max(full, most))}]"]
    said.append(f"{decimal(percent, language, 1)} %")
    energy, planned = status["energy_kwh"], status["planned_energy_kwh"]
    if energy is not None and planned is not None:
        of = {"energy": decimal(energy, language, 1), "planned": decimal(planned, language, 1)}
        said.append(OF_ENERGY.say(language, of))
    left = short_minutes(journey.charge_minutes * (1 - _time_share(status)), language)
    said.append(LEFT.say(language, {"minutes": left}))
    said.append(reais(status["cost"], language))
    return "  ".join(said)


def _waiting(status: Mapping[str, Any], language: str) -> str:
    said = [IN_LINE.say(language, {"position": status["position"]}), turn(status, language)]
    return "  ".join(said)


def turn(status: Mapping[str, Any], language: str) -> str:
    """When the turn of one who waits is expected to come."""
    names = ("eta_minutes", "eta_earliest_minutes", "eta_latest_minutes")
    if status["eta_minutes"] is None:
        return TURN_UNKNOWN.say(language)
    eta, least, most = (short_minutes(status[name], language) for name in names)
    told = TURN.say(language, {"eta": eta})
    if least == most:
        return told
    return BETWEEN.say(language, {"turn": told, "least": least, "most": most})


def _time_share(status: Mapping[str, Any]) -> float:
    """How much of the time that charging takes is over."""
    begin, end = instant(status["since"]), status["estimated_timestamp"]
    now = status["server_timestamp"]
    return min(1.0, max(0.0, (now - begin) / (end - begin))) if end > begin else 1.0


def _stage(journey: Journey) -> object:
    """What has to change for what is no terminal to be told of it."""
    status = journey.status
    if status["state"] == CHARGING:
        return int(_time_share(status) * 10)
    return status["position"]


def _pause_s(status: Mapping[str, Any]) -> float:
    if status["state"] != CHARGING:
        return TURN_S
    left_s = status["estimated_timestamp"] - status["server_timestamp"]
    return float(min(LONGEST_S, max(SHORTEST_S, left_s / 50)))


def _look(journey: Journey) -> None:
    """See how things stand, and be patient: asking changes nothing, so it can be asked again."""
    person = journey.person
    for number, pause_s in enumerate(PAUSES_S):
        try:
            journey.look()
            return
        except Refused as error:
            if not error.is_failure and error.code != TOO_MANY:
                raise
        except NoReply:
            pass
        if person.redraws:
            _redraw(AGAIN.say(person.language))
        elif not number:
            print(AGAIN.say(person.language), flush=True)
        if person.pause(pause_s):
            break
    journey.look()


def _redraw(line: str) -> None:
    """Write over the line that the cursor is on."""
    sys.stdout.write(f"\r{line}\x1b[K")
    sys.stdout.flush()
