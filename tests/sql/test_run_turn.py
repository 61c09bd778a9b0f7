"""aos_agent.run_turn on turns that are driven from outside."""

from __future__ import annotations

from uuid import uuid4

import psycopg
import pytest

from cluster import Database
from house import House


def test_the_payload_has_what_a_worker_needs_to_call_the_model(house: House) -> None:
    tenant = house.tenant()
    persona = house.persona(
        tenant,
        system_prompt="Be brief.",
        traits={"tone": "friendly"},
        rules=["Answer in Korean."],
        params={"temperature": 0.2, "history_turns": 3},
    )
    agent = house.agent(tenant, persona)
    skill = house.skill(
        agent, description="Finds things.", parameters={"type": "object", "properties": {}}
    )
    turn = house.turn(agent, "hello")
    assert house.run(turn) == {
        "status": "awaiting_model",
        "turn_id": str(turn),
        "reason": "the agent is run by an outside worker",
        "messages": [{"role": "user", "content": "hello"}],
        "tools": [
            {
                "name": skill,
                "description": "Finds things.",
                "parameters": {"type": "object", "properties": {}},
            }
        ],
        "system_prompt": "Be brief.\n\nYour traits:\n- tone: friendly\n\nYour"
        " rules:\n- Answer in Korean.",
        "model": "gpt-4o",
        "provider": "openai",
        "params": {"temperature": 0.2},
    }


def test_asking_again_changes_nothing(house: House) -> None:
    turn = house.turn()
    first = house.run(turn)
    assert house.run(turn) == first
    assert house.steps(turn) == []


def test_select_star_reads_well_too(house: House) -> None:
    turn = house.turn()
    cursor = house.connection.execute("select * from aos_agent.run_turn(%s)", [turn])
    assert [column.name for column in cursor.description or ()] == ["run_turn"]
    [[payload]] = cursor.fetchall()
    assert payload["status"] == "awaiting_model"


def test_the_name_on_the_wire_is_the_vendors(house: House) -> None:
    model = house.insert(
        "aos_meta.llm_model_registry",
        "model_id",
        model_name="our favourite",
        wire_name="vendor-1",
        provider="openai",
        context_window=1000,
    )
    tenant = house.tenant()
    turn = house.turn(house.agent(tenant, house.persona(tenant, model_id=model)))
    assert house.run(turn)["model"] == "vendor-1"


def test_an_agent_without_skills_has_an_empty_list_of_tools(house: House) -> None:
    house.insert("aos_auth.role", role_name="mute")
    turn = house.turn(house.agent(role_name="mute"))
    assert house.run(turn)["tools"] == []


def test_a_refused_skill_is_not_offered(house: House) -> None:
    agent = house.agent()
    offered = house.skill(agent)
    house.skill(agent, approval="never")
    assert [tool["name"] for tool in house.run(house.turn(agent))["tools"]] == [offered]


def test_an_inactive_skill_is_not_offered(house: House) -> None:
    agent = house.agent()
    house.skill(agent, is_active=False)
    offered = house.skill(agent)
    assert [tool["name"] for tool in house.run(house.turn(agent))["tools"]] == [offered]


def test_the_last_model_call_gets_no_tools(house: House) -> None:
    agent = house.agent(max_model_calls=2)
    skill = house.skill(agent)
    turn = house.turn(agent)
    assert len(house.run(turn)["tools"]) == 1
    house.tool(turn, skill)
    house.result(turn, skill)
    assert house.run(turn)["tools"] == []


def test_a_finished_turn_returns_its_stored_answer(house: House) -> None:
    agent = house.agent()
    skill = house.skill(agent)
    turn = house.turn(agent)
    house.tool(turn, skill)
    house.result(turn, skill)
    house.finish(turn, "42")
    expected = {
        "status": "completed",
        "turn_id": str(turn),
        "answer": "42",
        "steps": 3,
        "usage": {
            "model_calls": 2,
            "input_tokens": 0,
            "cached_tokens": 0,
            "output_tokens": 0,
            "cost": None,
        },
    }
    assert house.run(turn) == expected
    assert house.run(turn) == expected


def test_a_cancelled_turn_has_no_answer(house: House) -> None:
    turn = house.turn()
    house.call("aos_agent.cancel_turn", turn)
    state = house.run(turn)
    assert (state["status"], state["answer"]) == ("cancelled", None)


def test_a_turn_that_waits_for_tools_says_for_which(house: House) -> None:
    agent = house.agent()
    skill = house.skill(agent)
    turn = house.turn(agent)
    call = house.tool(turn, skill, {"a": 1}, call_id="c1")
    state = house.run(turn)
    assert state["status"] == "awaiting_tool"
    assert state["pending"] == [
        {
            "step_id": call["step_id"],
            "call_id": "c1",
            "tool_name": skill,
            "arguments": {"a": 1},
            "status": "awaiting_result",
        }
    ]


def test_it_refuses_an_unknown_turn(house: House) -> None:
    for unknown in (uuid4(), None):
        with house.refused("OS002", f"there is no turn {unknown or 'NULL'}"):
            house.call("aos_agent.run_turn", unknown)


def test_nowait_fails_at_once_while_another_session_has_the_conversation(
    house: House, database: Database
) -> None:
    turn = house.turn()
    with database.connect() as other, other.transaction():
        House(other).run(turn)
        with house.refused("OS004", "is busy with another turn") as refusal:
            house.run(turn, nowait=True)
        assert "without nowait" in refusal.hint
    assert house.run(turn, nowait=True)["status"] == "awaiting_model"


def test_without_nowait_the_caller_waits_for_the_conversation(
    house: House, database: Database
) -> None:
    turn = house.turn()
    house.rows("set lock_timeout = '100ms'")
    with database.connect() as other, other.transaction():
        House(other).run(turn)
        with pytest.raises(psycopg.errors.LockNotAvailable):
            house.run(turn)


def test_messages_can_be_added_while_a_session_has_the_conversation(
    house: House, database: Database
) -> None:
    turn = house.turn()
    conversation = house.one("select conversation_id from aos_core.run where run_id = %s", turn)
    house.rows("set lock_timeout = '2s'")
    with database.connect() as other, other.transaction():
        House(other).run(turn)
        house.say(conversation, "one more thing")


def test_the_history_holds_as_many_turns_as_the_persona_wants(house: House) -> None:
    tenant = house.tenant()
    agent = house.agent(tenant, house.persona(tenant, params={"history_turns": 1}))
    conversation = house.conversation(agent)
    for number in range(4):
        house.say(conversation, f"question {number}")
        turn = house.start(conversation)
        payload = house.run(turn)
        house.finish(turn, f"answer {number}")
    assert [m["content"] for m in payload["messages"]] == ["question 2", "answer 2", "question 3"]


def test_the_history_leaves_out_turns_that_do_not_fit_the_context_window(house: House) -> None:
    model = house.insert(
        "aos_meta.llm_model_registry",
        "model_id",
        model_name="short memory",
        provider="openai",
        context_window=100,
    )
    tenant = house.tenant()
    conversation = house.conversation(house.agent(tenant, house.persona(tenant, model_id=model)))
    for content in ("x" * 100, "y" * 100, "z" * 400):
        house.say(conversation, content)
        turn = house.start(conversation)
        payload = house.run(turn)
        shown = [m["content"][0] for m in payload["messages"] if m["role"] == "user"]
        house.finish(turn, "ok")
        if content[0] == "y":
            assert shown == ["x", "y"]
    # the turn's own messages are always there
    assert shown == ["z"]
