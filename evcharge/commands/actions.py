"""What a person may do at a station: what STATUS's `actions` say, and to look at how it goes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from evcharge.commands import questions
from evcharge.commands.following import follow, progress, turn
from evcharge.commands.journey import (
    CHARGING,
    FINISHED,
    FREE,
    GONE,
    OFFERED,
    OVER,
    RESERVED,
    WAITING,
    Journey,
    Refused,
    Step,
    leave,
    moment,
    short_minutes,
    tenths,
)
from evcharge.commands.receipts import history, receipt_so_far, show_receipt
from evcharge.commands.search import SAYS, choose, introduce
from evcharge.commands.tables import clean, numbered
from evcharge.outcomes import Phrase
from evcharge.utils.figures import reais

MOST_AWAY = 120
"""For how far away a slot is kept, minutes."""

MENDABLE = (400, 404, 409)
"""Codes of refusals after which something else may be done: it was not the time for that."""


class Choice(NamedTuple):
    """Something that may be done."""

    action: str
    """The one of STATUS's `actions` that it is; or none of them, and then it may always be done."""
    name: Phrase
    go: Step


def decide(journey: Journey) -> Step | None:
    """STATUS: how things stand; then what the person chooses of what may be done."""
    person = journey.person
    look(journey)
    state = journey.status["state"]
    actions = journey.status.get("actions", ())
    print()
    if state in STANDS:
        STANDS[state](journey)
    choices = [each for each in CHOICES[state] if not each.action or each.action in actions]
    if journey.has_history and state in (FREE, GONE):
        choices.append(Choice("", SEE_HISTORY, history))
    price = reais(_price(journey), person.language)
    names = [choice.name.say(person.language, {"price": price}) for choice in choices]
    for line in numbered(names, 1):
        print(line)
    default = _default(journey, choices)
    read = questions.one_or_none(names)
    chosen = person.ask(ASK_ACTION, str(default), read, ACTIONS_ALLOWED, count=len(names))
    if not chosen:
        if state == FREE:
            return leave
        journey.is_over = True
        return None
    try:
        return choices[chosen - 1].go(journey)
    except Refused as error:
        if error.code not in MENDABLE:
            raise
        person.say(SAYS, error=error)
        return None


ASK_ACTION = Phrase("O que você quer fazer? 0: sair", "What would you like to do? 0: leave")
ACTIONS_ALLOWED = Phrase(
    "um número de 0 a {count}, ou uma parte que só uma das escolhas tenha",
    "a number from 0 to {count}, or a part that only one of the choices has",
)
SEE_HISTORY = Phrase("Ver os recibos", "See the receipts")
ENDED_UNUSED = Phrase(
    "A oferta venceu sem resposta: você perdeu o lugar na fila.",
    "Nobody took the slot in time: your place in the queue is gone.",
)


def look(journey: Journey) -> None:
    """See how things stand; of a session that has ended meanwhile, show the receipt."""
    person = journey.person
    if journey.user_id is not None:
        journey.look()
        if journey.user_id is None and journey.receipt_id is None:
            person.say(OVER)
    ended, journey.receipt_id = journey.receipt_id, journey.status.get("receipt_id")
    if ended is None or ended == journey.receipt_id:
        return
    try:
        show_receipt(journey, journey.request("RECEIPT", receipt_id=ended))
    except Refused as error:
        # An offer that nobody took has none.
        if error.reason != "receipt_not_found":
            raise
        person.say(ENDED_UNUSED)


def _default(journey: Journey, choices: Sequence[Choice]) -> int:
    """The number of what an empty line chooses."""
    if not choices or journey.status["state"] == GONE:
        return 0
    # Answers that are piped in do not wait unless they say so.
    if choices[0].go is follow and not journey.person.is_there:
        return 0
    if journey.status["state"] == FREE and journey.offer.get("fitting_slots") == 0:
        return next((n for n, each in enumerate(choices, 1) if each.go is reserve), 1)
    return 1


def _price(journey: Journey) -> float:
    """What charging is expected to cost, BRL."""
    amount = journey.status.get("amount", journey.offer.get("price_loading"))
    return 0.0 if amount is None else float(amount)


DETAILS = Phrase("{name}: {address}. {figures}", "{name}: {address}. {figures}")
PER_KWH = Phrase("{price} por kWh", "{price} a kWh")
ARRIVES = Phrase(
    "Você chega com {arrival} % e recarrega até {target} %: {energy} kWh, com até {power} kW.",
    "You arrive with {arrival} % and charge to {target} %: {energy} kWh, at up to {power} kW.",
)
ASSUMED = Phrase(
    "O servidor não tem todos os dados do carro e do posto e usou valores típicos.",
    "The server does not know everything about the car and the station: some is assumed.",
)


