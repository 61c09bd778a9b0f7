"""The official SDKs on our sockets: an ``httpx2`` client that obeys interrupts and a deadline.

``openai`` (3.x) and ``anthropic`` (2.x) take it as their ``http_client``, unmodified. Give them
``max_retries=0``: they would sleep between attempts where no cancel reaches them.

Importing this module is cheap; :func:`make_http_client` imports httpx2.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from pgagentos.net.stream import Judge
from pgagentos.net.wait import Interrupts

if TYPE_CHECKING:
    import ssl

    import httpx2


class Budget:
    """The time that one call may take in all, however its bytes drip.

    The SDKs' own ``timeout`` bounds each read only. The caller starts the budget before each call;
    until then there is no bound but that one.
    """

    __slots__ = ("until",)

    def __init__(self) -> None:
        #: Moment on the monotonic clock.
        self.until = float("inf")

    def start(self, seconds: float) -> None:
        """Give the calls from now on *seconds* in all."""
        self.until = time.monotonic() + seconds


def make_http_client(
    interrupts: Interrupts,
    budget: Budget | None = None,
    *,
    judge: Judge | None = None,
    tls_context: ssl.SSLContext | None = None,
) -> httpx2.Client:
    """Build the client that is handed to an SDK as ``http_client``.

    Args:
        interrupts: looked at in every wait; :class:`~pgagentos.net.wait.Interrupted` passes through
            httpx2 and the SDKs, because it is no :class:`Exception`.
        budget: the total time of a call; when it is over the SDK raises its ``APITimeoutError``.
        judge: decides which addresses may be connected to.
        tls_context: trust for https; None uses the system's authorities.

    Returns:
        one client for many calls and both SDKs; connections stay open for 120 s between calls. It
        reads no proxy from the environment and follows no redirect.
    """
    import httpx2

    from pgagentos.net.sdk_backend import Transport

    return httpx2.Client(
        transport=Transport(interrupts, budget or Budget(), judge, tls_context),
        timeout=httpx2.Timeout(600.0, connect=10.0),
        trust_env=False,
        follow_redirects=False,
    )
