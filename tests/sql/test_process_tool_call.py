"""aos_agent.process_tool_call: what a worker is told about a call that the model wants."""

from __future__ import annotations

from uuid import UUID, uuid4

import pytest
from psycopg.types.json import Jsonb

from house import House

SCHEMA = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "days": {"type": "integer", "minimum": 1}},
    "required": ["city"],
    "additionalProperties": False,
}


def test_a_skill_that_a_worker_runs_is_approved(house: House) -> None:
    agent = house.agent()
    skill = house.skill(agent, parameters=SCHEMA)
    turn = house.turn(agent)
    call = house.tool(turn, skill, {"city": "Seoul"})
    step_id = UUID(call["step_id"])
    assert call == {"status": "approved", "step_id": str(step_id), "call_id": call["call_id"]}
    assert house.steps(turn) == [("model", "completed"), ("tool", "awaiting_result")]
    assert house.status(turn) == "awaiting_tool"
    found = house.rows(
        "select step_id, model_step_no, tool_name, arguments, call_id from aos_core.step"
        " where run_id = %s and kind = 'tool'",
        turn,
    )
    assert found == [(step_id, 1, skill, {"city": "Seoul"}, call["call_id"])]


def test_a_skill_that_lives_in_the_database_is_run_at_once(house: House) -> None:
    agent = house.agent()
    skill = house.function_skill(agent, "f(a int, b int) returns int language sql return a + b")
    turn = house.turn(agent)
    call = house.tool(turn, skill, {"a": 2, "b": 3})
    assert (call["status"], call["result"]) == ("completed", "5")
    payload = house.run(turn)
    assert payload["status"] == "awaiting_model"
    assert payload["messages"][-1] == {"role": "tool", "call_id": call["call_id"], "content": "5"}


def test_what_a_database_skill_did_is_undone_when_it_fails(house: House) -> None:
    house.rows("create table if not exists public.notes (note text)")
    house.rows("grant insert on public.notes to pgagentos_agent")
    agent = house.agent()
    skill = house.function_skill(
        agent,
        "f() returns int language plpgsql set search_path = public as "
        "'begin insert into notes values (''half''); return 1 / 0; end'",
    )
    turn = house.turn(agent)
    call = house.tool(turn, skill)
    assert (call["status"], call["result"]) == ("failed", "22012: division by zero")
    assert house.one("select count(*) from public.notes") == 0
    assert house.steps(turn, "kind, status, error") == [
        ("model", "completed", None),
        ("tool", "failed", {"message": "22012: division by zero"}),
    ]
    message = house.run(turn)["messages"][-1]
    assert (message["role"], message["is_error"]) == ("tool", True)


def test_a_call_that_needs_a_person_waits(house: House) -> None:
    agent = house.agent()
    skill = house.skill(agent, approval="ask")
    turn = house.turn(agent)
    call = house.tool(turn, skill, {"to": "all"})
    assert call["status"] == "awaiting_approval"
    assert house.status(turn) == "awaiting_approval"
    [pending] = house.run(turn)["pending"]
    assert (pending["step_id"], pending["status"]) == (call["step_id"], "awaiting_approval")
    assert (
        house.one(
            "select tool_name from aos_agent.pending_approval where step_id = %s", call["step_id"]
        )
        == skill
    )


def test_a_skill_that_is_never_allowed_is_denied(house: House) -> None:
    agent = house.agent()
    skill = house.skill(agent, approval="never")
    turn = house.turn(agent)
    call = house.tool(turn, skill)
    assert call["status"] == "denied"
    assert "may not be used" in call["reason"]
    assert house.steps(turn)[-1] == ("tool", "rejected")
    assert house.run(turn)["messages"][-1]["is_error"] is True


def test_an_unknown_tool_is_told_to_the_model(house: House) -> None:
    turn = house.turn()
    call = house.tool(turn, "no_such_tool")
    assert call["status"] == "unknown_tool"
    assert "no_such_tool" in call["reason"]
    payload = house.run(turn)
    assert payload["status"] == "awaiting_model"
    assert payload["messages"][-1]["content"] == call["reason"]


