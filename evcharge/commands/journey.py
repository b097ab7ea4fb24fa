"""
The journey that `evcharge drive` takes a person on.

::

    look_around -> introduce -> plan_trip -> locate -> choose -> pay -> charge -> leave
                                    |          ^        |  ^      |                ^
                                    |          '--------'  '------' full           |
                                    '--------------------------------- no need, none wanted

Each step asks, sends one request, and names the step that follows.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, Protocol

from evcharge.commands import questions
from evcharge.commands.questions import Person
from evcharge.commands.tables import Column, clean, numbered, table, width
from evcharge.outcomes import Phrase
from evcharge.utils.figures import decimal, kilometres, minutes, reais

NAME, BATTERY, TRIP = "Ana", "40", "180"
"""What is answered by an empty line: most cars need to charge on that trip."""

CRITERIA = ("distance", "time", "price")


class Refused(Exception):
    """The server has answered a request with another code than 200."""

    def __init__(self, reply: Mapping[str, Any]) -> None:
        super().__init__(clean(f"{reply['status']['code']} {reply['status']['message']}"))
        self.reason = reply["data"].get("reason")


class Journey:
    """
    What is known on the way.

    :param send: sends a request, `send(kind, data)`, and returns the whole reply.
    """

    def __init__(
        self, person: Person, send: Callable[[str, dict[str, Any]], Mapping[str, Any]]
    ) -> None:
        self.person = person
        self._send = send
        self.unanswered: Mapping[str, Any] = {}
        """The `type` of the request that has had no reply, with the fields of its data."""
        self.cars: Mapping[str, Mapping[str, Any]] = {}
        self.stations: Mapping[str, Mapping[str, Any]] = {}
        self.user_id: str | None = None
        self.search: dict[str, Any] = {}
        """What SELECTION_STATION is asked with."""
        self.offer: Mapping[str, Any] = {}
        """The station that was chosen, and its figures."""
        self.slot: Mapping[str, Any] | None = None
        """What PAYMENT said of the slot that is held."""

    def request(self, kind: str, **data: Any) -> Any:
        """
        Send a request; the data of its reply.

        :raise Refused: its code is not 200.
        :raise NoReply: none came.
        """
        self.unanswered = {**data, "type": kind}
        reply = self._send(kind, data)
        self.unanswered = {}
        if reply["status"]["code"] != 200:
            raise Refused(reply)
        return reply["data"]

    @property
    def station_name(self) -> str:
        """What the chosen station is called."""
        return self.name(self.offer.get("id_station"))

    def name(self, station_id: Any) -> str:
        """What a station is called; in a large network not all are known by name."""
        station = self.stations.get(station_id, {})
        return clean(station.get("name_station", f"#{station_id}"))


class Step(Protocol):
    """A part of the journey."""

    def __call__(self, journey: Journey, /) -> Step | None:
        """Go it; the next one, None when the journey is over."""


NETWORK = Phrase(
    "A rede: {stations} postos de recarga, {slots} vagas livres, {cars} modelos de carro.",
    "The network: {stations} charging stations, {slots} free slots, {cars} car models.",
)
HOW_TO = Phrase(
    "Enter aceita o que está entre colchetes; Ctrl-C sai a qualquer momento.",
    "Enter accepts what is in brackets; Ctrl-C leaves at any time.",
)
EMPTY = Phrase(
    "Sem postos e carros não há jornada.", "Without stations and cars there is no journey."
)


def look_around(journey: Journey) -> Step | None:
    """START: what the network has."""
    data = journey.request("START")
    journey.cars, journey.stations = data["car_models"], data["station_models"]
    journey.person.say(
        NETWORK,
        stations=data.get("total_stations", len(journey.stations)),
        slots=sum(station["available_slots"] for station in journey.stations.values()),
        cars=len(journey.cars),
    )
    if not journey.cars or not journey.stations:
        journey.person.say(EMPTY)
        return None
    journey.person.say(HOW_TO)
    return introduce


ASK_NAME = Phrase("Como você se chama?", "What is your name?")
NAMES = Phrase("um nome de 1 a 100 caracteres", "a name of 1 to 100 characters")
ASK_CAR = Phrase("Qual é o seu carro? Número ou nome", "Which car do you drive? Its number or name")
CARS = Phrase(
    "um número de 1 a {count} ou um nome da lista; basta uma parte que só ele tenha",
    "a number from 1 to {count} or a name of the list; a part that only one of them has will do",
)
ASK_BATTERY = Phrase("Quanta carga tem a bateria, em %?", "How full is the battery, in %?")
PERCENT = Phrase("um número de 0 a 100", "a number from 0 to 100")
WELCOME = Phrase(
    "Olá, {name}! Há {energy} kWh na bateria do seu {car}.",
    "Hello, {name}! There are {energy} kWh in the battery of your {car}.",
)
SAYS = Phrase("O servidor respondeu: {error}", "The server answered: {error}")


def introduce(journey: Journey) -> Step:
    """LOGIN: who drives what."""
    person, cars = journey.person, list(journey.cars)
    print()
    name = person.ask(ASK_NAME, NAME, questions.text(100), NAMES)
    for line in numbered([clean(car) for car in cars], width()):
        print(line)
    car = cars[person.ask(ASK_CAR, "1", questions.one_of(cars), CARS, count=len(cars))]
    percent = person.ask(ASK_BATTERY, BATTERY, questions.number(0, 100, "%"), PERCENT)
    try:
        data = journey.request("LOGIN", user_name=name, selected_car=car, battery_car=percent)
    except Refused as error:
        if error.reason != "invalid_field":
            raise
        person.say(SAYS, error=error)
        return introduce
    journey.user_id = data["user_id"]
    energy = _tenths(journey.cars[car]["battery_capacity"] * percent / 100, person.language)
    person.say(WELCOME, name=name, car=clean(car), energy=energy)
    return plan_trip


ASK_TRIP = Phrase("De quantos km é a sua viagem?", "How many km is your trip?")
DISTANCES = Phrase("um número de 0,1 a 100000", "a number from 0.1 to 100000")
ENOUGH = Phrase(
    "A carga basta: a autonomia é de {range}.",
    "The charge is enough: your range is {range}.",
)
NOT_ENOUGH = Phrase(
    "A carga não basta: a autonomia é de {range}. Vamos procurar um posto.",
    "The charge is not enough: your range is {range}. Let us find a station.",
)
ALL_THE_SAME = Phrase("Procurar um posto mesmo assim?", "Look for a station all the same?")


def plan_trip(journey: Journey) -> Step:
    """NAVIGATION: whether the battery suffices."""
    person = journey.person
    print()
    trip = person.ask(ASK_TRIP, TRIP, questions.number(0.1, 100_000, "km"), DISTANCES)
    data = journey.request("NAVIGATION", user_id=journey.user_id, route_distance=trip)
    enough = data["can_complete"]
    reach = kilometres(data["autonomy"], person.language)
    person.say(ENOUGH if enough else NOT_ENOUGH, range=reach)
    if enough and not person.confirm(ALL_THE_SAME, True):
        return leave
    return locate


ASK_PLACE = Phrase(
    "Sua latitude e longitude (o centro da rede)",
    "Your latitude and longitude (the middle of the network)",
)
PLACES = Phrase(
    "um par de números, como -12.27, -38.97 (latitude de -90 a 90, longitude de -180 a 180)",
    "a pair of numbers, as -12.27, -38.97 (latitude from -90 to 90, longitude from -180 to 180)",
)
ASK_CRITERION = Phrase(
    "O que importa mais? 1 distância, 2 tempo, 3 preço",
    "What matters most? 1 distance, 2 time, 3 price",
)
CRITERION_NAMES = {"pt": ("distância", "tempo", "preço"), "en": CRITERIA}
CRITERIA_ALLOWED = Phrase("1, 2 ou 3", "1, 2 or 3")


def locate(journey: Journey) -> Step:
    """Where the driver is, and what the stations are to be judged by."""
    person, stations = journey.person, journey.stations.values()
    print()
    middle = [
        math.fsum(station[axis] for station in stations) / len(stations)
        for axis in ("latitude", "longitude")
    ]
    default = ", ".join(f"{degrees:.4f}" for degrees in middle)
    latitude, longitude = person.ask(ASK_PLACE, default, questions.place, PLACES)
    known = questions.one_of(CRITERION_NAMES[person.language])
    criterion = CRITERIA[person.ask(ASK_CRITERION, "1", known, CRITERIA_ALLOWED)]
    journey.search = {
        "position": {"latitude": latitude, "longitude": longitude},
        "criterion": criterion,
    }
    return choose


NO_STATION = Phrase(
    "Daí a carga não chega a nenhum posto.", "From there the charge reaches no station."
)
NEAREST = Phrase(
    "O mais próximo é {name}: faltam {missing}.", "The nearest is {name}: {missing} are missing."
)
NO_CONNECTOR = Phrase(
    "Nenhum posto ao alcance tem um conector que sirva no seu carro.",
    "No station within reach has a connector that fits your car.",
)
ELSEWHERE = Phrase("Procurar a partir de outro lugar?", "Look from another place?")
HEADS = {
    "pt": ("#", "Posto", "Conector", "Distância", "Viagem", "Espera", "Recarga", "Preço"),
    "en": ("#", "Station", "Connector", "Distance", "Travel", "Wait", "Charging", "Price"),
}
TEXTS = 1, 2
"""Which of these columns are texts."""
ASK_STATION = Phrase(
    "Em qual você quer recarregar? 0: em nenhum", "Where do you want to charge? 0: nowhere"
)
STATIONS_ALLOWED = Phrase("um número de 0 a {count}", "a number from 0 to {count}")


def choose(journey: Journey) -> Step:
    """SELECTION_STATION: the best station, and others."""
    person = journey.person
    data = journey.request("SELECTION_STATION", user_id=journey.user_id, **journey.search)
    if data["id_station"] is None:
        nearest = data.get("nearest_out_of_range")
        person.say(NO_CONNECTOR if data.get("excluded", {}).get("no_connector") else NO_STATION)
        if nearest is not None:
            missing = kilometres(nearest["missing_km"], person.language)
            person.say(NEAREST, name=journey.name(nearest["id_station"]), missing=missing)
        return locate if person.confirm(ELSEWHERE, False) else leave
    offers = [data, *data["alternatives"]]
    print()
    for line in _offers(journey, offers):
        print(line)
    chosen = person.ask(
        ASK_STATION, "1", _from_zero(len(offers)), STATIONS_ALLOWED, count=len(offers)
    )
    if not chosen:
        return leave
    journey.offer = offers[chosen - 1]
    return pay


def _from_zero(most: int) -> Callable[[str], int]:
    read = questions.one_of([str(number) for number in range(1, most + 1)])
    return lambda answer: 0 if answer == "0" else read(answer) + 1


def _offers(journey: Journey, offers: Sequence[Mapping[str, Any]]) -> Sequence[str]:
    language = journey.person.language
    columns = [
        [str(number) for number in range(1, len(offers) + 1)],
        [journey.name(offer["id_station"]) for offer in offers],
        [clean(offer.get("connector") or "-") for offer in offers],
        [kilometres(offer["distance_km"], language) for offer in offers],
        *(
            [_minutes(offer[name], language) for offer in offers]
            for name in ("travel_minutes", "wait_minutes", "charge_minutes")
        ),
        [reais(offer["price_loading"], language) for offer in offers],
    ]
    heads = HEADS[language]
    return list(
        table(
            [
                Column(head, cells, figures=number not in TEXTS)
                for number, (head, cells) in enumerate(zip(heads, columns, strict=True))
            ],
            width(),
        )
    )


def _tenths(value: float, language: str) -> str:
    return decimal(value, language, 0 if round(value, 1) % 1 == 0 else 1)


def _minutes(value: float, language: str) -> str:
    return "< 1 min" if 0 < value < 0.5 else minutes(value, language)


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
ASK_PAYMENT = Phrase("Pagar {price} e ficar com uma vaga?", "Pay {price} and take a slot?")
FULL = Phrase(
    "Alguém foi mais rápido: o posto está cheio. Você não pagou nada. Vamos ver de novo.",
    "Somebody was quicker: the station is full. You have paid nothing. Let us look again.",
)
PAID = Phrase(
    "Pago: {amount}. A vaga{slot} é sua. Recibo: {receipt}",
    "Paid: {amount}. The slot{slot} is yours. Receipt: {receipt}",
)


def pay(journey: Journey) -> Step:
    """PAYMENT: a slot, paid for."""
    person, language = journey.person, journey.person.language
    station_id = journey.offer["id_station"]
    station = journey.stations.get(station_id)
    if station is not None:
        power, price = station.get("power_kw"), station.get("price_kwh")
        figures = [] if power is None else [f"{_tenths(power, language)} kW"]
        if price is not None:
            figures.append(PER_KWH.say(language, {"price": reais(price, language)}))
        figures.append(clean(", ".join(station["connectors"])) or "-")
        person.say(
            DETAILS,
            name=journey.station_name,
            address=clean(station["address"]),
            figures="; ".join(figures),
        )
    if journey.offer.get("power_kw") is not None:
        person.say(
            ARRIVES,
            arrival=_tenths(journey.offer["arrival_percent"], language),
            target=_tenths(journey.offer["target_percent"], language),
            energy=_tenths(journey.offer["energy_kwh"], language),
            power=_tenths(journey.offer["power_kw"], language),
        )
    if journey.offer.get("assumed"):
        person.say(ASSUMED)
    if not person.confirm(ASK_PAYMENT, True, price=reais(journey.offer["price_loading"], language)):
        return leave
    asked = {"user_id": journey.user_id, "id_station": station_id, "confirmation": True}
    if journey.offer.get("arrival_percent") is not None:
        # Else the drive would not be charged for.
        asked["arrival_percent"] = journey.offer["arrival_percent"]
    data = journey.request("PAYMENT", **asked)
    if not data["confirmation"]:
        person.say(FULL)
        return choose
    journey.slot = data
    slot = f" {clean(data['id_evse'])}" if data.get("id_evse") else ""
    person.say(PAID, amount=reais(data["amount"], language), slot=slot, receipt=data["receipt_id"])
    return charge


CHARGING = Phrase(
    "A recarga de {minutes} termina {end}; então a vaga é liberada.",
    "Charging for {minutes} ends {end}; the slot is then freed.",
)


def charge(journey: Journey) -> Step:
    """What happens now."""
    slot, language = journey.slot or {}, journey.person.language
    journey.person.say(
        CHARGING,
        minutes=_minutes(slot["charge_minutes"], language),
        end=moment(slot["estimated_timestamp"], language),
    )
    return leave


END_NOW = Phrase("Encerrar agora e devolver a vaga?", "End the journey now and give the slot back?")
FORGET_NOW = Phrase(
    "Encerrar a jornada? O servidor então esquece você",
    "End the journey? The server then forgets you",
)
ENDED = Phrase("Jornada encerrada.", "The journey is over.")
OVER = Phrase("A jornada já tinha terminado.", "The journey was over already.")


def leave(journey: Journey) -> None:
    """PAYMENT once more: the end of the journey, if it is wanted now."""
    person, holds = journey.person, journey.slot is not None
    print()
    if not person.confirm(END_NOW if holds else FORGET_NOW, not holds):
        return
    station_id = journey.offer.get("id_station", "0")
    try:
        journey.request(
            "PAYMENT", user_id=journey.user_id, id_station=station_id, confirmation=False
        )
        said = ENDED
    except Refused as error:
        if error.reason != "user_not_found":
            raise
        said = OVER
    journey.user_id = journey.slot = None
    person.say(said)


def moment(timestamp: float, language: str) -> str:
    """When something is, by this machine's clock and time zone: `às 14:09`, `at 14:09`."""
    then, now = datetime.fromtimestamp(timestamp), datetime.now()
    near = abs((then - now).total_seconds()) < 120
    time = then.strftime("%H:%M:%S" if near else "%H:%M")
    if then.date() == now.date() or near:
        return f"às {time}" if language == "pt" else f"at {time}"
    if language == "pt":
        return f"em {then:%d/%m/%Y} às {time}"
    return f"on {then:%Y-%m-%d} at {time}"
