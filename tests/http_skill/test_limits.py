"""What a call may take: bytes, time, and a cancel at any moment."""

from __future__ import annotations

import json

import pytest

from pgagentos.net.wait import Interrupted, NoInterrupts, run_all
from pgagentos.skills.http_skill import UNREACHABLE
from pgagentos.store.http import AllowedHost
from servers import FaultServer
from servers.play_server import Answer, Play, PlayServer
from unit.net.conftest import After
from unit.skills.endpoints import endpoint

from .conftest import Caller, NameService, allowing, loopback

LOOKS = 5
SECRET = "sk-0123456789abcdef"


# --- bytes ---------------------------------------------------------------------------------------


def test_a_request_that_is_too_long_is_not_sent(
    caller: Caller, play: Play, play_server: PlayServer
) -> None:
    """Headers count, too."""
    # Without its punctuation "idempotency-key: turn-2", which every call has, is 21 bytes of them,
    # "content-type: text/a" 18.
    skill = loopback(play_server.port, max_request_bytes=51)
    given = {"url": f"{play.url}/x", "method": "POST", "headers": {"content-type": "text/a"}}
    too_long = ("failed", "The request has more than 51 bytes.")
    assert caller(skill, **given, body="x" * 13) == too_long
    assert caller(skill, url=f"{play.url}/x", headers={"a": "x" * 30}) == too_long
    assert play.requests() == []
    play.add(Answer("ok"))
    assert caller(skill, **given, body="x" * 12)[0] == "completed"


@pytest.mark.parametrize(
    "fault",
    [
        *("endless-body", "endless-headers", "endless-trailers", "endless-interim", "gzip-anyway"),
        *("garbage", "switch-protocols", "length-too-short"),
    ],
)
def test_an_answer_without_end_or_sense_is_given_up(
    fault: str, caller: Caller, server: FaultServer
) -> None:
    status, content = caller(loopback(server.port), url=server.url(f"/{fault}/x"))
    assert status == "failed"
    assert content == "The host did not give a usable HTTP answer of at most 1048576 bytes."


def test_an_answer_may_have_exactly_as_many_bytes_as_allowed(
    caller: Caller, play: Play, play_server: PlayServer
) -> None:
    play.add(Answer("x" * 1000), Answer("x" * 1001))
    skill = loopback(play_server.port, max_response_bytes=1000)
    assert len(caller.read(skill, url=f"{play.url}/x")["body"]) == 1000
    assert caller(skill, url=f"{play.url}/x")[0] == "failed"


def test_what_the_model_reads_is_cut(caller: Caller, play: Play, play_server: PlayServer) -> None:
    play.add(Answer("x" * 1000))
    answer = caller.read(loopback(play_server.port, max_body_characters=100), url=f"{play.url}/x")
    assert (answer["body"], answer["truncated"]) == ("x" * 100, True)


def test_a_picture_is_refused(caller: Caller, play: Play, play_server: PlayServer) -> None:
    play.add(Answer("x", headers={"content-type": "image/png"}))
    assert caller(loopback(play_server.port), url=f"{play.url}/x") == (
        "failed",
        "The answer is not text.",
    )


# --- time ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", ["silence", "drip-body", "slow-headers"])
def test_a_slow_answer_is_given_up_in_time(fault: str, caller: Caller, server: FaultServer) -> None:
    """However steadily it drips: the limit is that of the whole call."""
    skill = loopback(server.port, timeout_seconds=0.3)
    assert caller(skill, url=server.url(f"/{fault}/x")) == ("failed", "Timed out after 0.3 s.")


@pytest.mark.parametrize(
    "fault", ["close-at-once", "reset-at-once", "half-body", "reset-mid-header"]
)
def test_a_broken_connection_is_one_text(fault: str, caller: Caller, server: FaultServer) -> None:
    assert caller(loopback(server.port), url=server.url(f"/{fault}/x")) == ("failed", UNREACHABLE)
    assert caller.notes[0][0] == "http_failed"


@pytest.mark.parametrize("fault", ["close-at-once", "close-on-second"])
def test_a_request_is_never_sent_twice(fault: str, caller: Caller, server: FaultServer) -> None:
    path = f"/{fault}/once-{fault}"
    for _ in range(2):
        caller(loopback(server.port), url=server.url(path), method="POST", body="buy")
    assert server.stats()["by_path"][path] == 2


