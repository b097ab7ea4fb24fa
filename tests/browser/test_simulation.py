"""A network that is simulated: its cars on the map, their number in words, and the clock."""

import re
from pathlib import Path

from playwright.sync_api import Page

from tests.support.browser import PHONE, BrowserTestCase
from tests.support.servers import Server

SCENARIO = """
title = "Two stations"
start = 2026-03-02T17:58:00
time_zone = "America/Manaus"
[network]
stations = "stations.csv"
[demand]
drivers_per_day = 28800
[[demand.zone]]
name = "all"
share = 1.0
centre = [-12.25, -38.95]
radius_km = 3.0
[driver]
start_percent = 30
city_trip_km = 0
speed_km_h = 10
joins_queue = 1.0
accepts_eta_minutes = inf
patience_minutes = inf
"""
"""One more driver each twentieth of a second, at 60 times real time; most of them have to wait."""

STATIONS = """\
id;nomeDoPosto;endereço;latitude;longitude;quantidadeDeVeiculosSimultaneos;potenciaKW;precoKWh;conectores
1;Um;Rua 1;-12.25;-38.95;4;22;2.00;Type 2
2;Dois;Rua 2;-12.26;-38.94;2;22;2.00;Type 2
"""
"""Slow ones: nobody has charged in less than the time of a test."""

DRAWN = """() => {
    const {width, height} = document.querySelector("canvas.cars");
    const pixels = document.querySelector("canvas.cars").getContext("2d")
        .getImageData(0, 0, width, height).data;
    return pixels.some((value) => value > 0);
}"""
"""Whether anything is on the canvas."""

VIEWS = """() => new Promise((done) => {
    const canvas = document.querySelector("canvas.cars");
    const views = new Set();
    const end = performance.now() + 2000;
    const look = () => {
        views.add(canvas.toDataURL());
        if (performance.now() < end) requestAnimationFrame(look);
        else done(views.size);
    };
    look();
})"""
"""In how many ways the canvas is seen in two seconds."""

CARS = ".legend .is-car"


class SimulationTests(BrowserTestCase):
    """A server that simulates."""

    allowed = r"WebSocket connection|ERR_CONNECTION_"
    """While there is no server, Chromium says so."""

    def simulate(self, port: int = 0) -> Server:
        folder = Path(self.mktemp())
        folder.mkdir()
        (folder / "stations.csv").write_text(STATIONS)
        scenario = folder / "two.toml"
        scenario.write_text(SCENARIO)
        options = ("--simulate", str(scenario), "--speed", "60")
        return self.serve(*options, data=folder / "data", port=port)

    def wait_for_cars(self, page: Page) -> None:
        """Wait until some are in each state."""
        for number, state in enumerate(
            ("a caminho|on the way", "esperando|waiting", "c(?:arregando|harging)")
        ):
            self.expect(page.locator(CARS).nth(number)).to_have_text(
                re.compile(rf"^[1-9]\d* (?:{state})$")
            )

    def test_cars(self) -> None:
        """They are drawn, and what they do is said in words and as numbers, in both languages."""
        self.simulate()
        page = self.open()
        self.wait_for_cars(page)
        self.assertTrue(page.evaluate(DRAWN))
        numbers = page.locator("#network-root > .numbers")
        numbers.locator("summary").click()
        rows = numbers.locator("tbody tr")
        self.expect(rows).to_have_count(3)
        self.expect(rows.nth(2)).to_have_text(re.compile(r"^carregando[1-6](?:[3-9]\d|100)%$"))
        total = page.locator("#network-root dt", has_text="veículos simulados").locator("xpath=..")
        self.expect(total.locator("dd")).to_have_text(re.compile(r"^[1-9]\d*$"))
        self.assert_accessible(page)
        self.assert_fits(page)
        page.locator("#language").click()
        self.wait_for_cars(page)
        self.expect(rows.nth(2)).to_have_text(re.compile("^charging"))
        self.expect(page.locator("#clock")).to_have_text(re.compile("^Simulated time: Mon "))

    def test_clock(self) -> None:
        """The clock is the scenario's, local to it, and goes as fast as it says."""
        self.simulate()
        page = self.open()
        clock = page.locator("#clock")
        self.expect(clock).to_have_text(re.compile(r"^Hora da simulação: seg\., 1[789]:\d\d 60×$"))
        began = clock.locator("time").inner_text()
        self.expect(clock.locator("time")).not_to_have_text(began)
        self.assertRegex(clock.locator("time").get_attribute("datetime"), r"^2026-03-02T2[123]:")

    def test_phone(self) -> None:
        """On a phone, in the dark, nothing of it is in the way of anything else."""
        self.simulate()
        page = self.open(**PHONE, color_scheme="dark")
        self.wait_for_cars(page)
        self.assert_fits(page)
        self.assert_accessible(page)
        clock, link = page.locator("#clock").bounding_box(), page.locator("#link").bounding_box()
        self.assertGreaterEqual(clock["y"], link["y"] + link["height"])

    def test_movement(self) -> None:
        """Cars glide from news to news; for who wishes for less movement they do not."""
        self.simulate()
        for wish, least, most in (("no-preference", 12, 1000), ("reduce", 1, 4)):
            page = self.open(reduced_motion=wish)
            self.wait_for_cars(page)
            self.assertIn(page.evaluate(VIEWS), range(least, most + 1), wish)

    def test_beginning_and_end(self) -> None:
        """What begins, or is no more, after a break of the server's, is noticed."""
        server = self.serve()
        page = self.open()
        self.assertFalse(any("cars.js" in address for address in self.asked))
        self.expect(page.locator("#clock")).to_be_hidden()
        self.expect(page.locator(CARS)).to_have_count(0)
        server.end()
        server = self.simulate(port=self.port)
        self.wait_for_cars(page)
        self.expect(page.locator("#clock")).to_be_visible()
        server.end()
        self.expect(page.locator("html")).to_have_attribute("data-stale", "")
        self.serve(port=self.port)
        self.expect(page.locator("#link")).to_have_text("Ao vivo")
        self.expect(page.locator("#clock")).to_be_hidden()
        for sign in page.locator(CARS).all():
            self.expect(sign).to_be_hidden()
        self.expect(page.locator("canvas.cars")).to_be_hidden()
        self.expect(page.locator("#network-root > .numbers")).to_be_hidden()
