"""Tenants, agents and turns for the tests of the SQL side, and the worker that drives them."""

from __future__ import annotations

import itertools
import re
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import psycopg
import pytest
from psycopg import sql
from psycopg.types.json import Jsonb

_numbers = itertools.count(1)


def name(stem: str) -> str:
    """Return a name that no other test of this session has."""
    return f"{stem}_{next(_numbers)}"


@dataclass(frozen=True, slots=True)
class Agent:
    """An agent with its persona and its tenant."""

    agent_id: UUID
    name: str
    persona_id: UUID
    tenant_id: UUID


class House:
    """One connection, and short words for what tests do with it."""

    def __init__(self, connection: psycopg.Connection) -> None:
        self.connection = connection

    def rows(self, statement: str, *parameters: Any) -> list[tuple[Any, ...]]:
        """Run a statement and return its rows."""
        cursor = self.connection.execute(statement, parameters or None)
        return cursor.fetchall() if cursor.description else []

    def one(self, statement: str, *parameters: Any) -> Any:
        """Run a statement that returns one value."""
        [[value]] = self.rows(statement, *parameters)
        return value

    def call(self, function: str, *arguments: Any, **named: Any) -> Any:
        """Call a function of one schema: ``call("aos_agent.start_turn", conversation)``."""
        schema, _, bare = function.partition(".")
        given = [sql.SQL("%s")] * len(arguments)
        given += [sql.SQL("{} => %s").format(sql.Identifier(key)) for key in named]
        statement = sql.SQL("select {}({})").format(
            sql.Identifier(schema, bare), sql.SQL(", ").join(given)
        )
        values = [
            Jsonb(v) if isinstance(v, dict | list) else v for v in (*arguments, *named.values())
        ]
        [[value]] = self.connection.execute(statement, values).fetchall()
        return value

    def insert(self, table: str, returning: str | None = None, **columns: Any) -> Any:
        """Insert one row; return the column that *returning* names."""
        schema, _, bare = table.partition(".")
        statement = sql.SQL("insert into {} ({}) values ({})").format(
            sql.Identifier(schema, bare),
            sql.SQL(", ").join(map(sql.Identifier, columns)),
            sql.SQL(", ").join([sql.SQL("%s")] * len(columns)),
        )
        if returning is not None:
            statement += sql.SQL(" returning {}").format(sql.Identifier(returning))
        values = [Jsonb(v) if isinstance(v, dict) else v for v in columns.values()]
        cursor = self.connection.execute(statement, values)
        if returning is None:
            return None
        [[value]] = cursor.fetchall()
        return value

    def tenant(self, **columns: Any) -> UUID:
        return self.insert("aos_auth.tenant", "tenant_id", **{"name": name("tenant")} | columns)

    def model(self, model_name: str = "gpt-4o") -> UUID:
        return self.one(
            "select model_id from aos_meta.llm_model_registry where model_name = %s", model_name
        )

    def persona(self, tenant_id: UUID, **columns: Any) -> UUID:
        given = {
            "tenant_id": tenant_id,
            "name": name("persona"),
            "system_prompt": "Be brief.",
            "model_id": self.model(),
        }
        return self.insert("aos_persona.persona", "persona_id", **given | columns)

    def agent(
        self, tenant_id: UUID | None = None, persona_id: UUID | None = None, **columns: Any
    ) -> Agent:
        """Make an agent that is driven from outside, with a tenant and a persona of its own."""
        tenant_id = tenant_id or self.tenant()
        persona_id = persona_id or self.persona(tenant_id)
        given = {
            "tenant_id": tenant_id,
            "name": name("agent"),
            "persona_id": persona_id,
            "runner": "external",
        } | columns
        agent_id = self.insert("aos_agent.agent", "agent_id", **given)
        return Agent(agent_id, given["name"], persona_id, tenant_id)

    def skill(self, agent: Agent | None = None, **columns: Any) -> str:
        """Make a skill that an outside worker runs, give it to the agent and return its name."""
        given = {
            "name": name("skill"),
            "description": "Does something.",
            "implementation": "external",
            "parameters": {"type": "object"},
        } | columns
        self.insert("aos_skills.skill", **given)
        if agent is not None:
            self.call("aos_agent.grant_skill", agent.name, given["name"])
        return str(given["name"])

    def function_skill(self, agent: Agent | None, definition: str, **options: Any) -> str:
        """Make a function ``"f(a int) returns int language sql return a"`` a skill of the agent."""
        skill = name("function")
        signature = definition.partition("(")[2]
        self.rows(f"create function public.{skill}({signature}")
        oid = self.one("select oid from pg_proc where proname = %s", skill)
        self.call(
            "aos_skills.register_function", oid, **{"description": "Does something."} | options
        )
        if agent is not None:
            self.call("aos_agent.grant_skill", agent.name, options.get("name", skill))
        return str(options.get("name", skill))

    def conversation(self, agent: Agent | None = None) -> UUID:
        return self.call("aos_agent.open_conversation", (agent or self.agent()).name)

    def say(self, conversation_id: UUID, content: str = "hello") -> UUID:
        return self.call("aos_agent.add_user_message", conversation_id, content)

    def start(self, conversation_id: UUID) -> UUID:
        return self.call("aos_agent.start_turn", conversation_id)

    def turn(self, agent: Agent | None = None, content: str = "hello") -> UUID:
        """Start a turn in a new conversation."""
        conversation_id = self.conversation(agent)
        self.say(conversation_id, content)
        return self.start(conversation_id)

    def run(self, turn_id: UUID, **named: Any) -> dict[str, Any]:
        return self.call("aos_agent.run_turn", turn_id, **named)

    def tool(self, turn_id: UUID, tool: str, arguments: Any = None, **named: Any) -> dict[str, Any]:
        """The worker announces a call that the model wants."""
        given = Jsonb({} if arguments is None else arguments)
        return self.call("aos_agent.process_tool_call", turn_id, tool, given, **named)

    def result(self, turn_id: UUID, tool: str, result: Any = None, **named: Any) -> dict[str, Any]:
        return self.call("aos_agent.record_tool_result", turn_id, tool, Jsonb(result), **named)

    def finish(self, turn_id: UUID, content: str = "done") -> dict[str, Any]:
        return self.call("aos_agent.finish_turn", turn_id, content)

    def status(self, turn_id: UUID) -> str:
        return str(self.one("select status from aos_core.run where run_id = %s", turn_id))

    def steps(self, turn_id: UUID, columns: str = "kind, status") -> list[tuple[Any, ...]]:
        return self.rows(
            f"select {columns} from aos_core.step where run_id = %s order by step_no", turn_id
        )

    def events(self, turn_id: UUID) -> list[str]:
        found = self.rows(
            "select event_type from aos_core.event_log where run_id = %s order by event_no", turn_id
        )
        return [event for (event,) in found]

    def refused(self, sqlstate: str, message: str) -> Refusal:
        """Expect an error: ``with house.refused("OS002", "there is no agent"): ...``"""
        return Refusal(sqlstate, message)


class Refusal:
    """The block must end in an error of this SQLSTATE and message; *hint* is its hint."""

    def __init__(self, sqlstate: str, message: str) -> None:
        self.sqlstate = sqlstate
        self.message = message
        self.hint: str = ""
        self.constraint: str | None = None

    def __enter__(self) -> Refusal:
        return self

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> bool:
        assert error is not None, f"nothing was refused; expected {self.sqlstate}: {self.message}"
        if not isinstance(error, psycopg.Error) or error.sqlstate is None:
            return False
        text = error.diag.message_primary or ""
        assert (error.sqlstate, bool(re.search(self.message, text))) == (self.sqlstate, True), (
            f"expected {self.sqlstate}: {self.message}; got {error.sqlstate}: {text}"
        )
        self.hint = error.diag.message_hint or ""
        self.constraint = error.diag.constraint_name
        if self.sqlstate.startswith("OS0") and self.sqlstate != "OS003":
            assert self.hint, f"{self.sqlstate}: {text} has no hint"
        return True


@pytest.fixture
def house(connection: psycopg.Connection) -> House:
    """A :class:`House` on :func:`connection`."""
    return House(connection)
