"""The database as the kernel sees it: no other module knows which driver is below.

``gateways/plpy.py`` implements it inside a backend.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, Protocol

from .net.wait import Interrupts

if TYPE_CHECKING:
    from .turn import TurnContext

Row = Mapping[str, Any]


class DatabaseError(Exception):
    """A statement failed; the savepoint around it, or around the statement itself, was rolled back.

    Args:
        sqlstate: five characters.
        message: the server's primary message.
        original: the gateway's own exception, raised again at the border to SQL so that nothing of
            it is lost.
    """

    def __init__(self, sqlstate: str, message: str, original: BaseException) -> None:
        super().__init__(message)
        self.sqlstate = sqlstate
        self.message = message
        self.original = original


class Transactions(Protocol):
    """Transactions that the kernel ends itself. The first statement begins one."""

    @property
    def is_open(self) -> bool:
        """Whether a statement has run since the last commit."""

    def stretch(self) -> AbstractContextManager[None]:
        """What the statements of the block do is undone, and nothing else, when it raises."""

    def commit(self) -> None:
        """Commit.

        Raises:
            DatabaseError: nothing of it was kept.
        """

    def rollback(self) -> None:
        """Undo everything since the last commit."""


class Status(Protocol):
    """What other sessions can see of this one at once, before it commits."""

    def driving(self, context: TurnContext) -> AbstractContextManager[None]:
        """In the block a turn is driven within its caller's transaction."""

    def step(self, step_no: int, tool_name: str | None) -> None:
        """The innermost turn of :meth:`driving` begins a step.

        Args:
            tool_name: of a tool call, None of a model call.
        """

    def named(self) -> AbstractContextManager[None]:
        """After the block the session has the name that it had before."""

    def show_step(self, run_id: str, step_no: int) -> None:
        """Give the session the name of a step of a turn."""

    def show(self, name: str) -> None:
        """Give the session a name.

        Args:
            name: at most 63 bytes.
        """


class Database(Protocol):
    """What the store needs.

    A cancel or a shutdown that arrives in any method raises :class:`~.net.wait.Interrupted`.
    """

    @property
    def interrupts(self) -> Interrupts:
        """Where an order to stop arrives."""

    @property
    def status(self) -> Status:
        """What others can see of this session."""

    def obey(self) -> None:
        """Let the server act on an order to stop that has arrived.

        Raises:
            Interrupted: the statement was cancelled. The order is obeyed with that: what follows
                can use the database.
        """

    def rows(self, sql: str, *params: Any) -> list[Row]:
        """Run one statement; parameters are written ``$1::type``.

        Raises:
            DatabaseError: the statement failed. Only the statement itself is undone.
        """

    def savepoint(self) -> AbstractContextManager[Any]:
        """A savepoint: rolled back when the block raises, released otherwise."""

    def own_transactions(self) -> AbstractContextManager[Transactions]:
        """Let the kernel commit, for the time of a procedure call.

        Raises:
            InvalidInput: nothing can be committed here: below a function, or inside BEGIN.
        """

    def transaction_stamp(self) -> tuple[int, int]:
        """What no other transaction of this session has, nor another login in this one."""

    def as_role(self, role: str | int, *, restricted: bool = False) -> AbstractContextManager[None]:
        """Give the statements of a block the rights of another role, and no way out of it.

        Args:
            role: name of a plain role; whether this agent may have it was checked before. Or its
                identity, when this transaction has read it as a plain role's.
            restricted: also refuse what would run later and with the rights of somebody else:
                temporary tables, prepared statements, cursors WITH HOLD, deferred triggers.

        Raises:
            InvalidInput: there is no such role, or it sees past row security.
        """

    def unrestricted(self) -> AbstractContextManager[None]:
        """Let the kernel's own statements do what :meth:`as_role` refuses the tool below it."""

    def log(self, text: str) -> None:
        """Write one line into the server's log, where it outlives a rollback.

        Args:
            text: of :func:`pgagentos.audit.line`. Nothing is logged beside it, in particular not
                the statement that runs, which may hold what a person said.
        """

    def warn(self, message: str, hint: str | None = None) -> None:
        """Send a WARNING to the client."""
