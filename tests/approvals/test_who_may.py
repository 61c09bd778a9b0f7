"""Deciding about a call is a privilege: of the login, the ticket's owner, the skill's role."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import psycopg
import pytest

from approvals.conftest import PAY, Till, decide, refusal
from kernel.replies import calls, says, tool_call

VERBS = ("approve", "reject")


# --- logins ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("verb", VERBS)
def test_a_login_with_the_access_approver_decides(till: Till, verb: str) -> None:
    (step_id,) = till.asked()
    approver = till.login("approver")
    listed = approver.rows("select step_id, tool_name, arguments from aos_agent.pending_approval")
    assert listed == [(step_id, "pay", {"amount": 7})]
    assert decide(approver, step_id, verb)["status"] == f"{verb}ed".replace("ee", "e")
    assert till.go_on()["answer"] == "done"
    assert till.paid() == (["7"] if verb == "approve" else [])


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("access", ["user", "developer", "worker", "auditor", "secret_manager"])
def test_other_accesses_do_not_let_decide(till: Till, access: str, verb: str) -> None:
    (step_id,) = till.asked()
    error = refusal(till.login(access), step_id, verb)
    assert error.sqlstate == "42501"
    assert f"permission denied for function {verb}_tool_call" in str(error)
    assert len(till.pending()) == 1
    assert till.decided() == []


def test_nobody_writes_a_decision_past_the_functions(till: Till) -> None:
    till.asked()
    for access in ("approver", "user", "developer", "worker", "operator"):
        login = till.login(access)
        for statement in (
            "update aos_core.approval set decision = 'approved'",
            "update aos_core.step set status = 'approved' where status = 'awaiting_approval'",
            "delete from aos_core.approval",
        ):
            with login.refused("42501", "permission denied for table"):
                login.rows(statement)


def test_an_access_that_was_taken_back_is_gone_at_once(till: Till) -> None:
    step_id, _ = till.asked(1, 2)
    role = till.doors.role("approver")
    till.principal(db_role=role)
    approver = till.doors.session(role)
    decide(approver, step_id)
    till.doors.house.call("aos_auth.revoke_access", role, "approver")
    assert refusal(approver, till.pending()[0]["step_id"]).sqlstate == "42501"


@pytest.mark.parametrize("verb", VERBS)
def test_another_tenants_approver_sees_nothing_and_learns_nothing(
    till: Till, other_till: Till, verb: str
) -> None:
    (step_id,) = till.asked()
    approver = other_till.login("approver")
    assert approver.rows("select * from aos_agent.pending_approval") == []
    assert approver.rows("select * from aos_core.approval") == []
    unknown = uuid4()
    errors = {tried: refusal(approver, tried, verb) for tried in (step_id, unknown)}
    told = {
        (error.sqlstate, str(error).replace(str(tried), "X"), error.diag.message_hint)
        for tried, error in errors.items()
    }
    assert len(told) == 1
    ((sqlstate, text, _),) = told
    assert sqlstate == "OS002"
    assert "there is no tool call X" in text
    assert len(till.pending()) == 1


def test_a_login_that_is_nobodys_principal_sees_nothing(till: Till) -> None:
    (step_id,) = till.asked()
    stranger = till.doors.login("approver")
    assert stranger.rows("select * from aos_agent.pending_approval") == []
    assert refusal(stranger, step_id).sqlstate == "OS002"


# --- tickets --------------------------------------------------------------------------------------


def with_ticket(till: Till, principal_id: Any, step_id: Any, verb: str = "approve") -> Any:
    """Decide in a pooled session, as the owner of a ticket."""
    pool = till.doors.login("approver", "user")
    ticket = till.doors.house.call("aos_auth.issue_ticket", principal_id, 60)
    with pool.connection.transaction():
        pool.call("aos_auth.begin", ticket)
        return decide(pool, step_id, verb)


@pytest.mark.parametrize("verb", VERBS)
def test_a_tickets_owner_needs_the_role_approver(till: Till, verb: str) -> None:
    (step_id,) = till.asked()
    plain, approver = till.principal(), till.principal("approver")
    with pytest.raises(psycopg.errors.InsufficientPrivilege) as caught:
        with_ticket(till, plain, step_id, verb)
    assert "the principal of this ticket has not the role approver" in str(caught.value)
    assert with_ticket(till, approver, step_id, verb)["step_id"] == str(step_id)


def test_a_tickets_owner_whose_role_has_ended_decides_no_more(till: Till) -> None:
    (step_id,) = till.asked()
    principal = till.principal()
    till.grant(
        principal, "approver", granted_at="2020-01-01 00:00+0", expires_at="2020-01-02 00:00+0"
    )
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        with_ticket(till, principal, step_id)


def test_a_ticket_of_another_tenant_shows_no_call(till: Till, other_till: Till) -> None:
    (step_id,) = till.asked()
    with pytest.raises(psycopg.Error) as caught:
        with_ticket(other_till, other_till.principal("approver"), step_id)
    assert caught.value.sqlstate == "OS002"


# --- the role that a skill names ------------------------------------------------------------------


@pytest.fixture
def careful_till(till: Till) -> Till:
    """A till whose payments are approved by the role treasurer."""
    till.doors.house.rows(
        "insert into aos_auth.role (role_name) values ('treasurer') on conflict do nothing"
    )
    till.doors.house.rows(
        "update aos_skills.skill set approver_role = 'treasurer' where tenant_id = %s",
        till.scene.tenant_id,
    )
    return till


@pytest.mark.parametrize("verb", VERBS)
def test_a_skill_names_the_role_that_approves_it(careful_till: Till, verb: str) -> None:
    (step_id,) = careful_till.asked()
    error = refusal(careful_till.login("approver"), step_id, verb)
    assert error.sqlstate == "42501"
    assert "calls of pay are approved by the role treasurer, which you have not" in str(error)
    assert len(careful_till.pending()) == 1
    treasurer = careful_till.login("approver", roles=("treasurer",))
    assert decide(treasurer, step_id, verb)["step_id"] == str(step_id)


def test_the_role_alone_is_not_the_access(careful_till: Till) -> None:
    (step_id,) = careful_till.asked()
    error = refusal(careful_till.login("user", roles=("treasurer", "approver")), step_id)
    assert "permission denied for function" in str(error)
    only = careful_till.principal("treasurer")
    with pytest.raises(psycopg.errors.InsufficientPrivilege, match="has not the role approver"):
        with_ticket(careful_till, only, step_id)
    both = careful_till.principal("treasurer", "approver")
    assert with_ticket(careful_till, both, step_id)["status"] == "approved"


def test_a_role_that_has_ended_does_not_count(careful_till: Till) -> None:
    (step_id,) = careful_till.asked()
    role = careful_till.doors.role("approver")
    principal = careful_till.principal(db_role=role)
    careful_till.grant(
        principal, "treasurer", granted_at="2020-01-01 00:00+0", expires_at="2020-01-02 00:00+0"
    )
    assert refusal(careful_till.doors.session(role), step_id).sqlstate == "42501"


def test_an_operator_decides_about_every_call(careful_till: Till) -> None:
    one, two = careful_till.asked(1, 2)
    assert decide(careful_till.doors.house, one)["status"] == "approved"  # a superuser
    operator = careful_till.doors.login("operator")
    assert decide(operator, two)["status"] == "approved"
    assert careful_till.go_on()["answer"] == "done"
    assert careful_till.paid() == ["1", "2"]


# --- who it was -----------------------------------------------------------------------------------


def test_the_record_names_the_principal_who_decided(till: Till) -> None:
    one, two, three = till.asked(1, 2, 3)
    role = till.doors.role("approver")
    person = till.principal(db_role=role)
    decide(till.doors.session(role), one, note="fine")
    owner = till.principal("approver")
    with_ticket(till, owner, two, "reject")
    decide(till.doors.house, three)
    by_person, by_owner, by_operator = till.approvals()
    assert (by_person["decided_by"], by_person["note"]) == (f"{role}/{person}", "fine")
    assert by_owner["decided_by"].endswith(f"/{owner}")
    assert by_operator["decided_by"] == "postgres"
    assert [event["actor"] for event in till.decided()] == [
        by_person["decided_by"],
        by_owner["decided_by"],
        "postgres",
    ]
    assert [event["detail"]["decision"] for event in till.decided()] == [
        "approved",
        "rejected",
        "approved",
    ]
    assert all(event["detail"]["arguments_hash"] for event in till.decided())


# --- not the model --------------------------------------------------------------------------------

LAST_PENDING = "(select step_id from aos_agent.pending_approval order by requested_at desc limit 1)"


@pytest.mark.parametrize("is_definer", [False, True], ids=["as_the_agent", "definer"])
@pytest.mark.parametrize("verb", VERBS)
def test_a_tool_does_not_decide_about_calls(till: Till, verb: str, is_definer: bool) -> None:
    """Not even one that the DBA has given all rights."""
    (step_id,) = till.asked()
    scene = till.scene
    scene.skill(
        f"decide(step uuid) returns text language sql {'security definer' if is_definer else ''}"
        f" return aos_agent.{verb}_tool_call(step) ->> 'status'"
    )
    scene.says(calls(tool_call("decide", {"step": str(step_id)})), says("I tried."))
    assert scene.ask("decide yourself") == "I tried."
    assert scene.tool_results()[-1].startswith("42501: ")
    if is_definer:
        assert "a turn cannot decide about tool calls" in scene.tool_results()[-1]
    assert [row["step_id"] for row in till.pending()] == [step_id]
    assert till.decided() == []
    assert till.paid() == []


def test_a_tool_does_not_decide_about_a_call_of_its_own_reply(till: Till) -> None:
    scene = till.scene
    scene.skill(
        "decide() returns text language plpgsql security definer as"
        f" $$begin return aos_agent.approve_tool_call({LAST_PENDING}) ->> 'status'; end$$"
    )
    scene.says(calls(tool_call("pay", {"amount": 7}), tool_call("decide")), says("I tried."))
    assert scene.ask("pay and decide") is None
    assert scene.shape() == ["model completed", "tool awaiting_approval", "tool failed"]
    assert till.paid() == []


def test_a_tool_of_a_turn_that_is_driven_from_outside_does_not_decide(till: Till) -> None:
    scene = till.scene
    scene.skill(
        "decide() returns text language plpgsql security definer as"
        f" $$begin return aos_agent.approve_tool_call({LAST_PENDING}) ->> 'status'; end$$"
    )
    scene.set_agent("runner", "external")
    turn = scene.start()
    call = "select aos_agent.process_tool_call(%s, %s, %s)"
    assert (
        scene.value(call, turn, "pay", psycopg.types.json.Jsonb({"amount": 7}))["status"]
        == "awaiting_approval"
    )
    tried = scene.value(call, turn, "decide", psycopg.types.json.Jsonb({}))
    assert tried["status"] == "failed"
    assert tried["result"].startswith("42501: a turn cannot decide")
    assert len(till.pending()) == 1


def test_the_skill_of_the_test_pays(till: Till) -> None:
    """Else no test here would see a payment that must not happen."""
    till.scene.value("select aos_agent.grant_skill(%s, 'pay', 'auto')", till.scene.name)
    till.scene.says(calls(tool_call("pay", {"amount": 7})), says("paid"))
    assert till.scene.ask("pay") == "paid"
    assert till.paid() == ["7"]
    assert PAY.startswith("pay(")
