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
        free_skill: the name of its own skill that nobody must allow.
        http_skill: the name of its own skill that calls a service, at *host*.
        schedule_id: a schedule of its principal.
        turn_id: a turn that waits for a person.
        step_id: the call that waits.
        called_turn_id: a turn that waits for the result of the free skill.
        idle_turn_id: a turn that waits for its model.
        claimed_turn_id: a turn that an outside worker has claimed, under fence 1.
        dead_turn_id: a turn that failed too often; its dedup_key is the word.
    """

    tenant: Tenant
    word: str
    agents_role: str
    skill: str
    free_skill: str
    http_skill: str
    host: str
    schedule_id: UUID
    turn_id: UUID
    step_id: UUID
    conversation_id: UUID
    called_turn_id: UUID
    idle_turn_id: UUID
    claimed_turn_id: UUID
    dead_turn_id: UUID


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
    free = house.skill(tenant.agent, **given, description=f"Needs nobody of {word}.")
    house.call("aos_agent.grant_skill", tenant.agent.name, "memory_store")
    host = _call_services(house, tenant, word)
    house.call("aos_meta.set_secret", word, f"value of {word}", tenant.tenant_id)
    shared = house.insert(
        "aos_meta.secret", "secret_id", name=f"shared_{word}", ciphertext=b"", key_id="none",
        available_to="granted",
    )  # fmt: skip
    house.insert("aos_meta.secret_grant", **given, secret_id=shared)
    house.insert("aos_agent.sql_access", **given, agent_id=tenant.agent.agent_id, schema_name=word)
    house.insert("aos_agent.budget", **given, period="day", max_tokens=1_000_000)
    house.insert(
        "aos_agent.usage", **given, agent_id=tenant.agent.agent_id, day="2020-01-01", tokens=7,
        cost=0.5,
    )  # fmt: skip
    schedule_id = house.insert(
        "aos_agent.schedule", "schedule_id", **given, agent_id=tenant.agent.agent_id,
        principal_id=tenant.principal_id, name=word, cron_expression="0 9 * * *",
        content=f"What is new, {word}?",
    )  # fmt: skip
    _finish_a_turn(house, tenant, word)
    conversation_id, turn_id, step_id = _waiting_turn(house, tenant, skill, word)
    called_turn_id, idle_turn_id = house.turn(tenant.agent, word), house.turn(tenant.agent, word)
    claimed_turn_id = house.turn(tenant.agent, word)
    house.call("aos_core._claim_turn", claimed_turn_id, f"worker of {word}", "1 hour", False, False)
    dead_turn_id = _dead_letter(house, tenant, word)
    house.tool(called_turn_id, free)
    house.insert(
        "aos_agent.schedule_run", **given, run_id=idle_turn_id, schedule_id=schedule_id,
        scheduled_for="2020-01-01",
    )  # fmt: skip
    house.call("aos_core._log", tenant.tenant_id, None, None, "furnished")
    house.call("aos_core.seal_event_log")
    return Estate(
        tenant=tenant,
        word=word,
        agents_role=role,
        skill=skill,
        free_skill=free,
        http_skill=f"http_{word}",
        host=host,
        schedule_id=schedule_id,
        turn_id=turn_id,
        step_id=step_id,
        conversation_id=conversation_id,
        called_turn_id=called_turn_id,
        idle_turn_id=idle_turn_id,
        claimed_turn_id=claimed_turn_id,
        dead_turn_id=dead_turn_id,
    )


def _call_services(house: House, tenant: Tenant, word: str) -> str:
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
    house.call(
        "aos_skills.allow_host", host=host, tenant_id=tenant.tenant_id, skill_name=f"http_{word}"
    )
    return host


def _finish_a_turn(house: House, tenant: Tenant, word: str) -> None:
    turn_id = house.start(tenant.conversation_id)
    house.tool(turn_id, "memory_store", {"key": word, "content": f"content of {word}"})
    house.finish(turn_id, f"answer of {word}\nin two lines")
    house.insert("aos_core.cancel_request", tenant_id=tenant.tenant_id, run_id=turn_id)
    house.say(tenant.conversation_id, f"later {word}")


def _waiting_turn(house: House, tenant: Tenant, skill: str, word: str) -> tuple[UUID, UUID, UUID]:
    conversation_id = house.conversation(tenant.agent)
    house.say(conversation_id, f"please {word}")
    turn_id = house.start(conversation_id)
    called = house.tool(turn_id, skill, {"to": word})
    assert called["status"] == "awaiting_approval", called
    return conversation_id, turn_id, UUID(called["step_id"])


def _dead_letter(house: House, tenant: Tenant, word: str) -> UUID:
    turn_id: UUID = house.call(
        "aos_agent.submit", house.conversation(tenant.agent), f"in vain {word}", dedup_key=word
    )
    # with as many failures behind it as there may be, but for one
    house.rows(
        "update aos_core.queue set attempt = (aos_meta.setting('queue_max_attempts') #>> '{}')::int"
        " - 1 where run_id = %s", turn_id,
    )  # fmt: skip
    fence = house.call("aos_core._claim_turn", turn_id, f"worker of {word}", "1 hour", False, False)
    error = {"kind": "server_error", "sqlstate": "OS108", "message": f"no luck, {word}"}
    assert house.call("aos_core._give_back", turn_id, fence, error) == "failed"
    return turn_id


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
