"""``CALL aos_agent.work``: one backend drives the turns of the queue."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from budget.stage import budget
from cluster import Database
from kernel.background import Background, wait_for
from kernel.drivers import (
    advisory_locks,
    held_open,
    own_state,
    shape,
    status,
    submit,
    work,
    work_until_cancelled,
)
from kernel.replies import AT_ONCE, calls, fails, held, says, tool_call
from kernel.scene import Scene, make_scene
from servers.play_server import Answer, PlayServer
from turn_queue.conftest import replace_clock


@pytest.fixture
def worker(database: Database) -> Iterator[psycopg.Connection]:
    """The session that works; the scene's own looks on."""
    with database.connect() as opened:
        yield opened


@pytest.fixture
def second(database: Database) -> Iterator[psycopg.Connection]:
    """Another one that works."""
    with database.connect() as opened:
        yield opened


@pytest.fixture(autouse=True)
def impatient(connection: psycopg.Connection) -> Iterator[None]:
    """Turns that failed wait for a moment; whatever a test leaves in the queue is cancelled."""
    connection.execute(
        "update aos_meta.setting set value = '0.05' where name = 'queue_retry_seconds'"
    )
    yield
    connection.execute(
        "select aos_agent.cancel_turn(run_id) from aos_core.queue where died_at is null"
    )


def forever(answer: Answer) -> Answer:
    """The answer to every further request, too."""
    return Answer(answer.body, answer.status, answer.headers, answer.fault, answer.is_held, True)


def queued(scene: Scene, turn_id: Any) -> dict[str, Any] | None:
    """A turn's row in the queue."""
    found = scene.rows("select * from aos_core.queue where run_id = %s", turn_id)
    return found[0] if found else None


def drain(scene: Scene, session: psycopg.Connection, *turns: Any) -> None:
    """Work until the turns are over."""
    for _ in range(60):
        work(session)
        if all(status(scene, t) in ("completed", "failed", "cancelled") for t in turns):
            return
    pytest.fail(f"never over: {[(t, status(scene, t), queued(scene, t)) for t in turns]}")


# --- what it does ---------------------------------------------------------------------------------


def test_it_drives_many_turns_at_the_same_time(
    scene: Scene, worker: psycopg.Connection, in_background: Background
) -> None:
    scene.skill("one() returns int language sql return 1")
    scene.says(*[held(says(f"answer {n}")) for n in range(20)])
    turns = [submit(scene) for _ in range(20)]
    before = own_state(worker)
    running = in_background(work, worker, 2)
    scene.play.arrived(20)  # all of them, before the first is answered
    assert {status(scene, t) for t in turns} == {"running"}
    assert [shape(scene, t) for t in turns] == [["model running"]] * 20
    for _ in turns:
        scene.play.release()
    assert running.result() == 20
    assert {status(scene, t) for t in turns} == {"completed"}
    assert [shape(scene, t) for t in turns] == [["model completed"]] * 20
    assert scene.rows("select from aos_core.queue where tenant_id = %s", scene.tenant_id) == []
    assert own_state(worker) == before
    assert advisory_locks(scene.connection, worker.info.backend_pid) == 0


def test_it_never_drives_more_than_it_was_told(
    scene: Scene, worker: psycopg.Connection, in_background: Background
) -> None:
    scene.says(*[held(says("done"))] * 6)
    turns = [submit(scene) for _ in range(6)]
    running = in_background(work, worker, 5, 2)
    for number in range(2, 7):
        scene.play.arrived(number)
        claimed = "select from aos_core.queue where tenant_id = %s and worker is not null"
        assert len(scene.rows(claimed, scene.tenant_id)) <= 2
        scene.play.release()
    scene.play.release()
    running.result()
    assert {status(scene, t) for t in turns} == {"completed"}


def test_nothing_is_held_open_while_models_think(
    scene: Scene, worker: psycopg.Connection, in_background: Background
) -> None:
    pid = worker.info.backend_pid
    scene.says(*[held(says("done"))] * 3)
    for _ in range(3):
        submit(scene)
    running = in_background(work, worker, 1)
    scene.play.arrived(3)
    wait_for(scene.connection, "clock_timestamp() > query_start + interval '1.5 seconds'"
             " from pg_stat_activity where pid = %s", pid)  # fmt: skip
    seen = []
    for _ in range(30):
        scene.connection.execute("select pg_log_backend_memory_contexts(%s)", (pid,))
        time.sleep(0.02)
        seen.append(held_open(scene.connection, pid))
    assert seen.count((None, None)) > len(seen) / 2
    for _ in range(3):
        scene.play.release()
    assert running.result() == 3


