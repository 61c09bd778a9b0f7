"""Whose rights the statements of this backend have, changed as the server's own commands do it.

``SetUserIdAndSecContext`` is how VACUUM, REINDEX and SECURITY DEFINER functions act as somebody
else (``src/backend/utils/init/miscinit.c``). Unlike SET ROLE it is allowed inside a SECURITY
DEFINER function, and what runs under it cannot undo it: with the flag SECURITY_LOCAL_USERID_CHANGE
the server refuses SET ROLE and SET SESSION AUTHORIZATION.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager

from ..errors import InstallationError, InvalidInput

#: src/include/miscadmin.h
_LOCAL_USERID_CHANGE = 0x0001
_RESTRICTED_OPERATION = 0x0002


class BackendUser:
    """The current user of this backend, and when its transaction started."""

    def __init__(self) -> None:
        server = ctypes.PyDLL(None)  # the server program itself
        try:
            self._set = server.SetUserIdAndSecContext
            self._get = server.GetUserIdAndSecContext
            self._started = server.GetCurrentTransactionStartTimestamp
            self._login = server.GetSessionUserId
            self._open_settings = server.NewGUCNestLevel
            self._close_settings = server.AtEOXact_GUC
            self._is_parallel = server.IsInParallelMode
        except AttributeError:  # a server built with hidden symbols
            raise InstallationError(
                "this PostgreSQL server does not export SetUserIdAndSecContext",
                hint="pgAgentOS runs tools with the rights of their agent's role and needs it.",
            ) from None
        self._set.argtypes = (ctypes.c_uint, ctypes.c_int)
        self._set.restype = None
        self._get.argtypes = (ctypes.POINTER(ctypes.c_uint), ctypes.POINTER(ctypes.c_int))
        self._get.restype = None
        self._started.argtypes = ()
        self._started.restype = ctypes.c_longlong
        self._login.argtypes = ()
        self._login.restype = ctypes.c_uint
        self._is_parallel.argtypes = ()
        self._is_parallel.restype = ctypes.c_bool
        self._open_settings.argtypes = ()
        self._open_settings.restype = ctypes.c_int
        self._close_settings.argtypes = (ctypes.c_bool, ctypes.c_int)
        self._close_settings.restype = None
        self._user, self._context = ctypes.c_uint(), ctypes.c_int()
        self._into = (ctypes.byref(self._user), ctypes.byref(self._context))

    def transaction_stamp(self) -> tuple[int, int]:
        """Start of the transaction in microseconds, and the login, which a superuser may change."""
        return self._started(), self._login()

    def refuse_parallel_query(self) -> None:
        """Make sure that a statement can run here at all.

        PL/Python opens a subtransaction for each. In a parallel query the server refuses that in a
        place where PL/Python does not expect it: its interpreter is left broken, and the next call
        of any function in Python is a segmentation fault, which ends all sessions of the server.

        Raises:
            InvalidInput: a parallel query is running.
        """
        if self._is_parallel():
            raise InvalidInput(
                "pgAgentOS cannot be asked in a parallel query",
                hint="A function that is marked PARALLEL SAFE or RESTRICTED asks it: it is PARALLEL"
                " UNSAFE.",
            )

    def role_id(self) -> int:
        """The role whose rights hold now."""
        self._get(*self._into)
        return self._user.value

    @contextmanager
    def acting_as(self, role_id: int, *, restricted: bool) -> Iterator[None]:
        """Give all statements of the block the rights of another role.

        What the block does to settings ends with it, as it does with a function that has a SET
        clause: a search path that it leaves behind would lead the caller's statements astray.

        Args:
            role_id: of ``pg_authid``; the caller has made sure that it may be used.
            restricted: refuse what would run later, with the rights of somebody else: temporary
                tables, prepared statements, cursors WITH HOLD, deferred triggers
                (SECURITY_RESTRICTED_OPERATION).
        """
        self._get(*self._into)
        user, context = self._user.value, self._context.value
        flags = context | _LOCAL_USERID_CHANGE | (_RESTRICTED_OPERATION if restricted else 0)
        settings = self._open_settings()
        self._set(role_id, flags)
        try:
            yield
        finally:
            # An error inside has rolled its subtransaction back, to the user that it began with.
            self._close_settings(False, settings)
            self._set(user, context)

    @contextmanager
    def unrestricted(self) -> Iterator[None]:
        """Let the kernel's own statements do again what a tool may not that called it."""
        self._get(*self._into)
        user, context = self._user.value, self._context.value
        self._set(user, context & ~_RESTRICTED_OPERATION)
        try:
            yield
        finally:
            self._set(user, context)
