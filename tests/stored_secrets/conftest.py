"""A server with a master key that logs all it can, and people with access of each kind."""

from __future__ import annotations

import itertools
import os
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

from cluster import CHECKOUT, Cluster, Database, start_local
from house import House, name
from kernel.conftest import play, play_server
from kernel.scene import Scene, make_scene
from servers.play_server import Play

__all__ = ["play", "play_server"]  # fixtures

_numbers = itertools.count(1)

#: Everything that a server can be told to log, but for the parameters of statements: docs/secrets.md
#: says to set that one.
TALKATIVE = {
    "log_parameter_max_length": "0",
    "log_parameter_max_length_on_error": "0",
    "log_statement": "all",
    "log_min_duration_statement": "0",
    "log_min_messages": "debug1",
    "log_error_verbosity": "verbose",
    "debug_print_plan": "on",
    "debug_pretty_print": "off",
    "shared_preload_libraries": "pg_stat_statements,auto_explain",
    "pg_stat_statements.track": "all",
    "pg_stat_statements.track_utility": "on",
    "auto_explain.log_min_duration": "0",
    "auto_explain.log_analyze": "on",
    "auto_explain.log_nested_statements": "on",
    "auto_explain.log_triggers": "on",
}

#: The key in the server's environment.
ENVIRONMENT_KEY = "sk-environment-0123456789abcdef"


def make_master_key(file: Path, *arguments: str) -> str:
    """Run scripts/master_key for the user that the tests' servers run as; return what it says."""
    done = subprocess.run(
        [CHECKOUT / "scripts/master_key", *arguments, "--file", file],
        capture_output=True,
        text=True,
        env={k: v for k, v in os.environ.items() if k != "PGAGENTOS_MASTER_KEY_FILE"},
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    return done.stdout


@pytest.fixture(scope="session")
def rotate() -> Callable[[Path], str]:
    """Put a new key on top of a master key file."""
    return lambda file: make_master_key(file, "rotate")


@pytest.fixture(scope="session")
def key_file() -> Iterator[Path]:
    """The master key file of :func:`secret_cluster`."""
    with tempfile.TemporaryDirectory(prefix="pgagentos-key-") as directory:
        Path(directory).chmod(0o755)
        file = Path(directory) / "keys" / "master.key"
        make_master_key(file)
        yield file


@pytest.fixture(scope="session")
def secret_cluster(staged: dict[str, str], key_file: Path) -> Iterator[Cluster]:
    """A server with a master key, which logs all it can."""
    environment = {
        "PGAGENTOS_MASTER_KEY_FILE": str(key_file),
        "OPENAI_API_KEY": ENVIRONMENT_KEY,
    }
    with start_local({**staged, **TALKATIVE}, environment) as cluster:
        cluster.create_template()
        yield cluster


@pytest.fixture
def vault(secret_cluster: Cluster) -> Iterator[Database]:
    """A fresh database of :func:`secret_cluster` for this test alone."""
    with secret_cluster.database(f"vault_{next(_numbers)}") as made:
        yield made


@pytest.fixture
def admin(vault: Database) -> Iterator[psycopg.Connection]:
    """A superuser's connection to :func:`vault`, who is an operator."""
    with vault.connect() as connection:
        yield connection


@pytest.fixture
def operator(admin: psycopg.Connection) -> House:
    """A superuser in :func:`vault`."""
    return House(admin)


@pytest.fixture
def log(secret_cluster: Cluster) -> Callable[[], str]:
    """The text of the server's log."""
    assert secret_cluster.home is not None
    file = secret_cluster.home / "server.log"
    return lambda: file.read_text(errors="replace")


Login = Callable[..., "contextmanager[House]"]


@pytest.fixture
def login(vault: Database, operator: House) -> Iterator[Callable[..., House]]:
    """Make a database role with access of some kinds, for a tenant or none, and log in as it."""
    opened: list[tuple[str, psycopg.Connection]] = []

    def log_in(*access: str, tenant_id: object = None) -> House:
        role = name("login")
        operator.rows(f"create role {role} login")
        for kind in access:
            operator.call("aos_auth.grant_access", role, kind)
        if tenant_id is not None:
            operator.insert("aos_auth.principal", tenant_id=tenant_id, db_role=role)
        connection = vault.connect(user=role)
        opened.append((role, connection))
        return House(connection)

    yield log_in
    for role, connection in opened:
        connection.close()
        operator.connection.execute(sql.SQL("drop role {}").format(sql.Identifier(role)))


@pytest.fixture
def scene(admin: psycopg.Connection, play: Play) -> Scene:
    """An agent whose provider takes the stored secret ``model_key``."""
    made = make_scene(admin, play)
    admin.execute(
        "update aos_meta.provider set secret_name = 'model_key' where provider = %s", (made.name,)
    )
    return made
