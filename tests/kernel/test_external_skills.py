"""A turn that the database runs has nobody outside who could run an external skill."""

from __future__ import annotations

import pytest

from kernel.replies import calls, says, tool_call
from kernel.scene import Scene


def add_external_skill(scene: Scene, name: str, approval: str) -> None:
    scene.connection.execute(
        "insert into aos_skills.skill (tenant_id, name, description, implementation, approval,"
        " parameters) values (%s, %s, 'Done outside.', 'external', %s, '{\"type\": \"object\"}')",
        (scene.tenant_id, name, approval),
    )
    scene.value("select aos_agent.grant_skill(%s, %s)", scene.name, name)


@pytest.mark.parametrize("approval", ["auto", "ask"])
def test_a_call_of_an_external_skill_is_refused_in_words(scene: Scene, approval: str) -> None:
    add_external_skill(scene, "outside", approval)
    scene.says(calls(tool_call("outside", {})), says("I cannot do that here."))
    assert scene.ask() == "I cannot do that here."
    assert scene.shape() == ["model completed", "tool failed", "model completed"]
    assert scene.tool_results() == [
        "There is no tool outside. Use only the tools that are offered."
    ]


def test_an_external_skill_is_not_offered(scene: Scene) -> None:
    add_external_skill(scene, "outside", "auto")
    scene.says(says("hello"))
    scene.ask()
    assert "tools" not in scene.play.bodies()[0]


def test_an_approved_call_is_refused_when_its_skill_moved_outside_since(scene: Scene) -> None:
    scene.skill("pay(amount int) returns int language sql return amount", approval="ask")
    scene.says(calls(tool_call("pay", {"amount": 1})), says("not paid"))
    turn = scene.start()
    [pending] = scene.run_turn(turn)["pending"]
    scene.connection.execute(
        "update aos_skills.skill set implementation = 'external', function_name = null"
        " where tenant_id = %s and name = 'pay'",
        (scene.tenant_id,),
    )
    scene.value("select aos_agent.approve_tool_call(%s)", pending["step_id"])
    assert scene.run_turn(turn)["answer"] == "not paid"
    assert scene.shape() == ["model completed", "tool failed", "model completed"]
