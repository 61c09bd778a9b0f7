"""aos_agent.record_tool_result and aos_agent.finish_turn."""

from __future__ import annotations

from uuid import uuid4

import pytest

from house import House


def test_the_turn_goes_on_when_the_result_is_there(house: House) -> None:
    agent = house.agent()
    skill = house.skill(agent)
    turn = house.turn(agent)
    call = house.tool(turn, skill)
    recorded = house.result(turn, skill, {"rows": [1, 2]})
    assert recorded == {
        "status": "recorded",
        "step_id": call["step_id"],
        "call_id": call["call_id"],
        "turn_status": "awaiting_model",
    }
    assert house.steps(turn)[-1] == ("tool", "completed")


@pytest.mark.parametrize(
    ("result", "content"),
    [
        ("plain words", "plain words"),
        ({"a": "한글"}, '{"a": "한글"}'),
        ([1, 2.5, None], "[1, 2.5, null]"),
        (None, "null"),
        (7, "7"),
    ],
)
def test_the_model_reads_text_as_text_and_anything_else_as_json(
    house: House, result: object, content: str
) -> None:
    agent = house.agent()
    skill = house.skill(agent)
    turn = house.turn(agent)
    house.tool(turn, skill)
    house.result(turn, skill, result)
    assert house.run(turn)["messages"][-1]["content"] == content


def test_a_sql_null_is_a_result_too(house: House) -> None:
    agent = house.agent()
    skill = house.skill(agent)
    turn = house.turn(agent)
    house.tool(turn, skill)
    house.call("aos_agent.record_tool_result", turn, skill, None)
    assert house.run(turn)["messages"][-1]["content"] == "null"


def test_without_call_id_it_refuses_a_tool_that_waits_for_two_results(house: House) -> None:
    agent = house.agent()
    skill = house.skill(agent)
    turn = house.turn(agent)
    for call_id in ("c1", "c2"):
        house.tool(turn, skill, call_id=call_id)
    with house.refused("OS001", f"2 calls of {skill} wait for a result") as refusal:
        house.result(turn, skill, 1)
    assert "call_id" in refusal.hint
    house.result(turn, skill, 2, call_id="c2")
    house.result(turn, skill, 1)  # now there is only one left
    assert [m["content"] for m in house.run(turn)["messages"][2:]] == ["1", "2"]


def test_it_refuses_a_result_that_nobody_waits_for(house: House) -> None:
    agent = house.agent()
    skill = house.skill(agent)
    turn = house.turn(agent)
    with house.refused("OS002", f"no call of {skill} waits for a result") as refusal:
        house.result(turn, skill)
    assert "process_tool_call" in refusal.hint
    house.tool(turn, skill, call_id="c1")
    with house.refused("OS002", "under call_id c2"):
        house.result(turn, skill, call_id="c2")
    with house.refused("OS002", "no call of other_tool"):
        house.result(turn, "other_tool", call_id="c1")


def test_it_refuses_a_second_result(house: House) -> None:
    agent = house.agent()
    skill, other = house.skill(agent), house.skill(agent)
    turn = house.turn(agent)
    house.tool(turn, other)
    house.tool(turn, skill, call_id="c1")
    house.result(turn, skill, "first", call_id="c1")
    with house.refused("OS002", "no call"):
        house.result(turn, skill, "second", call_id="c1")
    assert house.steps(turn, "message ->> 'content'")[-1] == ("first",)


def test_it_refuses_a_result_before_a_person_said_yes(house: House) -> None:
    agent = house.agent()
    skill = house.skill(agent, approval="ask")
    turn = house.turn(agent)
    house.tool(turn, skill)
    with house.refused("OS002", "no call") as refusal:
        house.result(turn, skill)
    assert "waits for a person" in refusal.hint
    assert house.status(turn) == "awaiting_approval"


def test_the_turn_waits_until_all_parallel_calls_have_ended(house: House) -> None:
    agent = house.agent()
    skill = house.skill(agent)
    asking = house.skill(agent, approval="ask")
    turn = house.turn(agent)
    house.tool(turn, skill, call_id="c1")
    house.tool(turn, skill, call_id="c2")
    house.tool(turn, asking, call_id="c3")
    assert house.result(turn, skill, call_id="c1")["turn_status"] == "awaiting_approval"
    assert house.result(turn, skill, call_id="c2")["turn_status"] == "awaiting_approval"
    step = house.run(turn)["pending"][0]["step_id"]
    house.call("aos_agent.reject_tool_call", step)
    assert house.status(turn) == "awaiting_model"


def test_finish_turn_records_the_answer(house: House) -> None:
    turn = house.turn()
    assert house.finish(turn, "42") == {"status": "completed", "turn_id": str(turn)}
    assert house.steps(turn, "kind, status, message") == [
        ("model", "completed", {"role": "assistant", "content": "42"})
    ]
    assert house.one("select finished_at >= started_at from aos_core.run where run_id = %s", turn)
    assert house.events(turn) == ["turn_started", "turn_completed"]


@pytest.mark.parametrize("approval", ["auto", "ask"])
def test_finish_turn_refuses_while_calls_are_open_and_names_them(
    house: House, approval: str
) -> None:
    agent = house.agent()
    skill = house.skill(agent, approval=approval)
    turn = house.turn(agent)
    house.tool(turn, skill, call_id="c1")
    with house.refused("OS003", f"still waits for {skill} .c1.") as refusal:
        house.finish(turn)
    assert "cancel_turn" in refusal.hint
    assert house.status(turn) in ("awaiting_tool", "awaiting_approval")


def test_finish_turn_refuses_an_empty_answer(house: House) -> None:
    turn = house.turn()
    for content in ("", None):
        with house.refused("OS001", "is empty") as refusal:
            house.call("aos_agent.finish_turn", turn, content)
        assert refusal.hint == "Pass what was said as content."


def test_finish_turn_refuses_a_turn_that_has_ended_or_is_unknown(house: House) -> None:
    turn = house.turn()
    house.finish(turn)
    with house.refused("OS003", "is already completed"):
        house.finish(turn)
    with house.refused("OS002", "there is no turn"):
        house.finish(uuid4())


def test_record_tool_result_refuses_turns_that_the_database_runs(house: House) -> None:
    turn = house.turn(house.agent(runner="database"))
    with house.refused("OS003", "is run by the database"):
        house.result(turn, "web_search")
    with house.refused("OS003", "is run by the database"):
        house.finish(turn)


def test_record_tool_result_refuses_an_approved_call_that_the_database_runs(house: House) -> None:
    agent = house.agent()
    skill = house.function_skill(agent, "f() returns int language sql return 7", approval="ask")
    turn = house.turn(agent)
    call = house.tool(turn, skill, call_id="c1")
    house.call("aos_agent.approve_tool_call", call["step_id"])
    with house.refused("OS003", f"call c1 of {skill} is run by the database") as refusal:
        house.result(turn, skill, "forged")
    assert f"SELECT aos_agent.run_turn('{turn}')" in refusal.hint
    assert house.run(turn)["messages"][-1]["content"] == "7"
