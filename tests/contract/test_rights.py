"""Who may what, read from the catalogue of an installed extension: rules without exceptions that
have no reason."""

from __future__ import annotations

import psycopg

from cluster import server_major
from contract.catalogue import FUNCTIONS, OURS, RELATIONS, STAND_IN, TABLES, names

ROLES = "r.rolname like 'pgagentos\\_%'"
PINNED = "'search_path=pg_catalog, pg_temp' = any (coalesce(p.proconfig, '{}'))"
GRANTED = (
    "exists (select from aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) as a"
    " where a.grantee <> p.proowner)"
)

#: functions that somebody may call and that have the caller's rights
INVOKERS = {
    "aos_agent.run_turn_stepwise(uuid,boolean,text,jsonb)": "it commits, as no definer may",
    "aos_agent.work(integer,integer,integer)": "it commits, as no definer may",
    "aos_agent._add_cron_job(text,text,text)": "a job of pg_cron belongs to who makes it",
    "aos_agent._cron_jobs(text)": "shows the jobs of the caller",
    "aos_agent._drop_cron_jobs(bigint[])": "deletes jobs of the caller",
    "aos_agent.install_maintenance()": "jobs of pg_cron belong to who makes them",
    "aos_agent.install_worker(integer,integer,integer)": "jobs of pg_cron belong to who makes them",
    "aos_agent.uninstall_maintenance()": "deletes jobs of the caller",
    "aos_agent.uninstall_worker()": "deletes jobs of the caller",
    "aos_auth.actor()": "calls functions that are definers",
    "aos_core.new_id()": "a random number: it touches nothing",
    "aos_meta.call_cost(aos_meta.llm_model_registry,integer,integer,integer,integer)": (
        "arithmetic: it touches nothing"
    ),
    "aos_persona.compose_prompt(text,jsonb,text[])": "text from text: it touches nothing",
    "aos_sandbox._analyse(text,text)": "has the rights of pgagentos_parser, that is, none",
    "aos_sandbox._run(text,double precision,integer,integer)": (
        "runs an analysed query with the rights of the agent's role"
    ),
    "aos_skills.describe_schema(text)": "shows what the caller may read",
}

#: functions that stay the superuser's who made the extension
OF_SUPERUSERS = {
    "aos_core._load()": "pg_config() is for superusers; it takes no argument",
    "aos_core._limit_temporary_files(integer)": "temp_file_limit is; it can only be lowered",
}

#: internal functions that somebody may call
INTERNAL_BUT_GRANTED = {
    "aos_agent._add_cron_job(text,text,text)": "install_worker calls it with the caller's rights",
    "aos_agent._cron_jobs(text)": "install_worker calls it with the caller's rights",
    "aos_agent._drop_cron_jobs(bigint[])": "install_worker calls it with the caller's rights",
    "aos_auth._visible_tenant()": "row security calls it with the rights of who reads",
    "aos_sandbox._analyse(text,text)": "the kernel calls it as pgagentos_parser",
    "aos_sandbox._run(text,double precision,integer,integer)": (
        "the kernel calls it as the agent's role"
    ),
    "aos_core._load()": "the kernel's functions call it; only the kernel is granted it",
    "aos_core._limit_temporary_files(integer)": "only the kernel is granted it",
}

#: definer functions without a search path of their own
UNPINNED_DEFINERS = {
    "aos_auth._visible_tenant()": "names nothing; row security calls it in every statement",
    "aos_auth.tenant_id()": "names nothing; row security of business tables calls it",
    "aos_auth.principal_id()": "names nothing; row security of business tables calls it",
}

#: tables of the operator: the same for all tenants
SHARED_TABLES = {
    "aos_agent.sql_function_access",
    "aos_auth.role",
    "aos_auth.ticket_key",
    "aos_core.lane_gate",
    "aos_core.limit_gate",
    "aos_core.rate_bucket",
    "aos_meta.llm_model_registry",
    "aos_meta.provider",
    "aos_meta.setting",
    "aos_skills.risk_policy",
    "aos_skills.role_skill",
}

#: unique keys over all tenants: a refusal could tell one tenant of another's row
KEYS_OVER_ALL_TENANTS = {
    "principal_db_role_is_unique": "a login is one principal; only operators write it",
    "skill_pkey": "skills of nobody's have no tenant; the key is a random number",
    "secret_pkey": "secrets of nobody's have no tenant; the key is a random number",
    "http_endpoint_pkey": "the key is a skill's",
    "http_host_pkey": "hosts of nobody's have no tenant; the key is a random number",
    "step_answers_a_call_once": "the key is a turn's, a random number",
    "tenant_name_is_unique": "only operators write tenants",
}  # fmt: skip


