"""Tools for models that cannot call them (tool mode json_schema)."""

from __future__ import annotations

from typing import Any

import pytest

from pgagentos.providers import openai_chat
from pgagentos.providers.base import ChatReply, Endpoint, Message
from unit.providers.conversation import WEATHER, assistant, read, result, sent, stored, user

ENDPOINT = Endpoint(
    "local",
    "openai_chat",
    "http://127.0.0.1:8080/v1",
    options={"tool_mode": "json_schema"},
)


def body(*messages: Message, **more: Any) -> dict[str, Any]:
    more.setdefault("tools", (WEATHER,))
    return sent(openai_chat, ENDPOINT, *messages, model="qwen", **more)


def reply(content: str | None, finish: str = "stop") -> ChatReply:
    choice = {"message": {"role": "assistant", "content": content}, "finish_reason": finish}
    return read(openai_chat, ENDPOINT, {"id": "r1", "choices": [choice]})


def branches(made: dict[str, Any]) -> list[list[str]]:
    choices = made["response_format"]["json_schema"]["schema"]["anyOf"]
    return [choice["required"] for choice in choices]


def test_tools_are_described_and_not_declared() -> None:
    made = body(user("q"), system="Be kind.", capabilities={"tools": False})
    assert not {"tools", "tool_choice"} & set(made)
    prompt = made["messages"][0]["content"]
    assert prompt.startswith("Be kind.\n\n")
    assert '"name":"get_weather"' in prompt
    assert '"city"' in prompt


def test_the_reply_is_constrained_to_a_call_or_an_answer() -> None:
    made = body(user("q"))
    assert branches(made) == [["name", "arguments"], ["answer"]]
    call = made["response_format"]["json_schema"]["schema"]["anyOf"][0]
    assert call["properties"]["name"] == {"const": "get_weather"}
    assert call["properties"]["arguments"] == dict(WEATHER.parameters)


def test_a_required_call_leaves_no_room_for_an_answer() -> None:
    made = body(user("q"), tool_choice="required")
    assert branches(made) == [["name", "arguments"]]
    assert "answer" not in made["messages"][0]["content"]


def test_without_tools_or_with_none_allowed_nothing_is_constrained() -> None:
    assert "response_format" not in body(user("q"), tools=())
    free = body(user("q"), tool_choice="none", system="s")
    assert "response_format" not in free
    assert free["messages"][0] == {"role": "system", "content": "s"}


def test_a_structured_answer_stands_in_the_answer() -> None:
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}}
    made = body(user("q"), params={"response_schema": schema})
    answer = made["response_format"]["json_schema"]["schema"]["anyOf"][1]
    assert answer["properties"]["answer"] == schema
    assert reply('{"answer": {"n": 1}}').content == '{"n":1}'


def test_calls_and_results_of_the_history_are_text() -> None:
    made = body(
        user("q"),
        assistant("", ("a", "get_weather", {"city": "서울"}), ("b", "get_weather", {"city": "x"})),
        result("a", "12"),
        result("b", "no such city", is_error=True),
        assistant("12 degrees"),
        user("q2"),
    )
    assert [(message["role"], message["content"]) for message in made["messages"][1:]] == [
        ("user", "q"),
        (
            "assistant",
            '{"name":"get_weather","arguments":{"city":"서울"}}\n'
            '{"name":"get_weather","arguments":{"city":"x"}}',
        ),
        ("user", "Result of get_weather: 12"),
        ("user", "Error of get_weather: no such city"),
        ("assistant", '{"answer":"12 degrees"}'),
        ("user", "q2"),
    ]


@pytest.mark.parametrize(
    "text",
    [
        '{"name": "get_weather", "arguments": {"city": "Seoul"}}',
        ' {"name":"get_weather","parameters":{"city":"Seoul"}}\n',
        'Let me look.\n```json\n{"name": "get_weather", "arguments": {"city": "Seoul"}}\n```',
        '```\n{"name": "get_weather",\n "arguments": {"city": "Seoul"}}\n```\nDone.',
        '<tool_call>\n{"name": "get_weather", "arguments": {"city": "Seoul"}}\n</tool_call>',
    ],
)
def test_a_call_is_understood_bare_fenced_and_tagged(text: str) -> None:
    made = reply(text)
    (call,) = made.tool_calls
    assert call.name == "get_weather"
    assert call.arguments in ('{"city":"Seoul"}', '{"city": "Seoul"}')
    assert (made.content, made.finish_reason) == ("", "tool_calls")


def test_several_calls_have_ids_of_their_own() -> None:
    line = '{"name":"get_weather","arguments":{}}'
    made = reply(f"{line}\n{line}")
    assert len({call.call_id for call in made.tool_calls}) == 2
    assert made == reply(f"{line}\n{line}")


def test_an_answer_is_unwrapped() -> None:
    made = reply('{"answer": "12 degrees"}')
    assert (made.content, made.tool_calls, made.finish_reason) == ("12 degrees", (), "stop")


@pytest.mark.parametrize(
    "text",
    [
        "plain text",
        '{"name": "x"}',
        '{"city": "Seoul"}',
        "```json\n{}\n```",
        '{"answer": 1, "b": 2}',
    ],
)
def test_what_is_neither_stays_the_text_that_it_is(text: str) -> None:
    made = reply(text)
    assert (made.content, made.tool_calls) == (text, ())


def test_edge_17_a_call_that_was_cut_off_is_length() -> None:
    made = reply('{"name": "get_weather", "arguments": {"ci')
    assert (made.tool_calls, made.finish_reason) == ((), "length")
    whole = reply('{"name": "get_weather", "arguments": {}}', "length")
    assert whole.finish_reason == "length"


def test_an_empty_reply_stays_empty() -> None:
    assert reply(None).content == ""


def test_a_call_survives_the_store_and_comes_back_as_the_model_wrote_it() -> None:
    text = '{"name":"get_weather","arguments":{"city":"Seoul"}}'
    made = reply(text)
    history = body(user("q"), stored(made), result(made.tool_calls[0].call_id, "12"))["messages"]
    assert history[2] == {"role": "assistant", "content": text}


def test_a_server_that_calls_natively_all_the_same_is_understood() -> None:
    call = {"id": "call_abcdefgh", "function": {"name": "f", "arguments": "{}"}}
    choice = {"message": {"content": None, "tool_calls": [call]}, "finish_reason": "tool_calls"}
    made = read(openai_chat, ENDPOINT, {"id": "r1", "choices": [choice]})
    assert made.tool_calls[0].call_id == "call_abcdefgh"


def test_json_in_the_text_of_a_model_with_native_tools_is_no_call() -> None:
    native = Endpoint("local", "openai_chat", "http://127.0.0.1:8080/v1")
    text = '{"name": "get_weather", "arguments": {}}'
    choice = {"message": {"content": text}, "finish_reason": "stop"}
    made = read(openai_chat, native, {"id": "r1", "choices": [choice]})
    assert (made.content, made.tool_calls) == (text, ())
