"""aos_agent.approve_tool_call and aos_agent.reject_tool_call."""

from __future__ import annotations

import threading
from typing import Any
from uuid import UUID, uuid4

import psycopg

from cluster import Database
from house import Agent, House


def approve(house: House, step_id: str, note: str | None = None) -> dict[str, Any]:
    state: dict[str, Any] = house.call("aos_agent.approve_tool_call", step_id, note)
    return state


def reject(house: House, step_id: str, reason: str | None = None) -> dict[str, Any]:
    state: dict[str, Any] = house.call("aos_agent.reject_tool_call", step_id, reason)
    return state


def waiting(house: House, **columns: Any) -> tuple[Agent, str, UUID, str]:
    """An agent, its skill, a turn and the step of a call that waits for a person."""
    agent = house.agent()
    skill = house.skill(agent, approval="ask", **columns)
    turn = house.turn(agent)
    return agent, skill, turn, house.tool(turn, skill, {"to": "all"}, call_id="c1")["step_id"]


def expire(house: House, step_id: str) -> None:
    house.rows(
        "update aos_core.approval set requested_at = now() - interval '2 days',"
        " expires_at = now() - interval '1 day' where step_id = %s",
        step_id,
    )


def test_after_a_yes_the_worker_runs_the_call(house: House) -> None:
    _, skill, turn, step = waiting(house)
    assert approve(house, step, "fine") == {
        "status": "approved",
        "step_id": step,
        "turn_id": str(turn),
        "turn_status": "awaiting_tool",
    }
    state = house.run(turn)
    assert (state["status"], state["pending"][0]["status"]) == ("awaiting_tool", "approved")
    assert house.tool(turn, skill, {"to": "all"}, call_id="c1")["status"] == "approved"
    assert house.result(turn, skill, "sent")["turn_status"] == "awaiting_model"


def test_after_a_yes_a_skill_of_the_database_is_run_by_run_turn(house: House) -> None:
    agent = house.agent()
    skill = house.function_skill(
        agent, "f(a int) returns int language sql return a * 2", approval="ask"
    )
    turn = house.turn(agent)
    step = house.tool(turn, skill, {"a": 21})["step_id"]
    approve(house, step)
    payload = house.run(turn)
    assert payload["status"] == "awaiting_model"
    assert payload["messages"][-1]["content"] == "42"
    assert payload["reason"] == "the agent is run by an outside worker"
    assert house.steps(turn)[-1] == ("tool", "completed")


def test_after_a_yes_a_skill_of_the_database_is_run_when_the_worker_asks_again(
    house: House,
) -> None:
    agent = house.agent()
    skill = house.function_skill(
        agent, "f() returns text language sql return 'done'", approval="ask"
    )
    turn = house.turn(agent)
    step = house.tool(turn, skill, call_id="c1")["step_id"]
    assert house.tool(turn, skill, call_id="c1")["status"] == "awaiting_approval"
    approve(house, step)
    again = house.tool(turn, skill, call_id="c1")
    assert (again["status"], again["result"]) == ("completed", "done")


def test_a_call_that_was_approved_is_refused_when_its_skill_was_taken_away_since(
    house: House,
) -> None:
    agent = house.agent()
    keep = house.skill(agent)
    skill = house.function_skill(agent, "f() returns int language sql return 1", approval="ask")
    turn = house.turn(agent)
    approve(house, house.tool(turn, skill)["step_id"])
    house.call("aos_agent.revoke_skill", agent.name, skill)
    payload = house.run(turn)
    assert house.steps(turn)[-1] == ("tool", "failed")
    assert "There is no tool" in payload["messages"][-1]["content"]
    assert [tool["name"] for tool in payload["tools"]] == [keep]


def test_a_no_is_told_to_the_model_with_its_reason(house: House) -> None:
    _, _, turn, step = waiting(house)
    state = reject(house, step, "too many people")
    assert (state["status"], state["turn_status"]) == ("rejected", "awaiting_model")
    payload = house.run(turn)
    assert payload["status"] == "awaiting_model"
    assert payload["messages"][-1] == {
        "role": "tool",
        "call_id": "c1",
        "content": "A person refused this call. Reason: too many people",
        "is_error": True,
    }
    assert house.steps(turn)[-1] == ("tool", "rejected")


def test_the_turn_keeps_its_reason_through_an_approval(house: House) -> None:
    reason = "the agent is run by an outside worker"
    for decide in (approve, reject):
        _, _, turn, step = waiting(house)
        decide(house, step)
        assert house.run(turn)["reason"] == reason


def test_the_decision_is_written_down_with_who_and_when(house: House) -> None:
    _, _, turn, step = waiting(house)
    approve(house, step, "fine")
    found = house.rows(
        "select decision, decided_by, note, decided_at >= requested_at,"
        " arguments_hash = encode(sha256(convert_to((select arguments::text from aos_core.step s"
        " where s.step_id = a.step_id), 'UTF8')), 'hex') from"
        " aos_core.approval a where step_id = %s",
        step,
    )
    assert found == [("approved", house.one("select session_user"), "fine", True, True)]
    assert house.events(turn) == ["turn_started", "approval_requested", "approval_decided"]


