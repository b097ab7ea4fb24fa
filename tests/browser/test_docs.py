"""The documentation as Sphinx makes it, in a real browser: on a telephone and on a desk."""

import re
import subprocess
import sys
from functools import cache
from pathlib import Path

from playwright.sync_api import Page

from tests.support.browser import DESKTOP, PHONE, BrowserTestCase
from tests.support.pages import DOCS, pages
from tests.support.servers import ROOT

LOADED = re.compile(
    r"<(?:script|link|img|source|iframe|video|audio|embed|object)\b[^>]*?"
    r'\b(?:src|href|srcset|data|poster)="([^"]+)"'
)
ELSEWHERE = re.compile(r"(?:https?:)?//")
IN_STYLES = re.compile(r"(?:url\(|@import)\s*[\"']?(?:https?:)?//[^)\"']*")

# The page, and what in it is to be broken, and not scrolled.
WIDE = """parts => [document.documentElement, ...document.querySelectorAll(parts)]
    .filter(each => each.scrollWidth > each.clientWidth + 1)
    .map(each => [each.scrollWidth, each.clientWidth, each.textContent.trim().slice(0, 40)])"""
BROKEN = {
    390: ".highlight-transcript pre, .highlight-json pre",
    1280: "article pre, article .table-wrapper",
}


@cache
def built() -> Path:
    """Where `make docs` has put the pages; what it warns of is an error."""
    out = Path("html").absolute()
    done = subprocess.run(
        [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", DOCS, out],
        cwd=ROOT, capture_output=True, text=True, timeout=600,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    return out


def html() -> dict[str, Path]:
    """The pages that have been written, by their name without ending."""
    names = [str(each.path.relative_to(DOCS).with_suffix("")) for each in pages() if each.in_docs]
    return {name: built() / f"{name}.html" for name in names}


class HtmlTests(BrowserTestCase):
    """All pages."""

    def test_fits(self) -> None:
        """Nothing has to be scrolled sideways but, on a telephone, programs and tables of figures
        within their own frames; in light as in dark, of which both are told apart."""
        page = self.open(html()["index"].as_uri(), live=False)
        wrong = []
        for name, path in html().items():
            page.goto(path.as_uri())
            seen = {}
            for device in (PHONE, DESKTOP):
                page.set_viewport_size(device["viewport"])
                for scheme in ("light", "dark"):
                    page.emulate_media(color_scheme=scheme)
                    seen[scheme] = self.colours(page)
                    width = device["viewport"]["width"]
                    wrong += [
                        f"{name} at {width} px, {scheme}: {wide}"
                        for wide in page.evaluate(WIDE, BROKEN[width])
                    ]
            self.assertNotEqual(seen["light"], seen["dark"], name)
        self.assertEqual(wrong, [], "\n" + "\n".join(wrong))

    def colours(self, page: Page) -> list[str]:
        """Those of the text and of what is behind it."""
        return page.evaluate(
            "() => ['color', 'backgroundColor'].map(each => getComputedStyle(document.body)[each])"
        )

    def test_made(self) -> None:
        """Each page has its title, its language and the icon, loads nothing from elsewhere, leads
        to what it is in the other language, and lets nobody edit it."""
        for name, path in html().items():
            text = path.read_text()
            language = "pt-BR" if name.startswith("pt/") else "en"
            self.assertIn(f'<html class="no-js" lang="{language}"', text, name)
            self.assertRegex(text, r"<title>(?:[^<]+ - )?evcharge</title>", name)
            self.assertRegex(text, r'<link rel="shortcut icon" href="[./]*_static/icon\.svg">')
            self.assertEqual([each for each in LOADED.findall(text) if ELSEWHERE.match(each)], [])
            self.assertNotIn("edit-this-page", text)
            twin = name.removeprefix("pt/") if language == "pt-BR" else f"pt/{name}"
            if twin in html():
                links = re.findall(r'<a [^>]*href="([^"#]+)', text)
                there = {(path.parent / link).resolve() for link in links}
                self.assertIn(html()[twin], there, name)
        for path in built().rglob("*.css"):
            self.assertEqual(IN_STYLES.findall(path.read_text()), [], path.name)
