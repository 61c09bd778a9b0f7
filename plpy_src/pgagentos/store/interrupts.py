"""Statements about what may break statements off."""

from __future__ import annotations

from ..database import Database


def is_statement_timeout_over(database: Database) -> bool:
    """Whether the client's statement has taken longer than its statement_timeout."""
    rows = database.rows(
        "select s.setting::bigint > 0 and pg_catalog.clock_timestamp()"
        " - pg_catalog.statement_timestamp() >= s.setting::bigint * interval '1 ms' as is_over"
        " from pg_catalog.pg_settings as s where s.name = 'statement_timeout'"
    )
    return bool(rows[0]["is_over"])


def look(database: Database) -> None:
    """Do nothing; as every statement, it lets a pending cancel act."""
    database.rows("select")
