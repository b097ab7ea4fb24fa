"""
Changes the code one point at a time, and sees whether a test fails: whatever no test minds, nobody
would notice.

    python tools/mutants.py evcharge/models evcharge/wire --tests tests.models.test_models ...

Operators, conditions, numbers and statements are changed, texts are not. A mutant that lives is
named; those of `tools/mutants.txt` are known to change nothing that anybody could see, and are left
out of account. The exit status is 1 where 5 % of the others live, or more.

Everything is imported once. Each mutant is a fork of that process, in which the functions that are
there are given the changed code, and runs the tests that reach the changed line, the short ones
first, until one fails. What is changed outside of functions is imported anew.
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import gc
import importlib
import importlib.util
import json
import os
import random
import resource
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from types import CodeType, FunctionType
from typing import Any
from unittest import SkipTest

ROOT = Path(__file__).resolve().parent.parent
SAME = ROOT / "tools" / "mutants.txt"

MOST_S = 20.0
"""How long the tests of one mutant may take in all, as measured when nothing was changed."""

ENOUGH = 0.95
"""Which share of the mutants has to die."""

SWAPS: dict[type[ast.AST], type[ast.AST]] = {
    **{ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt},
    **{ast.Eq: ast.NotEq, ast.NotEq: ast.Eq, ast.Is: ast.IsNot, ast.IsNot: ast.Is},
    **{ast.In: ast.NotIn, ast.NotIn: ast.In, ast.And: ast.Or, ast.Or: ast.And},
    **{ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult},
    **{ast.FloorDiv: ast.Mult, ast.Mod: ast.Mult, ast.Pow: ast.Mult},
    **{
        ast.LShift: ast.RShift,
        ast.RShift: ast.LShift,
        ast.BitAnd: ast.BitOr,
        ast.BitOr: ast.BitAnd,
    },
}
NAMES = {"min": "max", "max": "min", "any": "all", "all": "any"}
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)
NOT_RUN = {"annotation", "returns", "decorator_list", "type_comment"}
"""Parts of the tree that are no behaviour of ours."""


class Site:
    """A part of a module that can be changed: the field of a node, or an item of a field."""

    def __init__(self, owner: ast.AST, field: str, index: int | None, within: Sequence[ast.AST]):
        self.owner, self.field, self.index = owner, field, index
        self.within = within
        """The nodes around it, the module first."""

    @property
    def node(self) -> Any:
        value = getattr(self.owner, self.field)
        return value if self.index is None else value[self.index]

    def put(self, node: Any) -> None:
        if self.index is None:
            setattr(self.owner, self.field, node)
        else:
            getattr(self.owner, self.field)[self.index] = node


def sites(node: ast.AST, within: tuple[ast.AST, ...] = ()) -> Iterator[Site]:
    """All that may be changed below a node."""
    around = (*within, node)
    for field, value in ast.iter_fields(node):
        if field in NOT_RUN:
            continue
        for index, child in enumerate(value) if isinstance(value, list) else [(None, value)]:
            if not isinstance(child, ast.AST) or _is_text(child) or _is_for_types(child):
                continue
            # What a function is defined with is made outside of it.
            outside = isinstance(node, ast.arguments) and field in ("defaults", "kw_defaults")
            yield Site(node, field, index, within[:-1] if outside else around)
            yield from sites(child, within[:-1] if outside else around)


def _is_text(node: ast.AST) -> bool:
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    )


def _is_for_types(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)


def changes(node: ast.AST) -> Iterator[ast.AST]:
    """What may stand in a node's place."""
    if swapped := SWAPS.get(type(node)):
        yield swapped()
    elif isinstance(node, ast.Constant):
        if isinstance(node.value, bool):
            yield ast.Constant(not node.value)
        elif isinstance(node.value, (int, float)):
            yield ast.Constant(node.value + 1)
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, (ast.Not, ast.USub)):
        yield node.operand
    elif isinstance(node, ast.Name) and node.id in NAMES:
        yield ast.Name(NAMES[node.id], ast.Load())
    elif _does(node):
        yield ast.Pass()
    elif isinstance(node, ast.Return) and not isinstance(node.value, (ast.Constant, type(None))):
        yield ast.Return(ast.Constant(None))
    elif isinstance(node, ast.Break):
        yield ast.Continue()
    elif isinstance(node, ast.Continue):
        yield ast.Break()


