"""An HTTP server that keeps every request and answers as it was told, in its own process.

``PUT /__reply`` with ``{"status":200,"headers":{...},"body":"..."}`` sets the answer to all that
follows; ``GET /__requests`` returns what has come in since the last look. Every other request is
recorded. :class:`RecordingServer` starts it and asks those two questions.

    python3 recording_server.py      prints its port on 127.0.0.1
"""

from __future__ import annotations

import base64
import json
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass(frozen=True)
class Recorded:
    """One request as it arrived; header names are in lower case."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        """Return the body as JSON."""
        return json.loads(self.body)


@dataclass(frozen=True)
class RecordingServer:
    """The running server, seen from the test."""

    url: str

    def answer(self, body: Any, status: int = 200, **headers: str) -> None:
        """Answer every request from now on like this; *body* is text, or becomes JSON."""
        text = body if isinstance(body, str) else json.dumps(body)
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        reply = {
            "status": status,
            "headers": {"content-type": "application/json", **named},
            "body": text,
        }
        self._control("PUT", "/__reply", json.dumps(reply).encode())

    def take(self) -> list[Recorded]:
        """Return what came in since the last look."""
        return [
            Recorded(
                method=item["method"],
                path=item["path"],
                headers=item["headers"],
                body=base64.b64decode(item["body"]),
            )
            for item in json.loads(self._control("GET", "/__requests"))
        ]

    def _control(self, method: str, path: str, body: bytes | None = None) -> bytes:
        request = urllib.request.Request(self.url + path, data=body, method=method)
        with urllib.request.urlopen(request, timeout=30) as response:
            return bytes(response.read())


@contextmanager
def start_recording_server() -> Iterator[RecordingServer]:
    """Run the server in a process of its own until the block is left."""
    process = subprocess.Popen(
        [sys.executable, __file__], stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True
    )
    try:
        assert process.stdout is not None
        port = process.stdout.readline().strip()
        yield RecordingServer(f"http://127.0.0.1:{port}")
    finally:
        process.terminate()
        process.wait(timeout=30)
        if process.stdout is not None:
            process.stdout.close()


# --- the process -------------------------------------------------------------------------------


class _State:
    lock = threading.Lock()
    requests: list[dict[str, Any]] = []  # noqa: RUF012 - one server in this process
    reply: dict[str, Any] = {"status": 200, "headers": {}, "body": "{}"}  # noqa: RUF012


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def _handle(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        with _State.lock:
            if self.path == "/__reply":
                _State.reply = json.loads(body)
                reply: dict[str, Any] = {"status": 200, "headers": {}, "body": ""}
            elif self.path == "/__requests":
                reply = {"status": 200, "headers": {}, "body": json.dumps(_State.requests)}
                _State.requests = []
            else:
                _State.requests.append(
                    {
                        "method": self.command,
                        "path": self.path,
                        "headers": {name.lower(): value for name, value in self.headers.items()},
                        "body": base64.b64encode(body).decode(),
                    }
                )
                reply = _State.reply
        content = reply["body"].encode()
        self.send_response(reply["status"])
        for name, value in reply["headers"].items():
            self.send_header(name, value)
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_POST = do_PUT = do_DELETE = _handle

    def log_message(self, format: str, *args: Any) -> None:
        """Stay silent: the first line of the output is the port."""


if __name__ == "__main__":
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    server.daemon_threads = True
    print(server.server_address[1], flush=True)
    server.serve_forever()
