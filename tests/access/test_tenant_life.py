"""A tenant as a whole: shut, taken out, put back, deleted, and its old conversations let go."""

from __future__ import annotations

import json
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from access.conftest import Doors, Tenant, make_tenant
from access.estate import Estate, contents, furnish, tables
from cluster import CHECKOUT, pg_config
from docs.pages import Block, parts
from house import House

#: what an export leaves out or a way back does not write
# the event log with its heads and seals is still there, and goes on
EVENTS = ("aos_core.event_log", "aos_core.event_head", "aos_core.event_seal")
NOT_PUT_BACK = (*EVENTS, "aos_meta.secret", "aos_meta.secret_grant")


@pytest.fixture
def estate(doors: Doors) -> Iterator[Estate]:
    """A furnished tenant for this test alone."""
    made = furnish(doors.house)
    yield made
    doors.house.rows(f"drop owned by {made.agents_role}")
    doors.house.rows(f"drop role {made.agents_role}")


def exported(house: House, tenant: Tenant) -> list[tuple[str, dict[str, Any]]]:
    return house.rows(
        "select table_name, content from aos_agent.export_tenant(%s)", tenant.tenant_id
    )


def test_a_furnished_tenant_has_rows_in_every_table(doors: Doors, estate: Estate) -> None:
    """What follows would prove nothing about a table without any."""
    empty = [t for t, rows in contents(doors.house, estate.tenant.tenant_id).items() if not rows]
    assert empty == []


# deactivate


def test_of_a_deactivated_tenant_no_turn_starts_and_nobody_sees_anything(doors: Doors) -> None:
    house = doors.house
    tenant = make_tenant(house)
    queued = house.start(tenant.conversation_id)
    waiting = house.conversation(tenant.agent)
    house.say(waiting)
    person = doors.login("user", "developer", "approver", "worker", principal_of=tenant)
    assert person.one("select count(*) from aos_agent.message") == 2
    switch = "update aos_auth.tenant set is_active = %s where tenant_id = %s"
    house.rows(switch, False, tenant.tenant_id)
    # its logins see nothing and reach nothing
    for table in ("aos_auth.tenant", "aos_agent.agent", "aos_agent.conversation", "aos_core.run"):
        assert person.one(f"select count(*) from {table}") == 0
    assert person.call("aos_auth.tenant_id") is None
    for function, argument, what in (
        ("start_turn", waiting, "conversation"),
        ("run_turn", queued, "turn"),
        ("open_conversation", tenant.agent.name, "agent"),
    ):
        with person.refused("OS002", f"there is no {what}"):
            person.call(f"aos_agent.{function}", argument)
    # nor does an operator start a turn
    with house.refused("OS003", "is not active"):
        house.start(waiting)
    with house.refused("OS003", "is not active"):
        house.call("aos_agent.ask", tenant.agent.name, "hello")
    house.rows(switch, True, tenant.tenant_id)
    assert person.one("select count(*) from aos_agent.message") == 2
    person.start(waiting)


def test_a_deactivated_principal_sees_nothing(doors: Doors) -> None:
    tenant = make_tenant(doors.house)
    person = doors.login("user", principal_of=tenant)
    assert person.one("select count(*) from aos_agent.message") == 1
    doors.house.rows(
        "update aos_auth.principal set is_active = false where db_role = %s",
        person.one("select session_user::text"),
    )
    assert person.one("select count(*) from aos_agent.message") == 0


# export


def test_an_export_has_every_row_of_the_tenant_and_no_other(doors: Doors, estate: Estate) -> None:
    other = furnish(doors.house)
    rows = exported(doors.house, estate.tenant)
    counts = {
        table: len(found) for table, found in contents(doors.house, estate.tenant.tenant_id).items()
    }
    assert {table: [t for t, _ in rows].count(table) for table in counts} == counts
    assert {row["tenant_id"] for _, row in rows} == {str(estate.tenant.tenant_id)}
    text = json.dumps(rows)
    for foreign in (other.word, str(other.tenant.tenant_id), str(other.conversation_id)):
        assert foreign not in text
    assert estate.word in text


