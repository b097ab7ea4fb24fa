"""
A study: every variant of a scenario runs the same replications, wherever there is room for them.

A replication that is done is a file, written whole. So what was interrupted goes on where it ended,
and what comes of a study does not depend on how many ran beside one another, nor in which order.
"""

from __future__ import annotations

import json
import platform
import signal
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from types import FrameType
from typing import Any, TypeAlias

import attrs
import msgspec

from evcharge import __version__
from evcharge.simulator.executors import Workers
from evcharge.simulator.replication import (
    DriverRecord,
    Replication,
    decode,
    driver_line,
    drivers_of,
    encode,
)
from evcharge.simulator.texts import Text
from evcharge.simulator.whole import write_whole, writing
from evcharge.utils.objects import shown
from evcharge.utils.permissions import remedy_to_read

MANIFEST = "manifest.json"
REPLICATIONS = "replications"
TOLD_FIRST = ("evcharge", "plan.seed", "plan.replications", "plan.scenario.", "plan.files.")
"""Keys of the manifest, of what a person would want to know first where several differ."""
LIBRARIES = ("Twisted", "attrs", "msgspec")
"""Those that a run goes by; their versions stand in the manifest."""
CHANGE_NOTHING = ("--out", "--workers", "--cluster")
"""Options of which no byte of a result depends."""

Run: TypeAlias = Callable[[Any, int], Replication]
"""From a variant's scenario and the number of a replication to what that comes to."""


class StudyError(Exception):
    """A study cannot be made, or not go on; says why, and what to do."""


@attrs.frozen
class Variant:
    """One of the scenarios that are compared."""

    name: str
    """Of files, and one of its own in the study."""
    settings: tuple[tuple[Text, Any], ...] = ()
    """What it has different from the others: what that is called, and its value."""


@attrs.frozen
class Plan:
    """What is to be run. All of it stands in the manifest."""

    title: Text
    start: str
    """Local, as ISO 8601 has it."""
    days: int
    warm_up_hours: float
    """Left out of every figure, and of the hours."""
    seed: int
    replications: int
    confidence: float
    variants: tuple[Variant, ...]
    """At least one; the others are compared with the first."""
    files: Mapping[str, str]
    """All that was read to know it, by its name."""
    scenario: Mapping[str, Any]
    """Its tables, as they were merged and set; JSON-able."""
    command: tuple[str, ...]
    """With which it is run again."""
    has_drivers: bool = True
    """Whether each driver is kept, beside the figures."""


@attrs.frozen
class Study:
    """What a plan came to, as far as it was run."""

    plan: Plan
    folder: Path
    results: tuple[tuple[Replication, ...], ...]
    """For each variant its replications, in order; without their drivers, who are in the files."""
    sources: tuple[tuple[Path, Variant], ...]
    """For each variant the folder that its files are in, and what it is called there."""
    versions: Mapping[str, str]
    """Of evcharge, Python and libraries, with which it was run."""
    unlike: tuple[str, ...] = ()
    """Why not all variants have the same drivers: the keys in which two studies differ."""

    @property
    def is_complete(self) -> bool:
        """Whether all replications are there."""
        return all(len(found) == self.plan.replications for found in self.results)

    def drivers(self, variant: int, number: int) -> Iterator[DriverRecord]:
        """
        Those of one replication, from its file, one after another; none where they were not kept.

        :raise StudyError: the file cannot be read any more.
        """
        if not self.plan.has_drivers:
            return
        path = _drivers_of(_path(*self.sources[variant], number))
        try:
            with path.open("rb") as lines:
                yield from drivers_of(lines)
        except (OSError, ValueError) as error:
            raise StudyError(f"{path}: has no drivers, or only a part of them: {error}") from None


def repeatable(command: Iterable[str]) -> tuple[str, ...]:
    """The same command without the options of which no byte of a result depends."""
    kept: list[str] = []
    skipped = False
    for word in command:
        if skipped:
            skipped = False
        elif word in CHANGE_NOTHING:
            skipped = True
        elif word.partition("=")[0] not in CHANGE_NOTHING:
            kept.append(word)
    return tuple(kept)


def run(
    plan: Plan,
    scenarios: Sequence[Any],
    folder: Path,
    workers: Workers,
    run_one: Run,
    progress: Callable[[int, int], None] = lambda done, of: None,
    ending: Callable[[], None] = lambda: None,
) -> Study:
    """
    Run what of a plan has not been run yet. Ctrl-C ends it after what is under way, or, when
    it comes again, at once.

    :param scenarios: one a variant, for `run_one`.
    :param folder: for the results; made if it is not there.
    :param run_one: can be pickled: it is called where the workers are.
    :param progress: told how many replications there are, and of how many.
    :param ending: called in the handler of the signal when Ctrl-C comes first.
    :raise StudyError: the folder has something else, or a worker was lost.
    :raise Exception: what `run_one` raises; what was finished before is kept.
    """
    manifest = _manifest(plan)
    try:
        _begin(folder, manifest)
        return _run(plan, scenarios, folder, manifest, workers, run_one, progress, ending)
    except OSError as error:
        raise StudyError(f"{error.filename or folder}: {error.strerror or error}") from None


