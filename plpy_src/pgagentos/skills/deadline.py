"""A deadline for what runs in this backend: POSIX timers that send the backend the signal of a
cancel.

Nothing else works here. A Python thread cannot run while the server executes a statement, because
PL/Python holds the interpreter's lock; ``statement_timeout`` set inside a function is not looked at
until the next statement of the client. See timer_create(2), ``SIGEV_THREAD_ID``.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import time

from ..errors import InstallationError

_CLOCK_MONOTONIC = 1
_SIGEV_THREAD_ID = 4


class _Timer(ctypes.Structure):
    """``struct itimerspec``: interval and value, each in seconds and nanoseconds."""

    _fields_ = (
        ("interval_seconds", ctypes.c_long),
        ("interval_nanoseconds", ctypes.c_long),
        ("seconds", ctypes.c_long),
        ("nanoseconds", ctypes.c_long),
    )


class _Event(ctypes.Structure):
    """``struct sigevent`` of Linux, 64 bytes."""

    _fields_ = (
        ("value", ctypes.c_void_p),
        ("signal", ctypes.c_int),
        ("notify", ctypes.c_int),
        ("thread", ctypes.c_int),
        ("padding", ctypes.c_char * 44),
    )


_library = ctypes.CDLL(None, use_errno=True)

#: Seconds between two signals: a function may catch the first and go on.
_REPEAT = 1
#: Seconds past the deadline from which on the signal is sent without a pause, and the nanoseconds
#: in between. A loop whose body catches every cancel is ended only by one that comes outside of
#: the body: in the few microseconds in which the server unwinds the one before.
_PATIENCE, _NO_PAUSE = 3, 50_000


def _refusal() -> OSError:
    return OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


class Deadline:
    """Timers that run until :meth:`stop`. Outside Linux there are none.

    Args:
        seconds: from now.

    Raises:
        InstallationError: the system refuses a timer. Without one, what does not end would hold
            all turns of its worker up.
    """

    def __init__(self, seconds: float) -> None:
        self._timers: list[ctypes.c_void_p] = []
        #: after :meth:`stop`: whether a signal was sent
        self.has_fired = False
        self._ends = time.monotonic() + seconds  # the clock of the timers
        if not sys.platform.startswith("linux"):
            return
        whole, nanoseconds = int(seconds), int(seconds % 1 * 1e9) or 1
        try:
            self._start(_Timer(_REPEAT, 0, whole, nanoseconds))
            self._start(_Timer(0, _NO_PAUSE, whole + _PATIENCE, nanoseconds))
        except OSError as error:
            self.stop()
            raise InstallationError(
                f"this server gets no timer from its system: {error.strerror}",
                hint="Raise the limit of pending signals of the server's user (ulimit -i).",
            ) from None

    def _start(self, value: _Timer) -> None:
        timer = ctypes.c_void_p()
        # The main thread of a process has the process's own number.
        event = _Event(signal=signal.SIGINT, notify=_SIGEV_THREAD_ID, thread=os.getpid())
        if _library.timer_create(_CLOCK_MONOTONIC, ctypes.byref(event), ctypes.byref(timer)):
            raise _refusal()
        self._timers.append(timer)
        if _library.timer_settime(timer, 0, ctypes.byref(value), None):
            raise _refusal()

    def stop(self) -> bool:
        """Stop the timers; return whether one may have sent its signal. May be called again."""
        if self._timers:
            while self._timers:
                _library.timer_delete(self._timers.pop())  # stops it, too: timer_delete(2)
            # Looked at when they have stopped: what was sent before was sent in time to be seen.
            self.has_fired = time.monotonic() >= self._ends
        return self.has_fired
