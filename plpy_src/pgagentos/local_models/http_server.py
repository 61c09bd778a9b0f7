"""HTTP/1.1 on a loopback port: bodies in, JSON answers or streams out, connections kept alive."""

from __future__ import annotations

import json
import socket
import sys
import threading
import time
from collections.abc import Callable, Generator, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import chain
from typing import Any, cast

from .upstream import ClientGone
from .wire import WireError, error_body, wire_of

#: Bytes of one request body.
MAX_BODY_BYTES = 16 << 20
#: Seconds that a kept-alive connection may be silent.
IDLE_SECONDS = 300.0
#: What is read and thrown away of a refused body, so that the refusal can still be read.
_DRAIN_BYTES = 64 << 20
_DRAIN_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Request:
    """One request, its body read.

    Args:
        method: ``GET`` or ``POST``.
        path: without the query.
        query: without the question mark.
        headers: ``get`` ignores case.
        body: as received.
        client: the connection, to see whether the client is still there.
    """

    method: str
    path: str
    query: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    client: socket.socket | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """A complete answer."""

    status: int
    body: bytes
    content_type: str = "application/json"
    headers: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Stream:
    """An answer of status 200 that comes in pieces.

    A :class:`WireError` from the first piece still becomes an error answer; a later one breaks the
    connection, so that no client takes half an answer for a whole one.
    """

    content_type: str
    chunks: Generator[bytes, None, None]


#: What the server asks for every request; may raise WireError or ClientGone.
Handle = Callable[[Request], "Answer | Stream"]


def json_answer(value: Any, status: int = 200) -> Answer:
    """Return *value* as a JSON answer."""
    return Answer(status, json.dumps(value, ensure_ascii=False).encode())


def error_answer(path: str, headers: Any, error: WireError) -> Answer:
    """Return *error* in the shape of the wire that *path* speaks."""
    body = error_body(wire_of(path, headers), error.status, error.message)
    extra = (("Retry-After", error.retry_after),) if error.retry_after else ()
    return Answer(error.status, json.dumps(body, ensure_ascii=False).encode(), headers=extra)


