"""Bodies, errors, ids and texts at the wire."""

from __future__ import annotations

import json
from collections.abc import Mapping

import pytest

from pgagentos.errors import ProviderError
from pgagentos.net.message import HttpResponse
from pgagentos.providers import wire
from pgagentos.providers.json_text import MAX_DEPTH

DATE = "Mon, 23 Nov 2026 10:00:00 GMT"
NOW = 1795428000.0  # the same moment


def raised_for(response: HttpResponse, **words: str | None) -> ProviderError:
    arguments: dict[str, str | None] = {"message": None, "code": None, **words}
    with pytest.raises(ProviderError) as raised:
        wire.raise_for_status(response, "p", **arguments)  # type: ignore[arg-type]
    return raised.value


# --- texts -------------------------------------------------------------------------------------


def test_text_that_postgresql_can_hold_is_left_alone() -> None:
    text = "plain, 한글, 😀, \t\n"
    assert wire.clean_text(text) is text


def test_nul_and_lone_surrogates_become_the_replacement_character() -> None:
    assert wire.clean_text("a\0b\ud800c\udfff") == "a\ufffdb\ufffdc\ufffd"


def test_json_is_compact_and_can_always_be_encoded() -> None:
    assert wire.dumps({"a": [1, "한"], "b": "\ud83d"}) == '{"a":[1,"한"],"b":"\ufffd"}'


def test_escapes_of_nul_and_lone_surrogates_in_a_body_are_replaced_everywhere() -> None:
    body = rb'{"a\u0000":["x\ud800",{"b":"\uDFFFy"}],"pair":"\ud83d\ude00"}'
    value = wire.parse_object(HttpResponse(200, {}, body), "p")
    assert value == {"a\ufffd": ["x\ufffd", {"b": "\ufffdy"}], "pair": "😀"}


# --- bodies ------------------------------------------------------------------------------------


@pytest.mark.parametrize("head", [{}, {"model": "m"}])
@pytest.mark.parametrize("fragments", [[], ['{"a":1}'], ['{"a":1}', '"한"']])
@pytest.mark.parametrize("tail", [None, {}, {"store": False, "n": [1]}])
def test_a_joined_body_is_the_json_of_its_parts(
    head: dict[str, object], fragments: list[str], tail: dict[str, object] | None
) -> None:
    body = wire.join_body(head, "messages", iter(fragments), tail)
    expected = {**head, "messages": [json.loads(text) for text in fragments], **(tail or {})}
    assert json.loads(body) == expected
    assert b" " not in body


def test_fragments_are_joined_unparsed() -> None:
    assert wire.join_body({}, "m", ["<not json>"]) == b'{"m":[<not json>]}'


@pytest.mark.parametrize("content_type", ["application/json", "application/problem+JSON", ""])
def test_json_content_types_and_none_are_accepted(content_type: str) -> None:
    headers = {"content-type": content_type} if content_type else {}
    assert wire.parse_object(HttpResponse(200, headers, b'\xef\xbb\xbf{"a":1}'), "p") == {"a": 1}


def test_a_web_page_is_malformed_and_is_shown_in_part_on_one_line_without_secrets() -> None:
    page = b"<html>\x00\x1b[31m\r\nkey sk-abcdefghijklmnop " + b"x" * 1000
    with pytest.raises(ProviderError) as raised:
        wire.parse_object(HttpResponse(200, {"content-type": "text/html"}, page), "p")
    error = raised.value
    assert error.kind == "malformed_response"
    assert error.is_retryable
    assert error.message.startswith("content type text/html: <html>")
    assert len(error.message) <= 200
    assert error.message.isprintable()
    assert "sk-abc" not in error.message


# --- errors ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, "invalid_request"),
        (401, "authentication"),
        (402, "billing"),
        (403, "authentication"),
        (404, "not_found"),
        (405, "invalid_request"),
        (408, "server_error"),
        (409, "server_error"),
        (413, "context_overflow"),
        (422, "invalid_request"),
        (429, "rate_limited"),
        (500, "server_error"),
        (502, "server_error"),
        (503, "overloaded"),
        (504, "server_error"),
        (529, "overloaded"),
    ],
)
def test_every_status_has_a_kind(status: int, kind: str) -> None:
    error = raised_for(HttpResponse(status))
    assert error.kind == kind
    assert error.status == status
    assert error.provider == "p"
    assert error.message == f"HTTP status {status}"


