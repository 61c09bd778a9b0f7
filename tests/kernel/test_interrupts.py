"""A session that is told to stop stops, wherever it waits, and leaves nothing half-written."""

from __future__ import annotations

import os
import socket
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psycopg
import pytest

from cluster import Database
from kernel.background import Background, wait_for
from kernel.replies import calls, completion, fails, says, tool_call
from kernel.scene import Scene, make_scene
from servers.play_server import Answer, PlayServer

#: Far more than a stop may take, and far less than what is waited for here.
BOUND = 2.0


@dataclass
class Latencies:
    """Seconds from the signal to the error at the client."""

    seconds: list[float] = field(default_factory=list)


@pytest.fixture(scope="module")
def latencies() -> Iterator[Latencies]:
    """Collect what the tests of this module measure, and print it; nothing is asserted on it."""
    measured = Latencies()
    yield measured
    if measured.seconds:
        median, most = statistics.median(measured.seconds), max(measured.seconds)
        print(f"\nstop after {median * 1000:.0f} ms in the median, {most * 1000:.0f} ms at most")


# --- where a session waits: each puts the scene there and returns what starts the wait ------------


def waits_for_silence(scene: Scene) -> None:
    scene.says(Answer(fault="silence"))


def waits_for_a_dripping_body(scene: Scene) -> None:
    scene.says(Answer(completion("x" * 100_000), fault="drip"))


def waits_before_the_next_try(scene: Scene) -> None:
    scene.says(fails(429, retry_after="50"))


def waits_in_a_tool(scene: Scene) -> None:
    scene.skill("dream() returns void language sql return pg_sleep(50)")
    scene.says(calls(tool_call("dream")), says("never asked for"))


def waits_in_the_sdk(scene: Scene) -> None:
    scene.connection.execute(
        "update aos_meta.provider set carrier = 'sdk' where provider = %s", (scene.name,)
    )
    scene.says(says("warm"), Answer(fault="silence"))
    with scene.connection.transaction(force_rollback=True):
        scene.ask("warm up")  # the import of the SDK cannot be interrupted


def waits_for_the_second_reply(scene: Scene) -> None:
    scene.skill("one() returns int language sql return 1")
    scene.says(calls(tool_call("one")), Answer(fault="silence"))


PLACES: list[Callable[[Scene], None]] = [
    waits_for_silence,
    waits_for_a_dripping_body,
    waits_before_the_next_try,
    waits_in_a_tool,
    waits_in_the_sdk,
    waits_for_the_second_reply,
]


def is_waiting(scene: Scene, observer: psycopg.Connection, place: Callable[[Scene], None]) -> None:
    """Wait until the session stands where the test wants it."""
    scene.play.arrived(2 if place in (waits_for_the_second_reply, waits_in_the_sdk) else 1)
    if place is waits_in_a_tool:
        wait_for(
            observer,
            "exists (select from pg_stat_activity where pid = %s and wait_event = 'PgSleep')",
            scene.connection.info.backend_pid,
        )


def outcome(scene: Scene) -> tuple[float, psycopg.Error]:
    """Ask, expect an error, and tell when it came."""
    with pytest.raises(psycopg.Error) as caught:
        scene.ask()
    return time.monotonic(), caught.value


def check_nothing_is_left(scene: Scene, observer: psycopg.Connection) -> None:
    """The turn had one transaction, and it is gone as a whole."""
    events = "(select * from aos_core.event_log where chain_id <> tenant_id) as e"
    for table in ("aos_core.run", "aos_core.step", events, "aos_agent.conversation"):
        row = observer.execute(
            f"select count(*) from {table} where tenant_id = %s", (scene.tenant_id,)
        ).fetchone()
        assert row == (0,), table


@pytest.fixture
def observer(database: Database) -> Iterator[psycopg.Connection]:
    """A second session that looks on and sends the signals."""
    with database.connect() as opened:
        yield opened


