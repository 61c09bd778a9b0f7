"""The locks that all who use the queue share: nobody but the kernel gets at them."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest
from psycopg import sql

from house import House, name
from turn_queue.conftest import Queue, Worker

GATES = ("aos_core.lane_gate", "aos_core.limit_gate")
MODES = (
    "row share", "row exclusive", "share update exclusive", "share", "share row exclusive",
    "exclusive", "access exclusive",
)  # fmt: skip


@pytest.fixture
def patient(queue: Queue) -> Iterator[Worker]:
    """A worker in a database with limits; nobody waits for a lock for long."""
    queue.house.rows("set lock_timeout = '5s'")
    queue.house.rows("update aos_meta.provider set requests_per_minute = 600")
    worker = queue.worker()
    worker.connection.execute("reset role; set lock_timeout = '5s'; set role pgagentos_kernel")
    yield worker
    queue.house.rows("update aos_meta.provider set requests_per_minute = null")
    queue.house.rows("update aos_agent.agent set max_concurrent_turns = null")


@pytest.fixture(params=["", "pgagentos_user"], ids=["plain login", "user"])
def stranger(queue: Queue, request: pytest.FixtureRequest) -> Iterator[psycopg.Connection]:
    """A session of somebody who may do nothing, or what a user may, in an open transaction."""
    role = name("stranger")
    owned = sql.Identifier(role)
    queue.house.connection.execute(sql.SQL("create role {} login").format(owned))
    if request.param:
        queue.house.rows(f"grant {request.param} to {role}")
    try:
        with queue.database.connect(user=role) as session:
            session.execute("begin")
            yield session
    finally:
        queue.house.connection.execute(sql.SQL("drop role {}").format(owned))


def works_on(queue: Queue, worker: Worker) -> None:
    """See that turns are submitted, claimed within limits, counted, and ended."""
    agent = queue.agent(max_concurrent_turns=5)
    turn_id = queue.submit(agent)
    [(claimed, fence)] = worker.claim()
    assert claimed == turn_id
    assert worker.house.call("aos_core._take_rate", "openai", agent.tenant_id) is None
    worker.house.call("aos_core._spend_rate", "openai", agent.tenant_id, 5)
    worker.finish(turn_id, fence)
    queue.pass_time(6)
    assert worker.claim() == []


def test_advisory_locks_of_others_hold_up_no_claim(
    queue: Queue, patient: Worker, stranger: psycopg.Connection
) -> None:
    for key in range(5):
        stranger.execute("select pg_advisory_lock(20481, %s)", (key,))
    works_on(queue, patient)


@pytest.mark.parametrize("gate", GATES)
def test_nobody_else_locks_a_gate(stranger: psycopg.Connection, gate: str) -> None:
    for mode in MODES:
        with (
            pytest.raises(psycopg.errors.InsufficientPrivilege),
            stranger.transaction(),
        ):
            stranger.execute(f"lock table {gate} in {mode} mode")


def test_what_the_parser_locks_holds_up_no_claim(
    queue: Queue, patient: Worker, stranger: psycopg.Connection
) -> None:
    """Whoever may name a table gets this lock, whatever rights he has on it."""
    for number, gate in enumerate(GATES):
        try:
            with stranger.transaction():
                stranger.execute(f"prepare held_{number} as delete from {gate}")
        except psycopg.errors.InsufficientPrivilege:  # a plain login may not even name it
            continue
        held = "select mode from pg_locks where relation = %s::regclass and pid = %s"
        pid = stranger.info.backend_pid
        assert queue.house.rows(held, gate, pid) == [("RowExclusiveLock",)]
    works_on(queue, patient)


def test_two_who_count_against_limits_wait_for_each_other(queue: Queue, patient: Worker) -> None:
    patient.connection.execute("reset role; set lock_timeout = '20ms'; set role pgagentos_kernel")
    agent = queue.agent()
    with queue.database.connect() as other, other.transaction():
        assert House(other).call("aos_core._take_rate", "openai", agent.tenant_id) is None
        with pytest.raises(psycopg.errors.LockNotAvailable):
            patient.house.call("aos_core._take_rate", "openai", agent.tenant_id)
    assert patient.house.call("aos_core._take_rate", "openai", agent.tenant_id) is None


def test_a_dump_holds_up_no_claim(queue: Queue, patient: Worker) -> None:
    with queue.database.connect() as other, other.transaction():
        for gate in GATES:
            other.execute(f"lock table {gate} in access share mode")  # as pg_dump does
        other.execute("analyze aos_core.lane_gate")
        works_on(queue, patient)


def test_lanes_are_not_cleaned_up_by_who_cannot_see_all_turns(queue: Queue) -> None:
    worker = queue.worker()
    agent = queue.agent()
    queue.submit(agent)
    worker.finish(*worker.claim()[0])
    with queue.database.connect() as cleaner:
        cleaner.execute("begin isolation level repeatable read")
        cleaner.execute("select count(*) from aos_core.queue")
        turn_id = queue.submit(agent)
        cleaner.execute("select aos_core.clean_queue()")
        cleaner.execute("commit")
    assert worker.claim() == [(turn_id, 1)]
