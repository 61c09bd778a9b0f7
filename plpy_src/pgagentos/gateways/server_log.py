"""The server's log, without what a message of the server brings along.

Beside a message the server logs the statement that was running and the calls that led there. The
statement of a turn holds what a person said, so for the moment of one line both are switched off
where the server looks it up (``src/backend/utils/error/elog.c``: ``send_message_to_server_log``).
The settings behind them are a superuser's, and setting them as such would take a subtransaction.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable

#: src/include/utils/elog.h
_PANIC = 23
_TERSE = 0


class ServerLog:
    """Where lines go that outlive a rollback.

    Args:
        log: writes a message at level LOG, with all that the server adds to it.
    """

    def __init__(self, log: Callable[[str], None]) -> None:
        self._log = log
        library = ctypes.PyDLL(None)  # the server program itself
        try:
            self._statement = ctypes.c_int.in_dll(library, "log_min_error_statement")
            self._verbosity = ctypes.c_int.in_dll(library, "Log_error_verbosity")
        except ValueError:  # a server built with hidden symbols
            self._statement, self._verbosity = ctypes.c_int(), ctypes.c_int()

    def write(self, line: str) -> None:
        """Write one line. An error of *log* comes after that: an order to stop that waited."""
        statement, verbosity = self._statement.value, self._verbosity.value
        self._statement.value, self._verbosity.value = _PANIC, _TERSE
        try:
            self._log(line)
        finally:
            self._statement.value, self._verbosity.value = statement, verbosity