def test_an_export_has_no_value_of_a_secret(doors: Doors, estate: Estate) -> None:
    rows = exported(doors.house, estate.tenant)
    [secret] = [row for table, row in rows if table == "aos_meta.secret"]
    assert secret["name"] == estate.word
    assert secret["ciphertext"] is None
    assert f"value of {estate.word}" not in json.dumps(rows)
    sealed = doors.house.one(
        "select encode(ciphertext, 'hex') from aos_meta.secret where tenant_id = %s",
        estate.tenant.tenant_id,
    )
    assert len(sealed) > 50
    assert sealed not in json.dumps(rows)


def test_no_exported_row_refers_to_a_later_one(doors: Doors, estate: Estate) -> None:
    order = list(dict.fromkeys(table for table, _ in exported(doors.house, estate.tenant)))
    assert sorted(order) == sorted(tables(doors.house))
    links = doors.house.rows(
        "select k.conrelid::regclass::text, k.confrelid::regclass::text from pg_constraint as k"
        " where k.contype = 'f' and k.conrelid <> k.confrelid"
    )
    late = [(c, p) for c, p in links if {c, p} <= set(order) and order.index(p) > order.index(c)]
    assert late == []


@pytest.mark.parametrize("function", ["export_tenant", "delete_tenant", "apply_retention"])
def test_only_operators_handle_whole_tenants(doors: Doors, function: str) -> None:
    tenant = make_tenant(doors.house)
    arguments = {
        "export_tenant": (tenant.tenant_id,),
        "delete_tenant": (tenant.tenant_id, tenant.name),
        "apply_retention": (),
    }[function]
    everything_else = doors.login(
        "secret_manager", "approver", "developer", "auditor", "worker", "user",
        principal_of=tenant,
    )  # fmt: skip
    with everything_else.refused("42501", f"permission denied for function {function}"):
        everything_else.call(f"aos_agent.{function}", *arguments)
    limited = doors.login("operator")
    with limited.refused("42501", "only an operator"), limited.connection.transaction():
        limited.call("aos_auth.begin", doors.ticket(tenant))
        limited.call(f"aos_agent.{function}", *arguments)
    limited.rows(f"select aos_agent.{function}({', '.join(['%s'] * len(arguments))})", *arguments)


# the way back


