"""``CALL aos_agent.run_turn_stepwise``: a turn that is committed step by step."""

from __future__ import annotations

import time
from collections.abc import Iterator

import psycopg
import pytest

from cluster import Database
from kernel.background import Background, wait_until_blocked
from kernel.drivers import advisory_locks, held_open, own_state, shape, status, stepwise, submit
from kernel.replies import calls, fails, held, says, tool_call
from kernel.scene import Scene

HOW = "CALL it alone"


@pytest.fixture
def session(database: Database) -> Iterator[psycopg.Connection]:
    """The session that drives the turn; the scene's own looks on."""
    with database.connect() as opened:
        yield opened


@pytest.fixture
def other(database: Database) -> Iterator[psycopg.Connection]:
    """One more session."""
    with database.connect() as opened:
        yield opened


# --- what others see, and when --------------------------------------------------------------------


def test_each_step_is_seen_by_others_when_it_is_done(
    scene: Scene, session: psycopg.Connection, in_background: Background
) -> None:
    scene.skill("one() returns int language sql return 1")
    scene.says(held(calls(tool_call("one"))), held(says("done")))
    turn_id = scene.start()
    turn = in_background(stepwise, session, turn_id)
    scene.play.arrived(1)
    assert shape(scene, turn_id) == ["model running"]
    assert status(scene, turn_id) == "running"
    scene.play.release()
    scene.play.arrived(2)
    assert shape(scene, turn_id) == ["model completed", "tool completed", "model running"]
    scene.play.release()
    assert turn.result() == scene.run_turn(turn_id)
    assert turn.result()["answer"] == "done"
    assert shape(scene, turn_id) == ["model completed", "tool completed", "model completed"]
    assert scene.rows("select from aos_core.queue where run_id = %s", turn_id) == []


def test_nothing_is_held_open_while_the_model_thinks(
    scene: Scene, session: psycopg.Connection, in_background: Background
) -> None:
    pid = session.info.backend_pid
    scene.skill("one() returns int language sql return 1")
    scene.says(held(calls(tool_call("one"))), held(says("done")))
    turn = in_background(stepwise, session, scene.start())
    for request in (1, 2):
        scene.play.arrived(request)
        seen = []
        for _ in range(30):
            # Housekeeping lets the server act on its flags, in a statement of its own.
            scene.connection.execute("select pg_log_backend_memory_contexts(%s)", (pid,))
            time.sleep(0.02)
            seen.append(held_open(scene.connection, pid))
        # Ten times a second it looks, for a moment, whether the turn was cancelled.
        assert seen.count((None, None)) > len(seen) / 2
        scene.play.release()
    assert turn.result()["status"] == "completed"


def test_rows_that_die_while_the_model_thinks_can_be_vacuumed(
    scene: Scene, session: psycopg.Connection, in_background: Background
) -> None:
    scene.connection.execute("create table public.dying (n int)")
    scene.connection.execute("insert into public.dying select generate_series(1, 1000)")
    scene.says(held(says("done")))
    turn = in_background(stepwise, session, scene.start())
    scene.play.arrived(1)
    scene.connection.execute("delete from public.dying")
    # Pages with dead rows that somebody could still see would stay; a look lasts a moment.
    for _ in range(20):
        scene.connection.execute("vacuum public.dying")
        if scene.value("select pg_relation_size('public.dying')") == 0:
            break
    else:
        pytest.fail("dead rows cannot be vacuumed while the model thinks")
    scene.play.release()
    assert turn.result()["status"] == "completed"


def test_who_listens_is_told_of_each_commit(
    scene: Scene, session: psycopg.Connection, database: Database
) -> None:
    scene.skill("one() returns int language sql return 1")
    scene.says(calls(tool_call("one")), says("done"))
    turn_id = scene.start()
    conversation_id = scene.run()["conversation_id"]
    with database.connect() as listener:
        listener.execute(f"listen pgagentos_{conversation_id.hex}")
        stepwise(session, turn_id)
        told = list(listener.notifies(timeout=30, stop_after=4))
    # Each model call, the call of the tool and the end.
    assert [n.payload.count(str(turn_id)) for n in told] == [1, 1, 1, 1]
    assert '"status" : "completed"' in told[-1].payload


# --- whose rights ---------------------------------------------------------------------------------


