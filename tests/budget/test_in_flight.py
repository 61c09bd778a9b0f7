"""N sessions at once: a budget is overshot by the calls in flight at most, and nobody waits."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace

import psycopg
import pytest

from budget.stage import budget, counted, error, left, requests
from cluster import Database
from kernel.background import Background, wait_until_blocked
from kernel.replies import calls, held, says, tool_call
from kernel.scene import Scene

TOKENS = 15
SESSIONS = 6


@pytest.fixture
def sessions(database: Database, scene: Scene) -> Iterator[list[Scene]]:
    """The scene, in several sessions."""
    with ExitStack() as stack:
        yield [
            replace(scene, connection=stack.enter_context(database.connect()))
            for _ in range(SESSIONS)
        ]


def waiting(connection: psycopg.Connection) -> int:
    """How many locks somebody waits for."""
    row = connection.execute("select count(*) from pg_locks where not granted").fetchone()
    assert row is not None
    return int(row[0])


@pytest.mark.parametrize("named", ["tenant", "agent"])
def test_sessions_overshoot_by_the_calls_in_flight_and_never_wait_for_one_another(
    scene: Scene, sessions: list[Scene], in_background: Background, named: str
) -> None:
    scene.skill("one() returns int language sql return 1")
    scope = {"agent_name": scene.name} if named == "agent" else {}
    budget(scene, "day", max_tokens=SESSIONS * TOKENS + 1, **scope)
    turns = [session.start() for session in sessions]
    scene.says(*[held(calls(tool_call("one")))] * 10 * SESSIONS)
    running = [
        in_background(session.run_turn, turn) for session, turn in zip(sessions, turns, strict=True)
    ]
    # Every call of a round is in flight before the first of them is answered. The first round
    # leaves one token, so the second is the last, although no turn is committed before its end.
    for round_no in (1, 2):
        scene.play.arrived(round_no * SESSIONS)
        assert not any(turn.done() for turn in running)
        assert waiting(scene.connection) == 0
        for _ in range(SESSIONS):
            scene.play.release()
    for turn in running:
        assert turn.result()["error"]["kind"] == "budget"
    assert requests(scene) == 2 * SESSIONS
    assert counted(scene)[0] == 2 * SESSIONS * TOKENS


def test_what_an_open_transaction_has_used_counts_at_once(
    scene: Scene, sessions: list[Scene]
) -> None:
    budget(scene, "day", max_tokens=TOKENS)
    first, second = sessions[:2]
    scene.says(says("one"))
    with first.connection.transaction():
        assert first.ask() == "one"
        assert left(second)["used_tokens"] == 0  # rows show what is committed
        assert second.ask() is None
        assert "15 of 15 tokens" in error(second)["message"]
    assert left(second)["used_tokens"] == TOKENS
    assert second.ask() is None


def test_a_rollback_gives_the_budget_back(scene: Scene, sessions: list[Scene]) -> None:
    budget(scene, "day", max_tokens=TOKENS)
    first, second = sessions[:2]
    scene.says(says("lost"), says("kept"))
    with first.connection.transaction(force_rollback=True):
        assert first.ask() == "lost"
        assert second.ask() is None
    assert counted(scene) == (0, 0)
    assert second.ask() == "kept"


def test_another_tenants_turns_do_not_count(
    scene: Scene, sessions: list[Scene], database: Database
) -> None:
    from kernel.scene import make_scene

    budget(scene, "day", max_tokens=TOKENS)
    with database.connect() as opened:
        other = make_scene(opened, scene.play)
        budget(other, "day", max_tokens=TOKENS)
        scene.says(says("theirs"), says("ours"))
        with other.connection.transaction():
            assert other.ask() == "theirs"
            assert scene.ask() == "ours"


def test_one_transaction_counts_all_its_turns_once(scene: Scene) -> None:
    budget(scene, "day", max_tokens=3 * TOKENS)
    scene.says(*[says("yes")] * 3)
    with scene.connection.transaction():
        assert [scene.ask() for _ in range(4)] == ["yes", "yes", "yes", None]
        assert "45 of 45 tokens" in error(scene)["message"]
    assert counted(scene)[0] == 3 * TOKENS


def test_a_turn_in_a_savepoint_that_is_undone_gives_its_own_session_the_budget_back(
    scene: Scene,
) -> None:
    budget(scene, "day", max_tokens=TOKENS)
    scene.says(says("undone"), says("kept"))
    with scene.connection.transaction():
        with scene.connection.transaction(force_rollback=True):
            assert scene.ask() == "undone"
        assert scene.ask() == "kept"
    assert counted(scene)[0] == TOKENS


def test_a_turn_that_has_waited_for_its_conversation_knows_what_others_used_meanwhile(
    scene: Scene, sessions: list[Scene], in_background: Background
) -> None:
    first, second, third = sessions[:3]
    budget(scene, "day", max_tokens=2 * TOKENS)
    scene.says(says("before"), says("meanwhile"))
    assert first.ask() == "before"
    conversation_id = scene.run()["conversation_id"]
    lock = "select from aos_agent.conversation where conversation_id = %s for no key update"
    with third.connection.transaction():
        with second.connection.transaction():
            second.connection.execute(lock, (conversation_id,))
            waits = in_background(first.ask, "after", conversation_id)
            wait_until_blocked(scene.connection, first.connection.info.backend_pid)
            assert third.ask() == "meanwhile"
        assert waits.result() is None
    assert requests(scene) == 2


def test_turns_at_the_same_time_never_change_one_row(scene: Scene, sessions: list[Scene]) -> None:
    budget(scene, "day", max_tokens=1000)
    scene.says(*[says("yes")] * (2 * SESSIONS))
    with ExitStack() as open_transactions:
        for session in sessions:
            open_transactions.enter_context(session.connection.transaction())
            session.connection.execute("set local lock_timeout = '20s'")
            assert session.ask() == "yes"
    assert counted(scene)[0] == SESSIONS * TOKENS
    rows = "select count(*) from aos_agent.usage where tenant_id = %s"
    assert scene.value(rows, scene.tenant_id) == SESSIONS
    for session in sessions:  # one after the other needs no further row
        assert session.ask() == "yes"
    assert scene.value(rows, scene.tenant_id) == SESSIONS
    assert counted(scene)[0] == 2 * SESSIONS * TOKENS


@pytest.mark.parametrize("level", ["repeatable read", "serializable"])
def test_a_stricter_isolation_level_counts_too(
    scene: Scene, sessions: list[Scene], level: str
) -> None:
    budget(scene, "day", max_tokens=1000)
    scene.says(*[says("yes")] * 3)
    scene.ask()
    first, second = sessions[:2]
    with first.connection.transaction():
        first.connection.execute(f"set transaction isolation level {level}")
        first.value("select 1 from aos_agent.usage")
        assert second.ask() == "yes"  # changes the row that first's snapshot shows as it was
        assert first.ask() == "yes"
    assert counted(scene)[0] == 3 * TOKENS


def test_a_turn_may_be_run_while_another_session_sets_a_budget(
    scene: Scene, sessions: list[Scene], in_background: Background
) -> None:
    first, second = sessions[:2]
    scene.says(held(says("in peace")))
    turn = in_background(first.ask)
    scene.play.arrived(1)
    second.connection.execute("set lock_timeout = '20s'")
    budget(second, "day", max_tokens=0)
    assert second.ask() is None
    scene.play.release()
    assert turn.result() == "in peace"
