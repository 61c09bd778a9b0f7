"""The real small model through the official clients, on every wire.

The questions can only be answered with what the tool returns, so no answer can be a lucky guess.
"""

from __future__ import annotations

import json
from typing import Any

import anthropic
import ollama
import openai
import pytest
from google import genai
from google.genai import types as genai_types

from local_models.server_process import ANSWER_SECONDS, ServerProcess

pytestmark = pytest.mark.model

MODEL = "qwen2.5-coder-1.5b"
SYSTEM = (
    "You answer questions about the orders of a small shop. Look facts up with the tools; never "
    "guess. Answer in one short sentence, in the language of the question."
)
QUESTION = "What is the status of order 1002?"
ORDER = {"order_id": 1002, "customer": "Jonas Berg", "status": "shipped", "total": 129.9}
ORDER |= {"carrier": "Northwind Express", "tracking_number": "NW-48213"}
STATUS_TOOL = {
    "name": "order_status",
    "description": "Look up one order by its number: who ordered it, its status (paid, shipped or "
    "cancelled), total, carrier and tracking number. Use it for every question that names an order "
    "number.",
    "parameters": {
        "type": "object",
        "properties": {
            "order_id": {"type": "integer", "description": "Number of the order, for example 1002"}
        },
        "required": ["order_id"],
        "additionalProperties": False,
    },
}
COUNT_TOOL = {
    "name": "count_orders",
    "description": "Count all orders of the shop that have a given status. It says nothing about a "
    "single order.",
    "parameters": {
        "type": "object",
        "properties": {"status": {"type": "string", "enum": ["paid", "shipped", "cancelled"]}},
        "required": ["status"],
        "additionalProperties": False,
    },
}
CHAT_TOOLS: Any = [{"type": "function", "function": tool} for tool in (STATUS_TOOL, COUNT_TOOL)]


@pytest.fixture
def openai_client(model_server: ServerProcess) -> openai.OpenAI:
    return openai.OpenAI(
        base_url=f"{model_server.url}/v1", api_key="k", timeout=ANSWER_SECONDS, max_retries=0
    )


@pytest.fixture
def anthropic_client(model_server: ServerProcess) -> anthropic.Anthropic:
    return anthropic.Anthropic(
        base_url=model_server.url, api_key="k", timeout=ANSWER_SECONDS, max_retries=0
    )


@pytest.fixture
def gemini_client(model_server: ServerProcess) -> genai.Client:
    options = genai_types.HttpOptions(base_url=model_server.url, timeout=int(ANSWER_SECONDS * 1000))
    return genai.Client(api_key="k", http_options=options)


@pytest.fixture
def ollama_client(model_server: ServerProcess) -> ollama.Client:
    return ollama.Client(host=model_server.url, timeout=ANSWER_SECONDS)


@pytest.mark.parametrize(
    ("question", "tool", "arguments", "result", "expected"),
    [
        (QUESTION, "order_status", {"order_id": 1002}, ORDER, "shipped"),
        (
            "Which carrier has order 1002, and what is its tracking number?",
            "order_status",
            {"order_id": 1002},
            ORDER,
            "NW-48213",
        ),
        (
            "How many orders have been shipped?",
            "count_orders",
            {"status": "shipped"},
            {"status": "shipped", "count": 37},
            "37",
        ),
        (
            "주문 1002번은 지금 어디에 있나요?",
            "order_status",
            {"order_id": 1002},
            ORDER,
            "Northwind",
        ),
    ],
)
def test_a_question_is_answered_with_the_tools_result(
    openai_client: openai.OpenAI,
    question: str,
    tool: str,
    arguments: dict[str, Any],
    result: dict[str, Any],
    expected: str,
) -> None:
    messages: list[Any] = [
        {"role": "system", "content": SYSTEM},
        {"role": "user", "content": question},
    ]
    first = openai_client.chat.completions.create(model=MODEL, messages=messages, tools=CHAT_TOOLS)
    assert first.choices[0].finish_reason == "tool_calls"
    [call] = first.choices[0].message.tool_calls or []
    assert call.type == "function"
    assert (call.function.name, json.loads(call.function.arguments)) == (tool, arguments)
    messages += [
        first.choices[0].message,
        {"role": "tool", "tool_call_id": call.id, "content": json.dumps(result)},
    ]
    second = openai_client.chat.completions.create(model=MODEL, messages=messages, tools=CHAT_TOOLS)
    assert not second.choices[0].message.tool_calls
    assert expected in (second.choices[0].message.content or "")
    assert second.usage is not None
    assert second.usage.prompt_tokens > first.usage.prompt_tokens > 100  # type: ignore[union-attr]