def test_when_its_time_is_over_it_waits_for_the_call_under_way_and_gives_the_turn_back(
    scene: Scene, worker: psycopg.Connection, in_background: Background
) -> None:
    scene.skill("one() returns int language sql return 1")
    scene.says(held(calls(tool_call("one"))), says("done"))
    turn_id = submit(scene)
    running = in_background(work, worker, 1)
    scene.play.arrived(1)
    wait_for(scene.connection, "clock_timestamp() > query_start + interval '1.2 seconds'"
             " from pg_stat_activity where pid = %s", worker.info.backend_pid)  # fmt: skip
    assert not running.done()
    scene.play.release()
    running.result()
    assert shape(scene, turn_id) == ["model completed", "tool pending"]
    row = queued(scene, turn_id)
    assert row is not None
    assert (row["worker"], row["attempt"], row["error"]) == (None, 0, None)
    assert status(scene, turn_id) == "queued"
    work(worker)
    assert shape(scene, turn_id) == ["model completed", "tool completed", "model completed"]


def test_limits_that_are_not_positive_are_refused(worker: psycopg.Connection) -> None:
    for given in ((0, 1), (1, 0), (-1, 1)):
        with pytest.raises(psycopg.Error) as caught:
            work(worker, *given)
        assert caught.value.sqlstate == "OS001"


def test_a_turn_that_waits_for_a_person_leaves_it_and_comes_back(
    scene: Scene, worker: psycopg.Connection
) -> None:
    scene.skill("one() returns int language sql return 1", approval="ask")
    scene.says(calls(tool_call("one")), says("done"))
    turn_id = submit(scene)
    assert work(worker) == 1
    assert status(scene, turn_id) == "awaiting_approval"
    row = queued(scene, turn_id)
    assert row is not None
    assert row["worker"] is None
    assert work(worker) == 0
    scene.value("select aos_agent.approve_tool_call(%s)", scene.steps(turn_id)[1]["step_id"])
    assert work(worker) == 1
    assert scene.run_turn(turn_id)["answer"] == "done"


# --- providers that fail --------------------------------------------------------------------------


def test_a_provider_that_fails_for_a_while_puts_the_turn_off(
    scene: Scene, worker: psycopg.Connection
) -> None:
    scene.says(*[fails(503, "full", **AT_ONCE)] * 3)
    turn_id = submit(scene)
    scene.connection.execute(
        "update aos_meta.setting set value = '3600' where name = 'queue_retry_seconds'"
    )
    assert work(worker) == 1
    row = queued(scene, turn_id)
    assert row is not None
    assert (row["worker"], row["attempt"], row["died_at"]) == (None, 1, None)
    assert (row["error"]["kind"], row["error"]["sqlstate"]) == ("overloaded", "OS107")
    assert status(scene, turn_id) == "queued"
    assert shape(scene, turn_id) == ["model pending"]
    assert scene.value("select run_after > clock_timestamp() + interval '10 minutes'"
                       " from aos_core.queue where run_id = %s", turn_id)  # fmt: skip
    assert scene.steps(turn_id)[0]["error"]["sqlstate"] == "OS107"
    # It goes on as if nothing had been.
    scene.connection.execute(
        "update aos_core.queue set run_after = clock_timestamp() where run_id = %s", (turn_id,)
    )
    scene.says(says("done"))
    assert work(worker) == 1
    [step] = scene.steps(turn_id)
    assert (step["status"], step["attempts"], step["error"]) == ("completed", 4, None)
    keys = {request.headers["idempotency-key"] for request in scene.play.requests()}
    assert keys == {f"{turn_id}-1"}


