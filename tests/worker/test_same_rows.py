"""The same script, driven by SELECT and by an outside worker, leaves the same rows.

Both agents talk to their provider under one name, so what the provider was sent must be the same,
too, but for the key by which it knows a call.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest

from cluster import Database
from conformance.cases import recorded
from kernel.replies import AT_ONCE, calls, completion, fails, says, tool_call
from kernel.scene import Row, Scene, make_scene
from servers.play_server import Answer, PlayServer
from worker.process import WorkerProcess, worker_starter

#: what differs from turn to turn, and proves nothing
_OWN = {"step_id", "tenant_id", "run_id", "started_at", "finished_at"}
_numbers = itertools.count(1)

Prepare = Callable[[Scene], None]


def with_add(scene: Scene) -> None:
    # With a skill of its own an agent has no default ones, of which some are offered outside only.
    scene.skill("add(a integer, b integer) returns integer language sql return a + b")


def with_weather(scene: Scene) -> None:
    scene.skill("get_weather(city text) returns text language sql return city || ': 21 degrees'")


def with_failing_tool(scene: Scene) -> None:
    scene.skill("fail() returns integer language sql return 1 / 0")


def with_denied_tool(scene: Scene) -> None:
    scene.skill("add(a integer, b integer) returns integer language sql return a + b", "never")


def with_question(scene: Scene) -> None:
    with_add(scene)
    scene.skill("drop_it() returns text language sql return 'dropped'", "ask")


def with_few_calls(scene: Scene) -> None:
    with_add(scene)
    scene.set_agent("max_model_calls", 2)


def with_few_tokens(scene: Scene) -> None:
    with_add(scene)
    scene.set_agent("max_turn_tokens", 12)


def with_budget(scene: Scene) -> None:
    with_add(scene)
    scene.value("select aos_agent.set_budget('turn', 12, tenant_name => %s)", scene.name)


def with_fallback(scene: Scene) -> None:
    with_add(scene)
    scene.add_fallback(scene.play.url)


ADD = tool_call("add", '{"b": 1e0,  "a": 2}', "c1")
WITH_TEXT = completion("Let me add.", calls=[tool_call("add", {"a": 1, "b": 2}, "c1")])
CASES: dict[str, tuple[Prepare, list[Answer]]] = {
    "an answer": (with_add, [says('Hello \\ "you" \u2028 한글 \t end.')]),
    "a tool of the database": (
        with_add,
        [calls(tool_call("add", '{"b": 1,  "a": 2}', "c1")), says("3")],
    ),
    "arguments that do not fit": (with_add, [calls(ADD), says("I see.")]),
    "parallel calls": (
        with_add,
        [
            calls(
                tool_call("add", {"a": 1, "b": 1}, "c1"), tool_call("add", {"a": 2, "b": 2}, "c2")
            ),
            says("2 and 4"),
        ],
    ),
    "an id that comes again": (
        with_add,
        [
            calls(
                tool_call("add", {"a": 1, "b": 1}, "c1"), tool_call("add", {"a": 2, "b": 2}, "c2")
            ),
            calls(
                tool_call("add", {"a": 3, "b": 3}, "c1"), tool_call("add", {"a": 4, "b": 4}, "c2")
            ),
            says("done"),
        ],
    ),
    "text beside a call": (
        with_add,
        [Answer(WITH_TEXT), says("3")],
    ),
    "arguments that are no JSON": (
        with_add,
        [calls(tool_call("add", ' {"a": 1, "b": ', "c1")), says("Sorry.")],
    ),
    "no arguments at all": (with_add, [calls(tool_call("add", "", "c1")), says("Sorry.")]),
    "an unknown tool": (with_add, [calls(tool_call("sub", {"a": 1}, "c1")), says("Sorry.")]),
    "a tool that may not be used": (
        with_denied_tool,
        [calls(tool_call("add", {"a": 1, "b": 2}, "c1")), says("Sorry.")],
    ),
    "a tool that fails": (with_failing_tool, [calls(tool_call("fail", {}, "c1")), says("Sorry.")]),
    "a question to a person": (
        with_question,
        [
            calls(tool_call("add", {"a": 1, "b": 2}, "c1"), tool_call("drop_it", {}, "c2")),
            says("Done."),
        ],
    ),
    "a call that was cut off": (
        with_add,
        [calls(tool_call("add", {"a": 1, "b": 2}, "c1"), finish="length"), says("3")],
    ),
    "an answer that was cut off": (with_add, [says("It is", finish="length")]),
    "a cut before the first word": (with_add, [says("", finish="length")]),
    "a refusal": (with_add, [says(None, refusal="I will not.")]),
    "a content filter": (with_add, [says(None, finish="content_filter")]),
    "an empty reply and a second question": (with_add, [says(""), says("Here I am.")]),
    "two empty replies": (with_add, [says(""), says("")]),
    "a retry": (with_add, [fails(500, **AT_ONCE), says("at last")]),
    "an error that stays": (with_add, [fails(401, "wrong key")]),
    "an error that nobody retries, after a tool": (
        with_add,
        [calls(tool_call("add", {"a": 1, "b": 2}, "c1")), fails(404, "no such model")],
    ),
    "a fallback model": (with_fallback, [fails(404, "no such model"), says("I help out.")]),
    "a fallback after replies that cost something": (
        with_fallback,
        [says(""), says(""), says("I help out.")],
    ),
    "the last call of a turn": (
        with_few_calls,
        [calls(tool_call("add", {"a": 1, "b": 2}, "c1")), says("3")],
    ),
    "a model that wants more tools than it may": (
        with_few_calls,
        [
            calls(tool_call("add", {"a": 1, "b": 2}, "c1")),
            calls(tool_call("add", {"a": 1, "b": 2}, "c2")),
        ],
    ),
    "a limit of tokens": (with_few_tokens, [calls(tool_call("add", {"a": 1, "b": 2}, "c1"))]),
    "a budget": (with_budget, [calls(tool_call("add", {"a": 1, "b": 2}, "c1"))]),
}


@pytest.fixture(scope="module")
def worker(database: Database) -> Iterator[WorkerProcess]:
    """One worker for all turns of this module: an operator's, so it sees every tenant."""
    with database.connect() as admin:
        admin.execute("create role same_rows_worker login in role pgagentos_operator")
    with worker_starter(database.conninfo(user="same_rows_worker")) as start:
        yield start()