def _does(node: ast.AST) -> bool:
    """Whether a statement does something that could be left out."""
    if isinstance(node, ast.Expr):
        return isinstance(node.value, (ast.Call, ast.Await))
    if isinstance(node, ast.Assign):
        # A variable that is not there would only be an error.
        return not isinstance(node.targets[0], (ast.Name, ast.Tuple))
    return isinstance(node, (ast.Raise, ast.AugAssign, ast.Delete))


def conditions(site: Site) -> Iterator[ast.AST]:
    """A condition may be the other way round, unless that is one of :func:`changes`."""
    is_condition = site.field == "test" or (
        site.field == "ifs" and isinstance(site.owner, ast.comprehension)
    )
    swapped = isinstance(site.node, ast.Compare) and len(site.node.ops) == 1
    if is_condition and not isinstance(site.node, ast.UnaryOp):
        if swapped and type(site.node.ops[0]) not in (ast.Lt, ast.LtE, ast.Gt, ast.GtE):
            return
        yield ast.UnaryOp(ast.Not(), site.node)


class Mutant:
    """
    A module with one change.

    :param function: the name and the first line of the outermost function around it; None where
        there is none.
    """

    def __init__(self, path: Path, site: Site, new: ast.AST, code: CodeType) -> None:
        statement = next(n for n in reversed([*site.within, site.node]) if hasattr(n, "lineno"))
        self.path, self.code = path, code
        self.line: int = statement.lineno
        shown = site.node if isinstance(site.node, (ast.expr, ast.stmt)) else site.owner
        self.before = _shown(shown)
        old = site.node
        site.put(new)
        self.after = _shown(new if shown is old else shown)
        site.put(old)
        outer = [node for node in site.within if isinstance(node, FUNCTIONS)]
        self.function = (getattr(outer[0], "name", "<lambda>"), _first(outer[0])) if outer else None
        named = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
        self.place = ".".join(node.name for node in site.within if isinstance(node, named))

    @property
    def name(self) -> str:
        """By which `tools/mutants.txt` knows it."""
        where = self.path.relative_to(ROOT)
        return f"{where}: {self.place}: {self.before} -> {self.after}"


def _shown(node: ast.AST) -> str:
    return ast.unparse(ast.fix_missing_locations(node)).splitlines()[0]


def _first(function: ast.AST) -> int:
    """The line at which Python says that a function begins."""
    decorators = getattr(function, "decorator_list", [])
    return min([function.lineno, *(one.lineno for one in decorators)])  # type: ignore[attr-defined]


def mutants(path: Path) -> Iterator[Mutant]:
    """All that a module may be changed to."""
    tree = ast.parse(path.read_text())
    for site in list(sites(tree)):
        old = site.node
        for new in [*changes(old), *conditions(site)]:
            site.put(ast.copy_location(new, old) if hasattr(old, "lineno") else new)
            try:
                code = compile(ast.fix_missing_locations(tree), str(path), "exec")
            except SyntaxError:
                # An f-string without its specification, a `del` of a call.
                continue
            finally:
                site.put(old)
            yield Mutant(path, site, new, code)


# In a fork


def put_in_place(mutant: Mutant, functions: dict[Any, list[FunctionType]]) -> None:
    """Have the changed code run from now on."""
    if mutant.function is not None:
        there = functions[(str(mutant.path), *mutant.function)]
        for code in _codes(mutant.code):
            if there and (code.co_name, code.co_firstlineno) == mutant.function:
                for function in there:
                    function.__code__ = code
                return
    name = ".".join(mutant.path.relative_to(ROOT).with_suffix("").parts)
    name = name.removesuffix(".__init__")
    for other in [n for n in sys.modules if n.partition(".")[0] in ("evcharge", "tests")]:
        del sys.modules[other]

    class Loader(importlib.machinery.SourceFileLoader):
        def get_code(self, fullname: str) -> CodeType:
            return mutant.code

    class Finder:
        def find_spec(self, fullname: str, *_: object) -> Any:
            if fullname != name:
                return None
            loader = Loader(fullname, str(mutant.path))
            return importlib.util.spec_from_file_location(fullname, mutant.path, loader=loader)

    sys.meta_path.insert(0, Finder())  # type: ignore[arg-type]


