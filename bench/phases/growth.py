"""How a turn's cost grows with the conversation."""

from __future__ import annotations

from typing import Any

from processes import Worker
from session import Session

START = 5  # real turns that the copies are made from


def run(session: Session) -> dict[str, Any]:
    """First turns of new conversations against turn 50, 200, 1000 ... of one long conversation.

    The way from one length to the next is one write of copied turns, because 1000 turns with
    every peer would take hours. First turns are measured again beside every length.

    Returns:
        By contestant and length ("1", "50", ...): ns, a list with one entry a turn; lists with
        one entry a block, per turn: cpu, server_cpu (seconds), wal and stored (bytes of rows and
        index entries); others, by block; request_bytes, the size of the last request.
    """
    names, sizes = session.names("growth"), session.sizes
    databases = {name: session.database(name, "growth") for name in names}
    workers = {name: session.worker(name, databases[name]) for name in names}
    long: dict[str, str] = {}
    results: dict[str, Any] = {name: {} for name in names}
    for name, worker in workers.items():
        [long[name]] = worker("prepare", threads=["long"])
        worker("open", clients=1)
        session.block(worker, "warm", 10)
        worker("turns", threads=[long[name]], turns=START, turns_per_thread=START)
    turns, done = sizes.growth_turns, START
    for length in sizes.growth_lengths:
        # The measured turns lie around the length: 991 to 1014, say.
        before = max(done, length - turns * sizes.growth_rounds // 2)
        for name in names:
            workers[name]("seed", thread=long[name], turns=before - done)
        done = before
        for number in range(sizes.growth_rounds):
            for name in names:
                worker = workers[name]
                session.wait_for_quiet()
                fresh = worker("prepare", threads=[f"{length}-{number}-{i}" for i in range(turns)])
                measure(session, databases[name], worker, fresh, results[name].setdefault("1", {}))
                measure(
                    session,
                    databases[name],
                    worker,
                    [long[name]] * turns,
                    results[name].setdefault(str(length), {}),
                )
            done += turns
    for worker in workers.values():
        worker.quit()
    return results


def measure(
    session: Session, database: str, worker: Worker, threads: list[str], record: dict[str, Any]
) -> None:
    """One block: a turn in each of `threads`."""
    stored = session.meter.tuple_bytes(database)
    block = session.measured(
        lambda: worker("turns", threads=threads, turns=len(threads), turns_per_thread=1)
    )
    block["stored"] = session.meter.tuple_bytes(database) - stored
    record.setdefault("ns", []).extend(block["ns"])
    for key in ("cpu", "server_cpu", "wal", "stored"):
        record.setdefault(key, []).append(block[key] / len(threads))
    record.setdefault("others", []).append(block["others"])
    record["request_bytes"] = session.mock.last()["bytes"]
