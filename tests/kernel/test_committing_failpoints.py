"""A committing driver is ended at every point of a turn, and somebody else finishes it.

What is left in the end is what an undisturbed turn leaves; a tool of the database has done its work
once; a request that may not be repeated was sent again only after a person's yes. See
:mod:`kernel.failpoints` for the points, and for how a backend is stopped there.
"""

from __future__ import annotations

import itertools
import json
import re
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest

from chaos import stage
from chaos.checks import REPEATABLE
from chaos.outside_world import OutsideWorld, start_world
from chaos.plans import Plan
from cluster import Cluster, Database, start_local
from kernel.background import wait_for
from kernel.failpoints import LOCK, PATIENCE, Point, disarm, install, wait_until_reached
from kernel.scene import Row, rows
from kernel.test_terminations import crashes_in

SIGNALS = {"kill": "pg_terminate_backend", "cancel": "pg_cancel_backend"}
#: what the client is told; the socket may close before the message is read
STATES = {"kill": ("57P01", None), "cancel": ("57014",)}
DRIVES = {
    "stepwise": "call aos_agent.run_turn_stepwise(%s)",
    "work": "call aos_agent.work(1, 4)",
}
GROUPS = (("note", "fetch"), ("charge", "note"))
#: of a step: its identity, its times, and how often its call was made
_OWN = {"step_id", "tenant_id", "run_id", "started_at", "finished_at", "attempts"}
_numbers = itertools.count(10_001)


@dataclass(frozen=True, slots=True)
class Field:
    """Where the turns are.

    Args:
        admin: looks on, and sends the signals.
        second: drives what the first session left.
        file: see :class:`kernel.failpoints.Point`.
    """

    database: Database
    admin: psycopg.Connection
    second: psycopg.Connection
    world: OutsideWorld
    file: Path

    def open(self) -> psycopg.Connection:
        """A session whose work is ended."""
        return self.database.connect(user=stage.OPERATOR)

    def value(self, query: str, *parameters: Any) -> Any:
        """The first column of the first row."""
        row = self.admin.execute(query, parameters or None).fetchone()
        assert row is not None
        return row[0]

    def status(self, turn_id: str) -> str:
        return str(self.value("select status from aos_core.run where run_id = %s", turn_id))


@pytest.fixture(scope="module")
def own_failpoint_cluster(staged: dict[str, str]) -> Iterator[Cluster]:
    """A server of this module alone; its commits outlive its death."""
    with start_local({**staged, "synchronous_commit": "on"}) as cluster:
        cluster.create_template()
        yield cluster


@pytest.fixture(scope="module")
def field(own_failpoint_cluster: Cluster) -> Iterator[Field]:
    """The stage of all tests here."""
    with (
        tempfile.TemporaryDirectory(prefix="pgagentos-points-") as directory,
        start_world(0, Path(directory), is_calm=True) as world,
        own_failpoint_cluster.database("points") as database,
        database.connect() as admin,
        database.connect() as holder,
    ):
        Path(directory).chmod(0o777)
        holder.execute("select pg_advisory_lock(%s)", (LOCK,))
        stage.build(database, world.url)
        install(admin, "public.ledger")
        with database.connect(user=stage.OPERATOR) as second:
            # Where a lock is left behind, this fails instead of waiting for ever.
            second.execute(f"set statement_timeout = '{PATIENCE}s'")
            yield Field(database, admin, second, world, Path(directory) / "point")
        home = own_failpoint_cluster.home
        assert home is not None
        assert crashes_in(home / "server.log") == []


@dataclass(frozen=True, slots=True)
class Started:
    """A turn, and the number by which the world outside knows it."""

    number: int
    turn_id: str


def begin(field: Field, driver: str, groups: tuple[tuple[str, ...], ...] = GROUPS) -> Started:
    """Start a turn, for the queue or for a session."""
    plan = Plan(next(_numbers), driver, 0, groups)
    conversation_id = field.value("select aos_agent.open_conversation(%s)", stage.agent(plan))
    if driver == "work":
        turn_id = field.value("select aos_agent.submit(%s, %s)", conversation_id, plan.content)
    else:
        field.value("select aos_agent.add_user_message(%s, %s)", conversation_id, plan.content)
        turn_id = field.value("select aos_agent.start_turn(%s)", conversation_id)
    return Started(plan.number, str(turn_id))


def drive(session: psycopg.Connection, driver: str, turn: Started) -> psycopg.Error | None:
    """Drive the turn; returns the error that this ended with."""
    statement = DRIVES[driver]
    try:
        session.execute(statement, (turn.turn_id,) if "%s" in statement else None)
    except psycopg.Error as error:
        return error
    return None


