"""A turn that fails again and again is set aside with the reason, and can be tried once more."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from turn_queue.conftest import Queue, Worker

FAILURE = {"kind": "server_error", "sqlstate": "OS108", "message": "no luck", "hint": None}


def fail(queue: Queue, worker: Worker, turn_id: UUID, times: int) -> list[str]:
    """Claim a turn and give it back with an error, so many times."""
    states = []
    for _ in range(times):
        [(claimed, fence)] = worker.claim()
        assert claimed == turn_id
        states.append(worker.give_back(turn_id, fence, FAILURE))
        queue.pass_time(3600)
    return states


def dead_letter(queue: Queue, worker: Worker, agent: Any = None) -> UUID:
    turn_id = queue.submit(agent or queue.agent(), "please")
    assert fail(queue, worker, turn_id, 5)[-1] == "failed"
    return turn_id


def test_after_five_failures_a_turn_is_a_dead_letter_with_the_reason(queue: Queue) -> None:
    worker = queue.worker()
    turn_id = queue.submit(queue.agent(), "please")
    assert fail(queue, worker, turn_id, 5) == ["queued"] * 4 + ["failed"]
    assert worker.claim() == []
    [row] = queue.house.rows("select status, error from aos_core.run where run_id = %s", turn_id)
    assert row == ("failed", {**FAILURE, "attempts": 5})
    [letter] = queue.house.rows(
        "select attempts, error, content from aos_agent.dead_letter where turn_id = %s", turn_id
    )
    assert letter == (5, {**FAILURE, "attempts": 5}, "please")
    assert queue.view(turn_id, "status, worker") == ("dead", None)
    assert queue.house.events(turn_id)[-1] == "turn_failed"


def test_how_many_failures_is_a_setting(queue: Queue) -> None:
    worker = queue.worker()
    setting = "update aos_meta.setting set value = %s where name = 'queue_max_attempts'"
    queue.house.rows(setting, "2")
    try:
        assert fail(queue, worker, queue.submit(queue.agent()), 2) == ["queued", "failed"]
    finally:
        queue.house.rows(setting, "5")


def test_a_turn_whose_workers_die_is_abandoned(queue: Queue) -> None:
    turn_id = queue.submit(queue.agent())
    for n in range(5):
        worker = queue.worker()
        assert worker.claim() == [(turn_id, n + 1)]
        worker.die()
        queue.pass_time(3600)
        queue.worker().release_dead()
        queue.pass_time(3600)
    [(status, error)] = queue.house.rows(
        "select status, error from aos_core.run where run_id = %s", turn_id
    )
    assert status == "failed"
    assert (error["sqlstate"], error["kind"], error["attempts"]) == ("OS116", "abandoned", 5)
    assert worker.name in error["message"]
    assert "resubmit" in error["hint"]


def test_open_steps_of_a_dead_letter_are_closed(queue: Queue) -> None:
    worker = queue.worker("external")
    agent = queue.house.agent()
    skill = queue.house.skill(agent)
    asked = queue.house.skill(agent, approval="ask")
    turn_id = queue.submit(agent)
    [(_, fence)] = worker.claim()
    queue.house.tool(turn_id, skill, fence=fence)  # the worker has begun this call
    queue.house.tool(turn_id, asked, fence=fence)
    queue.house.rows("update aos_core.queue set attempt = 4 where run_id = %s", turn_id)
    assert worker.give_back(turn_id, fence, FAILURE) == "failed"
    assert queue.house.steps(turn_id) == [
        ("model", "completed"), ("tool", "failed"), ("tool", "cancelled"),
    ]  # fmt: skip
    assert queue.house.rows(
        "select decision from aos_core.approval as a join aos_core.step as s using (step_id)"
        " where s.run_id = %s", turn_id,
    ) == [("cancelled",)]  # fmt: skip


@pytest.mark.parametrize(("failures", "seconds"), [(1, 5), (2, 10), (3, 20), (4, 40)])
def test_each_failure_doubles_the_wait_and_chance_spreads_it(
    queue: Queue, failures: int, seconds: int
) -> None:
    worker = queue.worker()
    agent = queue.agent()
    waits = set()
    for _ in range(4):
        turn_id = queue.submit(agent)
        fail(queue, worker, turn_id, failures - 1)
        [(_, fence)] = worker.claim()
        before = queue.house.call("aos_core._now")
        worker.give_back(turn_id, fence, FAILURE)
        after = queue.house.call("aos_core._now")
        row = queue.row(turn_id, "run_after")
        assert row is not None
        assert row[0] - before >= timedelta(seconds=seconds / 2)
        assert row[0] - after <= timedelta(seconds=seconds)
        waits.add(row[0] - before)
        queue.house.call("aos_agent.cancel_turn", turn_id)
    assert len(waits) == 4


def test_a_provider_that_asks_for_a_longer_wait_gets_it(queue: Queue) -> None:
    worker = queue.worker()
    turn_id = queue.submit(queue.agent())
    [(_, fence)] = worker.claim()
    worker.give_back(turn_id, fence, FAILURE, "10 minutes")
    queue.pass_time(595)
    assert worker.claim() == []
    queue.pass_time(10)
    assert worker.claim() == [(turn_id, fence + 1)]


def test_resubmit_says_the_same_once_more_in_a_new_turn(queue: Queue) -> None:
    worker = queue.worker()
    conversation_id = queue.house.conversation(queue.agent())
    turn_id = queue.house.call("aos_agent.submit", conversation_id, "one", priority=7)
    queue.house.call("aos_agent.submit", conversation_id, "two")
    fail(queue, worker, turn_id, 5)
    again = queue.house.call("aos_agent.resubmit", turn_id)
    said = (
        "select string_agg(content, ',' order by message_no)"
        " from aos_agent.message where run_id = %s"
    )
    assert queue.house.one(said, again) == queue.house.one(said, turn_id) == "one,two"
    assert queue.row(turn_id, "true") is None
    assert queue.view(again, "priority, attempt") == (7, 0)
    assert queue.house.status(turn_id) == "failed"  # what happened stays recorded
    with queue.house.refused("OS003", "is not finished"):
        queue.house.call("aos_agent.resubmit", turn_id)


def test_only_what_failed_is_resubmitted(queue: Queue) -> None:
    turn_id = queue.submit(queue.agent())
    with queue.house.refused("OS003", f"turn {turn_id} has not failed, it is queued"):
        queue.house.call("aos_agent.resubmit", turn_id)
    queue.house.call("aos_agent.cancel_turn", turn_id)
    with queue.house.refused("OS003", "has not failed, it is cancelled"):
        queue.house.call("aos_agent.resubmit", turn_id)
    with queue.house.refused("OS002", "there is no turn"):
        queue.house.call("aos_agent.resubmit", UUID(int=5))


def test_a_turn_that_failed_outside_the_queue_can_be_queued(queue: Queue) -> None:
    turn_id = queue.house.turn(queue.agent())
    queue.house.rows(
        "select aos_core._record(%s, '[]', '[]', 'failed', null, '{\"kind\": \"x\"}')", turn_id
    )
    again = queue.house.call("aos_agent.resubmit", turn_id)
    assert queue.worker().claim() == [(again, 1)]


def test_a_failure_that_is_final_leaves_no_dead_letter(queue: Queue) -> None:
    worker = queue.worker()
    turn_id = queue.submit(queue.agent())
    worker.finish(*worker.claim()[0], "failed")
    assert queue.house.status(turn_id) == "failed"
    assert queue.row(turn_id, "true") is None


def test_old_dead_letters_and_keys_go_in_batches(queue: Queue) -> None:
    worker = queue.worker()
    agent = queue.agent()
    queue.house.rows("delete from aos_core.dedup_key")
    old = [dead_letter(queue, worker, agent) for _ in range(2)]
    queue.submit(agent, dedup_key="old")
    queue.pass_time(30 * 86400)
    assert queue.house.call("aos_core.clean_queue", 2) == 2
    assert queue.house.rows("select from aos_agent.dead_letter") == []
    assert all(queue.house.status(turn) == "failed" for turn in old)  # the turns stay
    assert queue.house.call("aos_core.clean_queue", 2) == 1
    assert queue.house.rows("select from aos_core.dedup_key") == []
    assert queue.house.call("aos_core.clean_queue", 2) == 0


def test_what_is_young_is_kept(queue: Queue) -> None:
    worker = queue.worker()
    agent = queue.agent()
    turn_id = dead_letter(queue, worker, agent)
    queue.house.call("aos_core.clean_queue")
    waiting = queue.submit(agent, dedup_key="young")
    queue.pass_time(6 * 86400)
    assert queue.house.call("aos_core.clean_queue") == 0
    assert queue.view(turn_id, "status") == ("dead",)
    assert worker.claim() == [(waiting, 1)]  # its lane is still there
    with queue.house.refused("OS001", "one call deletes"):
        queue.house.call("aos_core.clean_queue", 0)


def test_lanes_of_nothing_are_cleaned_up(queue: Queue) -> None:
    worker = queue.worker()
    agent = queue.agent()
    queue.submit(agent)
    [(turn_id, fence)] = worker.claim()
    lanes = "select runner, priority from aos_core.queue_lane order by 1"
    assert queue.house.rows(lanes) == [("database", 0), (None, None)]
    queue.house.call("aos_core.clean_queue")
    assert queue.house.rows(lanes) == [(None, None)]
    assert worker.keep() == {(turn_id, fence)}
    worker.give_back(turn_id, fence)
    queue.house.call("aos_core.clean_queue")
    assert queue.house.rows(lanes) == [("database", 0)]
    assert worker.claim() == [(turn_id, fence + 1)]


def test_a_turn_that_waits_for_a_person_is_nobodys_until_then(queue: Queue) -> None:
    worker = queue.worker("external")
    agent = queue.house.agent()
    skill = queue.house.skill(agent, approval="ask")
    turn_id = queue.submit(agent)
    [(_, fence)] = worker.claim()
    called = queue.house.tool(turn_id, skill, fence=fence)
    assert called["status"] == "awaiting_approval"
    row = queue.row(turn_id, "worker, run_after, (select expires_at from aos_core.approval"
                    f" where step_id = '{called['step_id']}')")  # fmt: skip
    assert row is not None
    assert row[0] is None
    assert row[1] == row[2]
    assert queue.view(turn_id, "status, turn_status") == ("delayed", "awaiting_approval")
    assert worker.claim() == []
    worker.connection.execute("listen pgagentos_queue")
    queue.house.call("aos_agent.approve_tool_call", UUID(called["step_id"]))
    assert [n.payload for n in worker.connection.notifies(timeout=5, stop_after=1)] == ["external"]
    assert worker.claim() == [(turn_id, fence + 1)]


def test_a_question_that_expires_wakes_the_turn(queue: Queue) -> None:
    worker = queue.worker("external")
    agent = queue.house.agent()
    skill = queue.house.skill(agent, approval="ask")
    turn_id = queue.submit(agent)
    [(_, fence)] = worker.claim()
    queue.house.tool(turn_id, skill, fence=fence)
    queue.pass_time(7 * 86400 + 60)
    assert worker.claim() == [(turn_id, fence + 1)]
    # given back while nobody has decided: it waits again
    worker.give_back(turn_id, fence + 1)
    assert queue.row(turn_id, "worker") == (None,)


def test_a_turn_waits_for_the_last_of_several_decisions(queue: Queue) -> None:
    worker = queue.worker("external")
    agent = queue.house.agent()
    skill = queue.house.skill(agent, approval="ask")
    turn_id = queue.house.turn(agent)
    steps = [UUID(queue.house.tool(turn_id, skill, {"n": n})["step_id"]) for n in range(2)]
    queue.house.rows("select aos_core._enqueue(%s)", turn_id)
    queue.house.rows("select aos_core._wait(%s, aos_core._expires_first(%s))", turn_id, turn_id)
    queue.house.call("aos_agent.approve_tool_call", steps[0])
    assert worker.claim() == []
    queue.house.call("aos_agent.reject_tool_call", steps[1])
    assert worker.claim() == [(turn_id, 1)]
