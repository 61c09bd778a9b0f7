"""Whoever owns a database installs the edition with psql, whole or not at all."""

from __future__ import annotations

from pathlib import Path

import psycopg
import pytest

from cluster import Cluster, Database
from house import House

from .conftest import OWNER, empty_database, installed_database, psql


def schemas(database: Database) -> list[str]:
    with database.connect() as connection:
        return [
            row[0]
            for row in connection.execute(
                "select nspname from pg_namespace where nspname like 'aos\\_%' order by 1"
            )
        ]


def test_an_ordinary_role_installs_it_and_owns_all_of_it(installed: Database) -> None:
    with installed.connect() as admin:
        [mighty] = admin.execute(
            "select rolsuper or rolcreaterole or rolbypassrls from pg_roles where rolname = %s",
            [OWNER],
        ).fetchone() or (None,)
        assert mighty is False
        extensions = admin.execute("select extname from pg_extension").fetchall()
        languages = admin.execute("select lanname from pg_language where lanispl").fetchall()
        assert (extensions, languages) == ([("plpgsql",)], [("plpgsql",)])
        owners = admin.execute(
            "select distinct pg_get_userbyid(c.relowner) from pg_class c join pg_namespace n"
            " on n.oid = c.relnamespace where n.nspname like 'aos\\_%' union"
            " select pg_get_userbyid(p.proowner) from pg_proc p join pg_namespace n"
            " on n.oid = p.pronamespace where n.nspname like 'aos\\_%'"
        ).fetchall()
        assert owners == [(OWNER,)]


def test_it_says_what_it_is(installed: Database) -> None:
    with installed.connect(user=OWNER) as connection:
        found = connection.execute(
            "select component, status from aos_core.check_installation()"
        ).fetchall()
    assert found == [("edition", "ok"), ("owner", "ok")]


def test_a_second_run_says_so_and_changes_nothing(server: Cluster, script: Path) -> None:
    with installed_database(server, script) as database:
        with database.connect(user=OWNER) as connection:
            tenant = House(connection).tenant()
        done = psql(database, script)
        assert done.returncode != 0
        assert "pgAgentOS is in this database already" in done.stderr
        assert done.stderr.count("ERROR") == 1
        with database.connect(user=OWNER) as connection:
            assert House(connection).rows("select tenant_id from aos_auth.tenant") == [(tenant,)]


@pytest.mark.parametrize("stop", ["psql stops at the error", "psql goes on"])
def test_a_run_that_fails_leaves_nothing(
    server: Cluster, script: Path, tmp_path: Path, stop: str
) -> None:
    broken = tmp_path / "broken.sql"
    text = script.read_text(encoding="utf-8").replace("\ncommit;\n", "\nselect 1 / 0;\ncommit;\n")
    assert "1 / 0" in text
    if stop == "psql goes on":
        text = text.replace("\\set ON_ERROR_STOP on\n", "")
    broken.write_text(text, encoding="utf-8")
    with empty_database(server) as database:
        done = psql(database, broken)
        assert "division by zero" in done.stderr
        assert schemas(database) == []


def test_a_role_that_sees_past_row_security_is_refused(server: Cluster, script: Path) -> None:
    with empty_database(server) as database:
        done = psql(database, script, user="postgres")
        assert done.returncode != 0
        assert "sees past row security and cannot own pgAgentOS" in done.stderr
        assert "SET ROLE pgagentos_owner" in done.stderr
        assert schemas(database) == []


def test_who_sees_past_row_security_installs_it_as_another_role(
    server: Cluster, script: Path, tmp_path: Path
) -> None:
    """As the refusal proposes it, for services whose first role bypasses row security."""
    with empty_database(server) as database, database.connect() as admin:
        admin.execute("create role keeper nologin")
        admin.execute(f"grant create on database {database.name} to keeper")
        wrapped = tmp_path / "as_keeper.sql"
        wrapped.write_text(f"set role keeper;\n\\i {script}\n", encoding="utf-8")
        done = psql(database, wrapped, user="postgres")
        assert (done.returncode, done.stderr) == (0, "")
        house = House(admin)
        assert (
            house.one("select nspowner::regrole::text from pg_namespace where nspname = 'aos_core'")
            == "keeper"
        )
        assert house.one("select aos_auth._visible_tenant()::text").startswith("00000000")
        turn = house.turn()
        assert house.run(turn)["status"] == "awaiting_model"
    with server.connect() as admin:
        admin.execute("drop role keeper")


def test_a_role_that_may_not_create_schemas_is_told_what_it_needs(
    server: Cluster, script: Path
) -> None:
    with empty_database(server, owner="creator") as database:
        done = psql(database, script, user=OWNER)
        assert done.returncode != 0
        assert f"the role {OWNER} may not create schemas" in done.stderr
        assert f"GRANT CREATE ON DATABASE {database.name} TO {OWNER};" in done.stderr


