"""A session is its owner's: he may have objects anywhere that the kernel could take for its own.

Who acts is asked by row security inside any statement, with the rights of the kernel and under the
search path of the session. So these tests put a trap under every name that may be looked up there.
"""

from __future__ import annotations

import psycopg
import pytest

from access.conftest import Doors, Tenant
from cluster import server_major
from house import House, name

TYPES = ("uuid", "text", "bool", "boolean", "name", "oid", "int8", "bigint", "int4", "timestamptz")
ASKED = (
    "select aos_auth._visible_tenant()",
    "select aos_auth.tenant_id()",
    "select aos_auth.principal_id()",
    "select aos_auth.actor()",
    "select aos_auth.has_access('user')",
    "select count(*) from aos_agent.agent",
    "select count(*) from aos_agent.effective_skill",
    "insert into aos_agent.conversation (agent_id, tenant_id)"
    " select agent_id, tenant_id from aos_agent.agent",
    "select aos_agent.start_turn(conversation_id) from aos_agent.conversation where title = 'x'",
)


def set_traps(session: House, schema: str) -> None:
    """Make types and operators in a schema that note who has run into them."""
    session.rows("create temporary sequence trap")
    session.rows("grant all on sequence pg_temp.trap to public")
    for kind in ("uuid", "name", "text", "oid", "bool"):
        for symbol in ("=", "<>"):
            function = f"{schema}.{kind}_{'eq' if symbol == '=' else 'ne'}"
            session.rows(
                f"create function {function}(pg_catalog.{kind}, pg_catalog.{kind})"
                " returns pg_catalog.bool language plpgsql set search_path = pg_catalog as $$ begin"
                " if current_user = 'pgagentos_kernel' then"
                " perform pg_catalog.nextval('pg_temp.trap'); end if;"
                f" return $1::pg_catalog.text operator(pg_catalog.{symbol}) $2::pg_catalog.text;"
                " end $$"
            )
            session.rows(
                f"create operator {schema}.{symbol} (leftarg = pg_catalog.{kind},"
                f" rightarg = pg_catalog.{kind}, function = {function})"
            )


def set_type_traps(session: House, schema: str) -> None:
    """Make domains whose CHECK notes who has run into them."""
    for kind in TYPES:
        base = {"bigint": "int8", "boolean": "bool"}.get(kind, kind)
        check = f'{schema}."check_{kind}"'
        session.rows(
            f"create function {check}(pg_catalog.{base}) returns pg_catalog.bool language plpgsql"
            " set search_path = pg_catalog as $$ begin if current_user = 'pgagentos_kernel' then"
            " perform pg_catalog.nextval('pg_temp.trap'); end if; return true; end $$"
        )
        session.rows(f'create domain {schema}."{kind}" as pg_catalog.{base} check ({check}(value))')


def trapped(session: House) -> bool:
    return bool(session.one("select is_called from pg_temp.trap"))


@pytest.mark.parametrize("where", ["pg_temp", "a schema of his own"])
@pytest.mark.parametrize("with_ticket", [False, True])
def test_no_type_and_no_operator_of_a_session_runs_as_the_kernel(
    doors: Doors, tenants: tuple[Tenant, Tenant], where: str, with_ticket: bool
) -> None:
    role = doors.role("user", "developer")
    schema = "pg_temp"
    if where != "pg_temp":
        schema = name("traps")
        doors.house.rows(f"create schema {schema} authorization {role}")
    if not with_ticket:
        doors.house.insert("aos_auth.principal", tenant_id=tenants[0].tenant_id, db_role=role)
    ticket = doors.ticket(tenants[0])
    session = doors.session(role)
    if schema == "pg_temp":
        session.rows("create temporary sequence trap")
        session.rows("grant all on sequence pg_temp.trap to public")
    else:
        set_traps(session, schema)
        session.rows(f"grant usage on schema {schema} to public")
    set_type_traps(session, schema)
    session.rows(f"set search_path = {schema}, pg_catalog, pg_temp")
    with session.connection.transaction():
        if with_ticket:
            session.rows("select aos_auth.begin(%s)", ticket)
        for statement in ASKED:
            with session.connection.transaction():
                session.rows(statement)
        assert session.rows("select aos_auth.tenant_id()") == [(tenants[0].tenant_id,)]
    assert not trapped(session)


# --- parallel queries -----------------------------------------------------------------------------


@pytest.fixture
def parallel(doors: Doors, tenants: tuple[Tenant, Tenant]) -> House:
    """A principal whose session plans every query as a parallel one, if it is allowed at all."""
    session = doors.login("user", principal_of=tenants[0])
    name_of_setting = "debug_parallel_query" if server_major() >= 16 else "force_parallel_mode"
    session.rows(f"set {name_of_setting} = on")
    return session


@pytest.mark.parametrize("kind", ["safe", "restricted"])
@pytest.mark.parametrize("is_loaded", [False, True])
def test_a_function_that_claims_to_be_parallel_safe_crashes_nothing(
    parallel: House, kind: str, is_loaded: bool
) -> None:
    """PL/Python cannot open a subtransaction there, and does not get over it."""
    parallel.rows(
        f"create function pg_temp.asks() returns uuid language plpgsql stable parallel {kind}"
        " as 'begin return aos_auth.tenant_id(); end'"
    )
    if is_loaded:
        assert parallel.one("select aos_auth.tenant_id()") is not None
    for _ in range(3):
        with pytest.raises(psycopg.Error) as caught:
            parallel.rows("select pg_temp.asks()")
        assert caught.value.sqlstate in ("OS001", "38000")  # not 08006: the server is still there
    assert parallel.one("select aos_auth.tenant_id()") is not None


def test_row_security_of_a_large_table_asks_who_acts(
    doors: Doors, parallel: House, tenants: tuple[Tenant, Tenant]
) -> None:
    """The policy of docs/access.md, on a table that is worth a parallel query."""
    table = name("large")
    doors.house.rows(
        f"create table public.{table} as select %s::uuid as tenant_id, n"
        " from generate_series(1, 10) as n",
        tenants[0].tenant_id,
    )
    doors.house.rows(f"alter table public.{table} enable row level security")
    doors.house.rows(
        f"create policy tenant on public.{table} using (tenant_id = (select aos_auth.tenant_id()))"
    )
    doors.house.rows(f"grant select on public.{table} to public")
    for setting in ("parallel_setup_cost", "parallel_tuple_cost", "min_parallel_table_scan_size"):
        parallel.rows(f"set {setting} = 0")
    assert parallel.one(f"select count(*) from public.{table}") == 10
    assert parallel.one(f"select count(*) from public.{table} where n % 2 = 1") == 5
    doors.house.rows(f"drop table public.{table}")