@pytest.mark.parametrize("level", ["read committed", "repeatable read"])
@pytest.mark.parametrize("place", PLACES)
def test_a_cancel_ends_the_wait_and_the_session_goes_on(
    scene: Scene,
    observer: psycopg.Connection,
    in_background: Background,
    latencies: Latencies,
    place: Callable[[Scene], None],
    level: str,
) -> None:
    place(scene)
    scene.connection.execute(f"set default_transaction_isolation = '{level}'")
    turn = in_background(outcome, scene)
    is_waiting(scene, observer, place)
    sent = time.monotonic()
    observer.execute("select pg_cancel_backend(%s)", (scene.connection.info.backend_pid,))
    ended, error = turn.result()
    assert error.sqlstate == "57014"
    assert ended - sent < BOUND
    latencies.seconds.append(ended - sent)
    check_nothing_is_left(scene, observer)
    scene.says(says("still here"))
    assert scene.ask() in ("still here", "never asked for")


@pytest.mark.parametrize("place", PLACES)
def test_a_statement_timeout_ends_the_wait(
    scene: Scene, observer: psycopg.Connection, place: Callable[[Scene], None]
) -> None:
    place(scene)
    scene.connection.execute("set statement_timeout = '700ms'")
    began = time.monotonic()
    ended, error = outcome(scene)
    assert error.sqlstate == "57014"
    assert "statement timeout" in str(error)
    assert ended - began < 0.7 + 2 * BOUND
    check_nothing_is_left(scene, observer)
    assert scene.value("select 1") == 1


@pytest.mark.parametrize("place", PLACES)
def test_a_termination_ends_the_session_and_leaves_nothing(
    scene: Scene,
    observer: psycopg.Connection,
    in_background: Background,
    latencies: Latencies,
    place: Callable[[Scene], None],
) -> None:
    place(scene)
    turn = in_background(outcome, scene)
    is_waiting(scene, observer, place)
    sent = time.monotonic()
    observer.execute("select pg_terminate_backend(%s)", (scene.connection.info.backend_pid,))
    ended, error = turn.result()
    assert isinstance(error, psycopg.OperationalError)
    assert error.sqlstate in ("57P01", None)  # the socket may close before the message is read
    assert ended - sent < BOUND
    latencies.seconds.append(ended - sent)
    check_nothing_is_left(scene, observer)


def test_ctrl_c_in_the_client_cancels_the_turn(
    scene: Scene, observer: psycopg.Connection, in_background: Background
) -> None:
    """What psql and psycopg send: a cancel request over a connection of its own."""
    scene.says(Answer(fault="silence"), says("still here"))
    turn = in_background(outcome, scene)
    scene.play.arrived(1)
    scene.connection.cancel_safe()
    _, error = turn.result()
    assert error.sqlstate == "57014"
    assert scene.ask() == "still here"
    check = observer.execute(
        "select count(*) from aos_core.run where tenant_id = %s", (scene.tenant_id,)
    ).fetchone()
    assert check == (1,)


def test_a_cancel_ends_the_wait_for_the_conversation(
    scene: Scene, database: Database, observer: psycopg.Connection, in_background: Background
) -> None:
    turn_id = scene.start()
    run = scene.run()
    with database.connect() as holder, holder.transaction():
        holder.execute(
            "select 1 from aos_agent.conversation where conversation_id = %s for update",
            (run["conversation_id"],),
        )

        def run_turn() -> psycopg.Error:
            with pytest.raises(psycopg.Error) as caught:
                scene.run_turn(turn_id)
            return caught.value

        waiting = in_background(run_turn)
        pid = scene.connection.info.backend_pid
        wait_for(observer, "cardinality(pg_blocking_pids(%s)) > 0", pid)
        observer.execute("select pg_cancel_backend(%s)", (pid,))
        assert waiting.result().sqlstate == "57014"
    scene.says(says("now"))
    assert scene.run_turn(turn_id)["answer"] == "now"


