"""Workers that die, freeze, stop or lose the server: others go on, and nothing is done twice."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from cluster import CHECKOUT, Cluster, Database, start_local
from http_skill.test_turns import register
from kernel.background import wait_for
from kernel.replies import calls, held, says, tool_call
from kernel.scene import Scene, make_scene
from servers.play_server import Answer, Play
from worker.conftest import external_skill
from worker.process import Start, worker_starter, write_tools

#: Words of the command line: the next look at the queue comes soon.
SOON = ("--poll", "0.1")
#: And a lease whose heartbeat a test can wait for.
SHORT = ("--lease", "0.5", *SOON)

#: A tool that does something outside, under the key that it was given.
POST = """
import urllib.request
def post(url, idempotency_key):
    request = urllib.request.Request(url, b"{{}}", {{"idempotency-key": idempotency_key}})
    with urllib.request.urlopen(request) as response:
        return response.read().decode()
"""


def end_lease(outside: Scene, turn: object) -> None:
    """Let the lease of a worker from which nothing is heard any more be over.

    A lease that is short in itself would end under a living worker, too, on a busy machine.
    """
    outside.connection.execute(
        "update aos_core.queue set lease_until = clock_timestamp()"
        " where run_id = %s and worker is not null",
        (turn,),
    )


def keys(play: Play) -> list[str]:
    return [request.headers["idempotency-key"] for request in play.requests()]


def test_another_worker_takes_over_from_one_that_was_killed_in_a_model_call(
    outside: Scene, start_worker: Start
) -> None:
    outside.says(held(says("lost")), says("found"))
    turn = outside.start()
    first = start_worker()
    outside.play.arrived(1)
    first.kill()
    end_lease(outside, turn)
    second = start_worker(*SOON)
    assert second.wait_for("claimed", turn_id=str(turn))["fence"] == 2
    second.wait_for("completed", turn_id=str(turn))
    assert outside.run_turn(turn)["answer"] == "found"
    assert keys(outside.play) == [f"{turn}-1"] * 2
    assert outside.shape() == ["model completed"]


def test_another_worker_takes_over_from_one_that_was_killed_in_a_tool(
    outside: Scene, start_worker: Start, tmp_path: Path
) -> None:
    external_skill(outside, "post", is_idempotent=True)
    service = Play(outside.play.control_url, outside.play.base_url, outside.play.name + "-tool")
    service.add(held(Answer("lost")), Answer("found"))
    outside.says(calls(tool_call("post", {"url": service.url}, "c1")), says("Posted."))
    tools = write_tools(tmp_path, POST.format())
    turn = outside.start()
    first = start_worker("--tools", tools)
    service.arrived(1)
    first.kill()
    end_lease(outside, turn)
    second = start_worker(*SOON, "--tools", tools)
    second.wait_for("completed", turn_id=str(turn))
    assert keys(service) == [f"{turn}-2"] * 2  # the service can tell that it is the same call
    assert outside.tool_results() == ["found"]
    assert outside.shape() == ["model completed", "tool completed", "model completed"]
    assert len(outside.play.requests()) == 2  # the reply that was recorded was not asked for again


def test_what_a_frozen_worker_brings_too_late_is_refused(
    outside: Scene, start_worker: Start
) -> None:
    outside.says(held(says("too late")), held(says("in time")))
    turn = outside.start()
    frozen = start_worker(*SOON)
    outside.play.arrived(1)
    frozen.signal(signal.SIGSTOP)
    end_lease(outside, turn)
    second = start_worker(*SOON)
    second.wait_for("claimed", turn_id=str(turn))
    outside.play.arrived(2)
    outside.play.release()
    outside.play.release()
    second.wait_for("completed", turn_id=str(turn))
    frozen.signal(signal.SIGCONT)
    frozen.wait_for("claim lost", turn_id=str(turn))
    assert outside.shape() == ["model completed"]
    assert outside.run_turn(turn)["answer"] == "in time"
    with pytest.raises(psycopg.Error) as refusal:
        outside.value(
            'select aos_agent.record_model_reply(%s, \'{"content": "too late"}\', null, 1)', turn
        )
    assert refusal.value.sqlstate == "OS006"


def test_a_living_worker_renews_its_lease(
    outside: Scene, start_worker: Start, connection: psycopg.Connection
) -> None:
    outside.says(held(says("slow")))
    turn = outside.start()
    worker = start_worker("--lease", "6")
    outside.play.arrived(1)
    wait_for(
        connection,
        "exists (select from aos_core.queue where run_id = %s"
        " and lease_until > claimed_at + interval '9 seconds')",
        turn,
    )
    outside.play.release()
    worker.wait_for("completed", turn_id=str(turn))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_worker_that_is_told_to_stop_gives_its_turns_back(
    outside: Scene, start_worker: Start, number: signal.Signals
) -> None:
    turns = [outside.start() for _ in range(3)]
    outside.says(*(held(says("lost")) for _ in turns), *(says("found") for _ in turns))
    first = start_worker()  # with a lease of a minute, which nobody waits for here
    outside.play.arrived(3)
    first.signal(number)
    assert first.end() == (0, "")
    assert len(first.events("given back")) == 3
    waiting = outside.rows(
        "select worker, attempt from aos_core.queue where tenant_id = %s", outside.tenant_id
    )
    assert waiting == [{"worker": None, "attempt": 0}] * 3
    second = start_worker()
    second.wait_for("completed", count=3)
    assert {outside.run_turn(turn)["answer"] for turn in turns} == {"found"}


def test_a_tool_that_cannot_be_stopped_does_not_keep_a_worker_that_is_told_to(
    outside: Scene, start_worker: Start, tmp_path: Path
) -> None:
    external_skill(outside, "sleep")
    outside.says(calls(tool_call("sleep", {}, "c1")))
    outside.start()
    tools = write_tools(tmp_path, "import time\ndef sleep(): time.sleep(3600)\n")
    worker = start_worker("--tools", tools, "--grace", "0.1")
    worker.wait_for("tool call")
    assert worker.stop() == (0, "")
    assert len(worker.events("given back")) == 1


def test_a_second_signal_ends_a_worker_without_a_word(
    outside: Scene, start_worker: Start, connection: psycopg.Connection
) -> None:
    outside.says(held(says("lost")))
    turn = outside.start()
    worker = start_worker()
    outside.play.arrived(1)
    with connection.transaction():
        # nothing about this turn can be written now, so it cannot be given back
        connection.execute("select from aos_core.queue where run_id = %s for update", (turn,))
        worker.signal(signal.SIGTERM)
        worker.wait_for("stopping")
        worker.signal(signal.SIGTERM)
        assert worker.end()[0] in (0, 128 + signal.SIGTERM)
    assert worker.events("given back") == []


def test_a_cancelled_turn_is_dropped_at_once(outside: Scene, start_worker: Start) -> None:
    outside.says(held(says("nobody reads this")), says("next"))
    turn = outside.start()
    worker = start_worker("--poll", "3600")  # the heartbeat of its lease is 20 s away
    outside.play.arrived(1)
    worker.wait_for("listening")
    assert outside.value("select aos_agent.cancel_turn(%s)", turn)["status"] == "cancelled"
    worker.wait_for("claim cancelled", turn_id=str(turn))
    following = outside.start()
    worker.wait_for("completed", turn_id=str(following))
    assert outside.run_turn(turn)["status"] == "cancelled"
    assert outside.steps(turn) == []


@pytest.mark.parametrize("kind", ["function", "request", "request that must not be repeated"])
def test_a_turn_is_cancelled_in_a_tool_that_the_database_runs(
    outside: Scene, start_worker: Start, kind: str
) -> None:
    service = Play(outside.play.control_url, outside.play.base_url, outside.play.name + "-slow")
    if kind == "function":
        outside.skill("order(id text) returns text language sql as $$select pg_sleep(3600)::text$$")
    else:
        register(outside, service, method="GET" if kind == "request" else "POST")
        service.add(held(Answer("nobody reads this")))
    outside.says(calls(tool_call("order", {"id": "7"}, "c1")), says("next"))
    turn = outside.start()
    worker = start_worker("--poll", "3600")
    worker.wait_for("listening")
    if kind == "function":
        wait_for(
            outside.connection,
            "exists (select from pg_stat_activity where wait_event = 'PgSleep'"
            " and query like '%record_model_reply%')",
        )
    else:
        service.arrived(1)
    assert outside.value("select aos_agent.cancel_turn(%s)", turn)["status"] == "cancelled"
    assert outside.run_turn(turn)["status"] == "cancelled"
    following = outside.start()
    worker.wait_for("completed", turn_id=str(following))
    assert len(worker.events("worker error", "not given back")) == 0


def test_nobody_stops_a_turn_by_saying_that_it_was_cancelled(
    outside: Scene, start_worker: Start, connection: psycopg.Connection
) -> None:
    """Whoever can connect can send notifications, and hear the ids of turns in them."""
    outside.says(held(says("done")), held(says("done")))
    turn, other = outside.start(), outside.start()
    worker = start_worker("--poll", "3600")
    outside.play.arrived(2)
    worker.wait_for("listening")
    connection.execute("select pg_notify('pgagentos_cancel', %s)", (str(turn),))
    outside.value("select aos_agent.cancel_turn(%s)", other)
    worker.wait_for("claim cancelled", turn_id=str(other))  # it was said later
    for _ in range(2):  # whose call came first is not known, and one of the two hears nothing more
        outside.play.release()
    worker.wait_for("completed", turn_id=str(turn))
    assert len(worker.events("claimed")) == 2


def test_a_claim_that_is_gone_is_noticed_by_the_heartbeat_too(
    outside: Scene, start_worker: Start, connection: psycopg.Connection
) -> None:
    outside.says(held(says("nobody reads this")))
    turn = outside.start()
    worker = start_worker(*SHORT)
    outside.play.arrived(1)
    connection.execute("update aos_core.queue set fence = fence + 1 where run_id = %s", (turn,))
    worker.wait_for("claim lost", turn_id=str(turn))


def test_a_claim_that_somebody_cancels_does_not_end_the_worker(
    outside: Scene, start_worker: Start, database: Database, connection: psycopg.Connection
) -> None:
    outside.says(says("done"))
    turn = outside.start()
    with database.connect() as other, other.transaction():
        other.execute("lock table aos_core.queue")  # the worker cannot claim
        worker = start_worker()
        waiting = (
            "select pid from pg_stat_activity"
            " where query like '%claim_turn%' and state = 'active' and wait_event_type = 'Lock'"
        )
        wait_for(connection, f"exists ({waiting})")
        assert connection.execute(
            f"select bool_and(pg_cancel_backend(pid)) from ({waiting}) as w"
        ).fetchone() == (True,)
    worker.wait_for("completed", turn_id=str(turn))


@pytest.fixture(scope="module")
def restartable(staged: dict[str, str]) -> Iterator[Cluster]:
    """A server of this module alone, whose commits are durable."""
    with start_local({**staged, "synchronous_commit": "on"}) as cluster:
        cluster.create_template()
        yield cluster


def restart(cluster: Cluster, staged: dict[str, str]) -> None:
    """Stop the server as a power cut does, and start it again."""
    assert cluster.home is not None
    pid = int((cluster.home / "data/postmaster.pid").read_text().split()[0])
    os.kill(pid, signal.SIGQUIT)  # immediate shutdown
    while (cluster.home / "data/postmaster.pid").exists():
        os.sched_yield()
    lines = [f"{setting}={value}" for setting, value in staged.items()]
    subprocess.run(
        [CHECKOUT / "scripts/cluster", "start", cluster.home, *lines],
        check=True,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def test_a_worker_goes_on_when_the_server_was_restarted_under_it(
    restartable: Cluster, staged: dict[str, str], play: Play, tmp_path: Path
) -> None:
    with restartable.database("restarted") as database:
        scene = make_scene(database.connect(), play)
        scene.set_agent("runner", "external")
        external_skill(scene, "tool")
        play.add(held(calls(tool_call("tool", {}, "c1"))), says("I was away."))
        turn = scene.start()
        tools = write_tools(tmp_path, "def tool():\n    return 'done'\n")
        with worker_starter(database.conninfo()) as start:
            worker = start("--tools", tools)
            worker.wait_for("listening")
            play.arrived(1)
            restart(restartable, staged)
            play.release()
            worker.wait_for("completed", turn_id=str(turn))
            worker.wait_for("listening", count=2)
            scene = Scene(database.connect(), play, scene.name, scene.tenant_id)
            later = scene.start()
            play.add(says("And back."))
            worker.wait_for("completed", turn_id=str(later))
        assert scene.run_turn(turn)["answer"] == "I was away."
        assert len(play.requests()) == 3  # the reply that was under way was not lost
        assert [s["status"] for s in scene.steps(turn)] == ["completed"] * 3


def test_a_wrong_dsn_is_an_error_at_once(outside: Scene, start_worker: Start) -> None:
    with worker_starter("host=/nowhere dbname=nothing") as start:
        status, complaint = start().end()
    assert status == 1
    assert "pgagentos.worker: " in complaint


def test_a_role_that_is_no_worker_is_refused_with_a_hint(outside: Scene) -> None:
    outside.connection.execute("create role plain_user login in role pgagentos_user")
    dsn = f"host={outside.connection.info.host} port={outside.connection.info.port}"
    with worker_starter(f"{dsn} dbname={outside.connection.info.dbname} user=plain_user") as start:
        status, complaint = start().end()
    assert status == 1
    assert "permission denied for function claim_turn" in complaint
