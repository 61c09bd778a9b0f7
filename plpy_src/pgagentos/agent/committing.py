"""The driver that commits every step of its turns, one of them or hundreds.

All turns of a driver live in one :class:`~pgagentos.net.wait.Loop`. A turn runs until it wants to
act on the world; there it pauses, what all paused turns have written is committed once, and they go
on to the network. So a commit is shared, and no snapshot is held while a model thinks.
"""

from __future__ import annotations

import os
import time
from collections import defaultdict
from collections.abc import Iterable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from ..database import DatabaseError, Transactions
from ..errors import AgentOSError, ClaimLost
from ..net.wait import PAUSE, SLICE, Interrupted, Loop, Steps, Wait
from ..store import queue, turns
from ..store.queue import Claim
from ..turn import Model, Turn
from . import failures, loop
from .rate_limits import RateLimits

if TYPE_CHECKING:
    from .model_call import NoAnswer
    from .session import Session

#: Seconds until others may take a turn whose driver does not say that it is alive. The lock that a
#: backend holds for each of its turns says much sooner that it is dead; this is for one that hangs,
#: and has to be longer than any tool of the database, during which a driver says nothing: five
#: minutes (setting function_deadline_seconds).
LEASE = 600.0
#: Most turns that share a commit. Their requests are sent together, so their answers come together,
#: and each waits until all of them are worked on: with 32 a backend makes 5 % fewer calls, with
#: 10 it needs more of the processor and makes no more (bench/, phase worker).
BATCH = 16
#: Seconds after which what the turns have come to is committed before the next one goes on: many
#: slow tools one after the other must neither outlast the lease nor lose each other's results.
LONG = 1.0
#: Seconds between two looks at what was cancelled, or taken by others.
LOOK_INTERVAL = 0.1
#: Seconds after which skills, limits and prompt of a turn are read anew.
CONTEXT_AGE = 5.0
#: Seconds for which turns are recorded one by one, after it could not be done together.
ONE_BY_ONE_SECONDS = 30.0
#: A driver whose commits fail so often in a row gives up.
MAX_LOST_COMMITS = 3
#: How often a driver that is to stop may be told so once more before all is given back.
MAX_ORDERS = 5


