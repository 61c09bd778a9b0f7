"""An HTTP server that plays scripts, answer by answer, byte for byte, in its own process.

The first part of the path names the script, so that many tests share one server. An answer is what
:class:`Answer` says: any status, header fields and bytes, or a fault. The test is told when a
request has arrived and may hold its answer back, so nothing depends on the clock. A request for
which the script has no answer left gets status 400, which no client repeats.

    python3 play_server.py [--certificate FILE --key FILE]      prints its port on 127.0.0.1
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import json
import socket
import ssl
import struct
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

#: Seconds that a test waits for something to arrive; more than the slowest machine needs.
PATIENCE = 60.0


@dataclass(frozen=True)
class Answer:
    """One answer of a script.

    Args:
        body: text, or a value that becomes JSON.
        fault: None; ``silence`` (never answered), ``reset`` (TCP reset), ``drip`` (the body comes
            one byte every 20 ms), ``half`` (the connection closes in the middle of the body).
        is_held: the answer waits until :meth:`Play.release`.
        is_last: the answer to every further request, too.
    """

    body: Any = ""
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    fault: str | None = None
    is_held: bool = False
    is_last: bool = False


@dataclass(frozen=True)
class Played:
    """A request as it arrived; names of header fields are in lower case."""

    path: str
    headers: Mapping[str, str]
    body: bytes
    arrived_at: float
    client_port: int

    def json(self) -> Any:
        """Return the body as JSON."""
        return json.loads(self.body)


@dataclass(frozen=True)
class Play:
    """One script of the server."""

    control_url: str
    base_url: str
    name: str

    @property
    def url(self) -> str:
        """Where the clients of this script connect to."""
        return f"{self.base_url}/{self.name}"

    def add(self, *answers: Answer) -> None:
        """Add answers to the end of the script."""
        self._control("add", [asdict(answer) for answer in answers])

    def release(self) -> None:
        """Let the answer that is held back, or the next one that would be, go."""
        self._control("release")

    def arrived(self, count: int) -> None:
        """Wait until *count* requests of this script have arrived."""
        self._control("arrived", count)

    def requests(self) -> list[Played]:
        """Return all requests of this script, oldest first."""
        return [
            Played(**{**one, "body": base64.b64decode(one["body"])})
            for one in self._control("requests")
        ]

    def bodies(self) -> list[Any]:
        """Return the bodies of all requests as JSON, oldest first."""
        return [request.json() for request in self.requests()]

    def _control(self, verb: str, value: Any = None) -> Any:
        request = urllib.request.Request(
            f"{self.control_url}/__{verb}/{self.name}", json.dumps(value).encode(), method="PUT"
        )
        with urllib.request.urlopen(request, timeout=PATIENCE + 10) as response:
            return json.load(response)


@dataclass(frozen=True)
class PlayServer:
    """The running server; see :class:`Play`."""

    port: int
    control_port: int
    scheme: str

    def play(self, name: str) -> Play:
        """Begin a script."""
        return Play(
            f"http://127.0.0.1:{self.control_port}", f"{self.scheme}://127.0.0.1:{self.port}", name
        )


@contextmanager
def start_play_server(
    certificate: Path | None = None, key: Path | None = None
) -> Iterator[PlayServer]:
    """Run the server in a process of its own, over TLS when a certificate is given."""
    command = [sys.executable, __file__]
    if certificate is not None:
        command += ["--certificate", str(certificate), "--key", str(key)]
    with subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            port, control_port = map(int, process.stdout.readline().split())
            yield PlayServer(port, control_port, "http" if certificate is None else "https")
        finally:
            process.kill()


# --- the process -------------------------------------------------------------------------------


class _Script:
    """What is still to be said, and what has been heard; guarded by the one condition."""

    def __init__(self) -> None:
        self.answers: list[dict[str, Any]] = []
        self.requests: list[dict[str, Any]] = []
        self.permits = 0


_changed = threading.Condition()
_scripts: dict[str, _Script] = {}
_OVER = {"status": 400, "headers": {}, "fault": None, "is_held": False, "is_last": False} | {
    "body": {"error": {"message": "the script is over"}}
}


class _Control(BaseHTTPRequestHandler):
    """The test's own door, always without TLS."""

    def do_PUT(self) -> None:
        value = json.loads(self.rfile.read(int(self.headers["content-length"])))
        verb, name = self.path.removeprefix("/__").split("/")
        answer: Any = None
        with _changed:
            script = _scripts.setdefault(name, _Script())
            if verb == "add":
                script.answers.extend(value)
            elif verb == "release":
                script.permits += 1
            elif verb == "requests":
                answer = script.requests
            elif not _changed.wait_for(lambda: len(script.requests) >= value, PATIENCE):
                self.send_error(504, f"{len(script.requests)} of {value} requests have arrived")
                return
            _changed.notify_all()
        data = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: Any) -> None:
        """Stay silent: the first line of the output tells the ports."""


class _Player(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        name = self.path.split("/")[1]
        with _changed:
            script = _scripts.setdefault(name, _Script())
            script.requests.append(
                {
                    "path": self.path.removeprefix(f"/{name}"),
                    "headers": {k.lower(): v for k, v in self.headers.items()},
                    "body": base64.b64encode(body).decode(),
                    "arrived_at": time.monotonic(),
                    "client_port": self.client_address[1],
                }
            )
            answer = script.answers[0] if script.answers else _OVER
            if script.answers and not answer["is_last"]:
                del script.answers[0]
            _changed.notify_all()
            if answer["is_held"]:
                _changed.wait_for(lambda: script.permits > 0)
                script.permits -= 1
        self._perform(answer)

    do_GET = do_PATCH = do_PUT = do_DELETE = do_POST

    def _perform(self, answer: Mapping[str, Any]) -> None:
        fault = answer["fault"]
        if fault in ("silence", "reset"):
            self.close_connection = True
            if fault == "silence":
                while self.connection.recv(65536):
                    pass
            else:
                self.connection.setsockopt(
                    socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
                )
                self.connection.close()
            return
        value = answer["body"]
        data = (value if isinstance(value, str) else json.dumps(value)).encode()
        self.send_response(answer["status"])
        fields = {"content-type": "application/json", **answer["headers"]}
        for name, text in fields.items():
            self.send_header(name, text)
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        if fault == "half":
            self.close_connection = True
            data = data[: len(data) // 2]
        if fault == "drip":
            for number in range(len(data)):
                self.wfile.write(data[number : number + 1])
                time.sleep(0.02)
        else:
            self.wfile.write(data)

    def handle(self) -> None:
        try:
            super().handle()
        except OSError:
            self.close_connection = True  # the client went away, as many tests make it do

    def finish(self) -> None:
        with contextlib.suppress(OSError):  # its socket was reset
            super().finish()

    def log_message(self, format: str, *args: Any) -> None:
        """Stay silent."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 512
    context: ssl.SSLContext | None = None

    def finish_request(self, request: Any, client_address: Any) -> None:
        if self.context is not None:
            try:
                request = self.context.wrap_socket(request, server_side=True)
            except OSError:
                return
        super().finish_request(request, client_address)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--certificate")
    parser.add_argument("--key")
    arguments = parser.parse_args()
    player = _Server(("127.0.0.1", 0), _Player)
    if arguments.certificate:
        player.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        player.context.load_cert_chain(arguments.certificate, arguments.key)
    control = _Server(("127.0.0.1", 0), _Control)
    threading.Thread(target=control.serve_forever, daemon=True).start()
    print(player.server_address[1], control.server_address[1], flush=True)
    player.serve_forever()


if __name__ == "__main__":
    main()
