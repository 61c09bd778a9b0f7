"""An HTTP server that misbehaves on request, for the faults that no package offers.

It runs in its own process and speaks through raw sockets, a thread for each connection. The first
line that it prints is its port on 127.0.0.1. The first part of the path chooses what happens (see
``FAULTS``); the rest of the path does not matter. ``/ok/...`` answers properly: in the shape of a
chat completion, of an Anthropic message, or with an echo of the request. ``/stats`` tells what the
server has counted.

    python3 fault_server.py [--certificate FILE --key FILE]
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import ssl
import stat
import struct
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

Headers = dict[str, str]


@dataclass
class Counters:
    """What has happened so far; guarded by its lock."""

    lock: threading.Condition = field(default_factory=threading.Condition)
    connections: int = 0
    requests: int = 0
    in_flight: int = 0
    most_in_flight: int = 0
    by_path: dict[str, int] = field(default_factory=dict)


COUNTERS = Counters()


@dataclass
class Request:
    """One request that has been read completely."""

    method: str
    path: str
    headers: Headers
    body: bytes
    connection_number: int
    number_on_connection: int


class Peer:
    """One accepted connection."""

    def __init__(self, sock: socket.socket, number: int) -> None:
        self.sock = sock
        self.number = number
        self.buffer = b""
        self.count = 0

    def read_request(self) -> Request | None:
        """Read one request; None when the client has gone."""
        while b"\r\n\r\n" not in self.buffer:
            if not self._more():
                return None
        head, _, rest = self.buffer.partition(b"\r\n\r\n")
        lines = head.decode("latin-1").split("\r\n")
        method, path, _ = lines[0].split(" ")
        headers = {}
        for line in lines[1:]:
            name, _, value = line.partition(":")
            headers[name.lower()] = value.strip()
        self.buffer = rest
        length = int(headers.get("content-length", "0"))
        while len(self.buffer) < length:
            if not self._more():
                return None
        body, self.buffer = self.buffer[:length], self.buffer[length:]
        self.count += 1
        return Request(method, path, headers, body, self.number, self.count)

    def _more(self) -> bool:
        piece = self.sock.recv(65536)
        self.buffer += piece
        return bool(piece)

    def send(self, data: bytes) -> None:
        self.sock.sendall(data)

    def drip(self, data: bytes) -> None:
        """One byte every 50 ms, for as long as somebody listens."""
        for number in range(len(data)):
            self.send(data[number : number + 1])
            time.sleep(0.05)

    def hold(self) -> None:
        """Do nothing until the client goes."""
        while self.sock.recv(65536):
            pass

    def reset(self) -> None:
        """Close with a TCP reset."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()


def reply(
    body: bytes,
    *fields: str,
    status: str = "200 OK",
    content_type: str = "application/json",
    length: int | None = None,
) -> bytes:
    """A complete response."""
    head = [
        f"HTTP/1.1 {status}",
        f"content-type: {content_type}",
        f"content-length: {len(body) if length is None else length}",
        *fields,
    ]
    return "\r\n".join(head).encode() + b"\r\n\r\n" + body


BODY = json.dumps({"answer": "x" * 200}).encode()


def ok(peer: Peer, request: Request) -> bool:
    """A proper answer."""
    path = request.path.partition("?")[0]
    answer: dict[str, object]
    if path.endswith("/chat/completions"):
        answer = {
            "id": "chatcmpl-1",
            "object": "chat.completion",
            "created": 1700000000,
            "model": "scripted",
            "choices": [
                {
                    "index": 0,
                    "finish_reason": "stop",
                    "message": {"role": "assistant", "content": "hello from the server"},
                }
            ],
            "usage": {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7},
        }
    elif path.endswith("/messages"):
        answer = {
            "id": "msg_1",
            "type": "message",
            "role": "assistant",
            "model": "scripted",
            "content": [{"type": "text", "text": "hello from the server"}],
            "stop_reason": "end_turn",
            "stop_sequence": None,
            "usage": {"input_tokens": 3, "output_tokens": 4},
        }
    else:
        answer = {
            "method": request.method,
            "path": request.path,
            "headers": request.headers,
            "body": request.body.decode("utf-8", "replace"),
            "connection": request.connection_number,
            "request_on_connection": request.number_on_connection,
        }
    peer.send(reply(json.dumps(answer).encode(), "x-request-id: req_1"))
    return True


