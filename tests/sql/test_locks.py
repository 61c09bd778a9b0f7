"""An open turn locks its own conversation and nothing that turns share.

``lock_timeout`` tells waiting from not waiting: a statement that would have to wait fails.
"""

from __future__ import annotations

from collections.abc import Iterator
from uuid import UUID

import pytest

from cluster import Database
from house import Agent, House

SHARED = {
    "rename the agent": "update aos_agent.agent set name = name || 'x' where agent_id = %(agent)s",
    "switch the agent off": "update aos_agent.agent set is_active = false"
    " where agent_id = %(agent)s",
    "give the agent another persona": (
        "update aos_agent.agent set persona_id = persona_id where agent_id = %(agent)s"
    ),
    "rename the persona": (
        "update aos_persona.persona set name = name || 'x' where persona_id = %(persona)s"
    ),
    "change the persona": (
        "update aos_persona.persona set system_prompt = 'new' where persona_id = %(persona)s"
    ),
    "rename the tenant": "update aos_auth.tenant set name = name || 'x'"
    " where tenant_id = %(tenant)s",
    "rename the model": (
        "update aos_meta.llm_model_registry set model_name = 'x' where model_id = %(model)s"
    ),
    "rename the skill": "update aos_skills.skill set name = name || 'x' where name = %(skill)s",
    "take the skill away": "delete from aos_agent.agent_skill where agent_id = %(agent)s",
    "change a setting": "update aos_meta.setting set value = '9' where name = 'max_model_calls'",
}


@pytest.fixture
def scene(house: House) -> tuple[Agent, UUID, str]:
    """An agent of a model of its own, with a skill."""
    model = house.insert(
        "aos_meta.llm_model_registry",
        "model_id",
        model_name=f"model {house.one('select gen_random_uuid()')}",
        provider="openai",
        context_window=1000,
    )
    tenant = house.tenant()
    agent = house.agent(tenant, house.persona(tenant, model_id=model))
    return agent, model, house.skill(agent)


@pytest.fixture
def open_turn(house: House, database: Database, scene: tuple[Agent, UUID, str]) -> Iterator[UUID]:
    """A turn that another session has opened, with a tool call, and not committed."""
    agent, _, skill = scene
    with database.connect() as other, other.transaction(force_rollback=True):
        worker = House(other)
        turn = worker.turn(agent)
        worker.run(turn)
        worker.tool(turn, skill)
        house.rows("set lock_timeout = '1s'")
        yield turn


@pytest.mark.parametrize("statement", SHARED.values(), ids=SHARED)
def test_while_a_turn_is_open_others_can(
    house: House, scene: tuple[Agent, UUID, str], open_turn: UUID, statement: str
) -> None:
    agent, model, skill = scene
    named = {
        "agent": agent.agent_id,
        "persona": agent.persona_id,
        "tenant": agent.tenant_id,
        "model": model,
        "skill": skill,
    }
    with house.connection.transaction(force_rollback=True):
        assert house.connection.execute(statement, named).rowcount == 1


def test_while_a_turn_is_open_other_conversations_of_its_agent_go_on(
    house: House, scene: tuple[Agent, UUID, str], open_turn: UUID
) -> None:
    agent, _, skill = scene
    turn = house.turn(agent)
    house.tool(turn, skill)
    house.result(turn, skill)
    house.finish(turn)
    assert house.run(turn)["status"] == "completed"


def test_the_first_two_turns_of_a_persona_do_not_wait_for_each_other(
    house: House, database: Database
) -> None:
    agent = house.agent()
    conversations = [house.conversation(agent) for _ in range(2)]
    for conversation in conversations:
        house.say(conversation)
    house.rows("set lock_timeout = '1s'")
    with database.connect() as other, other.transaction():
        House(other).start(conversations[0])
        house.start(conversations[1])