def test_a_skill_of_another_tenant_is_unknown(house: House) -> None:
    other = house.agent()
    skill = house.skill(tenant_id=other.tenant_id)
    house.call("aos_agent.grant_skill", other.name, skill)
    assert house.tool(house.turn(), skill)["status"] == "unknown_tool"
    assert house.tool(house.turn(other), skill)["status"] == "approved"


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ({}, "city"),
        ({"city": 1}, "city must be string"),
        ({"city": "Seoul", "days": 0}, "days must be bigger than or equal to 1"),
        ({"city": "Seoul", "mayor": "?"}, "mayor"),
        (["Seoul"], "must be one JSON object"),
        ("Seoul", "must be one JSON object"),
    ],
)
def test_arguments_that_do_not_fit_the_schema_are_told_to_the_model(
    house: House, arguments: object, reason: str
) -> None:
    agent = house.agent()
    skill = house.skill(agent, parameters=SCHEMA)
    turn = house.turn(agent)
    call = house.tool(turn, skill, arguments)
    assert call["status"] == "invalid_arguments"
    assert reason in call["reason"]
    payload = house.run(turn)
    assert payload["status"] == "awaiting_model"
    assert payload["messages"][-1]["is_error"] is True
    assert payload["messages"][-2]["tool_calls"][0]["arguments"] == arguments


@pytest.mark.parametrize("what", ["tool", "arguments"])
def test_it_refuses_nulls(house: House, what: str) -> None:
    turn = house.turn()
    given = ("web_search", None) if what == "arguments" else (None, Jsonb({}))
    with house.refused("OS001", "must not be null"):
        house.call("aos_agent.process_tool_call", turn, *given)


def test_asking_again_under_the_same_call_id_changes_nothing(house: House) -> None:
    house.rows("create table if not exists public.counted (at timestamptz default now())")
    house.rows("grant select, insert on public.counted to pgagentos_agent")
    agent = house.agent()
    skill = house.function_skill(
        agent,
        "f() returns bigint language sql as 'insert into public.counted default values;"
        " select count(*) from public.counted'",
    )
    turn = house.turn(agent)
    first = house.tool(turn, skill, call_id="c1")
    before = house.steps(turn, "step_id, status, finished_at")
    assert house.tool(turn, skill, call_id="c1") == first
    assert first["result"] == "1"
    assert house.steps(turn, "step_id, status, finished_at") == before
    assert house.one("select model_calls from aos_core.run where run_id = %s", turn) == 1


def test_asking_again_tells_how_the_call_stands_now(house: House) -> None:
    agent = house.agent()
    skill = house.skill(agent)
    turn = house.turn(agent)
    house.tool(turn, skill, call_id="c1")
    assert house.tool(turn, skill, call_id="c1")["status"] == "approved"
    house.result(turn, skill, {"found": 1}, call_id="c1")
    again = house.tool(turn, skill, call_id="c1")
    assert (again["status"], again["result"]) == ("completed", '{"found": 1}')


def test_calls_that_come_while_another_is_open_belong_to_the_same_reply(house: House) -> None:
    agent = house.agent()
    skill = house.skill(agent)
    turn = house.turn(agent)
    for number in (1, 2, 3):
        house.tool(turn, skill, {"n": number}, call_id=f"c{number}")
    assert house.steps(turn, "kind, model_step_no, call_id") == [
        ("model", None, None),
        ("tool", 1, "c1"),
        ("tool", 1, "c2"),
        ("tool", 1, "c3"),
    ]
    assert house.one("select model_calls from aos_core.run where run_id = %s", turn) == 1
    # results may come in any order
    for call_id in ("c3", "c1", "c2"):
        house.result(turn, skill, f"result of {call_id}", call_id=call_id)
    messages = house.run(turn)["messages"]
    assert [c["call_id"] for c in messages[1]["tool_calls"]] == ["c1", "c2", "c3"]
    assert [(m["call_id"], m["content"]) for m in messages[2:]] == [
        (f"c{n}", f"result of c{n}") for n in (1, 2, 3)
    ]


def test_a_call_after_all_results_belongs_to_a_new_reply(house: House) -> None:
    agent = house.agent()
    skill = house.skill(agent)
    turn = house.turn(agent)
    for _ in range(2):
        house.tool(turn, skill)
        house.result(turn, skill)
    assert house.steps(turn, "kind, step_no, model_step_no") == [
        ("model", 1, None),
        ("tool", 2, 1),
        ("model", 3, None),
        ("tool", 4, 3),
    ]


