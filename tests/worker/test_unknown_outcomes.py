"""Calls that a worker had begun and whose result nobody has: has the tool acted? Nobody knows."""

from __future__ import annotations

import itertools
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg
import pytest
from psycopg.types.json import Jsonb

from house import House
from http_skill.test_turns import register
from kernel.background import wait_for
from kernel.replies import calls, held, says, tool_call
from kernel.scene import Scene
from servers.play_server import Answer, Play
from worker.conftest import external_skill
from worker.process import Start, write_tools
from worker.test_crashes import SOON, end_lease, keys
from worker.test_protocol import call, claim, lone, lose, reply

__all__ = ["lone"]  # a fixture

_numbers = itertools.count(1)

#: A tool that does something outside.
ORDER = """
import urllib.request
def order(url):
    with urllib.request.urlopen(urllib.request.Request(url, b"{}")) as response:
        return response.read().decode()
"""


@pytest.fixture
def service(play: Play) -> Play:
    """The script of the service that a tool calls."""
    return Play(play.control_url, play.base_url, f"{play.name}-service-{next(_numbers)}")


def begun(house: House, *idempotent: bool) -> tuple[UUID, list[str]]:
    """A turn whose worker was told of a call of each of these skills."""
    agent = house.agent()
    skills = [house.skill(agent, is_idempotent=each) for each in idempotent]
    turn = house.turn(agent)
    fence = claim(house)["fence"]
    wanted = [call(skill, f"c{n}") for n, skill in enumerate(skills, 1)]
    state = reply(house, turn, fence, tool_calls=wanted)
    assert [p["status"] for p in state["pending"]] == ["awaiting_result"] * len(skills)
    return turn, skills


def lose_worker(house: House, turn: UUID) -> None:
    lose(house, turn)
    house.one("select aos_core._release_dead('nobody')")
    house.rows("update aos_core.queue set run_after = now() where run_id = %s", turn)


def statuses(house: House, turn: UUID) -> list[str]:
    return [status for (status,) in house.steps(turn, "status")][1:]


def question(house: House, turn: UUID) -> UUID:
    """The one call that waits for a person."""
    [(step_id,)] = house.rows(
        "select step_id from aos_agent.pending_approval where turn_id = %s", turn
    )
    return UUID(str(step_id))


def test_that_a_call_begins_is_written_down_before_its_worker_hears_of_it(lone: House) -> None:
    turn, _ = begun(lone, False)
    assert statuses(lone, turn) == ["running"]
    assert lone.status(turn) == "awaiting_tool"


def give_back(house: House, turn: UUID) -> None:
    house.call("aos_agent.release_turn", turn, 1)


def report_abandoned(house: House, turn: UUID) -> None:
    error = {"kind": "abandoned", "message": "the worker could not go on"}
    house.call("aos_agent.fail_turn", turn, Jsonb(error), 1)
    house.rows("update aos_core.queue set run_after = now() where run_id = %s", turn)


@pytest.mark.parametrize("end", [lose_worker, give_back, report_abandoned])
def test_a_call_that_must_not_be_made_twice_waits_for_a_person_whose_yes_repeats_it(
    lone: House, end: Callable[[House, UUID], None]
) -> None:
    turn, [skill] = begun(lone, False)
    end(lone, turn)
    assert lone.call("aos_agent.claim_turn", "two") is None
    assert lone.status(turn) == "awaiting_approval"
    [_, (status, error)] = lone.steps(turn, "status, error")
    assert (status, error["kind"]) == ("awaiting_approval", "outcome_unknown")
    assert error["hint"]
    lone.call("aos_agent.approve_tool_call", question(lone, turn))
    state = claim(lone, "two")
    [pending] = state["pending"]
    assert (pending["status"], pending["call_id"]) == ("awaiting_result", "c1")
    assert pending["idempotency_key"] == f"{turn}-2"
    recorded = lone.result(turn, skill, "done", call_id="c1", fence=state["fence"])
    assert recorded["turn"]["messages"][-1]["content"] == "done"
    assert lone.steps(turn, "status, error")[1] == ("completed", None)


