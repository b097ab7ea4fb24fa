"""`evcharge watch`: the stations as a table that changes as they do."""

from __future__ import annotations

import argparse
import contextlib
import shutil
import signal
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NoReturn

from evcharge.client import Client, NoReply
from evcharge.commands import FAILED, Exit
from evcharge.commands.connecting import add_server_options, connect, silent
from evcharge.commands.tables import Column, clean, table, width
from evcharge.outcomes import Phrase
from evcharge.utils.figures import decimal

FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.5, 15.0
"""Before it is tried to connect again, the first time, and the most before any time."""

HEAD = Phrase(
    "{stations} postos, {free} de {slots} vagas livres, fila {queue}{load}",
    "{stations} stations, {free} of {slots} slots free, queue {queue}{load}",
)
LIVE = Phrase("ao vivo, {time}", "live, {time}")
LOST = Phrase("Sem conexão – tentando de novo", "Not connected – trying again")
MORE = Phrase("… e mais {number}: --stations escolhe", "… and {number} more: --stations chooses")
TITLES = Phrase("id,Posto,Livres,Fila,kW,R$/kWh", "id,Station,Free,Queue,kW,R$/kWh")
OUT_OF_SERVICE = Phrase("fora de serviço", "out of service")
CHANGED = Phrase(
    "{time}  {id}  {name}: {free}, fila {queue}", "{time}  {id}  {name}: {free}, queue {queue}"
)

ENTER, LEAVE = "\x1b[?1049h\x1b[?25l", "\x1b[?25h\x1b[?1049l"
"""Have a terminal show another screen, without a cursor; and the one before again."""
HOME, REST_OF_LINE, REST_OF_SCREEN = "\x1b[H", "\x1b[K", "\x1b[J"
BOLD, PLAIN = "\x1b[1m", "\x1b[0m"


def add_to(commands: Any) -> None:
    """Add the command to the console script."""
    parser = commands.add_parser(
        "watch",
        help="watch the stations as they change",
        example="evcharge watch --stations 7,9",
        description=(
            "Shows the stations as a table that changes as they do, until Ctrl-C. If the output "
            "is no terminal, it gets the table once and then a line for each change. Exit status: "
            "1 when the server refuses, 2 for wrong usage, 3 when no server answers at the "
            "beginning, 130 after Ctrl-C."
        ),
    )
    parser.add_argument(
        "--stations",
        metavar="ID[,ID…]",
        type=_ids,
        help="ids of the stations to watch (default: all, up to 1,000)",
    )
    add_server_options(parser, "pt")
    parser.set_defaults(run=run)


def _ids(text: str) -> list[str]:
    ids = [each.strip() for each in text.split(",")]
    if not all(ids):
        raise argparse.ArgumentTypeError(f"must be ids of stations, as 7,9, not {text!r}")
    return ids


def run(options: argparse.Namespace) -> NoReturn:
    """
    Show the stations until Ctrl-C.

    :raise Exit: the server refuses, or no server answers at the beginning.
    """
    board = Board(options.language)
    show: Screen | Log = Screen(board) if sys.stdout.isatty() else Log(board)
    pause_s = 0.0
    with contextlib.ExitStack() as shown:
        while True:
            try:
                with connect(options) as server:
                    board.begin(subscribe(server, options.stations))
                    if not pause_s:
                        shown.enter_context(show)
                    pause_s = FIRST_PAUSE_S
                    show.begin()
                    while True:
                        show.changed(board.take(server.event()["data"]))
            except NoReply as error:
                if not pause_s:
                    raise silent(options, error) from None
                board.is_live = False
                show.lost()
            time.sleep(pause_s)
            pause_s = min(2 * pause_s, LONGEST_PAUSE_S)


def subscribe(server: Client, stations: Sequence[str] | None) -> Mapping[str, Any]:
    """What there is now, of some stations or of all. Exit: the server refuses."""
    wishes: dict[str, Any] = {"topics": ["stations", "figures"]}
    if stations is not None:
        wishes = {"topics": ["stations"], "stations": stations}
    reply = server.request("SUBSCRIBE", **wishes)
    data: Mapping[str, Any] = reply["data"]
    if reply["status"]["code"] != 200:
        message = clean(str(data.get("message", reply["status"]["message"])))
        hint = " (--stations 7,9)" if data.get("reason") == "too_many_stations" else ""
        raise Exit(f"{message}{hint}", FAILED)
    snapshot: Mapping[str, Any] = data["snapshot"]
    return snapshot


