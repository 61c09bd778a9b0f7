"""Anthropic's Messages API, held against the SDK ``anthropic``."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import anthropic
from anthropic.types import Message as SdkMessage

from conformance.cases import (
    ErrorCase,
    ReplyCase,
    RequestCase,
    assistant,
    note,
    recorded,
    result,
    user,
)
from pgagentos.providers.base import ChatReply, ChatRequest, Message, Tool, ToolCall, Usage

DRIVER = "anthropic"
BASE_PATH = ""
AUTH_HEADERS = ("authorization", "x-api-key", "anthropic-version", "anthropic-beta")

NEW = {"anthropic_version": "2026-10-21"}
WEATHER = Tool(
    "get_weather",
    "Current weather of a city",
    {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
)
SDK_TOOL = {
    "name": "get_weather",
    "description": "Current weather of a city",
    "input_schema": WEATHER.parameters,
}


def blocks_of(name: str) -> list[dict[str, Any]]:
    """The content of a recorded reply."""
    content: list[dict[str, Any]] = json.loads(recorded(DRIVER, name).body)["content"]
    return content


def vendor_of(name: str, **more: Any) -> dict[str, Any]:
    """What is stored beside a recorded reply."""
    return {
        "driver": "anthropic",
        "provider": "test",
        "model": "claude-opus-5",
        "content": blocks_of(name),
        **more,
    }


def echoed(name: str) -> dict[str, Any]:
    """A recorded reply, as the SDK itself turns it into a message to send back."""
    reply = SdkMessage.model_validate_json(recorded(DRIVER, name).body)
    content = [block.model_dump(mode="json", exclude_unset=True) for block in reply.content]
    return {"role": "assistant", "content": content}


def create(*messages: dict[str, Any], **params: Any) -> Callable[[str, str], object]:
    """A call of the SDK as it is, which speaks API version 2026-10-21."""

    def call(base_url: str, api_key: str) -> object:
        client = anthropic.Anthropic(api_key=api_key, base_url=base_url, max_retries=0)
        params.setdefault("max_tokens", 1000)
        params.setdefault("model", "claude-opus-5")
        return client.messages.create(messages=messages, **params)

    return call


def create_old(*messages: dict[str, Any], **params: Any) -> Callable[[str, str], object]:
    """A call of the SDK with the older version and its way to send the key."""

    def call(base_url: str, api_key: str) -> object:
        client = anthropic.Anthropic(
            api_key=api_key,
            base_url=base_url,
            max_retries=0,
            default_headers={
                "anthropic-version": "2023-06-01",
                "x-api-key": api_key,
                "authorization": anthropic.Omit(),
            },
        )
        return client.messages.create(messages=messages, **params)

    return call


def request(
    *messages: Message, system: str = "", tools: tuple[Tool, ...] = (), **more: Any
) -> ChatRequest:
    """A request with a limit of 1000 tokens."""
    params = {"max_output_tokens": 1000, **more.pop("params", {})}
    return ChatRequest("claude-opus-5", system, messages, tools, params=params, **more)


def said(role: str, content: Any) -> dict[str, Any]:
    return {"role": role, "content": content}


def tool_result(call_id: str, content: str, **more: Any) -> dict[str, Any]:
    return {"type": "tool_result", "tool_use_id": call_id, "content": content, **more}


SDK_ANSWER = json.loads(recorded(DRIVER, "text").body)

QUESTION = user('Wie ist das Wetter in 서울? "Genau"\n')
SDK_QUESTION = said("user", 'Wie ist das Wetter in 서울? "Genau"\n')

REQUESTS = (
    RequestCase(
        "a question with a system prompt",
        request(QUESTION, system="Be brief."),
        create(SDK_QUESTION, system="Be brief."),
        NEW,
    ),
    RequestCase(
        "the older version with sampling",
        ChatRequest(
            "claude-haiku-4-5",
            "",
            [user("Hi")],
            params={"temperature": 0.5, "stop": ["END"], "max_output_tokens": 50},
        ),
        create_old(
            said("user", "Hi"),
            model="claude-haiku-4-5",
            max_tokens=50,
            stop_sequences=["END"],
            extra_body={"temperature": 0.5},
        ),
    ),
    RequestCase(
        "a tool that must be called",
        request(QUESTION, tools=(WEATHER,), tool_choice="required"),
        create(SDK_QUESTION, tools=[SDK_TOOL], tool_choice={"type": "any"}),
        NEW,
    ),
    RequestCase(
        "results of parallel calls, then a further question",
        request(
            QUESTION,
            assistant(
                "I'll look both up.",
                ("toolu_01AAseoul", "get_weather", {"city": "서울"}),
                ("toolu_01BBtokyo", "get_weather", {"city": "Tokyo"}),
            ),
            result("toolu_01AAseoul", "21"),
            result("toolu_01BBtokyo", "no such city", is_error=True),
            user("And Busan?"),
            tools=(WEATHER,),
            tool_choice="none",
        ),
        create(
            SDK_QUESTION,
            said(
                "assistant",
                [
                    {key: block[key] for key in block if key != "caller"}
                    for block in blocks_of("parallel_calls")
                ],
            ),
            said(
                "user",
                [
                    tool_result("toolu_01AAseoul", "21"),
                    tool_result("toolu_01BBtokyo", "no such city", is_error=True),
                    {"type": "text", "text": "And Busan?"},
                ],
            ),
            tools=[SDK_TOOL],
            tool_choice={"type": "none"},
        ),
        NEW,
    ),
    RequestCase(
        "signed thinking inside a tool loop",
        request(
            QUESTION,
            assistant(
                "Let me check.",
                ("toolu_01CCseoul", "get_weather", {"city": "Seoul"}),
                vendor=vendor_of("thinking_and_call"),
            ),
            result("toolu_01CCseoul", "21"),
            tools=(WEATHER,),
            params={"reasoning_effort": "xhigh"},
            capabilities={"reasoning": True, "thinking": "adaptive"},
        ),
        create(
            SDK_QUESTION,
            echoed("thinking_and_call"),
            said("user", [tool_result("toolu_01CCseoul", "21")]),
            tools=[SDK_TOOL],
            thinking={"type": "adaptive"},
            output_config={"effort": "xhigh"},
        ),
        NEW,
    ),
    RequestCase(
        "a budget for thinking",
        request(
            user("Hi"),
            params={"reasoning_effort": "low", "max_output_tokens": 8000},
            capabilities={"reasoning": True, "thinking": "budget"},
        ),
        create(
            said("user", "Hi"),
            max_tokens=8000,
            thinking={"type": "enabled", "budget_tokens": 4096},
        ),
        NEW,
    ),
    RequestCase(
        "a paused turn goes back unchanged",
        request(
            QUESTION,
            assistant("I'll search for that.", vendor=vendor_of("pause", is_paused=True)),
        ),
        create(
            SDK_QUESTION,
            echoed("pause"),
            tools=[{"type": "web_search_20250305", "name": "web_search"}],
        ),
        {**NEW, "server_tools": [{"type": "web_search_20250305", "name": "web_search"}]},
    ),
    RequestCase(
        "cache points, betas and a note in the middle",
        request(
            user("Hi"),
            note("Be quick."),
            assistant("Hello"),
            user("Go on"),
            system="Be brief.",
            tools=(WEATHER,),
            capabilities={"mid_conversation_system": True},
        ),
        create(
            said("user", "Hi"),
            said("system", "Be quick."),
            said("assistant", "Hello"),
            said(
                "user",
                [{"type": "text", "text": "Go on", "cache_control": {"type": "ephemeral"}}],
            ),
            system=[{"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral"}}],
            tools=[{**SDK_TOOL, "cache_control": {"type": "ephemeral"}}],
            extra_headers={"anthropic-beta": "context-management-2025-06-27"},
        ),
        {**NEW, "prompt_cache": True, "anthropic_beta": "context-management-2025-06-27"},
    ),
    RequestCase(
        "an answer of a given shape",
        request(
            user("Hi"),
            params={
                "response_schema": {"type": "object", "properties": {"n": {"type": "integer"}}}
            },
        ),
        create(
            said("user", "Hi"),
            output_config={
                "format": {
                    "type": "json_schema",
                    "schema": {
                        "type": "object",
                        "properties": {"n": {"type": "integer"}},
                        "additionalProperties": False,
                    },
                }
            },
        ),
        NEW,
    ),
)

MODEL = "claude-opus-5"

REPLIES = (
    ReplyCase(
        "text",
        ChatReply(
            '서울은 21°C입니다. "Sunny"\nEnjoy!',
            usage=Usage(1532, 33, 1111, 418),
            response_id="msg_01Text",
            model=MODEL,
        ),
    ),
    ReplyCase(
        "parallel_calls",
        ChatReply(
            "I'll look both up.",
            (
                ToolCall("toolu_01AAseoul", "get_weather", '{"city":"서울"}'),
                ToolCall("toolu_01BBtokyo", "get_weather", '{"city":"Tokyo"}'),
            ),
            "tool_calls",
            Usage(403, 87),
            response_id="msg_01Par",
            model=MODEL,
        ),
    ),
    ReplyCase(
        "thinking_and_call",
        ChatReply(
            "Let me check.",
            (ToolCall("toolu_01CCseoul", "get_weather", '{"city":"Seoul"}'),),
            "tool_calls",
            Usage(512, 196, reasoning_tokens=120),
            vendor_of("thinking_and_call"),
            response_id="msg_01Thi",
            model=MODEL,
        ),
    ),
    ReplyCase(
        "pause",
        ChatReply(
            "I'll search for that.",
            (),
            "pause",
            Usage(2039, 114),
            vendor_of("pause", is_paused=True),
            response_id="msg_01Pau",
            model=MODEL,
        ),
    ),
    ReplyCase(
        "refusal",
        ChatReply(
            "",
            (),
            "content_filter",
            Usage(22, 1),
            refusal="This request could enable harm.",
            response_id="msg_01Ref",
            model=MODEL,
        ),
    ),
    ReplyCase(
        "cut_off_call",
        ChatReply(
            "",
            (ToolCall("toolu_01Cut", "get_weather", "{}"),),
            "length",
            Usage(300, 64),
            response_id="msg_01Cut",
            model=MODEL,
        ),
    ),
    ReplyCase(
        "window_full",
        ChatReply(
            "Once upon a",
            (),
            "length",
            Usage(999990, 10),
            response_id="msg_01Win",
            model=MODEL,
        ),
    ),
    ReplyCase(
        "citations",
        ChatReply(
            "pgvector is an extension.",
            (),
            "stop",
            Usage(6000, 80),
            vendor_of("citations"),
            response_id="msg_01Cit",
            model=MODEL,
        ),
    ),
)


def error(kind: str, message: str, **details: str) -> dict[str, Any]:
    """An error's body."""
    inner: dict[str, Any] = {"type": kind, "message": message}
    if details:
        inner["details"] = details
    return {"type": "error", "error": inner, "request_id": "req_011CSHoEeqs5C35K2UUqR7Fy"}