def test_a_decision_is_made_once(house: House) -> None:
    for first, second in ((approve, reject), (reject, approve), (approve, approve)):
        _, _, _, step = waiting(house)
        decided = first(house, step)["status"]
        with house.refused("OS003", f"does not wait for a person, it is {decided}") as refusal:
            second(house, step)
        assert "pending_approval" in refusal.hint


def test_of_two_people_who_decide_at_once_one_is_told_that_he_was_late(
    house: House, database: Database
) -> None:
    _, _, turn, step = waiting(house)
    errors: list[psycopg.Error] = []
    with database.connect() as first, database.connect() as second:

        def decide() -> None:
            try:
                reject(House(second), step)
            except psycopg.Error as error:
                errors.append(error)

        with first.transaction():
            approve(House(first), step)
            racer = threading.Thread(target=decide)
            racer.start()
            while not house.one(
                "select cardinality(pg_blocking_pids(%s))", second.info.backend_pid
            ):
                assert racer.is_alive()
        racer.join()
    assert [error.sqlstate for error in errors] == ["OS003"]
    assert (
        house.one("select decision from aos_core.approval where step_id = %s", step) == "approved"
    )
    assert house.events(turn).count("approval_decided") == 1


def test_a_yes_that_comes_too_late_counts_as_none(house: House) -> None:
    _, _, turn, step = waiting(house)
    expire(house, step)
    state = approve(house, step)
    assert (state["status"], state["turn_status"]) == ("expired", "awaiting_model")
    assert "in time" in house.run(turn)["messages"][-1]["content"]
    assert house.steps(turn)[-1] == ("tool", "rejected")
    assert house.one("select decision from aos_core.approval where step_id = %s", step) == "expired"


def test_run_turn_goes_on_without_an_approval_that_nobody_gave_in_time(house: House) -> None:
    _, _, turn, step = waiting(house)
    assert house.run(turn)["status"] == "awaiting_approval"
    expire(house, step)
    payload = house.run(turn)
    assert payload["status"] == "awaiting_model"
    assert "in time" in payload["messages"][-1]["content"]


def test_the_setting_says_how_long_a_person_may_take(house: House) -> None:
    with house.connection.transaction(force_rollback=True):
        house.rows(
            "update aos_meta.setting set value = '\"3 hours\"' where"
            " name = 'approval_expires_after'"
        )
        _, _, _, step = waiting(house)
        left = house.one(
            "select (expires_at - requested_at)::text from aos_core.approval where step_id = %s",
            step,
        )
    assert left == "03:00:00"


def test_parallel_calls_are_decided_one_by_one(house: House) -> None:
    agent = house.agent()
    asking, free = house.skill(agent, approval="ask"), house.skill(agent)
    turn = house.turn(agent)
    steps = [house.tool(turn, asking, call_id=f"c{n}")["step_id"] for n in (1, 2)]
    house.tool(turn, free, call_id="c3")
    assert house.status(turn) == "awaiting_approval"
    assert house.events(turn).count("approval_requested") == 2
    assert approve(house, steps[0])["turn_status"] == "awaiting_approval"
    assert house.result(turn, asking, "one", call_id="c1")["turn_status"] == "awaiting_approval"
    assert reject(house, steps[1])["turn_status"] == "awaiting_tool"
    assert house.result(turn, free, "three")["turn_status"] == "awaiting_model"
    contents = [m["content"] for m in house.run(turn)["messages"][2:]]
    assert contents == ["one", "A person refused this call.", "three"]
    # neither a result nor a decision asks for the other approvals again
    assert house.events(turn).count("approval_requested") == 2


def test_the_agents_own_policy_can_ask_for_a_person(house: House) -> None:
    agent = house.agent()
    skill = house.skill()
    house.call("aos_agent.grant_skill", agent.name, skill, "ask")
    assert house.tool(house.turn(agent), skill)["status"] == "awaiting_approval"


def test_pending_approval_lists_what_a_person_has_to_know(house: House) -> None:
    agent, skill, turn, step = waiting(house)
    found = house.rows(
        "select tenant_id, agent_name, turn_id, tool_name, arguments, expires_at > requested_at"
        " from aos_agent.pending_approval where step_id = %s",
        step,
    )
    assert found == [(agent.tenant_id, agent.name, turn, skill, {"to": "all"}, True)]
    approve(house, step)
    assert house.rows("select from aos_agent.pending_approval where step_id = %s", step) == []


def test_they_refuse_what_does_not_wait_for_a_person(house: House) -> None:
    agent = house.agent()
    skill = house.skill(agent)
    turn = house.turn(agent)
    step = house.tool(turn, skill)["step_id"]
    for decide in (approve, reject):
        with house.refused("OS003", "does not wait for a person, it is awaiting_result"):
            decide(house, step)
        for unknown in (str(uuid4()), None):
            with house.refused("OS002", f"there is no tool call {unknown or 'NULL'}") as refusal:
                decide(house, unknown)
            assert "pending_approval" in refusal.hint
