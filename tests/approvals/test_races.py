"""Several people at once: one decision, one event, and every session gets a clear answer."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import psycopg
import pytest

from approvals.conftest import Till
from house import House
from kernel.background import Background, wait_until_blocked

#: Rounds of each free race; the orderly ones below need none.
ROUNDS = 8


def attempt(house: House, statement: str, *parameters: Any) -> Any:
    """What a statement returns, or the SQLSTATE of its error."""
    try:
        return house.one(statement, *parameters)
    except psycopg.Error as error:
        return error.sqlstate


APPROVE = "select aos_agent.approve_tool_call(%s) ->> 'status'"
REJECT = "select aos_agent.reject_tool_call(%s) ->> 'status'"
CANCEL = "select aos_agent.cancel_turn(%s) ->> 'status'"


def check_one_decision(till: Till, decision: str) -> None:
    """Exactly one decision and one event about it, and what was paid follows from it."""
    (approval,) = till.approvals()
    assert approval["decision"] == decision
    (event,) = till.decided()
    assert event["detail"]["decision"] == decision
    assert event["actor"] == approval["decided_by"]
    till.go_on()
    assert till.paid() == (["7"] if decision == "approved" else [])


# --- in a known order -----------------------------------------------------------------------------


@pytest.mark.parametrize("level", ["read committed", "repeatable read", "serializable"])
@pytest.mark.parametrize(
    ("first", "second", "decision"),
    [
        (APPROVE, APPROVE, "approved"),
        (APPROVE, REJECT, "approved"),
        (REJECT, APPROVE, "rejected"),
    ],
)
def test_the_second_one_waits_and_is_told(
    till: Till, in_background: Background, first: str, second: str, decision: str, level: str
) -> None:
    (step_id,) = till.asked()
    anna, ben = till.login("approver"), till.login("approver")
    for house in (anna, ben):
        house.rows(f"set default_transaction_isolation = '{level}'")
    with anna.connection.transaction():
        assert anna.one(first, step_id) == decision
        waiting = in_background(attempt, ben, second, step_id)
        wait_until_blocked(till.doors.house.connection, ben.connection.info.backend_pid)
    assert waiting.result() == ("OS003" if level == "read committed" else "40001")
    assert attempt(ben, second, step_id) == "OS003"
    check_one_decision(till, decision)


def test_the_second_one_decides_when_the_first_takes_it_back(
    till: Till, in_background: Background
) -> None:
    (step_id,) = till.asked()
    anna, ben = till.login("approver"), till.login("approver")
    with anna.connection.transaction(force_rollback=True):
        assert anna.one(APPROVE, step_id) == "approved"
        waiting = in_background(attempt, ben, REJECT, step_id)
        wait_until_blocked(till.doors.house.connection, ben.connection.info.backend_pid)
    assert waiting.result() == "rejected"
    check_one_decision(till, "rejected")


def test_who_cancels_while_somebody_approves_leaves_a_mark(till: Till) -> None:
    (step_id,) = till.asked()
    run_id = till.scene.run()["run_id"]
    anna, user = till.login("approver"), till.login("user")
    with anna.connection.transaction():
        assert anna.one(APPROVE, step_id) == "approved"
        assert user.one(CANCEL, run_id) == "cancel_requested"
    (approval,) = till.approvals()
    assert approval["decision"] == "approved"
    # The yes was given, but the wish to cancel is honoured before the turn's next step.
    assert till.go_on()["status"] == "cancelled"
    assert till.paid() == []
    assert till.scene.shape() == ["model completed", "tool cancelled"]
    assert len(till.decided()) == 1


def test_who_approves_while_somebody_cancels_is_told(till: Till, in_background: Background) -> None:
    (step_id,) = till.asked()
    run_id = till.scene.run()["run_id"]
    anna, user = till.login("approver"), till.login("user")
    with user.connection.transaction():
        assert user.one(CANCEL, run_id) == "cancelled"
        waiting = in_background(attempt, anna, APPROVE, step_id)
        wait_until_blocked(till.doors.house.connection, anna.connection.info.backend_pid)
    assert waiting.result() == "OS003"
    (approval,) = till.approvals()
    assert approval["decision"] == "cancelled"
    assert till.decided() == []
    assert till.go_on()["status"] == "cancelled"
    assert till.paid() == []


def test_people_decide_about_calls_of_one_reply_at_once(
    till: Till, in_background: Background
) -> None:
    one, two = till.asked(1, 2)
    anna, ben = till.login("approver"), till.login("approver")
    with anna.connection.transaction():
        assert anna.one(APPROVE, one) == "approved"
        waiting = in_background(attempt, ben, APPROVE, two)
        wait_until_blocked(till.doors.house.connection, ben.connection.info.backend_pid)
    assert waiting.result() == "approved"
    assert till.scene.run()["status"] == "queued"
    assert till.go_on()["answer"] == "done"
    assert till.paid() == ["1", "2"]


# --- in any order ---------------------------------------------------------------------------------


@pytest.mark.parametrize("others", [APPROVE, REJECT], ids=["approve", "reject"])
def test_a_crowd_leaves_one_decision(till: Till, others: str) -> None:
    crowd = [till.login("approver") for _ in range(4)]
    for _ in range(ROUNDS):
        events = len(till.decided())
        (step_id,) = till.asked()
        start = Barrier(len(crowd))

        def run(number: int, step_id: Any = step_id, start: Barrier = start) -> Any:
            start.wait()
            return attempt(crowd[number], APPROVE if number % 2 else others, step_id)

        with ThreadPoolExecutor(len(crowd)) as pool:
            outcomes = list(pool.map(run, range(len(crowd))))
        told = sorted(outcomes)
        assert told[:-1] == ["OS003"] * (len(crowd) - 1)
        (approval,) = till.approvals()
        assert approval["decision"] == told[-1]
        assert len(till.decided()) == events + 1
        paid = len(till.paid())
        till.go_on()
        assert len(till.paid()) - paid == (1 if told[-1] == "approved" else 0)


def test_a_yes_and_a_cancel_at_once_leave_one_of_the_two(till: Till) -> None:
    approver, user = till.login("approver"), till.login("user")
    seen: dict[str, int] = {}
    for _ in range(ROUNDS):
        (step_id,) = till.asked()
        run_id = till.scene.run()["run_id"]
        start = Barrier(2)

        def approve(step_id: Any = step_id, start: Barrier = start) -> Any:
            start.wait()
            return attempt(approver, APPROVE, step_id)

        def cancel(run_id: Any = run_id, start: Barrier = start) -> Any:
            start.wait()
            return attempt(user, CANCEL, run_id)

        with ThreadPoolExecutor(2) as pool:
            yes, no = pool.submit(approve), pool.submit(cancel)
            outcome = (yes.result(), no.result())
        assert outcome in (
            ("approved", "cancelled"),  # first the yes, then the end
            ("approved", "cancel_requested"),
            ("OS003", "cancelled"),
        )
        seen[str(outcome)] = seen.get(str(outcome), 0) + 1
        (approval,) = till.approvals()
        assert approval["decision"] == ("approved" if yes.result() == "approved" else "cancelled")
        assert till.scene.run_turn(run_id)["status"] == "cancelled"
        assert till.paid() == []
    print(f"\napprove against cancel: {seen}")
