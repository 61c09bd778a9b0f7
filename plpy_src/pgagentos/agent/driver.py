"""The driver behind ``SELECT aos_agent.run_turn(...)``: a whole turn in one transaction."""

from __future__ import annotations

from .. import audit
from ..database import Database
from ..errors import InvalidInput
from ..net.wait import Interrupted, Wait, run
from ..price import UNITS
from ..providers.wire import dumps
from ..store import turns
from ..turn import Model, Turn
from . import failures, loop
from .model_call import NoAnswer
from .session import Session


class OneTransaction:
    """The pace of a driver that never commits: its caller does.

    Nobody could see that something was begun, so each step is written once, when it is over.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def checkpoint(self, turn: Turn) -> tuple[Wait, ...]:
        """See :class:`pgagentos.agent.loop.Pace`."""
        self._database.status.step(*turn.act)
        return ()

    def admit(self, turn: Turn, model: Model) -> tuple[Wait, ...]:
        """See :class:`pgagentos.agent.loop.Pace`."""
        return ()

    def hold(self, turn: Turn) -> None:
        """See :class:`pgagentos.agent.loop.Pace`."""

    def is_stopped(self, turn: Turn) -> bool:
        """See :class:`pgagentos.agent.loop.Pace`."""
        context = turn.context
        if (
            not turn.model_calls
            or context.is_uncommitted
            or not turns.cancel_requested(self._database, context.run_id)
        ):
            return False
        self.cancel(turn)
        return True

    def cancel(self, turn: Turn) -> None:
        """Close the turn as cancelled; what it did stays recorded."""
        turns.record(self._database, turn, "running")
        turns.cancel(self._database, turn.context.run_id)
        turn.status = "cancelled"

    def puts_off(self, turn: Turn, failure: NoAnswer, step_no: int) -> bool:
        """See :class:`pgagentos.agent.loop.Pace`."""
        return False


def run_turn(session: Session, run_id: str, nowait: bool) -> str:
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
    database = session.database
    status = turns.lock(database, run_id, nowait)
    if status in ("awaiting_approval", "awaiting_tool"):
        status = turns.go_on(database, run_id)
    if status in ("queued", "running"):
        _advance(session, turns.load(database, session.in_flight, run_id))
    elif status == "awaiting_model":
        turns.end_over_budget(database, run_id)
    return turns.state(database, run_id)


def ask(session: Session, agent_name: str, content: str, conversation: str | None) -> str | None:
    """Say something to an agent and return its answer.

    Args:
        conversation: None opens a new one.

    Returns:
        the answer; None, with a WARNING that says why, when the turn did not complete.
    """
    if not content:
        raise InvalidInput("the message is empty", hint="Pass the user's words as content.")
    database = session.database
    turn = turns.open_turn(database, session.in_flight, agent_name, content, conversation)
    run_id = turn.context.run_id
    _advance(session, turn)
    if turn.status != "completed":
        if turn.context.runner == "external":
            turns.enqueue_outside(database, run_id)
        failure = turn.failure or {}
        hint = f"SELECT aos_agent.run_turn('{run_id}') shows what it waits for or what failed."
        database.warn(
            f"turn {run_id} is {turn.status}" + (f": {failure['message']}" if failure else ""),
            f"{failure['hint']} {hint}" if failure.get("hint") else hint,
        )
    return turn.answer


def run_skill(
    session: Session, run_id: str, tool_name: str, arguments: str, key: str
) -> tuple[str, str]:
    """Run one tool call of a turn that is driven from outside.

    Args:
        run_id: the turn; its conversation is locked and the call was decided about.
        key: see :meth:`pgagentos.agent.tool_call.Tools.run`.

    Returns:
        ``(status, content)`` as :meth:`pgagentos.agent.tool_call.Tools.run` does.
    """
    turn = turns.load(session.database, session.in_flight, run_id)
    skill = turn.context.skills[tool_name]
    with session.identities.acting(turn.context.tenant_id, turn.context.principal_id):
        return run(session.tools.run(turn, skill, arguments, key), session.database.interrupts)


def over_budget(session: Session, run_id: str) -> str | None:
    """Whether a budget leaves a turn nothing that is driven from outside.

    Returns:
        the turn's error as JSON text, or None.
    """
    from ..store.budgets import of_outside_turn

    exhausted = of_outside_turn(session.database, session.in_flight, run_id).exhausted()
    return dumps(failures.over_budget(exhausted)) if exhausted else None


def _advance(session: Session, turn: Turn) -> None:
    context = turn.context
    if context.runner != "database":
        return
    pace = OneTransaction(session.database)
    is_interrupted = True
    try:
        with (
            session.identities.acting(context.tenant_id, context.principal_id),
            session.database.status.driving(context),
        ):
            run(
                loop.advance(session.database, turn, session.carrier.exchange, session.tools, pace),
                session.database.interrupts,
            )
        is_interrupted = False
    except Interrupted as interrupted:
        if context.is_uncommitted:
            raise
        _make_sure_of_cancel(session, interrupted, context.run_id)
        pace.cancel(turn)
        is_interrupted = False
    finally:
        # The rows go when the caller rolls back, or is cancelled or killed; the money is spent.
        session.database.log(_driven(turn, is_interrupted))


def _make_sure_of_cancel(session: Session, interrupted: Interrupted, run_id: str) -> None:
    """Go on only if it was ``cancel_turn`` that has interrupted this session.

    Raises:
        Interrupted: it was the user or a timeout, or the session is to end.
    """
    if not hasattr(interrupted, "original"):
        try:
            session.database.obey()  # else the next statement would
        except Interrupted as obeyed:
            interrupted = obeyed
    if not turns.cancel_requested(session.database, run_id, waits=True):
        raise interrupted


def _driven(turn: Turn, is_interrupted: bool) -> str:
    context, spent = turn.context, turn.spent
    return audit.line(
        "turn_driven",
        tenant_id=context.tenant_id,
        agent_id=context.agent_id,
        conversation_id=context.conversation_id,
        turn_id=context.run_id,
        status="interrupted" if is_interrupted else turn.status,
        model_calls=spent.model_calls,
        input_tokens=spent.input_tokens,
        cached_tokens=spent.cached_tokens,
        output_tokens=spent.output_tokens,
        cost=None if spent.cost is None else spent.cost / UNITS,
    )
