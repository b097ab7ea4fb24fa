"""
A real browser on the real page: Debian's Chromium, driven by Playwright, with an empty profile.

Playwright's blocking calls have an event loop of asyncio run in their thread, which is why the
browser has a thread of its own, and tests run in that one while the main thread waits for them. It
ends when nobody has wanted it for a while.
"""

import csv
import queue
import re
import threading
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any
from urllib.parse import urljoin, urlsplit

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import (
    Browser,
    BrowserContext,
    Page,
    WebSocketRoute,
    expect,
    sync_playwright,
)

from tests.support.ports import free_port
from tests.support.servers import LOGIN, ROOT, Client, Server, ServerTestCase
from tests.support.tools import need

UNWANTED = (
    *("WebUIOmniboxPopup", "WebUIOmniboxAimPopup", "AimEnabled", "PreconnectToSearch"),
    *("AvoidUnnecessaryBeforeUnloadCheckSync", "AvoidCorsURLLoaderRestartOnRedirect"),
    *("DestroyProfileOnBrowserClose", "HttpsUpgrades", "HttpsFirstBalancedModeAutoEnable"),
    *("LensOverlay", "MediaRouter", "NetworkTimeServiceQuerying", "OptimizationHints"),
    *("PaintHolding", "ThirdPartyStoragePartitioning"),
)
"""
Chromium's own, in a list that takes the place of Playwright's. The first two are two pages more in
each window, those of its address bar, which cost half as much as ours.
"""
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    f"--disable-features={','.join(UNWANTED)}",
)
HEADER = (
    *("id", "nomeDoPosto", "endereço", "latitude", "longitude", "quantidadeDeVeiculosSimultaneos"),
    *("potenciaKW", "precoKWh", "conectores"),
)
NETWORK = "feira_de_santana_stations.csv"
"""The file of a data directory that has the stations."""

KEPT = ROOT / "build" / "browser"
"""Where the screenshots of tests that failed are."""

WAIT_MS = 30_000
"""How long a test waits for what the page is to show."""

IDLE_S = 3
"""How long a browser is kept that nobody wants."""

DESKTOP = {"viewport": {"width": 1280, "height": 800}}
PHONE = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}

REPORTS = """addEventListener("securitypolicyviolation", (event) => console.error(
    `the CSP forbids ${event.blockedURI}: ${event.violatedDirective}`));"""

expect.set_options(timeout=WAIT_MS)


class _Thread(threading.Thread):
    """Has a browser, and does with it what is asked for."""

    def __init__(self, path: str) -> None:
        super().__init__(name="browser", daemon=True)
        self._path = path
        self._wanted: queue.Queue[tuple[Future, Callable[[Browser], object]]] = queue.Queue()
        self._ending = threading.Lock()
        self.ended = False
        self.start()

    def ask(self, what: Callable[[Browser], object]) -> Future | None:
        """What comes of it; None where the thread is about to end."""
        with self._ending:
            if self.ended:
                return None
            done: Future = Future()
            self._wanted.put((done, what))
            return done

    def run(self) -> None:
        try:
            with sync_playwright() as playwright:
                browser = playwright.chromium.launch(executable_path=self._path, args=FLAGS)
                while (asked := self._next()) is not None:
                    _answer(*asked, browser)
                browser.close()
        except BaseException as error:
            with self._ending:
                self.ended = True
            while not self._wanted.empty():
                self._wanted.get()[0].set_exception(error)

    def _next(self) -> tuple[Future, Callable[[Browser], object]] | None:
        try:
            return self._wanted.get(timeout=IDLE_S)
        except queue.Empty:
            with self._ending:
                self.ended = self._wanted.empty()
            return None if self.ended else self._wanted.get()


def _answer(done: Future, what: Callable[[Browser], object], browser: Browser) -> None:
    try:
        done.set_result(what(browser))
    except BaseException as error:
        done.set_exception(error)


_thread: _Thread | None = None


def in_browser(what: Callable[[Browser], object]) -> Any:
    """Call `what` with a browser, in the thread of that one; its result, or its error."""
    global _thread
    while _thread is None or (done := _thread.ask(what)) is None:
        _thread = _Thread(need("chromium"))
    return done.result()


def network(folder: Path, rows: Iterable[Sequence[object]]) -> Path:
    """Have a network in a data directory: id, name, slots, north and east of the middle, price."""
    folder.mkdir(exist_ok=True)
    with (folder / NETWORK).open("w", newline="") as file:
        table = csv.writer(file, delimiter=";")
        table.writerow(HEADER)
        for number, name, slots, north, east, price in rows:
            where = (round(-12.25 + north, 5), round(-38.95 + east, 5))
            table.writerow((number, name, f"Rua {number}", *where, slots, 22, price, "Type 2"))
    return folder


