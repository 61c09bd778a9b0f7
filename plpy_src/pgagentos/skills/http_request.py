"""From the arguments of a call to one HTTP request, by the skill's templates.

An argument may fill a place; it can never make one. In the path and the query it is percent-encoded
as a whole, so it cannot add a segment, a parameter or a fragment, and scheme, host and port stand
in the template as they are.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from ..errors import InvalidInput, Refused
from ..net.plain_url import PlainUrl, parse_plain
from ..providers.wire import dumps
from ..store.http import Endpoint

#: Methods whose arguments become the query, because they have no body.
WITHOUT_BODY = ("GET", "DELETE")
METHODS = (*WITHOUT_BODY, "POST", "PUT", "PATCH")

_PLACE = re.compile(r"\{([A-Za-z_][A-Za-z0-9_-]*)\}")
_ORIGIN = re.compile(r"https?://[^/?]+")
#: A dot segment (RFC 3986, 5.2.4), also as servers read it that trim it or cut its parameters off.
_DOTS = re.compile(r"\s*\.{1,2}\s*(?:;.*)?", re.S)
_UNRESERVED = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,200}")
_HEADER_VALUE = re.compile(r"[\t -~\x80-\xff]{0,8000}")
#: Header fields that belong to the connection or to the client (RFC 9110, 7.6.1 and 10.1.1).
_OWN_HEADERS = frozenset(
    {
        "host",
        "connection",
        "content-length",
        "transfer-encoding",
        "te",
        "trailer",
        "upgrade",
        "keep-alive",
        "expect",
        "accept-encoding",
        "proxy-authorization",
        "proxy-authenticate",
        "proxy-connection",
    }
)


class Draft(NamedTuple):
    """A request before secrets are put into its headers.

    Args:
        headers: by name in lower case.
    """

    method: str
    url: PlainUrl
    headers: Mapping[str, str]
    body: bytes


def draft(endpoint: Endpoint, arguments: Mapping[str, Any]) -> Draft:
    """Make the request of a call.

    Args:
        endpoint: of the skill.
        arguments: of the call; they fit the skill's schema.

    Raises:
        Refused: an argument cannot be sent. The text is for the model.
        InvalidInput: the URL is not a plain one.
    """
    if endpoint.url_template is None or endpoint.method is None:
        made = _free_draft(arguments)
        # What the operator has set cannot be changed by the model.
        return made._replace(headers={**made.headers, **_checked_headers(endpoint.headers)})
    used: set[str] = set()
    url = _fill_url(endpoint.url_template, arguments, used)
    headers = _checked_headers(endpoint.headers)
    body = b""
    if endpoint.body_template is not None:
        body = dumps(_fill_value(endpoint.body_template, arguments)).encode()
    else:
        rest = {name: value for name, value in arguments.items() if name not in used}
        if endpoint.method in WITHOUT_BODY:
            query = "&".join(p for name, value in rest.items() for p in _parameters(name, value))
            if query:
                url += ("&" if "?" in url else "?") + query
        else:
            body = dumps(rest).encode()
    if body:
        headers.setdefault("content-type", "application/json")
    return Draft(endpoint.method, parse_plain(url), headers, body)


def _free_draft(arguments: Mapping[str, Any]) -> Draft:
    """The request that the model itself has written."""
    method = str(arguments.get("method", "GET")).upper()
    if method not in METHODS:
        raise Refused(f"The method must be one of {', '.join(METHODS)}.")
    given = arguments.get("headers") or {}
    headers = _checked_headers(given if isinstance(given, dict) else {})
    content = arguments.get("body")
    text = content if isinstance(content, str) else "" if content is None else dumps(content)
    if text and method in WITHOUT_BODY:
        raise Refused(f"A request with the method {method} has no body.")
    if text:
        headers.setdefault("content-type", _content_type(text))
    return Draft(method, parse_plain(str(arguments.get("url"))), headers, _encoded(text))


def _content_type(text: str) -> str:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return "text/plain; charset=utf-8"
    return "application/json"


def _checked_headers(given: Mapping[str, Any]) -> dict[str, str]:
    """Header fields by their names in lower case."""
    headers: dict[str, str] = {}
    for name, value in given.items():
        key = name.lower()
        if _HEADER_NAME.fullmatch(name) is None or not isinstance(value, str):
            raise Refused("A header is not a name with a text.")
        if key in _OWN_HEADERS:
            raise Refused(f"The header {key} cannot be set.")
        if _HEADER_VALUE.fullmatch(value) is None:
            raise Refused(
                f"The value of the header {key} has a character that HTTP does not allow."
            )
        headers[key] = value
    return headers


def _fill_url(template: str, arguments: Mapping[str, Any], used: set[str]) -> str:
    """Put arguments into path and query; *used* gets their names."""
    # Nothing is filled in before the path. (A brace there would not be a plain URL.)
    origin = _ORIGIN.match(template)
    if origin is None:
        raise InvalidInput("the URL of the skill has no fixed host")
    path, mark, query = template[origin.end() :].partition("?")

    def in_path(place: re.Match[str]) -> str:
        used.add(place[1])
        return _segment(place[1], arguments.get(place[1]))

    filled = _PLACE.sub(in_path, path)
    # Also ".{a}", of which neither part is a dot segment.
    if any(map(_DOTS.fullmatch, filled.split("/"))):
        raise Refused("An argument would change the path of the URL.")
    parameters: list[str] = []
    for parameter in query.split("&") if mark else ():
        name, _, value = parameter.partition("=")
        whole = _PLACE.fullmatch(value)
        if whole is not None:
            used.add(whole[1])
            parameters += _parameters(name, arguments.get(whole[1]), is_encoded=True)
        else:
            used.update(_PLACE.findall(parameter))
            parameters.append(
                _PLACE.sub(lambda m: _percent_encoded(_text(m[1], arguments.get(m[1]))), parameter)
            )
    return origin[0] + filled + ("?" + "&".join(parameters) if parameters else "")


def _segment(name: str, value: Any) -> str:
    """An argument as a part of one path segment."""
    text = _text(name, value)
    # Encoded, "a/../b" is one segment; but some servers decode it before they look for its dots.
    if not text or _CONTROL.search(text) or any(map(_DOTS.fullmatch, re.split(r"[/\\]", text))):
        raise Refused(f"The argument {name} cannot stand in the path of the URL.")
    return _percent_encoded(text)


def _parameters(name: str, value: Any, *, is_encoded: bool = False) -> list[str]:
    """The query parameters of an argument: none for null, one for each item of an array."""
    key = name if is_encoded else _percent_encoded(name)
    if value is None:
        return []
    items = value if isinstance(value, list) else [value]
    return [f"{key}={_percent_encoded(i if isinstance(i, str) else dumps(i))}" for i in items]


def _text(name: str, value: Any) -> str:
    """A single value as text."""
    if value is None:
        raise Refused(f"The argument {name} is missing.")
    if isinstance(value, list | dict):
        raise Refused(f"The argument {name} must be a single value.")
    return value if isinstance(value, str) else dumps(value)


def _fill_value(template: Any, arguments: Mapping[str, Any]) -> Any:
    """Put arguments into the strings of a JSON value.

    A string that is a place as a whole becomes the argument with its type. A member whose argument
    was not given is left out.
    """
    if isinstance(template, str):
        whole = _PLACE.fullmatch(template)
        if whole is not None:
            return arguments.get(whole[1])
        return _PLACE.sub(lambda m: _text(m[1], arguments.get(m[1])), template)
    if isinstance(template, list):
        return [_fill_value(item, arguments) for item in template]
    if isinstance(template, dict):
        return {
            key: _fill_value(item, arguments)
            for key, item in template.items()
            if not (isinstance(item, str) and _is_absent(item, arguments))
        }
    return template


def _is_absent(template: str, arguments: Mapping[str, Any]) -> bool:
    whole = _PLACE.fullmatch(template)
    return whole is not None and whole[1] not in arguments


def _percent_encoded(text: str) -> str:
    """Encode all but the unreserved characters of RFC 3986, 2.3."""
    return "".join(chr(b) if b in _UNRESERVED else f"%{b:02X}" for b in _encoded(text))


def _encoded(text: str) -> bytes:
    """UTF-8; half of a surrogate pair, which JSON can carry, becomes a question mark."""
    return text.encode("utf-8", "replace")
