"""What every vendor's driver needs at the wire: bodies, errors, ids, texts.

All functions are pure. The history's own tools (:func:`iter_messages`, :func:`repair`) live in
``history.py`` and are offered here too, so that a driver imports one module.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

from ..errors import ProviderError
from ..net.message import HttpResponse
from .history import clean_text, clean_tree, dumps, iter_messages, repair
from .http_error import error_object, excerpt, raise_for_status, retry_after, scrub
from .json_text import read_json

__all__ = [
    "clean_text",
    "dumps",
    "error_object",
    "is_cut_off",
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

_UNSAFE_ESCAPE = re.compile(rb"\\u(?:0000|[dD][89a-fA-F])")

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
        raise _malformed(response, provider, f"content type {excerpt(content_type, 60)}")
    try:
        value = read_json(response.body.decode("utf-8-sig"))
    except ValueError:
        raise _malformed(response, provider, "a body that is not JSON") from None
    if not isinstance(value, dict):
        raise _malformed(response, provider, "a body that is not a JSON object")
    return clean_tree(value) if _UNSAFE_ESCAPE.search(response.body) else value


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


def _malformed(response: HttpResponse, provider: str, what: str) -> ProviderError:
    shown = scrub(excerpt(response.body[:1000].decode("utf-8", "replace"), 120))
    return ProviderError(
        "malformed_response",
        f"{excerpt(what, 80)}: {shown}"[:200] if shown else f"{excerpt(what, 80)}: empty",
        status=response.status,
        provider=provider,
        hint="Check base_url of the provider: a proxy or a web page may be answering there.",
    )


# --- tool calls --------------------------------------------------------------------------------


def parse_arguments(text: str) -> dict[str, Any] | None:
    """Read the arguments of a tool call; an empty text means no arguments.

    Returns:
        The object, or None when *text* is not a JSON object (the model must be told).
    """
    if not text or text.isspace():
        return {}
    try:
        value = read_json(text)
    except ValueError:
        return None
    if not isinstance(value, dict):
        return None
    return clean_tree(value) if "\\u" in text or not text.isascii() else value


def is_cut_off(text: str) -> bool:
    """Tell whether *text* is the beginning of a JSON text whose end is missing."""
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        pass
    else:
        return False
    depth, is_string, is_escaped = 0, False, False
    for character in text:
        if is_escaped:
            is_escaped = False
        elif is_string:
            is_escaped = character == "\\"
            is_string = character != '"'
        elif character == '"':
            is_string = True
        elif character in "{[":
            depth += 1
        elif character in "}]":
            depth -= 1
    return is_string or depth > 0


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


def unique_call_ids(ids: Iterable[Any], turn_unique: str, *, scope: str = "auto") -> list[str]:
    """Give each call of one reply an id that is unique within the turn.

    Args:
        ids: the vendor's ids in its order; what is not a text, or empty, counts as missing.
        turn_unique: as for :func:`make_call_id`.
        scope: ``auto`` replaces ids that another vendor would refuse and ids that only count the
            calls of one reply, ``response`` replaces all ids, ``vendor`` only missing and repeated
            ones.
    """
    result: list[str] = []
    for index, call_id in enumerate(ids):
        if (
            isinstance(call_id, str)
            and call_id
            and call_id not in result
            and (scope == "vendor" or (scope == "auto" and _PORTABLE.fullmatch(call_id)))
        ):
            result.append(call_id)
        else:
            result.append(make_call_id(f"{turn_unique}\0{call_id}", index))
    return result
