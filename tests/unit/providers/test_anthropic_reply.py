"""What the anthropic driver makes of responses."""

from __future__ import annotations

from typing import Any

import pytest

from pgagentos.errors import ProviderError
from pgagentos.net.message import HttpResponse
from pgagentos.providers import anthropic
from pgagentos.providers.base import ChatReply, Endpoint, Usage
from unit.providers.conversation import answer, read, result, sent, stored, user

ENDPOINT = Endpoint("anthropic", "anthropic", "https://api.anthropic.com", "sk-ant-secret-key-1")


def message(*content: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "claude-opus-5",
        "content": list(content),
        "stop_reason": "end_turn",
        "stop_sequence": None,
        "usage": {"input_tokens": 10, "output_tokens": 5},
        **more,
    }


def reply(*content: dict[str, Any], **more: Any) -> ChatReply:
    return read(anthropic, ENDPOINT, message(*content, **more))


def text(words: str, **more: Any) -> dict[str, Any]:
    return {"type": "text", "text": words, **more}


def call(call_id: str, arguments: Any = None, name: str = "f") -> dict[str, Any]:
    return {"type": "tool_use", "id": call_id, "name": name, "input": arguments or {}}


THINKING = {"type": "thinking", "thinking": "hm", "signature": "Eo8C+/=="}


def test_a_plain_answer_needs_no_vendor_blocks() -> None:
    assert reply(text("Hello")) == ChatReply(
        "Hello",
        usage=Usage(10, 5),
        response_id="msg_1",
        model="claude-opus-5",
    )


def test_edge_24_texts_in_a_row_are_one_sentence_and_others_are_paragraphs() -> None:
    server = {"type": "server_tool_use", "id": "s", "name": "web_search", "input": {}}
    assert reply(text("It is "), text("warm"), text(".")).content == "It is warm."
    assert reply(text("Wait."), server, text("Done.")).content == "Wait.\n\nDone."


# --- edge cases 1, 2, 3: calls -------------------------------------------------------------------


def test_edge_01_arguments_arrive_as_json_text() -> None:
    found = reply(call("t1", {"city": "서울", "n": 1.5}), call("t2"), stop_reason="tool_use")
    assert [made.arguments for made in found.tool_calls] == ['{"city":"서울","n":1.5}', "{}"]
    assert found.finish_reason == "tool_calls"


def test_edge_01_a_gateway_that_sends_text_is_not_a_crash() -> None:
    block = {**call("t1"), "input": "{broken"}
    assert reply(block).tool_calls[0].arguments == "{broken"


def test_edge_02_missing_and_repeated_ids_are_made_unique_and_stay_so_in_the_history() -> None:
    found = reply(THINKING, call(""), call("toolu_A"), call("toolu_A"), stop_reason="tool_use")
    ids = [made.call_id for made in found.tool_calls]
    assert len(set(ids)) == 3
    assert all(ids)
    assert ids[1] == "toolu_A"
    assert ids == [
        made.call_id
        for made in reply(THINKING, call(""), call("toolu_A"), call("toolu_A")).tool_calls
    ]
    back = sent(
        anthropic,
        ENDPOINT,
        user("?"),
        stored(found),
        *[result(call_id, "x") for call_id in ids],
        model="m",
    )["messages"]
    assert [block.get("id") for block in back[1]["content"]] == [None, *ids]
    assert [block["tool_use_id"] for block in back[2]["content"]] == ids


def test_edge_03_ids_that_count_within_a_reply_are_qualified_with_its_id() -> None:
    one = reply(call("call_0"), id="msg_1").tool_calls[0].call_id
    two = reply(call("call_0"), id="msg_2").tool_calls[0].call_id
    assert one != two


# --- edge case 6: thinking -----------------------------------------------------------------------


