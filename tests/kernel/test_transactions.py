"""A turn is part of the caller's transaction; a tool call has a savepoint of its own."""

from __future__ import annotations

import psycopg
import pytest

from cluster import Database
from kernel.replies import calls, fails, says, tool_call
from kernel.scene import Scene

WRITE = (
    "write(word text) returns text language sql begin atomic"
    " insert into public.written (word) values (word) returning word; end"
)
WRITE_AND_FAIL = (
    "write_and_fail(word text) returns text language plpgsql as $$begin"
    " insert into public.written (word) values (word); raise exception 'no, not %', word; end$$"
)


@pytest.fixture
def written(connection: psycopg.Connection) -> None:
    """A table that tools write to."""
    connection.execute("drop table if exists public.written cascade")
    connection.execute("create table public.written (word text primary key)")
    connection.execute("grant select, insert, update on public.written to pgagentos_agent")


def words(connection: psycopg.Connection) -> list[str]:
    """What was written."""
    found = connection.execute("select word from public.written order by word").fetchall()
    return [row[0] for row in found]


@pytest.mark.usefixtures("written")
def test_a_failing_tool_loses_its_own_writes_and_nothing_else(scene: Scene) -> None:
    scene.skill(WRITE)
    scene.skill(WRITE_AND_FAIL)
    scene.says(
        calls(
            tool_call("write", {"word": "before"}),
            tool_call("write_and_fail", {"word": "lost"}),
            tool_call("write", {"word": "beside"}),
        ),
        calls(tool_call("write", {"word": "after"})),
        says("done"),
    )
    with scene.connection.transaction():
        scene.connection.execute("insert into public.written values ('caller')")
        assert scene.ask() == "done"
    assert words(scene.connection) == ["after", "before", "beside", "caller"]
    assert scene.tool_results(1) == ["before", "P0001: no, not lost", "beside"]


@pytest.mark.usefixtures("written")
def test_a_tool_that_breaks_a_constraint_leaves_the_transaction_usable(scene: Scene) -> None:
    scene.skill(WRITE)
    again = tool_call("write", {"word": "twice"})
    scene.says(calls(tool_call("write", {"word": "twice"})), calls(again), says("once is enough"))
    assert scene.ask() == "once is enough"
    assert scene.tool_results()[1].startswith("23505: ")
    assert words(scene.connection) == ["twice"]


@pytest.mark.usefixtures("written")
def test_a_failed_turn_keeps_what_its_tools_and_its_caller_wrote(scene: Scene) -> None:
    scene.skill(WRITE)
    scene.says(calls(tool_call("write", {"word": "tool"})), fails(401))
    with scene.connection.transaction():
        scene.connection.execute("insert into public.written values ('caller')")
        assert scene.ask() is None
        scene.connection.execute("insert into public.written values ('later')")
    assert words(scene.connection) == ["caller", "later", "tool"]
    assert scene.run()["status"] == "failed"


@pytest.mark.usefixtures("written")
def test_a_rollback_of_the_caller_leaves_nothing(scene: Scene) -> None:
    scene.skill(WRITE)
    scene.says(calls(tool_call("write", {"word": "gone"})), says("done"))
    with scene.connection.transaction(force_rollback=True):
        assert scene.ask() == "done"
        assert words(scene.connection) == ["gone"]
    assert words(scene.connection) == []
    events = "(select * from aos_core.event_log where chain_id <> tenant_id) as e"
    for table in ("aos_core.run", "aos_core.step", events, "aos_agent.conversation"):
        assert (
            scene.value(f"select count(*) from {table} where tenant_id = %s", scene.tenant_id) == 0
        )


@pytest.mark.usefixtures("written")
def test_a_turn_that_was_rolled_back_can_be_run_again(scene: Scene) -> None:
    scene.skill(WRITE)
    turn_id = scene.start()
    for _ in range(2):
        scene.says(calls(tool_call("write", {"word": "once"})), says("done"))
    with scene.connection.transaction(force_rollback=True):
        assert scene.run_turn(turn_id)["status"] == "completed"
    assert scene.run()["status"] == "queued"
    assert scene.run_turn(turn_id)["answer"] == "done"
    assert words(scene.connection) == ["once"]
    assert scene.run()["model_calls"] == 2


def test_a_savepoint_of_the_caller_can_undo_a_turn(scene: Scene) -> None:
    scene.says(says("undone"), says("kept"))
    with scene.connection.transaction():
        with scene.connection.transaction(force_rollback=True):
            assert scene.ask() == "undone"
        assert scene.ask() == "kept"
    answers = scene.rows("select content from aos_core.steps where tenant_id = %s", scene.tenant_id)
    assert answers == [{"content": "kept"}]


