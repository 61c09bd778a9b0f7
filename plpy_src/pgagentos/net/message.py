"""One HTTP exchange as values: what goes out, what comes back, how long it may take.

Values of the path of every turn are named tuples: a dataclass costs each new database session eight
times as much to define, and its module brings ``inspect`` along.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple


class HttpRequest(NamedTuple):
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

    def __repr__(self) -> str:
        """Leave headers, query and body out: they hold keys and what people said."""
        return f"HttpRequest({self.method!r}, {self.url.partition('?')[0]!r})"


class HttpResponse(NamedTuple):
    """A complete response.

    Args:
        status: HTTP status code.
        headers: names in lower case; the values of a repeated name are joined with ``, ``.
        body: the whole body, already without transfer coding.
    """

    status: int
    headers: Mapping[str, str] = MappingProxyType({})
    body: bytes = b""


class Limits(NamedTuple):
    """What one exchange may take.

    Args:
        connect_seconds: name look-up, TCP and TLS together.
        total_seconds: the whole exchange, from the first look-up to the last byte.
        max_body_bytes: a longer response is refused while it arrives.
    """

    connect_seconds: float = 10.0
    total_seconds: float = 600.0
    max_body_bytes: int = 64 * 1024 * 1024
