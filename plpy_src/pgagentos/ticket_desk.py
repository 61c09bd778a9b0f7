"""Where tickets are shown and made: the part of tickets that needs the database."""

from __future__ import annotations

import time

from . import audit
from .database import Database
from .errors import TicketError
from .identity import Identities
from .store import tickets
from .ticket import BadTicket, Claims, sign, verify


def begin(database: Database, identities: Identities, ticket: str | None) -> str:
    """Let the owner of a ticket act for the rest of the transaction.

    Returns:
        the tenant.

    Raises:
        TicketError: the ticket is refused; the reason is in the server's log alone.
        DatabaseError: ``OS901``: the master key is missing.
    """
    try:
        claims = verify(
            ticket,
            lambda key_id: tickets.key(database, key_id),
            tickets.database_name(database),
            time.time(),
        )
        # Nobody acts yet, and nobody may see whether the tenant is active.
        with identities.acting(claims.tenant, claims.principal):
            if not tickets.is_active(database, claims.tenant, claims.principal):
                raise BadTicket(
                    "its tenant or its principal is not there or not active",
                    (ticket or "").partition(".")[0],
                )
    except BadTicket as refused:
        database.log(audit.line("ticket_refused", reason=str(refused), key_id=refused.key_id))
        raise TicketError(
            "invalid ticket",
            hint="Get a new one. Why this one was refused is in the server's log.",
        ) from None
    identities.pin(claims.tenant, claims.principal)
    return claims.tenant


def issue(database: Database, tenant_id: str, principal_id: str, seconds: int) -> str:
    """Make a ticket with the newest key; the caller has made sure that there is one.

    Args:
        seconds: how long it is valid, 1 to 60.
    """
    key_id, key = tickets.newest_key(database)
    expires = time.time() + seconds
    claims = Claims(tenant_id, principal_id, expires, tickets.database_name(database))
    return sign(key_id, key, claims)
