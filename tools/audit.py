"""
Looks for known vulnerabilities in the versions that constraints.txt names, with pip-audit.

    python tools/audit.py [--pass-without-data]

pip-audit asks PyPI, then OSV, over the network. Neither may be had where only a mirror of the
index is; pip-audit then skips each package and says that it found nothing, which is not the same.

Exit status: 0, all were looked up and nothing is known; 1, something is, or pip-audit failed; 2,
the data cannot be had, unless `--pass-without-data` has that pass as well.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

CONSTRAINTS = Path(__file__).resolve().parent.parent / "constraints.txt"
SERVICES = ("pypi", "osv")
UNREACHED = ("ConnectionError", "Timeout", "HTTPError", "ServiceError", "SSLError")
"""What pip-audit ends with where a service does not answer."""

NOTHING_KNOWN, FOUND, NO_DATA = range(3)


def judge(report: Mapping[str, Any]) -> tuple[int, list[str]]:
    """What a report of pip-audit, read from JSON, comes to: one of the above, and lines for it."""
    packages = report["dependencies"]
    found = [
        f"{package['name']} {package['version']}: {known['id']}"
        + (f", mended in {', '.join(known['fix_versions'])}" if known["fix_versions"] else "")
        for package in packages
        for known in package.get("vulns", [])
    ]
    if found:
        return FOUND, found
    skipped = [package["name"] for package in packages if "skip_reason" in package]
    if skipped or not packages:
        return NO_DATA, [f"{len(skipped)} of {len(packages)} packages were not found there"]
    return NOTHING_KNOWN, [f"{len(packages)} packages looked up, nothing is known of them"]


def ask(service: str) -> tuple[int, list[str]]:
    """Have pip-audit ask a service; as :func:`judge` puts it."""
    done = subprocess.run(
        [sys.executable, "-m", "pip_audit", "--vulnerability-service", service, "--timeout", "15",
         "--requirement", str(CONSTRAINTS), "--disable-pip", "--require-hashes",
         "--format", "json", "--progress-spinner", "off"],
        capture_output=True, text=True,
    )  # fmt: skip
    try:
        return judge(json.loads(done.stdout))
    except ValueError:
        problem = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
        unreached = any(sign in done.stderr for sign in UNREACHED)
        return (NO_DATA if unreached else FOUND), [f"pip-audit failed: {problem}"]


def main() -> None:
    """Ask until a service answers, and say what it knows."""
    parser = argparse.ArgumentParser(description="Look for known vulnerabilities.")
    parser.add_argument(
        "--pass-without-data", action="store_true", help="succeed where none can be had"
    )
    arguments = parser.parse_args()
    outcome = NO_DATA
    for service in SERVICES:
        outcome, lines = ask(service)
        for line in lines:
            print(f"audit: {service}: {line}")
        if outcome != NO_DATA:
            break
    if outcome == NO_DATA:
        print("audit: NOT DONE: no vulnerability data can be had here; run it where there is some")
        if arguments.pass_without_data:
            outcome = NOTHING_KNOWN
    sys.exit(outcome)


if __name__ == "__main__":
    main()
