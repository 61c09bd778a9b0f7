"""What the anthropic driver sends."""

from __future__ import annotations

import json
from typing import Any

import pytest

from pgagentos.errors import InvalidInput
from pgagentos.providers import anthropic
from pgagentos.providers.base import ChatRequest, Endpoint, Message, Tool
from unit.providers.conversation import (
    WEATHER,
    assistant,
    note,
    result,
    sent,
    user,
    wire,
)

ENDPOINT = Endpoint("anthropic", "anthropic", "https://api.anthropic.com", "sk-ant-1")


def with_options(**options: Any) -> Endpoint:
    return Endpoint("anthropic", "anthropic", "https://api.anthropic.com", "sk-ant-1", options)


def body(*messages: Message, endpoint: Endpoint = ENDPOINT, **more: Any) -> dict[str, Any]:
    more.setdefault("model", "claude-haiku-4-5")
    return sent(anthropic, endpoint, *messages, **more)


def messages_of(*messages: Message, **more: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = body(*messages, **more)["messages"]
    return found


def headers(endpoint: Endpoint) -> dict[str, str]:
    request = ChatRequest("claude-haiku-4-5", "", [user("Hi")])
    return dict(wire(anthropic, endpoint, request).headers)


# --- the plain parts -----------------------------------------------------------------------------


def test_a_plain_conversation_is_sent_word_for_word() -> None:
    assert body(
        user('안녕 "Welt"\n\\ end'), assistant("Hallo"), user("go on"), system="Be brief."
    ) == {
        "model": "claude-haiku-4-5",
        "max_tokens": 8192,
        "system": "Be brief.",
        "messages": [
            {"role": "user", "content": '안녕 "Welt"\n\\ end'},
            {"role": "assistant", "content": "Hallo"},
            {"role": "user", "content": "go on"},
        ],
    }


def test_messages_spelled_with_spaces_mean_the_same() -> None:
    spaced = Message('{"role": "user", "content": "Hi"}')
    assert messages_of(spaced) == messages_of(user("Hi"))


def test_further_members_of_a_message_are_not_taken_for_its_text() -> None:
    named = Message('{"role":"user","content":"Hi","name":"Ada"}')
    assert messages_of(named) == messages_of(user("Hi"))


def test_text_that_ends_like_a_json_member_is_kept_whole() -> None:
    for text in ('a","b', 'ends with "', '","', "\\", '\\"', '"}'):
        assert messages_of(user(text)) == [{"role": "user", "content": text}]


@pytest.mark.parametrize(
    ("base_url", "url"),
    [
        ("https://api.anthropic.com", "https://api.anthropic.com/v1/messages"),
        ("http://127.0.0.1:8080/anthropic/v1", "http://127.0.0.1:8080/anthropic/v1/messages"),
    ],
)
def test_the_path_is_added_to_the_base_url_once(base_url: str, url: str) -> None:
    endpoint = Endpoint("a", "anthropic", base_url)
    assert wire(anthropic, endpoint, ChatRequest("m", "", [user("Hi")])).url == url


def test_a_conversation_without_text_is_refused() -> None:
    with pytest.raises(InvalidInput):
        body(user("  \n "))


# --- edge case 1: arguments ----------------------------------------------------------------------


def test_edge_01_arguments_are_sent_as_an_object() -> None:
    call = messages_of(user("?"), assistant("", ("c1", "f", {"a": 1})), result("c1", "x"))[1]
    assert call["content"] == [{"type": "tool_use", "id": "c1", "name": "f", "input": {"a": 1}}]


def test_edge_01_arguments_that_are_no_object_are_wrapped_not_dropped() -> None:
    for given, expected in (("{bad", {"invalid_json": "{bad"}), ("", {})):
        call = messages_of(user("?"), assistant("", ("c1", "f", given)), result("c1", "x"))[1]
        assert call["content"][0]["input"] == expected


# --- edge cases 2 and 3: ids ---------------------------------------------------------------------


def test_edge_02_foreign_ids_are_rewritten_into_valid_ones_for_call_and_result() -> None:
    found = messages_of(user("?"), assistant("", ("call|1:a", "f", {})), result("call|1:a", "x"))
    assert found[1]["content"][0]["id"] == "call_1_a"
    assert found[2]["content"][0]["tool_use_id"] == "call_1_a"


def test_edge_03_an_id_used_in_two_turns_is_unique_in_the_request() -> None:
    found = messages_of(
        user("one"),
        assistant("", ("call_0", "f", {})),
        result("call_0", "first"),
        assistant("", ("call_0", "f", {})),
        result("call_0", "second"),
    )
    assert [found[1]["content"][0]["id"], found[3]["content"][0]["id"]] == ["call_0", "call_0_2"]
    assert found[4]["content"][0] == {
        "type": "tool_result",
        "tool_use_id": "call_0_2",
        "content": "second",
    }


# --- edge case 4: dangling calls -----------------------------------------------------------------


def test_edge_04_a_call_without_a_result_gets_one_that_says_so() -> None:
    found = messages_of(user("?"), assistant("", ("c1", "f", {})), user("go on"))
    assert [block["type"] for block in found[2]["content"]] == ["tool_result", "text"]
    assert found[2]["content"][0]["is_error"] is True


def test_edge_04_a_result_without_a_call_is_dropped() -> None:
    assert messages_of(user("?"), result("nobody", "x")) == [{"role": "user", "content": "?"}]


# --- edge case 5: results ------------------------------------------------------------------------


def test_edge_05_all_results_of_a_batch_stand_in_one_user_message_before_the_text() -> None:
    found = messages_of(
        user("?"),
        assistant("Looking.", ("c1", "f", {}), ("c2", "g", {})),
        result("c1", "one"),
        result("c2", "boom", is_error=True),
        user("and?"),
    )
    assert found[1:] == [
        {
            "role": "assistant",
            "content": [
                {"type": "text", "text": "Looking."},
                {"type": "tool_use", "id": "c1", "name": "f", "input": {}},
                {"type": "tool_use", "id": "c2", "name": "g", "input": {}},
            ],
        },
        {
            "role": "user",
            "content": [
                {"type": "tool_result", "tool_use_id": "c1", "content": "one"},
                {
                    "type": "tool_result",
                    "tool_use_id": "c2",
                    "content": "boom",
                    "is_error": True,
                },
                {"type": "text", "text": "and?"},
            ],
        },
    ]


def test_edge_05_an_empty_result_has_no_content_instead_of_an_empty_list() -> None:
    found = messages_of(user("?"), assistant("", ("c1", "f", {})), result("c1", " "))
    assert found[2]["content"] == [{"type": "tool_result", "tool_use_id": "c1"}]


# --- edge case 6: thinking -----------------------------------------------------------------------

THINKING = {"type": "thinking", "thinking": "hm \u2028 \\u0041", "signature": "Eo8C+/=="}
REDACTED = {"type": "redacted_thinking", "data": "EmwKAhgB"}


def thoughtful(*blocks: dict[str, Any], provider: str = "anthropic") -> dict[str, Any]:
    return {
        "driver": "anthropic",
        "provider": provider,
        "model": "claude-opus-5",
        "content": list(blocks),
    }


CALL = {"type": "tool_use", "id": "toolu_1", "name": "f", "input": {}}


def test_edge_06_signed_thinking_goes_back_unchanged_and_in_its_place() -> None:
    reply = assistant("", ("toolu_1", "f", {}), vendor=thoughtful(THINKING, REDACTED, CALL))
    found = messages_of(user("?"), reply, result("toolu_1", "x"))
    assert found[1]["content"] == [THINKING, REDACTED, CALL]


def test_a_call_that_the_history_lost_is_not_sent_back_from_the_blocks() -> None:
    found = messages_of(user("?"), assistant("", vendor=thoughtful(THINKING, CALL)), user("ok"))
    assert found[1]["content"] == [THINKING]


def test_edge_06_the_thinking_of_another_provider_is_dropped() -> None:
    vendor = thoughtful(THINKING, CALL, provider="gateway")
    reply = assistant("", ("toolu_1", "f", {}), vendor=vendor)
    found = messages_of(user("?"), reply, result("toolu_1", "x"))
    assert found[1]["content"] == [CALL]


def test_edge_06_thinking_without_a_signature_is_dropped() -> None:
    vendor = thoughtful({**THINKING, "signature": ""}, {"type": "text", "text": "Yes"})
    found = messages_of(user("?"), assistant("Yes", vendor=vendor), user("why?"))
    assert found[1]["content"] == [{"type": "text", "text": "Yes"}]


def test_budget_thinking_stays_off_in_a_loop_that_began_without_it() -> None:
    wish: dict[str, Any] = {
        "capabilities": {"reasoning": True, "thinking": "budget"},
        "params": {"reasoning_effort": "high", "max_output_tokens": 20000},
    }
    foreign = assistant("", ("call_1", "f", {}))
    assert "thinking" not in body(user("?"), foreign, result("call_1", "x"), **wish)
    own = assistant("", ("toolu_1", "f", {}), vendor=thoughtful(THINKING, CALL))
    assert body(user("?"), own, result("toolu_1", "x"), **wish)["thinking"] == {
        "type": "enabled",
        "budget_tokens": 16384,
    }
    done = body(user("?"), foreign, result("call_1", "x"), assistant("A"), user("B"), **wish)
    assert "thinking" in done


# --- edge case 10: sampling ----------------------------------------------------------------------

WARM: dict[str, Any] = {"params": {"temperature": 1.4, "top_p": 0.9}}


def test_edge_10_only_one_sampling_parameter_is_sent_and_within_the_range() -> None:
    found = body(user("Hi"), **WARM)
    assert found["temperature"] == 1.0
    assert "top_p" not in found
    assert body(user("Hi"), params={"top_p": 0.9})["top_p"] == 0.9


@pytest.mark.parametrize(
    ("endpoint", "more"),
    [
        (with_options(anthropic_version="2026-10-21"), {}),
        (ENDPOINT, {"model": "claude-opus-4-7"}),
        (ENDPOINT, {"model": "claude-sonnet-5-5"}),
        (ENDPOINT, {"capabilities": {"temperature": False}}),
        (
            ENDPOINT,
            {
                "capabilities": {"reasoning": True, "thinking": "adaptive"},
                "params": {**WARM["params"], "reasoning_effort": "low"},
            },
        ),
    ],
    ids=["api 2026-10-21", "opus 4.7", "sonnet 5.5", "registry says no", "while thinking"],
)
def test_edge_10_sampling_is_left_out_where_it_is_refused(
    endpoint: Endpoint, more: dict[str, Any]
) -> None:
    found = body(user("Hi"), endpoint=endpoint, **{**WARM, **more})
    assert "temperature" not in found
    assert "top_p" not in found


# --- edge cases 11 and 12: max_tokens ------------------------------------------------------------


@pytest.mark.parametrize(
    ("params", "capabilities", "options", "expected"),
    [
        ({}, {}, {}, 8192),
        ({}, {"max_output_tokens": 4096}, {}, 4096),
        ({}, {"max_output_tokens": 128000}, {}, 21333),
        ({"max_output_tokens": 100}, {"max_output_tokens": 128000}, {}, 100),
        ({"max_output_tokens": 9000}, {"max_output_tokens": 4096}, {}, 4096),
        ({"max_output_tokens": 64000}, {}, {}, 21333),
        ({"max_output_tokens": 64000}, {}, {"max_nonstreaming_tokens": 30000}, 30000),
    ],
)
def test_edge_11_and_12_max_tokens_is_always_there_and_never_needs_streaming(
    params: dict[str, Any], capabilities: dict[str, Any], options: dict[str, Any], expected: int
) -> None:
    found = body(
        user("Hi"), endpoint=with_options(**options), params=params, capabilities=capabilities
    )
    assert found["max_tokens"] == expected


# --- edge case 13: tool choice -------------------------------------------------------------------


def test_edge_13_no_tool_choice_without_tools() -> None:
    assert {"tools", "tool_choice"}.isdisjoint(body(user("Hi"), tool_choice="required"))


def test_edge_13_tools_stay_declared_when_none_may_be_called() -> None:
    found = body(user("Hi"), tools=(WEATHER,), tool_choice="none")
    assert found["tool_choice"] == {"type": "none"}
    assert found["tools"][0]["name"] == "get_weather"


def test_edge_13_a_forced_call_becomes_a_free_one_where_it_is_refused() -> None:
    forced: dict[str, Any] = {"tools": (WEATHER,), "tool_choice": "required"}
    assert body(user("Hi"), **forced)["tool_choice"] == {"type": "any"}
    refused = {"capabilities": {"forced_tool_choice": False}}
    assert "tool_choice" not in body(user("Hi"), **forced, **refused)
    thinking: dict[str, Any] = {
        "capabilities": {"reasoning": True, "thinking": "budget"},
        "params": {"reasoning_effort": "low"},
    }
    assert "tool_choice" not in body(user("Hi"), **forced, **thinking)


def test_a_history_with_calls_declares_their_tools_even_if_the_agent_lost_them() -> None:
    found = body(user("?"), assistant("", ("c1", "old_tool", {})), result("c1", "x"))
    assert [tool["name"] for tool in found["tools"]] == ["old_tool"]
    assert found["tool_choice"] == {"type": "none"}


def test_parallel_calls_can_be_switched_off() -> None:
    found = body(user("Hi"), tools=(WEATHER,), params={"parallel_tool_calls": False})
    assert found["tool_choice"] == {"type": "auto", "disable_parallel_tool_use": True}


# --- edge case 14: pause -------------------------------------------------------------------------

SEARCH = {"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": {}}
FOUND = {"type": "web_search_tool_result", "tool_use_id": "srvtoolu_1", "content": []}
SEARCH_TOOL = {"type": "web_search_20260209", "name": "web_search"}


def test_edge_14_a_paused_reply_goes_back_unchanged_as_the_last_message() -> None:
    vendor = {**thoughtful(THINKING, SEARCH), "is_paused": True}
    found = body(
        user("?"),
        assistant("", vendor=vendor),
        endpoint=with_options(server_tools=[SEARCH_TOOL]),
    )
    assert found["messages"][-1] == {"role": "assistant", "content": [THINKING, SEARCH]}
    assert found["tools"] == [SEARCH_TOOL]


def test_edge_14_what_follows_a_pause_is_merged_into_one_message() -> None:
    paused = {**thoughtful(SEARCH), "is_paused": True}
    done = thoughtful(FOUND, {"type": "text", "text": "Found."})
    found = messages_of(
        user("?"),
        assistant("", vendor=paused),
        assistant("Found.", vendor=done),
        user("ok"),
        endpoint=with_options(server_tools=[SEARCH_TOOL]),
    )
    assert found[1]["content"] == [SEARCH, FOUND, {"type": "text", "text": "Found."}]


# --- edge case 19: empty texts -------------------------------------------------------------------


def test_edge_19_an_empty_reply_is_skipped_and_its_neighbours_merged() -> None:
    assert messages_of(user("a"), assistant(" "), user("b")) == [
        {
            "role": "user",
            "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}],
        }
    ]


def test_edge_19_a_history_that_begins_with_the_assistant_gets_an_opening() -> None:
    found = messages_of(assistant("Hello"), user("Hi"))
    assert [message["role"] for message in found] == ["user", "assistant", "user"]
    assert found[0]["content"].strip()


# --- edge case 22: cache -------------------------------------------------------------------------


def cache_points(value: Any) -> int:
    return json.dumps(value).count("cache_control")


def test_edge_22_three_cache_points_at_tools_system_and_the_last_user_message() -> None:
    found = body(
        user("a"),
        assistant("b"),
        user("c"),
        endpoint=with_options(prompt_cache=True, cache_ttl="1h"),
        system="S",
        tools=(WEATHER, Tool("other", "Another", {"type": "object", "properties": {}})),
    )
    point = {"type": "ephemeral", "ttl": "1h"}
    assert found["system"] == [{"type": "text", "text": "S", "cache_control": point}]
    assert [tool.get("cache_control") for tool in found["tools"]] == [None, point]
    assert found["messages"][2]["content"] == [
        {"type": "text", "text": "c", "cache_control": point}
    ]
    assert cache_points(found) == 3


def test_edge_22_a_longer_history_keeps_the_prefix_of_the_shorter_one() -> None:
    history = [
        user("a"),
        assistant("", ("x", "f", {})),
        result("x", "1"),
        assistant("", ("x", "f", {})),
    ]
    history += [result("x", "2"), assistant("b")]
    shorter = messages_of(*history, user("c"))
    longer = messages_of(*history, user("c"), assistant("", ("x", "f", {})), result("x", "3"))
    assert longer[: len(shorter)] == shorter


def test_edge_22_the_same_request_gives_the_same_bytes() -> None:
    request = ChatRequest("m", "S", [user("a"), assistant("", ("x", "f", {}))], (WEATHER,))
    assert wire(anthropic, ENDPOINT, request) == wire(anthropic, ENDPOINT, request)


# --- edge case 26: notes in the middle -----------------------------------------------------------


def test_edge_26_a_note_is_a_system_message_after_the_users_where_the_model_takes_it() -> None:
    found = messages_of(
        user("?"),
        assistant("", ("c1", "f", {})),
        note("Be quick."),
        result("c1", "x"),
        user("more"),
        assistant("ok"),
        user("end"),
        capabilities={"mid_conversation_system": True},
    )
    assert [message["role"] for message in found] == [
        "user",
        "assistant",
        "user",
        "system",
        "assistant",
        "user",
    ]
    assert found[3]["content"] == "Be quick."
    assert found[2]["content"][0]["type"] == "tool_result"


def test_edge_26_a_note_is_tagged_text_for_other_models() -> None:
    found = messages_of(user("a"), note("Be quick."))
    assert found == [
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "a"},
                {"type": "text", "text": "<system>Be quick.</system>"},
            ],
        }
    ]


