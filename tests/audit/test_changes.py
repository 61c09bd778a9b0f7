"""Who may what: a change of that is an event, whoever makes it and however."""

from __future__ import annotations

import json
from typing import Any
from uuid import UUID

import psycopg
import pytest

from audit.chains import problems
from cluster import Database
from house import House, name

NOBODY = UUID("00000000-0000-0000-0000-000000000000")


def events(house: House, chain: UUID) -> list[tuple[str, Any]]:
    return house.rows(
        "select event_type, detail from aos_core.event_log where chain_id = %s order by event_no",
        chain,
    )


def last(house: House, chain: UUID) -> tuple[str, Any]:
    return events(house, chain)[-1]


def test_the_extension_itself_brings_no_events_along(database: Database) -> None:
    with database.connect() as connection:
        assert House(connection).one("select count(*) from aos_core.event_log") == 0


def test_a_tenants_life_is_in_its_chain(house: House) -> None:
    tenant = house.tenant()
    house.rows("update aos_auth.tenant set is_active = false where tenant_id = %s", tenant)
    house.rows("update aos_auth.tenant set is_active = false where tenant_id = %s", tenant)
    house.rows("delete from aos_auth.tenant where tenant_id = %s", tenant)
    assert events(house, tenant) == [
        ("tenant_added", {"is_active": True}),
        ("tenant_changed", {"is_active": False, "changed": ["is_active"]}),
        ("tenant_removed", {"is_active": False}),
    ]


def test_functions_and_plain_sql_leave_the_same(house: House) -> None:
    agent = house.agent()
    skill = house.skill(tenant_id=agent.tenant_id)
    skill_id = house.one("select skill_id::text from aos_skills.skill where name = %s", skill)
    house.call("aos_agent.grant_skill", agent.name, skill, "ask")
    by_function = last(house, agent.tenant_id)
    house.call("aos_agent.revoke_skill", agent.name, skill)
    assert last(house, agent.tenant_id)[0] == "agent_skill_removed"
    house.insert(
        "aos_agent.agent_skill", tenant_id=agent.tenant_id, agent_id=agent.agent_id,
        skill_id=skill_id, approval="ask",
    )  # fmt: skip
    assert last(house, agent.tenant_id) == by_function
    assert by_function == (
        "agent_skill_added",
        {"agent_id": str(agent.agent_id), "skill_id": skill_id, "approval": "ask"},
    )


def test_what_holds_for_all_tenants_is_in_the_operators_chain(house: House) -> None:
    house.rows(
        "update aos_meta.provider set base_url = 'https://example.com/v1' where provider = 'openai'"
    )
    event, detail = last(house, NOBODY)
    assert (event, detail["provider"]) == ("provider_changed", "openai")
    assert "base_url" in detail["changed"]
    assert "example.com" not in json.dumps(detail)


def test_access_that_is_given_and_taken_is_in_the_operators_chain(house: House) -> None:
    role = name("somebody")
    house.rows(f"create role {role}")
    try:
        for verb in ("grant", "revoke"):
            house.call(f"aos_auth.{verb}_access", role, "auditor")
            expected = {"db_role": role, "access": "auditor"}
            assert last(house, NOBODY) == (
                f"access_{verb}{'ed' if verb == 'grant' else 'd'}",
                expected,
            )
    finally:
        house.rows(f"drop role {role}")


def test_a_developer_leaves_events_in_his_tenants_chain_that_name_him(
    house: House, database: Database
) -> None:
    agent = house.agent()
    role = name("developer")
    house.rows(f"create role {role} login in role pgagentos_developer")
    try:
        principal = house.insert(
            "aos_auth.principal", "principal_id", tenant_id=agent.tenant_id, db_role=role
        )
        with database.connect(user=role) as connection:
            connection.execute(
                "update aos_agent.agent set runner = 'auto' where agent_id = %s", (agent.agent_id,)
            )
            # nobody gets a row past the log with the setting that a restore uses
            connection.execute("set row_security = off")
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute("update aos_agent.agent set runner = 'external'")
        [[event, actor]] = house.rows(
            "select event_type, actor from aos_core.event_log where chain_id = %s"
            " order by event_no desc limit 1",
            agent.tenant_id,
        )
        assert (event, actor) == ("agent_changed", f"{role}/{principal}")
    finally:
        house.rows("delete from aos_auth.principal where db_role = %s", role)
        house.rows(f"drop role {role}")
    assert problems(house) == []


def test_every_table_of_rights_is_watched(house: House) -> None:
    """A new table that operators or developers write is watched, or has its reason here."""
    unwatched = {
        "aos_auth.role": "a name; role_grant and role_skill say what it means",
        "aos_agent.conversation": "what people do, not what they may",
    }
    written = house.rows(
        "select distinct c.oid::regclass::text from pg_class as c, aclexplode(c.relacl) as a"
        " where c.relkind in ('r', 'p') and c.relnamespace::regnamespace::text like 'aos\\_%'"
        " and a.privilege_type in ('INSERT', 'UPDATE', 'DELETE') and a.grantee <> c.relowner"
        " and not exists (select from pg_trigger as t where t.tgrelid = c.oid"
        " and t.tgname = 'log_change')"
    )
    assert {table for (table,) in written} <= set(unwatched)
