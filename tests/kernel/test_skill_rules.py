"""Who may use which skill, and with which arguments: limits, roles, risks."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest
from psycopg.types.json import Jsonb

from cluster import Database
from kernel.replies import calls, says, tool_call
from kernel.scene import Scene

_numbers = itertools.count(1)

PAY = "pay(amount int, purpose text default '') returns text language sql return 'paid ' || amount"
AT_MOST_100 = {"properties": {"amount": {"maximum": 100}}}

#: Calls a tool of the scene's agent: returns the step's status and what the model reads.
Call = Callable[[Scene, str, Any], "tuple[str, str | None]"]


def call_in_a_turn_of_the_database(
    scene: Scene, tool: str, arguments: Any
) -> tuple[str, str | None]:
    scene.says(calls(tool_call(tool, arguments)), says("done"))
    scene.ask()
    [step] = [step for step in scene.steps() if step["kind"] == "tool"]
    return step["status"], None if step["message"] is None else step["message"]["content"]


def call_in_a_turn_from_outside(scene: Scene, tool: str, arguments: Any) -> tuple[str, str | None]:
    scene.set_agent("runner", "external")
    state = scene.value(
        "select aos_agent.process_tool_call(%s, %s, %s)", scene.start(), tool, Jsonb(arguments)
    )
    status = {"invalid_arguments": "failed", "unknown_tool": "failed", "denied": "rejected"}
    return status.get(state["status"], state["status"]), state.get("result")


@pytest.fixture(
    params=[call_in_a_turn_of_the_database, call_in_a_turn_from_outside],
    ids=["database", "external"],
)
def call(request: pytest.FixtureRequest) -> Call:
    """Both kinds of turns keep the same rules."""
    made: Call = request.param
    return made


@pytest.fixture
def role(connection: psycopg.Connection) -> str:
    """A role inside pgAgentOS."""
    name = f"rule_{next(_numbers)}"
    connection.execute("insert into aos_auth.role (role_name) values (%s)", (name,))
    return name


@pytest.fixture
def login(connection: psycopg.Connection) -> Iterator[str]:
    """A role to log in with, of a principal of no tenant yet."""
    name = f"login_of_rule_{next(_numbers)}"
    connection.execute(f"create role {name} login password 'login'")
    try:
        yield name
    finally:
        connection.execute(f"drop owned by {name}; drop role {name}")


def allow(scene: Scene, role: str, tool: str, **columns: Any) -> None:
    """Allow a role a skill of the scene's tenant."""
    names = "".join(f", {name}" for name in columns)
    values = "".join(", %s" for _ in columns)
    scene.connection.execute(
        f"insert into aos_skills.role_skill (role_name, skill_id{names})"
        f" select %s, skill_id{values} from aos_skills.skill where name = %s and tenant_id = %s",
        (role, *columns.values(), tool, scene.tenant_id),
    )


def set_skill(scene: Scene, tool: str, column: str, value: Any) -> None:
    scene.connection.execute(
        f"update aos_skills.skill set {column} = %s where name = %s and tenant_id = %s",
        (value, tool, scene.tenant_id),
    )


# --- limits ---------------------------------------------------------------------------------------


def test_an_agents_limits_refuse_arguments(scene: Scene, call: Call) -> None:
    scene.skill(PAY)
    scene.value("select aos_agent.grant_skill(%s, 'pay', null, %s)", scene.name, Jsonb(AT_MOST_100))
    assert call(scene, "pay", {"amount": 100}) == ("completed", "paid 100")
    status, told = call(scene, "pay", {"amount": 101})
    assert status == "failed"
    assert "amount" in str(told)
    assert "100" in str(told)


def test_the_skills_own_schema_holds_beside_the_limits(scene: Scene, call: Call) -> None:
    scene.skill(PAY)
    scene.value("select aos_agent.grant_skill(%s, 'pay', null, %s)", scene.name, Jsonb(AT_MOST_100))
    status, told = call(scene, "pay", {"amount": "ten"})
    assert status == "failed"
    assert "integer" in str(told)


def test_a_roles_limits_refuse_arguments_of_agents_of_the_role(
    scene: Scene, call: Call, role: str
) -> None:
    scene.skill(PAY)
    scene.value("select aos_agent.revoke_skill(%s, 'pay')", scene.name)  # the role's, no own ones
    allow(scene, role, "pay", limits=Jsonb(AT_MOST_100))
    scene.set_agent("role_name", role)
    assert call(scene, "pay", {"amount": 100}) == ("completed", "paid 100")
    assert call(scene, "pay", {"amount": 101})[0] == "failed"


