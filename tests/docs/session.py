"""A document's SQL as one psql session, and the comparison of what it prints with what is shown."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cluster import Database, pg_config
from docs.pages import Block, Note, name, parts

_UUID = r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
_MOMENT = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(?:\.\d+)?[+-]\d\d"
_MARK = "=====block"


@dataclass(frozen=True)
class Step:
    """One SQL block: what is sent to psql, and the block that shows its output, if one does."""

    where: str
    script: str
    shown: Block | None


def is_new_database(path: Path) -> bool:
    """Say whether a document begins without the extension."""
    return Note("new database", "") in list(parts(path))


def steps(path: Path, after_install: str) -> Iterator[Step]:
    """Yield the SQL blocks of a document.

    Args:
        after_install: SQL that is run as soon as the extension is there.
    """
    fillings: dict[str, str] = {}
    before = "" if is_new_database(path) else after_install
    is_left_alone = False
    found = list(parts(path))
    for number, part in enumerate(found):
        if isinstance(part, Note):
            if part.verb == "fill in":
                placeholder, _, query = part.rest.partition(": ")
                fillings[placeholder] = f"filling_{len(fillings)}"
                before += f"select ({query}) as {fillings[placeholder]} \\gset\n"
            elif part.verb == "unseen":
                before += part.rest + "\n"
            elif part.verb == "not run":
                is_left_alone = True
            continue
        if part.language != "sql":
            continue
        if is_left_alone:
            is_left_alone = False
            continue
        sql = part.body
        for placeholder, variable in fillings.items():
            sql = sql.replace(f"'{placeholder}'", f":'{variable}'")
        following = found[number + 1] if number + 1 < len(found) else None
        shown = (
            following
            if isinstance(following, Block) and following.language in ("text", "json")
            else None
        )
        if shown is not None and shown.language == "json":
            sql = f"\\pset format unaligned\n\\t on\n{sql}\n\\t off\n\\pset format aligned\n"
        yield Step(f"{name(path)}:{part.line}", f"{before}\\echo {_MARK}\n{sql}\n", shown)
        before = after_install if "CREATE EXTENSION" in sql.upper() else ""


def play(path: Path, database: Database, after_install: str) -> Iterator[tuple[Step, str, str]]:
    """Run a document; yield each block with what came before it unseen, and its own output."""
    every = list(steps(path, after_install))
    script = "\\pset pager off\n\\set QUIET on\n"
    for step in every:
        # Only the commands that the document shows say "INSERT 0 1".
        before, _, shown = step.script.partition(f"\\echo {_MARK}\n")
        script += (
            f"\\echo {_MARK}\n{before}\\set QUIET off\n\\echo {_MARK}\n{shown}\\set QUIET on\n"
        )
    done = subprocess.run(
        [f"{pg_config('--bindir')}/psql", "-X", "-d", database.conninfo()],
        input=script.encode(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,  # psql empties its own output before it prints an error
        env={"PGCLIENTENCODING": "UTF8", "LC_ALL": "C.UTF-8", "PGTZ": "UTC"},
    )
    pieces = done.stdout.decode().split(f"{_MARK}\n")[1:]
    assert len(pieces) == 2 * len(every), done.stdout.decode()
    for number, step in enumerate(every):
        yield step, pieces[2 * number], pieces[2 * number + 1]


class Reader:
    """Compares what is shown with what was printed; an id that is shown twice must be one id."""

    def __init__(self) -> None:
        self._ids: dict[str, str] = {}

    def compare(self, shown: Block, printed: str) -> str | None:
        """Return what differs, or None."""
        if shown.language == "json":
            values = [line for line in printed.splitlines() if line.startswith("{")]
            if not values:
                return f"no JSON was printed:\n{printed}"
            return self._difference(json.loads(shown.body), json.loads(values[-1]), "")
        pattern = self._pattern(_plain(shown.body))
        match = re.fullmatch(pattern, _plain(printed), re.DOTALL)
        if match is None:
            return f"shown:\n{shown.body}\nprinted:\n{printed}"
        for group, value in match.groupdict().items():
            self._ids[group.removeprefix("id_").replace("_", "-")] = value
        return None

    def _pattern(self, shown: str) -> str:
        pattern = ""
        seen: set[str] = set()
        for piece in re.split(rf"({_UUID}|\.\.\.)", shown):
            if piece == "...":
                pattern += ".*?"
            elif not re.fullmatch(_UUID, piece):
                pattern += re.escape(piece)
            elif piece in self._ids:
                pattern += self._ids[piece]
            elif piece in seen:
                pattern += f"(?P=id_{piece.replace('-', '_')})"
            else:
                seen.add(piece)
                pattern += f"(?P<id_{piece.replace('-', '_')}>{_UUID})"
        return pattern

    def _difference(self, shown: Any, printed: Any, where: str) -> str | None:
        if shown == "..." or (shown == ["..."] and isinstance(printed, list)):
            return None
        if isinstance(shown, dict) and isinstance(printed, dict):
            expected = set(shown) - {"..."}
            if expected - set(printed) or ("..." not in shown and set(printed) - expected):
                return f"{where}: members {sorted(shown)}, printed {sorted(printed)}"
            differences = (self._difference(shown[k], printed[k], f"{where}.{k}") for k in expected)
            return next((found for found in differences if found), None)
        if isinstance(shown, list) and isinstance(printed, list) and len(shown) == len(printed):
            pairs = enumerate(zip(shown, printed, strict=True))
            differences = (self._difference(s, p, f"{where}[{i}]") for i, (s, p) in pairs)
            return next((found for found in differences if found), None)
        if isinstance(shown, str) and isinstance(printed, str) and re.fullmatch(_UUID, shown):
            shown = self._ids.setdefault(shown, printed)
        return None if shown == printed else f"{where}: shown {shown!r}, printed {printed!r}"


def _plain(output: str) -> str:
    """Let moments and the width of columns not matter."""
    output = re.sub(_MOMENT, "<moment>", output)
    output = re.sub(r"-{2,}", "--", output)
    return re.sub(r"\s+", " ", output).strip()
