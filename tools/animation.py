"""
Makes the moving picture of the page, of a network that is alive, into docs/figures.

    python tools/animation.py [FOLDER]

It is what `make demo` shows: `live-en.gif` and `live-pt.gif`, some seconds of it,
and `cars.png`, the middle of the map. It needs Debian's chromium, as the tests of the page do, and
Pillow, which comes with matplotlib.
"""

from __future__ import annotations

import io
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from PIL import Image
from playwright.sync_api import Browser, Page, WebSocketRoute, sync_playwright

from tests.support.browser import FLAGS
from tests.support.ports import free_port
from tests.support.servers import Server
from tests.support.tools import need
from tools.screenshots import FOLDER, open_page

VIEW = {"width": 1040, "height": 650}
LASTS_S, FRAME_S = 10.0, 0.1
BUSY_S = 75
"""After so long cars drive, charge, wait in line and have paid."""

DEMO = ("--simulate", "demo", "--speed", "60", "--for-ever")
FILES = {"live-en": "en", "live-pt": "pt-BR"}


class Tape:
    """What a server tells a page, kept, to be told at the page's own pace."""

    def __init__(self, page: Page) -> None:
        self._told: list[tuple[float, str]] = []
        self._keeps = False
        page.route_web_socket("**", self._join)

    def _join(self, socket: WebSocketRoute) -> None:
        self._socket = socket
        socket.connect_to_server().on_message(self._take)

    def _take(self, line: str | bytes) -> None:
        if self._keeps:
            self._told.append((time.monotonic(), str(line)))
        else:
            self._socket.send(line)

    def record(self, page: Page) -> None:
        """Keep what the server says from now on."""
        self._keeps, self._from = True, time.monotonic()
        page.wait_for_timeout(LASTS_S * 1000)

    def tell(self, passed_s: float) -> None:
        """Tell the page all of so many seconds."""
        while self._told and self._told[0][0] <= self._from + passed_s:
            self._socket.send(self._told.pop(0)[1])


def film(page: Page, tape: Tape) -> list[Image.Image]:
    """What the page looks like frame by frame, however long each takes to be made."""
    tape.record(page)
    pictures = []
    for number in range(round(LASTS_S / FRAME_S)):
        tape.tell(number * FRAME_S)
        page.clock.run_for(round(FRAME_S * 1000))
        pictures.append(Image.open(io.BytesIO(page.screenshot())).convert("RGB"))
    return pictures


def write(path: Path, pictures: list[Image.Image]) -> None:
    """Write a GIF: all with the same colours, so that only what moves differs."""
    palette = pictures[-1].quantize(256, Image.Quantize.MEDIANCUT)
    first, *others = (each.quantize(palette=palette, dither=Image.Dither.NONE) for each in pictures)
    lasts_ms = round(FRAME_S * 1000)
    first.save(path, save_all=True, append_images=others, duration=lasts_ms, loop=0, disposal=1)


def make(browser: Browser, port: int, folder: Path) -> None:
    for name, language in FILES.items():
        context = browser.new_context(viewport=VIEW, locale=language)
        page = context.new_page()
        tape = Tape(page)
        page.clock.install()
        page.goto(f"http://127.0.0.1:{port}/")
        page.wait_for_selector(".is-car")
        page.wait_for_timeout(3000)
        page.clock.pause_at(time.time() + 1)
        write(folder / f"{name}.gif", film(page, tape))
        context.close()
    page = open_page(browser, port, "en", color_scheme="dark")
    page.wait_for_selector(".is-car")
    for _ in range(2):
        page.locator("#map .controls button").first.click()
    page.wait_for_timeout(3000)
    page.screenshot(path=folder / "cars.png")


def main() -> None:
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    port = free_port()
    with tempfile.TemporaryDirectory() as data, sync_playwright() as playwright:
        server = Server(Path(data) / "data", "--web-port", str(port), *DEMO).wait()
        try:
            time.sleep(BUSY_S)
            browser = playwright.chromium.launch(
                executable_path=need("chromium"), args=[*FLAGS, "--font-render-hinting=none"]
            )
            make(browser, port, folder)
        finally:
            server.end()


if __name__ == "__main__":
    main()
