"""Statements of the sandbox: what an agent may read, the limits of a query, the run itself."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from ..database import Database
from ..errors import NotFound
from .sandbox_objects import ADDED_FUNCTIONS

_AGENT = """
select coalesce(a.db_role, 'pgagentos_agent') as role, r.oid::bigint as role_id,
       pg_catalog.has_schema_privilege(r.oid, 'aos_sandbox', 'usage') as is_admitted,
       pg_catalog.to_regrole('pgagentos_parser')::oid::bigint as parser_id,
       (select pg_catalog.json_object_agg(s.name, s.value) from aos_meta.setting as s
         where s.name in ('sql_query_deadline_seconds', 'sql_query_max_rows', 'sql_query_max_bytes',
            'sql_query_memory_megabytes', 'sql_query_temporary_megabytes', 'sql_query_max_cost')) as settings
  from aos_agent.agent as a
  left join pg_catalog.pg_roles as r on r.rolname = coalesce(a.db_role, 'pgagentos_agent') and not r.rolsuper and not r.rolbypassrls
 where a.agent_id = $1::uuid and a.tenant_id = $2::uuid
"""
# A row for a table comes after the row for its schema, and public after other schemas: the last one counts.
_TABLES = """
select w.schema_name as asked_schema, w.table_name as asked_name, n.nspname as schema_name, c.relname as table_name,
       c.oid::bigint as relation_id, c.reltype::bigint as row_type, c.reltuples as row_count, c.relpages as pages,
       c.relkind = 'v' as is_view,
       case when c.relkind = 'v' then not exists (select from pg_catalog.pg_options_to_table(c.reloptions) as o
           where o.option_name in ('security_barrier', 'security_invoker') and o.option_value::boolean) else false end as is_leaky,
       pg_catalog.has_schema_privilege('pgagentos_parser', n.oid, 'usage') as is_visible,
       case when c.relhassubclass then exists (
           with recursive below (relation_id) as (
               select i.inhrelid from pg_catalog.pg_inherits as i where i.inhparent = c.oid
               union select i.inhrelid from below as b join pg_catalog.pg_inherits as i on i.inhparent = b.relation_id)
           select from below as b join pg_catalog.pg_class as d on d.oid = b.relation_id where d.relkind not in ('r', 'p')
       ) else false end as is_foreign,
       case when s.columns is not null then (
           select pg_catalog.json_agg(pg_catalog.json_build_array(t.attnum, t.attname) order by t.attnum)
             from pg_catalog.pg_attribute as t
            where t.attrelid = c.oid and t.attnum > 0 and not t.attisdropped and t.attname = any (s.columns)) end as columns,
       s.columns is not null as is_narrowed
  from unnest($3::text[], $4::text[]) as w (schema_name, table_name)
  join aos_agent.sql_access as s on s.agent_id = $1::uuid and s.tenant_id = $2::uuid
   and (w.schema_name is null or w.schema_name = s.schema_name) and (s.table_name is null or s.table_name = w.table_name)
  join pg_catalog.pg_namespace as n on n.nspname = s.schema_name
  join pg_catalog.pg_class as c on c.relnamespace = n.oid and c.relname = w.table_name
   and c.relkind in ('r', 'p', 'v', 'm') and c.relpersistence <> 't'
 order by s.table_name is not null, n.nspname = 'public', n.nspname desc
"""
_TYPE_NAMES = """
select w.name, n.nspname as schema_name, t.typname as type_name
  from pg_catalog.unnest($3::text[]) as w (name)
  join pg_catalog.pg_type as t on t.typname = pg_catalog.split_part(w.name, '.', case when w.name like '%.%' then 2 else 1 end)
  join pg_catalog.pg_namespace as n on n.oid = t.typnamespace
  left join pg_catalog.pg_extension as e on e.extnamespace = n.oid and e.extname = 'vector'
   and t.typname in ('vector', 'halfvec', 'sparsevec')
 where (w.name not like '%.%' or n.nspname = pg_catalog.split_part(w.name, '.', 1))
   and (e.oid is not null or t.typtype = 'e' and exists (select from aos_agent.sql_access as s
         where s.agent_id = $1::uuid and s.tenant_id = $2::uuid and s.schema_name = n.nspname))
