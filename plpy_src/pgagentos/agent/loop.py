"""Plan, perform, record: the loop that all drivers share.

:func:`advance` is a generator: it yields what it waits for. ``SELECT aos_agent.run_turn`` drives
one to its end; a queue worker drives hundreds. Where it stands is in the turn's rows, so it goes on
where another session was stopped. Drivers differ in one thing, their :class:`Pace`: when they
commit.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Any, Protocol

from ..database import Database
from ..net.wait import Steps, Wait
from ..providers.base import ChatReply, Message, ToolCall
from ..providers.history import call_ids_of, result_id_of
from ..providers.wire import dumps
from ..store import turns
from ..turn import FINAL, Model, OpenCall, Skill, Turn
from . import failures, tool_call
from .model_call import Answered, Exchange, NoAnswer, call_model

LAST_CALL = "You have no tool calls left in this turn. Answer now with what you know."
CUT_OFF = (
    "This call was not run: your reply was cut off at its token limit. Call again, more briefly."
)
#: A request may have reached its service, and its answer was lost with whoever sent it.
OUTCOME_UNKNOWN = {
    "kind": "outcome_unknown",
    "message": "it is not known whether this call has taken effect",
    "hint": "Approve it to make the call once more, reject it to leave it at that.",
}
#: Statuses of a call that its driver runs now.
_TO_RUN = ("pending", "running", "approved")


class Pace(Protocol):
    """How a driver goes: what it does around the steps of a turn."""

    def checkpoint(self, turn: Turn) -> Iterable[Wait]:
        """Make all steps so far durable, before something is done that cannot be undone."""

    def hold(self, turn: Turn) -> None:
        """Make sure that what was just done in the database is recorded with it, or undone."""

    def admit(self, turn: Turn, model: Model) -> Iterable[Wait]:
        """Wait until the turn may call a model."""

    def is_stopped(self, turn: Turn) -> bool:
        """Whether the driver goes no further with the turn, for example because it is cancelled."""

    def puts_off(self, turn: Turn, failure: NoAnswer, step_no: int) -> bool:
        """Leave a model call that failed for later, if the driver can, and say whether it does.

        Args:
            step_no: of the call's step, which is open.
        """


def advance(
    database: Database, turn: Turn, exchange: Exchange, tools: tool_call.Tools, pace: Pace
) -> Steps[None]:
    """Take a turn as far as it can go: to its end, or to where somebody else has to act.

    Args:
        turn: as :func:`pgagentos.store.turns.load` read it; no other driver has it.
        exchange: carries one request to a provider.
        tools: runs the tool calls.
        pace: of the driver.
    """
    while True:
        if pace.is_stopped(turn):
            return
        if turn.open_calls:
            yield from _run_calls(turn, tools, pace)
            if turn.budgets is not None:
                turn.budgets.outdated()
            if turn.open_calls:
                turns.record(database, turn, "awaiting_approval")
                return
        if not _may_call(database, turn):
            return
        yield from pace.admit(turn, turn.context.models[0])
        is_last = turn.model_calls + 1 >= turn.context.max_model_calls
        started_at = tool_call.now()
        begun, turn.open_model_call = turn.open_model_call, None
        if begun is None:
            step_no = turn.open_step(
                {"kind": "model", "status": "running", "started_at": started_at}
            )
        else:
            step_no = begun.step_no
            turn.change_step(step_no, status="running", attempts=begun.attempts)
        turn.act = (step_no, None)
        yield from pace.checkpoint(turn)
        tried = 0 if begun is None else begun.attempts
        try:
            answered = yield from call_model(
                turn,
                "none" if is_last else "auto",
                LAST_CALL if is_last else None,
                exchange,
                f"{turn.context.run_id}-{step_no}",
                partial(pace.admit, turn),
            )
        except NoAnswer as failure:
            failure.attempts += tried
            if not pace.puts_off(turn, failure, step_no):
                failures.end_after(database, turn, failure, step_no, started_at)
            return
        answered = answered._replace(attempts=answered.attempts + tried)
        _take_reply(database, turn, answered, step_no, started_at, is_last=is_last)
        if turn.status in FINAL:
            return


def _may_call(database: Database, turn: Turn) -> bool:
    """Whether the turn may call its model once more; if not, it has ended."""
    used, most = turn.used_tokens, turn.context.max_turn_tokens
    if most is not None and used >= most:
        failures.end(
            database,
            turn,
            "token_limit",
            f"the turn has used {used} of {most} tokens",
            "agent.max_turn_tokens is the limit.",
        )
        return False
    if turn.budgets is not None and (exhausted := turn.budgets.exhausted()) is not None:
        failures.end_over_budget(database, turn, exhausted)
        return False
    return True


def _take_reply(
    database: Database,
    turn: Turn,
    answered: Answered,
    step_no: int,
    started_at: str,
    *,
    is_last: bool,
) -> None:
    """Turn a model's reply into steps, and decide what follows from it."""
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
    if answered.wasted:
        started_at = failures.close_steps(turn, answered.wasted, step_no, started_at)
        step_no = turn.open_step({"kind": "model", "started_at": started_at})
    turn.change_step(
        step_no,
        status="completed",
        finished_at=tool_call.now(),
        message=text,
        vendor=vendor,
        model_id=answered.model.model_id,
        attempts=answered.attempts,
        input_tokens=reply.usage.input_tokens,
        cached_tokens=reply.usage.cached_tokens or None,
        cache_write_tokens=reply.usage.cache_write_tokens or None,
        output_tokens=reply.usage.output_tokens,
        reasoning_tokens=reply.usage.reasoning_tokens or None,
        error=error,
    )
    turn.messages.append(Message(text, vendor))
    turn.model_calls += 1
    turn.spend(answered.model, reply.usage)

    if calls and not is_last:
        for call, given in zip(calls, arguments, strict=True):
            _open_call(turn, reply, call, given, step_no)
        _sort_results(turn)
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


