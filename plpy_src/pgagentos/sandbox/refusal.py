"""What a model is told when its query does not run: short fixed texts that it can act on.

None of them holds a value of a row, a context, or whether something exists that the agent may not
see: what may not be seen and what is not there have the same text. A name appears only where the
query itself wrote it.
"""

from __future__ import annotations

import re
from collections.abc import Collection

from ..errors import Refused


class QueryRefused(Refused):
    """A query that does not run; the message is for the model.

    Args:
        message: full sentences.
        reason: for the server's log, where it says more than the message.
    """

    def __init__(self, message: str, reason: str | None = None) -> None:
        super().__init__(message)
        self.reason = reason or message


def function_not_available(name: str) -> QueryRefused:
    return QueryRefused(
        f"The function {name} is not available, or not for arguments of these types."
    )


def operator_not_available(name: str) -> QueryRefused:
    return QueryRefused(
        f"The operator {name} is not available, or not for operands of these types."
    )


def type_not_available(name: str) -> QueryRefused:
    return QueryRefused(f"The type {name} is not available.")


def table_not_available(name: str, reason: str | None = None) -> QueryRefused:
    return QueryRefused(f"The table {name} is not available.", reason)


def column_not_available(name: str) -> QueryRefused:
    return QueryRefused(f"The column {name} is not available.")


def construct_not_available(reason: str) -> QueryRefused:
    return QueryRefused(
        "The query uses a construct that is not available. Write it more simply.", reason
    )


_NAME = r'"?([^"().\s]+)"?'
#: SQLSTATE -> (pattern of the server's message that holds a name, text with the name, text without)
_NAMED: dict[str, tuple[str, str, str]] = {
    "42703": (  # undefined_column
        r'column (?:"?[^".\s]+"?\.)?' + _NAME + " ",
        "The column {} is not available.",
        "A column of the query is not available.",
    ),
    "42883": (  # undefined_function, also for operators
        "function (?:[^\\s(.]+\\.)?" + _NAME + "\\(",
        "The function {} is not available, or not for arguments of these types.",
        "An operator or function of the query is not available for operands of these types. Cast them, for example x::numeric.",
    ),
    "42P01": (  # undefined_table: also a table that is there but not in FROM
        'entry for table "([^"]+)"',
        "The table {} is not in the FROM clause.",
        "A table of the query is not available.",
    ),
    "42702": (
        'column reference "([^"]+)"',
        "The column {} is ambiguous: write the table's alias before it.",
        "A column is ambiguous.",
    ),
    "42803": (
        'column "(?:[^".]+\\.)?([^"]+)" must appear',
        "The column {} must be in GROUP BY or in an aggregate.",
        "An aggregate cannot stand there, or a column must be in GROUP BY.",
    ),
    "42601": (
        'at or near "([^"]+)"',
        "There is a syntax error at or near {}.",
        "There is a syntax error.",
    ),
    "42712": (
        'table name "([^"]+)"',
        "The table name {} is used twice: give each an alias.",
        "A table name is used twice.",
    ),
}
_BY_CODE = {
    "42501": "The database role of this agent may not read a table or call a function of the query.",
    "42704": "A type or another object of the query is not available.",
    "42804": "Two values of the query have types that do not fit each other. Cast one of them.",
    "42P18": "The type of a value is not clear. Cast it, for example x::text.",
    "42P10": "A column number in ORDER BY or GROUP BY does not fit, or ORDER BY does not fit DISTINCT.",
    "42P19": "The recursive query is not well formed.",
    "42P20": "A window function cannot stand there.",
    "42725": "A function or operator is ambiguous. Cast its operands.",
    "22012": "The query divides by zero. Use nullif(divisor, 0).",
    "22003": "A number is out of range.",
    "22008": "A date or time is out of range.",
    "21000": "A subquery that is used as a value returned more than one row.",
    "23514": "A value is too long for a function or an operator of the query. Shorten it, for example with left(x, 1000).",
    "54000": "A value is too long, or a series has too many steps, for a function of the query.",
    "53200": "The query needs too much memory. Read or combine less.",
    "53400": "The query needs too much temporary disk space. Read or sort less.",
    "55P03": "A table of the query is locked by somebody else. Try again later.",
    "54001": "The query is nested too deeply.",
    "54011": "The query has too many columns.",
    "25006": "The query would change something. Only reading is possible.",
    "0A000": "The query uses a feature that is not available.",
    "42P17": "A table or view of the query cannot be read.",
}
_BY_CLASS = {
    "22": "A value cannot be converted or has a wrong form. Check literals, casts and formats.",
    "42": "The query is not valid.",
    "53": "The query needs too much memory or disk space. Read less.",
    "54": "The query is too large.",
}


def text_of_error(sqlstate: str, message: str, words: Collection[str]) -> str:
    """The fixed text for an error of the server.

    Args:
        message: the server's own; only a name is taken from it.
        words: the names that the query itself wrote.
    """
    named = _NAMED.get(sqlstate)
    if named is not None:
        pattern, with_name, without = named
        match = re.search(pattern, message)
        if match and match[1].lower() in words:
            return with_name.format(match[1])
        return without
    return _BY_CODE.get(sqlstate) or _BY_CLASS.get(sqlstate[:2]) or "The query cannot be run."
