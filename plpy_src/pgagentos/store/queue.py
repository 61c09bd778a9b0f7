"""Statements about the queue: which turns a driver has, and until when."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from ..database import Database, DatabaseError
from ..errors import ClaimLost
from ..providers.wire import dumps


class Claim(NamedTuple):
    """A turn that this driver has.

    Args:
        fence: number of the claim; what comes under an older one is refused.
        principal_id: who talks with the agent, where it is known.
    """

    run_id: str
    fence: int
    tenant_id: str
    principal_id: str | None


_CLAIM = (
    "select c.run_id, c.fence, r.tenant_id, v.principal_id from {} as c"
    " join aos_core.run as r on r.run_id = c.run_id"
    " join aos_agent.conversation as v"
    " on v.conversation_id = r.conversation_id and v.tenant_id = r.tenant_id"
)


def claim(database: Database, worker: str, most: int, lease: float) -> list[Claim]:
    """Claim turns that wait for a driver inside the database.

    Args:
        worker: name of the driver, which no other has.
        most: how many at most.
        lease: seconds until others may take them, unless the claim is renewed.
    """
    rows = database.rows(
        _CLAIM.format(
            "aos_core._claim($1::text, 'database', $2::integer,"
            " pg_catalog.make_interval(secs => $3::float), true)"
        ),
        worker,
        most,
        lease,
    )
    return [Claim(**row) for row in rows]


def claim_turn(database: Database, run_id: str, worker: str, lease: float, nowait: bool) -> Claim:
    """Claim one turn, and wait for it when somebody else drives it.

    Raises:
        DatabaseError: ``OS004``: somebody else drives it, and *nowait* was given.
    """
    rows = database.rows(
        _CLAIM.format(
            "(select $1::uuid as run_id, aos_core._claim_turn($1::uuid, $2::text,"
            " pg_catalog.make_interval(secs => $3::float), true, $4::boolean) as fence)"
        ),
        run_id,
        worker,
        lease,
        nowait,
    )
    return Claim(**rows[0])


def hold(database: Database, run_id: str, fence: int, lease: float) -> None:
    """Make sure that a claim holds to the end of the transaction.

    Raises:
        ClaimLost: it does not any more.
    """
    try:
        database.rows(
            "select aos_core._hold_claim($1::uuid, $2::bigint, false,"
            " pg_catalog.make_interval(secs => $3::float))",
            run_id,
            fence,
            lease,
        )
    except DatabaseError as error:
        if error.sqlstate == ClaimLost.sqlstate:
            raise ClaimLost(error.message) from None
        raise


def held(database: Database, worker: str) -> set[tuple[str, int]]:
    """Which claims a driver still has, by turn and fence; others were taken away, or cancelled."""
    rows = database.rows(
        "select distinct q.run_id, q.fence from aos_core.queue_lane as l"
        " join aos_core.queue as q on q.tenant_id = l.tenant_id and q.claimed_at >= l.begins_at"
        " where l.runner is null and q.worker = $1::text",
        worker,
    )
    return {(row["run_id"], row["fence"]) for row in rows}


def renew(database: Database, worker: str, lease: float) -> None:
    """Renew all claims of a driver."""
    database.rows(
        "select 1 from aos_core._keep_claims($1::text,"
        " pg_catalog.make_interval(secs => $2::float))",
        worker,
        lease,
    )


def give_back(
    database: Database, claim_: Claim, error: Mapping[str, Any] | None, seconds: float | None
) -> str:
    """End a claim before its turn is over.

    Args:
        error: why; None when nothing is wrong with the turn.
        seconds: shortest time until somebody else may have it.

    Returns:
        ``queued``, or ``failed`` when it had failed too often.
    """
    rows = database.rows(
        "select aos_core._give_back($1::uuid, $2::bigint, $3::jsonb,"
        " pg_catalog.make_interval(secs => $4::float)) as status",
        claim_.run_id,
        claim_.fence,
        None if error is None else dumps(error),
        seconds,
    )
    return str(rows[0]["status"])


def unlock(database: Database, run_ids: list[str]) -> None:
    """Release the locks that this session holds because it drove these turns."""
    database.rows(
        "select pg_catalog.pg_advisory_unlock(aos_core._turn_key(t.run_id))"
        " from pg_catalog.unnest($1::uuid[]) as t (run_id)",
        run_ids,
    )


#: keys of the advisory locks that this backend holds
_OWN_LOCKS = (
    "select (l.classid::bigint << 32 | l.objid::bigint) as key from pg_catalog.pg_locks as l"
    " where l.pid = pg_catalog.pg_backend_pid() and l.locktype = 'advisory' and l.objsubid = 1"
    " and l.mode = 'ExclusiveLock' and l.granted"
    " and l.database = (select d.oid from pg_catalog.pg_database as d"
    " where d.datname = pg_catalog.current_database())"
)


def own_locks(database: Database) -> list[int]:
    """Keys of the advisory locks that this session holds."""
    return [row["key"] for row in database.rows(_OWN_LOCKS)]


def unlock_all(database: Database, besides: list[int]) -> None:
    """Release the advisory locks of this session.

    Args:
        besides: keys of those that it keeps.
    """
    database.rows(
        "select pg_catalog.pg_advisory_unlock(o.key) from (" + _OWN_LOCKS + ") as o"
        " where o.key <> all ($1::bigint[])",
        besides,
    )


def has_rate_limits(database: Database) -> bool:
    """Whether any provider or tenant has a limit of requests or tokens a minute."""
    rows = database.rows(
        "select exists (select from aos_meta.provider as p"
        " where p.requests_per_minute is not null or p.tokens_per_minute is not null)"
        " or exists (select from aos_auth.tenant as t"
        " where t.requests_per_minute is not null or t.tokens_per_minute is not null) as has_limits"
    )
    return bool(rows[0]["has_limits"])


def take_rate(database: Database, provider: str, tenant_id: str) -> float | None:
    """Take one request from what a provider and a tenant may have a minute.

    Returns:
        None, or the seconds to wait until it is worth another try.
    """
    rows = database.rows(
        "select extract(epoch from aos_core._take_rate($1::text, $2::uuid))::float as seconds",
        provider,
        tenant_id,
    )
    seconds: float | None = rows[0]["seconds"]
    return seconds


def spend_rate(database: Database, provider: str, tenant_id: str, tokens: int) -> None:
    """Count the tokens that a call has used."""
    database.rows(
        "select aos_core._spend_rate($1::text, $2::uuid, $3::integer)", provider, tenant_id, tokens
    )