def stats(peer: Peer, request: Request) -> bool:
    """What has been counted."""
    with COUNTERS.lock:
        answer = {
            "connections": COUNTERS.connections,
            "requests": COUNTERS.requests,
            "most_in_flight": COUNTERS.most_in_flight,
            "by_path": COUNTERS.by_path,
        }
        data = json.dumps(answer).encode()
    peer.send(reply(data))
    return True


def barrier(peer: Peer, request: Request) -> bool:
    """``/barrier/N``: nobody is answered before N requests are here at once."""
    wanted = int(request.path.split("/")[2])
    with COUNTERS.lock:
        COUNTERS.lock.notify_all()
        everybody = COUNTERS.lock.wait_for(lambda: COUNTERS.most_in_flight >= wanted, timeout=60)
    peer.send(reply(BODY, status="200 OK" if everybody else "504 Not Everybody Came"))
    return True


def silence(peer: Peer, request: Request) -> bool:
    """The request is read and never answered."""
    peer.hold()
    return False


def drip_body(peer: Peer, request: Request) -> bool:
    """The body comes one byte at a time."""
    peer.send(reply(b"", length=len(BODY)))
    peer.drip(BODY)
    return True


def slow_headers(peer: Peer, request: Request) -> bool:
    """The header fields come one byte at a time."""
    peer.drip(reply(BODY))
    return True