def test_a_function_that_somebody_may_call_acts_as_the_kernel_or_has_a_reason_not_to(
    connection: psycopg.Connection,
) -> None:
    others = names(
        connection,
        f"select p.oid::regprocedure::text {FUNCTIONS} and {GRANTED}"
        " and p.proname not in ('_load', '_limit_temporary_files')"
        f" and not {STAND_IN}"
        " and not (p.prosecdef and p.proowner = 'pgagentos_kernel'::regrole)",
    )
    assert set(others) == set(INVOKERS)


def test_internal_functions_are_granted_to_nobody(connection: psycopg.Connection) -> None:
    granted = names(
        connection,
        f"select p.oid::regprocedure::text {FUNCTIONS} and {GRANTED} and p.proname like '\\_%'"
        f" and not {STAND_IN}",
    )
    assert set(granted) == set(INTERNAL_BUT_GRANTED)
    loaders = [
        grantee
        for (grantee,) in connection.execute(
            "select a.grantee::regrole::text from pg_proc p, aclexplode(p.proacl) a"
            " where p.oid = any (%s::regprocedure[]) and a.grantee <> p.proowner",
            (list(OF_SUPERUSERS),),
        )
    ]
    assert loaders == ["pgagentos_kernel"] * 2


def test_every_other_function_is_somebodys_to_call(connection: psycopg.Connection) -> None:
    useless = names(
        connection,
        f"select p.oid::regprocedure::text {FUNCTIONS} and p.proname not like '\\_%'"
        f" and not {GRANTED} and not {STAND_IN}",
    )
    assert useless == []


def test_stand_ins_of_built_in_functions_are_as_harmless_as_those(
    connection: psycopg.Connection,
) -> None:
    """They are for the roles of agents alone, whose queries call them."""
    stand_ins = f"select p.oid::regprocedure::text {FUNCTIONS} and {STAND_IN}"
    assert len(names(connection, stand_ins)) > 50
    harmful = names(
        connection,
        f"{stand_ins} and (p.prosecdef or p.provolatile = 'v' or exists (select from"
        " aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) a where a.grantee"
        " not in (p.proowner, 'pgagentos_agent'::regrole)))",
    )
    assert harmful == []


def test_what_only_the_kernel_calls_is_no_definer_but_for_triggers(
    connection: psycopg.Connection,
) -> None:
    definers = names(
        connection,
        f"select p.oid::regprocedure::text {FUNCTIONS} and p.prosecdef and not {GRANTED}"
        " and p.prorettype <> 'trigger'::regtype",
    )
    assert definers == []


def test_definers_have_a_search_path_of_their_own(connection: psycopg.Connection) -> None:
    unpinned = names(
        connection,
        f"select p.oid::regprocedure::text {FUNCTIONS} and p.prosecdef and not {PINNED}",
    )
    assert set(unpinned) == set(UNPINNED_DEFINERS)


def test_triggers_with_the_kernels_rights_work_while_a_dump_is_restored(
    connection: psycopg.Connection,
) -> None:
    """pg_restore turns row security off, which is an error for whoever it holds for."""
    triggers = (
        f"select p.oid::regprocedure::text {FUNCTIONS} and p.prosecdef"
        " and p.prorettype = 'trigger'::regtype and exists (select from pg_trigger t"
        " join pg_class c on c.oid = t.tgrelid where t.tgfoid = p.oid and c.relkind in ('r', 'p'))"
    )
    assert len(names(connection, triggers)) >= 3
    assert names(connection, f"{triggers} and not 'row_security=on' = any (p.proconfig)") == []


def test_everything_belongs_to_the_kernels_role_but_the_loader(
    connection: psycopg.Connection,
) -> None:
    others = names(
        connection,
        f"select p.oid::regprocedure::text {FUNCTIONS}"
        " and p.proowner <> 'pgagentos_kernel'::regrole"
        f" union all select c.oid::regclass::text {RELATIONS}"
        " and c.relowner <> 'pgagentos_kernel'::regrole"
        " union all select t.oid::regtype::text from pg_type t"
        f" join pg_namespace n on n.oid = t.typnamespace where {OURS}"
        " and t.typowner <> 'pgagentos_kernel'::regrole"
        f" union all select n.nspname from pg_namespace n where {OURS}"
        " and n.nspowner <> 'pgagentos_kernel'::regrole",
    )
    assert sorted(others) == sorted(OF_SUPERUSERS)


