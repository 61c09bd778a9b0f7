"""Every relation and every function of the kernel, tried by every role of another tenant.

The lists come from the catalogue. A new relation or function is tried by itself; one whose meaning
the tests cannot know (a relation without tenant_id, an argument of a new name) fails until it is
told here.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import pytest
from psycopg.types.json import Jsonb

from access.conftest import Doors
from access.estate import Estate, furnish
from access.matrix import Attacker, Matrix, unknown
from cluster import Database
from house import House

ACCESSES = ("user", "developer", "approver", "worker", "auditor", "secret_manager")

#: relations without a tenant_id: the same for all tenants, and never one tenant's
SHARED = {
    "aos_auth.role": "names of roles, kept by the operator",
    "aos_auth.ticket_key": "keys of the operator",
    "aos_meta.setting": "settings of the operator",
    "aos_meta.provider": "services, kept by the operator",
    "aos_meta.llm_model_registry": "models, kept by the operator",
    "aos_skills.role_skill": "which role may use which skill, kept by the operator",
    "aos_agent.sql_function_access": "functions that models' SQL may call, kept by the operator",
    "aos_core.lane_gate": "a lock of the kernel's, always empty",
    "aos_core.limit_gate": "a lock of the kernel's, always empty",
    "aos_core.rate_bucket": "what is left of limits, for the kernel alone: nobody may read it",
    "aos_skills.risk_policy": "what roles do at which risk, kept by the operator",
}

#: what a statement may be refused with before row security looks at the row: wrong form, not a hint
#: at other rows
OF_THE_ROWS_FORM = {"OS001", "428C9"}


@pytest.fixture(scope="module")
def matrix(database: Database, ticket_key: str, pytestconfig: pytest.Config) -> Iterator[Matrix]:
    """Two furnished tenants: the victim and the one whose people are curious."""
    with database.connect() as connection:
        house = House(connection)
        victim, foreign = furnish(house), furnish(house)
        made = Matrix(house, ticket_key, database.name, victim, foreign)
        yield made
        capture = pytestconfig.pluginmanager.getplugin("capturemanager")
        with capture.global_and_fixture_disabled():
            print("\ncross-tenant matrix:", ", ".join(f"{v} {k}" for k, v in made.figures.items()))


@pytest.fixture(scope="module")
def attackers(matrix: Matrix, database: Database, ticket_key: str) -> list[Attacker]:
    """Each access by a login of its own and by a ticket; and those who are nobody."""
    doors = Doors(database, matrix.house, ticket_key)
    made = []
    for access in ACCESSES:
        own = doors.role(access)
        matrix.house.insert(
            "aos_auth.principal", tenant_id=matrix.foreign.tenant.tenant_id, db_role=own
        )
        made.append(Attacker(f"{access} with a login", own))
        made.append(Attacker(f"{access} with a ticket", doors.role(access), matrix.foreign))
        made.append(Attacker(f"{access} without an identity", doors.role(access)))
    everything = doors.role(*ACCESSES)
    made.append(Attacker("all accesses with a ticket", everything, matrix.foreign))
    for group in ("pgagentos_agent", "pgagentos_parser", matrix.foreign.agents_role):
        role = doors.role()
        matrix.house.rows(f"grant {group} to {role}")
        matrix.house.insert(
            "aos_auth.principal", tenant_id=matrix.foreign.tenant.tenant_id, db_role=role
        )
        made.append(Attacker(f"a member of {group}", role))
    made.append(Attacker("somebody without any access", doors.role()))
    # The ticket's owner has all roles that a principal can have.
    for role in ("developer", "approver", "worker", "secret_manager"):
        matrix.house.insert(
            "aos_auth.role_grant",
            tenant_id=matrix.foreign.tenant.tenant_id,
            principal_id=matrix.foreign.tenant.principal_id,
            role_name=role,
        )
    return made


# relations


@dataclass(frozen=True, slots=True)
class Relation:
    """A relation with its columns: name and type, without those that are always generated."""

    name: str
    kind: str
    columns: dict[str, str]
    key: str


def relations(house: House) -> list[Relation]:
    found = house.rows(
        "select c.oid::regclass::text, c.relkind::text, (select coalesce(json_object_agg(a.attname,"
        " a.atttypid::regtype::text order by a.attnum), '{}') from pg_attribute as a"
        " where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped"
        " and a.attidentity <> 'a' and a.attgenerated = ''),"
        " coalesce((select a.attname::text from pg_index as i join pg_attribute as a"
        " on a.attrelid = c.oid and a.attnum = i.indkey[0] where i.indrelid = c.oid"
        " and i.indisprimary), '')"
        " from pg_class as c join pg_namespace as n on n.oid = c.relnamespace"
        " where n.nspname like 'aos\\_%' and c.relkind in ('r', 'p', 'v', 'm', 'f') order by 1"
    )
    return [Relation(*row) for row in found]


def allowed(matrix: Matrix, attacker: Attacker, relation: Relation, privilege: str) -> list[str]:
    """The columns on which the attacker has a privilege."""
    return [
        column
        for column in relation.columns
        if matrix.house.one(
            "select has_column_privilege(%s, %s, %s, %s)",
            attacker.role, relation.name, column, privilege,
        )
    ]  # fmt: skip


def may(matrix: Matrix, attacker: Attacker, relation: Relation, privilege: str) -> bool:
    return bool(
        matrix.house.one(
            "select has_table_privilege(%s, %s, %s) and has_schema_privilege(%s, %s, 'usage')",
            attacker.role, relation.name, privilege, attacker.role, relation.name.split(".")[0],
        )
    )  # fmt: skip


def a_row(matrix: Matrix, relation: Relation, estate: Estate) -> dict[str, Any]:
    """One row of a tenant's, as a superuser sees it."""
    [[row]] = matrix.house.rows(
        f"select to_jsonb(t) from {relation.name} as t where tenant_id = %s limit 1",
        estate.tenant.tenant_id,
    )
    return dict(row)


