"""Nothing that a server leaves behind lets anybody sign a ticket, or use one."""

from __future__ import annotations

import subprocess

from access.conftest import Doors, Tenant, make_tenant
from cluster import Cluster, Database, pg_config
from house import House
from stored_secrets.conftest import secret_cluster, vault

__all__ = ["secret_cluster", "vault"]  # fixtures: a server, and a database that logs all it can


def dump(database: Database) -> str:
    done = subprocess.run(
        [f"{pg_config('--bindir')}/pg_dump", "-d", database.conninfo()],
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout


def log(cluster: Cluster) -> str:
    assert cluster.home is not None
    return (cluster.home / "server.log").read_text(errors="replace")


def test_no_key_is_in_a_log_of_everything_nor_in_a_dump(vault: Database) -> None:
    with vault.connect() as connection:
        house = House(connection)
        key = house.call("aos_auth.create_ticket_key", "main")
        principal = make_tenant(house).principal_id
        house.call("aos_auth.begin", house.call("aos_auth.issue_ticket", principal))
        with house.refused("28000", "invalid ticket"):
            house.call("aos_auth.begin", "main.e30.wrong")
        stored = str(house.rows("select k::text from aos_auth.ticket_key as k"))
        house.rows("create extension pg_stat_statements")
        statements = str(house.rows("select query from pg_stat_statements"))
    places = {
        "log": log(vault.cluster),
        "dump": dump(vault),
        "table": stored,
        "pg_stat_statements": statements,
    }
    for place in ("log", "pg_stat_statements"):
        assert "create_ticket_key" in places[place], place  # it does tell what happened
    assert "ticket_key" in places["dump"]
    for place, text in places.items():
        assert key not in text, place
        assert key.encode().hex() not in text, place


def test_no_ticket_is_in_the_log_of_a_server_as_it_is_installed(
    cluster: Cluster, doors: Doors, tenants: tuple[Tenant, Tenant]
) -> None:
    app = doors.login("user")
    ticket = doors.ticket(tenants[0])
    app.call("aos_auth.begin", ticket)
    shown = doors.house.one(
        "select string_agg(query, ' ') from pg_stat_activity where query like '%%begin%%'"
    )
    assert "aos_auth" in shown
    with app.refused("28000", "another identity"), app.connection.transaction():
        app.call("aos_auth.begin", doors.ticket(tenants[1]))
        app.call("aos_auth.begin", ticket)
    body, signature = ticket.split(".")[1:]
    assert "another identity was set in this transaction" in log(cluster)
    for text in (log(cluster), shown):
        assert body not in text
        assert signature not in text
