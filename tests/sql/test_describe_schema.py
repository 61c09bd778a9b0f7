"""aos_skills.describe_schema: what a model is told about the database."""

from __future__ import annotations

import pytest

from cluster import Database
from house import House


@pytest.fixture(autouse=True)
def shop(house: House) -> None:
    """A schema of a user."""
    if house.one("select to_regclass('shop.customer') is null"):
        house.rows(
            "create schema shop;"
            "create table shop.customer (id int primary key, name text not null, note varchar(20));"
            "comment on table shop.customer is 'Who buys.';"
            "comment on column shop.customer.name is '이름';"
            'create table shop."Order" (id int, customer_id int references shop.customer,'
            " total numeric(10, 2) check (total > 0));"
            'create index order_customer on shop."Order" (customer_id);'
            "create view shop.totals as select customer_id, sum(total)"
            ' as total from shop."Order" group by 1;'
            "create table public.customer (only_in_public int);"
            "alter table public.customer add column gone int; alter"
            " table public.customer drop column gone;"
        )


def test_without_an_argument_it_lists_tables_and_views_with_their_comments(house: House) -> None:
    listed = {row["table"]: row["comment"] for row in house.call("aos_skills.describe_schema")}
    assert listed == {
        "public.customer": None,
        "shop.customer": "Who buys.",
        'shop."Order"': None,
        "shop.totals": None,
    }


def test_it_leaves_out_our_own_tables_and_those_of_the_system(house: House) -> None:
    for own in ("aos_auth.tenant", "pg_catalog.pg_class", "pg_class", "information_schema.tables"):
        with house.refused("OS002", "there is no table"):
            house.call("aos_skills.describe_schema", own)


def test_it_describes_a_table(house: House) -> None:
    assert house.call("aos_skills.describe_schema", "shop.customer") == {
        "table": "shop.customer",
        "comment": "Who buys.",
        "columns": [
            {"name": "id", "type": "integer", "not_null": True},
            {"name": "name", "type": "text", "not_null": True, "comment": "이름"},
            {"name": "note", "type": "character varying(20)", "not_null": False},
        ],
        "constraints": ["PRIMARY KEY (id)"],
        "indexes": ["CREATE UNIQUE INDEX customer_pkey ON shop.customer USING btree (id)"],
    }


@pytest.mark.parametrize("name", ["Order", "shop.Order", 'shop."Order"'])
def test_it_finds_a_table_however_its_name_is_written(house: House, name: str) -> None:
    described = house.call("aos_skills.describe_schema", name)
    assert described["table"] == 'shop."Order"'
    assert any(
        "REFERENCES shop.customer(id)" in constraint for constraint in described["constraints"]
    )
    assert any("order_customer" in index for index in described["indexes"])


def test_a_bare_name_means_public_first(house: House) -> None:
    described = house.call("aos_skills.describe_schema", "customer")
    assert described["table"] == "public.customer"
    assert [column["name"] for column in described["columns"]] == ["only_in_public"]


def test_it_describes_a_view(house: House) -> None:
    described = house.call("aos_skills.describe_schema", "shop.totals")
    assert [column["name"] for column in described["columns"]] == ["customer_id", "total"]


def test_an_unknown_table_is_an_error_that_says_how_to_find_one(house: House) -> None:
    with house.refused("OS002", "there is no table nowhere") as refusal:
        house.call("aos_skills.describe_schema", "nowhere")
    assert "without table_name" in refusal.hint


def test_it_shows_only_what_the_caller_may_read(house: House, database: Database) -> None:
    house.rows(
        "drop role if exists reader; create role reader login password 'reader';"
        "grant usage on schema shop, aos_skills to reader;"
        "grant select on shop.totals to reader;"
        "grant execute on function aos_skills.describe_schema(text) to reader"
    )
    try:
        with database.connect(user="reader", password="reader") as connection:
            reader = House(connection)
            assert [row["table"] for row in reader.call("aos_skills.describe_schema")] == [
                "shop.totals"
            ]
            with reader.refused("OS002", "there is no table shop.customer"):
                reader.call("aos_skills.describe_schema", "shop.customer")
    finally:
        house.rows("drop owned by reader; drop role reader")


def test_of_a_table_it_shows_the_columns_that_the_caller_may_read(
    house: House, database: Database
) -> None:
    house.rows(
        "drop role if exists reader; create role reader login password 'reader';"
        "grant usage on schema aos_skills to reader;"
        "grant execute on function aos_skills.describe_schema(text) to reader;"
        "create table letter (letter_id int primary key, sender text unique, secret text unique,"
        " constraint short check (length(secret) < 5), constraint named check (sender <> ''),"
        " constraint one exclude (lower(secret) with =));"
        "create index on letter (letter_id) where secret = 'x';"
        "grant select (letter_id, sender) on letter to reader"
    )
    try:
        with database.connect(user="reader", password="reader") as connection:
            reader = House(connection)
            assert {"table": "public.letter", "comment": None} in reader.call(
                "aos_skills.describe_schema"
            )
            shown = reader.call("aos_skills.describe_schema", "letter")
        assert [column["name"] for column in shown["columns"]] == ["letter_id", "sender"]
        assert len(shown["constraints"]) == 3
        assert len(shown["indexes"]) == 2
        assert "secret" not in str(shown)
        whole = house.call("aos_skills.describe_schema", "letter")
        assert (len(whole["constraints"]), len(whole["indexes"])) == (6, 5)
    finally:
        house.rows("drop table letter; drop owned by reader; drop role reader")


def test_it_is_a_skill_that_every_agent_has(house: House) -> None:
    house.rows(
        "grant usage on schema shop to pgagentos_agent;"
        "grant select on shop.customer to pgagentos_agent"
    )
    turn = house.turn()
    call = house.tool(turn, "describe_schema", {"table_name": "shop.customer"})
    assert call["status"] == "completed"
    assert '"Who buys."' in call["result"]
    call = house.tool(turn, "describe_schema")
    assert "shop.customer" in call["result"]
    assert "shop.totals" not in call["result"]  # not granted to the agent's role
    call = house.tool(turn, "describe_schema", {"table_name": "nowhere"})
    assert (call["status"], call["result"]) == ("failed", "OS002: there is no table nowhere")