def _codes(code: CodeType) -> Iterator[CodeType]:
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield constant
            yield from _codes(constant)


def run_test(name: str) -> bool:
    """Run one test; whether it passes."""
    from twisted.trial.reporter import TestResult
    from twisted.trial.runner import TestLoader

    result = TestResult()
    TestLoader().loadByName(name).run(result)
    return result.wasSuccessful() and not result.skips


def in_fork(do: Callable[[], bool]) -> int:
    """Have a fork do something in a folder of its own; its process, which ends with 0 for True."""
    pid = os.fork()
    if pid:
        return pid
    os.setsid()
    status = 1
    try:
        folder = tempfile.mkdtemp()
        os.chdir(folder)
        nothing = os.open(os.devnull, os.O_RDWR)
        for descriptor in (0, 1, 2):
            os.dup2(nothing, descriptor)
        resource.setrlimit(resource.RLIMIT_AS, (4 << 30, 4 << 30))
        _wake_apart()
        status = 0 if do() else 1
        shutil.rmtree(folder, ignore_errors=True)
    finally:
        os._exit(status)


def _wake_apart() -> None:
    """Have the reactor's threads wake this process, and no other fork."""
    from twisted.internet import reactor

    reactor.removeReader(reactor.waker)
    reactor._internalReaders.discard(reactor.waker)
    reactor.waker = None
    reactor.installWaker()


def _no_postgres() -> None:
    raise SkipTest("each fork would have a server of its own")


def all_of(
    tasks: Iterable[tuple[Any, Callable[[], bool], float]], jobs: int
) -> Iterator[tuple[Any, bool]]:
    """
    Have forks do tasks, several at a time.

    :param tasks: what each is for, what to do, and how long it may take, seconds.
    :return: what it was for, and whether it was done well and in time.
    """
    running: dict[int, tuple[Any, float]] = {}
    waiting = iter(tasks)
    done = False
    while running or not done:
        while not done and len(running) < jobs:
            if (task := next(waiting, None)) is None:
                done = True
                break
            running[in_fork(task[1])] = task[0], time.monotonic() + task[2]
        pid, status = os.waitpid(-1, os.WNOHANG) if running else (0, 0)
        if pid in running:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(pid, signal.SIGKILL)
            yield running.pop(pid)[0], status == 0
        elif not pid:
            for late in [pid for pid, (_, limit) in running.items() if time.monotonic() > limit]:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(late, signal.SIGKILL)
            time.sleep(0.002)


# Which tests reach what


def cases(module: str) -> list[str]:
    """The tests of a module that need no process but this one."""
    from twisted.trial._asyncrunner import _iterateTests
    from twisted.trial.runner import TestLoader

    from tests.support.servers import ServerTestCase

    found = []
    for case in _iterateTests(TestLoader().loadByName(module)):
        if not isinstance(case, ServerTestCase):
            found.append(case.id())
    return found


def reach(module: str, out: Path) -> bool:
    """Write down which lines each test of a module reaches, and how long it takes."""
    import coverage

    measured = coverage.Coverage(data_file=None, source=[str(ROOT / "evcharge")], config_file=False)
    took = {}
    measured.start()
    for case in cases(module):
        measured.switch_context(case)
        began = time.monotonic()
        if run_test(case):
            took[case] = time.monotonic() - began
    measured.stop()
    data = measured.get_data()
    lines = {
        file: {
            line: [case for case in contexts if case in took]
            for line, contexts in data.contexts_by_lineno(file).items()
        }
        for file in data.measured_files()
    }
    out.write_text(json.dumps([took, lines]))
    return True


