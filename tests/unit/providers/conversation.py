"""Short words for the messages, requests and responses of the drivers' tests."""

from __future__ import annotations

import json
from types import ModuleType
from typing import Any

from pgagentos.net.message import HttpRequest, HttpResponse
from pgagentos.providers.base import ChatReply, ChatRequest, Endpoint, Message, Tool

WEATHER = Tool(
    "get_weather",
    "Current weather of a city",
    {
        "type": "object",
        "properties": {"city": {"type": "string"}},
        "required": ["city"],
        "additionalProperties": False,
    },
)


def compact(value: Any) -> str:
    """Write JSON as the kernel stores it."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def user(content: str) -> Message:
    return Message(compact({"role": "user", "content": content}))


def note(content: str) -> Message:
    return Message(compact({"role": "system", "content": content}))


def assistant(
    content: str,
    *calls: tuple[str, str, Any],
    vendor: dict[str, Any] | None = None,
) -> Message:
    """An assistant's message; *calls* are (call_id, name, arguments)."""
    message: dict[str, Any] = {"role": "assistant", "content": content}
    if calls:
        message["tool_calls"] = [
            {"call_id": call_id, "name": name, "arguments": arguments}
            for call_id, name, arguments in calls
        ]
    return Message(compact(message), compact(vendor) if vendor else None)


def result(call_id: str, content: str, *, is_error: bool = False) -> Message:
    message: dict[str, Any] = {"role": "tool", "call_id": call_id, "content": content}
    if is_error:
        message["is_error"] = True
    return Message(compact(message))


def stored(reply: ChatReply) -> Message:
    """The message that the kernel stores for *reply*: only JSON text survives."""
    message: dict[str, Any] = {"role": "assistant", "content": reply.content}
    if reply.tool_calls:
        calls = []
        for call in reply.tool_calls:
            try:
                arguments = json.loads(call.arguments)
            except ValueError:
                arguments = call.arguments
            calls.append({"call_id": call.call_id, "name": call.name, "arguments": arguments})
        message["tool_calls"] = calls
    return Message(compact(message), compact(reply.vendor) if reply.vendor else None)


def sent(
    driver: ModuleType,
    endpoint: Endpoint,
    *messages: Message,
    model: str,
    system: str = "",
    tools: tuple[Tool, ...] = (),
    **more: Any,
) -> dict[str, Any]:
    """The body that *driver* would send."""
    request = ChatRequest(model, system, messages, tools, **more)
    body: dict[str, Any] = json.loads(wire(driver, endpoint, request).body)
    return body


def wire(driver: ModuleType, endpoint: Endpoint, request: ChatRequest) -> HttpRequest:
    made: HttpRequest = driver.to_wire(request, endpoint)
    return made


def answer(body: Any, status: int = 200, **headers: str) -> HttpResponse:
    """A JSON response; an underscore in the name of a header stands for a hyphen."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return HttpResponse(
        status, {"content-type": "application/json", **named}, compact(body).encode()
    )


def read(driver: ModuleType, endpoint: Endpoint, body: Any, status: int = 200) -> ChatReply:
    reply: ChatReply = driver.from_wire(answer(body, status), endpoint)
    return reply