def test_public_may_nothing(connection: psycopg.Connection) -> None:
    public = names(
        connection,
        f"select p.oid::regprocedure::text {FUNCTIONS} and exists (select from"
        " aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) a where a.grantee = 0)"
        f" union all select c.oid::regclass::text {RELATIONS} and exists (select from"
        " aclexplode(coalesce(c.relacl, acldefault(case c.relkind when 'S' then 's' else 'r'"
        ' end::"char", c.relowner))) a where a.grantee = 0)'
        " union all select c.oid::regclass || '.' || t.attname from pg_attribute t"
        " join pg_class c on c.oid = t.attrelid join pg_namespace n on n.oid = c.relnamespace,"
        f" aclexplode(t.attacl) a where {OURS} and a.grantee = 0"
        f" union all select n.nspname from pg_namespace n where {OURS}"
        " and has_schema_privilege('public', n.oid, 'usage, create')",
    )
    assert public == []


def test_nobody_may_truncate_refer_to_or_put_triggers_on_a_table(
    connection: psycopg.Connection,
) -> None:
    granted = connection.execute(
        "select c.oid::regclass::text, a.grantee::regrole::text, a.privilege_type"
        " from pg_class c join pg_namespace n on n.oid = c.relnamespace,"
        f" aclexplode(c.relacl) a where {OURS} and a.grantee <> c.relowner"
        " and a.privilege_type not in ('SELECT', 'INSERT', 'UPDATE', 'DELETE')"
    ).fetchall()
    assert granted == []


def test_nobody_may_pass_on_what_he_may(connection: psycopg.Connection) -> None:
    grantable = names(
        connection,
        "select c.oid::regclass::text from pg_class c join pg_namespace n on n.oid ="
        f" c.relnamespace, aclexplode(c.relacl) a where {OURS} and a.is_grantable"
        " and a.grantee <> c.relowner"
        " union all select p.oid::regprocedure::text from pg_proc p join pg_namespace n on n.oid"
        f" = p.pronamespace, aclexplode(p.proacl) a where {OURS} and a.is_grantable"
        " and a.grantee <> p.proowner",
    )
    assert grantable == []


def test_a_table_with_a_tenant_shows_its_rows_to_that_tenant_only(
    connection: psycopg.Connection,
) -> None:
    tables = (
        f"select c.oid::regclass::text {TABLES} and exists (select from pg_attribute a"
        " where a.attrelid = c.oid and a.attname = 'tenant_id' and not a.attisdropped)"
    )
    assert len(names(connection, tables)) > 15
    open_tables = names(
        connection,
        f"{tables} and not (c.relrowsecurity and c.relforcerowsecurity and exists (select from"
        " pg_policy y where y.polrelid = c.oid and y.polname = 'tenant' and y.polpermissive"
        " and y.polcmd = '*' and pg_get_expr(y.polqual, c.oid) like '%_visible_tenant()%'))",
    )
    assert open_tables == []


def test_every_way_to_see_rows_asks_who_acts(connection: psycopg.Connection) -> None:
    """A second permissive policy would open what the first one closes."""
    blind = connection.execute(
        "select c.oid::regclass::text, y.polname, y.polroles::regrole[]::text[]"
        " from pg_policy y join pg_class c on c.oid = y.polrelid"
        f" join pg_namespace n on n.oid = c.relnamespace where {OURS} and y.polpermissive"
        " and coalesce(pg_get_expr(y.polqual, c.oid), pg_get_expr(y.polwithcheck, c.oid))"
        " not like '%_visible_tenant()%' order by 1"
    ).fetchall()
    kernel = ["pgagentos_kernel"]
    # before it is known who acts, and what is everybody's
    assert {(table, policy): roles for table, policy, roles in blind if roles != kernel} == {}


def test_a_table_without_a_tenant_is_the_operators_to_write(connection: psycopg.Connection) -> None:
    without = names(
        connection,
        f"select c.oid::regclass::text {TABLES} and not exists (select from pg_attribute a"
        " where a.attrelid = c.oid and a.attname = 'tenant_id' and not a.attisdropped)",
    )
    assert set(without) == SHARED_TABLES
    writers = names(
        connection,
        "select distinct a.grantee::regrole::text from pg_class c, aclexplode(c.relacl) a"
        " where a.privilege_type <> 'SELECT' and a.grantee <> c.relowner and c.oid = any (array['"
        + "', '".join(SHARED_TABLES)
        + "']::regclass[])",
    )
    assert writers == ["pgagentos_operator"]


