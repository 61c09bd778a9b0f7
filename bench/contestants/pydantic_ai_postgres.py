"""Pydantic AI. It has no store of its own: one row a run with the run's new messages, by hand."""

from __future__ import annotations

from .base import Contestant
from .standard_turn import MODEL, ORDER_SQL, SYSTEM, order_json

TABLE = """
create table runs (
    id bigint generated always as identity primary key,
    thread text not null,
    messages jsonb not null,
    created_at timestamptz not null default now());
create index runs_thread on runs (thread, id)"""


class PydanticAI(Contestant):
    """Asynchronous, the framework's own way."""

    is_async = True
    seed_sql = """
        insert into runs (thread, messages)
        select thread, messages from runs, generate_series(1, %(turns)s) g
        where thread = %(thread)s order by g, id limit %(turns)s"""

    def setup(self) -> None:
        with self.connect() as connection:
            connection.execute(TABLE)

    async def open(self, clients: int) -> None:
        from psycopg_pool import AsyncConnectionPool
        from pydantic_ai import Agent, ModelMessagesTypeAdapter
        from pydantic_ai.models.openai import OpenAIChatModel
        from pydantic_ai.providers.openai import OpenAIProvider

        self.adapter = ModelMessagesTypeAdapter
        self.pool = AsyncConnectionPool(
            self.endpoints.dsn,
            min_size=1,
            max_size=clients,
            kwargs={"autocommit": True},
            open=False,
        )
        await self.pool.open()
        provider = OpenAIProvider(base_url=self.endpoints.base_url, api_key="sk-mock")
        self.agent = Agent(OpenAIChatModel(MODEL, provider=provider), instructions=SYSTEM)

        @self.agent.tool_plain
        async def lookup_order(order_id: int) -> str:
            """Look up one order by its number and return its status."""
            async with self.pool.connection() as connection:
                cursor = await connection.execute(ORDER_SQL, (order_id,))
                return order_json(await cursor.fetchone())

    async def turn(self, thread: str, text: str) -> str:
        async with self.pool.connection() as connection:
            cursor = await connection.execute(
                "select messages::text from runs where thread = %s order by id", (thread,)
            )
            runs = await cursor.fetchall()
        history = [message for (run,) in runs for message in self.adapter.validate_json(run)]
        result = await self.agent.run(text, message_history=history)
        async with self.pool.connection() as connection:
            await connection.execute(
                "insert into runs (thread, messages) values (%s, %s)",
                (thread, result.new_messages_json().decode()),
            )
        return str(result.output)

    async def close(self) -> None:
        await self.pool.close()
