"""Statements about who acts."""

from __future__ import annotations

from ..database import Database
from ..errors import InvalidInput

# Run with the search path of whoever calls: no name, operator or type in them is looked up in it.
KERNEL_ROLE = (
    "select r.oid::pg_catalog.int8 as role_id,"
    " pg_catalog.current_setting('transaction_isolation') as isolation"
    " from pg_catalog.pg_roles as r"
    " where r.rolname operator(pg_catalog.=) 'pgagentos_kernel'::pg_catalog.name"
)
KERNEL_SEARCH_PATH = "select pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true)"


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


def no_plain_role(role: str) -> InvalidInput:
    """The error of a role that may not run tools."""
    return InvalidInput(
        f"the role {role} does not exist, or sees past row security",
        hint="An agent's role is a plain one; see aos_auth.register_agent_role.",
    )


def require(database: Database, access: str) -> None:
    """Make sure that whoever acts has an access; see ``aos_auth.has_access``.

    Raises:
        DatabaseError: ``42501``: the owner of a ticket has not the role.
    """
    database.rows("select aos_auth._require($1::text)", access)


def plain_role_id(database: Database, role: str) -> int:
    """The identity of a database role that may run tools.

    It is looked up each time: a role may be made mighty, or dropped, at any moment.

    Raises:
        InvalidInput: there is no such role, or it sees past row security.
    """
    found = database.rows(
        "select r.oid::bigint as role_id from pg_catalog.pg_roles as r"
        " where r.rolname = $1::name and not r.rolsuper and not r.rolbypassrls",
        role,
    )
    if not found:
        raise no_plain_role(role)
    return int(found[0]["role_id"])


def is_active(database: Database, tenant_id: str) -> bool:
    """Whether a tenant, which has to be visible already, is active.

    Asked, as :func:`of_session`, under the search path of whoever has the session: there must be no
    operator and no cast in these two statements, for they could be somebody else's.
    """
    row = database.rows("select aos_auth._is_active($1::uuid) as is_active", tenant_id)[0]
    return bool(row["is_active"])
