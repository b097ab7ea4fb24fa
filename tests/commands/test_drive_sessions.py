"""`evcharge drive` at a station: reserving, the line, charging, stopping, and receipts."""

import json
import re
import time

from evcharge.client import Client
from tests.support.driving import DriveTestCase, Terminal
from tests.support.scripted import command, passes_on, reply, scripted
from tests.support.servers import LOGIN
from tests.support.waiting import until

TO_A_STATION = [""] * 7
"""The answers by which one is at a station, and is asked what to do."""
TO_A_SLOT_OF_ONE = [*[""] * 6, "CUCA"]
"""Likewise, where the station has a single slot, 8-1."""


class SessionTestCase(DriveTestCase):
    """A server, and somebody else who may be at the station with one slot."""

    def serve(self, *options: str) -> None:
        self.server.end()
        self.server = self.start(self.data, *options).wait()

    def ask(self, kind: str, **data: object) -> dict:
        with Client(port=self.server.port) as server:
            return server.request(kind, **data)["data"]

    def rival(self) -> str:
        """Somebody takes the slot of station 8."""
        user_id = self.ask("LOGIN", **LOGIN)["user_id"]
        paid = self.ask("PAYMENT", user_id=user_id, id_station=8, confirmation=True)
        self.assertTrue(paid["confirmation"])
        return user_id

    def go(self, user_id: str) -> None:
        self.ask("PAYMENT", user_id=user_id, id_station=8, confirmation=False)

    def at_a_station(self, *words: str, answers: list[str] = TO_A_STATION) -> Terminal:
        """A terminal, at the question what to do."""
        terminal = self.terminal(*words)
        self.answer(terminal, *answers)
        terminal.until("[1]: " if answers is TO_A_STATION else "]: ")
        return terminal

    def answer(self, terminal: Terminal, *answers: str) -> None:
        for answer in answers:
            terminal.until("]: ")
            terminal.type(f"{answer}\n")

    def state(self) -> str:
        """What the one user there is does, by STATUS."""
        (user,) = self.users()
        return self.ask("STATUS", user_id=user["user_id"])["state"]


class ReservationTests(SessionTestCase):
    """A slot that is kept."""

    def test_reserve_and_arrive(self) -> None:
        """A slot is kept, charging begins at the arrival, is stopped, and comes to a receipt."""
        status, said = self.drive(
            *TO_A_STATION, "reservar", "12", "1", "3", "parar", "recibos", "1", "0",
            options="--show-wire",
        )  # fmt: skip
        self.assertEqual(status, 0)
        sent = [json.loads(line[2:]) for line in said.splitlines() if line.startswith("> ")]
        kinds = [request["type"] for request in sent if request["type"] != "STATUS"]
        self.assertEqual(kinds[4:], ["RESERVE", "ARRIVE", "RECEIPT", "STOP", "HISTORY"])
        reserve = next(request["data"] for request in sent if request["type"] == "RESERVE")
        self.assertEqual((reserve["arrival_minutes"], reserve["id_station"]), (12, "23"))
        self.assertAlmostEqual(reserve["arrival_percent"], 39.9, 1)
        shown = self.shown(said)
        self.assertRegex(
            shown,
            "A vaga 23-1 de Av. Maria Quitéria .São João. está reservada para você; a reserva "
            r"vence (às|em) .*\. A recarga deve custar R\$ 41,06\.",
        )
        self.assertIn("Você paga no fim; a previsão é de R$ 41,06.", shown)
        self.assertRegex(said, r"Recibo até agora [-\w]+\n.*: em andamento\n")
        self.assertRegex(said, r"\nRecibo [-\w]+\n.*vaga 23-1 \(CCS2\): interrompida pelo")
        self.assertRegex(
            said, r"\nItem +Quantidade +Preço +Valor\nEnergia +0,\d\d kWh  R\$ 2,05/kWh"
        )
        self.assertRegex(said, r"\n#  Fim .*Posto .*\n1  às .*Av. Maria Quitéria")
        self.assertEqual((self.held(), self.users()), ({}, []))

    def test_cancelled(self) -> None:
        """Who gives a slot up may do all else again."""
        status, said = self.drive(*TO_A_STATION, "2", "", "desistir", "0", "")
        self.assertEqual(status, 0)
        self.assertIn("Pronto: você não tem mais vaga nem lugar na fila.", said)
        self.assertEqual(said.count("   1  Pagar R$ 41,06 e recarregar"), 1 + 1)
        self.assertEqual((self.held(), self.users()), ({}, []))

    def test_expired(self) -> None:
        """Who comes too late is told that the reservation ran out, by its receipt."""
        self.serve("--time-scale", "3000", "--sweep-interval", "0.05")
        terminal = self.at_a_station()
        terminal.type("2\n0\n")
        terminal.until("está reservada")
        terminal.until("[1]: ")
        until(lambda: self.state() == "FREE", "the end of the hold")
        # The slot is free all the same.
        terminal.type("1\n")
        terminal.until("Você paga no fim")
        terminal.until("a reserva venceu")
        terminal.until("Total: R$ 0,00")
        terminal.until("Acompanhar a recarga")
        terminal.until("sair [1]: ")
        terminal.type("parar\n")
        terminal.until("Total: ")
        self.answer(terminal, "0")
        self.assertEqual(terminal.leave(), 0)

    def test_how_far_away(self) -> None:
        """How far away one is is asked until it is minutes that a slot is kept for."""
        status, said = self.drive(*TO_A_STATION, "2", "121", "perto", "1,5 min", "0")
        self.assertEqual(status, 0)
        self.assertEqual(said.count("Pode ser um número de 0 a 120."), 2)
        self.assertRegex(self.shown(said), "Uma vaga está reservada para você; a reserva vence")
        charge, end = self.told(said)
        self.assertIn("ARRIVE", charge)
        self.assertEqual([command(*charge).returncode, self.state()], [0, "CHARGING"])
        self.assertEqual([command(*end).returncode, self.users()], [0, []])


