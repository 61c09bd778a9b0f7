"""Run pgspot over the extension's script: names that a search path could lead astray.

Usage: ``python scripts/spot_search_paths.py pgagentos--1.0.sql``

pgspot 0.9 cannot read functions with an SQL body (``return ...``, ``begin atomic``), so these are
left out. They need no look: PostgreSQL binds the names in them when the script runs, and the script
sets its own search path.

Nor can it read some PL/pgSQL (``row.field := ...``, ``return next ...``), and stops there. Of such
functions it reads the outside, in a second run: that they set their search path.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from pathlib import Path

from pglast import ast, parse_plpgsql, parse_sql, split
from pglast.parser import ParseError

#: what pgspot finds and may find: the text of a finding -> why
ALLOWED = {
    r"PS003: .*: aos_auth\.(_visible_tenant|tenant_id|principal_id)\(\)": (
        "row security calls them in every statement; their Python names nothing that is looked up"
        " (tests/contract/test_catalogue.py)"
    ),
    r"PS005: .*: aos_sandbox\.\w+\(.*\)": (
        "stand-ins for built-in functions, which the planner puts into the query; every name in"
        " them carries its schema"
    ),
}


def statements(script: str) -> list[str]:
    """Split the script, without psql commands and without functions that have an SQL body."""
    script = re.sub(r"^\\.*$", "", script, flags=re.MULTILINE)
    return [text for text in split(script) if not has_sql_body(text)]


def has_sql_body(statement: str) -> bool:
    """Say whether the statement makes a function out of parsed SQL instead of a string."""
    [raw] = parse_sql(statement)
    return isinstance(raw.stmt, ast.CreateFunctionStmt) and raw.stmt.sql_body is not None


def is_readable(statement: str) -> bool:
    """Say whether pgspot can read the statement: false for PL/pgSQL that it stops at."""
    if "language plpgsql" not in statement:
        return True
    try:
        parse_plpgsql(statement)
    except ParseError as error:  # other errors are for pgspot to report
        return "is not a known variable" not in str(error)
    return not re.search(r"\breturn next [^;]", statement)


def spot(texts: list[str], *options: str) -> list[str]:
    """Run pgspot over the statements and return what is not allowed, and what stopped it."""
    with tempfile.NamedTemporaryFile("w", suffix=".sql", encoding="utf-8") as readable:
        readable.write(";\n".join(texts) + ";\n")
        readable.flush()
        command = [str(Path(sys.executable).with_name("pgspot")), "--ignore-lang", "plpython3u"]
        done = subprocess.run(
            [*command, *options, readable.name], check=False, capture_output=True, text=True
        )
    lines = [line.strip() for line in (done.stdout + done.stderr).splitlines() if line.strip()]
    if done.returncode == 0 and not any("Errors: 0" in line for line in lines):
        return ["pgspot has said nothing"]
    return [
        line
        for line in lines
        if not line.startswith("Errors: ")
        and not any(re.fullmatch(rf"{allowed} at line \d+", line) for allowed in ALLOWED)
    ]


def main() -> int:
    """Print what is not allowed; return 1 if there is something."""
    texts = statements(Path(sys.argv[1]).read_text(encoding="utf-8"))
    found = spot([text for text in texts if is_readable(text)]) + spot(texts, "--no-plpgsql")
    for line in sorted(set(found)):
        print(line)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
