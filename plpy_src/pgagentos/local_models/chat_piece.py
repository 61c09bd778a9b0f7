"""What a chat model answers, between the OpenAI wire it comes from and the wire it goes to."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from .wire import WireError


@dataclass(frozen=True, slots=True)
class Call:
    """A tool call; *arguments* is the model's own text."""

    call_id: str
    name: str
    arguments: str

    def arguments_object(self) -> dict[str, Any] | None:
        """Return the arguments, or None if they are not a JSON object."""
        try:
            value = json.loads(self.arguments or "{}")
        except ValueError:
            return None
        return value if isinstance(value, dict) else None


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of the prompt and of the answer."""

    prompt: int = 0
    completion: int = 0


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of an answer. The last one has *finish* (OpenAI's word), the calls and the usage."""

    text: str = ""
    calls: tuple[Call, ...] = ()
    finish: str | None = None
    usage: Usage = Usage()


def whole_reply(body: Mapping[str, Any]) -> Piece:
    """Read the body of a chat completion that was not streamed.

    Raises:
        WireError: it is not what the API documents.
    """
    try:
        choice = body["choices"][0]
        message = choice["message"]
        return Piece(
            text=message.get("content") or "",
            calls=tuple(_call(call) for call in message.get("tool_calls") or ()),
            finish=choice.get("finish_reason") or "stop",
            usage=_usage(body.get("usage")),
        )
    except (KeyError, IndexError, TypeError, AttributeError) as error:
        raise WireError(502, "the upstream server's reply is not a chat completion") from error


def streamed_reply(lines: Iterable[bytes]) -> Iterator[Piece]:
    """Read the server-sent events of a streamed chat completion.

    Text is passed on as it comes; fragments of tool calls are gathered and come whole with the last
    piece, since neither Gemini nor Ollama can express half a call.

    Raises:
        WireError: an error event, a chunk that is not JSON, or an end without a finish reason.
    """
    calls: dict[int, list[str]] = {}
    finish: str | None = None
    usage = Usage()
    for line in lines:
        data = line.removeprefix(b"data:").strip()
        if not line.startswith(b"data:") or data == b"[DONE]":
            continue
        try:
            chunk = json.loads(data)
            if "error" in chunk:
                raise WireError(502, error_message(chunk) or "the upstream server failed")
            usage = _usage(chunk.get("usage")) if chunk.get("usage") else usage
            for choice in chunk.get("choices") or ():
                finish = choice.get("finish_reason") or finish
                delta = choice.get("delta") or {}
                for fragment in delta.get("tool_calls") or ():
                    parts = calls.setdefault(fragment.get("index") or 0, ["", "", ""])
                    function = fragment.get("function") or {}
                    parts[0] += fragment.get("id") or ""
                    parts[1] += function.get("name") or ""
                    parts[2] += function.get("arguments") or ""
                if delta.get("content"):
                    yield Piece(text=delta["content"])
        except (ValueError, TypeError, AttributeError) as error:
            raise WireError(502, "the upstream server sent a malformed event") from error
    if finish is None:
        raise WireError(502, "the upstream server's stream ended early")
    gathered = tuple(Call(*calls[index]) for index in sorted(calls))
    yield Piece(calls=gathered, finish=finish, usage=usage)


def error_message(body: Any) -> str | None:
    """Return the message of an error body in the OpenAI shape, or in one that is close to it."""
    error = body.get("error") if isinstance(body, dict) else None
    if isinstance(error, dict):
        error = error.get("message")
    return error if isinstance(error, str) and error else None


def _call(call: Mapping[str, Any]) -> Call:
    function = call["function"]
    return Call(call.get("id") or "", function["name"], function.get("arguments") or "{}")


def _usage(usage: Any) -> Usage:
    if not isinstance(usage, dict):
        return Usage()
    return Usage(int(usage.get("prompt_tokens") or 0), int(usage.get("completion_tokens") or 0))
