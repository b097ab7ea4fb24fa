"""`evcharge charge`: how long a car charges, and with which power, as the server reckons it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

WIDTH, HEIGHT = 60, 12
"""Of the drawn curve, in characters."""

BLOCKS = " ▁▂▃▄▅▆▇█"


def draw(powers: Sequence[float], start_percent: float, target_percent: float) -> Iterator[str]:
    """
    The power from one state of charge to another, as lines of text.

    :param powers: kW, at :data:`WIDTH` states of charge, evenly from the one to the other.
    """
    top, scale = max(powers), len(BLOCKS) - 1
    heights = [round(power / top * HEIGHT * scale) for power in powers]
    for row in range(HEIGHT - 1, -1, -1):
        label = f"{top * (row + 1) / HEIGHT:>6.0f} kW " if row % 4 == 3 else " " * 10
        cells = (BLOCKS[min(max(height - row * scale, 0), scale)] for height in heights)
        yield f"{label}│{''.join(cells)}".rstrip()
    yield f"{'':10}└{'─' * len(powers)}"
    left, right = f"{start_percent:g} %", f"{target_percent:g} %"
    yield f"{'':11}{left}{right:>{len(powers) - len(left)}}"
