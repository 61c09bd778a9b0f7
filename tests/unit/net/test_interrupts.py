"""A cancel ends every kind of wait at the next look, and leaves nothing behind.

The looks are counted, not the time: between two of them lies one slice of 20 ms at most.
"""

from __future__ import annotations

import os
import select
from collections.abc import Callable
from pathlib import Path

import pytest

from pgagentos.net import resolver
from pgagentos.net.client import Client
from pgagentos.net.message import HttpRequest, HttpResponse, Limits
from pgagentos.net.wait import SLICE, Interrupted, run, run_all, sleep
from servers import FaultServer

from .conftest import After, When

Call = Callable[..., HttpResponse]
LOOKS = 5


def test_a_slice_is_20_milliseconds() -> None:
    assert SLICE == 0.02


def assert_stops_at_once(call: Call, url: str, body: bytes = b"{}") -> None:
    """The wait goes on while nothing is pending, and ends at the first look that finds it."""
    interrupts = After(LOOKS)
    with pytest.raises(Interrupted):
        call(url, body, interrupts=interrupts)
    assert interrupts.looks == LOOKS + 1


def test_while_connecting(full_port: int, call: Call) -> None:
    assert_stops_at_once(call, f"http://127.0.0.1:{full_port}/")


def test_during_the_tls_handshake(silent_port: int, call: Call) -> None:
    assert_stops_at_once(call, f"https://127.0.0.1:{silent_port}/")


def test_while_sending(silent_port: int, call: Call) -> None:
    assert_stops_at_once(call, f"http://127.0.0.1:{silent_port}/", b"x" * 64_000_000)


@pytest.mark.parametrize("carrier", ["server", "tls_server"])
@pytest.mark.parametrize("fault", ["silence", "slow-headers", "drip-body", "endless-body"])
def test_while_receiving(
    carrier: str, fault: str, call: Call, tail: str, request: pytest.FixtureRequest
) -> None:
    server: FaultServer = request.getfixturevalue(carrier)
    call(server.url("/ok/x"))  # so that the connection stands and all looks are those of the answer
    assert_stops_at_once(call, server.url(f"/{fault}/{tail}"))


def test_a_client_works_on_after_an_interrupt(server: FaultServer, call: Call) -> None:
    with pytest.raises(Interrupted):
        call(server.url("/silence"), interrupts=After(LOOKS))
    assert call(server.url("/ok/x")).status == 200


def test_while_sleeping() -> None:
    interrupts = After(LOOKS)
    with pytest.raises(Interrupted):
        run(sleep(600.0), interrupts)
    assert interrupts.looks == LOOKS + 1


def test_while_a_name_is_looked_up(
    call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    process_ids = tmp_path / "pids"
    hanging = tmp_path / "getent"
    hanging.write_text(f"#!/bin/sh\nsleep 600 &\necho $$ $! > {process_ids}\nwait\n")
    hanging.chmod(0o755)
    monkeypatch.setattr(resolver, "GETENT", str(hanging))
    interrupts = When(lambda: process_ids.exists() and process_ids.read_text().endswith("\n"))
    with pytest.raises(Interrupted):
        call("http://never-answered.example/", interrupts=interrupts)
    assert interrupts.looks == 1
    child, grandchild = process_ids.read_text().split()
    assert not Path("/proc", child).exists()
    assert_ended(grandchild)


def assert_ended(process_id: str) -> None:
    """The process has ended, or does so now: it was killed and only init has to collect it."""
    try:
        descriptor = os.pidfd_open(int(process_id))
    except ProcessLookupError:
        return
    try:
        assert select.select([descriptor], [], [], 60)[0], "still running"
    finally:
        os.close(descriptor)


def test_with_many_exchanges_in_flight(server: FaultServer, client: Client, tail: str) -> None:
    path = f"/silence/{tail}"
    request = HttpRequest("POST", server.url(path), (), b"{}")
    interrupts = When(lambda: server.stats()["by_path"].get(path) == 16)
    with pytest.raises(Interrupted):
        run_all([client.exchange(request, Limits()) for _ in range(16)], interrupts)
    assert interrupts.looks == 1
