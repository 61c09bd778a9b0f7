"""The documents name only what the extension has."""

from __future__ import annotations

import re
from pathlib import Path

import psycopg
import pytest

from docs.pages import PAGES, name

_NAMED = re.compile(r"\b(aos_[a-z]+)\.(\w+)(?:\.(\w+))?(\()?")
_FUNCTIONS_AND_DOMAINS = """
select n.nspname || '.' || p.proname
  from pg_proc as p join pg_namespace as n on n.oid = p.pronamespace
 where n.nspname like 'aos\\_%'
 union all
select n.nspname || '.' || t.typname
  from pg_type as t join pg_namespace as n on n.oid = t.typnamespace
 where n.nspname like 'aos\\_%' and t.typtype = 'd'
"""
_COLUMNS = """
select n.nspname || '.' || c.relname, array_agg(a.attname::text)
  from pg_class as c
  join pg_namespace as n on n.oid = c.relnamespace
  join pg_attribute as a on a.attrelid = c.oid
 where n.nspname like 'aos\\_%' and c.relkind in ('r', 'p', 'v')
 group by 1
"""


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_a_page_names_no_object_that_does_not_exist(
    page: Path, connection: psycopg.Connection
) -> None:
    others = {other for (other,) in connection.execute(_FUNCTIONS_AND_DOMAINS)}
    relations = dict(connection.execute(_COLUMNS).fetchall())
    for schema, thing, column, parenthesis in _NAMED.findall(page.read_text(encoding="utf-8")):
        named = f"{schema}.{thing}"
        if thing in ("sql", "py"):
            continue
        if named in relations:
            assert not column or column in relations[named], f"{named}.{column}"
        else:
            assert named in others, f"{named}{parenthesis}"
            assert not column, f"{named}.{column}"


def test_the_schema_maps_list_all_schemas(connection: psycopg.Connection) -> None:
    found = {
        schema
        for (schema,) in connection.execute(
            "select nspname from pg_namespace where nspname like 'aos\\_%'"
        )
    }
    for page in PAGES:
        if name(page) in ("README.md", "README_KO.md", "docs/architecture.md"):
            text = page.read_text(encoding="utf-8")
            assert not {schema for schema in found if f"`{schema}`" not in text}, name(page)
