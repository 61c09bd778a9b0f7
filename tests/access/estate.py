"""A tenant with rows in every table that has rows of tenants."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from access.conftest import Tenant, make_tenant
from house import House, name


@dataclass(frozen=True, slots=True)
class Estate:
    """A furnished tenant.

    Args:
        tenant: whose it is.
        word: stands in every text of the tenant, and in no other.
        agents_role: the database role of its agent.
        skill: the name of its own skill that a person must allow.
        turn_id: a turn that waits for a person.
        step_id: the call that waits.
        finished_turn_id: a turn with an answer.
    """

    tenant: Tenant
    word: str
    agents_role: str
    skill: str
    http_skill: str
    turn_id: UUID
    step_id: UUID
    finished_turn_id: UUID
    conversation_id: UUID


def furnish(house: House) -> Estate:
    """Make a tenant and put rows into every table of tenants."""
    tenant = make_tenant(house)
    given = {"tenant_id": tenant.tenant_id}
    word = f"word_of_{tenant.name}"
    house.rows(
        "update aos_auth.tenant set display_name = %s, keep_conversations = '3 months'"
        " where tenant_id = %s",
        word, tenant.tenant_id,
    )  # fmt: skip
    house.rows(
        "update aos_auth.principal set display_name = %s, external_id = %s where tenant_id = %s",
        word, word, tenant.tenant_id,
    )  # fmt: skip
    house.insert(
        "aos_auth.role_grant", **given, principal_id=tenant.principal_id, role_name="agent"
    )
    role = name("agents")
    house.rows(f"create role {role} nologin")
    house.call("aos_auth.register_agent_role", role, tenant.tenant_id)
    house.rows(
        "update aos_agent.agent set db_role = %s where tenant_id = %s", role, tenant.tenant_id
    )
    house.rows(
        "update aos_persona.persona set system_prompt = %s where tenant_id = %s",
        f"You know {word}.", tenant.tenant_id,
    )  # fmt: skip
    skill = house.skill(tenant.agent, **given, approval="ask", description=f"Uses {word}.")
    house.call("aos_agent.grant_skill", tenant.agent.name, "memory_store")
    _call_services(house, tenant, word)
    house.call("aos_meta.set_secret", word, f"value of {word}", tenant.tenant_id)
    shared = house.insert(
        "aos_meta.secret", "secret_id", name=f"shared_{word}", ciphertext=b"", key_id="none",
        available_to="granted",
    )  # fmt: skip
    house.insert("aos_meta.secret_grant", **given, secret_id=shared)
    house.insert("aos_agent.budget", **given, period="day", max_tokens=1_000_000)
    house.insert(
        "aos_agent.usage", **given, agent_id=tenant.agent.agent_id, day="2020-01-01", tokens=7,
        cost=0.5,
    )  # fmt: skip
    finished = _finished_turn(house, tenant, word)
    house.call("aos_core._log", tenant.tenant_id, None, None, "furnished")
    house.call("aos_core.seal_event_log")
    conversation_id, turn_id, step_id = _waiting_turn(house, tenant, skill, word)
    return Estate(
        tenant, word, role, skill, f"http_{word}", turn_id, step_id, finished, conversation_id
    )


def _call_services(house: House, tenant: Tenant, word: str) -> None:
    house.call(
        "aos_skills.register_http_skill",
        name=f"http_{word}",
        description=f"Calls {word}.",
        parameters={"type": "object"},
        method="GET",
        url="https://example.com/",
        tenant_id=tenant.tenant_id,
    )
    host = f"{word.replace('_', '-')}.example.com"
    house.call("aos_skills.allow_host", host=host, tenant_id=tenant.tenant_id)


def _finished_turn(house: House, tenant: Tenant, word: str) -> UUID:
    turn_id = house.start(tenant.conversation_id)
    house.tool(turn_id, "memory_store", {"key": word, "content": f"content of {word}"})
    house.finish(turn_id, f"answer of {word}\nin two lines")
    house.insert("aos_core.cancel_request", tenant_id=tenant.tenant_id, run_id=turn_id)
    house.say(tenant.conversation_id, f"later {word}")
    return turn_id


def _waiting_turn(house: House, tenant: Tenant, skill: str, word: str) -> tuple[UUID, UUID, UUID]:
    conversation_id = house.conversation(tenant.agent)
    house.say(conversation_id, f"please {word}")
    turn_id = house.start(conversation_id)
    called = house.tool(turn_id, skill, {"to": word})
    assert called["status"] == "awaiting_approval", called
    return conversation_id, turn_id, UUID(called["step_id"])


def tables(house: House) -> list[str]:
    """The tables of the extension that have rows of tenants, read from the catalogue."""
    found = house.rows(
        "select c.oid::regclass::text from pg_class as c"
        " join pg_namespace as n on n.oid = c.relnamespace"
        " join pg_attribute as a on a.attrelid = c.oid and a.attname = 'tenant_id'"
        " where n.nspname like 'aos\\_%' and c.relkind in ('r', 'p') and not c.relispartition"
        " order by 1"
    )
    return [table for (table,) in found]


def contents(house: House, tenant_id: UUID, *besides: str) -> dict[str, list[Any]]:
    """Every row of a tenant as text, by table; a superuser's view of it."""
    return {
        table: [
            row
            for (row,) in house.rows(
                f"select t::text from {table} as t where tenant_id = %s order by 1", tenant_id
            )
        ]
        for table in tables(house)
        if table not in besides
    }
