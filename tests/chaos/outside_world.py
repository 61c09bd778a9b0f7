"""Starts :mod:`chaos.world`, and reads what it has heard."""

from __future__ import annotations

import json
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

#: Seconds that a test waits for something to arrive; more than the slowest machine needs.
PATIENCE = 60.0


@dataclass(frozen=True)
class OutsideWorld:
    """The running process.

    Args:
        url: where the model and the services listen.
        log: what they have heard, a line each.
    """

    url: str
    log: Path

    def hold(self, turn: int, call: str) -> None:
        """Let the next request of a turn for this reply (``2``) or call (``2.1``) go unanswered."""
        request = urllib.request.Request(f"{self.url}/hold/{turn}/{call}", b"", method="PUT")
        urllib.request.urlopen(request, timeout=PATIENCE).close()

    def heard(self, turn: int) -> list[dict[str, Any]]:
        """What has arrived of a turn."""
        if not self.log.exists():
            return []
        entries = map(json.loads, self.log.read_text().splitlines())
        return [entry for entry in entries if entry["turn"] == turn]

    def wait_for_held(self, turn: int) -> None:
        """Wait until a request of the turn has arrived that is not answered."""
        late = time.monotonic() + PATIENCE
        while not any(entry["outcome"] == "held" for entry in self.heard(turn)):
            assert time.monotonic() < late, f"nothing of turn {turn} has arrived to be held"
            time.sleep(0.005)


@contextmanager
def start_world(seed: int, directory: Path, *, is_calm: bool = False) -> Iterator[OutsideWorld]:
    """Run the world outside until the end of the block.

    Args:
        directory: for its log.
        is_calm: nothing fails, and nothing takes long.
    """
    log = directory / "world.jsonl"
    command = [sys.executable, str(Path(__file__).with_name("world.py")), str(seed), str(log)]
    with subprocess.Popen(
        [*command, *(["calm"] if is_calm else [])],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stdout is not None
            yield OutsideWorld(f"http://127.0.0.1:{int(process.stdout.readline())}", log)
        finally:
            process.kill()
