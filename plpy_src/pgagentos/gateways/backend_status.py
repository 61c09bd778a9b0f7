"""What this backend shows of itself while it drives turns.

``pg_stat_activity.application_name`` is changed as the setting of that name changes it
(``src/backend/utils/activity/backend_status.c``: ``pgstat_report_appname``), without a statement
and without the setting: that stays the client's, and its value is shown again at the end.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from ..live_turns import Place

if TYPE_CHECKING:
    from ..turn import TurnContext


class BackendStatus:
    """See :class:`pgagentos.database.Status`."""

    def __init__(self) -> None:
        server = ctypes.PyDLL(None)  # the server program itself
        #: what is shown instead of the setting; None: the setting
        self._shown: bytes | None = None
        self._turns: list[str] = []
        self._place = _place(server)
        self._report = None
        try:
            self._setting = ctypes.c_char_p.in_dll(server, "application_name")
            report = server.pgstat_report_appname
        except (AttributeError, ValueError):  # a server built with hidden symbols
            return
        report.argtypes = (ctypes.c_char_p,)
        report.restype = None
        self._report = report

    @contextmanager
    def driving(self, context: TurnContext) -> Iterator[None]:
        """See :meth:`pgagentos.database.Status.driving`."""
        self._turns.append(context.run_id)
        if self._place is not None:
            self._place.begin(
                context.run_id, context.conversation_id, context.tenant_id, context.agent_id
            )
        try:
            with self.named():
                yield
        finally:
            self._turns.pop()
            if self._place is not None:
                self._place.end()

    def step(self, step_no: int, tool_name: str | None) -> None:
        """See :meth:`pgagentos.database.Status.step`."""
        self.show_step(self._turns[-1], step_no)
        if self._place is not None:
            self._place.step(step_no, tool_name)

    @contextmanager
    def named(self) -> Iterator[None]:
        """See :meth:`pgagentos.database.Status.named`."""
        before = self._shown
        try:
            yield
        finally:
            if self._shown is not before:
                self._shown = before
                self._report_name()

    def show_step(self, run_id: str, step_no: int) -> None:
        """See :meth:`pgagentos.database.Status.show_step`."""
        self.show(f"pgagentos turn {run_id} step {step_no}")

    def show(self, name: str) -> None:
        """See :meth:`pgagentos.database.Status.show`."""
        self._shown = name.encode()
        self._report_name()

    def _report_name(self) -> None:
        if self._report is not None:
            self._report(self._setting.value or b"" if self._shown is None else self._shown)


def _place(server: ctypes.PyDLL) -> Place | None:
    """This backend's place in the file of live turns, if the server says which one that is."""
    try:
        began = ctypes.c_longlong.in_dll(server, "MyStartTimestamp").value
        try:
            number = ctypes.c_int.in_dll(server, "MyProcNumber")  # from PostgreSQL 17 on
        except ValueError:
            number = ctypes.c_int.in_dll(server, "MyBackendId")
    except ValueError:
        return None
    return Place(number.value, os.getpid(), began)