class LoopbackServer(ThreadingHTTPServer):
    """A server on 127.0.0.1, one thread a connection.

    Args:
        handle: answers a request.
        port: 0 lets the system choose.
        max_body_bytes: a longer body is refused with 413.
    """

    daemon_threads = True
    request_queue_size = 128

    def __init__(
        self, handle: Handle, port: int = 0, *, max_body_bytes: int = MAX_BODY_BYTES
    ) -> None:
        super().__init__(("127.0.0.1", port), _Connection)
        self.handle = handle
        self.max_body_bytes = max_body_bytes
        self._active = 0
        self._changed = threading.Condition()

    @property
    def url(self) -> str:
        """Return the root URL, without a slash at its end."""
        return f"http://127.0.0.1:{self.server_address[1]}"

    def count_active(self, change: int) -> None:
        """Note that a request has begun (1) or ended (-1)."""
        with self._changed:
            self._active += change
            self._changed.notify_all()

    def wait_until_idle(self, seconds: float) -> bool:
        """Wait for the requests in progress; tell whether all of them ended in time."""
        with self._changed:
            return self._changed.wait_for(lambda: self._active == 0, seconds)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Stay silent about clients that went away; show everything else."""
        if not isinstance(sys.exc_info()[1], (ConnectionError, TimeoutError)):
            super().handle_error(request, client_address)


class _Connection(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version = "pgagentos"
    sys_version = ""
    timeout = IDLE_SECONDS
    disable_nagle_algorithm = True
    wbufsize = 1 << 16  # headers and body leave in one packet

    def do_GET(self) -> None:
        self._respond()

    def do_HEAD(self) -> None:
        self._respond()

    def do_POST(self) -> None:
        self._respond()

    def log_message(self, *_: object) -> None:
        """Write no access log: prompts and addresses stay private."""

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Answer what http.server itself refuses (a bad request line, an unknown method)."""
        path = getattr(self, "path", "/v1/").partition("?")[0]
        self.close_connection = True
        error = WireError(405 if code == 501 else code, message or "bad request")
        self._send(error_answer(path, None, error))

    def _respond(self) -> None:
        server = cast(LoopbackServer, self.server)
        path, _, query = self.path.partition("?")
        server.count_active(1)
        try:
            body = self._read_body(server.max_body_bytes)
            method = "GET" if self.command == "HEAD" else self.command
            headers = cast(Mapping[str, str], self.headers)
            request = Request(method, path, query, headers, body, self.connection)
            answer = server.handle(request)
            if isinstance(answer, Stream):
                # The first piece before any header: its error can still become a status.
                try:
                    first = next(answer.chunks, b"")
                    self._send_stream(answer.content_type, chain([first], answer.chunks))
                finally:
                    answer.chunks.close()  # ends the upstream request too
            else:
                self._send(answer)
        except WireError as error:
            self._send(error_answer(path, self.headers, error))
            if error.status in (411, 413):
                self._drain()
        except (ClientGone, ConnectionError, TimeoutError):
            self.close_connection = True
        finally:
            server.count_active(-1)

    def _read_body(self, limit: int) -> bytes:
        """Read the whole body.

        Raises:
            WireError: 411 without a length, 400 with a bad one, 413 if it is too long.
            ConnectionError: the client broke off.
        """
        declared = self.headers.get("Content-Length")
        if self.headers.get("Transfer-Encoding"):
            self.close_connection = True
            raise WireError(411, "send a Content-Length; chunked request bodies are not supported")
        if declared is None:
            return b""
        if not (declared.isascii() and declared.isdigit()):
            self.close_connection = True
            raise WireError(400, "Content-Length is not a number")
        length = int(declared)
        if length > limit:
            self.close_connection = True
            raise WireError(413, f"the body has {length} bytes, at most {limit} are allowed")
        body = self.rfile.read(length)
        if len(body) < length:
            raise ConnectionResetError("the client closed in the middle of its body")
        return body

    def _send(self, answer: Answer) -> None:
        self.send_response(answer.status)
        self.send_header("Content-Type", answer.content_type)
        self.send_header("Content-Length", str(len(answer.body)))
        for name, value in answer.headers:
            self.send_header(name, value)
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(answer.body)
        self.wfile.flush()

    def _send_stream(self, content_type: str, chunks: Iterable[bytes]) -> None:
        # An HTTP/1.0 client does not know chunks: for it the end of the connection is the end.
        is_chunked = self.request_version == "HTTP/1.1"
        self.close_connection = self.close_connection or not is_chunked
        self.send_response(200)
        self.send_header("Content-Type", content_type)
        self.send_header("Cache-Control", "no-cache")
        if is_chunked:
            self.send_header("Transfer-Encoding", "chunked")
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        try:
            for chunk in chunks:
                if chunk:
                    size = b"%x\r\n" % len(chunk)
                    self.wfile.write(size + chunk + b"\r\n" if is_chunked else chunk)
                    self.wfile.flush()
        except WireError:
            self.close_connection = True  # without the last chunk: the client sees a broken body
            return
        if is_chunked:
            self.wfile.write(b"0\r\n\r\n")
        self.wfile.flush()

    def _drain(self) -> None:
        """Read on a little after a refusal: closing at once would reset the connection."""
        deadline = time.monotonic() + _DRAIN_SECONDS
        left = _DRAIN_BYTES
        with suppress(OSError):
            self.connection.shutdown(socket.SHUT_WR)
            while left > 0 and (seconds := deadline - time.monotonic()) > 0:
                self.connection.settimeout(seconds)
                data = self.connection.recv(1 << 16)
                if not data:
                    return
                left -= len(data)
