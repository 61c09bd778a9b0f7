"""Tickets through pgbouncer, by transaction: clients share a session, never an identity."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import suppress

import psycopg
import pytest

from access.conftest import Doors, Tenant
from access.pooler import Pooler, start_pooler, version
from house import House

COUNT = "select count(*), min(tenant_id::text), max(tenant_id::text) from aos_agent.message"
NOTHING = (0, None, None)

#: pgbouncer follows prepared statements of the protocol from this version on
FOLLOWS_PREPARED = version() >= (1, 21)


@pytest.fixture
def app_role(doors: Doors) -> str:
    """The login that all clients share."""
    return doors.role("user")


@pytest.fixture
def pooler(doors: Doors, app_role: str) -> Iterator[Pooler]:
    """A pool of one server connection."""
    settings = {"max_prepared_statements": "100"} if FOLLOWS_PREPARED else {}
    with start_pooler(doors.database, app_role, **settings) as started:
        yield started


class Client:
    """A client of the pool, which is one tenant's."""

    def __init__(self, pooler: Pooler, role: str, doors: Doors, tenant: Tenant | None) -> None:
        # Named prepared statements outlive a transaction, the server connection does not.
        threshold = 0 if FOLLOWS_PREPARED else None
        self.connection = pooler.connect(role, prepare_threshold=threshold)
        self.doors = doors
        self.tenant = tenant

    @property
    def expected(self) -> tuple[object, ...]:
        """What it sees once it has begun."""
        if self.tenant is None:
            return NOTHING
        tenant = str(self.tenant.tenant_id)
        return (1, tenant, tenant)

    def begin(self) -> None:
        if self.tenant is not None:
            self.connection.execute("select aos_auth.begin(%s)", (self.doors.ticket(self.tenant),))

    def seen(self) -> tuple[object, ...]:
        row = self.connection.execute(COUNT).fetchone()
        assert row is not None
        return tuple(row)

    def backend(self) -> int:
        row = self.connection.execute("select pg_backend_pid()").fetchone()
        assert row is not None
        return int(row[0])


@pytest.fixture
def clients(
    pooler: Pooler, app_role: str, doors: Doors, tenants: tuple[Tenant, Tenant]
) -> Iterator[tuple[Client, Client, Client]]:
    """A client of each tenant, and one without a ticket."""
    made = tuple(Client(pooler, app_role, doors, tenant) for tenant in (*tenants, None))
    yield made  # type: ignore[misc]
    for client in made:
        client.connection.close()


Clients = tuple[Client, Client, Client]


def test_clients_share_one_server_session_and_no_identity(clients: Clients) -> None:
    backends = set()
    for _ in range(3):
        for client in clients:
            assert client.seen() == NOTHING  # before its ticket, after another client's
            client.begin()
            assert client.seen() == client.expected
            backends.add(client.backend())
            client.connection.commit()
    assert len(backends) == 1


@pytest.mark.parametrize(
    "end",
    [
        "commit",
        "rollback",
        "error and rollback",
        "error in a trigger of the commit",
        "cancelled statement",
        "savepoint and error",
        "two statements in one string",
        "refused ticket",
        "second ticket",
    ],
)
def test_nothing_leaks_into_the_next_transaction_however_one_ends(
    clients: Clients, end: str
) -> None:
    mine, other, nobody = clients
    assert mine.tenant is not None
    assert other.tenant is not None
    mine.begin()
    backend = mine.backend()
    assert mine.seen() == mine.expected
    connection = mine.connection
    with suppress(psycopg.Error):
        if end == "error and rollback":
            connection.execute("select 1/0")
        elif end == "error in a trigger of the commit":
            # deferred: the conversation's agent is looked for at the commit
            connection.execute(
                "insert into aos_agent.conversation (tenant_id, agent_id)"
                " values (%s, gen_random_uuid())",
                (mine.tenant.tenant_id,),
            )
            connection.commit()
            pytest.fail("the commit should have failed")
        elif end == "cancelled statement":
            connection.execute("set local statement_timeout = '20ms'")
            connection.execute("select pg_sleep(10)")
        elif end == "savepoint and error":
            connection.execute("savepoint here")
            connection.execute("select 1/0")
        elif end == "two statements in one string":
            connection.execute("select aos_auth.tenant_id(); select 1/0")
        elif end == "refused ticket":
            connection.execute("select aos_auth.begin('no ticket')")
        elif end == "second ticket":
            connection.execute("select aos_auth.begin(%s)", (mine.doors.ticket(other.tenant),))
    if end == "commit":
        connection.commit()
    else:
        connection.rollback()
    for client in (nobody, other):
        assert client.backend() == backend
        assert client.seen() == NOTHING
        client.begin()
        assert client.seen() == client.expected
        client.connection.commit()


