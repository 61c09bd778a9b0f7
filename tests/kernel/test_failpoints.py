"""A turn is ended at every point of it, and each time all is as if it had never begun.

The turn has a tool of every kind: a SQL function with the agent's role, a query in the sandbox, a
request with a stored secret, a payment that a person approves in between; it acts for the owner of
a ticket. See :mod:`kernel.failpoints` for the points, and for how a backend is stopped there.
"""

from __future__ import annotations

import itertools
import statistics
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
import pytest

from cluster import Cluster, Database, start_local
from kernel.background import wait_for, wait_until_blocked
from kernel.failpoints import (
    LOCK,
    Point,
    Process,
    disarm,
    install,
    process_of,
    wait_until_reached,
)
from kernel.replies import calls, completion, fails, says, tool_call
from kernel.scene import Scene, make_scene
from kernel.test_terminations import crashes_in
from servers.play_server import Answer, Play, PlayServer
from stored_secrets.conftest import make_master_key

SECRET = "Zauberwort-der-Fehlerpunkte-0123456789"
_numbers = itertools.count(1)

SIGNALS = {"kill": "pg_terminate_backend", "cancel": "pg_cancel_backend"}
#: what the client is told; the socket may close before the message is read
STATES = {"kill": ("57P01", None), "cancel": ("57014",)}


@dataclass(slots=True)
class Figures:
    """What was done, and how long a stop took: seconds from the signal to the client's error."""

    points: Counter[str] = field(default_factory=Counter)
    latencies: dict[str, list[float]] = field(default_factory=dict)
    late: int = 0
    with_timer: int = 0

    def add(self, end: str, place: str, seconds: float) -> None:
        self.points[f"{end} {place}"] += 1
        self.latencies.setdefault(end, []).append(seconds)


@pytest.fixture(scope="module")
def figures() -> Iterator[Figures]:
    """Collect the figures of this module and print them; nothing is asserted on the times."""
    collected = Figures()
    yield collected
    print()
    for what, count in sorted(collected.points.items()):
        print(f"failpoints: {count} x {what}")
    for end, seconds in sorted(collected.latencies.items()):
        median, most = statistics.median(seconds) * 1000, max(seconds) * 1000
        print(f"failpoints: {end} after {median:.1f} ms in the median, {most:.1f} ms at most")
    print(f"failpoints: {collected.late} cancels came when nothing was left to be cancelled")
    print(f"failpoints: at {collected.with_timer} cancels the deadline of a query was running")


@pytest.fixture(scope="module")
def walk_cluster(staged: dict[str, str]) -> Iterator[Cluster]:
    """A server of this module alone, with a master key; commits are durable in it."""
    with tempfile.TemporaryDirectory(prefix="pgagentos-key-") as directory:
        Path(directory).chmod(0o755)
        file = Path(directory) / "keys" / "master.key"
        make_master_key(file)
        environment = {"PGAGENTOS_MASTER_KEY_FILE": str(file)}
        with start_local({**staged, "synchronous_commit": "on"}, environment) as cluster:
            cluster.create_template()
            yield cluster


