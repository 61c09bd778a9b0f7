"""Presets: rows of CREATE EXTENSION that an operator may change or replace."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from house import House


@pytest.fixture(autouse=True)
def undo(house: House) -> Iterator[None]:
    """Presets are shared by all tests of the database: what a test does to them is undone."""
    with house.connection.transaction(force_rollback=True):
        yield


CHANGES = [
    ("aos_meta.setting", "name = 'max_model_calls'", "value = '5'"),
    ("aos_meta.provider", "provider = 'openai'", "base_url = 'http://127.0.0.1:9'"),
    ("aos_meta.llm_model_registry", "model_name = 'gpt-4o'", "is_active = false"),
    ("aos_auth.role", "role_name = 'agent'", "description = 'mine'"),
    ("aos_skills.skill", "name = 'web_search'", "approval = 'ask'"),
    (
        "aos_skills.role_skill",
        "skill_id = 'b0a05000-0000-5000-8000-000000000004'",
        "approval = 'ask'",
    ),
]


@pytest.mark.parametrize(("table", "where", "change"), CHANGES)
def test_a_preset_that_an_operator_changes_is_his_own(
    house: House, table: str, where: str, change: str
) -> None:
    assert house.one(f"select is_builtin from {table} where {where}") is True
    house.rows(f"update {table} set {change} where {where}")
    assert house.one(f"select is_builtin from {table} where {where}") is False


@pytest.mark.parametrize(("table", "where", "change"), CHANGES)
def test_an_update_that_changes_nothing_leaves_the_preset_a_preset(
    house: House, table: str, where: str, change: str
) -> None:
    column = change.partition(" ")[0]
    house.rows(f"update {table} set {column} = {column} where {where}")
    assert house.one(f"select is_builtin from {table} where {where}") is True


@pytest.mark.parametrize(("table", "where", "change"), CHANGES)
def test_a_row_from_a_dump_takes_the_place_of_the_preset(
    house: House, table: str, where: str, change: str
) -> None:
    # what an operator's own row looks like in a dump
    house.rows(
        f"create temporary table dumped on commit drop as select * from {table} where {where}"
    )
    house.rows(f"update dumped set is_builtin = false, {change}")
    references = house.one("select count(*) from aos_skills.role_skill")
    house.rows(f"insert into {table} select * from dumped")
    assert house.one(f"select count(*) from {table} where {where}") == 1
    assert (
        house.one(
            f"select count(*) from {table} t where {where} and to_jsonb(t)"
            " = (select to_jsonb(d) from dumped d)"
        )
        == 1
    )
    # what refers to the preset refers to the operator's row now
    assert house.one("select count(*) from aos_skills.role_skill") == references


def test_an_own_skill_in_place_of_a_preset_keeps_what_agents_were_given(house: House) -> None:
    agent = house.agent()
    house.call("aos_agent.grant_skill", agent.name, "web_search", "ask")
    house.insert(
        "aos_skills.skill", name="web_search", description="Ours.", implementation="external"
    )
    found = house.rows(
        "select name, description, approval from aos_agent.effective_skill where agent_id = %s",
        agent.agent_id,
    )
    assert found == [("web_search", "Ours.", "ask")]
    default = house.rows(
        "select description from aos_agent.effective_skill where"
        " agent_id = %s and name = 'web_search'",
        house.agent().agent_id,
    )
    assert default == [("Ours.",)]


def test_a_tenants_skill_of_the_same_name_leaves_the_preset_alone(house: House) -> None:
    house.insert(
        "aos_skills.skill",
        name="web_search",
        description="Ours.",
        implementation="external",
        tenant_id=house.tenant(),
    )
    assert house.one("select count(*) from aos_skills.skill where name = 'web_search'") == 2


def test_an_own_row_beside_the_presets_is_just_a_row(house: House) -> None:
    house.insert(
        "aos_meta.provider", provider="mine", driver="openai_chat", base_url="http://127.0.0.1:9"
    )
    assert house.one("select is_builtin from aos_meta.provider where provider = 'mine'") is False
    with house.refused("23505", "provider_pkey"), house.connection.transaction():
        house.insert(
            "aos_meta.provider", provider="mine", driver="openai_chat", base_url="http://x"
        )


def test_the_models_of_the_guide_are_there(house: House) -> None:
    assert (
        house.one("select count(*) from aos_meta.llm_model_registry where model_name = 'gpt-4o'")
        == 1
    )
    vendors = house.rows(
        "select distinct provider from aos_meta.llm_model_registry where is_active"
        " and provider in ('openai', 'anthropic', 'gemini', 'ollama')"
    )
    assert len(vendors) == 4
