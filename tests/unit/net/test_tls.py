"""TLS: whom the client trusts, and what it makes of a connection that is cut."""

from __future__ import annotations

import json
import os
import socket
import ssl
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pgagentos.errors import ProviderError
from pgagentos.net.client import Client
from pgagentos.net.message import HttpRequest, HttpResponse, Limits
from pgagentos.net.wait import Loop, NoInterrupts, run
from servers import FaultServer

Call = Callable[..., HttpResponse]

ONE_EXCHANGE = """
import sys
from pgagentos.errors import ProviderError
from pgagentos.net.client import Client
from pgagentos.net.message import HttpRequest, Limits
from pgagentos.net.wait import Loop, NoInterrupts, run
try:
    print(run(Client().exchange(HttpRequest("POST", sys.argv[1]), Limits()), NoInterrupts()).status)
except ProviderError as error:
    print(error.kind, error.message, error.hint)
"""


def exchange_in_a_fresh_process(url: str, **environment: str) -> str:
    """What a client without any argument says; the environment is read once a process."""
    return subprocess.run(
        [sys.executable, "-c", ONE_EXCHANGE, url],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), **environment},
        capture_output=True,
        text=True,
        check=True,
    ).stdout


def test_an_authority_of_the_environment_is_trusted(
    tls_server: FaultServer, authority_file: Path
) -> None:
    url = tls_server.url("/ok/x")
    assert exchange_in_a_fresh_process(url, SSL_CERT_FILE=str(authority_file)) == "200\n"


def test_an_unknown_authority_is_refused_with_a_hint(tls_server: FaultServer) -> None:
    said = exchange_in_a_fresh_process(tls_server.url("/ok/x"))
    assert said.startswith(f"connection no TLS with 127.0.0.1:{tls_server.port}: ")
    assert "self-signed certificate" in said or "unable to get local issuer" in said
    assert "SSL_CERT_FILE" in said


def test_a_certificate_for_another_name_is_refused(
    start_tls_server: Callable[..., object], tls_context: ssl.SSLContext, tail: str
) -> None:
    with start_tls_server("api.example") as server:  # type: ignore[attr-defined]
        client = Client(tls_context=tls_context)
        request = HttpRequest("POST", server.url("/ok/x"))
        with pytest.raises(ProviderError) as caught:
            run(client.exchange(request, Limits()), NoInterrupts())
    assert caught.value.kind == "connection"
    assert "127.0.0.1" in caught.value.message


def test_a_certificate_for_a_name_is_accepted_under_that_name(
    start_tls_server: Callable[..., object], tls_context: ssl.SSLContext
) -> None:
    with start_tls_server("localhost") as server:  # type: ignore[attr-defined]
        client = Client(tls_context=tls_context)
        request = HttpRequest("POST", f"https://localhost:{server.port}/ok/x")
        assert run(client.exchange(request, Limits()), NoInterrupts()).status == 200
        client.close()


def test_a_server_without_tls_is_a_connection_error(client: Client) -> None:
    loop = Loop()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        request = HttpRequest("POST", f"https://127.0.0.1:{port}/")
        loop.add(client.exchange(request, Limits()), "exchange")
        accepted, _ = listener.accept()
        with accepted:
            accepted.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            finished: list[tuple[Any, Any]] = []
            while not finished:
                finished = loop.run_once(60.0)
    loop.close_all()
    ((_, error),) = finished
    assert isinstance(error, ProviderError)
    assert error.kind == "connection"
    assert error.message.startswith(f"no TLS with 127.0.0.1:{port}: ")


def test_a_handshake_that_is_never_answered_runs_into_the_time_limit(
    silent_port: int, call: Call
) -> None:
    with pytest.raises(ProviderError) as caught:
        call(f"https://127.0.0.1:{silent_port}/", limits=Limits(connect_seconds=0.1))
    assert caught.value.kind == "timeout"


def test_a_body_that_ends_with_a_cut_connection_is_not_taken_for_whole(
    tls_server: FaultServer, server: FaultServer, call: Call
) -> None:
    assert call(server.url("/until-close")).status == 200
    with pytest.raises(ProviderError) as caught:
        call(tls_server.url("/until-close"))  # the server closes without TLS's own farewell
    assert caught.value.kind == "connection"
    assert "in the middle of its answer" in caught.value.message


def test_a_kept_tls_connection_that_dies_before_the_answer_is_replaced(
    tls_server: FaultServer, call: Call, tail: str
) -> None:
    echoes = [json.loads(call(tls_server.url(f"/close-on-second/{tail}")).body) for _ in range(3)]
    assert [echo["request_on_connection"] for echo in echoes] == [1, 1, 1]


def test_the_default_path_imports_nothing_heavy() -> None:
    program = (
        "import sys; import pgagentos.net.client, pgagentos.net.sdk_transport;"
        "print(*{'ssl', 'asyncio', 'subprocess', 'http.client', 'urllib.parse', 'idna', 'httpx2',"
        "'threading', 'email', 'encodings.idna'} & set(sys.modules))"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    # -S: what the machine's own site hooks import is not ours.
    command = [sys.executable, "-S", "-c", program]
    said = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert said.stdout == "\n"
