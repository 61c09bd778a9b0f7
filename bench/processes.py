"""The child processes of a run: the mock model server and the contestants' workers."""

from __future__ import annotations

import json
import subprocess
import tempfile
import urllib.request
from pathlib import Path
from typing import Any

import venvs

HERE = Path(__file__).resolve().parent


class WorkerError(Exception):
    """A contestant failed; the message holds what it wrote."""


class MockServer:
    """The mock model server in a process of its own; a context manager."""

    def __enter__(self) -> MockServer:
        self.process = subprocess.Popen(
            [venvs.python("harness"), HERE / "mock_llm.py"], stdout=subprocess.PIPE, text=True
        )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise WorkerError("the mock model server did not start")
        self.port = int(line)
        return self

    def __exit__(self, *_: object) -> None:
        self.process.terminate()
        self.process.wait(10)

    def base_url(self, delay_ms: int = 0) -> str:
        """The URL that an OpenAI client is given."""
        delay = f"/d{delay_ms}" if delay_ms else ""
        return f"http://127.0.0.1:{self.port}{delay}/v1"

    def last(self) -> dict[str, Any]:
        """What the last request to a model carried (see mock_llm.describe_last)."""
        return dict(self._tell("last"))

    def count(self) -> int:
        """How many requests to a model there were so far."""
        return int(self._tell("count"))

    def ceiling(self, delay_ms: int, connections: int, seconds: float) -> dict[str, float]:
        """Calls of a bare client that does nothing else (see mock_ceiling.py)."""
        arguments = map(str, (self.port, delay_ms, connections, seconds))
        done = subprocess.run(
            [venvs.python("harness"), HERE / "mock_ceiling.py", *arguments],
            capture_output=True,
            text=True,
        )
        if done.returncode:
            raise WorkerError(f"the mock model server under load: {done.stderr}")
        return dict(json.loads(done.stdout))

    def _tell(self, what: str) -> Any:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/{what}") as response:
            return json.load(response)


class Worker:
    """One contestant in its own interpreter; commands and answers are JSON lines (worker.py).

    Args:
        name: the contestant, for messages.
        python: its interpreter.
        spec: what worker.py is told, see there.
    """

    def __init__(self, name: str, python: Path, spec: dict[str, Any]) -> None:
        self.name = name
        self.errors = tempfile.TemporaryFile("w+")  # noqa: SIM115 - lives as long as the process
        self.process = subprocess.Popen(
            [python, HERE / "worker.py", json.dumps(spec)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.errors,
            text=True,
        )

    def __call__(self, command: str, **arguments: Any) -> Any:
        """Do one command and return its answer.

        Raises:
            WorkerError: the contestant raised, gave a wrong answer or died.
        """
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(json.dumps({"command": command, **arguments}) + "\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            pass  # it died; answer() says why
        return self.answer(command)

    def answer(self, command: str) -> Any:
        """The next answer; a worker with a "first" turn gives one without being asked."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        message = json.loads(line) if line else {"error": "the worker died"}
        if "error" in message:
            self.errors.seek(0)
            self.process.kill()
            raise WorkerError(
                f"{self.name}, {command}: {message['error']}\n{self.errors.read()[-4000:]}"
            )
        return message["ok"]

    def quit(self) -> None:
        """Let it close its connections and end."""
        self("quit")
        self.process.wait(20)
        self.close()

    def close(self) -> None:
        """End the process whatever it does."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self.errors.close()
