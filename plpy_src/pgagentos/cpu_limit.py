"""An end for what Python itself computes.

The server's own ways to end a statement, a cancel included, are looked at between statements and
in waits. Python that only computes sees none of them, and a regular expression may take years for
thirty characters. A timer of the processor's time (setitimer(2), ``ITIMER_VIRTUAL``; the server
uses neither it nor its signal) trips Python's own flag, at which its interpreter and its ``re``
look.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

#: Should a library catch the first one, the next follows so many seconds later.
_AGAIN = 0.01


class TookTooLong(BaseException):
    """The time is over. It is no Exception, so that no library takes it for an answer."""


@contextmanager
def cpu_limit(seconds: float) -> Iterator[None]:
    """Let the block compute for so long.

    The block must run no statement: the server's code has nothing that stops at the flag. There is
    no limit in another thread than the main one, which no backend has.

    Args:
        seconds: of the processor's time.

    Raises:
        TookTooLong: the time is over.
    """
    is_running = True

    def end(_number: int, _frame: FrameType | None) -> None:
        if is_running:
            raise TookTooLong

    try:
        before = signal.signal(signal.SIGVTALRM, end)
    except ValueError:  # a thread of the outside worker, which keeps nobody waiting
        yield
        return
    signal.setitimer(signal.ITIMER_VIRTUAL, seconds, _AGAIN)
    try:
        yield
    finally:
        is_running = False
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        # None: a handler that is not Python's. Ours, which does nothing now, stays then.
        if before is not None:
            signal.signal(signal.SIGVTALRM, before)
