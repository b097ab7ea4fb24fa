"""docs/web.md: its programs do what it says, and each of its commands is run."""

import functools
import re
import subprocess
import sys
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from evcharge import outcomes
from evcharge.web import live
from evcharge.web.routes import ROUTES
from tests.support.browser import in_browser
from tests.support.ports import free_port
from tests.support.scripted import environment
from tests.support.servers import ROOT, Server, ServerTestCase
from tests.support.tools import need

EXAMPLES = ROOT / "docs" / "examples"
PAGE = ROOT / "docs" / "web.md"
UUID = r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
MOST_LINES = 30
"""How long a journey may be in any language, lines."""


class WebTestCase(ServerTestCase):
    """A server with a web port."""

    def serve(self, *options: str) -> Server:
        self.web = free_port()
        return self.start(Path(self.mktemp()), "--web-port", str(self.web), *options).wait()


class Quiet(SimpleHTTPRequestHandler):
    """Serves a folder, and says nothing of it."""

    def log_message(self, format: str, *args: object) -> None:
        pass


class JourneyTests(WebTestCase):
    """The same journey in three languages."""

    def check(self, said: str) -> None:
        """It went as the page shows it, but for what depends on the moment."""
        (shown,) = re.findall(r"^```text\n(.*?)^```", PAGE.read_text(), re.M | re.S)
        moving = re.compile(r"\b[\d.]+(?= % after | kWh$)|(?<=ended: R\$ )[\d.]+", re.M)
        self.assertEqual(moving.sub("…", said), moving.sub("…", shown))

    def short(self, text: str) -> None:
        self.assertLessEqual(len(text.strip().splitlines()), MOST_LINES)

    def test_python(self) -> None:
        """In Python, by evcharge.client."""
        path = EXAMPLES / "journey.py"
        self.short(path.read_text())
        done = subprocess.run(
            [sys.executable, path, str(self.serve("--language", "en").port)],
            capture_output=True, text=True, env=environment(), timeout=60,
        )  # fmt: skip
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.check(done.stdout)

    def test_curl(self) -> None:
        """In the shell, by curl."""
        need("curl", "jq")
        path = EXAMPLES / "journey.sh"
        self.short(path.read_text())
        self.serve()
        done = subprocess.run(
            ["sh", path, f"http://127.0.0.1:{self.web}"],
            capture_output=True, text=True, timeout=60,
        )  # fmt: skip
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.check(done.stdout)

    def test_page(self) -> None:
        """In JavaScript, in a page that another server has."""
        text = (EXAMPLES / "journey.html").read_text()
        (script,) = re.findall(r"<script[^>]*>\n(.*)</script>", text, re.S)
        self.short(script)
        folder = Path(self.mktemp())
        folder.mkdir()
        handler = functools.partial(Quiet, directory=str(folder))
        with ThreadingHTTPServer(("127.0.0.1", 0), handler) as other:
            thread = threading.Thread(target=other.serve_forever)
            thread.start()
            try:
                origin = f"http://127.0.0.1:{other.server_port}"
                self.serve("--web-origin", origin)
                text = text.replace("8080", str(self.web))
                (folder / "journey.html").write_text(text)
                self.check(in_browser(lambda browser: self.shown(browser, origin)))
            finally:
                other.shutdown()
                thread.join()

    def shown(self, browser: object, origin: str) -> str:
        """What the page says, up to the journey's end."""
        with browser.new_context() as context:
            page = context.new_page()
            page.goto(f"{origin}/journey.html")
            page.wait_for_selector("p:nth-of-type(4)", timeout=30_000)
            return "".join(f"{text}\n" for text in page.locator("p").all_inner_texts())