def test_the_right_to_create_schemas_is_enough(server: Cluster, script: Path) -> None:
    with empty_database(server, owner="creator") as database:
        with database.connect(user="creator") as connection:
            connection.execute(f"grant create on database {database.name} to {OWNER}")
        done = psql(database, script, user=OWNER)
        assert (done.returncode, done.stderr) == (0, "")


def test_a_database_in_another_encoding_is_refused(server: Cluster, script: Path) -> None:
    with server.connect() as admin:
        admin.execute(
            f"create database latin owner {OWNER} template template0 encoding 'LATIN1' locale 'C'"
        )
    try:
        done = psql(Database(server, "latin"), script)
        assert "needs a database in the encoding UTF8" in done.stderr
        assert schemas(Database(server, "latin")) == []
    finally:
        with server.connect() as admin:
            admin.execute("drop database latin")


def test_a_role_that_may_create_roles_makes_the_group_roles(server: Cluster, script: Path) -> None:
    groups = ["agent", "approver", "auditor", "developer", "user", "worker"]
    with installed_database(server, script, owner="creator") as database:
        with database.connect(user="creator") as connection:
            house = House(connection)
            made = house.rows(
                "select rolname from pg_roles where rolname like 'pgagentos\\_%' order by 1"
            )
            assert made == [(f"pgagentos_{group}",) for group in groups]
            house.rows("create role clerk login")
            tenant = house.tenant()
            house.insert("aos_auth.principal", tenant_id=tenant, db_role="clerk")
            for access in ("user", "worker"):
                house.call("aos_auth.grant_access", "clerk", access)
            assert house.rows("select * from aos_auth.access_grant") == []
            agent = house.agent(tenant)
            # describe_schema runs as pgagentos_agent, which nobody had to register
            assert house.one("select aos_agent._runs_tools('pgagentos_agent')")
        with database.connect(user="clerk") as connection:
            clerk = House(connection)
            turn = clerk.turn(agent)
            assert clerk.run(turn)["status"] == "awaiting_model"
            described = clerk.tool(turn, "describe_schema")
            assert (described["status"], described["result"]) == ("completed", "[]")
        with database.connect(user="creator") as connection:
            house = House(connection)
            house.rows(
                "create table public.visible (id int); grant select on visible to pgagentos_agent"
            )
            assert "visible" in clerk_describes(database, turn)
            house.call("aos_auth.revoke_access", "clerk", "worker")
        with (
            database.connect(user="clerk") as connection,
            pytest.raises(psycopg.errors.InsufficientPrivilege),
        ):
            House(connection).tool(turn, "describe_schema")
    with server.connect() as admin:
        admin.execute("drop role clerk")
        for group in groups:
            admin.execute(f"drop role pgagentos_{group}")


def test_group_roles_that_are_there_are_used_and_others_are_left_alone(
    server: Cluster, script: Path
) -> None:
    with server.connect() as admin:
        admin.execute("create role pgagentos_worker nologin; create role pgagentos_user login")
        admin.execute("create role robot login in role pgagentos_worker; create role clerk login")
    try:
        with empty_database(server) as database:
            done = psql(database, script)
            assert done.returncode == 0
            assert done.stderr.count("WARNING") == 1
            assert "the role pgagentos_user is no group role: it is left alone" in done.stderr
            with database.connect(user=OWNER) as connection:
                owner = House(connection)
                tenant = owner.tenant()
                agent = owner.agent(tenant)
                for role in ("robot", "clerk"):
                    owner.insert("aos_auth.principal", tenant_id=tenant, db_role=role)
                # whose members are for somebody else to say
                owner.call("aos_auth.grant_access", "clerk", "worker")
                assert owner.rows("select db_role, access from aos_auth.access_grant") == [
                    ("clerk", "worker")
                ]
                assert not owner.one(
                    "select has_schema_privilege('pgagentos_user', 'aos_agent', 'usage')"
                )
            for role in ("robot", "clerk"):
                with database.connect(user=role) as connection:
                    worker = House(connection)
                    turn = worker.turn(agent)
                    assert worker.finish(turn)["status"] == "completed"
            with database.connect(user=OWNER) as connection:
                owner = House(connection)
                owner.call("aos_auth.revoke_access", "clerk", "worker")
                with owner.refused("OS003", "still has the access worker") as refusal:
                    owner.call("aos_auth.revoke_access", "robot", "worker")
                assert refusal.hint.endswith("REVOKE pgagentos_worker FROM robot;")
    finally:
        with server.connect() as admin:
            for role in ("robot", "clerk", "pgagentos_worker", "pgagentos_user"):
                admin.execute(f"drop role {role}")


def clerk_describes(database: Database, turn: object) -> str:
    with database.connect(user="clerk") as connection:
        return str(
            House(connection).one(
                "select aos_agent.process_tool_call(%s, 'describe_schema', '{}')", turn
            )
        )
