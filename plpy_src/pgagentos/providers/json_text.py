"""JSON from somebody else."""

from __future__ import annotations

import json
import re
from typing import Any, NoReturn

#: Deepest nesting that is read. How deep Python itself reads differs by its version, from 1,000 to
#: 100,000; PostgreSQL reads some 6,000.
MAX_DEPTH = 500
_STRING_OR_BRACKET = re.compile(r'"(?:[^"\\]|\\.)*"|[\[\]{}]')


def read_json(text: str) -> Any:
    """Read a text.

    Raises:
        ValueError: it is no JSON (RFC 8259), or nested deeper than :data:`MAX_DEPTH`.
    """
    if _is_too_deep(text):
        raise ValueError("it is nested too deeply")
    return json.loads(text, parse_constant=_refuse_constant)


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _is_too_deep(text: str) -> bool:
    if text.count("[") + text.count("{") <= MAX_DEPTH:
        return False
    depth = 0
    for mark in _STRING_OR_BRACKET.findall(text):
        if mark in "[{":
            depth += 1
            if depth > MAX_DEPTH:
                return True
        elif mark in "]}":
            depth -= 1
    return False
