"""Replies and errors of Gemini's generateContent.

Sources: https://ai.google.dev/api/generate-content (GenerateContentResponse, FinishReason,
UsageMetadata), https://ai.google.dev/gemini-api/docs/troubleshooting and the types of the official
SDK ``google-genai`` 3.4.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NoReturn

from ..errors import ProviderError
from ..net.message import HttpResponse
from .base import ChatReply, Endpoint, FinishReason, ToolCall, Usage
from .shape import count_of, object_of, objects_of, text_of
from .wire import dumps, error_object, parse_object, raise_for_status, unique_call_ids

_FILTERED = frozenset(
    {
        "SAFETY",
        "RECITATION",
        "LANGUAGE",
        "BLOCKLIST",
        "PROHIBITED_CONTENT",
        "SPII",
        "IMAGE_SAFETY",
        "IMAGE_PROHIBITED_CONTENT",
        "IMAGE_RECITATION",
        "MODEL_ARMOR",
        "ESCALATION",
        "PUP_LIMITED_DISABLED",
    }
)


def from_wire(response: HttpResponse, endpoint: Endpoint) -> ChatReply:
    """Read a response; of several candidates the first.

    Raises:
        ProviderError: every status but 2xx, an error object, a body that is not a response.
    """
    if not 200 <= response.status < 300:
        _raise_error(response, error_object(response), endpoint)
    body = parse_object(response, endpoint.provider)
    if "error" in body and "candidates" not in body:
        _raise_error(response, body, endpoint)
    usage = _usage(object_of(body.get("usageMetadata")))
    response_id = text_of(body.get("responseId")) or None
    model = text_of(body.get("modelVersion")) or None
    candidates = body.get("candidates")
    if not candidates:
        feedback = object_of(body.get("promptFeedback"))
        reason = text_of(feedback.get("blockReason"))
        if reason:
            words = text_of(feedback.get("blockReasonMessage"))
            words = words or f"The provider blocked the prompt: {reason}."
            return _filtered(words, usage, response_id, model)
        raise _malformed(response, endpoint, "no candidates")
    candidate = candidates[0] if isinstance(candidates, list) else None
    if not isinstance(candidate, dict):
        raise _malformed(response, endpoint, "no list of candidates")
    reason, words = text_of(candidate.get("finishReason")), text_of(candidate.get("finishMessage"))
    if reason in _FILTERED:
        words = words or f"The provider stopped the answer: {reason}."
        return _filtered(words, usage, response_id, model)
    parts = object_of(candidate.get("content")).get("parts") or []
    if not isinstance(parts, list) or not all(isinstance(part, dict) for part in parts):
        raise _malformed(response, endpoint, "no list of parts")
    unique = response_id or response.body.decode("utf-8", "replace")
    call_parts = [object_of(part["functionCall"]) for part in parts if "functionCall" in part]
    call_ids = unique_call_ids([text_of(call.get("id")) for call in call_parts], unique)
    calls = tuple(
        ToolCall(call_id, text_of(call.get("name")), _arguments(call.get("args")))
        for call_id, call in zip(call_ids, call_parts, strict=True)
    )
    finish = _finish(reason, has_calls=bool(calls))
    return ChatReply(
        "".join(text_of(part.get("text")) for part in parts if not part.get("thought")),
        calls,
        finish,
        usage,
        _vendor(parts, call_ids, endpoint.provider, model or ""),
        response_id=response_id,
        model=model,
        finish_detail=words or reason if finish == "other" else None,
    )


def _finish(reason: str, *, has_calls: bool) -> FinishReason:
    """Tell how the reply ended; the reason is ``STOP`` for calls too."""
    if reason in ("MAX_TOKENS", "CONTINUATION"):
        return "length"
    if has_calls:
        return "tool_calls"
    return "stop" if reason in ("STOP", "", "FINISH_REASON_UNSPECIFIED") else "other"


def _vendor(
    parts: list[dict[str, Any]], call_ids: list[str], provider: str, model: str
) -> dict[str, Any] | None:
    """Return the parts if the neutral message would lose something of them.

    Summaries of thoughts are left out: they need not go back, only signatures must.
    """
    kept = [part for part in parts if not part.get("thought") or "thoughtSignature" in part]
    if all(_is_plain(part) for part in kept):
        return None
    vendor: dict[str, Any] = {
        "driver": "gemini",
        "provider": provider,
        "model": model,
        "parts": kept,
    }
    if call_ids:
        vendor["call_ids"] = call_ids
    return vendor


def _is_plain(part: Mapping[str, Any]) -> bool:
    if part.keys() == {"text"}:
        return True
    return part.keys() == {"functionCall"} and not object_of(part["functionCall"]).get("id")


def _filtered(words: str, usage: Usage, response_id: str | None, model: str | None) -> ChatReply:
    return ChatReply(
        "",
        finish_reason="content_filter",
        usage=usage,
        refusal=words,
        response_id=response_id,
        model=model,
    )


def _arguments(value: Any) -> str:
    if isinstance(value, str):
        return value if value.strip() else "{}"
    return "{}" if value is None else dumps(value)


def _usage(usage: Mapping[str, Any]) -> Usage:
    """Read the tokens: thoughts are billed as output but not among the candidates' tokens."""

    def count(name: str) -> int:
        return count_of(usage.get(name))

    thoughts = count("thoughtsTokenCount")
    return Usage(
        count("promptTokenCount") + count("toolUsePromptTokenCount"),
        count("candidatesTokenCount") + thoughts,
        count("cachedContentTokenCount"),
        0,
        thoughts,
    )


def _malformed(response: HttpResponse, endpoint: Endpoint, what: str) -> ProviderError:
    return ProviderError(
        "malformed_response",
        f"the answer is JSON but not a Gemini response: it has {what}",
        status=response.status,
        provider=endpoint.provider,
        hint="Check base_url and driver of the provider.",
    )


def _raise_error(response: HttpResponse, body: dict[str, Any], endpoint: Endpoint) -> NoReturn:
    words = body.get("error")
    error = object_of(words) or {"message": words}
    message, status = text_of(error.get("message")), text_of(error.get("status"))
    reason = delay = ""
    for detail in objects_of(error.get("details")):
        reason = text_of(detail.get("reason")) or reason
        delay = text_of(detail.get("retryDelay")) or delay
    kind = None
    if reason in ("API_KEY_INVALID", "API_KEY_EXPIRED"):  # comes with status 400
        kind = "authentication"
    elif status == "INVALID_ARGUMENT" and "exceeds the maximum number of tokens" in message:
        kind = "context_overflow"  # there is no code for this, its words are all there is
    if delay.endswith("s") and "retry-after" not in response.headers:
        # Google says in the body how long to wait, for example "34.07s".
        headers = {**response.headers, "retry-after": delay[:-1]}
        response = HttpResponse(response.status, headers, response.body)
    raise_for_status(
        response,
        endpoint.provider,
        message=message,
        code=reason or status or None,
        kind=kind,
        api_key=endpoint.api_key,
    )
