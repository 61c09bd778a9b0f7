"""Which part of a conversation the model is shown."""

from __future__ import annotations

from typing import Any

from kernel.replies import calls, says, tool_call
from kernel.scene import Scene


def talk(scene: Scene, turns: int, text: str = "question") -> Any:
    """Have some turns of one conversation; returns conversation_id."""
    scene.says(*(says(f"answer {n}") for n in range(turns)))
    conversation_id = None
    for n in range(turns):
        assert scene.ask(f"{text} {n}", conversation_id) == f"answer {n}"
        conversation_id = scene.run()["conversation_id"]
    return conversation_id


def shown(scene: Scene) -> list[str]:
    """What the last request held, without the system prompt."""
    return [m["content"] for m in scene.play.bodies()[-1]["messages"][1:]]


def test_history_turns_of_the_persona_limits_the_earlier_turns(scene: Scene) -> None:
    scene.set_params(history_turns=2)
    talk(scene, 5)
    assert shown(scene) == ["question 2", "answer 2", "question 3", "answer 3", "question 4"]


def test_no_earlier_turns_are_shown_to_a_persona_that_wants_none(scene: Scene) -> None:
    scene.set_params(history_turns=0)
    talk(scene, 3)
    assert shown(scene) == ["question 2"]


def test_eight_earlier_turns_are_shown_by_default_and_all_on_demand(scene: Scene) -> None:
    conversation_id = talk(scene, 11)
    assert shown(scene)[0] == "question 2"
    assert len(shown(scene)) == 17
    scene.set_params(history_turns=None)
    scene.says(says("all of it"))
    scene.ask("last", conversation_id)
    assert shown(scene)[0] == "question 0"
    assert len(shown(scene)) == 23


def test_only_turns_that_fit_the_context_window_are_shown(scene: Scene) -> None:
    scene.connection.execute(
        "update aos_meta.llm_model_registry set context_window = 1000 where model_name = %s",
        (scene.name,),
    )
    talk(scene, 4, "x" * 1000)
    # 3,000 bytes hold this turn and the last two: about 1,000 bytes of question each.
    assert [text[-2:] for text in shown(scene)] == [" 2", " 2", " 3"]


def test_a_turn_that_alone_does_not_fit_is_sent_all_the_same(scene: Scene) -> None:
    scene.connection.execute(
        "update aos_meta.llm_model_registry set context_window = 10 where model_name = %s",
        (scene.name,),
    )
    scene.says(says("well"))
    assert scene.ask("y" * 1000) == "well"
    assert shown(scene) == ["y" * 1000]


def test_a_turn_is_shown_whole_or_not_at_all(scene: Scene) -> None:
    """A tool result without its call is refused by every vendor."""
    scene.skill("long() returns text language sql return repeat('z', 2000)")
    scene.connection.execute(
        "update aos_meta.llm_model_registry set context_window = 1000 where model_name = %s",
        (scene.name,),
    )
    scene.says(calls(tool_call("long")), says("long indeed"), says("short"))
    scene.ask("first")
    conversation_id = scene.run()["conversation_id"]
    scene.ask("z" * 1500, conversation_id)
    assert shown(scene) == ["z" * 1500]


def test_several_messages_before_a_turn_are_all_answered_by_it(scene: Scene) -> None:
    conversation_id = scene.value("select aos_agent.open_conversation(%s)", scene.name)
    for text in ("one", "two", "셋"):
        scene.value("select aos_agent.add_user_message(%s, %s)", conversation_id, text)
    turn_id = scene.value("select aos_agent.start_turn(%s)", conversation_id)
    scene.says(says("all three"))
    assert scene.run_turn(turn_id)["answer"] == "all three"
    assert shown(scene) == ["one", "two", "셋"]


def test_conversations_do_not_see_each_other(scene: Scene) -> None:
    talk(scene, 2)
    scene.says(says("new here"))
    scene.ask("who am I?")
    assert shown(scene) == ["who am I?"]


def test_a_turn_keeps_the_persona_that_it_started_with(scene: Scene) -> None:
    turn_id = scene.start()
    scene.connection.execute(
        "update aos_persona.persona set system_prompt = 'You are new.' where tenant_id = %s",
        (scene.tenant_id,),
    )
    scene.says(says("old"), says("new"))
    scene.run_turn(turn_id)
    scene.ask("next", scene.run()["conversation_id"])
    prompts = [body["messages"][0]["content"] for body in scene.play.bodies()]
    assert prompts == ["You are on a stage.", "You are new."]
