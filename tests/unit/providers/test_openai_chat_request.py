"""What the openai_chat driver sends."""

from __future__ import annotations

import json
from typing import Any

import pytest

from pgagentos.errors import InvalidInput
from pgagentos.net.message import HttpRequest
from pgagentos.providers import openai_chat
from pgagentos.providers.base import ChatRequest, Endpoint, Message, Tool
from unit.providers.conversation import (
    WEATHER,
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

BASE = "https://api.example.com/v1"


def at(provider: str = "example", base: str = BASE, **options: Any) -> Endpoint:
    return Endpoint(provider, "openai_chat", base, "key-1", options)


OPENAI = at("openai", "https://api.openai.com/v1")


def body(*messages: Message, endpoint: Endpoint | None = None, **more: Any) -> dict[str, Any]:
    more.setdefault("model", "m")
    return sent(openai_chat, endpoint or at(), *messages, **more)


def messages(*history: Message, **more: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = body(*history, **more)["messages"]
    return found


# --- address and headers -----------------------------------------------------------------------


def test_the_key_is_a_bearer_token() -> None:
    request = wire(openai_chat, at(), ChatRequest("m", "", [user("q")]))
    assert request.method == "POST"
    assert request.url == BASE + "/chat/completions"
    assert ("authorization", "Bearer key-1") in request.headers
    assert ("content-type", "application/json") in request.headers


def test_a_server_without_a_key_gets_no_authorization() -> None:
    endpoint = Endpoint("local", "openai_chat", "http://127.0.0.1:8080/v1")
    request = wire(openai_chat, endpoint, ChatRequest("m", "", [user("q")]))
    assert "authorization" not in dict(request.headers)


def test_extra_headers_win_and_the_query_is_escaped() -> None:
    endpoint = at(
        extra_headers={"X-Title": "pg", "Accept": "text/json"}, query={"api-version": "2026 02"}
    )
    request = wire(openai_chat, endpoint, ChatRequest("m", "", [user("q")]))
    assert request.url.endswith("/chat/completions?api-version=2026+02")
    assert dict(request.headers)["x-title"] == "pg"
    assert dict(request.headers)["accept"] == "text/json"


def test_the_key_is_not_in_the_text_of_an_endpoint_or_a_request() -> None:
    request = HttpRequest(
        "POST", "http://h/v1?key=key-1", (("authorization", "Bearer key-1"),), b"key-1"
    )
    for value in (at(), request):
        assert "key-1" not in repr(value)
        assert "http" in repr(value)


# --- history -----------------------------------------------------------------------------------


def test_edge_01_arguments_travel_as_json_text() -> None:
    call = messages(user("q"), assistant("", ("a", "f", {"x": "한"})), result("a", "1"))[1]
    assert call["tool_calls"][0]["function"]["arguments"] == '{"x":"한"}'
    assert call["content"] is None


def test_edge_01_the_model_s_own_text_goes_back_inside_an_object() -> None:
    call = messages(user("q"), assistant("", ("a", "f", '{"x":')), result("a", "bad"))[1]
    arguments = call["tool_calls"][0]["function"]["arguments"]
    assert json.loads(arguments) == {"invalid_json": '{"x":'}


def test_edge_04_a_broken_history_is_repaired_before_it_leaves() -> None:
    history = messages(user("q"), assistant("", ("a", "f", {})), user("again"), result("z", "?"))
    assert [message["role"] for message in history] == ["user", "assistant", "tool", "user"]
    assert history[2]["tool_call_id"] == "a"


@pytest.mark.parametrize("spaced", [False, True])
@pytest.mark.parametrize("content", ["", "text", 'a "quoted" \\ text\n', "한글 😀", "}]}"])
@pytest.mark.parametrize(
    "arguments",
    [{}, {"a": 1}, {"call_id": "x"}, {"s": '"tool_calls":[{"call_id":"'}, {"n": {"m": [{}]}}],
)
def test_messages_cut_out_of_their_text_equal_messages_that_are_parsed(
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

    def wire_call(call_id: str, name: str) -> dict[str, Any]:
        function = {"name": name, "arguments": compact(arguments)}
        return {"id": call_id, "type": "function", "function": function}

    expected = [
        {"role": "user", "content": content},
        {
            "role": "assistant",
            "content": content or None,
            "tool_calls": [wire_call("call_1x", "f")],
        },
        {"role": "tool", "tool_call_id": "call_1x", "content": content},
        {
            "role": "assistant",
            "content": content or None,
            "tool_calls": [wire_call("p", "f"), wire_call("q", "g")],
        },
        {"role": "tool", "tool_call_id": "p", "content": content},
        {"role": "tool", "tool_call_id": "q", "content": content},
        {"role": "system", "content": content},
    ]
    if content:  # edge case 19
        expected.append({"role": "assistant", "content": content})
    assert messages(*history) == expected


def test_edge_19_an_empty_assistant_message_without_calls_is_left_out() -> None:
    roles = [message["role"] for message in messages(user("q"), assistant(""), user("q2"))]
    assert roles == ["user", "user"]


def test_a_request_without_any_message_is_an_error() -> None:
    with pytest.raises(InvalidInput, match="no message"):
        body()


def test_edge_22_a_longer_history_begins_with_the_bytes_of_the_shorter_one() -> None:
    history = [
        user("q"),
        assistant("", ("a", "get_weather", {"city": "Seoul"})),
        result("a", "12"),
        assistant("12 degrees"),
        user("and now?"),
    ]
    texts = [
        wire(openai_chat, at(), ChatRequest("m", "s", history[:n], [WEATHER])).body for n in (3, 5)
    ]
    prefix = texts[0][: texts[0].index(b'],"tools"')]
    assert texts[1].startswith(prefix)


def test_edge_22_tools_stay_in_the_given_order() -> None:
    tools = tuple(Tool(name, "", {"type": "object"}) for name in ("z", "a", "m"))
    names = [tool["function"]["name"] for tool in body(user("q"), tools=tools)["tools"]]
    assert names == ["z", "a", "m"]


@pytest.mark.parametrize("role", ["system", "developer", "user"])
def test_edge_26_the_system_prompt_has_the_role_that_the_model_takes(role: str) -> None:
    sent_messages = messages(user("q"), note("n"), system="s", endpoint=at(system_role=role))
    assert sent_messages[0] == {"role": role, "content": "s"}
    assert sent_messages[2] == {"role": role, "content": "n"}


def test_edge_26_a_note_becomes_a_user_s_where_only_one_system_message_is_allowed() -> None:
    sent_messages = messages(user("q"), note("n"), system="s", endpoint=at(note_role="user"))
    assert [message["role"] for message in sent_messages] == ["system", "user", "user"]


def test_edge_26_no_system_prompt_means_no_message() -> None:
    assert [message["role"] for message in messages(user("q"))] == ["user"]


# --- vendor blocks -----------------------------------------------------------------------------

THOUGHTS = {"driver": "openai_chat", "provider": "example", "reasoning": "hm 한"}


def test_edge_09_thoughts_go_back_with_the_calls_in_the_server_s_field() -> None:
    history = [user("q"), assistant("", ("a", "f", {}), vendor=THOUGHTS), result("a", "1")]
    for field in ("reasoning_content", "reasoning"):
        assert messages(*history, endpoint=at(reasoning_field=field))[1][field] == "hm 한"
    assert "reasoning_content" not in messages(*history)[1]


def test_edge_09_a_call_without_thoughts_carries_the_empty_field() -> None:
    history = [user("q"), assistant("", ("a", "f", {})), result("a", "1"), assistant("done")]
    sent_messages = messages(*history, endpoint=at(reasoning_field="reasoning_content"))
    assert sent_messages[1]["reasoning_content"] == ""
    assert "reasoning_content" not in sent_messages[3]


def test_gemini_s_signatures_go_back_where_they_came_from() -> None:
    signature = {"google": {"thought_signature": "s=="}}
    vendor = {
        "driver": "openai_chat",
        "provider": "example",
        "calls": {"b": signature},
        "extra_content": {"google": {"thought": True}},
    }
    calling = assistant("", ("a", "f", {}), ("b", "g", {}), vendor=vendor)
    message = messages(user("q"), calling, result("a", "1"), result("b", "2"))[1]
    assert "extra_content" not in message["tool_calls"][0]
    assert message["tool_calls"][1]["extra_content"] == signature
    assert message["extra_content"] == {"google": {"thought": True}}
    plain = messages(user("q"), assistant("text", vendor=vendor))[1]
    assert plain == {
        "role": "assistant",
        "content": "text",
        "extra_content": {"google": {"thought": True}},
    }


@pytest.mark.parametrize(
    "foreign",
    [
        {"driver": "openai_chat", "provider": "other", "reasoning": "x", "extra_content": {"a": 1}},
        {"driver": "anthropic", "provider": "example", "blocks": [{"signature": "s"}]},
        {"driver": "openai_responses", "provider": "example", "items": [{"type": "reasoning"}]},
    ],
)
def test_edge_28_blocks_of_another_provider_stay_behind(foreign: dict[str, Any]) -> None:
    history = [
        user("q"),
        assistant("look", ("a", "f", {}), vendor=foreign),
        result("a", "1"),
        assistant("text", vendor=foreign),
    ]
    plain = [user("q"), assistant("look", ("a", "f", {})), result("a", "1"), assistant("text")]
    assert messages(*history) == messages(*plain)


def test_a_reply_with_signatures_survives_the_store_and_goes_back_byte_for_byte() -> None:
    signature = {"google": {"thought_signature": 'Cg==\n"é'}}
    answer = {
        "id": "x",
        "choices": [
            {
                "message": {
                    "tool_calls": [
                        {
                            "id": "",
                            "extra_content": signature,
                            "function": {"name": "f", "arguments": '{"a":1}'},
                        }
                    ]
                }
            }
        ],
    }
    reply = read(openai_chat, at(), answer)
    (call,) = reply.tool_calls
    sent_messages = messages(user("q"), stored(reply), result(call.call_id, "1"))
    assert sent_messages[1]["tool_calls"][0] == {
        "id": call.call_id,
        "type": "function",
        "function": {"name": "f", "arguments": '{"a":1}'},
        "extra_content": signature,
    }
    assert sent_messages[2]["tool_call_id"] == call.call_id


# --- parameters --------------------------------------------------------------------------------


def test_edge_10_sampling_is_dropped_for_a_model_that_refuses_it() -> None:
    params = {"temperature": 0, "top_p": 1}
    assert "temperature" in body(user("q"), params=params)
    fixed = body(user("q"), params=params, capabilities={"temperature": False})
    assert not {"temperature", "top_p"} & set(fixed)


@pytest.mark.parametrize(("effort", "is_kept"), [("low", False), ("none", True)])
def test_edge_10_sampling_is_dropped_while_the_model_reasons(effort: str, is_kept: bool) -> None:
    params = {"temperature": 0.5, "reasoning_effort": effort}
    made = body(user("q"), params=params, capabilities={"reasoning": True})
    assert ("temperature" in made) is is_kept
    assert made["reasoning_effort"] == effort


def test_edge_10_effort_is_dropped_for_a_model_that_does_not_reason() -> None:
    made = body(user("q"), params={"reasoning_effort": "high", "temperature": 0.5})
    assert "reasoning_effort" not in made
    assert made["temperature"] == 0.5


@pytest.mark.parametrize(
    ("wanted", "accepted", "sent_effort"),
    [
        ("none", ["low", "medium", "high"], "low"),
        ("max", ["low", "medium", "high"], "high"),
        ("minimal", ["none", "low"], "none"),
        ("medium", ["medium"], "medium"),
    ],
)
def test_edge_10_an_effort_that_the_model_lacks_becomes_the_nearest(
    wanted: str, accepted: list[str], sent_effort: str
) -> None:
    capabilities = {"reasoning": True, "efforts": accepted}
    made = body(user("q"), params={"reasoning_effort": wanted}, capabilities=capabilities)
    assert made["reasoning_effort"] == sent_effort


def test_edge_11_the_output_limit_has_the_provider_s_name() -> None:
    params = {"max_output_tokens": 5}
    assert body(user("q"), params=params)["max_tokens"] == 5
    assert body(user("q"), params=params, endpoint=OPENAI)["max_completion_tokens"] == 5
    azure = at("work", "https://x.openai.azure.com/openai/v1")
    assert body(user("q"), params=params, endpoint=azure)["max_completion_tokens"] == 5
    named = at(max_tokens_field="max_completion_tokens")
    assert body(user("q"), params=params, endpoint=named)["max_completion_tokens"] == 5
    assert not {"max_tokens", "max_completion_tokens"} & set(body(user("q")))


def test_edge_13_no_tools_means_no_tool_choice() -> None:
    made = body(user("q"), tool_choice="required", params={"parallel_tool_calls": True})
    assert not {"tools", "tool_choice", "parallel_tool_calls"} & set(made)


def test_edge_13_a_server_without_tool_choice_gets_no_tools_when_none_may_be_called() -> None:
    endpoint = at(tool_choice=False)
    none = body(user("q"), endpoint=endpoint, tools=(WEATHER,), tool_choice="none")
    assert not {"tools", "tool_choice"} & set(none)
    forced = body(user("q"), endpoint=endpoint, tools=(WEATHER,), tool_choice="required")
    assert "tools" in forced
    assert "tool_choice" not in forced


def test_tools_for_a_model_without_tools_are_an_error_with_the_way_out() -> None:
    with pytest.raises(InvalidInput) as raised:
        body(user("q"), tools=(WEATHER,), capabilities={"tools": False})
    assert "tool_mode" in (raised.value.hint or "")


def test_edge_23_tools_are_strict_at_openai_and_plain_elsewhere() -> None:
    ours = body(user("q"), endpoint=OPENAI, tools=(WEATHER,))["tools"][0]["function"]
    assert ours["strict"] is True
    theirs = body(user("q"), tools=(WEATHER,))["tools"][0]["function"]
    assert "strict" not in theirs
    forced = body(user("q"), endpoint=at(strict_tools=True), tools=(WEATHER,))
    assert forced["tools"][0]["function"]["strict"] is True


def test_a_server_that_knows_json_objects_only_gets_no_schema() -> None:
    params = {"response_schema": {"type": "object", "properties": {}}}
    made = body(user("q"), params=params, endpoint=at(response_format="json_object"))
    assert made["response_format"] == {"type": "json_object"}


@pytest.mark.parametrize("model", ["gpt-5.4", "gpt-5.6-sol", "gpt-6-astra", "gpt-5.10"])
def test_reasoning_with_tools_on_gpt_5_4_and_later_is_an_error_with_the_way_out(model: str) -> None:
    more: dict[str, Any] = {
        "model": model,
        "tools": (WEATHER,),
        "capabilities": {"reasoning": True},
    }
    with pytest.raises(InvalidInput) as raised:
        body(user("q"), endpoint=OPENAI, params={"reasoning_effort": "low"}, **more)
    assert "openai_responses" in (raised.value.hint or "")
    for params in ({}, {"reasoning_effort": "none"}):
        assert "tools" in body(user("q"), endpoint=OPENAI, params=params, **more)
    allowed = at("openai", tools_with_reasoning=True)
    assert body(user("q"), endpoint=allowed, params={"reasoning_effort": "low"}, **more)["tools"]


def test_reasoning_with_tools_is_fine_on_older_models_and_other_providers() -> None:
    more: dict[str, Any] = {
        "tools": (WEATHER,),
        "params": {"reasoning_effort": "low"},
        "capabilities": {"reasoning": True},
    }
    assert body(user("q"), endpoint=OPENAI, model="gpt-5.1", **more)["reasoning_effort"] == "low"
    assert body(user("q"), model="gpt-5.6-sol", **more)["reasoning_effort"] == "low"


def test_extra_body_goes_over_everything() -> None:
    made = body(
        user("q"),
        params={"temperature": 1},
        endpoint=at(extra_body={"temperature": 0.1, "enable_thinking": False}),
    )
    assert made["temperature"] == 0.1
    assert made["enable_thinking"] is False


def test_lone_surrogates_from_an_outside_worker_do_not_stop_the_request() -> None:
    broken = Message('{"role":"user","content":"x\\ud800"}')
    request = wire(openai_chat, at(), ChatRequest("m", "s\ud800", [broken]))
    assert json.loads(request.body)["messages"][0]["content"] == "s\ufffd"