def _tell_offer(journey: Journey) -> None:
    person, language, offer = journey.person, journey.person.language, journey.offer
    station = journey.stations.get(offer["id_station"])
    if station is not None:
        power, price = station.get("power_kw"), station.get("price_kwh")
        figures = [] if power is None else [f"{tenths(power, language)} kW"]
        if price is not None:
            figures.append(PER_KWH.say(language, {"price": reais(price, language)}))
        figures.append(clean(", ".join(station["connectors"])) or "-")
        person.say(
            DETAILS,
            name=journey.station_name,
            address=clean(station["address"]),
            figures="; ".join(figures),
        )
    if offer.get("power_kw") is not None:
        person.say(
            ARRIVES,
            arrival=tenths(offer["arrival_percent"], language),
            target=tenths(offer["target_percent"], language),
            energy=tenths(offer["energy_kwh"], language),
            power=tenths(offer["power_kw"], language),
        )
    if offer.get("assumed"):
        person.say(ASSUMED)


WAITS = Phrase(
    "{name}: você é o {position}º na fila, {turn}.",
    "{name}: you are number {position} in the queue, {turn}.",
)
OFFER = Phrase(
    "É a sua vez! A vaga {slot} de {name} é sua se você aceitar: a oferta vence {end}.",
    "It is your turn! Slot {slot} at {name} is yours if you accept: the offer ends {end}.",
)
HOLD = Phrase(
    "A vaga {slot} de {name} está reservada para você; a reserva vence {end}. "
    "A recarga deve custar {price}.",
    "Slot {slot} at {name} is kept for you; the hold ends {end}. "
    "Charging is expected to cost {price}.",
)
CHARGED = Phrase(
    "{name}: recarga terminada com {percent} %, {price} até agora. A vaga é sua; "
    "a permanência termina {end}.",
    "{name}: charged to {percent} %, {price} so far. The slot is yours; the stay ends {end}.",
)


def _tell_place(journey: Journey) -> None:
    person, status = journey.person, journey.status
    told = turn(status, person.language)
    person.say(WAITS, name=journey.station_name, position=status["position"], turn=told)


def _tell_slot(journey: Journey) -> None:
    person, language, status = journey.person, journey.person.language, journey.status
    phrase = {OFFERED: OFFER, RESERVED: HOLD, FINISHED: CHARGED}[status["state"]]
    is_over = status["state"] == FINISHED
    percent = status["battery_percent"]
    person.say(
        phrase,
        slot=clean(status["id_evse"] or "-"),
        name=journey.station_name,
        end=moment(status["expires_timestamp"], language),
        price=reais(status["cost" if is_over else "amount"], language),
        percent="-" if percent is None else tenths(percent, language),
    )


STANDS: Mapping[str, Any] = {
    FREE: _tell_offer,
    WAITING: _tell_place,
    OFFERED: _tell_slot,
    RESERVED: _tell_slot,
    CHARGING: lambda journey: print(progress(journey)),
    FINISHED: _tell_slot,
}
"""What says how a person stands in each state."""

FULL = Phrase(
    "Alguém foi mais rápido: o posto está cheio. Você não pagou nada. Vamos ver de novo.",
    "Somebody was quicker: the station is full. You have paid nothing. Let us look again.",
)
PAID = Phrase(
    "Pago: {amount}. A vaga{slot} é sua. Recibo: {receipt}",
    "Paid: {amount}. The slot{slot} is yours. Receipt: {receipt}",
)
CHARGES = Phrase(
    "A recarga de {minutes} termina {end}; então a vaga é liberada.",
    "Charging for {minutes} ends {end}; the slot is then freed.",
)
STAYS = Phrase(
    "A recarga na vaga {slot} termina {end}. Você paga no fim; a previsão é de {price}.",
    "Charging at slot {slot} ends {end}. You pay at the end; {price} is expected.",
)


def _asked(journey: Journey) -> dict[str, Any]:
    """Which user asks for which station; and with how much charge they arrive there."""
    station_id = journey.status.get("id_station", journey.offer.get("id_station"))
    asked = {"user_id": journey.user_id, "id_station": station_id}
    percent = journey.offer.get("arrival_percent")
    if percent is not None and station_id == journey.offer["id_station"]:
        # Else the drive would not be charged for.
        asked["arrival_percent"] = percent
    return asked


def _took(journey: Journey, status: Mapping[str, Any]) -> None:
    """This is how things stand now."""
    journey.status = status
    if journey.receipt_id is None:
        # Else it is another one only where what there was had ended, which is to be told.
        journey.receipt_id = status.get("receipt_id")


def pay(journey: Journey) -> Step | None:
    """PAYMENT: a slot, paid for, and charging."""
    person, language = journey.person, journey.person.language
    data = journey.request("PAYMENT", **_asked(journey), confirmation=True)
    if not data["confirmation"]:
        person.say(FULL)
        return choose
    _took(journey, {**data, "state": CHARGING})
    journey.charge_minutes = data["charge_minutes"]
    slot = f" {clean(data['id_evse'])}" if data.get("id_evse") else ""
    person.say(PAID, amount=reais(data["amount"], language), slot=slot, receipt=data["receipt_id"])
    end = moment(data["estimated_timestamp"], language)
    person.say(CHARGES, minutes=short_minutes(data["charge_minutes"], language), end=end)
    return None


