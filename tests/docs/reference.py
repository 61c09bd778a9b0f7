"""docs/reference.md, written from the catalogue: what COMMENT ON says about every public object."""

from __future__ import annotations

import psycopg

HEAD = """# Reference

Every table, view and function of pgAgentOS that is meant to be used. This page is written from the
database's own comments by `scripts/build_reference`; in psql, `\\d+` and `\\df+` show the same.
Functions whose name begins with an underscore are private and may change.
"""

_SCHEMAS = """
select n.nspname, obj_description(n.oid, 'pg_namespace')
  from pg_namespace as n
 where n.nspname like 'aos\\_%'
 order by array_position(
        '{aos_auth,aos_meta,aos_persona,aos_skills,aos_sandbox,aos_core,aos_agent}',
        n.nspname::text), n.nspname
"""
_RELATIONS = """
select c.oid, c.relname, case c.relkind when 'v' then 'view' else 'table' end,
       obj_description(c.oid, 'pg_class')
  from pg_class as c
 where c.relnamespace = %s::regnamespace and c.relkind in ('r', 'v', 'p') and not c.relispartition
 order by c.relkind, c.relname collate "C"
"""
_COLUMNS = """
select a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull,
       pg_get_expr(d.adbin, d.adrelid), col_description(a.attrelid, a.attnum)
  from pg_attribute as a
  left join pg_attrdef as d on d.adrelid = a.attrelid and d.adnum = a.attnum
 where a.attrelid = %s and a.attnum > 0 and not a.attisdropped
 order by a.attnum
"""
_FUNCTIONS = """
select p.proname, pg_get_function_arguments(p.oid), pg_get_function_result(p.oid),
       obj_description(p.oid, 'pg_proc')
  from pg_proc as p
 where p.pronamespace = %s::regnamespace and left(p.proname, 1) <> '_'
   and p.prorettype <> 'trigger'::regtype
   and p.pronamespace <> 'aos_sandbox'::regnamespace  -- built-in functions under their own names
 order by p.proname collate "C", 2
"""


def page(connection: psycopg.Connection) -> str:
    """Return the whole page."""
    lines = [HEAD]
    for schema, comment in connection.execute(_SCHEMAS).fetchall():
        lines += [f"## {schema}\n", f"{comment}\n"]
        for oid, relation, kind, about in connection.execute(_RELATIONS, (schema,)).fetchall():
            lines += [f"### {kind} {schema}.{relation}\n", f"{about}\n"]
            lines += ["| column | type | | |", "|---|---|---|---|"]
            for column, data_type, is_required, default, note in connection.execute(
                _COLUMNS, (oid,)
            ):
                facts = ["required"] if is_required and default is None and kind == "table" else []
                facts += [f"default `{default}`"] if default is not None else []
                lines.append(_row(f"`{column}`", data_type, ", ".join(facts), note or ""))
            lines.append("")
        functions = connection.execute(_FUNCTIONS, (schema,)).fetchall()
        for function, arguments, result, about in functions:
            lines += [
                f"### {schema}.{function}\n",
                "```",
                f"{schema}.{function}({arguments})",
                f"    returns {result}",
                "```\n",
            ]
            first, *parameters = about.split("\n@param ")
            lines += [f"{first}\n"]
            lines += [f"- `{one.partition(':')[0]}`:{one.partition(':')[2]}" for one in parameters]
            lines += [""] if parameters else []
    return "\n".join(lines).rstrip() + "\n"


def _row(*cells: str) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"
