"""A call goes to a listed host at judged addresses, or nowhere: with the real client."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator

import pytest

from pgagentos.net.judged_clients import make_clients
from pgagentos.skills.http_skill import NOT_ALLOWED, UNREACHABLE
from servers import FaultServer
from servers.play_server import Answer, Play, PlayServer
from unit.net import address_vectors as vectors

from .conftest import Caller, NameService, allowing, loopback

REFUSED = [
    *vectors.ANTISSRF_REFUSED,
    *vectors.METADATA,
    *vectors.EMBEDDED,
]
#: As they stand in a URL. What is written in another than the usual form is no plain URL at all.
LITERALS = [f"[{text}]" if ":" in text else text for text in REFUSED]


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    """A port on all addresses of this machine; a connection to it would be seen."""
    with socket.create_server(("", 0), family=socket.AF_INET6, dualstack_ipv6=True) as made:
        made.setblocking(False)
        yield made


def nobody_came(listener: socket.socket) -> bool:
    try:
        listener.accept()
    except BlockingIOError:
        return True
    return False


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize("literal", LITERALS)
def test_an_inner_address_is_never_connected_to_even_when_it_is_listed(
    literal: str, scheme: str, caller: Caller, listener: socket.socket
) -> None:
    port = listener.getsockname()[1]
    host = (
        socket.inet_ntop(socket.AF_INET6, socket.inet_pton(socket.AF_INET6, literal[1:-1]))
        if (literal[0] == "[")
        else literal
    )
    endpoint = allowing((scheme, host, port, False))
    status, content = caller(endpoint, url=f"{scheme}://{literal}:{port}/")
    assert status == "failed"
    # IPv4 inside IPv6, and dots in it, is a second way to write an address: no plain URL.
    is_plain = literal[0] != "[" or not (literal.lower().startswith("[::ffff:") or "." in literal)
    assert (content == UNREACHABLE) == is_plain
    assert caller.notes[0][0] == "ssrf_refused"
    assert nobody_came(listener)


@pytest.mark.parametrize(
    "odd", [*vectors.ANTISSRF_ODD, "127.0.0.1.", "\uff11\uff12\uff17.0.0.1", "localhost%00"]
)
def test_an_odd_spelling_of_loopback_is_not_read(
    odd: str, caller: Caller, names: NameService, listener: socket.socket
) -> None:
    port = listener.getsockname()[1]
    endpoint = allowing(("http", odd, port, True), ("http", "127.0.0.1", port, True))
    status, content = caller(endpoint, url=f"http://{odd}:{port}/")
    assert status == "failed"
    assert "usual form" in content or "plain" in content
    assert names.asked() == []
    assert nobody_came(listener)
    assert caller.notes[0][0] == "ssrf_refused"


@pytest.mark.parametrize("name", ["localhost", "LocalHost"])
def test_localhost_is_not_public(name: str, caller: Caller) -> None:
    assert caller(allowing(("https", "localhost", 443, False)), url=f"https://{name}/") == (
        "failed",
        UNREACHABLE,
    )


@pytest.mark.parametrize(
    "answers",
    [
        ["10.0.0.5"],
        ["169.254.169.254"],
        ["::1"],
        ["fe80::1%lo"],
        ["::ffff:10.0.0.5"],
        ["64:ff9b::a9fe:a9fe"],
        ["8.8.8.8", "169.254.169.254"],
        ["127.0.0.1", "8.8.8.8"],
        ["2606:4700::1111", "8.8.8.8", "fd00:ec2::254"],
        [],
    ],
)
def test_a_name_inside_and_a_name_that_does_not_exist_look_the_same(
    answers: list[str], caller: Caller, names: NameService
) -> None:
    names.answer(*answers)
    endpoint = allowing(("https", "*.corp.example", 443, False))
    assert caller(endpoint, url="https://db.corp.example/") == ("failed", UNREACHABLE)
    assert names.asked() == ["db.corp.example"]


@pytest.mark.parametrize(
    "url",
    [
        "https://other.example/",
        "https://api.example.evil.example/",
        "https://xapi.example/",
        "https://sub.api.example/",
        "http://api.example/",
        "https://api.example:8443/",
        "https://8.8.8.8/",
    ],
)
def test_what_is_not_listed_is_not_even_looked_up(
    url: str, caller: Caller, names: NameService
) -> None:
    status, content = caller(allowing(("https", "api.example", 443, False)), url=url)
    assert (status, content) == ("failed", NOT_ALLOWED)
    assert names.asked() == []
    assert caller.notes[0][2] == "not on the allow-list"


def test_without_any_row_nothing_is_called(caller: Caller, names: NameService) -> None:
    assert caller(allowing(), url="https://api.example/") == ("failed", NOT_ALLOWED)
    assert names.asked() == []


def test_a_name_is_looked_up_once_and_the_judged_address_is_connected_to(
    outside_caller: Caller, names: NameService, play: Play, play_server: PlayServer
) -> None:
    """Rebinding: the name leads inside from the second question on, and nobody asks twice."""
    play.add(Answer({"a": 1}))
    names.answer_in_turn("127.0.0.1", "169.254.169.254", "10.0.0.1")
    endpoint = allowing(("http", "rebind.example", play_server.port, False))
    answer = outside_caller.read(
        endpoint, url=f"http://rebind.example:{play_server.port}/{play.name}/x"
    )
    assert answer["status"] == 200
    assert names.asked() == ["rebind.example"]
    assert play.requests()[0].headers["host"] == f"rebind.example:{play_server.port}"


def test_a_rebound_name_is_judged_anew(
    outside_caller: Caller,
    names: NameService,
    play: Play,
    play_server: PlayServer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """No connection and no judgement outlives its call."""
    monkeypatch.setattr("pgagentos.net.resolver.CACHE_SECONDS", -1.0)
    play.add(Answer({"a": 1}, is_last=True))
    names.answer_in_turn("127.0.0.1", "169.254.169.254")
    endpoint = allowing(("http", "rebind.example", play_server.port, False))
    url = f"http://rebind.example:{play_server.port}/{play.name}/x"
    assert outside_caller.read(endpoint, url=url)["status"] == 200
    assert outside_caller(endpoint, url=url) == ("failed", UNREACHABLE)
    assert len(play.requests()) == 1


def test_the_certificate_has_to_be_of_the_name_and_not_of_the_address(
    outside_caller: Caller, names: NameService, start_tls: Callable[[str], PlayServer]
) -> None:
    names.answer("127.0.0.1")
    for certificate, expected in (("api.example", "completed"), ("127.0.0.1", "failed")):
        server = start_tls(certificate)
        play = server.play("tls")
        play.add(Answer({"a": 1}))
        endpoint = allowing(("https", "api.example", server.port, False))
        url = f"https://api.example:{server.port}/tls/x"
        assert outside_caller(endpoint, url=url)[0] == expected
        assert len(play.requests()) == (expected == "completed")


def test_an_opened_host_may_be_inside_and_a_metadata_service_still_may_not(
    caller: Caller, names: NameService, server: FaultServer
) -> None:
    names.answer("127.0.0.1")
    rows = ("http", "intranet.example", server.port, True), ("http", "169.254.169.254", 80, True)
    endpoint = allowing(*rows)
    answer = caller.read(endpoint, url=f"http://intranet.example:{server.port}/ok/x")
    assert answer["status"] == 200
    assert caller(endpoint, url="http://169.254.169.254/latest/meta-data/") == (
        "failed",
        UNREACHABLE,
    )


def test_opening_one_host_opens_no_other(
    caller: Caller, names: NameService, server: FaultServer
) -> None:
    names.answer("127.0.0.1")
    rows = (
        ("http", "intranet.example", server.port, True),
        ("http", "api.example", server.port, False),
    )
    endpoint = allowing(*rows)
    assert caller.read(endpoint, url=f"http://intranet.example:{server.port}/ok/x")["status"] == 200
    assert caller(endpoint, url=f"http://api.example:{server.port}/ok/x") == ("failed", UNREACHABLE)


def test_no_proxy_of_the_environment_is_used(
    caller: Caller, server: FaultServer, monkeypatch: pytest.MonkeyPatch, listener: socket.socket
) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        proxy = f"http://127.0.0.1:{listener.getsockname()[1]}"
        monkeypatch.setitem(os.environ, name, proxy)
        monkeypatch.setitem(os.environ, name.upper(), proxy)
    assert caller.read(loopback(server.port), url=server.url("/ok/x"))["status"] == 200
    assert nobody_came(listener)


def test_production_does_not_trust_a_certificate_that_anybody_made(
    start_tls: Callable[[str], PlayServer],
) -> None:
    server = start_tls("127.0.0.1")
    play = server.play("tls")
    endpoint = allowing(("https", "127.0.0.1", server.port, True))
    distrusting = Caller(make_clients())
    assert distrusting(endpoint, url=f"{play.url}/x") == ("failed", UNREACHABLE)
    assert "TLS" in distrusting.notes[0][2]
    assert play.requests() == []
