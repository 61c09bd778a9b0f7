"""A limit of time for what a model has called, which runs in this backend."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from ..database import Database
from ..net.wait import Interrupted
from ..store import interrupts
from .deadline import Deadline


class TimeIsUp(Exception):
    """What ran within the limit took longer, and was broken off."""


@contextmanager
def time_limit(database: Database, seconds: float) -> Iterator[Deadline]:
    """Break off what the block runs in a subtransaction of its own.

    Yields:
        the deadline; who is done before the block ends stops it.

    Raises:
        TimeIsUp: it was broken off.
        Interrupted: by the user's own cancel, or by ``statement_timeout``.
        InstallationError: see :class:`.deadline.Deadline`.
    """
    deadline = Deadline(seconds)
    try:
        yield deadline
    except BaseException as error:
        if deadline.stop():
            _take_late_signal(database)
            is_broken_off = isinstance(error, Interrupted)
            if is_broken_off and not interrupts.is_statement_timeout_over(database):
                raise TimeIsUp from None
        raise
    if deadline.stop():
        _take_late_signal(database)


def _take_late_signal(database: Database) -> None:
    """A signal that came when all was done must not meet the next statement.

    Raises:
        Interrupted: it was that of ``statement_timeout``, which does not come a second time.
    """
    try:
        interrupts.look(database)
    except Interrupted:
        if interrupts.is_statement_timeout_over(database):
            raise