def test_rights_and_search_path_of_the_caller_are_as_before(
    scene: Scene, session: psycopg.Connection
) -> None:
    session.execute("create schema if not exists mine")
    session.execute("set search_path = mine, public")
    before = own_state(session)
    scene.skill("fails() returns int language sql return 1 / 0")
    scene.says(calls(tool_call("fails")), says("done"))
    assert stepwise(session, scene.start())["status"] == "completed"
    assert own_state(session) == before
    scene.says(fails(400))
    assert stepwise(session, scene.start())["status"] == "failed"
    assert own_state(session) == before
    with pytest.raises(psycopg.Error) as caught:
        stepwise(session, "00000000-0000-7000-8000-000000000000")
    assert caught.value.sqlstate == "OS002"
    assert own_state(session) == before
    assert advisory_locks(scene.connection, session.info.backend_pid) == 0


def test_rights_and_locks_of_the_caller_are_as_before_after_a_cancel(
    scene: Scene, session: psycopg.Connection, in_background: Background
) -> None:
    session.execute("set search_path = public")
    before = own_state(session)
    scene.says(held(says("lost")), says("done"))
    turn_id = scene.start()
    turn = in_background(stepwise, session, turn_id)
    scene.play.arrived(1)
    scene.connection.execute("select pg_cancel_backend(%s)", (session.info.backend_pid,))
    error = turn.exception()
    assert isinstance(error, psycopg.errors.QueryCanceled)
    assert own_state(session) == before
    assert advisory_locks(scene.connection, session.info.backend_pid) == 0
    # What was committed stays, and the same session may go on.
    assert shape(scene, turn_id) == ["model running"]
    scene.play.release()
    assert stepwise(session, turn_id)["answer"] == "done"
    [step] = scene.steps(turn_id)
    assert (step["status"], step["attempts"]) == ("completed", 1)


def test_a_tool_has_the_rights_of_the_agents_role_also_right_after_a_commit(
    scene: Scene, session: psycopg.Connection
) -> None:
    scene.skill(
        "whoami() returns text language sql stable return current_user || ' ' || session_user"
        " || ' ' || current_setting('search_path')"
    )
    # Two calls of one reply: a commit lies before each of them.
    scene.says(calls(tool_call("whoami"), tool_call("whoami")), says("done"))
    stepwise(session, scene.start())
    assert set(scene.tool_results()) == {"pgagentos_agent postgres pg_catalog, pg_temp"}
    assert len(scene.tool_results()) == 2


def test_a_tool_cannot_read_what_only_the_kernel_may(
    scene: Scene, session: psycopg.Connection
) -> None:
    scene.skill("peek() returns bigint language sql return (select count(*) from aos_core.queue)")
    scene.says(calls(tool_call("peek"), tool_call("peek")), says("done"))
    stepwise(session, scene.start())
    assert [r.split(":")[0] for r in scene.tool_results()] == ["42501", "42501"]


# --- tools ----------------------------------------------------------------------------------------


def test_a_tool_and_its_record_are_one_transaction(
    scene: Scene, session: psycopg.Connection
) -> None:
    table = f"made_{scene.name}"
    scene.connection.execute(f"create table public.{table} (n bigint)")
    scene.connection.execute(f"grant insert on public.{table} to pgagentos_agent")
    scene.skill(f"make() returns void language sql begin atomic"
                f" insert into public.{table} values (txid_current()); end")  # fmt: skip
    scene.says(calls(tool_call("make"), tool_call("make")), says("done"))
    turn_id = scene.start()
    stepwise(session, turn_id)
    made = [row["n"] for row in scene.rows(f"select n from public.{table} order by n")]
    assert len(set(made)) == 2, "each call is committed by itself"
    # The row of a step holds the transaction that closed it, or a subtransaction of that one: both
    # lie between the beginnings of the two transactions.
    closed = scene.rows(
        "select xmin::text::bigint as n from aos_core.step where run_id = %s and kind = 'tool'"
        " order by step_no",
        turn_id,
    )
    assert made[0] < closed[0]["n"] < made[1] < closed[1]["n"]