def finish(field: Field, turn: Started) -> int:
    """Let a second session, and a person who says yes, end a turn; returns how often he did."""
    yes = 0
    late = time.monotonic() + PATIENCE
    while field.status(turn.turn_id) not in ("completed", "failed", "cancelled"):
        assert time.monotonic() < late, f"turn {turn} is {field.status(turn.turn_id)}"
        for step in rows(
            field.admin,
            "select step_id from aos_agent.pending_approval where turn_id = %s",
            turn.turn_id,
        ):
            field.value("select aos_agent.approve_tool_call(%s)", step["step_id"])
            yes += 1
        field.second.execute("call aos_agent.run_turn_stepwise(%s)", (turn.turn_id,))
    return yes


def left(field: Field, turn: Started) -> str:
    """All that a turn leaves, as text, without what is its own."""
    query = (
        "select s.*, s.message::text as message, s.arguments::text as arguments"
        " from aos_core.step as s where s.run_id = %s order by s.step_no"
    )
    steps = [
        {k: v for k, v in step.items() if k not in _OWN}
        for step in rows(field.admin, query, turn.turn_id)
    ]
    [run] = rows(
        field.admin,
        "select status, error, model_calls, input_tokens, output_tokens, transcript_bytes"
        " from aos_core.run where run_id = %s",
        turn.turn_id,
    )
    events = rows(
        field.admin,
        "select event_type from aos_core.event_log where run_id = %s"
        " and event_type like 'turn%%' order by event_no",
        turn.turn_id,
    )
    text = json.dumps([run, steps, events], default=str, indent=1)
    for call_id in (step["call_id"] for step in steps if step["call_id"]):
        text = text.replace(call_id, "CALL")
    text = re.sub("data-[0-9a-f]{16}", "data-MARK", text)  # drawn anew for each result
    return re.sub(rf"\b{turn.number}\b", "NUMBER", text)


@pytest.fixture(scope="module")
def undisturbed(field: Field) -> str:
    """What a turn leaves that ran in one transaction."""
    turn = begin(field, "select")
    field.value("select aos_agent.run_turn(%s)", turn.turn_id)
    return left(field, turn)


def check(field: Field, turn: Started, wanted: str, yes: int, where: str) -> None:
    """The rows are those of an undisturbed turn, and each act was done as often as it may be."""
    assert left(field, turn) == wanted, where
    ledger = Counter(
        row["call"]
        for row in rows(field.admin, "select call from ledger where turn = %s", turn.number)
    )
    assert ledger == {"1.1": 1, "2.2": 1}, where
    number_of: dict[tuple[str, str], str] = {}
    for step in rows(
        field.admin,
        "select step_no, kind, arguments ->> 'call' as call,"
        " count(*) filter (where kind = 'model') over (order by step_no) as reply"
        " from aos_core.step where run_id = %s",
        turn.turn_id,
    ):
        call = step["call"] or str(step["reply"])
        kind = "model" if step["kind"] == "model" else "service"
        number_of[kind, call] = f"{turn.turn_id}-{step['step_no']}"
    sent: Counter[str] = Counter()
    for entry in field.world.heard(turn.number):
        assert entry["key"] == number_of[entry["kind"], entry["call"]], (where, entry)
        if entry["kind"] == "service" and entry["tool"] not in REPEATABLE:
            sent[entry["call"]] += 1
    assert sent["2.1"] in (1, 1 + yes), where
    left_over = rows(field.admin, "select * from aos_core.queue where run_id = %s", turn.turn_id)
    assert left_over == [], where


#: who drives, how he is ended, where he stands, and which points: every so many-th. A kill costs a
#: new session; what it meets between statements is acted upon in the next statement only.
WALKS = [
    ("stepwise", "kill", "inside", 3),
    ("stepwise", "kill", "between", 17),
    ("stepwise", "cancel", "inside", 2),
    ("stepwise", "cancel", "between", 11),
    ("work", "kill", "inside", 5),
    ("work", "kill", "between", 29),
    ("work", "cancel", "inside", 5),
    ("work", "cancel", "between", 23),
]


@pytest.mark.parametrize(("driver", "end", "place", "stride"), WALKS)
def test_a_turn_whose_driver_is_ended_at_a_point_is_finished_by_another(
    field: Field, undisturbed: str, driver: str, end: str, place: str, stride: int
) -> None:
    session = field.open()
    began = field.value("select pg_postmaster_start_time()")
    reached = asked = 0
    with ThreadPoolExecutor(1) as pool:
        for number in itertools.count(1, stride):
            where = f"{driver} {end} {place} {number}"
            turn = begin(field, driver)
            point = Point(place, number, field.file)
            point.arm(session)
            pid = session.info.backend_pid
            ended = pool.submit(drive, session, driver, turn)
            is_there = wait_until_reached(point, field.admin, pid, ended)
            # A worker goes on to look for turns when this one is over.
            is_over = field.status(turn.turn_id) == "completed"
            if is_there:
                field.admin.execute(f"select {SIGNALS[end]}(%s)", (pid,))
            error = ended.result(PATIENCE)
            if is_over or not is_there:
                check(field, turn, undisturbed, 0, where)
                break
            reached += 1
            if error is not None:
                assert error.sqlstate in STATES[end], (where, error)
            else:  # there was nothing left to be cancelled
                assert end == "cancel", where
            if end == "kill":
                session.close()
                session = field.open()
            else:
                disarm(session)
                locks = "select objid from pg_locks where pid = %s and locktype = 'advisory'"
                assert rows(field.admin, locks, pid) == [], where
            yes = finish(field, turn)
            asked += yes
            check(field, turn, undisturbed, yes, where)
    session.close()
    print(f"\n{driver} {end} {place}: {reached} points, {asked} questions to a person")
    assert reached > 0
    assert field.value("select pg_postmaster_start_time()") == began


