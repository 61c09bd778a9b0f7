"""aos_agent.cancel_turn in every state of a turn."""

from __future__ import annotations

import threading
from typing import Any
from uuid import UUID, uuid4

import pytest

from cluster import Database
from house import House

CANCELLED = "The turn was cancelled before this call ended."


def cancel(house: House, turn: UUID) -> dict[str, Any]:
    state: dict[str, Any] = house.call("aos_agent.cancel_turn", turn)
    return state


def test_a_turn_that_waits_for_a_model_ends_at_once(house: House) -> None:
    turn = house.turn()
    assert cancel(house, turn) == {"status": "cancelled", "turn_id": str(turn)}
    assert house.run(turn)["status"] == "cancelled"
    assert house.events(turn) == ["turn_started", "turn_cancelled"]


def test_a_queued_turn_ends_at_once(house: House) -> None:
    turn = house.turn(house.agent(runner="database"))
    assert house.status(turn) == "queued"
    assert cancel(house, turn)["status"] == "cancelled"


@pytest.mark.parametrize("approval", ["auto", "ask"])
def test_open_calls_are_closed_with_a_result_so_that_the_history_stays_whole(
    house: House, approval: str
) -> None:
    agent = house.agent()
    skill = house.skill(agent, approval=approval)
    turn = house.turn(agent)
    house.tool(turn, skill, call_id="c1")
    assert cancel(house, turn)["status"] == "cancelled"
    assert house.steps(turn)[-1] == ("tool", "cancelled")
    conversation = house.one("select conversation_id from aos_core.run where run_id = %s", turn)
    house.say(conversation, "again")
    messages = house.run(house.start(conversation))["messages"]
    assert [m["role"] for m in messages] == ["user", "assistant", "tool", "user"]
    assert (messages[2]["call_id"], messages[2]["content"]) == ("c1", CANCELLED)


def test_an_approval_that_is_pending_is_cancelled_too(house: House) -> None:
    agent = house.agent()
    skill = house.skill(agent, approval="ask")
    turn = house.turn(agent)
    step = house.tool(turn, skill)["step_id"]
    cancel(house, turn)
    assert (
        house.one("select decision from aos_core.approval where step_id = %s", step) == "cancelled"
    )
    assert house.rows("select from aos_agent.pending_approval where step_id = %s", step) == []
    with house.refused("OS003", "it is cancelled"):
        house.call("aos_agent.approve_tool_call", step)


def test_an_approved_call_that_has_not_run_is_cancelled(house: House) -> None:
    agent = house.agent()
    skill = house.skill(agent, approval="ask")
    turn = house.turn(agent)
    step = house.tool(turn, skill)["step_id"]
    house.call("aos_agent.approve_tool_call", step)
    cancel(house, turn)
    assert house.steps(turn)[-1] == ("tool", "cancelled")
    assert (
        house.one("select decision from aos_core.approval where step_id = %s", step) == "approved"
    )


def test_what_the_turn_did_stays_recorded(house: House) -> None:
    agent = house.agent()
    skill = house.skill(agent)
    turn = house.turn(agent)
    house.tool(turn, skill)
    house.result(turn, skill, "found")
    cancel(house, turn)
    assert house.steps(turn) == [("model", "completed"), ("tool", "completed")]


def test_a_turn_that_has_ended_stays_as_it_is(house: House) -> None:
    turn = house.turn()
    house.finish(turn)
    assert cancel(house, turn)["status"] == "completed"
    other = house.turn()
    cancel(house, other)
    assert cancel(house, other)["status"] == "cancelled"
    assert house.events(other).count("turn_cancelled") == 1


def test_a_turn_that_another_session_drives_gets_a_mark(house: House, database: Database) -> None:
    turn = house.turn(house.agent(runner="database"))
    with database.connect() as other, other.transaction():
        House(other).rows("select aos_agent._lock_turn(%s)", turn)
        for _ in range(2):
            assert cancel(house, turn)["status"] == "cancel_requested"
        found = house.rows(
            "select requested_by from aos_core.cancel_request where run_id = %s", turn
        )
        assert found == [(house.one("select session_user"),)]
    assert house.status(turn) == "queued"


def test_a_turn_that_is_driven_from_outside_is_cancelled_when_the_worker_lets_go(
    house: House, database: Database
) -> None:
    turn = house.turn()
    states: list[str] = []
    with database.connect() as worker, database.connect() as person:
        with worker.transaction():
            House(worker).run(turn)
            waiting = threading.Thread(
                target=lambda: states.append(cancel(House(person), turn)["status"])
            )
            waiting.start()
            while (
                house.one(
                    "select wait_event from pg_stat_activity where pid = %s",
                    person.info.backend_pid,
                )
                != "PgSleep"
            ):
                assert waiting.is_alive()
            assert states == []
        waiting.join()
    assert states == ["cancelled"]
    assert house.status(turn) == "cancelled"


def test_it_refuses_an_unknown_turn(house: House) -> None:
    for unknown in (uuid4(), None):
        with house.refused("OS002", "there is no turn"):
            house.call("aos_agent.cancel_turn", unknown)
