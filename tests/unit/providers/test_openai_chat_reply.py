"""What the openai_chat driver reads."""

from __future__ import annotations

from typing import Any

import pytest

from pgagentos.errors import ProviderError
from pgagentos.providers import openai_chat
from pgagentos.providers.base import ChatReply, Endpoint, ToolCall, Usage
from unit.providers.conversation import read


def at(**options: Any) -> Endpoint:
    return Endpoint("example", "openai_chat", "https://api.example.com/v1", "key-1", options)


def completion(message: dict[str, Any], finish: Any = "stop", **more: Any) -> dict[str, Any]:
    return {"id": "r1", "choices": [{"message": message, "finish_reason": finish}], **more}


def reply(message: dict[str, Any], finish: Any = "stop", **more: Any) -> ChatReply:
    return read(openai_chat, at(), completion(message, finish, **more))


def call(arguments: Any = "{}", call_id: Any = "call_abcdefgh", name: Any = "f") -> dict[str, Any]:
    return {
        "id": call_id,
        "type": "function",
        "function": {"name": name, "arguments": arguments},
    }


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ('{"a": 1}', '{"a": 1}'),
        ("", "{}"),
        ("  ", "{}"),
        (None, "{}"),
        ({}, "{}"),
        ({"a": "한"}, '{"a":"한"}'),
        ("not json", "not json"),
        ('{"a": 1}\0', '{"a": 1}\ufffd'),
    ],
)
def test_edge_01_arguments_become_text_whatever_the_server_sends(
    arguments: Any, expected: str
) -> None:
    made = reply({"content": None, "tool_calls": [call(arguments)]}, "tool_calls")
    assert made.tool_calls == (ToolCall("call_abcdefgh", "f", expected),)
    assert made.finish_reason == "tool_calls"


@pytest.mark.parametrize("given", [None, ""])
def test_edge_02_a_missing_id_is_made_and_stays_the_same_for_the_same_response(given: Any) -> None:
    message = {"tool_calls": [call(call_id=given), call(call_id=given)]}
    first, second = reply(message), reply(message)
    assert first == second
    assert len({made.call_id for made in first.tool_calls}) == 2


def test_edge_03_a_counted_id_is_unique_within_the_turn() -> None:
    message = {"tool_calls": [call(call_id="functions.f:0")]}
    first = read(openai_chat, at(), completion(message))
    second = read(openai_chat, at(), {**completion(message), "id": "r2"})
    assert first.tool_calls[0].call_id != second.tool_calls[0].call_id
    kept = read(openai_chat, at(call_ids="vendor"), completion(message))
    assert kept.tool_calls[0].call_id == "functions.f:0"


def test_edge_15_a_refusal_is_a_filtered_reply_with_the_model_s_words() -> None:
    made = reply({"content": None, "refusal": "No."})
    assert made == ChatReply("", finish_reason="content_filter", refusal="No.", response_id="r1")


def test_edge_15_a_filtered_completion_is_a_filtered_reply() -> None:
    assert reply({"content": ""}, "content_filter").finish_reason == "content_filter"


@pytest.mark.parametrize(
    "error",
    [
        {"code": "content_filter", "message": "blocked", "status": 400},
        {"code": "x", "message": "blocked", "innererror": {"code": "ResponsibleAIPolicyViolation"}},
        {"code": "content_policy_violation", "message": "blocked"},
    ],
)
def test_edge_15_azure_s_400_of_its_filter_is_a_filtered_reply(error: dict[str, Any]) -> None:
    made = read(openai_chat, at(), {"error": error}, status=400)
    assert made == ChatReply("", finish_reason="content_filter", refusal="blocked")


def test_edge_16_no_text_and_the_limit_reached_is_length() -> None:
    made = reply({"content": None}, "length")
    assert (made.content, made.finish_reason) == ("", "length")


def test_edge_16_an_empty_reply_is_empty_and_not_an_error() -> None:
    made = reply({"role": "assistant", "content": None})
    assert (made.content, made.tool_calls, made.finish_reason) == ("", (), "stop")


@pytest.mark.parametrize("finish", ["length", "tool_calls", "stop", None])
def test_edge_17_a_call_that_was_cut_off_is_length_whatever_the_server_says(finish: Any) -> None:
    message = {"tool_calls": [call('{"a":1}'), call('{"path":"/x', "call_bbbbbbbb")]}
    assert reply(message, finish).finish_reason == "length"


def test_edge_17_whole_calls_of_a_reply_that_reached_its_limit_are_length_too() -> None:
    assert reply({"tool_calls": [call('{"a":1}')]}, "length").finish_reason == "length"


def test_edge_17_arguments_that_are_wrong_but_whole_are_the_model_s_to_correct() -> None:
    assert reply({"tool_calls": [call("{'a':1}")]}, "tool_calls").finish_reason == "tool_calls"


