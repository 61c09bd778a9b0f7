"""A worker in a process of its own, and what it tells."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from cluster import CHECKOUT
from servers.play_server import PATIENCE

Event = dict[str, Any]


class WorkerProcess:
    """A running ``python -m pgagentos.worker --json``, or another program that tells as it does."""

    def __init__(self, command: list[str], environment: Mapping[str, str]) -> None:
        self._heard: list[Event] = []
        self._changed = threading.Condition()
        self._is_over = False
        self._process = subprocess.Popen(
            command,
            env={**os.environ, "PYTHONPATH": str(CHECKOUT / "plpy_src"), **environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            with self._changed:
                self._heard.append(json.loads(line))
                self._changed.notify_all()
        with self._changed:
            self._is_over = True
            self._changed.notify_all()

    def events(self, *names: str) -> list[Event]:
        """What it told so far, of these kinds, or all of it."""
        with self._changed:
            return [e for e in self._heard if not names or e["event"] in names]

    def wait_for(self, event: str, count: int = 1, **facts: Any) -> Event:
        """Wait until it has told something *count* times; returns the last of these."""

        def found() -> list[Event]:
            return [
                e
                for e in self._heard
                if e["event"] == event and all(e.get(k) == v for k, v in facts.items())
            ]

        with self._changed:
            self._changed.wait_for(lambda: len(found()) >= count or self._is_over, PATIENCE)
            heard = found()
            assert len(heard) >= count, (
                f"the worker never told {count} times {event!r} {facts}: {self._heard}"
                + (f" and then ended: {self._errors()}" if self._is_over else "")
            )
            return heard[count - 1]

    def _errors(self) -> str:
        assert self._process.stderr is not None
        return self._process.stderr.read()

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal."""
        self._process.send_signal(number)

    def kill(self) -> None:
        """End it as a crash would."""
        self._process.kill()
        self._process.wait()

    def end(self) -> tuple[int, str]:
        """Wait for its end; returns the exit status and what it complained about."""
        status = self._process.wait(PATIENCE)
        self._reader.join(PATIENCE)
        return status, self._errors()

    def stop(self) -> tuple[int, str]:
        """Stop it with SIGTERM and wait for its end."""
        self.signal(signal.SIGTERM)
        return self.end()

    def close(self) -> None:
        """Leave nothing behind."""
        self._process.kill()
        self._process.wait()
        self._reader.join(PATIENCE)
        for stream in (self._process.stdout, self._process.stderr):
            assert stream is not None
            stream.close()


Start = Callable[..., WorkerProcess]


@contextmanager
def worker_starter(dsn: str) -> Iterator[Start]:
    """Start workers that are ended with the block.

    The function takes further words of the command line, and ``environment``.
    """
    started: list[WorkerProcess] = []

    def start(*words: str, environment: Mapping[str, str] | None = None) -> WorkerProcess:
        command = [sys.executable, "-m", "pgagentos.worker", "--dsn", dsn, "--json", *words]
        # Keys of the tester's own shell must not turn a test into a paid call.
        keys = {"OPENAI_API_KEY": "", "ANTHROPIC_API_KEY": "", "GEMINI_API_KEY": ""}
        worker = WorkerProcess(command, {**keys, **(environment or {})})
        started.append(worker)
        return worker

    try:
        yield start
    finally:
        for worker in started:
            worker.close()


def write_tools(directory: Path, source: str) -> str:
    """Write a file for ``--tools``; returns its path."""
    path = directory / "tools.py"
    path.write_text(source, encoding="utf-8")
    return str(path)