@dataclass(slots=True)
class Walk:
    """A tenant whose agent has a tool of every kind, and a login that acts with tickets.

    Args:
        scene: in an operator's session, which looks on and sends the signals.
        witness: another session, for turns in between.
        file: see :class:`kernel.failpoints.Point`.
    """

    database: Database
    scene: Scene
    witness: psycopg.Connection
    server: PlayServer
    silent_service: Play
    principal_id: Any
    login: str
    file: Path
    began: Any

    @property
    def admin(self) -> psycopg.Connection:
        return self.scene.connection

    def say(self, *answers: Answer) -> Play:
        """Begin a fresh script of the agent's provider."""
        play = self.scene.play = self.server.play(f"walk-{next(_numbers)}")
        play.add(*answers)
        self.admin.execute(
            "update aos_meta.provider set base_url = %s where provider = %s",
            (play.url, self.scene.name),
        )
        return play

    def open(self, is_operator: bool) -> psycopg.Connection:
        """A session whose turns are ended."""
        return self.database.connect(**({} if is_operator else {"user": self.login}))

    def end(self, how: str, pid: int, turn: Future[Outcome]) -> Outcome:
        """Send the signal, and wait until the client knows."""
        sent = time.monotonic()
        self.admin.execute(f"select {SIGNALS[how]}(%s)", (pid,))
        ended = turn.result()
        return Outcome(ended.seconds - sent, ended.error)

    def rows(self) -> Any:
        """Everything of the tenant that a turn can write."""
        tables = [
            "aos_core.run",
            "aos_core.step",
            "aos_core.approval",
            "aos_core.event_log",
            "aos_core.cancel_request",
            "aos_agent.message",
            "aos_agent.conversation",
            "aos_agent.usage",
        ]
        return {
            table: self.scene.value(
                f"select json_agg(t order by t::text)::text from {table} as t where tenant_id = %s",
                self.scene.tenant_id,
            )
            for table in tables
        } | {"notes": self.scene.value("select json_agg(n order by n::text)::text from notes as n")}


NOTE = (
    "note(words text) returns text language plpgsql as $$begin insert into public.notes values"
    " (words, current_user, aos_auth.tenant_id()); return 'noted'; end$$"
)
PAY = (
    "pay(amount int) returns text language sql begin atomic insert into public.notes"
    " values ('paid ' || amount, current_user) returning words; end"
)


def offer(scene: Scene, skill: str, service: Play) -> None:
    """Give the agent a skill that calls a service with the stored secret."""
    scene.value(
        "select aos_skills.register_http_skill(%s, 'An order.', '{\"type\": \"object\"}', 'GET',"
        " %s,"
        ' headers => \'{"Authorization": "Bearer {secret:walk}"}\', tenant_id => %s)',
        skill,
        f"{service.url}/order",
        scene.tenant_id,
    )
    scene.value(
        "select aos_skills.allow_host('127.0.0.1', %s, %s, %s, 'http', true)",
        scene.tenant_id,
        skill,
        int(service.base_url.rpartition(":")[2]),
    )
    scene.value("select aos_agent.grant_skill(%s, %s)", scene.name, skill)


@pytest.fixture(scope="module")
def walk(walk_cluster: Cluster, play_server: PlayServer) -> Iterator[Walk]:
    """The stage of all tests here."""
    with (
        tempfile.TemporaryDirectory(prefix="pgagentos-points-") as directory,
        walk_cluster.database("walk") as database,
        database.connect() as admin,
        database.connect() as witness,
        database.connect() as holder,
    ):
        Path(directory).chmod(0o777)
        holder.execute("select pg_advisory_lock(%s)", (LOCK,))
        scene = make_scene(admin, play_server.play("walk-0"))
        admin.execute("create table public.notes (words text, by_whom text, tenant_id uuid)")
        admin.execute(
            "create table public.goods as select n, 'good ' || n as name"
            " from generate_series(1, 50) as n"
        )
        admin.execute("grant select, insert on public.notes, public.goods to pgagentos_agent")
        scene.skill(NOTE)
        scene.skill(PAY, approval="ask")
        scene.value("select aos_agent.grant_skill(%s, 'sql_query')", scene.name)
        scene.value("select aos_agent.grant_table(%s, 'goods')", scene.name)
        service = play_server.play("walk-service")
        service.add(Answer({"total": 12}, is_last=True))
        silent = play_server.play("walk-silent-service")
        silent.add(Answer(fault="silence", is_last=True))
        scene.value(
            "select aos_meta.set_secret('walk', %s, %s, '{127.0.0.1}')", SECRET, scene.tenant_id
        )
        offer(scene, "order", service)
        offer(scene, "slow_order", silent)
        scene.skill("dream() returns void language sql return pg_sleep(50)")
        scene.value("select aos_auth.create_ticket_key('walk')")
        principal_id = scene.value(
            "insert into aos_auth.principal (tenant_id) values (%s) returning principal_id",
            scene.tenant_id,
        )
        admin.execute("create role walker login")
        scene.value("select aos_auth.grant_access('walker', 'user')")
        install(admin, "public.notes", "public.goods")
        began = scene.value("select pg_postmaster_start_time()")
        yield Walk(
            database, scene, witness, play_server, silent, principal_id, "walker",
            Path(directory) / "point", began,
        )  # fmt: skip
        check_log(database, service)


