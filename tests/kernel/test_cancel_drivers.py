"""``aos_agent.cancel_turn`` reaches a turn wherever it is, long before its model would answer.

No test looks at the clock: the model's answer is held back until the turn is cancelled. How long it
took is printed (``pytest -rP``).
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest

from cluster import Database
from kernel.background import Background, wait_for
from kernel.drivers import (
    advisory_locks,
    own_state,
    shape,
    status,
    stepwise,
    submit,
    work,
    work_until_cancelled,
)
from kernel.replies import calls, held, says, tool_call
from kernel.scene import Scene, make_scene
from servers.play_server import PlayServer


@pytest.fixture
def session(database: Database) -> Iterator[psycopg.Connection]:
    """The session that drives the turn."""
    with database.connect() as opened:
        yield opened


@pytest.fixture
def person(database: Database) -> Iterator[psycopg.Connection]:
    """The session that cancels it."""
    with database.connect() as opened:
        opened.execute("select aos_auth.tenant_id()")  # loads the kernel, as most sessions have
        yield opened


@contextmanager
def login(
    database: Database, scene: Scene, name: str, access: str = "user"
) -> Iterator[psycopg.Connection]:
    """A session of a plain principal of the scene's tenant."""
    role = f"{name}_{scene.name}"
    scene.connection.execute(f"create role {role} login")
    scene.value("select aos_auth.grant_access(%s, %s)", role, access)
    scene.connection.execute(
        "insert into aos_auth.principal (tenant_id, db_role) values (%s, %s)",
        (scene.tenant_id, role),
    )
    try:
        with database.connect(user=role) as opened:
            yield opened
    finally:
        scene.connection.execute(f"drop owned by {role}")
        scene.connection.execute(f"drop role {role}")


@pytest.fixture
def plain(database: Database, scene: Scene) -> Iterator[psycopg.Connection]:
    """A plain user's session, which drives by SELECT: a superuser's nobody may interrupt."""
    with login(database, scene, "driver") as opened:
        yield opened


@pytest.fixture
def visitor(database: Database, scene: Scene) -> Iterator[psycopg.Connection]:
    """Another plain user's session."""
    with login(database, scene, "visitor") as opened:
        yield opened


def cancel(session: psycopg.Connection, turn_id: Any) -> str:
    """Cancel a turn; returns the status that it is told to have."""
    row = session.execute("select aos_agent.cancel_turn(%s)", (turn_id,)).fetchone()
    assert row is not None
    return str(row[0]["status"])


def select(session: psycopg.Connection, turn_id: Any) -> dict[str, Any]:
    """``SELECT aos_agent.run_turn``."""
    row = session.execute("select aos_agent.run_turn(%s)", (turn_id,)).fetchone()
    assert row is not None
    state: dict[str, Any] = row[0]
    return state


def marks(scene: Scene, turn_id: Any) -> int:
    """How many marks of cancel_turn there are."""
    found: int = scene.value(
        "select count(*) from aos_core.cancel_request where run_id = %s", turn_id
    )
    return found


def took(what: str, since: float) -> None:
    print(f"cancelled {what} after {(time.monotonic() - since) * 1000:.0f} ms")


# --- turns that nobody drives ---------------------------------------------------------------------


@pytest.mark.parametrize("delay", ["0 seconds", "1 hour"])
def test_a_turn_that_waits_in_the_queue_is_over_at_once(
    scene: Scene, person: psycopg.Connection, delay: str
) -> None:
    run_after = scene.value("select now() + %s::interval", delay)
    turn_id = submit(scene, run_after=run_after)
    began = time.monotonic()
    assert cancel(person, turn_id) == "cancelled"
    took("a queued turn", began)
    assert status(scene, turn_id) == "cancelled"
    assert scene.rows("select from aos_core.queue where run_id = %s", turn_id) == []


def test_a_queued_turn_that_waits_for_a_person_is_over_at_once(
    scene: Scene, session: psycopg.Connection, person: psycopg.Connection
) -> None:
    scene.skill("one() returns int language sql return 1", approval="ask")
    scene.says(calls(tool_call("one")))
    turn_id = submit(scene)
    assert stepwise(session, turn_id)["status"] == "awaiting_approval"
    assert cancel(person, turn_id) == "cancelled"
    assert shape(scene, turn_id) == ["model completed", "tool cancelled"]
    assert scene.rows("select from aos_core.queue where run_id = %s", turn_id) == []


# --- drivers that commit --------------------------------------------------------------------------


