"""What the kernel makes of a reply that is not a plain answer, and how long a turn may go on."""

from __future__ import annotations

import psycopg
import pytest

from kernel.replies import calls, completion, says, tool_call
from kernel.scene import Scene, make_scene
from servers.play_server import Answer, Play

ONE = "one() returns int language sql return 1"


def error_of(scene: Scene) -> tuple[str, str]:
    """SQLSTATE and kind of the latest turn's error."""
    error = scene.run()["error"]
    return error["sqlstate"], error["kind"]


def test_ten_model_calls_are_the_limit_and_the_last_one_answers_without_tools(
    scene: Scene,
) -> None:
    scene.skill(ONE)
    scene.says(*(calls(tool_call("one")) for _ in range(9)), says("what I know by now"))
    assert scene.ask() == "what I know by now"
    bodies = scene.play.bodies()
    assert len(bodies) == 10
    assert all(body.get("tool_choice", "auto") == "auto" for body in bodies[:9])
    last = bodies[9]
    assert not last.get("tools") or last["tool_choice"] == "none"
    assert "no tool calls left" in last["messages"][-1]["content"]
    assert all("no tool calls left" not in str(body["messages"]) for body in bodies[:9])
    run = scene.run()
    assert (run["status"], run["model_calls"]) == ("completed", 10)
    # The note was for this call only: it is no part of the conversation.
    assert "no tool calls left" not in scene.everything()


def test_a_model_that_calls_tools_to_the_end_fails_the_turn(scene: Scene) -> None:
    scene.skill(ONE)
    scene.set_agent("max_model_calls", 2)
    scene.says(calls(tool_call("one")), calls(tool_call("one")))
    assert scene.ask() is None
    assert error_of(scene) == ("OS114", "iteration_limit")
    assert scene.shape() == ["model completed", "tool completed", "model completed"]
    # Its unanswered call must not spoil the next turn.
    scene.says(says("again"))
    assert scene.ask("go on", scene.run()["conversation_id"]) == "again"


def test_an_agent_with_one_model_call_answers_at_once(scene: Scene) -> None:
    scene.skill(ONE)
    scene.set_agent("max_model_calls", 1)
    scene.says(says("at once"))
    assert scene.ask() == "at once"
    assert "no tool calls left" in scene.play.bodies()[0]["messages"][-1]["content"]


def test_the_token_limit_ends_the_turn_before_the_next_call(scene: Scene) -> None:
    scene.skill(ONE)
    scene.set_agent("max_turn_tokens", 100)
    scene.says(
        calls(tool_call("one"), usage=(40, 9)), calls(tool_call("one"), usage=(45, 6)), says("no")
    )
    assert scene.ask() is None
    assert error_of(scene) == ("OS114", "token_limit")
    assert "100 of 100 tokens" in scene.warnings[0][0]
    assert len(scene.play.requests()) == 2
    assert scene.events() == ["turn_started", "turn_failed"]


def test_an_empty_reply_is_asked_for_again_once(scene: Scene) -> None:
    scene.says(says(""), says("here it is"))
    assert scene.ask() == "here it is"
    (step,) = scene.steps()
    assert step["attempts"] == 2
    assert "empty" in scene.play.bodies()[1]["messages"][-1]["content"]
    assert "empty" not in scene.everything()


@pytest.mark.parametrize("nothing", [None, "", " \n\t "])
def test_two_empty_replies_fail_the_turn(scene: Scene, nothing: str | None) -> None:
    scene.says(says(nothing), says(nothing), says("too late"))
    assert scene.ask() is None
    assert error_of(scene) == ("OS111", "malformed_response")
    assert scene.run()["error"]["message"].endswith("gave an empty reply twice")
    assert len(scene.play.requests()) == 2


