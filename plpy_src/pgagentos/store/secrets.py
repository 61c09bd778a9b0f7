"""Statements about stored secrets.

A plain value comes back as a result, which nothing logs; no statement here takes one but
:func:`seal`.
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


def has_secret(database: Database, name: str, tenant_id: str | None) -> bool:
    """Whether :func:`stored_secret` has something to open."""
    rows = database.rows(
        "select aos_meta._has_secret($1::text, $2::uuid) as found", name, tenant_id
    )
    return bool(rows[0]["found"])


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


def seal(database: Database, purpose: str, value: bytes) -> tuple[str, bytes]:
    """Seal a value with the current master key.

    Args:
        purpose: what it is for; the same text opens it.

    Returns:
        id of the master key, and the sealed value.

    Raises:
        DatabaseError: ``OS901``: the master key is missing or open to others.
    """
    row = database.rows(
        "select s.key_id, s.sealed from aos_meta._seal($1::text, $2::bytea) as s", purpose, value
    )[0]
    return str(row["key_id"]), bytes(row["sealed"])


def open_sealed(database: Database, purpose: str, key_id: str, sealed: bytes) -> bytes:
    """Open what :func:`seal` returned.

    Raises:
        DatabaseError: ``OS901``: the master key is missing, or the value was changed, or it was
            sealed for another purpose.
    """
    row = database.rows(
        "select aos_meta._open_sealed($1::text, $2::text, $3::bytea) as value",
        purpose,
        key_id,
        sealed,
    )[0]
    return bytes(row["value"])


def key_usage(database: Database) -> list[Row]:
    """``key_id`` and ``secrets``: how many secrets each master key has sealed."""
    return database.rows(
        "select s.key_id, count(*)::integer as secrets from aos_meta.secret as s"
        " group by s.key_id order by s.key_id"
    )