def test_unique_keys_of_tenants_rows_carry_the_tenant(connection: psycopg.Connection) -> None:
    over_all = names(
        connection,
        "select i.indexrelid::regclass::text from pg_index i join pg_class c on c.oid = i.indrelid"
        f" join pg_namespace n on n.oid = c.relnamespace where {OURS} and i.indisunique"
        " and exists (select from pg_attribute a where a.attrelid = c.oid"
        " and a.attname = 'tenant_id' and not a.attisdropped)"
        " and pg_get_indexdef(i.indexrelid) !~ '\\(.*tenant_id.*\\)'",
    )
    partial = {"shared_skill_name_is_unique"}  # where tenant_id is null
    assert {name.partition(".")[2] for name in over_all} - partial == set(KEYS_OVER_ALL_TENANTS)


def test_views_show_what_their_reader_may_see(connection: psycopg.Connection) -> None:
    views = f"select c.oid::regclass::text {RELATIONS} and c.relkind = 'v'"
    assert len(names(connection, views)) > 3
    assert names(connection, f"select c.relname {RELATIONS} and c.relkind = 'm'") == []
    if server_major() >= 15:
        blind = names(
            connection,
            f"{views} and not coalesce('security_invoker=true' = any (c.reloptions), false)",
        )
        assert blind == []


def test_our_roles_cannot_log_in_and_have_no_rights_of_their_own(
    connection: psycopg.Connection,
) -> None:
    assert len(names(connection, f"select r.rolname from pg_roles r where {ROLES}")) >= 10
    mighty = names(
        connection,
        f"select r.rolname from pg_roles r where {ROLES} and (r.rolcanlogin or r.rolsuper"
        " or r.rolbypassrls or r.rolcreaterole or r.rolcreatedb or r.rolreplication)",
    )
    assert mighty == []
    members = dict(
        connection.execute(
            "select m.roleid::regrole::text, m.member::regrole::text from pg_auth_members m"
            f" join pg_roles r on r.oid = m.member where {ROLES} or m.roleid in"
            " ('pgagentos_kernel'::regrole, 'pgagentos_parser'::regrole)"
        ).fetchall()
    )
    # so that grant_access can give the accesses out
    assert set(members.values()) == {"pgagentos_kernel"}
    assert not {"pgagentos_kernel", "pgagentos_agent", "pgagentos_parser"} & set(members)


def test_the_role_of_agents_may_call_what_every_tool_may_and_read_nothing(
    connection: psycopg.Connection,
) -> None:
    callable_by_it = names(
        connection,
        f"select p.oid::regprocedure::text {FUNCTIONS}"
        f" and has_function_privilege('pgagentos_agent', p.oid, 'execute') and not {STAND_IN}"
        " order by 1",
    )
    assert callable_by_it == [
        "aos_auth.principal_id()",
        "aos_auth.tenant_id()",
        "aos_core.memory_recall(text,uuid)",
        "aos_core.memory_store(text,text,uuid,uuid)",
        "aos_sandbox._run(text,double precision,integer,integer)",
        "aos_skills.describe_schema(text)",
    ]
    readable = names(
        connection,
        f"select c.oid::regclass::text {RELATIONS} and c.relkind in ('r', 'p', 'v')"
        " and (has_table_privilege('pgagentos_agent', c.oid, 'select, insert, update, delete')"
        " or has_any_column_privilege('pgagentos_agent', c.oid, 'select, insert, update'))",
    )
    assert readable == []


def test_the_parsers_role_may_analyse_and_nothing_else(connection: psycopg.Connection) -> None:
    usable = names(
        connection,
        f"select n.nspname from pg_namespace n where {OURS}"
        " and has_schema_privilege('pgagentos_parser', n.oid, 'usage, create')",
    )
    assert usable == ["aos_sandbox"]
    callable_by_it = names(
        connection,
        f"select p.oid::regprocedure::text {FUNCTIONS}"
        " and has_function_privilege('pgagentos_parser', p.oid, 'execute')",
    )
    assert callable_by_it == ["aos_sandbox._analyse(text,text)"]


def test_a_role_whose_queries_are_let_into_the_sandbox_may_not_analyse(
    connection: psycopg.Connection,
) -> None:
    with connection.transaction(force_rollback=True):
        connection.execute("create role let_in; select aos_sandbox._admit('let_in')")
        callable_by_it = names(
            connection,
            f"select p.oid::regprocedure::text {FUNCTIONS} and n.nspname = 'aos_sandbox'"
            " and has_function_privilege('let_in', p.oid, 'execute')",
        )
        assert len(callable_by_it) > 50
        assert not {"aos_sandbox._analyse(text,text)", "aos_sandbox._admit(name)"} & set(
            callable_by_it
        )
        assert not names(
            connection, "select has_schema_privilege('let_in', 'aos_sandbox', 'create')"
        )[0]
