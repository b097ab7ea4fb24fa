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
from evcharge.outcomes import LANGUAGES
from evcharge.simulator.executors import Workers
from evcharge.simulator.replication import (
    DriverRecord,
    Replication,
    decode,
    driver_line,
    drivers_of,
    encode,
)
from evcharge.simulator.texts import Text, called
from evcharge.simulator.whole import write_whole, writing

MANIFEST = "manifest.json"
REPLICATIONS = "replications"
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
) -> Study:
    """
    Run what of a plan has not been run yet. Ctrl-C ends it after what is under way, or, when
    it comes again, at once.

    :param scenarios: one a variant, for `run_one`.
    :param folder: for the results; made if it is not there.
    :param run_one: can be pickled: it is called where the workers are.
    :param progress: told how many replications there are, and of how many.
    :raise StudyError: the folder has something else, or a worker was lost.
    :raise Exception: what `run_one` raises; what was finished before is kept.
    """
    manifest = _manifest(plan)
    try:
        _begin(folder, manifest)
        return _run(plan, scenarios, folder, manifest, workers, run_one, progress)
    except OSError as error:
        raise StudyError(f"{error.filename or folder}: {error.strerror or error}") from None


def read(folder: Path) -> Study:
    """
    What is in a folder of results, without running anything.

    :raise StudyError: it has no results.
    """
    path = folder / MANIFEST
    try:
        manifest = json.loads(path.read_bytes())
        plan = msgspec.convert(manifest["plan"], Plan)
        return _study(plan, folder, _versions(manifest))
    except FileNotFoundError:
        raise StudyError(f"{folder}: has no results: there is no {MANIFEST}") from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StudyError(f"{path}: is no manifest: {error}") from None


def beside(one: Study, other: Study) -> Study:
    """
    Two studies as one, whose variants are those of both: the differences are to the first of `one`,
    replication by replication.
    """
    both = (one, other)
    names = [study.folder.resolve().name for study in both]
    if names[0] == names[1]:
        names = [str(study.folder) for study in both]
    variants = [
        attrs.evolve(
            variant, name=f"{name}: {variant.name}", settings=(("", name), *variant.settings)
        )
        for name, study in zip(names, both, strict=True)
        for variant in study.plan.variants
    ]
    files = {
        f"{name}: {file}": text
        for name, study in zip(names, both, strict=True)
        for file, text in study.plan.files.items()
    }
    plan = attrs.evolve(
        one.plan,
        title={
            language: " | ".join(dict.fromkeys(called(each.plan.title, language) for each in both))
            for language in LANGUAGES
        },
        replications=max(study.plan.replications for study in both),
        variants=tuple(variants),
        files=files,
        command=("evcharge", "simulate", "report", *(str(study.folder) for study in both)),
        has_drivers=one.plan.has_drivers and other.plan.has_drivers,
    )
    return attrs.evolve(
        one,
        plan=plan,
        results=(*one.results, *other.results),
        sources=(*one.sources, *other.sources),
    )


def _run(
    plan: Plan,
    scenarios: Sequence[Any],
    folder: Path,
    manifest: Mapping[str, Any],
    workers: Workers,
    run_one: Run,
    progress: Callable[[int, int], None],
) -> Study:
    # All variants of a replication before the next one: what is interrupted has whole pairs.
    tasks: list[tuple[Path, Any, int]] = [
        (_path(folder, variant, number), scenario, number)
        for number in range(plan.replications)
        for variant, scenario in zip(plan.variants, scenarios, strict=True)
    ]
    missing = [task for task in tasks if _finished(task[0]) is None]
    waiting, done = iter(missing), len(tasks) - len(missing)
    progress(done, len(tasks))
    under_way: dict[Future[tuple[str, str]], Path] = {}
    with _interrupts() as interrupted:
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
        results.append(tuple(each for each in map(_finished, paths) if each is not None))
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


def _finished(path: Path) -> Replication | None:
    try:
        return decode(path.read_bytes())
    except (FileNotFoundError, ValueError):
        # What cannot be read is run again, and comes to the same.
        return None


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
        found = json.loads(there)
        before = {**found, **found["plan"]}
    except (ValueError, KeyError, TypeError):
        return f"its {MANIFEST} cannot be read"
    now = json.loads(json.dumps({**manifest, **manifest["plan"]}))
    for key, value in now.items():
        if key != "plan" and before.get(key) != value:
            if isinstance(value, (str, int, float)):
                return f"{key} {before.get(key)}, not {value}"
            return f"another {key}"
    return f"another {MANIFEST}"


@contextmanager
def _interrupts() -> Iterator[list[int]]:
    """
    Take note of Ctrl-C, in the list, instead of being interrupted; of the second one no more.
    """
    interrupted: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        interrupted.append(number)
        signal.signal(signal.SIGINT, before)

    before = signal.signal(signal.SIGINT, note)
    try:
        yield interrupted
    finally:
        signal.signal(signal.SIGINT, before)