class LineTests(SessionTestCase):
    """A station whose one slot is taken."""

    def test_turn(self) -> None:
        """One waits in line, follows it, is told of the turn, takes it, and charges."""
        rival = self.rival()
        terminal = self.at_a_station(answers=TO_A_SLOT_OF_ONE)
        # What can be done is what an empty line does.
        self.assertTrue(terminal.seen.endswith("sair [2]: "), terminal.seen)
        terminal.type("\n\n")
        terminal.until("na fila: 0. A sua vez viria em ")
        terminal.until("Entrar na fila? [S/n]: ")
        terminal.type("\n")
        terminal.until("você é o 1º na fila, vez em ")
        terminal.until("sair [1]: ")
        terminal.type("1\n")
        terminal.until("\r1º na fila  vez em ")
        self.go(rival)
        terminal.until("É a sua vez! A vaga 8-1 de CUCA")
        terminal.until("sair [1]: ")
        terminal.type("\n3\n")
        terminal.until("está reservada")
        terminal.until("sair [1]: ")
        terminal.type("2\n")
        terminal.until("A vaga 8-1 é sua.")
        self.assertEqual(self.state(), "CHARGING")
        terminal.until("sair [1]: ")
        terminal.type("parar\n")
        terminal.until("; devolvido: R$ ")
        self.answer(terminal, "")
        self.assertEqual(terminal.leave(), 0)

    def test_declined(self) -> None:
        """A turn that is declined is no turn any more."""
        rival = self.rival()
        terminal = self.at_a_station(answers=TO_A_SLOT_OF_ONE)
        terminal.type("2\n\n\n")
        terminal.until("na fila, vez em ")
        terminal.until("sair [1]: ")
        self.go(rival)
        # It is not followed: the turn came while one was asked.
        terminal.type("1\n")
        terminal.until("É a sua vez!")
        terminal.until("sair [1]: ")
        terminal.type("recusar\n")
        terminal.until("nem lugar na fila.")
        self.assertEqual(self.state(), "FREE")
        terminal.until("sair [2]: ")
        terminal.type("0\n")
        self.answer(terminal, "")
        self.assertEqual(terminal.leave(), 0)

    def test_missed(self) -> None:
        """Who does not take the turn in time is told that it is somebody else's."""
        self.serve("--time-scale", "200", "--sweep-interval", "0.05")
        rival, next_one = self.rival(), self.ask("LOGIN", **LOGIN)["user_id"]
        terminal = self.at_a_station(answers=TO_A_SLOT_OF_ONE)
        terminal.type("2\n\n\n")
        terminal.until("na fila, vez em ")
        terminal.until("sair [1]: ")
        terminal.type("1\n")
        terminal.until("\r1º na fila")
        self.ask("RESERVE", user_id=next_one, id_station=8, wait=True)
        self.go(rival)
        terminal.until("É a sua vez!")
        terminal.until("sair [1]: ")
        until(
            lambda: self.ask("STATUS", user_id=next_one)["state"] == "OFFERED",
            "the turn of the next one",
        )
        self.ask("ARRIVE", user_id=next_one, id_station=8)
        terminal.type("2\n")
        terminal.until("Alguém foi mais rápido")
        self.answer(terminal, "cuca")
        terminal.until("A oferta venceu sem resposta")
        terminal.until("sair [2]: ")
        terminal.type("0\n")
        self.answer(terminal, "")
        self.assertEqual(terminal.leave(), 0)

    def test_not_in_line(self) -> None:
        """Who would not wait is where they were; who leaves the line, too."""
        self.rival()
        status, said = self.drive(
            *TO_A_SLOT_OF_ONE, "2", "", "n", "", "", "", "sair da", "0", "", options="--language pt"
        )
        self.assertEqual(status, 0)
        self.assertEqual(said.count("Entrar na fila?"), 2)
        self.assertIn("Pronto: você não tem mais vaga", said)
        self.assertEqual(len(self.users()), 1)

    def test_leaving_in_line(self) -> None:
        """Who leaves the terminal keeps the place, and is told how to look at it, and to end."""
        self.rival()
        status, said = self.drive(*TO_A_SLOT_OF_ONE, "2", "", "")
        self.assertEqual(status, 0)
        self.assertIn("Você está na fila. Para ver quando é a sua vez:", self.shown(said))
        look, end = self.told(said)
        self.assertIn("WAITING", command(*look).stdout)
        self.assertEqual(command(*end).returncode, 0)
        self.assertEqual(len(self.users()), 1)

    def test_out_of_reach(self) -> None:
        """A station is chosen by its name, too, if the charge reaches it."""
        status, said = self.drive("", "", "2", "", "", "", "limoeiro", "0", "")
        self.assertEqual(status, 0)
        self.assertRegex(
            self.shown(said), r"BR-324 \(Limoeiro\) está fora de alcance, ou não tem conector"
        )