def check_log(database: Database, service: Play) -> None:
    """In the end: no session has died by a signal, and the service was called with the secret."""
    home = database.cluster.home
    assert home is not None
    assert crashes_in(home / "server.log") == []
    assert {r.headers["authorization"] for r in service.requests()} == {f"Bearer {SECRET}"}


def first_half() -> list[Answer]:
    """What the model says until a person is asked."""
    return [
        calls(
            tool_call("note", {"words": "hello"}),
            tool_call("sql_query", {"query": "select count(*) as n, max(name) from goods"}),
            tool_call("order"),
        ),
        calls(tool_call("note", {"words": "again"}), tool_call("pay", {"amount": 7})),
    ]


def in_transaction(walk: Walk, session: psycopg.Connection, statement: str, *values: Any) -> Any:
    """Run one statement for the tenant: with a ticket, or as an operator."""
    with session.transaction():
        if session.info.user == walk.login:
            ticket = walk.witness.execute(
                "select aos_auth.issue_ticket(%s, 60)", (walk.principal_id,)
            ).fetchone()
            session.execute("select aos_auth.begin(%s)", ticket)
        row = session.execute(statement, values).fetchone()
        assert row is not None
        return row[0]


def ask(walk: Walk, session: psycopg.Connection) -> Any:
    return in_transaction(walk, session, "select aos_agent.ask(%s, 'go')", walk.scene.name)


def go_on(walk: Walk, session: psycopg.Connection) -> Any:
    turn_id = walk.scene.run()["run_id"]
    return in_transaction(walk, session, "select aos_agent.run_turn(%s)", turn_id)


@dataclass(frozen=True, slots=True)
class Outcome:
    """When half a turn ended, or how long that took from a signal on; its error if it had one."""

    seconds: float
    error: psycopg.Error | None


def outcome(half: Any, walk: Walk, session: psycopg.Connection) -> Outcome:
    """Run half a turn."""
    try:
        half(walk, session)
    except psycopg.Error as error:
        return Outcome(time.monotonic(), error)
    return Outcome(time.monotonic(), None)


@dataclass(frozen=True, slots=True)
class Before:
    """A session as it was before its turns were ended."""

    who: Any
    process: Process


WHO = (
    "select current_user::text, session_user::text, current_setting('role'),"
    " current_setting('search_path'), current_setting('statement_timeout'),"
    " current_setting('temp_file_limit'), aos_auth.tenant_id(), aos_auth.principal_id()"
)


def state_of(session: psycopg.Connection) -> Before:
    return Before(session.execute(WHO).fetchone(), process_of(session.info.backend_pid))


def check_session(session: psycopg.Connection, before: Before, sleeps: bool) -> None:
    """The same session is as it was, and no signal is on its way to it."""
    after = state_of(session)
    assert after == before
    assert after.who is not None
    assert after.who[-2:] == (None, None)
    assert after.process.timers == ""
    # Nothing of the restrictions that a tool runs with is left.
    session.execute("create temporary table is_free ()")
    session.execute("drop table is_free")
    if sleeps:  # longer than the deadline of a query that was ended
        assert session.execute("select 1 from pg_sleep(3)").fetchone() == (1,)


def check_witness(walk: Walk) -> None:
    """Another session's turn goes through."""
    walk.say(says("alive"))
    row = walk.witness.execute("select aos_agent.ask(%s, 'hi')", (walk.scene.name,)).fetchone()
    assert row == ("alive",)


