"""Gemini's generateContent, held against the SDK ``google-genai``."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

from google import genai
from google.genai import types

from conformance.cases import ErrorCase, ReplyCase, RequestCase, assistant, recorded, result, user
from pgagentos.providers.base import ChatReply, ChatRequest, Message, Tool, ToolCall, Usage
from pgagentos.providers.wire import make_call_id

DRIVER = "gemini"
BASE_PATH = ""
AUTH_HEADERS = ("x-goog-api-key", "authorization")

MODEL = "gemini-3.5-flash"
WEATHER = Tool(
    "get_weather",
    "Current weather of a city",
    {
        "type": "object",
        "properties": {"city": {"type": "string"}},
        "required": ["city"],
        "additionalProperties": False,
    },
)
SDK_TOOL = types.Tool(
    function_declarations=[
        types.FunctionDeclaration(
            name="get_weather",
            description="Current weather of a city",
            parameters_json_schema=dict(WEATHER.parameters),
        )
    ]
)


def parts_of(name: str) -> list[dict[str, Any]]:
    """The parts of a recorded reply, without the thoughts that need not go back."""
    (candidate,) = json.loads(recorded(DRIVER, name).body)["candidates"]
    return [part for part in candidate["content"]["parts"] if not part.get("thought")]


def vendor_of(name: str, *call_ids: str) -> dict[str, Any]:
    """What is stored beside a recorded reply."""
    vendor = {"driver": "gemini", "provider": "test", "model": MODEL, "parts": parts_of(name)}
    return {**vendor, "call_ids": list(call_ids)} if call_ids else vendor


def echoed(name: str) -> types.Content:
    """A recorded reply as the SDK reads it, to be sent back."""
    reply = types.GenerateContentResponse.model_validate_json(recorded(DRIVER, name).body)
    content = reply.candidates[0].content
    content.parts = [part for part in content.parts if not part.thought]
    return content


def generate(
    *contents: types.Content, api_version: str = "v1beta", model: str = MODEL, **config: Any
) -> Callable[[str, str], object]:
    """A call of the SDK."""

    def call(base_url: str, api_key: str) -> object:
        options = types.HttpOptions(base_url=base_url, api_version=api_version)
        client = genai.Client(api_key=api_key, vertexai=False, http_options=options)
        return client.models.generate_content(
            model=model,
            contents=list(contents),
            config=types.GenerateContentConfig(**config),
        )

    return call


def said(role: str, *parts: types.Part) -> types.Content:
    return types.Content(role=role, parts=list(parts))


def text(words: str) -> types.Part:
    return types.Part(text=words)


def response(name: str, content: dict[str, Any], own_id: str | None = None) -> types.Part:
    return types.Part(
        function_response=types.FunctionResponse(name=name, response=content, id=own_id)
    )


def as_documented(body: dict[str, Any]) -> dict[str, Any]:
    """Write the SDK's names in snake_case as the API's reference does.

    Google's JSON takes both (https://protobuf.dev/programming-guides/json/), other servers that
    speak this wire often know only the documented ones.
    """

    def camel(members: dict[str, Any]) -> dict[str, Any]:
        return {
            re.sub("_([a-z])", lambda found: found[1].upper(), name): value
            for name, value in members.items()
        }

    for tool in body.get("tools", ()):
        if "functionDeclarations" in tool:
            tool["functionDeclarations"] = [camel(one) for one in tool["functionDeclarations"]]
    if "thinkingConfig" in body["generationConfig"]:
        config = body["generationConfig"]["thinkingConfig"]
        body["generationConfig"]["thinkingConfig"] = camel(config)
    return body


def request(
    *messages: Message,
    model: str = MODEL,
    system: str = "",
    tools: tuple[Tool, ...] = (),
    **more: Any,
) -> ChatRequest:
    return ChatRequest(model, system, messages, tools, **more)


SDK_ANSWER = json.loads(recorded(DRIVER, "text").body)

QUESTION = user('Wie ist das Wetter in 서울? "Genau"\n')
SDK_QUESTION = said("user", text('Wie ist das Wetter in 서울? "Genau"\n'))
PARALLEL = (make_call_id("resp-7f3k2m9x\0", 0), make_call_id("resp-7f3k2m9x\0", 1))

REQUESTS = (
    RequestCase(
        "a question with a system prompt",
        request(QUESTION, system="Be brief."),
        generate(SDK_QUESTION, system_instruction="Be brief."),
    ),
    RequestCase(
        "the stable version of the API with all parameters",
        request(
            user("Hi"),
            assistant("Hello"),
            user("Go on"),
            params={
                "temperature": 0.5,
                "top_p": 0.9,
                "max_output_tokens": 100,
                "stop": ["END"],
                "seed": 7,
                "reasoning_effort": "low",
            },
        ),
        generate(
            said("user", text("Hi")),
            said("model", text("Hello")),
            said("user", text("Go on")),
            api_version="v1",
            temperature=0.5,
            top_p=0.9,
            max_output_tokens=100,
            stop_sequences=["END"],
            seed=7,
            thinking_config=types.ThinkingConfig(thinking_level="low"),
        ),
        {"api_version": "v1"},
    ),
    RequestCase(
        "a budget for thinking",
        request(
            user("Hi"),
            model="gemini-2.5-flash",
            params={"reasoning_effort": "none"},
            capabilities={"reasoning": True, "thinking": "budget"},
        ),
        generate(
            said("user", text("Hi")),
            model="gemini-2.5-flash",
            thinking_config=types.ThinkingConfig(thinking_budget=0, include_thoughts=True),
        ),
        {"include_thoughts": True},
    ),
    RequestCase(
        "a tool that must be called",
        request(QUESTION, tools=(WEATHER,), tool_choice="required"),
        generate(
            SDK_QUESTION,
            tools=[SDK_TOOL],
            tool_config=types.ToolConfig(
                function_calling_config=types.FunctionCallingConfig(mode="ANY")
            ),
        ),
    ),
    RequestCase(
        "signed parallel calls and their results",
        request(
            QUESTION,
            assistant(
                "",
                (PARALLEL[0], "get_weather", {"city": "서울"}),
                (PARALLEL[1], "get_weather", {"city": "Tokyo"}),
                vendor=vendor_of("parallel_calls", *PARALLEL),
            ),
            result(PARALLEL[0], "21"),
            result(PARALLEL[1], "no such city", is_error=True),
            user("And Busan?"),
            tools=(WEATHER,),
        ),
        generate(
            SDK_QUESTION,
            echoed("parallel_calls"),
            said(
                "user",
                response("get_weather", {"output": "21"}),
                response("get_weather", {"error": "no such city"}),
            ),
            said("user", text("And Busan?")),
            tools=[SDK_TOOL],
        ),
    ),
    RequestCase(
        "a call with an id of Gemini's own",
        request(
            QUESTION,
            assistant(
                "",
                ("k9d2m4x8", "get_weather", {"city": "Seoul"}),
                vendor=vendor_of("call_with_id", "k9d2m4x8"),
            ),
            result("k9d2m4x8", "21"),
            tools=(WEATHER,),
        ),
        generate(
            SDK_QUESTION,
            echoed("call_with_id"),
            said("user", response("get_weather", {"output": "21"}, "k9d2m4x8")),
            tools=[SDK_TOOL],
        ),
    ),
    RequestCase(
        "a signature on an empty text",
        request(
            QUESTION,
            assistant("All done.", vendor=vendor_of("signature_on_text")),
            user("Thanks"),
        ),
        generate(SDK_QUESTION, echoed("signature_on_text"), said("user", text("Thanks"))),
    ),
    RequestCase(
        "an answer of a given shape",
        request(user("Hi"), params={"response_schema": {"type": "object", "title": "N"}}),
        generate(
            said("user", text("Hi")),
            response_mime_type="application/json",
            response_json_schema={"type": "object", "title": "N"},
        ),
    ),
    RequestCase(
        "search and safety settings of Google",
        request(user("Hi")),
        generate(
            said("user", text("Hi")),
            tools=[types.Tool(google_search=types.GoogleSearch())],
            safety_settings=[
                types.SafetySetting(
                    category="HARM_CATEGORY_HARASSMENT", threshold="BLOCK_ONLY_HIGH"
                )
            ],
        ),
        {
            "server_tools": [{"googleSearch": {}}],
            "safety_settings": [
                {"category": "HARM_CATEGORY_HARASSMENT", "threshold": "BLOCK_ONLY_HIGH"}
            ],
        },
    ),
)

REPLY = {"response_id": "resp-7f3k2m9x", "model": MODEL}

REPLIES = (
    ReplyCase(
        "text",
        ChatReply(
            '서울은 21°C입니다. "Sunny"\nEnjoy!', usage=Usage(1500, 12, cached_tokens=1024), **REPLY
        ),
    ),
    ReplyCase(
        "parallel_calls",
        ChatReply(
            "",
            (
                ToolCall(PARALLEL[0], "get_weather", '{"city":"서울"}'),
                ToolCall(PARALLEL[1], "get_weather", '{"city":"Tokyo"}'),
            ),
            "tool_calls",
            Usage(80, 85, reasoning_tokens=51),
            vendor_of("parallel_calls", *PARALLEL),
            **REPLY,
        ),
    ),
    ReplyCase(
        "call_with_id",
        ChatReply(
            "",
            (ToolCall("k9d2m4x8", "get_weather", '{"city":"Seoul"}'),),
            "tool_calls",
            Usage(20, 9),
            vendor_of("call_with_id", "k9d2m4x8"),
            **REPLY,
        ),
    ),
    ReplyCase(
        "signature_on_text",
        ChatReply("All done.", (), "stop", Usage(20, 9), vendor_of("signature_on_text"), **REPLY),
    ),
    ReplyCase(
        "thought_until_the_end",
        ChatReply("", (), "length", Usage(13, 61, reasoning_tokens=61), **REPLY),
    ),
    ReplyCase(
        "blocked_prompt",
        ChatReply(
            "",
            (),
            "content_filter",
            Usage(18),
            refusal="The prompt was blocked.",
            response_id="resp-blocked",
            model=MODEL,
        ),
    ),
    ReplyCase(
        "filtered_answer",
        ChatReply(
            "",
            (),
            "content_filter",
            Usage(20, 9),
            refusal="The provider stopped the answer: SAFETY.",
            **REPLY,
        ),
    ),
    ReplyCase(
        "malformed_call",
        ChatReply(
            "",
            (),
            "other",
            Usage(20, 9),
            finish_detail="Malformed function call: print(get_weather(",
            **REPLY,
        ),
    ),
)


def error(code: int, status: str, message: str, *details: dict[str, Any]) -> dict[str, Any]:
    """An error's body."""
    return {"error": {"code": code, "message": message, "status": status, "details": list(details)}}


