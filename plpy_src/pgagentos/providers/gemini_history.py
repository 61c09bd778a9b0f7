"""The history in the words of Gemini's generateContent.

Rules that the API enforces (https://ai.google.dev/gemini-api/docs/function-calling and
https://ai.google.dev/gemini-api/docs/thought-signatures):

* the first content is a user's; calls follow a user's content or function responses;
* the calls of one reply stay in one content, their responses in one content without text;
* a signature goes back on the very part it came with; Gemini 3 wants one on the first call of each
  step, so calls that another model made get the documented stand-in.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

from .base import Message
from .fragment import plain_body
from .wire import clean_text, dumps, repair

#: The signature that the documentation gives for calls which Gemini did not make itself.
FOREIGN_SIGNATURE = "skip_thought_signature_validator"

_BAD_NAME = re.compile(r"[^A-Za-z0-9_.:-]")
#: Parts about tools that run at Google; they need the tool in the request.
_SERVER_PARTS = ("toolCall", "toolResponse", "executableCode", "codeExecutionResult")


class _Content:
    """Consecutive messages of one kind: ``user``, ``model`` or ``function`` (responses)."""

    __slots__ = ("kind", "parts")

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.parts: list[str] = []

    def to_json(self) -> str:
        role = "model" if self.kind == "model" else "user"
        return f'{{"parts":[{",".join(self.parts)}],"role":"{role}"}}'


def write_contents(
    messages: Sequence[Message],
    provider: str,
    *,
    wants_signatures: bool,
    has_server_tools: bool = False,
) -> list[str]:
    """Write the elements of ``contents``, each as JSON text.

    Args:
        messages: the history, oldest first.
        provider: the provider that is asked; parts that another one wrote are left out.
        wants_signatures: the model checks signatures (Gemini 3 and later).
        has_server_tools: the request declares tools that run at Google.
    """
    writer = _Writer(provider, wants_signatures, has_server_tools)
    for message in repair(messages):
        plain = plain_body(message.json) if message.vendor is None else None
        if plain is not None:
            kind = "model" if plain[0] == "assistant" else "user"
            writer.content(kind).parts.append(f'{{"text":"{plain[1]}"}}')
        else:
            writer.add(json.loads(message.json), message.vendor)
    return [content.to_json() for content in writer.contents]


class _Writer:
    """Collects contents; what it guards are the calls that wait for their responses."""

    def __init__(self, provider: str, wants_signatures: bool, has_server_tools: bool) -> None:
        self.contents: list[_Content] = []
        self._provider = provider
        self._wants_signatures = wants_signatures
        self._has_server_tools = has_server_tools
        self._open: dict[str, tuple[str, str | None]] = {}  # call id -> name, Gemini's own id

    def content(self, kind: str) -> _Content:
        """Return the content that a message of *kind* belongs to."""
        if not self.contents or self.contents[-1].kind != kind:
            if not self.contents and kind == "model":
                self.contents.append(_Content("user"))
                self.contents[0].parts.append('{"text":""}')
            self.contents.append(_Content(kind))
        return self.contents[-1]

    def add(self, message: dict[str, Any], vendor: str | None) -> None:
        """Add a message that is more than a plain text."""
        role, text = message["role"], clean_text(message.get("content") or "")
        if role == "assistant":
            parts = self._reply(message, text, vendor)
            if parts:
                self.content("model").parts += parts
        elif role == "tool":
            self.content("function").parts.append(self._response(message, text))
        elif text.strip():
            if role == "system":  # there is one system instruction, and it stands at the top
                text = f"<system>{text}</system>"
            self.content("user").parts.append(f'{{"text":{dumps(text)}}}')

    def _response(self, message: dict[str, Any], text: str) -> str:
        name, own_id = self._open.get(message["call_id"], ("unknown", None))
        response: dict[str, Any] = {"id": own_id} if own_id else {}
        response["name"] = name
        response["response"] = {"error" if message.get("is_error") else "output": text}
        return f'{{"functionResponse":{dumps(response)}}}'

    def _reply(self, message: dict[str, Any], text: str, vendor: str | None) -> list[str]:
        calls = {call["call_id"]: call for call in message.get("tool_calls") or ()}
        self._open = {}
        own = self._own_parts(vendor) if vendor else None
        if own is not None:
            parts = self._replay(own, calls)
        else:
            parts = [{"text": text}] if text.strip() else []
            for call_id, call in calls.items():
                name = _BAD_NAME.sub("_", call["name"])[:64] or "_"
                arguments = call.get("arguments")
                if not isinstance(arguments, dict):  # the API takes objects only
                    arguments = {"invalid_json": arguments} if arguments else {}
                parts.append({"functionCall": {"args": arguments, "name": name}})
                self._open[call_id] = (name, None)
        if self._wants_signatures:
            first = next((part for part in parts if "functionCall" in part), None)
            if first is not None and "thoughtSignature" not in first:
                first["thoughtSignature"] = FOREIGN_SIGNATURE
        return [dumps(part) for part in parts]

    def _own_parts(self, vendor: str) -> dict[str, Any] | None:
        """Return what was stored if this provider wrote it: signatures are valid there only."""
        stored: dict[str, Any] = json.loads(vendor)
        if stored.get("driver") != "gemini" or stored.get("provider") != self._provider:
            return None
        return stored if isinstance(stored.get("parts"), list) else None

    def _replay(
        self, stored: dict[str, Any], calls: dict[str, dict[str, Any]]
    ) -> list[dict[str, Any]]:
        """Return the parts to send back: unchanged, but for calls that are no longer there."""
        parts: list[dict[str, Any]] = []
        call_ids = iter(stored.get("call_ids") or ())
        for part in stored["parts"]:
            call = part.get("functionCall")
            if call is not None:
                call_id = next(call_ids, None)
                if call_id not in calls:
                    continue
                self._open[str(call_id)] = (str(call.get("name") or ""), call.get("id") or None)
            elif not self._has_server_tools and any(kind in part for kind in _SERVER_PARTS):
                continue
            parts.append(part)
        return parts
