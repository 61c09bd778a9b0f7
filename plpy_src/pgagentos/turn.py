"""A turn and its parts as values, read from the rows and written back to them."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from .price import cost
from .providers.base import Endpoint, Message, Tool, Usage

if TYPE_CHECKING:
    from .budget import Budgets

#: Statuses that a turn never leaves.
FINAL = frozenset({"completed", "failed", "cancelled"})


class Model(NamedTuple):
    """A model of the registry with the provider that serves it.

    Args:
        model_id: of ``aos_meta.llm_model_registry``.
        name: as the vendor calls it.
        endpoint: where and as whom to call.
        carrier: ``wire`` or ``sdk``.
        capabilities: flags of the registry.
        timeout_seconds: most time for one request.
        prices: see :func:`pgagentos.price.cost`; None for a model without prices.
    """

    model_id: str
    name: str
    endpoint: Endpoint
    carrier: str
    capabilities: Mapping[str, Any]
    timeout_seconds: float
    prices: tuple[float, float, float, float] | None


class Skill(NamedTuple):
    """A skill of the agent, as it was when the turn was read.

    Args:
        tool: what the model is shown of it.
        on_call: ``run``, ``awaiting_approval``, ``awaiting_result`` or ``denied``, as the view
            ``aos_agent.effective_skill`` says.
        implementation: ``sql_function``, ``sql_query``, ``http`` or ``external``.
        function_name: the SQL function behind a ``sql_function``.
        limits: JSON Schema that the arguments must fit besides the tool's own, or None.
    """

    skill_id: str
    tool: Tool
    on_call: str
    implementation: str
    function_name: str | None
    limits: Mapping[str, Any] | None


class OpenCall(NamedTuple):
    """A tool call that has no result yet.

    Args:
        status: of its step: ``pending``, ``running``, ``approved``, ``awaiting_approval`` or
            ``awaiting_result``.
        skill_id: what *tool_name* named when it was called; None when it named nothing.
        arguments: byte for byte as they are stored, and as a person was asked about them.
        is_approved: a person said yes to exactly these arguments.
        is_repeatable: of a request that was begun: it does no harm to send it once more.
        skill: what was decided about it just now; None when that was done in another transaction.
    """

    step_no: int
    status: str
    call_id: str
    tool_name: str
    skill_id: str | None
    arguments: str
    is_approved: bool
    is_repeatable: bool
    skill: Skill | None = None


class OpenModelCall(NamedTuple):
    """A model call that was begun, or is to be made again, and has no reply yet.

    Args:
        attempts: requests that it has taken so far.
    """

    step_no: int
    attempts: int


class TurnContext(NamedTuple):
    """What stays the same while a turn is driven.

    Args:
        principal_id: who talks with the agent, where it is known.
        tool_role: the database role that the agent's tools run as.
        tool_role_id: its identity; None when there is none such, or it sees past row security.
        actor: who drives it, for the record.
        function_deadline_seconds: most time for a tool that is a SQL function.
        skills: by name.
        tools: those of them that the model is offered.
        is_uncommitted: this transaction started it, so no other session can know of it.
    """

    run_id: str
    tenant_id: str
    conversation_id: str
    agent_id: str
    principal_id: str | None
    tool_role: str
    tool_role_id: int | None
    actor: str
    runner: str
    max_model_calls: int
    max_turn_tokens: int | None
    function_deadline_seconds: float
    system_prompt: str
    params: Mapping[str, Any]
    models: tuple[Model, ...]
    skills: Mapping[str, Skill]
    tools: tuple[Tool, ...]
    is_uncommitted: bool


class Spent:
    """What the model calls have used since the turn was read.

    Attributes:
        model_calls: how many there were, failed ones included.
        cost: in 1e-8 US dollars; None when one was to a model without prices.
    """

    def __init__(self) -> None:
        self.model_calls = self.input_tokens = self.cached_tokens = self.output_tokens = 0
        self.cost: int | None = 0

    def add(self, usage: Usage, units: int | None) -> None:
        """Count a call.

        Args:
            units: what it cost, in 1e-8 US dollars; None without prices.
        """
        self.model_calls += 1
        self.input_tokens += usage.input_tokens
        self.cached_tokens += usage.cached_tokens
        self.output_tokens += usage.output_tokens
        self.cost = None if units is None or self.cost is None else self.cost + units


class Records(Protocol):
    """Where drivers of many turns collect what is to be written at their next commit."""

    def add(self, turn: Turn, status: str) -> None:
        """Take what is new in a turn."""


class Turn:
    """A turn in progress. Everything in it can be read again from the rows.

    Args:
        context: what stays the same.
        status: of the turn, as ``aos_core.run`` has it.
        model_calls: how many there were.
        used_tokens: input and output together.
        steps: number of the last step.
        messages: what the model is shown next.
        call_ids: identities that tool calls of this turn have already.
        budgets: None when its tenant has none.
        open_calls: tool calls that have no result yet, in the order of their steps.
        open_model_call: a model call that was begun before the turn was read.

    Attributes:
        loaded_at: when it was read, on :func:`time.monotonic`'s clock.
        fence: number of the claim under which it is driven; None within one transaction.
        records: where what it has come to is collected with that of others; None: it is written
            at once.
        spent: what it has used since it was read.
        unrated: tokens that were not counted against the rate limits yet, by provider.
        answer: the last reply's text, once the turn is completed.
        failure: its error, once it has failed: ``message``, ``hint`` and more.
        new_steps: rows that :func:`pgagentos.store.turns.record` has still to insert; their
            ``message``, ``vendor`` and ``arguments`` are JSON text.
        act: step that is under way or comes next, and its tool; None for a model call.
        closed_steps: what it has still to change in rows that are there.
    """

    def __init__(
        self,
        context: TurnContext,
        *,
        status: str,
        model_calls: int,
        used_tokens: int,
        steps: int,
        messages: list[Message],
        call_ids: set[str],
        budgets: Budgets | None,
        open_calls: list[OpenCall],
        open_model_call: OpenModelCall | None,
    ) -> None:
        self.context = context
        self.status = status
        self.model_calls = model_calls
        self.used_tokens = used_tokens
        self.steps = steps
        self.messages = messages
        self.call_ids = call_ids
        self.budgets = budgets
        self.open_calls = open_calls
        self.open_model_call = open_model_call
        self.loaded_at = time.monotonic()
        self.fence: int | None = None
        self.records: Records | None = None
        self.spent = Spent()
        self.unrated: dict[str, int] = {}
        self.answer: str | None = None
        self.failure: Mapping[str, Any] | None = None
        self.new_steps: list[dict[str, Any]] = []
        self.closed_steps: list[dict[str, Any]] = []
        self.act: tuple[int, str | None] = (0, None)

    def open_step(self, row: dict[str, Any]) -> int:
        """Begin a step.

        Args:
            row: its columns but the number.

        Returns:
            its number.
        """
        self.steps += 1
        row["step_no"] = self.steps
        self.new_steps.append(row)
        return self.steps

    def change_step(self, step_no: int, **columns: Any) -> None:
        """Change a step that is open: in the row to be inserted, or in the one that is there."""
        for row in (*self.new_steps, *self.closed_steps):
            if row["step_no"] == step_no:
                row.update(columns)
                return
        self.closed_steps.append({"step_no": step_no, **columns})

    def spend(self, model: Model, usage: Usage) -> None:
        """Count what a reply of a model has used."""
        tokens = usage.input_tokens + usage.output_tokens
        self.used_tokens += tokens
        provider = model.endpoint.provider
        self.unrated[provider] = self.unrated.get(provider, 0) + tokens
        units = None if model.prices is None else cost(model.prices, usage)
        self.spent.add(usage, units)
        if self.budgets is not None:
            self.budgets.spend(tokens, units or 0)