def test_a_turn_that_is_driven_step_by_step_ends_in_the_middle_of_a_call(
    scene: Scene,
    session: psycopg.Connection,
    person: psycopg.Connection,
    in_background: Background,
) -> None:
    scene.skill("one() returns int language sql return 1")
    scene.says(calls(tool_call("one")), held(says("late")))
    turn_id = scene.start()
    before = own_state(session)
    running = in_background(stepwise, session, turn_id)
    scene.play.arrived(2)
    began = time.monotonic()
    assert cancel(person, turn_id) == "cancelled"
    state = running.result()  # its model has not answered yet, and never will
    took("a stepwise turn", began)
    assert state["status"] == "cancelled"
    assert shape(scene, turn_id) == ["model completed", "tool completed", "model cancelled"]
    assert own_state(session) == before
    assert advisory_locks(scene.connection, session.info.backend_pid) == 0
    scene.play.release()


def test_a_worker_goes_on_with_its_other_turns(
    scene: Scene,
    session: psycopg.Connection,
    person: psycopg.Connection,
    in_background: Background,
) -> None:
    scene.says(*[held(says("done"))] * 3)
    turns = [submit(scene) for _ in range(3)]
    running = in_background(work_until_cancelled, session)
    scene.play.arrived(3)
    began = time.monotonic()
    assert cancel(person, turns[1]) == "cancelled"
    # The worker lets it go: the turn's lock is free, the connection to its model is closed.
    wait_for(
        scene.connection,
        "not exists (select from pg_locks as l where l.pid = %s and l.locktype = 'advisory'"
        " and l.objid = (aos_core._turn_key(%s) & 4294967295)::oid)",
        session.info.backend_pid,
        turns[1],
    )
    took("a turn of a worker", began)
    for _ in turns:
        scene.play.release()
    for turn_id in (turns[0], turns[2]):
        wait_for(
            scene.connection, "status = 'completed' from aos_core.run where run_id = %s", turn_id
        )
    assert shape(scene, turns[1]) == ["model cancelled"]
    assert status(scene, turns[1]) == "cancelled"
    scene.connection.execute("select pg_cancel_backend(%s)", (session.info.backend_pid,))
    assert running.result() == "57014"
    assert advisory_locks(scene.connection, session.info.backend_pid) == 0


def test_the_tool_of_a_turn_that_was_cancelled_has_no_effect(
    scene: Scene,
    session: psycopg.Connection,
    person: psycopg.Connection,
    in_background: Background,
) -> None:
    """The cancel comes between the model's reply and the commit of what the tool did."""
    table = f"made_{scene.name}"
    scene.connection.execute(f"create table public.{table} (n int)")
    scene.connection.execute(f"grant insert on public.{table} to pgagentos_agent")
    scene.skill(f"make() returns void language sql begin atomic insert into public.{table}"
                " values (1); end")  # fmt: skip
    scene.says(held(calls(tool_call("make"))), says("too late"))
    turn_id = scene.start()
    running = in_background(stepwise, session, turn_id)
    scene.play.arrived(1)
    assert cancel(person, turn_id) == "cancelled"
    scene.play.release()
    assert running.result()["status"] == "cancelled"
    assert scene.rows(f"select from public.{table}") == []
    assert len(scene.play.requests()) == 1


@pytest.mark.parametrize("by", ["stepwise", "work"])
def test_a_tool_that_runs_while_its_turn_is_cancelled_is_undone(
    scene: Scene,
    session: psycopg.Connection,
    person: psycopg.Connection,
    in_background: Background,
    by: str,
) -> None:
    """Nobody waits for the tool; what it does is recorded with it, or it has not happened."""
    table = f"made_{scene.name}"
    scene.connection.execute(f"create table public.{table} (n int)")
    scene.connection.execute(f"grant insert on public.{table} to pgagentos_agent")
    scene.skill(f"make() returns void language sql begin atomic insert into public.{table}"
                " values (1); select pg_advisory_xact_lock(815); end")  # fmt: skip
    scene.says(calls(tool_call("make")), says("too late"))
    turn_id = submit(scene)
    scene.connection.execute("select pg_advisory_lock(815)")
    running = (
        in_background(stepwise, session, turn_id)
        if by == "stepwise"
        else in_background(work_until_cancelled, session)
    )
    wait_for(scene.connection, "wait_event = 'advisory' from pg_stat_activity where pid = %s",
             session.info.backend_pid)  # fmt: skip
    began = time.monotonic()
    assert cancel(person, turn_id) == "cancelled"  # the tool still waits for the lock
    took(f"a tool under {by}", began)
    scene.connection.execute("select pg_advisory_unlock(815)")
    if by == "work":
        wait_for(scene.connection, "count(*) = 0 from pg_locks where locktype = 'advisory'"
                 " and pid = %s", session.info.backend_pid)  # fmt: skip
        scene.connection.execute("select pg_cancel_backend(%s)", (session.info.backend_pid,))
        assert running.result() == "57014"
    else:
        assert running.result()["status"] == "cancelled"
    assert shape(scene, turn_id) == ["model completed", "tool cancelled"]
    assert scene.rows(f"select from public.{table}") == []
    assert len(scene.play.requests()) == 1


def test_no_worker_is_interrupted_while_it_claims_a_turn(
    scene: Scene, database: Database, visitor: psycopg.Connection, in_background: Background
) -> None:
    """It has the locks of the turn then, but nobody can see its claim yet."""
    lost = submit(scene)
    # A claim that is to end as a dead letter, and cannot: so the worker gets stuck in its claim.
    scene.connection.execute(
        "update aos_core.queue set worker = 'gone', claimed_at = now(), lease_until = now(),"
        " attempt = 100 where run_id = %s",
        (lost,),
    )
    scene.connection.execute(
        "select aos_core._open_lane(%s, null, null, now() - interval '1 hour')", (scene.tenant_id,)
    )
    scene.says(held(says("late")))
    turn_id = submit(scene)
    with login(database, scene, "operator", "operator") as worker:
        with database.connect() as other, other.transaction():
            other.execute("select from aos_core.run where run_id = %s for update", (lost,))
            working = in_background(work, worker, 3)
            pids = (worker.info.backend_pid, visitor.info.backend_pid)
            wait_for(scene.connection, "wait_event_type = 'Lock' from pg_stat_activity"
                     " where pid = %s", pids[0])  # fmt: skip
            cancelling = in_background(cancel, visitor, turn_id)
            wait_for(scene.connection, "wait_event = 'PgSleep' or state = 'idle'"
                     " from pg_stat_activity where pid = %s and query ~ 'cancel_turn'",
                     pids[1])  # fmt: skip
        assert cancelling.result() == "cancelled"
        assert working.result() == 1
    assert status(scene, turn_id) == "cancelled"
    assert status(scene, lost) == "failed"


# --- SELECT ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("level", ["read committed", "repeatable read", "serializable"])
def test_a_turn_that_select_drives_ends_in_the_middle_of_a_call(
    scene: Scene,
    plain: psycopg.Connection,
    person: psycopg.Connection,
    in_background: Background,
    level: str,
) -> None:
    scene.skill("one() returns int language sql return 1")
    scene.says(calls(tool_call("one")), held(says("late")))
    turn_id = scene.start()
    plain.execute(f"set default_transaction_isolation = '{level}'")
    running = in_background(select, plain, turn_id)
    scene.play.arrived(2)
    began = time.monotonic()
    assert cancel(person, turn_id) == "cancel_requested"
    state = running.result()
    took(f"a turn under SELECT, {level},", began)
    assert (state["status"], state["steps"]) == ("cancelled", 3)
    # What it did stays.
    assert shape(scene, turn_id) == ["model completed", "tool completed", "model cancelled"]
    assert status(scene, turn_id) == "cancelled"
    scene.play.release()


def test_a_turn_that_select_drives_ends_in_the_middle_of_a_tool(
    scene: Scene,
    plain: psycopg.Connection,
    person: psycopg.Connection,
    in_background: Background,
) -> None:
    scene.skill("dream() returns void language sql return pg_sleep(600)")
    scene.says(calls(tool_call("dream")))
    turn_id = scene.start()
    running = in_background(select, plain, turn_id)
    wait_for(scene.connection, "wait_event = 'PgSleep' from pg_stat_activity where pid = %s",
             plain.info.backend_pid)  # fmt: skip
    began = time.monotonic()
    assert cancel(person, turn_id) == "cancel_requested"
    assert running.result()["status"] == "cancelled"
    took("a tool under SELECT", began)
    assert shape(scene, turn_id) == ["model completed", "tool cancelled"]


def test_the_callers_own_writes_stay(
    scene: Scene,
    plain: psycopg.Connection,
    person: psycopg.Connection,
    in_background: Background,
) -> None:
    table = f"own_{scene.name}"
    scene.connection.execute(f"create table public.{table} (n int)")
    scene.connection.execute(f"grant insert on public.{table} to public")
    scene.says(held(says("late")))
    turn_id = scene.start()

    def both() -> str:
        with plain.transaction():
            plain.execute(f"insert into public.{table} values (1)")
            return str(select(plain, turn_id)["status"])

    running = in_background(both)
    scene.play.arrived(1)
    assert cancel(person, turn_id) == "cancel_requested"
    assert running.result() == "cancelled"
    assert scene.rows(f"select n from public.{table}") == [{"n": 1}]
    assert status(scene, turn_id) == "cancelled"
    scene.play.release()


