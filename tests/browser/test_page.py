"""The page as people see it first: both languages, both schemes, desktop, phone, and narrower."""

import re

from playwright.sync_api import Page

from tests.support.browser import PHONE, BrowserTestCase

SHIFTS = """() => new Promise((done) => {
    const shifts = [];
    new PerformanceObserver((list) => {
        for (const { value, sources } of list.getEntries()) {
            shifts.push([value, ...sources.map(({ node }) => node?.id || node?.className)]);
        }
    }).observe({ type: "layout-shift", buffered: true });
    requestAnimationFrame(() => setTimeout(() => done(shifts), 100));
})"""
"""What has jumped so far, and by how much of the view."""


class FirstTests(BrowserTestCase):
    """The first view."""

    def assert_steady(self, page: Page) -> None:
        """Nothing that one sees has jumped since the page began."""
        shifts = page.evaluate(SHIFTS)
        self.assertLess(sum(size for size, *_ in shifts), 0.02, shifts)

    def test_desktop(self) -> None:
        """It says what it is, shows each station on the map and in the table, and jumps nowhere."""
        self.serve()
        page = self.open()
        self.assertEqual(page.title(), "evcharge – rede de recarga ao vivo")
        self.assertEqual(page.locator("html").get_attribute("lang"), "pt-BR")
        self.expect(page.locator("#link")).to_have_text("Ao vivo")
        self.expect(page.locator("#map button.station")).to_have_count(36)
        self.expect(page.locator("#stations tbody tr")).to_have_count(36)
        one = page.locator("#map [data-id='1']")
        name = "Boulevard Shopping: 8 de 8 vagas livres, fila 0, 150 kW, R$ 2,75 por kWh"
        self.expect(one).to_have_accessible_name(name.replace("R$ ", "R$\xa0"))
        self.assert_steady(page)
        self.assert_fits(page)
        self.assert_accessible(page)

    def test_dark(self) -> None:
        """It is as readable in the dark, and in English."""
        self.serve()
        page = self.open(language="en-GB", color_scheme="dark")
        self.assertEqual(page.locator("html").get_attribute("lang"), "en")
        self.expect(page.locator("#link")).to_have_text("Live")
        dark = page.evaluate("() => getComputedStyle(document.body).backgroundColor")
        self.assertLess(max(map(int, re.findall(r"\d+", dark)[:3])), 64)
        # The one farthest to the left: what is told of it does not lie under the map's buttons.
        page.locator("#map [data-id='36']").click()
        details = page.locator("#map .station-popup")
        self.expect(details.locator(".groups li")).to_have_count(2)
        buttons, shown = page.locator("#map .controls").bounding_box(), details.bounding_box()
        self.assertGreaterEqual(shown["x"], buttons["x"] + buttons["width"])
        self.assert_accessible(page)

    def test_phone(self) -> None:
        """On a phone the map is half of the view, and what one touches is large enough."""
        self.serve()
        page = self.open(**PHONE)
        self.assert_steady(page)
        box = page.locator("#map").bounding_box()
        self.assertAlmostEqual(box["height"], 844 / 2, delta=60)
        self.assertEqual(box["width"], 390)
        self.assert_fits(page)
        page.locator("#map [data-id='2']").tap()
        self.expect(page.locator("#map .station-popup")).to_contain_text("UEFS")
        self.assert_accessible(page)

    def test_narrow(self) -> None:
        """At 320 px, which is 1280 enlarged fourfold, nothing has to be scrolled sideways."""
        self.serve()
        page = self.open(viewport={"width": 320, "height": 256})
        self.assert_fits(page)

    def test_language(self) -> None:
        """The button changes every text in place, and the next visit begins with that language."""
        self.serve()
        # Who reads neither is spoken to in Portuguese.
        page = self.open(language="de-DE")
        self.expect(page.locator("html")).to_have_attribute("lang", "pt-BR")
        page.locator("#map [data-id='1']").click()
        page.locator("#language").click()
        self.expect(page.locator("html")).to_have_attribute("lang", "en")
        self.expect(page.locator("#link")).to_have_text("Live")
        self.wait_until_live(page)
        said = page.locator("body").inner_text()
        for word in ("vaga", "fila", "Posto", "viagem", "Ao vivo", "Rede"):
            self.assertNotRegex(said, rf"\b{word}")
        page.reload()
        self.wait_until_live(page)
        self.expect(page.locator("html")).to_have_attribute("lang", "en")
        page.goto(page.url.partition("?")[0] + "?lang=pt")
        self.expect(page.locator("#link")).to_have_text("Ao vivo")

    def test_without_script(self) -> None:
        """Without JavaScript it says where the stations are, as a table and as GeoJSON."""
        self.serve()
        page = self.open(live=False, java_script_enabled=False)
        said = page.locator(".without-script")
        self.expect(said).to_contain_text("JavaScript")
        for link in said.get_by_role("link").all():
            reply = page.request.get(f"http://127.0.0.1:{self.port}{link.get_attribute('href')}")
            self.assertEqual(reply.status, 200)
            self.assertIn("Boulevard Shopping", reply.text())
        page.get_by_role("link", name="tabela").click()
        self.expect(page.locator("tbody tr")).to_have_count(36)
        self.assert_fits(page)

    def test_loading(self) -> None:
        """Until the server has answered there is room for what will come, and no number."""
        self.serve()
        page = self.open(live=False, websockets=lambda socket: None)
        self.expect(page.locator("#link")).to_have_text("Conectando…")
        self.assertNotRegex(page.locator(".panel").inner_text(), r"\d|NaN|undefined|null")
        self.assert_accessible(page)