def test_openai_streams_with_usage(openai_client: openai.OpenAI) -> None:
    text, usage = "", None
    stream = openai_client.chat.completions.create(
        model=MODEL,
        messages=[{"role": "user", "content": "Write the word hello."}],
        stream=True,
        stream_options={"include_usage": True},
    )
    for chunk in stream:
        usage = chunk.usage or usage
        text += (chunk.choices[0].delta.content or "") if chunk.choices else ""
    assert "hello" in text.lower()
    assert usage is not None
    assert usage.total_tokens == usage.prompt_tokens + usage.completion_tokens


def test_openai_json_schema_is_obeyed(openai_client: openai.OpenAI) -> None:
    schema = {
        "type": "object",
        "properties": {"city": {"enum": ["Paris", "Rome"]}},
        "required": ["city"],
        "additionalProperties": False,
    }
    answer = openai_client.chat.completions.create(
        model=MODEL,
        messages=[{"role": "user", "content": "What is the capital of France? Answer as JSON."}],
        response_format={
            "type": "json_schema",
            "json_schema": {"name": "capital", "strict": True, "schema": schema},
        },
    )
    assert json.loads(answer.choices[0].message.content or "") == {"city": "Paris"}


def test_openai_responses_call_tools(openai_client: openai.OpenAI) -> None:
    tool: Any = {"type": "function", "strict": False, **STATUS_TOOL}
    answer = openai_client.responses.create(
        model=MODEL, instructions=SYSTEM, input=QUESTION, tools=[tool]
    )
    [call] = [item for item in answer.output if item.type == "function_call"]
    assert (call.name, json.loads(call.arguments)) == ("order_status", {"order_id": 1002})
    assert answer.usage is not None
    assert answer.usage.input_tokens > 100


def test_anthropic_calls_tools_and_answers_with_the_result(
    anthropic_client: anthropic.Anthropic,
) -> None:
    tool: Any = {"name": "order_status", "description": STATUS_TOOL["description"]}
    tool["input_schema"] = STATUS_TOOL["parameters"]
    messages: list[Any] = [{"role": "user", "content": QUESTION}]
    first = anthropic_client.messages.create(
        model=MODEL, max_tokens=100, system=SYSTEM, messages=messages, tools=[tool]
    )
    assert first.stop_reason == "tool_use"
    [call] = [block for block in first.content if block.type == "tool_use"]
    assert (call.name, call.input) == ("order_status", {"order_id": 1002})
    result = {"type": "tool_result", "tool_use_id": call.id, "content": json.dumps(ORDER)}
    messages += [{"role": "assistant", "content": first.content}]
    messages += [{"role": "user", "content": [result]}]
    with anthropic_client.messages.stream(
        model=MODEL, max_tokens=100, system=SYSTEM, messages=messages, tools=[tool]
    ) as stream:
        text = "".join(stream.text_stream)
    assert "shipped" in text
    counted = anthropic_client.messages.count_tokens(model=MODEL, messages=messages[:1])
    assert 5 < counted.input_tokens < 100


def test_gemini_calls_tools_and_streams(gemini_client: genai.Client) -> None:
    declared = genai_types.FunctionDeclaration(
        name="order_status",
        description=str(STATUS_TOOL["description"]),
        parameters_json_schema=STATUS_TOOL["parameters"],
    )
    config = genai_types.GenerateContentConfig(
        system_instruction=SYSTEM,
        tools=[genai_types.Tool(function_declarations=[declared])],
        automatic_function_calling=genai_types.AutomaticFunctionCallingConfig(disable=True),
    )
    contents: list[Any] = [genai_types.UserContent(QUESTION)]
    first = gemini_client.models.generate_content(model=MODEL, contents=contents, config=config)
    [call] = first.function_calls or []
    assert (call.name, call.args) == ("order_status", {"order_id": 1002})
    assert first.usage_metadata is not None
    assert (first.usage_metadata.prompt_token_count or 0) > 100
    answered = genai_types.Part.from_function_response(name="order_status", response=ORDER)
    assert first.candidates
    contents += [first.candidates[0].content, genai_types.UserContent(answered)]
    stream = gemini_client.models.generate_content_stream(
        model=MODEL, contents=contents, config=config
    )
    assert "shipped" in "".join(chunk.text or "" for chunk in stream)