# --- waits for somebody else ----------------------------------------------------------------------

HELD = {
    "the first reply": "1",
    "the second reply": "2",
    "a request that may be repeated": "1.2",
    "a request that may not": "2.1",
}


@pytest.mark.parametrize("driver", DRIVES)
@pytest.mark.parametrize("end", SIGNALS)
@pytest.mark.parametrize("held", HELD)
def test_a_turn_whose_driver_is_ended_while_it_waits_is_finished_by_another(
    field: Field, undisturbed: str, held: str, end: str, driver: str
) -> None:
    turn = begin(field, driver)
    field.world.hold(turn.number, HELD[held])
    session = field.open()
    pid = session.info.backend_pid
    with ThreadPoolExecutor(1) as pool:
        ended = pool.submit(drive, session, driver, turn)
        field.world.wait_for_held(turn.number)
        # No snapshot holds VACUUM back meanwhile.
        wait_for(
            field.admin,
            "backend_xmin is null and backend_xid is null from pg_stat_activity where pid = %s",
            pid,
        )
        field.admin.execute(f"select {SIGNALS[end]}(%s)", (pid,))
        error = ended.result()
    assert error is not None
    assert error.sqlstate in STATES[end]
    session.close()
    yes = finish(field, turn)
    check(field, turn, undisturbed, yes, f"{held} {end} {driver}")
    assert (yes == 1) == (held == "a request that may not")


@pytest.mark.parametrize("driver", DRIVES)
def test_a_person_who_says_no_to_a_repetition_keeps_it_from_being_sent_again(
    field: Field, driver: str
) -> None:
    turn = begin(field, driver)
    field.world.hold(turn.number, "2.1")
    session = field.open()
    with ThreadPoolExecutor(1) as pool:
        ended = pool.submit(drive, session, driver, turn)
        field.world.wait_for_held(turn.number)
        field.admin.execute("select pg_terminate_backend(%s)", (session.info.backend_pid,))
        ended.result()
    session.close()
    field.second.execute("call aos_agent.run_turn_stepwise(%s)", (turn.turn_id,))
    [step] = rows(
        field.admin,
        "select p.step_id, s.error ->> 'kind' as kind from aos_agent.pending_approval as p"
        " join aos_core.step as s on s.step_id = p.step_id where p.turn_id = %s",
        turn.turn_id,
    )
    assert step["kind"] == "outcome_unknown"
    field.value("select aos_agent.reject_tool_call(%s, 'It has arrived.')", step["step_id"])
    assert finish(field, turn) == 0
    charges = [e for e in field.world.heard(turn.number) if e["tool"] == "charge"]
    assert len(charges) == 1
    assert field.status(turn.turn_id) == "completed"


def tools_of(field: Field, turn: Started) -> list[Row]:
    return rows(
        field.admin,
        "select tool_name, status from aos_core.step"
        " where run_id = %s and kind = 'tool' order by step_no",
        turn.turn_id,
    )


ASLEEP = "exists (select from pg_stat_activity where pid = %s and wait_event = 'PgSleep')"


@pytest.mark.parametrize("driver", DRIVES)
@pytest.mark.parametrize("end", SIGNALS)
def test_a_tool_in_the_middle_of_its_work_does_it_again_whole(
    field: Field, end: str, driver: str
) -> None:
    """*nap* has written its row, and sleeps before it returns."""
    turn = begin(field, driver, (("note", "nap"),))
    session = field.open()
    pid = session.info.backend_pid
    with ThreadPoolExecutor(1) as pool:
        ended = pool.submit(drive, session, driver, turn)
        wait_for(field.admin, ASLEEP, pid)
        field.admin.execute(f"select {SIGNALS[end]}(%s)", (pid,))
        error = ended.result()
    assert error is not None
    assert error.sqlstate in STATES[end]
    session.close()
    assert finish(field, turn) == 0
    calls = rows(field.admin, "select call from ledger where turn = %s order by 1", turn.number)
    assert [row["call"] for row in calls] == ["1.1", "1.2"]
    assert [tool["status"] for tool in tools_of(field, turn)] == ["completed", "completed"]
