"""A server with a master key, tenants that know nothing of each other, logins of all kinds."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg
import pytest
from psycopg import sql

from cluster import Cluster, Database, start_local
from house import Agent, House, house, name
from stored_secrets.conftest import make_master_key

__all__ = ["house"]  # a fixture

KEY_ID = "main"


@pytest.fixture(scope="session")
def key_file() -> Iterator[Path]:
    """The master key file of :func:`cluster`."""
    with tempfile.TemporaryDirectory(prefix="pgagentos-key-") as directory:
        Path(directory).chmod(0o755)
        file = Path(directory) / "keys" / "master.key"
        make_master_key(file)
        yield file


@pytest.fixture(scope="session")
def cluster(staged: dict[str, str], key_file: Path) -> Iterator[Cluster]:
    """The server of these tests: tickets need a master key, which other tests do without."""
    with start_local(staged, {"PGAGENTOS_MASTER_KEY_FILE": str(key_file)}) as started:
        started.create_template()
        yield started


@dataclass(frozen=True, slots=True)
class Tenant:
    """A tenant with a principal, an agent and a conversation with one message."""

    tenant_id: UUID
    name: str
    principal_id: UUID
    agent: Agent
    conversation_id: UUID


def make_tenant(house: House) -> Tenant:
    """Make a tenant that has said one thing to its agent."""
    label = name("tenant")
    tenant_id = house.tenant(name=label)
    principal_id = house.insert("aos_auth.principal", "principal_id", tenant_id=tenant_id)
    agent = house.agent(tenant_id)
    conversation_id = house.conversation(agent)
    house.say(conversation_id, f"said in {label}")
    return Tenant(tenant_id, label, principal_id, agent, conversation_id)


@dataclass(slots=True)
class Doors:
    """What a test opens sessions with.

    Args:
        database: where.
        house: a superuser's session there.
        key: the ticket key of the database.
    """

    database: Database
    house: House
    key: str
    roles: list[str] = field(default_factory=list)
    sessions: list[psycopg.Connection] = field(default_factory=list)

    def role(self, *access: str, options: str = "login") -> str:
        """Make a database role that may log in, with access of some kinds."""
        role = name("login")
        self.house.rows(f"create role {role} {options}")
        self.roles.append(role)
        for kind in access:
            self.house.call("aos_auth.grant_access", role, kind)
        return role

    def session(self, role: str, **options: Any) -> House:
        """Log in as a role."""
        connection = self.database.connect(user=role, **options)
        self.sessions.append(connection)
        return House(connection)

    def login(self, *access: str, principal_of: Tenant | None = None) -> House:
        """Make a role with access, for a tenant or none, and log in as it."""
        role = self.role(*access)
        if principal_of is not None:
            self.house.insert("aos_auth.principal", tenant_id=principal_of.tenant_id, db_role=role)
        return self.session(role)

    def ticket(self, tenant: Tenant, seconds: int = 60) -> str:
        """A ticket of the tenant's principal."""
        return str(self.house.call("aos_auth.issue_ticket", tenant.principal_id, seconds))

    def close(self) -> None:
        for session in self.sessions:
            session.close()
        for role in self.roles:
            identifier = sql.Identifier(role)
            self.house.connection.execute(sql.SQL("drop owned by {}").format(identifier))
            self.house.connection.execute(sql.SQL("drop role {}").format(identifier))


@pytest.fixture(scope="module")
def ticket_key(database: Database) -> str:
    """The key that signs the tickets of this module's database."""
    with database.connect() as connection:
        return str(House(connection).call("aos_auth.create_ticket_key", KEY_ID))


@pytest.fixture
def doors(database: Database, ticket_key: str) -> Iterator[Doors]:
    """Sessions for this test alone."""
    with database.connect() as connection:
        opened = Doors(database, House(connection), ticket_key)
        yield opened
        opened.close()


@pytest.fixture
def tenants(doors: Doors) -> tuple[Tenant, Tenant]:
    """Two tenants for this test alone."""
    return make_tenant(doors.house), make_tenant(doors.house)
