"""Other sessions of the server that work while a test looks on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest

from cluster import Database

#: Runs something in a thread of the test, for example a turn in a session of its own.
Background = Callable[..., "Future[Any]"]


@contextmanager
def run_in_background(database: Database) -> Iterator[Background]:
    """Give a :data:`Background`; at the end, sessions that are still busy are ended."""
    futures: list[Future[Any]] = []
    with ThreadPoolExecutor(max_workers=16) as pool:

        def submit(function: Callable[..., Any], *arguments: Any) -> Future[Any]:
            futures.append(pool.submit(function, *arguments))
            return futures[-1]

        try:
            yield submit
        finally:
            if not all(future.done() for future in futures):
                with database.connect() as admin:
                    admin.execute(
                        "select pg_terminate_backend(pid) from pg_stat_activity"
                        " where datname = current_database() and pid <> pg_backend_pid()"
                    )


def wait_for(observer: psycopg.Connection, condition: str, *params: Any) -> None:
    """Wait until a SQL condition is true."""
    for _ in range(3000):
        row = observer.execute(f"select {condition}", params or None).fetchone()
        if row is not None and row[0]:
            return
        observer.execute("select pg_sleep(0.01)")
    pytest.fail(f"never true: {condition} {params}")


def wait_until_blocked(observer: psycopg.Connection, pid: int) -> None:
    """Wait until a backend waits for a lock."""
    wait_for(observer, "cardinality(pg_blocking_pids(%s)) > 0", pid)
