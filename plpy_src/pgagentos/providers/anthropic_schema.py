"""JSON Schema as Anthropic's structured output takes it.

Source: https://platform.claude.com/docs/en/build-with-claude/structured-outputs#json-schema-limitations
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_REFUSED = frozenset(
    {
        "exclusiveMaximum",
        "exclusiveMinimum",
        "maxItems",
        "maxLength",
        "maxProperties",
        "maximum",
        "minLength",
        "minProperties",
        "minimum",
        "multipleOf",
        "uniqueItems",
    }
)


def closed_schema(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Close every object and leave out the limits that the API refuses.

    The limits are checked here when the answer arrives, so nothing is lost but guidance.
    """
    result = {name: value for name, value in schema.items() if name not in _REFUSED}
    if "oneOf" in result:
        result["anyOf"] = result.pop("oneOf")
    if result.get("minItems", 0) not in (0, 1):
        del result["minItems"]
    if result.get("type") == "object" or "properties" in result:
        result["additionalProperties"] = False
    for name in ("properties", "$defs", "definitions"):
        if isinstance(result.get(name), Mapping):
            result[name] = {key: _closed(value) for key, value in result[name].items()}
    for name in ("anyOf", "allOf", "prefixItems"):
        if isinstance(result.get(name), list):
            result[name] = [_closed(value) for value in result[name]]
    if "items" in result:
        result["items"] = _closed(result["items"])
    return result


def _closed(value: Any) -> Any:
    return closed_schema(value) if isinstance(value, Mapping) else value
