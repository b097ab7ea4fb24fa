"""The journey that explains the words of charging: it went as it is told, in both languages."""

import importlib
import re
import sys
from types import ModuleType

from twisted.trial.unittest import SynchronousTestCase

from tests.support.servers import ROOT

PAGES = {
    "en": (ROOT / "docs" / "concepts.md", "One journey"),
    "pt": (ROOT / "docs" / "pt" / "concepts.md", "Uma jornada"),
}
FIGURES = ROOT / "docs" / "figures"
NUMBER = r"(?<![\w-])\d+(?:\.\d+)?(?![\w-])"


def tool(test: SynchronousTestCase, name: str) -> ModuleType:
    """A module of those that draw pictures."""
    test.patch(sys, "path", [*sys.path, str(ROOT / "tools")])
    return importlib.import_module(name)


class JourneyTests(SynchronousTestCase):
    """What is told of Ana."""

    def test_told(self) -> None:
        """Every figure, in its order, is what the server said."""
        went = tool(self, "journey_figure").journey()
        near, quick, receipt = went.nearest, went.quickest, went.receipt
        energy, idle = receipt["lines"]
        queue, drive, charge, stay = (f"{minutes:.0f}" for minutes in went.minutes)
        offer = (went.offered["expires_timestamp"] - went.offered["server_timestamp"]) / 60
        told = [
            *("3", "40", "180", f"{went.range['autonomy']:.1f}"),
            *(f"{-went.range['margin_km']:.1f}", f"{near['distance_km']:.2f}"),
            *(f"{near['target_percent']:.0f}", f"{near['charge_minutes']:.0f}"),
            *(f"{near['price_loading']:.2f}", f"{quick['distance_km']:.1f}"),
            *(f"{quick['charge_minutes']:.0f}", f"{quick['price_loading']:.2f}"),
            # What the slots give, and what the car draws.
            *(f"{near['power_kw']:.0f}", "150", f"{quick['power_kw']:.0f}"),
            *(f"{quick['average_power_kw']:.1f}", str(went.waiting["position"])),
            *(f"{went.waiting['eta_minutes']:.0f}", queue, f"{offer:.0f}", drive),
            *(f"{receipt['start_percent']:.1f}", charge, f"{receipt['end_percent']:.0f}"),
            *(f"{receipt['energy_kwh']:.1f}", stay, f"{energy['price']:.2f}"),
            *(f"{idle['price']:.2f}", f"{energy['incl_vat']:.2f}", f"{idle['incl_vat']:.2f}"),
            f"{receipt['total']:.2f}",
        ]
        self.assertEqual([quick["connector"], near["connector"]], ["CCS2"] * 2)
        for page, title in PAGES.values():
            (part,) = re.findall(rf"^## {title}\n(.*?)^## ", page.read_text(), re.M | re.S)
            part = re.sub(r"!\[.*\]\(.*\)", "", part)
            self.assertEqual(re.findall(NUMBER, part.replace(",", ".")), told, page)
            self.assertIn(went.charging["id_evse"], part)

    def test_words(self) -> None:
        """Twelve words are explained; each is in bold once, and in the glossary."""
        for page, title in PAGES.values():
            text = page.read_text()
            (part,) = re.findall(rf"^## {title}\n(.*?)^## ", text, re.M | re.S)
            found = [re.sub(r"\s+", " ", each) for each in re.findall(r"\*\*([^*]+?)\*\*", part)]
            words = [each for each in found if not re.search(r"[.?]$", each)]
            self.assertEqual(len(set(words)), 12, words)
            rows = re.findall(r"^\| ([^|]*) \|", text, re.M)
            glossary = {word for row in rows for word in re.split(r", | \(|\)", row)}
            missing = [
                each
                for each in words
                if not {each, re.sub("s$", "", each), re.sub("es$", "", each)} & glossary
            ]
            self.assertEqual(missing, [])

    def test_pictures(self) -> None:
        """The pictures are those that the script draws now."""
        for language, (page, _) in PAGES.items():
            for name in ("journey", "overview"):
                drawn = getattr(tool(self, f"{name}_figure"), f"{name}_svg")(language)
                kept = (FIGURES / f"{name}-{language}.svg").read_text()
                self.assertEqual(kept, drawn, f"{name}: python tools/figures.py")
            alternative = re.search(r"!\[(.*)\]\(.*journey", page.read_text())[1]
            title = tool(self, "journey_figure").journey_svg(language)
            self.assertIn(f"<title>{alternative}</title>", title)
