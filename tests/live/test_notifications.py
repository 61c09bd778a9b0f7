"""What LISTEN hears of turns: each step when it is committed, ids and words of the kernel."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from psycopg.types.json import Jsonb

from cluster import Database
from kernel.drivers import stepwise, submit, work
from kernel.replies import calls, says, tool_call
from kernel.scene import Scene

Heard = list[tuple[Any, ...]]


class Listener:
    """A session that listens to a conversation, and to all turns."""

    def __init__(self, connection: psycopg.Connection) -> None:
        self._connection = connection
        self._notes: list[psycopg.Notify] = []
        connection.add_notify_handler(self._notes.append)
        connection.execute("listen pgagentos_turn")

    def listen(self, conversation_id: Any) -> None:
        row = self._connection.execute(
            "select aos_agent.channel_of(%s)", (conversation_id,)
        ).fetchone()
        assert row is not None
        self._connection.execute(
            psycopg.sql.SQL("listen {}").format(psycopg.sql.Identifier(row[0]))
        )

    def heard(self, conversation_id: Any) -> list[dict[str, Any]]:
        """All that was told so far of a conversation; both channels say the same.

        What was committed before a statement begins has been delivered when it ends.
        """
        self._connection.execute("select 1")
        everywhere = [json.loads(n.payload) for n in self._notes if n.channel == "pgagentos_turn"]
        told = [n for n in everywhere if n["conversation_id"] == str(conversation_id)]
        own = f"pgagentos_{conversation_id.hex}"
        assert told == [json.loads(n.payload) for n in self._notes if n.channel == own]
        return told


@pytest.fixture
def listener(database: Database) -> Iterator[Listener]:
    """Listens from the beginning."""
    with database.connect() as opened:
        yield Listener(opened)


def short(told: list[dict[str, Any]]) -> Heard:
    return [(t["status"], t["step_no"], t["kind"], t["step_status"]) for t in told]


#: a turn with one tool call, in the drivers that commit
STEP_BY_STEP: Heard = [
    ("running", 1, "model", "running"),
    ("running", 1, "model", "completed"),
    ("running", 3, "model", "running"),
    ("completed", 3, "model", "completed"),
]


@pytest.mark.parametrize("driver", ["stepwise", "work"])
def test_each_commit_of_a_committing_driver_is_told(
    scene: Scene, session: psycopg.Connection, listener: Listener, driver: str
) -> None:
    scene.skill("one() returns int language sql return 1")
    scene.says(calls(tool_call("one")), says("done"))
    turn_id = submit(scene) if driver == "work" else scene.start()
    conversation_id = scene.run()["conversation_id"]
    listener.listen(conversation_id)
    if driver == "work":
        work(session)
    else:
        stepwise(session, turn_id)
    told = listener.heard(conversation_id)
    assert short(told) == STEP_BY_STEP
    # Anybody may listen: names of tools and what was said are in the rows, under row security.
    assert {tuple(t) for t in told} == {
        ("turn_id", "conversation_id", "status", "step_no", "kind", "step_status")
    }


def test_what_a_worker_outside_records_is_told(scene: Scene, listener: Listener) -> None:
    scene.set_agent("runner", "external")
    scene.skill("one() returns int language sql return 1")
    turn_id = submit(scene)
    conversation_id = scene.run()["conversation_id"]
    listener.listen(conversation_id)
    claim = scene.value("select aos_agent.claim_turn('abroad')")
    for reply in (
        {"tool_calls": [{"call_id": "a", "name": "one", "arguments": {}}]},
        {"content": "done"},
    ):
        scene.value(
            "select aos_agent.record_model_reply(%s, %s, fence => %s)",
            turn_id, Jsonb(reply), claim["fence"],
        )  # fmt: skip
    assert short(listener.heard(conversation_id)) == [
        ("awaiting_model", 2, "tool", "completed"),
        ("completed", 3, "model", "completed"),
    ]


def test_the_cycle_without_claims_is_told_too(scene: Scene, listener: Listener) -> None:
    scene.set_agent("runner", "external")
    scene.skill("risky() returns int language sql return 1", approval="ask")
    turn_id = scene.start()
    conversation_id = scene.run()["conversation_id"]
    listener.listen(conversation_id)
    asked = scene.value("select aos_agent.process_tool_call(%s, 'risky', '{}')", turn_id)
    scene.value("select aos_agent.reject_tool_call(%s)", asked["step_id"])
    scene.value("select aos_agent.finish_turn(%s, 'done')", turn_id)
    told = short(listener.heard(conversation_id))
    assert ("awaiting_approval", None, None, None) in told
    assert ("awaiting_model", 2, "tool", "rejected") in told
    assert told[-1] == ("completed", 3, "model", "completed")


def test_a_cancelled_turn_is_told(scene: Scene, listener: Listener) -> None:
    turn_id = submit(scene)
    conversation_id = scene.run()["conversation_id"]
    listener.listen(conversation_id)
    scene.value("select aos_agent.cancel_turn(%s)", turn_id)
    assert short(listener.heard(conversation_id)) == [("cancelled", None, None, None)]


def test_a_turn_of_the_queue_that_is_run_by_select_is_told_when_it_is_committed(
    scene: Scene, session: psycopg.Connection, listener: Listener
) -> None:
    scene.says(says("done"))
    turn_id = submit(scene)
    conversation_id = scene.run()["conversation_id"]
    listener.listen(conversation_id)
    with session.transaction():
        session.execute("select aos_agent.run_turn(%s)", (turn_id,))
        assert listener.heard(conversation_id) == []
    assert short(listener.heard(conversation_id)) == [("completed", 1, "model", "completed")]


def test_a_plain_turn_in_one_transaction_tells_nobody(scene: Scene, listener: Listener) -> None:
    """A notification makes the commits of a server wait for each other."""
    scene.says(says("done"))
    scene.ask()
    assert listener.heard(scene.run()["conversation_id"]) == []