def test_edge_06_thinking_is_kept_whole_for_the_vendor_and_out_of_the_text() -> None:
    redacted = {"type": "redacted_thinking", "data": "Emw="}
    found = reply(THINKING, redacted, text("Yes"))
    assert found.content == "Yes"
    assert found.vendor == {
        "driver": "anthropic",
        "provider": "anthropic",
        "model": "claude-opus-5",
        "content": [THINKING, redacted, text("Yes")],
    }


# --- edge cases 14 to 18: how a reply ends -------------------------------------------------------


@pytest.mark.parametrize(
    ("stop_reason", "expected"),
    [
        ("end_turn", "stop"),
        ("stop_sequence", "stop"),
        ("max_tokens", "length"),
        ("model_context_window_exceeded", "length"),
        ("pause_turn", "pause"),
        ("a_reason_of_next_year", "other"),
        (None, "stop"),
        ("tool_use", "stop"),
    ],
)
def test_edge_31_every_stop_reason_has_a_meaning(stop_reason: str | None, expected: str) -> None:
    assert reply(text("x"), stop_reason=stop_reason).finish_reason == expected


def test_edge_14_a_pause_keeps_all_blocks_to_send_back() -> None:
    found = reply(text("Searching."), stop_reason="pause_turn")
    assert found.finish_reason == "pause"
    assert found.vendor is not None
    assert found.vendor["content"] == [text("Searching.")]
    assert found.vendor["is_paused"] is True


def test_edge_15_a_refusal_is_a_filtered_reply_without_content() -> None:
    details = {"type": "refusal", "category": "cyber", "explanation": "No malware."}
    found = reply(text("Here is"), call("t"), stop_reason="refusal", stop_details=details)
    assert (found.finish_reason, found.content, found.tool_calls) == ("content_filter", "", ())
    assert found.refusal == "No malware."
    assert found.usage == Usage(10, 5)
    bare = reply(stop_reason="refusal", stop_details={"type": "refusal", "category": "bio"})
    assert bare.refusal == "The provider refused to answer: bio."


def test_edge_16_an_empty_answer_is_a_reply_not_an_error() -> None:
    assert reply().content == ""
    assert reply(stop_reason="max_tokens").finish_reason == "length"


def test_edge_17_a_cut_off_call_is_marked_as_cut_off() -> None:
    found = reply(call("t1", {"sql": "drop"}), stop_reason="max_tokens")
    assert found.finish_reason == "length"


def test_edge_17_arguments_that_a_gateway_cut_off_are_noticed() -> None:
    found = reply({**call("t1"), "input": '{"sql": "drop ta'}, stop_reason="tool_use")
    assert found.finish_reason == "length"


@pytest.mark.parametrize("stop_reason", [None, "end_turn", "something_new"])
def test_edge_18_calls_count_whatever_the_stop_reason_says(stop_reason: str | None) -> None:
    assert reply(call("t1"), stop_reason=stop_reason).finish_reason == "tool_calls"


# --- edge case 20: not a message -----------------------------------------------------------------


@pytest.mark.parametrize(
    "body",
    [{}, {"content": None}, {"content": "text"}, {"content": ["x"]}, {"choices": []}],
)
def test_edge_20_a_success_that_is_no_message_is_a_clear_error(body: dict[str, Any]) -> None:
    with pytest.raises(ProviderError) as caught:
        read(anthropic, ENDPOINT, body)
    assert caught.value.kind == "malformed_response"
    assert caught.value.provider == "anthropic"
    assert caught.value.hint


def test_edge_20_a_web_page_is_a_clear_error() -> None:
    page = HttpResponse(200, {"content-type": "text/html"}, b"<html>Sign in</html>")
    with pytest.raises(ProviderError) as caught:
        anthropic.from_wire(page, ENDPOINT)
    assert caught.value.kind == "malformed_response"


# --- edge case 21: usage -------------------------------------------------------------------------


def test_edge_21_cached_tokens_are_added_to_the_input() -> None:
    usage = {
        "input_tokens": 3,
        "cache_read_input_tokens": 1111,
        "cache_creation_input_tokens": 418,
        "output_tokens": 33,
        "output_tokens_details": {"thinking_tokens": 20},
    }
    assert reply(text("x"), usage=usage).usage == Usage(1532, 33, 1111, 418, 20)


