"""The transport behind :mod:`pgagentos.net.sdk_transport`; importing it imports httpx2 (50 ms).

httpx2 and httpcore2 are used through their public interfaces only: a ``BaseTransport`` around a
``ConnectionPool`` whose ``network_backend`` is ours.
"""

from __future__ import annotations

import ssl
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import httpcore2
import httpx2

from pgagentos.net import tls
from pgagentos.net.sdk_transport import Budget
from pgagentos.net.stream import Judge, Stream, open_stream
from pgagentos.net.wait import Interrupts, Steps, run, sleep

T = TypeVar("T")

#: httpcore2's errors and httpx2's of the same name, the special ones before the general ones.
_ERRORS: tuple[tuple[type[Exception], type[httpx2.HTTPError]], ...] = (
    (httpcore2.ConnectTimeout, httpx2.ConnectTimeout),
    (httpcore2.ReadTimeout, httpx2.ReadTimeout),
    (httpcore2.WriteTimeout, httpx2.WriteTimeout),
    (httpcore2.PoolTimeout, httpx2.PoolTimeout),
    (httpcore2.ConnectError, httpx2.ConnectError),
    (httpcore2.ReadError, httpx2.ReadError),
    (httpcore2.WriteError, httpx2.WriteError),
    (httpcore2.UnsupportedProtocol, httpx2.UnsupportedProtocol),
    (httpcore2.LocalProtocolError, httpx2.LocalProtocolError),
    (httpcore2.RemoteProtocolError, httpx2.RemoteProtocolError),
)


class _Driver:
    """Runs the steps of a stream, bounded by httpx2's timeout and by the call's budget."""

    __slots__ = ("_budget", "_interrupts")

    def __init__(self, interrupts: Interrupts, budget: Budget) -> None:
        self._interrupts = interrupts
        self._budget = budget

    def until(self, timeout: float | None) -> float:
        """The moment at which a wait of at most *timeout* seconds is over.

        Raises:
            TimeoutError: the budget is spent; bytes that keep dripping would hide it otherwise.
        """
        now = time.monotonic()
        if now >= self._budget.until:
            raise TimeoutError("the time for this call is over")
        return min(self._budget.until, float("inf") if timeout is None else now + timeout)

    def run(self, steps: Steps[T]) -> T:
        return run(steps, self._interrupts)


class _NetworkStream(httpcore2.NetworkStream):
    """One of our streams, in the shape that httpcore2 expects."""

    def __init__(self, stream: Stream, driver: _Driver) -> None:
        self._stream = stream
        self._driver = driver

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        with _as_httpcore(httpcore2.ReadTimeout, httpcore2.ReadError):
            until = self._driver.until(timeout)
            return self._driver.run(self._stream.receive(max_bytes, until))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        with _as_httpcore(httpcore2.WriteTimeout, httpcore2.WriteError):
            until = self._driver.until(timeout)
            self._driver.run(self._stream.send(buffer, until))

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> httpcore2.NetworkStream:
        with _as_httpcore(httpcore2.ConnectTimeout, httpcore2.ConnectError):
            try:
                until = self._driver.until(timeout)
                steps = tls.start_tls(self._stream, server_hostname or "", until, ssl_context)
                return _NetworkStream(self._driver.run(steps), self._driver)
            except BaseException:
                self.close()
                raise

    def get_extra_info(self, info: str) -> Any:
        sock = self._stream.sock
        if info == "is_readable":
            return self._stream.is_stale()
        if info == "socket":
            return sock
        if info == "client_addr":
            return sock.getsockname()
        if info == "server_addr":
            return sock.getpeername()
        if info == "ssl_object" and isinstance(sock, ssl.SSLSocket):
            return sock  # has the same questions as an SSLObject: the chosen protocol, the peer
        return None


class _NetworkBackend(httpcore2.NetworkBackend):
    """Opens our streams for httpcore2."""

    def __init__(self, driver: _Driver, judge: Judge | None) -> None:
        self._driver = driver
        self._judge = judge

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore2.SOCKET_OPTION] | None = None,
    ) -> httpcore2.NetworkStream:
        with _as_httpcore(httpcore2.ConnectTimeout, httpcore2.ConnectError):
            until = self._driver.until(timeout)
            stream = self._driver.run(open_stream(host, port, until, self._judge))
            return _NetworkStream(stream, self._driver)

    def sleep(self, seconds: float) -> None:
        self._driver.run(sleep(seconds))


class _ResponseBody(httpx2.SyncByteStream):
    """The body while it arrives; errors on the way are httpx2's."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def __iter__(self) -> Iterator[bytes]:
        with _as_httpx():
            yield from self._stream

    def close(self) -> None:
        self._stream.close()


class Transport(httpx2.BaseTransport):
    """httpcore2's pool over our sockets; see :func:`~pgagentos.net.sdk_transport.make_http_client`.

    The arguments are that function's.
    """

    def __init__(
        self,
        interrupts: Interrupts,
        budget: Budget,
        judge: Judge | None,
        tls_context: ssl.SSLContext | None,
    ) -> None:
        self._pool = httpcore2.ConnectionPool(
            ssl_context=tls_context or tls.default_context(),
            network_backend=_NetworkBackend(_Driver(interrupts, budget), judge),
            max_connections=16,
            keepalive_expiry=120.0,
        )

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        assert isinstance(request.stream, httpx2.SyncByteStream), "the SDK's client is synchronous"
        url = request.url
        with _as_httpx():
            response = self._pool.handle_request(
                httpcore2.Request(
                    method=request.method,
                    url=httpcore2.URL(
                        scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path
                    ),
                    headers=request.headers.raw,
                    content=request.stream,
                    extensions=request.extensions,
                )
            )
        return httpx2.Response(
            response.status,
            headers=response.headers,
            stream=_ResponseBody(response.stream),
            extensions=response.extensions,
        )

    def close(self) -> None:
        self._pool.close()


@contextmanager
def _as_httpcore(timeout: type[Exception], broken: type[Exception]) -> Iterator[None]:
    """Turn the system's errors into httpcore2's."""
    try:
        yield
    except TimeoutError as error:
        raise timeout(str(error)) from error
    except OSError as error:
        raise broken(str(error)) from error


@contextmanager
def _as_httpx() -> Iterator[None]:
    """Turn httpcore2's errors into httpx2's."""
    try:
        yield
    except Exception as error:
        for theirs, ours in _ERRORS:
            if isinstance(error, theirs):
                raise ours(str(error)) from error
        raise
