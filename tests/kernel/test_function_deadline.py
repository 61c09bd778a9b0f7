"""A tool that is a SQL function and has no end: it is broken off, and the turn goes on."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from cluster import Database
from kernel.background import Background, wait_for
from kernel.drivers import shape, stepwise, submit, work
from kernel.replies import calls, says, tool_call
from kernel.scene import Scene

#: What a model reads then.
BROKEN_OFF = "The tool took longer than 0.2 seconds and was broken off."
DONE = ["model completed", "tool failed", "model completed"]

#: Bodies of functions that write a row and then do not end.
ENDLESS = {
    "sleep": "perform pg_sleep(3600);",
    "loop": "loop null; end loop;",
    # It takes the first signal for itself.
    "caught": "begin perform pg_sleep(3600);"
    " exception when query_canceled then perform pg_sleep(3600); end;",
    # It takes every signal that comes inside of its block.
    "swallowed": "loop begin perform pg_sleep(3600); exception when query_canceled then null; end;"
    " end loop;",
    "swallowed_twice": "loop begin begin loop null; end loop; exception when query_canceled then"
    " null; end; exception when query_canceled then perform 1; end; end loop;",
    "lock": "perform pg_advisory_lock(4711);",
}


@pytest.fixture
def limited(scene: Scene) -> Iterator[Scene]:
    """An agent whose functions have little time, and a table for what they do."""
    scene.connection.execute("create table if not exists public.effect (tool text)")
    scene.connection.execute("grant insert on public.effect to pgagentos_agent")
    scene.connection.execute("truncate public.effect")
    scene.connection.execute(
        "update aos_meta.setting set value = '0.2' where name = 'function_deadline_seconds'"
    )
    yield scene
    scene.connection.execute(
        "update aos_meta.setting set value = '120' where name = 'function_deadline_seconds'"
    )


def endless(scene: Scene, name: str) -> None:
    scene.skill(
        f"{name}() returns text language plpgsql as $$begin"
        f" insert into public.effect values ('{name}'); {ENDLESS[name]} return 'ended'; end$$"
    )


def effects(scene: Scene) -> list[str]:
    return [row["tool"] for row in scene.rows("select tool from public.effect order by tool")]


def timers(pid: int) -> int:
    """How many timers a backend has."""
    return Path(f"/proc/{pid}/timers").read_text().count("ID:")


def select(scene: Scene, session: psycopg.Connection) -> Any:
    turn_id = scene.start()
    session.execute("select aos_agent.run_turn(%s)", (turn_id,))
    return turn_id


def committing(scene: Scene, session: psycopg.Connection) -> Any:
    turn_id = submit(scene)
    stepwise(session, turn_id)
    return turn_id


def working(scene: Scene, session: psycopg.Connection) -> Any:
    turn_id = submit(scene)
    work(session)
    return turn_id


DRIVERS = {"select": select, "stepwise": committing, "work": working}


@pytest.fixture
def session(database: Database) -> Iterator[psycopg.Connection]:
    """The session that drives the turn."""
    with database.connect() as opened:
        yield opened


@pytest.mark.parametrize("drive", DRIVERS.values(), ids=DRIVERS)
@pytest.mark.parametrize("name", ENDLESS)
def test_a_function_that_does_not_end_is_broken_off_and_undone(
    limited: Scene,
    session: psycopg.Connection,
    database: Database,
    name: str,
    drive: Callable[[Scene, psycopg.Connection], Any],
) -> None:
    endless(limited, name)
    limited.says(calls(tool_call(name)), says("It took too long."))
    with database.connect() as other:
        other.execute("select pg_advisory_lock(4711)")
        turn_id = drive(limited, session)
    assert shape(limited, turn_id) == DONE
    assert limited.tool_results() == [BROKEN_OFF]
    assert effects(limited) == []
    assert timers(session.info.backend_pid) == 0
    session.execute("select pg_sleep(0.01)")  # no signal is left for it


def test_a_function_that_ends_in_time_leaves_no_signal(
    limited: Scene, session: psycopg.Connection
) -> None:
    """Whether a function ends a little before its deadline or a little after."""
    limited.connection.execute(
        "update aos_meta.setting set value = '0.005' where name = 'function_deadline_seconds'"
    )
    limited.skill(
        "nap(ms integer) returns text language sql as $$select 'ended' from pg_sleep(ms / 1000.0)$$"
    )
    results = set()
    for number in range(60):
        limited.says(calls(tool_call("nap", {"ms": 2 + number % 5})), says("Well."))
        select(limited, session)
        session.execute("select pg_sleep(0.0001)")
        results.update(limited.tool_results())
    assert results == {"ended", BROKEN_OFF.replace("0.2", "0.005")}
    assert timers(session.info.backend_pid) == 0


def test_other_turns_of_the_worker_go_on(limited: Scene, session: psycopg.Connection) -> None:
    endless(limited, "sleep")
    limited.says(*(calls(tool_call("sleep")) for _ in range(3)), *(says("Well.") for _ in range(3)))
    turns = [submit(limited) for _ in range(3)]
    work(session, 10, 8)
    assert [shape(limited, turn_id) for turn_id in turns] == [DONE] * 3


def test_a_turn_that_is_driven_from_outside_has_the_same_limit(limited: Scene) -> None:
    endless(limited, "sleep")
    limited.set_agent("runner", "external")
    turn_id = limited.start()
    call = limited.value("select aos_agent.process_tool_call(%s, 'sleep', '{}', 'c1')", turn_id)
    assert (call["status"], call["result"]) == ("failed", BROKEN_OFF)
    assert effects(limited) == []


def test_a_worker_outside_that_records_a_reply_is_not_held_up(limited: Scene) -> None:
    endless(limited, "sleep")
    limited.set_agent("runner", "external")
    turn_id = limited.start()
    reply = {"tool_calls": [{"call_id": "c1", "name": "sleep", "arguments": {}}]}
    limited.value("select aos_agent.record_model_reply(%s, %s::jsonb)", turn_id, json.dumps(reply))
    assert shape(limited, turn_id) == ["model completed", "tool failed"]
    assert limited.steps(turn_id)[1]["message"]["content"] == BROKEN_OFF
    assert effects(limited) == []


def test_a_result_is_committed_before_the_next_slow_tool_runs(
    limited: Scene, session: psycopg.Connection, in_background: Background
) -> None:
    """Or many slow tools, one after the other, would outlast the lease of them all."""
    limited.connection.execute(
        "update aos_meta.setting set value = '300' where name = 'function_deadline_seconds'"
    )
    limited.connection.execute("create sequence public.calls_made")
    limited.connection.execute("grant usage on sequence public.calls_made to pgagentos_agent")
    limited.skill(
        "slow() returns text language plpgsql as $$begin perform pg_sleep(1.1);"
        " if nextval('public.calls_made') > 1 then perform pg_advisory_xact_lock(4712); end if;"
        " return 'slow'; end$$",
        approval="ask",
    )
    limited.says(*[calls(tool_call("slow"))] * 2, *[says("Well.")] * 2)
    turns = [submit(limited) for _ in range(2)]
    for turn_id in turns:
        stepwise(session, turn_id)
    with limited.connection.transaction():  # so that a worker claims them together
        limited.rows(
            "select aos_agent.approve_tool_call(step_id) from aos_agent.pending_approval"
            " where turn_id = any (%s)",
            turns,
        )
    limited.connection.execute("select pg_advisory_lock(4712)")
    working = in_background(work, session, 5)
    wait_for(
        limited.connection,
        "wait_event = 'advisory' from pg_stat_activity where pid = %s",
        session.info.backend_pid,
    )
    assert sorted(shape(limited, turn_id)[1] for turn_id in turns) == [
        "tool approved",
        "tool completed",
    ]
    limited.connection.execute("select pg_advisory_unlock(4712)")
    working.result()
    assert [shape(limited, turn_id)[1] for turn_id in turns] == ["tool completed"] * 2
    limited.connection.execute("drop sequence public.calls_made")


def test_no_function_runs_without_a_timer(limited: Scene, session: psycopg.Connection) -> None:
    """Where the system refuses one, the model is told."""
    limited.skill("one() returns int language sql return 1")
    limited.says(calls(tool_call("one")), says("Well."))
    session.execute(
        "do language plpython3u"
        " $$import resource; resource.setrlimit(resource.RLIMIT_SIGPENDING, (0, 0))$$"
    )
    turn_id = select(limited, session)
    assert shape(limited, turn_id) == DONE
    assert "this server gets no timer from its system" in limited.tool_results()[0]


@pytest.mark.parametrize("end", ["pg_cancel_backend", "pg_terminate_backend"])
def test_who_cancels_or_ends_the_session_is_obeyed(
    scene: Scene,
    session: psycopg.Connection,
    in_background: Background,
    end: str,
    connection: psycopg.Connection,
) -> None:
    scene.connection.execute("create table if not exists public.effect (tool text)")
    scene.connection.execute("grant insert on public.effect to pgagentos_agent")
    endless(scene, "sleep")
    scene.says(calls(tool_call("sleep")))
    pid = session.info.backend_pid
    turn_id = scene.start()
    running = in_background(session.execute, "select aos_agent.run_turn(%s)", (turn_id,))
    wait_for(
        connection,
        "exists (select from pg_stat_activity where pid = %s and wait_event = 'PgSleep')",
        pid,
    )
    scene.connection.execute(f"select {end}(%s)", (pid,))
    error = running.exception()
    assert isinstance(error, psycopg.Error)
    if end == "pg_cancel_backend":
        assert error.sqlstate == "57014"
        assert timers(pid) == 0
    else:
        assert session.broken
    assert shape(scene, turn_id) == []


def test_statement_timeout_is_none_of_the_tools_deadlines(
    limited: Scene, session: psycopg.Connection
) -> None:
    endless(limited, "sleep")
    limited.says(calls(tool_call("sleep")), says("It took too long."))
    turn_id = limited.start()
    session.execute("set statement_timeout = '100ms'")
    with pytest.raises(psycopg.errors.QueryCanceled, match="statement timeout"):
        session.execute("select aos_agent.run_turn(%s)", (turn_id,))
    assert shape(limited, turn_id) == []