def test_edge_26_a_note_at_the_very_beginning_is_not_a_system_message() -> None:
    found = messages_of(note("N"), user("a"), capabilities={"mid_conversation_system": True})
    assert found[0]["role"] == "user"


# --- edge case 27: server tools ------------------------------------------------------------------


def test_edge_27_blocks_of_a_server_tool_go_back_only_while_it_is_declared() -> None:
    text = {"type": "text", "text": "Found."}
    reply = assistant("Found.", vendor=thoughtful(SEARCH, FOUND, text))
    declared = with_options(server_tools=[SEARCH_TOOL])
    kept = messages_of(user("?"), reply, user("ok"), endpoint=declared)
    assert kept[1]["content"] == [SEARCH, FOUND, text]
    assert messages_of(user("?"), reply, user("ok"))[1]["content"] == [text]


def test_edge_27_a_server_call_that_never_got_its_result_is_dropped() -> None:
    paused = {**thoughtful({"type": "text", "text": "Hm."}, SEARCH), "is_paused": True}
    found = messages_of(
        user("?"),
        assistant("Hm.", vendor=paused),
        user("never mind"),
        endpoint=with_options(server_tools=[SEARCH_TOOL]),
    )
    assert found[1]["content"] == [{"type": "text", "text": "Hm."}]