class Board:
    """
    What is known of the stations, and how it is shown.

    :param language: "pt" or "en".
    """

    def __init__(self, language: str) -> None:
        self.language = language
        self.stations: dict[str, dict[str, Any]] = {}
        self.is_live = False
        self._load_kw: float | None = None
        self._time = ""

    def begin(self, snapshot: Mapping[str, Any]) -> None:
        """Know what there is."""
        self.stations = {key: dict(fields) for key, fields in snapshot["stations"].items()}
        points = snapshot.get("figures") or []
        self._load_kw = points[-1]["load_kw"] if points else None
        self._look()

    def take(self, data: Mapping[str, Any]) -> list[str]:
        """Know what an event says; the ids of the stations that are other now."""
        changed = data.get("stations", {})
        for key, fields in changed.items():
            self.stations.setdefault(key, {}).update(fields)
        if "figures" in data:
            self._load_kw = data["figures"]["load_kw"]
        self._look()
        return list(changed)

    def _look(self) -> None:
        self.is_live = True
        self._time = time.strftime("%H:%M:%S")

    def head(self) -> str:
        """All of it in a line."""
        stations, load = self.stations.values(), ""
        if self._load_kw is not None:
            load = f", {decimal(self._load_kw, self.language, 1)} kW"
        values = {
            "stations": len(stations),
            "free": sum(fields["available_slots"] for fields in stations),
            "slots": sum(fields["max_slots"] for fields in stations),
            "queue": sum(fields["queue_length"] for fields in stations),
            "load": load,
        }
        state = LIVE.say(self.language, {"time": self._time}) if self.is_live else self.lost()
        return f"{HEAD.say(self.language, values)} · {state}"

    def lost(self) -> str:
        """What is said while there is no connection."""
        return LOST.say(self.language)

    def rows(self, most: int) -> Iterator[tuple[str, str]]:
        """The table, no wider than `most`: its lines, each with its station; the head has none."""
        keys = sorted(self.stations, key=lambda key: (len(key), key))
        fields = [self.stations[key] for key in keys]
        titles = TITLES.say(self.language).split(",")
        cells = (
            keys,
            [each.get("name_station", "?") for each in fields],
            [self._free(each) for each in fields],
            [each["queue_length"] for each in fields],
            [self._number(each.get("power_kw"), 0) for each in fields],
            [self._number(each.get("price_kwh"), 2) for each in fields],
        )
        columns = [
            Column(title, values, figures=title != titles[1])
            for title, values in zip(titles, cells, strict=True)
        ]
        yield from zip(["", *keys], table(columns, most), strict=True)

    def _free(self, fields: Mapping[str, Any]) -> str:
        if fields["state"] != "in_service":
            return OUT_OF_SERVICE.say(self.language)
        return f"{fields['available_slots']}/{fields['max_slots']}"

    def _number(self, value: float | None, places: int) -> str:
        # What is not known is not 0.
        return "-" if value is None else decimal(value, self.language, places)

    def change(self, key: str) -> str:
        """A station that has changed, in a line."""
        fields = self.stations[key]
        values = {
            "time": self._time,
            "id": clean(key),
            "name": clean(str(fields.get("name_station", "?"))),
            "free": self._free(fields),
            "queue": fields["queue_length"],
        }
        return CHANGED.say(self.language, values)


class Screen:
    """Shows a board on a whole terminal, which is as it was before when that is over."""

    def __init__(self, board: Board) -> None:
        self._board = board
        self._changed: Sequence[str] = ()

    def __enter__(self) -> Screen:
        self._write(ENTER)
        signal.signal(signal.SIGWINCH, lambda *_: self._draw())
        return self

    def __exit__(self, *_: object) -> None:
        signal.signal(signal.SIGWINCH, signal.SIG_DFL)
        self._write(LEAVE)

    def begin(self) -> None:
        """Show all."""
        self.changed(())

    def changed(self, keys: Sequence[str]) -> None:
        """Show all, and that these stations are other than before."""
        self._changed = keys
        self._draw()

    def lost(self) -> None:
        """Show that there is no connection."""
        self._draw()

    def _draw(self) -> None:
        board, (columns, lines) = self._board, shutil.get_terminal_size()
        rows = list(board.rows(columns))
        room = max(1, lines - 3)
        shown = [board.head()[:columns], ""]
        if len(rows) > room:
            number = len(rows) - room + 1
            more = MORE.say(board.language, {"number": number})
            rows = [*rows[: room - 1], ("", more)]
        for key, row in rows:
            line = row[:columns]
            shown.append(f"{BOLD}{line}{PLAIN}" if key and key in self._changed else line)
        self._write(HOME + "".join(f"{line}{REST_OF_LINE}\n" for line in shown) + REST_OF_SCREEN)

    def _write(self, text: str) -> None:
        sys.stdout.write(text)
        sys.stdout.flush()


class Log:
    """Writes a board down, and then each change of it."""

    def __init__(self, board: Board) -> None:
        self._board = board
        self._is_lost = False

    def __enter__(self) -> Log:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def begin(self) -> None:
        """Write all down."""
        self._is_lost = False
        self._write(self._board.head(), *(row for _, row in self._board.rows(width())))

    def changed(self, keys: Sequence[str]) -> None:
        """Write down what these stations are now."""
        self._write(*map(self._board.change, keys))

    def lost(self) -> None:
        """Write down that there is no connection, once."""
        if not self._is_lost:
            self._is_lost = True
            self._write(self._board.lost())

    def _write(self, *lines: str) -> None:
        for line in lines:
            print(line, flush=True)
