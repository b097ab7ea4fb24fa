"""What operators look for: that the log really says what the pages show of it."""

import ast
import errno
import os
import re

from twisted.trial.unittest import SynchronousTestCase

from tests.support.pages import DOCS
from tests.support.servers import ROOT

OTHERS = {
    *(os.strerror(number) for number in errno.errorcode),
    *("database or disk is full", "database is locked"),
    *("connection failed", "clock.json", "incident", "Refused"),
    *("no shared cipher", "unsupported protocol", "unknown ca", "bad certificate"),
    *("certificate unknown", "certificate expired"),
}
"""What the kernel, SQLite, libpq and OpenSSL say, and words that are too short to be looked for."""

QUOTED = re.compile(r"(?:[Tt]he log says|log then says|log has)((?:[ ,]|or|and|`[^`]+`)+)")


class TroubleTests(SynchronousTestCase):
    """docs/operation/trouble.md, options.md and clock.md."""

    def quoted(self) -> set[str]:
        """What they say that the log says."""
        found: set[str] = set()
        for name in ("trouble.md", "options.md", "clock.md"):
            says = False
            for line in (DOCS / "operation" / name).read_text().splitlines():
                if line.startswith("| ") and says:
                    found |= set(re.findall(r"`([^`]+)`", line.split(" | ")[0]))
                elif not line.startswith("|"):
                    says = False
                    for part in QUOTED.findall(line):
                        found |= set(re.findall(r"`([^`]+)`", part))
                says = says or line.startswith(("| the line says", "| the log says"))
        return found

    def test_said(self) -> None:
        """Each is said by evcharge, or by what it stands on."""
        said = []
        for path in (ROOT / "evcharge").rglob("*.py"):
            nodes = ast.walk(ast.parse(path.read_text()))
            said += [str(each.value) for each in nodes if isinstance(each, ast.Constant)]
        text = "\n".join(said)
        quoted = self.quoted()
        self.assertGreater(len(quoted), 20)
        parts = {
            part.strip(" :")
            for each in quoted
            for part in re.split(r"…|: |\+3600 s|The (?:system|database)'s", each)
        }
        wrong = {part for part in parts - OTHERS if part and part not in text}
        self.assertEqual(wrong, set())
