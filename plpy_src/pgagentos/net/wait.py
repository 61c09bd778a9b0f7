"""Waiting, kept apart from what is waited for.

Code that has to wait for a socket or for a moment is a generator: it yields a :class:`Wait` and is
sent True when the socket became ready, False when the time was over. One such generator can be
driven alone (:func:`run`), or hundreds of them by one loop (:func:`run_all`), by the same code and
without a thread. Between two slices of a wait the driver looks at PostgreSQL's interrupt flags, so
a cancel lands within about one slice. (The shape is psycopg 3's; asyncio costs a backend 20 ms more
CPU at the first turn and gives nothing that is needed here.)
"""

from __future__ import annotations

import select
import time
from collections.abc import Callable, Generator
from typing import NamedTuple, TypeVar

T = TypeVar("T")

#: Longest time in seconds between two looks at the interrupt flags.
SLICE = 0.02

READ = select.POLLIN
WRITE = select.POLLOUT


class Wait(NamedTuple):
    """What a generator waits for.

    Args:
        fd: file descriptor, or -1 to wait for the moment only.
        events: ``READ`` or ``WRITE`` (or both, or-ed).
        until: moment on :func:`time.monotonic`'s clock at which the wait is over in any case.
    """

    fd: int
    events: int
    until: float


Steps = Generator[Wait, bool, T]


class Interrupted(BaseException):
    """The session was told to stop while it waited.

    Not an :class:`Exception`, so that no library's ``except Exception`` swallows a cancel. The
    gateway turns it into PostgreSQL's own cancel once all frames of libraries are left.
    """


def sleep(seconds: float) -> Steps[None]:
    """Wait for a moment that lies *seconds* ahead."""
    yield Wait(-1, 0, time.monotonic() + seconds)
