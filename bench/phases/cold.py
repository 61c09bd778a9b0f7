"""The first turn: from the start of a process, and the CPU of a fresh backend."""

from __future__ import annotations

import time
from typing import Any

from meters import cpu_seconds
from session import Session


def run(session: Session) -> dict[str, Any]:
    """Start a process that connects and does one turn; interleaved, the first round not counted.

    Returns:
        By contestant, lists with one entry a start: seconds (process start to first finished
        turn), client_cpu and server_cpu (seconds; all CPU of the backends that it opened, from
        their fork on), client_kb.
    """
    names, starts = session.names("cold"), session.sizes.starts
    results: dict[str, Any] = {
        name: {"seconds": [], "client_cpu": [], "server_cpu": [], "client_kb": []} for name in names
    }
    databases, threads = {}, {}
    for name in names:
        databases[name] = session.database(name, "cold")
        opener = session.worker(name, databases[name])
        threads[name] = opener("prepare", threads=[f"start{i}" for i in range(starts + 1)])
        opener.quit()
    for number in range(starts + 1):
        for name in names:
            session.wait_for_quiet()
            start = time.monotonic()
            worker = session.worker(name, databases[name], first=threads[name][number])
            answer = worker.answer("first turn")
            seconds = time.monotonic() - start
            backends = session.meter.backends(databases[name])
            server_cpu = sum(cpu_seconds(pid) for pid in backends)
            worker.quit()
            if number > 0:  # the first round warms the disk cache
                results[name]["seconds"].append(seconds)
                results[name]["client_cpu"].append(answer["cpu"])
                results[name]["server_cpu"].append(server_cpu)
                results[name]["client_kb"].append(answer["resident_kb"])
    return results
