"""Who acts in this backend: what row security asks before it shows a row.

It is kept in the backend's memory, where SQL can neither read nor write it; a setting would be
anybody's to forge. What was found out holds for one transaction.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

from .database import Database
from .errors import TicketError
from .store import identities


class Identity(NamedTuple):
    """Who acts.

    Args:
        tenant_id: whose rows are visible; None with *is_operator*: everybody's, else nobody's.
        principal_id: the person or program, where it is known.
        is_operator: a superuser or a member of pgagentos_operator.
        source: ``turn``, ``ticket``, ``operator``, ``db_role`` or ``nobody``.
    """

    tenant_id: str | None
    principal_id: str | None
    is_operator: bool
    source: str


NOBODY = Identity(None, None, False, "nobody")


class Identities:
    """Finds out who acts, once a transaction."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._turns: list[Identity] = []
        self._stamp = (0, 0)
        self._ticket: Identity | None = None
        self._session: Identity | None = None

    def current(self) -> Identity:
        """Who acts now: the turn that is run, else the ticket's owner, else the session's."""
        if self._turns:
            return self._turns[-1]
        self._forget_other_transactions()
        if self._ticket is not None:
            return self._ticket
        if self._session is None:
            # The statements below read tables whose row security asks again: nobody, then the
            # principal as far as it is known.
            self._session = NOBODY
            try:
                self._session = Identity(*identities.of_session(self._database))
                tenant_id = self._session.tenant_id
                if tenant_id is not None and not identities.is_active(self._database, tenant_id):
                    self._session = NOBODY
            except BaseException:
                self._session = None
                raise
        return self._session

    def pin(self, tenant_id: str, principal_id: str | None) -> None:
        """Let the owner of a ticket, which was verified, act for the rest of the transaction.

        Raises:
            TicketError: another identity was pinned in this transaction, or a turn is run.
        """
        identity = Identity(tenant_id, principal_id, False, "ticket")
        self._forget_other_transactions()
        if self._turns or self._ticket not in (None, identity):
            raise TicketError(
                "another identity was set in this transaction",
                hint="One transaction, one ticket: end it, then begin with the other one.",
            )
        self._ticket = identity

    @contextmanager
    def acting(self, tenant_id: str, principal_id: str | None) -> Iterator[None]:
        """Let a turn act for its tenant alone, whoever runs it."""
        self._turns.append(Identity(tenant_id, principal_id, False, "turn"))
        try:
            yield
        finally:
            self._turns.pop()

    def _forget_other_transactions(self) -> None:
        stamp = self._database.transaction_stamp()
        if stamp != self._stamp:
            # Another login in the same transaction, as a superuser may set it, is no way out of
            # the ticket.
            if stamp[0] != self._stamp[0]:
                self._ticket = None
            self._stamp, self._session = stamp, None
