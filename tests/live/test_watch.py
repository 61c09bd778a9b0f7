"""The examples that watch: as processes, beside a turn whose model is slow."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO

import psycopg
import pytest

from cluster import CHECKOUT, Database, pg_config
from kernel.background import Background
from kernel.drivers import stepwise, submit, work
from kernel.replies import calls, fails, held, says, tool_call
from kernel.scene import Scene
from servers.play_server import PATIENCE


class Output:
    """What a process prints, line by line."""

    def __init__(self, stream: IO[str]) -> None:
        self.lines: list[str] = []
        self._changed = threading.Condition()
        self._is_over = False
        self._reader = threading.Thread(target=self._read, args=(stream,), daemon=True)
        self._reader.start()

    def _read(self, stream: IO[str]) -> None:
        for line in stream:
            with self._changed:
                self.lines.append(line.rstrip("\n"))
                self._changed.notify_all()
        with self._changed:
            self._is_over = True
            self._changed.notify_all()

    def wait_for(self, text: str, after: int = 0) -> int:
        """Wait until a line has a text in it; returns the number of lines up to it."""

        def found() -> int:
            return next((n for n, li in enumerate(self.lines[after:], after + 1) if text in li), 0)

        with self._changed:
            self._changed.wait_for(lambda: found() > 0 or self._is_over, PATIENCE)
            assert found(), f"{text!r} was never printed: {self.lines}"
            return found()


@contextmanager
def running(*command: str) -> Iterator[tuple[subprocess.Popen[str], Output]]:
    """Run a program; it is ended with the block."""
    with subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        text=True,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        try:
            yield process, Output(process.stdout)
        finally:
            process.kill()


def watch(database: Database, conversation_id: object, *options: str) -> list[str]:
    return [
        sys.executable, str(CHECKOUT / "examples/watch.py"), "--dsn", database.conninfo(),
        str(conversation_id), *options,
    ]  # fmt: skip


@pytest.mark.parametrize("driver", ["stepwise", "work"])
def test_the_python_example_prints_each_step_when_it_is_durable(
    scene: Scene,
    session: psycopg.Connection,
    database: Database,
    in_background: Background,
    driver: str,
) -> None:
    scene.skill("one() returns int language sql return 1")
    scene.says(held(calls(tool_call("one"))), held(says("It is one.")))
    turn_id = submit(scene) if driver == "work" else scene.start()
    with running(*watch(database, scene.run()["conversation_id"])) as (process, output):
        turn = in_background(
            (lambda s, _: work(s)) if driver == "work" else stepwise, session, turn_id
        )
        output.wait_for("1.1   model running")
        assert not any("tool" in line for line in output.lines)
        scene.play.arrived(1)
        scene.play.release()
        output.wait_for("1.3   model running")
        assert not any("completed: " in line and "It is" in line for line in output.lines)
        scene.play.release()
        output.wait_for("turn completed")
        assert process.wait(PATIENCE) == 0
        turn.result()
    assert [line for line in output.lines if "pending" not in line] == [
        "1.1   model running",
        "1.1   model completed",
        "1.2   tool one({}) completed: \"1\"",
        "1.3   model running",
        '1.3   model completed: "It is one."',
        "1     turn completed",
    ]  # fmt: skip


def test_the_python_example_goes_on_with_later_turns(
    scene: Scene, session: psycopg.Connection, database: Database
) -> None:
    scene.says(says("first"), fails(400, "no such thing"))
    turn_id = scene.start()
    conversation_id = scene.run()["conversation_id"]
    with running(*watch(database, conversation_id, "--on")) as (process, output):
        stepwise(session, turn_id)
        seen = output.wait_for("1     turn completed")
        scene.value("select aos_agent.add_user_message(%s, 'and now?')", conversation_id)
        stepwise(session, scene.value("select aos_agent.start_turn(%s)", conversation_id))
        output.wait_for("2     turn failed: ", seen)
        assert process.poll() is None


def test_the_python_example_says_what_is_wrong(scene: Scene, database: Database) -> None:
    nobodys = "00000000-0000-7000-8000-000000000000"
    with running(*watch(database, nobodys)) as (process, output):
        output.wait_for(f"there is no conversation {nobodys}")
        assert process.wait(PATIENCE) == 1


def test_the_psql_example_shows_who_is_thinking(
    scene: Scene, session: psycopg.Connection, database: Database, in_background: Background
) -> None:
    scene.skill("one() returns int language sql return 1")
    scene.says(held(calls(tool_call("one"))), held(says("done")))
    psql = f"{pg_config('--bindir')}/psql"
    file = str(CHECKOUT / "examples/watch.sql")
    with running(psql, "-X", "-d", database.conninfo(), "-f", file) as (_, output):
        seen = output.wait_for("agent_name")
        turn = in_background(stepwise, session, scene.start())
        scene.play.arrived(1)
        seen = output.wait_for(scene.name, seen)
        cells = [cell.strip() for cell in output.lines[seen - 1].split("|")]
        assert cells[:2] + cells[3:6] == [scene.name, "stepwise", "1", "model", ""]
        scene.play.release()
        scene.play.arrived(2)
        output.wait_for("|       3 | model |", seen)
        scene.play.release()
        turn.result()
