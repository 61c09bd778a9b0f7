"""A turn and its parts as values, read from the rows and written back to them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ..providers.base import Endpoint, Message, Tool

#: Statuses that a turn never leaves.
FINAL = frozenset({"completed", "failed", "cancelled"})


@dataclass(frozen=True, slots=True)
class Model:
    """A model of the registry with the provider that serves it.

    Args:
        model_id: of ``aos_meta.llm_model_registry``.
        name: as the vendor calls it.
        endpoint: where and as whom to call.
        carrier: ``wire`` or ``sdk``.
        capabilities: flags of the registry.
        timeout_seconds: most time for one request.
    """

    model_id: str
    name: str
    endpoint: Endpoint
    carrier: str
    capabilities: Mapping[str, Any]
    timeout_seconds: float


@dataclass(frozen=True, slots=True)
class Skill:
    """A skill of the agent, as it was when the turn was read.

    Args:
        tool: what the model is shown of it.
        on_call: ``run``, ``awaiting_approval``, ``awaiting_result`` or ``denied``, as the view
            ``aos_agent.effective_skill`` says.
        function_name: the SQL function behind it, None for a skill of outside workers.
    """

    skill_id: str
    tool: Tool
    on_call: str
    function_name: str | None


@dataclass(frozen=True, slots=True)
class OpenCall:
    """A tool call whose step row is open, for example just approved."""

    step_no: int
    status: str
    call_id: str
    tool_name: str
    arguments: str


@dataclass(slots=True)
class Turn:
    """A turn in progress. Everything in it can be read again from the rows.

    Args:
        steps: number of the last step.
        skills: by name.
        tools: those of them that the model is offered.
        messages: what the model is shown next.
        call_ids: identities that tool calls of this turn have already.
        is_uncommitted: this transaction started it, so no other session can know of it.
        answer: the last reply's text, once the turn is completed.
        failure: the message of its error, once it has failed.
        new_steps: rows that :func:`pgagentos.store.turns.record` has still to insert; their
            ``message``, ``vendor`` and ``arguments`` are JSON text.
        closed_steps: rows that it has still to close.
    """

    run_id: str
    tenant_id: str
    conversation_id: str
    agent_id: str
    status: str
    runner: str
    model_calls: int
    used_tokens: int
    steps: int
    max_model_calls: int
    max_turn_tokens: int | None
    system_prompt: str
    params: Mapping[str, Any]
    models: tuple[Model, ...]
    skills: Mapping[str, Skill]
    tools: tuple[Tool, ...]
    call_ids: set[str]
    open_calls: tuple[OpenCall, ...]
    messages: list[Message]
    is_uncommitted: bool = False
    answer: str | None = None
    failure: str | None = None
    new_steps: list[dict[str, Any]] = field(default_factory=list)
    closed_steps: list[dict[str, Any]] = field(default_factory=list)
