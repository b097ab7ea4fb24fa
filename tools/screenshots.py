"""
Makes the pictures of the page in the documentation, into docs/figures.

    python tools/screenshots.py [FOLDER]

A server on this machine whose clock runs sixty times faster (libfaketime) has an hour of a busy
network behind it when the first is made, after a minute. It needs what the tests of the page need:
Debian's chromium and faketime.
"""

from __future__ import annotations

import contextlib
import random
import re
import sys
import tempfile
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from playwright.sync_api import Browser, Page, expect, sync_playwright

from tests.support.browser import DESKTOP, FLAGS, PHONE, WAIT_MS
from tests.support.ports import free_port
from tests.support.servers import Client, Server
from tests.support.tools import need

FOLDER = Path(__file__).resolve().parent.parent / "docs" / "figures"

LONG_MS = 180_000
CAR = "Tesla Model 3"
SALVADOR = {"latitude": "-12.9714", "longitude": "-38.5014"}
BUSY_S, PAUSE_S = 60, 0.18
FAST, SLOW = 60, 8
"""How many times as fast the server's clock goes, in the hour and after it."""
HOUR_S = 3600


def drive(port: int, ended: threading.Event) -> None:
    """Have cars come, charge, or wait in line, and go again when they are charged."""
    chance = random.Random(14)
    cars: list[str] = []
    slots: dict[str, int] = {}
    while not ended.wait(chance.expovariate(1 / PAUSE_S)):
        # By such a clock the server may find a connection slow, and end it.
        with contextlib.suppress(OSError), contextlib.closing(Client(port)) as client:
            if not cars:
                start = client.request("START")["data"]
                cars = list(start["car_models"])
                slots = {id: each["max_slots"] for id, each in start["station_models"].items()}
            come_to(
                client,
                chance.choice(cars),
                *chance.choices(list(slots), list(slots.values())),
                chance,
            )


def come_to(client: Client, car: str, station: str, chance: random.Random) -> None:
    """One car charges at a station, or waits there."""
    driver = {"user_name": "Ana", "selected_car": car, "battery_car": chance.randint(8, 60)}
    come = {"user_id": client.request("LOGIN", **driver)["data"]["user_id"], "id_station": station}
    if client.request("ARRIVE", **come, leaves_when_done=True)["data"].get("reason"):
        client.request("RESERVE", **come, wait=True)


def open_page(browser: Browser, port: int, language: str, **more: object) -> Page:
    context = browser.new_context(
        **{**DESKTOP, "locale": language, "reduced_motion": "reduce", **more}
    )
    context.set_default_timeout(WAIT_MS)
    page = context.new_page()
    page.goto(f"http://127.0.0.1:{port}/")
    page.wait_for_selector("html[data-live]", state="attached")
    return page


def begin_trip(page: Page) -> None:
    """Begin a journey from the middle of the map, as far as the suggestion."""
    page.locator("#trip-start").click()
    page.locator("#trip-car").select_option(CAR)
    page.locator("#trip-battery").fill("18")
    page.locator("#trip-root .primary").click()
    page.locator("#trip-root .trip-row button:nth-child(2)").click()
    at_step(page, "stations")


def at_step(page: Page, name: str) -> None:
    expect(page.locator(f"#trip-root .trip-body[data-step='{name}']")).to_be_visible(
        timeout=WAIT_MS
    )


def plan(browser: Browser, port: int) -> Page:
    """A trip that is planned, from the middle of the map to Salvador."""
    page = open_page(browser, port, "en", viewport={"width": 1280, "height": 1100})
    begin_trip(page)
    page.locator("#trip-root").get_by_role("button", name="Plan the trip").click()
    for name, degrees in SALVADOR.items():
        page.locator(f"#trip-{name}").fill(degrees)
    page.locator("#trip-root .primary").click()
    at_step(page, "plan")
    return page


def charge(page: Page) -> None:
    """Pay at the quickest station."""
    page.locator("#trip-criterion-time").check(force=True)
    expect(page.locator("#trip-criterion-time")).to_be_checked()
    page.locator("#trip-root .primary").click()
    at_step(page, "confirm")
    page.locator("#trip-root .primary").click()
    at_step(page, "charging")


def make(browser: Browser, port: int, folder: Path) -> None:
    page = open_page(browser, port, "en")
    page.locator("#map [data-look='queue']").last.click()
    expect(page.locator("#map .groups li").first).to_be_visible()
    page.screenshot(path=folder / "network.png")
    phone = open_page(browser, port, "en", **PHONE, color_scheme="dark", device_scale_factor=2)
    phone.screenshot(path=folder / "phone.png")
    plan(browser, port).screenshot(path=folder / "plan.png")
    page = open_page(browser, port, "en")
    begin_trip(page)
    page.screenshot(path=folder / "page.png")
    charge(page)
    expect(page.get_by_role("progressbar")).to_have_attribute(
        "aria-valuenow", re.compile(r"[3-7]\d"), timeout=LONG_MS
    )
    page.screenshot(path=folder / "trip.png")
    page.locator("#trip-root").get_by_role("button", name="Stop charging").click()
    page.locator("#trip-root").get_by_role("button", name="Stop and leave").click()
    at_step(page, "receipt")
    page.screenshot(path=folder / "receipt.png")


def main() -> None:
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    port = free_port()
    with tempfile.TemporaryDirectory() as data:
        rate = Path(data) / "rate"
        rate.write_text(f"-{HOUR_S}s x{FAST}")
        faked = (
            "env",
            f"LD_PRELOAD={need('libfaketime')}",
            f"FAKETIME_TIMESTAMP_FILE={rate}",
            "FAKETIME_NO_CACHE=1",
        )
        began = time.monotonic()
        # By the fast clock a planner's two seconds would be over before it has begun.
        options = ["--web-port", str(port), "--plan-seconds", "60"]
        server = Server(Path(data) / "data", *options, before=faked).wait()
        ended = threading.Event()
        drivers = threading.Thread(target=drive, args=(server.port, ended))
        drivers.start()
        try:
            drivers.join(BUSY_S)
            ended.set()
            # The clock, which is right by now, does not jump.
            behind_s = (FAST - SLOW) * (time.monotonic() - began) - HOUR_S
            rate.write_text(f"{behind_s:+.0f}s x{SLOW}")
            with sync_playwright() as playwright:
                browser = playwright.chromium.launch(
                    executable_path=need("chromium"), args=[*FLAGS, "--font-render-hinting=none"]
                )
                make(browser, port, folder)
        finally:
            ended.set()
            drivers.join()
            server.end()


if __name__ == "__main__":
    main()
