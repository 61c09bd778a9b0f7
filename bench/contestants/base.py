"""What a contestant is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import psycopg


@dataclass(frozen=True, slots=True)
class Endpoints:
    """Where the database and the model are."""

    base_url: str
    host: str
    port: int
    user: str
    dbname: str

    @property
    def dsn(self) -> str:
        """The database as a libpq URL."""
        return f"postgresql://{self.user}@{self.host}:{self.port}/{self.dbname}"


class Contestant:
    """One way to run the standard turn; it lives in one worker process.

    Where `is_async` is true, open, turn and close are coroutines; else turn is called from many
    threads under load.
    """

    is_async = False
    keeps_history = True  # false for the floors: a new process knows nothing
    seed_sql = ""

    def __init__(self, endpoints: Endpoints, **options: Any) -> None:
        self.endpoints = endpoints
        self.options = options

    def setup(self) -> None:
        """Create the tables; once per database."""

    def prepare(self, threads: Sequence[str]) -> list[str]:
        """Open conversations, where that is an act of its own; outside the measured time.

        Returns:
            The ids by which turn() and seed() know them.
        """
        return list(threads)

    def open(self, clients: int) -> Any:
        """Connect to the database, make the HTTP client."""
        raise NotImplementedError

    def turn(self, thread: str, text: str) -> Any:
        """One standard turn; the final text."""
        raise NotImplementedError

    def seed(self, thread: str, turns: int) -> None:
        """Add `turns` turns to a conversation in one write, copies of those it has."""
        with self.connect() as connection:
            connection.execute(self.seed_sql, {"thread": thread, "turns": turns})

    def close(self) -> Any:
        """Disconnect."""

    def connect(self) -> psycopg.Connection[Any]:
        """A connection for the work outside the measured time."""
        return psycopg.connect(self.endpoints.dsn, autocommit=True)
