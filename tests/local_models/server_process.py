"""Running ``python -m pgagentos.local_models serve`` as its users do: as a process."""

from __future__ import annotations

import http.client
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

#: Seconds to load the models on a busy machine.
START_SECONDS = 180.0
#: Seconds for one answer of the language model on a busy machine.
ANSWER_SECONDS = 300.0
SOURCE = Path(__file__).parents[2] / "plpy_src"


@dataclass(frozen=True)
class ServerProcess:
    """A running server.

    Args:
        port: its TCP port on 127.0.0.1.
        process: to signal it.
        output: everything that it has printed so far is in this file.
    """

    port: int
    process: subprocess.Popen[bytes]
    output: Path

    @property
    def url(self) -> str:
        """Root URL, without a slash at its end."""
        return f"http://127.0.0.1:{self.port}"

    def connect(self) -> http.client.HTTPConnection:
        """Open a connection that is kept alive between requests."""
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=ANSWER_SECONDS)

    def post(self, path: str, body: Any) -> tuple[int, Any]:
        """Send one request; returns the status and the JSON answer."""
        connection = self.connect()
        try:
            return exchange(connection, "POST", path, body)
        finally:
            connection.close()


def exchange(
    connection: http.client.HTTPConnection, method: str, path: str, body: Any = None
) -> tuple[int, Any]:
    """Send one request (a JSON value, or bytes as they are) and read its JSON answer."""
    data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
    connection.request(method, path, data, {"Content-Type": "application/json"})
    answer = connection.getresponse()
    return answer.status, json.loads(answer.read())


@contextmanager
def start_server(*arguments: str) -> Iterator[ServerProcess]:
    """Start ``serve`` with *arguments* on a free port; end it with SIGTERM."""
    with tempfile.TemporaryDirectory(prefix="pgagentos-models-") as name:
        port_file, output = Path(name) / "port", Path(name) / "output"
        command = [sys.executable, "-m", "pgagentos.local_models", "serve", "--port", "0"]
        with output.open("wb") as out:
            process = subprocess.Popen(
                [*command, "--port-file", str(port_file), *arguments],
                env={**os.environ, "PYTHONPATH": str(SOURCE)},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
            )
        try:
            deadline = time.monotonic() + START_SECONDS
            while not port_file.exists():
                if process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError(f"the server did not start:\n{output.read_text()}")
                time.sleep(0.05)
            yield ServerProcess(int(port_file.read_text()), process, output)
        finally:
            process.terminate()
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
