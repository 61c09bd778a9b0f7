"""Plan, perform, record: the loop that all drivers share.

:func:`advance` is a generator: it yields what it waits for. ``SELECT aos_agent.run_turn`` drives
one to its end; a queue worker drives hundreds.
"""

from __future__ import annotations

from typing import Any

from ..database import Database
from ..net.wait import Steps
from ..providers.base import ChatReply, Message, ToolCall
from ..providers.history import call_ids_of, result_id_of
from ..providers.wire import dumps
from ..store import turns
from ..turn import FINAL, Turn
from . import failures, tool_call
from .model_call import Answered, Exchange, NoAnswer, call_model

LAST_CALL = "You have no tool calls left in this turn. Answer now with what you know."
CUT_OFF = (
    "This call was not run: your reply was cut off at its token limit. Call again, more briefly."
)


def advance(
    database: Database, turn: Turn, exchange: Exchange, tools: tool_call.Tools
) -> Steps[None]:
    """Take a turn as far as it can go: to its end, or to where somebody else has to act.

    Args:
        turn: as :func:`pgagentos.store.turns.load` read it; its conversation is locked.
        exchange: carries one request to a provider.
        tools: runs the tool calls.
    """
    if turn.context.open_calls:
        if _is_cancelled(database, turn):
            return
        yield from _run_approved_calls(turn, tools)
        if turn.budgets is not None:
            turn.budgets.outdated()
    while turn.status not in FINAL and turn.status != "awaiting_approval":
        if _is_cancelled(database, turn):
            return
        used = turn.used_tokens
        if turn.context.max_turn_tokens is not None and used >= turn.context.max_turn_tokens:
            failures.end(
                database,
                turn,
                "token_limit",
                f"the turn has used {used} of {turn.context.max_turn_tokens} tokens",
                "agent.max_turn_tokens is the limit.",
            )
            return
        if turn.budgets is not None and (exhausted := turn.budgets.exhausted()) is not None:
            failures.end_over_budget(database, turn, exhausted)
            return
        is_last = turn.model_calls + 1 >= turn.context.max_model_calls
        started_at = tool_call.now()
        try:
            answered = yield from call_model(
                turn, "none" if is_last else "auto", LAST_CALL if is_last else None, exchange
            )
        except NoAnswer as failure:
            failures.end_after(database, turn, failure, started_at)
            return
        yield from _take_reply(database, turn, tools, answered, started_at, is_last=is_last)


def _is_cancelled(database: Database, turn: Turn) -> bool:
    """Cancel the turn if another session asked for that."""
    if (
        not turn.model_calls
        or turn.context.is_uncommitted
        or not turns.cancel_requested(database, turn.context.run_id)
    ):
        return False
    turns.record(database, turn, "running")
    turns.cancel(database, turn.context.run_id)
    turn.status = "cancelled"
    return True


def _take_reply(
    database: Database,
    turn: Turn,
    tools: tool_call.Tools,
    answered: Answered,
    started_at: str,
    *,
    is_last: bool,
) -> Steps[None]:
    """Turn a model's reply into steps, and decide what follows from it."""
    started_at = failures.add_steps(turn, answered.wasted, started_at)
    reply = answered.reply
    calls = _with_own_ids(turn, reply.tool_calls)
    content = reply.content or reply.refusal or ""
    message: dict[str, Any] = {"role": "assistant", "content": content}
    arguments = [tool_call.arguments_json(call) for call in calls]
    text = dumps(message)
    if calls:
        listed = ",".join(
            f'{{"call_id":{dumps(c.call_id)},"name":{dumps(c.name)},"arguments":{a}}}'
            for c, a in zip(calls, arguments, strict=True)
        )
        text = f'{text[:-1]},"tool_calls":[{listed}]}}'
    # A vendor's blocks name the calls by its own ids: they are of no use beside an id of ours.
    vendor = None if reply.vendor is None or calls != reply.tool_calls else dumps(reply.vendor)
    error = failures.shortcoming(reply)
    turn.steps += 1
    reply_no = turn.steps
    turn.new_steps.append(
        {
            "kind": "model",
            "step_no": reply_no,
            "status": "completed",
            "started_at": started_at,
            "finished_at": tool_call.now(),
            "message": text,
            "vendor": vendor,
            "model_id": answered.model.model_id,
            "attempts": answered.attempts,
            "input_tokens": reply.usage.input_tokens,
            "cached_tokens": reply.usage.cached_tokens or None,
            "cache_write_tokens": reply.usage.cache_write_tokens or None,
            "output_tokens": reply.usage.output_tokens,
            "reasoning_tokens": reply.usage.reasoning_tokens or None,
            "error": error,
        }
    )
    turn.messages.append(Message(text, vendor))
    turn.model_calls += 1
    turn.spend(answered.model, reply.usage)

    if calls and not is_last:
        for call, given in zip(calls, arguments, strict=True):
            yield from _take_call(turn, tools, reply, call, given, reply_no)
        if any(step["status"] == "awaiting_approval" for step in turn.new_steps):
            turns.record(database, turn, "awaiting_approval")
    elif reply.finish_reason == "pause" and not is_last:
        return  # the vendor works on: it gets its own words back and continues
    elif content.strip() and not calls:
        turn.answer = content
        turns.record(database, turn, "completed")
    elif calls or reply.finish_reason == "pause":
        failures.end(
            database,
            turn,
            "iteration_limit",
            f"the model still wants tools after {turn.model_calls} calls",
            "agent.max_model_calls is the limit.",
        )
    else:
        assert error is not None  # an empty reply has a reason, or call_model had asked again
        failures.end(database, turn, error["kind"], error["message"], error["hint"])