@pytest.mark.parametrize("finish", [None, "stop", "function_call", "eos", 7])
def test_edge_18_calls_are_trusted_more_than_the_finish_reason(finish: Any) -> None:
    assert reply({"tool_calls": [call()]}, finish).finish_reason == "tool_calls"


def test_edge_18_a_finish_of_calls_without_calls_is_a_stop() -> None:
    assert reply({"content": "x", "tool_calls": []}, "tool_calls").finish_reason == "stop"


def test_edge_18_the_old_function_call_is_understood() -> None:
    message = {"content": None, "function_call": {"name": "f", "arguments": "{}"}}
    (made,) = reply(message, "function_call").tool_calls
    assert (made.name, made.arguments) == ("f", "{}")


@pytest.mark.parametrize(
    "body",
    [
        {"choices": None},
        {"choices": []},
        {"choices": [None]},
        {"choices": [{}]},
        {"choices": [{"message": None}]},
        {"choices": {"message": {"content": "x"}}},
        {"x": 42},
    ],
)
def test_edge_20_a_200_of_another_shape_is_malformed(body: dict[str, Any]) -> None:
    with pytest.raises(ProviderError) as raised:
        read(openai_chat, at(), body)
    assert raised.value.kind == "malformed_response"
    assert raised.value.hint


def test_edge_20_missing_and_odd_members_around_the_message_do_not_matter() -> None:
    body = {
        "created": 0,
        "id": None,
        "usage": None,
        "choices": [{"message": {"content": "x", "tool_calls": None}}],
    }
    assert read(openai_chat, at(), body) == ChatReply("x")


def test_edge_21_cached_and_reasoning_tokens_are_parts_of_the_sums() -> None:
    usage = {
        "prompt_tokens": 100,
        "completion_tokens": 50,
        "total_tokens": 150,
        "prompt_tokens_details": {"cached_tokens": 80, "cache_write_tokens": 10},
        "completion_tokens_details": {"reasoning_tokens": 30},
    }
    assert reply({"content": "x"}, usage=usage).usage == Usage(100, 50, 80, 10, 30)


def test_edge_21_thoughts_that_only_the_total_holds_are_output() -> None:
    usage = {"prompt_tokens": 35, "completion_tokens": 12, "total_tokens": 126}
    assert reply({"content": "x"}, usage=usage).usage == Usage(35, 91, 0, 0, 79)


@pytest.mark.parametrize("usage", [None, [], 7, {}, {"prompt_tokens": None}, {"prompt_tokens": -1}])
def test_edge_21_usage_that_is_missing_or_odd_is_zero(usage: Any) -> None:
    assert reply({"content": "x"}, usage=usage).usage == Usage()


def test_edge_24_parts_of_text_are_joined_and_other_parts_left_out() -> None:
    parts = [
        {"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]},
        {"type": "text", "text": "a"},
        {"type": "image_url", "image_url": {}},
        {"type": "text", "text": "b"},
        7,
    ]
    assert reply({"content": parts}).content == "ab"


@pytest.mark.parametrize("finish", ["model_length", "quantum", 7, {"a": 1}, ["x"]])
def test_edge_31_an_unknown_finish_reason_passes_through(finish: Any) -> None:
    made = reply({"content": "x"}, finish)
    assert made.content == "x"
    assert made.finish_reason in ("other", "stop")


def test_edge_31_calls_of_an_unknown_kind_do_not_crash() -> None:
    calls = [
        {"id": "call_aaaaaaaa", "type": "custom", "custom": {"name": "f", "input": "raw"}},
        {"id": "call_bbbbbbbb", "type": "hologram"},
        "nonsense",
    ]
    made = reply({"tool_calls": calls}, "tool_calls")
    assert made.tool_calls == (
        ToolCall("call_aaaaaaaa", "f", '{"input":"raw"}'),
        ToolCall("call_bbbbbbbb", "", "{}"),
    )


def test_thoughts_are_kept_with_calls_only_and_only_where_the_option_asks() -> None:
    with_call = {"content": "", "reasoning": "hm", "tool_calls": [call()]}
    asked = read(openai_chat, at(reasoning_field="reasoning"), completion(with_call))
    assert asked.vendor == {"driver": "openai_chat", "provider": "example", "reasoning": "hm"}
    assert reply(with_call).vendor is None
    text = {"content": "x", "reasoning": "hm"}
    assert read(openai_chat, at(reasoning_field="reasoning"), completion(text)).vendor is None


def test_an_error_inside_a_200_has_the_kind_of_its_code() -> None:
    with pytest.raises(ProviderError) as raised:
        read(openai_chat, at(), {"error": {"code": 402, "message": "no credit"}})
    assert raised.value.kind == "billing"


def test_text_that_cannot_be_stored_is_cleaned() -> None:
    made = reply({"content": "a\0b", "tool_calls": [call('{"a":"x"}', name="f\0")]})
    assert made.content == "a\ufffdb"
    assert made.tool_calls[0].name == "f\ufffd"
