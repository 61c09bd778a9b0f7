"""Two sessions at once: one turn at a time in a conversation, nothing locked beside it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from cluster import Database
from kernel.background import Background, wait_until_blocked
from kernel.replies import calls, held, says, tool_call
from kernel.scene import Scene


@pytest.fixture
def other(database: Database) -> Iterator[psycopg.Connection]:
    """A second session."""
    with database.connect() as opened:
        yield opened


def state_of(connection: psycopg.Connection, function: str, *arguments: Any) -> Any:
    """Call a function of aos_agent that returns one value."""
    marks = ", ".join(["%s"] * len(arguments))
    row = connection.execute(f"select aos_agent.{function}({marks})", arguments).fetchone()
    assert row is not None
    return row[0]


def test_a_second_caller_waits_and_gets_the_stored_answer(
    scene: Scene, other: psycopg.Connection, database: Database, in_background: Background
) -> None:
    turn_id = scene.start()
    scene.says(held(says("from the first")))
    first = in_background(scene.run_turn, turn_id)
    scene.play.arrived(1)
    second = in_background(state_of, other, "run_turn", turn_id)
    with database.connect() as observer:
        wait_until_blocked(observer, other.info.backend_pid)
    assert not second.done()
    scene.play.release()
    assert first.result()["answer"] == second.result()["answer"] == "from the first"
    assert len(scene.play.requests()) == 1


def test_a_second_caller_with_nowait_gets_a_clear_error(
    scene: Scene, other: psycopg.Connection, in_background: Background
) -> None:
    turn_id = scene.start()
    scene.says(held(says("from the first")))
    first = in_background(scene.run_turn, turn_id)
    scene.play.arrived(1)
    with pytest.raises(psycopg.Error) as caught:
        state_of(other, "run_turn", turn_id, True)
    assert caught.value.sqlstate == "OS004"
    assert f"turn {turn_id} is driven by somebody else" in str(caught.value)
    assert "without nowait, which waits" in (caught.value.diag.message_hint or "")
    scene.play.release()
    assert first.result()["status"] == "completed"
    assert state_of(other, "run_turn", turn_id, True)["answer"] == "from the first"


@pytest.mark.parametrize(
    ("signal", "sqlstate"), [("pg_cancel_backend", "57014"), ("pg_terminate_backend", "57P01")]
)
def test_a_caller_that_waits_for_the_conversation_can_be_stopped(
    scene: Scene,
    other: psycopg.Connection,
    database: Database,
    in_background: Background,
    signal: str,
    sqlstate: str,
) -> None:
    turn_id = scene.start()
    scene.says(held(says("from the first")))
    first = in_background(scene.run_turn, turn_id)
    scene.play.arrived(1)
    second = in_background(state_of, other, "run_turn", turn_id)
    with database.connect() as observer:
        wait_until_blocked(observer, other.info.backend_pid)
        observer.execute(f"select {signal}(%s)", (other.info.backend_pid,))
    error = second.exception(timeout=2)
    assert isinstance(error, psycopg.Error)
    assert error.sqlstate == sqlstate
    assert not first.done()
    scene.play.release()
    assert first.result()["answer"] == "from the first"
    assert len(scene.play.requests()) == 1


def test_a_second_caller_goes_on_when_the_first_is_rolled_back(
    scene: Scene, other: psycopg.Connection, database: Database, in_background: Background
) -> None:
    turn_id = scene.start()
    scene.says(says("lost"), says("kept"))
    with database.connect() as observer:
        with scene.connection.transaction(force_rollback=True):
            assert scene.run_turn(turn_id)["answer"] == "lost"
            second = in_background(state_of, other, "run_turn", turn_id)
            wait_until_blocked(observer, other.info.backend_pid)
        assert second.result()["answer"] == "kept"
    assert len(scene.play.requests()) == 2


def test_messages_may_be_added_while_a_turn_runs_and_belong_to_the_next(
    scene: Scene, other: psycopg.Connection, in_background: Background
) -> None:
    scene.skill("one() returns int language sql return 1")
    scene.says(held(calls(tool_call("one"))), says("to the first"), says("to the second"))
    turn_id = scene.start("first")
    conversation_id = scene.run()["conversation_id"]
    turn = in_background(scene.run_turn, turn_id)
    scene.play.arrived(1)
    state_of(other, "add_user_message", conversation_id, "second")
    scene.play.release()
    assert turn.result()["answer"] == "to the first"
    assert "second" not in str(scene.play.bodies()[1]["messages"])
    next_turn = scene.value("select aos_agent.start_turn(%s)", conversation_id)
    assert scene.run_turn(next_turn)["answer"] == "to the second"
    assert [m["content"] for m in scene.play.bodies()[2]["messages"] if m["role"] == "user"] == [
        "first",
        "second",
    ]


def test_turns_of_different_conversations_do_not_wait_for_each_other(
    scene: Scene, other: psycopg.Connection, in_background: Background
) -> None:
    """The same agent, also on its very first turn: no row that turns share stays locked."""
    scene.says(held(says("slow")), says("quick"))
    slow = in_background(scene.ask, "slow?")
    scene.play.arrived(1)
    other.execute("set lock_timeout = '20s'")
    assert state_of(other, "ask", scene.name, "quick?") == "quick"
    assert not slow.done()
    scene.play.release()
    assert slow.result() == "slow"


def test_an_operator_may_change_agent_persona_and_model_while_a_turn_runs(
    scene: Scene, other: psycopg.Connection, in_background: Background
) -> None:
    scene.says(held(says("in peace")))
    turn = in_background(scene.ask)
    scene.play.arrived(1)
    other.execute("set lock_timeout = '20s'")
    other.execute("update aos_agent.agent set max_model_calls = 3 where name = %s", (scene.name,))
    other.execute(
        "update aos_persona.persona set rules = '{be brief}' where name = %s", (scene.name,)
    )
    other.execute(
        "update aos_meta.llm_model_registry set input_price = 3 where model_name = %s",
        (scene.name,),
    )
    assert not turn.done()
    scene.play.release()
    assert turn.result() == "in peace"


def test_cancel_turn_stops_a_turn_of_another_session_before_its_next_step(
    scene: Scene, other: psycopg.Connection, in_background: Background
) -> None:
    scene.skill("one() returns int language sql return 1")
    turn_id = scene.start()
    scene.says(held(calls(tool_call("one"))), says("never asked for"))
    turn = in_background(scene.run_turn, turn_id)
    scene.play.arrived(1)
    assert state_of(other, "cancel_turn", turn_id) == {
        "status": "cancel_requested",
        "turn_id": str(turn_id),
    }
    scene.play.release()
    assert turn.result()["status"] == "cancelled"
    assert len(scene.play.requests()) == 1
    assert scene.run()["status"] == "cancelled"
    assert "turn_cancelled" in scene.events()
    # What it did stays recorded, and the conversation goes on.
    assert scene.shape()[0] == "model completed"
    conversation_id = scene.run()["conversation_id"]
    scene.connection.execute("select aos_agent.add_user_message(%s, 'go on')", (conversation_id,))
    scene.says()
    next_turn = scene.value("select aos_agent.start_turn(%s)", conversation_id)
    assert scene.run_turn(next_turn)["answer"] == "never asked for"


def test_cancel_turn_ends_a_turn_that_nobody_drives_at_once(scene: Scene) -> None:
    turn_id = scene.start()
    assert scene.value("select aos_agent.cancel_turn(%s)", turn_id)["status"] == "cancelled"
    assert scene.run_turn(turn_id)["status"] == "cancelled"
    assert scene.value("select aos_agent.cancel_turn(%s)", turn_id)["status"] == "cancelled"
    assert scene.play.requests() == []


def test_a_lock_timeout_of_the_caller_ends_the_wait_for_the_conversation(
    scene: Scene, other: psycopg.Connection, in_background: Background
) -> None:
    turn_id = scene.start()
    scene.says(held(says("done")))
    first = in_background(scene.run_turn, turn_id)
    scene.play.arrived(1)
    other.execute("set lock_timeout = '100ms'")
    with pytest.raises(psycopg.errors.LockNotAvailable):
        state_of(other, "run_turn", turn_id)
    scene.play.release()
    assert first.result()["status"] == "completed"


def test_start_turn_refuses_while_a_turn_is_unfinished_or_nothing_is_new(scene: Scene) -> None:
    turn_id = scene.start()
    conversation_id = scene.run()["conversation_id"]
    with pytest.raises(psycopg.Error) as caught:
        scene.value("select aos_agent.start_turn(%s)", conversation_id)
    assert caught.value.sqlstate == "OS003"
    assert str(turn_id) in (caught.value.diag.message_hint or "")
    scene.says(says("done"))
    scene.run_turn(turn_id)
    with pytest.raises(psycopg.Error, match="no new message") as caught:
        scene.value("select aos_agent.start_turn(%s)", conversation_id)
    assert caught.value.sqlstate == "OS003"


def test_a_second_caller_with_a_snapshot_starts_again_and_calls_no_model(
    scene: Scene, other: psycopg.Connection, database: Database, in_background: Background
) -> None:
    """Its snapshot shows the turn as it was: that must not lead to a second, paid model call."""
    turn_id = scene.start()
    scene.says(held(says("from the first")), says("never asked for"))
    first = in_background(scene.run_turn, turn_id)
    scene.play.arrived(1)
    other.execute("set default_transaction_isolation = 'repeatable read'")
    second = in_background(state_of, other, "run_turn", turn_id)
    with database.connect() as observer:
        wait_until_blocked(observer, other.info.backend_pid)
    scene.play.release()
    assert first.result()["answer"] == "from the first"
    assert isinstance(second.exception(), psycopg.errors.SerializationFailure)
    assert len(scene.play.requests()) == 1
    assert state_of(other, "run_turn", turn_id)["answer"] == "from the first"


def test_cancel_turn_reaches_a_turn_under_repeatable_read(
    scene: Scene, other: psycopg.Connection, in_background: Background
) -> None:
    scene.skill("one() returns int language sql return 1")
    turn_id = scene.start()
    scene.says(held(calls(tool_call("one"))), says("never asked for"))
    scene.connection.execute("set default_transaction_isolation = 'repeatable read'")
    turn = in_background(scene.run_turn, turn_id)
    scene.play.arrived(1)
    state_of(other, "cancel_turn", turn_id)
    scene.play.release()
    assert turn.result()["status"] == "cancelled"
    assert len(scene.play.requests()) == 1


def test_a_message_that_is_added_in_an_older_open_transaction_is_not_lost(
    scene: Scene, other: psycopg.Connection
) -> None:
    """It was written before the turn began, and committed after it: the next turn answers it."""
    scene.says(says("to the first"))
    scene.ask("first")
    conversation_id = scene.run()["conversation_id"]
    with other.transaction():
        state_of(other, "add_user_message", conversation_id, "late")
        scene.says(says("to the second"), says("to the late one"))
        scene.ask("second", conversation_id)
    next_turn = scene.value("select aos_agent.start_turn(%s)", conversation_id)
    assert scene.run_turn(next_turn)["answer"] == "to the late one"
    users = [m["content"] for m in scene.play.bodies()[-1]["messages"] if m["role"] == "user"]
    assert users == ["first", "second", "late"]


def test_two_sessions_cannot_start_two_turns_of_one_conversation(
    scene: Scene, other: psycopg.Connection, database: Database, in_background: Background
) -> None:
    conversation_id = scene.value("select aos_agent.open_conversation(%s)", scene.name)
    scene.value("select aos_agent.add_user_message(%s, 'once')", conversation_id)
    with scene.connection.transaction():
        turn_id = scene.value("select aos_agent.start_turn(%s)", conversation_id)
        second = in_background(state_of, other, "start_turn", conversation_id)
        with database.connect() as observer:
            wait_until_blocked(observer, other.info.backend_pid)
    error = second.exception()
    assert isinstance(error, psycopg.Error)
    assert error.sqlstate == "OS003"
    assert str(turn_id) in str(error)
