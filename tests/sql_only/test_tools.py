"""Tools run with the rights of their agent's role, whoever drives the turn, and with no others."""

from __future__ import annotations

import psycopg
import pytest

from house import House, name

from .conftest import OWNER, Site, agent_with_tools


def test_a_tool_has_the_rights_of_its_agents_role(site: Site, owner: House) -> None:
    agent = agent_with_tools(site, owner)
    role = owner.one("select db_role from aos_agent.agent where agent_id = %s", agent.agent_id)
    skill = owner.function_skill(
        agent,
        "f() returns text language plpgsql set search_path = pg_catalog as $$ begin return current_user; end $$",
    )
    call = owner.tool(owner.turn(agent), skill)
    assert (call["status"], call["result"]) == ("completed", role)


def test_what_the_role_may_not_do_the_tool_may_not(site: Site, owner: House) -> None:
    agent = agent_with_tools(site, owner)
    owner.rows("create table if not exists public.ledger (amount int)")
    role = owner.one("select db_role from aos_agent.agent where agent_id = %s", agent.agent_id)
    add = owner.function_skill(
        agent,
        "f(amount int) returns int language sql set search_path = public as"
        " $$ insert into ledger values (amount) returning amount $$",
    )
    turn = owner.turn(agent)
    refused = owner.tool(turn, add, {"amount": 5})
    assert (refused["status"], refused["result"]) == (
        "failed",
        "42501: permission denied for table ledger",
    )
    owner.rows(f"grant insert, select on public.ledger to {role}")
    assert owner.tool(turn, add, {"amount": 5})["result"] == "5"
    assert owner.rows("select amount from public.ledger") == [(5,)]


@pytest.mark.parametrize(
    "statement",
    [
        "select count(*) from aos_core.run",
        "select count(*) from aos_auth.acting",
        "select aos_agent.finish_turn(gen_random_uuid(), 'x')",
        "select aos_auth.grant_access('app', 'user')",
        "insert into aos_auth.acting (transaction_id, tenant_id) values (pg_current_xact_id(), gen_random_uuid())",
        "delete from aos_auth.acting",
        f"set role {OWNER}",
        "reset role",
        f"set session authorization {OWNER}",
        "create function aos_sandbox.mine() returns int language sql return 1",
    ],
)
def test_a_tool_cannot_reach_the_kernel(site: Site, owner: House, statement: str) -> None:
    agent = agent_with_tools(site, owner)
    skill = owner.function_skill(
        agent,
        "f(statement text) returns text language plpgsql set search_path = pg_catalog as"
        " $$ begin execute statement; return 'done'; end $$",
    )
    call = owner.tool(owner.turn(agent), skill, {"statement": statement})
    assert call["status"] == "failed"
    assert call["result"].startswith(("42501: ", "0A000: cannot set parameter"))


def test_statement_timeout_ends_a_tool_that_does_not_end(site: Site, owner: House) -> None:
    agent = agent_with_tools(site, owner)
    owner.rows("create table if not exists public.trace (at timestamptz)")
    role = owner.one("select db_role from aos_agent.agent where agent_id = %s", agent.agent_id)
    owner.rows(f"grant insert on public.trace to {role}")
    skill = owner.function_skill(
        agent,
        "f() returns text language plpgsql set search_path = pg_catalog as"
        " $$ begin insert into public.trace values (now()); perform pg_sleep(3600); return 'x'; end $$",
    )
    turn = owner.turn(agent)
    owner.rows("set statement_timeout = '300ms'")
    try:
        with pytest.raises(psycopg.errors.QueryCanceled, match="statement timeout"):
            owner.tool(turn, skill)
    finally:
        owner.rows("reset statement_timeout")
    assert owner.rows("select from public.trace") == []


