"""What the gemini driver makes of responses."""

from __future__ import annotations

from typing import Any

import pytest

from pgagentos.errors import ProviderError
from pgagentos.providers import gemini
from pgagentos.providers.base import ChatReply, Endpoint, Usage
from unit.providers.conversation import answer, read, result, sent, stored, user

ENDPOINT = Endpoint("gemini", "gemini", "https://generativelanguage.googleapis.com", "AIzaSecret1")


def body(*parts: dict[str, Any], reason: str | None = "STOP", **more: Any) -> dict[str, Any]:
    return {
        "candidates": [
            {"content": {"parts": list(parts), "role": "model"}, "finishReason": reason, "index": 0}
        ],
        "usageMetadata": {"promptTokenCount": 10, "candidatesTokenCount": 5},
        "modelVersion": "gemini-3.5-flash",
        "responseId": "resp-1",
        **more,
    }


def reply(*parts: dict[str, Any], reason: str | None = "STOP", **more: Any) -> ChatReply:
    return read(gemini, ENDPOINT, body(*parts, reason=reason, **more))


def call(name: str = "f", **more: Any) -> dict[str, Any]:
    return {"functionCall": {"name": name, "args": {}, **more}}


def test_a_plain_answer_needs_no_vendor_blocks() -> None:
    assert reply({"text": "Hello "}, {"text": "you"}) == ChatReply(
        "Hello you",
        usage=Usage(10, 5),
        response_id="resp-1",
        model="gemini-3.5-flash",
    )


def test_edge_01_arguments_arrive_as_json_text() -> None:
    found = reply(call(args={"city": "서울"}), {"functionCall": {"name": "g"}})
    assert [made.arguments for made in found.tool_calls] == ['{"city":"서울"}', "{}"]


def test_edge_02_calls_without_ids_get_stable_ones_that_never_go_back() -> None:
    found = reply(call("f"), call("g"))
    ids = [made.call_id for made in found.tool_calls]
    assert len(set(ids)) == 2
    assert ids == [made.call_id for made in reply(call("f"), call("g")).tool_calls]
    assert ids != [made.call_id for made in reply(call("f"), call("g"), responseId="2").tool_calls]
    back = sent(
        gemini,
        ENDPOINT,
        user("?"),
        stored(found),
        *[result(call_id, "x") for call_id in ids],
        model="gemini-3.5-flash",
    )
    assert not any(call_id in str(back) for call_id in ids)


def test_edge_02_an_empty_id_is_no_id() -> None:
    found = reply(call(id=""))
    assert found.tool_calls[0].call_id
    assert found.vendor is None


def test_edge_02_geminis_own_id_is_kept() -> None:
    found = reply(call(id="b7k2m9q1"))
    assert found.tool_calls[0].call_id == "b7k2m9q1"
    assert found.vendor is not None
    assert found.vendor["call_ids"] == ["b7k2m9q1"]


def test_edge_03_an_id_that_only_counts_is_qualified_for_us_but_goes_back_as_it_was() -> None:
    found = reply(call(id="fc-1"))
    call_id = found.tool_calls[0].call_id
    assert call_id != reply(call(id="fc-1"), responseId="resp-2").tool_calls[0].call_id
    back = sent(
        gemini,
        ENDPOINT,
        user("?"),
        stored(found),
        result(call_id, "x"),
        model="gemini-3.5-flash",
    )["contents"]
    assert back[1]["parts"][0]["functionCall"]["id"] == "fc-1"
    assert back[2]["parts"][0]["functionResponse"]["id"] == "fc-1"


def test_edge_08_signatures_stay_on_their_parts_and_plain_thoughts_are_let_go() -> None:
    signed = {**call("f"), "thoughtSignature": "c2ln"}
    found = reply({"text": "I think", "thought": True}, signed, call("g"))
    assert found.content == ""
    assert found.vendor is not None
    assert found.vendor["parts"] == [signed, call("g")]
    last = {"text": "", "thoughtSignature": "ZW5k"}
    answered = reply({"text": "Hi"}, last)
    assert answered.vendor is not None
    assert answered.vendor["parts"] == [{"text": "Hi"}, last]


@pytest.mark.parametrize(
    ("reason", "expected"),
    [
        ("STOP", "stop"),
        (None, "stop"),
        ("MAX_TOKENS", "length"),
        ("CONTINUATION", "length"),
        ("MALFORMED_FUNCTION_CALL", "other"),
        ("MISSING_THOUGHT_SIGNATURE", "other"),
        ("TOO_MANY_TOOL_CALLS", "other"),
        ("A_REASON_OF_NEXT_YEAR", "other"),
        ("SAFETY", "content_filter"),
        ("MODEL_ARMOR", "content_filter"),
        ("RECITATION", "content_filter"),
    ],
)
def test_edge_31_every_finish_reason_has_a_meaning(reason: str | None, expected: str) -> None:
    assert reply({"text": "x"}, reason=reason).finish_reason == expected


def test_edge_15_a_blocked_prompt_is_a_filtered_reply() -> None:
    found = read(
        gemini,
        ENDPOINT,
        {
            "promptFeedback": {"blockReason": "PROHIBITED_CONTENT"},
            "usageMetadata": {"promptTokenCount": 7},
        },
    )
    assert found.finish_reason == "content_filter"
    assert (found.content, found.tool_calls, found.usage) == ("", (), Usage(7, 0))
    assert "PROHIBITED_CONTENT" in str(found.refusal)


