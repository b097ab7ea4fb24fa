"""The steps of a journey until a station is chosen: who, in which car, how far, from where."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from evcharge.commands import questions
from evcharge.commands.journey import FREE, Journey, Refused, Step, leave, short_minutes, tenths
from evcharge.commands.tables import Column, clean, numbered, table, width
from evcharge.outcomes import Phrase
from evcharge.utils.figures import decimal, kilometres, reais
from evcharge.utils.geo_utils import distance_km

NAME, BATTERY, TRIP = "Ana", "40", "180"
"""What is answered by an empty line: most cars need to charge on that trip."""

CRITERIA = ("distance", "time", "price")

NETWORK = Phrase(
    "A rede: {stations} postos de recarga, {slots} vagas livres, {cars} modelos de carro.",
    "The network: {stations} charging stations, {slots} free slots, {cars} car models.",
)
HOW_TO = Phrase(
    "Enter aceita o que está entre colchetes; Ctrl-C sai a qualquer momento.",
    "Enter accepts what is in brackets; Ctrl-C leaves at any time.",
)
SIMULATED = Phrase(
    "O tempo é simulado: os minutos que se dizem aqui passam {scale} vezes mais rápido.",
    "Time is simulated: the minutes that are told here pass {scale} times faster.",
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
    scale = data.get("time_scale", 1.0)
    if scale != 1.0:
        shown = decimal(scale, journey.person.language, 0 if scale % 1 == 0 else 3)
        journey.person.say(SIMULATED, scale=shown)
    if not journey.cars or not journey.stations:
        journey.person.say(EMPTY)
        journey.is_over = True
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
    known = {} if journey.driver_id is None else {"driver_id": journey.driver_id}
    login = {"user_name": name, "selected_car": car, "battery_car": percent, **known}
    try:
        data = journey.request("LOGIN", **login)
    except Refused as error:
        if error.reason != "invalid_field":
            raise
        person.say(SAYS, error=error)
        return introduce
    journey.user_id, journey.driver_id = data["user_id"], data.get("driver_id")
    journey.status = {"state": FREE}
    energy = tenths(journey.cars[car]["battery_capacity"] * percent / 100, person.language)
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
STATIONS_ALLOWED = Phrase(
    "um número de 0 a {count}, ou uma parte do nome que só um posto da rede tenha",
    "a number from 0 to {count}, or a part of the name that only one station of the network has",
)


def choose(journey: Journey) -> Step | None:
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
        ASK_STATION, "1", _one_of(journey, offers), STATIONS_ALLOWED, count=len(offers)
    )
    if chosen is None:
        return leave
    offer = next((each for each in offers if each["id_station"] == chosen), None)
    if offer is None:
        offer = _offer_of(journey, chosen)
    if offer["id_station"] is None:
        person.say(NOT_THERE, name=journey.name(chosen))
        return choose
    journey.offer, journey.charge_minutes = offer, offer["charge_minutes"]
    return None


NOT_THERE = Phrase(
    "{name} está fora de alcance, ou não tem conector que sirva no seu carro.",
    "{name} is out of reach, or has no connector that fits your car.",
)


def _one_of(journey: Journey, offers: Sequence[Mapping[str, Any]]) -> Callable[[str], str | None]:
    """Reads the id of a station: of the one with that number of `offers`, or with that name."""
    number = questions.one_or_none([str(number) for number in range(1, len(offers) + 1)])
    ids = list(journey.stations)
    name = questions.one_of(list(map(journey.name, ids)))

    def read(answer: str) -> str | None:
        if not answer.isdecimal():
            return ids[name(answer)]
        chosen = number(answer)
        return str(offers[chosen - 1]["id_station"]) if chosen else None

    return read


def _offer_of(journey: Journey, station_id: str) -> Mapping[str, Any]:
    """SELECTION_STATION for one station, which is none of the best."""
    here, station = journey.search["position"], journey.stations[station_id]
    km = distance_km(here["latitude"], here["longitude"], station["latitude"], station["longitude"])
    listed = {station_id: {"distance_origin_position": km}}
    offer: Mapping[str, Any] = journey.request(
        "SELECTION_STATION", user_id=journey.user_id, list_stations=listed
    )
    return offer


def _offers(journey: Journey, offers: Sequence[Mapping[str, Any]]) -> Sequence[str]:
    language = journey.person.language
    columns = [
        [str(number) for number in range(1, len(offers) + 1)],
        [journey.name(offer["id_station"]) for offer in offers],
        [clean(offer.get("connector") or "-") for offer in offers],
        [kilometres(offer["distance_km"], language) for offer in offers],
        *(
            [short_minutes(offer[name], language) for offer in offers]
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