def half_body(peer: Peer, request: Request) -> bool:
    """The connection is closed in the middle of the body."""
    data = reply(BODY)
    peer.send(data[: -len(BODY) // 2])
    return False


def half_chunks(peer: Peer, request: Request) -> bool:
    """The connection is closed in the middle of a chunked body."""
    peer.send(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n40\r\nabc")
    return False


def reset_mid_header(peer: Peer, request: Request) -> bool:
    """A TCP reset in the middle of the header fields."""
    peer.send(b"HTTP/1.1 200 OK\r\ncontent-ty")
    time.sleep(0.05)  # a reset overtakes bytes that are still on their way
    peer.reset()
    return False


def reset_at_once(peer: Peer, request: Request) -> bool:
    """A TCP reset instead of an answer."""
    peer.reset()
    return False


def close_at_once(peer: Peer, request: Request) -> bool:
    """The connection is closed instead of an answer."""
    return False


def length_too_long(peer: Peer, request: Request) -> bool:
    """More bytes are announced than come."""
    peer.send(reply(BODY, length=len(BODY) + 10))
    return False


def length_too_short(peer: Peer, request: Request) -> bool:
    """More bytes come than were announced."""
    peer.send(reply(BODY, length=len(BODY) - 10))
    return False


def endless_body(peer: Peer, request: Request) -> bool:
    """A body without length and without end."""
    peer.send(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\r\n")
    while True:
        peer.send(b"x" * 65536)


def endless_headers(peer: Peer, request: Request) -> bool:
    """Header fields without end."""
    peer.send(b"HTTP/1.1 200 OK\r\n")
    while True:
        peer.send(b"x-filler: " + b"x" * 1000 + b"\r\n")


def endless_interim(peer: Peer, request: Request) -> bool:
    """Interim answers without end."""
    while True:
        peer.send(b"HTTP/1.1 103 Early Hints\r\nlink: </style.css>\r\n\r\n")


def endless_trailers(peer: Peer, request: Request) -> bool:
    """A chunked body whose trailers have no end."""
    peer.send(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n")
    while True:
        peer.send(b"x-filler: " + b"x" * 1000 + b"\r\n")


def html(peer: Peer, request: Request) -> bool:
    """Status 200 with a page in it, as a captive portal sends."""
    peer.send(reply(b"<html><body>log in</body></html>", content_type="text/html"))
    return True


def garbage(peer: Peer, request: Request) -> bool:
    """Something that is not HTTP."""
    peer.send(b"220 mail.example ESMTP ready\r\n")
    return False


def gzip_anyway(peer: Peer, request: Request) -> bool:
    """A compressed body that nobody asked for."""
    peer.send(reply(b"\x1f\x8b\x08\x00", "content-encoding: gzip"))
    return True


def switch_protocols(peer: Peer, request: Request) -> bool:
    """101 that nobody asked for."""
    peer.send(b"HTTP/1.1 101 Switching Protocols\r\nupgrade: h2c\r\nconnection: upgrade\r\n\r\n")
    return False


def chunked(peer: Peer, request: Request) -> bool:
    """A proper body in chunks, with a trailer."""
    head = (
        b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n"
    )
    pieces = [BODY[start : start + 7] for start in range(0, len(BODY), 7)]
    chunks = b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces)
    peer.send(head + chunks + b"0\r\nx-trailer: late\r\n\r\n")
    return True


def interim(peer: Peer, request: Request) -> bool:
    """100 and 103, each with fields of its own, then the real answer."""
    peer.send(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nx-early: yes\r\n\r\n")
    peer.send(reply(BODY))
    return True


def until_close(peer: Peer, request: Request) -> bool:
    """A body that ends with the connection."""
    peer.send(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\r\n" + BODY)
    return False


def close_after(peer: Peer, request: Request) -> bool:
    """A proper answer, then the connection is closed without a word."""
    ok(peer, request)
    return False


def close_on_second(peer: Peer, request: Request) -> bool:
    """A connection serves one request properly and answers the second by closing."""
    return request.number_on_connection == 1 and ok(peer, request)


def early_refusal(peer: Peer, request: Request) -> bool:
    """413 with ``connection: close``."""
    peer.send(reply(b"{}", "connection: close", status="413 Content Too Large"))
    return False


def redirect(peer: Peer, request: Request) -> bool:
    """302 to another path of this server."""
    peer.send(reply(b"", "location: /ok/redirected", status="302 Found"))
    return True


def repeated_fields(peer: Peer, request: Request) -> bool:
    """Header fields that occur twice, in capitals, and without a value."""
    peer.send(reply(BODY, "X-Limit: a", "X-Empty:", "x-limit: b"))
    return True


FAULTS: dict[str, Callable[[Peer, Request], bool]] = {
    name.replace("_", "-"): action
    for name, action in list(globals().items())
    if callable(action) and getattr(action, "__annotations__", {}).get("peer") == "Peer"
}


def serve(sock: socket.socket, context: ssl.SSLContext | None, number: int) -> None:
    """Serve one connection until a fault, or the client, ends it."""
    try:
        if context is not None:
            sock = context.wrap_socket(sock, server_side=True, suppress_ragged_eofs=True)
        peer = Peer(sock, number)
        while (request := peer.read_request()) is not None:
            name = request.path.split("/")[1].partition("?")[0]
            with COUNTERS.lock:
                COUNTERS.requests += 1
                COUNTERS.in_flight += 1
                COUNTERS.most_in_flight = max(COUNTERS.most_in_flight, COUNTERS.in_flight)
                key = request.path.partition("?")[0]
                COUNTERS.by_path[key] = COUNTERS.by_path.get(key, 0) + 1
            try:
                if not FAULTS[name](peer, request):
                    return
            finally:
                with COUNTERS.lock:
                    COUNTERS.in_flight -= 1
    except OSError:
        pass  # the client went away, as most of these faults make it do
    finally:
        sock.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--certificate")
    parser.add_argument("--key")
    arguments = parser.parse_args()
    context = None
    if arguments.certificate:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(arguments.certificate, arguments.key)
    listener = socket.create_server(("127.0.0.1", 0), backlog=512)
    print(listener.getsockname()[1], flush=True)
    if stat.S_ISFIFO(os.fstat(0).st_mode):
        # A pipe on standard input ends with the process that started this one, however it ended.
        threading.Thread(target=lambda: (sys.stdin.read(), os._exit(0)), daemon=True).start()
    while True:
        sock, _ = listener.accept()
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with COUNTERS.lock:
            COUNTERS.connections += 1
            number = COUNTERS.connections
        threading.Thread(target=serve, args=(sock, context, number), daemon=True).start()


if __name__ == "__main__":
    main()
