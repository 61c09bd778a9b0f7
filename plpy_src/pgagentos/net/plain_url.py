"""URLs that can be read in one way only.

The host of a URL is compared with an allow-list, then looked up and connected to. Where two readers
disagree about it, the one that compares sees another host than the one that connects: a user name
before an ``@``, a backslash, ``127.1``, ``0x7f.1``, full-width digits, ``%2e``, a zone, a dot at
the end. None of these is needed to write an address, so none of them is read here.
"""

from __future__ import annotations

import re
import socket
from typing import NamedTuple

from pgagentos.errors import InvalidInput
from pgagentos.net.url import Origin, parse

#: Longest URL in characters; more than servers take.
MAX_URL = 8000

_URL = re.compile(r"(https?)://(\[[0-9a-f:]+\]|[a-z0-9._-]+)(?::([1-9][0-9]{0,4}))?([/?].*)?", re.I)
# RFC 3986, 2: reserved, unreserved and percent-encoded characters, and no others.
_REST = re.compile(r"(?:[A-Za-z0-9._~:/?@!$&'()*+,;=-]|%[0-9A-Fa-f]{2})*")
_LABEL = r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
_NAME = re.compile(rf"(?:{_LABEL}\.)*{_LABEL}")
# "Ends in a number" (WHATWG URL, 3.5): some readers take such a host for an IPv4 address.
_NUMBER = re.compile(r"(?:.*\.)?(?:[0-9]+|0x[0-9a-f]*)")
_MAPPED = bytes(10) + b"\xff\xff"


class PlainUrl(NamedTuple):
    """A URL with one reading.

    Args:
        url: absolute and without a fragment; scheme and host in lower case, an IPv6 address in the
            form of RFC 5952.
        origin: scheme, host (without brackets) and port.
    """

    url: str
    origin: Origin


def parse_plain(url: str) -> PlainUrl:
    """Take a URL apart, or refuse it.

    Raises:
        InvalidInput: not an absolute http(s) URL, or one that can be read in several ways. The
            message does not show it.
    """
    if len(url) > MAX_URL:
        raise InvalidInput("the URL is too long")
    parts = _URL.fullmatch(url) if url.isascii() else None
    if parts is None:
        raise InvalidInput(
            "the URL is not a plain one",
            hint="Write https://host/path with a host name in ASCII; no user name, no password.",
        )
    rest, _, fragment = (parts[4] or "").partition("#")
    if _REST.fullmatch(rest) is None or _REST.fullmatch(fragment) is None:
        raise InvalidInput("the path of the URL has a character that must be percent-encoded")
    host = plain_host(parts[2])
    port = f":{parts[3]}" if parts[3] else ""
    text = f"{parts[1].lower()}://{f'[{host}]' if ':' in host else host}{port}{rest}"
    return PlainUrl(text, parse(text).origin)


def plain_host(host: str) -> str:
    """Bring a host into the form in which it is compared.

    Args:
        host: name, IPv4 address, or IPv6 address in brackets.

    Returns:
        name or address in lower case, without brackets.

    Raises:
        InvalidInput: neither a name nor an address in its usual form.
    """
    text = host.lower()
    if text.startswith("[") and text.endswith("]"):
        packed = _packed(socket.AF_INET6, text[1:-1])
        # An IPv4 address has a form of its own.
        if packed is not None and not packed.startswith(_MAPPED):
            return socket.inet_ntop(socket.AF_INET6, packed)
    elif _NUMBER.fullmatch(text):
        if _packed(socket.AF_INET, text) is not None:
            return text
    elif len(text) <= 253 and _NAME.fullmatch(text):
        return text
    raise InvalidInput(
        "the host of the URL is not written in its usual form",
        hint="Write a name, four decimal numbers for IPv4, or an IPv6 address in brackets.",
    )


def _packed(family: int, text: str) -> bytes | None:
    """The bytes of an address; None for what inet_pton, the strict reader, does not take."""
    try:
        return socket.inet_pton(family, text)
    except (OSError, ValueError):
        return None
