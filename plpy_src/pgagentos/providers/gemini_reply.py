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
    usage = _usage(body.get("usageMetadata") or {})
    response_id, model = (
        _text_or_none(body.get("responseId")),
        _text_or_none(body.get("modelVersion")),
    )
    candidates = body.get("candidates")
    if not candidates:
        feedback = body.get("promptFeedback")
        if isinstance(feedback, dict) and feedback.get("blockReason"):
            words = feedback.get("blockReasonMessage") or (
                f"The provider blocked the prompt: {feedback['blockReason']}."
            )
            return _filtered(str(words), usage, response_id, model)
        raise _malformed(response, endpoint, "no candidates")
    candidate = candidates[0] if isinstance(candidates, list) else None
    if not isinstance(candidate, dict):
        raise _malformed(response, endpoint, "no list of candidates")
    reason = str(candidate.get("finishReason") or "")
    if reason in _FILTERED:
        words = candidate.get("finishMessage") or f"The provider stopped the answer: {reason}."
        return _filtered(str(words), usage, response_id, model)
    parts = (candidate.get("content") or {}).get("parts") or []
    if not isinstance(parts, list) or not all(isinstance(part, dict) for part in parts):
        raise _malformed(response, endpoint, "no list of parts")
    unique = response_id or response.body.decode("utf-8", "replace")
    call_parts = [part["functionCall"] for part in parts if part.get("functionCall")]
    call_ids = unique_call_ids([call.get("id") for call in call_parts], unique)
    calls = tuple(
        ToolCall(call_id, str(call.get("name") or ""), _arguments(call.get("args")))
        for call_id, call in zip(call_ids, call_parts, strict=True)
    )
    finish = _finish(reason, has_calls=bool(calls))
    return ChatReply(
        "".join(str(part.get("text") or "") for part in parts if not part.get("thought")),
        calls,
        finish,
        usage,
        _vendor(parts, call_ids, endpoint.provider, model or ""),
        response_id=response_id,
        model=model,
        finish_detail=str(candidate.get("finishMessage") or reason) if finish == "other" else None,
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
    return part.keys() == {"functionCall"} and not part["functionCall"].get("id")


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
        return int(usage.get(name) or 0)

    thoughts = count("thoughtsTokenCount")
    return Usage(
        count("promptTokenCount") + count("toolUsePromptTokenCount"),
        count("candidatesTokenCount") + thoughts,
        count("cachedContentTokenCount"),
        0,
        thoughts,
    )


def _text_or_none(value: Any) -> str | None:
    return str(value) if value else None


def _malformed(response: HttpResponse, endpoint: Endpoint, what: str) -> ProviderError:
    return ProviderError(
        "malformed_response",
        f"the answer is JSON but not a Gemini response: it has {what}",
        status=response.status,
        provider=endpoint.provider,
        hint="Check base_url and driver of the provider.",
    )


def _raise_error(response: HttpResponse, body: dict[str, Any], endpoint: Endpoint) -> NoReturn:
    error = body.get("error")
    error = error if isinstance(error, dict) else {"message": error}
    message, status = str(error.get("message") or ""), str(error.get("status") or "")
    reason = delay = None
    for detail in error.get("details") or ():
        if isinstance(detail, dict):
            reason = detail.get("reason") or reason
            delay = detail.get("retryDelay") or delay
    kind = None
    if reason in ("API_KEY_INVALID", "API_KEY_EXPIRED"):  # comes with status 400
        kind = "authentication"
    elif status == "INVALID_ARGUMENT" and "exceeds the maximum number of tokens" in message:
        kind = "context_overflow"  # there is no code for this, its words are all there is
    if isinstance(delay, str) and delay.endswith("s") and "retry-after" not in response.headers:
        # Google says in the body how long to wait, for example "34.07s".
        headers = {**response.headers, "retry-after": delay[:-1]}
        response = HttpResponse(response.status, headers, response.body)
    raise_for_status(
        response,
        endpoint.provider,
        message=message,
        code=str(reason or status) or None,
        kind=kind,
        api_key=endpoint.api_key,
    )
