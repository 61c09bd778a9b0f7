"""The event log is kept in months; old ones go, and what is left still verifies."""

from __future__ import annotations

from uuid import UUID

import psycopg
import pytest

from audit.chains import REWRITE, REWRITE_HEAD, Chains, log, make_chains, problems, turn, unguarded
from cluster import Cluster, Database
from house import House, name

MONTHS = "select * from aos_core.maintain_event_log({})"
PARTITIONS = (
    "select c.relname from pg_inherits as i join pg_class as c on c.oid = i.inhrelid"
    " where i.inhparent = 'aos_core.event_log'::regclass order by 1"
)


@pytest.fixture
def fresh(cluster: Cluster) -> House:
    """A database for this test alone, because its months are those of all its tenants."""
    with cluster.database(name("months")) as database, database.connect() as connection:
        yield House(connection)


def maintain(house: House, keep: str | None = None) -> list[str]:
    return [line for (line,) in house.rows(MONTHS.format("%s"), keep)]


def partitions(house: House) -> list[str]:
    return [table for (table,) in house.rows(PARTITIONS)]


def coming(house: House) -> list[str]:
    """Names of the partitions of this month and the next two."""
    return house.one(
        "select array_agg(to_char(date_trunc('month', now() at time zone 'UTC')"
        " + make_interval(months => n), '\"event_log_\"YYYY_MM') order by n)"
        " from generate_series(0, 2) as n"
    )


def age(house: House, chain: UUID, old: int) -> None:
    """Let the first entries of a chain be of January 2020, as if they had been written then."""
    if "event_log_2020_01" not in partitions(house):
        house.rows("select aos_core._add_event_partition('2020-01-01')")
        house.rows("alter table aos_core.event_log_2020_01 owner to pgagentos_kernel")
    tables = partitions(house)
    with house.connection.transaction():
        for table in tables:
            house.rows(f"alter table aos_core.{table} disable trigger user")
        house.rows(REWRITE.format(chain=chain, old=old, first=1))
        house.rows(REWRITE_HEAD.format(chain=chain))
        for table in tables:
            for trigger in ("refuse_change", "refuse_truncate"):
                house.rows(f"alter table aos_core.{table} enable always trigger {trigger}")


def make_old_chains(house: House) -> Chains:
    """A conversation of which three of four entries are old, and of its tenant one of five."""
    agent = house.agent()
    conversation = house.conversation(agent)
    for _ in range(2):
        turn(house, conversation)
        log(house, agent.tenant_id, "something_happened")
    age(house, conversation, 3)
    age(house, agent.tenant_id, 1)
    assert problems(house) == []
    return Chains(agent, conversation)


def test_months_are_made_ahead_and_take_the_entries(fresh: House) -> None:
    expected = coming(fresh)
    assert maintain(fresh) == [f"created {table}" for table in expected]
    assert maintain(fresh) == []
    assert partitions(fresh) == [*expected, "event_log_default"]
    chains = make_chains(fresh)
    used = fresh.rows("select distinct tableoid::regclass::text from aos_core.event_log")
    assert used == [(f"aos_core.{expected[0]}",)]
    assert problems(fresh) == []
    turn(fresh, chains.conversation)


def test_a_month_is_nobodys_but_the_kernels_and_guarded_like_the_whole(fresh: House) -> None:
    maintain(fresh)
    months = (
        "from pg_class as c where c.relname ~ '^event_log_2' and c.relkind = 'r'"
        " and c.relnamespace = 'aos_core'::regnamespace"
    )
    assert fresh.rows(
        "select distinct c.relowner::regrole::text, c.relrowsecurity, c.relforcerowsecurity,"
        f" c.relacl::text {months}"
    ) == [("pgagentos_kernel", True, True, None)]
    assert fresh.rows(
        "select distinct t.tgname::text, t.tgenabled::text from pg_trigger as t where t.tgrelid in"
        f" (select c.oid {months}) order by 1"
    ) == [("refuse_change", "A"), ("refuse_truncate", "A")]
    # not of the extension, so that a dump has them
    assert (
        fresh.one(
            "select count(*) from pg_depend as d where d.deptype = 'e' and d.objid in"
            f" (select c.oid {months})"
        )
        == 0
    )


def test_a_month_that_has_begun_without_a_partition_stays_in_the_default_one(fresh: House) -> None:
    make_chains(fresh)
    this, *later = coming(fresh)
    kept = f"not created {this}: entries of that month are in event_log_default"
    assert maintain(fresh) == [kept, *(f"created {table}" for table in later)]
    assert maintain(fresh) == [kept]
    assert problems(fresh) == []