def test_a_no_tells_the_model_and_repeats_nothing(lone: House) -> None:
    turn, _ = begun(lone, False)
    lose_worker(lone, turn)
    assert lone.call("aos_agent.claim_turn", "two") is None
    lone.call("aos_agent.reject_tool_call", question(lone, turn), "It has been done.")
    message = claim(lone, "two")["messages"][-1]
    assert "not known whether this call has taken effect" in message["content"]
    assert "It has been done." in message["content"]
    assert message["is_error"]


def test_a_call_that_may_be_repeated_is_repeated_under_the_same_key(lone: House) -> None:
    turn, _ = begun(lone, True)
    lose_worker(lone, turn)
    state = claim(lone, "two")
    [pending] = state["pending"]
    assert (pending["status"], pending["idempotency_key"]) == ("awaiting_result", f"{turn}-2")
    assert statuses(lone, turn) == ["running"]


def test_of_calls_at_the_same_time_only_those_are_doubted_that_are_open_and_do_not_repeat(
    lone: House,
) -> None:
    turn, [first, _, third] = begun(lone, False, False, True)
    lone.result(turn, first, "done", call_id="c1", fence=1)
    lose_worker(lone, turn)
    state = claim(lone, "two")  # there is something to do while the person thinks
    assert state["status"] == "awaiting_approval"
    assert [(p["call_id"], p["status"]) for p in state["pending"]] == [
        ("c2", "awaiting_approval"),
        ("c3", "awaiting_result"),
    ]
    state = lone.result(turn, third, "done", call_id="c3", fence=state["fence"])["turn"]
    assert "fence" not in state  # people decide now
    assert statuses(lone, turn) == ["completed", "awaiting_approval", "completed"]


def test_a_person_was_asked_before_and_is_asked_again(lone: House) -> None:
    agent = lone.agent()
    skill = lone.skill(agent, approval="ask")
    turn = lone.turn(agent)
    reply(lone, turn, claim(lone)["fence"], tool_calls=[call(skill, "c1")])
    lone.call("aos_agent.approve_tool_call", question(lone, turn))
    claim(lone)
    assert statuses(lone, turn) == ["running"]
    lose_worker(lone, turn)
    assert lone.call("aos_agent.claim_turn", "two") is None
    lone.call("aos_agent.approve_tool_call", question(lone, turn))
    assert [p["call_id"] for p in claim(lone, "two")["pending"]] == ["c1"]


def test_a_worker_that_is_late_loses_nothing_while_nobody_took_its_turn_over(lone: House) -> None:
    turn, [first, second] = begun(lone, False, False)
    lose(lone, turn)  # its lease is over
    lone.tool(turn, first, {}, call_id="c1", fence=1)  # it asks once more what is with the call
    assert statuses(lone, turn) == ["running", "running"]
    lone.result(turn, first, 1, call_id="c1", fence=1)
    assert lone.result(turn, second, 2, call_id="c2", fence=1)["turn"]["status"] == "awaiting_model"


def test_who_takes_a_turn_over_by_hand_sees_the_doubt_too(lone: House) -> None:
    turn, [skill] = begun(lone, False)
    assert lone.run(turn)["pending"][0]["status"] == "running"  # its worker may be at it
    lose(lone, turn)
    assert lone.run(turn)["status"] == "awaiting_approval"
    with lone.refused("OS002", "no call of"):
        lone.result(turn, skill, "done")


def test_a_call_that_is_announced_under_a_claim_has_begun(lone: House) -> None:
    agent = lone.agent()
    skill = lone.skill(agent)
    turn = lone.turn(agent)
    fence = claim(lone)["fence"]
    assert lone.tool(turn, skill, {}, call_id="c1", fence=fence)["status"] == "approved"
    assert statuses(lone, turn) == ["running"]


@pytest.mark.parametrize("implementation", ["sql_query", "http"])
def test_only_an_external_skill_says_of_itself_that_it_is_idempotent(
    lone: House, implementation: str
) -> None:
    with pytest.raises(psycopg.errors.CheckViolation, match="idempotent"):
        lone.skill(implementation=implementation, is_idempotent=True)


