"""All tickets share a login: what it may do beyond a user's rights needs a role of the owner's own.

The lists come from the catalogue: a new function that users are not granted is tried by itself.
"""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest

from access.conftest import Doors
from access.estate import furnish
from access.matrix import Attacker, Matrix
from access.test_cross_tenant_matrix import (
    ACCESSES,
    COMPUTING,
    PLAIN,
    a_row,
    allowed,
    call,
    functions,
    insert,
    may,
    may_call,
    relations,
    values_of,
)
from cluster import Database
from house import House

#: functions that show or do nothing that a user of the tenant might not
NO_ROLE_NEEDED = {
    "aos_agent._add_cron_job": "the login's own rights in pg_cron, whose jobs have no ticket",
    "aos_agent._cron_jobs": "shows the jobs in pg_cron of the login itself, with its own rights",
    "aos_agent._drop_cron_jobs": "takes away jobs in pg_cron of the login itself, with its rights",
    "aos_agent.install_worker": "makes jobs in pg_cron by _add_cron_job",
    "aos_agent.uninstall_worker": "takes jobs in pg_cron away by _drop_cron_jobs",
    "aos_agent.work": "ends the ticket's transaction before it does anything: see the test below",
    "aos_core.check_installation": "names parts of the installation, no tenant's rows",
    "aos_meta.call_cost": "arithmetic",
    "aos_meta.has_api_key": "whether the caller's tenant can reach a provider",
    "aos_meta.setting": "settings are everybody's to read",
    "aos_persona.compose_prompt": "text from text",
    "aos_skills.describe_schema": "shows what the login may read itself",
}


@pytest.fixture(scope="module")
def matrix(database: Database, ticket_key: str) -> Iterator[Matrix]:
    with database.connect() as connection:
        house = House(connection)
        yield Matrix(house, ticket_key, database.name, furnish(house), furnish(house))


@pytest.fixture(scope="module")
def owner(matrix: Matrix, database: Database, ticket_key: str) -> Attacker:
    """Somebody with a ticket and no role, whose login has every access."""
    role = Doors(database, matrix.house, ticket_key).role(*ACCESSES)
    return Attacker("a ticket's owner without roles", role, matrix.foreign)


@pytest.fixture(scope="module")
def user(matrix: Matrix, database: Database, ticket_key: str) -> Attacker:
    """The same behind a login that has the access of users alone."""
    role = Doors(database, matrix.house, ticket_key).role("user")
    return Attacker("a ticket's owner", role, matrix.foreign)


def test_functions_that_users_are_not_granted_want_a_role(
    matrix: Matrix, owner: Attacker, user: Attacker
) -> None:
    matrix.house.rows(
        "create function public.matrix_tool(a integer) returns integer language sql return a;"
        " grant execute on function public.matrix_tool(integer) to public"
    )
    open_to_all = set()
    refused = 0
    for function in functions(matrix.house):
        if function.qualified.partition(".")[0] in COMPUTING:
            continue
        if not may_call(matrix, owner, function) or may_call(matrix, user, function):
            continue
        mine = values_of(matrix.foreign, function.qualified)
        own = [mine.get(n, PLAIN.get(n)) for n, _ in function.arguments]
        outcome = call(matrix, owner, function, own)
        if "the principal of this ticket has not the role" in outcome.told:
            assert outcome.sqlstate == "42501"
            refused += 1
        else:
            open_to_all.add(function.qualified)
    assert open_to_all == set(NO_ROLE_NEEDED)
    assert refused >= 15


def test_no_ticket_lets_its_owner_work(matrix: Matrix, database: Database, ticket_key: str) -> None:
    """A ticket ends with its transaction, and the worker's begins with a commit."""
    doors = Doors(database, matrix.house, ticket_key)
    worker = doors.session(doors.role("worker"))
    call = "call aos_agent.work(1)"
    begin = f"select aos_auth.begin('{doors.ticket(matrix.foreign.tenant)}')"
    with worker.refused("42501", "it is not known who acts"):
        worker.rows(call)
    with worker.refused("OS001", "this procedure commits"), worker.connection.transaction():
        worker.rows(begin)
        worker.rows(call)
    with worker.refused("OS001", "this procedure commits"):
        worker.rows(f"{begin}; {call}")
    # In a pipeline the statements up to the next Sync are one transaction, of which not every
    # version of PostgreSQL tells a procedure.
    with pytest.raises(psycopg.Error, match=r"not known who acts|this procedure commits"):
        in_a_pipeline(worker.connection, begin, call)
    assert worker.one("select aos_auth.tenant_id()") is None


def in_a_pipeline(session: psycopg.Connection, *statements: str) -> None:
    """Send statements without waiting for what comes of them."""
    with session.pipeline():
        for statement in statements:
            session.execute(statement)


def test_rows_that_users_may_not_write_want_a_role(
    matrix: Matrix, owner: Attacker, user: Attacker
) -> None:
    tried = 0
    for relation in relations(matrix.house):
        for privilege in ("insert", "update", "delete"):
            if privilege == "delete":
                beyond = may(matrix, owner, relation, privilege) and not may(
                    matrix, user, relation, privilege
                )
                statement = f"delete from {relation.name}"
            else:
                columns = allowed(matrix, owner, relation, privilege)
                beyond = bool(columns) and not allowed(matrix, user, relation, privilege)
                statement = (
                    f'update {relation.name} set "{columns[0]}" = "{columns[0]}"' if beyond else ""
                )
            if not beyond or relation.kind == "v":
                continue
            tried += 1
            if privilege == "insert":
                row = a_row(matrix, relation, matrix.foreign)
                outcome = insert(matrix, owner, relation, columns, row)
                assert outcome.sqlstate == "42501", (relation.name, outcome)
            else:
                outcome = matrix.attempt(owner, statement)
                assert outcome.sqlstate == "42501" or outcome.rows == ("0 rows",), (
                    privilege, relation.name, outcome,
                )  # fmt: skip
    assert tried >= 9


def test_secrets_are_not_taken_in_either(matrix: Matrix, owner: Attacker) -> None:
    statement = "insert into aos_meta.secret_input (name, value) values ('mine', 'value')"
    outcome = matrix.attempt(owner, statement)
    assert "has not the role secret_manager" in outcome.told


@pytest.mark.parametrize(
    "statement",
    [
        "select aos_meta.embed('hello')",  # it would cost the operator's money
        "select * from aos_auth.access_report()",
        "select aos_skills.register_function('pg_catalog.now()'::regprocedure, description => 'x')",
        "select aos_agent.set_budget('day', 5)",
        "select aos_skills.allow_host('example.com')",
    ],
)
def test_a_login_without_a_ticket_has_its_accesses_in_vain(
    matrix: Matrix, database: Database, ticket_key: str, statement: str
) -> None:
    role = Doors(database, matrix.house, ticket_key).role(*[a for a in ACCESSES if a != "operator"])
    with (
        database.connect(user=role) as connection,
        House(connection).refused("42501", "it is not known who acts"),
    ):
        connection.execute(statement)
