"""``CALL aos_agent.work`` starts what is due and drives it, in the name of the schedule's owner."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest

from house import House, house, name
from kernel.replies import calls, says, tool_call
from kernel.scene import Scene, make_scene
from schedule.conftest import Clock, People, shown, turns
from servers.play_server import PlayServer, start_play_server

__all__ = ["house"]  # a fixture


@pytest.fixture(scope="module")
def play_server() -> Iterator[PlayServer]:
    with start_play_server() as server:
        yield server


@pytest.fixture
def scene(clock: Clock, connection: psycopg.Connection, play_server: PlayServer) -> Scene:
    """An agent whose provider plays a script, in a database whose clock stands still."""
    return make_scene(connection, play_server.play(name("work")))


def test_a_tool_of_a_scheduled_turn_acts_for_the_owner_of_the_schedule(
    clock: Clock, house: House, scene: Scene, people: People
) -> None:
    owner = people.login(scene.tenant_id, "user")
    worker = people.login(scene.tenant_id, "worker")
    scene.skill("who_am_i() returns text language sql stable return aos_auth.principal_id()::text")
    scene.says(calls(tool_call("who_am_i", {})), says("It is you."))
    schedule = owner.house.call("aos_agent.schedule", scene.name, "@hourly", "Who am I?")
    worker.house.rows("call aos_agent.work(1, 8)")
    assert turns(house, schedule) == []  # the moment has not come
    clock.forward(hours=1)
    worker.house.rows("call aos_agent.work(2, 8)")
    assert shown(house, schedule, "last_status, last_answer") == ("completed", "It is you.")
    assert scene.tool_results() == [str(owner.principal_id)]
    assert house.rows("select from aos_core.queue where tenant_id = %s", scene.tenant_id) == []


def test_a_schedule_that_fails_ends_no_worker(
    clock: Clock, house: House, scene: Scene, people: People
) -> None:
    scene.says(says("still here"))
    idle = house.agent(scene.tenant_id, is_active=False)
    broken = house.call("aos_agent.schedule", idle.name, "@hourly", "hello")
    works = house.call("aos_agent.schedule", scene.name, "@hourly", "hello")
    clock.forward(hours=1)
    people.login(scene.tenant_id, "worker").house.rows("call aos_agent.work(2, 8)")
    assert shown(house, broken, "last_status") == ("failed",)
    assert shown(house, works, "last_answer") == ("still here",)
