"""What the tests of ``pgagentos.net`` share: servers, interrupts that can be set, a leak check."""

from __future__ import annotations

import os
import socket
import ssl
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import trustme

from pgagentos.net.client import Client
from pgagentos.net.message import HttpRequest, HttpResponse, Limits
from pgagentos.net.wait import Interrupts, NoInterrupts, run
from servers import FaultServer, start_fault_server


class After:
    """Interrupts that are pending from look number *looks* + 1 on."""

    def __init__(self, looks: int) -> None:
        self.allowed = looks
        self.looks = 0

    def pending(self) -> bool:
        self.looks += 1
        return self.looks > self.allowed


class When:
    """Interrupts that are pending as soon as *condition* holds; counts the looks from then on."""

    def __init__(self, condition: Callable[[], bool]) -> None:
        self.condition = condition
        self.looks = 0

    def pending(self) -> bool:
        if self.condition():
            self.looks += 1
        return self.looks > 0


@pytest.fixture(scope="session")
def server() -> Iterator[FaultServer]:
    """The fault server over plain TCP."""
    with start_fault_server() as started:
        yield started


@pytest.fixture(scope="session")
def authority() -> trustme.CA:
    """A throw-away certificate authority."""
    return trustme.CA()


@pytest.fixture(scope="session")
def authority_file(authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The authority's certificate in a file."""
    path = tmp_path_factory.mktemp("ca") / "ca.pem"
    authority.cert_pem.write_to_path(str(path))
    return path


@pytest.fixture(scope="session")
def start_tls_server(
    authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], object]:
    """Make a fault server over TLS whose certificate is for the given name."""

    def start(name: str) -> object:
        directory = tmp_path_factory.mktemp("tls")
        issued = authority.issue_cert(name)
        issued.private_key_pem.write_to_path(str(directory / "key.pem"))
        for number, pem in enumerate(issued.cert_chain_pems):
            pem.write_to_path(str(directory / "certificate.pem"), append=number > 0)
        return start_fault_server(directory / "certificate.pem", directory / "key.pem")

    return start


@pytest.fixture(scope="session")
def tls_server(start_tls_server: Callable[[str], object]) -> Iterator[FaultServer]:
    """The fault server over TLS, with a certificate for 127.0.0.1."""
    with start_tls_server("127.0.0.1") as started:  # type: ignore[attr-defined]
        yield started


@pytest.fixture(scope="session")
def tls_context(authority: trustme.CA) -> ssl.SSLContext:
    """A context that trusts the throw-away authority only."""
    from pgagentos.net.tls import default_context

    context = default_context.__wrapped__()
    authority.configure_trust(context)
    return context


@pytest.fixture(autouse=True)
def every_descriptor_is_closed_again(
    server: FaultServer, tls_server: FaultServer, tls_context: ssl.SSLContext
) -> Iterator[None]:
    """Each test of this folder leaves as many descriptors open as it found."""
    before = sorted(os.listdir("/proc/self/fd"))
    yield
    after = sorted(os.listdir("/proc/self/fd"))
    assert after == before, "descriptors leaked"


@pytest.fixture
def client(tls_context: ssl.SSLContext) -> Iterator[Client]:
    """A client that trusts the throw-away authority."""
    made = Client(tls_context=tls_context)
    yield made
    made.close()


@pytest.fixture
def call(client: Client) -> Callable[..., HttpResponse]:
    """Post to a URL with the client and return the response."""

    def call(
        url: str,
        body: bytes = b"{}",
        limits: Limits = Limits(),  # noqa: B008  (frozen)
        interrupts: Interrupts | None = None,
        headers: tuple[tuple[str, str], ...] = (),
        method: str = "POST",
    ) -> HttpResponse:
        request = HttpRequest(method, url, headers, body)
        return run(client.exchange(request, limits), interrupts or NoInterrupts())

    return call


@pytest.fixture
def tail() -> str:
    """The end of a path that only the present test uses, so that its requests can be counted."""
    return uuid.uuid4().hex


@pytest.fixture
def silent_port() -> Iterator[int]:
    """A port where connections are accepted by the kernel and by nobody else."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


@pytest.fixture
def full_port() -> Iterator[int]:
    """A port whose queue is full, so that a further connection stays half open."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener:
        waiting = [socket.socket() for _ in range(4)]
        for sock in waiting:
            sock.setblocking(False)
            sock.connect_ex(listener.getsockname())
        yield listener.getsockname()[1]
        for sock in waiting:
            sock.close()
