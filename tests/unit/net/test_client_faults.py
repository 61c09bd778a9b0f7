"""What the client makes of a server that misbehaves."""

from __future__ import annotations

import socket
from collections.abc import Callable

import pytest

from pgagentos.errors import InvalidInput, ProviderError
from pgagentos.net import resolver
from pgagentos.net.message import HttpResponse, Limits
from servers import FaultServer

Call = Callable[..., HttpResponse]

SHORT = Limits(total_seconds=0.3)
SECRET = "sk-very-secret"
HEADERS = (("authorization", f"Bearer {SECRET}"), ("content-type", "application/json"))


@pytest.mark.parametrize(
    ("fault", "limits", "kind"),
    [
        ("silence", SHORT, "timeout"),
        ("drip-body", SHORT, "timeout"),
        ("slow-headers", SHORT, "timeout"),
        ("half-body", Limits(), "connection"),
        ("half-chunks", Limits(), "connection"),
        ("length-too-long", Limits(), "connection"),
        ("reset-mid-header", Limits(), "connection"),
        ("reset-at-once", Limits(), "connection"),
        ("close-at-once", Limits(), "connection"),
        ("length-too-short", Limits(), "malformed_response"),
        ("garbage", Limits(), "malformed_response"),
        ("gzip-anyway", Limits(), "malformed_response"),
        ("switch-protocols", Limits(), "malformed_response"),
        ("endless-body", Limits(max_body_bytes=1_000_000), "malformed_response"),
        ("endless-headers", Limits(), "malformed_response"),
        ("endless-interim", Limits(), "malformed_response"),
        ("endless-trailers", Limits(), "malformed_response"),
        ("length-too-long", Limits(max_body_bytes=100), "malformed_response"),
    ],
)
@pytest.mark.parametrize("carrier", ["server", "tls_server"])
def test_a_fault_becomes_an_error_of_the_right_kind_that_shows_no_secret(
    carrier: str,
    fault: str,
    limits: Limits,
    kind: str,
    call: Call,
    request: pytest.FixtureRequest,
) -> None:
    server: FaultServer = request.getfixturevalue(carrier)
    with pytest.raises(ProviderError) as caught:
        call(server.url(f"/{fault}/x?key={SECRET}"), SECRET.encode(), limits, headers=HEADERS)
    assert caught.value.kind == kind
    assert caught.value.status is None
    assert f"127.0.0.1:{server.port}" in caught.value.message
    assert SECRET not in f"{caught.value.message} {caught.value.hint}"
    assert fault not in caught.value.message


def test_the_total_time_also_ends_a_body_that_never_pauses(server: FaultServer, call: Call) -> None:
    limits = Limits(total_seconds=0.02, max_body_bytes=1 << 40)
    with pytest.raises(ProviderError) as caught:
        call(server.url("/endless-body"), limits=limits)
    assert caught.value.kind == "timeout"


def test_a_body_of_exactly_the_allowed_size_is_accepted(server: FaultServer, call: Call) -> None:
    size = len(call(server.url("/chunked")).body)
    for path in ("/chunked", "/until-close"):
        assert len(call(server.url(path), limits=Limits(max_body_bytes=size)).body) == size
        with pytest.raises(ProviderError) as caught:
            call(server.url(path), limits=Limits(max_body_bytes=size - 1))
        assert caught.value.kind == "malformed_response"


def test_a_page_instead_of_json_is_returned_with_its_type(server: FaultServer, call: Call) -> None:
    response = call(server.url("/html"))
    assert response.status == 200
    assert response.headers["content-type"] == "text/html"
    assert response.body.startswith(b"<html>")


def test_a_redirect_is_returned_and_not_followed(
    server: FaultServer, call: Call, tail: str
) -> None:
    response = call(server.url(f"/redirect/{tail}"))
    assert response.status == 302
    assert response.headers["location"] == "/ok/redirected"
    assert server.stats()["by_path"].get("/ok/redirected") is None


@pytest.mark.parametrize("path", ["/chunked", "/interim", "/until-close"])
def test_every_framing_gives_the_same_body(path: str, server: FaultServer, call: Call) -> None:
    response = call(server.url(path))
    assert response.status == 200
    assert response.body == b'{"answer": "' + b"x" * 200 + b'"}'
    assert "x-trailer" not in response.headers
    assert "x-early" not in response.headers


def test_an_early_refusal_of_a_long_body_is_returned(server: FaultServer, call: Call) -> None:
    response = call(server.url("/early-refusal"), b"x" * 1_000_000)
    assert response.status == 413


def test_repeated_fields_are_joined_and_names_are_lower_case(
    server: FaultServer, call: Call
) -> None:
    headers = call(server.url("/repeated-fields")).headers
    assert headers["x-limit"] == "a, b"
    assert headers["x-empty"] == ""


def test_a_refused_connection_is_a_connection_error_with_host_and_port(call: Call) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))  # bound and not listening: nobody else gets this port
        port = unused.getsockname()[1]
        with pytest.raises(ProviderError) as caught:
            call(f"http://127.0.0.1:{port}/")
    assert caught.value.kind == "connection"
    assert caught.value.message == f"no connection to 127.0.0.1:{port}: Connection refused"


def test_a_name_that_nobody_knows_is_a_connection_error(
    call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        resolver, "GETENT", "/bin/false"
    )  # what getent does then: no line, status 2
    with pytest.raises(ProviderError) as caught:
        call(f"http://nowhere.example/v1?key={SECRET}")
    assert caught.value.kind == "connection"
    assert caught.value.message == (
        "no connection to nowhere.example:80: host name nowhere.example could not be resolved"
    )


def test_a_connection_that_is_never_accepted_runs_into_its_own_time_limit(
    full_port: int, call: Call
) -> None:
    with pytest.raises(ProviderError) as caught:
        call(f"http://127.0.0.1:{full_port}/", limits=Limits(connect_seconds=0.1))
    assert caught.value.kind == "timeout"
    assert caught.value.message == f"no connection to 127.0.0.1:{full_port} in time"


@pytest.mark.parametrize("value", ["Bearer key\n", "a\r\nx-injected: yes", "nul\0", "한"])
def test_a_header_value_that_would_break_the_request_is_refused(
    value: str, server: FaultServer, call: Call, tail: str
) -> None:
    with pytest.raises(InvalidInput) as caught:
        call(server.url(f"/ok/{tail}"), headers=(("authorization", value),))
    assert value.strip() not in caught.value.message
    assert f"/ok/{tail}" not in server.stats()["by_path"]
