"""The units of examples/systemd do what they say: what systemd would run is run here."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest

from cluster import CHECKOUT, Database, pg_config
from house import House, house, name
from kernel.background import wait_for
from kernel.replies import says
from kernel.scene import make_scene
from schedule.conftest import People
from servers.play_server import PlayServer, start_play_server

__all__ = ["house"]  # a fixture

UNITS = CHECKOUT / "examples" / "systemd"


@pytest.fixture(scope="module")
def play_server() -> Iterator[PlayServer]:
    with start_play_server() as server:
        yield server


def start(unit: str, database: Database, user: str) -> subprocess.Popen[str]:
    """Start what ExecStart of a unit says, with its environment, as a login of the database."""
    lines = [line for line in (UNITS / unit).read_text("utf-8").splitlines() if "=" in line]
    settings = [line.partition("=")[::2] for line in lines if line[0] not in "#["]
    environment = dict(os.environ)
    for key, value in settings:
        if key == "Environment":
            environment.update(word.partition("=")[::2] for word in shlex.split(value))
    environment |= {
        "PGHOST": database.cluster.host,
        "PGPORT": database.cluster.port,
        "PGUSER": user,
        "PGDATABASE": database.name,
    }
    command = shlex.split(dict(settings)["ExecStart"])
    assert Path(command[0]).name == "psql"
    command[0] = f"{pg_config('--bindir')}/psql"
    return subprocess.Popen(
        command, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )


def test_the_worker_drives_turns_until_it_is_stopped_and_gives_back_what_it_has(
    database: Database, connection: psycopg.Connection, play_server: PlayServer, people: People
) -> None:
    scene = make_scene(connection, play_server.play(name("unit")))
    worker = people.login(scene.tenant_id, "worker").house.one("select session_user")
    scene.says(says("first"), replace(says("never seen"), is_held=True), says("second"))
    turns = [
        scene.value(
            "select aos_agent.submit(aos_agent.open_conversation(%s), %s)", scene.name, content
        )
        for content in ("one", "two")
    ]
    process = start("pgagentos-worker@.service", database, worker)
    try:
        scene.play.arrived(2)
        # the second call is held; the answer to the first may still be on its way
        wait_for(
            connection,
            "exists (select from aos_core.run where run_id = any (%s) and status = 'completed')",
            turns,
        )
        process.send_signal(signal.SIGINT)
        output, _ = process.communicate(timeout=60)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 1, output  # SuccessExitStatus
    assert "canceling statement due to user request" in output
    # one call was answered; the other turn waits for the next worker, with no attempt against it
    left = scene.rows(
        "select run_id, worker, attempt from aos_core.queue where run_id = any (%s)", turns
    )
    assert [(row["worker"], row["attempt"]) for row in left] == [(None, 0)]
    scene.play.release()


def test_the_maintenance_is_what_an_operator_may_run(
    database: Database, people: People, house: House
) -> None:
    operator = people.login(None, "operator").house.one("select session_user")
    process = start("pgagentos-maintenance.service", database, operator)
    output, _ = process.communicate(timeout=60)
    assert (process.returncode, "ERROR" in output) == (0, False), output
    assert house.one("select count(*) > 0 from aos_core.event_seal")
