"""A contestant that is one SQL statement a turn: connect, SELECT, read the answer."""

from __future__ import annotations

import threading
from typing import Any

import psycopg

from .base import Contestant


class SqlOnly(Contestant):
    """Every client thread has one connection of its own."""

    turn_sql = ""

    def open(self, clients: int) -> None:
        self.local = threading.local()
        self.connections: list[psycopg.Connection[Any]] = []
        if clients == 1:
            self.connection()

    def connection(self) -> psycopg.Connection[Any]:
        """This thread's connection."""
        if not hasattr(self.local, "connection"):
            self.local.connection = self.connect_for_turns()
            self.connections.append(self.local.connection)
        return self.local.connection  # type: ignore[no-any-return]

    def connect_for_turns(self) -> psycopg.Connection[Any]:
        """A connection for the measured time."""
        return self.connect()

    def arguments(self, thread: str, text: str) -> dict[str, Any]:
        """The parameters of `turn_sql`."""
        return {"thread": thread, "text": text}

    def turn(self, thread: str, text: str) -> str:
        row = self.connection().execute(self.turn_sql, self.arguments(thread, text)).fetchone()
        return str(row[0]) if row else ""

    def close(self) -> None:
        for connection in self.connections:
            connection.close()
