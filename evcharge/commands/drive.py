"""`evcharge drive`: a driver's whole journey in a terminal, by questions."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from typing import Any, NoReturn

from evcharge.client import NoReply
from evcharge.commands import FAILED, INTERRUPTED, NO_REPLY, SUCCESS
from evcharge.commands.actions import decide
from evcharge.commands.connecting import add_server_options, connect, same_server, silent
from evcharge.commands.journey import (
    CHARGING,
    FINISHED,
    FREE,
    OFFERED,
    RESERVED,
    WAITING,
    Journey,
    Refused,
    Step,
    moment,
)
from evcharge.commands.questions import Person
from evcharge.commands.search import look_around
from evcharge.commands.tables import clean
from evcharge.outcomes import Phrase

CHANGING = ("RESERVE", "ARRIVE", "STOP", "CANCEL")
"""Requests that may have changed something, though no reply came."""

SHOWN = 2500
"""How much of a line --show-wire shows, characters: START's reply would fill many screens."""

REFUSED = Phrase("O servidor recusou: {error}", "The server refused: {error}")
GOODBYE = Phrase("Até logo!", "See you!")
MAY_BE_KNOWN = Phrase(
    "O cadastro ficou sem resposta. Se foi feito, o servidor o esquece em um dia.",
    "The login had no reply. If it was done, the server forgets it in a day.",
)
MAY_HAVE_PAID = Phrase(
    "O pagamento ficou sem resposta: pode ter sido feito, ou não. Peça de novo; ninguém paga duas "
    "vezes:",
    "The payment had no reply: it may have been made, or not. Ask again; nobody pays twice:",
)
MAY_HAVE_ENDED = Phrase(
    "O encerramento ficou sem resposta: pode ter sido feito, ou não. Peça de novo:",
    "The end had no reply: it may have come about, or not. Ask again:",
)
MAY_BE_DONE = Phrase(
    "{kind} ficou sem resposta: pode ter sido feito, ou não. Para ver:",
    "{kind} had no reply: it may have been done, or not. To see:",
)
OR_END = Phrase("Ou encerre a jornada:", "Or end the journey:")
WAITS = Phrase(
    "Você está na fila. Para ver quando é a sua vez:",
    "You are in the queue. To see when it is your turn:",
)
IS_OFFERED = Phrase(
    "Uma vaga é sua se você aceitar; a oferta vence {end}. Para aceitar:",
    "A slot is yours if you accept; the offer ends {end}. To accept:",
)
IS_KEPT = Phrase(
    "Uma vaga está reservada para você; a reserva vence {end}. Para recarregar:",
    "A slot is kept for you; the hold ends {end}. To charge:",
)
HOLDS = Phrase(
    "A recarga termina {end}; até lá a vaga é sua. Para devolvê-la antes:",
    "Charging ends {end}; until then the slot is yours. To give it back earlier:",
)
STANDS = Phrase(
    "O carro está carregado; a vaga é sua, a permanência termina {end}. Para devolvê-la antes:",
    "The car is charged; the slot is yours, the stay ends {end}. To give it back earlier:",
)
HOLDS_NOTHING = Phrase(
    "Você está sem vaga. O servidor esquece você em um dia; para que seja agora:",
    "You hold no slot. The server forgets you in a day; to have it do so now:",
)
HELD: Mapping[str, tuple[Phrase, str]] = {
    FREE: (HOLDS_NOTHING, ""),
    WAITING: (WAITS, "STATUS"),
    OFFERED: (IS_OFFERED, "RESERVE"),
    RESERVED: (IS_KEPT, "ARRIVE"),
    CHARGING: (HOLDS, ""),
    FINISHED: (STANDS, ""),
}
"""What is said to who leaves in each state, and the request to go on with, if not to end."""


def add_to(commands: Any) -> None:
    """Add the command to the console script."""
    parser = commands.add_parser(
        "drive",
        help="take a driver's whole journey by questions",
        example="evcharge drive --language en",
        description=(
            "Takes you on a driver's whole journey by questions: which car, how far, which "
            "station. There you pay, reserve or join the queue, follow the charging as a bar, and "
            "see the receipt. Answers may be piped in, a line each; instead of the bar there are "
            "then lines. Exit status: 0 at the end of the journey or of the answers, 1 when the "
            "server refuses, 2 for wrong usage, 3 when no reply comes, 130 after Ctrl-C."
        ),
    )
    parser.add_argument(
        "--show-wire", action="store_true", help="show each request and reply as they are sent"
    )
    add_server_options(parser, "pt")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> NoReturn:
    """Go on the journey; however it ends, say what is held then. Exits."""

    def send(kind: str, data: dict[str, Any]) -> Mapping[str, Any]:
        # Each over a connection of its own: a person may think for longer than one stays open.
        with connect(options, show if options.show_wire else None) as server:
            return server.request(kind, **data)

    # What goes over the wire has lines of its own between.
    person = Person(options.language, sys.stdout.isatty() and not options.show_wire)
    journey = Journey(person, send)
    status = SUCCESS
    try:
        step: Step | None = look_around
        while not journey.is_over:
            step = (step or decide)(journey)
    except Refused as error:
        status = FAILED
        person.say(REFUSED, error=error)
    except NoReply as error:
        status = NO_REPLY
        sys.stdout.flush()
        print(f"evcharge: {silent(options, error)}", file=sys.stderr)
    except EOFError:
        print()
    except KeyboardInterrupt:
        status = INTERRUPTED
        print()
    say_what_is_held(journey, same_server(options))
    if status in (SUCCESS, INTERRUPTED):
        person.say(GOODBYE)
    sys.exit(status)


def show(way: str, line: bytes) -> None:
    """Show a line that was sent or came."""
    text = clean(line.decode(errors="replace"))
    more = len(text) - SHOWN
    print(f"{way} {text[:SHOWN]}{f'… (+{more})' if more > 0 else ''}")


def say_what_is_held(journey: Journey, server: str) -> None:
    """
    Say what a person leaves behind who goes now, and how to give it back.

    :param server: options that name it, for `evcharge ask`.
    """
    person, asked = journey.person, journey.unanswered
    if journey.user_id is None:
        if asked.get("type") == "LOGIN":
            person.say(MAY_BE_KNOWN)
        return

    def show_request(kind: str, fields: str = "") -> None:
        print(f"    evcharge ask{server} {kind}{fields} \\")
        station_id = journey.status.get("id_station", journey.offer.get("id_station", 0))
        # Not all need to know where.
        where = "" if kind == "STATUS" else f"id_station={station_id} "
        print(f"        {where}user_id={journey.user_id}")

    kind = asked.get("type", "STATUS")
    if asked.get("confirmation") is True:
        person.say(MAY_HAVE_PAID)
        show_request("PAYMENT", " confirmation=true")
        person.say(OR_END)
    elif asked.get("confirmation") is False:
        person.say(MAY_HAVE_ENDED)
    elif kind in CHANGING:
        person.say(MAY_BE_DONE, kind=kind)
        show_request("STATUS")
        person.say(OR_END)
    else:
        said, go_on = HELD[journey.status["state"]]
        ends = journey.status.get("expires_timestamp") or journey.status.get("estimated_timestamp")
        person.say(said, end=None if ends is None else moment(ends, person.language))
        if go_on:
            show_request(go_on)
            person.say(OR_END)
    show_request("PAYMENT", " confirmation=false")
