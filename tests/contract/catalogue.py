"""What the rules of the catalogue ask about: the objects of the extension."""

from __future__ import annotations

import psycopg

OURS = "n.nspname like 'aos\\_%'"
FUNCTIONS = (
    "from pg_proc p join pg_namespace n on n.oid = p.pronamespace"
    f" join pg_language l on l.oid = p.prolang where {OURS}"
)
#: what the queries of models call instead of built-in functions, and what those call
STAND_IN = "(n.nspname = 'aos_sandbox' and p.proname not in ('_analyse', '_run', '_admit'))"
RELATIONS = f"from pg_class c join pg_namespace n on n.oid = c.relnamespace where {OURS}"
TABLES = f"{RELATIONS} and c.relkind in ('r', 'p')"


def names(connection: psycopg.Connection, query: str) -> list[str]:
    """Return the first column."""
    return [row[0] for row in connection.execute(query)]
