"""What the ollama driver makes of responses."""

from __future__ import annotations

from typing import Any

import pytest

from pgagentos.errors import ProviderError
from pgagentos.net.message import HttpResponse
from pgagentos.providers import ollama
from pgagentos.providers.base import ChatReply, Endpoint, Usage
from unit.providers.conversation import answer, read

ENDPOINT = Endpoint("ollama", "ollama", "http://127.0.0.1:11434")


def body(
    content: str = "", *calls: Any, reason: str | None = "stop", **more: Any
) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": content}
    if calls:
        message["tool_calls"] = list(calls)
    if "thinking" in more:
        message["thinking"] = more.pop("thinking")
    made: dict[str, Any] = {
        "model": "qwen3:8b",
        "created_at": "2026-11-23T12:00:00.123456Z",
        "message": message,
        "done": True,
        "prompt_eval_count": 26,
        "eval_count": 8,
        **more,
    }
    if reason is not None:
        made["done_reason"] = reason
    return made


def reply(content: str = "", *calls: Any, **more: Any) -> ChatReply:
    return read(ollama, ENDPOINT, body(content, *calls, **more))


def call(name: str = "f", arguments: Any = None, **more: Any) -> dict[str, Any]:
    return {"function": {"name": name, "arguments": {} if arguments is None else arguments}, **more}


def test_a_plain_answer_needs_no_vendor_blocks() -> None:
    assert reply("Hello") == ChatReply("Hello", usage=Usage(26, 8), model="qwen3:8b")


def test_edge_01_arguments_arrive_as_json_text_whatever_they_were() -> None:
    found = reply("", call("f", {"city": "서울"}), call("g", '{"a":1}'), call("h", ""))
    assert [made.arguments for made in found.tool_calls] == ['{"city":"서울"}', '{"a":1}', "{}"]


def test_edge_02_calls_get_ids_that_differ_within_and_between_replies() -> None:
    one = [made.call_id for made in reply("", call(), call()).tool_calls]
    again = [made.call_id for made in reply("", call(), call()).tool_calls]
    later = reply("", call(), call(), created_at="2026-11-23T12:00:01Z").tool_calls
    assert one == again
    assert len({*one, *[made.call_id for made in later]}) == 4


def test_edge_02_an_id_of_the_server_is_kept() -> None:
    found = reply("", call(id="call_k3j9x2ab"))
    assert found.tool_calls[0].call_id == "call_k3j9x2ab"


@pytest.mark.parametrize(
    ("reason", "expected"),
    [("stop", "stop"), (None, "stop"), ("length", "length"), ("load", "other"), ("new", "other")],
)
def test_edge_31_every_done_reason_has_a_meaning(reason: str | None, expected: str) -> None:
    assert reply("x", reason=reason).finish_reason == expected


def test_edge_16_an_empty_answer_is_a_reply_not_an_error() -> None:
    assert reply("", reason="length").finish_reason == "length"
    assert reply("").content == ""


def test_edge_17_a_cut_off_call_is_marked_as_cut_off() -> None:
    assert reply("", call(), reason="length").finish_reason == "length"


def test_edge_17_arguments_that_were_cut_off_are_noticed() -> None:
    assert reply("", call("f", '{"sql": "drop ta')).finish_reason == "length"


@pytest.mark.parametrize("reason", ["stop", None, "tool_calls"])
def test_edge_18_calls_count_whatever_the_done_reason_says(reason: str | None) -> None:
    assert reply("", call(), reason=reason).finish_reason == "tool_calls"


def test_thinking_is_kept_out_of_the_text() -> None:
    found = reply("Hi", thinking="hm")
    assert found.content == "Hi"
    assert found.vendor == {
        "driver": "ollama",
        "provider": "ollama",
        "model": "qwen3:8b",
        "thinking": "hm",
    }


# --- calls in the text ---------------------------------------------------------------------------

WEATHER_CALL = '{"name": "get_weather", "arguments": {"city": "Seoul"}}'


