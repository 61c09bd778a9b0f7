"""The tools of the outside workers of a chaos run: a file for ``--tools``."""

from __future__ import annotations

import json
import os
import urllib.request


def errand(turn: int, call: str, idempotency_key: str) -> str:
    """Call a service of the world, as a tool that must not be run twice."""
    request = urllib.request.Request(
        f"{os.environ['CHAOS_WORLD']}/service/errand",
        json.dumps({"turn": turn, "call": call}).encode(),
        {"idempotency-key": idempotency_key},
    )
    with urllib.request.urlopen(request) as response:
        return str(response.read().decode())
