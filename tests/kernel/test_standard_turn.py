"""The standard turn, two model calls and one tool, over every wire and both carriers."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest

from kernel.replies import calls, completion, says, tool_call
from kernel.scene import Scene, make_scene
from servers.play_server import Answer, Play
from servers.scripted_provider import Script

PRICE = (
    "price(product text) returns numeric language sql return case product when '사과' then 12.5 end"
)

#: driver, carrier, path of the request
WIRES = [
    ("openai_chat", "wire", "/v1/chat/completions"),
    ("openai_chat", "sdk", "/v1/chat/completions"),
    ("openai_responses", "wire", "/v1/responses"),
    ("openai_responses", "sdk", "/v1/responses"),
    ("anthropic", "wire", "/anthropic/v1/messages"),
    ("anthropic", "sdk", "/anthropic/v1/messages"),
    ("gemini", "wire", "/gemini/v1beta/models/"),
    ("ollama", "wire", "/v1/chat/completions"),  # our own front turns /api/chat into this
]


def base_url_of(driver: str, script: Script, ollama_front: str) -> str:
    """Where llmock serves the wire of a driver."""
    return {
        "openai_chat": script.provider.openai_url,
        "openai_responses": script.provider.openai_url,
        "anthropic": script.provider.anthropic_url,
        "gemini": script.provider.gemini_url,
        "ollama": ollama_front,
    }[driver]


@pytest.mark.parametrize(("driver", "carrier", "path"), WIRES)
def test_a_turn_with_a_tool_completes_on_every_wire(
    connection: psycopg.Connection,
    play: Play,
    script: Script,
    ollama_front: str,
    driver: str,
    carrier: str,
    path: str,
) -> None:
    scene = make_scene(
        connection,
        play,
        driver,
        base_url_of(driver, script, ollama_front),
        wire_name=script.model,
    )
    connection.execute(
        "update aos_meta.provider set carrier = %s where provider = %s", (carrier, scene.name)
    )
    scene.skill(PRICE)
    script.call(("price", {"product": "사과"})).say("사과는 12.5달러입니다. 🍎")

    assert scene.ask("사과는 얼마예요?") == "사과는 12.5달러입니다. 🍎"

    journal = script.requests()
    assert [entry["status"] for entry in journal] == [200, 200]
    assert all(entry["path"].startswith(path) for entry in journal)
    assert script.pending() == []
    check_rows(scene)


def check_rows(scene: Scene) -> None:
    """The rows are the same whatever the wire."""
    run, steps = scene.run(), scene.steps()
    assert [(s["step_no"], s["kind"], s["status"], s["attempts"]) for s in steps] == [
        (1, "model", "completed", 1),
        (2, "tool", "completed", None),
        (3, "model", "completed", 1),
    ]
    question, tool, answer = steps
    assert question["message"]["tool_calls"] == [
        {"call_id": tool["call_id"], "name": "price", "arguments": {"product": "사과"}}
    ]
    assert tool["arguments"] == {"product": "사과"}
    assert tool["message"] == {"role": "tool", "call_id": tool["call_id"], "content": "12.5"}
    assert answer["message"]["content"] == "사과는 12.5달러입니다. 🍎"
    assert all(s["started_at"] <= s["finished_at"] for s in steps)

    models = [question, answer]
    for column in ("input_tokens", "cached_tokens", "output_tokens"):
        assert run[column] == sum(s[column] or 0 for s in models), column
    assert all(s["input_tokens"] > 0 and s["output_tokens"] > 0 for s in models)
    assert all(
        s["cost"] * 1_000_000
        == s["input_tokens"] * 2 - (s["cached_tokens"] or 0) + s["output_tokens"] * 8
        for s in models
    )
    assert run["cost"] == question["cost"] + answer["cost"]
    assert (run["status"], run["runner"], run["model_calls"], run["turn_no"]) == (
        "completed",
        "database",
        2,
        1,
    )
    assert scene.events() == ["turn_started", "turn_completed"]
    told = scene.rows(
        "select role, tool_name, content from aos_agent.transcript where conversation_id = %s"
        " order by turn_no, step_no, message_no",
        run["conversation_id"],
    )
    assert [(line["role"], line["tool_name"]) for line in told] == [
        ("user", None),
        ("assistant", None),
        ("tool", "price"),
        ("assistant", None),
    ]
    assert told[0]["content"] == "사과는 얼마예요?"
    assert told[2]["content"] == "12.5"
    assert told[3]["content"] == "사과는 12.5달러입니다. 🍎"
    assert scene.warnings == []


def test_cached_and_reasoning_tokens_are_priced_and_counted(scene: Scene) -> None:
    body = completion("done", usage=(1000, 200))
    body["usage"]["prompt_tokens_details"] = {"cached_tokens": 600}
    body["usage"]["completion_tokens_details"] = {"reasoning_tokens": 150}
    scene.says(Answer(body))
    assert scene.ask() == "done"
    (step,) = scene.steps()
    assert (step["input_tokens"], step["cached_tokens"], step["output_tokens"]) == (1000, 600, 200)
    assert step["reasoning_tokens"] == 150
    assert float(step["cost"]) == pytest.approx((400 * 2 + 600 * 1 + 200 * 8) / 1e6)
    totals = scene.rows(
        "select turns, model_calls, input_tokens, cached_tokens, output_tokens, last_status"
        " from aos_core.runs where tenant_id = %s",
        scene.tenant_id,
    )
    assert totals == [
        {
            "turns": 1,
            "model_calls": 1,
            "input_tokens": 1000,
            "cached_tokens": 600,
            "output_tokens": 200,
            "last_status": "completed",
        }
    ]


def test_run_turn_returns_the_answer_with_usage_and_steps(scene: Scene) -> None:
    scene.skill(PRICE)
    scene.says(calls(tool_call("price", {"product": "사과"})), says("12.5", usage=(30, 2)))
    turn_id = scene.start("how much?")
    state = scene.run_turn(turn_id)
    assert state["usage"].pop("cost") == pytest.approx((40 * 2 + 7 * 8) / 1e6)
    assert state == {
        "status": "completed",
        "turn_id": str(turn_id),
        "answer": "12.5",
        "steps": 3,
        "usage": {"model_calls": 2, "input_tokens": 40, "cached_tokens": 0, "output_tokens": 7},
    }


def test_the_request_carries_persona_parameters_tools_and_history(scene: Scene) -> None:
    scene.skill(PRICE)
    scene.set_params(temperature=0.5, max_output_tokens=77)
    scene.says(says("first"), says("second"))
    scene.ask("one")
    scene.ask("two", scene.run()["conversation_id"])
    body: dict[str, Any] = scene.play.bodies()[1]
    assert (body["model"], body["temperature"], body["max_tokens"]) == (scene.name, 0.5, 77)
    assert body["messages"] == [
        {"role": "system", "content": "You are on a stage."},
        {"role": "user", "content": "one"},
        {"role": "assistant", "content": "first"},
        {"role": "user", "content": "two"},
    ]
    (tool,) = body["tools"]
    assert tool["function"]["name"] == "price"
    assert tool["function"]["parameters"]["properties"] == {"product": {"type": "string"}}


def test_one_connection_serves_all_turns_of_a_session(scene: Scene) -> None:
    scene.skill(PRICE)
    for _ in range(3):
        scene.says(calls(tool_call("price", {"product": "사과"})), says("12.5"))
        assert scene.ask() == "12.5"
    ports = {request.client_port for request in scene.play.requests()}
    assert len(ports) == 1
