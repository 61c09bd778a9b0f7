"""What PostgreSQL is asked to do for a turn: statements, transactions, WAL syncs, WAL, disk."""

from __future__ import annotations

import statistics
import time
from typing import Any

from session import Session

BLOCK = 10  # turns
CONVERSATIONS = 100


def run(session: Session) -> dict[str, Any]:
    """The difference between a process that does 10 turns and one that does 10 + N.

    So what happens once per process or connection is not counted. Opening a conversation, where
    that is an act of its own, is counted apart.
    """
    return {name: account(session, name) for name in session.names("accounting")}


def account(session: Session, name: str) -> dict[str, Any]:
    """The figures of one contestant, per turn and per conversation."""
    database = session.database(name, "accounting")
    session.meter.admin.execute(f'alter database "{database}" set pg_stat_statements.track = top')
    turns = session.sizes.accounting_turns
    one_process(session, name, database, BLOCK)  # creates files, fills caches
    short = one_process(session, name, database, BLOCK)
    long = one_process(session, name, database, BLOCK + turns)
    calls = {
        query: (count - short["statements"].get(query, 0)) / turns
        for query, count in long["statements"].items()
    }
    return {
        "statements": sum(calls.values()),
        "transactions": (long["transactions"] - short["transactions"]) / turns,
        "wal_syncs": (long["wal_syncs"] - short["wal_syncs"]) / turns,
        "wal_bytes": statistics.median(long["wal"][1:]),
        "disk_bytes": long["disk_bytes"] / (BLOCK + turns),
        "top_statements": sorted(
            ((round(count, 2), query) for query, count in calls.items() if count > 0.05),
            reverse=True,
        ),
        "conversation": opening(session, name, database),
    }


def one_process(session: Session, name: str, database: str, turns: int) -> dict[str, Any]:
    """Totals of one client process that does `turns` turns in conversations opened before."""
    meter = session.meter
    opener = session.worker(name, database)
    threads = opener("prepare", threads=[f"{turns}-{i}" for i in range(turns // 5)])
    opener.quit()
    time.sleep(0.2)  # until the backend has ended and reported
    with meter.connect(database) as connection:
        connection.execute("select pg_stat_statements_reset()")
    disk, before = meter.disk_bytes(database), meter.counters(database)
    worker = session.worker(name, database)
    worker("open", clients=1)
    wal = []
    for start in range(0, turns // 5, BLOCK // 5):
        part = threads[start : start + BLOCK // 5]
        block = session.measured(
            lambda part=part: worker("turns", threads=part, turns=BLOCK, turns_per_thread=5)
        )
        wal.append(block["wal"] / BLOCK)
    worker.quit()
    time.sleep(0.2)
    after = meter.counters(database)
    return {key: after[key] - before[key] for key in before} | {
        "wal": wal,
        "statements": meter.statements(database),
        "disk_bytes": meter.disk_bytes(database) - disk,
    }


def opening(session: Session, name: str, database: str) -> dict[str, float]:
    """WAL and row bytes of opening one conversation; 0 where a conversation is only a name."""
    worker = session.worker(name, database)
    worker("prepare", threads=["warm"])
    rows, wal = session.meter.tuple_bytes(database), session.meter.wal_position()
    worker("prepare", threads=[f"open-{i}" for i in range(CONVERSATIONS)])
    wal = session.meter.wal_position() - wal
    rows = session.meter.tuple_bytes(database) - rows
    worker.quit()
    return {"wal_bytes": wal / CONVERSATIONS if rows else 0.0, "row_bytes": rows / CONVERSATIONS}
