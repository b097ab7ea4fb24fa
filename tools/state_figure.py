"""The picture of a driver's states, from the table by which the server goes."""

from __future__ import annotations

from collections.abc import Iterator

from evcharge.models.session import CHARGING, FINISHED, FREE, OFFERED, RESERVED, WAITING
from evcharge.rules.states import DRIVERS, OPERATORS, TABLE

ROW = (FREE, WAITING, OFFERED, RESERVED, CHARGING, FINISHED)

STEP, BOX, TALL = 158, 104, 38
LEFT, MIDDLE = 66, 318
WIDTH, HEIGHT = 2 * LEFT + STEP * (len(ROW) - 1), 600
ARCS = {1: 58, 2: 122, 3: 186, 4: 250}
"""How high an arc rises that goes so many states ahead."""
LOWER = {-1: 46, -2: 84}
"""How deep one falls that goes back."""
WAYS_OUT = MIDDLE + TALL / 2 + 132

COLOURS = {"driver": "#0b6e4f", "server": "#7c3aed", "operator": "#b45309"}


def who(cause: str) -> str:
    if cause in DRIVERS:
        return "driver"
    return "operator" if cause in OPERATORS else "server"


def causes() -> dict[tuple[str, str], list[str]]:
    """What leads from one state to another, but for the ways out."""
    found: dict[tuple[str, str], list[str]] = {}
    for row in TABLE:
        if row.before != row.after and row.after != FREE:
            named = found.setdefault((row.before, row.after), [])
            if row.cause not in named:
                named.append(row.cause)
    return found


def ways_out(state: str) -> list[tuple[str, str]]:
    """What leads from a state out of the station, each with how the session ends."""
    return [
        (row.cause, row.ends or "")
        for row in TABLE
        if row.before == state and row.after == FREE and (state != FREE or row.user_goes)
    ]


def x_of(state: str) -> float:
    return LEFT + STEP * ROW.index(state)


def text(x: float, y: float, words: str, colour: str = "#222", more: str = "") -> str:
    halo = 'stroke="white" stroke-width="4" stroke-linejoin="round" paint-order="stroke"'
    at = f'x="{x:.1f}" y="{y:.1f}" text-anchor="middle"'
    return f'<text {at} fill="{colour}" {halo}{more}>{words}</text>'


def boxes() -> Iterator[str]:
    for state in ROW:
        x = x_of(state)
        dashes = ' stroke-dasharray="5 3"' if state in (FREE, WAITING) else ""
        yield (
            f'<rect x="{x - BOX / 2:.1f}" y="{MIDDLE - TALL / 2:.1f}" width="{BOX}" '
            f'height="{TALL}" rx="9" fill="#f5f7f6" stroke="#444"{dashes}/>'
        )
        yield text(x, MIDDLE + 5, state, more=' font-weight="bold"')


def arcs() -> Iterator[tuple[str, list[str]]]:
    """
    Ahead above the states, back below them, each with its words.

    Of those at one state the longer one begins and ends nearer its middle.
    """
    for (before, after), named in causes().items():
        ahead = ROW.index(after) - ROW.index(before)
        up = ahead > 0
        rise = ARCS[ahead] if up else -LOWER[ahead]
        edge = MIDDLE - TALL / 2 if up else MIDDLE + TALL / 2
        inset = 11 * (4 - abs(ahead))
        begin = x_of(before) + (6 + inset if up else -6 - inset)
        end = x_of(after) + (-6 - inset if up else 6 + inset)
        # A cubic whose controls stand over its ends rises to three quarters of them.
        control = edge - rise / 0.75
        colour = COLOURS[who(named[0])]
        arc = (
            f'<path d="M{begin:.1f} {edge:.1f}C{begin:.1f} {control:.1f} {end:.1f} {control:.1f} '
            f'{end:.1f} {edge:.1f}" fill="none" stroke="{colour}" stroke-width="1.6" '
            f'marker-end="url(#to)"/>'
        )
        top = edge - rise
        # What goes back over a state has its words beside the way out of that.
        middle = (begin + end) / 2 if ahead != -2 else end + (begin - end) * 0.76
        first = top - 7 - 14 * (len(named) - 1) if up else top + 16
        words = [
            text(middle, first + 14 * number, cause, COLOURS[who(cause)])
            for number, cause in enumerate(named)
        ]
        yield arc, words


def exits() -> Iterator[str]:
    for state in ROW:
        x, edge = x_of(state), MIDDLE + TALL / 2
        yield (
            f'<path d="M{x:.1f} {edge:.1f}V{WAYS_OUT - 20:.1f}" stroke="#444" stroke-width="1.6" '
            f'marker-end="url(#to)"/>'
        )
        y = WAYS_OUT
        shown: dict[str, str] = dict(ways_out(state))
        for cause, ends in shown.items():
            yield text(x, y, cause, COLOURS[who(cause)])
            if ends:
                yield text(x, y + 13, ends, "#444", ' font-size="10.5"')
                y += 13
            y += 17


def legend() -> Iterator[str]:
    x = LEFT - BOX / 2
    for name, colour in COLOURS.items():
        yield f'<text x="{x:.1f}" y="22" fill="{colour}">{name}</text>'
        x += 70


def states_svg() -> str:
    """What becomes of a driver at a station."""
    drawn = list(arcs())
    title = "The states of a driver, and what leads from one to another"
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img"'
            ' font-family="sans-serif" font-size="12">',
            f"<title>{title}</title>",
            '<defs><marker id="to" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" '
            'markerHeight="7" orient="auto"><path d="M0 0L8 4L0 8z" fill="#444"/></marker></defs>',
            f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
            *legend(),
            *exits(),
            *(arc for arc, _ in drawn),
            *boxes(),
            # Over all lines, whichever they cross.
            *(word for _, words in drawn for word in words),
            "</svg>\n",
        ]
    )
