"""A server as a managed service gives it: nobody is a superuser, and nothing of ours is installed.

The administrator of the service (here the superuser ``postgres``) makes roles and an empty
database; all else is done by ``app``, who owns the database and may do nothing besides.
"""

from __future__ import annotations

import itertools
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg
import pytest
from psycopg import sql

from cluster import CHECKOUT, Cluster, Database, pg_config, start_local
from house import Agent, House, name

_numbers = itertools.count(1)
OWNER = "app"


def psql(
    database: Database, script: Path | str, user: str = OWNER, before: str | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a script by psql, without any option that makes up for what the script leaves out."""
    words = [f"{pg_config('--bindir')}/psql", "-X", "-q", "-d", database.conninfo(user=user)]
    if before is not None:
        words += ["-c", before]
    return subprocess.run(
        [*words, "-f", str(script)],
        capture_output=True,
        text=True,
        env={"PGCLIENTENCODING": "UTF8", "LC_ALL": "C.UTF-8"},
        check=False,
    )


def build(output: Path) -> Path:
    """Build the edition as ``make sql-only`` does."""
    subprocess.run([sys.executable, CHECKOUT / "scripts/build_sql_only.py", output], check=True)
    return output


@pytest.fixture(scope="session")
def script(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The script of this checkout."""
    return build(tmp_path_factory.mktemp("sql_only") / "pgagentos.sql")


@pytest.fixture(scope="session")
def server() -> Iterator[Cluster]:
    """A server without any setting that leads to our extension."""
    with start_local({}) as started:
        with started.connect() as admin:
            admin.execute(f"create role {OWNER} login; create role creator login createrole")
        yield started


@contextmanager
def empty_database(server: Cluster, owner: str = OWNER) -> Iterator[Database]:
    """A database of its own for a role, dropped at the end."""
    database = f"sql_only_{next(_numbers)}"
    with server.connect() as admin:
        admin.execute(
            f"create database {database} owner {owner} template template0 encoding 'UTF8'"
        )
    try:
        yield Database(server, database)
    finally:
        with server.connect() as admin:
            admin.execute(f"drop database {database} with (force)")


@contextmanager
def installed_database(server: Cluster, script: Path, owner: str = OWNER) -> Iterator[Database]:
    """The same, with the script run in it by its owner."""
    with empty_database(server, owner) as database:
        done = psql(database, script, owner)
        assert (done.returncode, done.stderr) == (0, ""), done.stderr
        yield database


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody with a login of his own."""

    role: str
    tenant_id: UUID
    principal_id: UUID


class Site:
    """One installed database, and short words for what tests do with it."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self._open: list[psycopg.Connection] = []

    def as_(self, user: str) -> House:
        """A session of a role."""
        connection = self.database.connect(user=user)
        self._open.append(connection)
        return House(connection)

    def admin(self, statement: str) -> None:
        """What only the administrator of the service can do."""
        with self.database.connect() as connection:
            connection.execute(statement)

    def role(self, stem: str, options: str = "login") -> str:
        """A new role, made by the administrator."""
        made = name(stem)
        with self.database.cluster.connect() as admin:
            admin.execute(sql.SQL(f"create role {{}} {options}").format(sql.Identifier(made)))
        return made

    def person(self, tenant_id: UUID, *accesses: str, stem: str = "person") -> Person:
        """A login that is a principal's and has these accesses."""
        role = self.role(stem)
        with self.database.connect(user=OWNER) as connection:
            house = House(connection)
            principal = house.insert(
                "aos_auth.principal", "principal_id", tenant_id=tenant_id, db_role=role
            )
            for access in accesses:
                house.call("aos_auth.grant_access", role, access)
        return Person(role, tenant_id, principal)

    def agent_role(self, tenant_id: UUID) -> str:
        """A role that the tools of a tenant's agents may run as."""
        role = self.role("bot", "nologin")
        with self.database.cluster.connect() as admin:
            admin.execute(f"grant {role} to {OWNER}")
        with self.database.connect(user=OWNER) as connection:
            House(connection).call("aos_auth.register_agent_role", role, tenant_id)
        return role

    def close(self) -> None:
        for connection in self._open:
            connection.close()


@pytest.fixture(scope="module")
def installed(server: Cluster, script: Path) -> Iterator[Database]:
    """A database with the edition, shared by the tests of one module."""
    with installed_database(server, script) as database:
        yield database


@pytest.fixture
def site(installed: Database) -> Iterator[Site]:
    opened = Site(installed)
    yield opened
    opened.close()


@pytest.fixture
def owner(site: Site) -> House:
    """A session of whoever ran the script: the operator."""
    return site.as_(OWNER)


def agent_with_tools(site: Site, owner: House, **columns: Any) -> Agent:
    """An agent whose tools have a role to run as."""
    tenant = owner.tenant()
    return owner.agent(tenant, db_role=site.agent_role(tenant), **columns)
