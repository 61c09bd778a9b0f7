"""The history as messages of Chat Completions.

Each message becomes one text; most need no parsing, because this loop runs over thousands of
messages in every turn of a long conversation.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from json.encoder import encode_basestring as quote
from typing import Any

from .base import Endpoint, Message
from .history import SINGLE_CALL
from .wire import dumps

DRIVER = "openai_chat"

_PLAIN_USER = '{"role":"user","content":"'
_PLAIN_ASSISTANT = '{"role":"assistant","content":"'
_TOOL = '{"role":"tool","call_id":"'
_TOOL_ON_WIRE = '{"role":"tool","tool_call_id":"'
_ERROR_MARK = ',"is_error":true}'


def fragments_of(messages: Iterable[Message], endpoint: Endpoint, note_role: str) -> Iterable[str]:
    """Write the history as texts of wire messages.

    A message whose text is the wire's own passes unparsed: this loop runs over thousands of
    messages in every turn of a long conversation.
    """
    has_reasoning = bool(endpoint.options.get("reasoning_field"))
    for message in messages:
        text = message.json
        if text.startswith(_PLAIN_USER):
            yield text
        elif text.startswith(_PLAIN_ASSISTANT):
            if '"tool_calls"' in text:
                single = None if has_reasoning or message.vendor else SINGLE_CALL.search(text)
                if single and text.count('"call_id"') == 1:
                    yield _single_call(text[: single.start()], single)
                    continue
                yield _calling(json.loads(text), message.vendor, endpoint, has_reasoning)
            elif message.vendor is not None:
                yield from _rewritten(message, endpoint, note_role)
            elif text != '{"role":"assistant","content":""}':
                yield text
        elif text.startswith(_TOOL):
            # A quote inside a JSON string is escaped, so the mark cannot be part of the content.
            if text.endswith(_ERROR_MARK):
                text = text[: -len(_ERROR_MARK)] + "}"
            yield _TOOL_ON_WIRE + text[len(_TOOL) :]
        else:
            yield from _rewritten(message, endpoint, note_role)


def _single_call(head: str, call: re.Match[str]) -> str:
    """Write an assistant message with one tool call from the texts of its parts."""
    if head == '{"role":"assistant","content":""':
        head = '{"role":"assistant","content":null'
    call_id, name, arguments = call.groups()
    return (
        f'{head},"tool_calls":[{{"id":{call_id},"type":"function","function":'
        f'{{"name":{name},"arguments":{quote(arguments)}}}}}]}}'
    )


def _rewritten(message: Message, endpoint: Endpoint, note_role: str) -> Iterable[str]:
    """Write a message that cannot pass as it is; an empty assistant message is left out."""
    neutral = json.loads(message.json)
    role, content = neutral["role"], neutral.get("content") or ""
    if role == "tool":
        yield dumps({"role": "tool", "tool_call_id": neutral["call_id"], "content": content})
    elif role == "system":
        yield dumps({"role": note_role, "content": content})
    elif role == "user":
        yield dumps({"role": "user", "content": content})
    elif neutral.get("tool_calls"):
        has_reasoning = bool(endpoint.options.get("reasoning_field"))
        yield _calling(neutral, message.vendor, endpoint, has_reasoning)
    elif content:
        extra = _own_blocks(message.vendor, endpoint).get("extra_content")
        body = {"role": "assistant", "content": content}
        yield dumps({**body, "extra_content": extra} if extra else body)


def _calling(
    neutral: Mapping[str, Any], vendor: str | None, endpoint: Endpoint, has_reasoning: bool
) -> str:
    """Write an assistant message with tool calls."""
    own = _own_blocks(vendor, endpoint) if vendor else {}
    signatures = own.get("calls") or {}
    calls = []
    for call in neutral["tool_calls"]:
        arguments = call["arguments"]
        if not isinstance(arguments, dict):
            # Text that is no JSON object: servers that parse the history answer it with 400.
            arguments = {"invalid_json": arguments}
        call_id = call["call_id"]
        extra = signatures.get(call_id)
        calls.append(
            '{"id":' + quote(call_id)
            + ',"type":"function","function":{"name":' + quote(call["name"])
            + ',"arguments":' + quote(dumps(arguments))
            + (f'}},"extra_content":{dumps(extra)}}}' if extra else "}}")
        )  # fmt: skip
    content = neutral.get("content")
    text = (
        '{"role":"assistant","content":' + (quote(content) if content else "null")
        + ',"tool_calls":[' + ",".join(calls) + "]"
    )  # fmt: skip
    if has_reasoning:
        name = str(endpoint.options["reasoning_field"])
        text += f",{quote(name)}:{quote(str(own.get('reasoning') or ''))}"
    if own.get("extra_content"):
        text += ',"extra_content":' + dumps(own["extra_content"])
    return text + "}"


def _own_blocks(vendor: str | None, endpoint: Endpoint) -> Mapping[str, Any]:
    """Return the vendor's blocks if this very provider wrote them; nobody else can read them."""
    blocks = json.loads(vendor) if vendor else {}
    is_own = blocks.get("driver") == DRIVER and blocks.get("provider") == endpoint.provider
    return blocks if is_own else {}
