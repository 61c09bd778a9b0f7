"""The driver behind ``SELECT aos_agent.run_turn(...)``: a whole turn in one transaction."""

from __future__ import annotations

from ..carrier import Carrier
from ..database import Database
from ..errors import InvalidInput
from ..net.wait import run
from ..store import turns
from ..turn import Turn
from . import loop


def run_turn(database: Database, carrier: Carrier, run_id: str, nowait: bool) -> str:
    """Take a turn as far as it can go without somebody else.

    Args:
        run_id: the turn.
        nowait: fail at once when another session drives a turn of this conversation.

    Returns:
        JSON text: the answer, or what the turn waits for. A finished turn returns its stored
        answer.

    Raises:
        DatabaseError: for example ``OS002`` no such turn, ``OS004`` the conversation is busy.
    """
    status = turns.lock(database, run_id, nowait)
    if status in ("awaiting_approval", "awaiting_tool"):
        status = turns.go_on(database, run_id)
    if status in ("queued", "running"):
        _advance(database, carrier, turns.load(database, run_id))
    return turns.state(database, run_id)


def ask(
    database: Database, carrier: Carrier, agent_name: str, content: str, conversation: str | None
) -> str | None:
    """Say something to an agent and return its answer.

    Args:
        conversation: None opens a new one.

    Returns:
        the answer; None, with a WARNING that says why, when the turn did not complete.
    """
    if not content:
        raise InvalidInput("the message is empty", hint="Pass the user's words as content.")
    run_id = turns.open_turn(database, agent_name, content, conversation)
    turn = turns.load(database, run_id, is_uncommitted=True)
    _advance(database, carrier, turn)
    if turn.status != "completed":
        failure = turn.failure or {}
        hint = f"SELECT aos_agent.run_turn('{run_id}') shows what it waits for or what failed."
        database.warn(
            f"turn {run_id} is {turn.status}" + (f": {failure['message']}" if failure else ""),
            f"{failure['hint']} {hint}" if failure.get("hint") else hint,
        )
    return turn.answer


def _advance(database: Database, carrier: Carrier, turn: Turn) -> None:
    if turn.context.runner == "database":
        run(loop.advance(database, turn, carrier.exchange), database.interrupts)