def _open_call(turn: Turn, reply: ChatReply, call: ToolCall, given: str, reply_no: int) -> None:
    """Decide about one call of a reply: to be run, to be asked about, or refused at once."""
    skill: Skill | None = None
    refusal: str | None = CUT_OFF
    if reply.finish_reason != "length":
        skill, refusal = tool_call.decide(turn, call.name, given)
    step: dict[str, Any] = {
        "kind": "tool",
        "model_step_no": reply_no,
        "started_at": tool_call.now(),
        "skill_id": None if skill is None else skill.skill_id,
        "call_id": call.call_id,
        "tool_name": call.name,
        "arguments": given,
    }
    if skill is None or refusal is not None:
        step["status"] = status = _refused(skill)
        step.update(_result(turn, call.call_id, status, refusal or ""))
        turn.open_step(step)
        return
    step["status"] = "awaiting_approval" if skill.on_call == "awaiting_approval" else "pending"
    step_no = turn.open_step(step)
    turn.open_calls.append(
        OpenCall(
            step_no,
            step["status"],
            call.call_id,
            call.name,
            skill.skill_id,
            given,
            is_approved=False,
            is_repeatable=False,
            skill=skill,
        )
    )


def _refused(skill: Skill | None) -> str:
    """How the step of a call ends that may not be run."""
    return "rejected" if skill is not None and skill.on_call == "denied" else "failed"


def _run_calls(turn: Turn, tools: tool_call.Tools, pace: Pace) -> Steps[None]:
    """Run the calls that may run; what stays open waits for a person."""
    waiting: list[OpenCall] = []
    for call in turn.open_calls:
        if call.status not in _TO_RUN:
            waiting.append(call)
            continue
        skill, status, content = _decide_again(turn, call)
        if content is None and status == "awaiting_approval":
            error = OUTCOME_UNKNOWN if call.status == "running" else None
            turn.change_step(call.step_no, status=status, error=error)
            waiting.append(call)
            continue
        if content is None:
            assert skill is not None
            if skill.implementation == "http":
                turn.change_step(call.step_no, status="running", started_at=tool_call.now())
            turn.act = (call.step_no, call.tool_name)
            yield from pace.checkpoint(turn)
            key = f"{turn.context.run_id}-{call.step_no}"
            status, content = yield from tools.run(turn, skill, call.arguments, key)
            if skill.implementation != "http":
                pace.hold(turn)  # not before: who cancels the turn would wait for the tool
        turn.change_step(
            call.step_no, status=status, **_result(turn, call.call_id, status, content)
        )
    turn.open_calls = waiting
    _sort_results(turn)


def _decide_again(turn: Turn, call: OpenCall) -> tuple[Skill | None, str, str | None]:
    """What is to happen to an open call now.

    Returns:
        ``(skill, status, content)``: with content None the call may run, or, with the status
        ``awaiting_approval``, a person has to be asked.
    """
    if call.skill is not None:  # decided a moment ago
        return call.skill, call.status, None
    skill, refusal = tool_call.decide(turn, call.tool_name, call.arguments)
    if skill is None or refusal is not None:  # it was changed or taken away since
        return skill, "failed" if call.status == "approved" else _refused(skill), refusal or ""
    if call.status == "approved" and not call.is_approved:
        return skill, "rejected", "Nobody approved this call with these arguments."
    if skill.skill_id != call.skill_id:
        which = "approved" if call.status == "approved" else "called"
        return skill, "failed", f"The tool {call.tool_name} is not the one that was {which}."
    if call.status == "running" and not call.is_repeatable:
        return skill, "awaiting_approval", None
    if call.status == "pending" and skill.on_call == "awaiting_approval":
        return skill, "awaiting_approval", None
    return skill, call.status, None


def _sort_results(turn: Turn) -> None:
    """Bring the results of the last reply into the order of its calls, as later turns see them.

    A different order would make the vendor's prompt cache miss.
    """
    if len(turn.messages) < 3 or result_id_of(turn.messages[-2].json) is None:
        return  # not even two results
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