def psql(doors: Doors, script: str, directory: Path) -> None:
    done = subprocess.run(
        [
            f"{pg_config('--bindir')}/psql", "-X", "-q", "-v", "ON_ERROR_STOP=1",
            "-d", doors.database.conninfo(),
        ],
        input=script, capture_output=True, text=True, cwd=directory,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")


def documented(beginning: str) -> str:
    """The one block of docs/tenants.md that begins with these words."""
    [block] = [
        part.body
        for part in parts(CHECKOUT / "docs/tenants.md")
        if isinstance(part, Block) and part.body.startswith(beginning)
    ]
    return block


def test_the_documented_way_out_and_back_loses_no_row(
    doors: Doors, estate: Estate, tmp_path: Path
) -> None:
    house, tenant = doors.house, estate.tenant
    before = contents(house, tenant.tenant_id, *NOT_PUT_BACK)
    neighbour = furnish(house)
    untouched = contents(house, neighbour.tenant.tenant_id)

    def of_this_tenant(script: str) -> str:
        return script.replace("tea_shop", tenant.name)

    psql(doors, of_this_tenant(documented("\\copy (SELECT")), tmp_path)
    lines = (tmp_path / f"{tenant.name}.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == [
        {"table": table, "row": row} for table, row in exported(house, tenant)
    ]
    house.call("aos_agent.delete_tenant", tenant.tenant_id, tenant.name)
    left = {table for table, rows in contents(house, tenant.tenant_id).items() if rows}
    assert left == set(EVENTS)
    psql(doors, of_this_tenant(documented("BEGIN;")), tmp_path)
    assert contents(house, tenant.tenant_id, *NOT_PUT_BACK) == before
    assert contents(house, neighbour.tenant.tenant_id) == untouched
    # and it goes on where it was
    house.call("aos_agent.approve_tool_call", estate.step_id)
    house.result(estate.turn_id, estate.skill, "sent")
    house.finish(estate.turn_id)
    house.start(tenant.conversation_id)
    assert house.rows("select * from aos_core.verify_event_log(%s)", tenant.tenant_id) == []


# delete


def test_a_deletion_deletes_all_rows_of_the_tenant_and_no_other(
    doors: Doors, estate: Estate
) -> None:
    house, tenant = doors.house, estate.tenant
    neighbour = furnish(house)
    before = contents(house, tenant.tenant_id)
    untouched = contents(house, neighbour.tenant.tenant_id)
    deleted = house.call("aos_agent.delete_tenant", tenant.tenant_id, tenant.name)
    after = contents(house, tenant.tenant_id)
    assert {t for t, rows in after.items() if rows} == set(EVENTS)
    assert deleted == {t: len(r) for t, r in before.items() if t not in EVENTS}
    assert contents(house, neighbour.tenant.tenant_id) == untouched
    # the log has one more, and nothing of what was said
    assert set(after["aos_core.event_log"]) > set(before["aos_core.event_log"])
    [[last, detail]] = house.rows(
        "select event_type, detail from aos_core.event_log where tenant_id = %s"
        " order by created_at desc limit 1",
        tenant.tenant_id,
    )
    assert (last, detail) == ("tenant_deleted", deleted)
    assert house.rows("select * from aos_core.verify_event_log(%s)", tenant.tenant_id) == []
    assert estate.word not in "".join(after["aos_core.event_log"])


def test_a_wrong_name_or_id_deletes_nothing(doors: Doors, estate: Estate) -> None:
    before = contents(doors.house, estate.tenant.tenant_id)
    for wrong in ("", estate.tenant.name.upper(), None):
        with doors.house.refused("OS001", "is not called"):
            doors.house.call("aos_agent.delete_tenant", estate.tenant.tenant_id, wrong)
    for unknown in ("11111111-1111-4111-8111-111111111111", None):
        with doors.house.refused("OS002", "there is no tenant"):
            doors.house.call("aos_agent.delete_tenant", unknown, estate.tenant.name)
        with doors.house.refused("OS002", "there is no tenant"):
            exported_rows = "select from aos_agent.export_tenant(%s)"
            doors.house.rows(exported_rows, unknown)
    assert contents(doors.house, estate.tenant.tenant_id) == before


def test_a_deletion_waits_for_what_is_being_said(doors: Doors) -> None:
    tenant = make_tenant(doors.house)
    talker, killer = doors.session("postgres"), doors.session("postgres")
    talker.rows("begin")
    talker.say(tenant.conversation_id, "just now")
    pid = killer.one("select pg_backend_pid()")
    deleted: list[Any] = []
    thread = threading.Thread(
        target=lambda: deleted.append(
            killer.call("aos_agent.delete_tenant", tenant.tenant_id, tenant.name)
        )
    )
    thread.start()
    waits = "select wait_event_type from pg_stat_activity where pid = %s"
    while doors.house.one(waits, pid) != "Lock":
        assert thread.is_alive(), deleted
    talker.rows("commit")
    thread.join()
    assert deleted[0]["aos_auth.tenant"] == 1
    assert doors.house.one(
        "select count(*) from aos_agent.message where tenant_id = %s", tenant.tenant_id
    ) == 0  # fmt: skip


# retention


def age(house: House, conversation_id: Any, by: str) -> None:
    """Let all that happened in a conversation have happened earlier."""
    for table, columns in (
        ("aos_agent.conversation", ("created_at",)),
        ("aos_agent.message", ("created_at",)),
        ("aos_core.run", ("started_at", "finished_at")),
    ):
        sets = ", ".join(f"{c} = {c} - interval '{by}'" for c in columns)
        house.rows(f"update {table} set {sets} where conversation_id = %s", conversation_id)


@pytest.fixture
def keeper(doors: Doors) -> Tenant:
    """A tenant that keeps conversations for 30 days."""
    tenant = make_tenant(doors.house)
    doors.house.rows(
        "update aos_auth.tenant set keep_conversations = '30 days' where tenant_id = %s",
        tenant.tenant_id,
    )
    return tenant


def conversations(house: House, tenant: Tenant) -> set[Any]:
    found = house.rows(
        "select conversation_id from aos_agent.conversation where tenant_id = %s", tenant.tenant_id
    )
    return {conversation for (conversation,) in found}


def test_only_what_is_older_than_its_tenant_keeps_goes(doors: Doors, keeper: Tenant) -> None:
    house = doors.house
    forever = make_tenant(house)
    age(house, forever.conversation_id, "1000 days")
    old, young, answered_lately, unfinished, spoken_lately = (
        house.conversation(keeper.agent) for _ in range(5)
    )
    for conversation in (old, young, answered_lately, unfinished):
        house.say(conversation)
        turn = house.start(conversation)
        if conversation != unfinished:
            house.finish(turn)
        age(house, conversation, "31 days")
    age(house, young, "-2 days")
    house.say(answered_lately)
    age(house, answered_lately, "31 days")
    house.finish(house.start(answered_lately))
    age(house, spoken_lately, "31 days")
    house.say(spoken_lately)
    assert house.call("aos_agent.apply_retention") == 1
    assert conversations(house, keeper) == {
        keeper.conversation_id, young, answered_lately, unfinished, spoken_lately,
    }  # fmt: skip
    assert conversations(house, forever) == {forever.conversation_id}
    for table in ("aos_agent.message", "aos_core.run"):
        left = f"select count(*) from {table} where conversation_id = %s"
        assert house.one(left, old) == 0
    events = house.rows(
        "select event_type from aos_core.event_log where detail ->> 'conversation_id' = %s::text"
        " order by event_no",
        old,
    )
    assert events == [("conversation_deleted",), ("conversation_expired",)]
    assert house.call("aos_agent.apply_retention") == 0


def test_a_batch_takes_the_oldest_first(doors: Doors, keeper: Tenant) -> None:
    house = doors.house
    made = [
        house.insert(
            "aos_agent.conversation",
            "conversation_id",
            conversation_id=f"01900000-000{n}-7000-8000-000000000000",  # made one after the other
            tenant_id=keeper.tenant_id,
            agent_id=keeper.agent.agent_id,
        )
        for n in range(5)
    ]
    for conversation in made:
        age(house, conversation, "40 days")
    for gone in (2, 4, 5, 5):
        house.call("aos_agent.apply_retention", 2)
        assert conversations(house, keeper) - {keeper.conversation_id} == set(made[gone:])
    for wrong in (0, -1, None, 1_000_001):
        with house.refused("OS001", "a batch has 1 to 1000000 conversations"):
            house.call("aos_agent.apply_retention", wrong)


def test_a_conversation_in_use_is_left_for_the_next_time(doors: Doors, keeper: Tenant) -> None:
    house = doors.house
    other = doors.session("postgres")
    age(house, keeper.conversation_id, "31 days")
    other.rows("begin")
    other.say(keeper.conversation_id, "I am back")
    assert house.call("aos_agent.apply_retention") == 0  # and it does not wait
    other.rows("commit")
    assert house.call("aos_agent.apply_retention") == 0
    assert conversations(house, keeper) == {keeper.conversation_id}