def normalized(scene: Scene, run_id: Any) -> str:
    """The steps and the events of a turn, byte for byte, without what is the scene's own."""
    steps = scene.rows(
        "select s.*, s.message::text as message, s.arguments::text as arguments,"
        " s.vendor::text as vendor,"
        " (select model_name from aos_meta.llm_model_registry as m where m.model_id = s.model_id)"
        "   as model_id,"
        " (select name from aos_skills.skill as k where k.skill_id = s.skill_id) as skill_id,"
        " s.started_at <= s.finished_at as took_time"
        " from aos_core.step as s where s.run_id = %s order by s.step_no",
        run_id,
    )
    kept = [{k: v for k, v in step.items() if k not in _OWN} for step in steps]
    assert all(step["took_time"] for step in steps)
    text = json.dumps([kept, scene.events()], default=str, indent=1, ensure_ascii=False)
    return text.replace(scene.name, "SCENE")


def run_of(scene: Scene, run_id: Any) -> Row:
    """The turn itself."""
    [run] = scene.rows(
        "select status, model_calls, input_tokens, cached_tokens, output_tokens, transcript_bytes,"
        " cost, error from aos_core.run where run_id = %s",
        run_id,
    )
    if run["error"] is not None:
        run["error"].pop("budget_id", None)
        run["error"].pop("attempts", None)  # of the queue: how often it was tried
    text = json.dumps(run, default=str).replace(scene.name, "SCENE")
    return dict(json.loads(text))


