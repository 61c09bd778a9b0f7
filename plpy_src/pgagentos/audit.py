"""Lines for the server's log about what must outlive the rollback of a turn.

A row that a turn writes goes when its transaction is rolled back. What has been spent at a vendor
by then, and what a model was refused, is written into the server's log as well: one line of JSON,
so that a log collector can read it. docs/audit.md lists the events.
"""

from __future__ import annotations

import json

#: Most characters of one value. Some values come from a model: a line stays short and one line.
MOST_CHARACTERS = 200


def line(event: str, **ids: str | int | float | bool | None) -> str:
    """Return one event as a line for :meth:`pgagentos.database.Database.log`.

    Args:
        event: what happened, in snake_case: ``turn_ended``, ``http_refused``.
        ids: ids, names, counts and fixed texts; never what a person or a model said. None is left
            out, long text is cut.

    Returns:
        ASCII text without a line break.
    """
    given = {
        name: value[:MOST_CHARACTERS] if isinstance(value, str) else value
        for name, value in ids.items()
        if value is not None
    }
    return json.dumps({"source": "pgagentos", "event": event, **given})
