"""
The programs and libraries that some tests need, and the packages of Debian that have them.

    python tests/support/tools.py

prints the packages of those that this machine lacks.
"""

from __future__ import annotations

import ctypes.util
import glob
import shutil
import subprocess
from functools import cache
from unittest import SkipTest

PACKAGES = {
    "bash": "bash",
    "busybox": "busybox",
    "chromium": "chromium",
    "curl": "curl",
    "dash": "dash",
    "git": "git",
    "haproxy": "haproxy",
    "jq": "jq",
    "libfaketime": "faketime",
    "libseccomp": "libseccomp2",
    "nc": "netcat-openbsd",
    "nginx": "nginx-light",
    "openssl": "openssl",
    "setpriv": "util-linux",
    "systemd-analyze": "systemd",
    "telnet": "telnet",
}

HOW = "apt install "
"""What comes before a package in the reason of a test that is skipped."""


def found(tool: str) -> str | None:
    """Where one of :data:`PACKAGES` is; None where this machine has it not."""
    if tool == "libfaketime":
        return next(iter(sorted(glob.glob("/usr/lib/*/faketime/libfaketime.so.1"))), None)
    if tool.startswith("lib"):
        return ctypes.util.find_library(tool.removeprefix("lib"))
    return shutil.which(tool)


def need(*tools: str) -> str:
    """Skip the test where this machine lacks one of them; where the last one is."""
    for tool in tools:
        if (path := found(tool)) is None:
            raise SkipTest(f"{tool} is not on this machine: {HOW}{PACKAGES[tool]}")
    return path


@cache
def node() -> list[str]:
    """
    How Node is run with its WebSocket, which versions before 20.10 have none of; empty: there is
    none here. No test is skipped for want of it, as Chromium's is tried wherever the page is.
    """
    command = ["node", "--no-warnings", "--experimental-websocket"]
    probe = "process.exit(typeof WebSocket === 'function' ? 0 : 1)"
    there = shutil.which("node") and not subprocess.run([*command, "--eval", probe]).returncode
    return command if there else []


if __name__ == "__main__":
    print(*sorted(package for tool, package in PACKAGES.items() if found(tool) is None))
