"""My journey: a journey taken in the page, and what can come between."""

import re
from pathlib import Path

from playwright.sync_api import Locator, Page

from tests.browser.test_link import FAILED
from tests.support.browser import PHONE, BrowserTestCase, fill, network

CAR = "Tesla Model 3"


class TripTestCase(BrowserTestCase):
    """Goes through the steps of a trip."""

    def step(self, page: Page, name: str) -> Locator:
        """Wait until the trip is at this step; what it shows."""
        shown = page.locator(f"#trip-root .trip-body[data-step='{name}']")
        self.expect(shown).to_be_visible()
        return shown

    def take(self, page: Page, battery: int = 40) -> Locator:
        """Begin a journey of a car whose battery is so full; what is asked next."""
        page.locator("#trip-start").click()
        self.step(page, "car")
        page.locator("#trip-car").select_option(CAR)
        page.locator("#trip-battery").fill(str(battery))
        page.locator("#trip-root .primary").click()
        return self.step(page, "place")

    def press(self, page: Page, name: str) -> None:
        page.locator("#trip-root").get_by_role("button", name=re.compile(name)).click()

    def kept(self, page: Page) -> dict[str, str]:
        """What the tab remembers."""
        return page.evaluate("() => ({ ...sessionStorage })")


class JourneyTests(TripTestCase):
    """Whole journeys."""

    def test_mouse(self) -> None:
        """Car, place by a click, suggestion, payment, charge, receipt: nothing is kept then."""
        self.serve("--time-scale", "1200")
        page = self.open()
        self.expect(self.take(page)).to_contain_text("Autonomia: 131 km")
        page.locator("#map").click(position={"x": 300, "y": 300})
        shown = self.step(page, "stations")
        self.expect(shown.get_by_role("radio")).to_have_count(3 + 5)
        self.expect(page.locator("#trip-status")).to_contain_text("Posto indicado: ")
        self.expect(page.locator("#map .car, #map path.reach")).to_have_count(2)
        self.assert_accessible(page, "#trip")
        self.press(page, "Continuar com ")
        self.press(page, r"Pagar R\$\s\d+,\d\d e recarregar")
        charging = self.step(page, "charging")
        self.expect(charging.get_by_role("progressbar")).to_have_attribute(
            "aria-valuenow", re.compile(r"[4-7]\d")
        )
        self.assertEqual(set(self.kept(page)), {"user_id", "receipt_id"})
        self.assert_accessible(page, "#trip")
        receipt = self.step(page, "receipt")
        self.expect(receipt).to_contain_text("A bateria chegou à meta.")
        self.expect(receipt.locator("tbody tr")).to_contain_text(["Energia"])
        self.expect(receipt.locator(".trip-bill-total")).to_contain_text("R$")
        self.assertEqual(self.kept(page), {})
        self.assert_accessible(page, "#trip")
        self.press(page, "Nova jornada")
        self.step(page, "car")

    def test_phone(self) -> None:
        """On a phone, in English, in the dark: the cheapest, reserved, begun, stopped half-way."""
        self.serve()
        page = self.open(language="en", color_scheme="dark", **PHONE)
        self.take(page)
        self.press(page, "Use the map's centre")
        self.step(page, "stations")
        page.get_by_label("Cheapest", exact=True).tap()
        self.expect(page.locator("#trip-criterion-price")).to_be_checked()
        self.press(page, "Continue with ")
        self.assert_fits(page)
        self.press(page, "Reserve")
        self.step(page, "reserved")
        self.press(page, "begin to charge")
        self.step(page, "charging")
        self.assert_fits(page)
        self.press(page, "Stop charging")
        self.press(page, "Stop and leave")
        self.expect(self.step(page, "receipt")).to_contain_text("You ended the charging.")
        self.assert_fits(page)
        self.assert_accessible(page, "#trip")

    def test_keyboard(self) -> None:
        """By keyboard alone: to the table, a station on the map, and a journey."""
        self.serve()
        page = self.open()
        page.keyboard.press("Tab")
        self.expect(page.get_by_role("link", name="Ir para a tabela")).to_be_focused()
        page.keyboard.press("Enter")
        self.expect(page.locator("#stations-title")).to_be_focused()
        page.keyboard.press("Tab")
        self.expect(page.get_by_role("searchbox")).to_be_focused()

        page.reload()
        self.wait_until_live(page)
        marker = self.tab_to(page, "#map button.station")
        page.keyboard.press("ArrowRight")
        self.expect(marker).not_to_be_focused()
        other = page.locator("#map button.station:focus")
        number = other.get_attribute("data-id")
        page.keyboard.press("Enter")
        self.expect(page.locator("#map .station-popup h3")).to_be_focused()
        page.keyboard.press("Escape")
        self.expect(page.locator(f"#map [data-id='{number}']")).to_be_focused()

        self.tab_to(page, "#trip-start")
        page.keyboard.press("Enter")
        self.tab_to(page, "#trip-car")
        page.keyboard.type(CAR)
        self.tab_to(page, "#trip-root .primary")
        page.keyboard.press("Enter")
        self.step(page, "place")
        self.tab_to(page, "#trip-root .trip-row button:nth-child(2)")
        page.keyboard.press("Enter")
        self.step(page, "stations")
        self.expect(page.locator("#trip-root h3").first).to_be_focused()
        for name, step in (("Continuar com", "confirm"), ("Pagar", "charging")):
            self.tab_to(page, "#trip-root .primary")
            self.expect(page.locator("#trip-root .primary:focus")).to_contain_text(name)
            page.keyboard.press("Enter")
            self.step(page, step)

    def tab_to(self, page: Page, selector: str) -> Locator:
        """Press Tab until that is focused; no farther than through the whole page."""
        for _ in range(90):
            page.keyboard.press("Tab")
            if page.locator(f":is({selector}):focus").count():
                return page.locator(selector).first
        raise AssertionError(f"no Tab gets to {selector}")


