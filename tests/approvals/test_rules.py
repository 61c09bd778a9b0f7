"""auto, ask or never: which rule decides about a skill, and what follows for its calls."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from approvals.conftest import Till, decide
from house import name
from kernel.replies import calls, says, tool_call

ON_CALL = {"auto": "run", "ask": "awaiting_approval", "never": "denied"}
OTHERS = {"auto": "ask", "ask": "never", "never": "auto"}


def on_call(till: Till) -> str:
    """What happens when the till's agent calls pay."""
    house = till.doors.house
    return str(
        house.one(
            "select e.on_call from aos_agent.effective_skill as e where e.tenant_id = %s"
            " and e.name = 'pay'",
            till.scene.tenant_id,
        )
    )


def own_role(till: Till) -> str:
    """Give the agent a role of its own."""
    role = name("role")
    till.doors.house.rows("insert into aos_auth.role (role_name) values (%s)", role)
    till.scene.set_agent("role_name", role)
    return role


def say(till: Till, source: str, role: str, approval: str | None) -> None:
    """Let one of the four rules say something about the skill pay, which is of risk high."""
    house, tenant = till.doors.house, till.scene.tenant_id
    pay = house.one("select skill_id from aos_skills.skill where tenant_id = %s", tenant)
    if source == "skill":
        house.rows(
            "update aos_skills.skill set risk = 'high', approval = %s where skill_id = %s",
            approval, pay,
        )  # fmt: skip
    elif source == "risk_policy":
        house.rows("insert into aos_skills.risk_policy values (%s, 'high', %s)", role, approval)
    elif source == "role_skill":
        house.insert("aos_skills.role_skill", role_name=role, skill_id=pay, approval=approval)
    else:
        house.call("aos_agent.grant_skill", till.scene.name, "pay", approval)


def without_own_skills(till: Till) -> None:
    till.doors.house.call("aos_agent.revoke_skill", till.scene.name, "pay")


# --- which rule -----------------------------------------------------------------------------------


@pytest.mark.parametrize("approval", ON_CALL)
@pytest.mark.parametrize("source", ["agent_skill", "role_skill", "risk_policy", "skill"])
def test_the_closer_rule_wins(till: Till, source: str, approval: str) -> None:
    """agent_skill before role_skill before risk_policy before skill."""
    order = ["agent_skill", "role_skill", "risk_policy", "skill"]
    role = own_role(till)
    without_own_skills(till)
    for weaker in order[order.index(source) + 1 :]:
        say(till, weaker, role, OTHERS[approval])
    say(till, source, role, approval)
    if source in ("risk_policy", "skill"):  # then something else has to give the skill
        say(till, "role_skill" if source == "risk_policy" else "agent_skill", role, None)
    assert on_call(till) == ON_CALL[approval]


@pytest.mark.parametrize("given_by", ["agent_skill", "role_skill"])
def test_a_grant_that_says_nothing_leaves_it_to_the_policy(till: Till, given_by: str) -> None:
    role = own_role(till)
    without_own_skills(till)
    say(till, "skill", role, "auto")
    say(till, given_by, role, None)
    assert on_call(till) == "run"
    say(till, "risk_policy", role, "never")
    assert on_call(till) == "denied"


def test_a_policy_is_for_one_risk_of_one_role(till: Till) -> None:
    role, other = own_role(till), name("role")
    house = till.doors.house
    house.rows("insert into aos_auth.role (role_name) values (%s)", other)
    house.call("aos_agent.grant_skill", till.scene.name, "pay")
    for risk, approval in (("low", "auto"), ("medium", "ask"), ("high", "never")):
        house.rows("insert into aos_skills.risk_policy values (%s, %s, %s)", role, risk, approval)
        house.rows("insert into aos_skills.risk_policy values (%s, %s, 'auto')", other, risk)
    for risk, wanted in (("low", "run"), ("medium", "awaiting_approval"), ("high", "denied")):
        house.rows(
            "update aos_skills.skill set risk = %s where tenant_id = %s",
            risk, till.scene.tenant_id,
        )  # fmt: skip
        assert on_call(till) == wanted
    till.scene.set_agent("role_name", other)
    assert on_call(till) == "run"


def test_of_the_roles_of_a_principal_the_least_strict_decides(till: Till) -> None:
    """About a skill that needs a role, whatever the agent's own rules say."""
    house, tenant = till.doors.house, till.scene.tenant_id
    house.rows("update aos_skills.skill set needs_role = true where tenant_id = %s", tenant)
    principal = till.principal()
    agent = house.one("select agent_id from aos_agent.agent where tenant_id = %s", tenant)

    def usable() -> list[Any]:
        return [
            found
            for (found,) in house.rows(
                "select on_call from aos_agent._usable_skill(%s, %s, %s) where name = 'pay'",
                agent, tenant, principal,
            )
        ]  # fmt: skip

    assert usable() == []
    for approval, wanted in (("never", "denied"), ("ask", "awaiting_approval"), ("auto", "run")):
        role = name("role")
        till.grant(principal, role)
        say(till, "role_skill", role, approval)
        assert usable() == [wanted]


# --- what follows ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("policy", "given_by"), list(itertools.product(ON_CALL, ["agent_skill", "role_skill"]))
)
def test_a_policy_decides_about_calls(till: Till, policy: str, given_by: str) -> None:
    role = own_role(till)
    without_own_skills(till)
    say(till, "skill", role, OTHERS[policy])
    say(till, given_by, role, None)
    say(till, "risk_policy", role, policy)
    till.scene.says(calls(tool_call("pay", {"amount": 7})))
    if policy != "ask":
        till.scene.says(says("done"))
    answer = till.scene.ask("pay")
    offered = "tools" in till.scene.play.bodies()[0]
    assert offered == (policy != "never")
    if policy == "ask":
        assert answer is None
        (waiting,) = till.pending()
        decide(till.doors.house, waiting["step_id"])
        assert till.go_on()["answer"] == "done"
        assert till.paid() == ["7"]
    else:
        assert answer == "done"
        assert till.paid() == (["7"] if policy == "auto" else [])
    if policy == "never":
        assert till.scene.shape()[1] == "tool rejected"
        assert till.scene.tool_results() == ["The tool pay may not be used here."]


def test_a_rule_that_became_never_stops_what_was_approved(till: Till) -> None:
    (step_id,) = till.asked()
    decide(till.doors.house, step_id)
    till.doors.house.call("aos_agent.grant_skill", till.scene.name, "pay", "never")
    assert till.go_on()["answer"] == "done"
    assert till.paid() == []
    assert till.scene.tool_results() == ["The tool pay may not be used here."]


def test_only_operators_write_the_policies(till: Till) -> None:
    for access in ("developer", "approver", "user", "worker", "auditor"):
        login = till.login(access)
        with login.refused("42501", "permission denied for table risk_policy"):
            login.rows("insert into aos_skills.risk_policy values ('agent', 'high', 'auto')")
