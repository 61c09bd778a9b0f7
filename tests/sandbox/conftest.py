"""A small shop that an agent may query, with a table and a column that it may not."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import psycopg
import pytest

from cluster import Cluster, Database
from house import House

_numbers = itertools.count(1)
_ROWS = re.compile(r"<(data-[0-9a-f]{16})>\n(.*)\n</\1>\Z", re.DOTALL)

_SHOP = """
create schema shop;
create type shop.mood as enum ('ok', 'sad');
create table shop.customers (id int primary key, name text not null, email text, region text, tags text[],
    profile jsonb, joined date);
create table shop.orders (id int primary key, customer_id int references shop.customers, amount numeric(12,2),
    qty int, status text, created_at timestamptz, note text, secret text);
create table public.products (id int primary key, name text, price numeric, attrs json);
create table shop.hidden (x int, y text);
create table shop.locked (x int);
create table shop.w (x text);
create sequence shop.seq;
create table shop.misc (id bigint generated always as identity, code varchar(20), flag char(5), m shop.mood, b bytea,
    ip inet, u uuid default gen_random_uuid(), ok boolean, f float8, r real, t time, ts timestamp, d date, j json,
    jb jsonb, arr text[], nums int[], num numeric, iv interval, rng daterange, small smallint);
insert into shop.misc (code, flag, m, b, ip, ok, f, r, t, ts, d, j, jb, arr, nums, num, iv, rng, small)
    select 'C' || g, 'f' || g % 3, (array['ok', 'sad'])[1 + g % 2]::shop.mood, decode('00ff', 'hex'), '10.0.0.1',
    g % 2 = 0, g * 1.1, g, '10:00', now(), current_date - g, '{"a": [1, 2]}', '{"a": {"b": 1}, "l": [1, 2, 3]}',
    array['x', 'y' || g], array[g, g + 1], g * 1.5, interval '1 day' * g,
    daterange('2024-01-01', '2024-02-01'), g from generate_series(1, 30) g;
insert into shop.customers select g, 'Customer ' || g, 'c' || g || '@example.com',
    (array['north', 'south', 'east', 'west'])[1 + g % 4], array['t' || g % 3, 'all'],
    jsonb_build_object('age', 20 + g, 'langs', jsonb_build_array('en', 'de')), date '2023-01-01' + g
    from generate_series(1, 50) g;
insert into shop.orders select g, 1 + g % 50, (g * 7.5)::numeric(12,2), g % 5 + 1,
    (array['open', 'paid', 'shipped'])[1 + g % 3],
    timestamptz '2024-01-01 00:00:00+00' + g * interval '7 hours', 'note ' || g, 'SECRET-' || g
    from generate_series(1, 1000) g;
insert into public.products select g, 'Product ' || g, g * 1.25, json_build_object('c', g)
    from generate_series(1, 20) g;
insert into shop.hidden values (1, 'HIDDEN-ROW');
create function shop.f_write() returns text language sql security definer
    as $$ insert into shop.w values ('x') returning x $$;
grant usage on schema shop to pgagentos_agent, pgagentos_parser;
grant all on all tables in schema shop, public to pgagentos_agent;
grant all on all sequences in schema shop to pgagentos_agent;
analyze;
"""


@dataclass(frozen=True, slots=True)
class Shop:
    """One session, and the agent that it asks for."""

    connection: psycopg.Connection
    agent: str

    def ask(self, query: str) -> str:
        """What the skill answers the agent's model."""
        found = self.connection.execute(
            "select aos_agent.sql_query(%s, %s)", (self.agent, query)
        ).fetchone()
        assert found is not None
        return str(found[0])

    def rows(self, query: str) -> list[dict[str, Any]]:
        """The rows of a query that is not refused."""
        answer = self.ask(query)
        match = _ROWS.search(answer)
        assert match, f"{query}\n=> {answer}"
        found: list[dict[str, Any]] = json.loads(match[2])["rows"]
        return found

    def one(self, statement: str, *parameters: Any) -> Any:
        """A value, asked by the test itself."""
        found = self.connection.execute(statement, parameters or None).fetchone()
        assert found is not None
        return found[0]

    def set(self, name: str, value: float) -> None:
        """Change a setting of sql_query."""
        self.connection.execute(
            "update aos_meta.setting set value = to_jsonb(%s::numeric) where name = %s",
            (value, f"sql_query_{name}"),
        )


def has_run(answer: str) -> bool:
    """Whether an answer holds rows."""
    return _ROWS.search(answer) is not None


def open_shop(database: Database) -> str:
    """Make the shop and an agent that may query it; return the agent's name."""
    with database.connect() as connection:
        connection.execute(_SHOP)
        house = House(connection)
        agent = house.agent()
        columns = ["id", "customer_id", "amount", "qty", "status", "created_at", "note"]
        for table, allowed in (
            ("shop.customers", None),
            ("shop.orders", columns),
            ("products", None),
            ("shop.locked", None),
            ("shop.misc", None),
        ):
            connection.execute(
                "select aos_agent.grant_table(%s, %s, %s)", (agent.name, table, allowed)
            )
    return agent.name


@pytest.fixture(scope="module")
def market(cluster: Cluster) -> Iterator[tuple[Database, str]]:
    """A database with the shop, and the agent's name."""
    with cluster.database(f"market_{next(_numbers)}") as database:
        yield database, open_shop(database)


@pytest.fixture
def shop(market: tuple[Database, str]) -> Iterator[Shop]:
    """A fresh session in :func:`market`."""
    database, agent = market
    with database.connect() as connection:
        yield Shop(connection, agent)
