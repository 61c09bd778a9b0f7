"""Who may see and set a budget."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest

from budget.stage import budget
from cluster import Database
from kernel.replies import says
from kernel.scene import Scene, make_scene
from servers.play_server import Play


@contextmanager
def login(scene: Scene, database: Database, access: str) -> Iterator[psycopg.Connection]:
    """A session of a principal of the scene's tenant who has this access."""
    name = f"{scene.name}_{access}"
    scene.connection.execute(f"drop role if exists {name}")
    scene.connection.execute(f"create role {name} login")
    scene.connection.execute("select aos_auth.grant_access(%s, %s)", (name, access))
    if access != "operator":
        scene.connection.execute(
            "insert into aos_auth.principal (tenant_id, display_name, db_role) values (%s, %s, %s)",
            (scene.tenant_id, name, name),
        )
    try:
        with database.connect(user=name) as opened:
            yield opened
    finally:
        scene.connection.execute(
            "update aos_auth.principal set db_role = null where db_role = %s", (name,)
        )
        scene.connection.execute(f"drop role {name}")


@pytest.fixture
def other(database: Database, play: Play) -> Iterator[Scene]:
    """Another tenant, with a budget that is partly used."""
    with database.connect() as opened:
        scene = make_scene(opened, play)
        budget(scene, "day", max_tokens=1000)
        scene.says(says("theirs"))
        scene.ask()
        yield scene


def ours(connection: psycopg.Connection, table: str) -> set[Any]:
    """The tenants whose rows this session sees."""
    return {str(t) for (t,) in connection.execute(f"select tenant_id from aos_agent.{table}")}


@pytest.mark.parametrize("access", ["user", "developer", "auditor", "worker", "approver"])
def test_a_tenant_sees_its_own_budgets_alone(
    scene: Scene, other: Scene, database: Database, access: str
) -> None:
    budget(scene, "day", max_tokens=100)
    scene.says(says("ours"))
    scene.ask()
    with login(scene, database, access) as opened:
        for table in ("budget", "budget_left", "usage"):
            assert ours(opened, table) == {scene.tenant_id}, table


def test_an_operator_sees_all_and_sets_what_a_developer_cannot_touch(
    scene: Scene, other: Scene, database: Database
) -> None:
    with login(scene, database, "operator") as operator:
        operator.execute(
            "select aos_agent.set_budget('day', 1000, tenant_name => %s)", (scene.name,)
        )
        assert {scene.tenant_id, other.tenant_id} <= ours(operator, "budget_left")
    with login(scene, database, "developer") as developer:
        for statement in (
            "update aos_agent.budget set max_tokens = 1000000",
            "delete from aos_agent.budget",
        ):
            assert developer.execute(statement).rowcount == 0
        # The same words set one of his own beside it, and both hold.
        developer.execute("select aos_agent.set_budget('day', 1000000)")
        assert developer.execute(
            "select set_by_operator, max_tokens from aos_agent.budget order by max_tokens"
        ).fetchall() == [(True, 1000), (False, 1_000_000)]
        developer.execute("select aos_agent.set_budget('day')")
        assert developer.execute("select set_by_operator from aos_agent.budget").fetchall() == [
            (True,)
        ]


def test_a_developer_makes_it_stricter_for_his_own_agents(scene: Scene, database: Database) -> None:
    budget(scene, "day", max_tokens=1000)
    with login(scene, database, "developer") as developer:
        developer.execute(
            "select aos_agent.set_budget('day', max_tokens => 0, agent_name => %s)", (scene.name,)
        )
    assert scene.ask() is None
    assert f'agent "{scene.name}"' in scene.run()["error"]["message"]


@pytest.mark.parametrize(
    ("statement", "sqlstate"),
    [
        (
            "insert into aos_agent.budget (tenant_id, period, max_tokens, set_by_operator)"
            " values ('{own}', 'day', 5, true)",
            "42501",
        ),
        (
            "insert into aos_agent.budget (tenant_id, period, max_tokens)"
            " values ('{foreign}', 'day', 5)",
            "42501",
        ),
        (  # as a dump's row it would count nothing, nor would any later one of the operator's
            "insert into aos_agent.budget (tenant_id, period, max_tokens, created_at)"
            " values ('{own}', 'month', 1000000000, '2000-01-01')",
            "42501",
        ),
        ("update aos_agent.budget set set_by_operator = true", "42501"),
        ("update aos_agent.budget set tenant_id = '{foreign}'", "42501"),
        ("select aos_agent.set_budget('day', 5, tenant_name => '{foreign_name}')", "OS002"),
        ("select aos_agent.set_budget('day', 5, agent_name => '{foreign_name}')", "OS002"),
        ("select aos_agent.compact_usage()", "42501"),
        ("delete from aos_agent.usage", "42501"),
        ("update aos_agent.usage set tokens = 0", "42501"),
    ],
)
def test_a_developer_may_not(
    scene: Scene, other: Scene, database: Database, statement: str, sqlstate: str
) -> None:
    with login(scene, database, "developer") as developer:
        developer.execute("select aos_agent.set_budget('day', 1000)")
        with pytest.raises(psycopg.Error) as caught:
            developer.execute(
                statement.format(
                    own=scene.tenant_id, foreign=other.tenant_id, foreign_name=other.name
                )
            )
        assert caught.value.sqlstate == sqlstate


@pytest.mark.parametrize("access", ["user", "auditor", "worker", "approver"])
def test_others_set_no_budget(scene: Scene, database: Database, access: str) -> None:
    with login(scene, database, access) as opened:
        for statement in (
            "select aos_agent.set_budget('day', 5)",
            f"insert into aos_agent.budget (tenant_id, period, max_tokens)"
            f" values ('{scene.tenant_id}', 'day', 5)",
        ):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                opened.execute(statement)


def test_a_users_turn_is_stopped_and_counted(scene: Scene, database: Database) -> None:
    budget(scene, "day", max_tokens=15)
    scene.says(says("one"))
    with login(scene, database, "user") as user:
        ask = "select aos_agent.ask(%s, 'hello')"
        assert user.execute(ask, (scene.name,)).fetchone() == ("one",)
        assert user.execute(ask, (scene.name,)).fetchone() == (None,)
        assert user.execute("select tokens_left from aos_agent.budget_left").fetchone() == (0,)
    assert scene.run()["error"]["kind"] == "budget"
