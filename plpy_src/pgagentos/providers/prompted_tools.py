"""Tools for a model that cannot call them: described in the prompt, called by plain JSON.

A weak model behind a server with constrained decoding writes ``{"name":...,"arguments":{...}}`` or
``{"answer":...}``, because ``response_format`` allows nothing else. Where the server does not
constrain, a call in a fenced block or in ``<tool_call>`` tags is understood as well.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

from ..net.message import HttpResponse
from .base import ChatReply, Message, Tool, ToolCall
from .json_text import read_json
from .schema import with_object_root
from .wire import dumps, is_cut_off, make_call_id

_FENCE = re.compile(r"```(?:json)?\s*(\{.*?\})\s*```", re.DOTALL)
_TAG = re.compile(r"<tool_call>\s*(\{.*?\})\s*</tool_call>", re.DOTALL)


def describe(system: str, tools: Sequence[Tool], tool_choice: str) -> str:
    """Add the tools, and how to call them, to the system prompt."""
    described = "\n".join(
        dumps(
            {
                "name": tool.name,
                "description": tool.description,
                "parameters": with_object_root(tool.parameters),
            }
        )
        for tool in tools
    )
    answer = (
        ""
        if tool_choice == "required"
        else 'If no tool is needed, or you have the results you need, write {"answer": "..."}.\n'
    )
    return (f"{system}\n\n" if system else "") + (
        "You can call these tools:\n"
        f"{described}\n\n"
        "Write one JSON object and nothing else.\n"
        'To call a tool write {"name": "<tool>", "arguments": {...}}.\n'
        f"{answer}"
        "The result of a call comes in the next message."
    )


def response_format(
    tools: Sequence[Tool], tool_choice: str, answer_schema: Any = None
) -> dict[str, Any]:
    """Write the schema of a call of one of *tools*, or of an answer."""
    choices: list[dict[str, Any]] = [
        _closed({"name": {"const": tool.name}, "arguments": with_object_root(tool.parameters)})
        for tool in tools
    ]
    if tool_choice != "required":
        choices.append(_closed({"answer": answer_schema or {"type": "string"}}))
    return {
        "type": "json_schema",
        "json_schema": {"name": "reply", "schema": {"anyOf": choices}},
    }


def _closed(properties: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def flatten(messages: Sequence[Message], has_tools: bool) -> list[Message]:
    """Write calls and results as text, in the form in which the model writes them.

    Args:
        messages: the repaired history.
        has_tools: earlier answers are shown as the model has to write them.
    """
    names: dict[str, str] = {}
    flat: list[Message] = []
    for message in messages:
        neutral = json.loads(message.json)
        if neutral.get("tool_calls"):
            calls = []
            for call in neutral["tool_calls"]:
                names[call["call_id"]] = call["name"]
                calls.append(dumps({"name": call["name"], "arguments": call["arguments"]}))
            flat.append(_message("assistant", "\n".join(calls)))
        elif neutral["role"] == "tool":
            what = "Error" if neutral.get("is_error") else "Result"
            name = names.get(neutral["call_id"], "the tool")
            flat.append(_message("user", f"{what} of {name}: {neutral.get('content') or ''}"))
        elif neutral["role"] == "assistant" and has_tools and neutral.get("content"):
            flat.append(_message("assistant", dumps({"answer": neutral["content"]})))
        else:
            flat.append(Message(message.json))
    return flat


def _message(role: str, content: str) -> Message:
    return Message(dumps({"role": role, "content": content}))


def read(reply: ChatReply, response: HttpResponse) -> ChatReply:
    """Turn JSON in the reply's text back into tool calls or an answer.

    A reply that is neither stays the text that it is.
    """
    if reply.tool_calls:
        return reply
    text = reply.content.strip()
    found = _calls_in(text)
    if found:
        unique = response.body.decode("utf-8", "replace")
        calls = tuple(
            ToolCall(make_call_id(unique, index), name, arguments)
            for index, (name, arguments) in enumerate(found)
        )
        finish = reply.finish_reason
        return reply._replace(
            content="",
            tool_calls=calls,
            finish_reason=finish if finish == "length" else "tool_calls",
        )
    value = _object(text)
    if value is not None and set(value) == {"answer"}:
        answer = value["answer"]
        return reply._replace(content=answer if isinstance(answer, str) else dumps(answer))
    if text.startswith('{"') and is_cut_off(text):
        return reply._replace(finish_reason="length")
    return reply


def _calls_in(text: str) -> list[tuple[str, str]]:
    """Find the calls: the whole text, one object a line, fenced blocks or tags."""
    candidates = [text]
    candidates += _TAG.findall(text) or _FENCE.findall(text) or text.splitlines()
    calls = []
    for candidate in candidates:
        value = _object(candidate)
        if value is None or not isinstance(value.get("name"), str):
            continue
        arguments = value.get("arguments", value.get("parameters"))
        if set(value) - {"name", "arguments", "parameters"} or arguments is None:
            continue
        calls.append((value["name"], arguments if isinstance(arguments, str) else dumps(arguments)))
        if candidate is text:
            break
    return calls


def _object(text: str) -> dict[str, Any] | None:
    try:
        value = read_json(text)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None
