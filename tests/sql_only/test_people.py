"""Who may what: a login is a principal's, an access is what the extension gives its group roles."""

from __future__ import annotations

from uuid import UUID

import psycopg
import pytest

from house import House, name

from .conftest import OWNER, Site


def test_tenants_do_not_see_each_other(site: Site, owner: House) -> None:
    ours, theirs = owner.tenant(), owner.tenant()
    anna = site.as_(site.person(ours, "user", "developer", "worker").role)
    bert = site.as_(site.person(theirs, "user", "developer", "worker").role)
    agent = owner.agent(ours)
    turn = anna.turn(agent, "a secret of ours")
    assert anna.run(turn)["status"] == "awaiting_model"
    tables = [
        row[0]
        for row in owner.rows(
            "select c.oid::regclass::text from pg_class c where c.relnamespace::regnamespace::text like"
            " 'aos\\_%%' and c.relkind in ('r', 'p', 'v') and has_table_privilege(%s, c.oid, 'select')"
            " and exists (select from pg_attribute a where a.attrelid = c.oid and a.attname = 'tenant_id')",
            bert.one("select session_user::text"),
        )
    ]
    assert len(tables) > 15
    seen_by_us = 0
    for table in tables:
        mine = "select count(*) from {} as t where t.tenant_id is not null and t.tenant_id <> %s"
        assert bert.one(mine.format(table), theirs) == 0, table
        seen_by_us += anna.one(f"select count(*) from {table} as t where t.tenant_id = %s", ours)
    assert seen_by_us > 8
    for refused in (
        lambda: bert.run(turn),
        lambda: bert.finish(turn),
        lambda: bert.call("aos_agent.cancel_turn", turn),
    ):
        with bert.refused("OS002", f"there is no turn {turn}"):
            refused()
    with bert.refused("OS002", "there is no agent"):
        bert.conversation(agent)
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        bert.persona(ours)
    assert owner.status(turn) == "awaiting_model"


def test_a_login_that_is_nobodys_sees_nothing(site: Site, owner: House) -> None:
    owner.turn()
    role = site.role("stranger")
    for access in ("user", "worker", "developer", "auditor", "approver"):
        owner.call("aos_auth.grant_access", role, access)
    stranger = site.as_(role)
    for table in (
        "aos_auth.tenant",
        "aos_agent.agent",
        "aos_core.run",
        "aos_agent.message",
        "aos_core.event_log",
    ):
        assert stranger.one(f"select count(*) from {table}") == 0
    with stranger.refused("OS002", "there is no agent"):
        stranger.conversation(owner.agent())


def test_what_changes_of_a_principal_changes_who_acts_at_once(site: Site, owner: House) -> None:
    first, second = owner.tenant(), owner.tenant()
    person = site.person(first, "user")
    session = site.as_(person.role)
    acts: list[UUID | None] = []

    def look(statement: str, *parameters: object) -> None:
        owner.rows(statement, *parameters)
        acts.append(session.one("select aos_auth.tenant_id()"))

    look("select 1")
    look(
        "update aos_auth.principal set is_active = false where principal_id = %s",
        person.principal_id,
    )
    look(
        "update aos_auth.principal set is_active = true where principal_id = %s",
        person.principal_id,
    )
    look("update aos_auth.tenant set is_active = false where tenant_id = %s", first)
    look(
        "update aos_auth.principal set display_name = 'x', is_active = true where principal_id = %s",
        person.principal_id,
    )
    look("update aos_auth.tenant set is_active = true where tenant_id = %s", first)
    look(
        "update aos_auth.principal set db_role = null where principal_id = %s", person.principal_id
    )
    other = owner.insert(
        "aos_auth.principal", "principal_id", tenant_id=second, db_role=person.role
    )
    look("select 1")
    assert session.one("select aos_auth.principal_id()") == other
    look("delete from aos_auth.principal where principal_id = %s", other)
    assert acts == [first, None, first, None, None, first, None, second, None]


