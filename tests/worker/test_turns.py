"""What a worker does with turns: model calls, tools, approvals, failures."""

from __future__ import annotations

from pathlib import Path

import pytest

from kernel.replies import AT_ONCE, calls, fails, held, says, tool_call
from kernel.scene import Scene
from worker.conftest import MakeOutside, external_skill
from worker.process import Start, write_tools

KEY = "Zauberwort+geheim/0123456789abcdef=="


def test_it_answers_a_turn_that_waited_and_one_that_arrives_while_it_sleeps(
    outside: Scene, start_worker: Start
) -> None:
    outside.says(says("one"), says("two"))
    first = outside.start("first")
    worker = start_worker("--poll", "3600")
    worker.wait_for("completed", turn_id=str(first))
    worker.wait_for("listening")
    second = outside.start("second")  # only the notification can wake it
    worker.wait_for("completed", turn_id=str(second))
    assert outside.run_turn(first)["answer"] == "one"
    assert outside.run_turn(second)["answer"] == "two"


def test_many_turns_are_driven_at_once(outside: Scene, start_worker: Start) -> None:
    turns = [outside.start(f"turn {n}") for n in range(12)]
    outside.says(*(held(says("done")) for _ in turns))
    worker = start_worker("--concurrency", "10")
    outside.play.arrived(10)
    worker.wait_for("model call", count=10)
    assert len(worker.events("claimed")) == 10  # no more than it was told
    for _ in turns:
        outside.play.release()
    worker.wait_for("completed", count=12)
    assert {outside.run_turn(turn)["answer"] for turn in turns} == {"done"}


def test_a_tool_of_its_file_runs_and_its_result_reaches_the_model(
    outside: Scene, start_worker: Start, tmp_path: Path
) -> None:
    external_skill(outside, "weather")
    outside.says(calls(tool_call("weather", {"city": "Seoul"}, "c1")), says("Sunny."))
    tools = write_tools(
        tmp_path,
        "async def weather(city, idempotency_key):\n"
        "    return {'city': city, 'key': idempotency_key}\n",
    )
    turn = outside.start("How is the weather?")
    start_worker("--tools", tools).wait_for("completed", turn_id=str(turn))
    assert outside.run_turn(turn)["answer"] == "Sunny."
    assert outside.shape() == ["model completed", "tool completed", "model completed"]
    assert outside.tool_results() == [f'{{"key": "{turn}-2", "city": "Seoul"}}']


def test_parallel_calls_run_at_the_same_time(
    outside: Scene, start_worker: Start, tmp_path: Path
) -> None:
    for skill in ("left", "right"):
        external_skill(outside, skill)
    outside.says(calls(tool_call("left", {}, "c1"), tool_call("right", {}, "c2")), says("Met."))
    # Each waits for the other; the plain one waits in a thread.
    tools = write_tools(
        tmp_path,
        "import asyncio, threading\n"
        "_here, _there = threading.Event(), threading.Event()\n"
        "def left():\n"
        "    _here.set()\n"
        "    return 'left' if _there.wait(60) else 'alone'\n"
        "async def right():\n"
        "    _there.set()\n"
        "    return 'right' if await asyncio.to_thread(_here.wait, 60) else 'alone'\n",
    )
    turn = outside.start()
    start_worker("--tools", tools).wait_for("completed", turn_id=str(turn))
    assert outside.tool_results() == ["left", "right"]


@pytest.mark.parametrize(
    ("source", "result"),
    [
        ("def tool(): raise ValueError('no such city')", "ValueError: no such city"),
        ("def tool(city): return city", "missing 1 required positional argument: 'city'"),
        ("def tool(): return float('nan')", "Out of range float values are not JSON compliant"),
        ("def tool(): return object()", "is not JSON serializable"),
        ("def _tool(): return 1", "The tool tool is not available: no worker knows it."),
        ("from json import loads as tool", "The tool tool is not available"),
    ],
)
def test_a_tool_that_gives_no_result_is_told_to_the_model(
    outside: Scene, start_worker: Start, tmp_path: Path, source: str, result: str
) -> None:
    external_skill(outside, "tool")
    outside.says(calls(tool_call("tool", {}, "c1")), says("Sorry."))
    turn = outside.start()
    start_worker("--tools", write_tools(tmp_path, source)).wait_for("completed")
    assert outside.shape() == ["model completed", "tool failed", "model completed"]
    assert result in outside.tool_results()[0]
    [step] = [s for s in outside.steps(turn) if s["kind"] == "tool"]
    assert result in step["error"]["message"]
    assert step["message"]["is_error"] is True


