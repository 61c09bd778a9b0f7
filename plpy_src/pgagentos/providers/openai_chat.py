"""Driver ``openai_chat``: Chat Completions of OpenAI, Azure and every compatible server.

Options (provider's and model's; see also :mod:`.openai_options`):

* ``system_role``: ``system`` (default), ``developer`` or ``user``
* ``note_role``: role of the kernel's notes in the middle; default: as ``system_role``. ``user`` for
  servers that take a system message at the start only
* ``max_tokens_field``: default ``max_completion_tokens`` for OpenAI, ``max_tokens`` for others
* ``reasoning_field``: ``reasoning_content`` or ``reasoning``; the member that carries the model's
  thoughts. They go back with tool calls (DeepSeek refuses a tool call that lacks the member)
* ``tool_mode``: ``native`` (default) or ``json_schema``, see :mod:`.prompted_tools`
* ``response_format``: ``json_schema`` (default) or ``json_object``
* ``call_ids``: ``auto`` (default), ``response`` or ``vendor``, see :func:`.wire.unique_call_ids`
* ``extra_body``: object, merged into the body last

Source: https://platform.openai.com/docs/api-reference/chat
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..errors import InvalidInput
from ..net.message import HttpRequest, HttpResponse
from .base import ChatReply, ChatRequest, Endpoint, FinishReason, ToolCall, Usage
from .openai_chat_history import DRIVER, fragments_of
from .openai_options import (
    count,
    effort_of,
    function_of,
    is_openai,
    is_prompted,
    malformed,
    part,
    post,
    read_error,
    read_error_object,
    refuse_reasoning_with_tools,
    sampling_of,
    schema_format,
    tool_settings,
    tools_of,
)
from .shape import objects_of
from .wire import (
    clean_text,
    dumps,
    is_cut_off,
    join_body,
    parse_object,
    repair,
    unique_call_ids,
)

_FINISH_REASONS: dict[str | None, FinishReason] = {
    "stop": "stop",
    "length": "length",
    "tool_calls": "tool_calls",
    "function_call": "tool_calls",
    "content_filter": "content_filter",
    None: "stop",
}

# --- to the wire -------------------------------------------------------------------------------


def to_wire(request: ChatRequest, endpoint: Endpoint) -> HttpRequest:
    """Write *request* as a call of ``POST /chat/completions``.

    Raises:
        InvalidInput: nothing to send, or something that this API does not serve.
    """
    refuse_reasoning_with_tools(request, endpoint)
    tools = tools_of(request, endpoint)
    tail = _parameters(request, endpoint)
    system = request.system
    messages = repair(request.messages)
    if is_prompted(endpoint):
        from . import prompted_tools  # weak models only

        messages = prompted_tools.flatten(messages, bool(tools))
        if tools and request.tool_choice != "none":
            system = prompted_tools.describe(system, tools, request.tool_choice)
            tail["response_format"] = prompted_tools.response_format(
                tools, request.tool_choice, request.params.get("response_schema")
            )
    elif tools:
        tail["tools"] = [
            {"type": "function", "function": function_of(tool, endpoint)} for tool in tools
        ]
        tail.update(tool_settings(request, endpoint))
    tail.update(endpoint.options.get("extra_body") or {})

    fragments = []
    system_role = endpoint.options.get("system_role", "system")
    if system:
        fragments.append(dumps({"role": system_role, "content": system}))
    fragments.extend(
        fragments_of(messages, endpoint, str(endpoint.options.get("note_role", system_role)))
    )
    if not fragments:
        raise InvalidInput("there is no message to send")
    return post(
        endpoint,
        "/chat/completions",
        join_body({"model": request.model}, "messages", fragments, tail),
    )


def _parameters(request: ChatRequest, endpoint: Endpoint) -> dict[str, Any]:
    params = request.params
    body: dict[str, Any] = {}
    if params.get("max_output_tokens") is not None:
        default = "max_completion_tokens" if is_openai(endpoint) else "max_tokens"
        body[endpoint.options.get("max_tokens_field", default)] = params["max_output_tokens"]
    body.update(sampling_of(request))
    for name in ("stop", "seed"):
        if params.get(name) is not None and request.capabilities.get(name) is not False:
            body[name] = params[name]
    effort = effort_of(request)
    if effort is not None:
        body["reasoning_effort"] = effort
    if params.get("response_schema") is not None:
        if endpoint.options.get("response_format") == "json_object":
            body["response_format"] = {"type": "json_object"}
        else:
            body["response_format"] = {
                "type": "json_schema",
                "json_schema": schema_format(request, endpoint),
            }
    return body


# --- from the wire -----------------------------------------------------------------------------


def from_wire(response: HttpResponse, endpoint: Endpoint) -> ChatReply:
    """Read a response of ``POST /chat/completions``.

    Raises:
        ProviderError: for an error status, an error in a 200, and a body that is no completion.
    """
    if not 200 <= response.status < 300:
        return read_error(response, endpoint)
    body = parse_object(response, endpoint.provider)
    choices = body.get("choices")
    if not choices and body.get("error"):
        # OpenRouter and other gateways: the upstream's error in a 200.
        code = part(body, "error").get("code")
        status = code if isinstance(code, int) and 400 <= code < 600 else 502
        return read_error_object(body, response._replace(status=status), endpoint)
    if not isinstance(choices, list) or not choices:
        malformed(endpoint, "the response has no choices: it is not a chat completion")
    message = part(choices[0], "message")
    if not message:
        malformed(endpoint, "the response has a choice without a message")
    reply = _read_choice(choices[0], message, response, endpoint)
    reply = reply._replace(
        usage=_usage(part(body, "usage")),
        response_id=str(body["id"]) if body.get("id") else None,
        model=str(body["model"]) if body.get("model") else None,
    )
    if is_prompted(endpoint):
        from . import prompted_tools

        reply = prompted_tools.read(reply, response)
    return reply


def _read_choice(
    choice: Mapping[str, Any],
    message: Mapping[str, Any],
    response: HttpResponse,
    endpoint: Endpoint,
) -> ChatReply:
    raw_calls = objects_of(message.get("tool_calls"))
    if not raw_calls and isinstance(message.get("function_call"), dict):
        raw_calls = [{"function": message["function_call"]}]
    ids = unique_call_ids(
        [call.get("id") for call in raw_calls],
        response.body.decode("utf-8", "replace"),
        scope=str(endpoint.options.get("call_ids", "auto")),
    )
    calls = tuple(_read_call(call_id, call) for call_id, call in zip(ids, raw_calls, strict=True))
    given = choice.get("finish_reason")
    finish = _FINISH_REASONS.get(given if isinstance(given, str) else None, "other")
    if calls and finish in ("stop", "tool_calls", "other"):
        # Some servers say "stop" or null with calls; some say "tool_calls" when they were cut off.
        finish = "length" if is_cut_off(calls[-1].arguments) else "tool_calls"
    elif not calls and finish == "tool_calls":
        finish = "stop"
    content = _text(message.get("content"))
    refusal = message.get("refusal")
    if refusal and not content and not calls:
        finish = "content_filter"
    return ChatReply(
        content=content,
        tool_calls=calls,
        finish_reason=finish,
        refusal=str(refusal) if refusal else None,
        vendor=_blocks(message, dict(zip(ids, raw_calls, strict=True)), endpoint),
    )


def _read_call(call_id: str, call: Mapping[str, Any]) -> ToolCall:
    function = part(call, "function")
    arguments = function.get("arguments")
    if not function and part(call, "custom"):
        function = part(call, "custom")
        arguments = {"input": function.get("input")}
    if not isinstance(arguments, str):
        arguments = dumps(arguments) if arguments else "{}"
    return ToolCall(
        call_id=call_id,
        name=str(function.get("name") or ""),
        arguments=clean_text(arguments) if arguments.strip() else "{}",
    )


def _text(content: Any) -> str:
    """Return the text of a message whose content is a string, null, or a list of parts."""
    if isinstance(content, list):
        texts = (item.get("text") for item in content if isinstance(item, dict))
        return "".join(text for text in texts if isinstance(text, str))
    return content if isinstance(content, str) else ""


def _blocks(
    message: Mapping[str, Any], calls: Mapping[str, Mapping[str, Any]], endpoint: Endpoint
) -> dict[str, Any] | None:
    """Keep what must go back: thoughts beside tool calls, Gemini's thought signatures."""
    blocks: dict[str, Any] = {}
    field = endpoint.options.get("reasoning_field")
    if field and calls and isinstance(message.get(field), str) and message[field]:
        blocks["reasoning"] = message[field]
    if message.get("extra_content"):
        blocks["extra_content"] = message["extra_content"]
    signatures = {
        call_id: call["extra_content"]
        for call_id, call in calls.items()
        if call.get("extra_content")
    }
    if signatures:
        blocks["calls"] = signatures
    return {"driver": DRIVER, "provider": endpoint.provider, **blocks} if blocks else None


def _usage(usage: Mapping[str, Any]) -> Usage:
    """Count tokens; cached and reasoning tokens are parts of the prompt and the completion."""
    prompt, completion = count(usage.get("prompt_tokens")), count(usage.get("completion_tokens"))
    details = part(usage, "prompt_tokens_details")
    reasoning = count(part(usage, "completion_tokens_details").get("reasoning_tokens"))
    # Gemini's compatible endpoint and xAI leave the thoughts out of the completion: only the total
    # holds them.
    thoughts = max(0, count(usage.get("total_tokens")) - prompt - completion)
    return Usage(
        input_tokens=prompt,
        output_tokens=completion + thoughts,
        # prompt_cache_hit_tokens: DeepSeek
        cached_tokens=count(details.get("cached_tokens"))
        or count(usage.get("prompt_cache_hit_tokens")),
        cache_write_tokens=count(details.get("cache_write_tokens")),
        reasoning_tokens=reasoning or thoughts,
    )
