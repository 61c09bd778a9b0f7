"""OpenAI Agents SDK with its SQLAlchemySession on Postgres (asyncpg).

Responses API, the SDK's default; tracing, an upload to the vendor, is off.
"""

from __future__ import annotations

import asyncio

from .base import Contestant
from .standard_turn import MODEL, ORDER_SQL, SYSTEM, order_json


class OpenAIAgents(Contestant):
    """Asynchronous, the SDK's own way."""

    is_async = True
    seed_sql = """
        insert into agent_messages (session_id, message_data, created_at)
        select session_id, message_data, current_timestamp
        from agent_messages, generate_series(1, %(turns)s) g
        where session_id = %(thread)s order by g, id limit 4 * %(turns)s"""

    @property
    def url(self) -> str:
        return self.endpoints.dsn.replace("postgresql://", "postgresql+asyncpg://")

    def setup(self) -> None:
        async def create_tables() -> None:
            from agents.extensions.memory import SQLAlchemySession

            session = SQLAlchemySession.from_url("setup", url=self.url, create_tables=True)
            await session.get_items()
            await session.engine.dispose()

        asyncio.run(create_tables())

    async def open(self, clients: int) -> None:
        import openai
        from agents import Agent, Runner, function_tool, set_tracing_disabled
        from agents.extensions.memory import SQLAlchemySession
        from agents.models.openai_responses import OpenAIResponsesModel
        from psycopg_pool import AsyncConnectionPool
        from sqlalchemy.ext.asyncio import create_async_engine

        set_tracing_disabled(True)
        self.runner, self.session_class = Runner, SQLAlchemySession
        self.engine = create_async_engine(self.url, pool_size=clients)
        self.pool = AsyncConnectionPool(
            self.endpoints.dsn,
            min_size=1,
            max_size=clients,
            kwargs={"autocommit": True},
            open=False,
        )
        await self.pool.open()

        @function_tool
        async def lookup_order(order_id: int) -> str:
            """Look up one order by its number and return its status."""
            async with self.pool.connection() as connection:
                cursor = await connection.execute(ORDER_SQL, (order_id,))
                return order_json(await cursor.fetchone())

        client = openai.AsyncOpenAI(base_url=self.endpoints.base_url)
        self.agent = Agent(
            name="support",
            instructions=SYSTEM,
            tools=[lookup_order],
            model=OpenAIResponsesModel(model=MODEL, openai_client=client),
        )

    async def turn(self, thread: str, text: str) -> str:
        session = self.session_class(thread, engine=self.engine)
        result = await self.runner.run(self.agent, text, session=session)
        return str(result.final_output)

    async def close(self) -> None:
        await self.pool.close()
        await self.engine.dispose()
