"""The history as input items of the Responses API; most messages need no parsing."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from json.encoder import encode_basestring as quote
from typing import Any

from .base import ChatRequest, Endpoint, Message
from .history import SINGLE_CALL
from .wire import dumps, parse_arguments

DRIVER = "openai_responses"

_PLAIN_USER = '{"role":"user","content":"'
_PLAIN_ASSISTANT = '{"role":"assistant","content":"'


def items_of(
    messages: Iterable[Message], request: ChatRequest, endpoint: Endpoint
) -> Iterable[str]:
    """Write the history as texts of input items; a plain message passes unparsed."""
    note_role = str(endpoint.options.get("note_role", "system"))
    for message in messages:
        text = message.json
        if text.startswith(_PLAIN_USER):
            yield text
            continue
        if (
            message.vendor is None
            and text.startswith(_PLAIN_ASSISTANT)
            and '"tool_calls"' not in text
        ):
            if text != '{"role":"assistant","content":""}':
                yield text
            continue
        if message.vendor is None:
            single = _single_call(text) or _result(text)
            if single is not None:
                yield single
                continue
        neutral = json.loads(text)
        role, content = neutral["role"], neutral.get("content") or ""
        if role == "assistant":
            own = _own_items(neutral, message.vendor, request, endpoint)
            yield from _assistant_items(neutral) if own is None else map(dumps, own)
        elif role == "tool":
            yield (
                '{"type":"function_call_output","call_id":' + quote(neutral["call_id"])
                + ',"output":' + quote(content) + "}"
            )  # fmt: skip
        else:
            yield dumps({"role": note_role if role == "system" else role, "content": content})


def _single_call(text: str) -> str | None:
    """Write an assistant message with one tool call from the texts of its parts, if they show."""
    call = SINGLE_CALL.search(text)
    if call is None or text.count('"call_id"') != 1 or not text.startswith(_PLAIN_ASSISTANT):
        return None
    call_id, name, arguments = call.groups()
    item = (
        f'{{"type":"function_call","call_id":{call_id},"name":{name},'
        f'"arguments":{quote(arguments)}}}'
    )
    head = text[: call.start()]
    return item if head == _PLAIN_ASSISTANT + '"' else f"{head}}},{item}"


_TOOL = '{"role":"tool","call_id":"'
_CONTENT = '","content":"'
_ERROR_MARK = ',"is_error":true}'


def _result(text: str) -> str | None:
    """Write a tool result from the texts of its parts, if they show."""
    if not text.startswith(_TOOL):
        return None
    # A quote inside a JSON string is escaped, so neither mark can be part of the content.
    end = len(text) - (len(_ERROR_MARK) if text.endswith(_ERROR_MARK) else 1)
    at = text.find(_CONTENT)
    call_id = text[len(_TOOL) : at]
    if at < 0 or '"' in call_id or not text[:end].endswith('"'):
        return None
    return (
        f'{{"type":"function_call_output","call_id":"{call_id}",'
        f'"output":"{text[at + len(_CONTENT) : end]}}}'
    )


def _assistant_items(neutral: Mapping[str, Any]) -> Iterable[str]:
    """Write an assistant message without anything of the vendor's."""
    if neutral.get("content"):
        yield dumps({"role": "assistant", "content": neutral["content"]})
    for call in neutral.get("tool_calls") or ():
        arguments = call["arguments"]
        if not isinstance(arguments, dict):
            arguments = {"invalid_json": arguments}
        yield (
            '{"type":"function_call","call_id":' + quote(call["call_id"])
            + ',"name":' + quote(call["name"])
            + ',"arguments":' + quote(dumps(arguments)) + "}"
        )  # fmt: skip


def _own_items(
    neutral: Mapping[str, Any], vendor: str | None, request: ChatRequest, endpoint: Endpoint
) -> list[dict[str, Any]] | None:
    """Return the items to send again as they came, or None to write the neutral message.

    The neutral message is written when another driver or provider made the items, when the model
    of this request does not reason, and when the message was edited since: a reasoning item is
    accepted only together with the very item that followed it.
    """
    if not vendor:
        return None
    blocks = json.loads(vendor)
    if blocks.get("driver") != DRIVER or blocks.get("provider") != endpoint.provider:
        return None
    items = [item for item in blocks.get("items") or () if isinstance(item, dict)]
    if not request.capabilities.get("reasoning") and any(
        item.get("type") == "reasoning" for item in items
    ):
        return None
    if text_of(items) != (neutral.get("content") or ""):
        return None
    calls = [
        (item.get("call_id"), item.get("name"), _arguments_of(item))
        for item in items
        if item.get("type") == "function_call"
    ]
    expected = [
        (call["call_id"], call["name"], call["arguments"])
        for call in neutral.get("tool_calls") or ()
    ]
    if calls != expected:
        return None
    if endpoint.options.get("calls_last"):
        items.sort(key=lambda item: item.get("type") == "function_call")
    return items


def _arguments_of(item: Mapping[str, Any]) -> Any:
    """Return the arguments in the neutral message's form: an object, or the model's text."""
    text = item.get("arguments")
    parsed = parse_arguments(text) if isinstance(text, str) else None
    return text if parsed is None else parsed


def parts_of(items: Iterable[Mapping[str, Any]]) -> Iterable[Mapping[str, Any]]:
    """Return the content parts of all messages in *items*."""
    for item in items:
        if item.get("type") == "message" and isinstance(item.get("content"), list):
            yield from (content for content in item["content"] if isinstance(content, dict))


def text_of(items: Iterable[Mapping[str, Any]]) -> str:
    """Join the texts of all messages; comment and final answer stand in paragraphs of their own."""
    return "\n\n".join(
        text
        for item in items
        if (text := "".join(
            str(content.get("text") or "")
            for content in parts_of([item])
            if content.get("type") == "output_text"
        ))
    )  # fmt: skip
