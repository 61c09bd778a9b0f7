"""Statements about who acts."""

from __future__ import annotations

from ..database import Database


def of_session(database: Database) -> tuple[str | None, str | None, bool, str]:
    """Who the login of this session is: the fields of :class:`pgagentos.identity.Identity`."""
    row = database.rows(
        "select i.tenant_id, i.principal_id, i.is_operator from aos_auth._session_identity() as i"
    )[0]
    if row["is_operator"]:
        return None, None, True, "operator"
    if row["tenant_id"] is None:
        return None, None, False, "nobody"
    return row["tenant_id"], row["principal_id"], False, "db_role"
