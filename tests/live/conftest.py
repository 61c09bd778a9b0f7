"""Scenes whose turns are looked at while they are driven."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from cluster import Database
from house import House
from kernel.conftest import in_background, play, play_server, scene

__all__ = ["in_background", "play", "play_server", "scene"]  # fixtures

#: key of a lock that a test holds, and that a tool waits for
LOCK = 4711

Row = dict[str, Any]


@pytest.fixture
def session(database: Database) -> Iterator[psycopg.Connection]:
    """The session that drives the turn; the scene's own looks on."""
    with database.connect() as opened:
        yield opened


@pytest.fixture
def house(connection: psycopg.Connection) -> House:
    """A superuser's session."""
    return House(connection)


def live(observer: psycopg.Connection, tenant_id: Any) -> list[Row]:
    """What the view shows of a tenant, the turn that began first at the top."""
    cursor = observer.cursor(row_factory=psycopg.rows.dict_row)
    return cursor.execute(
        "select * from aos_agent.live_activity where tenant_id = %s order by turn_since",
        (tenant_id,),
    ).fetchall()


def act(row: Row) -> tuple[Any, ...]:
    """Who does what, in short."""
    return row["driver"], row["step_no"], row["kind"], row["tool_name"]


def shown_name(observer: psycopg.Connection, pid: int) -> str:
    """The name of another session."""
    row = observer.execute(
        "select application_name from pg_stat_activity where pid = %s", (pid,)
    ).fetchone()
    assert row is not None
    return str(row[0])
