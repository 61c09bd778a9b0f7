"""Statements about skills: run a function."""

from __future__ import annotations

import json

from ..database import Database, DatabaseError
from ..turn import Turn
from .identities import no_plain_role

#: What calls a function, by its name and the arguments given. A text, never an answer: whether the
#: function may be executed is checked by the server at each execution.
_invocations: dict[tuple[str, tuple[str, ...]], str] = {}


def call_function(database: Database, turn: Turn, function_name: str, arguments: str) -> str:
    """Run a function skill with the rights of the agent's database role.

    Args:
        arguments: JSON text of an object.

    Returns:
        its result as JSON text.

    Raises:
        DatabaseError: the function, or the conversion of an argument, failed.
    """
    key = (function_name, tuple(sorted(json.loads(arguments))))
    role = turn.context.tool_role_id
    if role is None:
        raise no_plain_role(turn.context.tool_role)
    invocation = _invocations.get(key)
    if invocation is None:
        with database.as_role(role):  # who may not use the schema does not find the function
            found = database.rows(
                "select pg_catalog.to_regprocedure($1::text)::oid::bigint as function_oid",
                function_name,
            )
        rows = database.rows(
            "select aos_skills._invocation($1::text, $2::oid, $3::text[]) as invocation",
            function_name,
            found[0]["function_oid"],
            list(key[1]),
        )
        invocation = _invocations[key] = str(rows[0]["invocation"])
    try:
        with database.as_role(role, restricted=True):
            rows = database.rows(
                invocation,
                arguments,
                turn.context.conversation_id,
                turn.context.run_id,
                turn.context.tenant_id,
            )
    except DatabaseError:
        # The function may have been made anew with other arguments. (It is gone already when the
        # function ran a turn of its own that failed at the same call.)
        _invocations.pop(key, None)
        raise
    if not rows[0]["is_plain"]:
        raise no_plain_role(turn.context.tool_role)
    result = rows[0]["result"]
    return "null" if result is None else str(result)