# Requests of http skills that the database makes


def http_turn(outside: Scene, service: Play, **skill: Any) -> tuple[Any, dict[str, Any]]:
    """A turn whose worker was told of a call of an http skill; returns turn_id and state."""
    outside.connection.execute("update aos_core.queue set run_after = 'infinity'")
    register(outside, service, **({"method": "POST"} | skill))
    turn = outside.start()
    state = outside.value("select aos_agent.claim_turn('one')")
    assert state["turn_id"] == str(turn)
    wanted = {"tool_calls": [tool_call_of_worker()]}
    state = outside.value(
        "select aos_agent.record_model_reply(%s, %s, null, 1)", turn, Jsonb(wanted)
    )
    return turn, state


def tool_call_of_worker() -> dict[str, Any]:
    return {"call_id": "c1", "name": "order", "arguments": {"id": "7"}}


def run_call(outside: Scene, turn: Any, fence: int | None) -> dict[str, Any]:
    state: dict[str, Any] = outside.value(
        "select aos_agent.process_tool_call(%s, 'order', '{\"id\": \"7\"}', 'c1', %s::bigint)",
        turn,
        fence,
    )
    return state


def test_a_request_that_must_not_be_made_twice_is_made_when_its_begin_is_committed(
    outside: Scene, service: Play
) -> None:
    turn, state = http_turn(outside, service)
    assert [p["status"] for p in state["pending"]] == ["in_database"]
    assert outside.shape() == ["model completed", "tool running"]
    assert service.requests() == []
    service.add(Answer({"said": "sent"}))
    ran = run_call(outside, turn, 1)
    assert (ran["status"], ran["turn"]["status"]) == ("completed", "awaiting_model")
    assert "sent" in ran["result"]
    assert keys(service) == [f"{turn}-2"]
    assert run_call(outside, turn, 1)["status"] == "completed"  # and only once
    assert len(service.requests()) == 1


def test_its_result_is_nobodys_to_report(outside: Scene, service: Play) -> None:
    turn, _ = http_turn(outside, service)
    with pytest.raises(psycopg.Error) as refusal:
        outside.value("select aos_agent.record_tool_result(%s, 'order', '1', 'c1', 1)", turn)
    assert refusal.value.sqlstate == "OS003"
    assert "process_tool_call" in (refusal.value.diag.message_hint or "")


@pytest.mark.parametrize("skill", [{"method": "GET"}, {"is_idempotent": True}])
def test_a_request_that_may_be_repeated_needs_no_such_care(
    outside: Scene, service: Play, skill: dict[str, Any]
) -> None:
    service.add(Answer({"said": "sent"}))
    _, state = http_turn(outside, service, **skill)
    assert state["status"] == "awaiting_model"
    assert len(service.requests()) == 1


def test_a_request_whose_worker_was_lost_waits_for_a_person(outside: Scene, service: Play) -> None:
    turn, _ = http_turn(outside, service)
    service.add(Answer({"said": "sent"}))
    with outside.connection.transaction(force_rollback=True):  # as if the server had died then
        run_call(outside, turn, 1)
    assert outside.shape() == ["model completed", "tool running"]
    end_lease(outside, turn)
    outside.connection.execute("select aos_core._release_dead('nobody')")
    outside.connection.execute(
        "update aos_core.queue set run_after = now() where run_id = %s", (turn,)
    )
    assert outside.value("select aos_agent.claim_turn('two')") is None
    [waiting] = outside.rows(
        "select step_id from aos_agent.pending_approval where turn_id = %s", turn
    )
    outside.value("select aos_agent.approve_tool_call(%s)", waiting["step_id"])
    state = outside.value("select aos_agent.claim_turn('two')")
    assert [p["status"] for p in state["pending"]] == ["in_database"]
    assert len(service.requests()) == 1
    service.add(Answer({"said": "sent again"}))
    assert run_call(outside, turn, state["fence"])["status"] == "completed"
    assert keys(service) == [f"{turn}-2"] * 2


