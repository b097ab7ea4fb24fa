"""The tutorial in both languages, and the page on tests: each command does what is shown."""

import doctest
import re
import shlex
import socket
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Browser, expect

from evcharge import testing
from tests.support.browser import WAIT_MS, fill, in_browser
from tests.support.ports import free_port
from tests.support.scripted import environment
from tests.support.servers import ROOT, Client, ServerTestCase
from tests.support.tools import need, node
from tests.support.transcripts import Ids, commands
from tests.support.waiting import until

EXAMPLES = ROOT / "docs" / "examples"
PAGES = {"en": ROOT / "docs" / "tutorial.md", "pt": ROOT / "docs" / "pt" / "tutorial.md"}
REFUSED = ":8888: Connection refused\n"
"""What a program says that is started before the server."""
MOVING = re.compile(r"\d+[.,]\d+$|[\d.]+(?= kWh x | - )|(?<= - )[\d.]+", re.M)
"""What depends on the moment in a bill."""


def is_free(port: int) -> bool:
    """Whether nobody listens at a port of this machine."""
    with socket.socket() as caller:
        return caller.connect_ex(("127.0.0.1", port)) != 0


class Reader:
    """One who follows the page in a language, with a server and a copy of the examples."""

    def __init__(self, test: ServerTestCase, language: str, page: Path | None = None) -> None:
        self._page = page or PAGES[language]
        self.commands = commands(self._page)
        self.checkout = Path(test.mktemp()).absolute()
        self.folder = self.checkout / "docs" / "examples"
        self.data = self.checkout / "evcharge-data"
        self._ports = {port: str(free_port()) for port in ("8888", "8080", "3000")}
        self._ids = Ids()
        self._test = test
        self._language = language
        for path in EXAMPLES.iterdir():
            self._write(self.folder / path.name, path.read_text())
        port = self.here("--port=8888")
        self._program("python3", '"$@"')
        twistd = "from twisted.scripts.twistd import run; run()"
        self._program("twistd", f'-c "{twistd}" "$@"')
        self._program("evcharge", f'-c "from evcharge.cli import main; main()" "$@" {port}')

    def _write(self, path: Path, text: str) -> Path:
        path.parent.mkdir(exist_ok=True, parents=True)
        path.write_text(self.here(text))
        return path

    def _program(self, name: str, arguments: str) -> None:
        path = self.checkout / ".venv" / "bin" / name
        self._write(path, f'#!/bin/sh\nexec "{sys.executable}" {arguments}\n').chmod(0o700)

    def _typed(self, begin: str) -> str:
        """The last of the page's commands that begin so."""
        return re.findall(rf"^{begin} .*", self._page.read_text(), re.M)[-1]

    def here(self, text: str) -> str:
        """`text` with the ports of this reader's server."""
        for shown, port in self._ports.items():
            text = re.sub(rf"\b{shown}\b", port, text)
        return text

    def serve(self) -> None:
        """Start the server as the last step does: what is shown before is the same by it."""
        (options,) = re.findall('OPTIONS="(.*)"', self._typed("make run"))
        self._test.start(
            self.data, self.here("--web-port=8080"), *shlex.split(self.here(options)),
            port=self.here("tcp:8888:interface=127.0.0.1"),
        ).wait()  # fmt: skip

    @contextmanager
    def site(self) -> Iterator[None]:
        """Serve the examples to browsers as the page does, for a while."""
        port = int(self.here("3000"))
        with self.begin(f"exec {self._typed('python3 -m http.server')}", self.checkout) as site:
            try:
                until(lambda: not is_free(port), "the site", process=site)
                yield
            finally:
                site.terminate()
                site.communicate()

    def begin(self, line: str, folder: Path | None = None) -> subprocess.Popen:
        """Type a command, among the examples or in another folder."""
        path = f"{self.checkout}/.venv/bin:{environment()['PATH']}"
        return subprocess.Popen(
            ["sh", "-c", self._ids.real(self.here(line))],
            cwd=folder or self.folder, env=environment(PATH=path, PYTHONUNBUFFERED="1"),
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip

    def run(self, line: str) -> str:
        """What a command prints."""
        with self.begin(line) as process:
            return process.communicate(timeout=60)[0]

    def module(self, name: str) -> str:
        """What a module of JavaScript says on the console of a browser."""
        script = f'<script type="module" src="{name}"></script>'
        self._write(self.folder / "blank.html", script)

        def look(browser: Browser) -> str:
            with browser.new_context(locale=self._language) as context:
                page, said = context.new_page(), list[str]()
                page.on(
                    "console", lambda each: each.type == "log" and said.append(f"{each.text}\n")
                )
                with page.expect_websocket() as opened:
                    page.goto(self.here("http://127.0.0.1:3000/blank.html"))
                if not opened.value.is_closed():
                    opened.value.wait_for_event("close")
                return "".join(said)

        with self.site():
            return in_browser(look)

    def leave(self) -> None:
        """End all journeys, as what a page shows is the first of its day."""
        client = Client(int(self._ports["8888"]))
        for path in (self.data / "users").glob("*.json"):
            client.request("PAYMENT", user_id=path.stem, id_station=9, confirmation=False)
        client.close()

    def check(self, said: str, shown: str) -> None:
        """It is what is shown, but for what depends on the moment."""
        said = re.sub(rf"(.*{REFUSED})+", r"\1", said.replace(self._ports["8888"], "8888"))
        shown = re.sub(rf"(.*{REFUSED})+", r"\1", shown)
        self._ids.check(self._test, MOVING.sub("#", said), MOVING.sub("#", shown))

    def follow(self) -> None:
        """Type each command in turn, but that which is to wait for the server."""
        for line, shown in self.commands:
            program, *words = line.split()
            if "user_id=" not in line:
                self.leave()
            if program == "node":
                self.check(self.module(*words), shown)
                if node():
                    self.leave()
                    self.check(self.run(shlex.join([*node(), *words])), shown)
            elif REFUSED not in shown:
                self.check(self.run(line), shown)


class TutorialTests(ServerTestCase):
    """What the page has a person do."""

    def test_commands(self) -> None:
        """Each command prints what is shown, in either language."""
        need("curl", "jq", "nc", "chromium")
        readers = [Reader(self, language) for language in PAGES]
        early = []
        for reader in readers:
            ((line, shown),) = (each for each in reader.commands if REFUSED in each[1])
            early.append((reader, reader.begin(line), shown))
        for reader, process, shown in early:
            with process:
                said = process.stdout.readline()
                reader.serve()
                reader.check(said + process.communicate(timeout=60)[0], shown)
        with ThreadPoolExecutor() as threads:
            list(threads.map(Reader.follow, readers))

    def test_same(self) -> None:
        """Both pages have the same commands, and include each example but those of other pages."""
        lines, included = [], []
        for language, page in PAGES.items():
            lines.append([line for line, _ in commands(page)])
            text = page.read_text().replace(f"--language {language}", "")
            included.append(re.findall(r"^```(?:sh\n[^`]*|\{.*)", text, re.M))
        self.assertEqual(lines[0], lines[1])
        self.assertEqual(included[0], included[1])
        for page in PAGES.values():
            # The first one is shown where no page includes a file, too.
            self.assertIn(f"```python\n{(EXAMPLES / 'first.py').read_text()}```", page.read_text())
        found = {"first.py"} | set(re.findall(r" /examples/(\S+)", "\n".join(included[0])))
        others = {"test_recipes.py", "with_server.sh"}
        others |= {"journey.py", "journey.sh", "journey.html", "plan.py", "session.json"}
        self.assertEqual(
            {path.name for path in EXAMPLES.iterdir()} - found, others | {"tariff.json"}
        )

    def test_app(self) -> None:
        """
        The page says where there is no server, and finds it when it comes. It shows the network, a
        queue, an offer, a charge, and the receipt.
        """
        reader = Reader(self, "en")
        with reader.site():
            in_browser(lambda browser: self.use(browser, reader))

    def use(self, browser: Browser, reader: Reader) -> None:
        with browser.new_context(locale="pt-BR") as context:
            page = context.new_page()
            wrong = list[str]()
            page.on("pageerror", lambda error: wrong.append(str(error)))
            page.goto(reader.here("http://127.0.0.1:3000/app.html"))
            said, state = page.get_by_role("status"), page.locator("#state")
            expect(said).to_contain_text(reader.here("? --web-origin http://127.0.0.1:3000?"))
            reader.serve()
            client = Client(int(reader.here("8888")))
            self.addCleanup(client.close)
            (other,) = fill(client, 8, 1)
            expect(page.locator("circle")).to_have_count(36, timeout=WAIT_MS)
            expect(page.locator("circle.full")).to_have_count(1)
            page.get_by_label("Station").select_option("8")
            page.get_by_role("button", name="RESERVE").click()
            expect(said).to_contain_text("Lugar 1 na fila")
            expect(state).to_have_text("WAITING")
            client.request("STOP", user_id=other["user_id"])
            expect(state).to_have_text("OFFERED")
            page.get_by_role("button", name="ARRIVE").click()
            expect(state).to_have_text("CHARGING")
            page.wait_for_function("document.getElementById('battery').value > 40")
            page.get_by_role("button", name="STOP").click()
            expect(page.locator("#receipt tr").first).to_contain_text("ENERGY")
            expect(state).to_have_text("FREE")
            self.assertEqual(wrong, [])


class OwnTestsTests(ServerTestCase):
    """The page on the tests of people's programs."""

    page = ROOT / "docs" / "testing.md"

    def test_session(self) -> None:
        """What is typed there says what is shown."""
        text = self.page.read_text()
        (session,) = re.findall(r"^```python\n(>>> .*?)^```", text, re.M | re.S)
        self.typed(session, self.page)

    def test_docstring(self) -> None:
        """So does what the module's own documentation shows."""
        self.typed(testing.__doc__, Path(testing.__file__))

    def typed(self, session: str, where: Path) -> None:
        """What is typed behind `>>>` says what is shown behind it."""
        failed = list[str]()
        parsed = doctest.DocTestParser().get_doctest(session, {}, where.name, str(where), 0)
        self.assertNotEqual(parsed.examples, [])
        doctest.DocTestRunner().run(parsed, out=failed.append)
        self.assertEqual(failed, [])

    def test_recipes(self) -> None:
        """Each recipe is a test that passes, and all of them are shown."""
        done = subprocess.run(
            [sys.executable, "-m", "unittest", "-v", "test_recipes", "test_driver"],
            cwd=EXAMPLES, env=environment(), capture_output=True, text=True, timeout=60,
        )  # fmt: skip
        self.assertEqual(done.returncode, 0, done.stderr)
        shown = re.findall(r":pyobject: \w+\.(\w+)", self.page.read_text())
        passed = re.findall(r"^(test_\w+) .*\n?.*\.\.\. ok$", done.stderr, re.M)
        recipes = re.findall(r"def (test_\w+)", (EXAMPLES / "test_recipes.py").read_text())
        self.assertLessEqual({*shown} - {"start"}, {*passed})
        self.assertLessEqual({*recipes}, {*shown})

    def test_with_server(self) -> None:
        """The script starts a server, has a program use it, and leaves nothing behind."""
        need("dash")
        reader = Reader(self, "pt", self.page)
        ((line, shown),) = reader.commands
        reader.check(reader.run(line), shown)
        for port in ("8888", "8080"):
            self.assertTrue(is_free(int(reader.here(port))), port)
