"""aos_auth.access_report: it lists every way to a tenant, a secret, a skill, a table and a host."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from access.conftest import Doors, Tenant
from access.estate import Estate, furnish
from house import House

Row = tuple[str, str, str, str | None, str]


@pytest.fixture
def estate(doors: Doors) -> Iterator[Estate]:
    """A furnished tenant for this test alone."""
    made = furnish(doors.house)
    yield made
    doors.house.rows(f"drop owned by {made.agents_role}")
    doors.house.rows(f"drop role {made.agents_role}")


def report(house: House, kind: str, db_role: str | None = None) -> set[Row]:
    """The rows of a kind: role, object, privilege, tenant, through."""
    rows = house.rows(
        "select db_role::text, object, privilege, tenant, through from aos_auth.access_report()"
        " where kind = %s and (%s::text is null or db_role = %s)",
        kind, db_role, db_role,
    )  # fmt: skip
    assert len(rows) == len(set(rows)), "a row stands there twice"
    return set(rows)


BY_TICKET = "tickets signed with main"


def test_a_login_reaches_the_tenant_of_its_principal(
    doors: Doors, tenants: tuple[Tenant, Tenant]
) -> None:
    mine = tenants[0]
    role = doors.role("user", "approver")
    assert report(doors.house, "tenant", role) == {
        (role, "every tenant", "approver, user", None, BY_TICKET)
    }
    doors.house.insert(
        "aos_auth.principal", tenant_id=mine.tenant_id, db_role=role, display_name="Alice"
    )
    assert report(doors.house, "tenant", role) == {
        (role, "every tenant", "approver, user", None, BY_TICKET),
        (role, mine.name, "approver, user", mine.name, "principal Alice"),
    }
    doors.house.rows("update aos_auth.principal set is_active = false where db_role = %s", role)
    assert {through for *_, through in report(doors.house, "tenant", role)} == {BY_TICKET}


def test_without_a_ticket_key_no_login_reaches_a_tenant_by_tickets(doors: Doors) -> None:
    role = doors.role("user")
    with doors.house.connection.transaction(force_rollback=True):
        doors.house.rows("delete from aos_auth.ticket_key")
        assert report(doors.house, "tenant", role) == set()


def test_operators_and_superusers_reach_every_tenant_also_through_other_roles(
    doors: Doors,
) -> None:
    operator, team = doors.role("operator"), doors.role("operator", options="nologin")
    member, superuser = doors.role(), doors.role(options="superuser login")
    files, deputy = doors.role(), doors.role()
    doors.house.rows(f"grant {team} to {member}")
    doors.house.rows(f"grant pg_read_server_files to {files}")
    doors.house.rows(f"grant {superuser} to {deputy}")
    for role, privilege, through in (
        (operator, "operator", "pgagentos_operator"),
        (member, "operator", team),
        (superuser, "everything", "superuser"),
        (deputy, "everything", f"member of {superuser}"),
        (files, "everything", "member of pg_read_server_files"),
    ):
        expected = (role, "every tenant", privilege, None, through)
        assert expected in report(doors.house, "tenant", role), role
    assert report(doors.house, "tenant", team) == set()  # nobody can log in as it


def test_a_role_that_bypasses_row_security_is_told(doors: Doors) -> None:
    role = doors.role("user", options="bypassrls login")
    expected = (role, "every tenant", "user", None, "bypasses row security")
    assert expected in report(doors.house, "tenant", role)


def test_whoever_sees_a_tenants_rows_is_in_the_report(
    doors: Doors, tenants: tuple[Tenant, Tenant]
) -> None:
    """By what each login really sees, not by what the report's own query says."""
    roles = [
        doors.role(),
        doors.role("user"),
        doors.role("auditor"),
        doors.role("operator"),
        doors.role("user", options="bypassrls login"),
    ]
    for role, tenant in zip(roles[:3], (tenants[0], tenants[1], tenants[0]), strict=True):
        doors.house.insert("aos_auth.principal", tenant_id=tenant.tenant_id, db_role=role)
    reported = report(doors.house, "tenant")
    names = {tenant.name for tenant in tenants}
    for role in roles:
        session = doors.session(role)
        may = session.one("select has_schema_privilege('aos_auth', 'usage')")
        seen = {n for (n,) in session.rows("select name from aos_auth.tenant")} if may else set()
        told: set[str] = set()
        for db_role, thing, _, _, through in reported:
            if db_role == role and through != BY_TICKET:
                told |= names if thing == "every tenant" else {thing}
        assert seen & names == told & names, role


