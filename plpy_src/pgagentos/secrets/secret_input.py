"""Rows of ``COPY aos_meta.secret_input FROM STDIN``, held until the statement is over.

While COPY reads a line, whatever the server logs quotes that line as its context, the secret with
it. So the trigger for each row does nothing that could fail or wait: it keeps the row here, and the
trigger at the end of the statement stores them all, when no line is quoted any more.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from ..errors import AgentOSError

Row = dict[str, Any]


class Busy(AgentOSError):
    """The state of this input does not allow that."""

    sqlstate = "OS003"


class SecretInput:
    """What one statement has put in so far."""

    def __init__(self) -> None:
        self._rows: list[Row] | None = None
        self._statement: str | None = None

    def begin(self, statement: str) -> None:
        """Forget what an earlier statement, which failed, has left; begin with nothing.

        Args:
            statement: start of the client's statement, which no two statements share.

        Raises:
            Busy: one statement of the client puts in secrets by two ways at once.
        """
        if self._rows is not None and self._statement == statement:
            raise _busy()
        self._rows, self._statement = [], statement

    def keep(self, row: Row) -> None:
        """Keep one row: ``name``, ``value``, ``tenant_id`` and ``hosts``."""
        if self._rows is None:
            raise _busy()
        self._rows.append(dict(row))

    def take(self) -> list[Row]:
        """Hand the rows out and forget them."""
        rows, self._rows = self._rows, None
        if rows is None:
            raise _busy()
        return rows


@lru_cache(maxsize=1)
def of_session() -> SecretInput:
    """The one of this backend."""
    return SecretInput()


def _busy() -> Busy:
    return Busy(
        "this statement has put in secrets by another way already",
        hint="Put them in by one COPY or INSERT, in a statement of its own.",
    )