def test_a_tool_that_fails_is_undone_and_the_turn_goes_on(
    scene: Scene, session: psycopg.Connection
) -> None:
    table = f"made_{scene.name}"
    scene.connection.execute(f"create table public.{table} (n int check (n > 0))")
    scene.connection.execute(f"grant insert on public.{table} to pgagentos_agent")
    scene.skill(f"make(n int) returns void language sql begin atomic insert into public.{table}"
                f" values (1); insert into public.{table} values (n); end")  # fmt: skip
    scene.says(calls(tool_call("make", {"n": -1}), tool_call("make", {"n": 2})), says("done"))
    turn_id = scene.start()
    assert stepwise(session, turn_id)["status"] == "completed"
    assert shape(scene, turn_id)[1:3] == ["tool failed", "tool completed"]
    assert [r["n"] for r in scene.rows(f"select n from public.{table}")] == [1, 2]


def test_a_tool_cannot_put_anything_off_to_the_commit(
    scene: Scene, session: psycopg.Connection
) -> None:
    """Whatever fails at a commit would take the steps of others with it."""
    table = f"late_{scene.name}"
    scene.connection.execute(
        f"create table public.{table} (n int unique deferrable initially deferred)"
    )
    scene.connection.execute(f"grant insert on public.{table} to pgagentos_agent")
    scene.skill(f"make() returns void language sql begin atomic"
                f" insert into public.{table} values (1), (1); end")  # fmt: skip
    scene.says(calls(tool_call("make")), says("done"))
    turn_id = scene.start()
    assert stepwise(session, turn_id)["status"] == "completed"
    assert shape(scene, turn_id)[1] == "tool failed"
    assert scene.rows(f"select from public.{table}") == []


def test_a_turn_that_waits_for_a_person_is_left_and_taken_up_again(
    scene: Scene, session: psycopg.Connection
) -> None:
    scene.skill("one() returns int language sql return 1", approval="ask")
    scene.says(calls(tool_call("one")), says("done"))
    turn_id = scene.start()
    assert stepwise(session, turn_id)["status"] == "awaiting_approval"
    assert stepwise(session, turn_id)["status"] == "awaiting_approval"
    step_id = scene.steps(turn_id)[1]["step_id"]
    scene.value("select aos_agent.approve_tool_call(%s)", step_id)
    assert stepwise(session, turn_id)["answer"] == "done"
    assert advisory_locks(scene.connection, session.info.backend_pid) == 0


def test_a_provider_that_fails_ends_the_turn(scene: Scene, session: psycopg.Connection) -> None:
    scene.says(fails(400, "no such thing"))
    turn_id = scene.start()
    state = stepwise(session, turn_id)
    assert (state["status"], state["error"]["kind"]) == ("failed", "invalid_request")
    assert shape(scene, turn_id) == ["model failed"]


def test_a_tool_may_ask_another_agent(scene: Scene, session: psycopg.Connection) -> None:
    scene.let_tools_ask()
    scene.skill(
        f"consult() returns text language sql return aos_agent.ask('{scene.name}', 'inner')"
    )
    scene.says(calls(tool_call("consult")), says("from inside"), says("from outside"))
    before = own_state(session)
    assert stepwise(session, scene.start())["answer"] == "from outside"
    assert scene.tool_results() == ["from inside"]
    assert own_state(session) == before


@pytest.mark.parametrize(("statement", "type"), [
    ("run_turn_stepwise('{turn}', state => v)", "jsonb"), ("work(1, 1, v)", "int"),
])  # fmt: skip
def test_a_tool_cannot_commit(
    scene: Scene, session: psycopg.Connection, statement: str, type: str
) -> None:
    inner = scene.start("inner")
    scene.connection.execute("grant usage on schema aos_agent to pgagentos_agent")
    scene.connection.execute(
        "grant execute on all procedures in schema aos_agent to pgagentos_agent"
    )
    scene.skill(
        "commits() returns void language plpgsql"
        f" as $$ declare v {type}; begin call aos_agent.{statement.format(turn=inner)}; end $$"
    )
    scene.says(calls(tool_call("commits")), says("done"))
    turn_id = scene.start()
    assert stepwise(session, turn_id)["answer"] == "done"
    [result] = scene.tool_results()
    assert result.startswith("OS001: ")
    assert shape(scene, turn_id)[1] == "tool failed"
    assert status(scene, inner) == "queued"