def test_a_result_that_is_too_long_is_cut(
    outside: Scene, start_worker: Start, tmp_path: Path
) -> None:
    external_skill(outside, "tool")
    outside.says(calls(tool_call("tool", {}, "c1")), says("Long."))
    outside.start()
    tools = write_tools(tmp_path, "def tool(): return 'x' * 150_000")
    start_worker("--tools", tools).wait_for("completed")
    [result] = outside.tool_results()
    assert result == "x" * 100_000 + "\n[50000 more characters left out]"


def test_a_call_that_needs_a_person_runs_after_the_yes(
    outside: Scene, start_worker: Start, tmp_path: Path
) -> None:
    external_skill(outside, "free")
    external_skill(outside, "send", approval="ask")
    outside.says(calls(tool_call("send", {"to": "all"}, "c1"), tool_call("free", {}, "c2")))
    tools = write_tools(
        tmp_path, "def send(to):\n    return f'sent to {to}'\ndef free():\n    return 'free'\n"
    )
    turn = outside.start()
    worker = start_worker("--tools", tools, "--poll", "3600")
    worker.wait_for("tool result", tool="free")  # what needs nobody has run
    worker.wait_for("waits for a person", turn_id=str(turn))
    assert [e["tool"] for e in worker.events("tool call")] == ["free"]
    [asked] = outside.rows("select * from aos_agent.pending_approval where turn_id = %s", turn)
    outside.says(says("It is sent."))
    outside.value("select aos_agent.approve_tool_call(%s)", asked["step_id"])
    worker.wait_for("completed", turn_id=str(turn))  # woken by the yes
    assert outside.tool_results() == ["sent to all", "free"]
    assert [e["fence"] for e in worker.events("claimed")] == [1, 2]


def test_a_refused_call_is_told_to_the_model(
    outside: Scene, start_worker: Start, tmp_path: Path
) -> None:
    external_skill(outside, "send", approval="ask")
    outside.says(calls(tool_call("send", {}, "c1")), says("Then not."))
    tools = write_tools(tmp_path, "def send():\n    raise SystemExit('it ran')\n")
    turn = outside.start()
    worker = start_worker("--tools", tools)
    worker.wait_for("waits for a person", turn_id=str(turn))
    [asked] = outside.rows("select * from aos_agent.pending_approval where turn_id = %s", turn)
    outside.value("select aos_agent.reject_tool_call(%s, 'too dear')", asked["step_id"])
    worker.wait_for("completed", turn_id=str(turn))
    assert "too dear" in outside.tool_results()[0]
    assert worker.events("tool call") == []


@pytest.mark.parametrize(
    ("driver", "header", "value", "body"),
    [
        ("openai_chat", "authorization", f"Bearer {KEY}", says("Hello.").body),
        (
            "anthropic",
            "x-api-key",
            KEY,
            {
                "id": "msg_1",
                "type": "message",
                "role": "assistant",
                "model": "m",
                "content": [{"type": "text", "text": "Hello."}],
                "stop_reason": "end_turn",
                "usage": {"input_tokens": 1, "output_tokens": 1},
            },
        ),
        (
            "gemini",
            "x-goog-api-key",
            KEY,
            {
                "candidates": [
                    {
                        "content": {"role": "model", "parts": [{"text": "Hello."}]},
                        "finishReason": "STOP",
                    }
                ]
            },
        ),
    ],
)
def test_the_key_comes_from_the_workers_environment_and_goes_nowhere_else(
    make_outside: MakeOutside,
    start_worker: Start,
    driver: str,
    header: str,
    value: str,
    body: object,
) -> None:
    scene = make_outside(driver=driver, api_key_env="WORKERS_OWN_KEY")
    scene.connection.execute(
        "update aos_auth.principal set tenant_id = %s where db_role is not null", (scene.tenant_id,)
    )
    scene.says(says("").__class__(body))
    turn = scene.start()
    worker = start_worker(environment={"WORKERS_OWN_KEY": KEY, "OPENAI_ORG_ID": "someone"})
    worker.wait_for("completed", turn_id=str(turn))
    [request] = scene.play.requests()
    assert request.headers[header] == value
    assert "openai-organization" not in request.headers
    assert KEY not in scene.everything() + str(worker.events())


