"""
Takes the pictures of the page in docs/figures: `python tools/screenshots.py`.

A network of simulated users is made, and a server started on it, both in a folder that goes again.
Drivers come and go for a while, so that the charts have something to show; then trips are taken in
Chromium.
"""

from __future__ import annotations

import random
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Browser, Locator, Page, sync_playwright

from evcharge.client import Client, NoReply

FIGURES = Path(__file__).resolve().parent.parent / "docs" / "figures"
SEED = 7
SECONDS = 90.0
"""How long drivers come and go."""
FOLLOWED_MS = 60_000
"""How long a charge is followed before its picture is taken: so that there is something of it."""
CAR = "Tesla Model 3"
PHONE = {"viewport": {"width": 390, "height": 844}, "is_mobile": True, "has_touch": True}
DESKTOP = {"viewport": {"width": 1280, "height": 800}}
FLAGS = ("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run")


def free_port() -> int:
    """A port that is free at this moment."""
    with socket.create_server(("127.0.0.1", 0)) as one:
        return int(one.getsockname()[1])


@contextmanager
def network() -> Iterator[tuple[int, int]]:
    """A server with its users: the ports of drivers and of the page."""
    with tempfile.TemporaryDirectory() as folder:
        data = str(Path(folder, "data"))
        evcharge = str(Path(sys.executable).with_name("evcharge"))
        subprocess.run(
            [evcharge, "bootstrap", "--data", data, "--seed", str(SEED)],
            check=True,
            stdout=subprocess.DEVNULL,
        )
        port, web = free_port(), free_port()
        server = subprocess.Popen(
            [
                *(str(Path(sys.executable).with_name("twistd")), "--nodaemon", "--pidfile="),
                *("evcharge", "--port", f"localhost:{port}", "--web-port", str(web)),
                *("--data", data),
            ],
            cwd=folder,
            stdout=subprocess.DEVNULL,
        )
        try:
            for _ in range(100):
                try:
                    Client(port=port).close()
                    break
                except NoReply:
                    time.sleep(0.1)
            yield port, web
        finally:
            server.terminate()
            server.wait()


def drive(port: int) -> None:
    """Have drivers come, and drive away, for a while."""
    dice = random.Random(SEED)
    here: list[str] = []
    ends = time.monotonic() + SECONDS
    with Client(port=port) as server:
        while time.monotonic() < ends:
            user = server.request(
                "LOGIN", user_name="Ana", selected_car=CAR, battery_car=dice.randrange(10, 60)
            )["data"]["user_id"]
            station = dice.randrange(1, 37)
            choice = {"user_id": user, "id_station": station, "confirmation": True}
            if server.request("PAYMENT", **choice)["data"].get("confirmation"):
                here.append(user)
            if here and dice.random() < 0.45:
                server.request("STOP", user_id=here.pop(dice.randrange(len(here))))
            time.sleep(dice.random() * 3)


def opened(browser: Browser, web: int, language: str, **more: object) -> Page:
    """The page, live."""
    context = browser.new_context(
        locale=language, reduced_motion="reduce", device_scale_factor=1.5, **more
    )
    page = context.new_page()
    page.goto(f"http://127.0.0.1:{web}/?lang={language}")
    page.wait_for_selector("html[data-live]", state="attached")
    return page


def step(page: Page, name: str) -> Locator:
    """Wait until the trip has come so far."""
    shown = page.locator(f"#trip-root .trip-body[data-step='{name}']")
    shown.wait_for()
    return shown


def begin(page: Page, battery: int = 40) -> None:
    """Take a trip up to the choice of a station."""
    page.locator("#trip-start").click()
    step(page, "car")
    page.locator("#trip-car").select_option(CAR)
    page.locator("#trip-battery").fill(str(battery))
    page.locator("#trip-root .primary").click()
    step(page, "place")
    page.get_by_role("button", name=re.compile("centre|centro")).click()
    step(page, "stations")


def pay(page: Page) -> None:
    """Take what is suggested, and pay."""
    page.get_by_role("button", name=re.compile("Continu")).click()
    page.get_by_role("button", name=re.compile("^(Pay|Pagar) ")).click()
    step(page, "charging")


def keep(page: Page, name: str) -> None:
    """Write a picture, when all has come to rest."""
    page.mouse.move(0, 0)
    page.wait_for_timeout(800)
    page.screenshot(path=FIGURES / f"{name}.png")
    page.context.close()


def take(browser: Browser, web: int) -> None:
    """All pictures."""
    for language in ("en", "pt"):
        page = opened(browser, web, language, **DESKTOP)
        begin(page)
        keep(page, f"page-{language}")
    page = opened(browser, web, "en", **DESKTOP)
    begin(page)
    pay(page)
    page.wait_for_timeout(FOLLOWED_MS)
    keep(page, "trip")
    page = opened(browser, web, "en", color_scheme="dark", **PHONE)
    keep(page, "phone")


def main() -> int | str:
    """The exit status, or what is missing."""
    chromium = shutil.which("chromium")
    if chromium is None:
        return "tools/screenshots.py: there is no chromium: apt install chromium"
    with network() as (port, web), sync_playwright() as playwright:
        drive(port)
        browser = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        take(browser, web)
        browser.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
