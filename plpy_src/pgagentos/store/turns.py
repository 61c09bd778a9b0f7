"""Statements about turns: open, lock, read, decide, call, record."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ..database import Database, DatabaseError, Row
from ..errors import ClaimLost
from ..in_flight import InFlight
from ..providers.base import Message, Tool
from ..providers.wire import dumps
from ..turn import Model, OpenCall, OpenModelCall, Skill, Turn, TurnContext
from .registry import api_key, endpoint_of

if TYPE_CHECKING:
    from ..budget import Budgets

#: Seconds that one request to a model may take, where the provider's options do not say otherwise.
TIMEOUT_SECONDS = 600.0


def lock(database: Database, run_id: str, nowait: bool) -> str:
    """Lock a turn, and its conversation, for the rest of the transaction in order to drive it.

    Returns:
        the turn's status, as it is now that the lock is held.
    """
    rows = database.rows(
        "select (aos_agent._drive_turn($1::uuid, $2::boolean)).status", run_id, nowait
    )
    return str(rows[0]["status"])


def go_on(database: Database, run_id: str) -> str:
    """Let a waiting turn do what it can by itself, for example expire approvals.

    Returns:
        the turn's status after that.
    """
    rows = database.rows("select aos_agent._go_on($1::uuid) as status", run_id)
    return str(rows[0]["status"])


def enqueue_outside(database: Database, run_id: str) -> None:
    """Let an outside worker find a turn, when it is an agent's that outside workers run."""
    database.rows("select aos_agent._enqueue_outside($1::uuid)", run_id)


def end_over_budget(database: Database, run_id: str) -> bool:
    """End a turn that is driven from outside when a budget leaves it nothing.

    Returns:
        whether it was ended.
    """
    rows = database.rows("select aos_agent._end_over_budget($1::uuid) as ended", run_id)
    return bool(rows[0]["ended"])


def state(database: Database, run_id: str) -> str:
    """The turn as JSON text: its answer, what it waits for, or the payload for a worker."""
    rows = database.rows("select aos_agent._turn_state($1::uuid) as state", run_id)
    return str(rows[0]["state"])


#: The slots of in_flight, and a row of ``aos_agent.turn_context`` that was read after them.
Context = tuple[bytes | None, Row]

#: Columns of the view ``aos_agent.turn_context``.
_CONTEXT = (
    "select c.run_id, c.tenant_id, c.conversation_id, c.agent_id, c.principal_id, c.tool_role,"
    " c.tool_role_id::bigint, c.actor, c.runner, c.status, c.model_calls,"
    " c.used_tokens, c.max_model_calls, c.max_turn_tokens, c.function_deadline_seconds,"
    " c.system_prompt,"
    " c.params::text as params, c.models, c.skills, c.steps, c.messages, c.vendors,"
    " c.budgets"
)


def open_turn(
    database: Database,
    in_flight: InFlight,
    agent_name: str,
    content: str,
    conversation: str | None,
) -> Turn:
    """Start a turn on one new message, in a new conversation when none is given, and read it."""
    slots = in_flight.read()
    rows = database.rows(
        _CONTEXT + " from aos_agent._ask($1::text, $2::text, $3::uuid) as c",
        agent_name,
        content,
        conversation,
    )
    return _turn(database, in_flight, slots, rows[0], is_uncommitted=True)


def read_all(database: Database, in_flight: InFlight, run_ids: list[str]) -> dict[str, Context]:
    """Read what several turns of one tenant need to go on, for :func:`load`.

    Returns:
        by run_id, of those that are there.
    """
    slots = in_flight.read()
    rows = database.rows(_CONTEXT + " from aos_agent._read_turns($1::uuid[]) as c", run_ids)
    return {row["run_id"]: (slots, row) for row in rows}


def load(
    database: Database, in_flight: InFlight, run_id: str, context: Context | None = None
) -> Turn:
    """Everything that a turn needs to go on.

    Args:
        context: what :func:`read_all` has read in this transaction; None: it is read now.
    """
    slots, row = context or read_all(database, in_flight, [run_id])[run_id]
    return _turn(database, in_flight, slots, row, is_uncommitted=False)


