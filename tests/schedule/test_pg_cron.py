"""The whole way with the real pg_cron: its job each minute drives a scheduled turn to its answer.

The minute of pg_cron is a real one, so this test waits; it asserts no speed.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from cluster import start_local
from house import House, name
from kernel.replies import says
from kernel.scene import Scene, make_scene
from servers.play_server import PlayServer, start_play_server

#: Seconds. A minute passes until pg_cron starts its first job; the rest is for a slow machine.
PATIENCE = 300.0

#: How pg_cron runs its jobs: over a connection, or in a background worker.
WAYS = {"connection": "off", "background worker": "on"}


@pytest.fixture(scope="module")
def play_server() -> Iterator[PlayServer]:
    with start_play_server() as server:
        yield server


@dataclass(frozen=True, slots=True)
class Server:
    """A server with pg_cron, an agent, and a schedule that its operator has made.

    Args:
        role: the login of the jobs.
    """

    house: House
    scene: Scene
    role: str
    schedule_id: Any

    def wait_for(self, query: str, *parameters: Any) -> Any:
        """Wait until a query returns something else than null, and return it."""
        deadline = time.monotonic() + PATIENCE
        while (found := self.house.one(f"select ({query})", *parameters)) is None:
            assert time.monotonic() < deadline, self.house.rows(
                "select status, return_message, command from cron.job_run_details"
            )
            time.sleep(0.2)
        return found


@contextmanager
def serve(staged: dict[str, str], server: PlayServer, background_workers: str) -> Iterator[Server]:
    settings = {
        "cron.database_name": "home",
        "cron.use_background_workers": background_workers,
        "max_worker_processes": "20",
    }
    with start_local({**staged, **settings}) as cluster:
        cluster.create_template()
        with cluster.database("home") as database, database.connect() as connection:
            house = House(connection)
            house.rows("create extension pg_cron")
            scene = make_scene(connection, server.play(name("cron")))
            scene.says(says(f"Nothing new, {background_workers}."), says("Nothing at all."))
            role = name("operator")
            house.rows(f"create role {role} login; grant usage on schema cron to {role}")
            house.call("aos_auth.grant_access", role, "operator")
            with database.connect(user=role) as session:
                operator = House(session)
                schedule_id = operator.call(
                    "aos_agent.schedule", scene.name, "* * * * *", "What is new?"
                )
                # a worker that ends soon, so that its job does
                operator.rows("select aos_agent.install_worker(1, 5, 8)")
            yield Server(house, scene, role, schedule_id)
            house.rows("select cron.unschedule(jobid) from cron.job")


def test_a_job_a_minute_drives_a_scheduled_turn_to_its_answer(
    staged: dict[str, str], play_server: PlayServer
) -> None:
    with ExitStack() as stack:
        servers = {
            way: stack.enter_context(serve(staged, play_server, setting))
            for way, setting in WAYS.items()
        }
        for way, server in servers.items():
            answer = server.wait_for(
                "select last_answer from aos_agent.schedules where schedule_id = %s",
                server.schedule_id,
            )
            assert answer == f"Nothing new, {WAYS[way]}."
            assert server.scene.play.bodies()[0]["messages"][-1]["content"] == "What is new?"
            # the moments are whole minutes, each with one turn
            moments = server.house.rows(
                "select date_trunc('minute', u.scheduled_for) = u.scheduled_for,"
                " r.started_at >= u.scheduled_for, r.status"
                " from aos_agent.schedule_run as u join aos_core.run as r using (run_id)"
                " order by u.scheduled_for limit 1"
            )
            assert moments == [(True, True, "completed")]
            ended = server.wait_for(
                "select d.status || ' ' || d.username || ' ' || d.command"
                " from cron.job_run_details as d where d.end_time is not null"
                " order by d.runid limit 1"
            )
            assert ended == f"succeeded {server.role} CALL aos_agent.work(5, 8)"