@pytest.mark.parametrize("change", ["security invoker", "set search_path = public", "rename"])
def test_a_role_that_changes_its_function_runs_no_more_tools(
    site: Site, owner: House, change: str
) -> None:
    """An owner may make it an invoker: it would run with the rights of the kernel."""
    agent = agent_with_tools(site, owner)
    role = owner.one("select db_role from aos_agent.agent where agent_id = %s", agent.agent_id)
    signature = f"aos_sandbox.{role}(text, jsonb, uuid, uuid, uuid)"
    skill = owner.function_skill(
        agent,
        "f() returns text language sql set search_path = pg_catalog as 'select current_user::text'",
    )
    assert owner.tool(owner.turn(agent), skill)["result"] == role
    if change == "rename":
        site.admin(f"alter function {signature} rename to other_{role}")
    else:
        site.admin(
            f"grant usage on schema aos_sandbox to {role}; set role {role}; alter function {signature} {change}"
        )
    call = owner.tool(owner.turn(agent), skill)
    assert call["status"] == "failed"
    assert call["result"].startswith(f"the role {role} cannot run tools here.")
    assert (f"role {role}", "missing") in owner.rows(
        "select component, status from aos_core.check_installation()"
    )
    owner.call("aos_auth.register_agent_role", role, agent.tenant_id)
    assert owner.tool(owner.turn(agent), skill)["result"] == role
    assert owner.rows("select status from aos_core.check_installation() where status <> 'ok'") == []


def test_the_function_itself_looks_who_it_runs_as(site: Site, owner: House) -> None:
    agent = agent_with_tools(site, owner)
    role = owner.one("select db_role from aos_agent.agent where agent_id = %s", agent.agent_id)
    site.admin(f"alter function aos_sandbox.{role}(text, jsonb, uuid, uuid, uuid) security invoker")
    with owner.refused("OS901", f"tools of the role {role} would run as {OWNER}"):
        owner.rows(f"select aos_sandbox.{role}('select to_json(1)', null, null, null, null)")


def test_an_agent_without_a_role_has_no_tools_that_are_functions(owner: House) -> None:
    agent = owner.agent()
    turn = owner.turn(agent)
    call = owner.tool(turn, "describe_schema")
    assert call["status"] == "failed"
    assert call["result"].startswith(
        "the agent has no database role to run tools as. An operator says SELECT"
    )
    assert owner.run(turn)["status"] == "awaiting_model"  # the turn goes on: the model is told


def test_a_tool_acts_for_the_tenant_of_its_turn_also_when_an_operator_drives(
    site: Site, owner: House
) -> None:
    agent = agent_with_tools(site, owner)
    turn = owner.turn(agent)
    stored = owner.tool(turn, "memory_store", {"key": "colour", "content": "blue"})
    assert stored["result"] == '{"stored" : "colour"}'
    assert "blue" in owner.tool(turn, "memory_recall", {"query": "colour"})["result"]
    whose = owner.function_skill(
        agent,
        "f() returns uuid language sql set search_path = pg_catalog as 'select aos_auth.tenant_id()'",
    )
    assert owner.tool(owner.turn(agent), whose)["result"] == str(agent.tenant_id)
    assert owner.one("select aos_auth.tenant_id()") is None  # and nobody does afterwards
    assert owner.rows("select * from aos_auth.acting") == []


def test_a_tool_that_fails_is_undone_and_leaves_no_identity(site: Site, owner: House) -> None:
    agent = agent_with_tools(site, owner)
    skill = owner.function_skill(
        agent,
        "f() returns int language plpgsql set search_path = pg_catalog as $$ begin"
        " perform aos_core.memory_store('k', 'c', aos_auth.tenant_id(), gen_random_uuid()); return 1 / 0; end $$",
    )
    turn = owner.turn(agent)
    with owner.connection.transaction():
        assert owner.tool(turn, skill)["result"].startswith("2")
        assert owner.one("select aos_auth._visible_tenant()::text").startswith("00000000")
        assert owner.rows("select * from aos_auth.acting") == []
    assert owner.one("select count(*) from aos_core.session_memory where key = 'k'") == 0


