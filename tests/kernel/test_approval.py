"""Tool calls that need a person's yes, decided and run inside the database."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest

from kernel.replies import calls, says, tool_call
from kernel.scene import Scene

PAY = (
    "pay(amount int) returns text language sql begin atomic"
    " insert into public.paid (amount) values (amount) returning 'paid ' || amount; end"
)


@pytest.fixture
def payer(scene: Scene) -> Scene:
    """An agent that may pay with a person's yes, and look without one."""
    scene.connection.execute("drop table if exists public.paid cascade")
    scene.connection.execute("create table public.paid (amount int)")
    scene.connection.execute("grant select, insert on public.paid to pgagentos_agent")
    scene.skill(PAY, approval="ask")
    scene.skill("look() returns text language sql return 'looked'")
    return scene


def pending(scene: Scene) -> list[dict[str, Any]]:
    """The calls of this scene that wait."""
    return scene.rows(
        "select * from aos_agent.pending_approval where tenant_id = %s order by arguments::text",
        scene.tenant_id,
    )


def paid(scene: Scene) -> list[int]:
    """What was really paid."""
    return [r["amount"] for r in scene.rows("select amount from public.paid order by amount")]


def decide(scene: Scene, step_id: Any, verb: str = "approve", note: str | None = None) -> Any:
    """Approve or reject a call."""
    return scene.value(f"select aos_agent.{verb}_tool_call(%s, %s)", step_id, note)


def test_ask_returns_null_and_names_the_turn_that_waits(payer: Scene) -> None:
    payer.says(calls(tool_call("pay", {"amount": 7})))
    assert payer.ask("pay 7") is None
    run = payer.run()
    assert run["status"] == "awaiting_approval"
    message, hint = payer.warnings[0]
    assert message == f"turn {run['run_id']} is awaiting_approval"
    assert str(run["run_id"]) in str(hint)
    assert paid(payer) == []
    assert payer.events() == ["turn_started", "approval_requested"]
    state = payer.run_turn(run["run_id"])
    assert state["status"] == "awaiting_approval"
    (call,) = state["pending"]
    assert (call["tool_name"], call["arguments"]) == ("pay", {"amount": 7})
    assert call["step_id"] == str(pending(payer)[0]["step_id"])
    assert len(payer.play.requests()) == 1


def test_an_approved_call_runs_once_and_the_turn_goes_on(payer: Scene) -> None:
    payer.says(calls(tool_call("pay", {"amount": 7})), says("It is paid."))
    payer.ask("pay 7")
    run_id = payer.run()["run_id"]
    (waiting,) = pending(payer)
    decided = decide(payer, waiting["step_id"], note="fine")
    assert (decided["status"], decided["turn_status"]) == ("approved", "queued")
    assert paid(payer) == []  # approval alone runs nothing
    assert payer.run_turn(run_id)["answer"] == "It is paid."
    assert payer.run_turn(run_id)["answer"] == "It is paid."
    assert paid(payer) == [7]
    assert payer.tool_results() == ["paid 7"]
    assert payer.shape() == ["model completed", "tool completed", "model completed"]
    assert payer.events() == [
        "turn_started",
        "approval_requested",
        "approval_decided",
        "turn_completed",
    ]
    (approval,) = payer.rows(
        "select decision, decided_by, note from aos_core.approval where tenant_id = %s",
        payer.tenant_id,
    )
    assert approval == {"decision": "approved", "decided_by": "postgres", "note": "fine"}


def test_a_rejected_call_is_never_run_and_the_model_reads_why(payer: Scene) -> None:
    payer.says(calls(tool_call("pay", {"amount": 7})), says("Then not."))
    payer.ask("pay 7")
    decide(payer, pending(payer)[0]["step_id"], "reject", "너무 비싸요")
    assert payer.run_turn(payer.run()["run_id"])["answer"] == "Then not."
    assert paid(payer) == []
    assert payer.tool_results() == ["A person refused this call. Reason: 너무 비싸요"]
    assert payer.shape() == ["model completed", "tool rejected", "model completed"]


