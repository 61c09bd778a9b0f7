"""What is said is queued once, joins what waits, and is kept for later when that is asked for."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from uuid import UUID

import pytest

from kernel.background import run_in_background, wait_until_blocked
from turn_queue.conftest import Queue


def messages(queue: Queue, turn_id: UUID) -> list[str]:
    found = queue.house.rows(
        "select content from aos_agent.message where run_id = %s order by message_no", turn_id
    )
    return [content for (content,) in found]


def test_submit_adds_the_message_starts_the_turn_and_queues_it(queue: Queue) -> None:
    agent = queue.agent()
    turn_id = queue.submit(agent, "hello", priority=3)
    assert messages(queue, turn_id) == ["hello"]
    assert queue.house.one("select is_queued from aos_core.run where run_id = %s", turn_id)
    assert queue.view(turn_id, "agent_name, status, turn_status, priority, worker, attempt") == (
        agent.name, "waiting", "queued", 3, None, 0,
    )  # fmt: skip


def test_a_turn_that_is_not_queued_has_no_row_and_no_mark(queue: Queue) -> None:
    turn_id = queue.house.turn(queue.agent())
    assert queue.row(turn_id, "run_id") is None
    assert not queue.house.one("select is_queued from aos_core.run where run_id = %s", turn_id)


def test_a_turn_for_later_is_delayed(queue: Queue) -> None:
    worker = queue.worker()
    later = datetime.now(timezone.utc) + timedelta(hours=1)
    turn_id = queue.submit(queue.agent(), run_after=later)
    assert queue.view(turn_id, "status, run_after") == ("delayed", later)
    assert worker.claim() == []
    queue.pass_time(3599)
    assert worker.claim() == []
    queue.pass_time(2)
    assert worker.claim() == [(turn_id, 1)]


def test_a_message_joins_the_turn_that_still_waits_and_makes_it_more_urgent(queue: Queue) -> None:
    later = datetime.now(timezone.utc) + timedelta(hours=1)
    conversation_id = queue.house.conversation(queue.agent())
    first = queue.house.call("aos_agent.submit", conversation_id, "one", run_after=later)
    queue.house.say(conversation_id, "two")
    assert queue.house.call("aos_agent.submit", conversation_id, "three", priority=9) == first
    assert messages(queue, first) == ["one", "two", "three"]
    assert queue.view(first, "status, priority") == ("waiting", 9)
    size = "select transcript_bytes from aos_core.run where run_id = %s"
    assert queue.house.one(size, first) == len("onetwothree")
    # less urgent words do not make it less urgent
    assert queue.house.call("aos_agent.submit", conversation_id, "four", run_after=later) == first
    assert queue.view(first, "status, priority") == ("waiting", 9)


def test_nothing_joins_a_turn_that_somebody_has_had(queue: Queue) -> None:
    worker = queue.worker()
    conversation_id = queue.house.conversation(queue.agent())
    turn_id = queue.house.call("aos_agent.submit", conversation_id, "one")
    [(_, fence)] = worker.claim()
    with queue.house.refused("OS003", f"turn {turn_id} of this conversation is") as under_way:
        queue.house.call("aos_agent.submit", conversation_id, "two")
    assert "cancel_turn" in under_way.hint
    assert worker.give_back(turn_id, fence) == "queued"
    with queue.house.refused("OS003", "is under way"):
        queue.house.call("aos_agent.submit", conversation_id, "two")
    assert messages(queue, turn_id) == ["one"]


def test_nothing_joins_a_turn_that_is_just_being_claimed(queue: Queue) -> None:
    worker = queue.worker()
    conversation_id = queue.house.conversation(queue.agent())
    turn_id = queue.house.call("aos_agent.submit", conversation_id, "one")
    with run_in_background(queue.database) as submit, queue.database.connect() as observer:
        worker.connection.execute("begin")
        assert worker.claim() == [(turn_id, 1)]
        other = queue.worker()
        pid = other.connection.info.backend_pid
        waiting = submit(
            other.house.call, "aos_agent.submit", conversation_id, "two"
        )  # for the conversation, which the claim holds
        wait_until_blocked(observer, pid)
        worker.connection.execute("commit")
        with queue.house.refused("OS003", "is under way"):
            waiting.result()


def test_the_next_turn_is_queued_when_the_last_is_over(queue: Queue) -> None:
    worker = queue.worker()
    conversation_id = queue.house.conversation(queue.agent())
    first = queue.house.call("aos_agent.submit", conversation_id, "one")
    worker.finish(*worker.claim()[0])
    assert queue.row(first, "run_id") is None
    second = queue.house.call("aos_agent.submit", conversation_id, "two")
    assert second != first
    assert messages(queue, second) == ["two"]


def test_a_turn_that_somebody_runs_by_hand_is_not_joined(queue: Queue) -> None:
    conversation_id = queue.house.conversation(queue.agent())
    queue.house.say(conversation_id)
    queue.house.start(conversation_id)
    with queue.house.refused("OS003", "is under way, it is queued"):
        queue.house.call("aos_agent.submit", conversation_id, "two")


@pytest.mark.parametrize("priority", [-101, 101, 2**31 - 1])
def test_a_priority_out_of_range_is_refused(queue: Queue, priority: int) -> None:
    with queue.house.refused("OS001", "a priority is between"):
        queue.submit(queue.agent(), priority=priority)


def test_an_empty_message_is_refused(queue: Queue) -> None:
    with queue.house.refused("OS001", "the message is empty"):
        queue.submit(queue.agent(), "")


def test_an_unknown_conversation_is_refused(queue: Queue) -> None:
    with queue.house.refused("OS002", "there is no conversation"):
        queue.house.call("aos_agent.submit", UUID(int=7), "hello")


def test_the_same_key_does_the_same_thing_once(queue: Queue) -> None:
    worker = queue.worker()
    agent = queue.agent()
    conversation_id = queue.house.conversation(agent)
    first = queue.house.call("aos_agent.submit", conversation_id, "one", dedup_key="order 1")
    assert queue.house.call("aos_agent.submit", conversation_id, "x", dedup_key="order 1") == first
    worker.finish(*worker.claim()[0])
    # also when the turn is over, and in another conversation of the tenant
    assert queue.house.call("aos_agent.submit", conversation_id, "x", dedup_key="order 1") == first
    assert queue.submit(agent, "x", dedup_key="order 1") == first
    assert messages(queue, first) == ["one"]
    assert queue.house.rows("select count(*) from aos_core.queue") == [(0,)]
    assert queue.house.call("aos_agent.submit", conversation_id, "y", dedup_key="order 2") != first


def test_a_key_of_another_tenant_is_another_key(queue: Queue) -> None:
    assert queue.submit(queue.agent(), dedup_key="k") != queue.submit(queue.agent(), dedup_key="k")


def test_two_sessions_with_the_same_key_get_the_same_turn(queue: Queue) -> None:
    agent = queue.agent()
    first, second = queue.worker(), queue.worker()
    ours, theirs = queue.house.conversation(agent), queue.house.conversation(agent)
    with run_in_background(queue.database) as submit, queue.database.connect() as observer:
        first.connection.execute("begin")
        turn_id = first.house.call("aos_agent.submit", ours, "one", dedup_key="twice")
        waiting = submit(
            lambda: second.house.call("aos_agent.submit", theirs, "two", dedup_key="twice")
        )
        wait_until_blocked(observer, second.connection.info.backend_pid)
        first.connection.execute("commit")
        assert waiting.result() == turn_id
    assert messages(queue, turn_id) == ["one"]
    assert queue.row(turn_id, "true") == (True,)


def test_a_key_whose_first_call_was_undone_is_free(queue: Queue) -> None:
    agent = queue.agent()
    with queue.house.connection.transaction(force_rollback=True):
        first = queue.submit(agent, dedup_key="undone")
    second = queue.submit(agent, dedup_key="undone")
    assert second != first
    assert queue.row(first, "true") is None


def test_a_key_is_forgotten_after_its_time(queue: Queue) -> None:
    agent = queue.agent()
    first = queue.submit(agent, dedup_key="weekly")
    queue.pass_time(7 * 86400 - 60)
    assert queue.submit(agent, dedup_key="weekly") == first
    queue.pass_time(120)
    second = queue.submit(agent, dedup_key="weekly")
    assert second != first
    assert queue.submit(agent, dedup_key="weekly") == second


def test_a_key_goes_with_its_turn(queue: Queue) -> None:
    turn_id = queue.submit(queue.agent(), dedup_key="gone")
    queue.house.rows(
        "delete from aos_agent.conversation as c using aos_core.run as r"
        " where r.run_id = %s and c.conversation_id = r.conversation_id",
        turn_id,
    )
    assert queue.row(turn_id, "true") is None
    assert queue.house.rows("select from aos_core.dedup_key where run_id = %s", turn_id) == []


def test_submit_wakes_workers_at_the_commit(queue: Queue) -> None:
    listener = queue.worker()
    listener.connection.execute("listen pgagentos_queue")
    agent = queue.agent()
    with queue.house.connection.transaction():
        queue.submit(agent)
        queue.submit(agent, run_after=datetime.now(timezone.utc) + timedelta(days=1))
        assert list(listener.connection.notifies(timeout=0.05)) == []
    notices = list(listener.connection.notifies(timeout=5, stop_after=1))
    assert [notice.payload for notice in notices] == ["database"]


def test_a_turn_of_an_outside_agent_waits_for_outside_workers(queue: Queue) -> None:
    turn_id = queue.submit(queue.house.agent())
    assert queue.row(turn_id, "runner") == ("external",)
    inside, outside = queue.worker(), queue.worker("external")
    assert inside.claim() == []
    assert outside.claim() == [(turn_id, 1)]


def test_a_turn_keeps_its_place_when_a_message_joins_it(queue: Queue) -> None:
    worker = queue.worker()
    agent = queue.agent()
    conversation_id = queue.house.conversation(agent)
    first = queue.house.call("aos_agent.submit", conversation_id, "one")
    second = queue.submit(agent)
    queue.pass_time(60)
    assert queue.house.call("aos_agent.submit", conversation_id, "two") == first
    # also when it gets a priority that was used only later than it was submitted
    third = queue.submit(agent, priority=5)
    worker.finish(*worker.claim()[0])
    queue.pass_time(60)
    assert worker.claim_turn(third) is None
    assert queue.house.call("aos_agent.submit", conversation_id, "three", priority=5) == first
    fourth = queue.submit(agent, priority=5)
    assert [turn for turn, _ in worker.claim(3)] == [first, fourth, second]
