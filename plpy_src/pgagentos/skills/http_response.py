"""From a response to the text that a model reads: decoded, without secrets, cut to a length."""

from __future__ import annotations

import re
from collections.abc import Iterable

from ..cpu_limit import TookTooLong, cpu_limit
from ..errors import Refused
from ..net.message import HttpResponse
from ..providers.wire import clean_text, dumps
from .untrusted import wrap

#: Seconds of the processor's time for the search of a body. Usual ones take milliseconds; a secret
#: with backslashes and a body of nothing else would take years.
_MOST_SECONDS = 5.0

_MEDIA_TYPE = re.compile(r"([a-z0-9!#$&^_.+-]+/[a-z0-9!#$&^_.+-]+)\s*(?:;.*)?", re.I)
_CHARSET = re.compile(r";\s*charset\s*=\s*\"?([A-Za-z0-9_.:-]{1,40})\"?", re.I)
_TEXT_TYPE = re.compile(
    r"text/.+|.+\+(?:json|xml|yaml|text)|application/(?:json|xml|javascript|ecmascript|yaml|x-yaml"
    r"|toml|sql|graphql|x-ndjson|ndjson|jsonl|json-seq|x-www-form-urlencoded)"
)
# Python knows codecs that are no charsets (punycode, unicode_escape, idna); only these are used.
_CHARSETS = re.compile(
    r"utf-?8|utf-?16(?:le|be)?|utf-?32(?:le|be)?|us-ascii|ascii|iso-?8859-\d{1,2}|latin-?1"
    r"|windows-125\d|cp125\d|koi8-[ru]|shift[_-]?jis|euc-(?:jp|kr)|iso-2022-jp|big5|gb2312|gbk"
    r"|gb18030|cp949|ks_c_5601-1987",
    re.I,
)


def text_for_model(response: HttpResponse, secrets: Iterable[str], max_characters: int) -> str:
    """Say what came back.

    Args:
        response: with any status.
        secrets: what was sent and must not come back.
        max_characters: a longer body is cut.

    Returns:
        a JSON object with status, content_type, body and truncated, marked as untrusted.

    Raises:
        Refused: the body is no text, or one that was made to keep this session busy.
    """
    media_type, body = _decoded(response)
    # Before it is cut: half of a secret at the end would not be found any more.
    try:
        with cpu_limit(_MOST_SECONDS):
            body = without_secrets(clean_text(body), secrets)
    except TookTooLong:
        raise Refused("The answer cannot be shown: it takes too long to read.") from None
    value = {
        "status": response.status,
        "content_type": media_type,
        "body": body[:max_characters],
        "truncated": len(body) > max_characters,
    }
    return wrap("HTTP response", dumps(value))


def without_secrets(text: str, secrets: Iterable[str]) -> str:
    """Cut secrets out of a text, also where JSON, HTML or a URL has escaped their characters."""
    for secret in secrets:
        if secret:
            text = re.sub("".join(map(_any_spelling, secret)), "[secret]", text)
    return text


def _any_spelling(character: str) -> str:
    """A pattern for the ways in which an echo may write a character."""
    number = ord(character)
    ways = [re.escape(character)]
    if not character.isalnum() or number > 127:
        hexadecimal = "".join(
            f"%{b // 16:x}{b % 16:x}" for b in character.encode("utf-8", "replace")
        )
        units = character.encode("utf-16-be", "replace")
        # More than one backslash: JSON inside a string of JSON.
        escape = "".join(rf"\\+u{units[i]:02x}{units[i + 1]:02x}" for i in range(0, len(units), 2))
        ways += [rf"(?i:{hexadecimal})", rf"(?i:{escape})", rf"&#0*{number};"]
        ways += [rf"(?i:&#x0*{number:x};)"]
        if character in "/\"\\'":
            ways.append(r"\\+" + re.escape(character))
        named = {"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", " ": r"\+"}.get(character)
        if named is not None:
            ways.append(named)
    ways.sort(key=len, reverse=True)  # the longest first: "\/" before "/"
    return f"(?:{'|'.join(ways)})"


def _decoded(response: HttpResponse) -> tuple[str | None, str]:
    """Media type and body as text."""
    content_type = response.headers.get("content-type", "")
    found = _MEDIA_TYPE.fullmatch(content_type.strip())
    media_type = found[1].lower() if found is not None else None
    if not response.body:
        return media_type, ""
    if media_type is None or _TEXT_TYPE.fullmatch(media_type) is None:
        raise Refused("The answer is not text.")
    named = _CHARSET.search(content_type)
    charset = named[1] if named is not None and _CHARSETS.fullmatch(named[1]) else "utf-8"
    try:
        text = response.body.decode(charset, "replace")
    except LookupError:
        text = response.body.decode("utf-8", "replace")
    return media_type, text.removeprefix("\ufeff")