def test_edge_21_tokens_of_compaction_are_added_and_null_counts_are_zero() -> None:
    usage = {
        "input_tokens": 10,
        "cache_read_input_tokens": None,
        "output_tokens": 5,
        "iterations": [
            {"type": "compaction", "input_tokens": 1000, "output_tokens": 200},
            {"type": "message", "input_tokens": 10, "output_tokens": 5},
        ],
    }
    assert reply(text("x"), usage=usage).usage == Usage(1010, 205)


def test_a_reply_without_usage_counts_nothing() -> None:
    assert reply(text("x"), usage=None).usage == Usage()


# --- edge cases 31 and 32, errors ----------------------------------------------------------------


def test_edge_31_a_block_of_an_unknown_kind_is_kept_for_the_vendor() -> None:
    future = {"type": "hologram", "payload": 1}
    found = reply(text("See:"), future)
    assert found.content == "See:"
    assert found.vendor is not None
    assert found.vendor["content"][1] == future


def error_of(
    status: int, kind: str, words: str = "no", code: str | None = None, **headers: str
) -> ProviderError:
    error: dict[str, Any] = {"type": kind, "message": words}
    if code:
        error["details"] = {"error_code": code}
    with pytest.raises(ProviderError) as caught:
        anthropic.from_wire(
            answer({"type": "error", "error": error, "request_id": "req_1"}, status, **headers),
            ENDPOINT,
        )
    return caught.value


@pytest.mark.parametrize(
    ("status", "error_type", "words", "code", "kind", "retryable"),
    [
        (400, "invalid_request_error", "max_tokens: required", None, "invalid_request", False),
        (
            400,
            "invalid_request_error",
            "prompt is too long: 210000 tokens > 200000 maximum",
            None,
            "context_overflow",
            False,
        ),
        (
            400,
            "invalid_request_error",
            "Your credit balance is too low to access the Anthropic API.",
            None,
            "billing",
            False,
        ),
        (401, "authentication_error", "invalid x-api-key", None, "authentication", False),
        (402, "billing_error", "no credit", None, "billing", False),
        (403, "permission_error", "not allowed", None, "authentication", False),
        (403, "permission_error", "on hold", "organization_on_hold", "billing", False),
        (404, "not_found_error", "model: claude-9", None, "not_found", False),
        (413, "request_too_large", "32 MB", None, "context_overflow", False),
        (429, "rate_limit_error", "slow down", None, "rate_limited", True),
        (500, "api_error", "oops", None, "server_error", True),
        (504, "timeout_error", "too slow", None, "server_error", True),
        (529, "overloaded_error", "Overloaded", None, "overloaded", True),
        (418, "teapot_error", "short and stout", None, "invalid_request", False),
    ],
)
def test_edge_32_errors_have_a_kind_and_say_whether_to_try_again(
    status: int, error_type: str, words: str, code: str | None, kind: str, retryable: bool
) -> None:
    error = error_of(status, error_type, words, code)
    assert (error.kind, error.is_retryable, error.status) == (kind, retryable, status)
    assert error.code == (code or error_type)
    assert words in error.message


def test_edge_32_an_error_inside_a_success_is_an_error() -> None:
    assert error_of(200, "overloaded_error").kind == "overloaded"


def test_the_wait_that_the_provider_asks_for_is_passed_on() -> None:
    assert error_of(429, "rate_limit_error", retry_after="7").retry_after == 7.0


def test_an_error_never_shows_the_key() -> None:
    error = error_of(401, "authentication_error", "invalid key sk-ant-secret-key-1 given")
    assert "secret-key" not in error.message


def test_an_error_that_is_not_json_is_mapped_by_its_status() -> None:
    with pytest.raises(ProviderError) as caught:
        anthropic.from_wire(HttpResponse(502, {}, b"<html>Bad Gateway</html>"), ENDPOINT)
    assert caught.value.kind == "server_error"
