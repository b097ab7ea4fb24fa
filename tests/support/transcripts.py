"""What a page shows in its `console` and `transcript` blocks, done again."""

import os
import re
import subprocess
import sys
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from evcharge.testing import MemoryServer
from tests.support.servers import ROOT
from tests.support.tools import need

_STATUS = re.compile(r'"status": ?\{(?:\}|"code")')
_OWN = re.compile(
    r',"status":\{"code":200,"message":"[^"]*"\},"timestamp":"\d{4}(?:-\d\d){2}T[\d:]{8}\.\d{3}Z"'
)
"""What is in every reply that succeeds."""
UUID = r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"


class Ids:
    """The ids that a page shows, and those that they really are this time."""

    def __init__(self) -> None:
        self._real: dict[str, str] = {}

    def real(self, shown: str) -> str:
        """What the page shows, with the real ids as far as they are known."""
        for known, real in self._real.items():
            shown = shown.replace(known, real)
        return shown

    def check(self, test: SynchronousTestCase, said: str, shown: str) -> None:
        """`said` is what is shown, where `…` may be anything, and ids are others each time."""
        new = []
        pattern = ""
        for part in re.split(f"({UUID}|…)", shown):
            if part == "…":
                pattern += r"[\s\S]*"
            elif not re.fullmatch(UUID, part):
                pattern += re.escape(part)
            elif part in self._real:
                pattern += self._real[part]
            elif part in new:
                pattern += rf"\{new.index(part) + 1}"
            else:
                new.append(part)
                pattern += f"({UUID})"
        found = re.fullmatch(pattern, said)
        test.assertTrue(found, f"{said} is not {shown}")
        self._real.update(zip(new, found.groups(), strict=True))


def commands(page: Path) -> list[tuple[str, str]]:
    """The commands of a page, and what it shows that each prints."""
    blocks = re.findall(r"^```console\n(.*?)^```", page.read_text(), re.M | re.S)
    parts = [each for block in blocks for each in re.split(r"^\$ ", block, flags=re.M)[1:]]
    return [(line, shown) for line, _, shown in (part.partition("\n") for part in parts)]


def shell(folder: Path, line: str) -> str:
    """What a command line prints in `folder`, where `evcharge` is that of this checkout."""
    program = f"{sys.executable} -c 'from evcharge.cli import main; main()'"
    done = subprocess.run(
        [need("bash"), "-c", f'evcharge() {{ {program} "$@"; }}; {line}'],
        cwd=folder, env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    return done.stdout


def replay(test: SynchronousTestCase, page: Path, folder: Path) -> int:
    """
    Run the commands of a page: each prints what the page says, where `…` may be anything.

    :return: how many there are.
    """
    found = commands(page)
    for line, shown in found:
        pattern = ".*".join(map(re.escape, shown.split("…")))
        test.assertRegex(shell(folder, line), rf"\A{pattern}\Z")
    return len(found)


def converse(test: SynchronousTestCase, page: Path) -> int:
    """
    Send the requests of a page's transcripts, each over a connection of its own: the replies are
    what the page says, where `…` may be anything. A reply that it shows without `status`
    and `timestamp` has code 200, and where the request is shown without them too, or with a last
    `…` in place of them, it is sent with.

    :return: how many transcripts there are.
    """
    blocks = re.findall(r"^```transcript\n(.*?)^```", page.read_text(), re.M | re.S)
    for block in blocks:
        server = MemoryServer()
        connections = []
        told: list[bytes] = []
        lines = block.splitlines()
        for number, line in enumerate(lines):
            if line.startswith("> "):
                test.assertEqual(told, [], f"{page}: no reply shown before {line}")
                whole = any(map(_STATUS.search, lines[number : number + 2]))
                protocol, transport = server.connect()
                sent = line[2:]
                if not whole:
                    sent = sent[:-1].removesuffix("…") + ', "status": {}, "timestamp": ""}'
                protocol.dataReceived(sent.encode() + b"\n")
                told = transport.take().splitlines()
                connections.append(transport)
            elif line.startswith("< "):
                if not told and line.startswith('< {"type":"EVENT"'):
                    server.advance(0.1)
                    told = b"".join(each.take() for each in connections).splitlines()
                reply = told.pop(0).decode()
                if not _STATUS.search(line):
                    test.assertRegex(reply, _OWN, f"{page}: {line}")
                    reply = _OWN.sub("", reply)
                pattern = ".*".join(re.escape(part) for part in line[2:].split("…"))
                test.assertTrue(re.fullmatch(pattern, reply), f"{page}: {reply}")
        test.assertEqual(told, [])
    return len(blocks)
