"""Run pgspot over the extension's script: names that a search path could lead astray.

Usage: ``python scripts/spot_search_paths.py pgagentos--1.0.sql``

pgspot 0.9 cannot read functions with an SQL body (``return ...``, ``begin atomic``), so these are
left out. They need no look: PostgreSQL binds the names in them when the script runs, and the script
sets its own search path.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from pathlib import Path

from pglast import ast, parse_sql, split


def readable_statements(script: str) -> str:
    """Return the script without psql commands and without functions that have an SQL body."""
    script = re.sub(r"^\\.*$", "", script, flags=re.MULTILINE)
    kept = (text for text in split(script) if not has_sql_body(text))
    return ";\n".join(kept) + ";\n"


def has_sql_body(statement: str) -> bool:
    """Say whether the statement makes a function out of parsed SQL instead of a string."""
    [raw] = parse_sql(statement)
    return isinstance(raw.stmt, ast.CreateFunctionStmt) and raw.stmt.sql_body is not None


def main() -> int:
    """Return pgspot's exit status."""
    script = Path(sys.argv[1]).read_text(encoding="utf-8")
    with tempfile.NamedTemporaryFile("w", suffix=".sql", encoding="utf-8") as readable:
        readable.write(readable_statements(script))
        readable.flush()
        command = [str(Path(sys.executable).with_name("pgspot")), "--ignore-lang", "plpython3u"]
        return subprocess.run([*command, readable.name], check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
