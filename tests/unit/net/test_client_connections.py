"""How the client keeps and replaces its connections."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable

import pytest

from pgagentos.errors import InvalidInput, ProviderError
from pgagentos.net.client import Client
from pgagentos.net.message import HttpRequest, HttpResponse, Limits
from pgagentos.net.resolver import Address
from pgagentos.net.wait import NoInterrupts, run, run_all
from servers import FaultServer, start_fault_server

Call = Callable[..., HttpResponse]


def test_the_request_arrives_as_it_was_given(server: FaultServer, call: Call) -> None:
    body = '{"text": "안녕하세요"}'.encode()
    echo = json.loads(call(server.url("/ok/a%20b?x=1&y=2"), body, headers=(("x-one", "1"),)).body)
    assert (echo["method"], echo["path"]) == ("POST", "/ok/a%20b?x=1&y=2")
    assert echo["body"].encode() == body
    assert echo["headers"] == {
        "host": f"127.0.0.1:{server.port}",
        "accept-encoding": "identity",
        "x-one": "1",
        "content-length": str(len(body)),
    }


def test_a_get_without_a_body_announces_no_length(server: FaultServer, call: Call) -> None:
    echo = json.loads(call(server.url("/ok/x"), b"", method="GET").body)
    assert echo["method"] == "GET"
    assert "content-length" not in echo["headers"]


def test_a_large_body_arrives_whole_both_ways(
    server: FaultServer, tls_server: FaultServer, call: Call
) -> None:
    body = bytes(range(32, 127)) * 40_000
    for each in (server, tls_server):
        assert json.loads(call(each.url("/ok/x"), body).body)["body"].encode() == body


@pytest.mark.parametrize("carrier", ["server", "tls_server"])
def test_one_connection_carries_many_exchanges(
    carrier: str, call: Call, request: pytest.FixtureRequest
) -> None:
    server: FaultServer = request.getfixturevalue(carrier)
    echoes = [json.loads(call(server.url("/ok/x")).body) for _ in range(5)]
    assert len({echo["connection"] for echo in echoes}) == 1
    assert [echo["request_on_connection"] for echo in echoes] == [1, 2, 3, 4, 5]


@pytest.mark.parametrize("path", ["/chunked", "/interim", "/redirect", "/html"])
def test_a_connection_is_kept_after_any_complete_answer(
    path: str, server: FaultServer, call: Call
) -> None:
    before = json.loads(call(server.url("/ok/x")).body)
    call(server.url(path))
    after = json.loads(call(server.url("/ok/x")).body)
    assert after["connection"] == before["connection"]


@pytest.mark.parametrize("path", ["/until-close", "/early-refusal", "/close-after"])
def test_a_connection_that_the_server_ends_is_not_used_again(
    path: str, server: FaultServer, call: Call
) -> None:
    before = json.loads(call(server.url("/ok/x")).body)
    call(server.url(path))
    after = json.loads(call(server.url("/ok/x")).body)
    assert after["connection"] != before["connection"]


def test_a_kept_connection_that_dies_before_the_answer_is_replaced_once(
    server: FaultServer, call: Call, tail: str
) -> None:
    path = f"/close-on-second/{tail}"
    first = json.loads(call(server.url(path)).body)
    second = json.loads(call(server.url(path)).body)
    assert (second["connection"], second["request_on_connection"]) != (first["connection"], 2)
    assert second["request_on_connection"] == 1
    assert server.stats()["by_path"][path] == 3


@pytest.mark.parametrize(
    ("fault", "requests"),
    [
        ("close-at-once", 2),  # the kept one and a new one
        ("reset-at-once", 2),
        ("half-body", 1),  # a part of the answer arrived: the server has acted
        ("reset-mid-header", 1),
    ],
)
def test_nothing_is_sent_twice_once_an_answer_has_begun(
    fault: str, requests: int, server: FaultServer, call: Call, tail: str
) -> None:
    call(server.url("/ok/x"))
    with pytest.raises(ProviderError):
        call(server.url(f"/{fault}/{tail}"))
    assert server.stats()["by_path"][f"/{fault}/{tail}"] == requests


def test_a_new_connection_that_dies_is_not_retried(
    server: FaultServer, call: Call, tail: str
) -> None:
    with pytest.raises(ProviderError):
        call(server.url(f"/close-at-once/{tail}"))
    assert server.stats()["by_path"][f"/close-at-once/{tail}"] == 1


def test_an_idle_connection_that_is_too_old_is_replaced(server: FaultServer) -> None:
    client = Client(idle_seconds=-1.0)
    seen = {
        json.loads(run(client.exchange(request, Limits()), NoInterrupts()).body)["connection"]
        for request in [HttpRequest("POST", server.url("/ok/x"))] * 3
    }
    client.close()
    assert len(seen) == 3


@pytest.mark.parametrize("in_flight", [64, 256])
def test_many_exchanges_are_in_flight_at_once_and_keep_their_connections(in_flight: int) -> None:
    with start_fault_server() as server:
        client = Client()
        for _ in range(2):
            request = HttpRequest("POST", server.url(f"/barrier/{in_flight}"), (), b"{}")
            results = run_all(
                [client.exchange(request, Limits()) for _ in range(in_flight)], NoInterrupts()
            )
            assert [getattr(result, "status", result) for result in results] == [200] * in_flight
        counted = server.stats()
        client.close()
    assert counted["most_in_flight"] == in_flight
    assert counted["connections"] == in_flight + 1  # the one more is that of stats()


def test_no_more_idle_connections_are_kept_than_allowed(tail: str) -> None:
    with start_fault_server() as server:
        client = Client(max_idle=3)
        for _ in range(2):
            request = HttpRequest("POST", server.url("/barrier/8"), (), b"{}")
            run_all([client.exchange(request, Limits()) for _ in range(8)], NoInterrupts())
        counted = server.stats()
        client.close()
    assert counted["connections"] == 8 + 5 + 1


def test_one_failure_among_many_leaves_the_others_alone(
    server: FaultServer, client: Client
) -> None:
    paths = ["/ok/a", "/half-body", "/ok/b", "/garbage"]
    requests = [HttpRequest("POST", server.url(path), (), b"{}") for path in paths]
    good, cut, also_good, noise = run_all(
        [client.exchange(request, Limits()) for request in requests], NoInterrupts()
    )
    assert isinstance(good, HttpResponse)
    assert isinstance(also_good, HttpResponse)
    assert good.status == also_good.status == 200
    assert isinstance(cut, ProviderError)
    assert isinstance(noise, ProviderError)
    assert (cut.kind, noise.kind) == ("connection", "malformed_response")


def test_the_judge_sees_host_and_addresses_before_anything_connects(
    server: FaultServer, tail: str
) -> None:
    seen: list[tuple[str, list[Address]]] = []

    def judge(host: str, addresses: list[Address]) -> list[Address]:
        seen.append((host, addresses))
        raise InvalidInput("this address may not be called")

    client = Client(judge=judge)
    url = f"http://localhost:{server.port}/ok/{tail}"
    with pytest.raises(InvalidInput, match="may not be called"):
        run(client.exchange(HttpRequest("POST", url), Limits()), NoInterrupts())
    assert seen[0][0] == "localhost"
    assert (int(socket.AF_INET), ("127.0.0.1", server.port)) in seen[0][1]
    assert f"/ok/{tail}" not in server.stats()["by_path"]


def test_a_judge_that_leaves_no_address_ends_in_a_connection_error(server: FaultServer) -> None:
    client = Client(judge=lambda host, addresses: [])
    with pytest.raises(ProviderError) as caught:
        run(client.exchange(HttpRequest("POST", server.url("/ok/x")), Limits()), NoInterrupts())
    assert caught.value.kind == "connection"


def test_the_next_address_is_tried_when_the_first_refuses(server: FaultServer) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        dead = (int(socket.AF_INET), unused.getsockname())
        client = Client(judge=lambda host, addresses: [dead, *addresses])
        request = HttpRequest("POST", server.url("/ok/x"))
        assert run(client.exchange(request, Limits()), NoInterrupts()).status == 200
        client.close()
