"""TLS on top of a connected stream. Importing this module imports ``ssl``: do it when needed."""

from __future__ import annotations

import errno
import ssl
from functools import cache

from pgagentos.net.stream import Stream
from pgagentos.net.wait import READ, WRITE, Steps, Wait


@cache
def default_context() -> ssl.SSLContext:
    """The process's context: the system's authorities, host names verified, TLS 1.2 or later.

    ``SSL_CERT_FILE`` and ``SSL_CERT_DIR`` in the server's environment replace the authorities
    (OpenSSL, ``SSL_CTX_set_default_verify_paths``). Loading them takes 20 ms, hence once.
    """
    context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    # A connection that ends without TLS's own farewell may have been cut by someone on the way; a
    # body that ends with the connection would then look complete (RFC 9112, 9.8). The flag came
    # with OpenSSL 3.
    context.options &= ~getattr(ssl, "OP_IGNORE_UNEXPECTED_EOF", 0)
    return context


class TlsStream(Stream):
    """A TLS connection after, or during, its handshake."""

    __slots__ = ("_tls",)

    def __init__(self, sock: ssl.SSLSocket) -> None:
        super().__init__(sock)
        self._tls = sock

    def send(self, data: bytes, until: float) -> Steps[None]:
        """Send all of *data*; see :meth:`Stream.send`."""
        rest: bytes | memoryview = data
        while True:
            try:
                # After a wait OpenSSL wants the same bytes again. They may lie elsewhere: Python
                # sets SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER (Modules/_ssl.c).
                sent, events = self._tls.send(rest), WRITE
            except ssl.SSLWantWriteError:
                sent, events = 0, WRITE
            except ssl.SSLWantReadError:
                sent, events = 0, READ
            except ssl.SSLError as error:
                raise _as_plain(error) from None
            if sent == len(rest):
                return
            rest = memoryview(rest)[sent:]
            if not (yield Wait(self.fd, events, until)):
                raise TimeoutError

    def receive(self, size: int, until: float) -> Steps[bytes]:
        """Receive what is there, at most *size* bytes; see :meth:`Stream.receive`."""
        events = READ
        while True:
            # Bytes that OpenSSL has decrypted already do not make the descriptor ready.
            if not self._tls.pending() and not (yield Wait(self.fd, events, until)):
                raise TimeoutError
            try:
                return self._tls.recv(size)
            except ssl.SSLWantReadError:
                events = READ
            except ssl.SSLWantWriteError:
                events = WRITE
            except ssl.SSLZeroReturnError:
                return b""
            except ssl.SSLError as error:
                raise _as_plain(error) from None


def start_tls(stream: Stream, host: str, until: float, context: ssl.SSLContext) -> Steps[TlsStream]:
    """Shake hands over a connected stream.

    Args:
        stream: taken over; closed when the handshake fails.
        host: name (sent as SNI) or literal address that the certificate must be for.
        until: moment on the monotonic clock at which to give up.
        context: trust and versions.

    Raises:
        TimeoutError: *until* came first.
        ssl.SSLError: no agreement, or the certificate is not trusted.
        OSError: the connection broke.
    """
    try:
        sock = context.wrap_socket(
            stream.sock,
            server_hostname=host.rstrip("."),
            do_handshake_on_connect=False,
            suppress_ragged_eofs=False,
        )
    except BaseException:
        stream.close()
        raise
    try:
        while True:
            try:
                sock.do_handshake()
            except ssl.SSLWantReadError:
                events = READ
            except ssl.SSLWantWriteError:
                events = WRITE
            except ssl.SSLError as error:
                raise _as_plain(error) from None
            else:
                return TlsStream(sock)
            if not (yield Wait(sock.fileno(), events, until)):
                raise TimeoutError
    except BaseException:
        sock.close()
        raise


def _as_plain(error: ssl.SSLError) -> OSError:
    """A lost connection looks as it does without TLS; any other error stays what it is."""
    # Older Pythons with OpenSSL 3 report the end of the connection as a plain SSLError.
    if (
        isinstance(error, (ssl.SSLEOFError, ssl.SSLZeroReturnError))
        or error.reason == "UNEXPECTED_EOF_WHILE_READING"
    ):
        return ConnectionResetError(errno.ECONNRESET, "the peer closed the connection")
    return error
