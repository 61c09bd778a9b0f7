"""The readable side: transcript, runs, steps; and the event log."""

from __future__ import annotations

import pytest

from house import House


def test_the_transcript_shows_both_sides_of_a_conversation_in_order(house: House) -> None:
    agent = house.agent()
    skill = house.skill(agent)
    conversation = house.conversation(agent)
    house.say(conversation, "question")
    turn = house.start(conversation)
    house.tool(turn, skill, {"a": 1}, call_id="c1")
    house.result(turn, skill, "found")
    house.finish(turn, "answer")
    house.say(conversation, "next")
    shown = house.rows(
        "select turn_no, step_no, role, tool_name, content from aos_agent.transcript"
        " where conversation_id = %s order by turn_no, step_no, message_no",
        conversation,
    )
    call = f'[{{"name": "{skill}", "call_id": "c1", "arguments": {{"a": 1}}}}]'
    assert shown == [
        (1, 0, "user", None, "question"),
        (1, 1, "assistant", None, call),
        (1, 2, "tool", skill, "found"),
        (1, 3, "assistant", None, "answer"),
        (None, 0, "user", None, "next"),
    ]


def test_runs_has_one_row_a_conversation(house: House) -> None:
    agent = house.agent()
    conversation = house.conversation(agent)
    for _ in range(2):
        house.say(conversation)
        house.finish(house.start(conversation))
    house.say(conversation)
    house.start(conversation)
    found = house.rows(
        "select tenant_id, turns, model_calls, input_tokens, cost, last_status from aos_core.runs"
        " where conversation_id = %s",
        conversation,
    )
    assert found == [(agent.tenant_id, 3, 2, 0, None, "awaiting_model")]


def test_steps_shows_thoughts_and_actions(house: House) -> None:
    agent = house.agent()
    skill = house.skill(agent)
    turn = house.turn(agent)
    house.tool(turn, skill, {"a": 1})
    house.result(turn, skill, "found")
    house.finish(turn, "answer")
    shown = house.rows(
        "select turn_no, step_no, kind, status, tool_name, arguments, content, duration is not null"
        " from aos_core.steps where run_id = %s order by step_no",
        turn,
    )
    assert shown == [
        (1, 1, "model", "completed", None, None, "", True),
        (1, 2, "tool", "completed", skill, {"a": 1}, "found", True),
        (1, 3, "model", "completed", None, None, "answer", True),
    ]


def test_a_turn_weighs_what_its_messages_take_of_a_prompt(house: House) -> None:
    agent = house.agent()
    skill = house.skill(agent)
    turn = house.turn(agent, "안녕")
    house.tool(turn, skill)
    house.result(turn, skill, "found")
    house.finish(turn, "answer")
    assert house.one(
        "select r.transcript_bytes = 6 + (select sum(octet_length(s.message::text))"
        " from aos_core.step s where s.run_id = r.run_id) from aos_core.run r where run_id = %s",
        turn,
    )


def test_the_event_log_says_who_did_what_and_never_what_was_said(house: House) -> None:
    agent = house.agent()
    skill = house.skill(agent, approval="ask")
    turn = house.turn(agent, "a secret question")
    step = house.tool(turn, skill, {"secret": "argument"})["step_id"]
    house.call("aos_agent.approve_tool_call", step, "a secret note")
    house.result(turn, skill, "a secret result")
    house.finish(turn, "a secret answer")
    assert house.events(turn) == [
        "turn_started",
        "approval_requested",
        "approval_decided",
        "turn_completed",
    ]
    log = house.one(
        "select jsonb_agg(to_jsonb(e))::text from aos_core.event_log e where run_id = %s", turn
    )
    assert "secret" not in log
    [[actors, tenants]] = house.rows(
        "select array_agg(distinct actor::text), array_agg(distinct tenant_id)"
        " from aos_core.event_log where run_id = %s",
        turn,
    )
    assert (actors, tenants) == ([house.one("select session_user::text")], [agent.tenant_id])


@pytest.mark.parametrize(
    "statement",
    [
        "update aos_core.event_log set event_type = 'x'",
        "delete from aos_core.event_log",
        "truncate aos_core.event_log",
    ],
)
def test_the_event_log_is_append_only(house: House, statement: str) -> None:
    turn = house.turn()
    with house.refused("OS003", "the event log is append-only"):
        house.rows(statement)
    assert house.events(turn) == ["turn_started"]


@pytest.mark.parametrize(
    "view",
    ["aos_agent.pending_approval", "aos_agent.transcript", "aos_core.runs", "aos_core.steps"],
)
def test_what_people_look_at_ends_with_the_tenant(house: House, view: str) -> None:
    columns = house.rows(
        "select attname from pg_attribute where attrelid = %s::regclass and attnum > 0"
        " order by attnum",
        view,
    )
    assert columns[-1] == ("tenant_id",)
