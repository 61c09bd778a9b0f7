"""The worker's connections: a few, opened anew when they are lost."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import psycopg

#: Seconds before the first attempt to connect again; doubled up to the longest.
FIRST_PAUSE, LONGEST_PAUSE = 0.1, 5.0
#: The transaction has to start again; the next attempt may well succeed.
_AGAIN = ("40001", "40P01")
#: The statement was cancelled: by cancel_turn for the sake of a tool that it ran, by somebody who
#: meant another one, by statement_timeout. It is sent again so often in a row, after a pause in
#: which cancel_turn does its work.
_CANCELED, _MOST_CANCELS, _CANCEL_PAUSE = "57014", 3, 0.1
_MOST_ATTEMPTS = 10

#: The claim is another's by now, or the turn has been cancelled (docs/errors.md).
CLAIM_LOST = "OS006"


class Connections:
    """Connections that statements are sent on, each in a transaction of its own.

    Args:
        dsn: connection string or URI, as psycopg takes it.
        size: most connections at a time; further statements wait for one.
        tell: told once each time the server could not be reached, and when it can be again.
    """

    def __init__(self, dsn: str, size: int, tell: Callable[..., None]) -> None:
        self._dsn = dsn
        self._free: list[psycopg.AsyncConnection[Any]] = []
        self._places = asyncio.Semaphore(size)
        self._tell = tell

    async def value(self, statement: str, *parameters: Any, is_sent_again: bool = True) -> Any:
        """Run a statement that returns one value.

        Args:
            is_sent_again: send it again when the connection was lost, when the transaction has to
                start again, and when it was cancelled. All statements of the worker may be, but for
                the one that has a service called: see docs/worker_protocol.md.

        Raises:
            psycopg.Error: the statement failed, or it is not known whether it did.
        """
        cancels = 0
        for attempt in range(1, _MOST_ATTEMPTS + 1):
            async with self._place() as place:
                connection = place[0]
                try:
                    cursor = psycopg.AsyncRawCursor(connection)
                    await cursor.execute(statement, parameters)
                    row = await cursor.fetchone()
                    return row[0] if row else None
                except psycopg.Error as error:
                    is_lost = connection.closed or connection.broken
                    if is_lost:
                        place.clear()
                    if not is_sent_again:
                        raise
                    if error.sqlstate == _CANCELED and cancels < _MOST_CANCELS:
                        cancels += 1
                    elif not is_lost and (
                        error.sqlstate not in _AGAIN or attempt == _MOST_ATTEMPTS
                    ):
                        raise
            if cancels:
                await asyncio.sleep(_CANCEL_PAUSE)
        raise psycopg.OperationalError(f"the connection was lost {_MOST_ATTEMPTS} times in a row")

    @asynccontextmanager
    async def _place(self) -> AsyncIterator[list[psycopg.AsyncConnection[Any]]]:
        """A connection in a list; it is not used again when the list is empty in the end."""
        async with self._places:
            connection = self._free.pop() if self._free else await self.connect()
            place = [connection]
            try:
                yield place
            finally:
                if place and not connection.closed:
                    self._free.append(connection)
                else:
                    await connection.close()

    async def connect(self) -> psycopg.AsyncConnection[Any]:
        """Open a connection, however long the server takes to come back."""
        pause = FIRST_PAUSE
        told = False
        while True:
            try:
                connection = await open_connection(self._dsn)
            except psycopg.OperationalError as error:
                if not told:
                    self._tell("server away", error=first_line(error))
                told = True
                await asyncio.sleep(pause)
                pause = min(2 * pause, LONGEST_PAUSE)
            else:
                if told:
                    self._tell("server back")
                return connection

    async def close(self) -> None:
        """Close all connections that are not in use."""
        while self._free:
            await self._free.pop().close()


async def open_connection(dsn: str) -> psycopg.AsyncConnection[Any]:
    """Open one connection, which commits each statement.

    Raises:
        psycopg.OperationalError: the server cannot be reached, or refuses.
    """
    return await psycopg.AsyncConnection.connect(
        dsn,
        autocommit=True,
        fallback_application_name="pgagentos worker",
        # A server that vanished without a word is noticed within half a minute (libpq, 34.1.2).
        keepalives_idle=10,
        keepalives_interval=5,
        keepalives_count=3,
    )


def first_line(error: psycopg.Error) -> str:
    """What went wrong, on one line."""
    return (error.diag.message_primary or str(error)).partition("\n")[0]
