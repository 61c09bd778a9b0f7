"""What the openai_responses driver sends and reads."""

from __future__ import annotations

import json
from typing import Any

import pytest

from pgagentos.errors import InvalidInput, ProviderError
from pgagentos.providers import openai_responses
from pgagentos.providers.base import ChatReply, ChatRequest, Endpoint, Message, Tool, ToolCall
from unit.providers.conversation import (
    WEATHER,
    answer,
    assistant,
    compact,
    note,
    read,
    result,
    sent,
    stored,
    user,
    wire,
)

REASONS = {"reasoning": True, "temperature": False}
REASONING = {
    "id": "rs_1",
    "type": "reasoning",
    "summary": [],
    "encrypted_content": 'gAAA+/==\\é"\n',
}
CALL = {
    "id": "fc_1",
    "type": "function_call",
    "status": "completed",
    "call_id": "call_abcdefgh",
    "name": "f",
    "arguments": '{"a": 1}',
}


def at(provider: str = "openai", **options: Any) -> Endpoint:
    return Endpoint(provider, "openai_responses", "https://api.openai.com/v1", "key-1", options)


def text_item(text: str, **more: Any) -> dict[str, Any]:
    return {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "status": "completed",
        "content": [{"type": "output_text", "text": text, "annotations": []}],
        **more,
    }


def response(*output: Any, **more: Any) -> dict[str, Any]:
    return {"id": "resp_1", "status": "completed", "error": None, "output": list(output), **more}


def reply(*output: Any, **more: Any) -> ChatReply:
    return read(openai_responses, at(), response(*output, **more))


def body(*messages: Message, endpoint: Endpoint | None = None, **more: Any) -> dict[str, Any]:
    more.setdefault("model", "gpt-5.5")
    return sent(openai_responses, endpoint or at(), *messages, **more)


