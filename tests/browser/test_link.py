"""A connection that breaks, ends, is refused, and comes again."""

import re
import signal
from pathlib import Path

from playwright.sync_api import Route

from tests.support.browser import BrowserTestCase

FAILED = r"WebSocket connection|ERR_(CONNECTION_REFUSED|INTERNET_DISCONNECTED|CONNECTION_RESET)"
"""What Chromium itself says of a server that is away."""


class LinkTests(BrowserTestCase):
    """What the head says of the connection."""

    allowed = rf"{FAILED}|status of 429"

    def test_killed(self) -> None:
        """When a server dies, what was known stays, greyed, with its time, until it is back."""
        data = Path(self.mktemp())
        server = self.serve(data=data)
        page = self.open()
        server.end(signal.SIGKILL)
        link = page.locator("#link")
        self.expect(link).to_contain_text("Sem conexão – tentando de novo")
        self.expect(link).to_have_text(re.compile(r"dados das \d\d:\d\d:\d\d"))
        self.expect(page.locator("html")).to_have_attribute("data-stale", "")
        self.expect(page.locator("html")).not_to_have_attribute("data-live", "")
        self.expect(page.locator("#stations tbody tr")).to_have_count(36)
        self.assert_accessible(page)
        self.serve(data=data, port=self.port)
        self.expect(link).to_have_text("Ao vivo")
        self.expect(page.locator("html")).not_to_have_attribute("data-stale", "")

    def test_ended(self) -> None:
        """A server that is ended says so before it goes."""
        server = self.serve()
        page = self.open(language="en-GB")
        server.end()
        self.expect(page.locator("#link")).to_contain_text("The server is restarting")

    def test_offline(self) -> None:
        """A computer whose network goes, and comes back."""
        self.serve()
        page = self.open()
        page.context.set_offline(True)
        self.expect(page.locator("#link")).to_contain_text("Sem conexão")
        page.context.set_offline(False)
        self.expect(page.locator("#link")).to_have_text("Ao vivo")

    def test_too_many_requests(self) -> None:
        """Who asks more than the operator allows is told to wait, and stays connected."""
        self.serve("--rate-per-connection", "0.5")
        page = self.open()
        for number in range(1, 17):
            page.locator(f"#map [data-id='{number}']").dispatch_event("click")
        self.expect(page.locator("#link")).to_contain_text("Muitas requisições – aguarde")
        self.expect(page.locator("#link")).to_have_text("Ao vivo")

    def test_refused_file(self) -> None:
        """The other language's texts are asked for again where a busy server refuses them."""
        self.serve()
        page = self.open()
        refusals = [429]

        def answer(route: Route) -> None:
            if refusals:
                route.fulfill(status=refusals.pop())
            else:
                route.continue_()

        page.route("**/texts-en.js", answer)
        page.locator("#language").click()
        self.expect(page.locator("html")).to_have_attribute("lang", "en")
        self.assertEqual(refusals, [])