class TroubleTests(TripTestCase):
    """What does not go as one would have it."""

    allowed = FAILED

    def test_nothing_in_reach(self) -> None:
        """An empty battery gets nowhere, a nearly empty one not far enough: both are told."""
        self.serve()
        page = self.open()
        self.take(page, 0)
        page.locator("#map").click(position={"x": 30, "y": 500})
        nothing = self.step(page, "stations")
        self.expect(nothing).to_contain_text("Com a bateria em 0% o carro não chega a nenhum")
        self.press(page, "Mudar carro ou bateria")
        page.locator("#trip-battery").fill("1")
        page.locator("#trip-root .primary").click()
        self.expect(nothing).to_contain_text(
            re.compile(r"O posto mais perto, .+, está a [\d,]+ km: faltam [\d,]+ km de autonomia\.")
        )
        self.assert_accessible(page, "#trip")

    def test_line(self) -> None:
        """A full station offers its line; when a slot comes free, it is offered, and declined."""
        data = network(Path(self.mktemp()), [(1, "Um", 1, 0, 0, 2)])
        server = self.serve(data=data)
        driver = self.client(server)
        (taken,) = fill(driver, 1, 1)
        page = self.open()
        self.take(page)
        self.press(page, "centro do mapa")
        self.press(page, "Continuar com Um")
        self.press(page, r"Lotado\. Entrar na fila \(posição 1, cerca de \d+ min\)")
        waiting = self.step(page, "waiting")
        self.expect(waiting).to_contain_text("Posição 1 de 1")
        self.assert_accessible(page, "#trip")
        driver.request("STOP", user_id=taken["user_id"])
        offered = self.step(page, "offered")
        self.expect(offered).to_contain_text("Chegou a sua vez")
        self.assert_accessible(page, "#trip")
        self.press(page, "Aceitar e reservar")
        self.step(page, "reserved")
        self.press(page, "Cancelar a reserva")
        self.step(page, "stations")

    def test_reload(self) -> None:
        """A page loaded anew in mid-charge goes on; ended from elsewhere, it has the receipt."""
        server = self.serve()
        page = self.charging()
        page.reload()
        charging = self.step(page, "charging")
        self.expect(charging).to_contain_text("Boulevard Shopping")
        self.client(server).request("STOP", user_id=self.kept(page)["user_id"])
        self.expect(self.step(page, "receipt")).to_contain_text("Boulevard Shopping")

    def test_lost(self) -> None:
        """While the server is away the charge goes on; one that knows of none ends the trip."""
        server = self.serve()
        page = self.charging()
        server.end()
        self.expect(page.locator("#trip-root")).to_contain_text("A recarga continua no posto")
        self.serve(port=self.port)
        self.expect(self.step(page, "over")).to_contain_text("A jornada acabou")
        self.assert_accessible(page, "#trip")
        self.press(page, "Nova jornada")

    def charging(self) -> Page:
        """The page of somebody who charges at the first station."""
        page = self.open()
        self.take(page)
        page.locator("#trip-station").select_option("1")
        self.press(page, "Usar este posto")
        self.press(page, "Continuar com Boulevard")
        self.press(page, "Pagar ")
        self.step(page, "charging")
        return page
