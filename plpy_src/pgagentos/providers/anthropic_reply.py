"""Replies and errors of Anthropic's Messages API.

Sources: https://platform.claude.com/docs/en/api/messages, .../api/errors,
.../build-with-claude/handling-stop-reasons and the types of the official SDK ``anthropic`` 2.12.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NoReturn

from ..errors import ProviderError
from ..net.message import HttpResponse
from .base import ChatReply, Endpoint, FinishReason, ToolCall, Usage
from .shape import count_of, object_of, objects_of, text_of
from .wire import dumps, error_object, is_cut_off, parse_object, raise_for_status, unique_call_ids

_FINISH: dict[str, FinishReason] = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "tool_use": "tool_calls",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "pause_turn": "pause",
    "compaction": "pause",
    "refusal": "content_filter",
}


def from_wire(response: HttpResponse, endpoint: Endpoint) -> ChatReply:
    """Read a message.

    Raises:
        ProviderError: every status but 2xx, an error object, a body that is not a message.
    """
    if not 200 <= response.status < 300:
        _raise_error(response, error_object(response), endpoint)
    message = parse_object(response, endpoint.provider)
    if message.get("type") == "error":
        _raise_error(response, message, endpoint)
    blocks = message.get("content")
    if not isinstance(blocks, list) or not all(isinstance(block, dict) for block in blocks):
        raise ProviderError(
            "malformed_response",
            "the answer is JSON but not an Anthropic message: it has no list content",
            status=response.status,
            provider=endpoint.provider,
            hint="Check base_url and driver of the provider.",
        )
    stop_reason = text_of(message.get("stop_reason"))
    usage = _usage(object_of(message.get("usage")))
    response_id, model = text_of(message.get("id")) or None, text_of(message.get("model")) or None
    if stop_reason == "refusal":
        # What came before the refusal is not to be used, says .../handling-stop-reasons.
        return ChatReply(
            "",
            finish_reason="content_filter",
            usage=usage,
            refusal=_refusal(object_of(message.get("stop_details"))),
            response_id=response_id,
            model=model,
        )
    blocks = _with_unique_ids(blocks, response_id or "")
    calls = tuple(
        ToolCall(block["id"], text_of(block.get("name")), _arguments(block.get("input")))
        for block in blocks
        if block.get("type") == "tool_use"
    )
    finish = _FINISH.get(stop_reason, "other" if stop_reason else "stop")
    if calls and finish in ("stop", "other", "tool_calls"):
        # A gateway may pass on arguments as text, cut off without saying so.
        finish = "length" if is_cut_off(calls[-1].arguments) else "tool_calls"
    elif finish == "tool_calls" and not calls:
        finish = "stop"
    vendor: dict[str, Any] | None = None
    if finish == "pause" or not all(map(_is_plain, blocks)):
        vendor = {
            "driver": "anthropic",
            "provider": endpoint.provider,
            "model": model or "",
            "content": blocks,
        }
        if finish == "pause":
            vendor["is_paused"] = True
    return ChatReply(
        _joined_text(blocks),
        calls,
        finish,
        usage,
        vendor,
        response_id=response_id,
        model=model,
        finish_detail=stop_reason if finish == "other" else None,
    )


def _with_unique_ids(blocks: list[dict[str, Any]], response_id: str) -> list[dict[str, Any]]:
    """Give ids to calls that have none of their own; gateways in front of other models do that."""
    given = [text_of(block.get("id")) for block in blocks if block.get("type") == "tool_use"]
    ids = iter(unique_call_ids(given, response_id))
    return [
        {**block, "id": next(ids)} if block.get("type") == "tool_use" else block for block in blocks
    ]


def _is_plain(block: Mapping[str, Any]) -> bool:
    """Tell whether the neutral message holds everything of *block*."""
    if block.get("type") == "text":
        return not block.get("citations")
    if block.get("type") == "tool_use":
        caller = block.get("caller")
        return not caller or (isinstance(caller, dict) and caller.get("type") == "direct")
    return False


def _joined_text(blocks: list[dict[str, Any]]) -> str:
    """Join the texts: those in a row are one sentence, cut where its citations change."""
    parts: list[str] = []
    was_text = True
    for block in blocks:
        is_text = block.get("type") == "text"
        text = text_of(block.get("text"))
        if is_text and text:
            parts.append(text if was_text or not parts else f"\n\n{text}")
        was_text = is_text
    return "".join(parts)


def _arguments(value: Any) -> str:
    if isinstance(value, str):
        return value if value.strip() else "{}"
    return "{}" if value is None else dumps(value)


def _usage(usage: Mapping[str, Any]) -> Usage:
    """Add up the tokens: Anthropic counts cached input beside ``input_tokens``, not in it."""
    counts = [usage]
    # Summaries and advice are paid for, but not part of the counts at the top.
    counts += [
        item
        for item in objects_of(usage.get("iterations"))
        if item.get("type") in ("compaction", "advisor_message")
    ]

    def total(name: str) -> int:
        return count_of(sum(count_of(count.get(name)) for count in counts))

    cached, written = total("cache_read_input_tokens"), total("cache_creation_input_tokens")
    details = object_of(usage.get("output_tokens_details"))
    return Usage(
        count_of(total("input_tokens") + cached + written),
        total("output_tokens"),
        cached,
        written,
        count_of(details.get("thinking_tokens")),
    )


def _refusal(details: Mapping[str, Any]) -> str:
    category, words = text_of(details.get("category")), "The provider refused to answer"
    return text_of(details.get("explanation")) or (
        f"{words}: {category}." if category else f"{words}."
    )


# --- errors ------------------------------------------------------------------------------------

_KIND_BY_TYPE = {
    "authentication_error": "authentication",
    "permission_error": "authentication",
    "billing_error": "billing",
    "not_found_error": "not_found",
    "request_too_large": "context_overflow",
    "rate_limit_error": "rate_limited",
    "overloaded_error": "overloaded",
    "timeout_error": "server_error",
    "api_error": "server_error",
}
_KIND_BY_CODE = {
    "contract_spend_limit_reached": "billing",
    "enforced_spend_limit_reached": "billing",
    "linked_organization_billing_unavailable": "billing",
    "linked_organization_spend_limit_reached": "billing",
    "organization_on_hold": "billing",
    "user_profile_not_billable": "billing",
    "request_body_too_large_after_decoding": "context_overflow",
    "model_context_window_exceeded": "context_overflow",
}


def _raise_error(response: HttpResponse, body: dict[str, Any], endpoint: Endpoint) -> NoReturn:
    error = object_of(body.get("error"))
    code = text_of(object_of(error.get("details")).get("error_code"))
    kind_of_error, message = text_of(error.get("type")), text_of(error.get("message"))
    kind = _KIND_BY_CODE.get(code) or _KIND_BY_TYPE.get(kind_of_error)
    if kind_of_error == "invalid_request_error":
        # These two have no code of their own, so their words are all there is.
        if "prompt is too long" in message or "exceed context limit" in message:
            kind = "context_overflow"
        elif "credit balance is too low" in message:
            kind = "billing"
    raise_for_status(
        response,
        endpoint.provider,
        message=message,
        code=code or kind_of_error or None,
        kind=kind,
        api_key=endpoint.api_key,
    )
