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
        help="what would happen if: evcharge simulate run weekday",
        description=(
            "Has drivers of a scenario use the network, by the code that serves real ones: how "
            "many find a free EVSE, how long they wait, what two more chargers would change. To "
            "begin with: evcharge simulate run weekday"
        ),
    )
    what = simulate.add_subparsers(metavar="WHAT", required=True)
    _add_new(what)
    _add_check(what)
    _add_run(what)
    _add_report(what)
    _add_drive(what)


def _add_new(what: Any) -> None:
    new = what.add_parser(
        "new",
        help="write a commented example: evcharge simulate new my.toml",
        description="Writes a scenario that has every key, with comments, to be changed.",
    )
    new.add_argument("file", metavar="FILE", type=Path, nargs="?", help="must not be there yet")
    new.add_argument(
        "--list", action="store_true", help="show the shipped scenarios, which can be run by name"
    )
    new.set_defaults(run=_new)


def _add_check(what: Any) -> None:
    check = what.add_parser(
        "check",
        help="its mistakes, or what it means: evcharge simulate check my.toml",
        description=(
            "Names all mistakes of a scenario, with file, line and key; or else says what it "
            "means: drivers an hour, and the power that they ask for against what is there."
        ),
    )
    _add_scenario(check)
    _add_study(check)
    _add_language(check, "en")
    check.set_defaults(run=_check)


def _add_run(what: Any) -> None:
    run = what.add_parser(
        "run",
        help="simulate it, and write a report: evcharge simulate run my.toml --out results/my",
        description=(
            "Simulates a scenario, each replication with drivers of its own, and writes figures "
            "and a report. The same scenario and seed give the same bytes. Ended with Ctrl-C it "
            "writes what there is; asked for again it goes on where it ended."
        ),
    )
    _add_scenario(run)
    _add_study(run)
    run.add_argument(
        "--out", metavar="FOLDER", type=Path, help=f"for the results ({RESULTS}/ and its name)"
    )
    run.add_argument("--workers", metavar="N", type=whole(1, 256), help="processes (one a core)")
    run.add_argument("--cluster", metavar="URL", help="a Dask scheduler: tcp://host:8786")
    run.add_argument(
        "--bytes", action="store_true", help="have each line go through decoder and encoder, too"
    )
    run.add_argument(
        "--records",
        choices=("all", "figures"),
        default="all",
        help="write a row for each driver, or figures alone (%(default)s)",
    )
    run.add_argument(
        "--storage",
        metavar="URL",
        help="an empty one, to keep the data of one run, as a server would: sqlite:///FILE",
    )
    _add_language(run, REPORT_LANGUAGE)
    run.set_defaults(run=_run)


def _add_report(what: Any) -> None:
    report = what.add_parser(
        "report",
        help="write the report again: evcharge simulate report results/my",
        description="Writes the report of results again; of two, one beside the other.",
    )
    report.add_argument("results", metavar="FOLDER", type=Path, help="what run has written")
    report.add_argument("other", metavar="FOLDER", type=Path, nargs="?", help="others beside them")
    report.add_argument(
        "--out", metavar="FOLDER", type=Path, help=f"for that of two ({RESULTS}/ and their names)"
    )
    _add_language(report, REPORT_LANGUAGE)
    report.set_defaults(run=_report)


def _add_drive(what: Any) -> None:
    drive = what.add_parser(
        "drive",
        help="have a running server live: evcharge simulate drive my.toml --speed 60",
        description=(
            "Has the drivers of a scenario use a running server over TCP, for as long as the "
            "scenario lasts or until Ctrl-C. Stations and cars are the server's; what operators do "
            "in the scenario (faults, other stations, prices) is left out. Exit status: 1 where "
            "the server replied what it should not, 2 for wrong usage, 3 when no server answers, "
            "130 after Ctrl-C, once what was held is given up."
        ),
    )
    _add_scenario(drive)
    drive.add_argument(
        "--server",
        metavar="ENDPOINT",
        default="tcp:127.0.0.1:8888",
        help="its port for drivers, tcp:HOST:PORT or tls:HOST:PORT (%(default)s)",
    )
    drive.add_argument(
        "--ca", metavar="FILE", type=Path, help="with tls: trust the certificates in this PEM file"
    )
    drive.add_argument(
        "--speed",
        metavar="TIMES",
        type=figure(LEAST_SPEED, MOST_SPEED),
        default=1.0,
        help="how fast time passes: the server's --time-scale (%(default)g)",
    )
    drive.add_argument(
        "--hours", metavar="N", type=figure(0.001, 1e6), help="of the scenario (all of it)"
    )
    drive.add_argument("--for-ever", action="store_true", help="go on with day after day")
    drive.add_argument(
        "--connections",
        metavar="N",
        type=whole(1, 10_000),
        default=50,
        help="that all drivers share (%(default)s)",
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
        help="another value for a key: demand.drivers_per_day=1200",
    )
    command.add_argument("--seed", metavar="N", help="the same as --set study.seed=N")


def _add_study(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--vary",
        metavar="KEY=A,B,…",
        action="append",
        default=[],
        help="compare values of a key: network.change.0.add_evses=0,2,4,6",
    )
    command.add_argument(
        "--replications", metavar="N", help="the same as --set study.replications=N"
    )


def _add_language(command: argparse.ArgumentParser, language: str) -> None:
    command.add_argument(
        "--language", choices=LANGUAGES, default=language, help="of the texts (%(default)s)"
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
