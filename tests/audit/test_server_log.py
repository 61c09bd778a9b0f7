"""What a turn has cost is in the server's log, whatever becomes of its transaction."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import psycopg
import pytest

from audit.conftest import Lines
from cluster import Database
from kernel.background import Background
from kernel.replies import calls, fails, says, tool_call
from kernel.scene import Scene
from servers.play_server import Answer

WORDS = "the word of a person 한글"


def driven(lines: Lines, scene: Scene, count: int = 1) -> list[dict[str, Any]]:
    """The lines about turns of this scene; a session that was ended may still be writing."""
    deadline = time.monotonic() + 10
    while True:
        found = [
            line
            for line in lines()
            if line["event"] == "turn_driven" and line["tenant_id"] == scene.tenant_id
        ]
        if len(found) >= count or time.monotonic() > deadline:
            return found
        time.sleep(0.05)


def two_replies(scene: Scene, last: Answer) -> None:
    """A reply that calls a tool, and then this."""
    scene.skill("one() returns int language sql return 1")
    scene.says(calls(tool_call("one")), last)


def test_a_turn_that_is_rolled_back_leaves_a_line_with_its_cost(scene: Scene, lines: Lines) -> None:
    two_replies(scene, says("done"))
    with scene.connection.transaction(force_rollback=True):
        assert scene.ask(WORDS) == "done"
        run = scene.run()
        agent_id = scene.value(
            "select agent_id::text from aos_agent.agent where tenant_id = %s", scene.tenant_id
        )
    assert scene.rows("select from aos_core.run where tenant_id = %s", scene.tenant_id) == []
    [line] = driven(lines, scene)
    assert float(run["cost"]) > 0
    assert line == {
        "source": "pgagentos",
        "event": "turn_driven",
        "tenant_id": scene.tenant_id,
        "agent_id": agent_id,
        "conversation_id": str(run["conversation_id"]),
        "turn_id": str(run["run_id"]),
        "status": "completed",
        "model_calls": 2,
        "input_tokens": run["input_tokens"],
        "cached_tokens": run["cached_tokens"],
        "output_tokens": run["output_tokens"],
        "cost": float(run["cost"]),
    }


@pytest.mark.parametrize("end", ["pg_cancel_backend", "pg_terminate_backend"])
def test_a_turn_that_is_cancelled_or_killed_leaves_a_line_with_what_it_had_spent(
    scene: Scene, lines: Lines, database: Database, in_background: Background, end: str
) -> None:
    two_replies(scene, Answer(fault="silence"))

    def ask() -> psycopg.Error:
        with pytest.raises(psycopg.Error) as caught:
            scene.ask(WORDS)
        return caught.value

    turn = in_background(ask)
    scene.play.arrived(2)
    with database.connect() as observer:
        observer.execute(f"select {end}(%s)", (scene.connection.info.backend_pid,))
    sqlstate = turn.result().sqlstate
    assert sqlstate == "57014" if end == "pg_cancel_backend" else sqlstate in ("57P01", None)
    [line] = driven(lines, scene)
    assert (line["status"], line["model_calls"]) == ("interrupted", 1)
    assert line["input_tokens"] > 0
    assert line["cost"] > 0


def test_a_failed_turn_leaves_a_line_too(scene: Scene, lines: Lines) -> None:
    scene.says(fails(401))
    assert scene.ask(WORDS) is None
    [line] = driven(lines, scene)
    assert (line["status"], line["model_calls"], line["cost"]) == ("failed", 1, 0)


def test_a_turn_that_waits_and_goes_on_is_counted_once(scene: Scene, lines: Lines) -> None:
    scene.skill("one() returns int language sql return 1", approval="ask")
    scene.says(calls(tool_call("one")), says("done"))
    assert scene.ask(WORDS) is None
    step = scene.steps()[-1]["step_id"]
    scene.value("select aos_agent.approve_tool_call(%s)", step)
    assert scene.run_turn(scene.run()["run_id"])["answer"] == "done"
    first, second = driven(lines, scene, 2)
    assert [line["status"] for line in (first, second)] == ["awaiting_approval", "completed"]
    assert [line["model_calls"] for line in (first, second)] == [1, 1]
    run = scene.run()
    assert first["input_tokens"] + second["input_tokens"] == run["input_tokens"]
    assert first["cost"] + second["cost"] == pytest.approx(float(run["cost"]))


def test_a_turn_of_a_model_without_prices_has_no_cost(scene: Scene, lines: Lines) -> None:
    scene.connection.execute(
        "update aos_meta.llm_model_registry set output_price = null where model_name = %s",
        (scene.name,),
    )
    scene.says(says("free?"))
    assert scene.ask(WORDS) == "free?"
    [line] = driven(lines, scene)
    assert "cost" not in line
    assert line["output_tokens"] > 0


def test_nothing_that_anybody_said_is_in_the_log(
    scene: Scene, logged: Callable[[], str], lines: Lines
) -> None:
    two_replies(scene, says("the word of a model"))
    # as text in the statement, below a function of the caller's own
    scene.connection.execute(f"do $$begin perform aos_agent.ask('{scene.name}', '{WORDS}'); end$$")
    scene.says(says("again"))
    scene.connection.execute(f"select aos_agent.ask('{scene.name}', '{WORDS}')".encode())
    assert len(driven(lines, scene, 2)) == 2
    assert "the word of" not in logged()
    assert "aos_agent.ask" not in logged()
    # and the server's own settings are as they were: an error shows its statement
    with pytest.raises(psycopg.errors.DivisionByZero):
        scene.connection.execute("select 1 / 0 as still_shown")
    assert "STATEMENT:  select 1 / 0 as still_shown" in logged()


def test_a_turn_that_is_driven_from_outside_is_not_driven_here(scene: Scene, lines: Lines) -> None:
    scene.connection.execute(
        "update aos_agent.agent set runner = 'external' where tenant_id = %s", (scene.tenant_id,)
    )
    turn = scene.start()
    assert scene.run_turn(turn)["status"] == "awaiting_model"
    assert driven(lines, scene, 0) == []
