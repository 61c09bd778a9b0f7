"""The Responses API: what the SDK sends, what OpenAI answers."""

from __future__ import annotations

import json
from typing import Any

import openai

from conformance.cases import (
    HERE,
    ErrorCase,
    ReplyCase,
    RequestCase,
    assistant,
    note,
    result,
    user,
)
from conformance.cases_openai_chat import PERSON, SEARCH, WEATHER
from pgagentos.providers.base import ChatReply, ChatRequest, ToolCall, Usage

DRIVER = "openai_responses"
BASE_PATH = "/v1"
AUTH_HEADERS = ("authorization", "api-key")
SDK_ANSWER = {"id": "resp_1", "object": "response", "status": "completed", "output": []}

REASONING_MODEL = {"reasoning": True, "temperature": False, "tools": True}


def items_of(name: str) -> list[dict[str, Any]]:
    """Return the output items of a recorded response."""
    body = json.loads((HERE / "recorded" / DRIVER / f"{name}.json").read_bytes())
    return list(body["output"])


def vendor_of(name: str, provider: str = "test") -> dict[str, Any]:
    """Return what is stored beside the reply."""
    body = json.loads((HERE / "recorded" / DRIVER / f"{name}.json").read_bytes())
    return {
        "driver": DRIVER,
        "provider": provider,
        "model": body["model"],
        "items": body["output"],
    }


def _create(**arguments: Any):
    def call(base_url: str, key: str) -> object:
        client = openai.OpenAI(base_url=base_url, api_key=key, max_retries=0)
        return client.responses.create(store=False, **arguments)

    return call


REQUESTS = (
    RequestCase(
        "one question",
        ChatRequest("gpt-4o", "", [user("What is 1+1?")]),
        _create(model="gpt-4o", input=[{"role": "user", "content": "What is 1+1?"}]),
    ),
    RequestCase(
        "instructions and parameters",
        ChatRequest(
            "gpt-4o",
            "Be brief.",
            [user("안녕")],
            params={
                "max_output_tokens": 100,
                "temperature": 0.2,
                "top_p": 0.9,
                "stop": ["x"],
                "seed": 1,
            },
        ),
        _create(
            model="gpt-4o",
            instructions="Be brief.",
            input=[{"role": "user", "content": "안녕"}],
            max_output_tokens=100,
            temperature=0.2,
            top_p=0.9,
        ),
    ),
    RequestCase(
        "tools, one strict and one not",
        ChatRequest(
            "gpt-4o",
            "",
            [user("hi")],
            tools=[WEATHER, SEARCH],
            tool_choice="none",
            params={"parallel_tool_calls": True},
        ),
        _create(
            model="gpt-4o",
            input=[{"role": "user", "content": "hi"}],
            tools=[
                {
                    "type": "function",
                    "name": "get_weather",
                    "description": "Weather of a city",
                    "strict": True,
                    "parameters": WEATHER.parameters,
                },
                {
                    "type": "function",
                    "name": "search",
                    "description": "Search documents",
                    "strict": False,
                    "parameters": SEARCH.parameters,
                },
            ],
            tool_choice="none",
            parallel_tool_calls=True,
        ),
        provider="openai",
    ),
    RequestCase(
        "tool loop without vendor blocks",
        ChatRequest(
            "gpt-4o",
            "",
            [
                user("Weather?"),
                assistant("I look.", ("call_aaaaaaaa", "get_weather", {"city": "서울"})),
                result("call_aaaaaaaa", "12 °C"),
                note("One call is left."),
                assistant("", ("call_bbbbbbbb", "search", {"query": 'a "b"'})),
                result("call_bbbbbbbb", "failed", is_error=True),
                assistant("12 °C."),
                user("Thanks"),
            ],
        ),
        _create(
            model="gpt-4o",
            input=[
                {"role": "user", "content": "Weather?"},
                {"role": "assistant", "content": "I look."},
                {
                    "type": "function_call",
                    "call_id": "call_aaaaaaaa",
                    "name": "get_weather",
                    "arguments": '{"city":"서울"}',
                },
                {
                    "type": "function_call_output",
                    "call_id": "call_aaaaaaaa",
                    "output": "12 °C",
                },
                {"role": "system", "content": "One call is left."},
                {
                    "type": "function_call",
                    "call_id": "call_bbbbbbbb",
                    "name": "search",
                    "arguments": '{"query":"a \\"b\\""}',
                },
                {
                    "type": "function_call_output",
                    "call_id": "call_bbbbbbbb",
                    "output": "failed",
                },
                {"role": "assistant", "content": "12 °C."},
                {"role": "user", "content": "Thanks"},
            ],
        ),
    ),
    RequestCase(
        "reasoning and comment go back with the call that followed them",
        ChatRequest(
            "gpt-5.5",
            "",
            [
                user("What is the capital of PotatoLand?"),
                assistant(
                    'I\'ll check the capital lookup tool for "PotatoLand."',
                    (
                        "call_ALAJMWK9buNN7RXxxXbECcHa",
                        "get_capital",
                        {"country": "PotatoLand"},
                    ),
                    vendor=vendor_of("reasoning_comment_and_call"),
                ),
                result("call_ALAJMWK9buNN7RXxxXbECcHa", "Potato City"),
            ],
            params={"reasoning_effort": "medium", "temperature": 0.5},
            capabilities=REASONING_MODEL,
        ),
        _create(
            model="gpt-5.5",
            input=[
                {"role": "user", "content": "What is the capital of PotatoLand?"},
                *items_of("reasoning_comment_and_call"),
                {
                    "type": "function_call_output",
                    "call_id": "call_ALAJMWK9buNN7RXxxXbECcHa",
                    "output": "Potato City",
                },
            ],
            include=["reasoning.encrypted_content"],
            reasoning={"effort": "medium"},
        ),
    ),
    RequestCase(
        "structured answer",
        ChatRequest("gpt-4o", "", [user("Who?")], params={"response_schema": PERSON}),
        _create(
            model="gpt-4o",
            input=[{"role": "user", "content": "Who?"}],
            text={
                "format": {
                    "type": "json_schema",
                    "name": "answer",
                    "schema": PERSON,
                    "strict": True,
                }
            },
        ),
    ),
)

