"""The ledger: what is counted, from when on, and how it is kept small."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import psycopg

from budget.stage import budget, counted, left
from cluster import Database
from kernel.replies import calls, says, tool_call
from kernel.scene import Scene

TOKENS = 15
COST = Decimal("0.00006")


def rows(scene: Scene) -> int:
    """How many rows the scene has in the ledger."""
    found: int = scene.value(
        "select count(*) from aos_agent.usage where tenant_id = %s", scene.tenant_id
    )
    return found


def add_usage(scene: Scene, days_ago: int, tokens: int, cost: Any) -> None:
    """Write a row as a turn of some earlier day would have."""
    scene.connection.execute(
        "insert into aos_agent.usage (tenant_id, agent_id, day, tokens, cost)"
        " select tenant_id, agent_id, (clock_timestamp() at time zone 'UTC')::date - %s, %s, %s"
        " from aos_agent.agent where name = %s",
        (days_ago, tokens, cost, scene.name),
    )


def test_a_tenant_without_a_budget_has_no_ledger(scene: Scene) -> None:
    scene.says(says("one"))
    scene.ask()
    assert rows(scene) == 0


def test_the_first_budget_counts_what_was_used_this_month(scene: Scene) -> None:
    scene.skill("one() returns int language sql return 1")
    scene.says(says("one"), calls(tool_call("one")), says("two"))
    scene.ask()
    scene.ask()
    # A turn of the month before.
    scene.connection.execute(
        "update aos_core.run set started_at = started_at - interval '32 days',"
        " finished_at = finished_at - interval '32 days' where tenant_id = %s and model_calls = 1",
        (scene.tenant_id,),
    )
    budget(scene, "month", max_tokens=1000, max_cost=1)
    assert counted(scene) == (2 * TOKENS, 2 * COST)
    assert left(scene)["used_tokens"] == 2 * TOKENS


def test_a_second_budget_counts_nothing_twice(scene: Scene) -> None:
    scene.says(says("one"))
    scene.ask()
    budget(scene, "month", max_tokens=1000)
    budget(scene, "day", max_tokens=1000)
    budget(scene, "month", max_tokens=2000, agent_name=scene.name)
    assert counted(scene) == (TOKENS, COST)


def test_several_first_budgets_in_one_statement_count_once(scene: Scene) -> None:
    scene.says(says("one"))
    scene.ask()
    scene.connection.execute(
        "insert into aos_agent.budget (tenant_id, period, max_tokens)"
        " select %s::uuid, p, 1000 from unnest('{day,month,turn}'::text[]) as p",
        (scene.tenant_id,),
    )
    assert counted(scene) == (TOKENS, COST)


def test_two_sessions_that_set_the_first_budget_count_once(
    scene: Scene, database: Database, in_background: Any
) -> None:
    from kernel.background import wait_until_blocked

    scene.says(says("one"))
    scene.ask()
    insert = "insert into aos_agent.budget (tenant_id, period, max_tokens) values (%s, %s, 1000)"
    with database.connect() as other, database.connect() as observer:
        with scene.connection.transaction():
            scene.connection.execute(insert, (scene.tenant_id, "day"))
            second = in_background(other.execute, insert, (scene.tenant_id, "month"))
            wait_until_blocked(observer, other.info.backend_pid)
        second.result()
    assert counted(scene) == (TOKENS, COST)


def test_a_budget_after_a_time_without_one_counts_what_was_missed(scene: Scene) -> None:
    budget(scene, "month", max_tokens=1000)
    scene.says(says("one"), says("two"), says("three"))
    scene.ask()
    budget(scene, "month")
    scene.ask()
    assert counted(scene) == (TOKENS, COST)
    budget(scene, "month", max_tokens=1000)
    assert counted(scene) == (2 * TOKENS, 2 * COST)
    scene.ask()
    assert counted(scene) == (3 * TOKENS, 3 * COST)


def test_a_conversation_that_is_deleted_gives_no_budget_back(scene: Scene) -> None:
    budget(scene, "month", max_tokens=TOKENS)
    scene.says(says("one"))
    scene.ask()
    scene.connection.execute(
        "delete from aos_agent.message where tenant_id = %s", (scene.tenant_id,)
    )
    scene.connection.execute(
        "delete from aos_agent.conversation where tenant_id = %s", (scene.tenant_id,)
    )
    assert scene.ask() is None
    assert left(scene)["tokens_left"] == 0


def test_compaction_keeps_the_sums(scene: Scene) -> None:
    budget(scene, "month", max_tokens=100_000, max_cost=1)
    scene.value("select aos_agent.compact_usage()")  # what other tests left
    for days_ago in (0, 0, 0, 1, 1, 2):
        add_usage(scene, days_ago, 7, Decimal("0.00000001"))
    sums = (
        "select day, sum(tokens), sum(cost) from aos_agent.usage"
        f" where tenant_id = '{scene.tenant_id}' group by 1 order by 1"
    )
    before = scene.rows(sums)
    assert rows(scene) == 6
    assert scene.value("select aos_agent.compact_usage()") == 3
    assert rows(scene) == 3
    assert scene.rows(sums) == before
    assert scene.value("select aos_agent.compact_usage()") == 0


def test_compaction_passes_over_what_an_open_turn_has_changed(
    scene: Scene, database: Database
) -> None:
    budget(scene, "month", max_tokens=100_000)
    scene.value("select aos_agent.compact_usage()")
    for _ in range(3):
        add_usage(scene, 0, 7, 0)
    scene.says(says("one"), says("two"))
    with database.connect() as other:
        other.execute("set lock_timeout = '20s'")
        with scene.connection.transaction():
            scene.ask()
            assert other.execute("select aos_agent.compact_usage()").fetchone() == (1,)
        with other.transaction():
            assert other.execute("select aos_agent.compact_usage()").fetchone() == (1,)
            scene.connection.execute("set lock_timeout = '20s'")
            assert scene.ask() == "two"  # nor does a turn wait for the compaction
    assert counted(scene)[0] == 3 * 7 + 2 * TOKENS


def test_a_restored_budget_counts_nothing(scene: Scene) -> None:
    """A dump holds the ledger: the rows of its budgets come with the date they had."""
    scene.says(says("one"))
    scene.ask()
    scene.connection.execute(
        "insert into aos_agent.budget (tenant_id, period, max_tokens, created_at)"
        " values (%s, 'day', 1000, now() - interval '1 hour')",
        (scene.tenant_id,),
    )
    assert rows(scene) == 0


def test_a_tenant_goes_with_its_budgets_and_its_ledger(connection: psycopg.Connection) -> None:
    row = connection.execute(
        "insert into aos_auth.tenant (name) values ('short_lived') returning tenant_id"
    ).fetchone()
    assert row is not None
    connection.execute("select aos_agent.set_budget('day', 5, tenant_name => 'short_lived')")
    connection.execute(
        "insert into aos_agent.usage (tenant_id, agent_id, day, tokens, cost)"
        " values (%s, gen_random_uuid(), current_date, 1, 0)",
        row,
    )
    connection.execute("delete from aos_auth.tenant where tenant_id = %s", row)
    for table in ("budget", "usage"):
        found = connection.execute(
            f"select count(*) from aos_agent.{table} where tenant_id = %s", row
        ).fetchone()
        assert found == (0,)


def test_what_a_turn_used_before_it_waits_is_counted_then(scene: Scene) -> None:
    scene.skill("one() returns int language sql return 1", approval="ask")
    budget(scene, "day", max_tokens=2 * TOKENS)
    scene.says(calls(tool_call("one")), says("done"))
    turn_id = scene.start()
    assert scene.run_turn(turn_id)["status"] == "awaiting_approval"
    assert counted(scene) == (TOKENS, COST)
    scene.value(
        "select aos_agent.approve_tool_call(step_id) from aos_agent.pending_approval"
        " where turn_id = %s",
        turn_id,
    )
    assert scene.run_turn(turn_id)["answer"] == "done"
    assert counted(scene) == (2 * TOKENS, 2 * COST)


def test_what_a_turn_reads_is_what_the_view_shows(scene: Scene) -> None:
    """Two ways to one number: small statements in the path of every turn, a view for people."""
    conversation_id = scene.value("select aos_agent.open_conversation(%s)", scene.name)
    for given in ({}, {"agent_name": scene.name}, {"conversation_id": conversation_id}):
        for period in ("day", "month"):
            budget(scene, period, max_tokens=100_000, max_cost=10, **given)
    budget(scene, "total", max_tokens=100_000, conversation_id=conversation_id)
    for days_ago in (0, 1, 2, 40):
        add_usage(scene, days_ago, 7 + days_ago, Decimal("0.25"))
    scene.connection.execute(  # another agent's
        "insert into aos_agent.usage (tenant_id, agent_id, day, tokens, cost)"
        " values (%s, gen_random_uuid(), (clock_timestamp() at time zone 'UTC')::date, 3, 0.5)",
        (scene.tenant_id,),
    )
    scene.says(says("one"), says("two"))
    for question in ("first", "second"):
        scene.ask(question, conversation_id)
    scene.connection.execute(
        "update aos_core.run set finished_at = finished_at - interval '40 days'"
        " where conversation_id = %s and turn_no = 1",
        (conversation_id,),
    )
    found = scene.value(
        "select aos_agent._budgets_of(r.tenant_id, a.agent_id, a.name, r.conversation_id, null,"
        " null, 0, 0) from aos_core.run as r, aos_agent.agent as a"
        " where r.run_id = %s and a.name = %s",
        scene.run()["run_id"],
        scene.name,
    )
    read = {**found["shared"], **found["conversation"]}
    shown = scene.rows(
        "select period, case when conversation_id is not null then 'conversation'"
        " when agent_id is not null then 'agent' else 'tenant' end as scope,"
        " used_tokens, used_cost from aos_agent.budget_left where tenant_id = %s",
        scene.tenant_id,
    )
    assert len(shown) == len(found["limits"]) == 7
    for row in shown:
        tokens, cost = read[f"{row['scope']} {row['period']}"]
        assert (row["used_tokens"], float(row["used_cost"])) == (tokens, cost), row
