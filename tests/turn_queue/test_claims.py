"""A turn is driven by one worker at a time; what a dead one had goes to the next."""

from __future__ import annotations

from collections.abc import Callable
from uuid import UUID

import psycopg
import pytest
from psycopg import IsolationLevel

from kernel.background import run_in_background, wait_until_blocked
from turn_queue.conftest import Queue, Worker

FAILURE = {"kind": "server_error", "sqlstate": "OS108", "message": "no luck", "hint": None}


def attempt_and_error(queue: Queue, turn_id: UUID) -> tuple[int, str | None]:
    row = queue.row(turn_id, "attempt, error ->> 'kind'")
    assert row is not None
    return row[0], row[1]


def test_a_claimed_turn_is_claimed_by_nobody_else(queue: Queue) -> None:
    first, second = queue.worker(), queue.worker()
    turn_id = queue.submit(queue.agent())
    assert first.claim(5) == [(turn_id, 1)]
    assert second.claim(5) == []
    assert queue.view(turn_id, "status, worker") == ("claimed", first.name)
    with second.house.refused("OS004", f"turn {turn_id} is driven by somebody else"):
        second.claim_turn(turn_id)


def test_two_claims_at_once_share_what_there_is(queue: Queue) -> None:
    first, second = queue.worker(), queue.worker()
    agent = queue.agent()
    turns = {queue.submit(agent) for _ in range(6)}
    first.connection.execute("begin")
    ours = first.claim(3)
    theirs = second.claim(6)  # waits for nothing
    first.connection.execute("commit")
    assert len(ours) == len(theirs) == 3
    assert {turn for turn, _ in ours + theirs} == turns


def test_the_more_urgent_comes_first_and_then_the_longest_waiting(queue: Queue) -> None:
    worker = queue.worker()
    agent = queue.agent()
    turns = [queue.submit(agent, priority=p) for p in (0, 5, 0, -3, 5)]
    expected = [turns[n] for n in (1, 4, 0, 2, 3)]
    assert [worker.claim()[0][0] for _ in turns] == expected


def test_a_turn_whose_conversation_is_locked_is_passed_over(queue: Queue) -> None:
    worker = queue.worker()
    agent = queue.agent()
    busy, free = queue.submit(agent), queue.submit(agent)
    with queue.house.connection.transaction():
        queue.house.call("aos_agent.cancel_turn", busy)
        assert worker.claim(5) == [(free, 1)]
    assert worker.claim(5) == []


def test_what_a_former_holder_brings_is_refused(queue: Queue) -> None:
    first, second = queue.worker("external"), queue.worker("external")
    turn_id = queue.submit(queue.house.agent())
    [(_, fence)] = first.claim(lease="10 seconds")
    queue.pass_time(11)
    first.hold(turn_id, fence)  # late, but nobody else had taken it: renewed to 60 seconds
    queue.pass_time(59)
    assert second.release_dead() == 0
    queue.pass_time(2)
    assert second.release_dead() == 1
    queue.pass_time(10)
    assert second.claim() == [(turn_id, fence + 1)]
    late: list[Callable[[], object]] = [
        lambda: first.hold(turn_id, fence),
        lambda: first.give_back(turn_id, fence),
        lambda: first.finish(turn_id, fence),
    ]
    for write in late:
        with first.house.refused("OS006", f"turn {turn_id} is not yours any more"):
            write()
    assert first.keep() == set()
    assert second.keep() == {(turn_id, fence + 1)}
    second.finish(turn_id, fence + 1)
    assert queue.house.status(turn_id) == "completed"
    assert queue.row(turn_id, "true") is None


def test_a_claim_that_was_given_back_is_over(queue: Queue) -> None:
    worker = queue.worker()
    turn_id = queue.submit(queue.agent())
    [(_, fence)] = worker.claim()
    assert worker.give_back(turn_id, fence) == "queued"
    assert queue.view(turn_id, "status, worker, attempt") == ("waiting", None, 0)
    with worker.house.refused("OS006", "is not yours any more"):
        worker.hold(turn_id, fence)
    assert worker.claim() == [(turn_id, fence + 1)]


def test_the_turn_of_a_dead_backend_is_taken_over_at_once(queue: Queue) -> None:
    first, second = queue.worker(), queue.worker()
    turn_id = queue.submit(queue.agent())
    first.claim()
    assert second.claim() == []
    first.die()
    assert second.claim() == [(turn_id, 2)]
    assert attempt_and_error(queue, turn_id) == (1, "abandoned")


def test_a_turn_that_was_lost_once_is_not_claimed_without_its_lock(queue: Queue) -> None:
    """Without the lock only the end of the lease would show that the next one died too."""
    first, second, third = queue.worker(), queue.worker(), queue.worker()
    agent = queue.agent()
    turn_id = queue.submit(agent)
    first.claim()
    first.die()
    assert second.claim() == [(turn_id, 2)]
    # It gives the turn back, and has not come to let go of the lock yet.
    queue.house.call("aos_core._give_back", turn_id, 2)
    assert third.claim() == []
    behind = queue.submit(agent)
    assert third.claim() == [(behind, 1)]  # which is kept up by no lock before it
    second.unlock(turn_id)
    assert third.claim() == [(turn_id, 3)]
    third.die()
    assert second.release_dead() == 2


