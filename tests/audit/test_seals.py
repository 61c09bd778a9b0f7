"""A job seals the heads of the chains; turns do not notice it."""

from __future__ import annotations

import hashlib
import json
from uuid import UUID

from audit.chains import log, make_chains, problems, turn
from audit.conftest import Lines
from cluster import Cluster, Database
from house import House, name
from kernel.background import Background, wait_for


def seal(house: House) -> int:
    return int(house.call("aos_core.seal_event_log"))


def last_seal(house: House, tenant: UUID) -> dict[UUID, int]:
    """The heads of a tenant's last seal."""
    [[chains, numbers]] = house.rows(
        "select chain_ids, event_nos from aos_core.event_seal where tenant_id = %s"
        " order by seal_no desc limit 1",
        tenant,
    )
    return dict(zip(chains, numbers, strict=True))


def test_a_seal_holds_the_heads_that_moved_and_only_those(house: House) -> None:
    chains, other = make_chains(house), make_chains(house)
    assert seal(house) == 0
    turn(house, chains.conversation)
    assert seal(house) == 1
    assert last_seal(house, chains.tenant) == {chains.conversation: 6}
    log(house, chains.tenant, "something_happened")
    turn(house, chains.conversation)
    turn(house, other.conversation)
    assert seal(house) == 3
    assert last_seal(house, chains.tenant) == {chains.conversation: 8, chains.tenant: 6}
    assert last_seal(house, other.tenant) == {other.conversation: 6}
    assert seal(house) == 0
    assert problems(house) == []


def test_the_digests_are_those_that_the_documentation_describes(house: House, lines: Lines) -> None:
    chains = make_chains(house)
    seals = house.rows(
        "select seal_no, (extract(epoch from sealed_at) * 1000000)::bigint, kind, chain_ids,"
        " event_nos, hashes, digest from aos_core.event_seal where tenant_id = %s order by seal_no",
        chains.tenant,
    )
    assert [number for number, *_ in seals] == [1, 2, 3]
    digest = b""
    for number, time, kind, *heads, stored in seals:
        text = json.dumps([str(chains.tenant), number, time, kind, None])
        listed = b"".join(
            chain.bytes + no.to_bytes(4, "big") + value
            for chain, no, value in zip(*heads, strict=True)
        )
        digest = hashlib.sha256(digest + text.encode() + listed).digest()
        assert digest == stored
    # and the server's log has them
    logged = [
        (line["seal_no"], line["digest"])
        for line in lines()
        if line["event"] == "event_log_sealed" and line["tenant_id"] == str(chains.tenant)
    ]
    assert logged == [(number, stored.hex()) for number, *_, stored in seals]


def test_what_was_not_committed_yet_is_for_the_next_seal(house: House, database: Database) -> None:
    chains = make_chains(house)
    other = house.conversation(chains.agent)
    with database.connect() as connection:
        slow = House(connection)
        with connection.transaction():
            turn(slow, chains.conversation)
            turn(house, other)
            assert seal(house) == 1
            assert last_seal(house, chains.tenant) == {other: 2}
            assert seal(house) == 0
    assert seal(house) == 1
    assert last_seal(house, chains.tenant) == {chains.conversation: 6}
    assert problems(house) == []


def test_a_seal_goes_back_as_far_as_the_oldest_transaction_that_it_could_not_see(
    cluster: Cluster,
) -> None:
    """Not only to the last seal: here the entry is a day old when it is committed."""
    with (
        cluster.database(name("old")) as database,
        database.connect() as first,
        database.connect() as second,
    ):
        house, slow = House(first), House(second)
        chains = make_chains(house)
        other = house.conversation(chains.agent)
        with second.transaction():
            turn(slow, chains.conversation)
            for _ in range(3):
                turn(house, other)
                assert seal(house) == 1
            # as if the seals before those three were of days ago, and this turn of yesterday
            with first.transaction():
                house.rows("alter table aos_core.event_seal disable trigger user")
                house.rows(
                    "update aos_core.event_seal set sealed_at = sealed_at - interval '2 days'"
                    " where not %s = any (chain_ids)",
                    other,
                )
            slow.rows("alter table aos_core.event_log_default disable trigger user")
            slow.rows(
                "update aos_core.event_log set created_at = created_at - interval '1 day'"
                " where chain_id = %s and event_no > 4",
                chains.conversation,
            )
        assert seal(house) == 1
        assert last_seal(house, chains.tenant) == {chains.conversation: 6}