def test_what_a_tool_puts_off_happens_with_its_own_rights(site: Site, owner: House) -> None:
    """A deferred trigger would run at the commit, as whoever drives the turn."""
    agent = agent_with_tools(site, owner)
    role = owner.one("select db_role from aos_agent.agent where agent_id = %s", agent.agent_id)
    owner.rows(
        f"create schema s_{role}; grant usage on schema s_{role} to {role};"
        f" create table s_{role}.t (id int); create table s_{role}.seen (who text);"
        f" grant all on s_{role}.t, s_{role}.seen to {role};"
        f" create function s_{role}.note() returns trigger language plpgsql as $$ begin"
        f" insert into s_{role}.seen values (current_user); return null; end $$;"
        f" create constraint trigger later after insert on s_{role}.t deferrable initially deferred"
        f" for each row execute function s_{role}.note()"
    )
    skill = owner.function_skill(
        agent,
        f"f() returns int language sql set search_path = pg_catalog as"
        f" 'insert into s_{role}.t values (1) returning 1'",
    )
    assert owner.tool(owner.turn(agent), skill)["status"] == "completed"
    assert owner.rows(f"select who from s_{role}.seen") == [(role,)]


def test_a_role_that_could_put_something_off_itself_runs_no_tools(site: Site, owner: House) -> None:
    """Its trigger could defer itself again, whenever it is made to run."""
    agent = agent_with_tools(site, owner)
    skill = owner.function_skill(
        agent,
        "f(statement text) returns text language plpgsql set search_path = pg_catalog as"
        " $$ begin execute statement; return 'done'; end $$",
    )
    statement = (
        "create temporary table t (id int); create function pg_temp.later() returns trigger"
        " language plpgsql as 'begin set constraints all deferred; insert into t values (2);"
        " return null; end'; create constraint trigger later after insert on t deferrable"
        " initially deferred for each row execute function pg_temp.later(); insert into t values (1)"
    )
    call = owner.tool(owner.turn(agent), skill, {"statement": statement})
    assert call["status"] == "failed"
    assert call["result"].startswith("the trigger later of table")
    assert owner.one("select to_regclass('pg_temp.t')") is None


@pytest.mark.parametrize("kind", ["trigger", "constraint"])
def test_nothing_that_a_stranger_has_put_off_runs_at_the_commit(
    site: Site, owner: House, kind: str
) -> None:
    """It is made to run with the tool's rights, but may defer itself again from there."""
    agent = agent_with_tools(site, owner)
    stranger = site.role("stranger")
    schema = f"s_{stranger}"
    site.admin(f"create schema {schema} authorization {stranger}")
    made = site.as_(stranger)
    made.rows(
        f"grant usage on schema {schema} to public; create sequence {schema}.times;"
        f" create table {schema}.seen (who text); grant all on {schema}.seen to public;"
        f" grant all on sequence {schema}.times to public; create table {schema}.t (id int4range);"
        f" create function {schema}.put(n int) returns int language sql security definer as"
        f" 'insert into {schema}.t values (int4range(n, n + 2)) returning n';"
        f" create function {schema}.later() returns void language plpgsql as $$ begin"
        f" insert into {schema}.seen values (current_user);"
        f" if nextval('{schema}.times') < 5 then set constraints all deferred;"
        f" perform {schema}.put(1); end if; end $$"
    )
    if kind == "trigger":
        made.rows(
            f"create function {schema}.fire() returns trigger language plpgsql as"
            f" $$ begin perform {schema}.later(); return null; end $$;"
            f" create constraint trigger later after insert on {schema}.t deferrable"
            f" initially deferred for each row execute function {schema}.fire()"
        )
    else:
        made.rows(
            f"create function {schema}.peek(r int4range) returns int4range immutable"
            f" language plpgsql as $$ begin perform {schema}.later(); return 'empty'; end $$;"
            f" alter table {schema}.t add constraint later exclude using gist"
            f" ({schema}.peek(id) with &&) deferrable initially deferred"
        )
    skill = owner.function_skill(
        agent,
        f"f() returns int language sql set search_path = pg_catalog as 'select {schema}.put(1)'",
    )
    call = owner.tool(owner.turn(agent), skill)
    assert call["status"] == "failed"
    assert "is deferrable" in call["result"]
    assert owner.rows(f"select who from {schema}.seen") == []
    site.admin(f"drop schema {schema} cascade")


