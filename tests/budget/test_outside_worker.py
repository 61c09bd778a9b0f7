"""A turn that an outside worker drives gets no payload when a budget is used up."""

from __future__ import annotations

from typing import Any

import pytest

from house import Agent, House, house

__all__ = ["house"]  # a fixture


@pytest.fixture
def agent(house: House) -> Agent:
    """An agent whose tenant may use 100 tokens a day."""
    made = house.agent()
    house.rows(
        "insert into aos_agent.budget (tenant_id, period, max_tokens) values (%s, 'day', 100)",
        made.tenant_id,
    )
    return made


def use_up(house: House, agent: Agent) -> None:
    """Let another turn of the tenant have used it all."""
    house.insert(
        "aos_agent.usage",
        tenant_id=agent.tenant_id,
        agent_id=agent.agent_id,
        day=house.one("select (clock_timestamp() at time zone 'UTC')::date"),
        tokens=100,
        cost=0,
    )


def assert_ended(house: House, turn: Any, state: dict[str, Any]) -> None:
    assert state["status"] == "failed"
    assert state["turn_id"] == str(turn)
    assert state["error"]["sqlstate"] == "OS115"
    assert state["error"]["message"] == (
        "the budget of the tenant for the day is used up: 100 of 100 tokens"
    )
    assert "messages" not in state
    assert house.status(turn) == "failed"
    assert house.events(turn)[-1] == "turn_failed"


def test_run_turn_hands_out_the_payload_while_something_is_left(house: House, agent: Agent) -> None:
    state = house.run(house.turn(agent))
    assert state["status"] == "awaiting_model"
    assert state["messages"]


def test_run_turn_hands_out_no_payload(house: House, agent: Agent) -> None:
    turn = house.turn(agent)
    use_up(house, agent)
    assert_ended(house, turn, house.run(turn))
    assert_ended(house, turn, house.run(turn))


def test_run_turn_hands_out_no_payload_after_a_tool_call(house: House, agent: Agent) -> None:
    skill = house.skill(agent)
    turn = house.turn(agent)
    house.run(turn)
    house.tool(turn, skill)
    use_up(house, agent)
    house.result(turn, skill)  # what was approved is still taken
    assert_ended(house, turn, house.run(turn))


def test_a_call_of_a_further_reply_is_not_approved(house: House, agent: Agent) -> None:
    skill = house.skill(agent)
    turn = house.turn(agent)
    house.run(turn)
    house.tool(turn, skill)
    house.result(turn, skill)
    use_up(house, agent)
    assert_ended(house, turn, house.tool(turn, skill))
    with house.refused("OS003", "is already failed"):
        house.tool(turn, skill)


def test_a_parallel_call_of_a_reply_that_was_paid_for_is_approved(
    house: House, agent: Agent
) -> None:
    skill = house.skill(agent)
    turn = house.turn(agent)
    house.run(turn)
    house.tool(turn, skill, call_id="a")
    use_up(house, agent)
    assert house.tool(turn, skill, call_id="b")["status"] == "approved"


def test_an_answer_that_was_paid_for_is_taken(house: House, agent: Agent) -> None:
    turn = house.turn(agent)
    house.run(turn)
    use_up(house, agent)
    assert house.finish(turn)["status"] == "completed"
