"""The skills memory_store and memory_recall, without an embedding model."""

from __future__ import annotations

import json
from uuid import UUID

from house import House


def store(house: House, turn: UUID, key: str, content: str) -> None:
    call = house.tool(turn, "memory_store", {"key": key, "content": content})
    assert (call["status"], json.loads(call["result"])) == ("completed", {"stored": key})


def recall(house: House, turn: UUID, query: str | None = None) -> list[str]:
    arguments = {} if query is None else {"query": query}
    call = house.tool(turn, "memory_recall", arguments)
    assert call["status"] == "completed"
    return [memory["key"] for memory in json.loads(call["result"])]


def test_what_was_stored_is_recalled(house: House) -> None:
    turn = house.turn(house.agent(max_model_calls=100))
    store(house, turn, "colour", "파란색을 좋아한다")
    call = house.tool(turn, "memory_recall")
    assert json.loads(call["result"]) == [{"key": "colour", "content": "파란색을 좋아한다"}]


def test_the_same_key_again_replaces_the_fact(house: House) -> None:
    turn = house.turn(house.agent(max_model_calls=100))
    store(house, turn, "colour", "blue")
    store(house, turn, "colour", "green")
    call = house.tool(turn, "memory_recall")
    assert json.loads(call["result"]) == [{"key": "colour", "content": "green"}]


def test_the_best_match_comes_first_and_without_a_query_the_latest(house: House) -> None:
    turn = house.turn(house.agent(max_model_calls=100))
    store(house, turn, "colour", "likes blue")
    store(house, turn, "city", "lives in Seoul")
    store(house, turn, "pet", "has a blue parrot in Seoul")
    assert recall(house, turn) == ["pet", "city", "colour"]
    assert recall(house, turn, "COLOUR") == ["colour", "pet", "city"]
    assert recall(house, turn, "blue seoul")[0] == "pet"
    assert recall(house, turn, "") == ["pet", "city", "colour"]


def test_a_conversation_does_not_see_what_another_one_remembers(house: House) -> None:
    agent = house.agent(max_model_calls=100)
    store(house, house.turn(agent), "secret", "42")
    assert recall(house, house.turn(agent)) == []


def test_later_turns_of_the_conversation_remember(house: House) -> None:
    conversation = house.conversation(house.agent(max_model_calls=100))
    house.say(conversation)
    turn = house.start(conversation)
    store(house, turn, "colour", "blue")
    house.finish(turn)
    house.say(conversation)
    assert recall(house, house.start(conversation)) == ["colour"]


def test_at_most_twenty_facts_are_recalled(house: House) -> None:
    turn = house.turn(house.agent(max_model_calls=100))
    for number in range(25):
        store(house, turn, f"fact{number}", "x")
    assert len(recall(house, turn)) == 20


def test_a_fact_needs_a_key_and_a_content(house: House) -> None:
    turn = house.turn(house.agent(max_model_calls=100))
    assert house.tool(turn, "memory_store", {"key": "a"})["status"] == "invalid_arguments"
    call = house.tool(turn, "memory_store", {"key": "", "content": "x"})
    assert call["status"] == "failed"
    assert "session_memory_key_is_not_empty" in call["result"]


def test_the_row_knows_its_conversation_and_tenant(house: House) -> None:
    agent = house.agent()
    turn = house.turn(agent)
    store(house, turn, "colour", "blue")
    found = house.rows(
        "select m.tenant_id, m.embedding is null from aos_core.session_memory m"
        " join aos_core.run r using (conversation_id) where r.run_id = %s",
        turn,
    )
    assert found == [(agent.tenant_id, True)]
