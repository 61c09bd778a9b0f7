"""Answers of a provider, as the play server sends them."""

from __future__ import annotations

import itertools
import json
from typing import Any

from servers.play_server import Answer

_ids = itertools.count(1)


def completion(
    content: str | None = None,
    *,
    calls: list[dict[str, Any]] | None = None,
    finish: str | None = None,
    refusal: str | None = None,
    usage: tuple[int, int] = (10, 5),
) -> dict[str, Any]:
    """A chat completion.

    Args:
        calls: see :func:`tool_call`.
        finish: ``finish_reason``; by default ``stop``, or ``tool_calls`` where there are some.
        usage: tokens of the prompt and of the completion.

    Source: OpenAI API reference, "The chat completion object".
    """
    message: dict[str, Any] = {"role": "assistant", "content": content, "refusal": refusal}
    if calls:
        message["tool_calls"] = calls
    reason = finish or ("tool_calls" if calls else "stop")
    prompt, output = usage
    return {
        "id": f"chatcmpl-{next(_ids)}",
        "object": "chat.completion",
        "created": 1700000000,
        "model": "scripted",
        "choices": [{"index": 0, "message": message, "finish_reason": reason}],
        "usage": {
            "prompt_tokens": prompt,
            "completion_tokens": output,
            "total_tokens": prompt + output,
        },
    }


def tool_call(name: str, arguments: Any = None, call_id: str | None = None) -> dict[str, Any]:
    """A tool call; arguments that are text go out as they are."""
    text = arguments if isinstance(arguments, str) else json.dumps(arguments or {})
    function = {"name": name, "arguments": text}
    return {"id": call_id or f"call_{next(_ids):08}x", "type": "function", "function": function}


def says(content: str | None, **options: Any) -> Answer:
    """The model answers with text."""
    return Answer(completion(content, **options))


def calls(*wanted: dict[str, Any], **options: Any) -> Answer:
    """The model asks for tool calls."""
    return Answer(completion(None, calls=list(wanted), **options))


def held(answer: Answer) -> Answer:
    """The same answer, held back until the test lets it go."""
    return Answer(answer.body, answer.status, answer.headers, answer.fault, is_held=True)


def fails(
    status: int, message: str = "it failed", code: str | None = None, **headers: str
) -> Answer:
    """An error in OpenAI's shape; ``retry_after_ms="10"`` adds a header."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Answer({"error": {"message": message, "type": "error", "code": code}}, status, named)


#: Asks for another try at once, so that a test of retries need not wait.
AT_ONCE = {"retry_after_ms": "1"}
