"""Turns that wait until the limits of requests and tokens a minute let them call their model."""

from __future__ import annotations

from collections.abc import Iterable

from ..database import Database
from ..net.wait import Wait, sleep
from ..store import queue
from ..turn import Turn


class RateLimits:
    """What a driver knows of the limits.

    Args:
        database: where they are.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._are_there = False
        #: turns that wait until a limit lets them go on
        self.waiting: set[str] = set()

    def look(self) -> None:
        """See whether there are any."""
        self._are_there = queue.has_rate_limits(self._database)

    def delay(self, turn: Turn, provider: str) -> float | None:
        """Ask for one request.

        Args:
            provider: where it goes to.

        Returns:
            None: it may be sent; or seconds after which it is to be asked once more.
        """
        if not self._are_there:
            return None
        self.count_tokens(turn)
        return queue.take_rate(self._database, provider, turn.context.tenant_id)

    def wait(self, turn: Turn, seconds: float) -> Iterable[Wait]:
        """Let a turn wait."""
        self.waiting.add(turn.context.run_id)
        try:
            yield from sleep(seconds)
        finally:
            self.waiting.discard(turn.context.run_id)

    def count_tokens(self, turn: Turn) -> None:
        """Tell the limits what the turn's calls have used since they were told last."""
        if self._are_there:
            for provider, tokens in turn.unrated.items():
                queue.spend_rate(self._database, provider, turn.context.tenant_id, tokens)
            turn.unrated.clear()
