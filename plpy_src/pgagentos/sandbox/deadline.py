"""A deadline for what runs in this backend: a POSIX timer that sends the backend the signal of a
cancel.

Nothing else works here. A Python thread cannot run while the server executes a statement, because
PL/Python holds the interpreter's lock; ``statement_timeout`` set inside a function is not looked at
until the next statement of the client. See timer_create(2), ``SIGEV_THREAD_ID``.
"""

from __future__ import annotations

import ctypes
import os
import signal

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
_off = _Timer()


class Deadline:
    """A timer that is running until :meth:`stop`.

    Args:
        seconds: from now.

    Raises:
        OSError: the system refuses a timer.
    """

    def __init__(self, seconds: float) -> None:
        self._timer: ctypes.c_void_p | None = ctypes.c_void_p()
        #: after :meth:`stop`: whether the signal was sent
        self.has_fired = False
        # The main thread of a process has the process's own number.
        event = _Event(signal=signal.SIGINT, notify=_SIGEV_THREAD_ID, thread=os.getpid())
        if _library.timer_create(_CLOCK_MONOTONIC, ctypes.byref(event), ctypes.byref(self._timer)):
            self._timer = None
            raise OSError(ctypes.get_errno(), "timer_create")
        value = _Timer(0, 0, int(seconds), int(seconds % 1 * 1e9) or 1)
        if _library.timer_settime(self._timer, 0, ctypes.byref(value), None):
            raise OSError(ctypes.get_errno(), "timer_settime")

    def stop(self) -> bool:
        """Stop the timer; return whether it had sent its signal. May be called again."""
        if self._timer is not None:
            left = _Timer()
            # Stopped and read in one call: no moment in between for it to fire unseen.
            _library.timer_settime(self._timer, 0, ctypes.byref(_off), ctypes.byref(left))
            _library.timer_delete(self._timer)
            self._timer = None
            self.has_fired = left.seconds == 0 and left.nanoseconds == 0
        return self.has_fired