class ChargingTests(SessionTestCase):
    """Charging, as it is followed."""

    def test_bar(self) -> None:
        """In a terminal it is one line that changes, until Enter or the end, and the receipt."""
        self.serve("--time-scale", "600")
        terminal = self.at_a_station("--language", "en")
        terminal.type("1\n")
        terminal.until("leave [1]: ")
        terminal.type("\n")
        terminal.until("Enter goes back to the choices.")
        for _ in range(3):
            terminal.until("\x1b[K\r[##########")
        terminal.type("\n")
        terminal.until("1  Follow the charging")
        terminal.until("leave [1]: ")
        terminal.type("1\n")
        terminal.until("charged to the target")
        terminal.until("Total: R$ 41.06; paid ahead: R$ 41.06")
        self.answer(terminal, "0")
        self.assertEqual(terminal.leave(), 0)
        # What is done has no bar any more.
        self.assertIn("\x1b[K\r\x1b[K\r\nReceipt ", terminal.seen)
        bars = re.findall(r"\r(\[#+\.*\ *\]  .*?)\x1b\[K", terminal.seen)
        self.assertGreater(len(bars), 5)
        percents = []
        for bar in bars:
            found = re.fullmatch(
                r"\[(#+)(\.*)( *)\]  (\d+\.\d) %  \d+\.\d of 20\.0 kWh  (?:< 1|\d+) min left  "
                r"R\$ \d+\.\d\d",
                bar,
            )
            assert found, bar
            self.assertEqual(len(found[1] + found[2] + found[3]), 24)
            self.assertEqual(len(found[1] + found[2]), 19)
            percents.append(float(found[4]))
        self.assertEqual(percents, sorted(percents))
        self.assertTrue(all(39.9 <= percent <= 80 for percent in percents), percents)

    def test_lines(self) -> None:
        """Piped, there is a line for each tenth of the charge, and what is piped in waits."""
        self.serve("--time-scale", "300")
        status, said = self.drive(
            *TO_A_STATION, "3", "acompanhar", "até agora", "ir", "ver", "", "0"
        )
        self.assertEqual(status, 0)
        self.assertNotIn("\r", said)
        self.assertNotIn("\x1b", said)
        lines = re.findall(r"^\[#+.*\n", said, re.M)
        percents = [float(re.findall(r"([\d,]+) %", line)[0].replace(",", ".")) for line in lines]
        self.assertEqual(percents, sorted(percents))
        self.assertTrue(6 <= len(lines) <= 11, lines)
        self.assertIn("recarga terminada com 80 %, R$ 41,06 até agora.", self.shown(said))
        self.assertRegex(said, "   1  Ir embora\n   2  Ver o recibo até agora\n")
        self.assertRegex(said, r"\n1  .*  20,03   24 min  R\$ 41,0\d\n")
        self.assertEqual(self.users(), [])

    def test_leaving_it(self) -> None:
        """Ctrl-C and Ctrl-D while it is followed leave it to go on, and say how to end it."""
        for key, status in (("\x03", 130), ("\x04", 0)):
            terminal = self.at_a_station()
            terminal.type("3\n")
            terminal.until("sair [1]: ")
            terminal.type("\n")
            terminal.until("\r[###")
            terminal.type(key)
            self.assertEqual(terminal.leave(), status)
            self.assertNotIn("Traceback", terminal.seen)
            self.assertRegex(terminal.seen, r"\x1b\[K(\^C)?\r\nA recarga termina")
            self.assertEqual(self.state(), "CHARGING")
            (end,) = self.told(terminal.seen.replace("\r\n", "\n"))
            self.assertEqual([command(*end).returncode, self.users()], [0, []])

    def test_another_trip(self) -> None:
        """Who goes on another trip is the same driver, with the receipts of all."""
        status, said = self.drive(
            *TO_A_STATION, "3", "parar", "outra", *TO_A_STATION, "3", "parar", "recibos", "2", "0"
        )
        self.assertEqual(status, 0)
        self.assertRegex(said, r"\n1  às .*\n2  às .*\n")
        self.assertEqual(len(set(re.findall(r"Recibo ([-\w]+)\n", said))), 2)

    def test_meanwhile(self) -> None:
        """What it is not the time for any more is said, and one is asked again."""
        terminal = self.at_a_station()
        terminal.type("2\n\n")
        terminal.until("está reservada")
        terminal.until("sair [1]: ")
        (user,) = self.users()
        self.ask("ARRIVE", user_id=user["user_id"], id_station=23)
        terminal.type("desistir\n")
        terminal.until("O servidor respondeu: 409 Isso não cabe no estado CHARGING")
        terminal.until("Parar e ir embora")
        terminal.until("sair [1]: ")
        terminal.type("parar\n")
        terminal.until("interrompida pelo motorista")
        self.answer(terminal, "0")
        self.assertEqual(terminal.leave(), 0)