def test_a_turn_whose_provider_wants_a_key_that_the_worker_has_not_fails(
    make_outside: MakeOutside, start_worker: Start
) -> None:
    scene = make_outside(api_key_env="WORKERS_OWN_KEY")
    scene.connection.execute(
        "update aos_auth.principal set tenant_id = %s where db_role is not null", (scene.tenant_id,)
    )
    turn = scene.start()
    start_worker().wait_for("failed", turn_id=str(turn))
    error = scene.run_turn(turn)["error"]
    assert (error["sqlstate"], error["kind"]) == ("OS101", "authentication")
    assert "api_key_env" in error["hint"]
    assert scene.play.requests() == []


def test_an_error_that_may_pass_puts_the_turn_off_and_the_next_attempt_goes_on(
    outside: Scene, start_worker: Start
) -> None:
    outside.says(*(fails(503, **AT_ONCE) for _ in range(3)), says("At last."))
    turn = outside.start()
    worker = start_worker("--poll", "0.1")
    worker.wait_for("put off", turn_id=str(turn))
    worker.wait_for("completed", turn_id=str(turn))
    assert outside.shape() == ["model completed"]
    assert [e["fence"] for e in worker.events("claimed")] == [1, 2]
    keys = {request.headers["idempotency-key"] for request in outside.play.requests()}
    assert keys == {f"{turn}-1"}  # it is one call, however often it is sent


def test_a_turn_that_fails_again_and_again_becomes_a_dead_letter(
    outside: Scene, start_worker: Start
) -> None:
    outside.says(*(fails(500, "boom", **AT_ONCE) for _ in range(15)))
    turn = outside.start()
    worker = start_worker("--poll", "0.1")
    worker.wait_for("failed", turn_id=str(turn))
    assert len(worker.events("put off")) == 4
    state = outside.run_turn(turn)
    assert (state["error"]["kind"], state["error"]["attempts"]) == ("server_error", 5)
    [letter] = outside.rows("select * from aos_core.queue where run_id = %s", turn)
    assert (letter["died_at"] is not None, letter["error"]["kind"]) == (True, "server_error")


def test_a_turn_over_its_budget_is_ended_and_the_next_one_is_driven(
    outside: Scene, start_worker: Start
) -> None:
    outside.value(
        "select aos_agent.set_budget('total', 10, conversation_id => %s)",
        (conversation := outside.value("select aos_agent.open_conversation(%s)", outside.name)),
    )
    outside.says(says("All is used up."), says("Still here."))
    for content in ("first", "second"):
        outside.value("select aos_agent.add_user_message(%s, %s)", conversation, content)
        turn = outside.value("select aos_agent.start_turn(%s)", conversation)
        if content == "first":
            worker = start_worker("--poll", "0.1")
            worker.wait_for("completed", turn_id=str(turn))
    other = outside.start("of another conversation")
    worker.wait_for("completed", turn_id=str(other))
    assert outside.run_turn(turn)["error"]["sqlstate"] == "OS115"


def test_requests_a_minute_put_turns_off(outside: Scene, start_worker: Start) -> None:
    outside.connection.execute(
        "update aos_meta.provider set requests_per_minute = 1 where provider = %s", (outside.name,)
    )
    outside.says(says("first"), says("second"))
    turns = [outside.start(), outside.start()]
    worker = start_worker()
    worker.wait_for("completed")
    outside.play.arrived(1)
    statuses = sorted(outside.run_turn(turn)["status"] for turn in turns)
    assert statuses == ["awaiting_model", "completed"]
    worker.stop()
    assert len(outside.play.requests()) == 1
    [waiting] = outside.rows("select * from aos_core.queue where tenant_id = %s", outside.tenant_id)
    assert (waiting["worker"], waiting["attempt"]) == (None, 0)
