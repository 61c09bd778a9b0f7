"""Statements of the sandbox about the catalogue: what the objects in an analysed query are."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ..database import Database
from ..sandbox import functions, operators, types
from ..sandbox.judge import Explained, Objects

#: Identifiers below this one are those of the server's own objects, which do not change
#: (``FirstNormalObjectId``).
_FIRST_OF_USERS = 16384
#: what is known of the server's own objects and of our stand-ins, which do not change while the extension is there:
#: kind -> identifier -> meaning
_known: dict[str, dict[str, Explained]] = {"function": {}, "operator": {}, "type": {}}

#: The functions that the operator has added. Not by regprocedure: the kernel need not see their schemas.
ADDED_FUNCTIONS = """
  from aos_agent.sql_function_access as f
  join pg_catalog.pg_proc as p on p.proname = (pg_catalog.parse_ident(pg_catalog.split_part(f.function_name, '(', 1)))[2]
  join pg_catalog.pg_namespace as n on n.oid = p.pronamespace
 where pg_catalog.format('%I.%I(%s)', n.nspname, p.proname, pg_catalog.oidvectortypes(p.proargtypes)) = f.function_name
"""
_FUNCTIONS = """
select p.oid::bigint as object_id, p.proname as name, n.nspname as schema_name,
       coalesce((select pg_catalog.string_agg(t.typname, ',' order by a.no)
          from pg_catalog.unnest(p.proargtypes) with ordinality as a (type_id, no)
          join pg_catalog.pg_type as t on t.oid = a.type_id), '') as arguments,
       (select pg_catalog.array_agg(s.typname::text || ' ' || d.typname::text) from pg_catalog.pg_cast as c
          join pg_catalog.pg_type as s on s.oid = c.castsource
          join pg_catalog.pg_type as d on d.oid = c.casttarget where c.castfunc = p.oid) as casts,
       exists (select from aos_agent.sql_function_access as f
          where pg_catalog.format('%I.%I(%s)', n.nspname, p.proname, pg_catalog.oidvectortypes(p.proargtypes)) = f.function_name)
           as is_added,
       exists (select from pg_catalog.pg_depend as e join pg_catalog.pg_extension as x on x.oid = e.refobjid
          where e.classid = 'pg_catalog.pg_proc'::pg_catalog.regclass and e.objid = p.oid and e.deptype = 'e'
            and e.refclassid = 'pg_catalog.pg_extension'::pg_catalog.regclass and x.extname = 'vector') as is_of_vector
  from pg_catalog.pg_proc as p
  join pg_catalog.pg_namespace as n on n.oid = p.pronamespace
 where p.oid = any ($1::oid[])
"""
_OPERATORS = """
select o.oid::bigint as object_id, o.oprname as name, n.nspname as schema_name,
       coalesce((select t.typname from pg_catalog.pg_type as t where t.oid = o.oprleft), '') as left_type,
       (select t.typname from pg_catalog.pg_type as t where t.oid = o.oprright) as right_type,
       exists (select from pg_catalog.pg_depend as e join pg_catalog.pg_extension as x on x.oid = e.refobjid
          where e.classid = 'pg_catalog.pg_operator'::pg_catalog.regclass and e.objid = o.oid and e.deptype = 'e'
            and e.refclassid = 'pg_catalog.pg_extension'::pg_catalog.regclass and x.extname = 'vector') as is_of_vector
  from pg_catalog.pg_operator as o
  join pg_catalog.pg_namespace as n on n.oid = o.oprnamespace
 where o.oid = any ($1::oid[])
"""
_TYPES = """
with recursive leaf (object_id, type_id, depth) as (
    select t.oid, t.oid, 0 from pg_catalog.pg_type as t where t.oid = any ($1::oid[])
    union all
    select l.object_id, case when t.typtype = 'd' then t.typbasetype else t.typelem end, l.depth + 1
      from leaf as l join pg_catalog.pg_type as t on t.oid = l.type_id
     where l.depth < 8 and (t.typtype = 'd' or (t.typcategory = 'A' and t.typelem <> 0 and t.typlen = -1 and t.typtype = 'b')))
