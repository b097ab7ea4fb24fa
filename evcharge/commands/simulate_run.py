"""`evcharge simulate run` and `report`: a study, and what people read of it."""

from __future__ import annotations

import argparse
import os
import shlex
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path

import attrs
from tqdm import tqdm

from evcharge.commands import INTERRUPTED, USAGE, Exit
from evcharge.simulator import executors, report, study, world
from evcharge.simulator.beside import beside
from evcharge.simulator.executors import NoCluster, Workers
from evcharge.simulator.plans import plan_of
from evcharge.simulator.scenario import Scenario
from evcharge.simulator.study import Study, StudyError
from evcharge.simulator.texts import REPORT_LANGUAGE
from evcharge.storage import StorageError
from evcharge.storage.location import Location

WIDE = 60
"""Columns of a terminal that has room for all of the progress bar."""

GOES_ON = "the same command goes on with it"
ENDING = b"\nending after what is under way; Ctrl-C again ends at once\n"


def run(options: argparse.Namespace, scenario: Scenario) -> None:
    """
    Run a scenario's study, and write its results.

    :raise Exit: it cannot be run, or was ended before its end.
    """
    folder: Path = options.out
    plan, scenarios = plan_of(scenario, _command(options), options.records == "all")
    runs = len(scenarios) * plan.replications
    run_one = partial(world.run, by_bytes=options.bytes, keep=_keep(options, runs))
    try:
        with _workers(options, runs) as workers, _bar(runs) as progress:
            done = study.run(plan, scenarios, folder, workers, run_one, progress, _say_ending)
        _write(done, options.language)
    except (StudyError, NoCluster, world.RunError, StorageError) as error:
        raise Exit(str(error)) from None
    except KeyboardInterrupt:
        raise Exit(f"{folder}: ended at once; {GOES_ON}", INTERRUPTED) from None
    if not done.is_complete:
        raise Exit(f"{folder}: not complete; {GOES_ON}", INTERRUPTED)


def _keep(options: argparse.Namespace, runs: int) -> Location | None:
    """Where the data of the run is kept; Exit: there are several runs, or it is elsewhere."""
    if options.storage is None:
        return None
    if runs > 1:
        raise Exit(
            f"--storage keeps the data of one run, not of {runs}: with --replications 1, and "
            "nothing that is varied",
            USAGE,
        )
    if options.cluster is not None:
        raise Exit("--storage is on this machine: it does not go with --cluster", USAGE)
    # It knows all of a server's options, which takes half a second to be imported.
    from evcharge.commands.storages import location

    return location("--storage", options.storage)


def again(options: argparse.Namespace) -> None:
    """
    Write the report of results again; of two, one report of both, in a folder of its own.

    :raise Exit: there are none, or the report cannot be written.
    """
    folder = options.out
    try:
        done = study.read(options.results)
        if options.other is not None:
            done = beside(done, study.read(options.other))
        _write(done, options.language, folder)
    except StudyError as error:
        raise Exit(str(error)) from None


def _write(done: Study, language: str, folder: Path | None = None) -> None:
    to = folder or done.folder
    if language != REPORT_LANGUAGE:
        # The manifest is the same in both, so that a report can be had in the other one too.
        words = (*done.plan.command, "--language", language)
        done = attrs.evolve(done, plan=attrs.evolve(done.plan, command=words))
    try:
        has_report = report.write(done, language, folder)
    except FileExistsError:
        raise Exit(f"{to}: is a file, not a folder") from None
    except OSError as error:
        raise Exit(f"{error.filename or to}: {error.strerror or error}") from None
    except KeyboardInterrupt:
        raise Exit(
            f"{to}: the report is not written; it is by: "
            f"evcharge simulate report {shlex.quote(str(done.folder))}",
            INTERRUPTED,
        ) from None
    if has_report:
        print(f"{to / report.REPORT} is written")
    else:
        print(f"{to} has the tables; {report.EXTRA}")


def _say_ending() -> None:
    # In the handler of a signal print might be in the middle of something.
    if sys.stderr.isatty():
        os.write(sys.stderr.fileno(), ENDING)


def _workers(options: argparse.Namespace, runs: int) -> AbstractContextManager[Workers]:
    if options.cluster is not None:
        return executors.cluster(options.cluster)
    return executors.here(options.workers or min(runs, len(os.sched_getaffinity(0))))


@contextmanager
def _bar(runs: int) -> Iterator[Callable[[int, int], None]]:
    """A progress bar, where a person is watching."""
    # In a narrow terminal there is room for the rate and the time left, or for the name.
    name = "replications" if shutil.get_terminal_size().columns >= WIDE else None
    with tqdm(desc=name, total=runs, unit="run", disable=None) as bar:

        def progress(done: int, of: int) -> None:
            if not bar.n:
                # Those that were there before took no time.
                bar.initial = done
            bar.update(done - bar.n)

        yield progress


def _command(options: argparse.Namespace) -> list[str]:
    """With which the same is run again; what changes no byte of the results is left out."""
    words = ["evcharge", "simulate", "run", options.scenario]
    for name in ("set", "vary"):
        for each in getattr(options, name):
            words += [f"--{name}", each]
    for name in ("seed", "replications"):
        if getattr(options, name) is not None:
            words += [f"--{name}", getattr(options, name)]
    if options.bytes:
        words.append("--bytes")
    if options.records != "all":
        words += ["--records", options.records]
    return words
