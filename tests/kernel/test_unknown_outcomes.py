"""A request to a service whose driver was killed: has it taken effect? Nobody here knows."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from cluster import Database
from http_skill.test_turns import register
from kernel.background import Background
from kernel.drivers import shape, stepwise, submit, work
from kernel.replies import calls, held, says, tool_call
from kernel.scene import Row, Scene
from servers.play_server import Answer, Play, PlayServer

_numbers = itertools.count(1)


@pytest.fixture
def service(play_server: PlayServer) -> Play:
    """The script of the service that the skill calls."""
    return play_server.play(f"unknown-{next(_numbers)}")


@pytest.fixture
def session(database: Database) -> Iterator[psycopg.Connection]:
    """The session that goes on with the turn."""
    with database.connect() as opened:
        yield opened


def keys(service: Play) -> list[str]:
    """The Idempotency-Keys of the requests that the service has got."""
    return [request.headers["idempotency-key"] for request in service.requests()]


def kill_in_the_middle(
    scene: Scene, service: Play, database: Database, in_background: Background, **skill: Any
) -> Any:
    """Drive a turn until the service has got its request, and kill the driver; returns turn_id."""
    register(scene, service, **skill)
    service.add(held(Answer({"said": "to nobody"})))
    scene.says(calls(tool_call("order", {"id": "7"})))
    turn_id = submit(scene)
    with database.connect() as victim:
        running = in_background(stepwise, victim, turn_id)
        service.arrived(1)
        # The intent is committed before the request: the service can be asked by this key.
        assert shape(scene, turn_id) == ["model completed", "tool running"]
        assert keys(service) == [f"{turn_id}-2"]
        scene.connection.execute("select pg_terminate_backend(%s)", (victim.info.backend_pid,))
        assert isinstance(running.exception(), psycopg.Error)
    service.release()
    return turn_id


def question(scene: Scene, turn_id: Any) -> Row:
    """The one call that waits for a person."""
    [row] = scene.rows("select * from aos_agent.pending_approval where turn_id = %s", turn_id)
    return row


@pytest.mark.parametrize("how", ["work", "stepwise"])
def test_a_request_that_may_be_repeated_is_repeated_under_the_same_key(
    scene: Scene,
    service: Play,
    session: psycopg.Connection,
    database: Database,
    in_background: Background,
    how: str,
) -> None:
    turn_id = kill_in_the_middle(scene, service, database, in_background)
    service.add(Answer({"said": "at last"}))
    scene.says(says("done"))
    if how == "work":
        work(session)
    else:
        stepwise(session, turn_id)
    assert shape(scene, turn_id) == ["model completed", "tool completed", "model completed"]
    assert keys(service) == [f"{turn_id}-2"] * 2
    assert "at last" in scene.tool_results()[0]


@pytest.mark.parametrize(
    ("method", "is_idempotent"), [("POST", None), ("PATCH", None), ("GET", False)]
)
def test_a_request_that_may_not_be_repeated_waits_for_a_person_whose_yes_repeats_it(
    scene: Scene,
    service: Play,
    session: psycopg.Connection,
    database: Database,
    in_background: Background,
    method: str,
    is_idempotent: bool | None,
) -> None:
    turn_id = kill_in_the_middle(
        scene, service, database, in_background, method=method, is_idempotent=is_idempotent
    )
    work(session)
    assert shape(scene, turn_id) == ["model completed", "tool awaiting_approval"]
    assert len(keys(service)) == 1
    step = scene.steps(turn_id)[1]
    assert step["error"]["kind"] == "outcome_unknown"
    assert step["error"]["hint"]
    assert question(scene, turn_id)["step_id"] == step["step_id"]
    scene.value("select aos_agent.approve_tool_call(%s)", step["step_id"])
    service.add(Answer({"said": "at last"}))
    scene.says(says("done"))
    work(session)
    assert shape(scene, turn_id) == ["model completed", "tool completed", "model completed"]
    assert keys(service) == [f"{turn_id}-2"] * 2
    assert scene.steps(turn_id)[1]["error"] is None


def test_a_no_tells_the_model_and_repeats_nothing(
    scene: Scene,
    service: Play,
    session: psycopg.Connection,
    database: Database,
    in_background: Background,
) -> None:
    turn_id = kill_in_the_middle(scene, service, database, in_background, method="POST")
    work(session)
    step_id = question(scene, turn_id)["step_id"]
    scene.value("select aos_agent.reject_tool_call(%s, 'look it up')", step_id)
    scene.says(says("I do not know."))
    work(session)
    assert shape(scene, turn_id) == ["model completed", "tool rejected", "model completed"]
    assert len(keys(service)) == 1
    assert "look it up" in scene.tool_results()[0]


def test_a_post_that_the_skill_calls_idempotent_is_repeated(
    scene: Scene,
    service: Play,
    session: psycopg.Connection,
    database: Database,
    in_background: Background,
) -> None:
    turn_id = kill_in_the_middle(
        scene, service, database, in_background, method="POST", is_idempotent=True
    )
    service.add(Answer({"said": "at last"}))
    scene.says(says("done"))
    work(session)
    assert shape(scene, turn_id) == ["model completed", "tool completed", "model completed"]
    assert keys(service) == [f"{turn_id}-2"] * 2


def test_a_yes_of_before_does_not_allow_the_repetition(
    scene: Scene,
    service: Play,
    session: psycopg.Connection,
    database: Database,
    in_background: Background,
) -> None:
    """A call that a person has allowed, killed in the middle: it needs another yes."""
    register(scene, service, method="POST", approval="ask")
    service.add(held(Answer({"said": "to nobody"})))
    scene.says(calls(tool_call("order", {"id": "7"})))
    turn_id = submit(scene)
    work(session)
    step_id = question(scene, turn_id)["step_id"]
    scene.value("select aos_agent.approve_tool_call(%s)", step_id)
    with database.connect() as victim:
        running = in_background(stepwise, victim, turn_id)
        service.arrived(1)
        scene.connection.execute("select pg_terminate_backend(%s)", (victim.info.backend_pid,))
        assert isinstance(running.exception(), psycopg.Error)
    service.release()
    work(session)
    assert shape(scene, turn_id) == ["model completed", "tool awaiting_approval"]
    assert len(keys(service)) == 1
    assert question(scene, turn_id)["step_id"] == step_id
    scene.value("select aos_agent.approve_tool_call(%s)", step_id)
    service.add(Answer({"said": "at last"}))
    scene.says(says("done"))
    work(session)
    assert shape(scene, turn_id) == ["model completed", "tool completed", "model completed"]
    assert keys(service) == [f"{turn_id}-2"] * 2


def test_select_asks_a_person_too(
    scene: Scene,
    service: Play,
    session: psycopg.Connection,
    database: Database,
    in_background: Background,
) -> None:
    turn_id = kill_in_the_middle(scene, service, database, in_background, method="POST")
    assert scene.run_turn(turn_id)["status"] == "awaiting_approval"
    assert scene.steps(turn_id)[1]["error"]["kind"] == "outcome_unknown"
    assert len(keys(service)) == 1