def test_a_call_beyond_the_limits_is_refused_before_a_person_is_asked(
    scene: Scene, call: Call
) -> None:
    scene.skill(PAY)
    scene.value(
        "select aos_agent.grant_skill(%s, 'pay', 'ask', %s)", scene.name, Jsonb(AT_MOST_100)
    )
    assert call(scene, "pay", {"amount": 101})[0] == "failed"
    assert call(scene, "pay", {"amount": 100})[0] == "awaiting_approval"


def test_limits_that_are_no_schema_let_no_call_pass(scene: Scene) -> None:
    scene.skill(PAY)
    broken = Jsonb({"properties": {"amount": {"maximum": "a hundred"}}})
    scene.value("select aos_agent.grant_skill(%s, 'pay', null, %s)", scene.name, broken)
    status, told = call_in_a_turn_of_the_database(scene, "pay", {"amount": 1})
    assert status == "failed"
    assert str(told).startswith("The tool pay cannot be used: ")
    with pytest.raises(psycopg.Error) as caught:  # an outside worker is told at once
        call_in_a_turn_from_outside(scene, "pay", {"amount": 1})
    assert caught.value.sqlstate == "OS001"


# --- skills that need a role ----------------------------------------------------------------------


@pytest.fixture
def user(
    scene: Scene, database: Database, login: str, role: str, call: Call
) -> Iterator[tuple[Scene, Scene]]:
    """The scene of an operator, and the same one in a session of a principal of its tenant."""
    scene.skill(PAY)
    set_skill(scene, "pay", "needs_role", True)
    allow(scene, role, "pay")
    scene.connection.execute(
        "insert into aos_auth.principal (tenant_id, db_role) values (%s, %s)",
        (scene.tenant_id, login),
    )
    for access in ("user", "worker"):
        scene.value("select aos_auth.grant_access(%s, %s)", login, access)
    if call is call_in_a_turn_from_outside:
        scene.set_agent("runner", "external")
    with database.connect(user=login, password="login") as connection:
        yield scene, UserScene(connection, scene.play, scene.name, scene.tenant_id)


class UserScene(Scene):
    """A scene of somebody who may not change its agent."""

    def set_agent(self, column: str, value: Any) -> None:
        """Nothing: it was set before."""


def give(scene: Scene, login: str, role: str, expires: str | None = None) -> None:
    """Give the principal of a login a role."""
    scene.connection.execute(
        "insert into aos_auth.role_grant (principal_id, tenant_id, role_name, granted_at,"
        " expires_at) select principal_id, tenant_id, %s, now() - interval '1 day',"
        " now() + %s::interval from aos_auth.principal where db_role = %s",
        (role, expires, login),
    )


def test_a_skill_that_needs_a_role_is_there_for_principals_who_have_it(
    user: tuple[Scene, Scene], call: Call, login: str, role: str
) -> None:
    operator, principal = user
    assert call(principal, "pay", {"amount": 1}) == (
        "failed",
        "There is no tool pay. Use only the tools that are offered.",
    )
    give(operator, login, role)
    assert call(principal, "pay", {"amount": 1}) == ("completed", "paid 1")


def test_a_skill_that_needs_a_role_is_not_there_where_nobody_is_known(
    user: tuple[Scene, Scene], call: Call, login: str, role: str
) -> None:
    operator, _ = user
    give(operator, login, role)
    assert call(operator, "pay", {"amount": 1})[0] == "failed"


@pytest.mark.parametrize(("expires", "status"), [("1 hour", "completed"), ("-1 hour", "failed")])
def test_a_role_that_has_expired_gives_nothing(
    user: tuple[Scene, Scene], call: Call, login: str, role: str, expires: str, status: str
) -> None:
    operator, principal = user
    give(operator, login, role, expires)
    assert call(principal, "pay", {"amount": 1})[0] == status


def test_another_role_gives_nothing(
    user: tuple[Scene, Scene], call: Call, login: str, role: str
) -> None:
    operator, principal = user
    operator.connection.execute("insert into aos_auth.role (role_name) values (%s)", (login,))
    give(operator, login, login)
    assert call(principal, "pay", {"amount": 1})[0] == "failed"


