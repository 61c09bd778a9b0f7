"""pg_dump and restore lose no row, and the restored database goes on where the first stopped."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest

from cluster import Cluster, Database, pg_config, start_local
from house import House, name

#: roles belong to the server: ``pg_dumpall --roles-only`` brings them
MAKE_ROLE = "create role role_of_restored nologin"


@dataclass(frozen=True, slots=True)
class Copy:
    """A filled database and what a dump of it became."""

    before: dict[str, list[Any]]
    restored: Database


def client(program: str, database: Database, *arguments: str) -> None:
    """Run a client program of the server under test against a database."""
    done = subprocess.run(
        [f"{pg_config('--bindir')}/{program}", "-d", database.conninfo(), *arguments],
        capture_output=True,
        text=True,
        env={**os.environ, "PGCLIENTENCODING": "UTF8"},
    )
    assert (done.returncode, "ERROR" in done.stderr) == (0, False), done.stderr


def fill(house: House) -> None:
    """Put rows of every kind into every table."""
    # an event of a month that has no partition; those that follow have one
    house.rows(
        "with event as (insert into aos_core.event_log (created_at, event_no, chain_id, tenant_id,"
        " event_type, actor, hash) select '2020-02-02', 1, t, t, 'long_ago', 'me',"
        " aos_core._event_hash(null, 1, '2020-02-02', t, t, null, 'long_ago', 'me', null)"
        " from (select gen_random_uuid()) as given (t) returning *) insert into aos_core.event_head"
        " select e.tenant_id, e.event_no, e.hash from event as e"
    )
    assert len(house.rows("select aos_core.maintain_event_log()")) == 3
    # an operator's own rows, and presets that he changed
    house.rows(
        "update aos_meta.provider set base_url = 'http://127.0.0.1:9/v1' where provider = 'openai'"
    )
    house.rows(
        "update aos_meta.llm_model_registry set input_price = 99 where model_name = 'gpt-4o'"
    )
    house.rows("update aos_meta.setting set value = '7' where name = 'max_model_calls'")
    house.rows("update aos_auth.role set description = '우리 역할' where role_name = 'agent'")
    house.rows("update aos_skills.skill set approval = 'ask' where name = 'web_search'")
    house.rows(
        "update aos_skills.role_skill set approval = 'never' where skill_id"
        " = 'b0a05000-0000-5000-8000-000000000003'"
    )
    house.insert("aos_meta.setting", name="mine", value={"a": 1})
    house.insert(
        "aos_meta.provider", provider="mine", driver="openai_chat", base_url="http://127.0.0.1:9"
    )
    model = house.insert(
        "aos_meta.llm_model_registry",
        "model_id",
        model_name="mine",
        provider="mine",
        context_window=4096,
    )
    house.insert("aos_auth.role", role_name="mine")
    tenant = house.tenant(name="restored", display_name="복원")
    principal = house.insert(
        "aos_auth.principal", "principal_id", tenant_id=tenant, display_name="me"
    )
    house.insert("aos_auth.role_grant", tenant_id=tenant, principal_id=principal, role_name="mine")
    house.rows(MAKE_ROLE)
    house.call("aos_auth.register_agent_role", "role_of_restored", tenant)
    for owner in (tenant, None):
        secret = house.insert(
            "aos_meta.secret",
            "secret_id",
            tenant_id=owner,
            name="sealed",
            ciphertext=b"\0\xff",
            key_id="k1",
        )
    house.insert("aos_meta.secret_grant", tenant_id=tenant, secret_id=secret)
    house.insert("aos_skills.risk_policy", role_name="mine", risk="high", approval="ask")
    persona = house.persona(tenant, model_id=model, fallback_model_id=house.model())
    agent = house.agent(
        tenant, persona, name="restored", role_name="mine", db_role="role_of_restored"
    )
    service = house.skill(implementation="http", tenant_id=tenant)
    house.rows(
        "insert into aos_skills.http_endpoint (skill_id, method, url_template)"
        " select skill_id, 'GET', 'https://example.com/{id}' from aos_skills.skill where name = %s",
        service,
    )
    house.insert("aos_auth.ticket_key", key_id="dumped", ciphertext=b"sealed", master_key_id="k1")
    house.insert("aos_skills.http_host", tenant_id=tenant, host="example.com")
    house.insert(
        "aos_agent.sql_access", tenant_id=tenant, agent_id=agent.agent_id, schema_name="shop"
    )
    house.insert("aos_agent.sql_function_access", function_name="shop.net_price(numeric)")
    free = house.skill(agent, name="free", tenant_id=tenant)
    asking = house.skill(agent, name="asking", approval="ask")
    house.function_skill(agent, "f(a int) returns int language sql return a + 1", name="plus_one")
    house.call("aos_agent.grant_skill", "restored", "memory_store", "auto")
    house.rows(
        "insert into aos_skills.role_skill (role_name, skill_id)"
        " select 'mine', skill_id from aos_skills.skill where name = 'asking'"
    )
    # turns of every fate
    conversation = house.call("aos_agent.open_conversation", "restored", "제목")
    house.say(conversation, "첫 질문")
    turn = house.start(conversation)
    house.tool(turn, free, {"text": '\u00fc \\ " \n'}, call_id="c1")
    house.result(turn, free, {"found": ["한글", None]})
    house.tool(turn, "plus_one", {"a": 1})
    house.tool(turn, "memory_store", {"key": "colour", "content": "파랑"})
    house.finish(turn, "답")
    house.rows(
        "update aos_persona.persona set system_prompt = 'second version' where persona_id = %s",
        persona,
    )
    house.say(conversation)
    house.call("aos_agent.cancel_turn", house.start(conversation))
    house.say(conversation, "waiting")
    waiting = house.start(conversation)
    house.tool(waiting, asking, {"to": "all"}, call_id="c2")
    house.insert("aos_core.cancel_request", run_id=turn, tenant_id=tenant)
    house.say(conversation, "for the next turn")
    # a queue with a turn that waits, one that is claimed, and a dead letter
    for key in ("하나", "둘", "셋"):
        queued = house.call(
            "aos_agent.submit",
            house.call("aos_agent.open_conversation", "restored"),
            key,
            dedup_key=key,
        )
    house.rows("update aos_core.queue set attempt = 4 where run_id = %s", queued)
    fence = house.call("aos_core._claim_turn", queued, "worker", "1 hour", False, False)
    house.call("aos_core._give_back", queued, fence, {"kind": "unlucky"})
    house.call("aos_core._claim", "worker", "external", 1, "1 hour", False)
    house.call("aos_core._set_bucket", "tenant", str(tenant), 1, 1, "2026-01-01")
    # a schedule that was due long ago and did not run: its copy is still due
    house.rows(
        "with s as (insert into aos_agent.schedule (tenant_id, agent_id, principal_id, name,"
        " cron_expression, time_zone, content, next_run_at, last_at, last_status, last_reason)"
        " values (%s, %s, %s, '매일', '0 9 * * *', 'Asia/Seoul', '무엇이 새로워?', '2020-02-02',"
        " '2020-02-01', 'skipped', 'why not') returning *) insert into aos_agent.schedule_run"
        " select %s, s.tenant_id, s.schedule_id, '2020-01-31' from s",
        tenant, agent.agent_id, principal, turn,
    )  # fmt: skip
    # the first budget counts what was used before; its copy must not count it again
    house.rows("update aos_core.run set input_tokens = 10, output_tokens = 5, cost = 0.1")
    house.insert("aos_agent.budget", tenant_id=tenant, period="month", max_tokens=1000)
    house.rows("select aos_core.seal_event_log()")


def contents(database: Database) -> dict[str, list[Any]]:
    """Every row of every table of ours, as text.

    A preset is as old as the extension in its database: that one moment is left out.
    """
    ageless = (
        "(select (jsonb_populate_record(s, case when s.is_builtin"
        " then '{\"created_at\": null}'::jsonb"
        " else '{}' end)).* from aos_skills.skill as s)"
    )
    with database.connect() as connection:
        tables = connection.execute(
            "select c.oid::regclass::text from pg_class c join"
            " pg_namespace n on n.oid = c.relnamespace"
            " where n.nspname like 'aos\\_%' and c.relkind = 'r' order by 1"
        ).fetchall()
        return {
            table: [
                row
                for (row,) in connection.execute(
                    f"select t::text from {ageless if table == 'aos_skills.skill' else table}"
                    " as t order by 1"
                ).fetchall()
            ]
            for (table,) in tables
        }


def restore(dump: Path, form: str, target: Database) -> None:
    if form == "plain":
        client("psql", target, "-X", "-q", "-v", "ON_ERROR_STOP=1", "-f", str(dump))
    else:
        client("pg_restore", target, "--exit-on-error", str(dump))


@pytest.fixture(scope="module")
def dumps(
    cluster: Cluster, tmp_path_factory: pytest.TempPathFactory
) -> tuple[dict[str, list[Any]], dict[str, Path]]:
    """The rows of a filled database and its dumps."""
    directory = tmp_path_factory.mktemp("dumps")
    files = {}
    with cluster.database(name("dumped")) as source:
        with source.connect() as connection:
            fill(House(connection))
        before = contents(source)
        for form in ("plain", "custom"):
            files[form] = directory / form
            client("pg_dump", source, f"--format={form}", "-f", str(files[form]))
    return before, files


@pytest.fixture(scope="module", params=["plain", "custom", "plain, one transaction"])
def copy(
    cluster: Cluster,
    dumps: tuple[dict[str, list[Any]], dict[str, Path]],
    request: pytest.FixtureRequest,
) -> Iterator[Copy]:
    """The dump restored into an empty database."""
    before, files = dumps
    form = str(request.param).partition(",")[0]
    with cluster.database(name("restored"), template="template0") as target:
        if "one transaction" in request.param:
            client(
                "psql", target, "-X", "-q", "-1", "-v", "ON_ERROR_STOP=1", "-f", str(files[form])
            )
        else:
            restore(files[form], form, target)
        yield Copy(before, target)


def test_every_table_had_a_row_to_lose(dumps: tuple[dict[str, list[Any]], dict[str, Path]]) -> None:
    before, _ = dumps
    # two partitions of the event log are for months to come
    assert len([t for t, rows in before.items() if not rows and "event_log_20" in t]) == 2
    empty = [t for t, rows in before.items() if not rows and "event_log_20" not in t]
    assert empty == ["aos_core.lane_gate", "aos_core.limit_gate"]  # always: they are locks


def test_every_row_of_every_table_is_as_it_was(copy: Copy) -> None:
    after = contents(copy.restored)
    assert {table: len(rows) for table, rows in after.items()} == {
        table: len(rows) for table, rows in copy.before.items()
    }
    for table, rows in copy.before.items():
        assert after[table] == rows, table


def test_the_chains_of_the_event_log_hold_in_the_copy_and_go_on(copy: Copy) -> None:
    with copy.restored.connect() as connection:
        house = House(connection)
        assert house.rows("select * from aos_core.verify_event_log()") == []
        partitions = house.rows(
            "select c.relname, c.relforcerowsecurity, c.relowner::regrole::text,"
            " (select count(*) from pg_trigger t where t.tgrelid = c.oid and t.tgenabled = 'A'),"
            " (select count(*) from pg_index x where x.indrelid = c.oid)"
            " from pg_inherits i join pg_class c on c.oid = i.inhrelid"
            " where i.inhparent = 'aos_core.event_log'::regclass"
        )
        assert len(partitions) == 4
        assert {row[1:] for row in partitions} == {(True, "pgagentos_kernel", 2, 1)}
        assert house.rows("select aos_core.maintain_event_log()") == []
        house.rows("select aos_core._log(null, null, null, 'copied')")
        assert house.one("select aos_core.seal_event_log()") == 1
        assert house.rows("select * from aos_core.verify_event_log()") == []


def test_a_changed_preset_survives(copy: Copy) -> None:
    with copy.restored.connect() as connection:
        house = House(connection)
        found = house.rows(
            "select base_url, is_builtin from aos_meta.provider where provider = 'openai'"
        )
        assert found == [("http://127.0.0.1:9/v1", False)]
        # and the presets that nobody changed are presets still
        assert house.one("select is_builtin from aos_meta.provider where provider = 'anthropic'")
        assert (
            house.one("select count(*) from aos_skills.role_skill where role_name = 'agent'") == 4
        )


def test_the_restored_database_goes_on_where_the_first_one_stopped(copy: Copy) -> None:
    with copy.restored.connect() as connection:
        house = House(connection)
        last_message = house.one("select max(message_no) from aos_agent.message")
        [[step, turn, conversation]] = house.rows(
            "select step_id, turn_id, conversation_id from aos_agent.pending_approval"
        )
        house.call("aos_agent.approve_tool_call", step)
        house.result(turn, "asking", "sent", call_id="c2")
        house.finish(turn, "done")
        following = house.start(conversation)
        said = [m["content"] for m in house.run(following)["messages"] if m["role"] == "user"]
        assert said == ["첫 질문", "hello", "waiting", "for the next turn"]
        assert house.run(following)["system_prompt"] == "second version"
        assert house.tool(following, "plus_one", {"a": 41})["result"] == "42"
        house.finish(following)
        house.say(conversation)
        # the identity sequences go on too
        assert house.one("select max(message_no) from aos_agent.message") == last_message + 1
        assert (
            house.one("select count(*) from aos_core.event_log where run_id = %s", following) == 2
        )


def test_a_dump_of_the_restored_database_restores_too(
    cluster: Cluster, copy: Copy, tmp_path: Path
) -> None:
    client("pg_dump", copy.restored, "--format=custom", "-f", str(tmp_path / "again"))
    with cluster.database(name("again"), template="template0") as target:
        restore(tmp_path / "again", "custom", target)
        assert contents(target) == contents(copy.restored)


def test_rows_reach_another_server(
    request: pytest.FixtureRequest, dumps: tuple[dict[str, list[Any]], dict[str, Path]]
) -> None:
    if request.config.getoption("--pg") == "container":
        pytest.skip("the second server of this test is a local one: run it with --pg=local")
    before, files = dumps
    with (
        start_local(request.getfixturevalue("staged")) as other,
        other.database("arrived", template="template0") as target,
    ):
        with other.connect() as admin:
            admin.execute(MAKE_ROLE)
        restore(files["custom"], "custom", target)
        assert contents(target) == before


def test_a_restore_that_would_put_a_wrong_row_in_is_refused(copy: Copy) -> None:
    """The comparison above would be worth little on a database without its constraints."""
    with copy.restored.connect() as connection, pytest.raises(psycopg.errors.CheckViolation):
        connection.execute("update aos_core.run set status = 'completed', finished_at = null")
