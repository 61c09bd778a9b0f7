"""Throughput: many clients at once, in two processes, and a model that takes its time."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from processes import Worker
from session import Session

PROCESSES = 2  # one Python process could not use both cores
CALLS = 2  # model calls of a turn


def run(session: Session) -> dict[str, Any]:
    """All clients ask without a pause; each opens a new conversation after five turns.

    Returns:
        By contestant, one record a round: turns, elapsed, ceiling (turns a second if a turn took
        no longer than the model), latency (median, seconds), cpu, server_cpu, mock_cpu, others,
        client_kb and the memory of the backends.
    """
    names = session.names("load")
    databases = {
        name: session.database(name, "load", delay_ms=session.sizes.load_delay_ms) for name in names
    }
    results: dict[str, Any] = {name: [] for name in names}
    for number in range(session.sizes.load_rounds):
        for name in names:
            results[name].append(one_round(session, name, databases[name], str(number)))
    return results


def one_round(session: Session, name: str, database: str, prefix: str) -> dict[str, Any]:
    """One contestant under load: a warm-up and the measured time."""
    sizes = session.sizes
    workers = [
        session.worker(name, database, delay_ms=sizes.load_delay_ms) for _ in range(PROCESSES)
    ]
    clients = sizes.load_clients // PROCESSES
    least_turn = CALLS * sizes.load_delay_ms / 1000

    def everywhere(work: Callable[[Worker], Any]) -> list[Any]:
        with ThreadPoolExecutor(PROCESSES) as executor:
            return list(executor.map(work, workers))

    def conversations(seconds: float, tag: str) -> dict[Worker, list[str]]:
        each = int(seconds / least_turn) // 5 + 2  # more than a client can get through
        return {
            worker: worker(
                "prepare", threads=[f"{prefix}-{tag}-{process}-{i}" for i in range(each * clients)]
            )
            for process, worker in enumerate(workers)
        }

    def load(seconds: float, threads: dict[Worker, list[str]]) -> dict[str, Any]:
        parts = everywhere(
            lambda worker: worker("load", threads=threads[worker], clients=clients, seconds=seconds)
        )
        return {
            "cpu": sum(part["cpu"] for part in parts),
            "turns": sum(part["turns"] for part in parts),
            "elapsed": max(part["elapsed"] for part in parts),
            "latency": statistics.median(part["latency"] for part in parts),
        }

    everywhere(lambda worker: worker("open", clients=clients))
    load(sizes.load_warm_seconds, conversations(sizes.load_warm_seconds, "warm"))
    threads = conversations(sizes.load_seconds, "measured")
    record = session.measured(lambda: load(sizes.load_seconds, threads))
    record["ceiling"] = sizes.load_clients / least_turn
    record["client_kb"] = sum(everywhere(lambda worker: worker("memory")))
    record["backends"] = session.meter.backends_memory(database)
    everywhere(lambda worker: worker.quit())
    return record
