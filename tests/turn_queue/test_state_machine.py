"""Whatever is done to the queue in whatever order: the rows are what a simple model says.

The model knows nothing of SQL. Several sessions, some of which are killed, do random things, and
the clock goes forward by leaps; after each step all rows are compared with the model.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from psycopg.types.json import Jsonb

from house import Agent, name
from turn_queue.conftest import Claims, Queue, Worker

MAX_ATTEMPTS = 3
RETRY_SECONDS = 5
#: later than any clock that runs this
BEGIN = "timestamptz '2100-01-01 00:00Z'"
FAILURE = {"kind": "server_error", "sqlstate": "OS108", "message": "no luck"}


@dataclass(eq=False)
class Turn:
    """What the model knows of a turn; times are seconds since :data:`BEGIN`."""

    agent: Agent
    runner: str
    conversation_id: UUID
    priority: int
    run_after: float
    status: str = "waiting"
    holder: str | None = None
    lease_until: float = 0.0
    has_lock: bool = False
    fence: int = 0
    attempt: int = 0
    hangs: bool = False
    messages: int = 1
    #: claims of the past: (worker, fence)
    past: list[tuple[str, int]] = field(default_factory=list)


class QueueMachine(RuleBasedStateMachine):
    """Rules are what sessions do; the invariant compares."""

    def __init__(self, queue: Queue, staff: list[Worker]) -> None:
        super().__init__()
        self.queue = queue
        self.staff = staff
        self.queue.house.rows(
            "update public.queue_clock set ahead = '0'; delete from aos_core.queue;"
            " delete from aos_core.queue_lane; delete from aos_core.dedup_key;"
            " update aos_auth.tenant set max_concurrent_turns = null"
            "  where max_concurrent_turns is not null;"
            " update aos_agent.agent set max_concurrent_turns = null"
            "  where max_concurrent_turns is not null"
        )
        self.now = 0.0
        self.turns: dict[UUID, Turn] = {}
        self.keys: dict[tuple[UUID, str], UUID] = {}
        self.workers: dict[str, Worker] = {}
        self.dead: set[str] = set()
        self.locks: set[tuple[str, UUID]] = set()
        self.tenant_limits: dict[UUID, int | None] = {}
        self.agent_limits: dict[UUID, int | None] = {}
        self.agents: list[Agent] = []

    def teardown(self) -> None:
        for worker in self.workers.values():
            worker.connection.execute("select pg_advisory_unlock_all()")
            self.staff.append(worker)  # for the next example: a new session costs more than a step

    @initialize(
        of_agent=st.sampled_from([None, None, 1, 2]), of_tenant=st.sampled_from([None, None, 1, 2])
    )
    def open(self, of_agent: int | None, of_tenant: int | None) -> None:
        first = self.queue.agent()
        second = self.queue.house.agent(first.tenant_id, first.persona_id, runner="database")
        third = self.queue.agent()
        outside = self.queue.house.agent(third.tenant_id, third.persona_id, runner="external")
        self.agents = [first, second, third, outside]
        for runner in ("database", "database", "database", "external", "external"):
            self._hire(runner)
        # Enough to begin with: an example that has to build up everything itself seldom gets far.
        for agent in (0, 0, 0, 1, 1, 2, 3, 3):
            self._submit_one(agent, 0, 0, None)
        self.limit(0, of_agent, of_tenant=False)
        self.limit(3, of_tenant, of_tenant=True)
        for number in (0, 3):
            self.claim(number, 2, 60)

    def _hire(self, runner: str) -> None:
        for worker in self.staff:
            if worker.runner == runner:
                self.staff.remove(worker)
                worker.name = name("worker")
                break
        else:
            worker = self.queue.worker(runner)
        self.workers[worker.name] = worker

    def _worker(self, number: int, runner: str | None = None) -> Worker:
        fit = [w for w in self.workers.values() if runner in (None, w.runner)]
        return fit[number % len(fit)]

    def _turn(self, number: int, *statuses: str) -> tuple[UUID, Turn] | None:
        fit = [(i, t) for i, t in self.turns.items() if t.status in statuses]
        return fit[number % len(fit)] if fit else None

    def _held(self, number: int) -> tuple[UUID, Turn, Worker] | None:
        """A turn whose claim holds, whether or not its worker lives; the worker does."""
        fit = [(i, t) for i, t in self.turns.items() if t.status == "claimed"]
        fit = [(i, t) for i, t in fit if t.holder in self.workers]
        if not fit:
            return None
        turn_id, turn = fit[number % len(fit)]
        assert turn.holder is not None
        return turn_id, turn, self.workers[turn.holder]

    # --- what people do

    @rule(
        agent=st.integers(0, 3), priority=st.integers(-1, 1), delay=st.sampled_from([0, 0, 30]),
        key=st.sampled_from([None, None, "a", "b"]),
    )  # fmt: skip
    def submit(self, agent: int, priority: int, delay: int, key: str | None) -> None:
        self._submit_one(agent, priority, delay, key)

    def _submit_one(self, agent: int, priority: int, delay: int, key: str | None) -> None:
        chosen = self.agents[agent]
        conversation_id = self.queue.house.conversation(chosen)
        turn_id = self._submit(conversation_id, priority, delay, key)
        if key is not None:
            known = self.keys.setdefault((chosen.tenant_id, key), turn_id)
            assert turn_id == known
            if turn_id in self.turns:
                return
        runner = "external" if agent == 3 else "database"
        assert turn_id not in self.turns
        self.turns[turn_id] = Turn(chosen, runner, conversation_id, priority, self.now + delay)

    def _submit(
        self, conversation_id: UUID, priority: int, delay: int, key: str | None = None
    ) -> UUID:
        return self.queue.house.one(
            "select aos_agent.submit(%s, 'hello', %s,"
            " aos_core._now() + make_interval(secs => %s), %s)",
            conversation_id, priority, delay, key,
        )  # fmt: skip

    @rule(number=st.integers(0, 50), priority=st.integers(-1, 1))
    def say_more(self, number: int, priority: int) -> None:
        found = self._turn(number, "waiting", "claimed")
        if found is None:
            return
        turn_id, turn = found
        if turn.fence > 0:
            with self.queue.house.refused("OS003", "is under way"):
                self._submit(turn.conversation_id, priority, 0)
            return
        assert self._submit(turn.conversation_id, priority, 0) == turn_id
        turn.messages += 1
        turn.priority = max(turn.priority, priority)
        turn.run_after = min(turn.run_after, self.now)

    @rule(number=st.integers(0, 50))
    def cancel(self, number: int) -> None:
        found = self._turn(number, "waiting", "claimed")
        if found is not None:
            self.queue.house.call("aos_agent.cancel_turn", found[0])
            found[1].status = "cancelled"

    @rule(number=st.integers(0, 50))
    def resubmit(self, number: int) -> None:
        found = self._turn(number, "dead")
        if found is None:
            return
        turn_id, turn = found
        again = self.queue.house.call("aos_agent.resubmit", turn_id)
        turn.status = "failed"
        self.turns[again] = Turn(
            turn.agent, turn.runner, turn.conversation_id, turn.priority, self.now,
            messages=turn.messages,
        )  # fmt: skip

    @rule(agent=st.integers(0, 3), most=st.sampled_from([None, 1, 2]), of_tenant=st.booleans())
    def limit(self, agent: int, most: int | None, of_tenant: bool) -> None:
        chosen = self.agents[agent]
        if of_tenant:
            self.tenant_limits[chosen.tenant_id] = most
            table, column, value = "aos_auth.tenant", "tenant_id", chosen.tenant_id
        else:
            self.agent_limits[chosen.agent_id] = most
            table, column, value = "aos_agent.agent", "agent_id", chosen.agent_id
        self.queue.house.rows(
            f"update {table} set max_concurrent_turns = %s where {column} = %s", most, value
        )

    @rule(seconds=st.sampled_from([1, 6, 20, 61, 300]))
    def time_passes(self, seconds: int) -> None:
        self.queue.pass_time(seconds)
        self.now += seconds

    @rule()
    def clean(self) -> None:
        self.queue.house.call("aos_core.clean_queue")

    # --- what workers do

    @rule(number=st.integers(0, 9), most=st.integers(1, 6), lease=st.sampled_from([10, 60]))
    def claim(self, number: int, most: int, lease: int) -> None:
        worker = self._worker(number)
        self.heartbeat(number)
        claimed = worker.claim(most, f"{lease} seconds")
        self._sweep(worker)
        self._take(worker, claimed, lease)
        if len(claimed) < most:
            self._nothing_was_left(worker)

    @rule(number=st.integers(0, 9), most=st.integers(1, 6))
    def claim_in_vain(self, number: int, most: int) -> None:
        """A claim whose transaction is undone leaves everything as it was."""
        worker = self._worker(number)
        self.heartbeat(number)
        with worker.connection.transaction(force_rollback=True):
            claimed = worker.claim(most)
        for turn_id, _ in claimed:
            worker.unlock(turn_id)

    @rule(number=st.integers(0, 9), most=st.integers(1, 4), again=st.integers(1, 4))
    @precondition(lambda self: not any([*self.tenant_limits.values(), *self.agent_limits.values()]))
    def claim_at_once(self, number: int, most: int, again: int) -> None:
        """Two claims of which neither sees the other's."""
        first, second = self._worker(number), self._worker(number + 1)
        if first is second:
            return
        for n in (number, number + 1):
            self.heartbeat(n)
        with first.connection.transaction():
            ours = first.claim(most)
            theirs = second.claim(again)
        self._sweep(first, second)
        self._take(first, ours, 60)
        self._take(second, theirs, 60)

    @rule(number=st.integers(0, 50), by=st.integers(0, 9))
    def claim_by_name(self, number: int, by: int) -> None:
        found = self._turn(number, "waiting", "claimed")
        if found is None:
            return
        turn_id, turn = found
        worker = self._worker(by, turn.runner)
        self.heartbeat(list(self.workers).index(worker.name))
        if turn.holder == worker.name and turn.status == "claimed":
            return
        is_locked = worker.has_lock and self._is_locked_by_others(worker, turn_id)
        is_alive = turn.status == "claimed" and not self._is_lost(turn, worker)
        if is_locked or is_alive:
            with worker.house.refused("OS004", "is driven by somebody else"):
                worker.claim_turn(turn_id, "60 seconds")
            return
        fence = worker.claim_turn(turn_id, "60 seconds")
        assert fence is not None
        if turn.status == "claimed":
            self._lose(turn)
            turn.attempt += 1
        self._take(worker, [(turn_id, fence)], 60, is_by_name=True)

    @rule(number=st.integers(0, 9))
    def heartbeat(self, number: int) -> None:
        worker = self._worker(number)
        held = {
            (i, t.fence)
            for i, t in self.turns.items()
            if t.status == "claimed" and t.holder == worker.name
        }
        assert worker.keep("60 seconds") == held
        for turn_id, _ in held:
            turn = self.turns[turn_id]
            turn.lease_until = max(turn.lease_until, self.now + 60)
        for owner, turn_id in list(self.locks):  # of what it has lost, it lets go
            if owner == worker.name and turn_id not in {i for i, _ in held}:
                worker.unlock(turn_id)
                self.locks.discard((owner, turn_id))

    @rule(number=st.integers(0, 50), made_progress=st.booleans())
    def hold(self, number: int, made_progress: bool) -> None:
        found = self._held(number)
        if found is not None:
            turn_id, turn, worker = found
            worker.hold(turn_id, turn.fence, made_progress)
            turn.lease_until = max(turn.lease_until, self.now + 60)
            turn.attempt = 0 if made_progress else turn.attempt

    @rule(number=st.integers(0, 50), status=st.sampled_from(["completed", "failed"]))
    def finish(self, number: int, status: str) -> None:
        found = self._held(number)
        if found is not None:
            turn_id, turn, worker = found
            worker.finish(turn_id, turn.fence, status)
            self.locks.discard((worker.name, turn_id))
            turn.status = status

    @rule(number=st.integers(0, 50), fails=st.booleans())
    def give_back(self, number: int, fails: bool) -> None:
        found = self._held(number)
        if found is None:
            return
        turn_id, turn, worker = found
        state = worker.give_back(turn_id, turn.fence, FAILURE if fails else None)
        self.locks.discard((worker.name, turn_id))
        self._lose(turn)
        if not fails:
            turn.status, turn.run_after = "waiting", self.now
        else:
            turn.attempt += 1
            turn.hangs = False
            self._wait_or_die(turn_id, turn, RETRY_SECONDS * 2 ** (turn.attempt - 1) / 2)
        assert state == ("failed" if turn.status == "dead" else "queued")

    @rule(number=st.integers(0, 50), what=st.sampled_from(["hold", "give_back", "finish"]))
    def come_too_late(self, number: int, what: str) -> None:
        """Who has lost a claim can do nothing more with it."""
        fit = [
            (i, owner, fence)
            for i, t in self.turns.items()
            for owner, fence in t.past
            if owner in self.workers
        ]
        if not fit:
            return
        turn_id, owner, fence = fit[number % len(fit)]
        worker = self.workers[owner]
        with worker.house.refused("OS006", f"turn {turn_id} is not yours any more"):
            if what == "hold":
                worker.hold(turn_id, fence, made_progress=True)
            elif what == "give_back":
                self.queue.house.rows("select aos_core._give_back(%s, %s)", turn_id, fence)
            else:
                worker.finish(turn_id, fence)

    @rule(number=st.integers(0, 9))
    def die(self, number: int) -> None:
        """A backend is killed; another one is started."""
        worker = self._worker(number)
        worker.die()
        del self.workers[worker.name]
        self.dead.add(worker.name)
        self.locks = {(owner, turn) for owner, turn in self.locks if owner != worker.name}
        self._hire(worker.runner)

    @rule(number=st.integers(0, 9))
    def look_for_dead(self, number: int) -> None:
        worker = self._worker(number)
        lost = [t for t in self.turns.values() if self._is_lost(t, worker)]
        assert worker.release_dead() == len(lost)
        self._sweep(worker)
        assert not any(self._is_lost(t, worker) for t in self.turns.values())

    # --- what follows from it

    def _is_locked_by_others(self, worker: Worker, turn_id: UUID) -> bool:
        return any(owner != worker.name for owner, other in self.locks if other == turn_id)

    def _is_lost(self, turn: Turn, finder: Worker) -> bool:
        if turn.status != "claimed":
            return False
        is_gone = turn.has_lock and turn.holder in self.dead and turn.holder != finder.name
        return is_gone or turn.lease_until <= self.now

    def _lose(self, turn: Turn) -> None:
        assert turn.holder is not None
        turn.past.append((turn.holder, turn.fence))
        turn.holder = None

    def _wait_or_die(self, turn_id: UUID, turn: Turn, least: float) -> None:
        """After a failure: the turn waits between *least* and twice that, or is a dead letter."""
        if turn.attempt >= MAX_ATTEMPTS:
            turn.status = "dead"
            return
        turn.status = "waiting"
        turn.run_after = self._seconds(turn_id, "run_after")
        assert self.now + least <= turn.run_after <= self.now + 2 * least + 1e-3

    def _seconds(self, turn_id: UUID, column: str) -> float:
        return float(
            self.queue.house.one(
                f"select extract(epoch from {column} - {BEGIN}) from aos_core.queue"
                " where run_id = %s", turn_id,
            )
        )  # fmt: skip

    def _sweep(self, *finders: Worker) -> None:
        """Take over what the finders released: only what was lost may have been."""
        for turn_id, turn in self.turns.items():
            if turn.status != "claimed":
                continue
            row = self.queue.row(turn_id, "worker, fence, attempt")
            assert row is not None
            if row == (turn.holder, turn.fence, turn.attempt):
                continue
            assert any(self._is_lost(turn, finder) for finder in finders), (turn, row)
            is_at_once = turn.lease_until > self.now and turn.attempt == 0
            turn.hangs = turn.has_lock and turn.holder not in self.dead
            self._lose(turn)
            turn.attempt += 1
            assert row[2] == turn.attempt
            if row[0] is not None:  # and claimed anew
                assert is_at_once
                turn.status, turn.run_after = "waiting", self.now
            else:
                least = 0 if is_at_once else RETRY_SECONDS * 2 ** (turn.attempt - 1) / 2
                self._wait_or_die(turn_id, turn, least)

    def _take(self, worker: Worker, claims: Claims, lease: int, is_by_name: bool = False) -> None:
        assert len({turn for turn, _ in claims}) == len(claims)
        for turn_id, fence in claims:
            turn = self.turns[turn_id]
            if not is_by_name:
                assert turn.status == "waiting", turn
                assert turn.run_after <= self.now, turn
            assert turn.runner == worker.runner
            assert fence == turn.fence + 1
            turn.status, turn.holder, turn.fence = "claimed", worker.name, fence
            turn.lease_until = self.now + lease
            turn.has_lock = worker.has_lock and not self._is_locked_by_others(worker, turn_id)
            assert turn.has_lock == worker.has_lock or turn.hangs
            if turn.has_lock:
                turn.hangs = False
                self.locks.add((worker.name, turn_id))
        if not is_by_name and claims:
            for agent in self.agents:
                self._is_within_limits(agent, {turn_id for turn_id, _ in claims})

    def _count(self, agent: Agent, of_tenant: bool) -> int:
        return sum(
            t.status == "claimed"
            and (t.agent.tenant_id == agent.tenant_id if of_tenant else t.agent is agent)
            for t in self.turns.values()
        )

    def _is_full(self, agent: Agent) -> bool:
        most, mine = self.tenant_limits.get(agent.tenant_id), self.agent_limits.get(agent.agent_id)
        return (most is not None and self._count(agent, True) >= most) or (
            mine is not None and self._count(agent, False) >= mine
        )

    def _is_within_limits(self, agent: Agent, new: set[UUID]) -> None:
        """Whoever got a turn by a claim is not above the limit that held then."""
        got = [self.turns[i].agent for i in new]
        most, mine = self.tenant_limits.get(agent.tenant_id), self.agent_limits.get(agent.agent_id)
        if most is not None and any(a.tenant_id == agent.tenant_id for a in got):
            assert self._count(agent, True) <= most
        if mine is not None and any(a is agent for a in got):
            assert self._count(agent, False) <= mine

    def _nothing_was_left(self, worker: Worker) -> None:
        """A claim that had room for more has left nothing that it could have had."""
        for turn_id, turn in self.turns.items():
            assert not self._is_lost(turn, worker), turn
            if turn.status != "waiting" or turn.runner != worker.runner:
                continue
            if turn.run_after > self.now or self._is_full(turn.agent):
                continue
            assert worker.has_lock, turn
            assert self._is_locked_by_others(worker, turn_id), turn
            assert not turn.hangs, turn

    @invariant()
    def the_rows_are_what_the_model_says(self) -> None:
        found: dict[UUID, tuple[Any, ...]] = {
            row[0]: row[1:]
            for row in self.queue.house.rows(
                "select r.run_id, r.status, q.run_id is not null, q.worker, q.fence, q.attempt,"
                " q.died_at is not null, q.priority, q.has_lock,"
                f" extract(epoch from q.run_after - {BEGIN})::float,"
                f" extract(epoch from q.lease_until - {BEGIN})::float,"
                " (select count(*) from aos_agent.message as m where m.run_id = r.run_id)"
                " from aos_core.run as r left join aos_core.queue as q using (run_id)"
                " where r.run_id = any (%s)", list(self.turns),
            )
        }  # fmt: skip
        assert set(found) == set(self.turns)  # nothing is lost
        for turn_id, turn in self.turns.items():
            status, is_queued, worker, fence, attempt, is_dead, priority, has_lock, *rest = found[
                turn_id
            ]
            run_after, lease_until, messages = rest
            assert messages == turn.messages  # nothing is doubled
            assert is_queued == (turn.status in ("waiting", "claimed", "dead"))
            assert (status in ("completed", "failed", "cancelled")) == (
                turn.status not in ("waiting", "claimed")
            )
            if not is_queued:
                continue
            assert (worker, fence, attempt, priority) == (
                turn.holder, turn.fence, turn.attempt, turn.priority,
            )  # fmt: skip
            assert is_dead == (turn.status == "dead")
            if turn.status == "claimed":
                assert has_lock == turn.has_lock
                assert abs(lease_until - turn.lease_until) < 1e-3
            elif turn.status == "waiting":
                assert abs(run_after - turn.run_after) < 1e-3
        others = self.queue.house.one(
            "select count(*) from aos_core.queue where run_id <> all (%s)", list(self.turns)
        )
        assert others == 0


def test_the_queue_keeps_its_promises_whatever_is_done_to_it(queue: Queue) -> None:
    queue.house.rows(
        "create or replace function aos_core._now() returns timestamptz language sql volatile"
        f" return {BEGIN} + (select c.ahead from public.queue_clock as c)"
    )
    queue.house.rows(
        "update aos_meta.setting set value = %s where name = 'queue_max_attempts'",
        Jsonb(MAX_ATTEMPTS),
    )
    staff: list[Worker] = []
    run_state_machine_as_test(
        lambda: QueueMachine(queue, staff),
        settings=settings(
            max_examples=60,
            stateful_step_count=50,
            deadline=None,
            database=None,
            print_blob=True,
            suppress_health_check=list(HealthCheck),
        ),
    )
