"""The procedures that commit have the caller's rights and search path; what they do has neither."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest

from access.conftest import Doors, Tenant
from access.test_hostile_sessions import set_traps, set_type_traps, trapped
from house import House, name
from kernel.drivers import own_state, shape, status, stepwise, submit, work
from kernel.replies import calls, says, tool_call
from kernel.scene import Scene, make_scene
from servers.play_server import PlayServer, start_play_server


@pytest.fixture(scope="module")
def play_server() -> Iterator[PlayServer]:
    with start_play_server() as server:
        yield server


@pytest.fixture
def scene(doors: Doors, play_server: PlayServer) -> Scene:
    """An agent whose provider plays a script."""
    return make_scene(doors.house.connection, play_server.play(name("committing")))


def login(doors: Doors, tenant_id: object, *access: str) -> House:
    """Make a principal of a tenant with access, and log in as it."""
    role = doors.role(*access)
    doors.house.insert("aos_auth.principal", tenant_id=tenant_id, db_role=role)
    return doors.session(role)


def test_a_plain_login_drives_a_turn_of_its_tenant(doors: Doors, scene: Scene) -> None:
    scene.skill("one() returns int language sql return 1")
    scene.says(calls(tool_call("one")), says("done"))
    user = login(doors, scene.tenant_id, "user")
    turn_id = scene.start()
    before = own_state(user.connection)
    assert stepwise(user.connection, turn_id)["answer"] == "done"
    assert own_state(user.connection) == before


@pytest.mark.parametrize("access", ["user", "worker"])
def test_a_turn_of_another_tenant_is_not_there(
    doors: Doors, scene: Scene, tenants: tuple[Tenant, Tenant], access: str
) -> None:
    stranger = login(doors, tenants[0].tenant_id, access)
    turn_id = scene.start()
    with stranger.refused("OS002", "there is no turn"):
        stepwise(stranger.connection, turn_id)
    assert status(scene, turn_id) == "queued"


def test_a_login_without_access_may_not_call_them(doors: Doors, scene: Scene) -> None:
    nobody = doors.session(doors.role())
    turn_id = scene.start()
    with nobody.refused("42501", "permission denied"):
        stepwise(nobody.connection, turn_id)
    with nobody.refused("42501", "permission denied"):
        work(nobody.connection)


def test_only_a_worker_may_work(doors: Doors, scene: Scene) -> None:
    user = login(doors, scene.tenant_id, "user")
    with user.refused("42501", "permission denied"):
        work(user.connection)


def test_a_worker_drives_the_turns_of_its_tenant_alone(
    doors: Doors, scene: Scene, play_server: PlayServer
) -> None:
    other = make_scene(doors.house.connection, play_server.play(name("committing")))
    scene.says(says("done"))
    mine, others = submit(scene), submit(other)
    worker = login(doors, scene.tenant_id, "worker")
    before = own_state(worker.connection)
    assert work(worker.connection) == 1
    assert (status(scene, mine), status(other, others)) == ("completed", "queued")
    assert own_state(worker.connection) == before
    other.value("select aos_agent.cancel_turn(%s)", others)


def test_an_operator_drives_the_turns_of_all_tenants(
    doors: Doors, scene: Scene, play_server: PlayServer
) -> None:
    other = make_scene(doors.house.connection, play_server.play(name("committing")))
    for one in (scene, other):
        one.skill("whose() returns text language sql stable return aos_auth.tenant_id()::text")
        one.says(calls(tool_call("whose")), says("done"))
    turns = [submit(scene), submit(other)]
    operator = doors.login("operator")
    assert work(operator.connection) == 2
    assert [status(scene, turn) for turn in turns] == ["completed", "completed"]
    # Each tool acts for the tenant of its turn, whoever works.
    assert scene.tool_results() == [scene.tenant_id]
    assert other.tool_results() == [other.tenant_id]


def test_a_ticket_lets_its_owner_drive_a_turn_to_its_end(
    doors: Doors, scene: Scene, tenants: tuple[Tenant, Tenant]
) -> None:
    pooled = doors.session(doors.role("user"))
    principal = doors.house.insert("aos_auth.principal", "principal_id", tenant_id=scene.tenant_id)
    scene.skill("one() returns int language sql return 1")
    scene.says(calls(tool_call("one")), says("done"))
    turn_id = scene.start()
    with pooled.refused("OS002", "there is no turn"):
        stepwise(pooled.connection, turn_id)
    with pooled.refused("OS002", "there is no turn"):
        stepwise(pooled.connection, turn_id, ticket=doors.ticket(tenants[0]))
    with pooled.refused("28000", "invalid ticket"):
        stepwise(pooled.connection, turn_id, ticket="a.b.c.d.e")
    ticket = doors.house.call("aos_auth.issue_ticket", principal, 60)
    state = stepwise(pooled.connection, turn_id, ticket=ticket)
    assert state["answer"] == "done"
    assert shape(scene, turn_id) == ["model completed", "tool completed", "model completed"]
    # The ticket was for the call alone.
    assert pooled.one("select aos_auth.tenant_id()") is None


@pytest.mark.parametrize("where", ["pg_temp", "a schema of his own"])
def test_nothing_of_a_hostile_session_runs_as_the_kernel(
    doors: Doors, scene: Scene, where: str
) -> None:
    role = doors.role("user", "worker")
    doors.house.insert("aos_auth.principal", tenant_id=scene.tenant_id, db_role=role)
    schema = "pg_temp"
    if where != "pg_temp":
        schema = name("traps")
        doors.house.rows(f"create schema {schema} authorization {role}")
    session = doors.session(role)
    if schema == "pg_temp":
        session.rows("create temporary sequence trap")
        session.rows("grant all on sequence pg_temp.trap to public")
    else:
        set_traps(session, schema)
        session.rows(f"grant usage on schema {schema} to public")
    set_type_traps(session, schema)
    for function in ("set_config(text, text, bool)", "current_setting(text)", "unnest(uuid[])"):
        session.rows(
            f"create function {schema}.{function} returns text language plpgsql"
            " set search_path = pg_catalog as $$ begin if current_user = 'pgagentos_kernel' then"
            " perform pg_catalog.nextval('pg_temp.trap'); end if; return ''; end $$"
        )
    session.rows(f"set search_path = {schema}, pg_catalog, pg_temp")
    scene.skill("one() returns int language sql return 1")
    scene.says(*[calls(tool_call("one")), says("done")] * 2)
    turn_id, queued = scene.start(), submit(scene)
    before = own_state(session.connection)
    session.rows(f"call aos_agent.run_turn_stepwise('{turn_id}')")
    session.rows("call aos_agent.work(1, 4)")
    assert (status(scene, turn_id), status(scene, queued)) == ("completed", "completed")
    assert own_state(session.connection) == before
    assert not trapped(session)


@pytest.mark.parametrize(
    "statement", ["reset role", "set role postgres", "set session authorization default"]
)
def test_a_tool_has_no_way_out_of_its_role(doors: Doors, scene: Scene, statement: str) -> None:
    scene.skill(f"out() returns void language plpgsql as $$ begin {statement}; end $$")
    scene.says(calls(tool_call("out"), tool_call("out")), says("done"))
    turn_id = submit(scene)
    work(doors.house.connection)
    assert shape(scene, turn_id)[1:3] == ["tool failed", "tool failed"]
    assert status(scene, turn_id) == "completed"


def test_a_procedure_that_is_refused_leaves_no_rights_behind(doors: Doors, scene: Scene) -> None:
    user = login(doors, scene.tenant_id, "user")
    turn_id = scene.start()
    user.rows("set default_transaction_isolation = 'serializable'")
    with user.refused("OS001", "read committed"):
        stepwise(user.connection, turn_id)
    user.rows("set default_transaction_isolation = 'read committed'")
    user.rows("set default_transaction_read_only = on")
    with user.refused("25006", "read-only"):
        stepwise(user.connection, turn_id)
    assert user.one("select current_user") == user.one("select session_user")
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        user.rows("select from aos_core.rate_bucket")
