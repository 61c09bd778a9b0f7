"""What a turn does when its provider fails: repeat, wait, shorten, fall back, fail with audit."""

from __future__ import annotations

import socket

import psycopg
import pytest

from kernel.replies import AT_ONCE, calls, fails, says, tool_call
from kernel.scene import Scene, make_scene
from servers.play_server import Answer, Play, PlayServer
from servers.scripted_provider import Script


def failure_of(scene: Scene) -> tuple[str, str, int | None]:
    """SQLSTATE, kind and HTTP status of the latest turn's error."""
    error = scene.run()["error"]
    return error["sqlstate"], error["kind"], error["status"]


def attempts_of(scene: Scene) -> int:
    """How many requests the last model step took."""
    return [step["attempts"] for step in scene.steps() if step["kind"] == "model"][-1]


@pytest.mark.parametrize("status", [408, 409, 429, 500, 502, 503, 529])
def test_a_passing_failure_is_tried_again(scene: Scene, status: int) -> None:
    scene.says(fails(status, **AT_ONCE), fails(status, **AT_ONCE), says("after all"))
    assert scene.ask() == "after all"
    assert attempts_of(scene) == 3
    assert scene.shape() == ["model completed"]
    assert scene.warnings == []


@pytest.mark.parametrize(
    ("status", "sqlstate", "kind"),
    [(429, "OS106", "rate_limited"), (500, "OS108", "server_error"), (529, "OS107", "overloaded")],
)
def test_a_failure_that_stays_fails_the_turn_after_three_tries(
    scene: Scene, status: int, sqlstate: str, kind: str
) -> None:
    scene.says(*(fails(status, "try later", **AT_ONCE) for _ in range(4)))
    assert scene.ask() is None
    assert failure_of(scene) == (sqlstate, kind, status)
    assert len(scene.play.requests()) == 3


@pytest.mark.parametrize(
    ("status", "sqlstate", "kind"),
    [
        (400, "OS104", "invalid_request"),
        (401, "OS101", "authentication"),
        (402, "OS102", "billing"),
        (403, "OS101", "authentication"),
        (404, "OS103", "not_found"),
        (422, "OS104", "invalid_request"),
    ],
)
def test_a_failure_that_cannot_pass_is_not_tried_again(
    scene: Scene, status: int, sqlstate: str, kind: str
) -> None:
    scene.says(fails(status, "no"), says("never asked for"))
    assert scene.ask() is None
    assert failure_of(scene) == (sqlstate, kind, status)
    assert len(scene.play.requests()) == 1
    message, hint = scene.warnings[0]
    assert str(scene.run()["run_id"]) in message
    assert message.endswith("failed: no")
    assert hint is not None
    assert "aos_agent.run_turn" in hint


def test_an_empty_account_is_not_a_rate_limit(scene: Scene) -> None:
    scene.says(fails(429, "no credit", code="insufficient_quota"), says("never asked for"))
    assert scene.ask() is None
    assert failure_of(scene) == ("OS102", "billing", 429)


def test_the_wait_that_a_provider_asks_for_is_kept(
    connection: psycopg.Connection, play: Play, script: Script
) -> None:
    scene = make_scene(
        connection, play, base_url=script.provider.openai_url, wire_name=script.model
    )
    script.fail(429, retry_after=1).say("patient")
    assert scene.ask() == "patient"
    first, second = script.requests()
    assert (first["status"], second["status"]) == (429, 200)
    assert second["started_at"] - first["ended_at"] >= 1.0
    assert attempts_of(scene) == 2


def test_a_provider_that_asks_for_too_much_patience_is_not_asked_again(scene: Scene) -> None:
    scene.says(fails(429, retry_after="3600"), says("never asked for"))
    assert scene.ask() is None
    assert len(scene.play.requests()) == 1


def test_without_advice_the_kernel_waits_longer_each_time(scene: Scene) -> None:
    scene.says(fails(500), fails(500), says("at last"))
    assert scene.ask() == "at last"
    first, second, third = (request.arrived_at for request in scene.play.requests())
    assert second - first >= 0.37  # 0.5 s, less a quarter of jitter
    assert third - second >= 0.75


