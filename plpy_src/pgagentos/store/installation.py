"""Statements of the installation check."""

from __future__ import annotations

from ..database import Database, Row


def extensions(database: Database) -> list[Row]:
    """``name`` and ``version`` of the extensions that pgAgentOS uses; version None: not created."""
    return database.rows(
        "select n.name, e.extversion as version"
        " from unnest(array['pgagentos', 'plpython3u', 'vector', 'pgcrypto', 'pg_cron'])"
        " as n (name)"
        " left join pg_catalog.pg_extension as e on e.extname = n.name"
    )


def providers(database: Database) -> list[Row]:
    """The providers that an active model names; ``secret_owner``: whose secrets hold their key."""
    return database.rows(
        "select p.provider, p.base_url, p.api_key_env, p.secret_name,"
        " (select case when bool_or(s.tenant_id is null) then 'the operator' else"
        " count(*) || case count(*) when 1 then ' tenant' else ' tenants' end end"
        " from aos_meta.secret as s where s.name = p.secret_name having count(*) > 0)"
        " as secret_owner from aos_meta.provider as p"
        " where exists (select from aos_meta.llm_model_registry as m"
        " where m.provider = p.provider and m.is_active) order by p.provider"
    )


def lost_functions(database: Database) -> list[Row]:
    """``name`` and ``function_name`` of active skills whose SQL function is not there any more.

    A schema that the caller may not use is left out: its functions cannot be looked up.
    """
    return database.rows(
        "select s.name, s.function_name from aos_skills.skill as s"
        " left join pg_catalog.pg_namespace as n on pg_catalog.quote_ident(n.nspname)"
        """ = substring(s.function_name from '^("(?:[^"]|"")+"|[^".]+)[.]')"""
        " where s.is_active and s.implementation = 'sql_function'"
        " and case when n.oid is null or pg_catalog.has_schema_privilege(n.oid, 'usage')"
        " then pg_catalog.to_regprocedure(s.function_name) is null else false end"
        " order by s.name, s.tenant_id"
    )