@pytest.mark.parametrize(
    "statement",
    ["prepare left_behind as select 1", "declare left_behind cursor with hold for select 1"],
)
@pytest.mark.parametrize(
    "then", ["return 'done';", "raise 'broken';", "raise using errcode = 'query_canceled';"]
)
def test_a_tool_leaves_nothing_behind_that_would_run_later(
    site: Site, owner: House, statement: str, then: str
) -> None:
    agent = agent_with_tools(site, owner)
    skill = owner.function_skill(
        agent,
        "f(statement text) returns text language plpgsql set search_path = pg_catalog as"
        f" $$ begin execute statement; {then} end $$",
    )
    turn = owner.turn(agent)
    owner.rows("prepare mine as select 1")
    if "canceled" in then:
        with owner.refused("57014", ""):
            owner.tool(turn, skill, {"statement": statement})
    else:
        call = owner.tool(turn, skill, {"statement": statement})
        assert call["status"] == "failed"
        assert "prepare no statement" in call["result"] or "broken" in call["result"]
    left = "select name from pg_prepared_statements where from_sql union select name from pg_cursors where is_holdable"
    assert owner.rows(left) == [("mine",)]


def test_results_come_as_the_model_reads_them(site: Site, owner: House) -> None:
    agent = agent_with_tools(site, owner)
    rows = owner.function_skill(
        agent,
        "f(n int) returns table (i int, word text) language sql set search_path = pg_catalog as"
        " $$ select g, 'w' from generate_series(1, n) as g $$",
    )
    long = owner.function_skill(
        agent,
        "f() returns text language sql set search_path = pg_catalog as $$ select repeat('x', 100010) $$",
    )
    nothing = owner.function_skill(
        agent, "f() returns text language sql set search_path = pg_catalog as 'select null::text'"
    )
    turn = owner.turn(agent)
    assert '{"i":2,"word":"w"}' in owner.tool(turn, rows, {"n": 2})["result"]
    assert "there are more rows" in owner.tool(turn, rows, {"n": 200})["result"]
    assert owner.tool(turn, long)["result"].endswith("x\n[10 more characters left out]")
    assert owner.tool(turn, nothing)["result"] == "null"


def test_a_role_that_is_the_owners_cannot_be_an_agents(site: Site, owner: House) -> None:
    tenant = owner.tenant()
    member = site.role("member", "nologin")
    site.admin(f"grant {OWNER} to {member}")
    for role in (OWNER, member):
        with owner.refused("OS001", f"the role {role} cannot be an agent's"):
            owner.call("aos_auth.register_agent_role", role, tenant)


def test_a_role_of_somebody_else_is_refused_with_the_word_that_helps(
    site: Site, owner: House
) -> None:
    foreign = site.role("foreign", "nologin")
    with owner.refused("42501", f"{OWNER} may not act as the role {foreign}") as refusal:
        owner.call("aos_auth.register_agent_role", foreign, owner.tenant())
    assert refusal.hint == f"Whoever administers the role says GRANT {foreign} TO {OWNER};"
    assert owner.one("select has_schema_privilege(%s, 'aos_core', 'usage')", foreign) is False


def test_sql_of_models_is_refused_when_the_skill_is_made(owner: House) -> None:
    with owner.refused("23514", "skill_runs_no_sql_of_models"):
        owner.skill(implementation="sql_query")


def test_an_agent_is_never_run_inside(owner: House) -> None:
    with owner.refused("23514", "agent_is_run_from_outside"):
        owner.agent(runner="database")
    local = owner.insert(
        "aos_meta.llm_model_registry",
        "model_id",
        model_name=name("local"),
        provider="ollama",
        context_window=8192,
    )
    tenant = owner.tenant()
    agent = owner.agent(tenant, owner.persona(tenant, model_id=local), runner="auto")
    state = owner.run(owner.turn(agent))
    assert state["status"] == "awaiting_model"
    assert state["reason"] == "the database has no PL/Python: an outside worker calls the model"