def _turn(
    database: Database,
    in_flight: InFlight,
    slots: bytes | None,
    row: Row,
    *,
    is_uncommitted: bool,
) -> Turn:
    """A turn out of its context.

    Args:
        slots: of *in_flight*, read before the context was.
        is_uncommitted: this transaction has started it.
    """
    steps = json.loads(row["steps"]) if row["steps"] else []
    skills = {
        s["name"]: Skill(
            s["skill_id"],
            Tool(s["name"], s["description"], s["parameters"]),
            s["on_call"],
            s["implementation"],
            s["function_name"],
            s["limits"],
        )
        for s in (json.loads(row["skills"]) if row["skills"] else ())
    }
    context = TurnContext(
        run_id=row["run_id"],
        tenant_id=row["tenant_id"],
        conversation_id=row["conversation_id"],
        agent_id=row["agent_id"],
        principal_id=row["principal_id"],
        tool_role=row["tool_role"],
        tool_role_id=row["tool_role_id"],
        actor=row["actor"],
        runner=row["runner"],
        max_model_calls=row["max_model_calls"],
        max_turn_tokens=row["max_turn_tokens"],
        function_deadline_seconds=row["function_deadline_seconds"],
        system_prompt=row["system_prompt"],
        params=json.loads(row["params"]),
        models=tuple(_model(database, m, row) for m in json.loads(row["models"])),
        skills=skills,
        tools=tuple(s.tool for s in skills.values() if s.on_call != "denied"),
        is_uncommitted=is_uncommitted,
    )
    open_steps = [s for s in steps if s["is_open"]]
    return Turn(
        context,
        status=row["status"],
        model_calls=row["model_calls"],
        used_tokens=row["used_tokens"],
        steps=steps[-1]["step_no"] if steps else 0,
        messages=list(map(Message, row["messages"] or (), row["vendors"] or ())),
        call_ids={s["call_id"] for s in steps if s["call_id"] is not None},
        budgets=None if row["budgets"] is None else _budgets(database, in_flight, slots, row),
        open_calls=[
            OpenCall(
                s["step_no"],
                s["status"],
                s["call_id"],
                s["tool_name"],
                s["skill_id"],
                s["arguments"],
                bool(s["is_approved"]),
                bool(s["is_repeatable"]),
            )
            for s in open_steps
            if s["call_id"] is not None
        ],
        open_model_call=next(
            (
                OpenModelCall(s["step_no"], s["attempts"] or 0)
                for s in open_steps
                if s["call_id"] is None
            ),
            None,
        ),
    )


def _budgets(database: Database, in_flight: InFlight, slots: bytes | None, row: Row) -> Budgets:
    from .budgets import of_turn  # most tenants have none

    return of_turn(database, in_flight, slots, row)


def _model(database: Database, row: Mapping[str, Any], turn: Mapping[str, Any]) -> Model:
    """One of a turn's models; its key is looked up only where the database itself calls it."""
    options = row["options"]
    is_called_here = turn["runner"] == "database"
    key = api_key(database, row, turn["tenant_id"]) if is_called_here else None
    capabilities = dict(row["capabilities"])
    capabilities.setdefault("context_window", row["context_window"])
    if row["max_output_tokens"] is not None:
        capabilities.setdefault("max_output_tokens", row["max_output_tokens"])
    return Model(
        model_id=row["model_id"],
        name=row["model_name"],
        endpoint=endpoint_of(row, options, key),
        carrier=row["carrier"],
        capabilities=capabilities,
        timeout_seconds=float(options.get("timeout_seconds", TIMEOUT_SECONDS)),
        prices=row["prices"] and tuple(row["prices"]),
    )


def cancel_requested(database: Database, run_id: str, *, waits: bool = False) -> bool:
    """Whether another session has asked, and committed, that this turn be cancelled.

    Args:
        waits: for one that is just about to.
    """
    rows = database.rows(
        "select aos_agent._is_cancel_requested($1::uuid, $2::boolean) as requested", run_id, waits
    )
    return bool(rows[0]["requested"])