def arrive(journey: Journey) -> Step | None:
    """ARRIVE: charging, which is paid for at the end."""
    person, language = journey.person, journey.person.language
    data = journey.request("ARRIVE", **_asked(journey))
    if data.get("reason") == "no_slot":
        person.say(FULL)
        return choose
    _took(journey, data)
    person.say(
        STAYS,
        slot=clean(data["id_evse"] or "-"),
        end=moment(data["estimated_timestamp"], language),
        price=reais(data["amount"], language),
    )
    return None


ASK_AWAY = Phrase(
    "A quantos minutos você está do posto?", "How many minutes away from the station are you?"
)
AWAY_ALLOWED = Phrase("um número de 0 a {most}", "a number from 0 to {most}")
TAKEN = Phrase(
    "Não há vaga livre para o seu carro; na fila: {waiting}. A sua vez viria {eta}.",
    "No slot is free for your car; in the queue: {waiting}. Your turn would come {eta}.",
)
IN = Phrase("em {minutes}", "in {minutes}")
SOME_TIME = Phrase("não se sabe quando", "nobody knows when")
ASK_WAIT = Phrase("Entrar na fila?", "Join the queue?")


def reserve(journey: Journey) -> None:
    """RESERVE: a slot that is kept until the driver comes; or, where none is free, a place."""
    person = journey.person
    away = person.ask(
        ASK_AWAY,
        str(min(MOST_AWAY, math.ceil(journey.offer.get("travel_minutes") or 0))),
        questions.number(0, MOST_AWAY, "min"),
        AWAY_ALLOWED,
        most=MOST_AWAY,
    )
    asked = {**_asked(journey), "arrival_minutes": away}
    data = journey.request("RESERVE", **asked)
    if data.get("reason") == "no_slot":
        eta = data["eta_minutes"]
        when = IN if eta is not None else SOME_TIME
        minutes = short_minutes(eta or 0, person.language)
        told = when.say(person.language, {"minutes": minutes})
        person.say(TAKEN, waiting=data["queue_length"], eta=told)
        if not person.confirm(ASK_WAIT, True):
            return
        data = journey.request("RESERVE", **asked, wait=True)
    _took(journey, data)


GIVEN_UP = Phrase(
    "Pronto: você não tem mais vaga nem lugar na fila.",
    "Done: you have neither a slot nor a place in the queue any more.",
)


def cancel(journey: Journey) -> None:
    """CANCEL: a slot or a place is given up; what it has cost is shown."""
    data = journey.request("CANCEL", user_id=journey.user_id)
    journey.status, journey.receipt_id = data, None
    journey.person.say(GIVEN_UP)
    if data.get("receipt") is not None:
        show_receipt(journey, data["receipt"])


def stop(journey: Journey) -> None:
    """STOP: the end of charging, and of the stay; and what it came to."""
    # With its receipt it is answered also where it was over already.
    receipt_id = journey.status["receipt_id"]
    data = journey.request("STOP", user_id=journey.user_id, receipt_id=receipt_id)
    journey.forgotten()
    journey.receipt_id = None
    show_receipt(journey, data)


CHARGE_NOW = Phrase("Pagar {price} e recarregar", "Pay {price} and charge")
CHARGE_THEN = Phrase("Recarregar, e pagar no fim", "Charge, and pay at the end")

CHOICES: Mapping[str, Sequence[Choice]] = {
    FREE: (
        Choice("PAYMENT", CHARGE_NOW, pay),
        Choice(
            "RESERVE", Phrase("Reservar, ou entrar na fila", "Reserve, or join the queue"), reserve
        ),
        Choice("ARRIVE", CHARGE_THEN, arrive),
        Choice("", Phrase("Ver outros postos", "See other stations"), lambda journey: choose),
    ),
    WAITING: (
        Choice("", Phrase("Acompanhar a fila", "Follow the queue"), follow),
        Choice("CANCEL", Phrase("Sair da fila", "Leave the queue"), cancel),
    ),
    OFFERED: (
        Choice("RESERVE", Phrase("Aceitar a vaga", "Accept the slot"), reserve),
        Choice("ARRIVE", CHARGE_THEN, arrive),
        Choice("PAYMENT", CHARGE_NOW, pay),
        Choice("CANCEL", Phrase("Recusar", "Decline"), cancel),
    ),
    RESERVED: (
        Choice("ARRIVE", CHARGE_THEN, arrive),
        Choice("PAYMENT", CHARGE_NOW, pay),
        Choice("CANCEL", Phrase("Desistir da reserva", "Give the slot up"), cancel),
    ),
    CHARGING: (
        Choice("", Phrase("Acompanhar a recarga", "Follow the charging"), follow),
        Choice("STOP", Phrase("Parar e ir embora", "Stop and drive away"), stop),
        Choice("", Phrase("Ver o recibo até agora", "See the receipt so far"), receipt_so_far),
    ),
    FINISHED: (
        Choice("STOP", Phrase("Ir embora", "Drive away"), stop),
        Choice("", Phrase("Ver o recibo até agora", "See the receipt so far"), receipt_so_far),
    ),
    GONE: (
        Choice("", Phrase("Fazer outra viagem", "Go on another trip"), lambda journey: introduce),
    ),
}
"""What may be done in each state, in the order in which it is offered."""
