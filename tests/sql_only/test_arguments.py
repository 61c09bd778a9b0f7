"""Arguments are checked in PL/pgSQL as the extension checks them in Python: that is the oracle here."""

from __future__ import annotations

import json
from typing import Any

import pytest

from house import House
from pgagentos.skills.arguments import argument_error


def of(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties}


WHOLE = {
    "type": "object",
    "properties": {"a": {"type": "integer"}},
    "required": ["a"],
    "additionalProperties": False,
}
TREE = {
    "type": "object",
    "properties": {"node": {"$ref": "#/definitions/node"}},
    "definitions": {
        "node": {
            "type": "object",
            "properties": {"next": {"$ref": "#/definitions/node"}, "n": {"type": "integer"}},
            "required": ["n"],
        },
    },
}

CASES: list[tuple[dict[str, Any], Any]] = [
    (WHOLE, {"a": 1}),
    (WHOLE, {"a": 1.0}),
    (WHOLE, {"a": 1.5}),
    (WHOLE, {"a": "1"}),
    (WHOLE, {"a": True}),
    (WHOLE, {"a": None}),
    (WHOLE, {}),
    (WHOLE, {"a": 1, "b": 2}),
    (WHOLE, "not an object"),
    (WHOLE, [1]),
    ({"type": "object"}, {"anything": [1, {"goes": None}]}),
    ({}, {"anything": 1}),
    (of(a={"type": ["string", "null"]}), {"a": None}),
    (of(a={"type": ["string", "null"]}), {"a": 1}),
    (of(a={"type": "number"}), {"a": 1}),
    (of(a={"type": "boolean"}), {"a": 0}),
    (of(a={"type": "array"}), {"a": {}}),
    (of(a={"enum": ["x", 1, None]}), {"a": "x"}),
    (of(a={"enum": ["x", 1, None]}), {"a": None}),
    (of(a={"enum": ["x", 1, [1]]}), {"a": "y"}),
    (of(a={"enum": [[1, 2]]}), {"a": [1, 2]}),
    (of(a={"enum": [[1, 2]]}), {"a": [2, 1]}),
    (of(a={"enum": [{"k": 1, "l": 2}]}), {"a": {"l": 2}}),
    (of(a={"const": 3}), {"a": 3}),
    (of(a={"const": 3}), {"a": 4}),
    (of(a={"minimum": 1, "maximum": 5}), {"a": 1}),
    (of(a={"minimum": 1, "maximum": 5}), {"a": 5}),
    (of(a={"minimum": 1, "maximum": 5}), {"a": 5.001}),
    (of(a={"minimum": 1, "maximum": 5}), {"a": 0}),
    (of(a={"minimum": 1}), {"a": "no number: it says nothing about me"}),
    (of(a={"exclusiveMinimum": 1}), {"a": 1}),
    (of(a={"exclusiveMaximum": 5}), {"a": 5}),
    (of(a={"exclusiveMaximum": 5}), {"a": 4.9}),
    (of(a={"multipleOf": 3}), {"a": 9}),
    (of(a={"multipleOf": 3}), {"a": 10}),
    (of(a={"minLength": 2, "maxLength": 3}), {"a": "한국"}),
    (of(a={"minLength": 2, "maxLength": 3}), {"a": "x"}),
    (of(a={"minLength": 2, "maxLength": 3}), {"a": "xxxx"}),
    (of(a={"pattern": "^[a-z]+$"}), {"a": "abc"}),
    (of(a={"pattern": "^[a-z]+$"}), {"a": "Abc"}),
    (of(a={"pattern": "b"}), {"a": "abc"}),
    (of(a={"items": {"type": "integer"}}), {"a": [1, 2, 3]}),
    (of(a={"items": {"type": "integer"}}), {"a": [1, "2", 3]}),
    (of(a={"items": {"type": "integer"}}), {"a": []}),
    (of(a={"items": [{"type": "integer"}, {"type": "string"}]}), {"a": [1, "x", None]}),
    (of(a={"items": [{"type": "integer"}, {"type": "string"}]}), {"a": [1, 2]}),
    (of(a={"items": [{"type": "integer"}], "additionalItems": False}), {"a": [1, 2]}),
    (of(a={"minItems": 1, "maxItems": 2}), {"a": []}),
    (of(a={"minItems": 1, "maxItems": 2}), {"a": [1, 2, 3]}),
    (of(a={"uniqueItems": True}), {"a": [1, 2]}),
    (of(a={"uniqueItems": True}), {"a": [1, 1]}),
    (of(a=of(b=of(c={"type": "integer"}))), {"a": {"b": {"c": 1}}}),
    (of(a=of(b=of(c={"type": "integer"}))), {"a": {"b": {"c": "x"}}}),
    (of(a={"type": "object", "additionalProperties": {"type": "string"}}), {"a": {"k": "v"}}),
    (of(a={"type": "object", "additionalProperties": {"type": "string"}}), {"a": {"k": 1}}),
    (of(a={"type": "object", "minProperties": 1, "maxProperties": 2}), {"a": {}}),
    (
        of(a={"type": "object", "minProperties": 1, "maxProperties": 2}),
        {"a": {"x": 1, "y": 1, "z": 1}},
    ),
    (
        {
            "type": "object",
            "patternProperties": {"^n_": {"type": "integer"}},
            "additionalProperties": False,
        },
        {"n_a": 1},
    ),
    (
        {
            "type": "object",
            "patternProperties": {"^n_": {"type": "integer"}},
            "additionalProperties": False,
        },
        {"n_a": "1"},
    ),
    (
        {
            "type": "object",
            "patternProperties": {"^n_": {"type": "integer"}},
            "additionalProperties": False,
        },
        {"m": 1},
    ),
    ({"allOf": [of(a={"maximum": 100}), of(a={"minimum": 10})]}, {"a": 50}),
    ({"allOf": [of(a={"maximum": 100}), of(a={"minimum": 10})]}, {"a": 5}),
    ({"allOf": [of(a={"maximum": 100}), of(a={"minimum": 10})]}, {"a": 500}),
    (of(a={"anyOf": [{"type": "integer"}, {"type": "null"}]}), {"a": None}),
    (of(a={"anyOf": [{"type": "integer"}, {"type": "null"}]}), {"a": "x"}),
    (of(a={"oneOf": [{"minimum": 1}, {"minimum": 5}]}), {"a": 3}),
    (of(a={"oneOf": [{"minimum": 1}, {"minimum": 5}]}), {"a": 7}),
    (of(a={"not": {"enum": ["root"]}}), {"a": "guest"}),
    (of(a={"not": {"enum": ["root"]}}), {"a": "root"}),
    (of(a=True, b=False), {"a": 1}),
    (of(a=True, b=False), {"b": 1}),
    (TREE, {"node": {"n": 1, "next": {"n": 2}}}),
    (TREE, {"node": {"n": 1, "next": {"m": 2}}}),
    (of(a={"description": "says nothing", "x-mine": 1, "default": 3, "title": "t"}), {"a": "x"}),
]


