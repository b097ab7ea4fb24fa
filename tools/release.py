"""
Builds a release: the source distribution and the wheel of a tag, the same bytes whenever and
wherever it is done with the same Python and the pinned tools.

    python tools/release.py v1.2.0 [--out dist]

What is built is what the tag has, not what lies in the checkout. `make release TAG=v1.2.0` makes
the environment for it, of constraints-release.txt, and does this.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import io
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
from datetime import date, datetime, timezone
from pathlib import Path

MOST_DAYS = 30
"""How much older than the tag's commit what the version says of its own age may be."""


def git(*arguments: str) -> bytes:
    """What git answers, in the checkout where we are."""
    done = subprocess.run(["git", *arguments], capture_output=True)
    if done.returncode:
        problem = done.stderr.decode().strip()
        sys.exit(f"release: git {' '.join(arguments)}: {problem}")
    return done.stdout


def see_made(source: Path, committed: int) -> None:
    """End where the folder `source` says that it was made long before it was committed."""
    found = re.search(r'^MADE = "([-0-9]+)"$', (source / "evcharge/__init__.py").read_text(), re.M)
    if found is None:
        sys.exit("release: evcharge/__init__.py says no MADE")
    day = datetime.fromtimestamp(committed, timezone.utc).date()
    if (day - date.fromisoformat(found[1])).days > MOST_DAYS:
        # By it a server tells that a machine's clock is wrong.
        sys.exit(
            f"release: evcharge/__init__.py was made on {found[1]}, it says, and the tag's commit "
            f"is of {day}: bring MADE up to date"
        )


def see_told(source: Path, version: str) -> None:
    """End where the folder `source` does not tell users what is new in a version."""
    left = sorted(path.name for path in source.glob("changelog.d/[0-9]*"))
    if left:
        sys.exit(f"release: CHANGELOG.md has yet to take in changelog.d/{', '.join(left)}")
    if f"\n## {version} (" not in (source / "CHANGELOG.md").read_text():
        sys.exit(f"release: CHANGELOG.md has no part '## {version} (…)'")


def build(kind: str, source: Path, out: Path, made: int) -> Path:
    """Build the "sdist" or "wheel" of the folder `source`; the file, in the folder `out`."""
    environment = {
        **os.environ,
        "SOURCE_DATE_EPOCH": str(made),
        "PYTHONHASHSEED": "0",
        "LC_ALL": "C.UTF-8",
        "TZ": "UTC",
    }
    command = [sys.executable, "-m", "build", "--no-isolation", f"--{kind}", "--outdir", str(out)]
    done = subprocess.run(
        [*command, str(source)], env=environment, capture_output=True, text=True, cwd=out
    )
    if done.returncode:
        sys.exit(f"release: the {kind} cannot be built:\n{done.stdout}{done.stderr}")
    (file,) = out.iterdir()
    return file


def unpack(archive: bytes, folder: Path) -> None:
    """Write the files of a tar archive, compressed or not, under `folder`."""
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        tar.extractall(folder, filter="data")


def even_out(sdist: Path, made: int) -> None:
    """
    Write `sdist` anew without what tells one build from another.

    setuptools notes when each file was written, who did, and when it compressed them, whatever
    SOURCE_DATE_EPOCH says.
    """
    plain = io.BytesIO()
    with (
        tarfile.open(sdist) as old,
        tarfile.open(fileobj=plain, mode="w", format=tarfile.PAX_FORMAT) as new,
    ):
        for member in sorted(old.getmembers(), key=lambda member: member.name):
            member.mtime = made
            member.mode = 0o755 if member.isdir() or member.mode & 0o100 else 0o644
            member.uid = member.gid = 0
            member.uname = member.gname = ""
            member.pax_headers = {}
            new.addfile(member, old.extractfile(member))
    sdist.write_bytes(gzip.compress(plain.getvalue(), mtime=made))


def main() -> None:
    """Build, and print what `sha256sum` would."""
    parser = argparse.ArgumentParser(description="Build the release of a tag.")
    parser.add_argument("tag", help="v and the version: v1.2.0")
    parser.add_argument("--out", type=Path, default=Path("dist"), help="the folder for the files")
    arguments = parser.parse_args()
    commit = git("rev-parse", "--verify", f"{arguments.tag}^{{commit}}").decode().strip()
    made = int(git("log", "-1", "--format=%ct", commit))
    os.umask(0o022)
    with tempfile.TemporaryDirectory(prefix="evcharge-release-") as name:
        folder = Path(name)
        places = [folder / part for part in ("tag", "sdist", "unpacked", "wheel")]
        for place in places:
            place.mkdir()
        tag, sdists, unpacked, wheels = places
        unpack(git("-c", "tar.umask=0022", "archive", "--format=tar", commit), tag)
        see_made(tag, made)
        sdist = build("sdist", tag, sdists, made)
        version = sdist.name.removesuffix(".tar.gz").partition("-")[2]
        if arguments.tag != f"v{version}":
            sys.exit(f"release: the tag {arguments.tag} has the version {version}")
        see_told(tag, version)
        even_out(sdist, made)
        # Of what others get: so a file that is missing there is noticed.
        unpack(sdist.read_bytes(), unpacked)
        (source,) = unpacked.iterdir()
        wheel = build("wheel", source, wheels, made)
        arguments.out.mkdir(parents=True, exist_ok=True)
        for file in (sdist, wheel):
            shutil.copyfile(file, arguments.out / file.name)
            print(f"{hashlib.sha256(file.read_bytes()).hexdigest()}  {file.name}")


if __name__ == "__main__":
    main()