def test_no_turn_waits_for_a_seal_and_no_seal_for_a_turn(house: House, database: Database) -> None:
    chains = make_chains(house)
    other, third = house.conversation(chains.agent), house.conversation(chains.agent)
    with database.connect() as connection, database.connect() as second:
        sealer, bystander = House(connection), House(second)
        for each in (sealer, bystander):
            each.rows("set lock_timeout = '10s'")
        with house.connection.transaction(), connection.transaction():
            turn(house, chains.conversation)
            turn(sealer, other)
            assert seal(sealer) == 1
            turn(bystander, third)
    assert problems(house) == []


def test_two_sealers_make_one_chain_of_seals(
    house: House, database: Database, in_background: Background
) -> None:
    chains = make_chains(house)
    turn(house, chains.conversation)
    with database.connect() as second, database.connect() as observer:
        with house.connection.transaction():
            assert seal(house) == 1
            waiting = in_background(seal, House(second))
            wait_for(observer, "cardinality(pg_blocking_pids(%s)) > 0", second.info.backend_pid)
        assert waiting.result() == 0
    assert problems(house) == []


def test_many_chains_are_sealed_in_several_entries(house: House) -> None:
    chains = make_chains(house)
    house.rows(
        "insert into aos_core.event_log (event_no, chain_id, tenant_id, event_type, actor, hash)"
        " select 1, gen_random_uuid(), %s, 'x', 'x', sha256('x') from generate_series(1, 20001)",
        chains.tenant,
    )
    assert seal(house) == 20001
    sizes = house.rows(
        "select cardinality(chain_ids) from aos_core.event_seal where tenant_id = %s"
        " order by seal_no desc limit 3",
        chains.tenant,
    )
    assert sizes == [(1,), (10000,), (10000,)]
    assert seal(house) == 0


def test_an_operator_seals_and_keeps_the_months(house: House, database: Database) -> None:
    chains = make_chains(house)
    role = f"operator_{chains.agent.name}"
    house.rows(f"create role {role} login in role pgagentos_operator")
    try:
        turn(house, chains.conversation)
        with database.connect(user=role) as connection:
            operator = House(connection)
            assert seal(operator) >= 1
            assert len(operator.rows("select aos_core.maintain_event_log('10 years')")) >= 2
            assert problems(operator, chains.tenant) == []
            with operator.refused("42501", "permission denied"):
                operator.rows("delete from aos_core.event_seal")
    finally:
        house.rows(f"drop role {role}")


def test_who_sees_one_tenant_only_does_not_seal(house: House) -> None:
    """The functions are an operator's; this is for one who acts for a tenant meanwhile."""
    with house.connection.transaction(force_rollback=True):
        house.rows("create role sealer login")
        house.rows("grant usage on schema aos_core to sealer")
        house.rows("grant execute on all functions in schema aos_core to sealer")
        house.rows("set session authorization sealer")
        for function in ("seal_event_log", "maintain_event_log"):
            with (
                house.refused("42501", "only an operator keeps the event log") as refusal,
                house.connection.transaction(),
            ):
                house.rows(f"select aos_core.{function}()")
            assert "pgagentos_operator" in refusal.hint
        house.rows("reset session authorization")


def test_an_interrupted_seal_leaves_nothing(house: House) -> None:
    chains = make_chains(house)
    turn(house, chains.conversation)
    before = house.rows("select * from aos_core.event_seal order by tenant_id, seal_no")
    with house.connection.transaction(force_rollback=True):
        assert seal(house) == 1
    assert house.rows("select * from aos_core.event_seal order by tenant_id, seal_no") == before
    assert seal(house) == 1
