"""A queue whose clock the test sets, and workers that are sessions of their own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from datetime import timedelta
from typing import Any
from uuid import UUID

import psycopg
import pytest

from cluster import Database
from house import Agent, House, house, name

__all__ = ["house"]  # a fixture

Claims = list[tuple[UUID, int]]


def replace_clock(connection: psycopg.Connection) -> None:
    """Make ``aos_core._now()`` go by a table that tests write: only in a database of tests."""
    connection.execute(
        "create table public.queue_clock (ahead interval not null);"
        " insert into public.queue_clock values ('0');"
        " grant select on public.queue_clock to public;"
        " create or replace function aos_core._now() returns timestamptz language sql volatile"
        " return clock_timestamp() + (select c.ahead from public.queue_clock as c)"
    )


class Worker:
    """A session that calls the queue as the kernel does.

    Args:
        name: of the worker.
        connection: its own; closing it is what the death of a backend looks like.
        runner: whose turns it drives.
    """

    def __init__(self, name: str, connection: psycopg.Connection, runner: str = "database") -> None:
        self.name = name
        self.runner = runner
        self.connection = connection
        self.house = House(connection)
        connection.execute("set role pgagentos_kernel")

    @property
    def has_lock(self) -> bool:
        return self.runner == "database"

    def claim(self, most: int = 1, lease: str = "60 seconds") -> Claims:
        return self.house.rows(
            "select run_id, fence from aos_core._claim(%s, %s, %s, %s, %s)",
            self.name, self.runner, most, lease, self.has_lock,
        )  # fmt: skip

    def claim_turn(
        self, turn_id: UUID, lease: str = "60 seconds", nowait: bool = True
    ) -> int | None:
        return self.house.one(
            "select aos_core._claim_turn(%s, %s, %s, %s, %s)",
            turn_id, self.name, lease, self.has_lock, nowait,
        )  # fmt: skip

    def keep(self, lease: str = "60 seconds") -> set[tuple[UUID, int]]:
        return set(self.house.rows("select * from aos_core._keep_claims(%s, %s)", self.name, lease))

    def hold(self, turn_id: UUID, fence: int, made_progress: bool = False) -> None:
        self.house.rows(
            "select aos_core._hold_claim(%s, %s, %s, '60 seconds')", turn_id, fence, made_progress
        )

    def give_back(
        self, turn_id: UUID, fence: int, error: Any = None, retry_after: str | None = None
    ) -> str:
        state = self.house.call("aos_core._give_back", turn_id, fence, error, retry_after)
        self.unlock(turn_id)
        return str(state)

    def finish(self, turn_id: UUID, fence: int, status: str = "completed") -> None:
        """End a turn under its claim, in one transaction as all drivers do."""
        with self.connection.transaction():
            self.hold(turn_id, fence)
            error = '{"kind": "test"}' if status == "failed" else None
            self.house.rows(
                "select aos_core._record(%s, '[]', '[]', %s, null, %s)", turn_id, status, error
            )
        self.unlock(turn_id)

    def unlock(self, turn_id: UUID) -> None:
        if self.has_lock:
            self.house.rows("select pg_advisory_unlock(aos_core._turn_key(%s))", turn_id)

    def advisory_locks(self) -> int:
        """How many advisory locks this session holds."""
        return int(
            self.house.one(
                "select count(*) from pg_locks"
                " where locktype = 'advisory' and pid = pg_backend_pid()"
            )
        )

    def release_dead(self) -> int:
        return int(self.house.call("aos_core._release_dead", self.name))

    def flush_statistics(self) -> None:
        """Let others see how many rows this session has changed."""
        if self.connection.info.server_version >= 150000:
            self.connection.execute("reset role; select pg_stat_force_next_flush()")
            self.connection.execute("set role pgagentos_kernel")
        else:  # the collector is told when a transaction ends, at most every half second
            self.connection.execute("select pg_sleep(1)")
            self.connection.execute("select pg_sleep(1)")

    def die(self) -> None:
        """End the backend, and wait until the server knows."""
        pid = self.connection.info.backend_pid
        info = self.connection.info.dsn
        self.connection.close()
        with psycopg.connect(info, autocommit=True) as observer:
            while observer.execute(
                "select from pg_stat_activity where pid = %s", (pid,)
            ).fetchone():
                observer.execute("select pg_sleep(0.005)")


class Queue:
    """What a test of the queue works with."""

    def __init__(self, database: Database, house: House, sessions: ExitStack) -> None:
        self.database = database
        self.house = house
        self._sessions = sessions

    def worker(self, runner: str = "database") -> Worker:
        connection = self._sessions.enter_context(self.database.connect())
        return Worker(name("worker"), connection, runner)

    def agent(self, **columns: Any) -> Agent:
        """An agent whose turns the database drives."""
        return self.house.agent(**{"runner": "database"} | columns)

    def submit(self, agent: Agent, content: str = "hello", **named: Any) -> UUID:
        """Submit a turn in a conversation of its own."""
        conversation_id = self.house.conversation(agent)
        return self.house.call("aos_agent.submit", conversation_id, content, **named)

    def pass_time(self, seconds: float) -> None:
        self.house.rows(
            "update public.queue_clock set ahead = ahead + %s", timedelta(seconds=seconds)
        )

    def row(self, turn_id: UUID, columns: str) -> tuple[Any, ...] | None:
        found = self.house.rows(f"select {columns} from aos_core.queue where run_id = %s", turn_id)
        return found[0] if found else None

    def view(self, turn_id: UUID, columns: str) -> tuple[Any, ...]:
        [row] = self.house.rows(
            f"select {columns} from aos_agent.queue where turn_id = %s", turn_id
        )
        return row


@pytest.fixture(scope="module")
def timed_database(database: Database) -> Database:
    """The module's database, whose queue goes by a clock of the tests."""
    with database.connect() as connection:
        replace_clock(connection)
    return database


@pytest.fixture
def queue(timed_database: Database) -> Iterator[Queue]:
    """An empty queue, and sessions for this test alone."""
    with ExitStack() as sessions:
        connection = sessions.enter_context(timed_database.connect())
        connection.execute(
            "update public.queue_clock set ahead = '0';"
            " delete from aos_core.queue; delete from aos_core.queue_lane;"
            " delete from aos_core.rate_bucket"
        )
        yield Queue(timed_database, House(connection), sessions)
