"""Requests and tokens a minute: of a provider, shared fairly by its tenants, and of a tenant."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from uuid import UUID

import pytest

from house import name
from turn_queue.conftest import Queue, Worker


@pytest.fixture
def provider(queue: Queue) -> Iterator[str]:
    made = name("provider")
    queue.house.insert(
        "aos_meta.provider", provider=made, driver="openai_chat", base_url="http://127.0.0.1:9"
    )
    yield made
    queue.house.rows("delete from aos_meta.provider where provider = %s", made)


@pytest.fixture
def worker(queue: Queue) -> Worker:
    """A worker in a database where time stands still unless the test lets it pass."""
    queue.house.rows(
        "create or replace function aos_core._now() returns timestamptz language sql volatile"
        " return timestamptz '2026-01-01 00:00Z' + (select c.ahead from public.queue_clock as c)"
    )
    return queue.worker()


def limit(queue: Queue, provider: str, requests: int | None, tokens: int | None = None) -> None:
    queue.house.rows(
        "update aos_meta.provider set requests_per_minute = %s, tokens_per_minute = %s"
        " where provider = %s", requests, tokens, provider,
    )  # fmt: skip


def limit_tenant(queue: Queue, tenant: UUID, requests: int | None, tokens: int | None) -> None:
    queue.house.rows(
        "update aos_auth.tenant set requests_per_minute = %s, tokens_per_minute = %s"
        " where tenant_id = %s", requests, tokens, tenant,
    )  # fmt: skip


def take(worker: Worker, provider: str, tenant: UUID) -> float:
    """Ask for one request; returns the seconds to wait, 0 when it was granted."""
    waits = worker.house.one(
        "select extract(epoch from aos_core._take_rate(%s, %s))::float", provider, tenant
    )
    return 0.0 if waits is None else float(waits)


def spend(worker: Worker, provider: str, tenant: UUID, tokens: int) -> None:
    worker.house.rows("select aos_core._spend_rate(%s, %s, %s)", provider, tenant, tokens)


def test_without_a_limit_nothing_is_counted_and_nobody_waits(
    queue: Queue, worker: Worker, provider: str
) -> None:
    tenant = queue.house.tenant()
    with worker.connection.transaction():
        assert [take(worker, provider, tenant) for _ in range(100)] == [0.0] * 100
        spend(worker, provider, tenant, 10**9)
        assert worker.advisory_locks() == 0
    assert queue.house.rows("select from aos_core.rate_bucket") == []


@pytest.mark.parametrize("most", [1, 7, 60, 100])
@pytest.mark.parametrize("of_tenant", [False, True])
def test_no_minute_has_more_requests_than_the_limit(
    queue: Queue, worker: Worker, provider: str, most: int, of_tenant: bool
) -> None:
    tenant = queue.house.tenant()
    if of_tenant:
        limit_tenant(queue, tenant, most, None)
    else:
        limit(queue, provider, most)
    granted: list[float] = []
    now = 0.0
    while now < 200:
        wait = take(worker, provider, tenant)
        if wait == 0:
            granted.append(now)
        else:
            queue.pass_time(wait)
            now += wait
    busiest = max(sum(at <= other < at + 60 - 1e-6 for other in granted) for at in granted)
    assert busiest == most  # and it can be used to the full
    assert len(granted) >= 0.85 * most * 200 / 60


def test_nothing_is_taken_by_whoever_has_to_wait(
    queue: Queue, worker: Worker, provider: str
) -> None:
    limit(queue, provider, 6)
    tenant = queue.house.tenant()
    assert take(worker, provider, tenant) == 0
    waits = [take(worker, provider, tenant) for _ in range(5)]
    assert waits == [pytest.approx(10, abs=0.002)] * 5
    queue.pass_time(4)
    assert take(worker, provider, tenant) == pytest.approx(6, abs=0.002)


def test_tokens_are_counted_when_the_call_is_over(
    queue: Queue, worker: Worker, provider: str
) -> None:
    limit(queue, provider, None, 6000)  # 600 at once, the rest at 90 a second
    tenant = queue.house.tenant()
    assert [take(worker, provider, tenant) for _ in range(3)] == [0, 0, 0]  # on their way
    spend(worker, provider, tenant, 599)
    assert take(worker, provider, tenant) == 0
    spend(worker, provider, tenant, 901)
    assert take(worker, provider, tenant) == pytest.approx(901 / (5401 / 60), abs=0.002)
    queue.pass_time(901 / (5401 / 60) + 0.002)
    assert take(worker, provider, tenant) == 0


def test_the_stricter_of_two_limits_holds(queue: Queue, worker: Worker, provider: str) -> None:
    limit(queue, provider, 60)
    strict, free = queue.house.tenant(), queue.house.tenant()
    limit_tenant(queue, strict, 1, None)
    assert take(worker, provider, strict) == 0
    assert take(worker, provider, strict) == pytest.approx(60, abs=0.002)
    assert [take(worker, provider, free) for _ in range(5)] == [0] * 5  # 6 at once, one is gone
    assert take(worker, provider, free) > 0


def test_a_limit_that_is_raised_or_lowered_holds_at_once(
    queue: Queue, worker: Worker, provider: str
) -> None:
    tenant = queue.house.tenant()
    limit(queue, provider, 100)
    assert take(worker, provider, tenant) == 0
    limit(queue, provider, 10)
    assert take(worker, provider, tenant) == 0
    assert take(worker, provider, tenant) > 0
    limit(queue, provider, None)
    assert take(worker, provider, tenant) == 0


def test_a_provider_is_shared_evenly_however_many_turns_a_tenant_has(
    queue: Queue, worker: Worker, provider: str
) -> None:
    limit(queue, provider, 60)
    crowd, few = queue.house.tenant(), queue.house.tenant()
    turns = [crowd] * 40 + [few] * 2
    got: Counter[UUID] = Counter()
    for second in range(180):
        queue.pass_time(1)
        for tenant in turns[second % 42 :] + turns[: second % 42]:  # all ask again and again
            got[tenant] += take(worker, provider, tenant) == 0
    assert got.total() > 150
    assert abs(got[crowd] - got[few]) <= 0.1 * got.total(), got


def test_a_tenant_alone_may_use_a_provider_to_the_full(
    queue: Queue, worker: Worker, provider: str
) -> None:
    limit(queue, provider, 60)
    gone, alone = queue.house.tenant(), queue.house.tenant()
    for tenant in (alone, gone):
        while take(worker, provider, tenant) == 0:
            pass
    got = 0
    for _ in range(60):  # nobody hears of the other any more
        queue.pass_time(1)
        got += take(worker, provider, alone) == 0
    assert got >= 50


def test_turns_of_a_provider_that_is_used_up_are_not_claimed(queue: Queue, worker: Worker) -> None:
    agent = queue.agent()  # of gpt-4o, which is called at openai
    turn_id = queue.submit(agent, run_after="2026-01-01 00:00Z")
    limit(queue, "openai", 1)
    try:
        assert take(worker, "openai", agent.tenant_id) == 0
        assert worker.claim() == []
        queue.pass_time(60)
        assert worker.claim() == [(turn_id, 1)]
    finally:
        limit(queue, "openai", None)


def test_old_buckets_are_cleaned_up(queue: Queue, worker: Worker, provider: str) -> None:
    limit(queue, provider, 60)
    take(worker, provider, queue.house.tenant())
    queue.pass_time(3700)
    queue.house.call("aos_core.clean_queue")
    assert queue.house.rows("select from aos_core.rate_bucket") == []
