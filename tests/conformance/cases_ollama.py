"""Ollama's /api/chat, held against the SDK ``ollama``."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import ollama

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
from pgagentos.providers.wire import make_call_id

DRIVER = "ollama"
BASE_PATH = ""
AUTH_HEADERS = ("authorization",)

MODEL = "qwen3:8b"
# The SDK's type of a tool drops what it does not know, so the schema is of the kind it knows.
WEATHER = Tool(
    "get_weather",
    "Current weather of a city",
    {
        "type": "object",
        "properties": {"city": {"type": "string", "description": "Its name"}},
        "required": ["city"],
    },
)
SDK_TOOL = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Current weather of a city",
        "parameters": WEATHER.parameters,
    },
}


def echoed(name: str) -> ollama.Message:
    """A recorded reply as the SDK reads it, to be sent back."""
    return ollama.ChatResponse.model_validate_json(recorded(DRIVER, name).body).message


def chat(*messages: Any, **params: Any) -> Callable[[str, str], object]:
    """A call of the SDK."""

    def call(base_url: str, api_key: str) -> object:
        client = ollama.Client(host=base_url, headers={"Authorization": f"Bearer {api_key}"})
        return client.chat(model=MODEL, messages=messages, **params)

    return call


def request(
    *messages: Message, system: str = "", tools: tuple[Tool, ...] = (), **more: Any
) -> ChatRequest:
    more.setdefault("capabilities", {"context_window": 16384, "reasoning": True})
    return ChatRequest(MODEL, system, messages, tools, **more)


def said(role: str, content: str, **more: Any) -> dict[str, Any]:
    return {"role": role, "content": content, **more}


WINDOW = {"num_ctx": 16384}
SDK_ANSWER = json.loads(recorded(DRIVER, "text").body)
THINKING = "The user wants two cities."
VENDOR = {"driver": "ollama", "provider": "test", "model": MODEL, "thinking": THINKING}

REQUESTS = (
    RequestCase(
        "a question with a system prompt",
        request(user('Wetter in 서울? "Genau"\n'), system="Be brief."),
        chat(
            said("system", "Be brief."),
            said("user", 'Wetter in 서울? "Genau"\n'),
            options=WINDOW,
        ),
    ),
    RequestCase(
        "all parameters",
        request(
            user("Hi"),
            params={
                "temperature": 0.5,
                "top_p": 0.9,
                "max_output_tokens": 100,
                "stop": ["END"],
                "seed": 7,
                "reasoning_effort": "high",
            },
        ),
        chat(
            said("user", "Hi"),
            think=True,
            keep_alive="30m",
            options={
                "num_ctx": 4096,
                "temperature": 0.5,
                "top_p": 0.9,
                "num_predict": 100,
                "stop": ["END"],
                "seed": 7,
            },
        ),
        {"num_ctx": 4096, "keep_alive": "30m"},
    ),
    RequestCase(
        "thinking, parallel calls and their results",
        request(
            user("?"),
            assistant(
                "",
                ("call_w7x2k9qa", "get_weather", {"city": "서울"}),
                ("call_m3n8p1zb", "get_weather", {"city": "Tokyo"}),
                vendor=VENDOR,
            ),
            result("call_w7x2k9qa", "21"),
            result("call_m3n8p1zb", "19"),
            note("Be quick."),
            tools=(WEATHER,),
        ),
        chat(
            said("user", "?"),
            echoed("thinking_and_calls"),
            said("tool", "21", tool_name="get_weather"),
            said("tool", "19", tool_name="get_weather"),
            said("system", "Be quick."),
            tools=[SDK_TOOL],
            options=WINDOW,
        ),
    ),
    RequestCase(
        "an answer of a given shape",
        request(user("Hi"), params={"response_schema": {"type": "object", "properties": {}}}),
        chat(said("user", "Hi"), format={"type": "object", "properties": {}}, options=WINDOW),
    ),
)

REPLIES = (
    ReplyCase(
        "text",
        ChatReply('서울은 21°C입니다. "Sunny"\nEnjoy!', usage=Usage(26, 282), model=MODEL),
    ),
    ReplyCase(
        "thinking_and_calls",
        ChatReply(
            "",
            (
                ToolCall("call_w7x2k9qa", "get_weather", '{"city":"서울"}'),
                ToolCall("call_m3n8p1zb", "get_weather", '{"city":"Tokyo"}'),
            ),
            "tool_calls",
            Usage(26, 282),
            VENDOR,
            model=MODEL,
        ),
    ),
    ReplyCase(
        "call_without_id",
        ChatReply(
            "",
            (
                ToolCall(
                    make_call_id(recorded(DRIVER, "call_without_id").body.decode() + "\0", 0),
                    "get_weather",
                    '{"city":"Seoul"}',
                ),
            ),
            "tool_calls",
            Usage(26, 282),
            model=MODEL,
        ),
    ),
    ReplyCase(
        "fenced_call",
        ChatReply(
            "",
            (
                ToolCall(
                    make_call_id(recorded(DRIVER, "fenced_call").body.decode() + "\0", 0),
                    "get_weather",
                    '{"city":"Seoul"}',
                ),
            ),
            "tool_calls",
            Usage(26, 282),
            model=MODEL,
        ),
    ),
    ReplyCase("cut_off", ChatReply("Once upon a", (), "length", Usage(26, 282), model=MODEL)),
    ReplyCase("model_loaded", ChatReply("", (), "other", model=MODEL, finish_detail="load")),
)

ERRORS = (
    ErrorCase("unknown model", 404, {"error": "model 'qwen9' not found"}, "not_found"),
    ErrorCase("no tools", 400, {"error": "gemma:2b does not support tools"}, "invalid_request"),
    ErrorCase(
        "prompt too long",
        400,
        {"error": "the input length exceeds the context length"},
        "context_overflow",
    ),
    ErrorCase(
        "wrong key",
        401,
        {"error": "unauthorized: sk-test-0123456789abcdefghij"},
        "authentication",
    ),
    ErrorCase(
        "too many requests",
        429,
        {"error": "slow down"},
        "rate_limited",
        {"retry-after": "3"},
        retry_after=3.0,
    ),
    ErrorCase("busy", 503, {"error": "server busy"}, "overloaded"),
    ErrorCase("crashed", 500, {"error": "llama runner has terminated"}, "server_error"),
    ErrorCase("an error in a success", 200, {"error": "runner stopped"}, "server_error"),
)
