"""A crash loses the open transaction and nothing else; what is committed goes on from its rows."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping
from typing import Any

import psycopg
import pytest

from cluster import CHECKOUT, Cluster, Database
from kernel.background import Background
from kernel.replies import calls, says, tool_call
from kernel.scene import Scene, make_scene
from servers.play_server import Answer, Play

PAY = (
    "pay(amount int) returns text language sql begin atomic"
    " insert into public.paid (amount) values (amount) returning 'paid ' || amount; end"
)


@pytest.fixture
def crash(
    own_cluster: Cluster, staged: dict[str, str], own_environment: Mapping[str, str]
) -> Callable[[], None]:
    """Stop the server as a power cut does, and start it again."""
    assert own_cluster.home is not None
    home = own_cluster.home
    pid_file = home / "data/postmaster.pid"

    def stop_and_start() -> None:
        os.kill(int(pid_file.read_text().split()[0]), signal.SIGQUIT)  # immediate shutdown
        for _ in range(6000):
            if not pid_file.exists():
                break
            time.sleep(0.01)
        lines = [f"{name}={value}" for name, value in staged.items()]
        subprocess.run(
            [CHECKOUT / "scripts/cluster", "start", home, *lines],
            check=True,
            env={**os.environ, **own_environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    return stop_and_start


def reopened(scene: Scene, database: Database) -> Scene:
    """The same scene in a new session."""
    return Scene(database.connect(), scene.play, scene.name, scene.tenant_id)


def ask_until_the_crash(scene: Scene) -> None:
    """Ask in a session that the crash will end."""
    with pytest.raises(psycopg.OperationalError):
        scene.ask("hello?")


def test_a_turn_in_a_crash_is_lost_whole_and_runs_again(
    own_database: Database, play: Play, crash: Callable[[], None], in_own_background: Background
) -> None:
    scene = make_scene(own_database.connect(), play)
    scene.connection.execute("create table public.paid (amount int)")
    scene.connection.execute("grant select, insert on public.paid to pgagentos_agent")
    scene.skill(PAY)
    turn_id = scene.start("pay 7")

    def run_until_the_crash() -> None:
        with pytest.raises(psycopg.OperationalError):
            scene.run_turn(turn_id)

    scene.says(calls(tool_call("pay", {"amount": 7})), Answer(fault="silence"))
    turn = in_own_background(run_until_the_crash)
    play.arrived(2)  # it has paid, and waits for the model
    crash()
    turn.result()

    scene = reopened(scene, own_database)
    assert scene.run()["status"] == "queued"
    assert scene.steps() == []
    assert scene.value("select count(*) from public.paid") == 0
    scene.says(calls(tool_call("pay", {"amount": 7})), says("paid once"))
    assert scene.run_turn(turn_id)["answer"] == "paid once"
    assert scene.value("select count(*) from public.paid") == 1
    scene.connection.close()


def test_an_approval_outlives_a_crash_before_and_after_it(
    own_database: Database, play: Play, crash: Callable[[], None]
) -> None:
    scene = make_scene(own_database.connect(), play)
    scene.connection.execute("create table public.paid (amount int)")
    scene.connection.execute("grant select, insert on public.paid to pgagentos_agent")
    scene.skill(PAY, approval="ask")
    scene.says(calls(tool_call("pay", {"amount": 7})), says("paid once"))
    assert scene.ask("pay 7") is None
    crash()

    scene = reopened(scene, own_database)
    run_id = scene.run()["run_id"]
    step_id: Any = scene.value("select step_id from aos_agent.pending_approval")
    scene.value("select aos_agent.approve_tool_call(%s)", step_id)
    crash()

    scene = reopened(scene, own_database)
    assert scene.run_turn(run_id)["answer"] == "paid once"
    assert scene.value("select array_agg(amount) from public.paid") == [7]
    assert scene.shape() == ["model completed", "tool completed", "model completed"]
    scene.connection.close()


def test_a_conversation_goes_on_after_a_crash(
    own_database: Database, play: Play, crash: Callable[[], None], in_own_background: Background
) -> None:
    scene = make_scene(own_database.connect(), play)
    scene.says(says("first answer"), Answer(fault="silence"))
    scene.ask("first")
    conversation_id = scene.run()["conversation_id"]
    lost = in_own_background(ask_until_the_crash, scene)
    play.arrived(2)
    crash()
    lost.result()

    scene = reopened(scene, own_database)
    scene.says(says("second answer"))
    assert scene.ask("second", conversation_id) == "second answer"
    assert [m["content"] for m in play.bodies()[-1]["messages"][1:]] == [
        "first",
        "first answer",
        "second",
    ]
    scene.connection.close()