def test_without_a_claim_a_request_is_made_at_once(outside: Scene, service: Play) -> None:
    register(outside, service, method="POST")
    turn = outside.start()
    service.add(Answer({"said": "sent"}))
    assert run_call(outside, turn, None)["status"] == "completed"


# The worker of this project


def test_a_worker_has_the_database_make_a_request(
    outside: Scene, service: Play, start_worker: Start
) -> None:
    register(outside, service, method="POST")
    service.add(Answer({"said": "sent"}))
    outside.says(calls(tool_call("order", {"id": "7"}, "c1")), says("Ordered."))
    turn = outside.start()
    start_worker().wait_for("completed", turn_id=str(turn))
    assert len(service.requests()) == 1
    assert "sent" in outside.tool_results()[0]


def test_a_worker_that_does_not_hear_whether_a_request_was_made_does_not_ask_again(
    outside: Scene, service: Play, start_worker: Start, connection: psycopg.Connection
) -> None:
    register(outside, service, method="POST")
    service.add(held(Answer("nobody hears this")))
    outside.says(calls(tool_call("order", {"id": "7"}, "c1")), says("Ordered."))
    turn = outside.start()
    worker = start_worker(*SOON)
    service.arrived(1)
    connection.execute(
        "select pg_terminate_backend(pid) from pg_stat_activity"
        " where query like '%process_tool_call%' and pid <> pg_backend_pid()"
    )
    worker.wait_for("failed to record", turn_id=str(turn))
    wait_for(
        connection,
        "exists (select from aos_agent.pending_approval where turn_id = %s)",
        turn,
    )
    assert len(service.requests()) == 1
    [waiting] = outside.rows(
        "select step_id from aos_agent.pending_approval where turn_id = %s", turn
    )
    service.release()
    service.add(Answer({"said": "sent"}))
    outside.value("select aos_agent.approve_tool_call(%s)", waiting["step_id"])
    worker.wait_for("completed", turn_id=str(turn))
    assert keys(service) == [f"{turn}-2"] * 2


def test_a_tool_of_a_worker_that_was_killed_waits_for_a_person(
    outside: Scene, service: Play, start_worker: Start, tmp_path: Path
) -> None:
    external_skill(outside, "order")
    service.add(held(Answer("lost")))
    outside.says(calls(tool_call("order", {"url": service.url}, "c1")), says("Asked."))
    tools = write_tools(tmp_path, ORDER)
    turn = outside.start()
    first = start_worker("--tools", tools)
    service.arrived(1)
    first.kill()
    end_lease(outside, turn)
    second = start_worker(*SOON, "--tools", tools)
    wait_for(
        outside.connection,
        "exists (select from aos_agent.pending_approval where turn_id = %s)",
        turn,
    )
    [waiting] = outside.rows(
        "select step_id from aos_agent.pending_approval where turn_id = %s", turn
    )
    outside.value("select aos_agent.reject_tool_call(%s)", waiting["step_id"])
    second.wait_for("completed", turn_id=str(turn))
    assert len(service.requests()) == 1
    assert outside.shape() == ["model completed", "tool rejected", "model completed"]


def test_a_worker_that_is_told_to_stop_lets_its_tools_end(
    outside: Scene, service: Play, start_worker: Start, tmp_path: Path
) -> None:
    external_skill(outside, "order")
    service.add(held(Answer("in time")))
    outside.says(calls(tool_call("order", {"url": service.url}, "c1")), says("Ordered."))
    tools = write_tools(tmp_path, ORDER)
    turn = outside.start()
    first = start_worker("--tools", tools, "--grace", "3600")
    service.arrived(1)
    first.signal(signal.SIGTERM)
    first.wait_for("stopping")
    service.release()
    assert first.end() == (0, "")
    assert len(first.events("given back")) == 1
    assert len(outside.play.requests()) == 1  # no further model call
    second = start_worker(*SOON, "--tools", tools)
    second.wait_for("completed", turn_id=str(turn))
    assert len(service.requests()) == 1
    assert outside.tool_results() == ["in time"]