# --- where it cannot be called --------------------------------------------------------------------


@pytest.mark.parametrize(("call", "out", "type"), [
    ("run_turn_stepwise('{turn}'", "state", "jsonb"), ("work(1, 1", "turns", "int"),
])  # fmt: skip
@pytest.mark.parametrize(
    "text",
    [
        "begin; call aos_agent.{call}); commit",
        "select 1; call aos_agent.{call})",
        "do $$ declare v {type}; begin call aos_agent.{call}, {out} => v);"
        " exception when division_by_zero then null; end $$",
    ],
)
def test_where_nothing_can_be_committed_the_error_says_how_to_call_it(
    scene: Scene, session: psycopg.Connection, text: str, call: str, out: str, type: str
) -> None:
    turn_id = scene.start()
    with pytest.raises(psycopg.Error) as caught:
        session.execute(text.format(call=call.format(turn=turn_id), out=out, type=type))
    assert caught.value.sqlstate == "OS001"
    assert HOW in (caught.value.diag.message_hint or "")
    session.rollback()
    assert status(scene, turn_id) == "queued"
    assert scene.play.requests() == []


def test_a_function_cannot_call_it(scene: Scene, session: psycopg.Connection) -> None:
    turn_id = scene.start()
    session.execute(
        "create function pg_temp.f() returns void language plpgsql"
        " as $$ declare v jsonb; begin"
        f" call aos_agent.run_turn_stepwise('{turn_id}', state => v); end $$"
    )
    with pytest.raises(psycopg.Error) as caught:
        session.execute("select pg_temp.f()")
    assert caught.value.sqlstate == "OS001"
    assert HOW in (caught.value.diag.message_hint or "")


def test_it_may_be_called_in_a_block_that_may_commit(
    scene: Scene, session: psycopg.Connection
) -> None:
    scene.says(says("done"))
    turn_id = scene.start()
    session.execute(
        "do $$ declare s jsonb; begin"
        f" call aos_agent.run_turn_stepwise('{turn_id}', state => s);"
        " if s ->> 'answer' <> 'done' then raise 'another answer'; end if; end $$"
    )
    assert status(scene, turn_id) == "completed"


@pytest.mark.parametrize("level", ["repeatable read", "serializable"])
@pytest.mark.parametrize("call", ["run_turn_stepwise('{turn}')", "work(1, 1)"])
def test_a_stricter_isolation_level_is_refused(
    scene: Scene, session: psycopg.Connection, level: str, call: str
) -> None:
    turn_id = scene.start()
    session.execute(f"set default_transaction_isolation = '{level}'")
    with pytest.raises(psycopg.Error) as caught:
        session.execute(f"call aos_agent.{call.format(turn=turn_id)}")
    assert caught.value.sqlstate == "OS001"
    assert "read committed" in (caught.value.diag.message_primary or "")
    assert caught.value.diag.message_hint
    session.execute("set default_transaction_isolation = 'read committed'")
    scene.says(says("done"))
    assert stepwise(session, turn_id)["answer"] == "done"


def test_statement_timeout_counts_from_the_call_on(
    scene: Scene, session: psycopg.Connection
) -> None:
    scene.says(held(says("late")))
    turn_id = scene.start()
    session.execute("set statement_timeout = '400ms'")
    with pytest.raises(psycopg.errors.QueryCanceled, match="statement timeout"):
        stepwise(session, turn_id)
    session.execute("reset statement_timeout")
    assert shape(scene, turn_id) == ["model running"]
    assert advisory_locks(scene.connection, session.info.backend_pid) == 0
    scene.play.release()


# --- two at once ----------------------------------------------------------------------------------


def test_a_second_session_waits_for_the_first_and_gets_its_answer(
    scene: Scene,
    session: psycopg.Connection,
    other: psycopg.Connection,
    in_background: Background,
) -> None:
    scene.says(held(says("once")))
    turn_id = scene.start()
    first = in_background(stepwise, session, turn_id)
    scene.play.arrived(1)
    second = in_background(stepwise, other, turn_id)
    wait_until_blocked(scene.connection, other.info.backend_pid)
    scene.play.release()
    assert first.result() == second.result()
    assert len(scene.play.requests()) == 1
    assert advisory_locks(scene.connection, other.info.backend_pid) == 0


