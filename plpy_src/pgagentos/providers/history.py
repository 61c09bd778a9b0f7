"""The history on its way to a vendor: reading it, and repairing what no vendor accepts."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from .base import Message

_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")
_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode

#: The only call of a message, as :func:`dumps` writes it: its parts can be cut out
#: unparsed where ``"call_id"`` stands once in the text.
SINGLE_CALL = re.compile(
    r',"tool_calls":\[\{"call_id":("[^"\\]+"),"name":("[^"\\]+"),"arguments":(\{.*\})\}\]\}\Z',
    re.DOTALL,
)

#: What the model reads as the result of a call that never got one.
INTERRUPTED = "The call was interrupted before it had a result. Its effects are unknown."


def clean_text(text: str) -> str:
    """Replace NUL and lone surrogates, which PostgreSQL's text cannot hold, by U+FFFD."""
    if text.isascii() and "\0" not in text:
        return text
    return _UNSTORABLE.sub("\ufffd", text)


def clean_tree(value: Any) -> Any:
    """Clean every string in *value*, names included."""
    if isinstance(value, str):
        return clean_text(value)
    if isinstance(value, dict):
        return {clean_text(name): clean_tree(item) for name, item in value.items()}
    if isinstance(value, list):
        return [clean_tree(item) for item in value]
    return value


def dumps(value: Any) -> str:
    """Write compact JSON that can be encoded as UTF-8."""
    text = _encode(value)
    return text if text.isascii() else _UNSTORABLE.sub("\ufffd", text)


def iter_messages(
    messages: Iterable[Message],
) -> Iterator[tuple[dict[str, Any], dict[str, Any] | None]]:
    """Read each message: the neutral message, and the vendor's blocks or None."""
    for message in messages:
        yield json.loads(message.json), json.loads(message.vendor) if message.vendor else None


def call_ids_of(text: str) -> list[str]:
    """Return the ids of the calls in an assistant message's JSON text."""
    # A quote inside a JSON string is escaped, so this text cannot come from the content.
    if '"tool_calls"' not in text:
        return []
    if text.count('"call_id"') == 1:
        _, head, rest = text.partition('"tool_calls":[{"call_id":"')
        call_id = rest.partition('"')[0]
        if head and "\\" not in call_id:
            return [call_id]
    return [call["call_id"] for call in json.loads(text).get("tool_calls") or ()]


_TOOL_HEAD = '{"role":"tool","call_id":"'


def result_id_of(text: str) -> str | None:
    """Return the call id of a tool result's JSON text, None for any other message."""
    if text.startswith(_TOOL_HEAD):
        end = text.find('"', len(_TOOL_HEAD))
        call_id = text[len(_TOOL_HEAD) : end]
        if "\\" not in call_id:
            return call_id
    if text.startswith(('{"role":"user"', '{"role":"assistant"', '{"role":"system"')):
        return None
    message = json.loads(text)
    return str(message.get("call_id")) if message.get("role") == "tool" else None


def is_whole(messages: Sequence[Message]) -> bool:
    """Tell whether every call has one result, right after it, and every result its call."""
    pending: set[str] = set()
    for message in messages:
        text = message.json
        result_id = result_id_of(text)
        if result_id is not None:
            if result_id not in pending:
                return False
            pending.discard(result_id)
        elif pending:
            return False
        else:
            pending.update(call_ids_of(text))
    return not pending


def repair(messages: Sequence[Message]) -> Sequence[Message]:
    """Make the history one that every vendor accepts.

    Every result comes to stand right after the message that asked for it, in the order of the
    calls; a call without a result gets one that says that it was interrupted; a result without a
    call, and a second result for one call, are dropped. Ids need to be unique within one message
    only: a result belongs to the nearest earlier message with that open call, else to the nearest
    later one. Nothing depends on the clock and a repaired history is left as it is, so the
    vendor's prompt cache keeps matching.

    Returns:
        *messages* itself when nothing is wrong.
    """
    if is_whole(messages):
        return messages
    kept: list[tuple[Message, list[str]]] = []  # everything but results
    results: dict[tuple[int, str], Message] = {}  # (position in kept, call id) -> result
    latest: dict[str, int] = {}  # call id -> the last position in kept that asked for it
    early: list[tuple[int, str, Message]] = []  # results that came before their call, if it exists
    for message in messages:
        result_id = result_id_of(message.json)
        if result_id is None:
            call_ids = list(dict.fromkeys(call_ids_of(message.json)))
            latest.update(dict.fromkeys(call_ids, len(kept)))
            kept.append((message, call_ids))
        elif result_id in latest:
            results.setdefault((latest[result_id], result_id), message)
        else:
            early.append((len(kept), result_id, message))
    for position, result_id, message in early:
        for later in range(position, len(kept)):
            if result_id in kept[later][1]:
                results.setdefault((later, result_id), message)
                break
    repaired: list[Message] = []
    for position, (message, call_ids) in enumerate(kept):
        repaired.append(message)
        repaired.extend(
            results.get((position, call_id)) or interrupted(call_id) for call_id in call_ids
        )
    return repaired


def interrupted(call_id: str) -> Message:
    """Write the result of a call that never got one."""
    return Message(
        dumps({"role": "tool", "call_id": call_id, "content": INTERRUPTED, "is_error": True})
    )