def test_secrets_are_listed_by_name_with_who_sets_and_who_uses_them(
    doors: Doors, estate: Estate
) -> None:
    house = doors.house
    house.call("aos_meta.set_secret", "everybodys", "value")
    manager, talker = doors.role("secret_manager"), doors.role("user")
    for role in (manager, talker):
        house.insert(
            "aos_auth.principal", tenant_id=estate.tenant.tenant_id, db_role=role, display_name=role
        )
    name = estate.tenant.name

    def as_principal(role: str) -> set[Row]:
        return {row for row in report(house, "secret", role) if row[4] == f"principal {role}"}

    assert as_principal(manager) == {(manager, estate.word, "set", name, f"principal {manager}")}
    assert as_principal(talker) == {
        (talker, secret, "use in turns", name, f"principal {talker}")
        for secret in (estate.word, f"shared_{estate.word}", "everybodys")
    }
    text = str(house.rows("select * from aos_auth.access_report()"))
    assert f"value of {estate.word}" not in text


def test_skills_are_listed_with_the_role_that_they_run_as(doors: Doors, estate: Estate) -> None:
    house, tenant = doors.house, estate.tenant
    house.call("aos_agent.grant_skill", tenant.agent.name, estate.http_skill)
    skills = {row for row in report(house, "skill") if row[3] == tenant.name}
    through = f"agent {tenant.agent.name}"
    approval = house.one(
        "select on_call from aos_agent.effective_skill where name = %s", estate.http_skill
    )
    assert approval in ("run", "awaiting_approval")
    called = "run" if approval == "run" else "run after approval"
    assert skills == {
        ("pgagentos_worker", estate.skill, "run after approval", tenant.name, through),
        ("pgagentos_worker", estate.free_skill, "run", tenant.name, through),
        (estate.agents_role, "memory_store", "run", tenant.name, through),
        ("pgagentos_kernel", estate.http_skill, called, tenant.name, through),
    }


def test_tables_are_listed_with_what_agents_roles_may_do_with_them(
    doors: Doors, estate: Estate
) -> None:
    house, role = doors.house, estate.agents_role
    house.rows(
        "create schema open; create schema closed;"
        "create table open.secured (a int, b int); create table open.plain (a int, b int);"
        "create table closed.hidden (a int); create view open.seen as select 1 as a;"
        "alter table open.secured enable row level security;"
        f"grant usage on schema open to {role}, pgagentos_agent;"
        f"grant select, insert on open.secured to {role};"
        f"grant update (b) on open.plain to {role};"
        f"grant select on closed.hidden to {role};"
        "grant select on open.seen to public"
    )
    name = estate.tenant.name
    try:
        granted = {row for row in report(house, "table", role) if "sql_query" not in row[2]}
        assert granted == {
            (role, "open.secured", "SELECT", name, f"{role}, under row security"),
            (role, "open.secured", "INSERT", name, f"{role}, under row security"),
            (role, "open.plain", "UPDATE", name, role),
            (role, "open.seen", "SELECT", name, "PUBLIC"),
        }
        assert report(house, "table", "pgagentos_agent") == {
            ("pgagentos_agent", "open.seen", "SELECT", None, "PUBLIC")
        }
        for _, table, privilege, _, _ in granted:
            assert house.one("select has_any_column_privilege(%s, %s, %s)", role, table, privilege)
        assert {row for row in report(house, "table", role) if "sql_query" in row[2]} == {
            (role, f"{estate.word}.*", "SELECT by sql_query, where granted", name,
             f"agent {estate.tenant.agent.name}")
        }  # fmt: skip
    finally:
        house.rows("drop schema open, closed cascade")


def test_hosts_are_listed_with_what_calls_them(doors: Doors, estate: Estate) -> None:
    house, name = doors.house, estate.tenant.name
    house.call("aos_skills.allow_host", "*.example.net", estate.tenant.tenant_id)
    house.call(
        "aos_meta.set_secret", "for_a_host", "value", estate.tenant.tenant_id, "{api.example.com}"
    )
    hosts = report(house, "host")
    assert {row for row in hosts if row[3] == name} == {
        ("pgagentos_kernel", f"https://{estate.host}:443", "call", name,
         f"skill {estate.http_skill}"),
        ("pgagentos_kernel", "https://*.example.net:443", "call", name, "every http skill"),
        ("pgagentos_kernel", "api.example.com", "be sent a secret", name, "secret for_a_host"),
    }  # fmt: skip
    assert (
        "pgagentos_kernel", "https://api.openai.com", "call", None, "provider openai",
    ) in hosts  # fmt: skip


def test_an_auditor_sees_it_for_his_own_tenant(doors: Doors, estate: Estate) -> None:
    other = furnish(doors.house)
    auditor = doors.login("auditor", principal_of=estate.tenant)
    text = str(auditor.rows("select * from aos_auth.access_report()"))
    assert estate.word in text
    for foreign in (other.word, other.agents_role, other.tenant.agent.name):
        assert foreign not in text
    limited = doors.login("user", "developer", "secret_manager", principal_of=estate.tenant)
    with limited.refused("42501", "permission denied for function access_report"):
        limited.rows("select * from aos_auth.access_report()")
