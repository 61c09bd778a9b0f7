"""A JSON Schema is written by a tenant's developer, and the kernel makes Python of it."""

from __future__ import annotations

import json
import socket
from contextlib import suppress
from typing import Any

import psycopg
import pytest

from house import House, house

__all__ = ["house"]  # a fixture

DOES_NOT_FIT = "The arguments do not fit the tool: "
#: Python with a trace, for every place where a schema has text of its own
CODE = "open('/tmp/pgagentos_schema_ran', 'w')"
TEXTS = (
    CODE,
    f'") + {CODE} + ("',
    f"') + {CODE} + ('",
    f'\\") + {CODE} + (\\"',
    f'"]\n    {CODE}\n#',
    f'"""\n{CODE}\n"""',
    f"\\N{{{CODE}}}",
    "a\\",
    "%s%n",
)


def error(house: House, schema: Any, arguments: Any) -> str | None:
    found = house.rows(
        "select aos_skills._argument_error(%s::text::jsonb, %s::json)",
        json.dumps({"type": "object", **schema}),
        json.dumps(arguments),
    )
    return None if found[0][0] is None else str(found[0][0])


def test_a_pattern_without_end_is_ended_and_the_session_goes_on(house: House) -> None:
    schema = {"properties": {"a": {"pattern": "^(a+)+$"}}}
    arguments = {"a": "a" * 60 + "!"}  # 2 to the power of 60 ways to match
    assert error(house, schema, arguments) == f"{DOES_NOT_FIT}to check them takes too long."
    assert error(house, schema, {"a": "aa"}) is None
    assert house.one("select 1") == 1


def test_a_pattern_without_end_is_ended_where_only_one_of_several_has_to_fit(house: House) -> None:
    schema = {"properties": {"a": {"anyOf": [{"pattern": "^(a|a)+$"}, {"type": "string"}]}}}
    found = error(house, schema, {"a": "a" * 60 + "!"})
    assert found == f"{DOES_NOT_FIT}to check them takes too long."


@pytest.mark.parametrize(
    "reference",
    ["file:///etc/passwd", "file:///etc/hostname#/a", "data:application/json,{}", "other.json"],
)
def test_a_schema_reads_no_other_document(house: House, reference: str) -> None:
    with house.refused("OS001", "cannot be used: it refers to another document"):
        error(house, {"properties": {"a": {"$ref": reference}}}, {"a": 1})


def test_a_schema_fetches_nothing_over_the_network(house: House) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.2)
        url = f"http://127.0.0.1:{server.getsockname()[1]}/schema.json"
        for schema in (
            {"properties": {"a": {"$ref": url}}},
            {"properties": {"a": {"not": {"$ref": f"{url}#/a"}}}},
            {"$id": url, "properties": {"a": {"$ref": "other.json"}}},
            {"properties": {"a": {"$id": url, "properties": {"b": {"$ref": "x#/y"}}}}},
            {"properties": {"a": {"const": {"$ref": url}}}},
            {"allOf": [{"$ref": url}]},
        ):
            with house.refused("OS001", "cannot be used: it refers to another document"):
                error(house, schema, {"a": {"b": 1}})
        with pytest.raises(TimeoutError):
            server.accept()


def test_references_within_a_schema_are_followed(house: House) -> None:
    schema = {
        "$id": "https://example.com/schema.json",
        "definitions": {"count": {"type": "integer"}},
        "properties": {"a": {"$ref": "#/definitions/count"}},
    }
    assert error(house, schema, {"a": 1}) is None
    assert error(house, schema, {"a": "b"}) == f"{DOES_NOT_FIT}a must be integer."


@pytest.mark.parametrize("text", TEXTS)
def test_no_text_of_a_schema_becomes_code(house: House, text: str) -> None:
    schemas: list[dict[str, Any]] = [
        {"properties": {text: {"type": "integer", "title": text}}, "required": [text]},
        {"properties": {"a": {"properties": {text: {"type": "integer"}}}}},
        {"properties": {"a": {"additionalProperties": {"enum": [text, {text: [text]}]}}}},
        {"properties": {"a": {"const": {text: text}, "default": text}}},
        {"properties": {"a": {"format": text}}},
        {"properties": {"a": {"type": text}}},
        {"properties": {"a": {"pattern": text}}},
        {"patternProperties": {text: {"type": "integer"}}},
        {"propertyNames": {"const": text}},
        {"dependencies": {text: [text], "a": [text]}},
        {"definitions": {text: {"type": "integer"}}, "allOf": [{"$ref": f"#/definitions/{text}"}]},
        {"$id": text, "$schema": text, "title": text, "properties": {"a": {"type": "integer"}}},
    ]
    schemas += [
        {"properties": {"a": {number: text}}}
        for number in ("minLength", "maximum", "multipleOf", "minItems", "maxProperties")
    ]
    for schema in schemas:
        for arguments in ({"a": "x"}, {"a": {text: "x"}}, {text: "x"}, {text: {text: 1}}, {}):
            # A broken schema is refused in words, whatever it breaks.
            with suppress(psycopg.Error), house.connection.transaction():
                error(house, schema, arguments)
    assert house.one("select pg_stat_file('/tmp/pgagentos_schema_ran', true) is null")


def test_a_name_with_braces_is_refused(house: House) -> None:
    """A template of fastjsonschema would make two gigabytes of it."""
    name = "{data:>2000000000}"
    with house.refused("OS001", "cannot be used: the name of a property has a brace"):
        error(house, {"properties": {name: {"type": "integer"}}}, {name: "x"})


def test_a_schema_that_breaks_the_check_itself_is_an_error_of_the_schema(house: House) -> None:
    schema = '{"type": "object", "properties": {"a": {"minimum": 1' + "0" * 400 + ".5}}}"
    with house.refused("OS001", "the JSON Schema of the skill cannot be used"):
        house.rows("select aos_skills._argument_error(%s::text::jsonb, '{\"a\": 5}')", schema)
    endless = {"definitions": {"a": {"$ref": "#/definitions/a"}}, "$ref": "#/definitions/a"}
    with house.refused("OS001", "the JSON Schema of the skill cannot be used"):
        error(house, endless, {})


@pytest.mark.parametrize(
    "value", ['{"a":' * 3000 + "1" + "}" * 3000, "[" * 5000 + "]" * 5000, "1" + "0" * 5000]
)
def test_arguments_that_python_cannot_read_do_not_fit(house: House, value: str) -> None:
    found = house.one(
        'select aos_skills._argument_error(\'{"type": "object"}\', %s::json)', f'{{"a": {value}}}'
    )
    assert found == "The arguments are nested too deeply, or have a number that is too long."
