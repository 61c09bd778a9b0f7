"""What is over costs the next claim nothing, not even while nothing can be vacuumed.

Counted in pages that a call reads: a number that does not depend on how fast the machine is.
"""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest

from cluster import Database
from house import Agent
from turn_queue.conftest import Queue, Worker

OVER = 100_000
BATCH = 10_000

#: So many turns came and went, as their claims and ends leave them: with all their versions.
_FINISH = """
with c as (insert into aos_agent.conversation (agent_id, tenant_id)
    select %(agent)s, %(tenant)s from generate_series(1, %(count)s) returning conversation_id),
r as (insert into aos_core.run (tenant_id, conversation_id, persona_version_id, turn_no, runner,
        event_no, event_hash, status, is_queued, finished_at)
    select %(tenant)s, c.conversation_id, %(version)s, 1, 'database', 1, '', 'completed', true,
           now()
      from c returning run_id, conversation_id)
insert into aos_core.queue (run_id, tenant_id, conversation_id, agent_id, submitted_at, run_after,
    runner, provider)
select r.run_id, %(tenant)s, r.conversation_id, %(agent)s, aos_core._now(), aos_core._now(),
       'database', 'openai' from r
"""


def come_and_go(queue: Queue, agent: Agent, count: int) -> None:
    """Let turns be queued, claimed and finished, in few statements and without their work."""
    connection = queue.house.connection
    version = queue.house.one(
        "select persona_version_id from aos_core.run where tenant_id = %s limit 1",
        agent.tenant_id,
    )
    given = {"agent": agent.agent_id, "tenant": agent.tenant_id, "version": version}
    connection.execute("set session_replication_role = replica")
    connection.execute(_FINISH, {**given, "count": count})
    connection.execute(
        "update aos_core.queue set worker = 'past', claimed_at = aos_core._now(),"
        " lease_until = aos_core._now(), fence = 1 where worker is null and tenant_id = %s",
        (agent.tenant_id,),
    )
    connection.execute("delete from aos_core.queue where worker = 'past'")
    connection.execute("reset session_replication_role")


def pages(worker: Worker, call: str) -> int:
    """How many pages a call reads, that of its plans and of the catalogue left out."""
    worker.connection.execute(f"select {call}")
    counts = []
    for _ in range(3):
        explained = worker.house.one(f"explain (analyze, buffers, format json) select {call}")
        plan = explained[0]["Plan"]
        counts.append(plan["Shared Hit Blocks"] + plan["Shared Read Blocks"])
    return min(counts)


def calls(worker: Worker) -> dict[str, str]:
    """What workers do again and again."""
    return {
        "claim": f"aos_core._claim('{worker.name}', 'database', 1, '60 s', true)",
        "heartbeat": f"aos_core._keep_claims('{worker.name}', '60 s')",
        "look for dead workers": f"aos_core._release_dead('{worker.name}')",
    }


def cost(queue: Queue, worker: Worker, agent: Agent) -> dict[str, int]:
    """What the calls read, with four turns waiting, which the measured claims take."""
    turns = [queue.submit(agent) for _ in range(4)]
    found = {label: pages(worker, call) for label, call in calls(worker).items()}
    assert len(worker.keep()) == 4
    for turn_id in turns:
        worker.finish(turn_id, 1)
    return found


@pytest.fixture
def holder(timed_database: Database) -> Iterator[psycopg.Connection]:
    """A transaction of somebody else that is open all the time."""
    with timed_database.connect() as connection:
        connection.execute("begin isolation level repeatable read")
        connection.execute("select count(*) from aos_core.queue")
        yield connection
        connection.execute("rollback")


def dead_entries(queue: Queue) -> int:
    queue.house.rows("vacuum aos_core.queue")
    return int(
        queue.house.one(
            "select (reltuples < 100)::int * pg_relation_size('aos_core.queue_waiting') / 60"
            " from pg_class where oid = 'aos_core.queue'::regclass"
        )
    )