def test_edge_15_a_filtered_answer_has_no_content_and_says_why() -> None:
    found = reply({"text": "Half of"}, reason="SAFETY")
    assert (found.content, found.refusal) == ("", "The provider stopped the answer: SAFETY.")


@pytest.mark.parametrize("content", [None, {}, {"role": "model"}, {"parts": []}])
def test_edge_16_max_tokens_without_parts_is_length(content: Any) -> None:
    made = body(reason="MAX_TOKENS", usageMetadata={"thoughtsTokenCount": 99})
    made["candidates"][0]["content"] = content
    found = read(gemini, ENDPOINT, made)
    assert (found.finish_reason, found.content) == ("length", "")
    assert found.usage == Usage(0, 99, 0, 0, 99)


def test_edge_17_a_cut_off_call_is_marked_as_cut_off() -> None:
    assert reply(call(), reason="MAX_TOKENS").finish_reason == "length"


@pytest.mark.parametrize("reason", ["STOP", None, "FUNCTION_CALL"])
def test_edge_18_calls_count_whatever_the_finish_reason_says(reason: str | None) -> None:
    assert reply(call(), reason=reason).finish_reason == "tool_calls"


@pytest.mark.parametrize(
    "made",
    [
        {},
        {"candidates": []},
        {"candidates": {"a": 1}},
        {"candidates": ["x"]},
        {"candidates": [{"content": {"parts": "x"}}]},
        {"candidates": [{"content": {"parts": ["x"]}}]},
        {"choices": []},
    ],
)
def test_edge_20_a_success_that_is_no_response_is_a_clear_error(made: dict[str, Any]) -> None:
    with pytest.raises(ProviderError) as caught:
        read(gemini, ENDPOINT, made)
    assert caught.value.kind == "malformed_response"


def test_edge_21_thoughts_are_output_and_cached_tokens_a_part_of_the_input() -> None:
    usage = {
        "promptTokenCount": 100,
        "cachedContentTokenCount": 60,
        "toolUsePromptTokenCount": 7,
        "candidatesTokenCount": 20,
        "thoughtsTokenCount": 30,
        "totalTokenCount": 157,
    }
    assert reply({"text": "x"}, usageMetadata=usage).usage == Usage(107, 50, 60, 0, 30)


def test_edge_24_a_reply_with_a_file_keeps_its_texts_and_the_file_for_the_vendor() -> None:
    picture = {"inlineData": {"mimeType": "image/png", "data": "iVBORw0KGgo="}}
    found = reply({"text": "See: "}, picture, {"text": "nice?"})
    assert found.content == "See: nice?"
    assert found.vendor is not None
    assert found.vendor["parts"][1] == picture


def test_edge_31_a_part_of_an_unknown_kind_is_kept_for_the_vendor() -> None:
    future = {"hologram": {"x": 1}}
    found = reply({"text": "See:"}, future)
    assert found.content == "See:"
    assert found.vendor is not None
    assert found.vendor["parts"][1] == future


def error_of(
    status: int, name: str, words: str = "no", *details: dict[str, Any], **headers: str
) -> ProviderError:
    error = {"code": status, "message": words, "status": name, "details": list(details)}
    with pytest.raises(ProviderError) as caught:
        gemini.from_wire(answer({"error": error}, status, **headers), ENDPOINT)
    return caught.value


@pytest.mark.parametrize(
    ("status", "name", "words", "kind", "retryable"),
    [
        (400, "INVALID_ARGUMENT", "bad field", "invalid_request", False),
        (
            400,
            "INVALID_ARGUMENT",
            "The input token count (1200293) exceeds the maximum number of tokens allowed "
            "(1048576).",
            "context_overflow",
            False,
        ),
        (400, "FAILED_PRECONDITION", "location", "invalid_request", False),
        (403, "PERMISSION_DENIED", "no", "authentication", False),
        (404, "NOT_FOUND", "no such model", "not_found", False),
        (429, "RESOURCE_EXHAUSTED", "quota", "rate_limited", True),
        (500, "INTERNAL", "oops", "server_error", True),
        (503, "UNAVAILABLE", "overloaded", "overloaded", True),
        (504, "DEADLINE_EXCEEDED", "slow", "server_error", True),
    ],
)
def test_edge_32_errors_have_a_kind_and_say_whether_to_try_again(
    status: int, name: str, words: str, kind: str, retryable: bool
) -> None:
    error = error_of(status, name, words)
    assert (error.kind, error.is_retryable, error.code) == (kind, retryable, name)


def test_a_bad_key_is_an_authentication_error_though_its_status_is_400() -> None:
    info = {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "API_KEY_INVALID"}
    error = error_of(400, "INVALID_ARGUMENT", "API key AIzaSecret1 not valid", info)
    assert (error.kind, error.code) == ("authentication", "API_KEY_INVALID")
    assert "AIzaSecret1" not in error.message


def test_the_wait_in_the_body_is_passed_on() -> None:
    info = {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "34.5s"}
    assert error_of(429, "RESOURCE_EXHAUSTED", "quota", info).retry_after == 34.5
    header = error_of(429, "RESOURCE_EXHAUSTED", "quota", info, retry_after="2")
    assert header.retry_after == 2.0
