"""The port itself: bad requests are answered in the shape of their wire and harm no other one."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from typing import Any

import pytest

from local_models.server_process import SOURCE, ServerProcess, exchange, start_server

OPENAI = {"type": "invalid_request_error", "param": None, "code": None}
#: Path -> what an error of that wire holds beside its message.
SHAPES: dict[str, Any] = {
    "/v1/chat/completions": lambda body: body["error"].items() >= OPENAI.items(),
    "/v1/messages": lambda body: (
        (body["type"], body["error"]["type"]) == ("error", "invalid_request_error")
    ),
    "/v1beta/models/m:generateContent": lambda body: (
        (
            body["error"]["code"],
            body["error"]["status"],
        )
        == (400, "INVALID_ARGUMENT")
    ),
    "/api/chat": lambda body: isinstance(body["error"], str),
}


@pytest.mark.parametrize("path", SHAPES)
@pytest.mark.parametrize("body", [b"{", b"[]", b"\xff\xfe", b"null", b"[" * 100_000])
def test_bad_json_gets_the_wires_own_error(
    embedding_server: ServerProcess, path: str, body: bytes
) -> None:
    connection = embedding_server.connect()
    status, answer = exchange(connection, "POST", path, body)
    assert status == 400
    assert SHAPES[path](answer), answer
    assert exchange(connection, "GET", "/health")[0] == 200
    connection.close()


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("POST", "/v1/unknown", 404),
        ("POST", "/v1/messages/unknown", 404),
        ("POST", "/api/unknown", 404),
        ("POST", "/v1beta/models/m:unknown", 404),
        ("POST", "/../../etc/passwd", 404),
        ("GET", "/unknown", 404),
        ("GET", "/v1/models/unknown", 404),
        ("GET", "/v1/chat/completions", 405),
        ("GET", "/api/chat", 405),
    ],
)
def test_an_unknown_path_leaves_the_connection_usable(
    embedding_server: ServerProcess, method: str, path: str, status: int
) -> None:
    connection = embedding_server.connect()
    body = {"model": "m", "input": "x" * 10_000} if method == "POST" else None
    assert exchange(connection, method, path, body)[0] == status
    own_socket = connection.sock
    assert exchange(connection, "GET", "/health")[0] == 200
    assert connection.sock is own_socket
    connection.close()


def test_an_oversized_body_is_refused_and_the_refusal_can_be_read(
    embedding_server: ServerProcess,
) -> None:
    body = json.dumps({"input": "x" * (3 << 20)}).encode()
    status, answer = embedding_server.post("/v1/embeddings", body)
    assert status == 413
    assert "at most 1048576 are allowed" in answer["error"]["message"]
    status, answer = embedding_server.post("/v1/messages", body)
    assert (status, answer["error"]["type"]) == (413, "request_too_large")


def raw(server: ServerProcess, sent: bytes) -> bytes:
    """Send bytes as they are and return all that comes back until the server closes."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as peer:
        peer.sendall(sent)
        received = b""
        while data := peer.recv(65536):
            received += data
    return received


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"POST /v1/embeddings HTTP/1.1\r\nContent-Length: -5\r\n\r\n", b"400"),
        (b"POST /v1/embeddings HTTP/1.1\r\nContent-Length: 1e3\r\n\r\n", b"400"),
        (b"POST /v1/embeddings HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", b"411"),
        (b"DELETE /v1/models HTTP/1.1\r\n\r\n", b"405"),
        (b"nonsense\r\n\r\n", b"400"),
        (b"GET /" + b"x" * 70_000 + b" HTTP/1.1\r\n\r\n", b"414"),
    ],
)
def test_a_request_that_is_no_http_is_refused_with_json(
    embedding_server: ServerProcess, sent: bytes, status: bytes
) -> None:
    if sent.startswith((b"POST", b"DELETE")):
        sent = sent.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n", 1)
    answer = raw(embedding_server, sent)
    head, _, body = answer.partition(b"\r\n\r\n")
    assert status in head.splitlines()[0] or answer.startswith(b"{")  # HTTP/0.9 has no head
    assert "error" in json.loads(body or head)