def fill(client: Client, station: int, times: int, wait: bool = False) -> list[dict]:
    """Have cars charge at a station, or wait there; what the server says of each."""
    said = []
    for _ in range(times):
        user = client.request("LOGIN", **LOGIN)["data"]["user_id"]
        kind, more = ("RESERVE", {"wait": True}) if wait else ("ARRIVE", {})
        said.append(client.request(kind, user_id=user, id_station=station, **more)["data"])
    return said


class BrowserTestCase(ServerTestCase):
    """
    Tests run in the browser's thread. Each fails where the page has said something on the console,
    the CSP has kept it from something, or it has asked another host for anything.
    """

    expect = staticmethod(expect)
    port = 0
    allowed = r"(?!)"
    """What the console may say all the same: Chromium itself tells of connections that fail."""

    def setUp(self) -> None:
        name = self._testMethodName
        body = getattr(self, name)
        # Trial looks a test up again after this.
        setattr(self, name, lambda: in_browser(lambda browser: self._run_in(browser, body)))

    def _run_in(self, browser: Browser, body: Callable[[], object]) -> None:
        self.browser, self.contexts = browser, list[BrowserContext]()
        self.said, self.asked = list[str](), list[str]()
        try:
            body()
            wrong = [text for text in self.said if not re.search(self.allowed, text)]
            self.assertEqual(wrong, [], "the console")
            asked = map(urlsplit, self.asked)
            hosts = {each.netloc for each in asked if each.scheme != "file"}
            self.assertEqual(hosts - {f"127.0.0.1:{self.port}"}, set(), "other hosts")
        except BaseException:
            self._keep()
            raise
        finally:
            for context in self.contexts:
                context.close()

    def _keep(self) -> None:
        """Keep what is to be seen now."""
        KEPT.mkdir(parents=True, exist_ok=True)
        pages = [page for context in self.contexts for page in context.pages]
        for number, page in enumerate(pages, 1):
            page.screenshot(path=KEPT / f"{self.id().partition('browser.')[2]}-{number}.png")

    def serve(self, *options: str, data: Path | None = None, port: int = 0) -> Server:
        """A server that has the page at `port` of this machine, or one that is free."""
        self.port = port or free_port()
        data = Path(self.mktemp()) if data is None else data
        return self.start(data, "--web-port", str(self.port), *options).wait()

    def open(
        self,
        path: str = "/",
        language: str = "pt-BR",
        live: bool = True,
        websockets: Callable[[WebSocketRoute], object] | None = None,
        **more: Any,
    ) -> Page:
        """
        The page, in a profile of its own; or a file, by its address.

        :param live: wait until it shows the network.
        :param websockets: has each WebSocket of the page, in the server's stead.
        :param more: how the context is to be, as Playwright names it: :data:`DESKTOP`,
            :data:`PHONE`, `color_scheme`, `java_script_enabled`.
        """
        context = self.browser.new_context(
            **{**DESKTOP, "reduced_motion": "reduce", "locale": language, **more}
        )
        self.contexts.append(context)
        context.set_default_timeout(WAIT_MS)
        context.add_init_script(REPORTS)
        context.on("console", lambda message: self.said.append(message.text))
        context.on("weberror", lambda fault: self.said.append(str(fault.error)))
        context.on("request", lambda request: self.asked.append(request.url))
        page = context.new_page()
        page.on("websocket", lambda opened: self.asked.append(opened.url))
        if websockets is not None:
            page.route_web_socket("**", websockets)
        page.goto(urljoin(f"http://127.0.0.1:{self.port}/", path))
        if live:
            self.wait_until_live(page)
        return page

    def wait_until_live(self, page: Page) -> None:
        """Wait until the page shows the network as it is."""
        page.wait_for_selector("html[data-live]", state="attached")

    def assert_accessible(self, page: Page, within: str | None = None) -> None:
        """axe-core finds nothing against WCAG, nor against good practice, in what is shown."""
        found = Axe().run(page, within, {"resultTypes": ["violations"]})
        self.assertEqual(found.violations_count, 0, found.generate_report())

    def assert_fits(self, page: Page) -> None:
        """Nothing has to be scrolled sideways."""
        wide, there = page.evaluate(
            "() => [document.documentElement.scrollWidth, document.documentElement.clientWidth]"
        )
        self.assertLessEqual(wide, there)
