"""One HTTP exchange as values: what goes out, what comes back, how long it may take."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """A request that is ready for the wire.

    Args:
        method: ``GET`` or ``POST``.
        url: absolute URL, ``http`` or ``https``.
        headers: pairs in the order in which they are sent; ``host`` and ``content-length`` are
            added by the client.
        body: the bytes to send.
    """

    method: str
    url: str
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""


@dataclass(frozen=True, slots=True)
class HttpResponse:
    """A complete response.

    Args:
        status: HTTP status code.
        headers: names in lower case; the values of a repeated name are joined with ``, ``.
        body: the whole body, already without transfer coding.
    """

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""


@dataclass(frozen=True, slots=True)
class Limits:
    """What one exchange may take.

    Args:
        connect_seconds: name look-up, TCP and TLS together.
        total_seconds: the whole exchange, from the first look-up to the last byte.
        max_body_bytes: a longer response is refused while it arrives.
    """

    connect_seconds: float = 10.0
    total_seconds: float = 600.0
    max_body_bytes: int = 64 * 1024 * 1024
