"""What the cross-tenant matrix is made of: who tries, at whose rows, and what came of it."""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import psycopg
from psycopg import sql

from access.conftest import KEY_ID
from access.estate import Estate, contents
from house import House
from pgagentos.ticket import Claims, sign

UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")


@dataclass(frozen=True, slots=True)
class Attacker:
    """Who tries to reach another tenant.

    Args:
        label: for people.
        role: the database role of the session.
        ticket_of: the principal whose ticket each transaction begins with, if any.
    """

    label: str
    role: str
    ticket_of: Estate | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one statement; two outcomes of which nothing can be told apart are equal."""

    sqlstate: str
    told: str
    rows: tuple[str, ...] = ()

    @property
    def is_denied(self) -> bool:
        return self.sqlstate == "42501" and "permission denied" in self.told


@dataclass
class Matrix:
    """A superuser's session that becomes one attacker after the other.

    SET SESSION AUTHORIZATION makes the attacker the session's user, as a login would; a superuser's
    own eyes can then look at what a transaction has done before it is undone.
    """

    house: House
    key: str
    database: str
    victim: Estate
    foreign: Estate
    marks: frozenset[str] = frozenset()
    not_his: str = ""
    digest: str = ""
    figures: Counter[str] = field(default_factory=Counter)
    notices: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.house.connection.add_notice_handler(
            lambda n: self.notices.append(f"{n.message_primary} {n.message_detail}")
        )
        # What both refer to (models, roles) is no secret of the victim's.
        self.not_his = (
            str(contents(self.house, self.foreign.tenant.tenant_id)) + self._shared_rows()
        )
        shared = set(UUID.findall(self.not_his))
        his = str(contents(self.house, self.victim.tenant.tenant_id))
        self.marks = frozenset(set(UUID.findall(his)) - shared) | {self.victim.word}
        assert len(self.marks) > 20
        self.digest = self._digest()

    def _shared_rows(self) -> str:
        tables = self.house.rows(
            "select c.oid::regclass::text from pg_class as c"
            " join pg_namespace as n on n.oid = c.relnamespace"
            " where n.nspname like 'aos\\_%' and c.relkind = 'r' and not exists"
            " (select from pg_attribute as a where a.attrelid = c.oid and a.attname = 'tenant_id')"
        )
        return "".join(
            str(self.house.rows(f"select t::text from {table} as t")) for (table,) in tables
        )

    def _digest(self) -> str:
        return str(contents(self.house, self.victim.tenant.tenant_id))

    def is_his(self, value: Any) -> bool:
        """Whether a value is the victim's alone."""
        return value is not None and str(value) not in self.not_his

    @contextmanager
    def attack(self, attacker: Attacker) -> Iterator[None]:
        """A transaction of the attacker, undone at the end."""
        connection = self.house.connection
        connection.execute(
            sql.SQL("set session authorization {}").format(sql.Identifier(attacker.role))
        )
        try:
            with connection.transaction(force_rollback=True):
                if attacker.ticket_of is not None:
                    tenant = attacker.ticket_of.tenant
                    ticket = sign(
                        KEY_ID,
                        self.key.encode(),
                        Claims(
                            str(tenant.tenant_id),
                            str(tenant.principal_id),
                            time.time() + 59,
                            self.database,
                        ),
                    )
                    connection.execute("select aos_auth.begin(%s)", (ticket,))
                yield
        finally:
            connection.execute("reset session authorization")

    def attempt(
        self,
        attacker: Attacker,
        statement: str,
        parameters: Sequence[Any] = (),
        hidden: Sequence[Any] = (),
    ) -> Outcome:
        """Run one statement as an attacker and see to it that it reached nothing of the victim's.

        Args:
            hidden: what stands as ``?`` in the outcome, so that outcomes for several values are
                equal when they tell nothing else.
        """
        self.notices.clear()
        connection = self.house.connection
        with self.attack(attacker):
            try:
                with connection.transaction():
                    cursor = connection.execute(statement, parameters or None)
                    rows = cursor.fetchall() if cursor.description else []
                    found = (f"{cursor.rowcount} rows", *(str(row) for row in rows))
                    connection.execute("set constraints all immediate")
                outcome = Outcome("", "", found)
            except psycopg.Error as error:
                told = error.diag
                outcome = Outcome(
                    str(error.sqlstate),
                    " | ".join(
                        str(text)
                        for text in (
                            told.message_primary, told.message_detail, told.message_hint,
                            told.context, told.constraint_name, told.table_name,
                        )
                    ),
                )  # fmt: skip
            else:
                connection.execute("reset session authorization")
                assert self._digest() == self.digest, f"{attacker.label} changed rows: {statement}"
        text = " ".join([outcome.told, *outcome.rows, *self.notices])
        given = " ".join(map(str, parameters))
        leaked = {mark for mark in self.marks if mark in text and mark not in given}
        assert not leaked, f"{attacker.label} learned {leaked} by {statement}: {text[:2000]}"
        return self._hide(outcome, hidden)

    def _hide(self, outcome: Outcome, hidden: Sequence[Any]) -> Outcome:
        told = outcome.told
        for value in sorted(map(str, hidden), key=len, reverse=True):
            told = told.replace(value, "?")
        rows = outcome.rows
        if outcome.sqlstate == "":
            # ids and moments of new rows differ from call to call
            rows = tuple(UUID.sub("id", row) for row in rows)
            for value in map(str, hidden):
                rows = tuple(row.replace(value, "?") for row in rows)
        return Outcome(outcome.sqlstate, told, rows)


def unknown(value: Any) -> Any:
    """A value of the same kind that nobody has."""
    text = str(value)
    if UUID.fullmatch(text):
        return str(uuid4())
    return "u" * len(text)
