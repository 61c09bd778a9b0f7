"""What every vendor's driver needs at the wire: bodies, errors, ids, texts.

All functions are pure. The history's own tools (:func:`iter_messages`, :func:`repair`) live in
``history.py`` and are offered here too, so that a driver imports one module.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any, NoReturn

from ..errors import ProviderError
from ..net.message import HttpResponse
from .history import clean_text, dumps, iter_messages, repair

__all__ = [
    "clean_text",
    "dumps",
    "error_object",
    "iter_messages",
    "join_body",
    "make_call_id",
    "parse_arguments",
    "parse_object",
    "raise_for_status",
    "repair",
    "retry_after",
    "scrub",
    "unique_call_ids",
]

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]+")
_UNSAFE_ESCAPE = re.compile(rb"\\u(?:0000|[dD][89a-fA-F])")
#: What looks like a credential: bearer tokens, the key prefixes of the vendors, URL keys. A vendor
#: repeats parts of a wrong key in its error message.
_SECRET = re.compile(
    r"(?i:bearer\s+)[A-Za-z0-9._~+/=*-]{6,}"
    r"|\b(?:sk|pk|rk|gsk|xai|key|hf|r8)[-_][A-Za-z0-9_*-]{6,}"
    r"|\bAIza[A-Za-z0-9_*-]{6,}"
    r"|(?i:\b(?:api[-_]?key|access_token|token)=)[^\s&\"']+"
)

# --- bodies ------------------------------------------------------------------------------------


def parse_object(response: HttpResponse, provider: str) -> dict[str, Any]:
    """Read the body of a 2xx response as a JSON object whose strings PostgreSQL can store.

    Args:
        response: the complete response.
        provider: name of the provider, for the error.

    Raises:
        ProviderError: ``malformed_response`` when the content type is not JSON or the body is not
            a JSON object (a gateway's HTML page, a cut-off body, an event stream).
    """
    content_type = response.headers.get("content-type", "")
    if content_type and "json" not in content_type.lower():
        raise _malformed(response, provider, f"content type {_excerpt(content_type, 60)}")
    try:
        value = json.loads(response.body.decode("utf-8-sig"), parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        raise _malformed(response, provider, "a body that is not JSON") from None
    if not isinstance(value, dict):
        raise _malformed(response, provider, "a body that is not a JSON object")
    return _clean_tree(value) if _UNSAFE_ESCAPE.search(response.body) else value


def error_object(response: HttpResponse) -> dict[str, Any]:
    """Return the JSON object in an error response, or ``{}``: an error's body may be anything."""
    try:
        value = json.loads(response.body.decode("utf-8-sig", "replace"))
    except (ValueError, RecursionError):
        return {}
    return _clean_tree(value) if isinstance(value, dict) else {}


def join_body(
    head: Mapping[str, Any],
    key: str,
    fragments: Iterable[str],
    tail: Mapping[str, Any] | None = None,
) -> bytes:
    """Write a JSON object whose array *key* is joined from ready texts, which are not parsed.

    Args:
        head: the members before the array.
        key: name of the array; needs no escaping.
        fragments: its elements, each as JSON text.
        tail: the members after the array.
    """
    before = dumps(head)[1:-1]
    after = dumps(tail)[1:-1] if tail else ""
    text = "".join(
        (
            "{",
            before,
            ',"' if before else '"',
            key,
            '":[',
            ",".join(fragments),
            "]," if after else "]",
            after,
            "}",
        )
    )
    return text.encode("utf-8", "replace")


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _clean_tree(value: Any) -> Any:
    """Clean every string in *value*, names included."""
    if isinstance(value, str):
        return clean_text(value)
    if isinstance(value, dict):
        return {clean_text(name): _clean_tree(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_clean_tree(item) for item in value]
    return value


def _excerpt(text: str, length: int) -> str:
    return _CONTROL.sub(" ", text[: length * 2]).strip()[:length]


def _malformed(response: HttpResponse, provider: str, what: str) -> ProviderError:
    excerpt = scrub(_excerpt(response.body[:1000].decode("utf-8", "replace"), 120))
    return ProviderError(
        "malformed_response",
        f"{_excerpt(what, 80)}: {excerpt}"[:200] if excerpt else f"{_excerpt(what, 80)}: empty",
        status=response.status,
        provider=provider,
        hint="Check base_url of the provider: a proxy or a web page may be answering there.",
    )


# --- errors ------------------------------------------------------------------------------------

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
_HINTS = {
    "authentication": "Check the key of the provider (aos_meta.provider: secret_name, "
    "api_key_env).",
    "billing": "The account has no credit or quota left.",
    "not_found": "Check model_name in aos_meta.llm_model_registry and base_url in "
    "aos_meta.provider.",
    "context_overflow": "Shorten the history or choose a model with a larger context window.",
}


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
    words = scrub(_CONTROL.sub(" ", message or "").strip(), api_key)[:500]
    error = ProviderError(
        kind,
        words or f"HTTP status {status}",
        status=status,
        retry_after=retry_after(response.headers, _epoch(response.headers.get("date"))),
        code=scrub(_excerpt(code, 100), api_key) if code else None,
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


# --- tool calls --------------------------------------------------------------------------------


def parse_arguments(text: str) -> dict[str, Any] | None:
    """Read the arguments of a tool call; an empty text means no arguments.

    Returns:
        The object, or None when *text* is not a JSON object (the model must be told).
    """
    if not text or text.isspace():
        return {}
    try:
        value = json.loads(text, parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        return None
    if not isinstance(value, dict):
        return None
    return _clean_tree(value) if "\\u" in text or not text.isascii() else value


def make_call_id(turn_unique: str, index: int) -> str:
    """Make a call id for a vendor that gave none.

    Args:
        turn_unique: something that differs between the replies of a turn: the response's id.
        index: position of the call in its reply.

    Returns:
        ``call_`` and 24 hexadecimal digits: within every vendor's limits (OpenAI: at most 40
        characters; Anthropic: letters, digits, ``_`` and ``-`` only).
    """
    from hashlib import blake2b  # 2 ms to import, and few vendors need it

    digest = blake2b(f"{turn_unique}\0{index}".encode("utf-8", "replace"), digest_size=12)
    return "call_" + digest.hexdigest()


#: An id that every vendor takes back. One that ends in a small number (``call_0``,
#: ``functions.search:1``, ``7``) only counts the calls of one reply and comes again in the next.
_PORTABLE = re.compile(r"(?!(?:.*[._:-])?\d{1,3}$)[A-Za-z0-9_-]{1,40}")


def unique_call_ids(
    ids: Iterable[str | None], turn_unique: str, *, scope: str = "auto"
) -> list[str]:
    """Give each call of one reply an id that is unique within the turn.

    Args:
        ids: the vendor's ids in its order; None or empty when it gave none.
        turn_unique: as for :func:`make_call_id`.
        scope: ``auto`` replaces ids that another vendor would refuse and ids that only count the
            calls of one reply, ``response`` replaces all ids, ``vendor`` only missing and repeated
            ones.
    """
    result: list[str] = []
    for index, call_id in enumerate(ids):
        if (
            call_id
            and call_id not in result
            and (scope == "vendor" or (scope == "auto" and _PORTABLE.fullmatch(call_id)))
        ):
            result.append(call_id)
        else:
            result.append(make_call_id(f"{turn_unique}\0{call_id or ''}", index))
    return result