"""


def find_agent(database: Database, agent_name: str) -> tuple[str, str]:
    """The agent of that name that the caller sees: agent_id and tenant_id."""
    row = database.rows(
        "select a.agent_id, a.tenant_id from aos_agent._agent($1::text) as a", agent_name
    )[0]
    return str(row["agent_id"]), str(row["tenant_id"])


def agent(database: Database, agent_id: str, tenant_id: str) -> Mapping[str, Any]:
    """The role of an agent, without an identity where it may not run tools, and the limits of its queries."""
    rows = database.rows(_AGENT, agent_id, tenant_id)
    if not rows:
        raise NotFound(
            "there is no such agent", hint="SELECT name FROM aos_agent.agent lists them."
        )
    return {**rows[0], "settings": json.loads(rows[0]["settings"] or "{}")}


def tables(
    database: Database, agent_id: str, tenant_id: str, names: Iterable[tuple[str | None, str]]
) -> Mapping[tuple[str | None, str], Mapping[str, Any]]:
    """What names of tables mean for an agent, without those that it may not read.

    Args:
        names: schema (or None) and name.
    """
    asked = list(names)
    if not asked:
        return {}
    rows = database.rows(
        _TABLES, agent_id, tenant_id, [schema for schema, _ in asked], [name for _, name in asked]
    )
    return {
        (row["asked_schema"], row["asked_name"]): {
            **row,
            "columns": json.loads(row["columns"]) if row["columns"] else (),
        }
        for row in rows
    }


def type_names(
    database: Database, agent_id: str, tenant_id: str, names: Iterable[str]
) -> Mapping[str, tuple[str, str]]:
    """What names of types that are not built in mean for an agent: schema and name."""
    rows = database.rows(_TYPE_NAMES, agent_id, tenant_id, list(names))
    return {row["name"]: (row["schema_name"], row["type_name"]) for row in rows}


def added_functions(database: Database) -> Mapping[str, str]:
    """The operator's additions: name -> schema."""
    rows = database.rows("select n.nspname as schema_name, p.proname as name" + ADDED_FUNCTIONS)
    return {row["name"]: row["schema_name"] for row in rows}


def vector_schema(database: Database) -> str | None:
    """Where the extension vector is; None when it is not installed."""
    rows = database.rows(
        "select n.nspname as name from pg_catalog.pg_extension as e"
        " join pg_catalog.pg_namespace as n on n.oid = e.extnamespace where e.extname = 'vector'"
    )
    return str(rows[0]["name"]) if rows else None


def schemas(database: Database, agent_id: str, tenant_id: str) -> frozenset[str]:
    """The schemas of which an agent may read something."""
    rows = database.rows(
        "select distinct s.schema_name from aos_agent.sql_access as s"
        " where s.agent_id = $1::uuid and s.tenant_id = $2::uuid",
        agent_id,
        tenant_id,
    )
    return frozenset(row["schema_name"] for row in rows)


_SET_LIMITS = """
select pg_catalog.pg_is_in_recovery() or pg_catalog.current_setting('transaction_read_only') = 'on' as is_read_only,
       pg_catalog.set_config('standard_conforming_strings', 'on', true),
       pg_catalog.set_config('transform_null_equals', 'off', true),
       pg_catalog.set_config('row_security', 'on', true),
       pg_catalog.set_config('jit', 'off', true),
       pg_catalog.set_config('max_parallel_workers_per_gather', '0', true),
       pg_catalog.set_config('work_mem', '4MB', true),
       pg_catalog.set_config('hash_mem_multiplier', '1', true),
       pg_catalog.set_config('from_collapse_limit', '8', true),
       pg_catalog.set_config('join_collapse_limit', '8', true),
       pg_catalog.set_config('lock_timeout', '300ms', true),
       pg_catalog.set_config('check_function_bodies', 'off', true),
       aos_core._limit_temporary_files($1::integer)
"""
#: the quicker compression of the analysed tree, where the server was built with it
_LZ4 = ", pg_catalog.set_config('default_toast_compression', 'lz4', true)"
_set_limits: list[str] = []


def set_limits(database: Database, temporary_megabytes: int) -> Mapping[str, Any]:
    """Set what bounds the query, until the subtransaction ends; return what was found on the way."""
    if not _set_limits:
        rows = database.rows(
            "select exists (select from pg_catalog.pg_settings as s where s.name ="
            " 'default_toast_compression' and 'lz4' = any (s.enumvals)) as has_lz4"
        )
        _set_limits.append(_SET_LIMITS + (_LZ4 if rows[0]["has_lz4"] else ""))
    return database.rows(_set_limits[0], temporary_megabytes)[0]


def wrapped(statement: str, alias: str, max_rows: int) -> str:
    """The statement as the server gets it: each row as JSON text, and one row more than is shown.

    Args:
        alias: of the rows; a name that the statement cannot have for a column.
    """
    return (
        f"select pg_catalog.row_to_json({alias})::text as j"
        f" from ( {statement} ) as {alias} limit {max_rows + 1}"
    )


def analyse(database: Database, function_name: str, statement: str) -> str:
    """The server's analysis of a statement, which is kept as a function until the subtransaction ends."""
    rows = database.rows(
        "select aos_sandbox._analyse($1::text, $2::text) as tree", function_name, statement
    )
    return str(rows[0]["tree"])


def run(
    database: Database, function_name: str, max_cost: float | None, max_rows: int, max_bytes: int
) -> Mapping[str, Any]:
    """Run an analysed statement: outcome, cost and rows.

    Args:
        max_cost: None to leave the estimate out.
    """
    return database.rows(
        "select r.outcome, r.cost, r.rows from"
        " aos_sandbox._run($1::text, $2::float, $3::integer, $4::integer) as r",
        function_name,
        max_cost,
        max_rows,
        max_bytes,
    )[0]
