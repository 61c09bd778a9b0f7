"""Ollama's wire: /api/chat, /api/generate, /api/embed and their older relatives.

Source: Ollama's API documentation (docs/api.md). Durations are nanoseconds there.
"""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Generator, Iterable, Mapping
from typing import Any

from .chat_piece import Call, Piece
from .wire import WireError, error_body

#: Ollama's option -> OpenAI's parameter.
_OPTIONS = {
    "num_predict": "max_tokens",
    "temperature": "temperature",
    "top_p": "top_p",
    "top_k": "top_k",
    "min_p": "min_p",
    "repeat_penalty": "repeat_penalty",
    "presence_penalty": "presence_penalty",
    "frequency_penalty": "frequency_penalty",
    "seed": "seed",
    "stop": "stop",
}


def to_openai(body: Mapping[str, Any], *, chat: bool) -> dict[str, Any]:
    """Translate the body of /api/chat (or /api/generate) to a chat completion request.

    Raises:
        WireError: 400, the body is not what the API documents.
    """
    request: dict[str, Any] = {"messages": _messages(body) if chat else _prompt(body)}
    if body.get("model"):
        request["model"] = body["model"]
    options = body.get("options") or {}
    if not isinstance(options, dict):
        raise WireError(400, "options must be an object")
    for ours, theirs in _OPTIONS.items():
        if options.get(ours) is not None:
            request[theirs] = options[ours]
    if isinstance(request.get("max_tokens"), int) and request["max_tokens"] < 0:
        del request["max_tokens"]  # -1 and -2 mean no limit
    if body.get("tools"):  # the SDK sends an empty list when there are none
        request["tools"] = body["tools"]
    wanted = body.get("format")
    if wanted == "json":
        request["response_format"] = {"type": "json_object"}
    elif isinstance(wanted, dict):
        schema = {"name": "answer", "schema": wanted}
        request["response_format"] = {"type": "json_schema", "json_schema": schema}
    return request


def is_streaming(body: Mapping[str, Any]) -> bool:
    """Tell whether the client wants a stream; Ollama's default is yes."""
    return body.get("stream") is not False


def from_piece(piece: Piece, model: str, *, chat: bool, started_ns: int) -> dict[str, Any]:
    """Write one piece as one object of the answer.

    A call whose arguments are no JSON object cannot be said on this wire; its text is passed on as
    content, as Ollama does with calls that it cannot parse.

    Args:
        piece: what the model said.
        model: echoed.
        chat: /api/chat rather than /api/generate.
        started_ns: ``time.monotonic_ns()`` at the start of the request.
    """
    text = piece.text
    calls: list[dict[str, Any]] = []
    for call in piece.calls:
        if (arguments := call.arguments_object()) is None:
            text += call.arguments
        else:
            function = {"index": len(calls), "name": call.name, "arguments": arguments}
            calls.append({"id": call.call_id or new_call_id(), "function": function})
    answer: dict[str, Any] = {"model": model, "created_at": _now()}
    if chat:
        answer["message"] = {"role": "assistant", "content": text}
        if calls:
            answer["message"]["tool_calls"] = calls
    else:
        answer["response"] = text
    answer["done"] = piece.finish is not None
    if piece.finish is not None:
        took = time.monotonic_ns() - started_ns
        answer |= {
            "done_reason": "length" if piece.finish == "length" else "stop",
            "total_duration": took,
            "load_duration": 0,
            "prompt_eval_count": piece.usage.prompt,
            "prompt_eval_duration": 0,
            "eval_count": piece.usage.completion,
            "eval_duration": took,
        }
    return answer


def stream_lines(
    pieces: Iterable[Piece], model: str, *, chat: bool, started_ns: int
) -> Generator[bytes, None, None]:
    """Write a stream as JSON lines. An error after the first piece becomes a last line."""
    begun = False
    try:
        for piece in pieces:
            answer = from_piece(piece, model, chat=chat, started_ns=started_ns)
            yield json.dumps(answer).encode() + b"\n"
            begun = True
    except WireError as error:
        if not begun:
            raise
        yield json.dumps(error_body("ollama", error.status, error.message)).encode() + b"\n"


def loaded(model: str, *, chat: bool) -> dict[str, Any]:
    """Return the answer to a request without a prompt, which only asks to load the model."""
    said = {"message": {"role": "assistant", "content": ""}} if chat else {"response": ""}
    return {"model": model, "created_at": _now(), **said, "done": True, "done_reason": "load"}


def model_entry(name: str, family: str, byte_count: int, digest: str) -> dict[str, Any]:
    """Return one entry of /api/tags."""
    return {
        "name": name,
        "model": name,
        "modified_at": "2026-01-01T00:00:00Z",
        "size": byte_count,
        "digest": digest,
        "details": {
            "parent_model": "",
            "format": "gguf",
            "family": family,
            "families": [family],
            "parameter_size": "",
            "quantization_level": "",
        },
    }


def new_call_id() -> str:
    """Return an id for a call that came without one."""
    return f"call_{uuid.uuid4().hex[:12]}"


def _prompt(body: Mapping[str, Any]) -> list[dict[str, Any]]:
    prompt, system = body.get("prompt", ""), body.get("system")
    if not isinstance(prompt, str):
        raise WireError(400, "prompt must be a string")
    messages = [{"role": "system", "content": system}] if system else []
    return [*messages, {"role": "user", "content": prompt}]


def _messages(body: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Translate messages; OpenAI pairs calls and results by id, Ollama by order or by name."""
    messages = []
    open_calls: list[Call] = []
    try:
        for message in body["messages"]:
            role, content = message["role"], message.get("content") or ""
            neutral: dict[str, Any] = {"role": role, "content": content}
            if role == "assistant" and message.get("tool_calls"):
                open_calls = [_call(call) for call in message["tool_calls"]]
                neutral["tool_calls"] = [
                    {
                        "id": call.call_id,
                        "type": "function",
                        "function": {"name": call.name, "arguments": call.arguments},
                    }
                    for call in open_calls
                ]
            elif role == "tool":
                neutral["tool_call_id"] = _answered(message, open_calls)
            messages.append(neutral)
    except (KeyError, TypeError, AttributeError) as error:
        raise WireError(400, f"messages are malformed: {error}") from error
    return messages


def _call(call: Mapping[str, Any]) -> Call:
    function = call["function"]
    arguments = function.get("arguments") or {}
    return Call(call.get("id") or new_call_id(), function["name"], json.dumps(arguments))


def _answered(message: Mapping[str, Any], open_calls: list[Call]) -> str:
    """Return the id of the call that a tool message answers, and close that call."""
    if message.get("tool_call_id"):
        return str(message["tool_call_id"])
    name = message.get("tool_name") or message.get("name")
    for position, call in enumerate(open_calls):
        if name in (None, call.name):
            return open_calls.pop(position).call_id
    return "call_unknown"


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime()) + ".000000Z"