def test_every_relation_is_a_tenants_or_known_to_be_shared(matrix: Matrix) -> None:
    without = {r.name for r in relations(matrix.house) if "tenant_id" not in r.columns}
    assert without == set(SHARED)


def test_the_kernel_alone_has_the_rate_buckets(matrix: Matrix, attackers: list[Attacker]) -> None:
    """They name tenants, and have no row security."""
    for attacker in attackers:
        for statement in (
            "select from aos_core.rate_bucket",
            "insert into aos_core.rate_bucket default values",
            "update aos_core.rate_bucket set requests = 0",
            "delete from aos_core.rate_bucket",
        ):
            outcome = matrix.attempt(attacker, statement)
            assert outcome.is_denied, (attacker.label, statement, outcome)


def test_no_relation_shows_a_row_of_another_tenant(
    matrix: Matrix, attackers: list[Attacker]
) -> None:
    for attacker in attackers:
        for relation in relations(matrix.house):
            columns = allowed(matrix, attacker, relation, "select")
            if not columns:
                outcome = matrix.attempt(attacker, f"select 1 from {relation.name}")
                assert outcome.is_denied, (attacker.label, relation.name, outcome)
                matrix.figures["relations refused"] += 1
                continue
            listed = ", ".join(f'"{column}"' for column in columns)
            outcome = matrix.attempt(attacker, f"select {listed} from {relation.name}")
            if outcome.is_denied:
                matrix.figures["relations refused"] += 1
                continue
            assert outcome.sqlstate == "", (attacker.label, relation.name, outcome)
            matrix.figures["relations read"] += 1
            matrix.figures["rows read"] += len(outcome.rows) - 1
            if "tenant_id" in columns:
                if "without an identity" in attacker.label:
                    anybodys = f"select 1 from {relation.name} where tenant_id is not null"
                    outcome = matrix.attempt(attacker, anybodys)
                    assert outcome.rows == ("0 rows",), (attacker.label, relation.name)
                counted = matrix.attempt(
                    attacker,
                    f"select count(*) from {relation.name} where tenant_id = %s",
                    (matrix.victim.tenant.tenant_id,),
                )
                assert counted.rows == ("1 rows", "(0,)")
                matrix.figures["counts of another tenant, all 0"] += 1


def test_the_matrix_can_read_what_is_ones_own(matrix: Matrix, attackers: list[Attacker]) -> None:
    """A matrix of people who see nothing at all would prove little."""
    own = str(matrix.foreign.tenant.tenant_id)
    for attacker in attackers:
        if "login" in attacker.label or "ticket" in attacker.label:
            outcome = matrix.attempt(attacker, "select tenant_id from aos_auth.tenant")
            assert outcome.rows == ("1 rows", "(UUID('id'),)"), attacker.label
            seen = matrix.attempt(
                attacker, "select tenant_id::text = %s from aos_auth.tenant", (own,)
            )
            assert seen.rows[1] == "(True,)"


def test_no_relation_takes_a_row_of_another_tenant(
    matrix: Matrix, attackers: list[Attacker]
) -> None:
    for attacker in attackers:
        for relation in relations(matrix.house):
            columns = allowed(matrix, attacker, relation, "insert")
            if not columns or relation.name in SHARED or relation.kind == "v":
                assert not columns or relation.kind == "v", (attacker.label, relation.name)
                outcome = matrix.attempt(attacker, f"insert into {relation.name} default values")
                assert outcome.is_denied or relation.kind == "v", (attacker.label, relation.name)
                matrix.figures["inserts refused"] += 1
                continue
            row = a_row(matrix, relation, matrix.victim)
            if relation.key in columns:
                row[relation.key] = unknown(row[relation.key])
            outcome = insert(matrix, attacker, relation, columns, row)
            assert outcome.sqlstate in {"42501", *OF_THE_ROWS_FORM}, (
                attacker.label, relation.name, outcome,
            )  # fmt: skip
            matrix.figures["inserts refused"] += 1


def insert(
    matrix: Matrix, attacker: Attacker, relation: Relation, columns: list[str],
    row: dict[str, Any], hidden: tuple[Any, ...] = (),
) -> Any:  # fmt: skip
    """Insert a row, by the values of the columns that the attacker may insert."""
    listed = ", ".join(f'"{column}"' for column in columns)
    values = ", ".join(f"%s::{relation.columns[column]}" for column in columns)
    given = [
        Jsonb(row[c])
        if isinstance(row[c], dict | list) and "json" in relation.columns[c]
        else row[c]
        for c in columns
    ]
    return matrix.attempt(
        attacker, f"insert into {relation.name} ({listed}) values ({values})", given, hidden
    )


#: types of columns whose values can name another row
NAMES = {"uuid", "text", "name"}


def test_no_insert_tells_whether_another_tenants_row_is_there(
    matrix: Matrix, attackers: list[Attacker]
) -> None:
    for attacker in attackers:
        for relation in relations(matrix.house):
            columns = allowed(matrix, attacker, relation, "insert")
            if not columns or relation.name in SHARED or relation.kind == "v":
                continue
            mine = a_row(matrix, relation, matrix.foreign)
            for column in {relation.key, "name"} & set(columns):
                mine[column] = unknown(mine[column])
            his = a_row(matrix, relation, matrix.victim)
            for column in columns:
                value = his[column]
                if relation.columns[column] not in NAMES or not matrix.is_his(value):
                    continue
                nobodys = unknown(value)
                hidden = (value, nobodys)
                there = insert(matrix, attacker, relation, columns, mine | {column: value}, hidden)
                none = insert(matrix, attacker, relation, columns, mine | {column: nobodys}, hidden)
                assert there == none, (attacker.label, relation.name, column)
                matrix.figures["inserts that name another tenant's row"] += 1


def test_no_update_reaches_another_tenants_row(matrix: Matrix, attackers: list[Attacker]) -> None:
    for attacker in attackers:
        for relation in relations(matrix.house):
            columns = allowed(matrix, attacker, relation, "update")
            if not columns or relation.name in SHARED:
                assert not columns, (attacker.label, relation.name)
                column = next(iter(relation.columns), "none")
                outcome = matrix.attempt(
                    attacker, f'update {relation.name} set "{column}" = default'
                )
                refused = {"42501", "55000", "428C9"} | (
                    {"42703"} if not relation.columns else set()
                )
                assert outcome.sqlstate in refused, (relation.name, outcome)
                matrix.figures["updates refused"] += 1
                continue
            his = a_row(matrix, relation, matrix.victim)
            for column in columns:
                # all rows that it can reach; the victim's are compared afterwards
                matrix.attempt(attacker, f'update {relation.name} set "{column}" = "{column}"')
                matrix.figures["updates of all rows"] += 1
                value = his[column]
                if relation.columns[column] not in NAMES or not matrix.is_his(value):
                    continue
                nobodys = unknown(value)
                outcomes = [
                    matrix.attempt(
                        attacker,
                        f'update {relation.name} set "{column}" = %s::{relation.columns[column]}',
                        (given,),
                        (value, nobodys),
                    )
                    for given in (value, nobodys)
                ]
                assert outcomes[0] == outcomes[1], (attacker.label, relation.name, column)
                matrix.figures["updates that name another tenant's row"] += 1


def test_no_delete_and_no_truncate_reaches_another_tenants_row(
    matrix: Matrix, attackers: list[Attacker]
) -> None:
    for attacker in attackers:
        for relation in relations(matrix.house):
            outcome = matrix.attempt(attacker, f"delete from {relation.name}")
            if may(matrix, attacker, relation, "delete"):
                assert relation.name not in SHARED, (attacker.label, relation.name)
                matrix.figures["deletes of all rows"] += 1
            else:
                assert outcome.sqlstate in ("42501", "55000"), (attacker.label, relation.name)
                matrix.figures["deletes refused"] += 1
            if relation.kind in ("r", "p"):
                outcome = matrix.attempt(attacker, f"truncate {relation.name} cascade")
                assert outcome.sqlstate == "42501", (attacker.label, relation.name)
                matrix.figures["truncates refused"] += 1


def test_no_sequence_tells_how_much_others_do(matrix: Matrix, attackers: list[Attacker]) -> None:
    sequences = matrix.house.rows(
        "select c.oid::regclass::text from pg_class as c"
        " join pg_namespace as n on n.oid = c.relnamespace"
        " where n.nspname like 'aos\\_%' and c.relkind = 'S'"
    )
    assert sequences
    for attacker in attackers:
        for (sequence,) in sequences:
            for statement in (
                f"select last_value from {sequence}",
                f"select nextval('{sequence}')",
                f"select pg_sequence_last_value('{sequence}')",
            ):
                outcome = matrix.attempt(attacker, statement)
                assert outcome.sqlstate == "42501" or outcome.rows == ("1 rows", "(None,)"), (
                    attacker.label, statement, outcome,
                )  # fmt: skip
                matrix.figures["looks at sequences refused"] += 1


# functions


@dataclass(frozen=True, slots=True)
class Function:
    """A function or procedure with its input arguments: name (or an empty one) and type."""

    kind: str
    signature: str
    qualified: str
    arguments: list[list[str]]
    returns: str

    @property
    def is_trigger(self) -> bool:
        return self.returns == "trigger"


def functions(house: House) -> list[Function]:
    found = house.rows(
        "select p.prokind::text, p.oid::regprocedure::text, n.nspname || '.' || p.proname,"
        " (select coalesce(json_agg(json_build_array(coalesce(p.proargnames[i], ''),"
        "   (p.proargtypes::oid[])[i - 1]::regtype::text) order by i), '[]')"
        "   from generate_series(1, p.pronargs) as i),"
        " coalesce(p.prorettype::regtype::text, '')"
        " from pg_proc as p join pg_namespace as n on n.oid = p.pronamespace"
        " where n.nspname like 'aos\\_%' and p.prokind in ('f', 'p') order by 2"
    )
    return [Function(*row) for row in found]


#: a type to call a polymorphic argument with
CONCRETE = {
    "anyarray": "integer[]", "anyelement": "integer", "anynonarray": "integer",
    "anycompatible": "integer", "anycompatiblearray": "integer[]", '"any"': "integer",
    "anyrange": "int4range", "anymultirange": "int4multirange", "anyenum": "aos_none",
}  # fmt: skip


#: PostgreSQL calls nothing for a null, and so refuses nothing, where a function is strict
SAMPLES = {
    "bigint": 1, "boolean": True, "bytea": b"", "character varying": "x", "date": "2000-01-01",
    "double precision": 1, "integer": 1, "interval": "1 day", "json": "{}", "jsonb": "{}",
    "name": "x", "numeric": 1, "oid": 1, "real": 1, "regprocedure": "now()", "smallint": 1,
    "text": "x", "timestamp with time zone": "2000-01-01", "uuid": str(UUID(int=1)),
}  # fmt: skip


def samples(function: Function) -> list[Any]:
    """A value for each argument, by its type."""
    kinds = [CONCRETE.get(kind, kind) for _, kind in function.arguments]
    return ["{}" if kind.endswith("[]") else SAMPLES.get(kind) for kind in kinds]


def values_of(estate: Estate, function: str) -> dict[str, Any]:
    """What arguments stand for, in a tenant: those that can name its rows.

    Args:
        function: whose arguments; some need a row in a certain state.
    """
    tenant = estate.tenant
    values = {
        "agent_name": tenant.agent.name,
        "context_conversation_id": str(tenant.conversation_id),
        "context_tenant_id": str(tenant.tenant_id),
        "conversation_id": str(tenant.conversation_id),
        "dedup_key": estate.word,
        "host": estate.host,
        "key": estate.word,
        "name": estate.word,
        "query": estate.word,
        "schedule_id": str(estate.schedule_id),
        "skill_name": estate.skill,
        "step_id": str(estate.step_id),
        "tenant_id": str(tenant.tenant_id),
        "tenant_name": tenant.name,
        "tool_name": estate.skill,
        "turn_id": str(estate.turn_id),
    }
    in_a_state = {
        "aos_agent.extend_claim": {"turn_id": str(estate.claimed_turn_id)},
        "aos_agent.fail_turn": {"turn_id": str(estate.idle_turn_id)},
        "aos_agent.finish_turn": {"turn_id": str(estate.idle_turn_id)},
        "aos_agent.record_model_reply": {"turn_id": str(estate.idle_turn_id)},
        "aos_agent.record_tool_result": {
            "turn_id": str(estate.called_turn_id),
            "tool_name": estate.free_skill,
        },
        "aos_agent.release_turn": {"turn_id": str(estate.claimed_turn_id)},
        "aos_agent.resubmit": {"turn_id": str(estate.dead_turn_id)},
        "aos_agent.revoke_table": {"table_name": f"{estate.word}.*"},
        "aos_skills.allow_host": {"skill_name": estate.http_skill},
        "aos_skills.disallow_host": {"skill_name": estate.http_skill},
    }
    return values | in_a_state.get(function, {})


#: schemas whose functions compute from their arguments alone
COMPUTING = {"aos_sandbox": "what models' SQL may call in place of built-in functions"}

#: functions that end in an error even about one's own rows, and why
FAIL_ANYWAY = {
    "aos_agent._add_cron_job": "pg_cron is not in this database",
    "aos_agent.install_worker": "pg_cron is not in this database",
    "aos_agent.run_turn_stepwise": "it commits, and every attempt is undone",
    "aos_agent.work": "it commits, and every attempt is undone",
    "aos_auth.begin": "no attacker has a ticket of another's",
    "aos_meta.embed": "there is no embedding model here",
}


#: arguments that name no tenant's row: what is passed for them
PLAIN: dict[str, Any] = {
    "access": "developer", "allow_private": False, "approval": "ask", "arguments": "{}",
    "body": None, "cache_write_tokens": 1, "cached_tokens": 1, "call_id": None, "columns": None,
    "command": "select 1", "concurrency": 64, "content": "hello", "conversation": "new",
    "cron_expression": "@daily",
    "description": "Does something.", "error": '{"kind": "timeout", "message": "too late"}',
    "fence": None,
    "headers": "{}",
    "hosts": "{example.org}", "input_tokens": 1, "input_type": "query", "job_name": "job",
    "is_error": False, "is_idempotent": None, "job_ids": "{}", "job_names": ".",
    "lease": "1 minute", "limits": "{}",
    "max_cost": 1, "max_redirects": None, "max_response_bytes": None, "max_seconds": 55,
    "max_tokens": 1, "n": 1, "on_missed": "skip",
    "method": "GET", "model": None, "note": "fine", "nowait": True, "output_tokens": 1,
    "parameters": '{"type": "object"}', "period": "day", "port": 443, "priority": 0,
    "provider": "openai",
    "reason": "no", "reply": '{"content": "hello"}', "result": '"done"', "risk": "low",
    "rules": "{}", "run_after": None, "schedule": "@daily", "scheme": "https", "state": None,
    "system_prompt": "Be brief.", "table_name": "public.matrix_table", "ticket": "none",
    "time_zone": "UTC", "timeout_seconds": None,
    "title": "title", "traits": "{}", "turns": None, "url": "https://example.org/", "usage": None,
    "value": "value", "worker": "worker of the matrix",
    "function": "public.matrix_tool(integer)",
}  # fmt: skip

#: where some function needs another value
PLAIN_OF: dict[str, dict[str, Any]] = {
    "aos_agent.extend_claim": {"fence": 1},
    "aos_agent.release_turn": {"fence": 1},
}


def may_call(matrix: Matrix, attacker: Attacker, function: Function) -> bool:
    return bool(
        matrix.house.one(
            "select has_function_privilege(%s, %s, 'execute')"
            " and has_schema_privilege(%s, %s, 'usage')",
            attacker.role, function.signature, attacker.role, function.qualified.split(".")[0],
        )
    )  # fmt: skip


def call(
    matrix: Matrix, attacker: Attacker, function: Function, values: list[Any],
    hidden: tuple[Any, ...] = (),
) -> Any:  # fmt: skip
    listed = ", ".join(f"%s::{CONCRETE.get(kind, kind)}" for _, kind in function.arguments)
    verb = "call" if function.kind == "p" else "select * from"
    return matrix.attempt(attacker, f"{verb} {function.qualified}({listed})", values, hidden)


def test_no_function_reaches_or_tells_of_another_tenants_row(
    matrix: Matrix, attackers: list[Attacker]
) -> None:
    matrix.house.rows(
        "create function public.matrix_tool(a integer) returns integer language sql return a;"
        " grant execute on function public.matrix_tool(integer) to public;"
        " create table public.matrix_table (id integer);"
        " grant select on public.matrix_table to public"
    )
    tried, worked = set(), set()
    for attacker in attackers:
        for function in functions(matrix.house):
            if not may_call(matrix, attacker, function):
                if not function.is_trigger:
                    outcome = call(matrix, attacker, function, samples(function))
                    assert outcome.is_denied, (attacker.label, function.signature, outcome)
                matrix.figures["functions refused"] += 1
                continue
            if function.qualified.partition(".")[0] in COMPUTING:
                call(matrix, attacker, function, samples(function))
                matrix.figures["calls of functions that only compute"] += 1
                continue
            mine = values_of(matrix.foreign, function.qualified)
            his = values_of(matrix.victim, function.qualified)
            names = [argument for argument, _ in function.arguments]
            untold = [n for n in names if n not in PLAIN and n not in mine]
            assert untold == [], f"tell the matrix what {untold} of {function.signature} is"
            tried.add(function.qualified)
            plain = PLAIN | PLAIN_OF.get(function.qualified, {})
            own = {n: mine.get(n, plain.get(n)) for n in names}
            if call(matrix, attacker, function, [own[n] for n in names]).sqlstate == "":
                worked.add(function.qualified)
            matrix.figures["calls about one's own rows"] += 1
            naming = [n for n in names if n in his]
            # each argument by itself, and all of them at once
            for changed in [*([n] for n in naming), naming]:
                if not changed:
                    continue
                values = {n: his[n] for n in changed}
                nobodys = {n: unknown(value) for n, value in values.items()}
                hidden = (*values.values(), *nobodys.values())
                there, none = (
                    call(matrix, attacker, function, [(own | given)[n] for n in names], hidden)
                    for given in (values, nobodys)
                )
                assert there == none, (attacker.label, function.signature, changed)
                matrix.figures["calls that name another tenant's row"] += 1
    assert tried - worked == set(FAIL_ANYWAY)


def test_the_matrix_notices_a_hole(matrix: Matrix, attackers: list[Attacker]) -> None:
    """A function, a view and an error that tell of another tenant, made for this test."""
    victim = matrix.victim
    somebody = next(a for a in attackers if a.label == "user with a login")
    matrix.house.rows(
        "create schema hole;"
        "create function hole.reads(id uuid) returns text language sql security definer"
        " return (select max(content) from aos_agent.message where conversation_id = id);"
        "create function hole.writes(id uuid) returns void language sql security definer"
        " begin atomic update aos_agent.conversation set title = 'seen'"
        " where conversation_id = id; end;"
        "create function hole.tells(id uuid) returns void language plpgsql security definer as"
        " $$ begin if not exists (select from aos_core.run where run_id = id) then"
        " raise exception 'no turn %', id; end if; raise exception 'may not see %', id; end $$;"
        "create view hole.shows as select * from aos_agent.message;"
        f"grant usage on schema hole to {somebody.role};"
        f"grant select on hole.shows to {somebody.role}"
    )
    try:
        with pytest.raises(AssertionError, match="learned"):
            matrix.attempt(somebody, "select hole.reads(%s)", (victim.conversation_id,))
        with pytest.raises(AssertionError, match="changed rows"):
            matrix.attempt(somebody, "select hole.writes(%s)", (victim.conversation_id,))
        with pytest.raises(AssertionError, match="learned"):
            matrix.attempt(somebody, "select content from hole.shows")
        nobodys = unknown(victim.turn_id)
        there, none = (
            matrix.attempt(somebody, "select hole.tells(%s)", (i,), (victim.turn_id, nobodys))
            for i in (victim.turn_id, nobodys)
        )
        assert there != none
    finally:
        matrix.house.rows("drop schema hole cascade")


@pytest.fixture(scope="module", autouse=True)
def _say_figures(matrix: Matrix, attackers: list[Attacker]) -> None:
    matrix.figures["attackers"] = len(attackers)
    matrix.figures["relations"] = len(relations(matrix.house))
    matrix.figures["functions"] = len(functions(matrix.house))
