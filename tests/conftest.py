"""The server, the databases and the connections that tests ask for by name."""

from __future__ import annotations

import itertools
import os
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from cluster import Cluster, Database, docker_engine_answers, stage, start_container, start_local

_numbers = itertools.count(1)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--pg",
        choices=("local", "container"),
        default=os.environ.get("PGAGENTOS_PG", "local"),
        help="where PostgreSQL runs: a private server of this machine, or a container of our image",
    )
    parser.addoption(
        "--write-snapshot",
        action="store_true",
        help="rewrite the golden schema instead of comparing with it (make snapshot)",
    )


@pytest.fixture(scope="session")
def staged() -> Iterator[dict[str, str]]:
    """The checkout, installed into a directory of this session: the settings that lead there."""
    with tempfile.TemporaryDirectory(prefix="pgagentos-stage-") as directory:
        Path(directory).chmod(0o755)
        yield stage(Path(directory))


@pytest.fixture(scope="session")
def cluster(request: pytest.FixtureRequest) -> Iterator[Cluster]:
    """The server of this session; its databases are cloned from one that has the extension."""
    if request.config.getoption("--pg") == "container":
        if not docker_engine_answers():
            pytest.exit(
                "--pg=container needs a running Docker engine, and none answers", returncode=2
            )
        started = start_container()
    else:
        started = start_local(request.getfixturevalue("staged"))
    with started as server:
        server.create_template()
        yield server


@pytest.fixture(scope="module")
def database(cluster: Cluster, request: pytest.FixtureRequest) -> Iterator[Database]:
    """A fresh database with the extension, shared by the tests of one module."""
    module = re.sub(r"\W+", "_", request.module.__name__.rpartition(".")[2])[:40]
    with cluster.database(f"{module}_{next(_numbers)}") as made:
        yield made


@pytest.fixture
def connection(database: Database) -> Iterator[psycopg.Connection]:
    """An autocommit connection to :func:`database`, as superuser."""
    with database.connect() as opened:
        yield opened
