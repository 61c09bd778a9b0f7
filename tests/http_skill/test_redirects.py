"""A redirect is not followed; where it may be, each hop is a new request by the same rules."""

from __future__ import annotations

import pytest

from pgagentos.skills.http_skill import NOT_ALLOWED, REDIRECT, UNREACHABLE
from pgagentos.store.http import AllowedHost, Endpoint
from servers.play_server import Answer, Play, PlayServer
from unit.skills.endpoints import endpoint

from .conftest import Caller, NameService, allowing, loopback

SECRET = "sk-0123456789abcdef"


def to(location: str, status: int = 302) -> Answer:
    return Answer("moved", status=status, headers={"location": location})


def following(server: PlayServer, *rows: tuple[str, str, int, bool], most: int = 3) -> Endpoint:
    """May call the server, and follows redirects."""
    return allowing(("http", "127.0.0.1", server.port, True), *rows, max_redirects=most)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_refused_by_default(
    status: int, caller: Caller, play: Play, play_server: PlayServer
) -> None:
    play.add(to(f"{play.url}/next", status), Answer("never"))
    assert caller(loopback(play_server.port), url=f"{play.url}/x") == ("failed", REDIRECT)
    assert len(play.requests()) == 1


def test_a_status_between_300_and_400_that_names_no_place_is_an_answer(
    caller: Caller, play: Play, play_server: PlayServer
) -> None:
    play.add(Answer("", status=304), Answer("choose", status=300, headers={"location": "/x"}))
    assert caller.read(loopback(play_server.port), url=f"{play.url}/x")["status"] == 304
    assert caller.read(loopback(play_server.port), url=f"{play.url}/x")["status"] == 300


@pytest.mark.parametrize(
    "location",
    [
        "http://169.254.169.254/latest/meta-data/",
        "http://168.63.129.16/",
        "http://[fd00:ec2::254]/",
        "https://metadata.google.internal/",
        "http://localhost/",
        "//evil.example/",
        "https://127.0.0.1/",
    ],
)
@pytest.mark.parametrize("hops", [1, 2])
def test_a_redirect_to_a_host_that_is_not_listed_is_refused(
    location: str,
    hops: int,
    caller: Caller,
    play: Play,
    play_server: PlayServer,
    names: NameService,
) -> None:
    play.add(*[to(f"{play.url}/next")] * (hops - 1), to(location))
    assert caller(following(play_server), url=f"{play.url}/x") == ("failed", NOT_ALLOWED)
    assert caller.notes[0][0] == "ssrf_refused"
    assert len(play.requests()) == hops
    assert names.asked() == []


@pytest.mark.parametrize(
    "location",
    [
        *("http://2130706433/", "http://0x7f000001/", "http://127.1/", "http://[::ffff:7f00:1]/"),
        *(
            "http://user@127.0.0.1/",
            "file:///etc/passwd",
            "gopher://127.0.0.1/",
            "http:\\\\127.0.0.1/",
        ),
        *("http://127.0.0.1:0/", "http://[::1", "http://\uff11.0.0.1/", "javascript:alert(1)"),
    ],
)
def test_a_redirect_to_an_odd_url_is_refused(
    location: str, caller: Caller, play: Play, play_server: PlayServer
) -> None:
    play.add(to(location.encode().decode("latin-1")))
    assert caller(following(play_server), url=f"{play.url}/x") == ("failed", REDIRECT)
    assert len(play.requests()) == 1


def test_a_listed_host_is_judged_again_at_each_hop(
    caller: Caller, play: Play, play_server: PlayServer, names: NameService
) -> None:
    names.answer("169.254.169.254")
    row = ("http", "api.example", play_server.port, False)
    play.add(to(f"http://api.example:{play_server.port}/x"))
    assert caller(following(play_server, row), url=f"{play.url}/x") == ("failed", UNREACHABLE)
    metadata = ("http", "169.254.169.254", 80, True)
    play.add(to("http://169.254.169.254/"))
    assert caller(following(play_server, metadata), url=f"{play.url}/x") == ("failed", UNREACHABLE)


