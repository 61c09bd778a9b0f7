"""Requests that the vendors' own servers take and llama.cpp, or a small model, does not."""

from __future__ import annotations

import json
from typing import Any


def adapt(body: dict[str, Any]) -> dict[str, Any]:
    """Return *body* (OpenAI chat, OpenAI responses or Anthropic messages) as llama.cpp can use it.

    * With the tool choice ``none`` the tools go: llama.cpp still shows them to the model, which
      then writes its call as plain text.
    * A call in the history whose arguments are no JSON object gets one that holds their text:
      llama.cpp answers such a history with status 500, OpenAI takes it.
    """
    adapted = dict(body)
    choice = adapted.get("tool_choice")
    if choice == "none" or (isinstance(choice, dict) and choice.get("type") == "none"):
        adapted.pop("tools", None)
        adapted.pop("tool_choice")
    if isinstance(messages := adapted.get("messages"), list):
        adapted["messages"] = [_mended_message(message) for message in messages]
    if isinstance(items := adapted.get("input"), list):
        adapted["input"] = [_mended_call(item) for item in items]
    return adapted


def _mended_message(message: Any) -> Any:
    calls = message.get("tool_calls") if isinstance(message, dict) else None
    if not isinstance(calls, list):
        return message
    mended = [
        {**call, "function": _mended_call(call["function"])}
        if isinstance(call, dict) and "function" in call
        else call
        for call in calls
    ]
    return {**message, "tool_calls": mended}


def _mended_call(call: Any) -> Any:
    """Mend a value with ``arguments``, if it has any."""
    arguments = call.get("arguments") if isinstance(call, dict) else None
    if not isinstance(arguments, str):
        return call
    try:
        is_object = isinstance(json.loads(arguments), dict)
    except (ValueError, RecursionError):
        is_object = False
    return call if is_object else {**call, "arguments": json.dumps({"malformed": arguments})}
