"""The twenty questions, in both languages: each answer is short, leads on, and is so."""

import re
import subprocess
from pathlib import Path

from tests.support.ports import free_port
from tests.support.servers import ROOT, ServerTestCase
from tests.support.tools import need
from tests.support.transcripts import shell

PAGES = [ROOT / "docs" / "faq.md", ROOT / "docs" / "pt" / "faq.md"]
QUESTIONS, MOST_LINES = 20, 5
STATIONS = """\
id;nomeDoPosto;endereço;latitude;longitude;quantidadeDeVeiculosSimultaneos
1;Posto da Praça;Centro;-12.2590;-38.9560;2
"""


def answers(page: Path) -> dict[str, str]:
    """The page's answers by question."""
    parts = re.split(r"^### (.*)\n", page.read_text(), flags=re.M)[1:]
    texts = [re.split(r"^(?:## |Next: |A seguir: )", text, flags=re.M)[0] for text in parts[1::2]]
    return dict(zip(parts[::2], texts, strict=True))


class AnswerTests(ServerTestCase):
    """What a person does who has read an answer."""

    def test_short(self) -> None:
        """There are twenty, each of a few lines with a link."""
        for page in PAGES:
            found = answers(page)
            self.assertEqual(len(found), QUESTIONS)
            for question, answer in found.items():
                self.assertLessEqual(len(answer.strip().splitlines()), MOST_LINES, question)
                self.assertRegex(answer, r"\]\([^)]+\.md", question)

    def test_other_port(self) -> None:
        """curl at the drivers' port gets 400 and a sentence; a name at the map's port gets 421."""
        need("curl")
        web = free_port()
        server = self.start(Path(self.mktemp()), f"--web-port=tcp:{web}:interface=127.0.0.1")
        port = server.wait().port

        def code(*arguments: str) -> str:
            line = ["curl", "--silent", "--max-time", "30", "--write-out", "%{http_code}"]
            done = subprocess.run([*line, *arguments], capture_output=True, text=True, check=True)
            return done.stdout

        self.assertRegex(code(f"http://127.0.0.1:{port}/"), r"(?s) HTTP, .*400$")
        self.assertRegex(code(f"http://127.0.0.1:{web}/api/v1/stations"), "200$")
        named = code("--header", "Host: carga.example.org", f"http://127.0.0.1:{web}/")
        self.assertRegex(named, "421$")

    def test_netcat(self) -> None:
        """Without -N netcat waits for more; with it, it ends after the reply."""
        program = need("nc")
        port = str(self.start(Path(self.mktemp())).wait().port)
        with (ROOT / "docs" / "examples" / "login.json").open() as login:
            done = subprocess.run(
                [program, "-N", "127.0.0.1", port], stdin=login, capture_output=True, timeout=60
            )
            self.assertIn(b'"user_id"', done.stdout)
            login.seek(0)
            waiting = subprocess.Popen(
                [program, "127.0.0.1", port], stdin=login, stdout=subprocess.PIPE
            )
            self.addCleanup(waiting.wait)
            self.addCleanup(waiting.kill)
            assert waiting.stdout is not None
            self.addCleanup(waiting.stdout.close)
            self.assertIn(b'"user_id"', waiting.stdout.readline())
            self.assertIsNone(waiting.poll())

    def test_second_server(self) -> None:
        """A second server on the same data says what the answer says, and ends."""
        folder = Path(self.mktemp())
        self.start(folder).wait()
        out, err = self.start(folder).process.communicate(timeout=60)
        told = "is in use by another evcharge process"
        self.assertIn(told, (err or out).splitlines()[-1])
        for page in PAGES:
            self.assertIn(f"`{told}`", page.read_text())

    def test_commands(self) -> None:
        """Own stations, a new price, a copy, a curve: each command that is named does it."""
        for page in PAGES:
            bootstrap, export, apply, backup, charge = (
                self.command(page, name)
                for name in ("bootstrap", "export", "apply", "backup", "charge")
            )
            folder = Path(self.mktemp())
            folder.mkdir()
            (folder / "my-stations.csv").write_text(STATIONS)
            self.assertIn("1 stations with 2 free slots", shell(folder, bootstrap))
            shell(folder, export)
            (table,) = (folder / "network").glob("*stations.csv")
            rows = table.read_text().splitlines()
            place = rows[0].split(";").index("precoKWh")
            cells = rows[1].split(";")
            cells[place] = "2.35"
            table.write_text("\n".join([rows[0], ";".join(cells), ""]))
            self.assertIn("-> 2.35", shell(folder, apply))
            self.assertIn("a copy of", shell(folder, backup))
            copied = self.start(folder / "copy", "--time-zone=America/Manaus").wait()
            self.assertTrue(copied.port)
            self.assertIn("10 % to 80 %", shell(folder, charge))

    def command(self, page: Path, name: str) -> str:
        """What the page says to type, of the command of that name."""
        (found,) = set(re.findall(rf"`(evcharge {name} [^`]*)`", page.read_text()))
        return found
