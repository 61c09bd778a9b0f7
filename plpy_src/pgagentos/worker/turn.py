"""One claimed turn, driven until it ends or somebody else has to act."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Mapping
from typing import Any, Literal, NamedTuple

import psycopg

from ..providers.wire import dumps
from ..store import worker as statements
from .database import CLAIM_LOST, Connections, first_line
from .model_clients import ModelClients
from .model_reply import Failure, State, ask_model
from .progress import Progress
from .tool_call import Result, run_call
from .tool_file import Functions

#: Seconds that a statement that is on its way may take when the worker is told to stop.
STOP_SECONDS = 0.6

#: What is told where this worker has nothing more to do for a turn, by the turn's status.
_ENDS = {
    "completed": "completed",
    "failed": "failed",
    "cancelled": "cancelled",
    "queued": "put off",
    "awaiting_model": "let go",
    "awaiting_tool": "let go",
    "awaiting_approval": "waits for a person",
}

#: Why a turn is let go before its end.
Reason = Literal["stopping", "lost", "cancelled"]


class Means(NamedTuple):
    """What turns are driven with; all turns of a worker share it.

    Args:
        clients: call the models.
        functions: of the file that ``--tools`` names.
        environment: where the keys of the providers are.
    """

    connections: Connections
    clients: ModelClients
    functions: Functions
    environment: Mapping[str, str]
    progress: Progress


class ClaimedTurn:
    """A turn that this worker has claimed.

    Args:
        state: as ``aos_agent.claim_turn`` returned it.
    """

    def __init__(self, state: State, means: Means) -> None:
        self.turn_id = str(state["turn_id"])
        self.fence = int(state["fence"])
        self.model = state.get("model")
        self._state = state
        self._means = means
        self._reason: Reason | None = None
        self._holds_claim = True
        self._task: asyncio.Task[None] | None = None
        self._in_statement = 0
        self._is_calling_tools = False
        self._is_cut_off = False

    @property
    def is_calling_tools(self) -> bool:
        """Whether tool calls are on their way, which had better end by themselves."""
        return self._is_calling_tools

    @property
    def is_in_statement(self) -> bool:
        """Whether a statement about this turn is on its way: it has the claim's row locked."""
        return self._in_statement > 0

    def start(self) -> asyncio.Task[None]:
        """Begin to drive it."""
        self._task = asyncio.create_task(self._run(), name=self.turn_id)
        return self._task

    def let_go(self, reason: Reason) -> None:
        """Stop driving it: a model call that is on its way is cancelled.

        When the worker is only told to stop, tool calls go on until :meth:`cut_off`: of one that is
        broken off it is not known whether it has taken effect.
        """
        if self._is_cut_off:
            return
        if self._reason is None or reason != "stopping":
            self._reason = reason
        if reason != "stopping" or not self._is_calling_tools:
            self.cut_off()

    def cut_off(self) -> None:
        """Cancel whatever is on its way, unless that was done before."""
        if self._task is not None and not self._is_cut_off:
            self._is_cut_off = True
            self._task.cancel()

    async def extend(self, connections: Connections, lease: str) -> None:
        """Keep the claim; let the turn go when it is lost."""
        try:
            await connections.value(statements.EXTEND, self.turn_id, self.fence, lease)
        except psycopg.Error as error:
            if error.sqlstate != CLAIM_LOST:
                raise
            self.let_go("lost")

    async def _run(self) -> None:
        tell = self._means.progress.tell
        try:
            await self._drive()
        except asyncio.CancelledError:
            if self._reason is None:
                raise
            if self._reason == "stopping" and self._holds_claim:
                await self._give_back()
            else:
                tell(f"claim {self._reason}", self.turn_id, fence=self.fence)
        except psycopg.Error as error:
            if error.sqlstate == CLAIM_LOST:
                tell("claim lost", self.turn_id, fence=self.fence)
                return
            tell("failed to record", self.turn_id, error=first_line(error))
            await self._report_abandoned(f"{error.sqlstate}: {first_line(error)}")
        except Exception as error:
            tell("worker error", self.turn_id, error=f"{type(error).__name__}: {error}")
            await self._report_abandoned(f"{type(error).__name__}: {error}")

    async def _drive(self) -> None:
        state = self._state
        while True:
            if self._reason is not None:  # before Python 3.12 wait_for may swallow a cancel
                raise asyncio.CancelledError
            status = state["status"]
            if status == "awaiting_model":
                state = await self._call_model(state)
                continue
            calls = [call for call in state.get("pending", ()) if _is_ours(call)]
            if calls and "fence" in state:
                state = await self._run_calls(calls)
                continue
            if "fence" in state:
                await self._give_back()
                return
            self._holds_claim = False
            error = (state.get("error") or {}).get("message")
            self._means.progress.tell(_ENDS[status], self.turn_id, error=error)
            return

    async def _call_model(self, state: State) -> State:
        tell = self._means.progress.tell
        key = state["idempotency_key"]
        tell("model call", self.turn_id, model=state["model"], idempotency_key=key)
        began = time.monotonic()
        try:
            answered = await ask_model(state, self._means.clients, self._means.environment)
        except Failure as failure:
            error = failure.error
            tell("model failed", self.turn_id, kind=error["kind"], error=error["message"])
            failed: State = await self._send(
                statements.FAIL, self.turn_id, dumps(error), self.fence
            )
            return failed
        tell(
            "model reply",
            self.turn_id,
            seconds=round(time.monotonic() - began, 3),
            tool_calls=len(answered.reply["tool_calls"]) or None,
            output_tokens=answered.usage["output_tokens"],
        )
        recorded: State = await self._send(
            statements.RECORD_REPLY,
            self.turn_id,
            dumps(answered.reply),
            dumps(answered.usage),
            self.fence,
        )
        return recorded

    async def _run_calls(self, calls: list[Mapping[str, Any]]) -> State:
        """Run calls at the same time; the state after the last of them."""
        self._is_calling_tools = True
        running = [asyncio.ensure_future(self._run_call(call)) for call in calls]
        try:
            recorded = await asyncio.gather(*running)
        finally:
            self._is_calling_tools = False
            for task in running:
                task.cancel()
        states = [state for state in recorded if state is not None]
        # Without one, calls are open that this worker did not know of: claimed anew, it will.
        return states[0] if states else {"status": "awaiting_tool", "fence": self.fence}

    async def _run_call(self, call: Mapping[str, Any]) -> State | None:
        """Run and record one call; the turn's state when it was the last one that was open."""
        tell = self._means.progress.tell
        name, call_id = call["tool_name"], call["call_id"]
        tell(
            "tool call",
            self.turn_id,
            tool=name,
            call_id=call_id,
            idempotency_key=call["idempotency_key"],
        )
        if call["status"] == "in_database":
            recorded = await self._send(
                statements.RUN_CALL,
                self.turn_id,
                name,
                dumps(call["arguments"]),
                call_id,
                self.fence,
                is_sent_again=False,
            )
            is_error = recorded["status"] != "completed"
        else:
            result: Result = await run_call(call, self._means.functions)
            recorded = await self._send(
                statements.RECORD_RESULT,
                self.turn_id,
                name,
                dumps(result.value),
                call_id,
                self.fence,
                result.is_error,
            )
            is_error = result.is_error
        outcome = "tool failed" if is_error else "tool result"
        tell(outcome, self.turn_id, tool=name, call_id=call_id)
        state: State | None = recorded.get("turn")
        return state

    async def _send(self, statement: str, *parameters: Any, is_sent_again: bool = True) -> Any:
        """Send a statement whose effect must not stay unknown: a cancel lets it end first."""
        self._in_statement += 1
        try:
            sent = self._means.connections.value(
                statement, *parameters, is_sent_again=is_sent_again
            )
            return await _to_its_end(sent)
        finally:
            self._in_statement -= 1

    async def _give_back(self) -> None:
        tell = self._means.progress.tell
        try:
            await asyncio.wait_for(
                self._means.connections.value(statements.RELEASE, self.turn_id, self.fence),
                STOP_SECONDS,
            )
        except (psycopg.Error, asyncio.TimeoutError) as error:
            tell("not given back", self.turn_id, error=str(error) or "no answer in time")
        else:
            tell("given back", self.turn_id)

    async def _report_abandoned(self, what: str) -> None:
        """Give the claim back with an error: the turn is tried again later, but not for ever."""
        error = {"kind": "abandoned", "message": f"the worker could not go on: {what}"}
        try:
            await self._means.connections.value(
                statements.FAIL, self.turn_id, dumps(error), self.fence
            )
        except psycopg.Error as failure:
            if failure.sqlstate == CLAIM_LOST:
                self._means.progress.tell("claim lost", self.turn_id, fence=self.fence)
            else:
                self._means.progress.tell("not given back", self.turn_id, error=first_line(failure))


def _is_ours(call: Mapping[str, Any]) -> bool:
    return call["status"] in ("awaiting_result", "in_database")


async def _to_its_end(statement: Awaitable[Any]) -> Any:
    """Wait for a statement; when cancelled, a moment longer, so that it is known what it did."""
    sent = asyncio.ensure_future(statement)
    try:
        return await asyncio.shield(sent)
    except asyncio.CancelledError:
        await asyncio.wait([sent], timeout=STOP_SECONDS)
        if not sent.done():
            sent.cancel()
        elif not sent.cancelled():
            sent.exception()  # looked at: nobody needs it any more
        raise
