"""`evcharge drive` against a real server, in a terminal and piped in."""

import codecs
import contextlib
import fcntl
import json
import os
import pty
import re
import select
import shlex
import signal
import struct
import subprocess
import termios
from pathlib import Path

from tests.support.scripted import COMMAND, command, environment
from tests.support.servers import ServerTestCase


class Terminal:
    """`evcharge drive` in a terminal of 80 columns."""

    def __init__(self, *words: str) -> None:
        self.end, other = pty.openpty()
        fcntl.ioctl(other, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
        more = environment()
        del more["COLUMNS"]
        self.process = subprocess.Popen(
            [*COMMAND, "drive", *words],
            stdin=other,
            stdout=other,
            stderr=other,
            env=more,
            start_new_session=True,
            preexec_fn=self.take,
        )
        os.close(other)
        self.seen = ""
        self.at = 0
        self.decode = codecs.getincrementaldecoder("utf-8")().decode

    def take(self) -> None:
        """In the new process: have Ctrl-C go to it, and heeded, though the tests may ignore it."""
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)
        signal.signal(signal.SIGINT, signal.SIG_DFL)

    def until(self, text: str) -> None:
        """Read until this comes, behind what was waited for last."""
        while (found := self.seen.find(text, self.at)) < 0:
            part = self.read()
            assert part, f"{text!r} did not come: {self.seen}"
            self.seen += part
        self.at = found + len(text)

    def read(self, seconds: float = 30) -> str:
        assert select.select([self.end], [], [], seconds)[0], f"nothing more came: {self.seen}"
        text = ""
        with contextlib.suppress(OSError):
            # A part of a letter is no text yet.
            while not text:
                text = self.decode(os.read(self.end, 65536))
        return text

    def interrupt(self) -> None:
        """
        Press Ctrl-C until it is heeded.

        In the instant before it waits for a line Python takes no notice of it, until there is one.
        """
        start = len(self.seen)
        while True:
            self.type("\x03")
            with contextlib.suppress(AssertionError):
                while "\n" not in self.seen[start:]:
                    self.seen += self.read(5) or "\n"
                return

    def type(self, text: str) -> None:
        os.write(self.end, text.encode())

    def leave(self) -> int:
        """Read to the end; the exit status."""
        while part := self.read():
            self.seen += part
        os.close(self.end)
        return self.process.wait(20)


class DriveTestCase(ServerTestCase):
    """A real server, and drivers who are new to it."""

    def setUp(self) -> None:
        self.data = Path(self.mktemp())
        self.server = self.start(self.data).wait()

    def drive(self, *answers: str, port: int | None = None, **more: str) -> tuple[int, str]:
        """The exit status for these answers, and what is said; nothing goes wrong."""
        options = shlex.split(more.get("options", ""))
        done = command(
            "drive", "--port", str(port or self.server.port), *options,
            answers="".join(f"{answer}\n" for answer in answers),
        )  # fmt: skip
        self.assertNotIn("Traceback", done.stderr)
        return done.returncode, done.stdout + done.stderr

    def shown(self, said: str) -> str:
        """What was said, without the ends of lines, which depend on the width of figures."""
        return " ".join(said.split())

    def terminal(self, *words: str, port: int | None = None) -> Terminal:
        terminal = Terminal("--port", str(port or self.server.port), *words)
        self.addCleanup(terminal.process.wait)
        self.addCleanup(terminal.process.kill)
        return terminal

    def held(self) -> dict[str, list[str]]:
        """Who stands where, by the files: station -> users."""
        files = [json.loads(path.read_text()) for path in self.data.glob("stations/*.json")]
        return {str(file["id"]): list(file["vehicles"]) for file in files if file["vehicles"]}

    def users(self) -> list[dict]:
        return [json.loads(path.read_text()) for path in self.data.glob("users/*.json")]

    def told(self, said: str) -> list[list[str]]:
        """The commands that were told, as words for `evcharge`."""
        found = re.findall(r"    (evcharge .*\\\n.*)", said)
        return [shlex.split(text.replace("\\\n", ""))[1:] for text in found]
