"""The owner dumps such a database with pg_dump and restores it, with nothing lost."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from cluster import Cluster, Database, pg_config
from house import Agent, House

from .conftest import OWNER, Site, agent_with_tools, empty_database, installed_database, psql


@dataclass(frozen=True, slots=True)
class Copies:
    """A filled database and what a dump of it became."""

    rows: dict[str, list[Any]]
    agent: Agent
    open_turn: Any
    worker: str
    restored: Database


def everything(house: House) -> dict[str, list[Any]]:
    """The rows of all tables, as text."""
    tables = house.rows(
        "select c.oid::regclass::text from pg_class c where c.relnamespace::regnamespace::text like"
        " 'aos\\_%' and c.relkind in ('r', 'p') and not c.relispartition order by 1"
    )
    return {
        table: house.rows(f"select t::text from {table} as t order by 1") for (table,) in tables
    }


@pytest.fixture(scope="module")
def copies(
    server: Cluster, script: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Copies]:
    dump = tmp_path_factory.mktemp("dump") / "dump.sql"
    with installed_database(server, script) as database, empty_database(server) as restored:
        site = Site(database)
        owner = site.as_(OWNER)
        agent = agent_with_tools(site, owner)
        skill = owner.function_skill(
            agent,
            "f(n int) returns int language sql set search_path = pg_catalog as 'select n + 1'",
            name="add_one",
        )
        person = site.person(agent.tenant_id, "user", "worker")
        owner.rows("select aos_core.maintain_event_log()")
        owner.rows(
            "update aos_meta.llm_model_registry set input_price = 99 where model_name = 'gpt-4o'"
        )
        done = owner.turn(agent)
        assert owner.tool(done, skill, {"n": 1})["result"] == "2"
        owner.finish(done)
        owner.rows("select aos_core.seal_event_log()")
        waits = owner.turn(agent)
        owner.tool(waits, owner.skill(agent, approval="ask"))
        rows = everything(owner)
        site.close()
        # as docs/sql_only.md says it
        options = ["--enable-row-security", "--no-owner", "--file", str(dump)]
        done_dump = subprocess.run(
            [f"{pg_config('--bindir')}/pg_dump", "-d", database.conninfo(user=OWNER), *options],
            capture_output=True,
            text=True,
            check=False,
        )
        assert (done_dump.returncode, done_dump.stderr) == (0, "")
        dump.write_text("\\set ON_ERROR_STOP on\n" + dump.read_text("utf-8"), "utf-8")
        loaded = psql(restored, dump)
        assert (loaded.returncode, loaded.stderr) == (0, "")
        yield Copies(rows, agent, waits, person.role, restored)


def test_every_row_is_there_again(copies: Copies) -> None:
    with copies.restored.connect(user=OWNER) as connection:
        restored = everything(House(connection))
    assert restored.keys() == copies.rows.keys()
    assert sum(map(len, restored.values())) > 100
    for table, rows in copies.rows.items():
        assert restored[table] == rows, table


def test_the_chain_of_events_is_whole(copies: Copies) -> None:
    with copies.restored.connect(user=OWNER) as connection:
        assert House(connection).rows("select * from aos_core.verify_event_log()") == []


def test_turns_go_on_where_they_stood(copies: Copies) -> None:
    with copies.restored.connect(user=OWNER) as connection:
        owner = House(connection)
        state = owner.run(copies.open_turn)
        assert state["status"] == "awaiting_approval"
        owner.call("aos_agent.approve_tool_call", state["pending"][0]["step_id"])
        owner.result(copies.open_turn, state["pending"][0]["tool_name"], "sent")
        assert owner.finish(copies.open_turn)["status"] == "completed"


def test_logins_and_accesses_hold_in_the_copy(copies: Copies) -> None:
    with copies.restored.connect(user=copies.worker) as connection:
        worker = House(connection)
        assert worker.one("select aos_auth.tenant_id()") == copies.agent.tenant_id
        assert worker.run(worker.turn(copies.agent))["status"] == "awaiting_model"


def test_the_roles_of_agents_are_registered_once_more(copies: Copies) -> None:
    with copies.restored.connect(user=OWNER) as connection:
        owner = House(connection)
        turn = owner.turn(copies.agent)
        assert owner.tool(turn, "add_one", {"n": 1})["status"] == "failed"
        [(hint,)] = owner.rows(
            "select hint from aos_core.check_installation() where status = 'missing'"
        )
        owner.rows(hint)
        assert owner.tool(turn, "add_one", {"n": 1})["result"] == "2"
