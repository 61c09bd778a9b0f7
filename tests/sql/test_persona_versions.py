"""Personas: each change makes a version, each turn keeps the one that it started with."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest

from house import House


def versions(house: House, persona: UUID, columns: str = "version_no, system_prompt") -> list[Any]:
    return house.rows(
        f"select {columns} from aos_persona.persona_version where"
        " persona_id = %s order by version_no",
        persona,
    )


def test_a_persona_has_its_first_version_from_the_start(house: House) -> None:
    persona = house.persona(house.tenant(), system_prompt="one")
    assert versions(house, persona) == [(1, "one")]


def test_a_role_without_the_right_to_delete_changes_a_persona(house: House) -> None:
    persona = house.persona(house.tenant())
    house.rows(
        "drop role if exists persona_editor; create role persona_editor;"
        " grant usage on schema aos_auth, aos_meta, aos_persona to persona_editor;"
        " grant select, insert, update on all tables in schema aos_persona, aos_meta, aos_auth"
        " to persona_editor;"
        " grant execute on all functions in schema aos_persona to persona_editor;"
        " grant execute on function aos_auth._visible_tenant(), aos_auth.has_access(text)"
        " to persona_editor"
    )
    with house.connection.transaction(force_rollback=True):
        house.rows("set local role persona_editor")
        house.rows(
            "update aos_persona.persona set system_prompt = %s where persona_id = %s",
            "two",
            persona,
        )
        assert versions(house, persona, "version_no") == [(1,), (2,)]
    house.rows("drop owned by persona_editor; drop role persona_editor")


def test_a_change_makes_a_new_version_and_keeps_the_old_one(house: House) -> None:
    persona = house.persona(house.tenant(), system_prompt="one")
    house.rows(
        "update aos_persona.persona set system_prompt = 'two' where persona_id = %s", persona
    )
    assert versions(house, persona) == [(1, "one"), (2, "two")]
    assert (
        house.one("select version_no from aos_persona.persona where persona_id = %s", persona) == 2
    )


@pytest.mark.parametrize(
    "change",
    [
        "system_prompt = 'two'",
        'traits = \'{"tone": "dry"}\'',
        "rules = array['Be kind.']",
        "params = '{\"temperature\": 1}'",
        "model_id = (select model_id from aos_meta.llm_model_registry"
        " where model_name = 'gpt-4o-mini')",
        "fallback_model_id = (select model_id from aos_meta.llm_model_registry"
        " where model_name = 'gpt-4o-mini')",
    ],
)
def test_whatever_a_model_would_notice_makes_a_version(house: House, change: str) -> None:
    persona = house.persona(house.tenant())
    house.rows(f"update aos_persona.persona set {change} where persona_id = %s", persona)
    assert [number for (number,) in versions(house, persona, "version_no")] == [1, 2]


@pytest.mark.parametrize(
    "change", ["name = 'renamed'", "system_prompt = system_prompt", "version_no = 7"]
)
def test_what_no_model_notices_makes_none(house: House, change: str) -> None:
    persona = house.persona(house.tenant())
    house.rows(f"update aos_persona.persona set {change} where persona_id = %s", persona)
    assert [number for (number,) in versions(house, persona, "version_no")] == [1]
    assert (
        house.one("select version_no from aos_persona.persona where persona_id = %s", persona) == 1
    )


def test_a_version_never_changes(house: House) -> None:
    persona = house.persona(house.tenant())
    with house.refused("OS003", "a version of a persona never changes") as refusal:
        house.rows(
            "update aos_persona.persona_version set system_prompt = 'x' where persona_id = %s",
            persona,
        )
    assert "Update aos_persona.persona" in refusal.hint


def test_a_running_turn_keeps_its_version_and_the_next_one_takes_the_new(house: House) -> None:
    agent = house.agent()
    conversation = house.conversation(agent)
    house.say(conversation)
    turn = house.start(conversation)
    house.rows(
        "update aos_persona.persona set system_prompt = 'new', params = '{\"seed\": 1}',"
        " model_id = (select model_id from aos_meta.llm_model_registry"
        " where model_name = 'gpt-4o-mini')"
        " where persona_id = %s",
        agent.persona_id,
    )
    payload = house.run(turn)
    assert (payload["system_prompt"], payload["params"], payload["model"]) == (
        "Be brief.",
        {},
        "gpt-4o",
    )
    house.finish(turn)
    house.say(conversation)
    payload = house.run(house.start(conversation))
    assert (payload["system_prompt"], payload["params"]) == ("new", {"seed": 1})
    assert payload["model"] == "gpt-4o-mini"


def test_a_version_holds_the_whole_prompt(house: House) -> None:
    persona = house.persona(
        house.tenant(),
        system_prompt="You help.",
        traits={"tone": "friendly", "age": 30},
        rules=["First.", "Second."],
    )
    assert versions(house, persona, "system_prompt") == [
        (
            "You help.\n\nYour traits:\n- age: 30\n- tone: friendly\n\nYour"
            " rules:\n- First.\n- Second.",
        )
    ]


def test_a_plain_prompt_stays_as_it_is(house: House) -> None:
    assert house.one("select aos_persona.compose_prompt('Be brief.', '{}', '{}')") == "Be brief."


def test_versions_that_turns_have_used_cannot_be_deleted(house: House) -> None:
    agent = house.agent()
    house.turn(agent)
    for statement in (
        "delete from aos_persona.persona_version where persona_id = %s",
        "delete from aos_persona.persona where persona_id = %s",
    ):
        with house.refused("23503", "violates foreign key constraint"):
            house.rows(statement, agent.persona_id)


def test_a_version_from_a_dump_takes_the_place_of_one_that_no_turn_has_used(house: House) -> None:
    tenant = house.tenant()
    persona = house.persona(tenant)
    restored = {
        "tenant_id": tenant,
        "persona_id": persona,
        "version_no": 1,
        "system_prompt": "as it was dumped",
        "model_id": house.model(),
        "params": {},
    }
    house.insert("aos_persona.persona_version", **restored)
    assert versions(house, persona) == [(1, "as it was dumped")]
    house.turn(house.agent(tenant, persona))
    with house.refused("23505", "persona_version_number_is_unique"):
        house.insert("aos_persona.persona_version", **restored)
