"""The extension makes exactly the objects that schema.txt lists; ``make snapshot`` rewrites it."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from cluster import Database, pg_config

HERE = Path(__file__).parent
GOLDEN = HERE / "schema.txt"


def test_the_extension_makes_the_objects_that_the_golden_schema_lists(
    database: Database, request: pytest.FixtureRequest
) -> None:
    found = snapshot(database)
    if request.config.getoption("--write-snapshot"):
        GOLDEN.write_text(found, encoding="utf-8")
    assert found.splitlines() == GOLDEN.read_text(encoding="utf-8").splitlines()


def snapshot(database: Database) -> str:
    """Return one line for each object of the extension."""
    psql = [f"{pg_config('--bindir')}/psql", "-X", "-v", "ON_ERROR_STOP=1"]
    command = [*psql, "-d", database.conninfo(), "-f", str(HERE / "snapshot.sql")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout
