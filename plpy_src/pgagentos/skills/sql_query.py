"""The skill ``sql_query``: a model's own SQL in the sandbox.

In order: the text is understood and written anew, a deadline and a cap on memory are set, the
server analyses the text as a role without rights, the tree is judged, its cost is estimated, and it
runs with the rights of the agent's role, read-only, in a subtransaction that is always rolled back.
"""

from __future__ import annotations

import hashlib
import secrets
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from typing import Any, NamedTuple

from .. import audit
from ..database import Database, DatabaseError
from ..errors import InstallationError, InvalidInput
from ..sandbox.judge import Judge, Relation
from ..sandbox.memory import memory_cap
from ..sandbox.node_tree import UnreadableTree, read
from ..sandbox.refusal import (
    QueryRefused,
    construct_not_available,
    table_not_available,
    text_of_error,
)
from ..sandbox.statement import Statement
from ..sandbox.surroundings import Names, Surroundings, Table
from ..store import sandbox as store
from ..store import sandbox_objects
from .deadline import Deadline
from .time_limit import TimeIsUp, time_limit
from .untrusted import wrap

#: Cost of reading a page and of handling one row in every expression of a query of 400 calls:
#: what the planner's estimate of a query cannot exceed that makes no rows of its own.
_COST_OF_PAGE, _COST_OF_ROW = 4.0, 2.0


#: Of the function that is never kept, and of its rows: a name that no query and no other session
#: has.
_NAME = "q" + secrets.token_hex(12)


class Limits(NamedTuple):
    """What one query may take, from the settings ``sql_query_*``."""

    deadline_seconds: float
    max_rows: int
    max_bytes: int
    memory_megabytes: int
    temporary_megabytes: int
    max_cost: float

    @classmethod
    def of(cls, settings: Mapping[str, Any] | None) -> Limits:
        given = settings or {}
        return cls(
            float(given.get("sql_query_deadline_seconds", 2)),
            int(given.get("sql_query_max_rows", 100)),
            int(given.get("sql_query_max_bytes", 65536)),
            int(given.get("sql_query_memory_megabytes", 64)),
            int(given.get("sql_query_temporary_megabytes", 64)),
            float(given.get("sql_query_max_cost", 1_000_000)),
        )


class Verdict(NamedTuple):
    """What is left of a judgement that found nothing to refuse.

    Args:
        makes_rows: whether more rows may come up than the tables hold.
        entries: identifiers of the tables, once for each time that the query names them.
    """

    makes_rows: bool
    entries: tuple[str, ...]


#: Trees that were judged before: a tree of built-in things over the same columns of the same
#: tables has the same verdict for ever. Its key is a hash of all of that.
_verdicts: dict[bytes, Verdict] = {}
_MAX_VERDICTS = 256


class _RollBack(Exception):
    """Ends the subtransaction of a query that is done."""


@lru_cache(maxsize=32)
def _statement(query: str) -> Statement:
    return Statement(query)


def run(database: Database, query: str, agent_id: str, tenant_id: str) -> tuple[str, str]:
    """Run a model's query.

    Returns:
        ``(status, content)``: ``completed`` with the rows as untrusted data, or ``failed`` with a
        fixed text that the model can act on.

    Raises:
        InstallationError: this server cannot guard the query: not Linux, a standby, a read-only
            transaction.
        InvalidInput: the role of the agent may not run queries.
    """
    if not sys.platform.startswith("linux"):
        raise InstallationError(
            "sql_query needs Linux: its deadline and its memory cap are those of Linux"
        )
    try:
        statement = _statement(query)
        return "completed", _shown(_Query(database, agent_id, tenant_id).run(statement))
    except QueryRefused as refusal:
        database.log(
            audit.line(
                "sql_query_refused", agent_id=agent_id, tenant_id=tenant_id, reason=refusal.reason
            )
        )
        return "failed", refusal.message


def _shown(outcome: Mapping[str, Any]) -> str:
    """The rows as data that nobody vouches for."""
    truncated = "true" if outcome["outcome"] == "truncated" else "false"
    return wrap("rows of a query", f'{{"rows": [{outcome["rows"]}], "truncated": {truncated}}}')


class _Query:
    """One query on its way."""

    def __init__(self, database: Database, agent_id: str, tenant_id: str) -> None:
        self._database = database
        self._agent = (agent_id, tenant_id)
        self._context: Mapping[str, Any] = {}
        self._words: frozenset[str] = frozenset()

    def run(self, statement: Statement) -> Mapping[str, Any]:
        """Run it within its limits."""
        names = statement.names()
        self._words = names.words
        context = store.agent(self._database, *self._agent)
        self._context = context
        if context["role_id"] is None or not context["is_admitted"] or context["parser_id"] is None:
            raise InvalidInput(
                f"the role {context['role']} may not run queries of the skill sql_query",
                hint="It must be a plain role that aos_auth.register_agent_role has registered.",
            )
        limits = Limits.of(context["settings"])
        text, relations = self._written_anew(statement, names, limits)
        try:
            with (
                time_limit(self._database, limits.deadline_seconds) as deadline,
                memory_cap(limits.memory_megabytes * 1_048_576),
            ):
                return self._in_subtransaction(text, relations, limits, deadline)
        except TimeIsUp:
            raise QueryRefused(
                f"The query took longer than {limits.deadline_seconds:g} seconds. Read less,"
                f" or aggregate less."
            ) from None
        except DatabaseError as error:
            if error.sqlstate[:2] != "53":
                raise
            raise QueryRefused(text_of_error(error.sqlstate, "", ())) from None
        except MemoryError:
            raise QueryRefused("The query needs too much memory. Read or combine less.") from None

    def _in_subtransaction(
        self, text: str, relations: Mapping[str, Any], limits: Limits, deadline: Deadline
    ) -> Mapping[str, Any]:
        database, outcome = self._database, None
        try:
            with database.savepoint():
                self._check_surroundings(store.set_limits(database, limits.temporary_megabytes))
                with self._as(self._context["parser_id"]):
                    tree = store.analyse(database, _NAME, text)
                verdict = self._judge(tree, relations)
                with self._as(self._context["role_id"]):
                    outcome = store.run(
                        database,
                        _NAME,
                        None if self._is_cheap(verdict, relations, limits) else limits.max_cost,
                        limits.max_rows,
                        limits.max_bytes,
                    )
                deadline.stop()
                raise _RollBack
        except _RollBack:
            pass
        assert outcome is not None
        if outcome["outcome"] == "expensive":
            raise QueryRefused(
                "The query is estimated to be too expensive. Filter on indexed columns, or"
                " join and sort less."
            )
        if outcome["outcome"] == "first row too long":
            raise QueryRefused(
                "The first row is too long. Select fewer columns, or left(column, 200)."
            )
        return outcome

    @contextmanager
    def _as(self, role_id: int) -> Iterator[None]:
        """Do something with the model's text as a role; what fails then is the model's to know."""
        try:
            with self._database.as_role(role_id, restricted=True):
                yield
        except DatabaseError as error:
            # A conflict with another session starts the transaction again; what is nobody's fault
            # is ours.
            # XX000 is also how a value beyond 1 GB is refused.
            if error.sqlstate[:2] in ("40", "57", "58") or error.sqlstate in ("XX001", "XX002"):
                raise
            text = text_of_error(error.sqlstate, error.message, self._words)
            raise QueryRefused(text, f"{error.sqlstate} {text}") from None

    def _written_anew(
        self, statement: Statement, names: Names, limits: Limits
    ) -> tuple[str, dict[str, Mapping[str, Any]]]:
        database = self._database
        tables: dict[tuple[str | None, str], Table] = {}
        relations: dict[str, Mapping[str, Any]] = {}
        for key, row in store.tables(database, *self._agent, names.tables).items():
            for problem in ("is_leaky", "is_foreign"):
                if row[problem]:
                    raise table_not_available(key[1], f"{row['table_name']}: {problem}")
            if not row["is_visible"]:
                raise table_not_available(key[1], "pgagentos_parser has no USAGE on its schema")
            columns = tuple(name for _, name in row["columns"]) if row["is_narrowed"] else None
            if columns == ():
                raise table_not_available(key[1], "none of the allowed columns exists any more")
            tables[key] = Table(row["schema_name"], row["table_name"], columns)
            relations[str(row["relation_id"])] = row
        surroundings = Surroundings(
            tables,
            store.type_names(database, *self._agent, names.types) if names.types else {},
            store.added_functions(database) if names.has_other_functions else {},
            store.vector_schema(database) if names.has_vectors else None,
        )
        text = statement.written_anew(surroundings)
        return store.wrapped(text, _NAME, limits.max_rows), relations

    def _check_surroundings(self, found: Mapping[str, Any]) -> None:
        if found["is_read_only"]:
            raise InstallationError(
                "sql_query needs a server and a transaction that may write, although it"
                " writes nothing",
                hint="It analyses a query with a catalogue entry that is rolled back."
                " Use the primary server.",
            )

    def _judge(self, tree: str, relations: Mapping[str, Mapping[str, Any]]) -> Verdict:
        facts = sorted(
            (oid, row["row_type"], row["columns"], row["is_narrowed"])
            for oid, row in relations.items()
        )
        key = hashlib.sha256(f"{facts}{tree}".encode()).digest()
        verdict = _verdicts.get(key)
        if verdict is not None:
            return verdict
        try:
            judge = Judge(
                read(tree),
                {
                    oid: Relation(
                        row["table_name"],
                        frozenset(number for number, _ in row["columns"])
                        if row["is_narrowed"]
                        else None,
                    )
                    for oid, row in relations.items()
                },
            )
        except UnreadableTree as error:
            raise construct_not_available(f"unreadable tree: {error}") from None
        objects = judge.objects
        judge.decide(
            *sandbox_objects.explain(
                self._database, objects, lambda: store.schemas(self._database, *self._agent)
            ),
            {str(row["row_type"]) for row in relations.values()},
        )
        verdict = Verdict(judge.makes_rows, tuple(judge.entries))
        if sandbox_objects.is_lasting(objects):
            if len(_verdicts) >= _MAX_VERDICTS:
                _verdicts.clear()
            _verdicts[key] = verdict
        return verdict

    def _is_cheap(
        self, verdict: Verdict, relations: Mapping[str, Mapping[str, Any]], limits: Limits
    ) -> bool:
        """Whether all combinations of all rows cost less than is allowed: no estimate needed."""
        if verdict.makes_rows:
            return False
        rows, pages = 1.0, 0.0
        for oid in verdict.entries:
            row = relations[oid]
            if row["is_view"] or row["row_count"] < 0:
                return False
            rows *= max(1.0, row["row_count"])
            pages += row["pages"]
        return pages * _COST_OF_PAGE + rows * _COST_OF_ROW <= limits.max_cost
