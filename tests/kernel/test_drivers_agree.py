"""The same script through every driver leaves the same rows.

``SELECT run_turn`` is the measure. ``CALL run_turn_stepwise`` and ``CALL work`` are held against it
here, the outside worker in ``tests/worker/test_same_rows.py``, whose scripts these are. A worker
that knows only the seed's cycle cannot say what a call has cost, nor bring what the vendor wants
back; all else is the same.
"""

from __future__ import annotations

import itertools
import json
import threading
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from psycopg.types.json import Jsonb

from cluster import Database
from conformance.cases import recorded
from kernel.background import wait_for
from kernel.replies import calls, says, tool_call
from kernel.scene import Row, Scene, make_scene
from servers.play_server import Answer, Play, PlayServer
from worker.test_same_rows import (
    CASES,
    Prepare,
    decide,
    normalized,
    run_of,
    sent,
    used,
    with_add,
    with_question,
    with_weather,
)

_numbers = itertools.count(1)
#: What a bare worker does not tell.
_UNTOLD = {
    *("model_id", "attempts", "vendor", "cost"),
    *("input_tokens", "cached_tokens", "cache_write_tokens", "output_tokens", "reasoning_tokens"),
}
#: What a bare worker can bring: one call a reply (a call that is run at once closes its reply), and
#: arguments that are a JSON object.
BARE: dict[str, tuple[Prepare, list[Answer]]] = {
    **{
        name: CASES[name]
        for name in (
            "an answer",
            "a tool of the database",
            "an unknown tool",
            "a tool that may not be used",
            "a tool that fails",
        )
    },
    "one tool after the other": (
        with_add,
        [
            calls(tool_call("add", {"a": 1, "b": 2}, "c1")),
            calls(tool_call("add", {"a": 3, "b": 3}, "c2")),
            says("6"),
        ],
    ),
    "a question to a person": (
        with_question,
        [calls(tool_call("drop_it", {}, "c1")), says("Done.")],
    ),
}
WIRES = [
    ("openai_chat", ("parallel_calls", "text")),
    ("openai_responses", ("reasoning_comment_and_call", "text")),
    ("anthropic", ("thinking_and_call", "text")),
    ("anthropic", ("pause", "text")),
    ("gemini", ("call_with_id", "text")),
    ("ollama", ("thinking_and_calls", "text")),
]


@pytest.fixture(scope="module")
def queue_worker(database: Database) -> Iterator[None]:
    """A backend that drives the queue while the tests of this module run."""
    stop = threading.Event()

    def work() -> None:
        with database.connect() as connection:
            while not stop.is_set():
                connection.execute("call aos_agent.work(2, 8)")

    thread = threading.Thread(target=work)
    thread.start()
    yield
    stop.set()
    thread.join()


def start(scene: Scene, driver: str) -> Any:
    """Start a turn as the driver wants it."""
    if driver != "work":
        return scene.start()
    conversation_id = scene.value("select aos_agent.open_conversation(%s)", scene.name)
    return scene.value("select aos_agent.submit(%s, 'hello')", conversation_id)


def drive(scene: Scene, driver: str, run_id: Any) -> None:
    """Take a turn as far as it can go."""
    if driver == "select":
        scene.run_turn(run_id)
    elif driver == "stepwise":
        scene.connection.execute("call aos_agent.run_turn_stepwise(%s)", (run_id,))
    else:
        wait_for(
            scene.connection,
            "status in ('completed', 'failed', 'cancelled', 'awaiting_approval')"
            " from aos_core.run where run_id = %s",
            run_id,
        )


def play_through(scene: Scene, driver: str) -> Any:
    """Drive a turn to its end, and say yes to all that it asks; returns turn_id."""
    run_id = start(scene, driver)
    drive(scene, driver, run_id)
    if run_of(scene, run_id)["status"] == "awaiting_approval":
        decide(scene, run_id)
        drive(scene, driver, run_id)
    return run_id


