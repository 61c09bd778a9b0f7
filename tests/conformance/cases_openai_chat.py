"""Chat Completions: what the SDK sends, what servers answer."""

from __future__ import annotations

from typing import Any

import openai

from conformance.cases import (
    ErrorCase,
    ReplyCase,
    RequestCase,
    assistant,
    note,
    result,
    user,
)
from pgagentos.providers.base import ChatReply, ChatRequest, Tool, ToolCall, Usage

DRIVER = "openai_chat"
BASE_PATH = "/v1"
AUTH_HEADERS = ("authorization", "api-key")
SDK_ANSWER = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "created": 0,
    "model": "m",
    "choices": [
        {
            "index": 0,
            "finish_reason": "stop",
            "message": {"role": "assistant", "content": "ok", "refusal": None},
        }
    ],
}

WEATHER = Tool(
    "get_weather",
    "Weather of a city",
    {
        "type": "object",
        "properties": {"city": {"type": "string"}},
        "required": ["city"],
        "additionalProperties": False,
    },
)
SEARCH = Tool(
    "search",
    "Search documents",
    {
        "type": "object",
        "properties": {"query": {"type": "string"}, "limit": {"type": "integer", "default": 5}},
        "required": ["query"],
    },
)
PERSON = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "age": {"type": "integer"}},
    "required": ["name", "age"],
    "additionalProperties": False,
}


def _create(**arguments: Any):
    def call(base_url: str, key: str) -> object:
        client = openai.OpenAI(base_url=base_url, api_key=key, max_retries=0)
        return client.chat.completions.create(**arguments)

    return call


def _create_azure(**arguments: Any):
    def call(base_url: str, key: str) -> object:
        client = openai.OpenAI(
            base_url=base_url,
            api_key="unused",
            max_retries=0,
            default_query={"api-version": "2026-02-01"},
            default_headers={"api-key": key},
        )
        return client.chat.completions.create(
            extra_headers={"Authorization": openai.omit}, **arguments
        )

    return call


REQUESTS = (
    RequestCase(
        "one question",
        ChatRequest("gpt-4o", "", [user("What is 1+1?")]),
        _create(model="gpt-4o", messages=[{"role": "user", "content": "What is 1+1?"}]),
    ),
    RequestCase(
        "system prompt, Korean text, quotes and emoji",
        ChatRequest("gpt-4o", 'Be "brief".', [user('안녕\n"하세요" \\ 😀')]),
        _create(
            model="gpt-4o",
            messages=[
                {"role": "system", "content": 'Be "brief".'},
                {"role": "user", "content": '안녕\n"하세요" \\ 😀'},
            ],
        ),
    ),
    RequestCase(
        "parameters of OpenAI",
        ChatRequest(
            "gpt-4o",
            "",
            [user("hi")],
            params={
                "max_output_tokens": 100,
                "temperature": 0.2,
                "top_p": 0.9,
                "stop": ["END"],
                "seed": 7,
            },
        ),
        _create(
            model="gpt-4o",
            messages=[{"role": "user", "content": "hi"}],
            max_completion_tokens=100,
            temperature=0.2,
            top_p=0.9,
            stop=["END"],
            seed=7,
        ),
        provider="openai",
    ),
    RequestCase(
        "parameters of a compatible server",
        ChatRequest("llama", "", [user("hi")], params={"max_output_tokens": 100}),
        _create(model="llama", messages=[{"role": "user", "content": "hi"}], max_tokens=100),
    ),
    RequestCase(
        "reasoning effort without sampling parameters, developer role",
        ChatRequest(
            "o4-mini",
            "Think.",
            [user("hi")],
            params={"reasoning_effort": "low", "temperature": 1, "max_output_tokens": 50},
            capabilities={"reasoning": True, "temperature": False},
        ),
        _create(
            model="o4-mini",
            messages=[
                {"role": "developer", "content": "Think."},
                {"role": "user", "content": "hi"},
            ],
            reasoning_effort="low",
            max_completion_tokens=50,
        ),
        options={"system_role": "developer"},
        provider="openai",
    ),
    RequestCase(
        "tools, forced, one strict and one not",
        ChatRequest(
            "gpt-4o",
            "",
            [user("Weather in Seoul?")],
            tools=[WEATHER, SEARCH],
            tool_choice="required",
            params={"parallel_tool_calls": False},
        ),
        _create(
            model="gpt-4o",
            messages=[{"role": "user", "content": "Weather in Seoul?"}],
            tools=[
                {
                    "type": "function",
                    "function": {
                        "name": "get_weather",
                        "description": "Weather of a city",
                        "strict": True,
                        "parameters": WEATHER.parameters,
                    },
                },
                {
                    "type": "function",
                    "function": {
                        "name": "search",
                        "description": "Search documents",
                        "strict": False,
                        "parameters": SEARCH.parameters,
                    },
                },
            ],
            tool_choice="required",
            parallel_tool_calls=False,
        ),
        provider="openai",
    ),
    RequestCase(
        "tool loop with two parallel calls, an error and a note",
        ChatRequest(
            "gpt-4o",
            "Help.",
            [
                user("Weather in Seoul and Busan?"),
                assistant(
                    "I look.",
                    ("call_aaaaaaaa", "get_weather", {"city": "서울"}),
                    ("call_bbbbbbbb", "get_weather", {"city": "Busan"}),
                ),
                result("call_aaaaaaaa", "12 °C"),
                result("call_bbbbbbbb", "no such city", is_error=True),
                note("One call is left."),
                assistant("12 °C in Seoul."),
                user("Thanks"),
            ],
        ),
        _create(
            model="gpt-4o",
            messages=[
                {"role": "system", "content": "Help."},
                {"role": "user", "content": "Weather in Seoul and Busan?"},
                {
                    "role": "assistant",
                    "content": "I look.",
                    "tool_calls": [
                        {
                            "id": "call_aaaaaaaa",
                            "type": "function",
                            "function": {"name": "get_weather", "arguments": '{"city":"서울"}'},
                        },
                        {
                            "id": "call_bbbbbbbb",
                            "type": "function",
                            "function": {"name": "get_weather", "arguments": '{"city":"Busan"}'},
                        },
                    ],
                },
                {"role": "tool", "tool_call_id": "call_aaaaaaaa", "content": "12 °C"},
                {"role": "tool", "tool_call_id": "call_bbbbbbbb", "content": "no such city"},
                {"role": "system", "content": "One call is left."},
                {"role": "assistant", "content": "12 °C in Seoul."},
                {"role": "user", "content": "Thanks"},
            ],
        ),
    ),
    RequestCase(
        "structured answer",
        ChatRequest("gpt-4o", "", [user("Who?")], params={"response_schema": PERSON}),
        _create(
            model="gpt-4o",
            messages=[{"role": "user", "content": "Who?"}],
            response_format={
                "type": "json_schema",
                "json_schema": {"name": "answer", "schema": PERSON, "strict": True},
            },
        ),
    ),
    RequestCase(
        "Azure: api-version in the query, key in its own header",
        ChatRequest("my-deployment", "", [user("hi")]),
        _create_azure(model="my-deployment", messages=[{"role": "user", "content": "hi"}]),
        options={"query": {"api-version": "2026-02-01"}, "auth_header": "api-key"},
        provider="azure",
    ),
    RequestCase(
        "members of the body that only this provider knows",
        ChatRequest("m", "", [user("hi")]),
        _create(
            model="m",
            messages=[{"role": "user", "content": "hi"}],
            extra_body={"provider": {"order": ["a"]}, "min_p": 0.1},
        ),
        options={"extra_body": {"provider": {"order": ["a"]}, "min_p": 0.1}},
    ),
)

