"""Rules of the house that are visible in the source: who may know what."""

from __future__ import annotations

import ast
import re
import subprocess
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

from cluster import CHECKOUT

PACKAGE = CHECKOUT / "plpy_src" / "pgagentos"
MODULES = sorted(PACKAGE.rglob("*.py"))
#: programs of their own, which never run in a backend: one listens on sockets, one waits for many
PROGRAMS = {"local_models", "worker"}
BACKEND = [path for path in MODULES if path.relative_to(PACKAGE).parts[0] not in PROGRAMS]
NETWORK = {"socket", "ssl", "select", "selectors", "asyncio", "http", "urllib.request", "threading"}

# SQL that runs is written in lower case; SQL that a hint proposes to people is in upper case.
SQL = re.compile(
    r"\b(select\s+.+\s+from|select\s+aos_\w+|insert\s+into|update\s+\w+(\.\w+)?\s+set|delete\s+from)\b",
    re.DOTALL,
)


def name(path: Path) -> str:
    return str(path.relative_to(PACKAGE))


def strings(path: Path) -> Iterator[str]:
    """The string constants of a module that are no docstrings."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    docstrings = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Constant)
            and isinstance(node.value, str)
            and id(node) not in docstrings
        ):
            yield node.value


def imports(path: Path) -> Iterator[str]:
    """What a module imports when it runs: names for the type checker open no socket."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for block in [node for node in ast.walk(tree) if isinstance(node, ast.If)]:
        if isinstance(block.test, ast.Name) and block.test.id == "TYPE_CHECKING":
            block.body = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            yield node.module


def unit_of(module: str) -> str:
    """The folder or module right below the package that a dotted name lies in."""
    return module.removeprefix("pgagentos.").partition(".")[0]


def units_imported(path: Path) -> Iterator[str]:
    """The units of the package that a module imports, also inside functions."""
    package = ["pgagentos", *path.relative_to(PACKAGE).parts[:-1]]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            whole = ".".join([*base, *([node.module] if node.module else [])])
            if whole == "pgagentos":
                yield from (alias.name for alias in node.names)
            elif whole.startswith("pgagentos."):
                yield unit_of(whole)


def tracked_files() -> list[Path]:
    if not (CHECKOUT / ".git").exists():
        pytest.skip("this is not a git checkout: there is no list of the project's own files")
    listed = subprocess.run(
        ["git", "-c", f"safe.directory={CHECKOUT}", "-C", str(CHECKOUT), "ls-files", "-z"],
        capture_output=True,
        check=True,
        text=True,
    )
    return [path for path in map(CHECKOUT.joinpath, listed.stdout.split("\0")) if path.is_file()]


def test_only_the_store_holds_sql() -> None:
    found = {
        name(path)
        for path in BACKEND
        if path.parent.name != "store" and any(SQL.search(text) for text in strings(path))
    }
    assert found == set()


def test_only_the_store_sends_statements() -> None:
    senders = {
        name(path)
        for path in BACKEND
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in ("rows", "execute", "prepare")
    }
    assert {sender for sender in senders if not sender.startswith("store/")} == {
        "gateways/own_transactions.py",
        "gateways/plpy.py",
    }


def test_programs_hold_no_sql_either() -> None:
    outside = [path for path in MODULES if path not in BACKEND]
    assert {name(path) for path in outside if any(map(SQL.search, strings(path)))} == set()


def test_the_store_does_hold_sql() -> None:
    """The rule above would pass with a pattern that finds nothing."""
    for path in (PACKAGE / "store").glob("*.py"):
        if path.name != "__init__.py":
            assert any(SQL.search(text) for text in strings(path)), path


def test_only_the_gateway_and_the_entry_know_plpy() -> None:
    knowing = {
        name(path)
        for path in MODULES
        if any(
            (isinstance(node, ast.Name) and node.id == "plpy")
            or (isinstance(node, ast.arg) and node.arg == "plpy")
            or (isinstance(node, ast.Import) and any(a.name == "plpy" for a in node.names))
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        )
    }
    assert knowing == {"entry.py", "gateways/own_transactions.py", "gateways/plpy.py"}


def test_only_net_opens_sockets() -> None:
    found = {
        name(path) for path in BACKEND if path.parent.name != "net" and NETWORK & set(imports(path))
    }
    assert found == set()
    assert any("socket" in imports(path) for path in (PACKAGE / "net").glob("*.py"))


def test_the_parts_of_the_package_import_each_other_in_one_direction() -> None:
    graph: dict[str, set[str]] = {}
    for path in MODULES:
        unit = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
        graph.setdefault(unit, set()).update(set(units_imported(path)) - {unit})
    order = list(TopologicalSorter(graph).static_order())  # raises CycleError
    for lower, upper in (("store", "agent"), ("turn", "store"), ("net", "providers")):
        assert order.index(lower) < order.index(upper)


def test_no_thread_and_no_event_loop_runs_in_a_backend() -> None:
    unwanted = {"threading", "_thread", "multiprocessing", "concurrent.futures"}
    assert {name(path) for path in BACKEND if unwanted & set(imports(path))} == set()


def test_a_file_has_one_subject() -> None:
    long = {name(path): len(path.read_text("utf-8").splitlines()) for path in MODULES}
    assert {path: lines for path, lines in long.items() if lines > 360} == {}
    assert {path.stem for path in MODULES} & {"utils", "util", "common", "helpers", "misc"} == set()


def test_no_file_names_the_place_where_it_was_written() -> None:
    # written in pieces, so that this file passes too
    places = [
        "/wo" + "rk/(main|shared)\\b",
        "\\.\\./sha" + "red\\b",
    ]
    pattern = re.compile("|".join(places))
    found = []
    for path in tracked_files():
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
        found += [f"{path.relative_to(CHECKOUT)}: {m[0]}" for m in pattern.finditer(text)]
    assert found == []


def test_the_checks_look_at_the_sql_too() -> None:
    lint = (CHECKOUT / "scripts" / "lint").read_text(encoding="utf-8")
    assert re.search(r"^\s*check pgspot ", lint, re.MULTILINE)
    assert "pgspot" in (CHECKOUT / "tests" / "requirements.in").read_text(encoding="utf-8").split()
    setup = (CHECKOUT / "scripts" / "setup").read_text(encoding="utf-8")
    assert "plpgsql-check" in setup
