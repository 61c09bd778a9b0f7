"""Driver ``openai_responses``: the Responses API of OpenAI, Azure and compatible servers.

Nothing is kept at the vendor (``store`` false): the whole history goes out each time, and reasoning
comes back encrypted. The items of a reply that hold such things are kept in ``vendor`` and sent
again as they came, each reasoning item with the item that followed it.

Options (see also :mod:`.openai_options`):

* ``note_role``: role of the kernel's notes in the middle: ``system`` (default), ``developer``,
  ``user``
* ``reasoning_summary``: ``auto``, ``concise`` or ``detailed``
* ``calls_last``: true for servers that refuse other items between function calls (DeepSeek)
* ``call_ids``: see :func:`.wire.unique_call_ids`
* ``extra_body``: object, merged into the body last

The API knows neither ``stop`` nor ``seed``; they are left out.

Source: https://platform.openai.com/docs/api-reference/responses
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ..errors import InvalidInput
from ..net.message import HttpRequest, HttpResponse
from .base import ChatReply, ChatRequest, Endpoint, FinishReason, ToolCall, Usage
from .openai_options import (
    count,
    effort_of,
    function_of,
    malformed,
    part,
    post,
    read_error,
    read_error_object,
    sampling_of,
    schema_format,
    tool_settings,
    tools_of,
)
from .openai_responses_history import DRIVER, items_of, parts_of, text_of
from .wire import (
    clean_text,
    dumps,
    is_cut_off,
    join_body,
    parse_object,
    repair,
    unique_call_ids,
)

_INCOMPLETE: dict[str, FinishReason] = {
    "max_output_tokens": "length",
    "content_filter": "content_filter",
}
#: What a failed response's code stands for, as the HTTP status that would have said it.
_STATUS_BY_CODE = {"rate_limit_exceeded": 429, "invalid_prompt": 400}

# --- to the wire -------------------------------------------------------------------------------


def to_wire(request: ChatRequest, endpoint: Endpoint) -> HttpRequest:
    """Write *request* as a call of ``POST /responses``.

    Raises:
        InvalidInput: nothing to send (the API refuses an empty input), or tools for a model that
            cannot call any.
    """
    head: dict[str, Any] = {"model": request.model}
    if request.system:
        head["instructions"] = request.system
    items = list(items_of(repair(request.messages), request, endpoint))
    if not items:
        raise InvalidInput("there is no message to send")
    tail = _parameters(request, endpoint)
    tail.update(endpoint.options.get("extra_body") or {})
    return post(endpoint, "/responses", join_body(head, "input", items, tail))


def _parameters(request: ChatRequest, endpoint: Endpoint) -> dict[str, Any]:
    params = request.params
    body: dict[str, Any] = {"store": False}
    tools = tools_of(request, endpoint)
    if tools:
        # The API takes a missing "strict" for true, so it is always said.
        body["tools"] = [
            {"type": "function", "strict": False, **function_of(tool, endpoint)} for tool in tools
        ]
        body.update(tool_settings(request, endpoint))
    if params.get("max_output_tokens") is not None:
        body["max_output_tokens"] = params["max_output_tokens"]
    body.update(sampling_of(request))
    if request.capabilities.get("reasoning"):
        body["include"] = ["reasoning.encrypted_content"]
        reasoning = {
            "effort": effort_of(request),
            "summary": endpoint.options.get("reasoning_summary"),
        }
        reasoning = {name: value for name, value in reasoning.items() if value is not None}
        if reasoning:
            body["reasoning"] = reasoning
    if params.get("response_schema") is not None:
        body["text"] = {"format": {"type": "json_schema", **schema_format(request, endpoint)}}
    return body


# --- from the wire -----------------------------------------------------------------------------


def from_wire(response: HttpResponse, endpoint: Endpoint) -> ChatReply:
    """Read a response of ``POST /responses``.

    Raises:
        ProviderError: for an error status, a failed response, and a body that is no response.
    """
    if not 200 <= response.status < 300:
        return read_error(response, endpoint)
    body = parse_object(response, endpoint.provider)
    status = body.get("status")
    if body.get("error") and (status == "failed" or not body.get("output")):
        code = part(body, "error").get("code")
        status_code = _STATUS_BY_CODE.get(code, 500) if isinstance(code, str) else 500
        return read_error_object(body, response._replace(status=status_code), endpoint)
    output = body.get("output")
    if not isinstance(output, list):
        malformed(endpoint, "the response has no output: it is not of the Responses API")
    if status in ("queued", "in_progress", "cancelled", "failed"):
        malformed(endpoint, f"the response is {status}, not completed")
    items = [item for item in output if isinstance(item, dict)]
    raw_calls = [item for item in items if item.get("type") == "function_call"]
    ids = unique_call_ids(
        [item.get("call_id") for item in raw_calls],
        response.body.decode("utf-8", "replace"),
        scope=str(endpoint.options.get("call_ids", "auto")),
    )
    for item, call_id in zip(raw_calls, ids, strict=True):
        item["call_id"] = call_id
    calls = tuple(_read_call(item) for item in raw_calls)
    content, refusal = text_of(items), _refusal_of(items)

    finish: FinishReason = "tool_calls" if calls else "stop"
    if status == "incomplete":
        reason = part(body, "incomplete_details").get("reason")
        finish = _INCOMPLETE.get(str(reason), "other")
        if calls and finish == "other":
            finish = "length"  # a call of an incomplete response must not be executed
    elif calls and (raw_calls[-1].get("status") == "incomplete" or is_cut_off(calls[-1].arguments)):
        finish = "length"
    elif refusal and not content and not calls:
        finish = "content_filter"
    return ChatReply(
        content=content,
        tool_calls=calls,
        finish_reason=finish,
        usage=_usage(part(body, "usage")),
        vendor=_blocks(items, str(body.get("model") or ""), endpoint),
        refusal=refusal,
        response_id=str(body["id"]) if body.get("id") else None,
        model=str(body["model"]) if body.get("model") else None,
    )


def _read_call(item: Mapping[str, Any]) -> ToolCall:
    arguments = item.get("arguments")
    if not isinstance(arguments, str):
        arguments = dumps(arguments) if arguments else "{}"
    return ToolCall(
        call_id=str(item["call_id"]),
        name=str(item.get("name") or ""),
        arguments=clean_text(arguments) if arguments.strip() else "{}",
    )


def _refusal_of(items: Iterable[Mapping[str, Any]]) -> str | None:
    texts = [
        str(content.get("refusal") or "")
        for content in parts_of(items)
        if content.get("type") == "refusal"
    ]
    return "".join(texts) or None if texts else None


def _blocks(items: list[dict[str, Any]], model: str, endpoint: Endpoint) -> dict[str, Any] | None:
    """Keep the items when one of them holds what the neutral message does not.

    A reasoning item without encrypted content exists at the vendor only, who does not store it:
    then none are kept.
    """
    is_special = False
    for item in items:
        if item.get("type") == "reasoning":
            if not item.get("encrypted_content"):
                return None
            is_special = True
        elif item.get("type") != "function_call":
            is_special = is_special or item.get("type") != "message" or bool(item.get("phase"))
    if not is_special:
        return None
    return {
        "driver": DRIVER,
        "provider": endpoint.provider,
        "model": model,
        "items": items,
    }


def _usage(usage: Mapping[str, Any]) -> Usage:
    """Count tokens; cached and reasoning tokens are parts of input and output."""
    details = part(usage, "input_tokens_details")
    return Usage(
        input_tokens=count(usage.get("input_tokens")),
        output_tokens=count(usage.get("output_tokens")),
        cached_tokens=count(details.get("cached_tokens")),
        cache_write_tokens=count(details.get("cache_write_tokens")),
        reasoning_tokens=count(part(usage, "output_tokens_details").get("reasoning_tokens")),
    )