REPLIES = (
    ReplyCase(
        "text",
        ChatReply(
            content="The capital of France is Paris.",
            usage=Usage(input_tokens=2006, output_tokens=300, cached_tokens=1920),
            response_id="chatcmpl-BXyz0123456789",
            model="gpt-4o-2024-08-06",
        ),
    ),
    ReplyCase(
        "parallel_calls",
        ChatReply(
            content="",
            tool_calls=(
                ToolCall("call_HNiPzLp9tYtV6OiV1fmkEYtA", "get_weather", '{"city": "Seoul"}'),
                ToolCall("call_Yd3mJr8hTTqXLnOTUPOGC2uD", "get_time", "{}"),
            ),
            finish_reason="tool_calls",
            usage=Usage(
                input_tokens=82, output_tokens=146, cache_write_tokens=64, reasoning_tokens=128
            ),
            response_id="chatcmpl-C0",
            model="o4-mini-2025-04-16",
        ),
    ),
    ReplyCase(
        "gemini_compatible",
        ChatReply(
            content="",
            tool_calls=(ToolCall("call_cc6cc1ae991ead2a27af8a06", "get_current_time", "{}"),),
            finish_reason="tool_calls",
            usage=Usage(input_tokens=35, output_tokens=91, reasoning_tokens=79),
            vendor={
                "driver": "openai_chat",
                "provider": "test",
                "calls": {
                    "call_cc6cc1ae991ead2a27af8a06": {
                        "google": {"thought_signature": "CoMCAdHtim+aaaa=="}
                    }
                },
            },
            response_id="mMl8af2XFseqqtsPtbCn6Qg",
            model="gemini-2.5-pro",
        ),
    ),
    ReplyCase(
        "deepseek_thoughts",
        ChatReply(
            content="",
            tool_calls=(ToolCall("call_00_9d8cC3KjvxAbC2Wq4XyZab", "search", '{"query":"x"}'),),
            finish_reason="tool_calls",
            usage=Usage(input_tokens=400, output_tokens=60, cached_tokens=256, reasoning_tokens=40),
            vendor={
                "driver": "openai_chat",
                "provider": "test",
                "reasoning": "I should search for x.",
            },
            response_id="ds-1",
            model="deepseek-reasoner",
        ),
        options={"reasoning_field": "reasoning_content"},
    ),
    ReplyCase(
        "refusal",
        ChatReply(
            content="",
            finish_reason="content_filter",
            refusal="I'm sorry, I can't help with that.",
            usage=Usage(input_tokens=10, output_tokens=9),
            response_id="chatcmpl-R",
            model="gpt-4o-2024-08-06",
        ),
    ),
    ReplyCase(
        "length_without_text",
        ChatReply(
            content="",
            finish_reason="length",
            usage=Usage(input_tokens=20, output_tokens=64, reasoning_tokens=64),
            response_id="chatcmpl-L",
            model="o3-mini",
        ),
    ),
)

