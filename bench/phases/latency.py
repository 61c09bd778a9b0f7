"""Wall time and CPU of a turn: one client, a model that answers at once, short conversations."""

from __future__ import annotations

from typing import Any

from session import Session


def run(session: Session) -> dict[str, Any]:
    """Blocks of turns, interleaved (A B C, B C A, ...): the machine's speed drifts.

    Returns:
        By contestant: blocks (ns of each turn, cpu, server_cpu, wal, others, round), the client's
        resident_kb and the memory of its backends.
    """
    names, sizes = session.names("latency"), session.sizes
    results: dict[str, Any] = {name: {"blocks": []} for name in names}
    databases = {name: session.database(name, "latency") for name in names}
    workers = {name: session.worker(name, databases[name]) for name in names}
    for worker in workers.values():
        worker("open", clients=1)
        session.block(worker, "warm", sizes.latency_turns)
    for number in range(sizes.latency_rounds):
        shift = number % len(names)
        for name in names[shift:] + names[:shift]:
            session.wait_for_quiet()
            block = session.block(workers[name], f"round{number}", sizes.latency_turns)
            results[name]["blocks"].append(block | {"round": number})
    for name, worker in workers.items():
        results[name]["client_kb"] = worker("memory")
        results[name]["backends"] = session.meter.backends_memory(databases[name])
        worker.quit()
    return results
