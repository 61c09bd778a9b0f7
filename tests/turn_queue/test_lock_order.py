"""Two sessions at the same turn, in every order: one may wait for the other, neither for ever.

The first session does something and stays in its transaction; the second does something else until
it is done or waits; then the first writes the end of the turn, for which it needs everything that
there is to lock, and commits. A lock order that differs anywhere would be a deadlock here.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import psycopg
import pytest

from kernel.background import Background, run_in_background
from turn_queue.conftest import Queue, Worker

#: what somebody does to the turn %(turn)s, which is claimed under %(fence)s by %(worker)s, or to
#: the turn %(waiting)s of the same tenant, which waits
ACTIONS = {
    "submit": "select aos_agent.submit(%(waits_in)s, 'more', 1)",
    "submit late": "select aos_agent.submit(%(is_in)s, 'more')",
    "add a message": "select aos_agent.add_user_message(%(is_in)s, 'more')",
    "run_turn": "select aos_agent._drive_turn(%(waiting)s)",
    "cancel": "select aos_agent.cancel_turn(%(turn)s)",
    "cancel the waiting": "select aos_agent.cancel_turn(%(waiting)s)",
    "resubmit": "select aos_agent.resubmit(%(dead)s)",
    "delete": "delete from aos_agent.conversation where conversation_id = %(died_in)s",
    "claim": "select aos_core._claim(%(other)s, 'database', 5, '60 seconds', false)",
    "claim by name": "select aos_core._claim_turn(%(waiting)s, %(other)s, '60 s', true, false)",
    "claim anew": "select aos_core._claim_turn(%(turn)s, %(other)s, '60 s', false, false)",
    "heartbeat": "select aos_core._keep_claims(%(worker)s, '60 seconds')",
    "hold": "select aos_core._hold_claim(%(turn)s, %(fence)s, true, '60 seconds')",
    "give back": "select aos_core._give_back(%(turn)s, %(fence)s)",
    "fail": 'select aos_core._give_back(%(turn)s, %(fence)s, \'{"kind": "x"}\')',
    "finish": "select aos_core._hold_claim(%(turn)s, %(fence)s, true, '60 seconds'),"
    " aos_core._record(%(turn)s, '[]', '[]', 'completed')",
    "release dead": "select aos_core._release_dead(%(other)s)",
    "enqueue": "select aos_agent._lock_turn(%(waiting)s), aos_core._enqueue(%(waiting)s, 2)",
    "take rate": "select aos_core._take_rate('openai', %(tenant)s)",
    "spend rate": "select aos_core._spend_rate('openai', %(tenant)s, 5)",
    "clean": "select aos_core.clean_queue()",
}
#: what says that it has to be committed at once
ALONE = {"clean", "heartbeat"}
#: what the rules of the queue answer to whoever comes at the wrong moment
REFUSALS = {"OS002", "OS003", "OS004", "OS006"}

END = "select aos_agent._fail(r.run_id, '{}') from aos_agent._lock_turn(%(turn)s) as r" \
    " where r.finished_at is null"  # fmt: skip


@dataclass
class Pair:
    """Two sessions and what they meet over."""

    first: Worker
    second: Worker
    given: dict[str, Any]

    def act(self, session: Worker, action: str) -> None:
        """Do something; being refused by a rule is as good."""
        try:
            with session.connection.transaction():
                session.connection.execute(action, self.given)
        except psycopg.Error as error:
            if error.sqlstate not in REFUSALS:
                raise

    def alone(self, action: str) -> None:
        """Do something in a transaction of its own, by the second session."""
        with self.second.connection.transaction():
            self.act(self.second, action)


@contextmanager
def limits(queue: Queue, tenant_id: UUID) -> Iterator[None]:
    """Limits that are far away, so that their locks are taken and nothing else changes."""
    tenant = "update aos_auth.tenant set max_concurrent_turns = %s, requests_per_minute = %s"
    provider = "update aos_meta.provider set tokens_per_minute = %s where provider = 'openai'"
    queue.house.rows(f"{tenant} where tenant_id = %s", 1000, 10**6, tenant_id)
    queue.house.rows(provider, 10**9)
    try:
        yield
    finally:
        queue.house.rows(f"{tenant} where tenant_id = %s", None, None, tenant_id)
        queue.house.rows(provider, None)


def set_the_scene(queue: Queue, first: Worker, second: Worker, agent: Any) -> Pair:
    """A turn that is claimed, one that waits, a dead letter; the first session may be the owner."""
    queue.house.rows("delete from aos_core.queue")
    conversations = [queue.house.conversation(agent) for _ in range(3)]
    dead, turn, waiting = (
        queue.house.call("aos_agent.submit", conversation_id, "hello")
        for conversation_id in conversations
    )
    queue.house.rows("update aos_core.queue set attempt = 4 where run_id = %s", dead)
    fences = [
        queue.house.one(
            "select aos_core._claim_turn(%s, %s, '60 seconds', false, true)", turn_id, first.name
        )
        for turn_id in (dead, turn)
    ]
    queue.house.call("aos_core._give_back", dead, fences[0], {"kind": "test"})
    given = {
        "turn": turn, "is_in": conversations[1], "fence": fences[1], "worker": first.name,
        "waiting": waiting, "waits_in": conversations[2], "other": second.name,
        "dead": dead, "died_in": conversations[0], "tenant": agent.tenant_id,
    }  # fmt: skip
    return Pair(first, second, given)


def is_blocked(observer: psycopg.Connection, worker: Worker) -> bool:
    """Whether a session waits for a lock that another one has."""
    row = observer.execute(
        "select wait_event_type = 'Lock' from pg_sleep(0.003), pg_stat_activity where pid = %s",
        (worker.connection.info.backend_pid,),
    ).fetchone()
    assert row is not None
    return bool(row[0])


def meet(
    observer: psycopg.Connection, submit: Background, pair: Pair, before: str, after: str
) -> bool:
    """Let two actions meet; returns whether the second had to wait."""
    has_waited = False
    with pair.first.connection.transaction():
        pair.act(pair.first, ACTIONS[before])
        other: Future[Any] = submit(pair.alone, ACTIONS[after])
        while not other.done() and not has_waited:
            has_waited = is_blocked(observer, pair.second)
        if before not in ALONE:
            pair.act(pair.first, END)
    pair.first.house.rows("select pg_advisory_unlock_all()")  # as whoever claims by name does
    other.result()
    pair.second.house.rows("select pg_advisory_unlock_all()")
    return has_waited


@pytest.mark.parametrize("before", ACTIONS)
def test_no_two_of_them_wait_for_each_other(queue: Queue, before: str) -> None:
    first, second = queue.worker(), queue.worker()
    for session in (first, second):
        session.connection.execute("reset role; set deadlock_timeout = '50ms'")
        session.connection.execute("set role pgagentos_kernel")
    agent = queue.agent()
    waited = set()
    with (
        queue.database.connect() as observer,
        run_in_background(queue.database) as submit,
        limits(queue, agent.tenant_id),
    ):
        for after in ACTIONS:
            pair = set_the_scene(queue, first, second, agent)
            if meet(observer, submit, pair, before, after):
                waited.add(after)
    # END alone makes those wait that want the conversation of the turn
    if before in ("cancel", "hold", "give back", "fail", "finish"):
        assert {"cancel", "hold", "give back", "fail", "finish"} <= waited
    # and these never wait for a turn
    assert waited.isdisjoint({"heartbeat", "release dead"})
