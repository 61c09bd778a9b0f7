"""Who sees which live turns, and that nobody can make one up."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import psycopg
import pytest

from cluster import Database
from house import House, name
from kernel.background import Background
from kernel.replies import held, says
from kernel.scene import Scene, make_scene
from live.conftest import live
from servers.play_server import PlayServer

READERS = ("user", "developer", "approver", "worker", "auditor", "operator")


class Logins:
    """Logins of tenants, made for one test."""

    def __init__(self, database: Database, house: House, stack: ExitStack) -> None:
        self._database, self._house, self._stack = database, house, stack

    def __call__(self, access: str, tenant_id: Any = None) -> psycopg.Connection:
        role = name("looker")
        self._house.rows(f"create role {role} login")
        self._stack.callback(self._house.rows, f"drop owned by {role}; drop role {role}")
        self._house.call("aos_auth.grant_access", role, access)
        if tenant_id is not None:
            self._house.insert("aos_auth.principal", tenant_id=tenant_id, db_role=role)
        return self._stack.enter_context(self._database.connect(user=role))


@pytest.fixture
def login(database: Database, house: House) -> Iterator[Logins]:
    """Make a login with access, for a tenant or none."""
    with ExitStack() as stack:
        yield Logins(database, house, stack)


@pytest.fixture
def stranger(scene: Scene, play_server: PlayServer) -> Scene:
    """Another tenant."""
    return make_scene(scene.connection, play_server.play(f"stranger_of_{scene.name}"))


@pytest.mark.parametrize("is_committed", [True, False])
def test_a_tenant_sees_its_own_turns_alone(
    scene: Scene,
    stranger: Scene,
    login: Logins,
    session: psycopg.Connection,
    in_background: Background,
    is_committed: bool,
) -> None:
    scene.says(held(says("done")))
    if is_committed:
        statement, value = "select aos_agent.run_turn(%s)", scene.start()
    else:
        statement, value = "select aos_agent.ask(%s, 'hello')", scene.name
    turn = in_background(session.execute, statement, (value,))
    scene.play.arrived(1)
    assert len(live(login("user", scene.tenant_id), scene.tenant_id)) == 1
    assert len(live(login("operator"), scene.tenant_id)) == 1
    for other in (login("user", stranger.tenant_id), login("user"), login("worker")):
        assert other.execute("select * from aos_agent.live_activity").fetchall() == []
        assert other.execute("select * from aos_agent.live_turns()").fetchall() == []
    scene.play.release()
    turn.result()


def test_a_tenant_sees_no_claim_of_another(scene: Scene, stranger: Scene, login: Logins) -> None:
    scene.set_agent("runner", "external")
    scene.value("select aos_core._claim_turn(%s, 'abroad', '1 minute', false, true)", scene.start())
    assert len(live(login("worker", scene.tenant_id), scene.tenant_id)) == 1
    other = login("worker", stranger.tenant_id)
    assert other.execute("select * from aos_agent.live_activity").fetchall() == []


@pytest.mark.parametrize("access", READERS)
def test_everybody_with_access_may_look(scene: Scene, login: Logins, access: str) -> None:
    tenant_id = None if access == "operator" else scene.tenant_id
    session = login(access, tenant_id)
    session.execute("select * from aos_agent.live_activity")
    conversation_id = scene.value("select aos_agent.open_conversation(%s)", scene.name)
    row = session.execute("select aos_agent.channel_of(%s)", (conversation_id,)).fetchone()
    assert row == (f"pgagentos_{conversation_id.hex}",)


def test_who_keeps_secrets_sees_no_turns(scene: Scene, login: Logins) -> None:
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        login("secret_manager", scene.tenant_id).execute("select * from aos_agent.live_activity")


def test_the_channel_of_another_tenants_conversation_is_not_told(
    scene: Scene, stranger: Scene, login: Logins
) -> None:
    conversation_id = scene.value("select aos_agent.open_conversation(%s)", scene.name)
    with pytest.raises(psycopg.Error) as caught:
        login("user", stranger.tenant_id).execute(
            "select aos_agent.channel_of(%s)", (conversation_id,)
        )
    assert caught.value.sqlstate == "OS002"


def test_a_session_that_only_says_that_it_drives_a_turn_is_not_shown(
    scene: Scene, login: Logins
) -> None:
    """Its name and the lock of the turn are anybody's to take."""
    turn_id = scene.start()
    for faker in (login("user", scene.tenant_id), login("operator")):
        faker.execute(f"set application_name = 'pgagentos turn {turn_id} step 3'")
        key = scene.value("select aos_core._turn_key(%s)", turn_id)
        faker.execute("select pg_advisory_lock(%s)", (key,))
        shown = scene.connection.execute(
            "select application_name from pg_stat_activity where pid = %s",
            (faker.info.backend_pid,),
        ).fetchone()
        assert shown == (f"pgagentos turn {turn_id} step 3",)
        assert live(scene.connection, scene.tenant_id) == []
        assert live(faker, scene.tenant_id) == []
        faker.execute("select pg_advisory_unlock_all()")


def test_what_backends_say_cannot_be_read_past_the_view(scene: Scene, login: Logins) -> None:
    for access in READERS:
        session = login(access, None if access == "operator" else scene.tenant_id)
        for function in ("_turns_of_backends", "_live_in_transactions", "_live_claims"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                session.execute(f"select * from aos_agent.{function}()")
