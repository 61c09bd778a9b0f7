"""Does a second process continue the conversation of the first?"""

from __future__ import annotations

from typing import Any

from session import Session

TURNS = 3


def run(session: Session) -> dict[str, Any]:
    """Three turns in one process, one in the next: four user messages must reach the model.

    Raises:
        SystemExit: a contestant that keeps conversations sent another number, or a floor did.
    """
    results = {}
    for name in session.names("check"):
        database = session.database(name, "check")
        first = session.worker(name, database)
        threads = first("prepare", threads=["same"])
        first("open", clients=1)
        first("turns", threads=threads, turns=TURNS, turns_per_thread=TURNS)
        first.quit()
        second = session.worker(name, database)
        second("open", clients=1)
        second("turns", threads=threads, turns=1, turns_per_thread=1)
        request = session.mock.last()
        second.quit()
        users = request["kinds"].get("user", 0)
        keeps_history = not name.startswith("floor_")
        if users != (TURNS + 1 if keeps_history else 1):
            raise SystemExit(f"{name}: a new process sent {users} user messages: {request}")
        results[name] = {
            "user_messages": users,
            "request_bytes": request["bytes"],
            "api": request["path"],
        }
    return results
