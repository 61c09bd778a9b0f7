"""Statements about tickets and the keys that sign them."""

from __future__ import annotations

from ..database import Database


def database_name(database: Database) -> str:
    """The name of this database."""
    return str(database.rows("select current_database() as name")[0]["name"])


def key(database: Database, key_id: str) -> bytes | None:
    """The key of that id, opened; None when there is none or its time is over.

    It is opened anew each time: a key that was dropped signs nobody in.

    Raises:
        DatabaseError: ``OS901``: the master key is missing, or the row was changed.
    """
    value = database.rows("select aos_auth._ticket_key($1::text) as key", key_id)[0]["key"]
    return None if value is None else bytes(value)


def newest_key(database: Database) -> tuple[str, bytes]:
    """Id and key to sign with.

    Raises:
        DatabaseError: as :func:`key`.
    """
    row = database.rows(
        "select k.key_id, aos_auth._ticket_key(k.key_id) as key from aos_auth._newest_ticket_key()"
        " as k (key_id)"
    )[0]
    return str(row["key_id"]), bytes(row["key"])


def is_active(database: Database, tenant_id: str, principal_id: str) -> bool:
    """Whether the principal and its tenant are there and active."""
    rows = database.rows(
        "select exists (select from aos_auth.principal as p"
        " join aos_auth.tenant as t on t.tenant_id = p.tenant_id"
        " where p.principal_id = $2::uuid and p.tenant_id = $1::uuid"
        " and p.is_active and t.is_active) as found",
        tenant_id,
        principal_id,
    )
    return bool(rows[0]["found"])