def test_the_principals_role_narrows_the_arguments_further(
    user: tuple[Scene, Scene], call: Call, login: str, role: str
) -> None:
    operator, principal = user
    give(operator, login, role)
    operator.value(
        "select aos_agent.grant_skill(%s, 'pay', null, %s)", operator.name, Jsonb(AT_MOST_100)
    )
    operator.connection.execute(
        "update aos_skills.role_skill set limits = %s where role_name = %s",
        (Jsonb({"properties": {"amount": {"minimum": 10}}}), role),
    )
    assert call(principal, "pay", {"amount": 50}) == ("completed", "paid 50")
    assert call(principal, "pay", {"amount": 101})[0] == "failed"
    assert call(principal, "pay", {"amount": 9})[0] == "failed"


def test_a_skill_that_needs_a_role_is_offered_to_the_model_only_then(
    scene: Scene, database: Database, login: str, role: str
) -> None:
    scene.skill(PAY)
    scene.skill("look() returns text language sql return 'looked'")
    set_skill(scene, "pay", "needs_role", True)
    allow(scene, role, "pay")
    scene.connection.execute(
        "insert into aos_auth.principal (tenant_id, db_role) values (%s, %s)",
        (scene.tenant_id, login),
    )
    scene.value("select aos_auth.grant_access(%s, 'user')", login)
    scene.says(says("one"), says("two"))
    with database.connect(user=login, password="login") as connection:
        principal = Scene(connection, scene.play, scene.name, scene.tenant_id)
        principal.ask()
        give(scene, login, role)
        principal.ask()
    offered = [{tool["function"]["name"] for tool in body["tools"]} for body in scene.play.bodies()]
    assert offered == [{"look"}, {"look", "pay"}]


# --- risks ----------------------------------------------------------------------------------------


def set_risk(scene: Scene, role: str, tool: str, risk: str, approval: str) -> None:
    """Say what agents of the role do with skills of this risk, and that the tool is one."""
    set_skill(scene, tool, "risk", risk)
    scene.set_agent("role_name", role)
    scene.connection.execute(
        "insert into aos_skills.risk_policy (role_name, risk, approval) values (%s, %s, %s)",
        (role, risk, approval),
    )


@pytest.mark.parametrize(
    ("approval", "status"),
    [("auto", "completed"), ("ask", "awaiting_approval"), ("never", "rejected")],
)
def test_a_risk_policy_decides_about_skills_of_its_risk(
    scene: Scene, call: Call, role: str, approval: str, status: str
) -> None:
    scene.skill(PAY, approval="ask")  # the policy wins over the skill's own approval
    set_risk(scene, role, "pay", "high", approval)
    assert call(scene, "pay", {"amount": 1})[0] == status


def test_a_risk_policy_says_nothing_about_other_risks_and_roles(
    scene: Scene, call: Call, role: str
) -> None:
    scene.skill(PAY)
    set_risk(scene, role, "pay", "high", "never")
    set_skill(scene, "pay", "risk", "medium")
    assert call(scene, "pay", {"amount": 1})[0] == "completed"
    set_skill(scene, "pay", "risk", "high")
    assert call(scene, "pay", {"amount": 1})[0] == "rejected"
    scene.set_agent("role_name", "agent")
    assert call(scene, "pay", {"amount": 1})[0] == "completed"


def test_what_is_said_of_the_one_skill_wins_over_the_risk_policy(
    scene: Scene, call: Call, role: str
) -> None:
    scene.skill(PAY)
    set_risk(scene, role, "pay", "high", "never")
    scene.value("select aos_agent.grant_skill(%s, 'pay', 'auto')", scene.name)
    assert call(scene, "pay", {"amount": 1})[0] == "completed"


def test_a_function_is_registered_with_its_risk(scene: Scene) -> None:
    scene.connection.execute(
        f"create function public.risky_{scene.name}() returns int language sql return 1"
    )
    scene.value(
        "select aos_skills.register_function(p.oid::regprocedure, description => 'Dares.',"
        " risk => 'high') from pg_proc as p where p.proname = %s",
        f"risky_{scene.name}",
    )
    assert (
        scene.value("select risk from aos_skills.skill where name = %s", f"risky_{scene.name}")
        == "high"
    )