@pytest.mark.parametrize(
    "text",
    [
        WEATHER_CALL,
        f"```json\n{WEATHER_CALL}\n```",
        f"  ```\n{WEATHER_CALL}```  ",
        f"[{WEATHER_CALL}]",
        '{"name": "get_weather", "parameters": {"city": "Seoul"}}',
        f'{{"type": "function", "function": {WEATHER_CALL}}}',
    ],
)
def test_a_text_that_is_nothing_but_a_call_is_a_call(text: str) -> None:
    found = reply(text)
    assert [(made.name, made.arguments) for made in found.tool_calls] == [
        ("get_weather", '{"city":"Seoul"}')
    ]
    assert (found.content, found.finish_reason) == ("", "tool_calls")


def test_several_fenced_calls_are_several_calls() -> None:
    found = reply(f"```json\n{WEATHER_CALL}\n```\n\n```json\n{WEATHER_CALL}\n```")
    assert len({made.call_id for made in found.tool_calls}) == 2


@pytest.mark.parametrize(
    "text",
    [
        f"Call it like this:\n```json\n{WEATHER_CALL}\n```",
        f"```json\n{WEATHER_CALL}\n```\nDone.",
        '{"name": "Ada", "arguments": "none"}',
        '{"name": "Ada", "age": 36}',
        '{"name": "Ada"}',
        '[{"name": "Ada", "arguments": {}}, 1]',
        '{"name": "broken", "arguments": {',
        "[]",
    ],
)
def test_a_text_that_is_more_or_less_than_a_call_is_an_answer(text: str) -> None:
    found = reply(text)
    assert (found.content, found.tool_calls, found.finish_reason) == (text, (), "stop")


def test_reading_calls_out_of_texts_can_be_switched_off() -> None:
    endpoint = Endpoint("o", "ollama", "http://h", None, {"text_tool_calls": False})
    assert read(ollama, endpoint, body(WEATHER_CALL)).content == WEATHER_CALL


# --- errors --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "made", [{}, {"message": "x"}, {"message": None}, {"response": "x"}, {"choices": []}]
)
def test_edge_20_a_success_that_is_no_response_is_a_clear_error(made: dict[str, Any]) -> None:
    with pytest.raises(ProviderError) as caught:
        read(ollama, ENDPOINT, made)
    assert caught.value.kind == "malformed_response"


def test_edge_20_an_event_stream_is_a_clear_error() -> None:
    stream = HttpResponse(200, {"content-type": "application/x-ndjson"}, b'{"a":1}\n{"b":2}\n')
    with pytest.raises(ProviderError) as caught:
        ollama.from_wire(stream, ENDPOINT)
    assert caught.value.kind == "malformed_response"


@pytest.mark.parametrize(
    ("status", "words", "kind", "retryable"),
    [
        (400, "registry.ollama.ai/library/gemma does not support tools", "invalid_request", False),
        (400, "the input length exceeds the context length", "context_overflow", False),
        (401, "unauthorized", "authentication", False),
        (404, "model 'qwen9' not found", "not_found", False),
        (429, "too many requests", "rate_limited", True),
        (500, "llama runner process has terminated", "server_error", True),
        (503, "server busy, maximum pending requests exceeded", "overloaded", True),
        (200, "model runner has unexpectedly stopped", "server_error", True),
    ],
)
def test_edge_32_errors_have_a_kind_and_say_whether_to_try_again(
    status: int, words: str, kind: str, retryable: bool
) -> None:
    with pytest.raises(ProviderError) as caught:
        ollama.from_wire(answer({"error": words}, status), ENDPOINT)
    error = caught.value
    assert (error.kind, error.is_retryable) == (kind, retryable)
    assert words in error.message


def test_an_error_in_an_object_is_read_too() -> None:
    with pytest.raises(ProviderError) as caught:
        ollama.from_wire(answer({"error": {"message": "no such model"}}, 404), ENDPOINT)
    assert caught.value.message == "no such model"