def test_a_second_dead_backend_in_a_row_makes_the_turn_wait(queue: Queue) -> None:
    turn_id = queue.submit(queue.agent())
    for _ in range(2):
        worker = queue.worker()
        assert [turn for turn, _ in worker.claim()] == [turn_id]
        worker.die()
    survivor = queue.worker()
    assert survivor.claim() == []
    assert attempt_and_error(queue, turn_id) == (2, "abandoned")
    assert queue.view(turn_id, "status") == ("delayed",)
    queue.pass_time(10)
    assert survivor.claim() == [(turn_id, 3)]


def test_a_worker_that_lives_keeps_its_turns_with_a_heartbeat(queue: Queue) -> None:
    first, second = queue.worker("external"), queue.worker("external")
    turns = {queue.submit(queue.house.agent()) for _ in range(3)}
    claims = set(first.claim(3, lease="10 seconds"))
    assert {turn for turn, _ in claims} == turns
    for _ in range(3):
        queue.pass_time(9)
        assert first.keep("10 seconds") == claims
        assert second.claim(3) == []


def test_a_lease_that_is_over_is_taken_over_though_the_backend_hangs(queue: Queue) -> None:
    hanging, second = queue.worker(), queue.worker()
    turn_id = queue.submit(queue.agent())
    [(_, fence)] = hanging.claim(lease="10 seconds")
    queue.pass_time(11)
    assert second.release_dead() == 1
    queue.pass_time(6)
    assert second.claim() == [(turn_id, fence + 1)]  # hanging has the advisory lock still
    assert queue.row(turn_id, "has_lock") == (False,)
    with hanging.house.refused("OS006", "is not yours any more"):
        hanging.hold(turn_id, fence)
    second.finish(turn_id, fence + 1)


def test_a_heartbeat_waits_for_nobody_and_leaves_no_index_entry(queue: Queue) -> None:
    worker = queue.worker()
    agent = queue.agent()
    turns = [queue.submit(agent) for _ in range(4)]
    claims = set(worker.claim(4))
    [[locked_fence]] = [[fence for turn, fence in claims if turn == turns[0]]]
    other = queue.worker()
    with other.connection.transaction():
        other.hold(turns[0], locked_fence)
        assert worker.keep() == claims
    queue.house.rows("vacuum aos_core.queue")
    worker.flush_statistics()
    before = _updates(queue)
    for _ in range(20):
        assert worker.keep() == claims
    worker.flush_statistics()
    after = _updates(queue)
    assert after[0] - before[0] == 80
    assert after[1] - before[1] == 80  # all of them on their own page


def _updates(queue: Queue) -> tuple[int, int]:
    """Rows of the queue that were updated, and those of them without a new index entry."""
    [row] = queue.house.rows(
        "select n_tup_upd, n_tup_hot_upd from pg_stat_user_tables"
        " where relid = 'aos_core.queue'::regclass"
    )
    return row[0], row[1]


def test_a_cancelled_turn_leaves_the_queue_and_its_worker_notices(queue: Queue) -> None:
    worker = queue.worker()
    turn_id = queue.submit(queue.agent())
    [(_, fence)] = worker.claim()
    assert queue.house.call("aos_agent.cancel_turn", turn_id)["status"] == "cancelled"
    assert queue.row(turn_id, "true") is None
    assert worker.keep() == set()
    with worker.house.refused("OS006", "is not yours any more"):
        worker.hold(turn_id, fence)


def test_one_turn_can_be_claimed_by_name_queued_or_not(queue: Queue) -> None:
    worker, other = queue.worker(), queue.worker()
    agent = queue.agent()
    queued, plain = queue.submit(agent), queue.house.turn(agent)
    assert worker.claim_turn(queued) == 1
    assert worker.claim_turn(plain) == 1
    assert other.claim(2) == []
    assert worker.keep() == {(queued, 1), (plain, 1)}
    worker.finish(plain, 1)
    assert worker.claim_turn(plain) is None  # it is over
    assert queue.row(plain, "true") is None


def test_a_claim_by_name_that_is_refused_leaves_no_lock(queue: Queue) -> None:
    worker, other = queue.worker(), queue.worker()
    turn_id = queue.submit(queue.agent())
    [(_, fence)] = worker.claim()
    with other.house.refused("OS004", "is driven by somebody else"):
        other.claim_turn(turn_id)
    worker.give_back(turn_id, fence)
    with worker.connection.transaction():
        worker.house.rows("select aos_agent._lock_turn(%s)", turn_id)
        with other.house.refused("OS004", "is busy with another turn"):
            other.claim_turn(turn_id)
    with other.house.refused("OS002", "there is no turn"):
        other.claim_turn(UUID(int=3))
    assert other.advisory_locks() == 0
    assert other.claim_turn(turn_id) == fence + 1


