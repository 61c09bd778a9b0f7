"""``aos_agent.live_activity``: who is thinking, on which step, for how long, under every driver."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import psycopg
import pytest

from kernel.background import Background, wait_for, wait_until_blocked
from kernel.drivers import stepwise, submit, work
from kernel.replies import calls, fails, held, says, tool_call
from kernel.scene import Scene, make_scene
from live.conftest import LOCK, act, live
from servers.play_server import PlayServer

Drive = Callable[[psycopg.Connection, Any], Any]


def by_select(session: psycopg.Connection, turn_id: Any) -> Any:
    return session.execute("select aos_agent.run_turn(%s)", (turn_id,)).fetchone()


def by_work(session: psycopg.Connection, turn_id: Any) -> Any:
    return work(session)


DRIVERS: dict[str, Drive] = {"select": by_select, "stepwise": stepwise, "work": by_work}


def hold_lock(connection: psycopg.Connection) -> None:
    connection.execute("select pg_advisory_lock(%s)", (LOCK,))


def release_lock(connection: psycopg.Connection) -> None:
    connection.execute("select pg_advisory_unlock(%s)", (LOCK,))


WAITS = f"waits() returns void language sql begin atomic select pg_advisory_xact_lock({LOCK}); end"


@pytest.mark.parametrize("driver", DRIVERS)
def test_a_turn_is_shown_with_its_step_while_it_is_driven(
    scene: Scene, session: psycopg.Connection, in_background: Background, driver: str
) -> None:
    scene.skill(WAITS)
    scene.says(held(calls(tool_call("waits"))), held(says("done")))
    turn_id = submit(scene) if driver == "work" else scene.start()
    assert live(scene.connection, scene.tenant_id) == []
    hold_lock(scene.connection)
    turn = in_background(DRIVERS[driver], session, turn_id)

    scene.play.arrived(1)
    [row] = live(scene.connection, scene.tenant_id)
    assert act(row) == (driver, 1, "model", None)
    assert (row["turn_id"], row["agent_name"]) == (turn_id, scene.name)
    assert row["pid"] == session.info.backend_pid
    assert str(row["pid"]) in row["worker"]
    assert row["turn_since"] <= row["step_since"]
    assert row["turn_seconds"] >= row["step_seconds"] >= 0
    scene.play.release()

    wait_until_blocked(scene.connection, session.info.backend_pid)
    [tool] = live(scene.connection, scene.tenant_id)
    assert act(tool) == (driver, 2, "tool", "waits")
    assert tool["step_since"] > row["step_since"]
    assert tool["turn_since"] == row["turn_since"]
    release_lock(scene.connection)

    scene.play.arrived(2)
    [last] = live(scene.connection, scene.tenant_id)
    assert act(last) == (driver, 3, "model", None)
    scene.play.release()
    turn.result()
    assert live(scene.connection, scene.tenant_id) == []
    assert scene.run()["status"] == "completed"


def test_seconds_grow_while_a_model_thinks(
    scene: Scene, session: psycopg.Connection, in_background: Background
) -> None:
    scene.says(held(says("done")))
    turn = in_background(by_select, session, scene.start())
    scene.play.arrived(1)
    wait_for(
        scene.connection,
        "step_seconds >= 0.3 from aos_agent.live_activity where tenant_id = %s",
        scene.tenant_id,
    )
    scene.play.release()
    turn.result()


def test_a_turn_that_nobody_else_can_see_yet_is_shown(
    scene: Scene, session: psycopg.Connection, in_background: Background
) -> None:
    scene.says(held(says("done")))
    turn = in_background(
        lambda s: s.execute("select aos_agent.ask(%s, 'hello')", (scene.name,)), session
    )
    scene.play.arrived(1)
    [row] = live(scene.connection, scene.tenant_id)
    assert act(row) == ("select", 1, "model", None)
    assert row["agent_name"] == scene.name
    assert scene.rows("select from aos_core.run where tenant_id = %s", scene.tenant_id) == []
    scene.play.release()
    turn.result()
    run = scene.run()
    assert (row["turn_id"], row["conversation_id"]) == (run["run_id"], run["conversation_id"])
    assert live(scene.connection, scene.tenant_id) == []


def test_a_turn_outside_is_shown_while_a_worker_has_claimed_it(scene: Scene) -> None:
    scene.set_agent("runner", "external")
    scene.connection.execute(
        "insert into aos_skills.skill (tenant_id, name, description, parameters, implementation)"
        " values (%s, 'abroad', 'Is done outside.', '{\"type\": \"object\"}', 'external')",
        (scene.tenant_id,),
    )
    scene.value("select aos_agent.grant_skill(%s, 'abroad')", scene.name)
    turn_id = scene.start()
    assert live(scene.connection, scene.tenant_id) == []  # nobody has it
    scene.value("select aos_core._enqueue(%s)", turn_id)
    claim = scene.value("select aos_agent.claim_turn('bench 7')")
    assert claim["turn_id"] == str(turn_id)
    [row] = live(scene.connection, scene.tenant_id)
    assert act(row) == ("outside", 1, "model", None)
    assert (row["worker"], row["pid"]) == ("bench 7", None)

    called = {"tool_calls": [{"call_id": "a", "name": "abroad", "arguments": {}}]}
    scene.value(
        "select aos_agent.record_model_reply(%s, %s, fence => %s)",
        turn_id, psycopg.types.json.Jsonb(called), claim["fence"],
    )  # fmt: skip
    [row] = live(scene.connection, scene.tenant_id)
    assert act(row) == ("outside", 2, "tool", "abroad")
    scene.value(
        "select aos_agent.record_tool_result(%s, 'abroad', '1', 'a', %s)", turn_id, claim["fence"]
    )
    [row] = live(scene.connection, scene.tenant_id)
    assert act(row) == ("outside", 3, "model", None)
    scene.value("select aos_agent.release_turn(%s, %s)", turn_id, claim["fence"])
    assert live(scene.connection, scene.tenant_id) == []


def test_a_worker_outside_whose_lease_is_over_is_not_shown(scene: Scene) -> None:
    scene.set_agent("runner", "external")
    scene.value("select aos_core._claim_turn(%s, 'abroad', '1 minute', false, true)", scene.start())
    assert len(live(scene.connection, scene.tenant_id)) == 1
    scene.connection.execute(
        "update aos_core.queue set lease_until = now() where tenant_id = %s", (scene.tenant_id,)
    )
    assert live(scene.connection, scene.tenant_id) == []
    assert scene.value(
        "select count(*) from aos_agent.queue where tenant_id = %s and status = 'claimed'",
        scene.tenant_id,
    ) == 1  # fmt: skip


def test_the_turns_of_a_tool_that_asks_agents_are_all_shown(
    scene: Scene, session: psycopg.Connection, in_background: Background, play_server: PlayServer
) -> None:
    # A second agent of the tenant, whose model plays a script of its own.
    helper = make_scene(scene.connection, play_server.play(f"helper_of_{scene.name}"))
    scene.connection.execute(
        "with p as (insert into aos_persona.persona (tenant_id, name, system_prompt, model_id)"
        " select %(t)s, 'second', 'You help.', model_id from aos_meta.llm_model_registry"
        " where model_name = %(m)s returning persona_id)"
        " insert into aos_agent.agent (tenant_id, name, persona_id)"
        " select %(t)s, 'second', persona_id from p",
        {"t": scene.tenant_id, "m": helper.name},
    )
    scene.let_tools_ask()
    scene.skill("consult() returns text language sql return aos_agent.ask('second', 'what now?')")
    scene.says(calls(tool_call("consult")), held(says("done")))
    helper.says(held(says("this")))
    turn = in_background(by_select, session, scene.start())
    helper.play.arrived(1)
    outer, inner = live(scene.connection, scene.tenant_id)
    assert (act(outer), outer["agent_name"]) == (("select", 2, "tool", "consult"), scene.name)
    assert (act(inner), inner["agent_name"]) == (("select", 1, "model", None), "second")
    helper.play.release()
    scene.play.arrived(2)
    [row] = live(scene.connection, scene.tenant_id)
    assert act(row) == ("select", 3, "model", None)
    scene.play.release()
    turn.result()
    assert live(scene.connection, scene.tenant_id) == []


# --- nothing is left ------------------------------------------------------------------------------


@pytest.mark.parametrize("driver", DRIVERS)
@pytest.mark.parametrize("end", ["pg_cancel_backend", "pg_terminate_backend"])
def test_nothing_is_left_of_a_driver_that_was_stopped(
    scene: Scene, session: psycopg.Connection, in_background: Background, driver: str, end: str
) -> None:
    scene.says(held(says("lost")))
    turn_id = submit(scene) if driver == "work" else scene.start()
    turn = in_background(DRIVERS[driver], session, turn_id)
    scene.play.arrived(1)
    assert len(live(scene.connection, scene.tenant_id)) == 1
    scene.connection.execute(f"select {end}(%s)", (session.info.backend_pid,))
    assert isinstance(turn.exception(), psycopg.Error)
    if end == "pg_terminate_backend":
        wait_for(
            scene.connection,
            "not exists (select from pg_stat_activity where pid = %s)",
            session.info.backend_pid,
        )
    assert live(scene.connection, scene.tenant_id) == []
    scene.play.release()


def test_nothing_is_left_of_a_turn_that_failed(scene: Scene) -> None:
    scene.says(fails(400))
    assert scene.ask() is None
    assert live(scene.connection, scene.tenant_id) == []


def test_nothing_is_left_of_a_turn_that_was_rolled_back(
    scene: Scene, session: psycopg.Connection, in_background: Background
) -> None:
    scene.says(held(says("lost")))
    turn_id = scene.start()

    def undone() -> None:
        with session.transaction(force_rollback=True):
            by_select(session, turn_id)

    turn = in_background(undone)
    scene.play.arrived(1)
    assert [act(row) for row in live(scene.connection, scene.tenant_id)] == [
        ("select", 1, "model", None)
    ]
    scene.play.release()
    turn.result()
    assert live(scene.connection, scene.tenant_id) == []


def test_a_turn_that_waits_for_a_person_is_driven_by_nobody(
    scene: Scene, session: psycopg.Connection
) -> None:
    scene.skill("risky() returns int language sql return 1", approval="ask")
    scene.says(calls(tool_call("risky")))
    assert stepwise(session, scene.start())["status"] == "awaiting_approval"
    assert live(scene.connection, scene.tenant_id) == []


@pytest.mark.parametrize("is_there", [True, False])
def test_what_a_process_said_that_is_gone_is_not_shown(scene: Scene, is_there: bool) -> None:
    """A backend that is killed leaves its place in the file; another may get its number and pid."""
    turn_id, agent_id = scene.rows(
        "select gen_random_uuid()::text as t, agent_id::text as a from aos_agent.agent"
        " where tenant_id = %s",
        scene.tenant_id,
    )[0].values()
    began = "extract(epoch from backend_start) * 1000000 - 946684800000000"
    scene.connection.execute("select aos_auth.tenant_id()")  # loads the package
    scene.connection.execute(
        f"""
        create function pg_temp.says(pid integer, began bigint) returns void
            language plpython3u
        as $$
        from pgagentos.live_turns import Place
        place = Place(900, pid, began)
        place.begin({turn_id!r}, {turn_id!r}, {scene.tenant_id!r}, {agent_id!r})
        place.step(7, None)
        $$;
        select pg_temp.says(pid, ({began})::bigint - {0 if is_there else 1})
          from pg_stat_activity where pid = pg_backend_pid();
        """
    )
    try:
        assert len(live(scene.connection, scene.tenant_id)) == is_there
    finally:
        scene.connection.execute("select pg_temp.says(0, 0)")
