"""What a model may not do, tried: every attack is refused or harmless, and nothing is left behind."""

from __future__ import annotations

import time
from collections import Counter
from typing import Any

import psycopg
import pytest

from cluster import Database
from sandbox.attacks import ATTACKS, FINE, Attack
from sandbox.conftest import Shop, has_run
from sandbox.further_attacks import CASES

_STATE = """
select current_setting('search_path'), current_setting('statement_timeout'), current_setting('lock_timeout'),
       current_setting('work_mem'), current_setting('row_security'), current_setting('client_encoding'),
       current_setting('transaction_read_only'), current_setting('temp_file_limit'), current_setting('jit'),
       current_user, session_user,
       (select count(*) from pg_locks where locktype = 'advisory' and pid = pg_backend_pid()),
       (select count(*) from pg_largeobject_metadata), (select last_value from shop.seq),
       (select count(*) from shop.w), (select count(*) from shop.orders), (select count(*) from shop.hidden),
       (select count(*) from pg_class where relnamespace = pg_my_temp_schema()),
       (select count(*) from pg_proc where pronamespace = 'aos_sandbox'::regnamespace)
"""
#: what no answer may ever hold
SECRETS = ("SECRET", "HIDDEN-ROW", "pgagentos_", "postgres", "/etc", "CONTEXT", "DETAIL")


def state(connection: psycopg.Connection[Any]) -> tuple[Any, ...]:
    found = connection.execute(_STATE).fetchone()
    assert found is not None
    return found


def check(shop: Shop, query: str, outcome: str) -> None:
    before = state(shop.connection)
    answer = shop.ask(query)
    after = state(shop.connection)
    assert has_run(answer) == (outcome == FINE), answer[:300]
    assert [secret for secret in SECRETS if secret in answer] == []
    assert after == before


@pytest.mark.parametrize("attack", ATTACKS, ids=[attack.name for attack in ATTACKS])
def test_an_attack_of_the_known_list_gets_nothing(
    market: tuple[Database, str], shop: Shop, attack: Attack
) -> None:
    for statement in attack.before:
        shop.connection.execute(statement)
    with market[0].connect() as other:
        other.autocommit = False
        other.execute("lock table shop.locked in access exclusive mode")
        check(shop, attack.query, attack.outcome)


@pytest.mark.parametrize("number", range(len(CASES)), ids=lambda n: f"{n}: {CASES[n][0][:60]}")
def test_a_further_attack_gets_nothing(shop: Shop, number: int) -> None:
    query, outcome, since = CASES[number]
    if shop.connection.info.server_version < since * 10_000:
        outcome = "refused"  # an older server does not know it
        answer = shop.ask(query)
        assert [secret for secret in SECRETS if secret in answer] == []
        return
    check(shop, query, outcome)


def test_there_are_at_least_a_hundred_cases_of_our_own() -> None:
    assert len(CASES) >= 100
    print(
        f"\n{len(ATTACKS)} known attacks, {len(CASES)} further ones:", Counter(c[1] for c in CASES)
    )


@pytest.mark.parametrize(
    ("forbidden", "missing"),
    [
        ("select * from shop.hidden", "select * from shop.hiddem"),
        ("select * from hidden", "select * from hiddem"),
        ("select secret from orders", "select secres from orders"),
        ("select o.secret from orders o where o.secret = 1", "select o.secres from orders o where o.secres = 1"),
        ("select pg_sleep(1)", "select pg_sleeq(1)"),
        ("select 'a'::regclass", "select 'a'::regclasr"),
        ("select 'a'::shop.customers", "select 'a'::shop.customert"),
        ("select * from aos_meta.secret", "select * from aos_meta.secrez"),
        ("select shop.f_write()", "select shop.f_writf()"),
        ("select name from customers where name = any (select y from shop.hidden)",
         "select name from customers where name = any (select y from shop.hiddem)"),
    ],
)  # fmt: skip
def test_what_is_forbidden_and_what_is_not_there_have_the_same_text(
    shop: Shop, forbidden: str, missing: str
) -> None:
    words = {
        "hiddem": "hidden", "secres": "secret", "pg_sleeq": "pg_sleep", "regclasr": "regclass",
        "customert": "customers", "secrez": "secret", "f_writf": "f_write",
    }  # fmt: skip
    answer = shop.ask(missing)
    for wrong, right in words.items():
        answer = answer.replace(wrong, right)
    assert shop.ask(forbidden) == answer
    assert not has_run(answer)


def test_a_hidden_column_is_in_no_row(shop: Shop) -> None:
    for query in ("select * from orders limit 1", "select to_jsonb(o) as o from orders o limit 1"):
        assert "secret" not in shop.ask(query).lower().partition("\n")[2]


