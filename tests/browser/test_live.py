"""Server-Sent Events as Chromium's own EventSource reads them."""

from pathlib import Path

from tests.process.test_live import pay
from tests.support.browser import BrowserTestCase

FOLLOW = """() => {
    window.told = [];
    const source = new EventSource("/api/v1/live?topics=stations&stations=7");
    for (const name of ["snapshot", "change"]) {
        source.addEventListener(name, ({data}) => {
            const {stations} = JSON.parse(data).snapshot ?? JSON.parse(data);
            if (stations) window.told.push([name, stations[7].available_slots]);
        });
    }
}"""
TOLD = """async (count) => {
    while (window.told.length < count) await new Promise((done) => setTimeout(done, 20));
    return window.told;
}"""


class EventSourceTests(BrowserTestCase):
    """A script in a page."""

    allowed = r"/api/v1/|ERR_"
    """While there is no server, Chromium says so."""

    def test_follow(self) -> None:
        """The state, what changes, and after a break of the server's the state once more."""
        data = Path(self.mktemp())
        server = self.serve(data=data)
        page = self.open(live=False)
        page.evaluate(FOLLOW)
        told = [["snapshot", 2]]
        self.assertEqual(page.evaluate(TOLD, 1), told)
        pay(server.port, 7)
        told.append(["change", 1])
        self.assertEqual(page.evaluate(TOLD, 2), told)
        server.end()
        self.serve(data=data, port=self.port)
        told.append(["snapshot", 1])
        self.assertEqual(page.evaluate(TOLD, 3), told)