def test_a_name_service_that_does_not_answer_runs_out_of_time(
    caller: Caller, names: NameService
) -> None:
    (names.directory / "script").write_text("exec sleep 600")
    skill = allowing(("https", "slow.example", 443, False), timeout_seconds=0.2)
    assert caller(skill, url="https://slow.example/") == ("failed", "Timed out after 0.2 s.")


@pytest.mark.parametrize("fault", ["silence", "drip-body", "slow-headers", "endless-body"])
def test_a_cancel_ends_the_wait_at_the_next_look(
    fault: str, caller: Caller, server: FaultServer
) -> None:
    """The looks are counted, not the time: between two of them lies one slice of 20 ms at most."""
    interrupts = After(LOOKS)
    skill = loopback(server.port, max_response_bytes=1 << 40)
    with pytest.raises(Interrupted):
        caller(skill, interrupts, url=server.url(f"/{fault}/x"))
    assert interrupts.looks == LOOKS + 1
    assert caller.notes == []


def test_a_cancel_ends_the_look_up_of_a_name(caller: Caller, names: NameService) -> None:
    (names.directory / "script").write_text("exec sleep 600")
    interrupts = After(LOOKS)
    with pytest.raises(Interrupted):
        caller(
            allowing(("https", "slow.example", 443, False)), interrupts, url="https://slow.example/"
        )
    assert interrupts.looks == LOOKS + 1


def test_many_calls_run_at_the_same_time(caller: Caller, server: FaultServer) -> None:
    """The server answers nobody before 16 are there."""
    skill = loopback(server.port)
    steps = [caller.steps(skill, url=server.url("/barrier/16")) for _ in range(16)]
    results = run_all(steps, NoInterrupts())
    assert [status for status, _ in results] == ["completed"] * 16


# --- secrets -------------------------------------------------------------------------------------


def test_a_secret_reaches_the_service_and_not_the_model(
    caller: Caller, server: FaultServer
) -> None:
    """The server echoes all that it was sent."""
    caller.secrets["key"] = SECRET
    skill = endpoint(
        "POST",
        server.url("/ok/{id}"),
        headers={"Authorization": "Bearer {secret:key}", "X-Two": "{secret:key}:{secret:key}"},
        hosts=(AllowedHost("http", "127.0.0.1", server.port, True),),
    )
    status, content = caller(skill, id="7", note="{secret:key}")
    assert status == "completed"
    assert SECRET not in content
    echo = json.loads(json.loads(content.split("\n")[2])["body"])
    assert echo["headers"]["authorization"] == "Bearer [secret]"
    assert echo["headers"]["x-two"] == "[secret]:[secret]"
    assert json.loads(echo["body"]) == {"note": "{secret:key}"}  # what a model writes is no place
    assert caller.revealed[0] == ("key", "127.0.0.1")
    assert SECRET not in str(caller.notes)


def test_a_model_cannot_have_a_secret_put_into_a_header_of_its_own(
    caller: Caller, server: FaultServer
) -> None:
    caller.secrets["key"] = SECRET
    answer = caller.read(
        loopback(server.port), url=server.url("/ok/x"), headers={"x-mine": "{secret:key}"}
    )
    assert json.loads(answer["body"])["headers"]["x-mine"] == "{secret:key}"
    assert caller.revealed == []


def test_nothing_is_sent_without_the_secret_or_before_the_host_is_allowed(
    caller: Caller, play: Play, play_server: PlayServer
) -> None:
    row = AllowedHost("http", "127.0.0.1", play_server.port, True)
    skill = endpoint("GET", f"{play.url}/x", headers={"a": "{secret:missing}"}, hosts=(row,))
    assert caller(skill) == ("failed", "A secret that the skill needs cannot be used here.")
    assert play.requests() == []
    caller.revealed.clear()
    assert caller(skill._replace(hosts=()))[0] == "failed"
    assert caller.revealed == []


@pytest.mark.parametrize("value", ["a\r\nX-Evil: 1", "a\nb", "a\0b", "\uac00"])
def test_a_secret_with_a_line_break_is_no_header(
    value: str, caller: Caller, play: Play, play_server: PlayServer
) -> None:
    caller.secrets["key"] = value
    row = AllowedHost("http", "127.0.0.1", play_server.port, True)
    status, content = caller(
        endpoint("GET", f"{play.url}/x", headers={"a": "{secret:key}"}, hosts=(row,))
    )
    assert (status, content) == ("failed", "A header has a character that HTTP does not allow.")
    assert value not in str(caller.notes)
    assert play.requests() == []
