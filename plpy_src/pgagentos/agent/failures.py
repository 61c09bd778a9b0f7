"""What is written when a turn, or a part of it, does not come to an answer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..database import Database, DatabaseError
from ..errors import TURN_FAILURES, AgentOSError, ProviderError
from ..providers.base import ChatReply
from ..store import turns
from ..turn import Turn
from .model_call import NoAnswer

if TYPE_CHECKING:
    from ..budget import Exhausted


def shortcoming(reply: ChatReply) -> dict[str, Any] | None:
    """What is to be known about a reply that is not whole."""
    if reply.finish_reason == "length":
        return {
            "sqlstate": TURN_FAILURES["length"],
            "kind": "length",
            "message": "the reply was cut off at its token limit",
            "hint": "Raise max_output_tokens in the persona's params.",
        }
    if reply.finish_reason == "content_filter" or reply.refusal:
        return {
            "sqlstate": TURN_FAILURES["content_filter"],
            "kind": "content_filter",
            "message": "the provider or the model refused to answer",
            "hint": "See the step's vendor column for the provider's reason.",
        }
    return None


def end_after(
    database: Database, turn: Turn, failure: NoAnswer, step_no: int, started_at: str
) -> None:
    """End a turn that no model gave a usable answer to."""
    close_steps(turn, (*failure.wasted, failure), step_no, started_at)
    turns.record(database, turn, "failed", error=error_value(failure.error))


def close_steps(turn: Turn, failures: tuple[NoAnswer, ...], step_no: int, started_at: str) -> str:
    """Close the open model step, and add one for each further model without a usable answer.

    Returns:
        when the last of them was given up.
    """
    for n, failure in enumerate(failures):
        usage = failure.usage
        if n:
            step_no = turn.open_step({"kind": "model", "started_at": started_at})
        turn.change_step(
            step_no,
            status="failed",
            finished_at=failure.at,
            model_id=failure.model.model_id,
            attempts=failure.attempts,
            input_tokens=usage.input_tokens or None,
            cached_tokens=usage.cached_tokens or None,
            cache_write_tokens=usage.cache_write_tokens or None,
            output_tokens=usage.output_tokens or None,
            reasoning_tokens=usage.reasoning_tokens or None,
            error=error_value(failure.error),
        )
        turn.model_calls += 1
        turn.spend(failure.model, usage)
        started_at = failure.at
    return started_at


def error_value(error: ProviderError) -> dict[str, Any]:
    """An error as the rows hold it."""
    return {
        "sqlstate": error.sqlstate,
        "kind": error.kind,
        "message": error.message,
        "hint": error.hint,
        "provider": error.provider,
        "status": error.status,
        "code": error.code,
    }


def end(database: Database, turn: Turn, kind: str, message: str, hint: str) -> None:
    """End a turn as failed, for a reason of our own.

    Args:
        kind: a key of :data:`pgagentos.errors.TURN_FAILURES`.
        message: what happened.
        hint: what the reader can do about it.
    """
    turns.record(
        database,
        turn,
        "failed",
        error={"sqlstate": TURN_FAILURES[kind], "kind": kind, "message": message, "hint": hint},
    )


def end_over_budget(database: Database, turn: Turn, exhausted: Exhausted) -> None:
    """End a turn that a budget leaves nothing for its next model call."""
    turns.record(database, turn, "failed", error=over_budget(exhausted))


def over_budget(exhausted: Exhausted) -> dict[str, Any]:
    """The error of such a turn."""
    return {
        "sqlstate": TURN_FAILURES["budget"],
        "kind": "budget",
        "message": exhausted.message,
        "hint": exhausted.hint,
        **exhausted.details,
    }


def driver_error(error: Exception) -> dict[str, Any]:
    """An error of a turn's driver, as the queue keeps it."""
    if isinstance(error, (AgentOSError, DatabaseError)):
        return {"kind": "driver", "sqlstate": error.sqlstate, "message": error.message}
    text = f"internal error: {type(error).__name__}"
    return {"kind": "driver", "sqlstate": "XX000", "message": text}