ERRORS = (
    ErrorCase(
        "wrong key, echoed by the vendor",
        401,
        {
            "error": {
                "message": "Incorrect API key provided: sk-test-0123456789abcdefghij.",
                "type": "invalid_request_error",
                "param": None,
                "code": "invalid_api_key",
            }
        },
        "authentication",
        code="invalid_api_key",
    ),
    ErrorCase(
        "no permission",
        403,
        {"error": {"message": "no", "type": "permission_error", "code": None}},
        "authentication",
        code="permission_error",
    ),
    ErrorCase(
        "quota used up, sent as 429",
        429,
        {"error": {"message": "You exceeded your quota", "code": "insufficient_quota"}},
        "billing",
        code="insufficient_quota",
    ),
    ErrorCase("payment required", 402, {"error": {"message": "pay"}}, "billing"),
    ErrorCase(
        "unknown model",
        404,
        {"error": {"message": "The model `x` does not exist", "code": "model_not_found"}},
        "not_found",
        code="model_not_found",
    ),
    ErrorCase(
        "unsupported role, as of o1-mini",
        400,
        {
            "error": {
                "message": "Unsupported value: 'messages[0].role' does not support 'developer'",
                "type": "invalid_request_error",
                "param": "messages[0].role",
                "code": "unsupported_value",
            }
        },
        "invalid_request",
        code="unsupported_value",
    ),
    ErrorCase(
        "prompt too long for OpenAI",
        400,
        {"error": {"message": "too long", "code": "context_length_exceeded"}},
        "context_overflow",
        code="context_length_exceeded",
    ),
    ErrorCase(
        "prompt too long for vLLM",
        400,
        {
            "object": "error",
            "message": "This model's maximum context length is 4096 tokens. However, you requested",
            "type": "BadRequestError",
            "code": 400,
        },
        "context_overflow",
        code="BadRequestError",
    ),
    ErrorCase(
        "prompt too long for llama.cpp",
        400,
        {
            "error": {
                "code": 400,
                "message": "the request exceeds the available context size",
                "type": "exceed_context_size_error",
            }
        },
        "context_overflow",
        code="exceed_context_size_error",
    ),
    ErrorCase(
        "body too large for a proxy",
        413,
        "<html>413</html>",
        "context_overflow",
        content_type="text/html",
    ),
    ErrorCase(
        "too many requests, with seconds",
        429,
        {"error": {"message": "slow down", "code": "rate_limit_exceeded"}},
        "rate_limited",
        headers={"retry-after": "20"},
        code="rate_limit_exceeded",
        retry_after=20.0,
    ),
    ErrorCase(
        "too many requests, with milliseconds",
        429,
        {"error": {"message": "slow down"}},
        "rate_limited",
        headers={"retry-after-ms": "1500", "retry-after": "2"},
        retry_after=1.5,
    ),
    ErrorCase(
        "too many requests, until a date",
        429,
        {"error": {"message": "slow down"}},
        "rate_limited",
        headers={
            "retry-after": "Mon, 23 Nov 2026 10:00:30 GMT",
            "date": "Mon, 23 Nov 2026 10:00:00 GMT",
        },
        retry_after=30.0,
    ),
    ErrorCase(
        "the vendor says that a retry is useless",
        429,
        {"error": {"message": "never"}},
        "rate_limited",
        headers={"x-should-retry": "false"},
        is_retryable=False,
    ),
    ErrorCase(
        "the vendor asks for a retry of a 400",
        400,
        {"error": {"message": "again"}},
        "invalid_request",
        headers={"x-should-retry": "true"},
        is_retryable=True,
    ),
    ErrorCase("conflict", 409, {"error": {"message": "lock"}}, "server_error"),
    ErrorCase("server error without JSON", 500, "oops", "server_error", content_type="text/plain"),
    ErrorCase("bad gateway", 502, "<html>", "server_error", content_type="text/html"),
    ErrorCase("unavailable", 503, {"error": {"message": "busy"}}, "overloaded"),
    ErrorCase("overloaded", 529, {"error": {"message": "busy"}}, "overloaded"),
    ErrorCase(
        "Gemini's compatible endpoint wraps the error in an array",
        400,
        [{"error": {"code": 400, "message": "bad", "status": "INVALID_ARGUMENT"}}],
        "invalid_request",
        code="INVALID_ARGUMENT",
    ),
    ErrorCase(
        "an error inside a 200, as of OpenRouter",
        200,
        {"error": {"code": 429, "message": "upstream is busy"}},
        "rate_limited",
    ),
    ErrorCase("an error that is a text", 400, {"error": "model is required"}, "invalid_request"),
)
