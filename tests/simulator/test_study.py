"""Variants times replications, wherever they run."""

import json
import os
import resource
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from concurrent.futures import Executor, Future
from pathlib import Path

import attrs
from twisted.trial.unittest import SynchronousTestCase

from evcharge import __version__
from evcharge.simulator import study
from evcharge.simulator.executors import NoCluster, Workers, cluster, here
from evcharge.simulator.study import Study, StudyError
from tests.support import replications
from tests.support.replications import SCENARIOS, fail_at_2, plan, replicate


class Backwards(Executor):
    """Runs what it was told last first, when somebody waits."""

    def __init__(self) -> None:
        self.tasks: list[tuple[Future, Callable[[], object]]] = []

    def submit(self, call, /, *args, **kwargs):
        future = Future()
        self.tasks.append((future, lambda: call(*args, **kwargs)))
        if len(self.tasks) == 2:
            for each, task in reversed(self.tasks):
                each.set_result(task())
            self.tasks.clear()
        return future


class StudyTests(SynchronousTestCase):
    """A study, and its folder."""

    def setUp(self) -> None:
        self.folder = Path(self.mktemp())

    def run_here(self, folder: Path, run_one=replicate, **changes: object) -> Study:
        """Run the plan in this process, with what is changed of it."""
        with here(1) as workers:
            return study.run(plan(**changes), SCENARIOS, folder, workers, run_one)

    def test_results(self) -> None:
        """Each variant has all replications in their order, and drivers are in the files."""
        told: list[tuple[int, int]] = []
        with here(1) as workers:
            made = study.run(
                plan(), SCENARIOS, self.folder, workers, replicate, lambda *of: told.append(of)
            )
        self.assertTrue(made.is_complete)
        self.assertEqual(told, [(done, 8) for done in range(9)])
        for scenario, results in zip(SCENARIOS, made.results, strict=True):
            expected = [replicate(scenario, n) for n in range(4)]
            kept = [attrs.evolve(e, drivers=(), gone=len(e.drivers)) for e in expected]
            self.assertEqual(list(results), kept)
        self.assertEqual(tuple(made.drivers(1, 3)), replicate(SCENARIOS[1], 3).drivers)
        self.assertEqual(study.read(self.folder), made)

    def test_order(self) -> None:
        """In whatever order tasks end, and in however many processes, the bytes are the same."""
        self.run_here(self.folder / "one")
        study.run(plan(), SCENARIOS, self.folder / "back", Workers(Backwards(), 1), replicate)
        with here(2) as workers:
            study.run(plan(), SCENARIOS, self.folder / "two", workers, replicate)
        one = files(self.folder / "one")
        # The manifest, and two for each replication.
        self.assertEqual(len(one), 17)
        self.assertEqual(files(self.folder / "back"), one)
        self.assertEqual(files(self.folder / "two"), one)

    def test_going_on(self) -> None:
        """What there is of the same study is not run again; what is missing or cut short is."""
        self.run_here(self.folder)
        whole = files(self.folder)
        (self.folder / "replications" / "add_evses=0-2.json").unlink()
        cut = self.folder / "replications" / "add_evses=4-1.json"
        cut.write_bytes(cut.read_bytes()[:100])
        drivers = self.folder / "replications" / "add_evses=4-2.drivers.jsonl"
        drivers.write_bytes(b"".join(drivers.read_bytes().splitlines(keepends=True)[:-1]))
        (self.folder / "replications" / "add_evses=0-3.drivers.jsonl").unlink()
        ran = []

        def counted(scenario, number):
            ran.append((scenario.added, number))
            return replicate(scenario, number)

        self.assertTrue(self.run_here(self.folder, counted).is_complete)
        self.assertEqual(sorted(ran), [(0, 2), (0, 3), (4, 1), (4, 2)])
        self.assertEqual(files(self.folder), whole)

    def test_another_study(self) -> None:
        """A folder that has something else is left as it is, and the person told what differs."""
        self.run_here(self.folder)
        before = files(self.folder)
        error = self.assertRaises(StudyError, self.run_here, self.folder, seed=8)
        self.assertIn("seed 7, not 8", str(error))
        for changes, expected in (
            ({"scenario": {"driver": {"books": 0.5}, "demand": {}}}, "driver.books 0.3, not 0.5"),
            ({"files": {**plan().files, "feira.toml": ""}}, "feira.toml has changed"),
            ({"files": {**plan().files, "a.toml": ""}}, "a.toml is new"),
            ({"files": {}}, "feira.toml is left out"),
            ({"command": ("evcharge", "simulate", "run", "other.toml")}, "another command"),
            ({"has_drivers": False}, "has_drivers true, not false"),
        ):
            error = self.assertRaises(StudyError, self.run_here, self.folder, **changes)
            self.assertIn(f"results of another run ({expected})", str(error))
        self.assertEqual(files(self.folder), before)
        other = self.folder / "replications"
        error = self.assertRaises(StudyError, self.run_here, other)
        self.assertIn("not empty", str(error))

    def test_no_results(self) -> None:
        """Reading a folder without results, or with a broken manifest, names it."""
        error = self.assertRaises(StudyError, study.read, self.folder)
        self.assertIn(str(self.folder), str(error))
        self.folder.mkdir()
        (self.folder / "manifest.json").write_text('{"plan": 3}')
        error = self.assertRaises(StudyError, study.read, self.folder)
        self.assertIn("manifest.json", str(error))

    def test_other_version_wrote(self) -> None:
        """What another version wrote is read, or said to be its."""
        made = self.run_here(self.folder)
        path = self.folder / "manifest.json"
        path.write_text(path.read_text().replace(f'"{__version__}"', '"0.0.1"'))
        found = study.read(self.folder)
        self.assertEqual((found.results, found.versions["evcharge"]), (made.results, "0.0.1"))
        error = self.assertRaises(StudyError, self.run_here, self.folder)
        self.assertIn(f'evcharge "0.0.1", not "{__version__}"', str(error))
        replication = self.folder / "replications" / "add_evses=4-1.json"
        replication.write_text('{"number": 1}')
        error = self.assertRaises(StudyError, study.read, self.folder)
        self.assertEqual(
            str(error),
            f"{replication}: cannot be read; evcharge 0.0.1 wrote it, and this is {__version__}",
        )

    def test_not_writable(self) -> None:
        """A folder that cannot be made is told by its name."""
        self.folder.write_text("a file")
        error = self.assertRaises(StudyError, self.run_here, self.folder)
        self.assertIn(str(self.folder), str(error))

    def test_manifest(self) -> None:
        """The manifest has all that results depend on, and no time of the wall or folder."""
        self.run_here(self.folder)
        manifest = json.loads((self.folder / "manifest.json").read_text())
        self.assertEqual(manifest["plan"]["files"], plan().files)
        self.assertEqual(manifest["plan"]["seed"], 7)
        self.assertEqual(set(manifest), {"evcharge", "python", "libraries", "plan"})
        self.assertNotIn(str(self.folder), json.dumps(manifest))

    def test_no_room(self) -> None:
        """Where there is no room the folder is named, and nothing is half-written."""
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        self.addCleanup(resource.setrlimit, resource.RLIMIT_FSIZE, before)
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, before[1]))
        error = self.assertRaises(StudyError, self.run_here, self.folder)
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        self.assertEqual(str(error), f"{self.folder}: File too large")
        self.assertEqual(list(files(self.folder)), ["manifest.json"])
        self.assertTrue(self.run_here(self.folder).is_complete)

    def test_failure(self) -> None:
        """A run that breaks ends the study; what was finished before is kept."""
        error = self.assertRaises(ArithmeticError, self.run_here, self.folder, fail_at_2)
        self.assertIn("born are 3", str(error))
        self.assertEqual(len(list((self.folder / "replications").glob("*.json"))), 4)

    def test_without_drivers(self) -> None:
        """A study of figures alone keeps no drivers."""
        made = self.run_here(self.folder, has_drivers=False)
        self.assertEqual(list(made.drivers(0, 0)), [])
        self.assertEqual(list(self.folder.rglob("*.jsonl")), [])
        self.assertEqual(made.results[0][0].figures, replicate(SCENARIOS[0], 0).figures)

    def test_far_away(self) -> None:
        """Workers that have no files of this machine send all, and it comes to the same bytes."""
        self.run_here(self.folder / "here")
        with here(1) as workers:
            away = attrs.evolve(workers, are_here=False)
            study.run(plan(), SCENARIOS, self.folder / "away", away, replicate)
        self.assertEqual(files(self.folder / "away"), files(self.folder / "here"))

    def test_lost_drivers(self) -> None:
        """Where the file of drivers is gone or cut short, it is named."""
        made = self.run_here(self.folder)
        path = self.folder / "replications" / "add_evses=0-1.drivers.jsonl"
        path.write_bytes(path.read_bytes()[:-9])
        for _ in range(2):
            error = self.assertRaises(StudyError, list, made.drivers(0, 1))
            self.assertIn(str(path), str(error))
            path.unlink(missing_ok=True)

    def test_other_version(self) -> None:
        """A worker that has another evcharge refuses, and says which is wanted."""
        error = self.assertRaises(
            StudyError, study.work, replicate, SCENARIOS[0], 0, "0.0.1", None, True
        )
        self.assertIn("not 0.0.1", str(error))

    def test_command(self) -> None:
        """The command that repeats a study is without what changes no byte of it."""
        words = "run a.toml --out x --seed 7 --workers=3 --cluster tcp://b:1 --set a.b=1"
        self.assertEqual(
            study.repeatable(words.split()), ("run", "a.toml", "--seed", "7", "--set", "a.b=1")
        )

    def test_no_scheduler(self) -> None:
        """A cluster where nobody answers, or without Dask, is told in one sentence."""
        with self.assertRaises(NoCluster) as caught, cluster("nonsense://"):
            pass
        self.assertNotIn("\n", str(caught.exception))


