"""Private memory of a backend after its first turn and after some more."""

from __future__ import annotations

from typing import Any

from session import Session


def run(session: Session) -> dict[str, Any]:
    """One fresh process with one connection each.

    Returns:
        By contestant: client_kb, and for `first` and `later` the number of backends with the sums
        of their RssAnon and Private_Dirty in kB.
    """
    results = {}
    for name in session.names("memory"):
        database = session.database(name, "memory")
        worker = session.worker(name, database)
        worker("open", clients=1)
        session.block(worker, "first", 1)
        first = session.meter.backends_memory(database)
        session.block(worker, "later", session.sizes.memory_turns)
        later = session.meter.backends_memory(database)
        results[name] = {"first": first, "later": later, "client_kb": worker("memory")}
        worker.quit()
    return results