def test_a_cancel_inside_a_tool_is_not_taken_for_an_error_of_the_tool(
    scene: Scene, observer: psycopg.Connection, in_background: Background
) -> None:
    """A function that catches everything cannot catch it, nor does the kernel go on."""
    scene.skill(
        "stubborn() returns text language plpgsql as $$begin perform pg_sleep(50); return 'slept';"
        " exception when others then return 'caught'; end$$"
    )
    scene.says(calls(tool_call("stubborn")), says("never asked for"))
    turn = in_background(outcome, scene)
    is_waiting(scene, observer, waits_in_a_tool)
    observer.execute("select pg_cancel_backend(%s)", (scene.connection.info.backend_pid,))
    _, error = turn.result()
    assert error.sqlstate == "57014"
    assert len(scene.play.requests()) == 1


def test_a_client_that_is_gone_ends_the_turn(
    scene: Scene, observer: psycopg.Connection, in_background: Background
) -> None:
    scene.connection.execute("set client_connection_check_interval = '100ms'")
    scene.says(Answer(fault="silence"))
    pid = scene.connection.info.backend_pid
    connection = scene.connection.pgconn
    connection.send_query_params(b"select aos_agent.ask($1, $2)", [scene.name.encode(), b"hello"])
    scene.play.arrived(1)
    # Closing the descriptor is what the end of a killed client does.
    with socket.socket(fileno=os.dup(connection.socket)) as client:
        client.shutdown(socket.SHUT_RDWR)
    wait_for(observer, "not exists (select from pg_stat_activity where pid = %s)", pid)
    check_nothing_is_left(scene, observer)
    scene.connection.close()


@dataclass(frozen=True)
class Holdings:
    """What a backend holds of the operating system: sockets, pipes, threads, processes."""

    descriptors: int
    threads: int
    children: int


def holdings_of(pid: int) -> Holdings:
    """Look at a backend from outside."""
    process = Path(f"/proc/{pid}")
    children = process / f"task/{pid}/children"
    return Holdings(
        # The server itself opens and closes files of its tables as it likes.
        descriptors=sum(
            not os.readlink(entry).startswith("/") for entry in (process / "fd").iterdir()
        ),
        threads=len(list((process / "task").iterdir())),
        children=len(children.read_text().split()) if children.exists() else 0,
    )


@pytest.mark.parametrize("carrier", ["wire", "sdk"])
def test_cancelled_turns_leave_no_descriptor_and_no_thread(
    scene: Scene,
    observer: psycopg.Connection,
    in_background: Background,
    latencies: Latencies,
    carrier: str,
) -> None:
    scene.connection.execute(
        "update aos_meta.provider set carrier = %s where provider = %s", (carrier, scene.name)
    )
    scene.says(says("warm"))
    assert scene.ask() == "warm"
    pid = scene.connection.info.backend_pid
    before = holdings_of(pid)
    faults = ("silence", "drip") * 10
    for number, fault in enumerate(faults):
        scene.says(Answer(completion("x" * 10_000), fault=fault))
        turn = in_background(outcome, scene)
        scene.play.arrived(number + 2)
        sent = time.monotonic()
        observer.execute("select pg_cancel_backend(%s)", (pid,))
        ended, error = turn.result()
        assert error.sqlstate == "57014"
        latencies.seconds.append(ended - sent)
    scene.says(says("still warm"))
    assert scene.ask() == "still warm"
    assert holdings_of(pid) == before
    assert before.threads == 1


def test_a_cancel_ends_the_wait_in_tls(
    own_database: Database, in_background: Background, tls_play_server: PlayServer
) -> None:
    play = tls_play_server.play("tls")
    with own_database.connect() as connection, own_database.connect() as observer:
        scene = make_scene(connection, play)
        dripping = Answer(completion("x" * 10_000), fault="drip")
        play.add(Answer(fault="silence"), dripping, says("safe"))
        for number in (1, 2):
            turn = in_background(outcome, scene)
            play.arrived(number)
            observer.execute("select pg_cancel_backend(%s)", (connection.info.backend_pid,))
            _, error = turn.result()
            assert error.sqlstate == "57014"
        assert scene.ask() == "safe"
