"""The name of a session, ``pg_stat_activity.application_name``, while it drives turns and after."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest

from cluster import Database
from kernel.background import Background, wait_for, wait_until_blocked
from kernel.drivers import stepwise, submit, work, work_until_cancelled
from kernel.replies import calls, fails, held, says, tool_call
from kernel.scene import Scene
from live.conftest import LOCK, shown_name

OWN = "the client's own name"


@pytest.fixture
def session(database: Database) -> Iterator[psycopg.Connection]:
    """A session with a name of its own."""
    with database.connect(application_name=OWN) as opened:
        yield opened


def run(session: psycopg.Connection, turn_id: object) -> None:
    session.execute("select aos_agent.run_turn(%s)", (turn_id,))


@pytest.mark.parametrize("driver", ["select", "stepwise"])
def test_it_tells_turn_and_step(
    scene: Scene, session: psycopg.Connection, in_background: Background, driver: str
) -> None:
    pid = session.info.backend_pid
    scene.skill("one() returns int language sql return 1")
    scene.says(held(calls(tool_call("one"))), held(says("done")))
    turn_id = scene.start()
    turn = in_background(run if driver == "select" else stepwise, session, turn_id)
    for request, step in ((1, 1), (2, 3)):
        scene.play.arrived(request)
        assert shown_name(scene.connection, pid) == f"pgagentos turn {turn_id} step {step}"
        scene.play.release()
    turn.result()
    assert shown_name(scene.connection, pid) == OWN


def test_a_worker_tells_how_many_turns_it_has(
    scene: Scene, session: psycopg.Connection, in_background: Background
) -> None:
    pid = session.info.backend_pid
    scene.says(held(says("done")), held(says("done")))
    turn = in_background(work_until_cancelled, session)
    is_called = "application_name = %s from pg_stat_activity where pid = %s"
    wait_for(scene.connection, is_called, "pgagentos work: 0 turns", pid)
    submit(scene)
    wait_for(scene.connection, is_called, "pgagentos work: 1 turn", pid)
    submit(scene)
    wait_for(scene.connection, is_called, "pgagentos work: 2 turns", pid)
    scene.play.release()
    scene.play.release()
    wait_for(scene.connection, is_called, "pgagentos work: 0 turns", pid)
    scene.connection.execute("select pg_cancel_backend(%s)", (pid,))
    assert turn.result() == "57014"
    assert shown_name(scene.connection, pid) == OWN


def test_a_turn_below_another_gives_the_name_back(
    scene: Scene, session: psycopg.Connection, in_background: Background
) -> None:
    pid = session.info.backend_pid
    scene.let_tools_ask()
    scene.skill(
        f"consult() returns text language plpgsql as $$ begin perform aos_agent.ask('{scene.name}',"
        f" 'and now?'); perform pg_advisory_xact_lock({LOCK}); return 'so'; end $$"
    )
    # The agent asks itself, in another conversation: its own call, then the one below.
    scene.says(calls(tool_call("consult")), held(says("below")), says("done"))
    scene.connection.execute("select pg_advisory_lock(%s)", (LOCK,))
    turn_id = scene.start()
    turn = in_background(run, session, turn_id)
    scene.play.arrived(2)
    below = shown_name(scene.connection, pid)
    assert below.startswith("pgagentos turn ")
    assert below.endswith(" step 1")
    assert str(turn_id) not in below
    scene.play.release()
    wait_until_blocked(scene.connection, pid)
    assert shown_name(scene.connection, pid) == f"pgagentos turn {turn_id} step 2"
    scene.connection.execute("select pg_advisory_unlock(%s)", (LOCK,))
    turn.result()
    assert shown_name(scene.connection, pid) == OWN


def test_a_name_that_a_tool_sets_for_itself_goes_with_the_tool(
    scene: Scene, session: psycopg.Connection, in_background: Background
) -> None:
    pid = session.info.backend_pid
    scene.skill(
        "renames() returns text language sql return"
        " set_config('application_name', 'pgagentos turn of a tool', false)"
    )
    scene.says(calls(tool_call("renames")), held(says("done")))
    turn_id = scene.start()
    turn = in_background(run, session, turn_id)
    scene.play.arrived(2)
    assert shown_name(scene.connection, pid) == f"pgagentos turn {turn_id} step 3"
    scene.play.release()
    turn.result()
    assert shown_name(scene.connection, pid) == OWN


@pytest.mark.parametrize("driver", ["select", "stepwise", "work"])
def test_the_name_is_given_back_after_a_cancel(
    scene: Scene, session: psycopg.Connection, in_background: Background, driver: str
) -> None:
    scene.says(held(says("lost")))
    drive = {"select": run, "stepwise": stepwise, "work": lambda s, _: work(s)}[driver]
    turn = in_background(drive, session, submit(scene) if driver == "work" else scene.start())
    scene.play.arrived(1)
    scene.connection.execute("select pg_cancel_backend(%s)", (session.info.backend_pid,))
    assert isinstance(turn.exception(), psycopg.errors.QueryCanceled)
    assert shown_name(scene.connection, session.info.backend_pid) == OWN
    scene.play.release()
    scene.connection.execute("delete from aos_core.queue")  # the next test's worker is its own


def test_the_name_is_given_back_after_errors(scene: Scene, session: psycopg.Connection) -> None:
    pid = session.info.backend_pid
    scene.says(fails(400), fails(400))
    run(session, scene.start())
    assert shown_name(scene.connection, pid) == OWN
    assert stepwise(session, scene.start())["status"] == "failed"
    assert shown_name(scene.connection, pid) == OWN
    with pytest.raises(psycopg.Error):
        stepwise(session, "00000000-0000-7000-8000-000000000000")
    assert shown_name(scene.connection, pid) == OWN
    session.execute("set application_name = 'another'")
    assert shown_name(scene.connection, pid) == "another"
