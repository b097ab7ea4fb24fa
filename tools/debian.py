"""
Does what docs/operation/install.md and upgrade.md say on a fresh Debian, command by command, with
what evse.md and backup.md have for such a server.

    python tools/debian.py bookworm trixie

For each release named, debootstrap makes what a bare machine has, systemd-nspawn boots it, and the
pages' blocks of `console` are run in order, those of the upgrade before "Undo it". It fails where
a command fails, or prints something else than the page shows (`…` stands for anything), and where
something is left at the end. It needs root, a Linux that lets systemd run in a container, the
packages debootstrap and systemd-container, and the network for packages.

The machine has a network of its own, without a way out: what fetches packages is run in that of
this one. Some commands have a stand-in, in :data:`STAND_INS`, since they need the internet: the
checkout is this one, before the upgrade and after it, and the certificate is one of the machine's
own, which it trusts.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "docs" / "operation"

NAME = "carga.example.org"

FETCHING = ("apt-get ", "/opt/evcharge/bin/pip ")
"""How commands begin that need the network."""

TRUSTED = "/etc/pip-certificates.pem"
"""Where certificates are that pip has to trust."""

MOST_S = 600
"""A command takes no longer."""

CERTIFICATE = f"""set -eu
certbot certonly --help all | grep --quiet -e --deploy-hook
lineage=/etc/letsencrypt/live/{NAME}
mkdir -p $lineage
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 30 \
    -subj /CN={NAME} -addext subjectAltName=DNS:{NAME} \
    -keyout $lineage/privkey.pem -out $lineage/fullchain.pem
cp $lineage/fullchain.pem /usr/local/share/ca-certificates/{NAME}.crt
update-ca-certificates
RENEWED_LINEAGE=$lineage """
"""What comes before the hook. It is known then whether certbot has the option for one."""

STAND_INS = {
    "git clone ADDRESS evcharge": "test -d evcharge/.git",
    "git pull ": "git update-ref ORIG_HEAD HEAD #",
    f"certbot certonly --standalone --domain {NAME} --deploy-hook ": CERTIFICATE,
    "certbot delete ": "test -x /usr/bin/certbot && rm -r /etc/letsencrypt/live #",
}
"""What is run in place of the beginning of a command."""

COPY = "/evcharge-backup/1.db"
"""A copy of a Monday; the one that there is is of another day."""

UNDOING = "systemctl disable --now evcharge evcharge-backup.timer"
"""What comes after the upgrade."""

LEAVING = "systemctl reboot"
REBOOTS = 133
"""The status of a container that wants to be started again."""

LEFT = "find / -xdev -name '*evcharge*' -not -path '/root/*' -not -path '/proc/*' | sort"
"""What finds that something is left."""


def block(name: str, heading: str) -> list[tuple[str, str]]:
    """The commands of the first `sh` block under a heading; they may print anything."""
    under = (FOLDER / name).read_text().partition(f"\n## {heading}\n")[2]
    found = re.search(r"^```sh\n(.*?)^```", under, re.M | re.S)
    assert found, f"{name} has no commands under {heading}"
    return [(line, "…") for line in found[1].splitlines()]


def commands(text: str) -> Iterator[tuple[str, str]]:
    """The commands of a page, and what it shows that each prints."""
    for block in re.findall(r"^```console\n(.*?)^```", text, re.M | re.S):
        for part in re.split(r"^\$ ", block, flags=re.M)[1:]:
            line, _, shown = part.partition("\n")
            yield line, shown


def all_commands() -> list[tuple[str, str]]:
    """Those of both pages, and some that go with this installation."""
    install, upgrade = (
        list(commands((FOLDER / name).read_text())) for name in ("install.md", "upgrade.md")
    )
    undo = [line for line, _ in install].index(UNDOING)
    more = [
        *block("evse.md", "While a server runs"),
        *block("backup.md", "Go back to a copy"),
        next(each for each in install if "/health/ready" in each[0]),
    ]
    return [*install[:undo], *upgrade, *more, *install[undo:]]


def said(line: str) -> str:
    """What is run for a command of the page."""
    line = line.replace(COPY, COPY.replace("1.db", "$(date +%u).db"))
    for beginning, other in STAND_INS.items():
        if line.startswith(beginning):
            return other + line.removeprefix(beginning)
    return line


def matches(shown: str, printed: str) -> bool:
    """Whether a command has printed what the page shows."""
    pattern = ".*".join(map(re.escape, shown.strip().split("…")))
    return re.fullmatch(pattern, printed.strip(), re.S) is not None


class Machine:
    """A Debian that runs in a container."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.folder = "/root"
        self._log = (root.parent / "console").open("wb")
        self._start()

    def _start(self) -> None:
        self._container = subprocess.Popen(
            [
                *("systemd-nspawn", "--quiet", "--directory", str(self.root), "--boot"),
                *("--private-network", "--register=no", "--keep-unit", "--console=pipe"),
            ],
            stdin=subprocess.DEVNULL, stdout=self._log, stderr=self._log,
        )  # fmt: skip

    def _first(self) -> int | None:
        """The number that the machine's first process has here; None: there is none yet."""
        found = [self._container.pid]
        for pid in found:
            try:
                status = Path(f"/proc/{pid}/status").read_text()
                found += map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())
            except OSError:
                continue
            if re.search(r"^NSpid:\s+\d+\s+(?:\d+\s+)?1$", status, re.M):
                return pid
        return None

    def started(self) -> None:
        """Wait until it has started."""
        end = time.monotonic() + 120
        while self._container.poll() is None and time.monotonic() < end:
            if self._first() is not None:
                state = self.run("systemctl is-system-running").stdout.strip()
                if state in ("running", "degraded"):
                    return
            time.sleep(0.2)
        raise SystemExit(f"the machine does not start: {self.root.parent / 'console'} says more")

    def run(self, line: str, fetches: bool = False) -> subprocess.CompletedProcess[str]:
        """Run a command line as root, in the folder where the one before has ended."""
        own = [] if fetches else ["--net"]
        trusted = {"PIP_CERT": TRUSTED} if fetches and "PIP_CERT" in os.environ else {}
        done = subprocess.run(
            [
                *("nsenter", "--target", str(self._first()), "--mount", "--uts", "--ipc", "--pid"),
                *(*own, "--root", f"--wd={self.root}{self.folder}", "bash", "-c"),
                f"{line}\nstatus=$?; pwd > /run/folder; exit $status",
            ],
            env={
                "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
                **{"HOME": "/root", "LANG": "C.UTF-8", "DEBIAN_FRONTEND": "noninteractive"},
                **trusted,
            },
            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=MOST_S,
        )  # fmt: skip
        folder = subprocess.run(
            ["nsenter", "--target", str(self._first()), "--mount", "--root", "cat", "/run/folder"],
            capture_output=True, text=True,
        )  # fmt: skip
        self.folder = folder.stdout.strip() or "/root"
        return done

    def reboot(self) -> None:
        """Have it start again."""
        self.run(LEAVING)
        status = self._container.wait(timeout=120)
        if status != REBOOTS:
            raise SystemExit(f"the machine ends with {status}")
        self._start()
        self.started()

    def end(self) -> None:
        """Turn it off."""
        if self._container.poll() is None:
            self._container.terminate()
            self._container.wait(timeout=60)
        self._log.close()


