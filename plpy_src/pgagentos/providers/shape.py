"""Reading values of a reply whose type nobody guarantees: what is wrong counts as absent."""

from __future__ import annotations

from typing import Any

_MOST = 2**31 - 1  # what the columns of the token counts hold


def count_of(value: Any) -> int:
    """Return a number of tokens, 0 for what is none."""
    if isinstance(value, float) and value.is_integer():  # some gateways send 12.0
        value = int(value)
    return value if type(value) is int and 0 < value <= _MOST else 0


def text_of(value: Any) -> str:
    """Return a text, ``""`` for what is none."""
    return value if isinstance(value, str) else ""


def object_of(value: Any) -> dict[str, Any]:
    """Return a JSON object, an empty one for what is none."""
    return value if isinstance(value, dict) else {}


def objects_of(value: Any) -> list[dict[str, Any]]:
    """Return the JSON objects in an array, none for what is no array."""
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []
