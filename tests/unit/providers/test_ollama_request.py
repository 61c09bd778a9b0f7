"""What the ollama driver sends."""

from __future__ import annotations

from typing import Any

import pytest

from pgagentos.errors import InvalidInput
from pgagentos.providers import ollama
from pgagentos.providers.base import ChatRequest, Endpoint, Message
from unit.providers.conversation import WEATHER, assistant, note, result, sent, user, wire

BASE = "http://127.0.0.1:11434"
ENDPOINT = Endpoint("ollama", "ollama", BASE)


def with_options(**options: Any) -> Endpoint:
    return Endpoint("ollama", "ollama", BASE, None, options)


def body(*messages: Message, endpoint: Endpoint = ENDPOINT, **more: Any) -> dict[str, Any]:
    more.setdefault("model", "qwen3:8b")
    return sent(ollama, endpoint, *messages, **more)


def messages_of(*messages: Message, **more: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = body(*messages, **more)["messages"]
    return found


def test_a_plain_conversation_is_sent_word_for_word_and_not_streamed() -> None:
    assert body(user('안녕 "du"\n'), assistant("Hallo"), user("go on"), system="Be brief.") == {
        "model": "qwen3:8b",
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": '안녕 "du"\n'},
            {"role": "assistant", "content": "Hallo"},
            {"role": "user", "content": "go on"},
        ],
        "tools": [],
        "stream": False,
        "options": {"num_ctx": 8192},
    }


def test_the_path_is_added_to_the_base_url_once() -> None:
    request = ChatRequest("m", "", [user("Hi")])
    assert wire(ollama, ENDPOINT, request).url == f"{BASE}/api/chat"
    assert wire(ollama, Endpoint("o", "ollama", f"{BASE}/api"), request).url == f"{BASE}/api/chat"


def test_a_key_is_a_bearer_token_and_none_is_sent_without_one() -> None:
    request = ChatRequest("m", "", [user("Hi")])
    keyed = Endpoint("ollama", "ollama", "https://ollama.com", "k1")
    assert dict(wire(ollama, keyed, request).headers)["authorization"] == "Bearer k1"
    assert "authorization" not in dict(wire(ollama, ENDPOINT, request).headers)


def test_a_conversation_without_text_is_refused() -> None:
    with pytest.raises(InvalidInput):
        body(user("\n"))


def test_edge_01_arguments_are_an_object_and_broken_ones_are_wrapped() -> None:
    for given, arguments in (({"a": 1}, {"a": 1}), ("{bad", {"invalid_json": "{bad"}), ("", {})):
        found = messages_of(user("?"), assistant("", ("c", "f", given)), result("c", "x"))
        assert found[1] == {
            "role": "assistant",
            "tool_calls": [{"function": {"name": "f", "arguments": arguments}}],
        }


def test_edge_02_a_result_names_its_tool_and_carries_no_id() -> None:
    found = messages_of(
        user("?"),
        assistant("Both.", ("c1", "f", {}), ("c2", "g", {})),
        result("c1", "one"),
        result("c2", "boom", is_error=True),
    )
    assert found[2:] == [
        {"role": "tool", "content": "one", "tool_name": "f"},
        {"role": "tool", "content": "Error: boom", "tool_name": "g"},
    ]
    assert "c1" not in str(found)


def test_edge_04_a_call_without_a_result_gets_an_error() -> None:
    found = messages_of(user("?"), assistant("", ("c", "f", {})), user("go on"))
    assert found[2]["role"] == "tool"
    assert found[2]["content"].startswith("Error: ")


def test_edge_13_no_tools_are_offered_when_none_may_be_called() -> None:
    assert body(user("Hi"), tools=(WEATHER,), tool_choice="none")["tools"] == []
    assert body(user("Hi"), tools=(WEATHER,), capabilities={"tools": False})["tools"] == []
    found = body(user("Hi"), tools=(WEATHER,), tool_choice="required")
    assert found["tools"][0] == {
        "type": "function",
        "function": {
            "name": "get_weather",
            "description": "Current weather of a city",
            "parameters": WEATHER.parameters,
        },
    }
    assert "tool_choice" not in found


