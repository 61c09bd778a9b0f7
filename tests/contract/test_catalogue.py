"""Rules that every object of the extension keeps, read from the catalogue of an installed one."""

from __future__ import annotations

import re

import psycopg
import pytest

from contract.catalogue import FUNCTIONS, OURS, RELATIONS, STAND_IN, names
from pgagentos.entry import ENTRY_POINTS

#: private functions of the path of every turn: called only below functions that have pinned the
#: path (see sql/tail.sql)
BELOW_PINNED = {
    "aos_agent._ask(text,text,uuid)",
    "aos_agent._budgets_of(uuid,uuid,text,uuid,uuid,uuid,integer,numeric)",
    "aos_agent._count_usage(uuid,uuid,bigint,numeric)",
    "aos_agent._read_turns(uuid[])",
    "aos_agent._record_all_claimed(json)",
    "aos_agent._record_counted(uuid,json,json,text,text,jsonb,uuid,integer[])",
    "aos_agent._shared_use(uuid,uuid)",
    "aos_agent._start_turn(uuid,text,text)",
    "aos_core._record(uuid,json,json,text,text,jsonb)",
    "aos_core._record_all(json)",
}

#: they commit, and such a procedure may neither be SECURITY DEFINER nor set anything
COMMITTING = {
    "aos_agent.run_turn_stepwise(uuid,boolean,text,jsonb)",
    "aos_agent.work(integer,integer,integer)",
}

#: row security calls them in every statement; they name nothing that a path could lead astray
IDENTITY = {"aos_auth._visible_tenant()", "aos_auth.tenant_id()", "aos_auth.principal_id()"}
#: SQL that becomes part of the query that calls it, which a SET clause would prevent; its names
#: were bound when it was created
INLINED = {
    "aos_agent._usable_skill",
    "aos_auth._is_active",
    "aos_auth._session_identity",
    "aos_auth.actor",
    "aos_core._channel",
    "aos_core._event_hash",
    "aos_core._now",
    "aos_core._rate_a_second",
    "aos_core._rate_at_once",
    "aos_core._rate_left",
    "aos_core._rate_wait",
    "aos_core._turn_key",
    "aos_core.new_id",
    "aos_meta._decrypt",
    "aos_meta._encrypt",
    "aos_meta.call_cost",
}
#: Python functions that only read, and only who acts: the planner calls them once for all rows
READ_WHO_ACTS = IDENTITY | {"aos_auth._identity_source()"}

#: the two lines of a PL/Python function; the name of the entry point is in the second
WRAPPER = re.compile(
    r"\nif 'pgagentos' not in GD: (?P<load>.*)\n"
    r"return GD\['pgagentos'\]\(plpy, '(?P<entry>[a-z_.]+)'(?P<arguments>(?:, (?:[a-z_]+|TD))*)\)\n"
)

LOAD = (
    "__import__('ctypes').PyDLL(None).IsInParallelMode() & 1"
    " or plpy.execute('select aos_core._load()')"
)
#: only the kernel may call the loader: whoever calls a procedure gets there by a function of it
LOAD_BY_FUNCTION = "plpy.execute('select aos_auth.tenant_id()')"

QUOTED = re.compile(r"'(?:[^']|'')*'")
WRITES = re.compile(
    r"\b(insert\s+into|update\s+[a-z_.]+\s+(as\s+\w+\s+)?set|delete\s+from|for\s+(no\s+key\s+)?update|truncate\s)\b",
    re.IGNORECASE,
)


def test_every_function_has_a_search_path_of_its_own(connection: psycopg.Connection) -> None:
    without = dict(
        connection.execute(
            f"select p.oid::regprocedure::text, p.prosqlbody is not null {FUNCTIONS}"
            " and not coalesce('search_path=pg_catalog, pg_temp' = any (p.proconfig), false)"
            f" and not {STAND_IN}"
        ).fetchall()
    )
    # the analysis puts the stand-ins before the built-in functions
    assert {name for name, is_bound in without.items() if not is_bound} == (
        BELOW_PINNED | IDENTITY | COMMITTING | {"aos_sandbox._analyse(text,text)"}
    )
    assert {name.split("(")[0] for name, is_bound in without.items() if is_bound} == INLINED