def cancel(database: Database, run_id: str) -> None:
    """Close the turn and its open steps as cancelled."""
    database.rows("select aos_agent._cancel($1::uuid)", run_id)


class Records:
    """What turns of one driver have come to, to be written at its next commit, all at once."""

    def __init__(self) -> None:
        self._by_tenant: dict[str, list[dict[str, Any]]] = {}

    def __bool__(self) -> bool:
        return bool(self._by_tenant)

    def add(self, turn: Turn, status: str) -> None:
        """Take what is new in a turn."""
        context = turn.context
        steps = (*turn.new_steps, *turn.closed_steps)
        record: dict[str, Any] = {
            "run_id": context.run_id,
            "conversation_id": context.conversation_id,
            "fence": turn.fence,
            "has_progress": any("finished_at" in step for step in steps),
            "new_steps": turn.new_steps,
            "closed_steps": turn.closed_steps,
            "status": status,
            "actor": context.actor,
            "agent_id": context.agent_id,
        }
        if turn.budgets is not None and (used := _used_steps(turn)):
            record["used_steps"] = used
            turn.budgets.recorded()
        self._by_tenant.setdefault(context.tenant_id, []).append(record)
        turn.new_steps, turn.closed_steps, turn.status = [], [], status

    def tenants(self) -> list[str]:
        """Whose turns there are."""
        return list(self._by_tenant)

    def write(self, database: Database, tenant_id: str) -> list[str]:
        """Write those of a tenant.

        Returns:
            the turns that are another's by now, or cancelled; nothing of them was written.
        """
        rows = database.rows(
            "select aos_agent._record_all_claimed($1::json) as run_id",
            dumps(self._by_tenant.pop(tenant_id)),
        )
        return [row["run_id"] for row in rows]


def record(
    database: Database,
    turn: Turn,
    status: str,
    *,
    waiting_reason: str | None = None,
    error: Mapping[str, Any] | None = None,
) -> None:
    """Write the steps that are not written yet, and the turn's status.

    Raises:
        ClaimLost: the turn is another's by now, or cancelled; nothing was written.
    """
    if turn.records is not None and status in ("running", "completed"):
        turn.records.add(turn, status)
        return
    values = (
        turn.context.run_id,
        dumps(turn.new_steps),
        dumps(turn.closed_steps),
        status,
        waiting_reason,
        None if error is None else dumps(error),
    )
    used = _used_steps(turn)
    if turn.fence is not None:
        try:
            database.rows(
                "select aos_agent._record_claimed($1::uuid, $2::json, $3::json, $4::text, $5::text,"
                " $6::jsonb, $7::uuid, $8::integer[], $9::bigint)",
                *values,
                turn.context.agent_id,
                None if turn.budgets is None else used,
                turn.fence,
            )
        except DatabaseError as failure:
            if failure.sqlstate == ClaimLost.sqlstate:
                raise ClaimLost(failure.message) from None
            raise
        if turn.budgets is not None and used:
            turn.budgets.recorded()
    elif turn.budgets is None or not used:
        database.rows(
            "select aos_core._record($1::uuid, $2::json, $3::json, $4::text, $5::text, $6::jsonb)",
            *values,
        )
    else:
        database.rows(
            "select aos_agent._record_counted($1::uuid, $2::json, $3::json, $4::text, $5::text,"
            " $6::jsonb, $7::uuid, $8::integer[])",
            *values,
            turn.context.agent_id,
            used,
        )
        turn.budgets.recorded()
    turn.new_steps.clear()
    turn.closed_steps.clear()
    turn.status = status
    turn.failure = error


def _used_steps(turn: Turn) -> list[int]:
    """Numbers of the steps that are not written yet and have used tokens."""
    return [
        step["step_no"]
        for step in (*turn.new_steps, *turn.closed_steps)
        if step.get("input_tokens") or step.get("output_tokens")
    ]
