"""The servers that turns of these tests talk to, and a scene for each test."""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
import trustme

from cluster import Cluster, Database, start_local
from kernel.background import Background, run_in_background
from kernel.scene import Scene, make_scene
from servers.play_server import Play, PlayServer, start_play_server
from servers.scripted_provider import ollama_front, script, scripted_provider

__all__ = ["ollama_front", "script", "scripted_provider"]  # fixtures

_numbers = itertools.count(1)

#: The key in the environment of :func:`own_cluster`. It looks like none of a real vendor, so that
#: only a program that knows it can cut it out.
API_KEY = "Zauberwort+geheim/0123456789abcdef=="


@pytest.fixture(scope="session")
def play_server() -> Iterator[PlayServer]:
    """One server for all scripts."""
    with start_play_server() as server:
        yield server


@pytest.fixture
def play(play_server: PlayServer) -> Play:
    """A script for this test alone."""
    return play_server.play(f"play-{next(_numbers)}")


@pytest.fixture
def scene(connection: psycopg.Connection, play: Play) -> Scene:
    """An agent for this test alone, on the wire of chat completions."""
    return make_scene(connection, play)


@pytest.fixture
def in_background(database: Database) -> Iterator[Background]:
    """Run something in a thread, for example a turn in a session of its own."""
    with run_in_background(database) as submit:
        yield submit


@pytest.fixture(scope="session")
def authority_directory() -> Iterator[Path]:
    """A directory with a throw-away certificate authority that the server can read."""
    with tempfile.TemporaryDirectory(prefix="pgagentos-ca-") as directory:
        Path(directory).chmod(0o755)
        yield Path(directory)


@pytest.fixture(scope="session")
def tls_play_server(authority_directory: Path) -> Iterator[PlayServer]:
    """A play server over TLS, which :func:`own_cluster` trusts."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(authority_directory / "ca.pem"))
    issued = authority.issue_cert("127.0.0.1")
    certificate, key = authority_directory / "server.pem", authority_directory / "key.pem"
    issued.private_key_and_cert_chain_pem.write_to_path(str(certificate))
    issued.private_key_pem.write_to_path(str(key))
    with start_play_server(certificate, key) as server:
        yield server


@pytest.fixture(scope="session")
def own_environment(authority_directory: Path, tls_play_server: PlayServer) -> dict[str, str]:
    """The environment of :func:`own_cluster`: a key, and whom to trust."""
    return {"OPENAI_API_KEY": API_KEY, "SSL_CERT_FILE": str(authority_directory / "ca.pem")}


@pytest.fixture(scope="session")
def own_cluster(staged: dict[str, str], own_environment: dict[str, str]) -> Iterator[Cluster]:
    """A server of these tests alone, which may be crashed; commits are durable in it."""
    with start_local({**staged, "synchronous_commit": "on"}, own_environment) as cluster:
        cluster.create_template()
        yield cluster


@pytest.fixture
def own_database(own_cluster: Cluster) -> Iterator[Database]:
    """A fresh database of :func:`own_cluster` for this test alone."""
    with own_cluster.database(f"own_{next(_numbers)}") as made:
        yield made


@pytest.fixture
def in_own_background(own_database: Database) -> Iterator[Background]:
    """Run something in a thread, in a session of :func:`own_database`."""
    with run_in_background(own_database) as submit:
        yield submit