REPLIES = (
    ReplyCase(
        "text",
        ChatReply(
            content="The capital of PotatoLand is **Potato City**.",
            usage=Usage(input_tokens=150, output_tokens=16, cached_tokens=128),
            response_id="resp_094ebefab06f6c100069efd583f3f48195963668b2d25fdcf0",
            model="gpt-4o-2024-08-06",
        ),
    ),
    ReplyCase(
        "reasoning_comment_and_call",
        ChatReply(
            content='I\'ll check the capital lookup tool for "PotatoLand."',
            tool_calls=(
                ToolCall(
                    "call_ALAJMWK9buNN7RXxxXbECcHa", "get_capital", '{"country":"PotatoLand"}'
                ),
            ),
            finish_reason="tool_calls",
            usage=Usage(
                input_tokens=63, output_tokens=72, cache_write_tokens=32, reasoning_tokens=29
            ),
            vendor=vendor_of("reasoning_comment_and_call"),
            response_id="resp_094ebefab06f6c100069efd5814cd881958cfa10878ca4446d",
            model="gpt-5.5-2026-04-23",
        ),
    ),
    ReplyCase(
        "incomplete_call",
        ChatReply(
            content="",
            tool_calls=(ToolCall("call_Pd3mJr8hTTqXLnOTUPOGC2uD", "search", '{"query": "lon'),),
            finish_reason="length",
            usage=Usage(input_tokens=40, output_tokens=16),
            response_id="resp_2",
            model="gpt-4o-2024-08-06",
        ),
    ),
    ReplyCase(
        "incomplete_without_text",
        ChatReply(
            content="",
            finish_reason="length",
            usage=Usage(input_tokens=40, output_tokens=64, reasoning_tokens=64),
            vendor=vendor_of("incomplete_without_text"),
            response_id="resp_3",
            model="gpt-5",
        ),
    ),
    ReplyCase(
        "refusal",
        ChatReply(
            content="",
            finish_reason="content_filter",
            refusal="I can't help with that.",
            usage=Usage(input_tokens=9, output_tokens=8),
            response_id="resp_4",
            model="gpt-4o-2024-08-06",
        ),
    ),
)

ERRORS = (
    ErrorCase(
        "reasoning without its following item",
        400,
        {
            "error": {
                "message": "Item 'rs_1' of type 'reasoning' was provided without its required "
                "following item.",
                "type": "invalid_request_error",
                "param": "input",
                "code": None,
            }
        },
        "invalid_request",
        code="invalid_request_error",
    ),
    ErrorCase(
        "too many requests",
        429,
        {"error": {"message": "slow", "code": "rate_limit_exceeded"}},
        "rate_limited",
        headers={"retry-after": "3"},
        code="rate_limit_exceeded",
        retry_after=3.0,
    ),
    ErrorCase(
        "a failed response",
        200,
        {
            "id": "resp_5",
            "status": "failed",
            "error": {"code": "server_error", "message": "it broke"},
            "output": [],
        },
        "server_error",
        code="server_error",
    ),
    ErrorCase(
        "a response that failed of too many requests",
        200,
        {
            "id": "resp_6",
            "status": "failed",
            "error": {"code": "rate_limit_exceeded", "message": "slow"},
            "output": [],
        },
        "rate_limited",
        code="rate_limit_exceeded",
    ),
    ErrorCase(
        "a response that failed of a prompt that is too long",
        200,
        {
            "id": "resp_7",
            "status": "failed",
            "error": {"code": "context_length_exceeded", "message": "long"},
            "output": [],
        },
        "context_overflow",
        code="context_length_exceeded",
    ),
    ErrorCase(
        "a response that is still queued",
        200,
        {"id": "resp_8", "status": "queued", "error": None, "output": []},
        "malformed_response",
    ),
    ErrorCase("wrong key", 401, {"error": {"message": "no"}}, "authentication"),
    ErrorCase("overloaded", 503, "", "overloaded"),
)
