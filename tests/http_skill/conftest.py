"""What the tests of HTTP skills share: servers, a name service of their own, a way to call."""

from __future__ import annotations

import itertools
import json
import ssl
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import trustme

from cluster import Cluster, Database
from house import house
from kernel.background import Background, run_in_background
from kernel.scene import Scene, make_scene
from pgagentos.errors import Refused
from pgagentos.net import resolver
from pgagentos.net.client import Client
from pgagentos.net.judged_clients import Clients, make_clients
from pgagentos.net.public_address import judge_public
from pgagentos.net.resolver import Address
from pgagentos.net.wait import Interrupts, NoInterrupts, Steps, run
from pgagentos.skills.http_skill import Call
from pgagentos.store.http import AllowedHost, Endpoint
from servers import FaultServer, start_fault_server
from servers.play_server import Play, PlayServer, start_play_server
from stored_secrets.conftest import key_file, secret_cluster
from unit.skills.endpoints import free_endpoint

__all__ = ["house", "key_file", "secret_cluster"]  # fixtures

_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def play_server() -> Iterator[PlayServer]:
    with start_play_server() as server:
        yield server


@pytest.fixture
def play(play_server: PlayServer) -> Play:
    """A script for this test alone."""
    return play_server.play(f"play-{next(_numbers)}")


@pytest.fixture
def second_server() -> Iterator[PlayServer]:
    """A second server, at another port."""
    with start_play_server() as server:
        yield server


@pytest.fixture(scope="session")
def server() -> Iterator[FaultServer]:
    """The fault server."""
    with start_fault_server() as started:
        yield started


@pytest.fixture(scope="session")
def authority() -> trustme.CA:
    """A throw-away certificate authority."""
    return trustme.CA()


@pytest.fixture(scope="session")
def tls_context(authority: trustme.CA) -> ssl.SSLContext:
    """A context that trusts the throw-away authority only."""
    from pgagentos.net.tls import default_context

    context = default_context.__wrapped__()
    authority.configure_trust(context)
    return context


@pytest.fixture
def start_tls(
    authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[str], PlayServer]]:
    """Start a play server over TLS whose certificate is for the given name."""
    with ExitStack() as stack:

        def start(name: str) -> PlayServer:
            directory = tmp_path_factory.mktemp("tls")
            issued = authority.issue_cert(name)
            certificate, key = directory / "server.pem", directory / "key.pem"
            issued.private_key_and_cert_chain_pem.write_to_path(str(certificate))
            issued.private_key_pem.write_to_path(str(key))
            return stack.enter_context(start_play_server(certificate, key))

        yield start


@dataclass
class NameService:
    """The program that is run in place of getent."""

    directory: Path

    def answer(self, *addresses: str) -> None:
        """Answer every name with these addresses."""
        lines = "".join(f"echo '{address} STREAM x'\n" for address in addresses)
        (self.directory / "script").write_text(lines or "exit 2\n")

    def answer_in_turn(self, *addresses: str) -> None:
        """Answer the first question with the first address, the second with the second, ..."""
        cases = "".join(f"{n}) echo '{a} STREAM x';;\n" for n, a in enumerate(addresses, 1))
        (self.directory / "script").write_text(
            f"case $(wc -l < {self.directory}/calls) in\n{cases}esac\n"
        )

    def asked(self) -> list[str]:
        """The names that were looked up."""
        calls = self.directory / "calls"
        return (
            [line.split()[-1] for line in calls.read_text().splitlines()] if calls.exists() else []
        )


@pytest.fixture
def names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> NameService:
    """A name service that knows no name until it is told."""
    program = tmp_path / "getent"
    program.write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/calls\n. {tmp_path}/script\n')
    program.chmod(0o755)
    monkeypatch.setattr(resolver, "GETENT", str(program))
    monkeypatch.setattr(resolver, "_cache", {})
    service = NameService(tmp_path)
    service.answer()
    return service


def loopback_is_public(host: str, addresses: list[Address]) -> list[Address]:
    """The judge of production, for which 127.0.0.1 alone stands in for the internet."""
    others = [address for address in addresses if address[1][0] != "127.0.0.1"]
    judge_public(host, others)
    return addresses


@dataclass
class Caller:
    """Calls http_request, or another endpoint.

    Args:
        clients: the ways out; production's own unless a test sets others.
        secrets: by name.
        notes: what was written to the log.
    """

    clients: Clients
    secrets: dict[str, str] = field(default_factory=dict)
    notes: list[tuple[str, str, str]] = field(default_factory=list)
    revealed: list[tuple[str, str]] = field(default_factory=list)

    def steps(self, endpoint: Endpoint, **arguments: Any) -> Steps[tuple[str, str]]:
        """The call, not yet begun."""
        call = Call(endpoint, self.clients, self._reveal, self._note, "turn-2")
        return call.perform(json.dumps(arguments))

    def __call__(
        self, endpoint: Endpoint, interrupts: Interrupts | None = None, **arguments: Any
    ) -> tuple[str, str]:
        """Make the call; return status and content."""
        return run(self.steps(endpoint, **arguments), interrupts or NoInterrupts())

    def read(self, endpoint: Endpoint, **arguments: Any) -> dict[str, Any]:
        """Make a call that has to succeed; return what is in the block."""
        status, content = self(endpoint, **arguments)
        assert status == "completed", content
        value: dict[str, Any] = json.loads(content.split("\n")[2])
        return value

    def _reveal(self, name: str, host: str) -> str:
        self.revealed.append((name, host))
        if name not in self.secrets:
            raise Refused("A secret that the skill needs cannot be used here.")
        return self.secrets[name]

    def _note(self, kind: str, host: str, reason: str) -> None:
        self.notes.append((kind, host, reason))


@pytest.fixture
def caller(tls_context: ssl.SSLContext) -> Caller:
    """A caller with production's clients."""
    return Caller(make_clients(tls_context))


@pytest.fixture
def outside_caller(tls_context: ssl.SSLContext) -> Caller:
    """A caller for whom 127.0.0.1 is the internet."""
    client = Client(judge=loopback_is_public, tls_context=tls_context, max_idle=0)
    return Caller(Clients(client, client))


def allowing(*hosts: tuple[str, str, int, bool], **fields: Any) -> Endpoint:
    """The endpoint of http_request with this allow-list."""
    return free_endpoint(hosts=tuple(AllowedHost(*host) for host in hosts), **fields)


def loopback(port: int, **fields: Any) -> Endpoint:
    """The endpoint of http_request that may call a server of this machine."""
    return allowing(("http", "127.0.0.1", port, True), **fields)


@pytest.fixture(scope="module")
def vault(secret_cluster: Cluster) -> Iterator[Database]:
    """A fresh database of one module, in a server with a master key that logs all it can."""
    with secret_cluster.database(f"http_{next(_numbers)}") as made:
        yield made


@pytest.fixture
def log(secret_cluster: Cluster) -> Callable[[], str]:
    """The text of the server's log."""
    assert secret_cluster.home is not None
    file = secret_cluster.home / "server.log"
    return lambda: file.read_text(errors="replace")


@pytest.fixture
def scene(vault: Database, play: Play) -> Iterator[Scene]:
    """An agent for this test alone, in :func:`vault`."""
    with vault.connect() as connection:
        yield make_scene(connection, play)


@pytest.fixture
def service(play_server: PlayServer) -> Play:
    """The script of the service that skills call."""
    return play_server.play(f"service-{next(_numbers)}")


@pytest.fixture
def in_background(vault: Database) -> Iterator[Background]:
    """Run something in a thread, for example a turn in a session of its own."""
    with run_in_background(vault) as submit:
        yield submit