def read(folder: Path) -> Study:
    """
    What is in a folder of results, without running anything.

    :raise StudyError: it has no results, or such as another version has written in its own way.
    """
    path = folder / MANIFEST
    try:
        manifest = json.loads(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        raise StudyError(f"{folder}: has no results: there is no {MANIFEST}") from None
    except OSError as error:
        raise StudyError(f"{path}: {error.strerror}{remedy_to_read(error, path)}") from None
    except ValueError as error:
        raise StudyError(f"{path}: is no manifest: {error}") from None
    wrote = manifest.get("evcharge") if isinstance(manifest, dict) else None
    is_own = wrote in (None, __version__)
    other = "" if is_own else f"; evcharge {wrote} wrote it, and this is {__version__}"
    try:
        plan = msgspec.convert(manifest["plan"], Plan)
        study = _study(plan, folder, _versions(manifest))
    except OSError as error:
        raise StudyError(f"{error.filename or folder}: {error.strerror}") from None
    except (msgspec.MsgspecError, ValueError, KeyError, TypeError) as error:
        raise StudyError(f"{path}: is no manifest: {error}{other}") from None
    if other and (cut := _unreadable(study)) is not None:
        raise StudyError(f"{cut}: cannot be read{other}")
    return study


def _unreadable(study: Study) -> Path | None:
    """A replication's file that is there, and of which nothing could be made."""
    for variant, results in zip(study.plan.variants, study.results, strict=True):
        read = {each.number for each in results}
        for number in range(study.plan.replications):
            path = _path(study.folder, variant, number)
            if number not in read and path.exists():
                return path
    return None


def _run(
    plan: Plan,
    scenarios: Sequence[Any],
    folder: Path,
    manifest: Mapping[str, Any],
    workers: Workers,
    run_one: Run,
    progress: Callable[[int, int], None],
    ending: Callable[[], None],
) -> Study:
    # All variants of a replication before the next one: what is interrupted has whole pairs.
    tasks: list[tuple[Path, Any, int]] = [
        (_path(folder, variant, number), scenario, number)
        for number in range(plan.replications)
        for variant, scenario in zip(plan.variants, scenarios, strict=True)
    ]
    missing = [task for task in tasks if _finished(task[0], plan.has_drivers) is None]
    waiting, done = iter(missing), len(tasks) - len(missing)
    progress(done, len(tasks))
    under_way: dict[Future[tuple[str, str]], Path] = {}
    with _interrupts(ending) as interrupted:
        try:
            while True:
                while not interrupted and len(under_way) < workers.at_once + 1:
                    task = next(waiting, None)
                    if task is None:
                        break
                    path, scenario, number = task
                    drivers = _drivers_of(path) if plan.has_drivers else None
                    future = workers.executor.submit(
                        work, run_one, scenario, number, __version__, drivers, workers.are_here
                    )
                    under_way[future] = path
                if not under_way:
                    break
                for future in wait(under_way, return_when=FIRST_COMPLETED).done:
                    path, (text, drivers_text) = under_way.pop(future), future.result()
                    if drivers_text:
                        write_whole(_drivers_of(path), drivers_text)
                    # Where this is there, all is.
                    write_whole(path, text)
                    done += 1
                    progress(done, len(tasks))
        except BrokenProcessPool:
            raise StudyError(
                "a worker was ended from outside, for want of memory perhaps; "
                "the same command goes on where this ended, with fewer --workers if need be"
            ) from None
        finally:
            for future in under_way:
                future.cancel()
    return _study(plan, folder, _versions(manifest))


def work(
    run_one: Run, scenario: Any, number: int, wanted: str, drivers: Path | None, is_here: bool
) -> tuple[str, str]:
    """
    Run one replication where a worker is.

    :param wanted: the version of evcharge that a worker has to have.
    :param drivers: the file for them; None: they are not kept.
    :param is_here: whether a worker writes that file, which is on its machine.
    :return: the replication, as its file has it; and its drivers, where they are not written yet.
    :raise StudyError: the worker has another version.
    :raise OSError: the file cannot be written.
    """
    if __version__ != wanted:
        raise StudyError(
            f"{platform.node()} has evcharge {__version__}, not {wanted}: install the same there"
        )
    found = run_one(scenario, number)
    text, lines = encode(found).decode(), map(driver_line, found.drivers)
    if drivers is None:
        return text, ""
    if not is_here:
        return text, b"".join(lines).decode()
    with writing(drivers) as file:
        file.writelines(line.decode() for line in lines)
    return text, ""


def _study(plan: Plan, folder: Path, versions: Mapping[str, str]) -> Study:
    results = []
    for variant in plan.variants:
        paths = (_path(folder, variant, number) for number in range(plan.replications))
        found = (_finished(path, plan.has_drivers) for path in paths)
        results.append(tuple(each for each in found if each is not None))
    sources = tuple((folder, variant) for variant in plan.variants)
    return Study(plan, folder, tuple(results), sources, versions)


def _versions(manifest: Mapping[str, Any]) -> Mapping[str, str]:
    own = {"evcharge": manifest["evcharge"], "Python": manifest["python"]}
    return {**own, **manifest["libraries"]}


def _path(folder: Path, variant: Variant, number: int) -> Path:
    return folder / REPLICATIONS / f"{variant.name}-{number}.json"


def _drivers_of(path: Path) -> Path:
    """Where the drivers of a replication are: of very many memory has no room for all."""
    return path.with_name(f"{path.stem}.drivers.jsonl")


def _finished(path: Path, has_drivers: bool) -> Replication | None:
    try:
        found = decode(path.read_bytes())
        if has_drivers:
            with _drivers_of(path).open("rb") as lines:
                if sum(line.endswith(b"\n") for line in lines) != found.gone:
                    return None
    except (FileNotFoundError, ValueError):
        # What cannot be read is run again, and comes to the same.
        return None
    return found


def _manifest(plan: Plan) -> Mapping[str, Any]:
    """All that the results depend on, and no time of the wall."""
    return {
        "evcharge": __version__,
        "python": platform.python_version(),
        "libraries": {name: version(name) for name in LIBRARIES},
        "plan": msgspec.to_builtins(plan),
    }


def _begin(folder: Path, manifest: Mapping[str, Any]) -> None:
    """Make a folder, or make sure that it has results of the same."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / MANIFEST
    text = json.dumps(manifest, ensure_ascii=False, indent=1) + "\n"
    try:
        there = path.read_bytes()
    except FileNotFoundError:
        if any(folder.iterdir()):
            raise StudyError(
                f"{folder}: is not empty, and has no {MANIFEST}: choose another --out"
            ) from None
        write_whole(path, text)
    else:
        if there != text.encode():
            raise StudyError(
                f"{folder}: has results of another run ({_other(there, manifest)}): "
                "choose another --out, or remove it"
            )
    (folder / REPLICATIONS).mkdir(exist_ok=True)


def _other(there: bytes, manifest: Mapping[str, Any]) -> str:
    """What the manifest that is there has different, for a person."""
    try:
        before = _flat(json.loads(there))
    except ValueError:
        return f"its {MANIFEST} cannot be read"
    now = _flat(json.loads(json.dumps(manifest)))
    keys = [key for key in {**now, **before} if now.get(key) != before.get(key)]
    # That which says the most comes first: a command differs wherever anything else does.
    keys.sort(key=lambda key: [not key.startswith(each) for each in TOLD_FIRST])
    for key in keys:
        # Texts of files would fill a page.
        if key.startswith("plan.files."):
            how = "is new" if key not in before else "has changed"
            return f"{key.removeprefix('plan.files.')} {how if key in now else 'is left out'}"
        name = key.removeprefix("plan.").removeprefix("scenario.")
        if isinstance(before.get(key, now.get(key)), list):
            return f"another {name}"
        return f"{name} {_shown(before, key)}, not {_shown(now, key)}"
    return f"another {MANIFEST}"


def _flat(value: Any, key: str = "") -> dict[str, Any]:
    """All values in tables, by their whole keys."""
    if not isinstance(value, dict):
        return {key: value}
    found: dict[str, Any] = {}
    for name, inner in value.items():
        found.update(_flat(inner, f"{key}.{name}" if key else name))
    return found


def _shown(flat: Mapping[str, Any], key: str) -> str:
    return shown(flat[key]) if key in flat else "absent"


@contextmanager
def _interrupts(ending: Callable[[], None]) -> Iterator[list[int]]:
    """
    Take note of Ctrl-C, in the list, instead of being interrupted; of the second one no more.
    """
    interrupted: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        interrupted.append(number)
        signal.signal(signal.SIGINT, before)
        ending()

    before = signal.signal(signal.SIGINT, note)
    try:
        yield interrupted
    finally:
        signal.signal(signal.SIGINT, before)
