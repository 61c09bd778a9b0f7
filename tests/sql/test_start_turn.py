"""aos_agent.start_turn."""

from __future__ import annotations

import threading
from uuid import uuid4

import psycopg
import pytest

from cluster import Database
from house import House


def test_a_turn_takes_the_messages_that_no_turn_has_answered(house: House) -> None:
    conversation = house.conversation()
    house.say(conversation, "first")
    house.say(conversation, "second")
    turn = house.start(conversation)
    taken = house.rows(
        "select content from aos_agent.message where run_id = %s order by message_no", turn
    )
    assert taken == [("first",), ("second",)]


def test_a_message_that_is_added_meanwhile_belongs_to_the_next_turn(house: House) -> None:
    conversation = house.conversation()
    house.say(conversation, "first")
    turn = house.start(conversation)
    house.say(conversation, "meanwhile")
    assert [m["content"] for m in house.run(turn)["messages"]] == ["first"]
    house.finish(turn, "answer")
    following = house.start(conversation)
    said = [m["content"] for m in house.run(following)["messages"]]
    assert said == ["first", "answer", "meanwhile"]


def test_turns_of_a_conversation_are_counted(house: House) -> None:
    conversation = house.conversation()
    for number in (1, 2, 3):
        house.say(conversation)
        turn = house.start(conversation)
        assert house.one("select turn_no from aos_core.run where run_id = %s", turn) == number
        house.finish(turn)


def test_it_refuses_a_conversation_with_an_unfinished_turn_and_names_it(house: House) -> None:
    turn = house.turn()
    conversation = house.one("select conversation_id from aos_core.run where run_id = %s", turn)
    house.say(conversation)
    with house.refused("OS003", f"turn {turn} of this conversation is not finished") as refusal:
        house.start(conversation)
    assert f"run_turn('{turn}')" in refusal.hint
    assert f"cancel_turn('{turn}')" in refusal.hint


@pytest.mark.parametrize("end", ["finish", "cancel"])
def test_the_next_turn_starts_once_the_last_one_has_ended(house: House, end: str) -> None:
    turn = house.turn()
    conversation = house.one("select conversation_id from aos_core.run where run_id = %s", turn)
    house.say(conversation)
    if end == "finish":
        house.finish(turn)
    else:
        house.call("aos_agent.cancel_turn", turn)
    assert house.start(conversation) != turn


def test_it_refuses_a_conversation_without_a_new_message(house: House) -> None:
    conversation = house.conversation()
    with house.refused("OS003", "no new message") as refusal:
        house.start(conversation)
    assert "add_user_message" in refusal.hint
    house.say(conversation)
    house.finish(house.start(conversation))
    with house.refused("OS003", "no new message"):
        house.start(conversation)
    assert (
        house.one("select count(*) from aos_core.run where conversation_id = %s", conversation) == 1
    )


def test_it_refuses_an_unknown_conversation(house: House) -> None:
    for unknown in (uuid4(), None):
        with house.refused("OS002", "there is no conversation"):
            house.call("aos_agent.start_turn", unknown)


@pytest.mark.parametrize(
    ("table", "what"),
    [
        ("aos_agent.agent", "agent"),
        ("aos_auth.tenant", "agent"),
        ("aos_meta.llm_model_registry", "model"),
    ],
)
def test_it_refuses_what_is_not_active(house: House, table: str, what: str) -> None:
    model = house.insert(
        "aos_meta.llm_model_registry",
        "model_id",
        model_name=f"model of {table}",
        provider="openai",
        context_window=1000,
    )
    tenant = house.tenant()
    agent = house.agent(tenant, house.persona(tenant, model_id=model))
    conversation = house.conversation(agent)
    house.say(conversation)
    key, value = {
        "aos_agent.agent": ("agent_id", agent.agent_id),
        "aos_auth.tenant": ("tenant_id", tenant),
        "aos_meta.llm_model_registry": ("model_id", model),
    }[table]
    house.rows(f"update {table} set is_active = false where {key} = %s", value)
    with house.refused("OS003", f"{what} .* is not active") as refusal:
        house.start(conversation)
    assert "is_active" in refusal.hint


def test_without_a_key_the_turn_is_driven_from_outside_and_says_why(house: House) -> None:
    turn = house.turn(house.agent(runner="auto"))
    payload = house.run(turn)
    assert payload["status"] == "awaiting_model"
    assert payload["reason"] == "the database has no key for provider openai"


def test_a_provider_that_wants_no_key_is_called_by_the_database(house: House) -> None:
    tenant = house.tenant()
    persona = house.persona(tenant, model_id=house.model("qwen2.5-coder-1.5b"))
    turn = house.turn(house.agent(tenant, persona, runner="auto"))
    found = house.rows(
        "select runner, status, waiting_reason from aos_core.run where run_id = %s", turn
    )
    assert found == [("database", "queued", None)]


@pytest.mark.parametrize(
    ("runner", "status"), [("database", "queued"), ("external", "awaiting_model")]
)
def test_the_agent_says_who_drives(house: House, runner: str, status: str) -> None:
    turn = house.turn(house.agent(runner=runner))
    found = house.rows("select runner, status from aos_core.run where run_id = %s", turn)
    assert found == [(runner, status)]


def test_the_start_of_a_turn_is_logged(house: House) -> None:
    assert house.events(house.turn()) == ["turn_started"]


def test_a_second_caller_waits_and_then_finds_the_turn_of_the_first(
    house: House, database: Database
) -> None:
    conversation = house.conversation()
    house.say(conversation)
    errors: list[psycopg.Error] = []

    with database.connect() as first, database.connect() as second:
        pid = second.info.backend_pid

        def start_second() -> None:
            try:
                House(second).start(conversation)
            except psycopg.Error as error:
                errors.append(error)

        with first.transaction():
            turn = House(first).start(conversation)
            waiting = threading.Thread(target=start_second)
            waiting.start()
            while not house.one("select cardinality(pg_blocking_pids(%s))", pid):
                assert waiting.is_alive()
        waiting.join()

    assert [error.sqlstate for error in errors] == ["OS003"]
    assert str(turn) in str(errors[0])
    assert (
        house.one("select count(*) from aos_core.run where conversation_id = %s", conversation) == 1
    )
