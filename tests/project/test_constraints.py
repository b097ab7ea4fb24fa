"""What a release is installed from: every requirement pinned, with hashes, within setup.cfg."""

import importlib.metadata
import importlib.util
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from configparser import ConfigParser
from types import ModuleType

from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from twisted.trial.unittest import SynchronousTestCase

from tests.support.servers import ROOT

PYTHONS = ("3.10", "3.11", "3.12", "3.13")
MACHINES = ("x86_64", "aarch64")


def pins(name: str) -> list[tuple[Requirement, list[str]]]:
    """The lines of a file of constraints, each with its hashes."""
    text = (ROOT / name).read_text().replace("\\\n", " ")
    found = []
    for line in text.splitlines():
        if line and not line.startswith("#"):
            requirement, *hashes = line.split("--hash=")
            found.append((Requirement(requirement.strip()), [each.strip() for each in hashes]))
    return found


def environments() -> Iterator[dict[str, str]]:
    """The machines that constraints.txt is for."""
    for python in PYTHONS:
        for machine in MACHINES:
            yield {
                **{key: str(value) for key, value in default_environment().items()},
                "python_version": python,
                "python_full_version": f"{python}.9",
                "platform_machine": machine,
                "sys_platform": "linux",
                "platform_system": "Linux",
                "extra": "",
            }


def applies(requirement: Requirement, environment: dict[str, str]) -> bool:
    return requirement.marker is None or requirement.marker.evaluate(environment)


def wanted(requirement: Requirement, environment: dict[str, str]) -> list[Requirement]:
    """What the installed distribution requires, as far as it is asked for."""
    requires = map(Requirement, importlib.metadata.requires(requirement.name) or [])
    asked = [{**environment, "extra": extra} for extra in ("", *requirement.extras)]
    return [each for each in requires if any(applies(each, place) for place in asked)]


class ConstraintsTests(SynchronousTestCase):
    """constraints.txt and constraints-release.txt."""

    def closed(self, name: str, requirements: list[Requirement]) -> None:
        """All that `requirements` need is pinned once for each machine, within their bounds."""
        for environment in environments():
            there = {}
            for pin, _ in pins(name):
                if applies(pin, environment):
                    self.assertNotIn(canonicalize_name(pin.name), there, environment)
                    ((operator, version),) = ((s.operator, s.version) for s in pin.specifier)
                    self.assertEqual(operator, "==")
                    there[canonicalize_name(pin.name)] = version
            todo = [each for each in requirements if applies(each, environment)]
            seen = set()
            while todo:
                requirement = todo.pop()
                key = (canonicalize_name(requirement.name), *sorted(requirement.extras))
                self.assertIn(key[0], there, f"{name} lacks {requirement}: make constraints")
                self.assertTrue(
                    requirement.specifier.contains(there[key[0]], prereleases=True),
                    f"{name} has {key[0]} {there[key[0]]}, not {requirement}: make constraints",
                )
                # What another version requires, the one that is installed cannot tell.
                if key not in seen and installed(key[0]) == there[key[0]]:
                    todo += wanted(requirement, environment)
                seen.add(key)

    def test_run(self) -> None:
        """constraints.txt has what the server requires, with PostgreSQL, on each machine."""
        setup = ConfigParser()
        setup.read(ROOT / "setup.cfg")
        lines = setup["options"]["install_requires"] + setup["options.extras_require"]["postgresql"]
        self.closed("constraints.txt", [Requirement(line) for line in lines.split("\n") if line])

    def test_release(self) -> None:
        """constraints-release.txt has what a release is built with."""
        needed = ["build", "setuptools >= 66.1", "wheel"]
        self.closed("constraints-release.txt", [Requirement(line) for line in needed])

    def test_hashes(self) -> None:
        """Each version has the hashes of its files, and no line says where it is from."""
        for name in ("constraints.txt", "constraints-release.txt"):
            for pin, hashes in pins(name):
                self.assertTrue(hashes, pin)
                for each in hashes:
                    self.assertTrue(re.fullmatch("sha256:[0-9a-f]{64}", each), f"{pin}: {each}")
            self.assertNotIn("://", (ROOT / name).read_text())

    def test_image(self) -> None:
        """The image has these versions, and nothing that is not named there."""
        text = (ROOT / "Dockerfile").read_text()
        self.assertIn("--require-hashes -r constraints.txt", text)
        self.assertIn("--no-deps", text)