@pytest.mark.parametrize("statement", [
    "call aos_agent.run_turn_stepwise(%s, true)", "select aos_agent.run_turn(%s, true)",
])  # fmt: skip
def test_nowait_is_an_error_at_once(
    scene: Scene,
    session: psycopg.Connection,
    other: psycopg.Connection,
    in_background: Background,
    statement: str,
) -> None:
    scene.says(held(says("once")))
    turn_id = scene.start()
    first = in_background(stepwise, session, turn_id)
    scene.play.arrived(1)
    with pytest.raises(psycopg.Error) as caught:
        other.execute(statement, (turn_id,))
    assert caught.value.sqlstate == "OS004"
    assert caught.value.diag.message_hint
    scene.play.release()
    assert first.result()["answer"] == "once"


def test_select_waits_for_the_turn_that_is_driven_stepwise(
    scene: Scene,
    session: psycopg.Connection,
    other: psycopg.Connection,
    in_background: Background,
) -> None:
    scene.says(held(says("once")))
    turn_id = scene.start()
    first = in_background(stepwise, session, turn_id)
    scene.play.arrived(1)
    second = in_background(
        lambda: other.execute("select aos_agent.run_turn(%s)", (turn_id,)).fetchone()
    )
    wait_until_blocked(scene.connection, other.info.backend_pid)
    scene.play.release()
    assert second.result() == (first.result(),)
    assert len(scene.play.requests()) == 1


def test_stepwise_waits_for_the_turn_that_is_driven_by_select(
    scene: Scene, other: psycopg.Connection, database: Database, in_background: Background
) -> None:
    scene.says(held(says("once")))
    turn_id = scene.start()
    first = in_background(scene.run_turn, turn_id)
    scene.play.arrived(1)
    with database.connect() as observer:
        with pytest.raises(psycopg.Error) as caught:
            stepwise(observer, turn_id, nowait=True)
        assert caught.value.sqlstate == "OS004"
        second = in_background(stepwise, other, turn_id)
        wait_until_blocked(observer, other.info.backend_pid)
    scene.play.release()
    assert first.result() == second.result()
    assert len(scene.play.requests()) == 1


@pytest.mark.parametrize("by", ["select", "stepwise"])
def test_the_turn_of_a_driver_that_was_killed_is_taken_over(
    scene: Scene,
    session: psycopg.Connection,
    other: psycopg.Connection,
    in_background: Background,
    by: str,
) -> None:
    scene.skill("one() returns int language sql return 1")
    scene.says(calls(tool_call("one")), held(says("lost")), says("done"))
    turn_id = scene.start()
    first = in_background(stepwise, session, turn_id)
    scene.play.arrived(2)
    second = in_background(
        stepwise if by == "stepwise" else lambda s, t: s.execute(
            "select aos_agent.run_turn(%s)", (t,)).fetchone()[0],
        other, turn_id,
    )  # fmt: skip
    wait_until_blocked(scene.connection, other.info.backend_pid)
    scene.connection.execute("select pg_terminate_backend(%s)", (session.info.backend_pid,))
    assert isinstance(first.exception(), psycopg.Error)
    scene.play.arrived(3)
    assert second.result()["answer"] == "done"
    assert shape(scene, turn_id) == ["model completed", "tool completed", "model completed"]
    # The call that was lost is made again under the same key.
    keys = [r.headers["idempotency-key"] for r in scene.play.requests()]
    assert keys == [f"{turn_id}-1", f"{turn_id}-3", f"{turn_id}-3"]
    assert scene.rows("select from aos_core.queue where run_id = %s", turn_id) == []
    scene.play.release()


def test_it_drives_a_turn_of_the_queue_too(scene: Scene, session: psycopg.Connection) -> None:
    scene.says(says("done"))
    turn_id = submit(scene)
    assert stepwise(session, turn_id)["answer"] == "done"
    assert scene.rows("select from aos_core.queue where run_id = %s", turn_id) == []


def test_a_turn_that_is_over_gives_its_answer(scene: Scene, session: psycopg.Connection) -> None:
    scene.says(says("done"))
    turn_id = scene.start()
    scene.run_turn(turn_id)
    assert stepwise(session, turn_id)["answer"] == "done"
    assert len(scene.play.requests()) == 1