def test_half_a_body_is_not_answered(embedding_server: ServerProcess) -> None:
    with socket.create_connection(("127.0.0.1", embedding_server.port), timeout=30) as peer:
        peer.sendall(b"POST /v1/embeddings HTTP/1.1\r\nContent-Length: 100\r\n\r\n{")
        peer.shutdown(socket.SHUT_WR)
        assert peer.recv(1) == b""
    assert embedding_server.post("/v1/embeddings", {"input": "still here"})[0] == 200


def test_pipelined_requests_are_answered_in_order(embedding_server: ServerProcess) -> None:
    one = b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n"
    last = b"GET /api/version HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    answer = raw(embedding_server, one + one + last)
    assert answer.count(b"HTTP/1.1 200 ") == 3
    assert answer.endswith(b"}")
    assert answer.rindex(b'"version"') > answer.rindex(b'"status"')


def test_only_loopback_can_reach_the_port(embedding_server: ServerProcess) -> None:
    listening = subprocess.run(
        [sys.executable, "-c", "print(open('/proc/net/tcp').read())"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    port = f"{embedding_server.port:04X}"
    addresses = [
        fields[1]
        for line in listening.splitlines()
        if len(fields := line.split()) > 3 and fields[1].endswith(f":{port}") and fields[3] == "0A"
    ]
    assert addresses == [f"0100007F:{port}"]


def test_chat_without_a_chat_model_is_a_clear_error(embedding_server: ServerProcess) -> None:
    body = {"messages": [{"role": "user", "content": "hello"}]}
    status, answer = embedding_server.post("/v1/chat/completions", body)
    assert status == 404
    assert answer["error"]["message"] == "this server was started without a chat model"


def test_an_upstream_that_is_not_there_is_a_bad_gateway() -> None:
    with start_server("--upstream", "http://127.0.0.1:9/v1", "--no-embeddings") as server:
        body = {"messages": [{"role": "user", "content": "hello"}], "stream": False}
        status, answer = server.post("/api/chat", body)
        assert status == 502
        assert answer["error"].startswith("the upstream server does not answer")
        # A stream that cannot begin is an error as well, not an empty answer.
        assert server.post("/api/chat", {**body, "stream": True})[0] == 502


@pytest.mark.parametrize("stream", [True, False])
def test_a_client_that_goes_away_ends_the_upstream_request(stream: bool) -> None:
    """That is how llama.cpp learns to stop generating."""
    with socket.create_server(("127.0.0.1", 0)) as upstream:
        upstream.settimeout(30)
        url = f"http://127.0.0.1:{upstream.getsockname()[1]}/v1"
        with start_server("--upstream", url, "--no-embeddings") as server:
            body = {"messages": [{"role": "user", "content": "hello"}], "stream": stream}
            client = server.connect()
            client.request("POST", "/api/chat", json.dumps(body))
            asked, _ = upstream.accept()
            with asked:
                asked.settimeout(30)
                received = b""
                while b'"hello"' not in received:  # the model begins to think
                    received += asked.recv(65536)
                client.close()
                while data := asked.recv(65536):
                    received += data
            assert received.endswith(b"}")  # then nothing but the end of the connection


def test_sigterm_ends_the_server_cleanly() -> None:
    with start_server("--no-chat") as server:
        idle = server.connect()
        assert exchange(idle, "GET", "/health")[0] == 200
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(30) == 0
        printed = server.output.read_text()
    assert printed.startswith(f"READY {server.url} chat=none embeddings=multilingual-e5-small\n")
    assert "Traceback" not in printed


def test_a_taken_port_is_a_clear_error(embedding_server: ServerProcess) -> None:
    command = [sys.executable, "-m", "pgagentos.local_models", "serve", "--no-chat"]
    done = subprocess.run(
        [*command, "--no-embeddings", "--port", str(embedding_server.port)],
        env={**os.environ, "PYTHONPATH": str(SOURCE)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert f"port {embedding_server.port} cannot be opened" in done.stderr
