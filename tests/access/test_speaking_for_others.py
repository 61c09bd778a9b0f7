"""The tools of a conversation act for the principal who opened it: nobody else makes them act.

Inside a tenant everybody sees all conversations. That must not lend a colleague's rights: skills
that need a role, and rows of business tables under ``aos_auth.principal_id()``.
"""

from __future__ import annotations

from uuid import UUID

import pytest

from access.conftest import Doors, Tenant
from house import House


@pytest.fixture
def boss(doors: Doors, tenants: tuple[Tenant, Tenant]) -> House:
    """A principal of the first tenant, who may call ``pay``."""
    session = doors.login("user", "worker", principal_of=tenants[0])
    doors.house.function_skill(
        tenants[0].agent,
        "pay(amount int) returns text language sql return 'paid ' || amount",
        name="pay",
    )
    doors.house.rows("update aos_skills.skill set needs_role = true where name = 'pay'")
    doors.house.rows(
        "insert into aos_auth.role (role_name) values ('payer') on conflict do nothing"
    )
    doors.house.rows(
        "insert into aos_skills.role_skill (role_name, skill_id) select 'payer', skill_id"
        " from aos_skills.skill where name = 'pay' on conflict do nothing"
    )
    doors.house.rows(
        "insert into aos_auth.role_grant (principal_id, tenant_id, role_name)"
        " values (%s, %s, 'payer')",
        session.one("select aos_auth.principal_id()"),
        tenants[0].tenant_id,
    )
    return session


@pytest.fixture
def clerk(doors: Doors, tenants: tuple[Tenant, Tenant]) -> House:
    """Another principal of the first tenant."""
    return doors.login("user", "worker", principal_of=tenants[0])


def pays(session: House, conversation_id: UUID) -> str:
    """Say something in a conversation and let its model call ``pay``."""
    session.say(conversation_id, "pay me")
    return str(session.tool(session.start(conversation_id), "pay", {"amount": 5})["status"])


def test_a_principal_calls_what_his_role_allows(
    boss: House, clerk: House, tenants: tuple[Tenant, Tenant]
) -> None:
    agent = tenants[0].agent
    assert pays(boss, boss.conversation(agent)) == "completed"
    assert pays(clerk, clerk.conversation(agent)) == "unknown_tool"


def test_nobody_opens_a_conversation_in_the_name_of_another(
    boss: House, clerk: House, tenants: tuple[Tenant, Tenant]
) -> None:
    agent = tenants[0].agent
    boss.conversation(agent)
    seen = clerk.one(
        "select principal_id from aos_agent.conversation where principal_id is not null"
    )
    with clerk.refused("42501", "row-level security policy"):
        clerk.insert(
            "aos_agent.conversation",
            agent_id=agent.agent_id,
            tenant_id=agent.tenant_id,
            principal_id=seen,
        )
    own = clerk.one("select aos_auth.principal_id()")
    for principal_id in (own, None):
        clerk.insert(
            "aos_agent.conversation",
            agent_id=agent.agent_id,
            tenant_id=agent.tenant_id,
            principal_id=principal_id,
        )


def test_nobody_deletes_the_conversation_of_another(
    boss: House, clerk: House, doors: Doors, tenants: tuple[Tenant, Tenant]
) -> None:
    conversation_id = boss.conversation(tenants[0].agent)
    delete = "delete from aos_agent.conversation where conversation_id = %s returning title"
    assert clerk.rows(delete, conversation_id) == []
    assert len(boss.rows(delete, conversation_id)) == 1
    own = clerk.conversation(tenants[0].agent)
    assert len(doors.house.rows(delete, own)) == 1  # an operator may


def test_nobody_speaks_in_the_conversation_of_another(
    boss: House, clerk: House, doors: Doors, tenants: tuple[Tenant, Tenant]
) -> None:
    agent = tenants[0].agent
    conversation_id = boss.conversation(agent)
    with clerk.refused("42501", "is somebody else's"):
        clerk.say(conversation_id)
    with clerk.refused("42501", "is somebody else's"):
        clerk.call("aos_agent.ask", agent.name, "pay me", conversation_id)
    assert clerk.rows("select content from aos_agent.message where content = 'pay me'") == []
    assert pays(doors.house, conversation_id) == "completed"  # an operator may
    assert pays(boss, boss.conversation(agent)) == "completed"


def test_the_owner_of_a_ticket_speaks_for_himself_alone(
    boss: House, doors: Doors, tenants: tuple[Tenant, Tenant]
) -> None:
    conversation_id = boss.conversation(tenants[0].agent)
    web = doors.login("user")
    with web.connection.transaction():
        web.rows("select aos_auth.begin(%s)", doors.ticket(tenants[0]))
        own = web.conversation(tenants[0].agent)
        web.say(own)
        with web.refused("42501", "is somebody else's"), web.connection.transaction():
            web.say(conversation_id)


def test_everybody_speaks_in_a_conversation_of_nobody(
    clerk: House, boss: House, tenants: tuple[Tenant, Tenant]
) -> None:
    for session in (clerk, boss):
        session.say(tenants[0].conversation_id)
    turn_id = boss.start(tenants[0].conversation_id)
    assert boss.tool(turn_id, "pay", {"amount": 5})["status"] == "unknown_tool"


def test_a_worker_starts_turns_on_what_others_have_said(
    boss: House, clerk: House, tenants: tuple[Tenant, Tenant]
) -> None:
    conversation_id = boss.conversation(tenants[0].agent)
    boss.say(conversation_id)
    turn_id = clerk.start(conversation_id)
    assert clerk.tool(turn_id, "pay", {"amount": 5})["status"] == "completed"