def chosen(
    mutant: Mutant, took: dict[str, float], lines: dict[str, dict[str, set[str]]]
) -> tuple[list[str], float]:
    """The tests that reach a mutant, the short ones first, and how long they may take, seconds."""
    of_file = lines.get(str(mutant.path), {})
    reached = of_file.get(str(mutant.line), set())
    if not reached or mutant.function is None:
        # It runs when the module is imported, if ever.
        mutant.function, reached = None, set().union(*of_file.values())
    tests, total = [], 0.0
    for case in sorted(reached, key=lambda case: took[case]):
        if total + took[case] <= MOST_S:
            tests.append(case)
            total += took[case]
    # Whatever runs beside it, and whatever it does for ever.
    return tests, 20 + 10 * total


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0].strip())
    parser.add_argument("paths", nargs="+", type=Path, help="modules, or folders of them")
    parser.add_argument("--tests", nargs="+", required=True, help="modules of tests")
    parser.add_argument("--sample", type=int, help="try so many, chosen at random")
    parser.add_argument("--seed", type=int, default=0, help="for the choice")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="processes")
    options = parser.parse_args()
    sys.path.insert(0, str(ROOT))

    import hypothesis
    from twisted.internet import pollreactor

    from tests.support import postgres

    # The same examples every time; what was found is not looked for again.
    hypothesis.settings.register_profile("mutants", derandomize=True, database=None)
    hypothesis.settings.load_profile("mutants")
    # Unlike the kernel's other ways to wait, this one leaves nothing that forks would share.
    pollreactor.install()
    postgres.shared = _no_postgres
    for name in options.tests:
        importlib.import_module(name)
    with tempfile.TemporaryDirectory() as folder:
        outs = [Path(folder) / name for name in options.tests]
        tasks = [
            (out, lambda name=name, out=out: reach(name, out), 1200.0)
            for name, out in zip(options.tests, outs, strict=True)
        ]
        took: dict[str, float] = {}
        lines: dict[str, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
        for out, fine in all_of(tasks, options.jobs):
            if not fine:
                sys.exit(f"{out.name} cannot be measured")
            its_took, its_lines = json.loads(out.read_text())
            took |= its_took
            for file, by_line in its_lines.items():
                for line, tests in by_line.items():
                    lines[file][line].update(tests)
    print(f"{len(took)} tests of {len(options.tests)} modules", flush=True)

    files = [
        file.resolve()
        for path in options.paths
        for file in (sorted(path.rglob("*.py")) if path.is_dir() else [path])
    ]
    functions: dict[Any, list[FunctionType]] = defaultdict(list)
    for each in gc.get_objects():
        if isinstance(each, FunctionType):
            code = each.__code__
            functions[code.co_filename, code.co_name, code.co_firstlineno].append(each)
    same = {line.partition("   # ")[0] for line in SAME.read_text().splitlines()}
    there = [mutant for file in files for mutant in mutants(file)]
    found = [mutant for mutant in there if mutant.name not in same]
    print(f"{len(there)} mutants, of which {len(there) - len(found)} change nothing", flush=True)
    if options.sample and options.sample < len(found):
        found = random.Random(options.seed).sample(found, options.sample)

    def tasks_of(mutants: Iterable[Mutant]) -> Iterator[tuple[Any, Callable[[], bool], float]]:
        for mutant in mutants:
            tests, limit = chosen(mutant, took, lines)

            def lives(mutant: Mutant = mutant, tests: list[str] = tests) -> bool:
                put_in_place(mutant, functions)
                return all(map(run_test, tests))

            yield mutant, lives, limit

    count: Counter[tuple[str, bool]] = Counter()
    for mutant, lives in all_of(tasks_of(found), options.jobs):
        count[str(mutant.path.relative_to(ROOT)), lives] += 1
        if lives:
            print(f"{mutant.name}   # line {mutant.line}", flush=True)
    for path in sorted({path for path, _ in count}):
        died, lived = count[path, False], count[path, True]
        print(f"{died / (died + lived):7.1%} of {died + lived:4} died: {path}")
    died = sum(number for (_, lived), number in count.items() if not lived)
    print(f"{died / len(found):7.1%} of {len(found):4} died")
    sys.exit(died / len(found) <= ENOUGH)


if __name__ == "__main__":
    main()