def compare(
    connection: psycopg.Connection,
    play_server: PlayServer,
    driver: str,
    prepare: Prepare,
    script: list[Answer],
    wire: str = "openai_chat",
) -> None:
    """Play the script with SELECT and with another driver, and compare."""
    # One failure is enough, also where the queue would try again.
    connection.execute("update aos_meta.setting set value = '1' where name = 'queue_max_attempts'")
    played: list[tuple[Scene, Any]] = []
    for how in ("select", driver):
        play = play_server.play(f"agree-{driver}-{how}-{next(_numbers)}")
        scene = make_scene(connection, play, wire)
        prepare(scene)
        scene.says(*script)
        played.append((scene, play_through(scene, how)))
    (one, here), (other, there) = played
    assert run_of(other, there) == run_of(one, here)
    assert normalized(other, there) == normalized(one, here)
    assert used(other) == used(one)
    assert sent(other, there) == sent(one, here)


@pytest.mark.parametrize("driver", ["stepwise", "work"])
@pytest.mark.parametrize("case", CASES)
def test_a_committing_driver_leaves_the_rows_of_the_select_driver(
    case: str,
    driver: str,
    connection: psycopg.Connection,
    play_server: PlayServer,
    queue_worker: None,
) -> None:
    compare(connection, play_server, driver, *CASES[case])


@pytest.mark.parametrize("driver", ["stepwise", "work"])
@pytest.mark.parametrize(("wire", "replies"), WIRES)
def test_a_committing_driver_keeps_what_every_vendor_wants_back(
    wire: str,
    replies: tuple[str, ...],
    driver: str,
    connection: psycopg.Connection,
    play_server: PlayServer,
    queue_worker: None,
) -> None:
    script = [Answer(json.loads(recorded(wire, name).body)) for name in replies]
    compare(connection, play_server, driver, with_weather, script, wire)


# --- the seed's cycle --------------------------------------------------------------------------


def cycle(scene: Scene, script: list[Answer]) -> Any:
    """Be the worker: hand the script's replies over call by call; returns turn_id."""
    run_id = scene.start()
    for answer in script:
        while (state := scene.run_turn(run_id))["status"] == "awaiting_approval":
            decide(scene, run_id)
        assert state["status"] == "awaiting_model", state
        message = answer.body["choices"][0]["message"]
        for call in message.get("tool_calls") or []:
            scene.value(
                "select aos_agent.process_tool_call(%s, %s, %s, %s)",
                run_id,
                call["function"]["name"],
                Jsonb(json.loads(call["function"]["arguments"])),
                call["id"],
            )
        if not message.get("tool_calls"):
            scene.value("select aos_agent.finish_turn(%s, %s)", run_id, message["content"])
    return run_id


def told(scene: Scene, run_id: Any) -> list[Row]:
    """The steps of a turn without what a bare worker does not tell, JSON as its value."""
    [steps, events] = json.loads(normalized(scene, run_id))
    for step in steps:
        for column in ("message", "arguments"):
            step[column] = step[column] and json.loads(step[column])
    return [{k: v for k, v in step.items() if k not in _UNTOLD} for step in steps] + [
        {"events": events}
    ]


@pytest.mark.parametrize("case", BARE)
def test_the_bare_cycle_differs_in_usage_and_vendor_blocks_only(
    case: str, connection: psycopg.Connection, play_server: PlayServer
) -> None:
    prepare, script = BARE[case]
    plays: list[Play] = [play_server.play(f"bare-{n}-{next(_numbers)}") for n in range(2)]
    one, other = (make_scene(connection, play) for play in plays)
    for scene in (one, other):
        prepare(scene)
    one.says(*script)
    here = play_through(one, "select")
    other.set_agent("runner", "external")
    there = cycle(other, script)
    assert run_of(other, there)["status"] == run_of(one, here)["status"] == "completed"
    assert told(other, there) == told(one, here)
    assert plays[1].requests() == []