def test_what_forbids_kinds_of_plans_switches_jit_off(connection: psycopg.Connection) -> None:
    """A plan that is forbidden and used all the same is so dear that the server compiles it."""
    forbidding = names(
        connection,
        f"select p.oid::regprocedure::text {FUNCTIONS}"
        " and array_to_string(p.proconfig, ' ') like '%enable\\_%'",
    )
    assert len(forbidding) > 3
    compiled = names(
        connection,
        f"select p.oid::regprocedure::text {FUNCTIONS}"
        " and array_to_string(p.proconfig, ' ') like '%enable\\_%'"
        " and not 'jit=off' = any (p.proconfig)",
    )
    assert compiled == []


def test_python_functions_may_write_and_say_so(connection: psycopg.Connection) -> None:
    stable = names(
        connection,
        f"select p.oid::regprocedure::text {FUNCTIONS} and l.lanname"
        " = 'plpython3u' and p.provolatile <> 'v'",
    )
    assert set(stable) == READ_WHO_ACTS


def test_a_function_that_writes_is_volatile(connection: psycopg.Connection) -> None:
    rows = connection.execute(
        f"select p.oid::regprocedure::text, p.provolatile, p.prosrc {FUNCTIONS}"
        " and p.prosqlbody is null and l.lanname in ('sql', 'plpgsql')"
    ).fetchall()
    writers = [(name, v) for name, v, body in rows if WRITES.search(QUOTED.sub("", body))]
    assert len(writers) > 10
    dishonest = [name for name, volatility in writers if volatility != "v"]
    assert dishonest == []


def test_a_stable_function_calls_no_volatile_one(connection: psycopg.Connection) -> None:
    rows = connection.execute(
        "select p.oid::regprocedure::text, n.nspname || '.' || p.proname, p.provolatile,"
        f" coalesce(pg_get_function_sqlbody(p.oid), p.prosrc) {FUNCTIONS}"
    ).fetchall()
    volatile = {name for _, name, volatility, _ in rows if volatility == "v"}
    dishonest = [
        (caller, name)
        for caller, _, volatility, body in rows
        if volatility != "v"
        for name in volatile
        if not (name == "aos_core._load" and caller in READ_WHO_ACTS)  # it changes no row
        and re.search(rf"\b{re.escape(name)}\s*\(", QUOTED.sub("", body))  # hints name functions
    ]
    assert dishonest == []


def test_python_functions_are_two_lines_and_name_every_entry_point(
    connection: psycopg.Connection,
) -> None:
    rows = connection.execute(
        "select p.oid::regprocedure::text, p.prosrc, p.proargnames, p.proargmodes::text[],"
        f" p.prorettype = 'trigger'::regtype {FUNCTIONS}"
        " and l.lanname = 'plpython3u' and p.proname <> '_load'"
    ).fetchall()
    entries = []
    for function, body, argument_names, modes, is_trigger in rows:
        match = WRAPPER.fullmatch(body)
        assert match, f"{function} is more than its two lines"
        assert match["load"] == (LOAD_BY_FUNCTION if function in COMMITTING else LOAD)
        entries.append(match["entry"])
        inputs = [
            name
            for name, mode in zip(argument_names or (), modes or "i" * 99, strict=False)
            if mode in "ib"
        ]
        # a trigger's rows come in TD
        assert match["arguments"].split(", ")[1:] == (["TD"] if is_trigger else inputs), (
            f"{function} does not pass its arguments"
        )
    assert sorted(entries) == sorted(ENTRY_POINTS)


@pytest.mark.parametrize(
    ("kind", "query"),
    [
        (
            "schemas",
            f"select n.nspname from pg_namespace n where {OURS} and"
            " obj_description(n.oid, 'pg_namespace') is null",
        ),
        (
            "tables and views",
            f"select c.oid::regclass::text {RELATIONS} and c.relkind in ('r', 'p', 'v')"
            " and obj_description(c.oid, 'pg_class') is null",
        ),
        (
            "functions",
            f"select p.oid::regprocedure::text {FUNCTIONS} and"
            " obj_description(p.oid, 'pg_proc') is null",
        ),
    ],
)
def test_everything_public_has_a_comment(
    connection: psycopg.Connection, kind: str, query: str
) -> None:
    assert names(connection, query) == []


def test_a_column_of_json_has_a_comment_that_says_what_is_in_it(
    connection: psycopg.Connection,
) -> None:
    silent = names(
        connection,
        "select c.oid::regclass || '.' || a.attname from pg_attribute"
        " a join pg_class c on c.oid = a.attrelid"
        f" join pg_namespace n on n.oid = c.relnamespace where {OURS}"
        " and c.relkind in ('r', 'p') and not c.relispartition and a.attnum > 0"
        " and a.atttypid in ('json'::regtype, 'jsonb'::regtype) and"
        " col_description(c.oid, a.attnum) is null",
    )
    assert silent == []