def test_ollama_calls_tools_and_streams(ollama_client: ollama.Client) -> None:
    messages: list[Any] = [
        {"role": "system", "content": SYSTEM},
        {"role": "user", "content": QUESTION},
    ]
    first = ollama_client.chat(model=MODEL, messages=messages, tools=CHAT_TOOLS)
    [call] = first.message.tool_calls or []
    assert (call.function.name, dict(call.function.arguments)) == (
        "order_status",
        {"order_id": 1002},
    )
    assert (first.prompt_eval_count or 0) > 100
    messages += [first.message]
    messages += [{"role": "tool", "tool_name": "order_status", "content": json.dumps(ORDER)}]
    stream = ollama_client.chat(model=MODEL, messages=messages, tools=CHAT_TOOLS, stream=True)
    pieces = list(stream)
    assert "shipped" in "".join(piece.message.content or "" for piece in pieces)
    assert pieces[-1].done_reason == "stop"


def test_every_client_lists_the_models(
    openai_client: openai.OpenAI,
    anthropic_client: anthropic.Anthropic,
    gemini_client: genai.Client,
    ollama_client: ollama.Client,
) -> None:
    names = {MODEL, "multilingual-e5-small"}
    assert {model.id for model in openai_client.models.list()} == names
    assert {model.id for model in anthropic_client.models.list()} == names
    assert {str(m.name).removeprefix("models/") for m in gemini_client.models.list()} == names
    assert {model.model for model in ollama_client.list().models} == names


def test_no_answer_gets_longer_than_the_server_allows(ollama_client: ollama.Client) -> None:
    answer = ollama_client.generate(
        model=MODEL, prompt="Count from 1 to 1000.", options={"num_predict": -1}
    )
    assert answer.eval_count == 128
    assert answer.done_reason == "length"


def test_the_models_errors_come_in_the_wires_own_shape(
    openai_client: openai.OpenAI, anthropic_client: anthropic.Anthropic
) -> None:
    long = "word " * 20_000
    with pytest.raises(openai.BadRequestError) as by_openai:
        openai_client.chat.completions.create(
            model=MODEL, messages=[{"role": "user", "content": long}]
        )
    assert by_openai.value.type == "invalid_request_error"
    assert "context" in by_openai.value.message
    with pytest.raises(anthropic.BadRequestError) as by_anthropic:
        anthropic_client.messages.create(
            model=MODEL, max_tokens=9, messages=[{"role": "user", "content": long}]
        )
    assert by_anthropic.value.type == "invalid_request_error"


def test_a_malformed_call_in_the_history_can_be_answered(openai_client: openai.OpenAI) -> None:
    function = {"name": "order_status", "arguments": '{"order_id": 10'}
    messages: list[Any] = [
        {"role": "system", "content": SYSTEM},
        {"role": "user", "content": QUESTION},
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [{"id": "c1", "type": "function", "function": function}],
        },
        {"role": "tool", "tool_call_id": "c1", "content": "The arguments are not valid JSON."},
    ]
    answer = openai_client.chat.completions.create(model=MODEL, messages=messages, tools=CHAT_TOOLS)
    assert answer.choices[0].message.tool_calls or answer.choices[0].message.content


def test_no_tool_is_called_when_none_may_be(openai_client: openai.OpenAI) -> None:
    answer = openai_client.chat.completions.create(
        model=MODEL,
        messages=[{"role": "user", "content": "Check order number 12, please."}],
        tools=CHAT_TOOLS,
        tool_choice="none",
    )
    said = answer.choices[0].message
    assert not said.tool_calls
    assert "order_status" not in (said.content or "")