def test_parallel_calls_are_decided_one_by_one(payer: Scene) -> None:
    payer.says(
        calls(
            tool_call("look"),
            tool_call("pay", {"amount": 1}),
            tool_call("pay", {"amount": 2}),
            tool_call("pay", {"amount": 3}),
        ),
        says("Some of it."),
    )
    payer.ask("pay all")
    run_id = payer.run()["run_id"]
    one, two, three = (row["step_id"] for row in pending(payer))
    assert payer.shape()[:2] == ["model completed", "tool completed"]

    assert decide(payer, one)["turn_status"] == "awaiting_approval"
    assert payer.run_turn(run_id)["status"] == "awaiting_approval"
    assert paid(payer) == []
    assert decide(payer, two, "reject")["turn_status"] == "awaiting_approval"
    assert decide(payer, three)["turn_status"] == "queued"
    assert payer.run_turn(run_id)["answer"] == "Some of it."
    assert paid(payer) == [1, 3]
    assert payer.tool_results() == ["looked", "paid 1", "A person refused this call.", "paid 3"]


def test_a_call_is_decided_once(payer: Scene) -> None:
    payer.says(calls(tool_call("pay", {"amount": 7})))
    payer.ask()
    step_id = pending(payer)[0]["step_id"]
    decide(payer, step_id)
    for verb in ("approve", "reject"):
        with pytest.raises(psycopg.Error) as caught:
            decide(payer, step_id, verb)
        assert caught.value.sqlstate == "OS003"


def test_an_approval_that_comes_too_late_counts_as_a_no(payer: Scene) -> None:
    payer.says(calls(tool_call("pay", {"amount": 7})), says("Too late."))
    payer.ask()
    payer.connection.execute(
        "update aos_core.approval set requested_at = now() - interval '2 days',"
        " expires_at = now() - interval '1 day' where tenant_id = %s",
        (payer.tenant_id,),
    )
    assert decide(payer, pending(payer)[0]["step_id"])["status"] == "expired"
    assert payer.run_turn(payer.run()["run_id"])["answer"] == "Too late."
    assert payer.tool_results() == ["Nobody approved this call in time."]
    assert paid(payer) == []


def test_a_skill_that_was_taken_away_meanwhile_is_not_run(payer: Scene) -> None:
    payer.says(calls(tool_call("pay", {"amount": 7})), says("No more."))
    payer.ask()
    decide(payer, pending(payer)[0]["step_id"])
    payer.connection.execute("select aos_agent.revoke_skill(%s, 'pay')", (payer.name,))
    assert payer.run_turn(payer.run()["run_id"])["answer"] == "No more."
    assert paid(payer) == []
    assert payer.shape() == ["model completed", "tool failed", "model completed"]


def test_a_cancelled_turn_runs_nothing_that_was_approved(payer: Scene) -> None:
    payer.says(calls(tool_call("pay", {"amount": 7}), tool_call("pay", {"amount": 8})))
    payer.ask()
    first, second = pending(payer)
    decide(payer, first["step_id"])
    run_id = payer.run()["run_id"]
    assert payer.value("select aos_agent.cancel_turn(%s)", run_id)["status"] == "cancelled"
    assert payer.run_turn(run_id)["status"] == "cancelled"
    assert paid(payer) == []
    assert payer.shape() == ["model completed", "tool cancelled", "tool cancelled"]
    with pytest.raises(psycopg.Error) as caught:
        decide(payer, second["step_id"])
    assert caught.value.sqlstate == "OS003"
    # The next turn starts from a history in which every call has a result.
    payer.says(says("fresh"))
    assert payer.ask("again", payer.run()["conversation_id"]) == "fresh"
    assert len([m for m in payer.play.bodies()[-1]["messages"] if m["role"] == "tool"]) == 2


def test_arguments_that_do_not_fit_never_reach_a_person(payer: Scene) -> None:
    payer.says(calls(tool_call("pay", {"amount": "a lot"})), says("sorry"))
    assert payer.ask() == "sorry"
    assert pending(payer) == []
    assert "amount must be integer" in payer.tool_results()[0]


def test_an_approved_call_that_fails_is_told_to_the_model(payer: Scene) -> None:
    payer.connection.execute("alter table public.paid add check (amount < 5)")
    payer.says(calls(tool_call("pay", {"amount": 7})), says("It was refused."))
    payer.ask()
    decide(payer, pending(payer)[0]["step_id"])
    assert payer.run_turn(payer.run()["run_id"])["answer"] == "It was refused."
    assert payer.tool_results()[0].startswith("23514: ")
    assert paid(payer) == []
