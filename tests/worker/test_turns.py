"""What a worker does with turns: model calls, tools, approvals, failures."""

from __future__ import annotations

from pathlib import Path

from kernel.replies import calls, says, tool_call
from kernel.scene import Scene
from worker.conftest import external_skill
from worker.process import Start, write_tools


def test_it_answers_a_turn_that_was_started_before_and_one_that_is_started_later(
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


def test_a_tool_of_its_file_runs_and_its_result_reaches_the_model(
    outside: Scene, start_worker: Start, tmp_path: Path
) -> None:
    external_skill(outside, "weather")
    outside.says(calls(tool_call("weather", {"city": "Seoul"}, "c1")), says("Sunny."))
    tools = write_tools(tmp_path, "def weather(city):\n    return {'city': city, 'sky': 'clear'}\n")
    turn = outside.start("How is the weather?")
    start_worker("--tools", tools).wait_for("completed", turn_id=str(turn))
    assert outside.run_turn(turn)["answer"] == "Sunny."
    assert outside.shape() == ["model completed", "tool completed", "model completed"]
    assert outside.tool_results() == ['{"sky": "clear", "city": "Seoul"}']