def _take_call(
    turn: Turn,
    tools: tool_call.Tools,
    reply: ChatReply,
    call: ToolCall,
    given: str,
    reply_no: int,
) -> Steps[None]:
    """Decide about one call of a reply, and run it when it may run."""
    started_at = tool_call.now()
    skill_id: str | None = None
    content: str | None
    if reply.finish_reason == "length":
        status, content = "failed", CUT_OFF
    else:
        skill, refusal = tool_call.decide(turn, call.name, given)
        skill_id = None if skill is None else skill.skill_id
        if skill is None or refusal is not None:
            denied = skill is not None and skill.on_call == "denied"
            status, content = "rejected" if denied else "failed", refusal
        elif skill.on_call == "awaiting_approval":
            status, content = "awaiting_approval", None
        else:
            status, content = yield from tools.run(turn, skill, given)
    turn.steps += 1
    step: dict[str, Any] = {
        "kind": "tool",
        "step_no": turn.steps,
        "model_step_no": reply_no,
        "status": status,
        "started_at": started_at,
        "skill_id": skill_id,
        "call_id": call.call_id,
        "tool_name": call.name,
        "arguments": given,
    }
    if content is not None:
        step.update(_result(turn, call.call_id, status, content))
    turn.new_steps.append(step)


def _run_approved_calls(turn: Turn, tools: tool_call.Tools) -> Steps[None]:
    """Run the calls that a person has approved since."""
    for open_call in turn.context.open_calls:
        if open_call.status != "approved":
            continue
        skill, refusal = tool_call.decide(turn, open_call.tool_name, open_call.arguments)
        if skill is None or refusal is not None:  # it was changed or taken away since
            status, content = "failed", refusal or ""
        elif not open_call.is_approved:
            status, content = "rejected", "Nobody approved this call with these arguments."
        elif skill.skill_id != open_call.skill_id:
            status = "failed"
            content = f"The tool {open_call.tool_name} is not the one that was approved."
        else:
            status, content = yield from tools.run(turn, skill, open_call.arguments)
        turn.closed_steps.append(
            {"step_no": open_call.step_no, "status": status}
            | _result(turn, open_call.call_id, status, content)
        )
    _sort_results(turn)


def _sort_results(turn: Turn) -> None:
    """Bring the results of the last reply into the order of its calls, as later turns see them.

    A different order would make the vendor's prompt cache miss.
    """
    replied = len(turn.messages) - 1
    while result_id_of(turn.messages[replied].json) is not None:
        replied -= 1
    order = {call_id: n for n, call_id in enumerate(call_ids_of(turn.messages[replied].json))}
    turn.messages[replied + 1 :] = sorted(
        turn.messages[replied + 1 :],
        key=lambda message: order.get(result_id_of(message.json) or "", len(order)),
    )


def _result(turn: Turn, call_id: str, status: str, content: str) -> dict[str, Any]:
    """What a call that came to its end adds to its row, and to the conversation."""
    text = tool_call.message(call_id, content, is_error=status != "completed")
    turn.messages.append(Message(text))
    return {
        "finished_at": tool_call.now(),
        "message": text,
        "error": None if status == "completed" else {"message": content},
    }


def _with_own_ids(turn: Turn, calls: tuple[ToolCall, ...]) -> tuple[ToolCall, ...]:
    """Give a call whose id was used before in this turn an id of its own."""
    named: list[ToolCall] = []
    for call in calls:
        call_id = call.call_id
        while call_id in turn.call_ids:
            call_id = f"{call.call_id}_{turn.steps + len(named) + 1}"
        turn.call_ids.add(call_id)
        named.append(
            call if call_id == call.call_id else ToolCall(call_id, call.name, call.arguments)
        )
    return tuple(named)