def test_a_client_that_goes_away_leaves_nothing(clients: Clients) -> None:
    mine, other, nobody = clients
    mine.begin()
    assert mine.seen() == mine.expected
    mine.connection.close()  # in the middle of its transaction
    assert nobody.seen() == NOTHING
    nobody.connection.rollback()
    other.begin()
    assert other.seen() == other.expected


def test_a_transaction_cannot_change_from_one_tenant_to_another(clients: Clients) -> None:
    mine, other, _ = clients
    assert other.tenant is not None
    mine.begin()
    with pytest.raises(psycopg.Error) as caught:
        mine.connection.execute("select aos_auth.begin(%s)", (mine.doors.ticket(other.tenant),))
    assert caught.value.sqlstate == "28000"
    mine.connection.rollback()


def test_a_statement_that_another_client_prepared_shows_ones_own_rows(clients: Clients) -> None:
    """PREPARE in SQL stays in the server session, with its plan; who may see what does not."""
    mine, other, nobody = clients
    mine.begin()
    mine.connection.execute("set local plan_cache_mode = force_generic_plan")
    mine.connection.execute(f"prepare shared as {COUNT}")
    for _ in range(6):
        assert mine.connection.execute("execute shared").fetchone() == mine.expected
    mine.connection.commit()
    for client in (nobody, other, nobody, mine):
        client.begin()
        assert client.connection.execute("execute shared").fetchone() == client.expected
        client.connection.commit()
    mine.connection.execute("deallocate shared")
    mine.connection.commit()


def test_settings_and_temporary_tables_make_nobody_somebody(clients: Clients) -> None:
    mine, other, _ = clients
    assert other.tenant is not None
    mine.begin()
    for statement in (
        f"set local pgagentos.tenant = '{other.tenant.tenant_id}'",
        "set local search_path = pg_temp, pg_catalog",
        "set local row_security = on",
        "create temporary table message (tenant_id uuid)",
        "create function pg_temp.tenant_id() returns uuid language sql"
        f" return '{other.tenant.tenant_id}'::uuid",
    ):
        mine.connection.execute(statement)
        assert mine.seen() == mine.expected
    mine.connection.rollback()
    assert mine.seen() == NOTHING


def test_hundreds_of_transactions_in_any_order_see_their_own_tenant(clients: Clients) -> None:
    dice = random.Random(7)
    ends = {"commit": 0, "rollback": 0, "error": 0}
    backends = set()
    for _ in range(300):
        client = dice.choice(clients)
        if dice.random() < 0.5:
            assert client.seen() == NOTHING
        client.begin()
        assert client.seen() == client.expected
        backends.add(client.backend())
        end = dice.choice(list(ends))
        ends[end] += 1
        if end == "error":
            with pytest.raises(psycopg.errors.DivisionByZero):
                client.connection.execute("select 1/0")
        (client.connection.commit if end == "commit" else client.connection.rollback)()
    assert len(backends) == 1
    assert min(ends.values()) > 50
    print(f"300 pooled transactions of 3 clients over 1 server session: {ends}, no leak")


def test_an_agents_turn_leaves_no_identity_in_the_pool(
    clients: Clients, doors: Doors, tenants: tuple[Tenant, Tenant]
) -> None:
    mine, _, nobody = clients
    mine.begin()
    turn = House(mine.connection).start(tenants[0].conversation_id)
    assert mine.seen() == mine.expected
    mine.connection.commit()
    assert nobody.seen() == NOTHING
    with pytest.raises(psycopg.Error) as caught:
        nobody.connection.execute("select aos_agent.run_turn(%s)", (turn,))
    assert caught.value.sqlstate == "OS002"
    nobody.connection.rollback()
