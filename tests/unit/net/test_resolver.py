"""From names to addresses."""

from __future__ import annotations

import os
import socket
import time
from pathlib import Path

import pytest

from pgagentos.errors import InstallationError, InvalidInput
from pgagentos.net import resolver
from pgagentos.net.resolver import Address, ask_name_service, resolve
from pgagentos.net.wait import NoInterrupts, run


def look_up(host: str, seconds: float = 30.0) -> list[Address]:
    """Drive one look-up."""
    return run(resolve(host, 80, time.monotonic() + seconds), NoInterrupts())


@pytest.fixture(autouse=True)
def empty_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each test begins without remembered answers."""
    monkeypatch.setattr(resolver, "_cache", {})


@pytest.fixture
def name_service(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory: its file ``script`` is run in place of getent, ``calls`` fills by that."""
    program = tmp_path / "getent"
    program.write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/calls\n. {tmp_path}/script\n')
    program.chmod(0o755)
    monkeypatch.setattr(resolver, "GETENT", str(program))
    return tmp_path


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("127.0.0.1", [(socket.AF_INET, ("127.0.0.1", 80))]),
        ("::1", [(socket.AF_INET6, ("::1", 80, 0, 0))]),
        (
            "localhost",
            [(socket.AF_INET, ("127.0.0.1", 80)), (socket.AF_INET6, ("::1", 80, 0, 0))],
        ),
        ("LOCALHOST.", [(socket.AF_INET, ("127.0.0.1", 80)), (socket.AF_INET6, ("::1", 80, 0, 0))]),
    ],
)
def test_literals_and_localhost_need_no_child(
    host: str, expected: list[Address], name_service: Path
) -> None:
    assert look_up(host) == expected
    assert not (name_service / "calls").exists()


def test_the_real_name_service_knows_the_hosts_file() -> None:
    texts = run(ask_name_service("localhost", time.monotonic() + 30), NoInterrupts())
    assert texts
    assert set(texts) <= {"127.0.0.1", "::1"}


def test_addresses_are_taken_from_the_stream_lines_in_their_order(name_service: Path) -> None:
    (name_service / "script").write_text(
        "printf '2001:db8::1     STREAM api.example\\n2001:db8::1     DGRAM\\n"
        "192.0.2.7       STREAM\\n192.0.2.7       RAW\\n'"
    )
    assert look_up("API.example") == [
        (socket.AF_INET6, ("2001:db8::1", 80, 0, 0)),
        (socket.AF_INET, ("192.0.2.7", 80)),
    ]
    assert (name_service / "calls").read_text() == "ahosts api.example\n"


def test_an_answer_is_remembered_for_a_while(
    name_service: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (name_service / "script").write_text("echo '192.0.2.7 STREAM x'")
    look_up("api.example")
    look_up("api.example")
    assert (name_service / "calls").read_text() == "ahosts api.example\n"
    monkeypatch.setattr(resolver, "CACHE_SECONDS", -1.0)
    look_up("other.example")
    look_up("other.example")
    assert (name_service / "calls").read_text().count("other.example") == 2


def test_the_memory_is_bounded(name_service: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (name_service / "script").write_text("echo '192.0.2.7 STREAM x'")
    monkeypatch.setattr(resolver, "CACHE_NAMES", 2)
    for name in ("a.example", "b.example", "c.example"):
        look_up(name)
    assert list(resolver._cache) == ["b.example", "c.example"]


def test_a_name_without_an_address_is_an_error_and_is_not_remembered(name_service: Path) -> None:
    (name_service / "script").write_text("exit 2")
    for _ in range(2):
        with pytest.raises(socket.gaierror, match=r"nowhere\.example could not be resolved"):
            look_up("nowhere.example")
    assert (name_service / "calls").read_text().count("nowhere") == 2


def test_a_name_service_that_does_not_answer_runs_out_of_time(name_service: Path) -> None:
    (name_service / "script").write_text("exec sleep 600")
    with pytest.raises(TimeoutError):
        look_up("slow.example", seconds=0.1)


def test_a_missing_getent_is_an_installation_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resolver, "GETENT", "/nonexistent/getent")
    with pytest.raises(InstallationError, match="/nonexistent/getent") as caught:
        look_up("api.example")
    assert caught.value.hint is not None
    assert "libc-bin" in caught.value.hint


def test_the_child_sees_neither_our_descriptors_nor_our_environment(
    name_service: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOME_API_KEY", "sk-secret")
    inherited = 77
    read_end, write_end = os.pipe()
    os.dup2(write_end, inherited, inheritable=True)
    (name_service / "script").write_text(
        f"env > {name_service}/env\nls /proc/$$/fd > {name_service}/fds\necho '192.0.2.7 STREAM x'"
    )
    try:
        look_up("api.example")
    finally:
        os.close(read_end)
        os.close(write_end)
        os.close(inherited)
    assert "sk-secret" not in (name_service / "env").read_text()
    descriptors = (name_service / "fds").read_text().split()
    assert {"0", "1", "2"} <= set(descriptors)
    assert str(inherited) not in descriptors


@pytest.mark.parametrize(
    "host", ["-x", "a b", "a;b", "", "a..b", "x" * 64 + ".example", "a$(id).example", "a/b", "a\n"]
)
def test_what_is_no_host_name_never_reaches_the_child(host: str, name_service: Path) -> None:
    with pytest.raises(InvalidInput):
        look_up(host)
    assert not (name_service / "calls").exists()
