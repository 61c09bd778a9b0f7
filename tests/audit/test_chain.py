"""Each entry of the event log carries the hash of the one before it, and nobody changes one."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import psycopg
import pytest

from audit.chains import log, make_chains, problems, turn
from cluster import Database
from house import House
from kernel.background import Background, wait_for

#: what another session may have set
SETTINGS = (
    "set timezone = 'Asia/Seoul'; set datestyle = 'German'; set intervalstyle = 'sql_standard';"
    " set bytea_output = 'escape'; set extra_float_digits = -15; set client_encoding = 'UHC';"
    " set lc_numeric = 'C'; set standard_conforming_strings = off"
)


def canonical(value: Any) -> str:
    """JSON as the server writes jsonb: keys by length, then by bytes."""
    if isinstance(value, dict):
        value = {
            key: json.loads(canonical(value[key]))
            for key in sorted(value, key=lambda k: (len(k.encode()), k.encode()))
        }
    return json.dumps(value, ensure_ascii=False, separators=(", ", ": "))


def test_the_hashes_are_those_that_the_documentation_describes(house: House) -> None:
    """Computed here once more, from the rows alone."""
    chains = make_chains(house)
    skill = house.skill(chains.agent, approval="ask")
    house.say(chains.conversation)
    waiting = house.start(chains.conversation)
    step = house.tool(waiting, skill, {})["step_id"]
    house.call("aos_agent.reject_tool_call", step, "no")
    house.call("aos_agent.cancel_turn", waiting)
    entries = house.rows(
        "select chain_id::text, event_no, (extract(epoch from created_at) * 1000000)::bigint,"
        " tenant_id::text, run_id::text, event_type, actor, detail, hash from aos_core.event_log"
        " where tenant_id = %s order by chain_id, event_no",
        chains.tenant,
    )
    assert {entry[5] for entry in entries} >= {"tenant_added", "approval_decided", "turn_cancelled"}
    previous = {str(chains.conversation): b"", str(chains.tenant): b""}
    for *entry, stored in entries:
        text = ", ".join(map(canonical, entry))
        previous[entry[0]] = hashlib.sha256(previous[entry[0]] + f"[{text}]".encode()).digest()
        assert previous[entry[0]] == stored, entry
    for chain in previous:
        numbers = [entry[1] for entry in entries if entry[0] == chain]
        assert numbers == list(range(1, len(numbers) + 1))


def test_no_setting_of_a_session_changes_a_hash(house: House, database: Database) -> None:
    with database.connect() as connection:
        connection.execute(SETTINGS)
        strange = House(connection)
        chains = make_chains(strange)
        assert problems(strange) == []
    assert problems(house) == []
    turn(house, chains.conversation)
    log(house, chains.tenant, "something_happened", {"number": 0.10, "name": "\u00fc\\\"'"})
    with database.connect() as connection:
        connection.execute(SETTINGS)
        assert problems(House(connection)) == []


def test_an_event_says_who_acted_and_where(house: House) -> None:
    chains = make_chains(house)
    user = house.one("select session_user::text")
    found = house.rows(
        "select distinct actor, tenant_id, chain_id = %s from aos_core.event_log"
        " where tenant_id = %s",
        chains.conversation, chains.tenant,
    )  # fmt: skip
    assert sorted(found, key=str) == [
        (user, chains.tenant, False), (user, chains.tenant, True)
    ]  # fmt: skip


def test_what_concerns_no_tenant_is_in_the_operators_own_chain(house: House) -> None:
    log(house, None, "first")
    log(house, None, "second")
    nobody = "00000000-0000-0000-0000-000000000000"
    found = house.rows(
        "select event_type from aos_core.event_log where chain_id = %s and tenant_id = chain_id"
        " order by event_no desc limit 2",
        nobody,
    )
    assert found == [("second",), ("first",)]
    assert problems(house) == []


def test_an_event_of_a_conversation_without_turns_is_in_its_tenants_chain(house: House) -> None:
    agent = house.agent()
    conversation = house.conversation(agent)
    house.call("aos_core._log", agent.tenant_id, conversation, None, "titled", {"length": 3})
    [[chain, detail]] = house.rows(
        "select chain_id, detail from aos_core.event_log where tenant_id = %s"
        " and event_type = 'titled'",
        agent.tenant_id,
    )
    assert chain == agent.tenant_id
    assert detail == {"conversation_id": str(conversation), "length": 3}


def test_what_is_rolled_back_leaves_no_gap(house: House) -> None:
    chains = make_chains(house)
    with house.connection.transaction(force_rollback=True):
        turn(house, chains.conversation)
        log(house, chains.tenant, "undone")
    turn(house, chains.conversation)
    log(house, chains.tenant, "done")
    assert problems(house) == []
    numbers = house.rows(
        "select chain_id, array_agg(event_no order by event_no) from aos_core.event_log"
        " where tenant_id = %s group by chain_id",
        chains.tenant,
    )
    assert sorted(numbers) == sorted(
        (chain, [1, 2, 3, 4, 5, 6]) for chain in (chains.conversation, chains.tenant)
    )


def test_turns_of_one_tenant_do_not_wait_for_each_others_events(
    house: House, database: Database
) -> None:
    """That is why a chain belongs to a conversation."""
    chains = make_chains(house)
    other = house.conversation(chains.agent)
    with database.connect() as connection, house.connection.transaction():
        turn(house, chains.conversation)
        connection.execute("set lock_timeout = '10s'")
        turn(House(connection), other)
    assert problems(house) == []


def test_events_of_a_tenants_own_chain_queue(
    house: House, database: Database, in_background: Background
) -> None:
    chains = make_chains(house)
    with database.connect() as second, database.connect() as observer:
        pid = second.info.backend_pid
        with house.connection.transaction():
            log(house, chains.tenant, "first")
            waiting = in_background(log, House(second), chains.tenant, "second")
            wait_for(observer, "cardinality(pg_blocking_pids(%s)) > 0", pid)
        waiting.result()
    assert problems(house) == []
    order = house.rows(
        "select event_type from aos_core.event_log where chain_id = %s and event_no > 5"
        " order by event_no, created_at",
        chains.tenant,
    )
    assert order == [("first",), ("second",)]


@pytest.mark.parametrize(
    "who", ["set role none", "set role pgagentos_kernel", "set session_replication_role = replica"]
)
@pytest.mark.parametrize(
    "table",
    ["event_log", "event_log_default", "event_log_2001_01", "event_seal"],
)
@pytest.mark.parametrize(
    "statement",
    ["update aos_core.{} set tenant_id = tenant_id", "delete from aos_core.{}",
     "truncate aos_core.{}"],
)  # fmt: skip
def test_nobody_changes_an_entry_not_even_the_owner(
    house: House, who: str, table: str, statement: str
) -> None:
    with house.connection.transaction(force_rollback=True):
        make_chains(house)
        house.rows("select aos_core._add_event_partition('2001-01-01')")
        house.rows("alter table aos_core.event_log_2001_01 owner to pgagentos_kernel")
        house.rows(
            "insert into aos_core.event_log (created_at, event_no, chain_id, tenant_id, event_type,"
            " actor, hash) select '2001-01-02', 1, gen_random_uuid(), t.tenant_id, 'x', 'x', ''"
            " from aos_auth.tenant as t limit 1"
        )
        if table == "event_log_2001_01":  # the owner sees its rows through the log only
            house.rows("alter table aos_core.event_log_2001_01 no force row level security")
        house.rows(who)
        whole = "list of seals" if table == "event_seal" else "event log"
        with house.refused("OS003", f"the {whole} is append-only"), house.connection.transaction():
            house.rows(statement.format(table))
        house.rows("reset role")


def test_auditors_and_operators_read_it_and_nobody_writes_it(house: House) -> None:
    house.rows("select aos_core.maintain_event_log()")
    granted = house.rows(
        "select c.relname, a.grantee::regrole::text, a.privilege_type from pg_class as c,"
        " aclexplode(c.relacl) as a where c.relnamespace = 'aos_core'::regnamespace"
        " and c.relname like 'event\\_%' and c.relkind in ('r', 'p') and a.grantee <> c.relowner"
    )
    assert set(granted) == {
        (table, role, "SELECT")
        for table in ("event_log", "event_seal")
        for role in ("pgagentos_auditor", "pgagentos_operator")
    }


def test_an_auditor_of_a_tenant_reads_and_verifies_its_log_and_no_other(
    house: House, database: Database
) -> None:
    mine, other = make_chains(house), make_chains(house)
    role = f"auditor_{mine.agent.name}"
    house.rows(f"create role {role} login in role pgagentos_auditor")
    try:
        house.insert("aos_auth.principal", tenant_id=mine.tenant, db_role=role)
        with database.connect(user=role) as connection:
            auditor = House(connection)
            seen = "select distinct tenant_id from aos_core.event_log"
            assert auditor.rows(seen) == [(mine.tenant,)]
            assert auditor.rows(seen.replace("_log", "_seal")) == [(mine.tenant,)]
            assert problems(auditor) == []
            assert problems(auditor, other.tenant) == []
            for statement in ("seal_event_log()", "maintain_event_log()"):
                with pytest.raises(psycopg.errors.InsufficientPrivilege):
                    auditor.rows(f"select aos_core.{statement}")
    finally:
        house.rows("delete from aos_auth.principal where db_role = %s", role)
        house.rows(f"drop role {role}")