ON_DEBIAN = {"install.md", "upgrade.md"}
"""Pages of which another test runs every command, on a machine of its own."""
DOCS = sorted(
    page
    for page in [*(ROOT / "docs").rglob("*.md"), *ROOT.glob("README*.md")]
    if page.name not in ON_DEBIAN
)
COMMAND = re.compile(r"^(?: {4,}|\$ |`{3}sh\n)?(curl (?:.*\\\n)*.*)|`(curl [^`]*)`", re.M)


class CommandTests(WebTestCase):
    """The lines that a person copies."""

    def run_it(self, command: str, folder: Path | None = None) -> str:
        """What a command prints; where it goes on, what it does in two seconds."""
        # What is refused is no example.
        quick = command.replace("curl ", "curl --fail-with-body --max-time 20 ", 1)
        if goes_on := " -sN " in quick:
            quick = quick.replace("--max-time 20", "--max-time 2")
        for number, port in self.ports.items():
            quick = quick.replace(f":{number}/", f":{port}/")
        done = subprocess.run(
            ["sh", "-c", quick], capture_output=True, text=True, timeout=60, cwd=folder
        )
        self.assertEqual(done.returncode, 28 if goes_on else 0, (command, done.stdout, done.stderr))
        return done.stdout

    def test_every(self) -> None:
        """Each line with curl, on whatever page, is answered as it should be."""
        need("curl")
        found = [
            (page, command or inline)
            for page in DOCS
            for command, inline in COMMAND.findall(page.read_text())
        ]
        lines = sum(len(re.findall(r"\bcurl -|\bcurl http", page.read_text())) for page in DOCS)
        self.assertEqual(len(found), lines)
        self.assertLessEqual(
            {"web.md", "evse.md", "watching.md"},
            {page.name for page, _ in found},
        )
        http = free_port()
        folder = Path(self.mktemp())
        token = folder.absolute() / "operator.token"
        folder.mkdir()
        server = self.serve("--http-port", str(http), "--operator-token-file", str(token))
        self.ports = {"8080": self.web, "9100": http}
        self.wait_for(server, " health at http://")
        for _, command in found:
            self.run_it(command, folder)

    def test_shown(self) -> None:
        """What is shown behind a command is what it prints."""
        need("curl")
        self.serve()
        self.ports = {"8080": self.web}
        found = 0
        for block in re.findall(r"^```console\n(.*?)^```", PAGE.read_text(), re.M | re.S):
            for command, shown in re.findall(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", block, re.M):
                parts = map(re.escape, shown.strip().split("…"))
                pattern = re.compile(rf"\A{'.*'.join(parts)}\Z", re.S)
                self.assertRegex(self.run_it(command).strip(), pattern)
                found += 1
        self.assertGreaterEqual(found, 6)


class TableTests(SynchronousTestCase):
    """What there is, and what is refused."""

    def test_paths(self) -> None:
        """Every path that can be asked for by GET is on the page, and no other is."""
        named = set(re.findall(r"^\| `(/api/v1/[^`<?]+)", PAGE.read_text(), re.M))
        there = {route.path for route in ROUTES if route.method == "GET"}
        self.assertEqual(named, there | {"/api/v1/socket", live.PATH})

    def test_reasons(self) -> None:
        """Every reason for a refusal is on a page with its code; this one has none but those."""
        row = re.compile(r"^\| ([\d, ]+) \|(.*)", re.M)
        told = [
            (int(code), reason, name)
            for name in ("protocol.md", "operation/evse.md", "web.md")
            for codes, rest in row.findall((ROOT / "docs" / name).read_text())
            for code in codes.split(",")
            for reason in re.findall(
                r"`(\w+)`", rest.partition("|")[0] if name == "web.md" else rest
            )
        ]
        there = {
            (each.code, each.reason)
            for each in vars(outcomes).values()
            if isinstance(each, outcomes.Outcome) and each.reason
        }
        self.assertEqual(there - {(code, reason) for code, reason, _ in told}, set())
        own = {(code, reason) for code, reason, name in told if name == "web.md"}
        self.assertGreater(len(own), 8)
        self.assertLessEqual(own, there)
