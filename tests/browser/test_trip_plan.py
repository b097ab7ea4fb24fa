"""My journey beyond the range: where to, the plan, its alternatives, and how it goes on."""

import json
import os
import re
import select
import signal
from contextlib import closing
from itertools import pairwise
from math import ceil
from pathlib import Path

from playwright.sync_api import Locator, Page, WebSocketRoute

from evcharge.process.planners.parent import MOST_WAITING
from tests.browser.test_link import FAILED
from tests.browser.test_trip import TripTestCase
from tests.support.browser import PHONE, WAIT_MS, network
from tests.support.servers import LOGIN, Client, request_line

SALVADOR = ("-12.9714", "-38,5014")
NEAR = ("-12.30", "-38.96")
VITORIA = ("-14.8615", "-40.8442")


class PlanTestCase(TripTestCase):
    """Goes through the planning of a trip."""

    def to_goal(self, page: Page, battery: int = 40) -> Locator:
        """From the middle of the map, up to the question where to."""
        self.take(page, battery)
        self.press(page, "centro do mapa|map's centre")
        if battery < 100:
            self.step(page, "stations")
            self.press(page, "Planejar a viagem|Plan the trip")
        shown = self.step(page, "goal")
        self.expect(page.locator("#trip-latitude")).to_be_visible()
        return shown

    def ask_for(self, page: Page, goal: tuple[str, str]) -> None:
        """Type where to, and have it planned."""
        page.locator("#trip-latitude").fill(goal[0])
        page.locator("#trip-longitude").fill(goal[1])
        page.locator("#trip-root .primary").click()

    def plan(self, page: Page, goal: tuple[str, str] = SALVADOR, battery: int = 40) -> Locator:
        """The answer to a trip there."""
        self.to_goal(page, battery)
        self.ask_for(page, goal)
        return self.step(page, "plan")


