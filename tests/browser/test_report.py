"""The report of a simulation, in a real browser: it needs nothing, and everybody can read it."""

from pathlib import Path

from evcharge.simulator import report
from tests.simulator.test_report import run
from tests.support.browser import DESKTOP, PHONE, BrowserTestCase

OPEN = "document.querySelectorAll('details').forEach((each) => (each.open = true))"
A4_LANDSCAPE = {"width": 1030, "height": 700}
COLOURS = """body => [getComputedStyle(body).color, getComputedStyle(body).backgroundColor]"""


class ReportTests(BrowserTestCase):
    """One report of two variants, as a file."""

    def setUp(self) -> None:
        super().setUp()
        made = run(Path(self.mktemp()).absolute(), replications=2)
        path = made.folder / "report.html"
        path.write_text(report.page(made, "pt"), encoding="utf-8")
        self.address = path.as_uri()

    def test_report(self) -> None:
        """In light and dark, on a desk and a telephone, axe finds nothing, nothing is wider than
        the screen, and nothing is asked for but the file itself."""
        for scheme, device in (("light", DESKTOP), ("dark", PHONE)):
            page = self.open(self.address, live=False, color_scheme=scheme, **device)
            self.assert_fits(page)
            page.evaluate(OPEN)
            self.assert_accessible(page)
        self.assertEqual(self.asked, [self.address] * 2)

    def test_tables(self) -> None:
        """A picture leads to its table, which opens; tables sort by what is clicked."""
        page = self.open(self.address, live=False)
        behind = page.locator("#table-waits")
        self.expect(behind).not_to_be_visible()
        page.locator('a[href="#table-waits"]').click()
        self.expect(behind).to_be_visible()
        stations = page.locator("#table-stations")
        cells = stations.locator("tbody td:nth-child(2)")
        for counts in (["6", "4", "4"], ["4", "4", "6"]):
            stations.get_by_role("button", name="vagas").click()
            self.expect(cells).to_have_text(counts)

    def test_print(self) -> None:
        """Printed from a dark screen, without scripts, it is dark on white, with all that is
        folded, and no table is wider than its page."""
        page = self.open(self.address, live=False, color_scheme="dark", java_script_enabled=False)
        self.assertNotEqual(page.locator("body").evaluate(COLOURS)[1], "rgb(255, 255, 255)")
        page.emulate_media(media="print", color_scheme="dark")
        page.set_viewport_size(A4_LANDSCAPE)
        self.assertEqual(
            page.locator("body").evaluate(COLOURS), ["rgb(0, 0, 0)", "rgb(255, 255, 255)"]
        )
        self.expect(page.locator("#table-waits")).to_be_visible()
        self.assert_fits(page)
