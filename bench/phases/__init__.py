"""The phases of a run. Each module has run(session): what was measured, by contestant."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from session import Session

from . import accounting, check, cold, growth, latency, load, memory, worker

PHASES: dict[str, Callable[[Session], dict[str, Any]]] = {
    "check": check.run,
    "latency": latency.run,
    "accounting": accounting.run,
    "cold": cold.run,
    "memory": memory.run,
    "growth": growth.run,
    "load": load.run,
    "worker": worker.run,
}
