"""The roles of the server: made once, refused where they are not ours, given out by operators."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest

from access.conftest import Doors, Tenant, make_tenant
from cluster import CHECKOUT, Cluster, Database, pg_config, start_local
from docs.pages import Block, parts
from house import House, name

ACCESSES = ("operator", "secret_manager", "approver", "developer", "auditor", "worker", "user")
GROUPS = [f"pgagentos_{access}" for access in ACCESSES]
ROLES = sorted([*GROUPS, "pgagentos_kernel", "pgagentos_agent", "pgagentos_parser"])

MIGHT = "rolcanlogin or rolsuper or rolbypassrls or rolcreaterole or rolcreatedb or rolreplication"


@pytest.fixture(scope="module")
def lone_cluster(staged: dict[str, str]) -> Iterator[Cluster]:
    """A server that has never seen the extension."""
    with start_local(staged) as started:
        yield started


@contextmanager
def empty(cluster: Cluster) -> Iterator[Database]:
    with cluster.database(name("empty"), template="template0") as database:
        yield database


def roles(connection: psycopg.Connection) -> list[str]:
    found = connection.execute(
        "select rolname from pg_roles where rolname like 'pgagentos\\_%' order by 1"
    ).fetchall()
    return [role for (role,) in found]


CREATE = "create extension pgagentos cascade"


def test_a_role_of_that_name_that_can_log_in_is_refused(lone_cluster: Cluster) -> None:
    with lone_cluster.connect() as admin, empty(lone_cluster) as database:
        for right in ("login", "superuser", "bypassrls", "createrole", "createdb", "replication"):
            admin.execute(f"create role pgagentos_user {right}")
            with database.connect() as connection, pytest.raises(psycopg.Error) as caught:
                connection.execute(CREATE)
            assert caught.value.sqlstate == "42710"
            assert "there is a role pgagentos_user that can log in" in str(caught.value)
            assert "ALTER ROLE pgagentos_user NOLOGIN" in (caught.value.diag.message_hint or "")
            assert roles(admin) == ["pgagentos_user"]  # the others went with the transaction
            admin.execute("drop role pgagentos_user")


def test_a_role_that_is_as_it_should_be_is_taken_over(lone_cluster: Cluster) -> None:
    with lone_cluster.connect() as admin, empty(lone_cluster) as database:
        admin.execute("create role pgagentos_user nologin")
        with database.connect() as connection:
            connection.execute(CREATE)
        assert roles(admin) == ROLES
        mighty = admin.execute(
            f"select rolname from pg_roles where rolname like 'pgagentos\\_%' and ({MIGHT})"
        ).fetchall()
        assert mighty == []


def test_databases_of_one_server_share_the_roles_and_nothing_else(lone_cluster: Cluster) -> None:
    with empty(lone_cluster) as first, empty(lone_cluster) as second:
        for database in (first, second, second):
            with database.connect() as connection:
                connection.execute(CREATE)
                assert roles(connection) == ROLES
                connection.execute("drop extension pgagentos")
                assert roles(connection) == ROLES


def test_two_databases_get_the_extension_at_the_same_time(lone_cluster: Cluster) -> None:
    with lone_cluster.connect() as admin:
        for role in roles(admin):
            admin.execute(f"drop owned by {role}")
            admin.execute(f"drop role {role}")
    with empty(lone_cluster) as first, empty(lone_cluster) as second:

        def create(database: Database) -> list[str]:
            with database.connect() as connection:
                connection.execute(CREATE)
                return roles(connection)

        with ThreadPoolExecutor(2) as pool:
            assert list(pool.map(create, (first, second))) == [ROLES, ROLES]


def uninstall_commands() -> tuple[str, str]:
    """What docs/access.md shows: for each database, and then once for the server."""
    blocks = [
        part.body
        for part in parts(CHECKOUT / "docs/access.md")
        if isinstance(part, Block) and part.language == "sql" and "DROP" in part.body
    ]
    [in_each] = [body for body in blocks if "DROP EXTENSION pgagentos" in body]
    [once] = [body for body in blocks if "DROP ROLE" in body]
    return in_each, once


def test_the_documented_way_to_uninstall_leaves_nothing(lone_cluster: Cluster) -> None:
    in_each, once = uninstall_commands()
    with lone_cluster.connect() as admin, empty(lone_cluster) as one, empty(lone_cluster) as other:
        for database in (one, other):
            with database.connect() as connection:
                connection.execute("create schema elsewhere")
                connection.execute("create extension vector schema elsewhere")
                connection.execute(CREATE)
                house = House(connection)
                role = name("person")
                house.rows(f"create role {role} login")
                for access in ACCESSES:
                    house.call("aos_auth.grant_access", role, access)
                agents = name("agents")
                house.rows(f"create role {agents}")
                house.call("aos_auth.register_agent_role", agents, make_tenant(house).tenant_id)
        for database in (one, other):
            with database.connect() as connection:
                connection.execute(in_each)
                left = connection.execute(
                    "select n.nspname from pg_namespace as n where n.nspname like 'aos\\_%'"
                ).fetchall()
                assert left == []
        admin.execute(once)
        assert roles(admin) == []
        with one.connect() as connection:
            connection.execute(CREATE)  # and it can come back
            assert roles(connection) == ROLES


@pytest.mark.parametrize("access", ACCESSES)
def test_an_operator_who_is_no_superuser_gives_and_takes_access(doors: Doors, access: str) -> None:
    operator = doors.login("operator")
    role = doors.role()
    has = f"select pg_has_role('{role}', 'pgagentos_{access}', 'member')"
    operator.call("aos_auth.grant_access", role, access)
    operator.call("aos_auth.grant_access", role, access)
    assert operator.one(has)
    operator.call("aos_auth.revoke_access", role, access)
    operator.call("aos_auth.revoke_access", role, access)
    assert not operator.one(has)


@pytest.mark.parametrize("access", [a for a in ACCESSES if a != "operator"])
def test_nobody_else_does(doors: Doors, tenants: tuple[Tenant, Tenant], access: str) -> None:
    login = doors.login(access, principal_of=tenants[0])
    for function in ("grant_access", "revoke_access"):
        with login.refused("42501", f"permission denied for function {function}"):
            login.call(f"aos_auth.{function}", doors.role(), "user")


def test_the_groups_cannot_be_taken_without_the_function(doors: Doors) -> None:
    operator = doors.login("operator")
    for role in ROLES:
        with operator.refused("42501", "permission denied|must have admin option"):
            operator.rows(f"grant {role} to {doors.role()}")


@pytest.mark.parametrize("role", ROLES)
def test_no_role_of_ours_is_given_access(doors: Doors, role: str) -> None:
    with doors.house.refused("OS001", f"the role {role} cannot be given access"):
        doors.house.call("aos_auth.grant_access", role, "user")


def test_no_role_that_tools_run_as_is_given_access(
    doors: Doors, tenants: tuple[Tenant, Tenant]
) -> None:
    agents, group = doors.role(options="nologin"), doors.role(options="nologin")
    doors.house.rows(f"grant {group} to {agents}")
    doors.house.call("aos_auth.register_agent_role", agents, tenants[0].tenant_id)
    for role in (agents, group):
        with doors.house.refused("OS001", f"the role {role} cannot be given access"):
            doors.house.call("aos_auth.grant_access", role, "operator")


def test_no_role_with_access_becomes_one_that_tools_run_as(
    doors: Doors, tenants: tuple[Tenant, Tenant]
) -> None:
    for access in ACCESSES:
        with doors.house.refused("OS001", "cannot be an agent's"):
            doors.house.call(
                "aos_auth.register_agent_role", doors.role(access), tenants[0].tenant_id
            )


def test_wrong_words_are_told(doors: Doors) -> None:
    for function in ("grant_access", "revoke_access"):
        with doors.house.refused("OS001", "there is no access 'admin'"):
            doors.house.call(f"aos_auth.{function}", doors.role(), "admin")
        with doors.house.refused("OS001", "there is no access NULL"):
            doors.house.call(f"aos_auth.{function}", doors.role(), None)
        with doors.house.refused("42704", "there is no role nobody_at_all"):
            doors.house.call(f"aos_auth.{function}", "nobody_at_all", "user")
        with doors.house.refused("42704", "there is no role NULL"):
            doors.house.call(f"aos_auth.{function}", None, "user")


def test_a_role_may_have_any_name(doors: Doors) -> None:
    doors.house.rows('create role "Odd "" Name" login')
    try:
        doors.house.call("aos_auth.grant_access", 'Odd " Name', "user")
        doors.house.call("aos_auth.revoke_access", 'Odd " Name', "user")
    finally:
        doors.house.rows('drop role "Odd "" Name"')


def test_access_that_reaches_a_role_through_another_is_told(doors: Doors) -> None:
    team, person = doors.role("user"), doors.role("user")
    doors.house.rows(f"grant {team} to {person}")
    warned: list[str] = []
    doors.house.connection.add_notice_handler(lambda n: warned.append(n.message_primary or ""))
    doors.house.call("aos_auth.revoke_access", person, "user")
    assert warned == [f"the role {person} still has the access user through another role"]


def test_a_login_that_loses_access_has_lost_it_in_its_next_statement(doors: Doors) -> None:
    operator = doors.login("operator")
    tenant = make_tenant(doors.house)
    count = f"select count(*) from aos_auth.tenant where tenant_id = '{tenant.tenant_id}'"
    assert operator.one(count) == 1
    doors.house.call(
        "aos_auth.revoke_access", operator.one("select session_user::text"), "operator"
    )
    with operator.refused("42501", "permission denied for schema aos_auth"):
        operator.one(count)


def test_a_login_that_is_nobodys_principal_is_told_why_it_finds_no_agent(
    doors: Doors, tenants: tuple[Tenant, Tenant]
) -> None:
    name = tenants[0].agent.name
    with doors.login("user").refused("OS002", "there is no agent") as nobody:
        doors.login("user").call("aos_agent.ask", name, "hello")
    assert "aos_auth.principal" in nobody.hint
    stranger = doors.login("user", principal_of=tenants[1])
    with stranger.refused("OS002", "there is no agent") as foreign:
        stranger.call("aos_agent.ask", name, "hello")
    assert foreign.hint == "SELECT name FROM aos_agent.agent lists the agents."


def client(program: str, *arguments: str) -> str:
    done = subprocess.run(
        [f"{pg_config('--bindir')}/{program}", *arguments], capture_output=True, text=True
    )
    assert (done.returncode, "ERROR" in done.stderr) == (0, False), done.stderr
    return done.stdout


def test_memberships_and_agent_roles_reach_another_server(
    doors: Doors,
    staged: dict[str, str],
    tmp_path: Path,
    tenants: tuple[Tenant, Tenant],
) -> None:
    """By pg_dumpall --roles-only and pg_dump, as docs/access.md says."""
    house = doors.house
    person, operator = doors.role("user", "approver"), doors.role("operator")
    agents = doors.role(options="nologin")
    house.insert("aos_auth.principal", tenant_id=tenants[0].tenant_id, db_role=person)
    house.call("aos_auth.register_agent_role", agents, tenants[0].tenant_id)
    house.rows(
        "update aos_agent.agent set db_role = %s where agent_id = %s",
        agents, tenants[0].agent.agent_id,
    )  # fmt: skip
    connection = doors.database.conninfo()
    globals_file, dump = tmp_path / "roles.sql", tmp_path / "dump"
    globals_file.write_text(client("pg_dumpall", "--roles-only", "-d", connection))
    client("pg_dump", "--format=custom", "-f", str(dump), "-d", connection)
    with (
        start_local(staged) as other,
        other.database("arrived", template="template0") as arrived,
    ):
        # postgres is there already: that one line fails, as everywhere
        text = globals_file.read_text().replace("CREATE ROLE postgres;", "")
        globals_file.write_text(text)
        client(
            "psql", "-X", "-q", "-v", "ON_ERROR_STOP=1",
            "-f", str(globals_file), "-d", other.conninfo("postgres"),
        )  # fmt: skip
        client("pg_restore", "--exit-on-error", "-d", arrived.conninfo(), str(dump))
        with arrived.connect(user=person) as restored:
            mine = House(restored)
            assert mine.rows("select tenant_id from aos_auth.tenant") == [(tenants[0].tenant_id,)]
            mine.say(tenants[0].conversation_id, "hello again")
            with mine.refused("42501", "permission denied for function grant_access"):
                mine.call("aos_auth.grant_access", operator, "user")
        with arrived.connect(user=operator) as restored:
            House(restored).call("aos_auth.grant_access", person, "developer")
        with arrived.connect() as restored:
            for function in ("aos_auth.tenant_id()", "aos_skills.describe_schema(text)"):
                check = f"select has_function_privilege('{agents}', '{function}', 'execute')"
                assert House(restored).one(check)
            House(restored).start(tenants[0].conversation_id)
            [[its]] = House(restored).rows(
                "select db_role from aos_agent.agent where agent_id = %s", tenants[0].agent.agent_id
            )
            assert its == agents


def test_a_developer_adds_skills_of_his_tenant_alone(
    doors: Doors, tenants: tuple[Tenant, Tenant]
) -> None:
    own, other = tenants
    developer = doors.login("developer", principal_of=own)
    skill = {"name": name("skill"), "description": "Tells.", "implementation": "external"}
    assert developer.insert(
        "aos_skills.skill", "tenant_id", tenant_id=own.tenant_id, **skill
    ) == own.tenant_id  # fmt: skip
    for tenant_id in (other.tenant_id, None):
        with developer.refused("42501", ""):
            developer.insert("aos_skills.skill", tenant_id=tenant_id, **skill)