def test_the_code_goes_before_the_status_and_a_given_kind_before_both() -> None:
    assert raised_for(HttpResponse(429), code="insufficient_quota").kind == "billing"
    assert raised_for(HttpResponse(400), code="context_length_exceeded").kind == "context_overflow"
    overridden = raised_for(HttpResponse(429), code="insufficient_quota", kind="overloaded")
    assert overridden.kind == "overloaded"


@pytest.mark.parametrize(
    "message",
    [
        "This model's maximum context length is 4096 tokens",
        "prompt is too long: 210000 tokens > 200000 maximum",
        "the request exceeds the available context size",
        "The input token count (3000000) exceeds the maximum number of tokens allowed (1048576).",
    ],
)
def test_edge_32_an_overflow_that_is_told_in_words_only_is_recognised(message: str) -> None:
    error = raised_for(HttpResponse(400), message=message)
    assert error.kind == "context_overflow"
    assert not error.is_retryable
    assert error.hint is not None


def test_words_about_the_context_do_not_change_a_server_error() -> None:
    error = raised_for(HttpResponse(500), message="context window service is down")
    assert error.kind == "server_error"


@pytest.mark.parametrize(
    "leak",
    [
        "my-own-key",
        "sk-proj-abc123DEF456",
        "Bearer eyJhbGciOi.J9x_y-z",
        "AIzaSyA1234567890",
        "api_key=topsecret1",
        "sk-te************ghij",
    ],
)
def test_nothing_that_looks_like_a_key_is_in_the_error(leak: str) -> None:
    error = raised_for(
        HttpResponse(401), message=f"bad {leak}, see docs", code=leak, api_key="my-own-key"
    )
    assert leak not in error.message
    assert "[secret]" in error.message
    assert "see docs" in error.message
    assert leak not in (error.code or "")


def test_a_long_message_is_cut_and_its_control_characters_are_gone() -> None:
    error = raised_for(HttpResponse(400), message="a\0\n\x1b[1m" + "x" * 1000)
    assert len(error.message) == 500
    assert error.message.isprintable()


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "3"}, 3.0),
        ({"retry-after": "0.5"}, 0.5),
        ({"retry-after": "-3"}, 0.0),
        ({"retry-after-ms": "250", "retry-after": "9"}, 0.25),
        ({"retry-after-ms": "soon", "retry-after": "9"}, 9.0),
        ({"retry-after": "Mon, 23 Nov 2026 10:00:42 GMT"}, 42.0),
        ({"retry-after": "Mon, 23 Nov 2026 09:00:00 GMT"}, 0.0),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "inf"}, None),
        ({"retry-after": "tomorrow"}, None),
    ],
)
def test_the_time_to_wait_is_read_in_every_form(
    headers: Mapping[str, str], seconds: float | None
) -> None:
    assert wire.retry_after(headers, NOW) == seconds


def test_a_date_to_wait_for_counts_from_the_date_of_the_response() -> None:
    headers = {"retry-after": "Mon, 23 Nov 2026 10:01:00 GMT", "date": DATE}
    assert raised_for(HttpResponse(503, headers)).retry_after == 60.0
    del headers["date"]
    assert raised_for(HttpResponse(503, headers)).retry_after is None


def test_the_vendor_decides_whether_a_retry_is_worth_it() -> None:
    assert not raised_for(HttpResponse(500, {"x-should-retry": "false"})).is_retryable
    assert raised_for(HttpResponse(400, {"x-should-retry": "true"})).is_retryable
    assert raised_for(HttpResponse(500, {"x-should-retry": "maybe"})).is_retryable


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>",
        b"[]",
        b"[1]",
        b"7",
        b"[" * 100_000,
        b"\xff",
        # Some versions of Python read this.
        b'{"a":' * 3000 + b'"\\ud800"' + b"}" * 3000,
    ],
)
def test_an_error_body_of_any_shape_is_read_as_nothing(body: bytes) -> None:
    assert wire.error_object(HttpResponse(500, {}, body)) == {}