def test_x_should_retry_has_the_last_word(scene: Scene) -> None:
    scene.says(fails(500, x_should_retry="false"), says("never asked for"))
    assert scene.ask() is None
    assert len(scene.play.requests()) == 1
    scene.says(fails(400, x_should_retry="true", **AT_ONCE), says("well then"))
    # The first answer that is left over belongs to this turn.
    assert scene.ask() == "never asked for"
    assert scene.ask() == "well then"


def test_a_refused_connection_is_named_with_its_address(
    connection: psycopg.Connection, play: Play
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    scene = make_scene(connection, play, base_url=f"http://127.0.0.1:{port}/v1")
    assert scene.ask() is None
    assert failure_of(scene) == ("OS110", "connection", None)
    error = scene.run()["error"]
    assert f"127.0.0.1:{port}" in error["message"]
    assert "Is the server at" in error["hint"]
    assert attempts_of(scene) == 3


@pytest.mark.parametrize("fault", ["silence", "drip"])
def test_a_provider_that_does_not_finish_in_time_is_given_up(scene: Scene, fault: str) -> None:
    scene.set_options(timeout_seconds=0.5)
    scene.says(*(Answer("x" * 1000, fault=fault) for _ in range(3)))
    assert scene.ask() is None
    assert failure_of(scene) == ("OS109", "timeout", None)
    assert "within 0.5 s" in scene.run()["error"]["message"]
    assert len(scene.play.requests()) == 3


@pytest.mark.parametrize("fault", ["reset", "half"])
def test_a_broken_connection_is_tried_again(scene: Scene, fault: str) -> None:
    scene.says(Answer("{}" * 50, fault=fault), says("mended"))
    assert scene.ask() == "mended"
    assert len(scene.play.requests()) == 2
    assert attempts_of(scene) == 2


@pytest.mark.parametrize(
    "answer",
    [
        Answer("<html>log in</html>", headers={"content-type": "text/html"}),
        Answer('{"choices": [{"mess'),
        Answer("[]"),
        Answer({"object": "list"}),
        Answer({"choices": []}),
        Answer({"choices": [{"index": 0}]}),
        Answer(""),
    ],
    ids=["html", "cut", "array", "other_object", "no_choice", "no_message", "empty"],
)
def test_a_200_that_is_no_completion_is_tried_again_and_then_fails_the_turn(
    scene: Scene, answer: Answer
) -> None:
    scene.says(answer, says("a real one"))
    assert scene.ask() == "a real one"
    assert attempts_of(scene) == 2


def test_a_captive_portal_fails_the_turn_with_a_hint(scene: Scene) -> None:
    page = Answer("<html>log in</html>", headers={"content-type": "text/html"})
    scene.says(page, page, page)
    assert scene.ask() is None
    assert failure_of(scene) == ("OS111", "malformed_response", 200)
    assert "base_url" in scene.run()["error"]["hint"]


def test_a_history_that_is_too_long_is_shortened_and_sent_once_more(scene: Scene) -> None:
    scene.says(*(says(f"answer {n}") for n in range(4)))
    conversation_id = None
    for n in range(4):
        scene.ask(f"question {n}", conversation_id)
        conversation_id = scene.run()["conversation_id"]
    scene.says(fails(400, "too long", code="context_length_exceeded"), says("short now"))
    assert scene.ask("question 4", conversation_id) == "short now"
    whole, shorter = (body["messages"] for body in scene.play.bodies()[-2:])
    assert len(whole) == 10
    assert shorter[0]["role"] == "system"
    assert shorter[1]["role"] == "user"
    assert shorter[-1] == whole[-1] == {"role": "user", "content": "question 4"}
    assert len(shorter) < len(whole)


def test_a_history_that_is_too_long_even_then_fails_the_turn(scene: Scene) -> None:
    scene.says(says("one"), *(fails(400, code="context_length_exceeded") for _ in range(3)))
    scene.ask("first")
    assert scene.ask("second", scene.run()["conversation_id"]) is None
    assert failure_of(scene) == ("OS105", "context_overflow", 400)
    assert len(scene.play.requests()) == 3


def test_the_fallback_model_answers_when_the_first_one_fails(
    scene: Scene, play_server: PlayServer
) -> None:
    understudy = play_server.play(f"{scene.play.name}-understudy")
    name = scene.add_fallback(understudy.url)
    scene.says(fails(401))
    understudy.add(says("I know the part"))
    assert scene.ask() == "I know the part"
    (step,) = scene.steps()
    assert step["attempts"] == 2
    assert step["model_id"] == scene.value(
        "select model_id from aos_meta.llm_model_registry where model_name = %s", name
    )
    assert understudy.bodies()[0]["model"] == name


def test_what_a_model_that_gave_way_has_cost_is_a_step_of_its_own(
    scene: Scene, play_server: PlayServer
) -> None:
    understudy = play_server.play(f"{scene.play.name}-understudy")
    scene.add_fallback(understudy.url)
    scene.says(says("", usage=(100, 1)), says("", usage=(110, 2)))
    understudy.add(says("I know the part", usage=(50, 7)))
    assert scene.ask() == "I know the part"
    assert scene.shape() == ["model failed", "model completed"]
    columns = ("attempts", "input_tokens", "output_tokens")
    wasted, answered = scene.steps()
    assert [wasted[column] for column in columns] == [2, 210, 3]
    assert wasted["error"]["kind"] == "malformed_response"
    assert [answered[column] for column in columns] == [1, 50, 7]
    assert wasted["model_id"] != answered["model_id"]
    assert wasted["started_at"] <= wasted["finished_at"] <= answered["started_at"]
    run = scene.run()
    assert (run["model_calls"], run["input_tokens"], run["output_tokens"]) == (2, 260, 10)


def test_a_turn_of_which_all_models_fail_keeps_its_audit(
    scene: Scene, play_server: PlayServer, database: object
) -> None:
    understudy = play_server.play(f"{scene.play.name}-understudy")
    scene.add_fallback(understudy.url)
    scene.skill("one() returns int language sql return 1")
    scene.says(calls(tool_call("one")), *(fails(500, **AT_ONCE) for _ in range(3)))
    understudy.add(fails(404, "no such model"))
    with scene.connection.transaction():
        assert scene.ask() is None
    assert scene.shape() == ["model completed", "tool completed", "model failed"]
    run, step = scene.run(), scene.steps()[-1]
    assert run["status"] == "failed"
    assert run["model_calls"] == 2
    assert run["error"] == step["error"]
    assert run["error"]["message"] == "no such model"
    assert (run["error"]["kind"], run["error"]["status"]) == ("not_found", 404)
    assert run["error"]["provider"].endswith("_fallback")
    assert step["attempts"] == 4
    assert scene.events() == ["turn_started", "turn_failed"]
    detail = scene.value(
        "select detail from aos_core.event_log where tenant_id = %s and chain_id <> tenant_id"
        " order by event_no desc limit 1",
        scene.tenant_id,
    )
    assert detail == {"sqlstate": "OS103", "kind": "not_found"}
    assert len(scene.warnings) == 1
    state = scene.run_turn(run["run_id"])
    assert (state["status"], state["answer"], state["error"]) == ("failed", None, run["error"])


def test_the_conversation_goes_on_after_a_failed_turn(scene: Scene) -> None:
    scene.says(fails(401), says("better now"))
    assert scene.ask("first") is None
    assert scene.ask("second", scene.run()["conversation_id"]) == "better now"
    assert [m["content"] for m in scene.play.bodies()[1]["messages"][1:]] == ["first", "second"]


def test_a_request_that_cannot_be_carried_fails_the_turn_with_its_audit(
    connection: psycopg.Connection, play: Play
) -> None:
    scene = make_scene(connection, play, "gemini")
    connection.execute(
        "update aos_meta.provider set carrier = 'sdk' where provider = %s", (scene.name,)
    )
    assert scene.ask() is None
    assert failure_of(scene) == ("OS104", "invalid_request", None)
    assert "has no SDK" in scene.run()["error"]["message"]
    assert scene.shape() == ["model failed"]