def test_a_turn_that_fails_again_and_again_becomes_a_dead_letter(
    scene: Scene, worker: psycopg.Connection
) -> None:
    scene.says(forever(fails(500, "broken", **AT_ONCE)))
    turn_id = submit(scene)
    drain(scene, worker, turn_id)
    state = scene.run_turn(turn_id)
    assert (state["status"], state["error"]["kind"]) == ("failed", "server_error")
    assert state["error"]["attempts"] == 5
    assert {step["status"] for step in scene.steps(turn_id)} == {"failed"}
    assert len(scene.play.requests()) == 15
    [letter] = scene.rows("select * from aos_agent.dead_letter where turn_id = %s", turn_id)
    assert (letter["attempts"], letter["content"]) == (5, "hello")


def test_what_will_not_be_better_later_fails_at_once(
    scene: Scene, worker: psycopg.Connection
) -> None:
    scene.says(fails(400, "no such thing"))
    turn_id = submit(scene)
    work(worker)
    assert scene.run_turn(turn_id)["error"]["kind"] == "invalid_request"
    assert queued(scene, turn_id) is None


# --- limits ---------------------------------------------------------------------------------------


def test_a_budget_holds_for_all_turns_under_way(scene: Scene, worker: psycopg.Connection) -> None:
    budget(scene, "day", max_tokens=40)
    scene.says(forever(says("done", usage=(10, 5))))
    turns = [submit(scene) for _ in range(6)]
    work(worker, 2, 1)
    ends = [status(scene, t) for t in turns]
    assert sorted(ends) == ["completed"] * 3 + ["failed"] * 3
    failed = turns[ends.index("failed")]
    assert scene.run_turn(failed)["error"]["kind"] == "budget"
    assert len(scene.play.requests()) == 3


def test_a_rate_limit_holds_and_what_waits_for_it_is_given_back(
    scene: Scene, worker: psycopg.Connection, in_background: Background
) -> None:
    scene.connection.execute(
        "update aos_auth.tenant set requests_per_minute = 1 where tenant_id = %s",
        (scene.tenant_id,),
    )
    scene.says(forever(says("done")))
    turns = [submit(scene) for _ in range(3)]
    running = in_background(work, worker, 1)
    assert running.result(timeout=30) == 3
    assert sorted(status(scene, t) for t in turns).count("completed") == 1
    assert len(scene.play.requests()) == 1
    rows = scene.rows(
        "select worker, attempt, error from aos_core.queue where tenant_id = %s", scene.tenant_id
    )
    assert rows == [{"worker": None, "attempt": 0, "error": None}] * 2
    scene.connection.execute(
        "update aos_auth.tenant set requests_per_minute = null where tenant_id = %s",
        (scene.tenant_id,),
    )
    drain(scene, worker, *turns)


def test_tokens_count_against_a_rate_limit_while_the_turn_goes_on(
    scene: Scene, worker: psycopg.Connection
) -> None:
    scene.skill("one() returns int language sql return 1")
    scene.connection.execute(
        "update aos_auth.tenant set tokens_per_minute = 60 where tenant_id = %s", (scene.tenant_id,)
    )
    # The first call uses more than there is, so the second one has to wait.
    scene.says(calls(tool_call("one"), usage=(100000, 5)), says("too early"))
    turn_id = submit(scene)
    work(worker)
    assert shape(scene, turn_id) == ["model completed", "tool completed"]
    assert len(scene.play.requests()) == 1
    scene.connection.execute(
        "update aos_auth.tenant set tokens_per_minute = null where tenant_id = %s",
        (scene.tenant_id,),
    )


def test_a_fallback_model_is_called_and_counted_at_its_own_provider(
    scene: Scene, worker: psycopg.Connection, play_server: PlayServer
) -> None:
    fallback = play_server.play(f"{scene.name}-fallback")
    model = scene.add_fallback(fallback.url)
    provider = scene.value(
        "update aos_meta.provider as p set tokens_per_minute = 60 from aos_meta.llm_model_registry"
        " as m where m.model_name = %s and p.provider = m.provider returning p.provider",
        model,
    )
    # The first answer uses more than the fallback's provider has, so the second turn has to wait.
    scene.says(forever(fails(401)))
    fallback.add(says("from there", usage=(100000, 5)), says("too early"))
    first = submit(scene)
    work(worker)
    assert status(scene, first) == "completed"
    second = submit(scene)
    work(worker)
    assert status(scene, second) not in ("completed", "failed")
    assert len(fallback.requests()) == 1
    scene.connection.execute(
        "update aos_meta.provider set tokens_per_minute = null where provider = %s", (provider,)
    )
    drain(scene, worker, second)
    assert len(fallback.requests()) == 2


