"""`evcharge simulate`: what would happen if, answered by the engine that serves drivers."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

from evcharge.commands import USAGE, Exit
from evcharge.commands.numbers import figure, whole
from evcharge.models.terms import LEAST_SPEED, MOST_SPEED
from evcharge.outcomes import LANGUAGES
from evcharge.simulator.texts import REPORT_LANGUAGE

EXAMPLE = "weekday"
"""The shipped scenario that has every key, with comments."""

RESULTS = Path("results")
"""The folder of results, where nobody names another."""


def add_to(commands: Any) -> None:
    """Add the command to the console script."""
    simulate = commands.add_parser(
        "simulate",
        help="simulate drivers: what would change with two more chargers?",
        example="evcharge simulate run weekday",
        description=(
            "Has the drivers of a scenario use a network, answered by the code that serves real "
            "ones. It says how many find a free EVSE, how long they wait, and what two more "
            "chargers would change."
        ),
    )
    what = simulate.add_subparsers(metavar="WHAT")
    _add_new(what)
    _add_check(what)
    _add_run(what)
    _add_report(what)
    _add_drive(what)


def _add_new(what: Any) -> None:
    new = what.add_parser(
        "new",
        help="write a scenario with every key and comments, to be changed",
        example="evcharge simulate new my.toml",
        description="Writes a scenario that has every key, with comments, to be changed.",
    )
    new.add_argument(
        "file", metavar="FILE", type=Path, nargs="?", help="file to write; it must not be there yet"
    )
    new.add_argument(
        "--list", action="store_true", help="list the shipped scenarios, which run by their names"
    )
    new.set_defaults(run=_new)


def _add_check(what: Any) -> None:
    check = what.add_parser(
        "check",
        help="name the mistakes of a scenario, or say what it means",
        example="evcharge simulate check my.toml",
        description=(
            "Names all mistakes of a scenario, with file, line and key. If there are none, it says "
            "what the scenario means: drivers an hour, and the power that they need against what "
            "is there."
        ),
    )
    _add_scenario(check)
    _add_study(check)
    _add_language(check, "en")
    check.set_defaults(run=_check)


def _add_run(what: Any) -> None:
    run = what.add_parser(
        "run",
        help="simulate a scenario and write a report",
        example="evcharge simulate run my.toml --out results/my",
        description=(
            "Simulates a scenario, each replication with drivers of its own, and writes figures "
            "and a report. The same scenario and seed give the same bytes. Ctrl-C ends it, and "
            "what there is is written. Run it again and it goes on where it ended."
        ),
    )
    _add_scenario(run)
    _add_study(run)
    run.add_argument(
        "--out",
        metavar="FOLDER",
        type=Path,
        help=f"folder for the results (default: {RESULTS}/ and the scenario's name)",
    )
    run.add_argument(
        "--workers",
        metavar="N",
        type=whole(1, 256),
        help="number of processes (default: one a core)",
    )
    run.add_argument("--cluster", metavar="URL", help="Dask scheduler to use, as tcp://host:8786")
    run.add_argument(
        "--bytes",
        action="store_true",
        help="send each line through the decoder and the encoder too",
    )
    run.add_argument(
        "--records",
        choices=("all", "figures"),
        default="all",
        help="write a row for each driver, or figures alone (default %(default)s)",
    )
    run.add_argument(
        "--storage",
        metavar="URL",
        help="empty storage that keeps the data of one run, as a server would: sqlite:///FILE",
    )
    _add_language(run, REPORT_LANGUAGE)
    run.set_defaults(run=_run)


def _add_report(what: Any) -> None:
    report = what.add_parser(
        "report",
        help="write the report of results again, or compare two",
        example="evcharge simulate report results/my",
        description=(
            "Writes the report of results again. With two folders it writes one that compares them."
        ),
    )
    report.add_argument("results", metavar="FOLDER", type=Path, help="folder that run has written")
    report.add_argument(
        "other", metavar="FOLDER", type=Path, nargs="?", help="results to compare with"
    )
    report.add_argument(
        "--out",
        metavar="FOLDER",
        type=Path,
        help=f"folder for the report of two (default: {RESULTS}/ and their names)",
    )
    _add_language(report, REPORT_LANGUAGE)
    report.set_defaults(run=_report)


def _add_drive(what: Any) -> None:
    drive = what.add_parser(
        "drive",
        help="send the drivers of a scenario to a running server",
        example="evcharge simulate drive my.toml --speed 60",
        description=(
            "Has the drivers of a scenario use a running server over TCP, until the scenario ends "
            "or you press Ctrl-C. Stations and cars are the server's. What operators do in the "
            "scenario (faults, other stations, prices) is left out. Exit status: 1 when the server "
            "gave a wrong reply, 2 for wrong usage, 3 when no server answers, 130 after Ctrl-C."
        ),
    )
    _add_scenario(drive)
    drive.add_argument(
        "--server",
        metavar="ENDPOINT",
        default="tcp:127.0.0.1:8888",
        help="port for drivers' apps, tcp:HOST:PORT or tls:HOST:PORT (default %(default)s)",
    )
    drive.add_argument(
        "--ca",
        metavar="FILE",
        type=Path,
        help="trust the certificates in this PEM file (with tls:)",
    )
    drive.add_argument(
        "--speed",
        metavar="TIMES",
        type=figure(LEAST_SPEED, MOST_SPEED),
        default=1.0,
        help="how fast time passes: the server's --time-scale (default %(default)g)",
    )
    drive.add_argument(
        "--hours",
        metavar="N",
        type=figure(0.001, 1e6),
        help="hours of the scenario to run (default: all)",
    )
    drive.add_argument("--for-ever", action="store_true", help="go on day after day until Ctrl-C")
    drive.add_argument(
        "--connections",
        metavar="N",
        type=whole(1, 10_000),
        default=50,
        help="connections that all drivers share (default %(default)s)",
    )
    drive.set_defaults(run=_drive, vary=[], replications=None)


def _add_scenario(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "scenario", metavar="SCENARIO", help="a TOML file, or the name of a shipped scenario"
    )
    command.add_argument(
        "--set",
        metavar="KEY=VALUE",
        action="append",
        default=[],
        help="set a key to another value, as demand.drivers_per_day=1200",
    )
    command.add_argument("--seed", metavar="N", help="the same as --set study.seed=N")


def _add_study(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--vary",
        metavar="KEY=A,B,…",
        action="append",
        default=[],
        help="compare several values of a key, as network.change.0.add_evses=0,2,4,6",
    )
    command.add_argument(
        "--replications", metavar="N", help="the same as --set study.replications=N"
    )


def _add_language(command: argparse.ArgumentParser, language: str) -> None:
    command.add_argument(
        "--language",
        choices=LANGUAGES,
        default=language,
        help="language of the texts (default %(default)s)",
    )


def read_scenario(options: argparse.Namespace) -> Any:
    """
    The scenario that the options name, with what they set in it.

    :return: an :class:`evcharge.simulator.scenario.Scenario`.
    :raise Exit: names every mistake.
    """
    from evcharge.simulator.keys import ScenarioError
    from evcharge.simulator.scenario import read
    from evcharge.simulator.tree import setting, varied

    try:
        settings = [setting("--set", each) for each in options.set]
        tried = [varied("--vary", each) for each in options.vary]
        keys = [each.value["key"] for each in tried]
        for key in keys:
            if keys.count(key) > 1:
                raise ValueError(f"--vary: {key} is there twice; all its values go into one")
        settings += tried
        for name in ("seed", "replications"):
            value = getattr(options, name)
            if value is not None:
                settings.append(setting(f"--{name}", f"study.{name}={value}"))
    except ValueError as error:
        raise Exit(str(error), USAGE) from None
    try:
        return read(options.scenario, settings)
    except ScenarioError as error:
        raise Exit(str(error)) from None


def _new(options: argparse.Namespace) -> None:
    from evcharge.simulator.scenario import read
    from evcharge.simulator.texts import called
    from evcharge.simulator.tree import shipped_scenarios

    if options.list:
        for name in shipped_scenarios():
            print(f"{name:10}  {called(read(name).title, 'en')}")
        return
    if options.file is None:
        raise Exit("new needs the FILE to write; --list shows the shipped scenarios", USAGE)
    content = shipped_scenarios()[EXAMPLE].encode("utf-8")
    try:
        # In one step, so that nobody's file is written over.
        where = os.open(options.file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
    except FileExistsError:
        raise Exit(f"{options.file} is there already; nothing was written") from None
    except OSError as error:
        raise Exit(f"{options.file}: {error.strerror or error}") from None
    try:
        with open(where, "wb") as file:
            file.write(content)
    except OSError as error:
        options.file.unlink(missing_ok=True)
        raise Exit(f"{options.file}: {error.strerror or error}") from None
    print(f"{options.file} is written. What it means: evcharge simulate check {options.file}")


def _check(options: argparse.Namespace) -> None:
    from evcharge.simulator.meaning import words

    for line in words(read_scenario(options), options.language):
        print(line)


def _run(options: argparse.Namespace) -> None:
    scenario = read_scenario(options)
    options.out = options.out or RESULTS / Path(options.scenario).stem
    # What mistakes are told without need not be waited for.
    from evcharge.commands.simulate_run import run

    run(options, scenario)


def _report(options: argparse.Namespace) -> None:
    from evcharge.commands.simulate_run import again

    if options.other is not None:
        names = [each.resolve().name for each in (options.results, options.other)]
        options.out = options.out or RESULTS / "-".join(names)
    again(options)


def _drive(options: argparse.Namespace) -> None:
    scenario = read_scenario(options)
    from evcharge.commands.simulate_drive import run

    run(options, scenario)
