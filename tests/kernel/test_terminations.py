"""Sessions that are ended at random moments of a turn never take the server with them."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from cluster import Cluster, Database
from kernel.background import Background
from kernel.replies import calls, completion, fails, says, tool_call
from kernel.scene import Scene, make_scene
from servers.play_server import Answer, Play, PlayServer

#: Sessions that are ended by each test; three tests.
TIMES = 35


@pytest.fixture
def log(own_cluster: Cluster) -> Path:
    """The server's log."""
    assert own_cluster.home is not None
    return own_cluster.home / "server.log"


def crashes_in(log: Path) -> list[str]:
    """What the log says about sessions that died."""
    return re.findall(
        r".*(?:terminated by signal|was terminated by|PANIC|crash of another server process).*",
        log.read_text(errors="replace"),
    )


def script_of_a_turn() -> list[Answer]:
    """Two model calls, two tools, a retry, and an answer that comes slowly."""
    return [
        calls(tool_call("one"), tool_call("dream")),
        fails(500, retry_after_ms="20"),
        calls(tool_call("one")),
        Answer(completion("x" * 200), fault="drip"),
    ]


@pytest.fixture
def admin(own_database: Database) -> Iterator[psycopg.Connection]:
    """A session that ends others."""
    with own_database.connect() as opened:
        yield opened


def prepare(admin: psycopg.Connection, play: Play, carrier: str) -> Scene:
    """Make an agent with two tools."""
    scene = make_scene(admin, play)
    scene.skill("one() returns int language sql return 1")
    scene.skill("dream() returns void language sql return pg_sleep(0.03)")
    admin.execute(
        "update aos_meta.provider set carrier = %s where provider = %s", (carrier, scene.name)
    )
    return scene


@pytest.mark.parametrize(("carrier", "is_tls"), [("wire", False), ("wire", True), ("sdk", True)])
def test_ending_sessions_at_random_moments_crashes_nothing(
    own_database: Database,
    admin: psycopg.Connection,
    log: Path,
    play_server: PlayServer,
    tls_play_server: PlayServer,
    in_own_background: Background,
    carrier: str,
    is_tls: bool,
) -> None:
    server = tls_play_server if is_tls else play_server
    play = server.play(f"terminations-{carrier}-{is_tls}")
    scene = prepare(admin, play, carrier)
    seed = random.randrange(1 << 32)
    print(f"\nseed {seed}")  # shown when the test fails
    moments = random.Random(seed)

    def turns(session: psycopg.Connection) -> None:
        while True:
            session.execute("select aos_agent.ask(%s, 'hello')", (scene.name,))

    def turns_until_the_end(session: psycopg.Connection) -> None:
        with pytest.raises(psycopg.Error):
            turns(session)

    for _ in range(TIMES):
        play.add(*script_of_a_turn())
        with own_database.connect() as session:
            running = in_own_background(turns_until_the_end, session)
            admin.execute("select pg_sleep(%s)", (moments.uniform(0.0, 0.35),))
            admin.execute("select pg_terminate_backend(%s)", (session.info.backend_pid,))
            running.result()
    assert crashes_in(log) == []
    # Turns that were ended left nothing, turns before them everything.
    half_written = admin.execute(
        "select count(*) from aos_core.run where status not in ('completed', 'failed')"
    ).fetchone()
    assert half_written == (0,)
    unanswered = admin.execute(
        "select count(*) from aos_agent.message as m"
        " where not exists (select from aos_core.run as r where r.run_id = m.run_id)"
    ).fetchone()
    assert unanswered == (0,)


def test_the_search_for_crashes_finds_one(tmp_path: Path) -> None:
    log = tmp_path / "server.log"
    log.write_text(
        "LOG:  server process (PID 42) was terminated by signal 11: Segmentation fault\n"
    )
    assert len(crashes_in(log)) == 1


def test_a_session_survives_many_cancels(
    own_database: Database, play_server: PlayServer, in_own_background: Background
) -> None:
    play = play_server.play("many-cancels")
    with own_database.connect() as session, own_database.connect() as admin:
        scene = make_scene(session, play)
        pid = session.info.backend_pid

        def cancelled_turn() -> str | None:
            with pytest.raises(psycopg.Error) as caught:
                scene.ask()
            return caught.value.sqlstate

        for number in range(50):
            play.add(Answer(fault="silence"))
            turn = in_own_background(cancelled_turn)
            play.arrived(number + 1)
            admin.execute("select pg_cancel_backend(%s)", (pid,))
            assert turn.result() == "57014"
        play.add(says("alive"))
        assert scene.ask() == "alive"
        assert session.info.backend_pid == pid
