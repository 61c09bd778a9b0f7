"""The contestants.

To add one, write a class on base.Contestant and add a line here, and requirements if it needs any.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

SINGLE = frozenset({"check", "latency", "accounting", "cold", "memory"})
GROWTH = frozenset({"growth"})
LOAD = frozenset({"load"})
WORKER = frozenset({"worker"})


@dataclass(frozen=True, slots=True)
class Entry:
    """Where a contestant's code is, what it runs in and which phases make sense for it."""

    module: str
    class_name: str
    venv: str
    phases: frozenset[str] = SINGLE | GROWTH | LOAD
    is_default: bool = False
    options: dict[str, Any] = field(default_factory=dict)


CONTESTANTS = {
    # ours: with all of the history, as the others send it, and with the default window of it
    "pgagentos": Entry(
        "pgagentos",
        "PgAgentOS",
        "plain",
        SINGLE | GROWTH | LOAD | WORKER,
        is_default=True,
        options={"history_turns": None},
    ),
    "pgagentos_window": Entry("pgagentos", "PgAgentOS", "plain", GROWTH, is_default=True),
    # a worker written by hand: a commit per step; one commit a turn; that without the SDK
    "thin": Entry("thin", "Thin", "openai", is_default=True),
    "thin_async": Entry("thin", "ThinAsync", "openai"),
    "thin_batch": Entry("thin", "ThinBatch", "openai"),
    "thin_raw_batch": Entry("thin", "ThinRawBatch", "plain", is_default=True),
    # floors: the same two model calls and the SELECT, nothing persisted
    "floor_openai": Entry("floors", "FloorOpenAI", "openai", SINGLE | GROWTH, is_default=True),
    "floor_openai_async": Entry("floors", "FloorOpenAIAsync", "openai", LOAD, is_default=True),
    "floor_httpx": Entry("floors", "FloorHttpx", "plain", SINGLE | GROWTH, is_default=True),
    "floor_httpclient": Entry("floors", "FloorHttpClient", "plain", SINGLE, is_default=True),
    # a sketch of the limit of the in-database design
    "limit_plpython": Entry("limit_plpython", "LimitPLPython", "plain", is_default=True),
    # frameworks
    "pydantic_ai": Entry("pydantic_ai_postgres", "PydanticAI", "pydantic_ai"),
    "openai_agents": Entry("openai_agents_postgres", "OpenAIAgents", "openai_agents"),
    "langgraph": Entry("langgraph_postgres", "LangGraph", "langgraph"),
    "langgraph_async": Entry("langgraph_postgres", "LangGraphAsync", "langgraph", SINGLE | LOAD),
    "langgraph_exit": Entry(
        "langgraph_postgres", "LangGraph", "langgraph", options={"durability": "exit"}
    ),
    "langgraph_delta": Entry(
        "langgraph_postgres", "LangGraph", "langgraph", options={"delta": True}
    ),
    "dbos": Entry("dbos_postgres", "DBOSThin", "dbos"),
}
