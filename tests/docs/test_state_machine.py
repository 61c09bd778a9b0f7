"""docs/state_machine.md draws the statuses that the tables allow, and no other."""

from __future__ import annotations

import re

import psycopg
import pytest

from cluster import CHECKOUT
from docs.pages import Block, parts

PAGE = CHECKOUT / "docs/state_machine.md"


def drawn(number: int) -> list[tuple[str, str]]:
    """Return the arrows of the page's diagram *number*."""
    diagrams = [p.body for p in parts(PAGE) if isinstance(p, Block) and p.language == "mermaid"]
    return re.findall(r"^\s*(\S+) --> ([\w\[\]*]+)", diagrams[number], re.MULTILINE)


@pytest.mark.parametrize(
    ("number", "constraint"), [(0, "run_status_is_known"), (1, "step_status_is_known")]
)
def test_a_diagram_shows_the_statuses_of_its_check_constraint(
    number: int, constraint: str, connection: psycopg.Connection
) -> None:
    row = connection.execute(
        "select pg_get_constraintdef(oid) from pg_constraint where conname = %s", (constraint,)
    ).fetchone()
    assert row is not None
    allowed = set(re.findall(r"'(\w+)'", row[0]))
    assert {status for arrow in drawn(number) for status in arrow} - {"[*]"} == allowed


@pytest.mark.parametrize(
    ("number", "constraint"),
    [(0, "finished_runs_have_a_finish_time"), (1, "steps_end_with_a_finish_time")],
)
def test_a_diagram_ends_where_the_table_says_that_a_row_is_finished(
    number: int, constraint: str, connection: psycopg.Connection
) -> None:
    row = connection.execute(
        "select pg_get_constraintdef(oid) from pg_constraint where conname = %s", (constraint,)
    ).fetchone()
    assert row is not None
    final = set(re.findall(r"'(\w+)'", row[0]))
    assert {start for start, end in drawn(number) if end == "[*]"} == final
    assert not {start for start, end in drawn(number) if start in final and end != "[*]"}