KIND = "type.googleapis.com/google.rpc."

ERRORS = (
    ErrorCase(
        "wrong key",
        400,
        error(
            400,
            "INVALID_ARGUMENT",
            "API key not valid: sk-test-0123456789abcdefghij",
            {"@type": f"{KIND}ErrorInfo", "reason": "API_KEY_INVALID"},
        ),
        "authentication",
        code="API_KEY_INVALID",
    ),
    ErrorCase(
        "prompt too long",
        400,
        error(
            400,
            "INVALID_ARGUMENT",
            "The input token count (1200293) exceeds the maximum number of tokens allowed "
            "(1048576).",
        ),
        "context_overflow",
        code="INVALID_ARGUMENT",
    ),
    ErrorCase(
        "bad field",
        400,
        error(400, "INVALID_ARGUMENT", "Unknown name"),
        "invalid_request",
        code="INVALID_ARGUMENT",
    ),
    ErrorCase(
        "unknown model", 404, error(404, "NOT_FOUND", "no model"), "not_found", code="NOT_FOUND"
    ),
    ErrorCase(
        "quota with a wait in the body",
        429,
        error(
            429,
            "RESOURCE_EXHAUSTED",
            "You exceeded your current quota",
            {"@type": f"{KIND}RetryInfo", "retryDelay": "34.5s"},
        ),
        "rate_limited",
        code="RESOURCE_EXHAUSTED",
        retry_after=34.5,
    ),
    ErrorCase(
        "overloaded",
        503,
        error(503, "UNAVAILABLE", "The model is overloaded."),
        "overloaded",
        code="UNAVAILABLE",
    ),
    ErrorCase(
        "an error in a list", 500, [error(500, "INTERNAL", "oops")], "server_error", code="INTERNAL"
    ),
    ErrorCase("bad gateway", 502, "<html></html>", "server_error", content_type="text/html"),
)