class InterruptTests(SynchronousTestCase):
    """Ctrl-C."""

    def start(self, workers: int) -> tuple[subprocess.Popen[str], Path]:
        """A study in a process group of its own, whose replications wait for leave."""
        folder = Path(self.mktemp()).absolute()
        folder.mkdir()
        script = f"""
            import pathlib
            from evcharge.simulator import study
            from evcharge.simulator.executors import here
            from tests.support.replications import Scenario, plan, replicate_with_leave
            if __name__ == "__main__":
                scenarios = [Scenario(added, folder={str(folder)!r}) for added in (0, 4)]
                with here({workers}) as workers:
                    made = study.run(
                        plan(), scenarios, pathlib.Path({str(folder / "out")!r}), workers,
                        replicate_with_leave,
                        ending=pathlib.Path({str(folder / "ending")!r}).touch,
                    )
                print(made.is_complete, sum(map(len, made.results)))
        """
        path = folder / "script.py"
        path.write_text(textwrap.dedent(script))
        root = Path(replications.__file__).parents[2]
        process = subprocess.Popen(
            [sys.executable, str(path)],
            env={**os.environ, "PYTHONPATH": str(root)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        return process, folder

    def wait_for(self, folder: Path, pattern: str, number: int, process) -> None:
        """Until as many files are there."""
        deadline = time.monotonic() + 60
        while len(list(folder.glob(pattern))) < number:
            self.assertIsNone(process.poll())
            self.assertLess(time.monotonic(), deadline)
            time.sleep(0.02)

    def check_interrupt(self, workers: int) -> None:
        """Ctrl-C on a terminal is told to all processes; what is under way ends, and is kept."""
        process, folder = self.start(workers)
        self.wait_for(folder, "under-way-*", workers, process)
        os.killpg(process.pid, signal.SIGINT)
        # What would be cut off by it has time to be.
        time.sleep(0.2)
        (folder / "leave").touch()
        out, errors = process.communicate(timeout=60)
        self.assertEqual(errors, "")
        done = len(list((folder / "out" / "replications").glob("*.json")))
        self.assertEqual(out, f"False {done}\n")
        self.assertGreaterEqual(done, workers)
        # Besides those that run, some are with the workers already.
        self.assertLess(done, 8)

    def test_here(self) -> None:
        """In one process."""
        self.check_interrupt(1)

    def test_processes(self) -> None:
        """In several."""
        self.check_interrupt(2)

    def test_second(self) -> None:
        """The second Ctrl-C ends it at once; what was finished is kept."""
        for workers in (1, 2):
            process, folder = self.start(workers)
            self.wait_for(folder, "under-way-*", workers, process)
            os.killpg(process.pid, signal.SIGINT)
            self.wait_for(folder, "ending", 1, process)
            os.killpg(process.pid, signal.SIGINT)
            process.communicate(timeout=60)
            self.assertNotEqual(process.returncode, 0)
            self.assertTrue((folder / "out" / "manifest.json").exists())
            self.assertEqual(list((folder / "out" / "replications").iterdir()), [])

    def test_lost_worker(self) -> None:
        """Where the system ends a worker it is said, with what to do; what is there is kept."""
        process, folder = self.start(2)
        self.wait_for(folder, "under-way-*", 2, process)
        lost = next(
            int(pid)
            for pid in _members(process.pid)
            if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()
        )
        os.kill(lost, signal.SIGKILL)
        _, errors = process.communicate(timeout=60)
        self.assertIn("StudyError: a worker was ended from outside", errors)
        self.assertIn("the same command goes on", errors)
        self.assertTrue((folder / "out" / "manifest.json").exists())

    def test_killed(self) -> None:
        """Workers whose study was killed end by themselves."""
        process, folder = self.start(2)
        self.wait_for(folder, "under-way-*", 2, process)
        process.kill()
        process.communicate(timeout=60)
        deadline = time.monotonic() + 30
        while _members(process.pid):
            self.assertLess(time.monotonic(), deadline)
            time.sleep(0.05)


def _members(group: int) -> list[str]:
    """The processes of a group that are alive."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if fields[0] != "Z" and int(fields[2]) == group:
            found.append(path.parent.name)
    return found


def files(folder: Path) -> dict[str, bytes]:
    """All that is in a folder, by its path within."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
