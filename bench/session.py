"""One run of the benchmark: its sizes, and what all phases need."""

from __future__ import annotations

import dataclasses
import os
import time
from collections.abc import Callable, Sequence
from typing import Any

import venvs
from contestants import CONTESTANTS
from meters import TICKS_PER_SECOND, ServerMeter, cpu_seconds, machine_ticks
from private_cluster import PrivateCluster
from processes import MockServer, Worker

ORDERS = """
create table orders (
    id integer primary key,
    customer text not null,
    status text not null,
    total numeric(10, 2) not null,
    placed_at timestamptz not null);
insert into orders
select i, 'Customer ' || lpad(i::text, 6, '0'),
       (array['pending', 'packed', 'shipped', 'delivered', 'returned'])[i % 5 + 1],
       (i % 9973) + 0.99, timestamptz '2025-01-01 00:00:00+00' + i * interval '1 minute'
from generate_series(1, 100000) i;
vacuum analyze orders;
create extension pg_stat_statements;
create extension pgstattuple"""


@dataclasses.dataclass(frozen=True, slots=True)
class Sizes:
    """How much each phase measures. Turns are counted per contestant."""

    latency_rounds: int
    latency_turns: int
    accounting_turns: int
    starts: int
    memory_turns: int
    growth_lengths: tuple[int, ...]
    growth_rounds: int
    growth_turns: int
    load_clients: int
    load_delay_ms: int
    load_rounds: int
    load_seconds: float
    load_warm_seconds: float
    worker_concurrency: int
    worker_delay_ms: int
    worker_rounds: int
    worker_seconds: float
    worker_warm_seconds: float
    patience_seconds: float


QUICK = Sizes(
    latency_rounds=8,
    latency_turns=25,
    accounting_turns=100,
    starts=3,
    memory_turns=20,
    growth_lengths=(50, 200, 1000),
    growth_rounds=3,
    growth_turns=4,
    load_clients=64,
    load_delay_ms=50,
    load_rounds=1,
    load_seconds=4,
    load_warm_seconds=3,
    worker_concurrency=256,
    worker_delay_ms=500,
    worker_rounds=1,
    worker_seconds=10,
    worker_warm_seconds=5,
    patience_seconds=20,
)
FULL = Sizes(
    latency_rounds=30,
    latency_turns=25,
    accounting_turns=200,
    starts=9,
    memory_turns=200,
    growth_lengths=(50, 200, 1000),
    growth_rounds=5,
    growth_turns=6,
    load_clients=64,
    load_delay_ms=50,
    load_rounds=3,
    load_seconds=7,
    load_warm_seconds=4,
    worker_concurrency=256,
    worker_delay_ms=500,
    worker_rounds=3,
    worker_seconds=15,
    worker_warm_seconds=6,
    patience_seconds=300,
)


def names_in(phase: str, only: Sequence[str] | None) -> list[str]:
    """The contestants of one phase, in the order of the table.

    Args:
        phase: its name.
        only: the contestants asked for by name; None: those that run by default.
    """
    return [
        name
        for name, entry in CONTESTANTS.items()
        if phase in entry.phases and (name in only if only else entry.is_default)
    ]


class Session:
    """A running cluster and mock server, and the means to run contestants against them.

    Args:
        cluster: the private server.
        mock: the mock model server.
        sizes: how much to measure.
        only: the contestants asked for by name; None: those that run by default.
    """

    def __init__(
        self, cluster: PrivateCluster, mock: MockServer, sizes: Sizes, only: Sequence[str] | None
    ) -> None:
        self.cluster, self.mock, self.sizes, self.only = cluster, mock, sizes, only
        self.meter = ServerMeter(cluster)
        self.patience = sizes.patience_seconds
        self.workers: list[Worker] = []
        self._next_seed = 0
        self.meter.admin.execute("create database bench_template")
        with self.meter.connect("bench_template") as connection:
            for statement in ORDERS.split(";\n"):
                connection.execute(statement)

    def names(self, phase: str) -> list[str]:
        """The contestants of one phase."""
        return names_in(phase, self.only)

    # Databases and workers

    def database(self, name: str, phase: str, delay_ms: int = 0) -> str:
        """A fresh database with the contestant's tables."""
        database = f"{phase}_{name}"
        self.meter.admin.execute(f'drop database if exists "{database}" with (force)')
        self.meter.admin.execute(f'create database "{database}" template bench_template')
        worker = self.worker(name, database, delay_ms=delay_ms)
        worker("setup")
        worker.quit()
        return database

    def worker(
        self, name: str, database: str, delay_ms: int = 0, first: str | None = None
    ) -> Worker:
        """Start a contestant's process.

        Args:
            name: the contestant.
            database: where it keeps its conversations.
            delay_ms: how long the model takes to reply.
            first: a prepared conversation in which it does one turn at once, unasked.
        """
        entry = CONTESTANTS[name]
        self._next_seed += 1000  # so that no two workers ask for the same orders
        worker = Worker(
            name,
            venvs.python(entry.venv),
            {
                "module": entry.module,
                "class": entry.class_name,
                "options": entry.options,
                "seed": self._next_seed,
                "first": first,
                "base_url": self.mock.base_url(delay_ms),
                "database": {
                    "host": "127.0.0.1",
                    "port": self.cluster.port,
                    "user": "postgres",
                    "dbname": database,
                },
            },
        )
        self.workers.append(worker)
        return worker

    def block(
        self,
        worker: Worker,
        prefix: str,
        turns: int,
        turns_per_thread: int = 5,
    ) -> dict[str, Any]:
        """Measure `turns` turns in new conversations, which are opened before the clock starts."""
        count = -(-turns // turns_per_thread)
        threads = worker("prepare", threads=[f"{prefix}-{number}" for number in range(count)])
        return self.measured(
            lambda: dict(
                worker("turns", threads=threads, turns=turns, turns_per_thread=turns_per_thread)
            )
        )

    # Measuring

    def measured(self, work: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """Run `work`, and add what the cluster and the machine did meanwhile.

        Args:
            work: returns a record with the CPU seconds of the client under "cpu".

        Returns:
            That record with server_cpu and mock_cpu (seconds), wal (bytes), wall (seconds) and
            others (share of the machine that was busy with anything else, 0 to 1).
        """
        ticks, start = machine_ticks()[0], time.monotonic()
        before, mock = self.meter.cpu_by_process(), cpu_seconds(self.mock.process.pid)
        wal = self.meter.wal_position()
        record = work()
        wal = self.meter.wal_position() - wal
        server = self.meter.cpu_since(before)
        mock = cpu_seconds(self.mock.process.pid) - mock
        wall = time.monotonic() - start
        busy = (machine_ticks()[0] - ticks) / TICKS_PER_SECOND
        busy -= record["cpu"] + server + mock
        others = max(0.0, busy / wall / (os.cpu_count() or 1))
        return record | {
            "server_cpu": server,
            "mock_cpu": mock,
            "wal": wal,
            "wall": wall,
            "others": others,
        }

    def wait_for_quiet(self, limit: float = 0.35, most_seconds: float = 1.5) -> None:
        """Wait a little while the machine is busy with other things, as long as patience lasts."""
        start = time.monotonic()
        while self.patience > 0 and time.monotonic() - start < most_seconds:
            busy, total = machine_ticks()
            time.sleep(0.1)
            busy_after, total_after = machine_ticks()
            if busy_after - busy <= limit * max(1, total_after - total):
                break
        self.patience -= time.monotonic() - start

    def close(self) -> None:
        """End every process that is still there."""
        for worker in self.workers:
            worker.close()
        self.meter.admin.close()
