"""LangChain's create_agent (LangGraph) with the Postgres checkpointer.

Options: durability "async" (LangGraph's default: a checkpoint per super-step) or "exit" (one at
the end of the turn); delta puts the messages into LangGraph's DeltaChannel (beta), which stores
what was added instead of the whole list at every step.
"""

from __future__ import annotations

from typing import Any

from .base import Contestant
from .standard_turn import MODEL, ORDER_SQL, SYSTEM, TOOL_DESCRIPTION, order_json


class LangGraph(Contestant):
    """The synchronous API."""

    def setup(self) -> None:
        from langgraph.checkpoint.postgres import PostgresSaver

        with PostgresSaver.from_conn_string(self.endpoints.dsn) as saver:
            saver.setup()

    def open(self, clients: int) -> Any:
        from langchain_core.tools import tool
        from langgraph.checkpoint.postgres import PostgresSaver
        from psycopg.rows import dict_row
        from psycopg_pool import ConnectionPool

        # prepare_threshold=0 and dict_row are what the package's documentation asks for.
        self.pool = ConnectionPool(
            self.endpoints.dsn,
            min_size=1,
            max_size=clients,
            open=True,
            kwargs={"autocommit": True, "prepare_threshold": 0, "row_factory": dict_row},
        )
        self.tools = ConnectionPool(
            self.endpoints.dsn, min_size=1, max_size=clients, open=True, kwargs={"autocommit": True}
        )

        @tool(description=TOOL_DESCRIPTION)
        def lookup_order(order_id: int) -> str:
            with self.tools.connection() as connection:
                return order_json(connection.execute(ORDER_SQL, (order_id,)).fetchone())

        self.build(lookup_order, PostgresSaver(self.pool))

    def build(self, tool: Any, saver: Any) -> None:
        from langchain.agents import create_agent
        from langchain_openai import ChatOpenAI

        model = ChatOpenAI(
            model=MODEL,
            base_url=self.endpoints.base_url,
            api_key="sk-mock",
            use_responses_api=False,
        )
        extra = {}
        if self.options.get("delta"):
            from typing import Annotated

            from langchain.agents import AgentState
            from langchain_core.messages import AnyMessage
            from langgraph.channels import DeltaChannel
            from langgraph.graph.message import _messages_delta_reducer

            channel = Annotated[list[AnyMessage], DeltaChannel(_messages_delta_reducer)]
            extra["state_schema"] = type(
                "DeltaState", (AgentState,), {"__annotations__": {"messages": channel}}
            )
        self.graph = create_agent(model, [tool], system_prompt=SYSTEM, checkpointer=saver, **extra)
        durability = self.options.get("durability")
        self.call_options = {"durability": durability} if durability else {}

    def call(self, thread: str, text: str) -> tuple[dict[str, Any], dict[str, Any]]:
        return (
            {"messages": [{"role": "user", "content": text}]},
            {"configurable": {"thread_id": thread}},
        )

    def turn(self, thread: str, text: str) -> Any:
        state = self.graph.invoke(*self.call(thread, text), **self.call_options)
        return state["messages"][-1].content

    def seed(self, thread: str, turns: int) -> None:
        config = {"configurable": {"thread_id": thread}}
        have = self.graph.get_state(config).values["messages"]
        copies = [
            message.model_copy(update={"id": None}) for message in (have * turns)[: 4 * turns]
        ]
        self.graph.update_state(config, {"messages": copies}, as_node="model")

    def close(self) -> Any:
        self.pool.close()
        self.tools.close()


class LangGraphAsync(LangGraph):
    """The asynchronous API; it seeds like the synchronous one, so it stays out of growth."""

    is_async = True

    async def open(self, clients: int) -> None:
        from langchain_core.tools import tool
        from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver
        from psycopg.rows import dict_row
        from psycopg_pool import AsyncConnectionPool

        self.pool = AsyncConnectionPool(
            self.endpoints.dsn,
            min_size=1,
            max_size=clients,
            open=False,
            kwargs={"autocommit": True, "prepare_threshold": 0, "row_factory": dict_row},
        )
        self.tools = AsyncConnectionPool(
            self.endpoints.dsn,
            min_size=1,
            max_size=clients,
            open=False,
            kwargs={"autocommit": True},
        )
        await self.pool.open()
        await self.tools.open()

        @tool(description=TOOL_DESCRIPTION)
        async def lookup_order(order_id: int) -> str:
            async with self.tools.connection() as connection:
                cursor = await connection.execute(ORDER_SQL, (order_id,))
                return order_json(await cursor.fetchone())

        self.build(lookup_order, AsyncPostgresSaver(self.pool))

    async def turn(self, thread: str, text: str) -> Any:
        state = await self.graph.ainvoke(*self.call(thread, text), **self.call_options)
        return state["messages"][-1].content

    async def close(self) -> None:
        await self.pool.close()
        await self.tools.close()
