"""Statements about skills: run a function."""

from __future__ import annotations

import json

from ..agent.turn import Turn
from ..database import Database, DatabaseError

#: What calls a function, by its name and the arguments given. A text, never an answer: whether the
#: function may be executed is checked by the server at each execution.
_invocations: dict[tuple[str, tuple[str, ...]], str] = {}


def call_function(database: Database, turn: Turn, function_name: str, arguments: str) -> str:
    """Run a function skill.

    Args:
        arguments: JSON text of an object.

    Returns:
        its result as JSON text.

    Raises:
        DatabaseError: the function, or the conversion of an argument, failed.
    """
    key = (function_name, tuple(sorted(json.loads(arguments))))
    invocation = _invocations.get(key)
    if invocation is None:
        rows = database.rows(
            "select aos_skills._invocation($1::text, $2::text[]) as invocation",
            function_name,
            list(key[1]),
        )
        invocation = _invocations[key] = str(rows[0]["invocation"])
    try:
        rows = database.rows(
            invocation, arguments, turn.conversation_id, turn.run_id, turn.tenant_id
        )
    except DatabaseError:
        del _invocations[key]  # the function may have been made anew with other arguments
        raise
    result = rows[0]["result"]
    return "null" if result is None else str(result)
