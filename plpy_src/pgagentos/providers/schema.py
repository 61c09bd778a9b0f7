"""JSON Schema as each vendor takes it.

Every function returns a new schema and leaves its argument as it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Schema = Mapping[str, Any]

#: Keywords that OpenAI's strict mode refuses.
#: Source: https://platform.openai.com/docs/guides/structured-outputs#supported-schemas
_NOT_STRICT = frozenset(
    {
        "allOf",
        "contains",
        "default",
        "dependentRequired",
        "dependentSchemas",
        "else",
        "if",
        "maxContains",
        "maxLength",
        "maxProperties",
        "minContains",
        "minLength",
        "minProperties",
        "not",
        "oneOf",
        "patternProperties",
        "propertyNames",
        "then",
        "unevaluatedItems",
        "unevaluatedProperties",
        "uniqueItems",
    }
)
_STRICT_FORMATS = frozenset(
    {"date-time", "time", "date", "duration", "email", "hostname", "ipv4", "ipv6", "uuid"}
)
_LOOKAROUND = ("(?=", "(?!", "(?<=", "(?<!")
_TYPING = ("type", "$ref", "anyOf", "enum", "const")


def with_object_root(schema: Schema) -> dict[str, Any]:
    """Make the root an object with ``properties``; OpenAI drops parameters without them."""
    result = {"type": "object", **schema}
    if "$ref" not in result:
        result.setdefault("properties", {})
    return result


def openai_strict(schema: Schema) -> dict[str, Any] | None:
    """Write *schema* for OpenAI's strict mode, if that does not change what it allows.

    Returns:
        The strict schema, or None when a property is optional, further properties are allowed, an
        array is untyped, or a keyword is used that strict mode does not know: such a tool is sent
        without ``strict`` and its arguments are validated here all the same.
    """
    root = with_object_root(schema)
    if root["type"] != "object" or "anyOf" in root or "$ref" in root:
        return None
    strict = _strict(root)
    return strict if isinstance(strict, dict) else None


def _strict(schema: Any) -> dict[str, Any] | None:
    """Rewrite one node; None when it has no strict form."""
    if not isinstance(schema, Mapping) or not _NOT_STRICT.isdisjoint(schema):
        return None
    node = {name: value for name, value in schema.items() if name not in ("title", "$schema")}
    if node.get("format", "date") not in _STRICT_FORMATS:
        return None
    if any(token in str(node.get("pattern", "")) for token in _LOOKAROUND):
        return None
    kinds = node.get("type")
    kinds = kinds if isinstance(kinds, list) else [kinds]
    if "object" in kinds:
        properties = node.get("properties") or {}
        if node.get("additionalProperties", False) is not False:
            return None
        if set(node.get("required", ())) != set(properties):
            return None
        node.update(properties=properties, required=list(properties), additionalProperties=False)
    if "array" in kinds:
        items = node.get("items")
        if not isinstance(items, Mapping) or not any(name in items for name in _TYPING):
            return None
    for name in ("properties", "$defs", "definitions"):
        if name in node:
            members = {key: _strict(value) for key, value in node[name].items()}
            if None in members.values():
                return None
            node[name] = members
    if "anyOf" in node:
        choices = [_strict(choice) for choice in node["anyOf"]]
        if None in choices:
            return None
        node["anyOf"] = choices
    if "items" in node:
        node["items"] = _strict(node["items"])
        if node["items"] is None:
            return None
    if "$ref" in node and len(node) > 1:
        # Strict mode refuses siblings of $ref, but takes siblings of anyOf.
        node["anyOf"] = [{"$ref": node.pop("$ref")}]
    return node


#: What Gemini's ``parameters`` and ``responseSchema`` know (a subset of OpenAPI 3.0).
#: Source: https://ai.google.dev/api/caching#Schema
_GEMINI_KEYWORDS = frozenset(
    {
        "anyOf",
        "description",
        "enum",
        "format",
        "items",
        "maxItems",
        "maxLength",
        "maxProperties",
        "maximum",
        "minItems",
        "minLength",
        "minProperties",
        "minimum",
        "nullable",
        "pattern",
        "properties",
        "required",
        "type",
    }
)


def gemini_openapi(schema: Schema) -> dict[str, Any]:
    """Write *schema* for Gemini's OpenAPI subset (field ``parameters``).

    ``$ref`` is written out, ``const`` becomes an enum, ``oneOf`` an ``anyOf``, a tuple an array of
    any of its types, ``exclusiveMinimum`` a hint in the description, enums become strings. A
    reference to an enclosing schema becomes an object without properties: the subset has no
    recursion. (The field ``parametersJsonSchema`` of newer models takes *schema* as it is.)
    """
    definitions = {**schema.get("definitions", {}), **schema.get("$defs", {})}
    return _gemini(schema, definitions, ())


def _gemini(node: Schema, definitions: Schema, open_refs: tuple[str, ...]) -> dict[str, Any]:
    reference = node.get("$ref")
    if isinstance(reference, str):
        name = reference.rpartition("/")[2]
        if reference in open_refs or name not in definitions:
            return {"type": "object", "description": str(node.get("description", name))}
        siblings = {key: value for key, value in node.items() if key != "$ref"}
        return _gemini({**definitions[name], **siblings}, definitions, (*open_refs, reference))

    def inner(value: Any) -> dict[str, Any]:
        return _gemini(value, definitions, open_refs) if isinstance(value, Mapping) else {}

    result = {key: value for key, value in node.items() if key in _GEMINI_KEYWORDS}
    if isinstance(node.get("type"), list):
        kinds = [kind for kind in node["type"] if kind != "null"]
        result["type"] = kinds[0] if kinds else "string"
        if len(kinds) > 1:
            del result["type"]
            result["anyOf"] = [{"type": kind} for kind in kinds]
        if "null" in node["type"]:
            result["nullable"] = True
    if "const" in node:
        result["enum"] = [node["const"]]
    if "enum" in result:
        result["enum"] = [
            value if isinstance(value, str) else str(value) for value in result["enum"]
        ]
        result["type"] = "string"
    if result.get("format") not in (None, "date-time", "enum", "float", "double", "int32", "int64"):
        del result["format"]
    choices = node.get("anyOf") or node.get("oneOf")
    if choices:
        null = {"type": "null"}
        if null in choices:
            result["nullable"] = True
        result["anyOf"] = [inner(choice) for choice in choices if choice != null]
        if len(result["anyOf"]) == 1:
            result = {**result.pop("anyOf")[0], **result}
    for base in node.get("allOf", ()):
        merged = inner(base)
        properties = {**merged.get("properties", {}), **result.get("properties", {})}
        required = [*merged.get("required", ()), *result.get("required", ())]
        result = {**merged, **result}
        if properties:
            result["properties"] = properties
        if required:
            result["required"] = list(dict.fromkeys(required))
    if "properties" in result:
        result["properties"] = {name: inner(value) for name, value in result["properties"].items()}
    if "prefixItems" in node:
        kinds_of_items = [inner(item) for item in node["prefixItems"]]
        unique = [item for at, item in enumerate(kinds_of_items) if item not in kinds_of_items[:at]]
        result["items"] = unique[0] if len(unique) == 1 else {"anyOf": unique}
        result["minItems"] = result["maxItems"] = len(kinds_of_items)
    elif "items" in result:
        result["items"] = inner(result["items"])
    notes = [
        f"{keyword}: {node[keyword]}"
        for keyword in ("exclusiveMinimum", "exclusiveMaximum", "multipleOf")
        if keyword in node
    ]
    if notes:
        result["description"] = " ".join(
            filter(None, (str(node.get("description", "")), f"({', '.join(notes)})"))
        )
    return result
