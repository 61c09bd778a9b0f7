"""The drivers that commit, and what other sessions see of them."""

from __future__ import annotations

from typing import Any

import psycopg

from kernel.scene import Scene


def stepwise(session: psycopg.Connection, turn_id: Any, **named: Any) -> dict[str, Any]:
    """``CALL aos_agent.run_turn_stepwise``; returns the state that it gives."""
    given = "".join(f", {name} => %({name})s" for name in named)
    row = session.execute(
        f"call aos_agent.run_turn_stepwise(%(turn_id)s{given})", {"turn_id": turn_id, **named}
    ).fetchone()
    assert row is not None
    state: dict[str, Any] = row[0]
    return state


def work(session: psycopg.Connection, max_seconds: int = 1, concurrency: int = 64) -> int:
    """``CALL aos_agent.work``; returns how many turns have left it."""
    row = session.execute("call aos_agent.work(%s, %s)", (max_seconds, concurrency)).fetchone()
    assert row is not None
    return int(row[0])


def work_until_cancelled(session: psycopg.Connection) -> str | None:
    """Work until somebody ends it; returns the SQLSTATE."""
    try:
        work(session, 3600)
    except psycopg.Error as error:
        return error.sqlstate
    return None


def submit(scene: Scene, content: str = "hello", **named: Any) -> Any:
    """Queue a turn in a conversation of its own; returns turn_id."""
    conversation_id = scene.value("select aos_agent.open_conversation(%s)", scene.name)
    given = "".join(f", {name} => %({name})s" for name in named)
    row = scene.connection.execute(
        f"select aos_agent.submit(%(conversation_id)s, %(content)s{given})",
        {"conversation_id": conversation_id, "content": content, **named},
    ).fetchone()
    assert row is not None
    return row[0]


def status(scene: Scene, turn_id: Any) -> str:
    """The status of a turn, as other sessions see it."""
    return str(scene.value("select status from aos_core.run where run_id = %s", turn_id))


def shape(scene: Scene, turn_id: Any) -> list[str]:
    """Kind and status of a turn's steps, in short."""
    return [f"{step['kind']} {step['status']}" for step in scene.steps(turn_id)]


def held_open(observer: psycopg.Connection, pid: int) -> tuple[Any, ...]:
    """Which snapshot and which transaction a backend holds: what VACUUM has to wait for."""
    row = observer.execute(
        "select backend_xmin::text, backend_xid::text from pg_stat_activity where pid = %s", (pid,)
    ).fetchone()
    assert row is not None
    return row


def advisory_locks(observer: psycopg.Connection, pid: int) -> int:
    """How many advisory locks a backend holds."""
    row = observer.execute(
        "select count(*) from pg_locks where pid = %s and locktype = 'advisory'", (pid,)
    ).fetchone()
    assert row is not None
    return int(row[0])


def own_state(session: psycopg.Connection) -> tuple[Any, ...]:
    """Whose rights a session has, and where it looks for names."""
    row = session.execute(
        "select current_user::text, session_user::text, current_setting('search_path'),"
        " current_setting('role')"
    ).fetchone()
    assert row is not None
    return row