# --- turns that are broken ------------------------------------------------------------------------


def test_a_turn_that_cannot_be_recorded_stops_no_other(
    scene: Scene, worker: psycopg.Connection, play_server: PlayServer
) -> None:
    poisoned = make_scene(scene.connection, play_server.play(f"{scene.name}-poisoned"))
    scene.connection.execute(
        "alter table aos_core.step add constraint nobody_says_poison"
        " check (message::text !~ 'poison') not valid"
    )
    try:
        poisoned.says(forever(says("poison")))
        scene.says(forever(says("fine")))
        bad = submit(poisoned)
        good = [submit(scene) for _ in range(4)]
        drain(scene, worker, bad, *good)
        assert {status(scene, t) for t in good} == {"completed"}
        assert [shape(scene, t) for t in good] == [["model completed"]] * 4
        error = poisoned.run_turn(bad)["error"]
        assert (error["kind"], error["sqlstate"]) == ("driver", "23514")
        assert shape(poisoned, bad) == ["model failed"]
    finally:
        scene.connection.execute("alter table aos_core.step drop constraint nobody_says_poison")


def test_a_turn_that_cannot_be_read_stops_no_other(
    scene: Scene, worker: psycopg.Connection, play_server: PlayServer
) -> None:
    broken = make_scene(scene.connection, play_server.play(f"{scene.name}-broken"))
    # A secret that cannot be opened here, for want of a master key.
    scene.connection.execute(
        "insert into aos_meta.secret (name, ciphertext, key_id, available_to)"
        " values (%s, '', 'none', 'all')",
        (broken.name,),
    )
    scene.connection.execute(
        "update aos_meta.provider set secret_name = provider where provider = %s", (broken.name,)
    )
    bad = submit(broken)
    scene.says(*[says("fine")] * 3)
    good = [submit(scene) for _ in range(3)]
    drain(scene, worker, bad, *good)
    assert {status(scene, t) for t in good} == {"completed"}
    error = broken.run_turn(bad)["error"]
    assert (error["kind"], error["sqlstate"]) == ("driver", "OS901")
    assert broken.play.requests() == []


def test_a_commit_that_fails_is_survived(scene: Scene, worker: psycopg.Connection) -> None:
    scene.connection.execute(
        "create sequence public.commits;"
        "create function public.fail_once() returns trigger language plpgsql security definer"
        " as $$ begin if pg_catalog.nextval('public.commits') = 1 then"
        " raise 'this commit fails'; end if; return null; end $$;"
        "create constraint trigger fail_once after update on aos_core.step"
        " deferrable initially deferred for each row execute function public.fail_once()"
    )
    try:
        scene.says(forever(says("done")))
        turns = [submit(scene) for _ in range(4)]
        drain(scene, worker, *turns)
        assert {status(scene, t) for t in turns} == {"completed"}
        assert scene.value("select is_called from public.commits")
        assert [shape(scene, t) for t in turns] == [["model completed"]] * 4
        assert advisory_locks(scene.connection, worker.info.backend_pid) == 0
    finally:
        scene.connection.execute(
            "drop function public.fail_once() cascade; drop sequence public.commits"
        )


def test_the_turn_of_a_worker_that_is_in_a_long_tool_is_taken_by_nobody(
    scene: Scene,
    worker: psycopg.Connection,
    second: psycopg.Connection,
    in_background: Background,
) -> None:
    """A worker in a tool says nothing; its lock says that it lives."""
    replace_clock(scene.connection)
    scene.skill(
        "waits() returns void language sql begin atomic select pg_advisory_xact_lock(816); end"
    )
    scene.says(calls(tool_call("waits")), says("done"))
    turn_id = submit(scene)
    scene.connection.execute("select pg_advisory_lock(816)")
    running = in_background(work, worker, 1)
    wait_for(scene.connection, "wait_event = 'advisory' from pg_stat_activity where pid = %s",
             worker.info.backend_pid)  # fmt: skip
    before = queued(scene, turn_id)
    scene.connection.execute("update public.queue_clock set ahead = '5 minutes'")
    assert work(second, 1) == 0
    assert queued(scene, turn_id) == before
    scene.connection.execute("select pg_advisory_unlock(816)")
    running.result()
    work(second, 1)
    assert shape(scene, turn_id) == ["model completed", "tool completed", "model completed"]
    assert len(scene.play.requests()) == 2


