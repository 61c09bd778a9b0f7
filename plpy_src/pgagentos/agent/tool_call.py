"""A tool call: decided by the database's rules, run in a savepoint, turned into a message."""

from __future__ import annotations

import json
import re
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from ..database import Database, DatabaseError
from ..errors import InstallationError, InvalidInput
from ..net.wait import Steps
from ..providers.base import ToolCall
from ..providers.wire import clean_text, dumps, parse_arguments
from ..skills.arguments import argument_error
from ..store import skills
from ..turn import Skill, Turn

if TYPE_CHECKING:
    from ..skills.http_skill import Clients

#: A longer result is cut before the model sees it.
MAX_RESULT_CHARACTERS = 100_000
#: PostgreSQL's json takes these escapes in and fails when the string is read.
_UNSTORABLE_ESCAPE = re.compile(r"\\u(?:0000|[dD][89a-fA-F])")


def now() -> str:
    """This moment as PostgreSQL reads it."""
    return datetime.now(timezone.utc).isoformat()


def arguments_json(call: ToolCall) -> str:
    """The arguments as JSON text: an object, or a JSON string that holds the model's own text."""
    text = call.arguments.strip() or "{}"
    value = parse_arguments(text)
    if value is None:
        return dumps(call.arguments)
    return dumps(value) if _UNSTORABLE_ESCAPE.search(text) else text


def message(call_id: str, content: str, *, is_error: bool) -> str:
    """The neutral message that carries a result to the model."""
    value: dict[str, Any] = {"role": "tool", "call_id": call_id, "content": content}
    if is_error:
        value["is_error"] = True
    return dumps(value)


def content_of(result: str) -> str:
    """What the model reads of a JSON result: a string as its text, anything else as JSON."""
    text = clean_text(json.loads(result)) if result.startswith('"') else result
    if len(text) > MAX_RESULT_CHARACTERS:
        left_out = len(text) - MAX_RESULT_CHARACTERS
        text = f"{text[:MAX_RESULT_CHARACTERS]}\n[{left_out} more characters left out]"
    return text


def decide(turn: Turn, tool_name: str, arguments: str) -> tuple[Skill | None, str | None]:
    """Say what is to happen to a call.

    The skills are those that the turn was read with, in the same transaction: a skill that is taken
    away meanwhile is gone the next time that the turn is read. The function
    ``aos_agent._decide_tool_call`` says the same to outside workers.

    Returns:
        ``(skill, refusal)``: the refusal, in words for the model, is None when the call may go on
        as the skill's *on_call* says.
    """
    skill = turn.context.skills.get(tool_name)
    if skill is None:
        return None, f"There is no tool {tool_name}. Use only the tools that are offered."
    if skill.on_call == "denied":
        return skill, f"The tool {tool_name} may not be used here."
    try:
        wrong = argument_error(dumps(skill.tool.parameters), arguments)
        if wrong is None and skill.limits is not None:
            wrong = argument_error(dumps(skill.limits), arguments)
        return skill, wrong
    except InvalidInput as error:  # a broken schema is no reason to lose the turn
        return skill, f"The tool {tool_name} cannot be used: {error.message}."


class Tools:
    """Runs the tool calls of a session.

    Args:
        database: the backend's own.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._clients: Clients | None = None

    def run(self, turn: Turn, skill: Skill, arguments: str, key: str) -> Steps[tuple[str, str]]:
        """Run one call.

        Args:
            key: what a request to a service is known by, also when it is made once more.

        Returns:
            ``(status, content)``: ``completed`` with the result, or ``failed`` with what went
            wrong, in which case everything that the call had done in the database is undone.
        """
        if skill.implementation == "http":
            return (yield from self._call_service(turn, skill, arguments, key))
        if skill.implementation == "sql_query":
            return self._query(turn, arguments)
        return self._run_function(turn, skill, arguments)

    def _call_service(
        self, turn: Turn, skill: Skill, arguments: str, key: str
    ) -> Steps[tuple[str, str]]:
        """A request to a service, by the kernel, which knows the secrets."""
        from ..skills import http_skill

        if self._clients is None:
            self._clients = http_skill.make_clients()
        return (
            yield from http_skill.call(
                self._database,
                self._clients,
                skill.skill_id,
                arguments,
                turn.context.tenant_id,
                key,
            )
        )

    def _query(self, turn: Turn, arguments: str) -> tuple[str, str]:
        """The model's own SQL, in the sandbox."""
        from ..skills import sql_query

        context = turn.context
        query = str(json.loads(arguments)["query"])
        try:
            return sql_query.run(self._database, query, context.agent_id, context.tenant_id)
        except (InstallationError, InvalidInput) as error:
            return "failed", error.message

    def _run_function(self, turn: Turn, skill: Skill, arguments: str) -> tuple[str, str]:
        """A SQL function with the rights of the agent's role: one statement, undone if it fails."""
        from ..skills.time_limit import TimeIsUp, time_limit

        seconds = turn.context.function_deadline_seconds
        try:
            with time_limit(self._database, seconds):
                result = skills.call_function(
                    self._database, turn, str(skill.function_name), arguments
                )
            return "completed", content_of(result)
        except TimeIsUp:
            return "failed", f"The tool took longer than {seconds:g} seconds and was broken off."
        except DatabaseError as error:
            if error.sqlstate[:2] == "40":  # the whole transaction has to start again
                raise
            return "failed", f"{error.sqlstate}: {error.message}"
        except (InstallationError, InvalidInput) as error:
            return "failed", error.message
