"""A server with a master key that logs all it can, and people with access of each kind."""

from __future__ import annotations

import base64
import itertools
import os
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

from cluster import CHECKOUT, Cluster, Database, pg_config, start_local
from house import House, name
from kernel.conftest import play, play_server
from kernel.scene import Scene, make_scene
from servers.play_server import Play

__all__ = ["play", "play_server"]  # fixtures

_numbers = itertools.count(1)

#: Everything that a server can be told to log, parameters and plans included.
TALKATIVE = {
    "log_parameter_max_length": "-1",
    "log_parameter_max_length_on_error": "-1",
    "log_statement": "all",
    "log_min_duration_statement": "0",
    "log_min_messages": "debug1",
    "log_error_verbosity": "verbose",
    "debug_print_plan": "on",
    "debug_pretty_print": "off",
    "pg_stat_statements.track": "all",
    "pg_stat_statements.track_utility": "on",
    "auto_explain.log_min_duration": "0",
    "auto_explain.log_analyze": "on",
    "auto_explain.log_nested_statements": "on",
    "auto_explain.log_triggers": "on",
    "auto_explain.log_verbose": "on",
}

#: What looks for secrets had better not write them into the log itself.
SILENT = {
    "log_statement": "none",
    "log_min_duration_statement": "-1",
    "log_min_messages": "warning",
    "debug_print_plan": "off",
    "auto_explain.log_min_duration": "-1",
}
_SILENTLY = " ".join(f"-c {setting}={value}" for setting, value in SILENT.items())

#: What docs/secrets.md says to set for whoever passes secrets as parameters.
DISCREET = {
    "log_parameter_max_length": "0",
    "log_parameter_max_length_on_error": "0",
    "debug_print_plan": "off",
    "auto_explain.log_verbose": "off",
}
#: Besides, from PostgreSQL 16 on.
DISCREET_16 = {"auto_explain.log_parameter_max_length": "0"}

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
    """A server with a master key."""
    environment = {
        "PGAGENTOS_MASTER_KEY_FILE": str(key_file),
        "OPENAI_API_KEY": ENVIRONMENT_KEY,
    }
    libraries = {"shared_preload_libraries": "pg_stat_statements,auto_explain"}
    with start_local({**staged, **libraries}, environment) as cluster:
        cluster.create_template()
        yield cluster


@pytest.fixture
def vault(secret_cluster: Cluster) -> Iterator[Database]:
    """A fresh database of :func:`secret_cluster`, whose sessions log all they can."""
    with secret_cluster.database(f"vault_{next(_numbers)}") as made:
        with secret_cluster.connect() as connection:
            connection.execute("set client_min_messages = error")
            for setting, value in TALKATIVE.items():
                connection.execute(f"alter database {made.name} set {setting} = '{value}'")
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


@dataclass(frozen=True, slots=True)
class Traces:
    """Looks for a secret wherever a server leaves something behind.

    Args:
        database: whose tables are read, and whose dump.
        home: directory of the cluster.
    """

    database: Database
    home: Path

    def of(self, secret: str) -> set[str]:
        """Where the secret stands, in whatever writing: log, activity, dump, or a table's name."""
        writings = _writings(secret)
        places = {"log": self._log(), "dump": self._dump(), **self._tables()}
        return {place for place, text in places.items() if any(w in text for w in writings)}

    def _log(self) -> str:
        # A parse tree breaks its lines; bytes in it are decimal numbers.
        return (self.home / "server.log").read_text(errors="replace").replace("\n\t", " ")

    def _dump(self) -> str:
        conninfo = self.database.conninfo(options=_SILENTLY)
        command = [f"{pg_config('--bindir')}/pg_dump", "-d", conninfo]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout

    def _tables(self) -> dict[str, str]:
        """All rows of all tables and views, statistics and the activity of sessions included."""
        found = {}
        with self.database.connect(options=_SILENTLY) as connection:
            relations = connection.execute(
                "select c.oid::regclass::text from pg_class as c"
                " join pg_namespace as n on n.oid = c.relnamespace"
                # the views of information_schema show what is in pg_catalog, slowly
                " where c.relkind in ('r', 'v', 'm') and n.nspname <> 'information_schema'"
            ).fetchall()
            assert len(relations) > 150
            for (relation,) in relations:
                # a column of bytes shows them in hexadecimal, which is looked for as well
                rows = connection.execute(f"select t::text from {relation} as t").fetchall()
                found[relation] = "\n".join(row for (row,) in rows)
        return found


def _writings(secret: str) -> set[str]:
    """A secret as text, in hexadecimal, in base64, and as the numbers of its bytes."""
    raw = secret.encode()
    # base64 depends on where in its source the secret begins: cut what its neighbours reach into
    coded = {base64.b64encode(b"x" * n + raw)[4 if n else 0 : -4].decode() for n in range(3)}
    return {secret, raw.hex(), raw.hex().upper(), " ".join(map(str, raw)), *coded}


@pytest.fixture
def traces(vault: Database) -> Traces:
    """Looks for a secret in :func:`vault` and its server."""
    assert vault.cluster.home is not None
    return Traces(vault, vault.cluster.home)


@pytest.fixture
def login(vault: Database, operator: House) -> Iterator[Callable[..., House]]:
    """Make a database role with access of some kinds, for a tenant or none, and log in as it.

    *is_discreet*: it has the settings that docs/secrets.md advises.
    """
    opened: list[tuple[str, psycopg.Connection]] = []

    def log_in(*access: str, tenant_id: object = None, is_discreet: bool = False) -> House:
        role = name("login")
        operator.rows(f"create role {role} login")
        for kind in access:
            operator.call("aos_auth.grant_access", role, kind)
        advised = DISCREET | (DISCREET_16 if vault_version(operator) >= 160000 else {})
        for setting, value in advised.items() if is_discreet else ():
            operator.rows(f"alter role {role} set {setting} = '{value}'")
        if tenant_id is not None:
            operator.insert("aos_auth.principal", tenant_id=tenant_id, db_role=role)
        connection = vault.connect(user=role)
        opened.append((role, connection))
        connection.execute("set client_min_messages = debug1")
        return House(connection)

    yield log_in
    for role, connection in opened:
        connection.close()
        operator.connection.execute(sql.SQL("drop role {}").format(sql.Identifier(role)))


def vault_version(operator: House) -> int:
    """``server_version_num`` of the server with the master key."""
    return int(operator.one("select current_setting('server_version_num')"))


@pytest.fixture
def scene(admin: psycopg.Connection, play: Play) -> Scene:
    """An agent whose provider takes the stored secret ``model_key``."""
    made = make_scene(admin, play)
    admin.execute(
        "update aos_meta.provider set secret_name = 'model_key' where provider = %s", (made.name,)
    )
    return made