def test_edge_19_an_empty_reply_is_skipped() -> None:
    assert len(messages_of(user("a"), assistant(" "), user("b"))) == 2


def test_edge_26_a_note_in_the_middle_is_a_system_message() -> None:
    found = messages_of(user("a"), note("Be quick."))
    assert found[1] == {"role": "system", "content": "Be quick."}


@pytest.mark.parametrize(
    ("options", "capabilities", "expected"),
    [
        ({"num_ctx": 4096}, {"context_window": 131072}, 4096),
        ({}, {"context_window": 16384}, 16384),
        ({}, {}, 8192),
        ({"ollama_options": {"num_ctx": 1, "num_gpu": 0}}, {}, 8192),
    ],
)
def test_the_context_size_is_always_sent(
    options: dict[str, Any], capabilities: dict[str, Any], expected: int
) -> None:
    found = body(user("Hi"), endpoint=with_options(**options), capabilities=capabilities)
    assert found["options"]["num_ctx"] == expected


def test_parameters_are_options_of_ollama() -> None:
    params = {
        "max_output_tokens": 64,
        "temperature": 0,
        "top_p": 0.5,
        "seed": 7,
        "stop": ["END"],
    }
    found = body(user("Hi"), params=params, endpoint=with_options(keep_alive="30m"))
    assert found["options"] == {
        "num_ctx": 8192,
        "num_predict": 64,
        "temperature": 0,
        "top_p": 0.5,
        "seed": 7,
        "stop": ["END"],
    }
    assert found["keep_alive"] == "30m"


@pytest.mark.parametrize(
    ("model", "capabilities", "effort", "options", "expected"),
    [
        ("qwen3:8b", {"reasoning": True}, "low", {}, True),
        ("qwen3:8b", {"reasoning": True}, "none", {}, False),
        ("gpt-oss:20b", {"reasoning": True}, "xhigh", {}, "high"),
        ("gpt-oss:20b", {"reasoning": True}, "none", {}, "low"),
        ("glm", {"reasoning": True, "thinking": "level"}, "medium", {}, "medium"),
        ("llama3.2:3b", {"reasoning": False}, "high", {}, None),
        ("qwen3:8b", {"reasoning": True}, None, {}, None),
        ("qwen3:8b", {}, "high", {"think": False}, False),
    ],
)
def test_thinking_is_a_switch_or_a_level(
    model: str,
    capabilities: dict[str, Any],
    effort: str | None,
    options: dict[str, Any],
    expected: Any,
) -> None:
    params = {"reasoning_effort": effort} if effort else {}
    found = body(
        user("Hi"),
        model=model,
        capabilities=capabilities,
        params=params,
        endpoint=with_options(**options),
    )
    assert found.get("think") == expected
    assert ("think" in found) == (expected is not None)


def test_edge_23_a_schema_is_the_format_unless_tools_are_offered() -> None:
    schema = {"type": "object", "properties": {"n": {"type": "integer", "minimum": 1}}}
    wish: dict[str, Any] = {"params": {"response_schema": schema}}
    assert body(user("Hi"), **wish)["format"] == schema
    assert "format" not in body(user("Hi"), tools=(WEATHER,), **wish)
    assert body(user("Hi"), tools=(WEATHER,), tool_choice="none", **wish)["format"] == schema


def test_edge_06_thinking_goes_back_to_the_provider_that_gave_it_and_to_no_other() -> None:
    vendor = {"driver": "ollama", "provider": "ollama", "model": "qwen3:8b", "thinking": "hm"}
    reply = assistant("", ("c", "f", {}), vendor=vendor)
    assert messages_of(user("?"), reply, result("c", "x"))[1]["thinking"] == "hm"
    other = Endpoint("cloud", "ollama", BASE)
    found = messages_of(user("?"), reply, result("c", "x"), endpoint=other)
    assert "thinking" not in found[1]


def test_edge_22_a_longer_history_keeps_the_prefix_of_the_shorter_one() -> None:
    history = [user("a"), assistant("", ("x", "f", {})), result("x", "1")]
    shorter = messages_of(*history)
    assert messages_of(*history, assistant("b"), user("c"))[: len(shorter)] == shorter
