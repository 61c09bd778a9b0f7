"""What the worker tells on the terminal: one line an event."""

from __future__ import annotations

import json
import sys
from datetime import datetime, timezone
from typing import Any, Literal

Form = Literal["lines", "json", "quiet"]


class Progress:
    """Writes events to the standard output.

    Args:
        form: ``lines`` for people, ``json`` (one object a line) for programs, or ``quiet``.
    """

    def __init__(self, form: Form) -> None:
        self._form = form

    def tell(self, event: str, turn_id: str | None = None, **facts: Any) -> None:
        """Tell that something happened.

        Args:
            event: what, in one or two words.
            turn_id: to which turn.
            facts: further facts; those that are None are left out. Never a key, and never what
                somebody said: a terminal is often a log.
        """
        if self._form == "quiet":
            return
        now = datetime.now(timezone.utc)
        told = {name: value for name, value in facts.items() if value is not None}
        if self._form == "json":
            members = {"at": now.isoformat(), "event": event}
            if turn_id is not None:
                members["turn_id"] = turn_id
            line = json.dumps(members | told, ensure_ascii=False)
        else:
            turn = f"turn {turn_id} " if turn_id is not None else ""
            listed = " ".join(f"{name}={value}" for name, value in told.items())
            line = f"{now.astimezone():%H:%M:%S} {turn}{event}{f' ({listed})' if listed else ''}"
        try:
            print(line, flush=True)
        except BrokenPipeError:
            # Nobody reads any more; the work goes on.
            self._form = "quiet"
            sys.stdout = None