def test_a_hundred_thousand_turns_that_are_over_cost_a_claim_nothing(
    queue: Queue, holder: psycopg.Connection
) -> None:
    worker = queue.worker()
    agent = queue.agent()
    worker.finish(queue.submit(agent), worker.claim()[0][1])
    empty = cost(queue, worker, agent)
    for _ in range(OVER // BATCH):
        come_and_go(queue, agent, BATCH)
        queue.pass_time(6)
        assert worker.claim() == []  # the workers go on meanwhile
    assert queue.house.one("select count(*) from aos_core.run") > OVER
    assert dead_entries(queue) > OVER / 2  # the vacuum could take nothing away
    after = cost(queue, worker, agent)
    for label in empty:
        assert after[label] <= 1.5 * empty[label] + 20, (empty, after)
    # Where reading begins is what makes the difference.
    queue.house.rows("update aos_core.queue_lane set begins_at = '-infinity'")
    assert cost(queue, worker, agent)["claim"] > 20 * empty["claim"]
    # And it is found out anew.
    queue.pass_time(6)
    assert worker.claim() == []
    again = cost(queue, worker, agent)
    for label in empty:
        assert again[label] <= 1.5 * empty[label] + 20, (empty, again)


def test_where_reading_begins_waits_for_whoever_is_just_submitting(queue: Queue) -> None:
    worker = queue.worker()
    agent = queue.agent()
    queue.submit(agent)
    worker.finish(*worker.claim()[0])
    with queue.database.connect() as slow:
        conversation_id = queue.house.conversation(agent)
        slow.execute("begin")
        [[turn_id]] = slow.execute(
            "select aos_agent.submit(%s, 'hello')", (conversation_id,)
        ).fetchall()
        for _ in range(3):
            queue.pass_time(60)
            assert worker.claim() == []
        slow.execute("commit")
    assert worker.claim() == [(turn_id, 1)]


def test_where_reading_begins_waits_for_whoever_is_just_claiming(queue: Queue) -> None:
    worker, other = queue.worker("external"), queue.worker("external")
    agent = queue.house.agent()
    turns = [queue.submit(agent) for _ in range(2)]
    worker.claim()
    worker.finish(turns[0], 1)
    worker.connection.execute("begin")
    assert worker.claim(lease="2 minutes") == [(turns[1], 1)]
    for _ in range(3):
        queue.pass_time(20)
        assert other.claim() == []
    worker.connection.execute("commit")
    queue.pass_time(20)
    assert other.claim() == []
    assert worker.keep("1 second") == {(turns[1], 1)}
    queue.pass_time(180)
    assert other.release_dead() == 1


def test_a_clock_that_is_set_back_hides_nothing(queue: Queue) -> None:
    worker = queue.worker()
    agent = queue.agent()
    queue.submit(agent)
    worker.finish(*worker.claim()[0])
    queue.pass_time(3600)
    assert worker.claim() == []
    queue.pass_time(-3600)
    turn_id = queue.submit(agent)
    [(claimed, fence)] = worker.claim()
    assert claimed == turn_id
    assert worker.keep() == {(turn_id, fence)}


def test_the_claim_reads_the_index_in_its_order(queue: Queue) -> None:
    """The plan of a session is made once, perhaps while the queue is empty."""
    worker = queue.worker()
    worker.connection.execute("reset role; load 'auto_explain'")
    notices: list[str] = []
    worker.connection.add_notice_handler(lambda n: notices.append(n.message_primary or ""))
    worker.connection.execute(
        "set auto_explain.log_min_duration = 0; set auto_explain.log_nested_statements = on;"
        " set auto_explain.log_level = notice; set role pgagentos_kernel"
    )
    queue.submit(queue.agent())
    assert len(worker.claim()) == 1
    [plan] = [text for text in notices if "for no key update of q, c skip locked" in text]
    assert "Index Scan using queue_waiting" in plan
    assert "Index Scan using conversation_pkey" in plan
    assert "Sort" not in plan
    assert "Seq Scan" not in plan
