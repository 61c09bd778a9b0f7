"""Ollama's own API, ``POST /api/chat``.

Sources: https://docs.ollama.com/api/chat, .../capabilities/thinking, .../capabilities/tool-calling
and the official SDK ``ollama`` 0.6.3.

Options of the provider or the model that this driver reads:

* ``num_ctx``: tokens of context to reserve; the model's context window if absent. Without it
  Ollama silently cuts long prompts, so it is always sent.
* ``think``: true, false or a level; wins over ``reasoning_effort``.
* ``keep_alive``: how long the model stays loaded, for example ``"30m"``.
* ``text_tool_calls``: false stops reading calls out of a text that is nothing but their JSON.
* ``extra_headers``: object; it wins over the headers written here.
* ``ollama_options``: further members of ``options``, for example ``{"num_gpu": 0}``.

Capabilities that it reads: ``context_window``, ``reasoning``, ``thinking`` (``level`` or
``switch``) and ``tools`` (false: the model's template knows none).
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

from ..errors import InvalidInput, ProviderError
from ..net.message import HttpRequest, HttpResponse
from .base import ChatReply, ChatRequest, Endpoint, FinishReason, Message, ToolCall, Usage
from .fragment import plain_body
from .json_text import read_json
from .shape import count_of, object_of, text_of
from .wire import (
    clean_text,
    dumps,
    error_object,
    is_cut_off,
    join_body,
    parse_object,
    raise_for_status,
    repair,
    unique_call_ids,
)

#: Context to reserve when neither the options nor the registry tell.
DEFAULT_NUM_CTX = 8_192

_LEVELS = {"none": "low", "minimal": "low", "xhigh": "high", "max": "high"}
_FENCE = re.compile(r"```(?:json|tool_call|tool_code)?\s*\n(.*?)\n?\s*```", re.DOTALL)

# --- request -----------------------------------------------------------------------------------


def to_wire(request: ChatRequest, endpoint: Endpoint) -> HttpRequest:
    """Write *request* as ``POST /api/chat`` without streaming.

    Raises:
        InvalidInput: there is nothing to send.
    """
    messages = _messages(request.messages, endpoint.provider)
    if not messages:
        raise InvalidInput("the conversation holds no text to send")
    if request.system.strip():
        messages.insert(0, f'{{"role":"system","content":{dumps(request.system)}}}')
    # There is no tool_choice: offering no tools is how to forbid them. Forcing is impossible.
    is_offering = request.tool_choice != "none" and request.capabilities.get("tools", True)
    tools = [
        {
            "type": "function",
            "function": {
                "name": tool.name,
                "description": tool.description,
                "parameters": dict(tool.parameters),
            },
        }
        for tool in (request.tools if is_offering else ())
    ]
    tail: dict[str, Any] = {
        "tools": tools,
        "stream": False,
        "options": _options(request, endpoint.options),
    }
    think = _think(request, endpoint.options)
    if think is not None:
        tail["think"] = think
    # A format constrains every token, so a model that must follow it cannot call tools.
    if request.params.get("response_schema") and not tools:
        tail["format"] = request.params["response_schema"]
    if endpoint.options.get("keep_alive") is not None:
        tail["keep_alive"] = endpoint.options["keep_alive"]
    headers = {"content-type": "application/json", "accept": "application/json"}
    if endpoint.api_key:
        headers["authorization"] = f"Bearer {endpoint.api_key}"
    for name, value in (endpoint.options.get("extra_headers") or {}).items():
        headers[str(name).lower()] = str(value)
    base = endpoint.base_url
    return HttpRequest(
        "POST",
        f"{base}/chat" if base.endswith("/api") else f"{base}/api/chat",
        tuple(headers.items()),
        join_body({"model": request.model}, "messages", messages, tail),
    )


def _options(request: ChatRequest, options: Mapping[str, Any]) -> dict[str, Any]:
    params = request.params
    num_ctx = (
        options.get("num_ctx") or request.capabilities.get("context_window") or DEFAULT_NUM_CTX
    )
    result: dict[str, Any] = {**(options.get("ollama_options") or {}), "num_ctx": int(num_ctx)}
    for name, key in (
        ("max_output_tokens", "num_predict"),
        ("temperature", "temperature"),
        ("top_p", "top_p"),
        ("seed", "seed"),
        ("stop", "stop"),
    ):
        if params.get(name) is not None and params[name] != []:
            result[key] = params[name]
    return result


def _think(request: ChatRequest, options: Mapping[str, Any]) -> bool | str | None:
    if options.get("think") is not None:
        think: bool | str = options["think"]
        return think
    effort, capabilities = request.params.get("reasoning_effort"), request.capabilities
    if effort is None or not capabilities.get("reasoning"):
        return None  # a model that cannot think refuses the parameter
    if capabilities.get("thinking") == "level" or "gpt-oss" in request.model:
        return _LEVELS.get(str(effort), str(effort))
    return bool(effort != "none")


def _messages(messages: Sequence[Message], provider: str) -> list[str]:
    """Write the history; ids of calls do not exist here, results name their tool."""
    result: list[str] = []
    names: dict[str, str] = {}
    for message in repair(messages):
        if message.vendor is None and plain_body(message.json) is not None:
            result.append(message.json)
            continue
        neutral = json.loads(message.json)
        role, text = neutral["role"], clean_text(neutral.get("content") or "")
        wire: dict[str, Any] = {"role": role}
        if text:
            wire["content"] = text
        if role == "assistant":
            calls = neutral.get("tool_calls") or ()
            names = {call["call_id"]: call["name"] for call in calls}
            thinking = _thinking(message.vendor, provider)
            if thinking:
                wire["thinking"] = thinking
            if calls:
                wire["tool_calls"] = [
                    {"function": {"name": call["name"], "arguments": _object(call)}}
                    for call in calls
                ]
            elif not text.strip():
                continue
        elif role == "tool":
            wire["tool_name"] = names.get(neutral["call_id"], "unknown")
            if neutral.get("is_error"):  # there is no flag for it
                wire["content"] = f"Error: {text}"
        elif not text.strip():
            continue
        result.append(dumps(wire))
    return result


def _object(call: Mapping[str, Any]) -> dict[str, Any]:
    arguments = call.get("arguments")
    if isinstance(arguments, dict):
        return arguments
    return {"invalid_json": arguments} if arguments else {}


def _thinking(vendor: str | None, provider: str) -> str | None:
    """Return the thinking that came with a reply of the same provider."""
    if vendor is None:
        return None
    stored = json.loads(vendor)
    if stored.get("driver") != "ollama" or stored.get("provider") != provider:
        return None
    thinking = stored.get("thinking")
    return thinking if isinstance(thinking, str) else None


# --- response ----------------------------------------------------------------------------------


def from_wire(response: HttpResponse, endpoint: Endpoint) -> ChatReply:
    """Read a chat response.

    Raises:
        ProviderError: every status but 2xx, an error object, a body that is not a response.
    """
    if not 200 <= response.status < 300:
        _raise_error(response, error_object(response), endpoint)
    body = parse_object(response, endpoint.provider)
    message = body.get("message")
    if "error" in body and message is None:
        _raise_error(response, body, endpoint)
    calls = message.get("tool_calls") or [] if isinstance(message, dict) else None
    if not isinstance(message, dict) or not isinstance(calls, list):
        raise ProviderError(
            "malformed_response",
            "the answer is JSON but not an Ollama chat response: it has no message",
            status=response.status,
            provider=endpoint.provider,
            hint="Check base_url and driver of the provider.",
        )
    content = text_of(message.get("content"))
    if not calls and endpoint.options.get("text_tool_calls", True):
        calls = _calls_in_text(content)
        content = "" if calls else content
    calls = [object_of(call) for call in calls]
    functions = [object_of(call.get("function")) for call in calls]
    # Replies have no id; their bodies differ by created_at and the measured times.
    unique = response.body.decode("utf-8", "replace")
    call_ids = unique_call_ids([text_of(call.get("id")) for call in calls], unique)
    made = tuple(
        ToolCall(call_id, text_of(function.get("name")), _arguments(function))
        for call_id, function in zip(call_ids, functions, strict=True)
    )
    thinking = text_of(message.get("thinking"))
    vendor = {
        "driver": "ollama",
        "provider": endpoint.provider,
        "model": text_of(body.get("model")),
        "thinking": thinking,
    }
    reason = text_of(body.get("done_reason"))
    finish = _finish(reason, made)
    return ChatReply(
        content,
        made,
        finish,
        Usage(count_of(body.get("prompt_eval_count")), count_of(body.get("eval_count"))),
        vendor if thinking else None,
        model=text_of(body.get("model")) or None,
        finish_detail=reason if finish == "other" else None,
    )


def _finish(reason: str, calls: Sequence[ToolCall]) -> FinishReason:
    if reason == "length" or (calls and is_cut_off(calls[-1].arguments)):
        return "length"
    if calls:
        return "tool_calls"
    return "stop" if reason in ("stop", "") else "other"


def _arguments(function: Mapping[str, Any]) -> str:
    value = function.get("arguments")
    if isinstance(value, str):
        return value if value.strip() else "{}"
    return "{}" if value is None else dumps(value)


def _calls_in_text(content: str) -> list[dict[str, Any]]:
    """Read calls that a small model wrote as text instead of as calls.

    The text must be nothing but JSON objects with a name and arguments, bare or fenced; anything
    else is an answer.
    """
    text = content.strip()
    if not text or text[0] not in "{[`" or '"name"' not in text:
        return []
    blocks = [text]
    if text.startswith("```"):
        blocks = _FENCE.findall(text)
        if _FENCE.sub("", text).strip():
            return []
    calls: list[dict[str, Any]] = []
    for block in blocks:
        try:
            value = read_json(block)
        except ValueError:
            return []
        for item in value if isinstance(value, list) else [value]:
            call = _call_of(item)
            if call is None:
                return []
            calls.append(call)
    return calls


def _call_of(item: Any) -> dict[str, Any] | None:
    if not isinstance(item, dict):
        return None
    if item.keys() <= {"type", "id", "function"} and isinstance(item.get("function"), dict):
        item = item["function"]
    arguments = item.get("arguments", item.get("parameters"))
    if (
        not item.keys() <= {"name", "arguments", "parameters"}
        or not isinstance(item.get("name"), str)
        or not isinstance(arguments, dict)
    ):
        return None
    return {"function": {"name": item["name"], "arguments": arguments}}


def _raise_error(response: HttpResponse, body: dict[str, Any], endpoint: Endpoint) -> NoReturn:
    error = body.get("error")
    message = text_of(error) or text_of(object_of(error).get("message"))
    kind = None
    if "exceeds the context length" in message or "exceeds maximum context length" in message:
        kind = "context_overflow"
    elif 200 <= response.status < 300:
        kind = "server_error"
    elif response.status == 400 and "not found" in message and "model" in message:
        kind = "not_found"
    raise_for_status(
        response,
        endpoint.provider,
        message=message,
        code=None,
        kind=kind,
        api_key=endpoint.api_key,
    )