def items(*messages: Message, **more: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = body(*messages, **more)["input"]
    return found


# --- what is sent ------------------------------------------------------------------------------


def test_nothing_is_stored_at_the_vendor_and_reasoning_comes_back_encrypted() -> None:
    made = body(user("q"), capabilities=REASONS)
    assert made["store"] is False
    assert made["include"] == ["reasoning.encrypted_content"]
    assert "include" not in body(user("q"))


def test_an_empty_input_is_an_error() -> None:
    with pytest.raises(InvalidInput, match="no message"):
        body(system="s")


@pytest.mark.parametrize("spaced", [False, True])
@pytest.mark.parametrize("content", ["", "text", 'a "quoted" \\ text\n', "한글 😀", "}]}"])
@pytest.mark.parametrize(
    "arguments", [{}, {"call_id": "x"}, {"s": '"tool_calls":[{"call_id":"'}, {"n": {"m": [{}]}}]
)
def test_items_cut_out_of_the_text_equal_items_that_are_parsed(
    content: str, arguments: dict[str, Any], spaced: bool
) -> None:
    history = [
        user(content),
        assistant(content, ("call_1x", "f", arguments)),
        result("call_1x", content, is_error=True),
        assistant(content, ("p", "f", arguments), ("q", "g", arguments)),
        result("p", content),
        result("q", content),
        note(content),
        assistant(content),
    ]
    if spaced:
        history = [
            Message(json.dumps(dict(sorted(json.loads(message.json).items(), reverse=True))))
            for message in history
        ]
    said = [{"role": "assistant", "content": content}] if content else []  # edge case 19

    def call(call_id: str, name: str) -> dict[str, Any]:
        return {
            "type": "function_call",
            "call_id": call_id,
            "name": name,
            "arguments": compact(arguments),
        }

    def output(call_id: str) -> dict[str, Any]:
        return {"type": "function_call_output", "call_id": call_id, "output": content}

    assert items(*history) == [
        {"role": "user", "content": content},
        *said,
        call("call_1x", "f"),
        output("call_1x"),
        *said,
        call("p", "f"),
        call("q", "g"),
        output("p"),
        output("q"),
        {"role": "system", "content": content},
        *said,
    ]


@pytest.mark.parametrize("call_id", ['with"quote', "back\\slash", '","content":"', "한글"])
def test_ids_that_need_escaping_arrive_unchanged(call_id: str) -> None:
    sent_items = items(user("q"), assistant("", (call_id, "f", {})), result(call_id, "1"))
    assert [item.get("call_id") for item in sent_items] == [None, call_id, call_id]
    assert sent_items[2]["output"] == "1"


def test_edge_01_the_model_s_own_text_goes_back_inside_an_object() -> None:
    call = items(user("q"), assistant("", ("a", "f", '{"x":')), result("a", "bad"))[1]
    assert json.loads(call["arguments"]) == {"invalid_json": '{"x":'}


def test_edge_07_reasoning_goes_back_byte_for_byte_with_the_item_that_followed_it() -> None:
    output = [REASONING, text_item("I look.", phase="commentary"), CALL]
    made = reply(*output)
    history = [user("q"), stored(made), result("call_abcdefgh", "1")]
    sent_items = items(*history, capabilities=REASONS)
    assert sent_items[1:4] == output
    request = ChatRequest("gpt-5.5", "", history, capabilities=REASONS)
    raw = wire(openai_responses, at(), request).body.decode()
    assert ",".join(map(compact, output)) in raw


@pytest.mark.parametrize(
    "edited",
    [
        assistant("I looked.", ("call_abcdefgh", "f", {"a": 1})),
        assistant("I look.", ("call_abcdefgh", "f", {"a": 2})),
        assistant("I look.", ("call_other123", "f", {"a": 1})),
        assistant("I look.", ("call_abcdefgh", "f", {"a": 1}), ("call_more1234", "g", {})),
        assistant("I look."),
    ],
    ids=["text", "arguments", "id", "one more call", "no call"],
)
def test_edge_07_an_edited_message_goes_back_as_text_without_its_reasoning(
    edited: Message,
) -> None:
    made = reply(REASONING, text_item("I look."), CALL)
    edited = Message(edited.json, stored(made).vendor)
    ids = [call["call_id"] for call in json.loads(edited.json).get("tool_calls", ())]
    history = [user("q"), edited, *(result(call_id, "1") for call_id in ids)]
    sent_items = items(*history, capabilities=REASONS)
    assert not any(item.get("type") == "reasoning" or "id" in item for item in sent_items)
    plain = [user("q"), Message(edited.json), *history[2:]]
    assert sent_items == items(*plain, capabilities=REASONS)


def test_edge_07_a_model_that_does_not_reason_gets_no_reasoning() -> None:
    made = reply(REASONING, text_item("answer"))
    sent_items = items(user("q"), stored(made), user("q2"), model="gpt-4o")
    assert sent_items[1] == {"role": "assistant", "content": "answer"}


def test_edge_07_reasoning_without_encrypted_content_is_not_kept() -> None:
    assert reply({**REASONING, "encrypted_content": None}, text_item("x")).vendor is None


def test_edge_07_arguments_that_are_no_json_still_find_their_item() -> None:
    made = reply(REASONING, {**CALL, "arguments": "not json"})
    sent_items = items(
        user("q"), stored(made), result("call_abcdefgh", "bad"), capabilities=REASONS
    )
    assert sent_items[1] == REASONING


def test_edge_10_sampling_is_dropped_and_effort_sent_only_to_models_that_reason() -> None:
    params = {"temperature": 1, "top_p": 1, "reasoning_effort": "high"}
    made = body(user("q"), params=params, capabilities=REASONS)
    assert made["reasoning"] == {"effort": "high"}
    assert not {"temperature", "top_p"} & set(made)
    plain = body(user("q"), params=params)
    assert "reasoning" not in plain
    assert plain["temperature"] == 1


def test_a_summary_of_the_reasoning_can_be_asked_for() -> None:
    made = body(user("q"), capabilities=REASONS, endpoint=at(reasoning_summary="auto"))
    assert made["reasoning"] == {"summary": "auto"}


def test_edge_11_the_output_limit_is_max_output_tokens() -> None:
    assert body(user("q"), params={"max_output_tokens": 5})["max_output_tokens"] == 5


def test_edge_13_no_tools_means_no_tool_choice() -> None:
    made = body(user("q"), tool_choice="required", params={"parallel_tool_calls": False})
    assert not {"tools", "tool_choice", "parallel_tool_calls"} & set(made)


def test_edge_22_a_longer_history_begins_with_the_bytes_of_the_shorter_one() -> None:
    history = [user("q"), assistant("", ("a", "f", {"x": 1})), result("a", "1"), user("q2")]
    texts = [
        wire(openai_responses, at(), ChatRequest("m", "s", history[:n], [WEATHER])).body
        for n in (3, 4)
    ]
    assert texts[1].startswith(texts[0][: texts[0].index(b'],"store"')])


def test_edge_23_strictness_is_always_said_because_the_api_assumes_it() -> None:
    loose = Tool("g", "", {"type": "object", "properties": {"x": {"type": "string"}}})
    made = body(user("q"), tools=(WEATHER, loose))["tools"]
    assert [tool["strict"] for tool in made] == [True, False]
    elsewhere = Endpoint("other", "openai_responses", "http://127.0.0.1:1/v1")
    made = body(user("q"), tools=(WEATHER,), endpoint=elsewhere)["tools"]
    assert made[0]["strict"] is False


def test_edge_26_notes_have_the_role_that_is_asked_for() -> None:
    sent_items = items(user("q"), note("n"), endpoint=at(note_role="developer"))
    assert sent_items[1] == {"role": "developer", "content": "n"}


@pytest.mark.parametrize(
    "vendor",
    [
        {"driver": "openai_responses", "provider": "azure", "items": [REASONING, CALL]},
        {"driver": "openai_chat", "provider": "openai", "reasoning": "x"},
        {"driver": "anthropic", "provider": "openai", "items": [CALL]},
    ],
)
def test_edge_28_items_of_another_provider_stay_behind(vendor: dict[str, Any]) -> None:
    call = ("call_abcdefgh", "f", {"a": 1})
    history = [user("q"), assistant("", call, vendor=vendor), result("call_abcdefgh", "1")]
    plain = [user("q"), assistant("", call), result("call_abcdefgh", "1")]
    assert items(*history, capabilities=REASONS) == items(*plain, capabilities=REASONS)


def test_edge_29_calls_come_last_where_the_server_wants_no_items_between_them() -> None:
    second = {**CALL, "id": "fc_2", "call_id": "call_bbbbbbbb"}
    made = reply(CALL, REASONING, text_item("and"), second)
    history = [
        user("q"),
        stored(made),
        result("call_abcdefgh", "1"),
        result("call_bbbbbbbb", "2"),
    ]
    kinds = [
        [item.get("type", "text") for item in items(*history, capabilities=REASONS, endpoint=to)]
        for to in (at(), at(calls_last=True))
    ]
    assert kinds[0][1:5] == ["function_call", "reasoning", "message", "function_call"]
    assert kinds[1][1:5] == ["reasoning", "message", "function_call", "function_call"]


# --- what is read ------------------------------------------------------------------------------


@pytest.mark.parametrize(("given", "expected"), [("", "{}"), (None, "{}"), ({"a": 1}, '{"a":1}')])
def test_edge_01_arguments_become_text(given: Any, expected: str) -> None:
    (call,) = reply({**CALL, "arguments": given}).tool_calls
    assert call == ToolCall("call_abcdefgh", "f", expected)


def test_edge_02_the_call_id_is_used_and_not_the_item_s_id() -> None:
    assert reply(CALL).tool_calls[0].call_id == "call_abcdefgh"


def test_edge_03_a_counted_id_is_qualified_in_the_kept_item_too() -> None:
    made = reply(REASONING, {**CALL, "call_id": "call_0"})
    (call,) = made.tool_calls
    assert call.call_id != "call_0"
    sent_items = items(user("q"), stored(made), result(call.call_id, "1"), capabilities=REASONS)
    assert [item.get("call_id") for item in sent_items] == [None, None, call.call_id, call.call_id]


def test_edge_15_a_refusal_is_a_filtered_reply_with_the_model_s_words() -> None:
    part = {"type": "refusal", "refusal": "No."}
    made = reply({"type": "message", "role": "assistant", "content": [part]})
    assert (made.content, made.finish_reason, made.refusal) == ("", "content_filter", "No.")


@pytest.mark.parametrize(
    ("reason", "expected"),
    [
        ("max_output_tokens", "length"),
        ("content_filter", "content_filter"),
        ("max_messages", "other"),
        ("steered", "other"),
        ("something_new", "other"),
        (None, "other"),
    ],
)
def test_edge_16_an_incomplete_response_says_why(reason: str | None, expected: str) -> None:
    made = reply(status="incomplete", incomplete_details={"reason": reason})
    assert (made.content, made.finish_reason) == ("", expected)


@pytest.mark.parametrize("reason", ["max_output_tokens", "steered"])
def test_edge_17_a_call_of_an_incomplete_response_is_length(reason: str) -> None:
    made = reply(CALL, status="incomplete", incomplete_details={"reason": reason})
    assert made.finish_reason == "length"


@pytest.mark.parametrize("change", [{"status": "incomplete"}, {"arguments": '{"a": '}])
def test_edge_17_a_call_that_was_cut_off_is_length(change: dict[str, Any]) -> None:
    assert reply({**CALL, **change}).finish_reason == "length"


def test_edge_18_calls_make_a_reply_one_of_calls() -> None:
    assert reply(text_item("x"), CALL).finish_reason == "tool_calls"


@pytest.mark.parametrize("status", ["queued", "in_progress", "cancelled"])
def test_edge_14_a_response_that_is_not_completed_is_an_error(status: str) -> None:
    with pytest.raises(ProviderError, match=status):
        read(openai_responses, at(), response(status=status))


@pytest.mark.parametrize("output", [None, {}, "x", 7])
def test_edge_20_a_200_of_another_shape_is_malformed(output: Any) -> None:
    with pytest.raises(ProviderError) as raised:
        read(openai_responses, at(), {"id": "x", "output": output})
    assert raised.value.kind == "malformed_response"


def test_edge_21_usage_is_counted_in_the_common_meaning() -> None:
    usage = {
        "input_tokens": 100,
        "output_tokens": 50,
        "input_tokens_details": {"cached_tokens": 80, "cache_write_tokens": 10},
        "output_tokens_details": {"reasoning_tokens": 30},
    }
    made = reply(text_item("x"), usage=usage).usage
    assert (made.input_tokens, made.output_tokens) == (100, 50)
    assert (made.cached_tokens, made.cache_write_tokens, made.reasoning_tokens) == (80, 10, 30)


def test_edge_31_items_and_parts_of_unknown_kinds_pass_through_and_go_back() -> None:
    unknown = {"type": "hologram", "id": "h_1", "data": {"x": [1]}}
    odd = {"type": "message", "content": [{"type": "smell"}, 7, {"type": "output_text"}]}
    made = reply(unknown, odd, text_item("x"), 7)
    assert (made.content, made.finish_reason) == ("x", "stop")
    assert items(user("q"), stored(made), user("q2"))[1] == unknown


def test_a_comment_and_an_answer_stand_in_paragraphs_of_their_own() -> None:
    made = reply(text_item("I look.", phase="commentary"), text_item("12", phase="final_answer"))
    assert made.content == "I look.\n\n12"
    assert made.vendor is not None


def test_a_plain_text_keeps_nothing_for_the_vendor() -> None:
    assert reply(text_item("x")).vendor is None
    assert reply(text_item("x"), CALL).vendor is None


def test_edge_32_a_failed_response_has_the_kind_of_its_code() -> None:
    failed = response(
        status="failed", error={"code": "context_length_exceeded", "message": "too long"}
    )
    with pytest.raises(ProviderError) as raised:
        openai_responses.from_wire(answer(failed), at())
    assert raised.value.kind == "context_overflow"