class Driver:
    """Turns under way in one procedure call. It is the :class:`pgagentos.agent.loop.Pace` of all.

    Args:
        puts_off: leave turns whose provider fails to the queue, which tries again later.
    """

    def __init__(self, session: Session, transactions: Transactions, *, puts_off: bool) -> None:
        kind = "work" if puts_off else "stepwise"
        #: of the driver; the view ``aos_agent.live_activity`` reads kind and process out of it
        self.name = f"{kind} {os.getpid()}.{time.time_ns() // 1_000_000}"
        #: the turns that it has, by run_id
        self.claims: dict[str, Claim] = {}
        #: it begins nothing any more
        self.is_closing = False
        #: turns that have left it
        self.ended = 0
        self.failure: Exception | None = None
        self._session = session
        self._database = session.database
        self._transactions = transactions
        self._puts_off = puts_off
        self.rate_limits = RateLimits(session.database)
        self._locks_of_caller = queue.own_locks(self._database)
        self._loop = Loop()
        self._next_look = 0.0
        self._next_renewal = time.monotonic() + LEASE / 3
        self._lost_commits = 0
        self._shown = -1
        self._records = turns.Records()
        self._budget_reads: dict[tuple[str, str], tuple[bytes, dict[str, Any]]] = {}
        self._one_by_one_until = 0.0 if puts_off else float("inf")

    # What the loop of a turn asks.

    def checkpoint(self, turn: Turn) -> Iterable[Wait]:
        """See :class:`pgagentos.agent.loop.Pace`."""
        if not self._puts_off:
            self._database.status.show_step(turn.context.run_id, turn.act[0])
        if turn.new_steps or turn.closed_steps:
            turns.record(self._database, turn, "running")
            yield PAUSE

    def hold(self, turn: Turn) -> None:
        """See :class:`pgagentos.agent.loop.Pace`."""
        if turn.records is not None:  # else it is recorded together with what it does
            queue.hold(
                self._database, turn.context.run_id, self.claims[turn.context.run_id].fence, LEASE
            )

    def admit(self, turn: Turn, model: Model) -> Iterable[Wait]:
        """See :class:`pgagentos.agent.loop.Pace`."""
        while seconds := self.rate_limits.delay(turn, model.endpoint.provider):
            yield from self.checkpoint(turn)
            yield from self.rate_limits.wait(turn, seconds)

    def is_stopped(self, turn: Turn) -> bool:
        """See :class:`pgagentos.agent.loop.Pace`. A claim that is lost shows when it records."""
        if not self.is_closing:
            if time.monotonic() - turn.loaded_at > CONTEXT_AGE:
                session = self._session
                fresh = turns.load(session.database, session.in_flight, turn.context.run_id)
                turn.context, turn.loaded_at = fresh.context, fresh.loaded_at
            return False
        turns.record(self._database, turn, "queued")
        queue.give_back(self._database, self.claims[turn.context.run_id], None, None)
        return True

    def puts_off(self, turn: Turn, failure: NoAnswer, step_no: int) -> bool:
        """See :class:`pgagentos.agent.loop.Pace`."""
        error = failure.error
        if not self._puts_off or not error.is_retryable or failure.has_cost:
            return False
        value = failures.error_value(error)
        turn.change_step(
            step_no,
            status="pending",
            model_id=failure.model.model_id,
            attempts=failure.attempts,
            error=value,
        )
        turns.record(self._database, turn, "queued")
        claim = self.claims[turn.context.run_id]
        turn.status = queue.give_back(self._database, claim, value, error.retry_after)
        return True

    # What the procedure does.

    def show(self) -> None:
        """Give the session the name of a worker that drives so many turns."""
        self._shown = count = len(self.claims)
        self._database.status.show(f"pgagentos work: {count} turn{'s' * (count != 1)}")

    def claim(self, most: int) -> bool:
        """Claim turns of the queue and take them in, no more than a batch at once.

        Returns:
            whether there may be more.
        """
        most = min(most, BATCH)
        claims = queue.claim(self._database, self.name, most, LEASE)
        self.claims.update((claim.run_id, claim) for claim in claims)
        self._transactions.commit()
        self.begin(claims)
        return len(claims) == most

    def begin(self, claims: list[Claim]) -> None:
        """Take turns in; the claims are committed."""
        contexts = self._read_all(claims)
        until = time.monotonic() + LONG
        for claim in claims:
            if claim.run_id not in self.claims:
                continue  # given back meanwhile
            steps = self._drive(claim, contexts.pop(claim.run_id, None))
            self._loop.add(self._in_stretches(claim, steps), claim.run_id)
            if time.monotonic() >= until:  # a tool has taken so long
                self._commit_all()
                contexts.clear()
                until = time.monotonic() + LONG
        self._commit_all()

    def run_once(self, timeout: float) -> None:
        """Wait once, let every turn go on that can, and commit."""
        results = self._loop.run_once(min(timeout, SLICE), BATCH)
        if self._database.interrupts.pending():
            raise Interrupted
        self._commit_all()
        if results:
            self._take_leave(results)
        now = time.monotonic()
        if now >= self._next_look:
            self._next_look = now + LOOK_INTERVAL
            self._look(now)

    def close(self) -> None:
        """Begin nothing any more, and give back what only waits to begin."""
        if self.is_closing:
            return
        self.is_closing = True
        waiting = [run_id for run_id in list(self.rate_limits.waiting) if self._loop.drop(run_id)]
        for run_id in waiting:
            self._give_back(self.claims[run_id], None)
        self._leave(waiting)

    def stopped(self, error: BaseException) -> BaseException:
        """Give all turns back after an error, or an order to stop.

        Returns:
            what is to be raised: an order to stop as the server words it.
        """
        for _ in range(MAX_ORDERS):
            try:
                if isinstance(error, Interrupted):
                    self._database.obey()  # else the next statement would
                self._give_all_back()
            except (AgentOSError, DatabaseError):  # the leases end by themselves
                pass
            except Interrupted as order:
                error = order
                continue
            break
        return error

    def _give_all_back(self) -> None:
        """What is committed stays, somebody else goes on."""
        self._transactions.rollback()
        self._loop.close_all()
        # Also those of a claim that was interrupted: such locks outlast what is rolled back.
        queue.unlock_all(self._database, besides=self._locks_of_caller)
        for claim in self.claims.values():
            self._give_back(claim, None)
        self.claims.clear()
        self._transactions.commit()

    def _give_back(self, claim: Claim, error: dict[str, Any] | None) -> None:
        # It may be another's by now; if not, others see that its lock is free.
        with suppress(AgentOSError, DatabaseError), self._transactions.stretch():
            queue.give_back(self._database, claim, error, None)

    def _read_all(self, claims: list[Claim]) -> dict[str, turns.Context]:
        """Read the turns of a batch at once; what fails there is read by each turn itself."""
        contexts: dict[str, turns.Context] = {}
        if len(claims) < 2 or time.monotonic() < self._one_by_one_until:
            return contexts
        session, by_tenant = self._session, defaultdict(list)
        for claim in claims:
            by_tenant[claim.tenant_id].append(claim.run_id)
        for tenant_id, run_ids in by_tenant.items():
            with (
                suppress(AgentOSError, DatabaseError),
                session.identities.acting(tenant_id, None),
                self._transactions.stretch(),
            ):
                contexts |= turns.read_all(session.database, session.in_flight, run_ids)
        return contexts

    def _drive(self, claim: Claim, context: turns.Context | None) -> Steps[None]:
        session = self._session
        turn = turns.load(session.database, session.in_flight, claim.run_id, context)
        del context  # long, and a turn may take long
        turn.fence = claim.fence
        if time.monotonic() >= self._one_by_one_until:
            turn.records = self._records
            if turn.budgets is not None:
                turn.budgets.reads = self._budget_reads
        yield from loop.advance(
            session.database, turn, session.carrier.exchange, session.tools, self
        )
        self.rate_limits.count_tokens(turn)

    def _in_stretches(self, claim: Claim, steps: Steps[None]) -> Steps[None]:
        """Let a turn act for its tenant, and undo what it did since its last pause if it fails."""
        identities, transactions = self._session.identities, self._transactions
        is_ready: Any = None
        try:
            while True:
                with (
                    identities.acting(claim.tenant_id, claim.principal_id),
                    transactions.stretch(),
                ):
                    try:
                        wait = steps.send(is_ready)
                    except StopIteration:
                        return
                is_ready = yield wait
        finally:
            steps.close()

    def _commit_all(self) -> None:
        """Commit until no turn has paused, so that nothing is open while they wait."""
        while self._transactions.is_open or self._loop.has_paused or self._records:
            try:
                lost = self._write_records()
                self._transactions.commit()
            except DatabaseError as error:
                self._begin_anew(error)
                return
            self._lost_commits = 0
            self._budget_reads.clear()
            if lost := [run_id for run_id in lost if self._loop.drop(run_id)]:
                self._leave(lost)
            self._renew()
            self._loop.go_on(LONG)

    def _write_records(self) -> list[str]:
        """Write what the turns have come to; returns those that are another's by now."""
        lost = []
        for tenant_id in self._records.tenants():
            with self._session.identities.acting(tenant_id, None):
                lost += self._records.write(self._database, tenant_id)
        return lost

    def _begin_anew(self, error: DatabaseError) -> None:
        """A commit failed: what the turns remember is not what their rows say."""
        self._lost_commits += 1
        if self._lost_commits == MAX_LOST_COMMITS or not self._puts_off:
            raise error
        self._give_all_back()
        self._loop = Loop()
        self._records = turns.Records()
        # The one that fails is to be found out.
        self._one_by_one_until = time.monotonic() + ONE_BY_ONE_SECONDS

    def _take_leave(self, results: list[tuple[Any, Any]]) -> None:
        """Let go of turns that have come to their end, or to where somebody else acts."""
        left = []
        for run_id, result in results:
            claim = self.claims.get(run_id)
            if claim is None:  # given back meanwhile
                continue
            left.append(run_id)
            if isinstance(result, Exception) and not isinstance(result, ClaimLost):
                self.failure = result
                self._give_back(claim, failures.driver_error(result))
        self._leave(left)

    def _leave(self, run_ids: list[str]) -> None:
        queue.unlock(self._database, run_ids)
        for run_id in run_ids:
            del self.claims[run_id]
        self.ended += len(run_ids)
        self._commit_all()

    def _look(self, now: float) -> None:
        """Say that the driver is alive, and stop what was cancelled or taken by others."""
        if self._puts_off and len(self.claims) != self._shown:
            self.show()
        if not self.claims:
            return
        self._renew()
        held = queue.held(self._database, self.name)
        gone = [c.run_id for c in self.claims.values() if (c.run_id, c.fence) not in held]
        # A turn that has just ended is gone too; the loop is about to say so.
        if lost := [run_id for run_id in gone if self._loop.drop(run_id)]:
            self._leave(lost)
        self._commit_all()

    def _renew(self) -> None:
        """Say in time that the driver is alive; nothing is open before and after it."""
        if self.claims and time.monotonic() >= self._next_renewal:
            self._next_renewal = time.monotonic() + LEASE / 3
            queue.renew(self._database, self.name, LEASE)
            self._transactions.commit()  # it has locked turns before their conversations