class PlanTests(PlanTestCase):
    """Plans that there are."""

    def test_stops_in_order(self) -> None:
        """A trip to Salvador shows its stop, with the battery, the time and the price of each."""
        self.serve()
        page = self.open()
        shown = self.plan(page)
        self.expect(shown.locator(".trip-title")).to_be_focused()
        self.expect(shown.locator(".trip-title")).to_have_text("Viagem com 1 parada")
        self.expect(shown.locator(".trip-stops li")).to_have_count(3)
        start, stop, end = shown.locator(".trip-stops li").all()
        self.expect(start).to_contain_text("sai com 40%")
        self.expect(stop).to_contain_text(
            re.compile(r"\d+,\d% → \d+,\d% em [<\d]+.* min · R\$\s\d+,\d\d.*\d+ min depois")
        )
        self.expect(end).to_contain_text("chega com 10%")
        self.expect(shown).to_contain_text("sem mapa de estradas, contamos a linha reta")
        self.expect(page.locator("#map path.route")).to_have_count(1)
        self.expect(page.locator("#map .route-sign")).to_have_text(["", "1"])
        self.assert_apart(page)
        self.assert_accessible(page)

    def test_several_stops(self) -> None:
        """A long trip has its stops numbered, the list as the map, wherever it goes."""
        rows = [(n, f"Parada {n}", 2, -n / 2, n / 50, 2) for n in range(1, 9)]
        self.serve(data=network(Path(self.mktemp()), rows))
        page = self.open()
        shown = self.plan(page, ("-17.2", "-38.8"))
        signs = [sign.text_content() for sign in shown.locator(".trip-stop-sign").all()]
        count = len(signs) - 2
        self.assertGreater(count, 1)
        self.assertEqual(signs, ["", *map(str, range(1, count + 1)), ""])
        self.expect(shown.locator(".trip-title")).to_have_text(f"Viagem com {count} paradas")
        self.expect(page.locator("#map .route-sign")).to_have_count(1 + count)
        self.assert_apart(page)

    def assert_apart(self, page: Page) -> None:
        """The car and the signs of the trip are in the map, and none lies on another."""
        plane = page.locator("#map").bounding_box()
        boxes = [each.bounding_box() for each in page.locator("#map :is(.route-sign, .car)").all()]
        self.assertGreaterEqual(len(boxes), 3)
        for box in boxes:
            self.assertLessEqual(plane["x"], box["x"])
            self.assertLessEqual(box["x"] + box["width"], plane["x"] + plane["width"])
            self.assertLessEqual(plane["y"], box["y"])
            self.assertLessEqual(box["y"] + box["height"], plane["y"] + plane["height"])
        for number, one in enumerate(boxes):
            for other in boxes[number + 1 :]:
                far = max(
                    abs(one["x"] - other["x"]) - (one["width"] + other["width"]) / 2,
                    abs(one["y"] - other["y"]) - (one["height"] + other["height"]) / 2,
                )
                across = (
                    (one["x"] + one["width"] / 2 - other["x"] - other["width"] / 2) ** 2
                    + (one["y"] + one["height"] / 2 - other["y"] - other["height"] / 2) ** 2
                ) ** 0.5
                self.assertTrue(far >= -1 or across >= (one["width"] + other["width"]) / 2 - 1)

    def test_front(self) -> None:
        """The curve's points are the plans, the fastest first: each can be chosen."""
        self.serve()
        page = self.open()
        shown = self.plan(page)
        points = shown.locator(".trip-point")
        count = points.count()
        self.assertGreaterEqual(count, 2)
        self.expect(points.first).to_have_attribute("aria-pressed", "true")
        boxes = [point.bounding_box() for point in points.all()]
        for one, other in pairwise(boxes):
            self.assertGreater(other["x"], one["x"])
            self.assertGreaterEqual(other["y"], one["y"])
        total = shown.locator(".trip-figure-value")
        dearest = total.nth(1).text_content()
        points.last.focus()
        page.keyboard.press("Enter")
        self.expect(points.last).to_have_attribute("aria-pressed", "true")
        self.expect(points.last).to_be_focused()
        self.expect(total.nth(1)).not_to_have_text(dearest or "")
        shown.locator("summary").click()
        rows = shown.locator(".trip-front tbody tr")
        self.expect(rows).to_have_count(count)
        self.expect(rows.last).to_have_attribute("aria-current", "true")
        self.expect(rows.last.locator("th")).to_have_text(total.first.text_content() or "")
        self.assert_accessible(page)

    def test_reserve(self) -> None:
        """Another reserve is another plan, which arrives with it; the slider keeps the focus."""
        self.serve()
        page = self.open()
        shown = self.plan(page)
        page.locator("#trip-reserve").focus()
        for _ in range(5):
            page.keyboard.press("ArrowRight")
        self.expect(shown.locator(".trip-stops li").last).to_contain_text("chega com 15%")
        self.expect(page.locator("#trip-reserve")).to_be_focused()
        self.expect(page.locator("#trip-status")).to_contain_text("Viagem com 1 parada: 1 h")

    def test_within_range(self) -> None:
        """Where the goal is within range, no stop is needed, and nothing is paid."""
        self.serve()
        page = self.open()
        shown = self.plan(page, NEAR, battery=100)
        self.expect(shown.locator(".trip-title")).to_have_text(
            "Viagem sem parada: o destino está ao alcance"
        )
        self.expect(shown.locator(".trip-stops li")).to_have_count(2)
        self.expect(page.locator("#trip-root .primary")).to_be_hidden()
        self.expect(shown).not_to_contain_text("R$")
        self.assert_accessible(page)

    def test_first_stop(self) -> None:
        """The first stop is taken as any station is: with what the plan charges there, reserved."""
        self.serve()
        page = self.open()
        shown = self.plan(page)
        stop = shown.locator(".trip-stops li").nth(1)
        name = stop.locator("strong").text_content() or ""
        levels = re.search(r"([\d,]+)% → ([\d,]+)%", stop.text_content() or "")
        assert levels is not None
        arrives, leaves = (float(level.replace(",", ".")) for level in levels.groups())
        before, after = round(arrives), ceil(leaves)
        self.press(page, re.escape(f"Ir à 1ª parada: {name}"))
        confirm = self.step(page, "confirm")
        self.expect(confirm.locator(".trip-name")).to_have_text(name)
        charge = confirm.locator(".trip-facts")
        self.expect(charge).to_contain_text(f"de {before}% a {after}%")
        self.expect(page.locator("#map path.route")).to_have_count(0)
        self.press(page, "Reservar a vaga")
        self.expect(self.step(page, "reserved")).to_contain_text(name)

    def test_phone(self) -> None:
        """On a phone, in English, in the dark: the goal by touch, on the map."""
        self.serve()
        page = self.open(language="en", color_scheme="dark", **PHONE)
        self.to_goal(page, 20)
        self.assert_fits(page)
        self.press(page, "Choose on the map")
        page.locator("#map").tap(position={"x": 330, "y": 60})
        self.expect(page.locator("#map .route-sign.is-goal")).to_have_count(1)
        self.expect(page.locator("#trip-latitude")).to_have_value(re.compile(r"-1[12]\.\d{4}"))
        self.assert_accessible(page)
        self.ask_for(page, SALVADOR)
        shown = self.step(page, "plan")
        self.expect(shown.locator(".trip-title")).to_have_text("A trip with 1 stop")
        self.assert_fits(page)
        self.assert_apart(page)
        self.assert_accessible(page)

    def test_keyboard(self) -> None:
        """By keyboard alone, from the car to the first stop."""
        self.serve()
        page = self.open()
        self.to_goal(page)
        page.locator("#trip-latitude").focus()
        page.keyboard.type(SALVADOR[0])
        page.keyboard.press("Tab")
        page.keyboard.type(SALVADOR[1])
        page.keyboard.press("Tab")
        self.expect(page.locator("#trip-reserve")).to_be_focused()
        page.keyboard.press("Tab")
        page.keyboard.press("Enter")
        shown = self.step(page, "plan")
        self.expect(shown.locator(".trip-title")).to_be_focused()
        page.keyboard.press("Tab")
        page.keyboard.press("Tab")
        page.keyboard.press("Enter")
        self.expect(shown.locator(".trip-point").nth(1)).to_have_attribute("aria-pressed", "true")


