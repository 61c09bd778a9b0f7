"""examples/worker.mjs: a worker in another language drives a turn by the same functions."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from cluster import CHECKOUT
from kernel.background import wait_for
from kernel.replies import calls, fails, held, says, tool_call
from kernel.scene import Scene
from worker.conftest import MakeOutside, external_skill

EXAMPLE = CHECKOUT / "examples" / "worker.mjs"


@pytest.fixture(scope="module")
def node_directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The example beside the one package that it needs, from the npm registry."""
    if not (shutil.which("node") and shutil.which("npm")):
        pytest.skip("node and npm are not installed here: the example in Node cannot run")
    directory = tmp_path_factory.mktemp("node")
    shutil.copy(EXAMPLE, directory)
    installed = subprocess.run(
        ["npm", "install", "--no-audit", "--no-fund", "--silent", "pg@8"],
        cwd=directory,
        capture_output=True,
        text=True,
    )
    if installed.returncode != 0:
        pytest.skip(f"npm cannot install the package pg: {installed.stderr.strip()[-200:]}")
    return directory


@pytest.fixture
def scene(make_outside: MakeOutside) -> Scene:
    """An agent whose provider wants a key."""
    return make_outside(api_key_env="NODE_EXAMPLE_KEY")


@pytest.fixture
def node(node_directory: Path, scene: Scene) -> Iterator[subprocess.Popen[str]]:
    """The example, running."""
    info = scene.connection.info
    process = subprocess.Popen(
        ["node", "worker.mjs"],
        cwd=node_directory,
        env={
            **os.environ,
            "PGHOST": info.host,
            "PGPORT": str(info.port),
            "PGUSER": "postgres",
            "PGDATABASE": info.dbname,
            "NODE_EXAMPLE_KEY": "the-key",
        },
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        assert process.stderr is not None
        errors = process.stderr.read()
        process.wait()
    assert errors == ""


def test_it_is_no_longer_than_it_has_to_be() -> None:
    lines = EXAMPLE.read_text(encoding="utf-8").splitlines()
    assert len([line for line in lines if line and not line.startswith("//")]) <= 50


def test_it_drives_a_turn_with_a_tool_a_question_and_an_error(
    scene: Scene, node: subprocess.Popen[str], connection: psycopg.Connection
) -> None:
    external_skill(scene, "weather")
    external_skill(scene, "unknown_here", approval="ask")
    scene.says(
        calls(tool_call("weather", {"city": "Seoul"}, "c1"), tool_call("unknown_here", {}, "c2")),
        fails(500, "boom"),
        says("21 degrees."),
    )
    turn = scene.start()
    status = "(select status from aos_core.run where run_id = %s) = %s"
    wait_for(connection, status, turn, "awaiting_approval")
    wait_for(
        connection,
        "(select status = 'completed' from aos_core.step where run_id = %s and call_id = 'c1')",
        turn,
    )
    [asked] = scene.rows("select * from aos_agent.pending_approval where turn_id = %s", turn)
    scene.value("select aos_agent.reject_tool_call(%s)", asked["step_id"])
    wait_for(connection, status, turn, "completed")
    state = scene.run_turn(turn)
    assert state["answer"] == "21 degrees."
    assert (state["usage"]["input_tokens"], state["usage"]["output_tokens"]) == (20, 10)
    assert scene.shape() == [
        "model completed", "tool completed", "tool rejected", "model completed",
    ]  # fmt: skip
    sent = scene.play.requests()
    assert [r.headers["idempotency-key"] for r in sent] == [f"{turn}-{n}" for n in (1, 4, 4)]
    assert sent[0].headers["authorization"] == "Bearer the-key"
    assert scene.tool_results()[0] == '{"city": "Seoul", "degrees": 21}'


def test_it_lets_a_cancelled_turn_go(
    scene: Scene, node: subprocess.Popen[str], connection: psycopg.Connection
) -> None:
    scene.says(held(says("too late")), says("next"))
    turn = scene.start()
    scene.play.arrived(1)
    scene.value("select aos_agent.cancel_turn(%s)", turn)
    scene.play.release()
    following = scene.start()
    wait_for(
        connection, "(select status from aos_core.run where run_id = %s) = 'completed'", following
    )
    assert scene.run_turn(turn)["status"] == "cancelled"
