"""A clock that tests set, and workers that look for schedules which are due."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Any

import psycopg
import pytest
from psycopg import sql

from cluster import Database
from house import House, house, name

__all__ = ["house"]  # a fixture

#: A Monday.
MORNING = datetime(2026, 1, 5, 8, 0, tzinfo=timezone.utc)


@dataclass(frozen=True, slots=True)
class Clock:
    """The clock of the database under test, which stands still until a test sets it."""

    connection: psycopg.Connection

    def set(self, moment: datetime | str) -> None:
        """Set it, also back; text is UTC."""
        self.connection.execute("update clock.hand set now = %s::timestamptz", (str(moment),))

    def forward(self, **by: float) -> None:
        """Set it forward: ``clock.forward(hours=1)``."""
        self.connection.execute("update clock.hand set now = now + %s", (timedelta(**by),))


@pytest.fixture(scope="module")
def standing_clock(database: Database) -> None:
    """Put the clock of the tests where the product asks for the time; and a worker's first act."""
    with database.connect() as connection:
        connection.execute(
            "create schema clock; create table clock.hand (now timestamptz);"
            "grant usage on schema clock to public; grant select on clock.hand to public;"
            "insert into clock.hand values (now());"
            "create or replace function aos_core._now() returns timestamptz language plpgsql"
            " volatile parallel safe as $$ begin return (select now from clock.hand); end $$;"
            # what CALL aos_agent.work does each second, for whoever calls it
            "create function clock.fire(most integer) returns integer language sql"
            " security definer set search_path = pg_catalog, pg_temp"
            " as $$ select aos_agent._fire_schedules(most) $$;"
            "alter function clock.fire(integer) owner to pgagentos_kernel;"
            "set timezone = 'UTC'"
        )


@pytest.fixture
def clock(standing_clock: None, connection: psycopg.Connection) -> Clock:
    """The clock; it shows :data:`MORNING`, and no schedule of an earlier test is left."""
    connection.execute("set timezone = 'UTC'")
    connection.execute("delete from aos_agent.schedule")
    made = Clock(connection)
    made.set(MORNING)
    return made


def fire(house: House, most: int = 100) -> int:
    """Let a worker, the login of this house, look for schedules that are due."""
    return int(house.one("select clock.fire(%s)", most))


def shown(house: House, schedule_id: Any, columns: str) -> tuple[Any, ...]:
    """Columns of the view of all schedules."""
    [row] = house.rows(
        f"select {columns} from aos_agent.schedules where schedule_id = %s", schedule_id
    )
    return row


def due(house: House, schedule_id: Any) -> str:
    """When a schedule is due next, in short."""
    return str(
        house.one(
            "select to_char(next_run_at at time zone 'UTC', 'MM-DD HH24:MI')"
            " from aos_agent.schedules where schedule_id = %s",
            schedule_id,
        )
    )


def turns(house: House, schedule_id: Any) -> list[str]:
    """For which moments a schedule has started a turn, in short."""
    found = house.rows(
        "select to_char(scheduled_for at time zone 'UTC', 'MM-DD HH24:MI')"
        " from aos_agent.schedule_run where schedule_id = %s order by scheduled_for",
        schedule_id,
    )
    return [moment for (moment,) in found]


def end_turns(house: House) -> None:
    """Let the worker outside answer every turn that waits for its model."""
    for (turn_id,) in house.rows("select run_id from aos_core.run where finished_at is null"):
        house.finish(turn_id, f"answer of {turn_id}")


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody with a login."""

    house: House
    principal_id: Any


@dataclass(slots=True)
class People:
    """Makes logins of principals."""

    database: Database
    admin: House
    sessions: list[psycopg.Connection]
    roles: list[str]

    def login(self, tenant_id: Any, *access: str) -> Person:
        """Make a role with access, for a new principal of a tenant, and log in as it."""
        role = name("person")
        self.admin.rows(f"create role {role} login")
        self.roles.append(role)
        for kind in access:
            self.admin.call("aos_auth.grant_access", role, kind)
        principal_id = None
        if tenant_id is not None:
            principal_id = self.admin.insert(
                "aos_auth.principal", "principal_id", tenant_id=tenant_id, db_role=role
            )
        connection = self.database.connect(user=role)
        self.sessions.append(connection)
        return Person(House(connection), principal_id)


@pytest.fixture
def people(database: Database, house: House) -> Iterator[People]:
    """Logins, which are closed and dropped at the end."""
    made = People(database, house, [], [])
    yield made
    for session in made.sessions:
        session.close()
    for role in made.roles:
        house.connection.execute(sql.SQL("drop owned by {}").format(sql.Identifier(role)))
        house.connection.execute(sql.SQL("drop role {}").format(sql.Identifier(role)))
