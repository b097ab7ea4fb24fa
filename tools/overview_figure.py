"""The picture of what talks to the server, and of what it keeps, in both languages."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

WIDTH, HEIGHT = 640, 456
LEFT, GAP, TALL = 20, 14, 64
ASKING, LISTENING, ENGINE, KEPT = 20, 138, 228, 366
"""How far down each row begins."""
RIGHT, SIDE = 424, 468
"""Where the engine ends, and where the box beside it begins."""

GREEN, GREY, BLUE = "#0b6e4f", "#52606d", "#1d4ed8"

WORDS = {
    "en": {
        "title": "Apps, the page and the simulator speak TCP, WebSocket and HTTP to one engine,"
        " which keeps its data in files, SQLite or PostgreSQL; Prometheus reads its metrics",
        "asking": [("Your app", "any language"), ("The page", "map, and on a phone"),
                   ("Simulator", "many drivers")],
        "listening": "TCP, TLS · WebSocket · HTTP",
        "engine": ("One engine", "range, plans, prices, reservations,", "queues, receipts"),
        "side": ("Prometheus", "metrics, health"),
        "kept": [("Files", "you can read them"), ("SQLite", "one machine"),
                 ("PostgreSQL", "many servers")],
    },
    "pt": {
        "title": "Aplicativos, a página e o simulador falam TCP, WebSocket e HTTP com um só motor,"
        " que guarda os dados em arquivos, SQLite ou PostgreSQL; o Prometheus lê as métricas",
        "asking": [("Seu aplicativo", "qualquer linguagem"), ("A página", "mapa, e no celular"),
                   ("Simulador", "muitos motoristas")],
        "listening": "TCP, TLS · WebSocket · HTTP",
        "engine": ("Um só motor", "autonomia, planos, preços,", "reservas, filas, recibos"),
        "side": ("Prometheus", "métricas, saúde"),
        "kept": [("Arquivos", "que você pode ler"), ("SQLite", "uma máquina"),
                 ("PostgreSQL", "vários servidores")],
    },
}  # fmt: skip


def text(x: float, y: float, words: str, size: int = 17, more: str = "") -> str:
    at = f'x="{x:.1f}" y="{y:.1f}" text-anchor="middle"'
    return f'<text {at} font-size="{size}"{more}>{words}</text>'


def box(x: float, y: float, wide: float, tall: float, words: Sequence[str], look: str) -> str:
    """A box with a bold first line, and smaller ones under it."""
    first = y + tall / 2 + 6 - 10 * (len(words) - 1)
    lines = [text(x + wide / 2, first, words[0], 21, ' font-weight="bold"')]
    lines += [
        text(x + wide / 2, first + 23 * number, line, 17)
        for number, line in enumerate(words[1:], 1)
    ]
    shape = f'<rect x="{x:.1f}" y="{y}" width="{wide:.1f}" height="{tall}" rx="10" {look}/>'
    return "\n".join([shape, *lines])


def row(y: float, tall: float, each: Sequence[Sequence[str]], look: str) -> Iterator[str]:
    """Boxes of one width, beside one another."""
    wide = (WIDTH - 2 * LEFT - GAP * (len(each) - 1)) / len(each)
    for number, words in enumerate(each):
        yield box(LEFT + number * (wide + GAP), y, wide, tall, words, look)


def arrow(x: float, y: float, to_x: float, to_y: float) -> str:
    return (
        f'<path d="M{x:.1f} {y:.1f}L{to_x:.1f} {to_y:.1f}" stroke="{GREY}" stroke-width="2" '
        'fill="none" marker-end="url(#to)"/>'
    )


def overview_svg(language: str) -> str:
    """The whole in a picture."""
    words = WORDS[language]
    third = (WIDTH - 2 * LEFT - 2 * GAP) / 3
    middles = [LEFT + third / 2 + number * (third + GAP) for number in range(3)]
    middle = (LEFT + RIGHT) / 2
    plain = f'fill="#f5f7f6" stroke="{GREY}"'
    middle_look = f'fill="#e6f4ee" stroke="{GREEN}" stroke-width="2"'
    side_look = f'fill="white" stroke="{GREY}" stroke-dasharray="5 3"'
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img"'
            ' font-family="sans-serif">',
            f"<title>{words['title']}</title>",
            '<defs><marker id="to" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" '
            f'markerHeight="7" orient="auto"><path d="M0 0L8 4L0 8z" fill="{GREY}"/></marker>'
            "</defs>",
            f'<rect width="{WIDTH}" height="{HEIGHT}" rx="12" fill="white"/>',
            *(arrow(x, ASKING + TALL, x, LISTENING - 2) for x in middles),
            arrow(middle, LISTENING + 44, middle, ENGINE - 2),
            *(arrow(min(x, RIGHT - 20), ENGINE + 92, x, KEPT - 2) for x in middles),
            arrow(SIDE, ENGINE + 46, RIGHT + 2, ENGINE + 46),
            *row(ASKING, TALL, words["asking"], plain),
            *row(LISTENING, 44, [[words["listening"]]], f'fill="#e8effd" stroke="{BLUE}"'),
            box(LEFT, ENGINE, RIGHT - LEFT, 92, words["engine"], middle_look),
            box(SIDE, ENGINE + 14, WIDTH - LEFT - SIDE, TALL, words["side"], side_look),
            *row(KEPT, TALL, words["kept"], plain),
            "</svg>\n",
        ]
    )  # fmt: skip
