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


def role_id(database: Database, role: str) -> int | None:
    """The identity of a database role; None when there is none."""
    found = database.rows(
        "select pg_catalog.to_regrole(pg_catalog.quote_ident($1::text))::oid::bigint as role_id",
        role,
    )[0]["role_id"]
    return None if found is None else int(found)


def is_plain(database: Database, role: str) -> bool:
    """Whether the current user is this role, and one that may run tools.

    It is asked each time: a role may be made mighty at any moment. Functions of the server answer,
    since the view pg_roles would cost as much as the tool.
    """
    # A superuser is a member of every role.
    return bool(
        database.rows(
            "select current_user operator(pg_catalog.=) $1::name"
            " and not pg_catalog.pg_has_role(current_user, 'pgagentos_kernel', 'member')"
            " and pg_catalog.row_security_active('aos_auth.tenant'::pg_catalog.regclass)"
            " as is_plain",
            role,
        )[0]["is_plain"]
    )


def is_active(database: Database, tenant_id: str) -> bool:
    """Whether a tenant, which has to be visible already, is active."""
    rows = database.rows(
        "select t.is_active from aos_auth.tenant as t where t.tenant_id = $1::uuid", tenant_id
    )
    return bool(rows and rows[0]["is_active"])
