"""``aos_core.check_installation()`` says what is there and what is missing, and calls no model."""

from __future__ import annotations

import re
import sys

import psycopg
import pytest

from cluster import CHECKOUT, Database
from kernel.conftest import API_KEY
from kernel.replies import says
from kernel.scene import Scene, make_scene, rows
from servers.play_server import Play

_CONTROL = (CHECKOUT / "pgagentos.control").read_text(encoding="utf-8")
VERSION = re.findall(r"^default_version = '(.*)'$", _CONTROL, re.MULTILINE)[0]


def findings(connection: psycopg.Connection) -> dict[str, tuple[str, str, str | None]]:
    """Status, detail and hint by component."""
    return {
        row["component"]: (row["status"], row["detail"], row["hint"])
        for row in rows(connection, "select * from aos_core.check_installation()")
    }


def test_what_a_working_installation_consists_of_is_ok(connection: psycopg.Connection) -> None:
    found = findings(connection)
    for component in (
        "python",
        "extension pgagentos",
        "extension plpython3u",
        "extension vector",
        "extension pgcrypto",
        "package httptools",
        "package fastjsonschema",
        "package openai",
        "package anthropic",
    ):
        status, detail, hint = found[component]
        assert (status, hint) == ("ok", None), component
        assert detail
    assert found["python"][1].startswith(f"{sys.version_info[0]}.")


def test_what_is_missing_has_a_hint(connection: psycopg.Connection) -> None:
    found = findings(connection)
    assert all(hint for status, _, hint in found.values() if status != "ok")
    status, _, hint = found["provider openai"]
    assert status == "missing"
    assert "OPENAI_API_KEY" in str(hint)
    assert found["extension pg_cron"][0] in ("ok", "missing")


def test_a_server_without_a_key_is_looked_at_and_named(scene: Scene) -> None:
    scene.says(says("not a model call"))
    found = findings(scene.connection)[f"provider {scene.name}"]
    assert found == ("ok", f"{scene.play.url} answers (HTTP 200)", None)
    (request,) = scene.play.requests()
    assert request.body == b""


def test_a_server_that_is_down_is_unreachable(connection: psycopg.Connection, play: Play) -> None:
    scene = make_scene(connection, play, base_url="http://127.0.0.1:1/v1")
    status, detail, hint = findings(connection)[f"provider {scene.name}"]
    assert status == "unreachable"
    assert "127.0.0.1:1" in detail
    assert str(hint).startswith("Start the server at http://127.0.0.1:1/v1")


def test_a_key_in_the_environment_is_named_and_never_shown(own_database: Database) -> None:
    with own_database.connect() as connection:
        found = findings(connection)
    assert found["provider openai"] == ("ok", "key in OPENAI_API_KEY", None)
    assert API_KEY not in str(found)
    assert found["provider anthropic"][0] == "missing"


def test_a_skill_whose_function_was_dropped_is_named(scene: Scene) -> None:
    scene.skill("lost(a integer) returns integer language sql return a")
    scene.skill("kept(a integer) returns integer language sql return a")
    scene.connection.execute(f"drop function public.lost_{scene.name}(integer)")
    found = findings(scene.connection)
    status, detail, hint = found["skill lost"]
    assert (status, detail) == (
        "missing",
        f"function public.lost_{scene.name}(integer) does not exist any more",
    )
    assert "is_active" in str(hint)
    assert "skill kept" not in found


def test_a_skill_in_a_schema_that_the_caller_may_not_use_is_not_looked_up(scene: Scene) -> None:
    schema = f"closed_{scene.name}"
    connection = scene.connection
    connection.execute(f'create schema "{schema}"')
    scene.skill("hidden(a integer) returns integer language sql return a")
    connection.execute(f'alter function public.hidden_{scene.name}(integer) set schema "{schema}"')
    connection.execute(
        "update aos_skills.skill set function_name = %s where name = 'hidden' and tenant_id = %s",
        (f"{schema}.hidden_{scene.name}(integer)", scene.tenant_id),
    )
    assert "skill hidden" not in findings(connection)
    role = f"looker_{scene.name}"
    with connection.transaction(force_rollback=True):
        connection.execute(
            f"create role {role}; grant usage on schema aos_core, aos_meta, aos_skills to {role};"
            f" grant select on all tables in schema aos_meta, aos_skills to {role};"
            f" grant execute on all functions in schema aos_core, aos_meta to {role};"
            f" set local role {role}"
        )
        assert "skill hidden" not in findings(connection)


def test_a_kernel_of_another_version_than_the_extension_is_refused(database: Database) -> None:
    with database.connect() as connection:
        connection.execute(
            "update pg_extension set extversion = '0.0.9' where extname = 'pgagentos'"
        )
        try:
            with pytest.raises(psycopg.Error) as caught:
                connection.execute("select aos_meta.has_api_key('openai')")
        finally:
            connection.execute(
                "update pg_extension set extversion = %s where extname = 'pgagentos'", (VERSION,)
            )
        assert caught.value.sqlstate == "OS901"
        message = str(caught.value.diag.message_primary)
        assert "this database has pgagentos 0.0.9" in message
        assert message.endswith(f"the Python package of {VERSION}")
        assert "ALTER EXTENSION pgagentos UPDATE" in str(caught.value.diag.message_hint)
        # The same session goes on once they fit.
        assert connection.execute("select aos_meta.has_api_key('openai')").fetchone() is not None
