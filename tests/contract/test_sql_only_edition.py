"""The edition without extension keeps up: what it cannot have is replaced, or left out by name."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from cluster import CHECKOUT

EDITION = CHECKOUT / "sql" / "sql_only"
_IN_PYTHON = re.compile(
    r"^create (?:function|procedure) ([\w.]+)\((?:(?!;$|^create ).)*?language plpython3u",
    re.DOTALL | re.MULTILINE,
)


def functions_in_python() -> set[str]:
    files = [path for path in CHECKOUT.glob("sql/**/*.sql") if EDITION not in path.parents]
    return {name for path in files for name in _IN_PYTHON.findall(path.read_text("utf-8"))}


def test_the_script_can_be_built(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, CHECKOUT / "scripts/build_sql_only.py", tmp_path / "out.sql"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_every_function_in_python_is_replaced_or_left_out_for_a_reason() -> None:
    in_python = functions_in_python()
    assert len(in_python) > 20
    lines = (EDITION / "left_out.txt").read_text("utf-8").splitlines()
    left_out = {m[1] for line in lines if (m := re.fullmatch(r"function ([\w.]+): \S.*", line))}
    replaced = {
        name
        for path in EDITION.glob("*.sql")
        for name in re.findall(r"^--@ instead of function ([\w.]+)$", path.read_text("utf-8"), re.M)
    }
    # made by a DO block, because its type lives in a schema that is not known before
    in_blocks = {"aos_meta.embed"}
    assert in_python - in_blocks - replaced - left_out == set()
    assert left_out <= in_python