def test_tokens_of_an_empty_reply_are_counted(scene: Scene) -> None:
    scene.says(says("", usage=(50, 1)), says("now", usage=(60, 2)))
    assert scene.ask() == "now"
    run = scene.run()
    assert (run["input_tokens"], run["output_tokens"]) == (110, 3)
    scene.says(says("", usage=(50, 1)), says("", usage=(60, 2)))
    assert scene.ask() is None
    run = scene.run()
    assert (run["input_tokens"], run["output_tokens"]) == (110, 3)
    assert float(run["cost"]) == pytest.approx((110 * 2 + 3 * 8) / 1e6)


def test_a_refusal_in_words_is_the_answer_and_is_marked(scene: Scene) -> None:
    scene.says(says(None, refusal="I will not do that."))
    assert scene.ask() == "I will not do that."
    (step,) = scene.steps()
    assert step["message"]["content"] == "I will not do that."
    assert step["error"]["kind"] == "content_filter"


def test_a_filtered_reply_without_text_fails_the_turn(scene: Scene) -> None:
    scene.says(says(None, finish="content_filter"))
    assert scene.ask() is None
    assert error_of(scene) == ("OS113", "content_filter")
    assert scene.warnings[0][0].endswith("failed: the provider or the model refused to answer")
    assert len(scene.play.requests()) == 1


def test_a_reply_cut_off_before_its_first_word_fails_the_turn(scene: Scene) -> None:
    scene.says(says("", finish="length"))
    assert scene.ask() is None
    assert error_of(scene) == ("OS112", "length")
    assert "max_output_tokens" in scene.run()["error"]["hint"]


def test_a_reply_cut_off_in_its_text_is_the_answer_and_is_marked(scene: Scene) -> None:
    scene.says(says("It was a dark and", finish="length"))
    assert scene.ask() == "It was a dark and"
    assert scene.run()["status"] == "completed"
    assert scene.steps()[0]["error"]["kind"] == "length"


def test_a_paused_reply_goes_back_and_the_vendor_continues(
    connection: psycopg.Connection, play: Play
) -> None:
    scene = make_scene(connection, play, "anthropic")

    def message(text: str, stop_reason: str) -> Answer:
        return Answer(
            {
                "id": "msg_1",
                "type": "message",
                "role": "assistant",
                "model": "scripted",
                "content": [{"type": "text", "text": text}],
                "stop_reason": stop_reason,
                "usage": {"input_tokens": 9, "output_tokens": 3},
            }
        )

    scene.says(message("Searching...", "pause_turn"), message("Found it.", "end_turn"))
    assert scene.ask() == "Found it."
    assert scene.shape() == ["model completed", "model completed"]
    sent = play.bodies()[1]["messages"]
    assert sent[-1]["role"] == "assistant"
    assert "Searching..." in str(sent[-1]["content"])


def test_text_beside_tool_calls_is_kept_but_is_not_the_answer(scene: Scene) -> None:
    scene.skill(ONE)
    scene.says(
        Answer(completion("Let me look.", calls=[tool_call("one")])),
        says("It is one."),
    )
    assert scene.ask() == "It is one."
    assert scene.steps()[0]["message"]["content"] == "Let me look."


@pytest.mark.parametrize(
    "text",
    [
        "한국어 대답입니다. 조합형: \u1112\u1161\u11ab",
        "🏳️‍🌈 \u202eright to left\u202c \u2028 line",
        'quotes " and \\ and </script> and $1 %s {0}',
        "x" * 100_000,
    ],
)
def test_any_text_comes_back_exactly(scene: Scene, text: str) -> None:
    scene.says(says(text), says("second"))
    assert scene.ask(text) == text
    assert scene.ask("again", scene.run()["conversation_id"]) == "second"
    assert [m["content"] for m in scene.play.bodies()[1]["messages"][1:]] == [text, text, "again"]


def test_what_a_database_cannot_hold_is_replaced_in_a_reply(scene: Scene) -> None:
    scene.says(says("a\x00b\ud800c"))
    assert scene.ask() == "a\ufffdb\ufffdc"
    assert scene.steps()[0]["message"]["content"] == "a\ufffdb\ufffdc"
