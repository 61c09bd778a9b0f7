"""Statements about stored secrets.

A plain value comes back as a result, which nothing logs. No statement takes one: what is to be
sealed goes from the client through PL/pgSQL alone (``sql/aos_meta/seal.sql`` says why).
"""

from __future__ import annotations

from ..database import Database, Row
from ..errors import Refused


def stored_secret(database: Database, name: str, tenant_id: str | None) -> str | None:
    """A secret for a provider: the tenant's own, else the operator's if the tenant may have it.

    Args:
        tenant_id: None for an operator: only the operator's own secret counts.

    Returns:
        its value; None when there is none of that name for this tenant.

    Raises:
        DatabaseError: ``OS901``: the master key is missing, or the row was changed or moved.
    """
    rows = database.rows("select aos_meta._secret($1::text, $2::uuid) as value", name, tenant_id)
    value = rows[0]["value"]
    return None if value is None else str(value)


def secret_for_http(
    database: Database, name: str, tenant_id: str, skill_tenant_id: str | None, host: str
) -> str:
    """A secret that a skill may send to a host.

    An operator's secret goes out only by a skill of the operator's, a tenant's only by a skill of
    that tenant: who can write a skill could otherwise send somebody else's secret to himself.

    Args:
        tenant_id: of the turn.
        skill_tenant_id: of the skill; None for a skill of the operator's.
        host: the host of the request, without a port.

    Raises:
        Refused: it may not be sent there, or there is none. Which of the two is not said.
        DatabaseError: ``OS901``: the master key is missing, or the row was changed or moved.
    """
    rows = database.rows(
        "select aos_meta._secret_for_http($1::text, $2::uuid, $3::uuid, $4::text) as value",
        name,
        tenant_id,
        skill_tenant_id,
        host,
    )
    value = rows[0]["value"]
    if value is None:
        raise Refused(
            "this skill may not send that secret to that host",
            hint="A secret names its hosts: aos_meta.set_secret(name, value, tenant_id, hosts). It"
            " must belong to whom the skill belongs to.",
        )
    return str(value)


def key_usage(database: Database) -> list[Row]:
    """``key_id`` and ``sealed``: how many secrets and ticket keys each master key has sealed."""
    return database.rows(
        "select s.key_id, count(*)::integer as sealed from (select key_id from aos_meta.secret"
        " union all select master_key_id from aos_auth.ticket_key) as s (key_id)"
        " group by s.key_id order by s.key_id"
    )
