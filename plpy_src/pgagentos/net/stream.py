"""A TCP connection whose every wait is a :class:`~pgagentos.net.wait.Wait`."""

from __future__ import annotations

import errno
import os
import select
import socket
import time
from collections.abc import Callable

from pgagentos.net.resolver import Address, resolve
from pgagentos.net.wait import READ, WRITE, Steps, Wait

#: Looks at the addresses that a host name led to, before anything connects to one of them. It gets
#: host and addresses, returns those that may be used, and may raise.
Judge = Callable[[str, list[Address]], list[Address]]


class Stream:
    """A connected non-blocking socket.

    Args:
        sock: connected and non-blocking; the stream owns it.
    """

    __slots__ = ("fd", "sock")

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.fd = sock.fileno()

    def send(self, data: bytes, until: float) -> Steps[None]:
        """Send all of *data*.

        Raises:
            TimeoutError: *until* came first.
            OSError: the connection broke.
        """
        rest: bytes | memoryview = data
        while True:
            try:
                sent = self.sock.send(rest)
            except BlockingIOError:
                sent = 0
            if sent == len(rest):
                return
            rest = memoryview(rest)[sent:]
            if not (yield Wait(self.fd, WRITE, until)) or time.monotonic() >= until:
                raise TimeoutError

    def receive(self, size: int, until: float) -> Steps[bytes]:
        """Receive what is there, at most *size* bytes; empty at the end of the stream.

        It waits before it reads: right after a request nothing can be there yet, and a peer that
        sends without end passes the driver, and its look at the interrupt flags, at every read.

        Raises:
            TimeoutError: *until* came first.
            OSError: the connection broke.
        """
        while True:
            if not (yield Wait(self.fd, READ, until)):
                raise TimeoutError
            try:
                return self.sock.recv(size)
            except BlockingIOError:
                continue

    def is_stale(self) -> bool:
        """True when an idle connection was closed by the peer, or has bytes nobody asked for."""
        poller = select.poll()
        poller.register(self.fd, READ)
        return bool(poller.poll(0))

    def close(self) -> None:
        """Close the socket; a second call does nothing."""
        self.sock.close()


def open_stream(host: str, port: int, until: float, judge: Judge | None = None) -> Steps[Stream]:
    """Look up a host and connect to the first of its addresses that answers.

    Args:
        host: name or literal address.
        port: TCP port.
        until: moment on the monotonic clock at which to give up.
        judge: decides which addresses may be connected to.

    Raises:
        TimeoutError: *until* came first.
        OSError: the name has no address (``socket.gaierror``), or no address accepted.
    """
    addresses = yield from resolve(host, port, until)
    if judge is not None:
        addresses = judge(host, addresses)
    return Stream((yield from _connect_any(addresses, until)))


def _connect_any(addresses: list[Address], until: float) -> Steps[socket.socket]:
    """Try one address after the other; each gets an equal share of the time that is left."""
    failure: OSError = OSError(errno.EADDRNOTAVAIL, "no address may be connected to")
    for number, address in enumerate(addresses):
        now = time.monotonic()
        try:
            return (yield from _connect(address, now + (until - now) / (len(addresses) - number)))
        except OSError as error:
            failure = error
    raise failure


def _connect(address: Address, until: float) -> Steps[socket.socket]:
    """Connect to one address."""
    family, sockaddr = address
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        # A request goes out in one piece; Nagle's algorithm would only hold its tail back.
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        code = sock.connect_ex(sockaddr)
        if code == errno.EINPROGRESS:
            if not (yield Wait(sock.fileno(), WRITE, until)):
                raise TimeoutError
            code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if code:
            raise OSError(code, os.strerror(code))
    except BaseException:
        sock.close()
        raise
    return sock