class NoPlanTests(PlanTestCase):
    """Plans that there are not."""

    allowed = rf"{FAILED}|status of (429|503)"

    def test_none(self) -> None:
        """Where no chain of stations gets there, it is told what is missing and what would help."""
        self.serve()
        page = self.open()
        shown = self.plan(page, VITORIA)
        self.expect(shown.locator(".trip-title")).to_have_text("Nenhum plano possível")
        self.expect(shown).to_contain_text(
            re.compile(r"Até o destino faltam [\d,]+ km que nenhuma sequência de postos cobre")
        )
        self.expect(shown).to_contain_text("Nem sem reserva haveria um plano.")
        self.expect(page.locator("#map .route-sign")).to_have_count(1)
        self.expect(page.locator("#map path.route.is-open")).to_have_count(1)
        self.assert_accessible(page)

    def test_no_time(self) -> None:
        """Where time was up before it was known what would help, the page claims nothing of it."""

        def late(socket: WebSocketRoute) -> None:
            server = socket.connect_to_server()

            def told(message: str | bytes) -> None:
                reply = json.loads(message)
                if reply["type"] == "PLAN":
                    reply["data"]["assumed"].append("search_time")
                socket.send(json.dumps(reply))

            server.on_message(told)

        self.serve()
        shown = self.plan(self.open(websockets=late), VITORIA)
        self.expect(shown.locator(".trip-list li")).to_have_text(
            ["Não houve tempo de ver tudo o que ajudaria: talvez baste menos."]
        )

    def test_smaller_reserve(self) -> None:
        """Where a smaller reserve helps, it is one button away."""
        self.serve()
        page = self.open()
        self.to_goal(page, 20)
        page.locator("#trip-reserve").fill("30")
        self.ask_for(page, SALVADOR)
        shown = self.step(page, "plan")
        self.expect(shown.locator(".trip-title")).to_have_text("Nenhum plano possível")
        self.press(page, r"Planejar com reserva de \d+%")
        self.expect(shown.locator(".trip-title")).to_have_text("Viagem com 1 parada")
        self.expect(page.locator("#trip-reserve")).not_to_have_value("30")

    def test_more_battery(self) -> None:
        """Where more battery at the start helps, it is told how much, and that is enough."""
        self.serve()
        page = self.open()
        shown = self.plan(page, battery=2)
        why = shown.locator(".trip-list").text_content() or ""
        needed = re.search(r"Saindo com (\d+)%", why)
        assert needed is not None, why
        self.press(page, "Mudar carro ou bateria")
        self.step(page, "car")
        page.locator("#trip-battery").fill(needed[1])
        page.locator("#trip-root .primary").click()
        self.step(page, "stations")
        self.press(page, "Planejar a viagem")
        self.ask_for(page, SALVADOR)
        self.expect(self.step(page, "plan").locator(".trip-title")).to_have_text(
            re.compile(r"Viagem com \d paradas?")
        )

    def test_no_goal(self) -> None:
        """Without a goal, or with one that is no place, nothing is asked, and it is told why."""
        self.serve()
        page = self.open()
        self.to_goal(page)
        self.press(page, "Planejar a viagem")
        problem = page.locator("#trip-goal-problem")
        self.expect(problem).to_contain_text("Marque o destino no mapa")
        self.expect(page.locator("#trip-latitude")).to_be_focused()
        self.ask_for(page, ("-95", "0"))
        self.expect(problem).to_contain_text("A latitude vai de -90 a 90")
        self.assert_accessible(page)
        self.step(page, "goal")

    def test_lost(self) -> None:
        """A plan that was asked for while the server is away comes when it is back."""
        data = Path(self.mktemp())
        server = self.serve(data=data)
        page = self.open()
        self.to_goal(page)
        server.end()
        self.expect(page.locator("html")).not_to_have_attribute("data-live", "")
        self.ask_for(page, SALVADOR)
        self.expect(page.locator(".trip-notice")).to_contain_text("Sem conexão. O que você pediu")
        self.serve(data=data, port=self.port)
        self.step(page, "plan")

    def test_many_plan(self) -> None:
        """Where too many wait for a plan, the page says so, and has its own when they are gone."""
        server = self.serve()
        page = self.open()
        self.to_goal(page)
        with closing(Client(server.port)) as client:
            user = client.request("LOGIN", **LOGIN)["data"]["user_id"]
            places = [{"latitude": n - 12.97, "longitude": -n - 38.5} for n in (0.7, 0)]
            asked = request_line("PLAN", user_id=user, places=places)
            client.socket.sendall(asked)
            self.assertEqual(client.reply()["status"]["code"], 200)
        (planner,) = re.findall(r"Planner 1 is process (\d+)", "".join(list(server.log)))
        os.kill(int(planner), signal.SIGSTOP)
        self.addCleanup(os.kill, int(planner), signal.SIGCONT)
        clients = [Client(server.port) for _ in range(MOST_WAITING + 2)]
        for client in clients:
            self.addCleanup(client.close)
            client.socket.sendall(asked)
        refused, _, _ = select.select([client.socket for client in clients], [], [], WAIT_MS / 1000)
        self.assertEqual(len(refused), 1)
        self.ask_for(page, SALVADOR)
        self.expect(page.locator(".trip-notice")).to_contain_text(
            "Agora não dá para planejar a viagem"
        )
        for client in clients:
            client.close()
        os.kill(int(planner), signal.SIGCONT)
        self.step(page, "plan")
        self.expect(page.locator(".trip-notice")).to_be_hidden()

    def test_too_many_requests(self) -> None:
        """Who plans more than the operator allows gets the plan a little later."""
        self.serve("--rate-per-connection", "25", "--plan-cost", "25")
        page = self.open()
        self.plan(page)
