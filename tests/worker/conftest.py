"""Workers, the providers that they call, and the agents that they drive."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator

import psycopg
import pytest
from psycopg import sql

from cluster import Database
from house import house, name
from kernel.scene import Scene, make_scene
from servers.play_server import Play, PlayServer, start_play_server
from worker.process import Start, worker_starter

__all__ = ["house"]  # a fixture

_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def play_server() -> Iterator[PlayServer]:
    """One server for all scripts."""
    with start_play_server() as server:
        yield server


@pytest.fixture
def play(play_server: PlayServer) -> Play:
    """A script for this test alone."""
    return play_server.play(f"worker-{next(_numbers)}")


MakeOutside = Callable[..., Scene]


@pytest.fixture
def make_outside(connection: psycopg.Connection, play: Play) -> MakeOutside:
    """Make scenes whose agents are run by outside workers; arguments are those of make_scene."""

    def make(**options: str) -> Scene:
        scene = make_scene(connection, play, **options)  # type: ignore[arg-type]
        scene.set_agent("runner", "external")
        return scene

    # A failed attempt is tried again almost at once.
    connection.execute(
        "update aos_meta.setting set value = '0.05' where name = 'queue_retry_seconds'"
    )
    return make


@pytest.fixture
def outside(make_outside: MakeOutside) -> Scene:
    """An agent for this test alone, on the wire of chat completions, without a key."""
    return make_outside()


@pytest.fixture
def start_worker(database: Database, outside: Scene) -> Iterator[Start]:
    """Start workers of the tenant of :func:`outside`: a login of its own with the access worker."""
    role = name("outside_worker")
    with database.connect() as admin:
        admin.execute(
            sql.SQL("create role {} login in role pgagentos_worker").format(sql.Identifier(role))
        )
        admin.execute(
            "insert into aos_auth.principal (tenant_id, principal_type, display_name, db_role)"
            " values (%s, 'service', %s, %s)",
            (outside.tenant_id, role, role),
        )
    with worker_starter(database.conninfo(user=role)) as start:
        yield start


def external_skill(
    scene: Scene, skill: str, approval: str = "auto", *, is_idempotent: bool = False
) -> None:
    """Give the agent a skill that the worker runs."""
    scene.connection.execute(
        "insert into aos_skills.skill (tenant_id, name, description, implementation, parameters,"
        " approval, is_idempotent) values (%s, %s, 'Does what is wanted.', 'external',"
        ' \'{"type": "object"}\', %s, %s)',
        (scene.tenant_id, skill, approval, is_idempotent),
    )
    scene.value("select aos_agent.grant_skill(%s, %s)", scene.name, skill)
