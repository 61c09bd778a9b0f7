"""The HTTP client: one exchange over a connection that is kept alive for the next."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from pgagentos.errors import ProviderError
from pgagentos.net.http1 import ProtocolError, ResponseReader, serialize
from pgagentos.net.message import HttpRequest, HttpResponse, Limits
from pgagentos.net.stream import Judge, Stream, open_stream
from pgagentos.net.url import Origin, parse
from pgagentos.net.wait import Steps

if TYPE_CHECKING:
    import ssl

_RECEIVE_BYTES = 65536


class Client:
    """Exchanges requests for responses; keeps connections between them.

    One per process. Its exchanges may run interleaved (:func:`pgagentos.net.wait.run_all`). It
    follows no redirect, uses no proxy of the environment and asks for no compression.

    Args:
        judge: decides which of the addresses found for a host may be connected to; None allows all.
        tls_context: trust for https; None uses the system's authorities.
        max_idle: how many idle connections are kept, over all origins.
        idle_seconds: an idle connection older than this is not used again.
    """

    def __init__(
        self,
        *,
        judge: Judge | None = None,
        tls_context: ssl.SSLContext | None = None,
        max_idle: int = 256,
        idle_seconds: float = 120.0,
    ) -> None:
        self._judge = judge
        self._tls_context = tls_context
        self._max_idle = max_idle
        self._idle_seconds = idle_seconds
        #: origin -> (stream, moment at which it became idle), the freshest last
        self._idle: dict[Origin, list[tuple[Stream, float]]] = {}
        self._idle_count = 0

    def exchange(self, request: HttpRequest, limits: Limits) -> Steps[HttpResponse]:
        """Send one request and return the complete response, whatever its status.

        A kept connection that the peer has closed meanwhile is replaced once by a new one, if
        nothing of the response had arrived.

        Args:
            request: what to send.
            limits: how long it may take and how large the response may be.

        Raises:
            InvalidInput: the URL or a header cannot be sent.
            ProviderError: of kind ``timeout``, ``connection`` or ``malformed_response``; its
                message names host and port, never a header, a query or a body.
        """
        until = time.monotonic() + limits.total_seconds
        target = parse(request.url)
        origin = target.origin
        data = serialize(request, target)
        stream = self._take(origin)
        if stream is not None:
            response = yield from self._transfer(stream, origin, data, limits, until, reused=True)
            if response is not None:
                return response
        stream = yield from self._open(origin, limits, until)
        response = yield from self._transfer(stream, origin, data, limits, until, reused=False)
        assert response is not None, "only a reused connection may end without a response"
        return response

    def close(self) -> None:
        """Close all idle connections."""
        idle, self._idle, self._idle_count = self._idle, {}, 0
        for kept in idle.values():
            for stream, _ in kept:
                stream.close()

    def _open(self, origin: Origin, limits: Limits, until: float) -> Steps[Stream]:
        """A new connection, ready to send."""
        until = min(until, time.monotonic() + limits.connect_seconds)
        try:
            if origin.scheme == "http":
                return (yield from open_stream(origin.host, origin.port, until, self._judge))
            # ssl costs 6 ms and 1.3 MB; a local model over http never pays it.
            from pgagentos.net import tls

            context = self._tls_context or tls.default_context()
            plain = yield from open_stream(origin.host, origin.port, until, self._judge)
            return (yield from tls.start_tls(plain, origin.host, until, context))
        except TimeoutError:
            raise ProviderError(
                "timeout",
                f"no connection to {origin} in time",
                hint="Check the address and the way to it: name service, firewall.",
            ) from None
        except OSError as error:
            raise _connection_error(origin, error) from None

    def _transfer(
        self,
        stream: Stream,
        origin: Origin,
        data: bytes,
        limits: Limits,
        until: float,
        *,
        reused: bool,
    ) -> Steps[HttpResponse | None]:
        """Send and receive on one connection; None when a reused one turned out to be dead."""
        reader = ResponseReader(limits.max_body_bytes)
        is_kept = False
        try:
            broken: OSError | None = None
            try:
                yield from stream.send(data, until)
            except ConnectionError as error:
                broken = error  # an early answer, as 413 to a long body, may have arrived still
            while not reader.is_complete:
                piece = yield from stream.receive(_RECEIVE_BYTES, until)
                if not piece:
                    reader.end()
                    break
                reader.feed(piece)
                if not reader.is_complete and time.monotonic() >= until:
                    raise TimeoutError
            is_kept = reader.is_kept_alive and broken is None
        except TimeoutError:
            what = "did not answer" if not reader.received else "did not finish its answer"
            raise ProviderError(
                "timeout", f"{origin} {what} within {limits.total_seconds:g} s"
            ) from None
        except (ConnectionError, EOFError) as error:
            if reused and not reader.received:
                return None
            where = "in the middle of its answer" if reader.received else "without an answer"
            how = "closed" if isinstance(error, EOFError) else "broke"
            raise ProviderError("connection", f"{origin} {how} the connection {where}") from None
        except OSError as error:
            raise _connection_error(origin, error) from None
        except ProtocolError as error:
            raise ProviderError("malformed_response", f"{origin} {error}") from None
        finally:
            reader.close()
            if is_kept:
                self._keep(origin, stream)
            else:
                stream.close()
        return reader.response()

    def _take(self, origin: Origin) -> Stream | None:
        """The freshest usable idle connection to the origin."""
        kept = self._idle.get(origin)
        oldest = time.monotonic() - self._idle_seconds
        while kept:
            stream, since = kept.pop()
            self._idle_count -= 1
            if since >= oldest and not stream.is_stale():
                return stream
            stream.close()
        return None

    def _keep(self, origin: Origin, stream: Stream) -> None:
        """Put a connection back; too old ones of all origins go."""
        now = time.monotonic()
        if self._idle_count >= self._max_idle:
            self._drop_older_than(now - self._idle_seconds)
        if self._idle_count >= self._max_idle:
            stream.close()
            return
        self._idle.setdefault(origin, []).append((stream, now))
        self._idle_count += 1

    def _drop_older_than(self, moment: float) -> None:
        """Close idle connections that have not been used since *moment*."""
        for origin, kept in list(self._idle.items()):
            for stream, since in kept:
                if since < moment:
                    stream.close()
            fresh = [pair for pair in kept if pair[1] >= moment]
            self._idle_count -= len(kept) - len(fresh)
            if fresh:
                self._idle[origin] = fresh
            else:
                del self._idle[origin]


def _connection_error(origin: Origin, error: OSError) -> ProviderError:
    """What went wrong below HTTP, in the system's or OpenSSL's own words (they hold no secret)."""
    reason = getattr(error, "verify_message", None) or getattr(error, "reason", None)
    is_tls = reason is not None
    text = reason or error.strerror or type(error).__name__
    return ProviderError(
        "connection",
        f"no TLS with {origin}: {text}" if is_tls else f"no connection to {origin}: {text}",
        hint=(
            "If the service has a private authority, name its file in SSL_CERT_FILE in the "
            "server's environment."
            if getattr(error, "verify_message", None)
            else None
        ),
    )