class TroubleTests(SessionTestCase):
    """A server that does not answer, or cannot."""

    def troubled(self, *kinds: str, times: int = 1, code: int | None = None, after: int = 0) -> int:
        """
        A server whose replies to these are lost, the first `times` of them, or have a `code`.

        :param after: how many are answered before.
        """
        seen: list[str] = []

        def loses(request: dict) -> bool:
            if request["type"] in kinds:
                seen.append(request["type"])
            return request["type"] in kinds and after < len(seen) <= after + times

        answers = passes_on(self.server.port, loses)
        if code is None:
            return scripted(self, answers)

        def serve(connection) -> None:
            request = json.loads(connection.recv(65536))
            if loses(request):
                connection.sendall(reply(request["id"], request["type"], code))
                return
            with Client(port=self.server.port) as other:
                whole = other.request(request["type"], **request["data"])
            whole["id"] = request["id"]
            connection.sendall(json.dumps(whole).encode() + b"\n")

        return scripted(self, serve)

    def test_may_be_done(self) -> None:
        """Where no reply comes, or a failure, it is said how to see what has become of it."""
        for kind, answers, code, status in (
            ("RESERVE", ["2", "1"], None, 3),
            ("RESERVE", ["2", "1"], 503, 1),
            ("ARRIVE", ["3"], None, 3),
            ("STOP", ["3", "parar"], None, 3),
            ("STOP", ["3", "parar"], 500, 1),
            ("CANCEL", ["2", "1", "desistir"], None, 3),
        ):
            port = self.troubled(kind, code=code)
            got, said = self.drive(*TO_A_STATION, *answers, port=port)
            self.assertEqual(got, status, said)
            self.assertIn(f"{kind} ficou sem resposta: pode ter sido feito, ou não.", said)
            look, end = self.told(said)
            self.assertIn(command(*look).returncode, (0, 1))
            self.assertIn(command(*end).returncode, (0, 1))
            self.assertEqual((self.held(), self.users()), ({}, []))

    def test_patience(self) -> None:
        """While charging is followed, a server that does not answer is asked again."""
        self.serve("--time-scale", "600")
        for code in (None, 503, 429):
            port = self.troubled("STATUS", times=2, code=code, after=4)
            status, said = self.drive(*TO_A_STATION, "3", "1", "0", port=port)
            self.assertEqual(status, 0)
            self.assertEqual(said.count("Sem resposta – tentando de novo\n"), 1)
            self.assertIn("recarga terminada com 80 %", said)
            (end,) = self.told(said)
            command(*end)

    def test_given_up(self) -> None:
        """It is not asked for ever: the journey ends, and it is said what is held."""
        port = self.troubled("STATUS", times=1000, after=3)
        began = time.monotonic()
        status, said = self.drive(*TO_A_STATION, "3", "1", port=port)
        self.assertEqual(status, 3)
        self.assertGreater(time.monotonic() - began, 15)
        self.assertIn("a conexão foi fechada sem resposta", said)
        self.assertIn("A recarga termina", said)
        (end,) = self.told(said)
        self.assertEqual(command(*end).returncode, 0)