def prepare(release: str, root: Path, cache: Path | None) -> None:
    """A bare Debian, with this checkout, and what this machine itself needs to fetch packages."""
    kept = cache / release if cache else None
    if kept is None or not kept.exists():
        made = kept or root
        subprocess.run(["debootstrap", release, str(made)], check=True, stdout=subprocess.DEVNULL)
    if kept:
        subprocess.run(["cp", "-a", str(kept), str(root)], check=True)
    subprocess.run(
        ["git", "clone", "--quiet", "--no-hardlinks", str(ROOT), str(root / "root/evcharge")],
        check=True,
    )
    with (root / "etc/hosts").open("a") as hosts:
        hosts.write(f"127.0.0.1 {NAME}\n")
    # Where packages come by a proxy with a certificate of its own, pip has to trust that.
    if bundle := os.environ.get("PIP_CERT"):
        shutil.copy(bundle, root / TRUSTED.lstrip("/"))


def check(machine: Machine) -> str | None:
    """Run the pages' commands; what is wrong, if anything is."""
    for line, shown in all_commands():
        print(f"$ {line}", flush=True)
        if line == LEAVING:
            machine.reboot()
            continue
        done = machine.run(said(line), fetches=line.startswith(FETCHING))
        if done.returncode:
            return f"{line}: status {done.returncode}\n{done.stdout}{done.stderr}"
        if not line.startswith("apt-get ") and not matches(shown, done.stdout):
            return f"{line} prints\n{done.stdout}\nand not, as the page shows,\n{shown}"
    left = machine.run(LEFT).stdout
    return f"there is left:\n{left}" if left else None


def main() -> None:
    """Check each release named."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n\n")[0].strip())
    parser.add_argument("releases", nargs="+", metavar="RELEASE", help="of Debian: trixie")
    parser.add_argument("--cache", type=Path, help="folder that keeps what debootstrap makes")
    options = parser.parse_args()
    for tool in ("debootstrap", "systemd-nspawn", "nsenter", "git"):
        if shutil.which(tool) is None:
            parser.error(f"{tool} is not on this machine")
    if os.geteuid():
        parser.error("has to be run by root")
    for release in options.releases:
        print(f"Debian {release}", flush=True)
        with tempfile.TemporaryDirectory(prefix="evcharge-debian-") as folder:
            root = Path(folder) / release
            prepare(release, root, options.cache)
            machine = Machine(root)
            try:
                machine.started()
                wrong = check(machine)
                if wrong:
                    said_last = machine.run("journalctl --unit evcharge --lines 30 --no-pager")
                    sys.exit(f"{release}: {wrong}\n{said_last.stdout}")
            finally:
                machine.end()
    print("passed")


if __name__ == "__main__":
    main()
