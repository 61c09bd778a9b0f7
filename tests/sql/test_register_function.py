"""aos_skills.register_function: the schema that a signature becomes, and calls through it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from house import House

INTEGER, NUMBER, STRING = {"type": "integer"}, {"type": "number"}, {"type": "string"}
POINT = {
    "type": "object",
    "properties": {"x": INTEGER, "label": STRING},
    "additionalProperties": False,
}


@pytest.fixture(autouse=True)
def types(house: House) -> None:
    """Types of a user."""
    if house.one("select to_regtype('public.mood') is null"):
        house.rows(
            "create type public.mood as enum ('sad', 'ok', 'happy');"
            "create domain public.percentage as integer check (value between 0 and 100);"
            "create type public.point2 as (x integer, label text);"
            "create domain public.origin as public.point2;"
            "create domain public.pair as integer[] check (cardinality(value) = 2)"
        )


def parameters(house: House, skill: str) -> dict[str, Any]:
    value: dict[str, Any] = house.one(
        "select parameters from aos_skills.skill where name = %s", skill
    )
    return value


@pytest.mark.parametrize(
    ("sql_type", "schema", "value", "text"),
    [
        ("smallint", INTEGER, 7, "7"),
        ("integer", INTEGER, -7, "-7"),
        ("bigint", INTEGER, 9007199254740993, "9007199254740993"),
        ("numeric", NUMBER, 0.1, "0.1"),
        ("real", NUMBER, 1.5, "1.5"),
        ("double precision", NUMBER, 1e300, "1e+300"),
        ("boolean", {"type": "boolean"}, True, "true"),
        ("text", STRING, "한글", "한글"),
        ("character varying", STRING, "x", "x"),
        ("date", {"type": "string", "format": "date"}, "2026-02-28", "2026-02-28"),
        # JSON Schema's date-time has a time zone (RFC 3339), a timestamp has none
        ("timestamp", STRING, "2026-02-28T12:00:00", "2026-02-28 12:00:00"),
        (
            "timestamptz",
            {"type": "string", "format": "date-time"},
            "2026-02-28T12:00:00Z",
            "2026-02-28 12:00:00+00",
        ),
        ("interval", STRING, "1 day", "1 day"),
        (
            "uuid",
            {"type": "string", "format": "uuid"},
            "123e4567-e89b-12d3-a456-426614174000",
            "123e4567-e89b-12d3-a456-426614174000",
        ),
        ("json", {}, {"b": [1, None]}, '{"b": [1, null]}'),
        ("jsonb", {}, [1, "x"], '[1, "x"]'),
        ("jsonb", {}, "just text", '"just text"'),
        ("cidr", STRING, "10.0.0.0/8", "10.0.0.0/8"),
        ("int4range", STRING, "[1,5)", "[1,5)"),
        ("public.mood", {"type": "string", "enum": ["sad", "ok", "happy"]}, "ok", "ok"),
        ("public.percentage", INTEGER, 50, "50"),
        ("integer[]", {"type": "array", "items": INTEGER}, [1, 2], "{1,2}"),
        ("text[]", {"type": "array", "items": STRING}, ["a,b", 'c"d'], '{"a,b","c\\"d"}'),
        ("integer[]", {"type": "array", "items": INTEGER}, [], "{}"),
        (
            "public.mood[]",
            {"type": "array", "items": {"type": "string", "enum": ["sad", "ok", "happy"]}},
            ["sad"],
            "{sad}",
        ),
        ("public.point2", POINT, {"x": 1, "label": "a b"}, '(1,"a b")'),
        (
            "public.point2[]",
            {"type": "array", "items": POINT},
            [{"x": 1, "label": "a"}],
            '{"(1,a)"}',
        ),
        ("public.origin", POINT, {"x": 1}, "(1,)"),
        ("public.pair", {"type": "array", "items": INTEGER}, [1, 2], "{1,2}"),
        ("jsonb[]", {"type": "array", "items": {}}, [{"a": 1}, 2], '{"{\\"a\\": 1}",2}'),
    ],
)
def test_a_type_becomes_its_schema_and_a_value_its_type(
    house: House, sql_type: str, schema: dict[str, Any], value: object, text: str
) -> None:
    house.rows("set timezone = 'UTC'")
    agent = house.agent()
    skill = house.function_skill(
        agent, f"f(v {sql_type}) returns text language plpgsql as 'begin return v::text; end'"
    )
    assert parameters(house, skill) == {
        "type": "object",
        "properties": {"v": schema},
        "required": ["v"],
        "additionalProperties": False,
    }
    call = house.tool(house.turn(agent), skill, {"v": value})
    assert (call["status"], call["result"]) == ("completed", text)


@pytest.mark.parametrize(
    ("sql_type", "value", "sqlstate"),
    [
        ("public.percentage", 101, "23514"),
        ("public.pair", [1], "23514"),
        ("date", "2026-02-30", "22008"),
        ("smallint", 40000, "22003"),
        ("uuid", "not-a-uuid", "22P02"),
    ],
)
def test_a_value_that_its_type_refuses_is_told_to_the_model(
    house: House, sql_type: str, value: object, sqlstate: str
) -> None:
    agent = house.agent()
    skill = house.function_skill(agent, f"f(v {sql_type}) returns text language sql return v::text")
    turn = house.turn(agent)
    call = house.tool(turn, skill, {"v": value})
    reason = call.get("reason") or call["result"]
    assert (call["status"], reason.startswith(sqlstate)) in [
        ("failed", True),
        ("invalid_arguments", False),
    ]
    assert house.run(turn)["messages"][-1]["is_error"] is True


@pytest.mark.parametrize(
    ("definition", "arguments", "result"),
    [
        ("f() returns void language sql as 'select'", {}, None),
        ("f() returns int language sql return null::int", {}, None),
        ("f() returns text language sql return 'words'", {}, "words"),
        ("f() returns jsonb language sql return '{\"a\": [1]}'::jsonb", {}, {"a": [1]}),
        ("f() returns int[] language sql return array[1, 2]", {}, [1, 2]),
        ("f() returns setof int language sql as 'select generate_series(1, 3)'", {}, [1, 2, 3]),
        ("f() returns setof int language sql as 'select 1 where false'", {}, []),
        (
            "f() returns table (a int, b text) language sql as $$values (1, 'x'), (2, 'y')$$",
            {},
            [{"a": 1, "b": "x"}, {"a": 2, "b": "y"}],
        ),
        (
            "f() returns public.point2 language sql as $$select (1, 'a')::public.point2$$",
            {},
            {"x": 1, "label": "a"},
        ),
        (
            "f(a int, out b int, out c text) language sql as $$select a + 1, 'z'$$",
            {"a": 1},
            {"b": 2, "c": "z"},
        ),
        ("f(inout a int) language sql as 'select a + 1'", {"a": 1}, 2),
        ("f(out b int, a int) language sql as 'select a + 1'", {"a": 1}, 2),
        (
            "f(variadic a int[]) returns int language sql as 'select cardinality(a)'",
            {"a": [1, 2]},
            2,
        ),
        (
            "f(a text, variadic b text[]) returns text language sql as 'select a || b[1]'",
            {"a": "x", "b": ["y"]},
            "xy",
        ),
    ],
)
def test_every_kind_of_function_can_be_called(
    house: House, definition: str, arguments: dict[str, Any], result: object
) -> None:
    agent = house.agent()
    skill = house.function_skill(agent, definition)
    call = house.tool(house.turn(agent), skill, arguments)
    assert call["status"] == "completed"
    # text is given to the model as it is, anything else as JSON
    shown = call["result"] if isinstance(result, str) else json.loads(call["result"])
    assert shown == result


def test_of_many_rows_the_model_sees_the_first_and_is_told_that_there_are_more(
    house: House,
) -> None:
    agent = house.agent()
    skill = house.function_skill(
        agent, "f(n int) returns setof int language sql as 'select generate_series(1, n)'"
    )
    turn = house.turn(agent)
    assert house.tool(turn, skill, {"n": 100})["result"].count(",") == 99
    result = house.tool(turn, skill, {"n": 5000})["result"]
    assert "there are more rows" in result
    assert "102" not in result


def test_names_that_need_quotes_are_quoted(house: House) -> None:
    agent = house.agent()
    house.rows('create schema if not exists "My Schema"')
    house.rows('grant usage on schema "My Schema" to pgagentos_agent')
    house.rows(
        'create function "My Schema"."My Function"("a b" int, "select" int) returns int'
        ' language sql return "a b" + "select"'
    )
    oid = house.one("select oid from pg_proc where proname = 'My Function'")
    house.call("aos_skills.register_function", oid, name="quoted", description="Adds.")
    house.call("aos_agent.grant_skill", agent.name, "quoted")
    call = house.tool(house.turn(agent), "quoted", {"a b": 1, "select": 2})
    assert call["result"] == "3"


def test_arguments_with_defaults_need_not_be_given(house: House) -> None:
    agent = house.agent()
    skill = house.function_skill(
        agent,
        "f(a int, b int default 10, c int default 100) returns int language sql return a + b + c",
    )
    assert parameters(house, skill)["required"] == ["a"]
    turn = house.turn(agent)
    assert house.tool(turn, skill, {"a": 1})["result"] == "111"
    assert house.tool(turn, skill, {"a": 1, "c": 2})["result"] == "13"
    assert house.tool(turn, skill, {"b": 1})["status"] == "invalid_arguments"


def test_the_comment_describes_the_skill_and_its_arguments(house: House) -> None:
    house.rows(
        "create function public.weather(city text, days int default"
        " 1) returns text language sql return city"
    )
    house.rows(
        "comment on function public.weather is 'Forecasts the weather.\n"
        "@param city: where, for example Seoul\n@param days: how many days'"
    )
    skill_id = house.call(
        "aos_skills.register_function", house.one("select 'public.weather'::regproc::oid")
    )
    assert house.rows(
        "select skill_id, name, description, implementation, function_name, approval, tenant_id"
        " from aos_skills.skill where name = 'weather'"
    ) == [
        (skill_id, "weather", "Forecasts the weather.", "sql_function",
         "public.weather(text,integer)", "auto", None)
    ]  # fmt: skip
    assert parameters(house, "weather")["properties"] == {
        "city": {"type": "string", "description": "where, for example Seoul"},
        "days": {"type": "integer", "description": "how many days"},
    }


def test_name_description_approval_and_tenant_can_be_given(house: House) -> None:
    tenant = house.tenant()
    skill = house.function_skill(
        None,
        "f() returns int language sql return 1",
        name="renamed",
        description="As I say.",
        approval="ask",
        tenant_id=tenant,
    )
    found = house.rows(
        "select description, approval, tenant_id from aos_skills.skill where name = %s", skill
    )
    assert found == [("As I say.", "ask", tenant)]


def test_the_kernel_fills_in_the_context_and_models_do_not_see_it(house: House) -> None:
    agent = house.agent()
    skill = house.function_skill(
        agent,
        "f(context_tenant_id uuid, a int, context_conversation_id"
        " uuid, context_turn_id uuid default null)"
        " returns text language sql return context_tenant_id::text || ' ' ||"
        " context_conversation_id::text || ' ' || context_turn_id::text || ' ' || a::text",
    )
    assert parameters(house, skill)["properties"] == {"a": {"type": "integer"}}
    assert parameters(house, skill)["required"] == ["a"]
    turn = house.turn(agent)
    conversation = house.one("select conversation_id from aos_core.run where run_id = %s", turn)
    call = house.tool(turn, skill, {"a": 1})
    assert call["result"] == f"{agent.tenant_id} {conversation} {turn} 1"


def test_a_model_cannot_fill_in_the_context_itself(house: House) -> None:
    agent = house.agent()
    skill = house.function_skill(
        agent, "f(context_tenant_id uuid) returns text language sql return context_tenant_id::text"
    )
    call = house.tool(house.turn(agent), skill, {"context_tenant_id": str(house.tenant())})
    assert call["status"] == "invalid_arguments"


def test_registering_again_renews_the_skill_and_keeps_its_identity(house: House) -> None:
    agent = house.agent()
    skill = house.function_skill(agent, "f(a int) returns int language sql return a")
    before = house.one("select skill_id from aos_skills.skill where name = %s", skill)
    house.rows(f"drop function public.{skill}(int)")
    house.rows(f"create function public.{skill}(b text) returns text language sql return b")
    house.rows("update aos_skills.skill set is_active = false where name = %s", skill)
    oid = house.one("select oid from pg_proc where proname = %s", skill)
    after = house.call("aos_skills.register_function", oid, description="New.")
    assert after == before
    assert parameters(house, skill)["properties"] == {"b": {"type": "string"}}
    assert house.tool(house.turn(agent), skill, {"b": "x"})["result"] == "x"


def test_a_tenants_registration_leaves_the_shared_skill_alone(house: House) -> None:
    tenant = house.tenant()
    first = house.function_skill(None, "f() returns int language sql return 1")
    second = house.function_skill(
        None, "f() returns int language sql return 2", name=first, tenant_id=tenant
    )
    assert second == first
    found = house.rows(
        "select tenant_id is null from aos_skills.skill where name = %s order by 1", first
    )
    assert found == [(False,), (True,)]


def test_overloads_are_skills_of_their_own_under_different_names(house: House) -> None:
    agent = house.agent()
    house.rows("create function public.twice(v int) returns int language sql return v * 2")
    house.rows("create function public.twice(v text) returns text language sql return v || v")
    for signature, name in (
        ("public.twice(int)", "twice_number"),
        ("public.twice(text)", "twice_text"),
    ):
        oid = house.one("select %s::regprocedure::oid", signature)
        house.call("aos_skills.register_function", oid, name=name, description="Doubles.")
        house.call("aos_agent.grant_skill", agent.name, name)
    turn = house.turn(agent)
    assert house.tool(turn, "twice_number", {"v": 4})["result"] == "8"
    assert house.tool(turn, "twice_text", {"v": "4"})["result"] == "44"


def test_it_refuses_arguments_without_a_name(house: House) -> None:
    with house.refused("OS001", "2 argument.s. without a name"):
        house.function_skill(None, "f(int, int) returns int language sql return $1")


def test_it_refuses_a_function_without_a_description(house: House) -> None:
    house.rows("create function public.undescribed() returns int language sql return 1")
    oid = house.one("select 'public.undescribed'::regproc::oid")
    for comment in ("null", "'@param a: only this'"):
        house.rows(f"comment on function public.undescribed() is {comment}")
        with house.refused("OS001", "has no description") as refusal:
            house.call("aos_skills.register_function", oid)
        assert "COMMENT ON FUNCTION public.undescribed()" in refusal.hint


@pytest.mark.parametrize(
    "definition",
    [
        "procedure public.not_a_function() language sql as 'select 1'",
        "aggregate public.not_a_function(int) (sfunc = int4pl, stype = int)",
    ],
)
def test_it_refuses_what_is_not_a_function(house: House, definition: str) -> None:
    house.rows(f"create {definition}")
    oid = house.one("select 'public.not_a_function'::regproc::oid")
    with house.refused("OS001", "is not a function"):
        house.call("aos_skills.register_function", oid, description="x")
    house.rows("drop routine public.not_a_function")


@pytest.mark.parametrize(
    ("definition", "what"),
    [
        ("f(a anyelement) returns int language sql as 'select 1'", "anyelement"),
        ("f() returns trigger language plpgsql as 'begin return new; end'", "trigger"),
        ("f() returns event_trigger language plpgsql as 'begin end'", "event_trigger"),
    ],
)
def test_it_refuses_what_no_model_could_call(house: House, definition: str, what: str) -> None:
    with house.refused("OS001", f"it takes or returns {what}"):
        house.function_skill(None, definition)


def test_it_refuses_names_that_no_provider_takes(house: House) -> None:
    with house.refused("23514", "skill_name_fits_every_provider"):
        house.function_skill(None, "f() returns int language sql return 1", name="with space")


def test_it_warns_of_a_function_that_would_not_find_its_tables(house: House) -> None:
    warnings: list[str] = []
    house.connection.add_notice_handler(lambda d: warnings.append(d.message_primary or ""))
    house.function_skill(None, "f() returns int language sql as 'select 1'")
    assert len(warnings) == 1
    assert "has no search_path of its own" in warnings[0]
    house.function_skill(
        None, "f() returns int language sql set search_path = public as 'select 1'"
    )
    house.function_skill(None, "f() returns int language sql return 1")
    assert len(warnings) == 1
