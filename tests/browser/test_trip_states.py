"""My journey where something comes between: no price, no slot, no time, no server."""

import json
import re
import signal
from pathlib import Path

from playwright.sync_api import Page

from tests.browser.test_link import FAILED
from tests.browser.test_trip import TripTestCase
from tests.support.browser import fill
from tests.support.servers import Client

TABLE = """\
id;nomeDoPosto;endereço;latitude;longitude;quantidadeDeVeiculosSimultaneos;potenciaKW;precoKWh;conectores
1;Posto <b>Um</b>;Rua A, 1;-12.25;-38.95;1;50;;CCS2
2;Posto Dois;Rua B, 2;-12.26;-38.96;2;50;2.10;CCS2
"""
"""Two stations, of which the first has a slot alone, and has told no price."""


class StatesTestCase(TripTestCase):
    """On a network of two stations."""

    def begin(self, *options: str) -> Page:
        """The page; `self.server`, `self.data`."""
        self.data = Path(self.mktemp())
        self.data.mkdir()
        (self.data / "feira_de_santana_stations.csv").write_text(TABLE, "utf-8")
        self.server = self.serve(*options, data=self.data)
        return self.open()

    def go_to(self, page: Page, station: str, battery: int = 40) -> None:
        """Up to the choice of what to do at this station, at which the car is."""
        self.take(page, battery)
        page.locator("#trip-station").select_option(station)
        self.press(page, "Usar este posto")
        self.step(page, "stations")
        page.locator("#trip-root .primary").click()
        self.expect(self.step(page, "confirm").locator(".trip-facts")).to_be_visible()

    def charge(self, page: Page) -> None:
        """Up to the charge at the second station."""
        self.go_to(page, "2")
        self.press(page, "Pagar ")
        self.step(page, "charging")


class ChoiceTests(StatesTestCase):
    """What is told of a station before it is paid."""

    def test_empty_battery(self) -> None:
        """A car that does not move charges where it stands."""
        page = self.begin()
        self.go_to(page, "2", battery=0)
        self.press(page, "Pagar ")
        self.expect(self.step(page, "charging")).to_contain_text("de 40,0 kWh")

    def test_unknown_price(self) -> None:
        """A price that nobody has told is not known, and never nothing; a name is only text."""
        page = self.begin()
        self.go_to(page, "1")
        shown = self.step(page, "confirm")
        self.expect(shown.locator(".trip-name")).to_have_text("Posto <b>Um</b>")
        self.expect(shown.locator(".trip-sum")).to_have_text("preço não informado")
        self.expect(shown.locator(".trip-assumed")).to_contain_text(
            re.compile(r"R\$\s2,00 por kWh")
        )
        self.expect(shown).not_to_contain_text(re.compile(r"R\$\s0,00"))
        self.assert_accessible(page)


class LineTests(StatesTestCase):
    """A station that is full, and deadlines."""

    def fill_first(self) -> tuple[Client, str]:
        """Another driver takes the first station: how to speak for that one, and as whom."""
        other = self.client(self.server)
        (taken,) = fill(other, 1, 1)
        return other, taken["user_id"]

    def test_taken_meanwhile(self) -> None:
        """Who pays a moment too late is offered the line, and leaves it again."""
        page = self.begin()
        self.go_to(page, "1")
        self.fill_first()
        self.press(page, "Pagar ")
        self.press(page, r"Lotado\. Entrar na fila \(posição 1, cerca de 2\d min\)")
        self.step(page, "waiting")
        self.press(page, "Sair da fila")
        self.step(page, "stations")
        self.expect(page.locator(".trip-notice")).to_have_text("Você saiu da fila.")

    def test_offer_runs_out(self) -> None:
        """Who does not accept in time is told so, and sees stations again."""
        page = self.begin("--offer-minutes", "0.02")
        other, user = self.fill_first()
        self.go_to(page, "1")
        self.press(page, "Lotado")
        self.step(page, "waiting")
        other.request("STOP", user_id=user)
        self.step(page, "stations")
        self.expect(page.locator(".trip-notice")).to_contain_text("O prazo da oferta acabou")

    def test_missed(self) -> None:
        """A reservation that nobody came for ends in a receipt that says so."""
        page = self.begin("--hold-minutes", "0.02")
        self.go_to(page, "2")
        self.press(page, "Reservar a vaga")
        self.expect(self.step(page, "receipt")).to_contain_text("a reserva venceu")
        self.assertEqual(self.kept(page), {})
        self.assert_accessible(page)


class ServerTests(StatesTestCase):
    """A server that is away, or busy, or has gone on meanwhile."""

    allowed = rf"{FAILED}|status of 429|Refused to apply style"

    def test_ended_while_away(self) -> None:
        """A journey that ended while the page was not there shows its receipt."""
        page = self.begin()
        self.charge(page)
        kept = self.kept(page)
        page.goto("about:blank")
        self.client(self.server).request("STOP", user_id=kept["user_id"])
        page.goto(f"http://127.0.0.1:{self.port}/")
        self.expect(self.step(page, "receipt")).to_contain_text(kept["receipt_id"])
        self.assertEqual(self.kept(page), {})

    def test_server_dies_at_the_payment(self) -> None:
        """What was asked is asked again when a server is back: one slot, and one payment."""
        page = self.begin()
        self.go_to(page, "2")
        self.server.end(signal.SIGKILL)
        self.expect(page.locator("html")).not_to_have_attribute("data-live", "")
        self.press(page, "Pagar ")
        self.expect(page.locator(".trip-notice")).to_contain_text("Sem conexão. O que você pediu")
        self.serve(data=self.data, port=self.port)
        self.step(page, "charging")
        self.expect(page.locator(".trip-notice")).to_be_hidden()
        lines = (self.data / "payments.jsonl").read_text("utf-8").splitlines()
        self.assertEqual([json.loads(line)["station"] for line in lines], [2])

    def test_too_many_requests(self) -> None:
        """Who asks more than the operator allows gets there without asking again."""
        page = self.begin("--rate-per-connection", "1")
        self.charge(page)
        self.expect(page.locator("#map .car")).to_have_accessible_name("Seu carro")
        page.locator("#language").click()
        self.expect(page.locator("#map .car")).to_have_accessible_name("Your car")
        self.expect(page.locator(".trip-title")).to_have_text("Charging")
        self.expect(page.locator(".trip-steps [aria-current]")).to_have_text("Charge")
