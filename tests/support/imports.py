"""Who imports whom, held against the table in docs/design.md."""

import ast
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path

import attrs

PACKAGE = "evcharge"
REACTOR, THREADS, CLOCK, EVERYTHING = "the reactor", "threads", "the machine's clock", "everything"
NOW = r"(datetime\.)?(datetime\.(now|utcnow|today)|date\.today)"
CALLED = {
    rf"time(\..*)?|{NOW}": CLOCK,
    # Whoever has the package twisted.internet has its reactor.
    r"twisted(\.\*|\.internet(\.\*|\.\w*reactor(\..*)?)?)?": REACTOR,
    r"(threading|_thread|concurrent|queue)(\..*)?": THREADS,
    r"twisted\.(internet\.threads|python\.threadpool|_threads)(\..*)?": THREADS,
    r"(twisted|zope)\..*": "Twisted",
    r"attrs?(\..*)?": "attrs",
    r"sqlalchemy(\..*)?": "SQLAlchemy",
    r"OpenSSL(\..*)?": "pyOpenSSL",
    r"prometheus_client(\..*)?": "prometheus-client",
}
"""What the table calls that which is imported by some other name; the first that fits."""

REACHABLE = rf"{PACKAGE}\.|twisted\.|{NOW}$"
"""What need not be imported to be had: once a package is, all is that anybody imports of it."""

BY_NAME = ("import_module", "__import__", "namedModule", "namedAny")


@cache
def imports(source: str, module: str, is_package: bool = False) -> list[str]:
    """
    The whole names of all that `module` of our package imports, wherever it does.

    :param module: its name, without the package's.
    """
    here = [PACKAGE, *module.split(".")]
    names = _names(ast.parse(source), here if is_package else here[:-1])
    # One that starts a process of its own names itself.
    return [name for name in dict.fromkeys(names) if name != ".".join(here)]


def _names(node: ast.AST, here: Sequence[str]) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        base = list(here[: len(here) - node.level + 1]) if node.level else []
        base += filter(None, (node.module or "").split("."))
        # What is imported from a package may be a module of it.
        yield from (".".join([*base, alias.name]) for alias in node.names)
    elif isinstance(node, ast.Attribute) and re.match(REACHABLE, _whole(node)):
        yield _whole(node)
        return
    elif isinstance(node, ast.Call) and node.args and _whole(node.func).endswith(BY_NAME):
        name = node.args[0]
        if isinstance(name, ast.Constant) and isinstance(name.value, str):
            yield name.value
    elif (
        isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and re.fullmatch(rf"{PACKAGE}(\.\w+)+", node.value)
    ):
        # A table of what to import when it is needed.
        yield node.value
    for inner in ast.iter_child_nodes(node):
        yield from _names(inner, here)


def _whole(node: ast.AST) -> str:
    """A name with dots, as it is written; empty for anything else."""
    if isinstance(node, ast.Attribute):
        left = _whole(node.value)
        return left and f"{left}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else ""


def all_imports(folder: Path) -> dict[str, list[str]]:
    """What every module of the package in `folder` imports, by its name without the package's."""
    found = {}
    for path in folder.rglob("*.py"):
        is_package = path.stem == "__init__"
        parts = path.relative_to(folder).with_suffix("").parts
        name = ".".join(parts[:-1] if is_package else parts)
        # The package itself has its version and nothing else.
        if name:
            found[name] = imports(path.read_text(), name, is_package)
    return found


def whom(name: str, there: Iterable[str]) -> str:
    """What the table calls that which is imported as `name`; `there` are our modules."""
    first, _, rest = name.partition(".")
    if first != PACKAGE:
        return next((word for like, word in CALLED.items() if re.fullmatch(like, name)), first)
    while rest and rest not in there:
        rest = rest.rpartition(".")[0]
    return rest


def patterns(module: str) -> list[str]:
    """What the table may call a module: by its name, or with the whole of a package."""
    parts = module.split(".")
    return [module, *(".".join([*parts[:n], "*"]) for n in range(len(parts), 0, -1))]


STANDARD = sys.stdlib_module_names | {"tomllib"}
"""The standard library's, of whatever Python: the last one is there from 3.11 on."""


@attrs.frozen
class Row:
    """Whom some modules may know, of ours and of others."""

    name: str
    ours: Sequence[str]
    others: Sequence[str]

    def allows(self, known: str) -> str | None:
        """The word that allows `known`, as :func:`whom` gives it; empty where none is needed."""
        if known in STANDARD or not known:
            return ""
        if known in self.others:
            return known
        return next((word for word in (*patterns(known), EVERYTHING) if word in self.ours), None)


def table(page: str) -> dict[str, Row]:
    """The rows of "Who may know whom" in docs/design.md, by the modules that they are for."""
    part = page.partition("## Who may know whom\n")[2].partition("\n## ")[0]
    rows = {}
    for line in part.splitlines():
        if line.startswith("| `"):
            names, ours, others, _ = [cell.strip() for cell in line.strip("|").split("|")]
            for name in re.findall(r"`([\w.*]+)`", names):
                rows[name] = Row(name, ours.split(", "), others.split(", "))
    return rows


def problems(rows: Mapping[str, Row], imported: Mapping[str, Iterable[str]]) -> list[str]:
    """
    What is wrong with our modules, or with the table.

    :param imported: by each of them.
    """
    found = []
    used: dict[str, set[str]] = {name: set() for name in rows}
    for module, names in imported.items():
        row = next((rows[name] for name in patterns(module) if name in rows), None)
        if row is None:
            found.append(f"{module} is in no row")
            continue
        for name in names:
            word = row.allows(whom(name, imported))
            if word is None:
                found.append(f"{module} imports {name}")
            used[row.name].add(word or "")
    for name, row in rows.items():
        if not any(name in patterns(module) for module in imported):
            found.append(f"there is no {name}")
        for word in [*row.ours, *row.others]:
            if word and word not in used[name]:
                found.append(f"{name} need not know {word}")
    return found


def circle(imported: Mapping[str, Iterable[str]]) -> str:
    """
    Some of our modules that import one another in a circle: `a -> b -> a`; empty where none do.

    :param imported: by each of them.
    """
    left = {
        module: {whom(name, imported) for name in names} & imported.keys() - {module}
        for module, names in imported.items()
    }
    while ends := [module for module in left if not left[module] & left.keys()]:
        for module in ends:
            del left[module]
    # Whoever is left imports one who is left.
    way = list(left)[:1]
    while way and way[-1] not in way[:-1]:
        way.append(min(left[way[-1]] & left.keys()))
    return " -> ".join(way[way.index(way[-1]) :]) if way else ""