select l.object_id::bigint as object_id, own.typname as name, t.typname as leaf_name, n.nspname as leaf_schema, t.typtype as leaf_kind,
       exists (select from pg_catalog.pg_depend as e join pg_catalog.pg_extension as x on x.oid = e.refobjid
          where e.classid = 'pg_catalog.pg_type'::pg_catalog.regclass and e.objid = t.oid and e.deptype = 'e'
            and e.refclassid = 'pg_catalog.pg_extension'::pg_catalog.regclass and x.extname = 'vector') as is_of_vector
  from leaf as l
  join pg_catalog.pg_type as t on t.oid = l.type_id
  join pg_catalog.pg_namespace as n on n.oid = t.typnamespace
  join pg_catalog.pg_type as own on own.oid = l.object_id
 where not (t.typtype = 'd' or (t.typcategory = 'A' and t.typelem <> 0 and t.typlen = -1 and t.typtype = 'b'))
"""


def explain(
    database: Database, objects: Objects, allowed_schemas: Callable[[], frozenset[str]]
) -> tuple[Mapping[str, Explained], Mapping[str, Explained], Mapping[str, Explained]]:
    """What functions, operators and types are, and whether they are on a positive list.

    Args:
        allowed_schemas: those of the agent's allow-list; their enums may be used.
    """
    return (
        _explain(database, "function", objects.functions, _FUNCTIONS, _function),
        _explain(database, "operator", objects.operators, _OPERATORS, _operator),
        _explain(database, "type", objects.types, _TYPES, lambda row: _type(row, allowed_schemas)),
    )


def is_lasting(objects: Objects) -> bool:
    """Whether all of them are the server's own, or stand-ins: their meaning does not change."""
    return (
        objects.functions <= _known["function"].keys()
        and objects.operators <= _known["operator"].keys()
        and objects.types <= _known["type"].keys()
    )


def _explain(
    database: Database, kind: str, wanted: frozenset[str], statement: str, meaning: Any
) -> Mapping[str, Explained]:
    known = _known[kind]
    missing = [oid for oid in wanted if oid not in known]
    if not missing:
        return known
    found = {}
    for row in database.rows(statement, missing):
        explained, is_lasting = meaning(row)
        oid = str(row["object_id"])
        found[oid] = explained
        if is_lasting or int(oid) < _FIRST_OF_USERS:
            known[oid] = explained
    return {**known, **found}


def _function(row: Mapping[str, Any]) -> tuple[Explained, bool]:
    name, schema = row["name"], row["schema_name"]
    signature = f"{name}({row['arguments']})"
    if schema == "pg_catalog":
        casts = (cast.split(" ") for cast in row["casts"] or ())
        is_cast = any(
            source in types.SCALARS and target in types.SCALARS for source, target in casts
        )
        return Explained(name, signature in functions.FUNCTIONS or is_cast), False
    if schema == "aos_sandbox":
        return Explained(name, name in functions.STAND_INS, signature=signature), True
    is_vector = row["is_of_vector"] and name in functions.VECTOR_FUNCTIONS
    return Explained(name, bool(row["is_added"] or is_vector)), False


def _operator(row: Mapping[str, Any]) -> tuple[Explained, bool]:
    name, schema = row["name"], row["schema_name"]
    left, right = row["left_type"], row["right_type"]
    if schema == "pg_catalog":
        is_sortable = (
            left == right and name in operators.SORT_NAMES and left in operators.SORT_TYPES
        )
        is_allowed = f"{left} {name} {right}" in operators.OPERATORS
        is_of_text = left in ("text", "bytea") and name in ("=", "<>")
        return Explained(name, is_allowed, is_sortable, is_of_text=is_of_text), False
    if schema == "aos_sandbox":
        return Explained(name, True, signature=name), True
    return Explained(name, bool(row["is_of_vector"]) and name in operators.VECTOR_OPERATORS), False


def _type(
    row: Mapping[str, Any], allowed_schemas: Callable[[], frozenset[str]]
) -> tuple[Explained, bool]:
    leaf = row["leaf_name"]
    if row["leaf_schema"] == "pg_catalog":
        is_allowed = leaf in types.SCALARS or leaf in types.FROM_EXPRESSIONS
    elif row["leaf_kind"] == "e":
        is_allowed = row["leaf_schema"] in allowed_schemas()
    else:
        is_allowed = bool(row["is_of_vector"]) and leaf in types.VECTOR_TYPES
    return Explained(row["name"], is_allowed), False