@pytest.mark.parametrize(("schema", "value"), CASES, ids=lambda part: json.dumps(part)[:60])
def test_it_says_what_the_extension_says(owner: House, schema: dict[str, Any], value: Any) -> None:
    expected = argument_error(json.dumps(schema), json.dumps(value))
    said = owner.one(
        "select aos_skills._argument_error(%s::jsonb, %s::json)",
        json.dumps(schema),
        json.dumps(value),
    )
    assert (said is None) == (expected is None), (said, expected)
    if said is not None:
        assert said.startswith("The arguments "), said
        assert said.endswith(".")


@pytest.mark.parametrize(
    ("schema", "value", "said"),
    [
        (WHOLE, {}, "The arguments do not fit the tool: they must contain 'a'."),
        (WHOLE, {"a": 1, "b": 2}, "The arguments do not fit the tool: they must not contain 'b'."),
        (WHOLE, {"a": "x"}, "The arguments do not fit the tool: a must be integer."),
        (
            of(a={"maximum": 5}),
            {"a": 6},
            "The arguments do not fit the tool: a must be smaller than or equal to 5.",
        ),
        (
            of(a={"items": of(b={"type": "string"})}),
            {"a": [{"b": 1}]},
            "The arguments do not fit the tool: a[0].b must be string.",
        ),
    ],
)
def test_it_says_it_in_words_for_the_model(
    owner: House, schema: dict[str, Any], value: Any, said: str
) -> None:
    assert said == owner.one(
        "select aos_skills._argument_error(%s::jsonb, %s::json)",
        json.dumps(schema),
        json.dumps(value),
    )


def test_what_cannot_be_stored_is_refused_in_words(owner: House) -> None:
    for arguments in ('{"a": "\\u0000"}', '{"a": 1e999999}', '{"a": "\\ud800"}'):
        said = owner.one("select aos_skills._argument_error('{}', %s::json)", arguments)
        assert said.startswith("The arguments are nested too deeply, or hold"), arguments


def test_a_schema_that_never_ends_has_an_end(owner: House) -> None:
    endless = {"$ref": "#/definitions/a", "definitions": {"a": {"$ref": "#/definitions/a"}}}
    said = owner.one("select aos_skills._argument_error(%s::jsonb, '{}')", json.dumps(endless))
    assert said == "The arguments do not fit the tool: they must not be nested so deeply."


@pytest.mark.parametrize(
    ("schema", "message"),
    [
        (
            {"$ref": "https://example.com/schema.json"},
            "it refers to https://example.com/schema.json",
        ),
        ({"$ref": "#/definitions/gone"}, "it refers to #/definitions/gone"),
        (of(a={"pattern": "("}), "PostgreSQL does not read the pattern"),
    ],
)
def test_a_schema_that_cannot_be_used_is_an_error(
    owner: House, schema: dict[str, Any], message: str
) -> None:
    with owner.refused("OS001", message):
        owner.one(
            'select aos_skills._argument_error(%s::jsonb, \'{"a": "x"}\')', json.dumps(schema)
        )


def test_limits_of_a_skill_hold_besides_its_schema(owner: House) -> None:
    agent = owner.agent()
    skill = owner.skill(parameters=of(amount={"type": "number"}))
    owner.call(
        "aos_agent.grant_skill",
        agent.name,
        skill,
        limits={"properties": {"amount": {"maximum": 100}}},
    )
    turn = owner.turn(agent)
    refused = owner.tool(turn, skill, {"amount": 101})
    assert (refused["status"], refused["reason"]) == (
        "invalid_arguments",
        "The arguments do not fit the tool: amount must be smaller than or equal to 100.",
    )
    assert owner.tool(turn, skill, {"amount": 100})["status"] == "approved"