ERRORS = (
    ErrorCase(
        "no credit",
        402,
        error("billing_error", "Add credit.", error_code="contract_spend_limit_reached"),
        "billing",
        code="contract_spend_limit_reached",
    ),
    ErrorCase(
        "wrong key",
        401,
        error("authentication_error", "invalid x-api-key sk-test-0123456789abcdefghij"),
        "authentication",
        code="authentication_error",
    ),
    ErrorCase(
        "too large",
        413,
        error("request_too_large", "Request exceeds the maximum size"),
        "context_overflow",
        code="request_too_large",
    ),
    ErrorCase(
        "prompt too long",
        400,
        error("invalid_request_error", "prompt is too long: 210000 tokens > 200000 maximum"),
        "context_overflow",
        code="invalid_request_error",
    ),
    ErrorCase(
        "sampling refused",
        400,
        error("invalid_request_error", "temperature: not supported"),
        "invalid_request",
        code="invalid_request_error",
    ),
    ErrorCase(
        "unknown model",
        404,
        error("not_found_error", "model: claude-9"),
        "not_found",
        code="not_found_error",
    ),
    ErrorCase(
        "rate limit",
        429,
        error("rate_limit_error", "This would exceed your rate limit"),
        "rate_limited",
        {"retry-after": "12"},
        "rate_limit_error",
        12.0,
    ),
    ErrorCase(
        "overloaded",
        529,
        error("overloaded_error", "Overloaded"),
        "overloaded",
        code="overloaded_error",
    ),
    ErrorCase(
        "overloaded, but not to be tried again",
        529,
        error("overloaded_error", "Overloaded"),
        "overloaded",
        {"x-should-retry": "false"},
        "overloaded_error",
        is_retryable=False,
    ),
    ErrorCase(
        "bad gateway", 502, "<html>Bad Gateway</html>", "server_error", content_type="text/html"
    ),
)