def test_a_finished_turn_returns_its_answer_and_calls_no_model(scene: Scene) -> None:
    scene.says(says("only once"))
    turn_id = scene.start()
    first = scene.run_turn(turn_id)
    assert scene.run_turn(turn_id) == first
    assert first["answer"] == "only once"
    assert len(scene.play.requests()) == 1


@pytest.mark.usefixtures("written")
def test_a_tool_sees_what_the_caller_has_not_committed_yet(scene: Scene) -> None:
    scene.skill(
        "list_words() returns setof text stable language sql begin atomic"
        " select word from public.written order by word; end"
    )
    scene.skill(WRITE)
    scene.says(
        calls(tool_call("write", {"word": "b"})), calls(tool_call("list_words")), says("seen")
    )
    with scene.connection.transaction():
        scene.connection.execute("insert into public.written values ('a')")
        assert scene.ask() == "seen"
    assert scene.tool_results()[-1].replace(" ", "") == '["a","b"]'


@pytest.mark.usefixtures("written")
@pytest.mark.parametrize("sqlstate", ["40001", "40P01"])
def test_a_serialization_failure_in_a_tool_reaches_the_caller(scene: Scene, sqlstate: str) -> None:
    scene.skill(
        f"collide() returns int language plpgsql as $$begin"
        f" raise exception 'start again' using errcode = '{sqlstate}'; end$$"
    )
    scene.says(calls(tool_call("collide")), says("never asked for"))
    with pytest.raises(psycopg.Error) as caught:
        scene.ask()
    assert caught.value.sqlstate == sqlstate
    assert len(scene.play.requests()) == 1
    assert (
        scene.value("select count(*) from aos_core.run where tenant_id = %s", scene.tenant_id) == 0
    )


@pytest.mark.usefixtures("written")
def test_a_real_conflict_of_repeatable_read_reaches_the_caller(
    scene: Scene, database: Database
) -> None:
    scene.connection.execute("insert into public.written values ('contested')")
    scene.skill(
        "change() returns void language sql begin atomic"
        " update public.written set word = word || '!'; end"
    )
    scene.says(calls(tool_call("change")), says("never asked for"))
    scene.connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
    with scene.connection.transaction(force_rollback=True):
        scene.connection.execute("select 1")
        with database.connect() as other:
            other.execute("update public.written set word = 'theirs'")
        with pytest.raises(psycopg.errors.SerializationFailure):
            scene.ask()
    assert words(scene.connection) == ["theirs"]


@pytest.mark.usefixtures("written")
@pytest.mark.parametrize(
    "level", [psycopg.IsolationLevel.REPEATABLE_READ, psycopg.IsolationLevel.SERIALIZABLE]
)
def test_a_turn_runs_at_every_isolation_level(scene: Scene, level: psycopg.IsolationLevel) -> None:
    scene.skill(WRITE)
    scene.says(calls(tool_call("write", {"word": "isolated"})), says("done"))
    scene.connection.isolation_level = level
    with scene.connection.transaction():
        assert scene.ask() == "done"
    assert words(scene.connection) == ["isolated"]
    assert scene.shape() == ["model completed", "tool completed", "model completed"]


def test_a_read_only_transaction_is_told_so_before_a_model_is_called(scene: Scene) -> None:
    scene.connection.read_only = True
    with pytest.raises(psycopg.errors.ReadOnlySqlTransaction), scene.connection.transaction():
        scene.ask()
    assert scene.play.requests() == []


def test_a_tool_cannot_end_the_transaction(scene: Scene) -> None:
    scene.skill("finish() returns void language plpgsql as $$begin commit; end$$")
    scene.says(calls(tool_call("finish")), says("I cannot."))
    assert scene.ask() == "I cannot."
    assert scene.tool_results()[0].startswith("2D000: ")


def test_an_agent_may_ask_another_agent(scene: Scene) -> None:
    scene.let_tools_ask()
    scene.skill(
        "ask_other(question text) returns text volatile language sql"
        f" return aos_agent.ask('{scene.name}', question)"
    )
    scene.says(
        calls(tool_call("ask_other", {"question": "inner"})), says("inner answer"), says("outer")
    )
    assert scene.ask("outer question") == "outer"
    assert scene.tool_results() == ["inner answer"]
    assert scene.value(
        "select array_agg(status::text) from aos_core.run where tenant_id = %s", scene.tenant_id
    ) == ["completed", "completed"]


def test_a_turn_takes_few_transaction_ids(scene: Scene) -> None:
    scene.skill("one() returns int language sql return 1")
    scene.says(*(calls(*(tool_call("one") for _ in range(10))) for _ in range(5)), says("done"))
    with scene.connection.transaction():
        before = scene.value("select pg_current_xact_id()::text::bigint")
        assert scene.ask() == "done"
    after = scene.value("select pg_current_xact_id()::text::bigint")
    # Past 64 in one transaction every snapshot of the server gets slow.
    assert after - before < 64