def test_every_table_and_sequence_of_users_is_in_a_dump(connection: psycopg.Connection) -> None:
    dumped = names(
        connection,
        "select unnest(extconfig)::regclass::text from pg_extension"
        " where extname = 'pgagentos' order by 1",
    )
    present = names(
        connection,
        f"select c.oid::regclass::text {RELATIONS} and c.relkind in ('r', 'S') order by 1",
    )
    assert dumped == present
    conditions = connection.execute(
        "select c.table_id::regclass::text, c.condition, exists (select from pg_attribute a"
        " where a.attrelid = c.table_id and a.attname = 'is_builtin') from pg_extension e,"
        " unnest(e.extconfig, e.extcondition) as c (table_id,"
        " condition) where e.extname = 'pgagentos'"
    ).fetchall()
    for table, condition, has_presets in conditions:
        assert condition == ("where not is_builtin" if has_presets else ""), table


def test_everything_belongs_to_the_extension(connection: psycopg.Connection) -> None:
    loose = names(
        connection,
        f"select p.oid::regprocedure::text {FUNCTIONS} and not exists (select from pg_depend d"
        " where d.classid = 'pg_proc'::regclass and d.objid = p.oid and d.deptype = 'e')"
        f" union all select c.oid::regclass::text {RELATIONS} and"
        " c.relkind in ('r', 'p', 'v') and not exists"
        " (select from pg_depend d where d.classid = 'pg_class'::regclass"
        " and d.objid = c.oid and d.deptype = 'e')",
    )
    assert loose == []


#: rows that turns write, and rows that turns of different conversations share
TURN_TABLES = {
    "aos_core.run", "aos_core.step", "aos_core.approval", "aos_core.cancel_request",
    "aos_core.session_memory", "aos_agent.conversation", "aos_agent.message",
    "aos_persona.persona_version",
}  # fmt: skip


def test_references_from_a_turns_rows_to_shared_rows_are_checked_at_the_commit(
    connection: psycopg.Connection,
) -> None:
    references = connection.execute(
        "select k.conname, k.conrelid::regclass::text, k.confrelid::regclass::text, k.condeferred"
        " from pg_constraint k join pg_namespace n on n.oid = k.connamespace"
        f" where {OURS} and k.contype = 'f'"
    ).fetchall()
    shared = [
        (name, deferred)
        for name, table, target, deferred in references
        if table in TURN_TABLES
        and (target not in TURN_TABLES or target == "aos_persona.persona_version")
    ]
    assert len(shared) >= 5
    assert [name for name, deferred in shared if not deferred] == []


def test_schemas_refer_only_downward(connection: psycopg.Connection) -> None:
    order = ["aos_auth", "aos_meta", "aos_persona", "aos_skills", "aos_core", "aos_agent"]
    references = connection.execute(
        "select k.conname, n.nspname, m.nspname from pg_constraint k"
        " join pg_namespace n on n.oid = k.connamespace join pg_class c on c.oid = k.confrelid"
        f" join pg_namespace m on m.oid = c.relnamespace where {OURS} and k.contype = 'f'"
    ).fetchall()
    upward = {
        name for name, child, parent in references if order.index(parent) > order.index(child)
    }
    # the turn's rows belong to a conversation: the one exception of the design
    assert upward == {"run_belongs_to_a_conversation", "session_memory_belongs_to_a_conversation"}


def test_every_foreign_key_between_tenants_rows_carries_the_tenant(
    connection: psycopg.Connection,
) -> None:
    loose = names(
        connection,
        "select k.conname from pg_constraint k"
        f" join pg_namespace n on n.oid = k.connamespace where {OURS} and k.contype = 'f'"
        " and exists (select from pg_attribute a where a.attrelid = k.conrelid"
        " and a.attname = 'tenant_id' and a.attnotnull)"
        " and exists (select from pg_attribute a where a.attrelid = k.confrelid"
        " and a.attname = 'tenant_id' and a.attnotnull)"
        " and not exists (select from pg_attribute a where a.attrelid = k.conrelid and"
        " a.attname = 'tenant_id' and a.attnum = any (k.conkey))",
    )
    assert loose == []


def test_constraints_are_named_by_people(connection: psycopg.Connection) -> None:
    generated = names(
        connection,
        "select k.conname from pg_constraint k join pg_namespace n on n.oid = k.connamespace"
        f" where {OURS} and k.contype in ('c', 'f', 'u') and"
        " k.conname ~ '(_check|_fkey|_key)[0-9]*$'",
    )
    assert generated == []