def prepare(walk: Walk, half: Any) -> None:
    """Bring the tenant to where the half of the turn begins."""
    if half is ask:
        walk.say(*first_half())
        return
    if walk.scene.run()["status"] != "queued":
        walk.say(*first_half())
        in_transaction(walk, walk.witness, "select aos_agent.ask(%s, 'go')", walk.scene.name)
        step_id = walk.scene.value(
            "select step_id from aos_agent.pending_approval where turn_id = %s",
            walk.scene.run()["run_id"],
        )
        walk.scene.value("select aos_agent.approve_tool_call(%s)", step_id)
    walk.say(says("It is paid."))


def is_whole(walk: Walk, half: Any) -> bool:
    """Whether that half of the latest turn is there from its beginning to its end."""
    run, shape = walk.scene.run(), walk.scene.shape()
    if half is ask:
        tools = ["tool completed"] * 3
        wanted = ["model completed", *tools, "model completed", "tool completed"]
        return (run["status"], shape) == ("awaiting_approval", [*wanted, "tool awaiting_approval"])
    return run["status"] == "completed" and shape[-2:] == ["tool completed", "model completed"]


def opened(walk: Walk, who: str, half: Any) -> tuple[psycopg.Connection, Before]:
    """A session to be ended in; where a half is given, one that has run it before."""
    session = walk.open(who == "operator")
    if half is not None:
        prepare(walk, half)
        half(walk, session)
        assert is_whole(walk, half), [step["message"] for step in walk.scene.steps()]
    return session, state_of(session)


#: how it ends, where it stands, who acts, and which points: all, or every so many-th. A kill costs
#: a new session; what it meets between statements is acted upon in the next statement only.
WALKS = [
    ("cancel", "inside", "ticket", 1),
    ("cancel", "between", "ticket", 1),
    ("cancel", "inside", "operator", 1),
    ("cancel", "between", "operator", 7),
    ("kill", "inside", "ticket", 1),
    ("kill", "between", "ticket", 5),
    ("kill", "inside", "operator", 4),
]


@pytest.mark.parametrize("half", [ask, go_on])
@pytest.mark.parametrize(("end", "place", "who", "stride"), WALKS)
def test_a_turn_that_is_ended_at_a_point_leaves_nothing(
    walk: Walk, figures: Figures, half: Any, end: str, place: str, who: str, stride: int
) -> None:
    """At the points from the first to one that is not reached any more."""
    session, before = opened(walk, who, half if end == "cancel" else None)
    reached = 0
    with ThreadPoolExecutor(1) as pool:
        for number in itertools.count(1, stride):
            prepare(walk, half)
            rows = walk.rows()
            point = Point(place, number, walk.file)
            point.arm(session)
            pid = session.info.backend_pid
            turn = pool.submit(outcome, half, walk, session)
            if not wait_until_reached(point, walk.admin, pid, turn):
                assert turn.result().error is None
                assert is_whole(walk, half)
                break
            reached += 1
            had_timer = process_of(pid).timers != ""
            if had_timer and end == "cancel":
                figures.with_timer += 1
            ended = walk.end(end, pid, turn)
            where = f"{end} {place} {number} {who} {half.__name__}"
            figures.add(end, f"{place} statements", ended.seconds)
            if ended.error is None:  # all was done, there was nothing left to be cancelled
                assert end == "cancel", where
                assert is_whole(walk, half), where
                figures.late += 1
            else:
                assert ended.error.sqlstate in STATES[end], (where, ended.error)
                assert walk.rows() == rows, where
            assert walk.scene.value("select pg_postmaster_start_time()") == walk.began, where
            if end == "kill":
                session.close()
                session, before = opened(walk, who, None)
            else:
                disarm(session)
                sleeps = had_timer and figures.with_timer % 10 == 1
                check_session(session, before, sleeps)
            if half is ask:
                check_witness(walk)
    passed = disarm(session)
    print(f"\n{end} {place} {who} {half.__name__}: {reached} of {len(passed)} points")
    assert len(passed) >= reached > 0
    session.close()
    check_witness(walk)