# --- edge case 31: unknown blocks ----------------------------------------------------------------


def test_edge_31_a_block_of_an_unknown_kind_goes_back_unchanged() -> None:
    future = {"type": "hologram", "payload": {"x": [1, None]}}
    found = messages_of(user("?"), assistant("", vendor=thoughtful(future)), user("ok"))
    assert found[1]["content"] == [future]


# --- headers, effort, schema ---------------------------------------------------------------------


def test_the_key_goes_where_the_version_wants_it() -> None:
    old, new = headers(ENDPOINT), headers(with_options(anthropic_version="2026-10-21"))
    assert (old["anthropic-version"], old["x-api-key"]) == ("2023-06-01", "sk-ant-1")
    assert (new["anthropic-version"], new["authorization"]) == ("2026-10-21", "Bearer sk-ant-1")
    assert "authorization" not in old
    assert "x-api-key" not in new


def test_option_auth_wins_over_the_version() -> None:
    assert headers(with_options(auth="bearer"))["authorization"] == "Bearer sk-ant-1"
    new = headers(with_options(auth="x-api-key", anthropic_version="2026-10-21"))
    assert new["x-api-key"] == "sk-ant-1"
    with pytest.raises(InvalidInput):
        headers(with_options(auth="cookie"))


def test_betas_and_further_headers_are_sent() -> None:
    found = headers(with_options(anthropic_beta=["a", "b"], extra_headers={"X-Team": "db"}))
    assert (found["anthropic-beta"], found["x-team"]) == ("a,b", "db")