def test_an_insert_is_impossible_where_the_query_runs(shop: Shop) -> None:
    # the executor itself, called as the kernel calls it, with a function that writes
    connection = shop.connection
    connection.execute(
        "create function aos_sandbox.q() returns setof text language sql"
        " as $$ insert into shop.w values ('x') returning x $$"
    )
    connection.execute("alter function aos_sandbox.q() volatile")
    with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
        connection.execute("select * from aos_sandbox._run('q', null, 1, 1000)")
    connection.execute("drop function aos_sandbox.q()")


def test_a_view_must_keep_its_rows_to_itself(shop: Shop, market: tuple[Database, str]) -> None:
    connection = shop.connection
    connection.execute("create view shop.leaky as select id, name from shop.customers where id < 3")
    connection.execute("grant select on shop.leaky to pgagentos_agent")
    with pytest.raises(psycopg.Error, match="security barrier"):
        connection.execute("select aos_agent.grant_table(%s, 'shop.leaky')", (shop.agent,))
    connection.execute("alter view shop.leaky set (security_barrier = true)")
    connection.execute("select aos_agent.grant_table(%s, 'shop.leaky')", (shop.agent,))
    assert shop.rows("select count(*) as n from shop.leaky") == [{"n": 2}]
    connection.execute("alter view shop.leaky reset (security_barrier)")
    assert shop.ask("select count(*) as n from shop.leaky") == "The table leaky is not available."


def test_a_partition_elsewhere_makes_a_table_unavailable(shop: Shop) -> None:
    connection = shop.connection
    connection.execute("create table shop.parted (x int) partition by list (x)")
    connection.execute("create table shop.part_1 partition of shop.parted for values in (1)")
    connection.execute("insert into shop.parted values (1)")
    connection.execute("grant select on shop.parted to pgagentos_agent")
    connection.execute("select aos_agent.grant_table(%s, 'shop.parted')", (shop.agent,))
    assert shop.rows("select count(*) as n from shop.parted") == [{"n": 1}]
    connection.execute("create extension file_fdw")
    connection.execute("create server files foreign data wrapper file_fdw")
    connection.execute(
        "create foreign table shop.part_2 partition of shop.parted for values in (2)"
        " server files options (filename '/etc/passwd')"
    )
    assert shop.ask("select * from shop.parted") == "The table parted is not available."


def test_a_domain_of_a_column_is_read_but_never_entered(shop: Shop) -> None:
    connection = shop.connection
    connection.execute(
        "create function shop.tell(text) returns boolean language plpgsql"
        " as $$ begin raise exception 'CHECK RAN'; end $$"
    )
    connection.execute("create domain shop.checked as text")
    connection.execute("create table shop.with_domain (d shop.checked)")
    connection.execute("insert into shop.with_domain values ('a')")
    connection.execute("alter domain shop.checked add check (shop.tell(value)) not valid")
    connection.execute("grant select on shop.with_domain to pgagentos_agent")
    connection.execute("select aos_agent.grant_table(%s, 'shop.with_domain')", (shop.agent,))
    assert shop.rows("select d, length(d) as n from shop.with_domain") == [{"d": "a", "n": 1}]
    for query in (
        "select 'x'::shop.checked",
        "select 'x'::checked",
        "select shop.checked 'x'",
        "select shop.checked('x')",
        "select cast(name as shop.checked) from customers",
        "select ('x').checked",
        "select array['x']::shop.checked[]",
    ):
        answer = shop.ask(query)
        assert not has_run(answer)
        assert "CHECK RAN" not in answer


def test_row_security_of_the_agents_role_holds(shop: Shop) -> None:
    connection = shop.connection
    connection.execute("create table shop.mine (id int, owner text)")
    connection.execute("insert into shop.mine values (1, 'pgagentos_agent'), (2, 'other')")
    connection.execute("alter table shop.mine enable row level security")
    connection.execute("create policy own on shop.mine using (owner = current_user)")
    connection.execute("grant select on shop.mine to pgagentos_agent")
    connection.execute("select aos_agent.grant_table(%s, 'shop.mine')", (shop.agent,))
    assert shop.rows("select id from shop.mine") == [{"id": 1}]
    assert shop.rows("select id from shop.mine where 1 / (id - 2) is not null") == [{"id": 1}]


def test_refusals_are_in_the_servers_log_without_the_query(
    shop: Shop, market: tuple[Database, str]
) -> None:
    home = market[0].cluster.home
    if home is None:
        assert not has_run(shop.ask("select pg_sleep(1)"))
        return
    shop.ask("select 'Zauberwort' from shop.hidden_place")
    time.sleep(0.1)
    log = (home / "server.log").read_text("utf-8", "replace")
    assert '"event": "sql_query_refused"' in log
    assert "Zauberwort" not in log