# --- waits for somebody else ----------------------------------------------------------------------


@dataclass(slots=True)
class Waiting:
    """How the test knows that the backend waits, and what it has to give back then."""

    until: Callable[[int], None]
    release: Callable[[], None] = lambda: None


def blocked(walk: Walk, statement: str) -> Waiting:
    """Let the backend wait for a lock that somebody else holds."""
    holder = walk.database.connect()
    holder.execute("begin")
    holder.execute(statement)
    return Waiting(lambda pid: wait_until_blocked(walk.admin, pid), holder.close)


def waits_for_the_model(walk: Walk) -> Waiting:
    play = walk.say(Answer(fault="silence"))
    return Waiting(lambda pid: play.arrived(1))


def waits_for_the_second_reply(walk: Walk) -> Waiting:
    play = walk.say(first_half()[0], Answer(completion("x" * 9_000), fault="drip"))
    return Waiting(lambda pid: play.arrived(2))


def waits_before_the_next_try(walk: Walk) -> Waiting:
    play = walk.say(fails(429, retry_after="50"))
    return Waiting(lambda pid: play.arrived(1))


def waits_for_a_service(walk: Walk) -> Waiting:
    walk.say(calls(tool_call("slow_order")))
    arrived = len(walk.silent_service.requests())
    return Waiting(lambda pid: walk.silent_service.arrived(arrived + 1))


def waits_in_a_tool(walk: Walk) -> Waiting:
    walk.say(calls(tool_call("note", {"words": "hello"}), tool_call("dream")))
    return Waiting(lambda pid: wait_for(walk.admin, ASLEEP, pid))


def waits_for_a_table_in_a_tool(walk: Walk) -> Waiting:
    walk.say(calls(tool_call("order"), tool_call("note", {"words": "hello"})))
    return blocked(walk, "lock table public.notes in access exclusive mode")


def waits_for_a_table_in_the_sandbox(walk: Walk) -> Waiting:
    walk.say(*first_half())
    return blocked(walk, "lock table public.goods in access exclusive mode")


def waits_for_a_row_of_the_kernel(walk: Walk) -> Waiting:
    walk.say(*first_half())
    return blocked(walk, "lock table aos_core.step in access exclusive mode")


WAITS = [
    waits_for_the_model,
    waits_for_the_second_reply,
    waits_before_the_next_try,
    waits_for_a_service,
    waits_in_a_tool,
    waits_for_a_table_in_a_tool,
    waits_for_a_table_in_the_sandbox,
    waits_for_a_row_of_the_kernel,
]
ASLEEP = "exists (select from pg_stat_activity where pid = %s and wait_event = 'PgSleep')"


@pytest.mark.parametrize("who", ["ticket", "operator"])
@pytest.mark.parametrize("wait", WAITS)
@pytest.mark.parametrize("end", SIGNALS)
def test_a_turn_that_is_ended_while_it_waits_leaves_nothing(
    walk: Walk, figures: Figures, end: str, wait: Callable[[Walk], Waiting], who: str
) -> None:
    session, before = opened(walk, who, ask)
    rows = walk.rows()
    waiting = wait(walk)
    pid = session.info.backend_pid
    with ThreadPoolExecutor(1) as pool:
        turn = pool.submit(outcome, ask, walk, session)
        try:
            waiting.until(pid)
            ended = walk.end(end, pid, turn)
        finally:
            waiting.release()
    assert ended.error is not None
    assert ended.error.sqlstate in STATES[end], ended.error
    figures.add(end, "external waits", ended.seconds)
    assert walk.rows() == rows
    assert walk.scene.value("select pg_postmaster_start_time()") == walk.began
    if end == "cancel":
        check_session(session, before, wait is waits_for_a_table_in_the_sandbox)
        prepare(walk, ask)
        ask(walk, session)
        assert is_whole(walk, ask)
    session.close()
    check_witness(walk)
