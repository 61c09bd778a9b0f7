"""One backend that drives the queue: CALL aos_agent.work(...) with hundreds of calls in flight."""

from __future__ import annotations

import threading
import time
from typing import Any

from contestants.pgagentos import AGENT, LOGIN
from contestants.standard_turn import check_answer, user_text
from meters import cpu_seconds, private_memory
from session import Session

CALLS = 2  # model calls of a turn
MOCK_MUST = 700  # calls a second; the mock has to be faster than whoever is measured with it
SPARE_SECONDS = 8  # the queue is filled for so much longer than anybody looks
SAMPLE_SECONDS = 0.5

OPEN = """
insert into aos_agent.conversation (agent_id, tenant_id)
select a.agent_id, a.tenant_id from aos_agent.agent a, generate_series(1, %(count)s)
where a.name = %(agent)s
returning conversation_id::text
"""
SUBMIT = """
select aos_agent.submit(c.id::uuid, c.content)::text
from unnest(%(ids)s::text[], %(contents)s::text[]) as c (id, content)
"""
ANSWERS = """
select m.content, s.message ->> 'content'
from aos_core.run r
join aos_agent.message m on m.run_id = r.run_id
join aos_core.step s on s.run_id = r.run_id and s.step_no = 3
where r.status = 'completed'
"""
NOT_COMPLETED = """
select count(*) from aos_core.run
where status in ('failed', 'cancelled') or status = 'completed' and model_calls <> 2
"""


def run(session: Session) -> dict[str, Any]:
    """Fill the queue with standard turns, and look at one backend that empties it.

    Returns:
        By contestant, one record a round: calls, elapsed (seconds), ideal (calls a second if a
        call took no longer than the model), backend_cpu (seconds), RssAnon and Private_Dirty (kB,
        the most that was seen), cpu, server_cpu, mock_cpu, wal, others, and mock_ceiling (calls a
        second of a bare client with twice the connections).
    """
    sizes = session.sizes
    results: dict[str, Any] = {}
    for name in session.names("worker"):
        ceiling = mock_ceiling(session)
        database = session.database(name, "worker", delay_ms=sizes.worker_delay_ms)
        with session.meter.connect(database) as admin:
            admin.execute("select aos_auth.grant_access(%s, 'worker')", (LOGIN,))
        results[name] = []
        first = 0  # number of the round's first turn
        for _ in range(sizes.worker_rounds):
            turns = turns_to_queue(session)
            fill(session, database, first, turns)
            first += turns
            record = one_round(session, database)
            results[name].append(record | {"mock_ceiling": ceiling})
        check(session, database, first)
    return results


def ideal(session: Session) -> float:
    """Calls a second if a call took no longer than the model."""
    return session.sizes.worker_concurrency / (session.sizes.worker_delay_ms / 1000)


def mock_ceiling(session: Session) -> float:
    """Calls a second that the mock sustains, with twice as many connections as the worker has.

    Raises:
        SystemExit: it is too slow to measure anything with.
    """
    sizes = session.sizes
    seen = session.mock.ceiling(sizes.worker_delay_ms, 2 * sizes.worker_concurrency, 3)
    rate = seen["calls"] / seen["seconds"]
    if rate < MOCK_MUST:
        raise SystemExit(f"the mock answers only {rate:.0f} calls a second, not {MOCK_MUST}")
    return rate


def turns_to_queue(session: Session) -> int:
    """More turns than a round can drive."""
    seconds = session.sizes.worker_warm_seconds + session.sizes.worker_seconds + SPARE_SECONDS
    return int(ideal(session) / CALLS * seconds)


def fill(session: Session, database: str, first: int, turns: int) -> None:
    """Queue `turns` turns, each in a conversation of its own."""
    contents = [user_text(first + number) for number in range(turns)]
    with session.meter.connect_as(database, LOGIN) as connection:
        rows = connection.execute(OPEN, {"agent": AGENT, "count": turns}).fetchall()
        ids = [row[0] for row in rows]
        connection.execute(SUBMIT, {"ids": ids, "contents": contents})


def one_round(session: Session, database: str) -> dict[str, Any]:
    """One CALL: its start is not measured, nor its end.

    Raises:
        RuntimeError: it ended before the time was over.
    """
    sizes = session.sizes
    seconds = int(sizes.worker_warm_seconds + sizes.worker_seconds + SPARE_SECONDS / 2)
    failures: list[BaseException] = []
    with session.meter.connect_as(database, LOGIN) as connection:
        pid = connection.info.backend_pid

        def work() -> None:
            try:
                connection.execute(
                    "call aos_agent.work(%s, %s)", (seconds, sizes.worker_concurrency)
                )
            except BaseException as error:
                failures.append(error)

        worker = threading.Thread(target=work)
        worker.start()
        time.sleep(sizes.worker_warm_seconds)
        record = session.measured(lambda: look_on(session, pid, sizes.worker_seconds))
        has_ended = not worker.is_alive()
        worker.join()
    if failures:
        raise RuntimeError(f"aos_agent.work failed: {failures[0]}") from failures[0]
    if has_ended:
        raise RuntimeError("aos_agent.work ended before its time: the queue was empty")
    return record


def look_on(session: Session, pid: int, seconds: float) -> dict[str, Any]:
    """Count the calls that arrive at the model, and look at the backend meanwhile."""
    most = {"RssAnon": 0, "Private_Dirty": 0}
    cpu = cpu_seconds(pid)
    calls, start = session.mock.count(), time.monotonic()
    while (now := time.monotonic()) < start + seconds:
        time.sleep(min(SAMPLE_SECONDS, start + seconds - now))
        memory = private_memory(pid)
        most = {key: max(kilobytes, memory[key]) for key, kilobytes in most.items()}
    calls, elapsed = session.mock.count() - calls, time.monotonic() - start
    return {
        **most,
        "calls": calls,
        "elapsed": elapsed,
        "ideal": ideal(session),
        "backend_cpu": cpu_seconds(pid) - cpu,
        "cpu": 0.0,  # the client only waits
    }


def check(session: Session, database: str, queued: int) -> None:
    """Every answer is the right one, and no turn has failed or called the model too often.

    Raises:
        SystemExit: or not.
    """
    numbers = {user_text(number): number for number in range(queued)}
    with session.meter.connect(database) as connection:
        [[wrong]] = connection.execute(NOT_COMPLETED).fetchall()
        answers = connection.execute(ANSWERS).fetchall()
    if wrong or not answers:
        raise SystemExit(f"{wrong} turns of the queue did not complete, {len(answers)} did")
    for content, answer in answers:
        check_answer(numbers[content], answer)
