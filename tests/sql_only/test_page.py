"""The SQL of docs/sql_only.md runs as it stands there, in its order."""

from __future__ import annotations

import re
from pathlib import Path

import psycopg
import pytest

from cluster import CHECKOUT, Cluster

from .conftest import OWNER, empty_database, psql

PAGE = CHECKOUT / "docs" / "sql_only.md"


def test_the_sql_of_the_page_runs(server: Cluster, script: Path) -> None:
    blocks = re.findall(r"^```sql\n(.*?)^```", PAGE.read_text("utf-8"), re.DOTALL | re.MULTILINE)
    assert len(blocks) == 8
    with empty_database(server) as database:
        done = psql(database, script)
        assert done.returncode == 0, done.stderr
        *steps, removal = blocks
        for block in steps:
            user = "postgres" if block.startswith("-- as the administrator") else OWNER
            with database.connect(user=user) as connection:
                connection.execute(block.replace("DATABASE mydb", f"DATABASE {database.name}"))
        with database.connect(user="shop_worker") as worker:
            [tenants] = worker.execute(
                "select array_agg(name) from aos_auth.tenant"
            ).fetchone() or ([],)
            assert tenants == ["tea_shop"]
        with database.connect(user=OWNER) as connection:
            statuses = connection.execute(
                "select status from aos_core.check_installation()"
            ).fetchall()
            assert set(statuses) == {("ok",)}
            connection.execute(removal)
        again = psql(database, script)
        assert again.returncode == 0, again.stderr
    with server.connect() as admin:
        for role in ("pgagentos_owner", "shop_worker", "shop_agent"):
            admin.execute(f"drop role {role}")


def test_the_words_of_json_schema_on_the_page_are_those_that_are_checked() -> None:
    text = PAGE.read_text("utf-8")
    known = text[text.index("It knows these words") : text.index("Other words")]
    named = set(re.findall(r"`([$a-zA-Z]+)`", known))
    source = (CHECKOUT / "sql/sql_only/skills.sql").read_text("utf-8")
    source = source[source.index("create function aos_skills._schema_error") :]
    read = set(re.findall(r"schema (?:->>?|\?) '([$a-zA-Z]+)'", source))
    read |= set(re.findall(r"\('(\w+)', '[a-z ]+'\)", source)) | {"anyOf", "oneOf"}
    assert named == read


def test_a_service_that_gives_a_mighty_role_is_served_as_the_page_says(
    server: Cluster, script: Path
) -> None:
    """``psql -c 'SET ROLE ...' -f script`` is one session."""
    with empty_database(server) as database:
        with server.connect() as admin:
            admin.execute("create role mighty login bypassrls; create role plain_owner nologin")
            admin.execute("grant plain_owner to mighty")
            admin.execute(f"grant create on database {database.name} to plain_owner")
        wrapped = psql(database, script, user="mighty", before="SET ROLE plain_owner")
        assert (wrapped.returncode, wrapped.stderr) == (0, "")
        with database.connect(user="mighty") as connection:
            row = connection.execute("select aos_auth._visible_tenant()::text").fetchone()
            assert row is not None
            assert row[0].startswith("00000000")
            connection.execute("reset role")  # with rights of its own, still an operator
            with pytest.raises(psycopg.Error, match="there is no turn"):
                connection.execute("select aos_agent.run_turn(gen_random_uuid())")
    with server.connect() as admin:
        admin.execute("drop role mighty; drop role plain_owner")