def test_calls_without_an_id_get_one_that_is_unique_in_the_turn(house: House) -> None:
    agent = house.agent()
    skill = house.skill(agent)
    turn = house.turn(agent)
    ids = [house.tool(turn, skill)["call_id"] for _ in range(4)]
    assert len(set(ids)) == 4


def test_an_id_that_the_worker_chose_is_not_given_again(house: House) -> None:
    agent = house.agent()
    skill = house.skill(agent)
    turn = house.turn(agent)
    chosen = ["call_3", "call_4", "call_5"]
    for call_id in chosen:
        house.tool(turn, skill, call_id=call_id)
    given = [house.tool(turn, skill)["call_id"] for _ in range(3)]
    assert len({*chosen, *given}) == 6


def test_the_last_model_call_may_not_ask_for_tools(house: House) -> None:
    agent = house.agent(max_model_calls=2)
    skill = house.skill(agent)
    turn = house.turn(agent)
    house.tool(turn, skill)
    house.result(turn, skill)
    with house.refused("OS003", "1 of its 2 model calls left, for the answer") as refusal:
        house.tool(turn, skill)
    assert "finish_turn" in refusal.hint
    house.finish(turn)
    assert house.one("select model_calls from aos_core.run where run_id = %s", turn) == 2


def test_parallel_calls_count_as_one_model_call(house: House) -> None:
    agent = house.agent(max_model_calls=2)
    skill = house.skill(agent)
    turn = house.turn(agent)
    for _ in range(3):
        assert house.tool(turn, skill)["status"] == "approved"


def test_the_setting_limits_agents_that_say_nothing_else(house: House) -> None:
    turn = house.turn()
    with house.connection.transaction(force_rollback=True):
        house.rows("update aos_meta.setting set value = '1' where name = 'max_model_calls'")
        with house.refused("OS003", "of its 1 model calls"), house.connection.transaction():
            house.tool(turn, "web_search", {"query": "x"})


def test_it_refuses_turns_that_have_ended(house: House) -> None:
    for end in ("aos_agent.finish_turn", "aos_agent.cancel_turn"):
        turn = house.turn()
        house.call(end, turn, *(["done"] if end.endswith("finish_turn") else []))
        with house.refused("OS003", "is already") as refusal:
            house.tool(turn, "web_search", {"query": "x"})
        assert "start_turn" in refusal.hint


def test_it_refuses_turns_that_the_database_runs(house: House) -> None:
    turn = house.turn(house.agent(runner="database"))
    with house.refused("OS003", "is run by the database") as refusal:
        house.tool(turn, "web_search", {"query": "x"})
    assert "external" in refusal.hint


def test_it_refuses_unknown_turns(house: House) -> None:
    with house.refused("OS002", "there is no turn"):
        house.tool(uuid4(), "web_search")


def test_a_broken_schema_of_a_skill_is_an_error_that_says_so(house: House) -> None:
    agent = house.agent()
    skill = house.skill(
        agent, parameters={"type": "object", "properties": {"a": {"type": "nonsense"}}}
    )
    with house.refused("OS001", "the JSON Schema of the skill cannot be used") as refusal:
        house.tool(house.turn(agent), skill, {"a": 1})
    assert "aos_skills.skill.parameters" in refusal.hint


def test_a_function_that_was_dropped_is_told_to_the_model(house: House) -> None:
    agent = house.agent()
    skill = house.function_skill(agent, "f() returns int language sql return 1")
    house.rows(f"drop function public.{skill}()")
    call = house.tool(house.turn(agent), skill)
    assert call["status"] == "failed"
    assert "does not exist any more" in call["result"]


def test_text_that_json_must_escape_goes_through_unharmed(house: House) -> None:
    agent = house.agent()
    skill = house.function_skill(agent, "f(a text) returns text language sql return a")
    text = 'back\\slash "quoted" \t\n 한글 🙂 </script> \u2028'
    call = house.tool(house.turn(agent), skill, {"a": text})
    assert call["result"] == text


def test_a_result_that_text_cannot_hold_is_cleaned(house: House) -> None:
    agent = house.agent()
    skill = house.function_skill(
        agent, """f() returns json language sql return '"a\\u0000b"'::json"""
    )
    call = house.tool(house.turn(agent), skill)
    assert (call["status"], call["result"]) == ("completed", "a\ufffdb")