class LowestTests(SynchronousTestCase):
    """The lowest versions that setup.cfg allows, with which the fast half of the tests is run."""

    def setUp(self) -> None:
        self.lowest = tool("lowest")
        self.setup = ConfigParser()
        self.setup.read(ROOT / "setup.cfg")

    def lines(self, section: str, option: str) -> list[Requirement]:
        return [Requirement(line) for line in self.setup[section][option].split("\n") if line]

    def test_all(self) -> None:
        """Each bound of what the server and the tests need is a version that is installed."""
        needed = [
            *self.lines("options", "install_requires"),
            *self.lines("options.extras_require", "test"),
        ]
        bounds = {each.name: each.specifier for each in needed if each.specifier}
        self.assertIn("Twisted", bounds)
        done = subprocess.run(
            [sys.executable, ROOT / "tools" / "lowest.py"],
            capture_output=True,
            text=True,
            check=True,
        )
        named = dict(line.split("==") for line in done.stdout.splitlines())
        self.assertEqual(set(named), set(bounds))
        for name, version in named.items():
            self.assertEqual(str(bounds[name]), f">={version}")

    def test_tried(self) -> None:
        """What the server may need besides, the tests have, with the same bounds."""
        tried = {str(each) for each in self.lines("options.extras_require", "test")}
        for each in self.lines("options.extras_require", "postgresql"):
            self.assertIn(str(each), tried)

    def test_other_bounds(self) -> None:
        """A requirement with a bound that nobody would try is refused."""
        self.assertEqual(self.lowest.lowest(["a", "b[c,d] >= 1.2", "e-f>=3"]), ["b==1.2", "e-f==3"])
        self.assertEqual(self.lowest.lowest(['a >= 1.2; python_version < "3.11"']), ["a==1.2"])
        for line in ("a ~= 1.2", "a >= 1, < 2", "a == 1", "a > 1", "a >= 1; python_version < '4'"):
            error = self.assertRaises(ValueError, self.lowest.lowest, ["b", line])
            self.assertIn(line, str(error))

    def test_run(self) -> None:
        """They are run with all modules of tests but those that are slow, and some of these."""
        text = (ROOT / "Makefile").read_text()
        words, lowest = (
            re.findall(rf"^{name} = ((?:.*\\\n)*.*)$", text, re.M)[0].replace("\\\n", "").split()
            for name in ("SLOW", "LOWEST")
        )
        there = {
            ".".join(path.relative_to(ROOT).with_suffix("").parts)
            for path in (ROOT / "tests").rglob("test_*.py")
        }
        # What those need is not in the environment of the lowest versions.
        browser = {each for each in there if each.startswith("tests.browser.")}
        self.assertIn("$(BROWSER)", words)
        slow = set(words) - {"$(BROWSER)"} | browser
        self.assertLess(slow, there)
        self.assertLess(set(lowest), slow)
        for target, more in (("fast", set()), ("lowest", set(lowest))):
            done = subprocess.run(
                ["make", "--dry-run", "--no-print-directory", "VENV=.venv", target],
                cwd=ROOT, capture_output=True, text=True, check=True,
                env={key: os.environ[key] for key in os.environ if not key.startswith("MAKE")},
            )  # fmt: skip
            *_, last = done.stdout.splitlines()
            self.assertEqual(set(re.findall(r"(?<= )tests\.[\w.]+", last)), there - slow | more)
        self.assertIn("tools/lowest.py > .venv/lowest/constraints.txt", done.stdout)
        self.assertIn("--constraint .venv/lowest/constraints.txt", done.stdout)
        self.assertTrue(last.startswith(".venv/lowest/bin/python "))
        self.assertIn("\ntrial lowest\n", (ROOT / ".ci" / "run").read_text())


class AuditTests(SynchronousTestCase):
    """tools/audit.py: what a report of pip-audit comes to."""

    def setUp(self) -> None:
        self.audit = tool("audit")
        self.sound = {"name": "attrs", "version": "26.1.0", "vulns": []}
        self.broken = {
            "name": "treq",
            "version": "20.1",
            "vulns": [{"id": "PYSEC-2022-1", "fix_versions": ["22.1.0"], "aliases": []}],
        }
        self.skipped = {"name": "idna", "skip_reason": "Dependency not found on PyPI"}

    def judge(self, *packages: dict) -> tuple[int, list[str]]:
        return self.audit.judge({"dependencies": list(packages), "fixes": []})

    def test_sound(self) -> None:
        """All were looked up, and nothing is known."""
        status, _ = self.judge(self.sound)
        self.assertEqual(status, self.audit.NOTHING_KNOWN)

    def test_found(self) -> None:
        """Whatever is known is named, also where something could not be looked up."""
        for packages in ((self.sound, self.broken), (self.broken, self.skipped)):
            status, lines = self.judge(*packages)
            self.assertEqual(status, self.audit.FOUND)
            self.assertEqual(lines, ["treq 20.1: PYSEC-2022-1, mended in 22.1.0"])

    def test_not_looked_up(self) -> None:
        """A package that the service did not know, or no package at all, is no good news."""
        for packages in ((self.sound, self.skipped), (self.skipped,), ()):
            status, _ = self.judge(*packages)
            self.assertEqual(status, self.audit.NO_DATA)


def tool(name: str) -> ModuleType:
    """A program of ours, as a module."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "tools" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def installed(name: str) -> str | None:
    """The version that is installed here."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None
