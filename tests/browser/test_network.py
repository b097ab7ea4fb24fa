"""The network live: what changes, what is strange, and what is large."""

from pathlib import Path

from tests.support.browser import BrowserTestCase, fill, network
from tests.support.commands import run

LONG = "Posto " + "comprido " * 10 + "abcd"
"""A name of 100 characters."""
MARKUP = '<b>Posto</b> & "Cia" <img src=x onerror=alert(1)>'


class LiveTests(BrowserTestCase):
    """What drivers do is seen."""

    def test_changes(self) -> None:
        """A slot that is taken, a full station, its queue: on the map, in details and table."""
        server = self.serve()
        driver = self.client(server)
        page = self.open()
        marker, row = (
            page.locator("#map [data-id='13']"),
            page.locator("#stations tr[data-id='13']"),
        )
        self.expect(marker).to_have_attribute("data-look", "free")
        marker.click()
        details = page.locator("#map .station-popup")
        self.expect(details).to_contain_text("1 de 1 vagas livres")
        fill(driver, 13, 1)
        self.expect(marker).to_have_attribute("data-look", "full")
        self.expect(details).to_contain_text("Lotado")
        fill(driver, 13, 2, wait=True)
        self.expect(marker).to_have_attribute("data-look", "queue")
        self.expect(marker).to_have_accessible_name(
            "Observatório Astronômico Antares: 0 de 1 vagas livres, fila 2, 7,4 kW, "
            "R$\xa01,20 por kWh"
        )
        self.expect(details).to_contain_text("2 na fila; quem chega agora fica na posição 3")
        self.expect(row).to_contain_text("2")
        page.keyboard.press("Escape")
        self.expect(details).to_have_count(0)
        self.expect(marker).to_be_focused()

    def test_out_of_service(self) -> None:
        """A station that is out of service is crossed out, and says why."""
        data = Path(self.mktemp())
        self.serve(data=data).end()
        run("evse", "13-1", "--status", "OUTOFORDER", "--storage", f"files:{data}")
        self.serve(data=data)
        page = self.open()
        marker = page.locator("#map [data-id='13']")
        self.expect(marker).to_have_attribute("data-look", "out")
        marker.click()
        self.expect(page.locator("#map .station-popup")).to_contain_text("13-1: com defeito")

    def test_empty(self) -> None:
        """A network without stations says so, in table and trip."""
        self.serve(data=network(Path(self.mktemp()), ()))
        page = self.open()
        self.expect(page.locator("#stations")).to_contain_text("A rede ainda não tem postos.")
        self.expect(page.locator("#map button.station")).to_have_count(0)
        self.assert_accessible(page)

    def test_texts(self) -> None:
        """Markup in a name is text, a long name fits, and a price that nobody said is no 0."""
        rows = [(1, MARKUP, 2, 0, 0, ""), (2, LONG, 2, 0.05, 0.05, 1.5)]
        self.serve(data=network(Path(self.mktemp()), rows))
        page = self.open(viewport={"width": 320, "height": 800})
        for number, name in ((1, MARKUP), (2, LONG.strip())):
            self.expect(page.locator(f"#stations tr[data-id='{number}']")).to_contain_text(name)
        self.assertEqual(page.locator("main b, main img").count(), 0)
        self.assert_fits(page)
        self.expect(page.locator("#map [data-id='1']")).to_have_accessible_name(
            f"{MARKUP}: 2 de 2 vagas livres, fila 0, 22 kW, preço não informado"
        )
        self.assertNotIn("R$\xa00", page.locator("main").inner_text())

    def test_large(self) -> None:
        """A thousand stations are there; the table finds one, and is no long wait."""
        rows = [
            (n, f"Posto {n}", 1 + n % 9, (n % 40 - 20) / 300, (n // 40 - 12) / 200, 2)
            for n in range(1, 1001)
        ]
        server = self.serve(data=network(Path(self.mktemp()), rows))
        page = self.open()
        self.expect(page.locator("#stations")).to_contain_text("1.000 postos")
        page.get_by_role("searchbox").fill("Posto 777")
        self.expect(page.locator("#stations tbody tr")).to_have_count(1)
        fill(self.client(server), 777, 1)
        self.expect(page.locator("#stations tr[data-id='777']")).to_contain_text("3")

    def test_changed_network(self) -> None:
        """A station renamed, and one removed, while its details are looked at."""
        data = network(Path(self.mktemp()), [(1, "Um", 2, 0, 0, 2), (2, "Dois", 2, 0.02, 0, 2)])
        self.allowed = "WebSocket connection"
        server = self.serve(data=data)
        page = self.open()
        page.locator("#map [data-id='2']").click()
        server.end()
        (data / "stations" / "2.json").unlink(missing_ok=True)
        network(data, [(1, "Primeiro", 2, 0, 0, 2)])
        self.serve(data=data, port=self.port)
        self.expect(page.locator("#stations tbody tr")).to_have_count(1)
        self.expect(page.locator("#map [data-id='1']")).to_have_accessible_name(
            "Primeiro: 2 de 2 vagas livres, fila 0, 22 kW, R$\xa02,00 por kWh"
        )
        self.expect(page.locator("#map")).to_contain_text("Este posto saiu da rede.")
        self.expect(page.locator("#map [data-id='2']")).to_have_count(0)


class TableTests(BrowserTestCase):
    """The table: the way for keyboard and screen reader."""

    def test_table(self) -> None:
        """It sorts, searches without accents, and leaves out full stations."""
        server = self.serve()
        fill(self.client(server), 13, 1)
        page = self.open()
        rows = page.locator("#stations tbody tr")
        self.expect(rows).to_have_count(36)
        page.get_by_label("só com vaga livre").check()
        self.expect(rows).to_have_count(35)
        page.get_by_label("só com vaga livre").uncheck()
        page.get_by_role("searchbox").fill("observatorio")
        self.expect(rows).to_have_count(1)
        page.get_by_role("searchbox").fill("no such")
        self.expect(rows).to_have_count(0)
        self.expect(page.locator("#stations")).to_contain_text("Nenhum posto assim.")
        page.get_by_role("button", name="Limpar a busca").click()
        header = page.get_by_role("columnheader", name="R$/kWh")
        header.get_by_role("button").click()
        self.expect(header).to_have_attribute("aria-sort", "ascending")
        first = rows.first.inner_text()
        header.get_by_role("button").click()
        self.expect(header).to_have_attribute("aria-sort", "descending")
        self.assertNotEqual(rows.first.inner_text(), first)
