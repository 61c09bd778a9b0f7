"""JSON Schemas as the vendors take them."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest

from pgagentos.providers.schema import gemini_openapi, openai_strict, with_object_root

STRICT = {"type": "object", "additionalProperties": False}
TEXT = {"type": "string"}


def obj(properties: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(properties), **more}


def test_parameters_are_always_an_object_with_properties() -> None:
    assert with_object_root({}) == {"type": "object", "properties": {}}
    assert with_object_root(obj({"a": TEXT})) == obj({"a": TEXT})


def test_edge_23_a_schema_without_freedom_becomes_strict() -> None:
    schema = obj(
        {
            "city": {"type": "string", "title": "City", "description": "where"},
            "unit": {"enum": ["c", "f"]},
            "days": {"type": "array", "items": {"type": "integer", "minimum": 1}},
            "place": obj({"lat": {"type": ["number", "null"]}}),
            "when": {"anyOf": [{"type": "string", "format": "date"}, {"type": "null"}]},
        },
        title="Args",
        **{"$schema": "https://json-schema.org/draft/2020-12/schema"},
    )
    before = copy.deepcopy(schema)
    strict = openai_strict(schema)
    assert schema == before
    assert strict is not None
    assert strict["additionalProperties"] is False
    assert strict["required"] == ["city", "unit", "days", "place", "when"]
    assert strict["properties"]["place"]["additionalProperties"] is False
    assert "title" not in json.dumps(strict)
    assert "$schema" not in strict
    assert strict["properties"]["city"]["description"] == "where"


def test_edge_23_no_parameters_are_strict() -> None:
    assert openai_strict({}) == {**STRICT, "properties": {}, "required": []}


def test_edge_23_definitions_are_rewritten_and_references_keep_their_siblings_apart() -> None:
    node = obj({"next": {"anyOf": [{"$ref": "#/$defs/Node"}, {"type": "null"}]}})
    schema = obj(
        {"head": {"$ref": "#/$defs/Node", "description": "first"}}, **{"$defs": {"Node": node}}
    )
    strict = openai_strict(schema)
    assert strict is not None
    assert strict["$defs"]["Node"]["additionalProperties"] is False
    head = {"description": "first", "anyOf": [{"$ref": "#/$defs/Node"}]}
    assert strict["properties"]["head"] == head


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "object", "properties": {"a": TEXT}},
        {"type": "object", "properties": {"a": TEXT, "b": TEXT}, "required": ["a"]},
        obj({"a": TEXT}, additionalProperties=True),
        obj({"a": TEXT}, additionalProperties={"type": "string"}),
        obj({"a": {"type": "string", "default": "x"}}),
        obj({"a": {"type": "string", "minLength": 1}}),
        obj({"a": {"type": "string", "format": "uri"}}),
        obj({"a": {"type": "string", "pattern": "^(?!x)"}}),
        obj({"a": {"type": "array"}}),
        obj({"a": {"type": "array", "items": {}}}),
        obj({"a": {"type": "array", "items": {"description": "any"}}}),
        obj({"a": {"type": "array", "items": True}}),
        obj({"a": {"oneOf": [TEXT, {"type": "null"}]}}),
        obj({"a": {"allOf": [TEXT]}}),
        obj({"a": True}),
        obj({"a": {"type": "object", "properties": {"b": TEXT}}}),
        obj({"a": {"anyOf": [{"type": "object", "properties": {"b": TEXT}}]}}),
        obj({"a": {"$ref": "#/$defs/X"}}, **{"$defs": {"X": {"not": {}}}}),
        {"type": "string"},
        {"anyOf": [obj({"a": TEXT}), obj({"b": TEXT})]},
        {"$ref": "#/$defs/X", "$defs": {"X": obj({})}},
    ],
    ids=lambda schema: json.dumps(schema)[:70],
)
def test_edge_23_a_schema_that_strict_mode_would_change_or_refuse_is_not_strict(
    schema: dict[str, Any],
) -> None:
    assert openai_strict(schema) is None


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"const": "x"}, {"enum": ["x"], "type": "string"}),
        ({"enum": [1, 2]}, {"enum": ["1", "2"], "type": "string"}),
        ({"type": ["string", "null"]}, {"type": "string", "nullable": True}),
        (
            {"type": ["string", "integer"]},
            {"anyOf": [{"type": "string"}, {"type": "integer"}]},
        ),
        ({"anyOf": [TEXT, {"type": "null"}]}, {"type": "string", "nullable": True}),
        ({"oneOf": [TEXT, {"type": "integer"}]}, {"anyOf": [TEXT, {"type": "integer"}]}),
        (
            {"type": "integer", "exclusiveMinimum": 0, "description": "count"},
            {"type": "integer", "description": "count (exclusiveMinimum: 0)"},
        ),
        ({"type": "string", "title": "T", "examples": ["x"], "default": "x"}, TEXT),
        ({"type": "string", "format": "uri"}, TEXT),
        ({"type": "string", "format": "date-time"}, {"type": "string", "format": "date-time"}),
        (
            {"type": "array", "prefixItems": [TEXT, {"type": "integer"}]},
            {
                "type": "array",
                "items": {"anyOf": [TEXT, {"type": "integer"}]},
                "minItems": 2,
                "maxItems": 2,
            },
        ),
        (
            {"allOf": [obj({"a": TEXT}), obj({"b": TEXT})], "type": "object"},
            {"type": "object", "properties": {"b": TEXT, "a": TEXT}, "required": ["b", "a"]},
        ),
    ],
    ids=lambda value: json.dumps(value)[:50],
)
def test_edge_23_gemini_s_subset_says_the_same_in_its_own_words(
    given: dict[str, Any], expected: dict[str, Any]
) -> None:
    before = copy.deepcopy(given)
    made = gemini_openapi(obj({"x": given}))["properties"]["x"]
    assert made == expected
    assert given == before


def test_edge_23_references_are_written_out_for_gemini_and_recursion_ends() -> None:
    node = obj({"value": TEXT, "next": {"$ref": "#/$defs/Node"}})
    made = gemini_openapi(obj({"head": {"$ref": "#/$defs/Node"}}, **{"$defs": {"Node": node}}))
    assert "$" not in json.dumps(made)
    head = made["properties"]["head"]
    assert head["properties"]["value"] == TEXT
    assert head["properties"]["next"] == {"type": "object", "description": "Node"}


def test_a_property_that_is_called_like_a_keyword_is_a_property() -> None:
    schema = obj({"const": TEXT, "title": TEXT, "default": TEXT, "$ref": TEXT})
    assert set(gemini_openapi(schema)["properties"]) == {"const", "title", "default", "$ref"}
    strict = openai_strict(schema)
    assert strict is not None
    assert set(strict["properties"]) == {"const", "title", "default", "$ref"}
