"""From a host name to addresses, without a thread and without blocking.

``getaddrinfo`` cannot be interrupted: a name server that does not answer holds it for up to half a
minute. So the question is put to glibc's name service in a child process, ``getent ahosts``, which
uses the whole of ``nsswitch.conf`` (hosts file, DNS, LDAP, mDNS) and can be killed at any time.
"""

from __future__ import annotations

import os
import socket
import time
from contextlib import suppress
from typing import Any

from pgagentos.errors import InstallationError
from pgagentos.net.url import ascii_name
from pgagentos.net.wait import READ, Steps, Wait

#: (address family, socket address), as :meth:`socket.socket.connect` takes it.
Address = tuple[int, tuple[Any, ...]]

#: Debian package libc-bin; other distributions have it at the same place.
GETENT = "/usr/bin/getent"

#: Seconds for which an answer is used again, and how many names are kept.
CACHE_SECONDS = 60.0
CACHE_NAMES = 256

_MAX_ANSWER_BYTES = 65536
# What glibc's resolver reads from the environment (resolv.conf(5), hostname(7)). Nothing else goes
# to the child: the server's environment may hold keys.
_RESOLVER_ENVIRONMENT = ("RES_OPTIONS", "LOCALDOMAIN", "HOSTALIASES")

_cache: dict[str, tuple[float, list[str]]] = {}


def resolve(host: str, port: int, until: float) -> Steps[list[Address]]:
    """Find the addresses of a host.

    Args:
        host: name or literal address (IPv4, or IPv6 without brackets).
        port: TCP port that the socket addresses get.
        until: moment on the monotonic clock at which to give up.

    Returns:
        at least one address, in the order in which they should be tried.

    Raises:
        InvalidInput: not a host name.
        socket.gaierror: the name has no address.
        TimeoutError: no answer in time.
        InstallationError: there is no ``getent``.
    """
    if literal := _literal(host, port):
        return literal
    name = ascii_name(host)
    if name in ("localhost", "localhost."):
        # RFC 6761, 6.3: always loopback. IPv4 first, because most local model servers listen there.
        texts = ["127.0.0.1", "::1"]
    else:
        texts = _remembered(name)
        if not texts:
            texts = yield from ask_name_service(name, until)
            _remember(name, texts)
    return [address for text in texts for address in _literal(text, port)]


def ask_name_service(name: str, until: float) -> Steps[list[str]]:
    """Ask glibc's name service in a child process that is gone when this returns or is closed.

    Args:
        name: a valid ASCII host name.
        until: moment on the monotonic clock at which to give up.

    Returns:
        addresses as text, in the order of RFC 6724.
    """
    read_end, write_end = os.pipe()
    child = 0
    try:
        try:
            child = _spawn(name, write_end)
        finally:
            os.close(write_end)
        os.set_blocking(read_end, False)
        answer = b""
        while len(answer) < _MAX_ANSWER_BYTES:
            if not (yield Wait(read_end, READ, until)):
                raise TimeoutError(f"host name {name} was not resolved in time")
            piece = os.read(read_end, _MAX_ANSWER_BYTES)
            if not piece:
                break
            answer += piece
    finally:
        os.close(read_end)
        if child:
            _end(child)
    # "93.184.215.14   STREAM example.com", then the same with DGRAM and RAW.
    lines = (line.split() for line in answer.decode("ascii", "replace").splitlines())
    texts = [words[0] for words in lines if len(words) > 1 and words[1] == "STREAM"]
    if not texts:
        raise socket.gaierror(socket.EAI_NONAME, f"host name {name} could not be resolved")
    return texts


def _literal(host: str, port: int) -> list[Address]:
    """The socket address of a literal address; empty for a name."""
    try:
        # As bytes: for a str Python loads its IDNA codec first, 1 ms and 0.3 MB.
        found = socket.getaddrinfo(
            host.encode("ascii"),
            port,
            type=socket.SOCK_STREAM,
            flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
        )
    except (socket.gaierror, UnicodeEncodeError):
        return []
    return [(family, sockaddr) for family, _, _, _, sockaddr in found]


def _remembered(name: str) -> list[str]:
    """A recent answer for this name; empty when there is none."""
    expires, texts = _cache.get(name, (0.0, []))
    return texts if expires > time.monotonic() else []


def _remember(name: str, texts: list[str]) -> None:
    """Keep an answer; the oldest goes when there are too many."""
    _cache.pop(name, None)
    if len(_cache) >= CACHE_NAMES:
        del _cache[next(iter(_cache))]
    _cache[name] = (time.monotonic() + CACHE_SECONDS, texts)


def _spawn(name: str, output: int) -> int:
    """Start ``getent`` with *output* as its standard output; return its process id.

    ``posix_spawn`` rather than the module ``subprocess``, which costs 3 ms and 0.6 MB to import.
    """
    import signal

    actions: list[tuple[Any, ...]] = [
        (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
        (os.POSIX_SPAWN_DUP2, output, 1),
        (os.POSIX_SPAWN_OPEN, 2, os.devnull, os.O_WRONLY, 0),
    ]
    # A backend's client socket is not close-on-exec; a child must not keep it open.
    with suppress(FileNotFoundError):
        descriptors = map(int, os.listdir("/proc/self/fd"))
        actions += [(os.POSIX_SPAWN_CLOSE, fd) for fd in descriptors if fd > 2]
    environment = {key: os.environ[key] for key in _RESOLVER_ENVIRONMENT if key in os.environ}
    try:
        return os.posix_spawn(
            GETENT,
            ["getent", "ahosts", name],
            {"LC_ALL": "C", **environment},
            file_actions=actions,
            # Out of the backend's process group: a cancel must end it through _end() only, which
            # also collects it. Signals that the server ignores are set back to their defaults.
            setsid=True,
            setsigmask=[],
            setsigdef=[signal.SIGHUP, signal.SIGINT, signal.SIGPIPE, signal.SIGTERM],
        )
    except OSError as error:
        raise InstallationError(
            f"host names cannot be resolved: {GETENT} cannot be run ({error.strerror})",
            hint="Install the package that has getent (Debian: libc-bin).",
        ) from None


def _end(child: int) -> None:
    """Kill the child with its whole session, and collect it."""
    # It cannot be another process: until it is collected its number is not given away.
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(child, 9)
    with suppress(ChildProcessError):
        os.waitpid(child, 0)