def test_a_plain_user_cancels_the_turn_of_another_plain_user(
    scene: Scene,
    plain: psycopg.Connection,
    visitor: psycopg.Connection,
    in_background: Background,
) -> None:
    scene.says(held(says("late")))
    turn_id = scene.start()
    running = in_background(select, plain, turn_id)
    scene.play.arrived(1)
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        visitor.execute("select pg_cancel_backend(%s)", (plain.info.backend_pid,))
    began = time.monotonic()
    assert cancel(visitor, turn_id) == "cancel_requested"
    assert running.result()["status"] == "cancelled"
    took("another user's turn", began)
    scene.play.release()


def test_whoever_cancels_loads_nothing_that_drives_turns(
    scene: Scene, session: psycopg.Connection
) -> None:
    """It would take longer than all the rest of the cancel, and than most statements."""
    session.execute("select count(*) from aos_core.run")
    assert cancel(session, scene.start()) == "cancelled"
    session.execute(
        "create function pg_temp.loaded() returns setof text language plpython3u as"
        " $$import sys; return [m for m in sys.modules if m.startswith('pgagentos')]$$"
    )
    loaded = {row[0] for row in session.execute("select pg_temp.loaded()")}
    assert "pgagentos.identity" in loaded
    assert loaded.isdisjoint(
        {"pgagentos.agent.driver", "pgagentos.carrier", "pgagentos.net.client"}
    )


def test_a_superusers_session_honours_the_mark_before_its_next_step(
    scene: Scene, plain: psycopg.Connection, session: psycopg.Connection, in_background: Background
) -> None:
    scene.skill("one() returns int language sql return 1")
    scene.says(held(calls(tool_call("one"))), says("too late"))
    turn_id = scene.start()
    running = in_background(select, session, turn_id)
    scene.play.arrived(1)
    assert cancel(plain, turn_id) == "cancel_requested"
    assert not running.done()  # nobody but a superuser interrupts it
    scene.play.release()
    assert running.result()["status"] == "cancelled"
    assert len(scene.play.requests()) == 1
    assert status(scene, turn_id) == "cancelled"


@pytest.mark.parametrize("level", ["read committed", "repeatable read"])
@pytest.mark.parametrize("how", ["pg_cancel_backend", "statement_timeout"])
def test_the_users_own_cancel_is_none_of_the_turn(
    scene: Scene, plain: psycopg.Connection, in_background: Background, how: str, level: str
) -> None:
    scene.says(held(says("late")), says("done"))
    turn_id = scene.start()
    plain.execute(f"set default_transaction_isolation = '{level}'")
    if how == "statement_timeout":
        plain.execute("set statement_timeout = '1500ms'")
    running = in_background(select, plain, turn_id)
    scene.play.arrived(1)
    if how == "pg_cancel_backend":
        scene.connection.execute("select pg_cancel_backend(%s)", (plain.info.backend_pid,))
    error = running.exception()
    assert isinstance(error, psycopg.errors.QueryCanceled)
    assert (status(scene, turn_id), scene.steps(turn_id), marks(scene, turn_id)) == (
        "queued",
        [],
        0,
    )
    scene.play.release()
    plain.execute("reset statement_timeout")
    assert select(plain, turn_id)["answer"] == "done"


def test_a_cancel_that_is_rolled_back_cancels_nothing_that_is_recorded(
    scene: Scene,
    plain: psycopg.Connection,
    person: psycopg.Connection,
    in_background: Background,
) -> None:
    scene.says(held(says("late")), says("done"))
    turn_id = scene.start()
    running = in_background(select, plain, turn_id)
    scene.play.arrived(1)
    with person.transaction(force_rollback=True):
        assert cancel(person, turn_id) == "cancel_requested"
        # The driver waits for what becomes of the mark.
        wait_for(scene.connection, "cardinality(pg_blocking_pids(%s)) > 0", plain.info.backend_pid)
    error = running.exception()
    assert isinstance(error, psycopg.errors.QueryCanceled)
    assert (status(scene, turn_id), marks(scene, turn_id)) == ("queued", 0)
    scene.play.release()
    assert select(plain, turn_id)["answer"] == "done"


def test_a_turn_of_another_tenant_is_out_of_reach(
    scene: Scene,
    plain: psycopg.Connection,
    session: psycopg.Connection,
    play_server: PlayServer,
    in_background: Background,
) -> None:
    other = make_scene(scene.connection, play_server.play(f"{scene.name}-other"))
    other.says(held(says("undisturbed")))
    turn_id = other.start()
    running = in_background(stepwise, session, turn_id)
    other.play.arrived(1)
    with pytest.raises(psycopg.Error) as caught:
        cancel(plain, turn_id)
    assert caught.value.sqlstate == "OS002"
    other.play.release()
    assert running.result()["answer"] == "undisturbed"
