"""
Renews the libraries that the page has, each as its makers publish it on npm.

    python tools/vendor.py [NAME@VERSION ...]

Without arguments, those that evcharge/web/page/vendor/vendor.json names. npm downloads and checks
each package; of its files those are taken that the page needs, and never changed. vendor.json then
has the SHA-256 of each, to which a test holds them.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

FOLDER = Path(__file__).resolve().parent.parent / "evcharge" / "web" / "page" / "vendor"
TABLE = FOLDER / "vendor.json"

TAKEN = {"leaflet": {"dist/leaflet.js", "dist/leaflet.css", "LICENSE"}}
"""What is taken of each package."""


def packed(wanted: str, folder: Path) -> Path:
    """The package's archive, as npm has downloaded and checked it."""
    done = subprocess.run(
        ["npm", "pack", "--silent", "--pack-destination", str(folder), wanted],
        check=True, capture_output=True, text=True,
    )  # fmt: skip
    return folder / done.stdout.strip()


def take(wanted: str) -> dict[str, object]:
    """Put a package's files into its folder, and give its row of the table."""
    name = wanted.rpartition("@")[0]
    with (
        tempfile.TemporaryDirectory() as folder,
        tarfile.open(packed(wanted, Path(folder))) as archive,
    ):
        files = {
            Path(member.name).relative_to("package").as_posix(): archive.extractfile(member).read()
            for member in archive
            if member.isfile()
        }
    about = json.loads(files["package.json"])
    target = FOLDER / f"{name}-{about['version']}"
    for old in FOLDER.glob(f"{name}-*"):
        shutil.rmtree(old)
    target.mkdir(parents=True)
    sums = {}
    for path in sorted(TAKEN[name]):
        file = target / Path(path).name
        file.write_bytes(files[path])
        sums[f"{target.name}/{file.name}"] = hashlib.sha256(files[path]).hexdigest()
    return {"version": about["version"], "license": about["license"], "files": sums}


def main(wanted: list[str]) -> None:
    table = json.loads(TABLE.read_text()) if TABLE.exists() else {}
    for each in wanted or [f"{name}@{row['version']}" for name, row in table.items()]:
        table[each.rpartition("@")[0]] = take(each)
    TABLE.write_text(json.dumps(table, indent=2, sort_keys=True) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