def test_a_claim_by_name_can_wait_for_the_backend_that_drives_the_turn(queue: Queue) -> None:
    worker, other = queue.worker(), queue.worker()
    turn_id = queue.submit(queue.agent())
    [(_, fence)] = worker.claim()
    with run_in_background(queue.database) as submit, queue.database.connect() as observer:
        waiting = submit(lambda: other.claim_turn(turn_id, nowait=False))
        wait_until_blocked(observer, other.connection.info.backend_pid)
        worker.hold(turn_id, fence)  # the one that waits is in nobody's way
        worker.give_back(turn_id, fence)
        assert waiting.result() == fence + 1


def test_a_claim_by_name_takes_over_from_a_dead_backend(queue: Queue) -> None:
    worker, other = queue.worker(), queue.worker()
    turn_id = queue.submit(queue.agent())
    worker.claim()
    worker.die()
    assert other.claim_turn(turn_id) == 2
    assert queue.row(turn_id, "attempt") == (1,)


def test_progress_makes_earlier_failures_forgotten(queue: Queue) -> None:
    worker = queue.worker()
    turn_id = queue.submit(queue.agent())
    [(_, fence)] = worker.claim()
    worker.give_back(turn_id, fence, FAILURE)
    queue.pass_time(10)
    [(_, fence)] = worker.claim()
    worker.hold(turn_id, fence)
    assert attempt_and_error(queue, turn_id)[0] == 1
    worker.hold(turn_id, fence, made_progress=True)
    assert attempt_and_error(queue, turn_id)[0] == 0


def test_a_worker_without_a_name_or_a_lease_is_refused(queue: Queue) -> None:
    worker = queue.worker()
    with worker.house.refused("OS001", "the lease has to be longer than nothing"):
        worker.claim(lease="0")
    with worker.house.refused("OS001", "one call claims 1 to 10000 turns"):
        worker.claim(0)
    worker.name = ""
    with worker.house.refused("OS001", "a worker needs a name"):
        worker.claim()


@pytest.mark.parametrize("level", [IsolationLevel.REPEATABLE_READ, IsolationLevel.SERIALIZABLE])
def test_a_claim_that_could_not_see_the_last_commit_is_refused(
    queue: Queue, level: IsolationLevel
) -> None:
    worker = queue.worker()
    worker.connection.isolation_level = level
    with (
        worker.house.refused("OS003", "turns are not claimed at the isolation level"),
        worker.connection.transaction(),
    ):
        worker.claim()


@pytest.mark.parametrize("level", [IsolationLevel.REPEATABLE_READ, IsolationLevel.SERIALIZABLE])
def test_what_is_submitted_at_a_strict_isolation_level_is_found(
    queue: Queue, level: IsolationLevel
) -> None:
    worker = queue.worker()
    agent = queue.agent()
    conversation_id = queue.house.conversation(agent)
    worker.finish(*_submitted_and_claimed(queue, worker))
    with queue.database.connect() as connection:
        connection.isolation_level = level
        with connection.transaction():
            connection.execute("select 1")  # takes the snapshot
            queue.house.call("aos_core.clean_queue")  # takes the tenant's lanes away
            connection.execute("select aos_agent.submit(%s, 'hello')", (conversation_id,))
    assert len(worker.claim()) == 1


@pytest.mark.parametrize("level", [IsolationLevel.REPEATABLE_READ, IsolationLevel.SERIALIZABLE])
def test_who_submits_much_at_a_strict_isolation_level_slows_down_nobodys_claims(
    queue: Queue, level: IsolationLevel
) -> None:
    """He cannot see what others have just noted, so he notes it again each time."""
    worker = queue.worker()
    agent = queue.agent()
    conversation_id = queue.house.conversation(agent)
    with queue.database.connect() as connection:
        connection.isolation_level = level
        for _ in range(10):
            with connection.transaction():
                connection.execute("select aos_agent.submit(%s, 'hello')", (conversation_id,))
    count = "select count(*) from aos_core.queue_lane where runner is not null"
    assert queue.house.one(count) == 10
    queue.pass_time(6)
    assert len(worker.claim()) == 1
    assert queue.house.one(count) == 1
    queue.submit(agent)
    assert len(worker.claim()) == 1


def _submitted_and_claimed(queue: Queue, worker: Worker) -> tuple[UUID, int]:
    queue.submit(queue.agent())
    [claim] = worker.claim()
    return claim


def test_a_statement_that_is_cancelled_while_it_waits_leaves_no_lock(queue: Queue) -> None:
    worker = queue.worker()
    turn_id = queue.submit(queue.agent())
    with queue.house.connection.transaction():
        queue.house.rows("select aos_agent._lock_turn(%s)", turn_id)
        worker.connection.execute("set statement_timeout = '100ms'")
        with pytest.raises(psycopg.errors.QueryCanceled):
            worker.claim_turn(turn_id, nowait=False)
    assert worker.advisory_locks() == 0