def test_redirects_are_followed_as_often_as_allowed(
    caller: Caller, play: Play, play_server: PlayServer
) -> None:
    play.add(to("next"), to("/" + play.name + "/a?b=c"), to(f"{play.url}/end"), Answer({"a": 1}))
    assert caller.read(following(play_server), url=f"{play.url}/x")["status"] == 200
    assert [request.path for request in play.requests()] == ["/x", "/next", "/a?b=c", "/end"]
    play.add(*[to("next")] * 3, Answer("never"))
    assert caller(following(play_server, most=2), url=f"{play.url}/x") == ("failed", REDIRECT)
    assert len(play.requests()) == 7


@pytest.mark.parametrize(
    ("status", "keeps"), [(301, False), (302, False), (303, False), (307, True), (308, True)]
)
def test_a_redirect_keeps_the_body_or_becomes_a_get(
    status: int, keeps: bool, caller: Caller, play: Play, play_server: PlayServer
) -> None:
    skill = endpoint(
        "POST",
        f"{play.url}/x",
        hosts=(AllowedHost("http", "127.0.0.1", play_server.port, True),),
        max_redirects=1,
    )
    play.add(to("next", status), Answer({"a": 1}))
    caller.read(skill, a=1)
    last = play.requests()[-1]
    assert last.body == (b'{"a":1}' if keeps else b"")
    assert ("content-type" in last.headers) is keeps


def skill_with_secret(play: Play, *rows: AllowedHost) -> Endpoint:
    return endpoint(
        "GET",
        f"{play.url}/x",
        headers={
            "Authorization": "Bearer {secret:key}",
            "Cookie": "a={secret:key}",
            "X-Own-Key": "{secret:key}",
            "X-Plain": "inner",
            "Accept": "application/json",
        },
        hosts=rows,
        max_redirects=2,
    )


def test_headers_and_secrets_stay_behind_when_the_host_changes(
    caller: Caller, play: Play, play_server: PlayServer, names: NameService
) -> None:
    """Also when only the name differs, and when a later hop leads back."""
    names.answer("127.0.0.1")
    port = play_server.port
    rows = (
        AllowedHost("http", "127.0.0.1", port, True),
        AllowedHost("http", "b.example", port, True),
    )
    caller.secrets["key"] = SECRET
    play.add(to(f"http://b.example:{port}/{play.name}/y"), to(f"{play.url}/z"), Answer({"a": 1}))
    caller.read(skill_with_secret(play, *rows))
    first, *others = play.requests()
    assert first.headers["authorization"] == f"Bearer {SECRET}"
    assert first.headers["x-own-key"] == SECRET
    assert [request.path for request in others] == ["/y", "/z"]
    for request in others:
        assert SECRET not in str(request.headers)
        assert "x-plain" not in request.headers
        assert request.headers["accept"] == "application/json"
    assert {host for _, host in caller.revealed} == {"127.0.0.1"}


def test_headers_stay_when_the_host_stays(
    caller: Caller, play: Play, play_server: PlayServer
) -> None:
    caller.secrets["key"] = SECRET
    play.add(to("y"), Answer({"a": 1}))
    caller.read(skill_with_secret(play, AllowedHost("http", "127.0.0.1", play_server.port, True)))
    assert play.requests()[1].headers["authorization"] == f"Bearer {SECRET}"


def test_another_port_is_another_host(
    caller: Caller, play: Play, play_server: PlayServer, second_server: PlayServer
) -> None:
    caller.secrets["key"] = SECRET
    second = second_server.play("second")
    play.add(to(f"{second.url}/y"))
    second.add(Answer({"a": 1}))
    rows = [AllowedHost("http", "127.0.0.1", s.port, True) for s in (play_server, second_server)]
    caller.read(skill_with_secret(play, *rows))
    assert SECRET not in str(second.requests()[0].headers)


def test_the_time_limit_is_that_of_all_hops_together(
    caller: Caller, play: Play, play_server: PlayServer
) -> None:
    play.add(to("y"), Answer("x", fault="silence"))
    skill = following(play_server)._replace(timeout_seconds=0.3)
    assert caller(skill, url=f"{play.url}/x") == ("failed", "Timed out after 0.3 s.")
