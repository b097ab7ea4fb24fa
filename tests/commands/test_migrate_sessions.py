"""Copies of sessions in every state, the line, receipts and statuses of EVSEs."""

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from evcharge.models.session import FINISHED, OFFERED, RESERVED
from evcharge.models.user import User
from evcharge.rules.claims import ARRIVE, PAY, RESERVE, Claim, Wishes
from evcharge.rules.journey import AddUser, FindStanding
from evcharge.rules.leaving import CANCEL_IT, STOP_AND_LEAVE, STOP_IT, Leave
from evcharge.rules.operator import SetEvseStatus
from evcharge.rules.receipts import FindReceipt, ListReceipts
from evcharge.rules.sweep import Sweep
from evcharge.storage import carry_out
from evcharge.storage.files.store import FileStorage
from evcharge.storage.location import parse
from evcharge.testing import NOON
from evcharge.utils.ids import uuid7
from tests.commands.test_migrate import files_of
from tests.support import postgres
from tests.support.commands import run
from tests.support.operations import a_user

DRIVER = "0190163d-8694-739b-aea5-966c26f8ad91"

STATIONS = ("7", "34")


class SessionCopyTests(SynchronousTestCase):
    """A network where all goes on that can, in a data directory."""

    def setUp(self) -> None:
        self.folder = Path(self.mktemp()).absolute()
        self.source = self.folder / "source"
        self.source.mkdir(parents=True)
        self.storage: Any = FileStorage(self.source)
        self.storage.open(NOON)
        self.addCleanup(lambda: self.storage.close())
        self.receipts: list[str] = []
        for name in ("pays", "keeps", "first", "second", "third", "idle", "left", "gave-up"):
            self.do(AddUser(a_user(name)))
        known = a_user("known")
        self.do(AddUser(User(known.user_id, "Zé é", known.car, NOON, driver_id=DRIVER)))
        self.claim("left", "7", PAY)
        self.do(Leave("left", STOP_AND_LEAVE, NOON + 60))
        self.claim("gave-up", "7", RESERVE)
        self.do(Leave("gave-up", CANCEL_IT, NOON + 60))
        self.claim("known", "9", ARRIVE)
        self.do(Leave("known", STOP_AND_LEAVE, NOON + 86400))
        self.claim("idle", "9", ARRIVE)
        self.do(Leave("idle", STOP_IT, NOON + 120))
        self.claim("pays", "7", PAY)
        self.claim("keeps", "7", RESERVE, arrival_minutes=10.0)
        for name in ("first", "second", "third"):
            self.claim(name, "7", RESERVE, wait=True, arrival_minutes=1.5, target_percent=70.0)
        self.do(SetEvseStatus("8-1", "OUTOFORDER", "cabo cortado", NOON + 5))
        # Whose turn it is has an offer, and the place is gone.
        self.do(Leave("pays", STOP_AND_LEAVE, NOON + 180))
        self.do(Sweep(NOON + 181, 0))
        self.now = NOON + 181
        self.before = self.seen()
        self.storage.close()

    def do(self, operation: Any) -> Any:
        return carry_out(self.storage, operation)

    def claim(
        self, user_id: str, station: str, intent: str, wait: bool = False, **wishes: Any
    ) -> None:
        receipt = uuid7(NOON + len(self.receipts))
        self.receipts.append(receipt)
        claim = Claim(user_id, station, receipt, NOON, intent=intent, wait=wait)
        claim.wishes = Wishes(**wishes)
        self.do(claim)

    def seen(self) -> Any:
        """What drivers may learn."""
        users = ("keeps", "first", "second", "third", "idle", "known", "pays")
        standing = [self.do(FindStanding(user)) for user in users]
        receipts = [self.do(FindReceipt(receipt)) for receipt in self.receipts]
        histories = [list(self.do(ListReceipts(user, 20))) for user in (DRIVER, "left", "pays")]
        return standing, receipts, histories

    def copy(self, source: str, target: str) -> None:
        status, _, error = run("migrate", "--from", source, "--to", target)
        self.assertEqual((status, error), (0, ""))

    def test_everything(self) -> None:
        """Through databases and back the files are the same, and drivers see no difference."""
        states = [each.session.state for each in self.before[0][:2] if each.session]
        self.assertEqual(states, [RESERVED, OFFERED])
        self.assertEqual(self.before[0][4].session.state, FINISHED)
        folders = {path.split("/")[0] for path in files_of(self.source) if "/" in path}
        self.assertEqual(folders, {"receipts", "stations", "tariffs_used", "users"})
        shared = postgres.shared()
        urls = [
            f"files:{self.source}",
            f"sqlite:///{self.folder / 'a.db'}",
            shared.url(shared.create_database()),
            f"files:{self.folder / 'end'}",
        ]
        for source, target in pairwise(urls):
            self.copy(source, target)
            self.storage = parse(target, "").storage()
            if target is not urls[-1]:
                # What opens it may change it.
                self.storage.open(self.now)
                self.assertEqual(self.seen(), self.before, target)
                self.storage.close()
        end, source = sorted_lines(self.folder / "end"), sorted_lines(self.source)
        self.assertEqual(end.keys(), source.keys())
        for name, lines in source.items():
            if "/" in name or name in ("evse_status.json", "payments.jsonl"):
                # The others are as whoever shipped them has set them.
                self.assertEqual(end[name], lines, name)
        self.storage.open(self.now)
        self.assertEqual(self.seen(), self.before)

    def test_over(self) -> None:
        """A session whose receipt is there is over, and is not copied; what it came to is."""
        storage = self.storage = FileStorage(self.source)
        storage.open(self.now)
        path = self.source / "stations" / "station_9.json"
        user = self.source / "users" / "idle.json"
        as_before = path.read_bytes(), user.read_bytes()
        receipt = self.do(Leave("idle", STOP_AND_LEAVE, self.now))
        payments = self.source / "payments.jsonl"
        lines = payments.read_bytes().splitlines(keepends=True)
        storage.close()
        # As if nothing but the receipt had been written.
        path.write_bytes(as_before[0])
        user.write_bytes(as_before[1])
        payments.write_bytes(
            b"".join(line for line in lines if receipt.receipt_id.encode() not in line)
        )
        self.copy(f"files:{self.source}", f"sqlite:///{self.folder / 'a.db'}")
        self.storage = parse(f"sqlite:///{self.folder / 'a.db'}", "").storage()
        self.storage.open(self.now)
        self.assertEqual(self.do(FindReceipt(receipt.receipt_id)), receipt)
        self.assertNotIn("idle", [user.user_id for user in self.storage.users()])
        self.storage.close()
        with self.storage.read_contents(self.now) as contents:
            paid = [each for each in contents.payments if each.receipt_id == receipt.receipt_id]
        self.assertEqual([each.amount for each in paid], [receipt.total])

    def test_damage(self) -> None:
        """All that is damaged is named at once, and nothing is copied."""
        day = next((self.source / "receipts").iterdir())
        day.write_bytes(b"{}\n" + day.read_bytes())
        (self.source / "evse_status.json").write_text('{"8-1": {"status": "BROKEN"}}')
        station = self.source / "stations" / "station_7.json"
        record = json.loads(station.read_bytes())
        record["waiting"][0]["place"] = "first"
        station.write_text(json.dumps(record))
        target = f"sqlite:///{self.folder / 'a.db'}"
        status, out, error = run("migrate", "--from", f"files:{self.source}", "--to", target)
        self.assertEqual((status, out), (1, ""))
        for words in (f"{day}: line 1: ", "evse_status.json: ", "station_7.json: "):
            self.assertIn(words, error)
        self.assertIn("place must be a whole number", error)


def sorted_lines(folder: Path) -> dict[str, list[bytes]]:
    """What the files have, but for the order of their lines."""
    return {name: sorted(content.splitlines()) for name, content in files_of(folder).items()}
