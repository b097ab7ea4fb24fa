"""WebSocket as Chromium's own client speaks it."""

from tests.support.browser import BrowserTestCase
from tests.support.sockets import COMES_TO, JOURNEY


class ChromiumTests(BrowserTestCase):
    """A script in a page."""

    def test_journey(self) -> None:
        """Messages both ways, in order, an event, and a Close that is understood."""
        self.serve()
        page = self.open(live=False)
        address = f"ws://127.0.0.1:{self.port}/api/v1/socket"
        self.assertEqual(page.evaluate(JOURNEY, address), COMES_TO)