def test_the_owner_is_the_operator_and_so_is_who_may_act_as_him(site: Site, owner: House) -> None:
    owner.turn()
    helper = site.role("helper")
    site.admin(f"grant {OWNER} to {helper}")
    assert (
        site.as_(helper).one("select count(*) from aos_core.run")
        == owner.one("select count(*) from aos_core.run")
        > 0
    )
    with owner.refused("OS001", "operators are those who may act as the owner") as refusal:
        owner.call("aos_auth.grant_access", helper, "operator")
    assert refusal.hint == f"GRANT {OWNER} TO {helper};"
    with owner.refused("OS001", "this database holds no secrets"):
        owner.call("aos_auth.grant_access", helper, "secret_manager")


@pytest.mark.parametrize(
    ("access", "may", "may_not"),
    [
        ("user", "aos_agent.ask(text, text, uuid)", "aos_agent.finish_turn(uuid, text, bigint)"),
        (
            "worker",
            "aos_agent.finish_turn(uuid, text, bigint)",
            "aos_agent.approve_tool_call(uuid, text)",
        ),
        (
            "approver",
            "aos_agent.approve_tool_call(uuid, text)",
            "aos_agent.finish_turn(uuid, text, bigint)",
        ),
        (
            "developer",
            "aos_agent.grant_skill(text, text, text, jsonb)",
            "aos_agent.approve_tool_call(uuid, text)",
        ),
        ("auditor", "aos_core.verify_event_log(uuid)", "aos_agent.ask(text, text, uuid)"),
    ],
)
def test_an_access_is_given_and_taken_without_group_roles(
    site: Site, owner: House, access: str, may: str, may_not: str
) -> None:
    role = site.role("taker")

    def has(function: str) -> bool:
        return bool(owner.one("select has_function_privilege(%s, %s, 'execute')", role, function))

    owner.call("aos_auth.grant_access", role, access)
    owner.call("aos_auth.grant_access", role, access)  # once more does no harm
    assert (has(may), has(may_not)) == (True, False)
    owner.call("aos_auth.revoke_access", role, access)
    assert has(may) is False
    assert owner.one("select has_schema_privilege(%s, 'aos_agent', 'usage')", role) is False
    assert owner.rows("select * from aos_auth.access_grant where db_role = %s", role) == []


def test_what_two_accesses_share_stays_with_the_other(site: Site, owner: House) -> None:
    person = site.person(owner.tenant(), "user", "worker")
    owner.call("aos_auth.revoke_access", person.role, "worker")
    session = site.as_(person.role)
    assert session.one("select count(*) from aos_core.run") == 0  # it may still look
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        session.finish(UUID(int=1))


def test_only_operators_give_accesses(site: Site, owner: House) -> None:
    person = site.person(owner.tenant(), "user", "developer", "worker", "approver", "auditor")
    session = site.as_(person.role)
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        session.call("aos_auth.grant_access", person.role, "worker")
    with owner.refused("42704", "there is no role"):
        owner.call("aos_auth.grant_access", name("nobody"), "user")
    with owner.refused("OS001", "there is no access"):
        owner.call("aos_auth.grant_access", person.role, "everything")


def test_accesses_are_events(site: Site, owner: House) -> None:
    person = site.person(owner.tenant(), "user")
    owner.call("aos_auth.revoke_access", person.role, "user")
    events = owner.rows(
        "select event_type from aos_core.event_log where detail ->> 'db_role' = %s order by created_at",
        person.role,
    )
    assert ("access_granted",) in events
    assert events[-1] == ("access_revoked",)
    assert owner.rows("select * from aos_core.verify_event_log()") == []


def test_a_tenant_is_exported_and_deleted_whole(site: Site, owner: House) -> None:
    tenant = owner.tenant()
    person = site.person(tenant, "user", "worker")
    session = site.as_(person.role)
    turn = session.turn(owner.agent(tenant))
    session.finish(turn)
    exported = [
        table
        for (table,) in owner.rows("select table_name from aos_agent.export_tenant(%s)", tenant)
    ]
    assert {"aos_auth.tenant", "aos_core.run", "aos_agent.message"} <= set(exported)
    assert not {"aos_auth.login", "aos_auth.acting"} & set(exported)
    stored = owner.one("select name from aos_auth.tenant where tenant_id = %s", tenant)
    deleted = owner.call("aos_agent.delete_tenant", tenant, stored)
    assert deleted["aos_core.run"] == 1
    assert session.one("select aos_auth.tenant_id()") is None
    assert owner.rows("select * from aos_auth.login where tenant_id = %s", tenant) == []
