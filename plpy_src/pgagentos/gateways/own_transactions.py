"""Transactions that the kernel ends itself, below ``CALL``.

A procedure that commits may neither be SECURITY DEFINER nor set a search path (PostgreSQL manual,
CREATE PROCEDURE), so it has the rights and the path of whoever calls it. Between two commits this
module gives the kernel's statements the rights and the path that they have below every function.
After a commit nothing is done before the next statement: a session that only waits holds no
snapshot, and so keeps no dead row from VACUUM.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

from ..errors import InvalidInput
from ..store import identities
from .backend_user import BackendUser

if TYPE_CHECKING:
    from .plpy import BackendInterrupts


class OwnTransactions:
    """The transactions of one procedure call.

    Args:
        plpy: of PL/Python.
        user: whose rights the statements have.
        interrupts: may have run a statement.
        translated: makes an error of the server one that the kernel knows.

    Raises:
        InvalidInput: nothing can be committed here.
    """

    def __init__(
        self,
        plpy: Any,
        user: BackendUser,
        interrupts: BackendInterrupts,
        translated: Callable[[Any], BaseException],
    ) -> None:
        self._plpy = plpy
        self._translated = translated
        self._user = user
        self._interrupts = interrupts
        self._rights: ExitStack | None = None
        self._is_stretch = False
        self._savepoint: Any = None
        try:
            plpy.commit()
        except plpy.SPIError:  # 2D000
            raise InvalidInput(
                "this procedure commits, and here it cannot",
                hint="CALL it alone: outside of BEGIN, of a function, and of a query string with"
                " several statements.",
            ) from None
        row = plpy.execute(identities.KERNEL_ROLE)[0]
        if row["isolation"] != "read committed":
            raise InvalidInput(
                f"this procedure needs the isolation level read committed, not {row['isolation']}",
                hint="SET default_transaction_isolation = 'read committed';",
            )
        self._role_id = int(row["role_id"])
        self._set_search_path = plpy.prepare(identities.KERNEL_SEARCH_PATH)
        plpy.commit()

    @property
    def is_open(self) -> bool:
        """Whether a statement has run since the last commit."""
        return self._rights is not None or self._interrupts.has_acted

    def enter(self) -> None:
        """Get ready for a statement."""
        if self._rights is None:
            rights = ExitStack()
            rights.enter_context(self._user.acting_as(self._role_id, restricted=False))
            self._rights = rights
            try:
                self._plpy.execute(self._set_search_path)
            except self._plpy.SPIError as error:  # an order to stop that came with the commit
                raise self._translated(error) from None
        if self._is_stretch and self._savepoint is None:
            self._savepoint = self._plpy.subtransaction()
            self._savepoint.__enter__()

    @contextmanager
    def stretch(self) -> Iterator[None]:
        """See :meth:`pgagentos.database.Transactions.stretch`."""
        self._is_stretch = True
        try:
            yield
        except BaseException as error:
            savepoint, self._savepoint, self._is_stretch = self._savepoint, None, False
            if savepoint is not None:
                savepoint.__exit__(type(error), error, error.__traceback__)
            raise
        savepoint, self._savepoint, self._is_stretch = self._savepoint, None, False
        if savepoint is not None:
            savepoint.__exit__(None, None, None)

    def commit(self) -> None:
        """See :meth:`pgagentos.database.Transactions.commit`."""
        self.close()
        try:
            self._plpy.commit()
        except self._plpy.SPIError as error:
            raise self._translated(error) from None

    def rollback(self) -> None:
        """See :meth:`pgagentos.database.Transactions.rollback`."""
        self.close()
        self._plpy.rollback()

    def close(self) -> None:
        """Give the rights and the search path of the caller back."""
        self._interrupts.has_acted = False
        rights, self._rights = self._rights, None
        if rights is not None:
            is_nested_well = self._user.role_id() == self._role_id
            rights.close()
            if not is_nested_well:
                raise RuntimeError("rights were not given back in the order in which they came")