@pytest.mark.parametrize(
    ("model", "capabilities", "effort", "thinking", "sent_effort"),
    [
        ("claude-opus-5", {"reasoning": True}, "max", {"type": "adaptive"}, "max"),
        (
            "claude-opus-4-6",
            {"reasoning": True, "efforts": ["low", "medium", "high", "max"]},
            "xhigh",
            {"type": "adaptive"},
            "high",
        ),
        ("claude-opus-5", {"reasoning": True}, "minimal", {"type": "adaptive"}, "low"),
        ("claude-opus-5", {"reasoning": True}, "none", {"type": "disabled"}, None),
        (
            "claude-fable-5",
            {"reasoning": True, "thinking_disabled": False},
            "none",
            {"type": "adaptive"},
            "low",
        ),
        (
            "claude-haiku-4-5",
            {"reasoning": True, "max_output_tokens": 64000},
            "low",
            {"type": "enabled", "budget_tokens": 4096},
            None,
        ),
        ("claude-haiku-4-5", {"reasoning": True, "max_output_tokens": 2000}, "high", None, None),
        ("claude-haiku-4-5", {"reasoning": True}, "none", None, None),
        ("claude-opus-5", {"reasoning": False}, "high", None, None),
        ("claude-opus-5", {"reasoning": True}, None, None, None),
    ],
)
def test_effort_is_asked_for_in_the_way_of_the_model(
    model: str, capabilities: dict[str, Any], effort: str | None, thinking: Any, sent_effort: Any
) -> None:
    params = {"reasoning_effort": effort} if effort else {}
    found = body(user("Hi"), model=model, capabilities=capabilities, params=params)
    assert found.get("thinking") == thinking
    assert found.get("output_config", {}).get("effort") == sent_effort


def test_edge_23_a_response_schema_is_closed_and_freed_from_refused_limits() -> None:
    schema = {
        "type": "object",
        "properties": {
            "n": {"type": "integer", "minimum": 1, "description": "How many"},
            "who": {"oneOf": [{"type": "string", "maxLength": 3}, {"type": "null"}]},
            "list": {"type": "array", "minItems": 2, "items": {"type": "object"}},
        },
        "required": ["n"],
    }
    found = body(user("Hi"), params={"response_schema": schema})
    assert found["output_config"] == {
        "format": {
            "type": "json_schema",
            "schema": {
                "type": "object",
                "properties": {
                    "n": {"type": "integer", "description": "How many"},
                    "who": {"anyOf": [{"type": "string"}, {"type": "null"}]},
                    "list": {
                        "type": "array",
                        "items": {"type": "object", "additionalProperties": False},
                    },
                },
                "required": ["n"],
                "additionalProperties": False,
            },
        }
    }


def test_blank_stop_texts_are_left_out() -> None:
    assert body(user("Hi"), params={"stop": ["\n", "END"]})["stop_sequences"] == ["END"]


def test_four_thousand_messages_make_one_valid_body() -> None:
    history: list[Message] = []
    for number in range(1000):
        history += [
            user(f"question {number}"),
            assistant("", ("call_0", "f", {"n": number})),
            result("call_0", f"result {number}"),
            assistant(f"answer {number}"),
        ]
    found = messages_of(*history, user("end"))
    assert len(found) == 4001
    ids = [message["content"][0]["id"] for message in found[1::4]]
    assert len(set(ids)) == 1000
    assert [message["content"][0]["tool_use_id"] for message in found[2::4]] == ids