# --- tool calls --------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["", "  \n"])
def test_edge_01_no_text_means_no_arguments(text: str) -> None:
    assert wire.parse_arguments(text) == {}


@pytest.mark.parametrize(
    "text", ["{", "[1]", "7", "null", '"x"', '{"a":NaN}', "{'a':1}", "[" * 100_000, "1" * 5000]
)
def test_edge_01_arguments_that_are_no_json_object_are_told_apart(text: str) -> None:
    assert wire.parse_arguments(text) is None


def test_edge_01_arguments_are_made_storable() -> None:
    assert wire.parse_arguments(r'{"a":"x\u0000","b":["\ud800"]}') == {
        "a": "x\ufffd",
        "b": ["\ufffd"],
    }


def test_edge_02_a_made_id_is_stable_and_fits_every_vendor() -> None:
    made = wire.make_call_id("resp_1", 0)
    assert made == wire.make_call_id("resp_1", 0)
    assert made not in (wire.make_call_id("resp_1", 1), wire.make_call_id("resp_2", 0))
    assert len(made) <= 40
    assert made.replace("_", "").isalnum()


def test_edge_02_ids_that_are_good_stay_and_the_others_are_made() -> None:
    good = ["call_HNiPzLp9tYtV6OiV1fmkEYtA", "toolu_01AbCdEfGh", "a1b2c3d4e", "fc-x"]
    assert wire.unique_call_ids(good, "r") == good
    made = wire.unique_call_ids([None, "", "call_abcdefgh", "call_abcdefgh"], "r")
    assert made[2] == "call_abcdefgh"
    assert len(set(made)) == 4
    assert made == wire.unique_call_ids([None, "", "call_abcdefgh", "call_abcdefgh"], "r")


@pytest.mark.parametrize(
    "counted", ["call_0", "0", "12", "functions.search:3", "tool-1", "a.b:7", "x" * 41, "a b"]
)
def test_edge_03_ids_that_count_within_a_reply_differ_between_replies(counted: str) -> None:
    first = wire.unique_call_ids([counted], "reply 1")
    second = wire.unique_call_ids([counted], "reply 2")
    assert counted not in first
    assert first != second
    assert wire.unique_call_ids([counted], "reply 1", scope="vendor") == [counted]


def test_edge_03_all_ids_are_qualified_where_the_provider_is_known_to_reuse_them() -> None:
    good = "call_HNiPzLp9tYtV6OiV1fmkEYtA"
    first = wire.unique_call_ids([good], "reply 1", scope="response")
    assert first != wire.unique_call_ids([good], "reply 2", scope="response")
    assert good not in first


@pytest.mark.parametrize("text", ["{", '{"a":', '{"a":"x', '{"a":"x\\', '{"a":[1,{"b":2}', '"x'])
def test_edge_17_the_beginning_of_a_json_text_is_recognised(text: str) -> None:
    assert wire.is_cut_off(text)


@pytest.mark.parametrize("text", ["", "{}", '{"a":"}{"}', "{'a':1}", "}{", "nonsense", '{"a":1}}'])
def test_edge_17_whole_and_merely_wrong_json_is_not_cut_off(text: str) -> None:
    assert not wire.is_cut_off(text)


def test_arguments_nested_deeper_than_the_database_reads_are_no_arguments() -> None:
    def nested(depth: int) -> str:
        return '{"n":' + "[" * (depth - 1) + "]" * (depth - 1) + "}"

    assert wire.parse_arguments(nested(MAX_DEPTH)) is not None
    assert wire.parse_arguments(nested(MAX_DEPTH + 1)) is None
    flat = json.dumps({"n": [[]] * 1000, "text": "[{" * 1000 + '"'})
    assert wire.parse_arguments(flat) == json.loads(flat)
