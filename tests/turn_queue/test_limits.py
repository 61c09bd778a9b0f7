"""Tenants take turns, and nobody has more under way than its limit allows."""

from __future__ import annotations

from collections import Counter
from uuid import UUID

from house import Agent
from kernel.background import run_in_background, wait_until_blocked
from turn_queue.conftest import Claims, Queue


def tenants_of(queue: Queue, claims: Claims) -> Counter[UUID]:
    found = queue.house.rows(
        "select r.tenant_id from aos_core.run as r where r.run_id = any (%s)",
        [turn for turn, _ in claims],
    )
    return Counter(tenant for (tenant,) in found)


def fill(queue: Queue, agent: Agent, turns: int) -> None:
    """Queue many turns of one agent, each in a conversation of its own, in few statements."""
    queue.house.rows(
        "with c as (insert into aos_agent.conversation (agent_id, tenant_id)"
        "   select %s, %s from generate_series(1, %s) returning conversation_id)"
        " select aos_agent.submit(c.conversation_id, 'hello') from c",
        agent.agent_id, agent.tenant_id, turns,
    )  # fmt: skip


def test_a_tenant_with_ten_thousand_turns_does_not_starve_one_with_three(queue: Queue) -> None:
    worker = queue.worker()
    crowd, few = queue.agent(), queue.agent()
    fill(queue, crowd, 10_000)
    fill(queue, few, 3)
    claimed = worker.claim(8)
    assert tenants_of(queue, claimed) == {crowd.tenant_id: 5, few.tenant_id: 3}


def test_one_by_one_each_tenant_gets_its_turn_by_chance(queue: Queue) -> None:
    worker = queue.worker()
    agents = [queue.agent() for _ in range(3)]
    for agent in agents:
        fill(queue, agent, 60)
    first = [worker.claim()[0] for _ in range(90)]
    shares = tenants_of(queue, first)
    # that one of three equal tenants gets fewer than 8 of 90 happens once in 10^8 runs
    assert all(shares[agent.tenant_id] >= 8 for agent in agents), shares


def test_what_one_tenant_does_not_need_goes_to_the_others(queue: Queue) -> None:
    worker = queue.worker()
    agents = [queue.agent() for _ in range(4)]
    for agent, turns in zip(agents, (1, 2, 30, 30), strict=True):
        fill(queue, agent, turns)
    shares = tenants_of(queue, worker.claim(40))
    assert shares.total() == 40
    assert [shares[agent.tenant_id] for agent in agents[:2]] == [1, 2]
    assert {shares[agent.tenant_id] for agent in agents[2:]} in ({18, 19}, {20, 17}, {16, 21})


def test_a_tenant_has_no_more_under_way_than_its_limit(queue: Queue) -> None:
    worker, other = queue.worker(), queue.worker()
    limited, free = queue.agent(), queue.agent()
    queue.house.rows(
        "update aos_auth.tenant set max_concurrent_turns = 2 where tenant_id = %s",
        limited.tenant_id,
    )
    fill(queue, limited, 5)
    fill(queue, free, 5)
    claims = worker.claim(20)
    assert tenants_of(queue, claims) == {limited.tenant_id: 2, free.tenant_id: 5}
    assert other.claim(20) == []
    mine = [c for c in claims if tenants_of(queue, [c])[limited.tenant_id]]
    worker.finish(*mine[0])
    assert tenants_of(queue, other.claim(20)) == {limited.tenant_id: 1}


def test_an_agent_has_no_more_under_way_than_its_limit(queue: Queue) -> None:
    worker = queue.worker()
    slow = queue.agent(max_concurrent_turns=1)
    fast = queue.house.agent(slow.tenant_id, slow.persona_id, runner="database")
    fill(queue, slow, 4)
    fill(queue, fast, 3)
    claims = worker.claim(20)
    agents = queue.house.rows(
        "select agent_name, count(*) from aos_agent.queue where worker is not null group by 1"
    )
    assert dict(agents) == {slow.name: 1, fast.name: 3}
    [turn] = [t for t, _ in claims if queue.view(t, "agent_name") == (slow.name,)]
    assert worker.claim(20) == []
    worker.give_back(turn, 1)
    assert len(worker.claim(20)) == 1


def test_two_claims_at_once_do_not_both_take_the_last_place(queue: Queue) -> None:
    first, second = queue.worker(), queue.worker()
    agent = queue.agent(max_concurrent_turns=1)
    fill(queue, agent, 3)
    with run_in_background(queue.database) as submit, queue.database.connect() as observer:
        first.connection.execute("begin")
        assert len(first.claim(2)) == 1
        waiting = submit(second.claim, 2)
        wait_until_blocked(observer, second.connection.info.backend_pid)
        first.connection.execute("commit")
        assert waiting.result() == []


def test_a_turn_that_somebody_drives_himself_counts_but_is_not_refused(queue: Queue) -> None:
    worker = queue.worker()
    agent = queue.agent(max_concurrent_turns=1)
    fill(queue, agent, 2)
    [(_, fence)] = worker.claim(2)
    plain = queue.house.turn(agent)
    assert worker.claim_turn(plain) == fence == 1
    assert worker.claim(2) == []


def test_the_turns_of_an_inactive_tenant_wait(queue: Queue) -> None:
    worker = queue.worker()
    agent = queue.agent()
    turn_id = queue.submit(agent)
    switch = "update aos_auth.tenant set is_active = %s where tenant_id = %s"
    queue.house.rows(switch, False, agent.tenant_id)
    assert worker.claim() == []
    queue.house.rows(switch, True, agent.tenant_id)
    assert worker.claim() == [(turn_id, 1)]