def test_a_turn_that_cannot_be_read_keeps_no_other_from_its_answer(
    scene: Scene, worker: psycopg.Connection
) -> None:
    """The turns of one claim are read by one statement, which it makes fail."""
    scene.says(*[says("done")] * 2)
    broken, *turns = [submit(scene) for _ in range(3)]
    [function] = scene.connection.execute(
        "select pg_get_functiondef('aos_agent._steps_of(uuid)'::regprocedure)"
    ).fetchone() or [""]
    check = f"if run_id = '{broken}' then raise exception 'out of order'; end if;"
    scene.connection.execute(function.replace("begin\n", f"begin {check}\n", 1))
    try:
        drain(scene, worker, *turns)
    finally:
        scene.connection.execute(function)
    assert [shape(scene, t) for t in turns] == [["model completed"]] * 2
    row = queued(scene, broken)
    assert row is not None
    assert row["error"]["message"] == "out of order"
    scene.says(says("done"))
    drain(scene, worker, broken)


# --- the end of a worker --------------------------------------------------------------------------


@pytest.mark.parametrize("signal", ["pg_cancel_backend", "pg_terminate_backend"])
def test_the_turns_of_a_worker_that_ended_are_taken_over_at_once(
    scene: Scene,
    worker: psycopg.Connection,
    second: psycopg.Connection,
    in_background: Background,
    signal: str,
) -> None:
    scene.skill("one() returns int language sql return 1")
    scene.says(*[calls(tool_call("one"))] * 3, *[held(says("lost"))] * 3)
    turns = [submit(scene) for _ in range(3)]
    before = own_state(worker)
    running = in_background(work_until_cancelled, worker)
    scene.play.arrived(6)
    scene.says(*[says("done")] * 3)
    scene.connection.execute(f"select {signal}(%s)", (worker.info.backend_pid,))
    assert running.result() in ("57014", "57P01", None)
    if signal == "pg_cancel_backend":
        assert own_state(worker) == before
        assert advisory_locks(scene.connection, worker.info.backend_pid) == 0
        rows = scene.rows(
            "select worker, attempt, error from aos_core.queue where tenant_id = %s",
            scene.tenant_id,
        )
        assert rows == [{"worker": None, "attempt": 0, "error": None}] * 3
    work(second, 5)
    assert [scene.run_turn(t)["answer"] for t in turns] == ["done"] * 3
    assert [shape(scene, t) for t in turns] == [
        ["model completed", "tool completed", "model completed"]
    ] * 3
    for _ in turns:
        scene.play.release()


def test_a_claim_that_is_cancelled_leaves_no_lock(
    scene: Scene, worker: psycopg.Connection, in_background: Background
) -> None:
    """Advisory locks of a session outlast the statement that was rolled back."""
    scene.connection.execute(
        "create function public.dawdle() returns trigger language plpgsql security definer"
        " as $$ begin perform pg_catalog.pg_sleep(60); return new; end $$;"
        "create trigger dawdle after update on aos_core.queue for each row"
        " when (new.worker is not null and old.worker is null) execute function public.dawdle()"
    )
    worker.execute("select pg_advisory_lock(4711)")
    scene.says(says("done"))
    turn_id = submit(scene)
    running = in_background(work_until_cancelled, worker)
    wait_for(
        scene.connection,
        "wait_event = 'PgSleep' from pg_stat_activity where pid = %s",
        worker.info.backend_pid,
    )
    assert advisory_locks(scene.connection, worker.info.backend_pid) > 1
    scene.connection.execute("select pg_cancel_backend(%s)", (worker.info.backend_pid,))
    assert running.result() == "57014"
    scene.connection.execute("drop function public.dawdle() cascade")
    # The lock that was the session's own it still has.
    assert advisory_locks(scene.connection, worker.info.backend_pid) == 1
    assert work(worker) == 1
    assert status(scene, turn_id) == "completed"
