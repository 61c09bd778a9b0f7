"""The database from inside a backend: PL/Python's ``plpy``.

Facts that this module rests on (PostgreSQL documentation, chapter "PL/Python", and
``src/pl/plpython/plpy_spi.c``): every ``plpy.execute`` runs in a subtransaction of its own, so its
error can be caught; ``uuid`` and ``timestamptz`` arrive as text, ``json`` as a string.
"""

from __future__ import annotations

import ctypes
import re
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from ..database import DatabaseError, Row
from ..errors import InvalidInput
from ..net.wait import Interrupted
from ..store import identities
from .backend_status import BackendStatus
from .backend_user import BackendUser
from .own_transactions import OwnTransactions
from .server_log import ServerLog

_PARAMETER = re.compile(r"\$(\d+)::([a-z]+)((?:\[\])?)")
#: what SQL's own words for types are called in the catalogue
_CATALOGUE_NAMES = {"bigint": "int8", "integer": "int4", "boolean": "bool", "float": "float8"}


def _with_types_of_the_server(sql: str) -> tuple[str, list[str]]:
    """A statement whose parameters have the server's own types, and these types.

    Who acts is asked inside any statement, under its search path. There a bare ``uuid`` may be a
    domain that somebody has made, in pg_temp for instance, and its CHECK would run as the kernel.
    """
    types: dict[int, str] = {}

    def qualified(parameter: re.Match[str]) -> str:
        number, name, array = parameter.groups()
        types[int(number)] = f"pg_catalog.{_CATALOGUE_NAMES.get(name, name)}{array}"
        return f"${number}::{types[int(number)]}"

    text = _PARAMETER.sub(qualified, sql)
    return text, [types[n + 1] for n in range(len(types))]


class BackendInterrupts:
    """PostgreSQL's own flags, read where the server keeps them.

    ``InterruptPending`` alone is not a wish to stop: housekeeping sets it too. The flags are looked
    at, never acted on here: acting means a longjmp, which must not cross frames of a library.
    """

    def __init__(self, plpy: Any) -> None:
        self._plpy = plpy
        self._probe = plpy.prepare("select 1")
        #: whether a statement was run to let the server act; it leaves a snapshot behind
        self.has_acted = False
        library = ctypes.PyDLL(None)  # the server program itself
        try:
            self._pending = ctypes.c_int.in_dll(library, "InterruptPending")
            self._cancel = ctypes.c_int.in_dll(library, "QueryCancelPending")
            self._die = ctypes.c_int.in_dll(library, "ProcDiePending")
        except ValueError:  # a server built with hidden symbols
            self._pending = ctypes.c_int(1)
            self._cancel = self._die = ctypes.c_int(0)

    def pending(self) -> bool:
        """True when the session must stop what it does."""
        if not self._pending.value:
            return False
        if self._cancel.value or self._die.value:
            return True
        self.act()  # housekeeping; it may end the session when the client is gone
        return False

    def act(self) -> None:
        """Let the server act on its flags.

        Raises:
            Interrupted: the statement was cancelled.
        """
        self.has_acted = True
        try:
            self._plpy.execute(self._probe)
        except self._plpy.SPIError as error:
            raise Cancelled(error) from None


class Cancelled(Interrupted):
    """The server has acted on the flag; *original* carries its SQLSTATE to the client."""

    def __init__(self, original: BaseException) -> None:
        super().__init__(str(original))
        self.original = original


class PlpyDatabase:
    """A backend's own session."""

    def __init__(self, plpy: Any) -> None:
        self._plpy = plpy
        #: prepared statements by role and text: a plan may hold what one role is allowed to do
        self._plans: dict[tuple[int, str], Any] = {}
        self._user = BackendUser()
        self._user.refuse_parallel_query()
        self._log = ServerLog(plpy.log)
        self._own: OwnTransactions | None = None
        self.interrupts = BackendInterrupts(plpy)
        self.status = BackendStatus()

    def rows(self, sql: str, *params: Any) -> list[Row]:
        """See :meth:`pgagentos.database.Database.rows`."""
        self._user.refuse_parallel_query()
        if self._own is not None:
            self._own.enter()
        try:
            key = (self._user.role_id(), sql)
            plan = self._plans.get(key)
            if plan is None:
                plan = self._plpy.prepare(*_with_types_of_the_server(sql))
                self._plans[key] = plan
            return list(self._plpy.execute(plan, list(params)))
        except self._plpy.SPIError as error:
            raise _translated(error) from None

    def obey(self) -> None:
        """See :meth:`pgagentos.database.Database.obey`."""
        self.interrupts.act()

    def savepoint(self) -> AbstractContextManager[Any]:
        """See :meth:`pgagentos.database.Database.savepoint`."""
        self._user.refuse_parallel_query()
        if self._own is not None:
            self._own.enter()
        subtransaction: AbstractContextManager[Any] = self._plpy.subtransaction()
        return subtransaction

    @contextmanager
    def own_transactions(self) -> Iterator[OwnTransactions]:
        """See :meth:`pgagentos.database.Database.own_transactions`."""
        if self._own is not None:
            raise InvalidInput("a turn cannot drive turns that commit")
        self._own = OwnTransactions(self._plpy, self._user, self.interrupts, _translated)
        try:
            yield self._own
        finally:
            self._own.close()
            self._own = None

    def transaction_stamp(self) -> tuple[int, int]:
        """See :meth:`pgagentos.database.Database.transaction_stamp`."""
        return self._user.transaction_stamp()

    @contextmanager
    def as_role(self, role: str | int, *, restricted: bool = False) -> Iterator[None]:
        """See :meth:`pgagentos.database.Database.as_role`."""
        if self._own is not None:
            self._own.enter()  # or the kernel's rights would come on top of this role's
        role_id = role if isinstance(role, int) else identities.plain_role_id(self, role)
        with self._user.acting_as(role_id, restricted=restricted):
            yield

    def unrestricted(self) -> AbstractContextManager[None]:
        """See :meth:`pgagentos.database.Database.unrestricted`."""
        return self._user.unrestricted()

    def log(self, text: str) -> None:
        """See :meth:`pgagentos.database.Database.log`."""
        try:
            self._log.write(text)
        except self._plpy.Error as error:
            raise _translated(error) from None

    def warn(self, message: str, hint: str | None = None) -> None:
        """See :meth:`pgagentos.database.Database.warn`."""
        self._plpy.warning(message, **({} if hint is None else {"hint": hint}))


def _translated(error: Any) -> BaseException:
    sqlstate = _sqlstate(error)
    # 57014 query_canceled; 57P01 to 57P03 the server goes down. Never an ordinary error.
    if sqlstate in ("57014", "57P01", "57P02", "57P03"):
        return Cancelled(error)
    return DatabaseError(sqlstate, str(error), error)


def _sqlstate(error: Any) -> str:
    sqlstate = getattr(error, "sqlstate", None)
    if isinstance(sqlstate, str):
        return sqlstate
    # A private SQLSTATE has no class of its own: it is packed in six bits a character.
    spidata = getattr(error, "spidata", None)
    packed = int(spidata[0]) if spidata else 0
    return "".join(chr(((packed >> (6 * n)) & 0x3F) + ord("0")) for n in range(5))