def used(scene: Scene) -> list[Row]:
    """What the budgets of the tenant have counted."""
    return scene.rows(
        "select sum(tokens) as tokens, sum(cost) as cost from aos_agent.usage where tenant_id = %s",
        scene.tenant_id,
    )


def sent(scene: Scene, run_id: Any) -> list[tuple[str, str, str]]:
    """What the provider got: path, body and the key of the call."""
    return [
        (
            request.path.replace(scene.name, "SCENE"),
            request.body.decode().replace(scene.name, "SCENE"),
            request.headers["idempotency-key"].replace(str(run_id), "TURN"),
        )
        for request in scene.play.requests()
    ]


def decide(scene: Scene, run_id: Any) -> None:
    """Say yes to all that the turn asks."""
    for row in scene.rows(
        "select step_id from aos_agent.pending_approval where turn_id = %s", run_id
    ):
        scene.value("select aos_agent.approve_tool_call(%s)", row["step_id"])


def compare(
    connection: psycopg.Connection,
    play_server: PlayServer,
    worker: WorkerProcess,
    prepare: Prepare,
    script: list[Answer],
    driver: str = "openai_chat",
) -> Scene:
    """Play the script twice and compare; returns the scene of the worker."""
    number = next(_numbers)
    plays = [play_server.play(f"{where}-{number}") for where in ("inside", "outside")]
    inside, outside = (make_scene(connection, play, driver) for play in plays)
    outside.set_agent("runner", "external")
    # One failure is enough, also where the queue would try again.
    connection.execute("update aos_meta.setting set value = '1' where name = 'queue_max_attempts'")
    for scene in (inside, outside):
        prepare(scene)
        scene.says(*script)

    here = inside.start()
    inside.run_turn(here)
    if run_of(inside, here)["status"] == "awaiting_approval":
        decide(inside, here)
        inside.run_turn(here)
        there = outside.start()
        worker.wait_for("waits for a person", turn_id=str(there))
        decide(outside, there)
    else:
        there = outside.start()
    ended = run_of(inside, here)
    worker.wait_for(ended["status"], turn_id=str(there))

    assert normalized(outside, there) == normalized(inside, here)
    assert run_of(outside, there) == ended
    assert used(outside) == used(inside)
    assert sent(outside, there) == sent(inside, here)
    return outside


@pytest.mark.parametrize("case", CASES)
def test_the_rows_are_those_of_the_select_driver(
    case: str, connection: psycopg.Connection, play_server: PlayServer, worker: WorkerProcess
) -> None:
    compare(connection, play_server, worker, *CASES[case])


@pytest.mark.parametrize(
    ("driver", "replies"),
    [
        ("openai_chat", ("parallel_calls", "text")),
        ("openai_chat", ("deepseek_thoughts", "text")),
        ("openai_responses", ("reasoning_comment_and_call", "text")),
        ("openai_responses", ("refusal",)),
        ("anthropic", ("thinking_and_call", "text")),
        ("anthropic", ("pause", "text")),
        ("anthropic", ("cut_off_call", "text")),
        ("gemini", ("parallel_calls", "text")),
        ("gemini", ("call_with_id", "text")),
        ("ollama", ("call_without_id", "text")),
        ("ollama", ("thinking_and_calls", "text")),
    ],
)
def test_every_wire_leaves_the_rows_of_the_select_driver(
    driver: str,
    replies: tuple[str, ...],
    connection: psycopg.Connection,
    play_server: PlayServer,
    worker: WorkerProcess,
) -> None:
    script = [Answer(json.loads(recorded(driver, name).body)) for name in replies]
    outside = compare(connection, play_server, worker, with_weather, script, driver)
    assert len(outside.play.requests()) == len(replies)