def test_old_months_are_dropped_and_the_rest_verifies_and_goes_on(fresh: House) -> None:
    chains = make_old_chains(fresh)
    maintain(fresh)
    [dropped] = [line for line in maintain(fresh, "1 year") if "dropped" in line]
    assert dropped == "dropped event_log_2020_01: 4 entries"
    assert "event_log_2020_01" not in partitions(fresh)
    left = fresh.rows(
        "select chain_id, array_agg(event_no order by event_no) from aos_core.event_log"
        " group by chain_id"
    )
    assert dict(left) == {chains.conversation: [4], chains.tenant: [2, 3, 4, 5]}
    assert problems(fresh) == []
    turn(fresh, chains.conversation)
    log(fresh, chains.tenant, "something_happened")
    fresh.call("aos_core.seal_event_log")
    assert problems(fresh) == []
    [[chain_ids, event_nos]] = fresh.rows(
        "select chain_ids, event_nos from aos_core.event_seal where kind = 'cut'"
    )
    cut = dict(zip(chain_ids, event_nos, strict=True))
    assert cut == {chains.conversation: 3, chains.tenant: 1}


@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        (
            "update aos_core.event_log set actor = 'x' where {} and event_no = 4",
            "altered: its hash",
        ),
        ("delete from aos_core.event_log where {} and event_no = 4", "missing: entries 4 to 4"),
        ("delete from aos_core.event_log where {}", "missing: entries 4 to 6, the last"),
    ],
)
def test_a_change_of_what_is_left_is_found(fresh: House, statement: str, expected: str) -> None:
    chains = make_old_chains(fresh)
    maintain(fresh, "1 year")
    turn(fresh, chains.conversation)
    with unguarded(fresh):
        fresh.rows(statement.format(f"chain_id = '{chains.conversation}'"))
        assert expected in [text[: len(expected)] for _, _, text in problems(fresh)]


def test_conversations_of_which_nothing_is_left_verify(fresh: House) -> None:
    chains, gone = make_old_chains(fresh), make_chains(fresh)
    whole = make_chains(fresh)
    fresh.rows("delete from aos_agent.conversation where conversation_id = %s", gone.conversation)
    for chain, old in ((whole.conversation, 4), (whole.tenant, 5)):
        age(fresh, chain, old)
    # the deletion too is recorded in a month that goes, while the entries before it stay
    age(fresh, gone.tenant, 6)
    with fresh.connection.transaction():  # as if they had been sealed at those times only
        fresh.rows("alter table aos_core.event_seal disable trigger user")
        fresh.rows("delete from aos_core.event_seal")
        for trigger in ("refuse_change", "refuse_truncate"):
            fresh.rows(f"alter table aos_core.event_seal enable always trigger {trigger}")
    assert problems(fresh) == []
    maintain(fresh, "1 year")
    counts = dict(fresh.rows("select chain_id, count(*) from aos_core.event_log group by chain_id"))
    assert counts == {chains.conversation: 1, chains.tenant: 4, gone.conversation: 4}
    assert problems(fresh) == []
    turn(fresh, whole.conversation)
    log(fresh, whole.tenant, "something_happened")
    assert problems(fresh) == []


def test_a_month_that_is_not_sealed_is_kept(fresh: House) -> None:
    make_old_chains(fresh)
    [[said]] = fresh.rows(
        "select aos_core._drop_event_partition('event_log_2020_01', '2020-01-01')"
    )
    assert said == "kept event_log_2020_01: 2 of its chains are not sealed"
    assert "event_log_2020_01" in partitions(fresh)


def test_a_month_goes_only_when_all_of_it_is_older_than_what_is_kept(fresh: House) -> None:
    make_old_chains(fresh)
    maintain(fresh)
    assert [line for line in maintain(fresh) if "dropped" in line] == []
    [[since]] = fresh.rows("select now() - timestamptz '2020-02-01' + interval '1 minute'")
    assert [
        line for line in maintain(fresh, f"{since.total_seconds()} s") if "dropped" in line
    ] == []
    shorter = since.total_seconds() - 3600
    assert len([line for line in maintain(fresh, f"{shorter} s") if "dropped" in line]) == 1


def test_months_are_made_while_turns_are_under_way(fresh: House, cluster: Cluster) -> None:
    maintain(fresh)
    chains = make_chains(fresh)
    database = Database(cluster, fresh.connection.info.dbname)
    with database.connect() as connection, connection.transaction():
        turn(House(connection), chains.conversation)
        fresh.rows("set lock_timeout = '1ms'")
        made = fresh.one("select aos_core._add_event_partition('2001-01-01')")
        assert made == "created event_log_2001_01"


def test_maintenance_gives_up_rather_than_let_turns_queue_behind_it(
    fresh: House, cluster: Cluster
) -> None:
    make_old_chains(fresh)
    maintain(fresh)
    chains = make_chains(fresh)
    database = Database(cluster, fresh.connection.info.dbname)
    with database.connect() as connection, connection.transaction():
        turn(House(connection), chains.conversation)
        with pytest.raises(psycopg.errors.LockNotAvailable):
            maintain(fresh, "1 year")
    assert any("dropped" in line for line in maintain(fresh, "1 year"))
    assert problems(fresh) == []
