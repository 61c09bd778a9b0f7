"""Responses that are not a success, as errors of ours."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, NoReturn

from ..errors import ProviderError
from ..net.message import HttpResponse
from .history import clean_tree
from .json_text import read_json

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]+")
#: What looks like a credential: bearer tokens, the key prefixes of the vendors, URL keys. A vendor
#: repeats parts of a wrong key in its error message.
_SECRET = re.compile(
    r"(?i:bearer\s+)[A-Za-z0-9._~+/=*-]{6,}"
    r"|\b(?:sk|pk|rk|gsk|xai|key|hf|r8)[-_][A-Za-z0-9_*-]{6,}"
    r"|\bAIza[A-Za-z0-9_*-]{6,}"
    r"|(?i:\b(?:api[-_]?key|access_token|token)=)[^\s&\"']+"
)

_KIND_BY_STATUS = {
    401: "authentication",
    402: "billing",
    403: "authentication",
    404: "not_found",
    408: "server_error",
    409: "server_error",
    413: "context_overflow",
    429: "rate_limited",
    503: "overloaded",
    529: "overloaded",
}
_KIND_BY_CODE = {
    "insufficient_quota": "billing",
    "billing_hard_limit_reached": "billing",
    "billing_not_active": "billing",
    "context_length_exceeded": "context_overflow",
    "model_context_window_exceeded": "context_overflow",
    "string_above_max_length": "context_overflow",
    "request_too_large": "context_overflow",
    "exceed_context_size_error": "context_overflow",  # llama.cpp
    "invalid_api_key": "authentication",
    "model_not_found": "not_found",
}
#: Servers without a code of their own (vLLM, older llama.cpp, Anthropic before error codes) say it
#: in words only.
_OVERFLOW_WORDS = re.compile(
    r"maximum context length|context (?:length|size|window)|prompt is too long"
    r"|input token count .*exceeds",
    re.IGNORECASE,
)
_HINTS = {
    "authentication": "Check the key of the provider (aos_meta.provider: secret_name, "
    "api_key_env).",
    "billing": "The account has no credit or quota left.",
    "not_found": "Check model_name in aos_meta.llm_model_registry and base_url in "
    "aos_meta.provider.",
    "context_overflow": "Shorten the history or choose a model with a larger context window.",
}


def error_object(response: HttpResponse) -> dict[str, Any]:
    """Return the JSON object in an error response, or ``{}``: an error's body may be anything.

    Google's OpenAI-compatible endpoint wraps the object in an array.
    """
    try:
        value = read_json(response.body.decode("utf-8-sig", "replace"))
    except ValueError:
        return {}
    if isinstance(value, list) and value:
        value = value[0]
    return clean_tree(value) if isinstance(value, dict) else {}


def raise_for_status(
    response: HttpResponse,
    provider: str,
    *,
    message: str | None,
    code: str | None,
    kind: str | None = None,
    api_key: str | None = None,
) -> NoReturn:
    """Raise the error that *response* stands for.

    Args:
        response: a response that is not a success.
        provider: name of the provider.
        message: the vendor's words, or None when its body held none.
        code: the vendor's error code, or None.
        kind: overrides the kind that status and code would give.
        api_key: the key that was sent; it is cut out of the message.

    Raises:
        ProviderError: always. ``retry_after`` and ``x-should-retry`` are taken from the headers.
    """
    status = response.status
    if kind is None:
        kind = _KIND_BY_CODE.get(code or "") or _KIND_BY_STATUS.get(status)
    if kind is None:
        kind = "server_error" if status >= 500 else "invalid_request"
        if kind == "invalid_request" and _OVERFLOW_WORDS.search(message or ""):
            kind = "context_overflow"
    words = scrub(_CONTROL.sub(" ", message or "").strip(), api_key)[:500]
    error = ProviderError(
        kind,
        words or f"HTTP status {status}",
        status=status,
        retry_after=retry_after(response.headers, _epoch(response.headers.get("date"))),
        code=scrub(excerpt(code, 100), api_key) if code else None,
        provider=provider,
        hint=_HINTS.get(kind),
    )
    should_retry = response.headers.get("x-should-retry")
    if should_retry in ("true", "false"):
        error.is_retryable = should_retry == "true"
    raise error


def scrub(text: str, api_key: str | None = None) -> str:
    """Replace the key, and whatever looks like a key or a bearer token, by ``[secret]``."""
    if api_key:
        text = text.replace(api_key, "[secret]")
    return _SECRET.sub("[secret]", text)


def retry_after(headers: Mapping[str, str], now: float | None) -> float | None:
    """Return the seconds that the provider asks to wait, never negative, or None.

    Args:
        headers: with names in lower case.
        now: the moment, in seconds since 1970, from which an HTTP date counts; None when unknown,
            then a date tells nothing. Callers pass the response's own ``date``, so that the
            function needs no clock and a wrong clock here does not matter.

    Source: RFC 9110 section 10.2.3; ``retry-after-ms`` is what the OpenAI and Anthropic SDKs read.
    """
    for name, unit in (("retry-after-ms", 1000.0), ("retry-after", 1.0)):
        value = headers.get(name)
        if value is None:
            continue
        try:
            seconds = float(value) / unit
        except ValueError:
            moment = _epoch(value)
            if moment is None or now is None:
                continue
            seconds = moment - now
        if seconds != seconds or seconds == float("inf"):
            continue
        return max(0.0, seconds)
    return None


def _epoch(date: str | None) -> float | None:
    """Read an HTTP date as seconds since 1970."""
    if not date:
        return None
    from email.utils import mktime_tz, parsedate_tz  # needed for errors only

    fields = parsedate_tz(date)
    try:
        return float(mktime_tz(fields)) if fields else None
    except (ValueError, OverflowError):
        return None


def excerpt(text: str, length: int) -> str:
    """Return the beginning of *text* on one line, without control characters."""
    return _CONTROL.sub(" ", text[: length * 2]).strip()[:length]
