"""What an expert writes by hand: psycopg and the vendor's SDK.

`Thin` commits each step, so that a crash loses at most the step under way: SELECT history, INSERT
user, INSERT assistant's call, SELECT order, INSERT tool result, INSERT answer. The batch variants
write the turn in one INSERT at its end, so a crash loses the turn: three statements, one commit.
"""

from __future__ import annotations

import json
from typing import Any

from .base import Contestant
from .standard_turn import CHAT_TOOLS, MODEL, ORDER_SQL, SYSTEM, order_json, order_of_call

Message = dict[str, Any]
SYSTEM_MESSAGE: Message = {"role": "system", "content": SYSTEM}
TABLE = """
create table messages (
    id bigint generated always as identity primary key,
    thread text not null,
    role text not null,
    data jsonb not null,
    created_at timestamptz not null default now());
create index messages_thread on messages (thread, id)"""
LOAD = "select data from messages where thread = %s order by id"
ADD = "insert into messages (thread, role, data) values (%s, %s, %s)"
ADD_ALL = """
insert into messages (thread, role, data)
select %s, m ->> 'role', m from jsonb_array_elements(%s::jsonb) m"""
SEED = """
insert into messages (thread, role, data)
select thread, role, data from messages, generate_series(1, %(turns)s) g
where thread = %(thread)s order by g, id limit 4 * %(turns)s"""


class Thin(Contestant):
    """A commit per step, synchronous."""

    seed_sql = SEED

    def setup(self) -> None:
        with self.connect() as connection:
            connection.execute(TABLE)

    def open(self, clients: int) -> None:
        from psycopg_pool import ConnectionPool

        self.pool = ConnectionPool(
            self.endpoints.dsn, min_size=1, max_size=clients, kwargs={"autocommit": True}, open=True
        )
        self.open_http()

    def open_http(self) -> None:
        import openai

        self.client = openai.OpenAI(base_url=self.endpoints.base_url)

    def chat(self, messages: list[Message]) -> Message:
        reply = self.client.chat.completions.create(
            model=MODEL, messages=messages, tools=CHAT_TOOLS
        )
        return dict(reply.choices[0].message.model_dump(exclude_none=True))

    def load(self, thread: str) -> list[Message]:
        with self.pool.connection() as connection:
            return [row[0] for row in connection.execute(LOAD, (thread,))]

    def add(self, thread: str, message: Message) -> None:
        with self.pool.connection() as connection:
            connection.execute(ADD, (thread, message["role"], json.dumps(message)))

    def look_up(self, call: Message) -> Message:
        with self.pool.connection() as connection:
            row = connection.execute(ORDER_SQL, (order_of_call(call),)).fetchone()
        return {"role": "tool", "tool_call_id": call["id"], "content": order_json(row)}

    def turn(self, thread: str, text: str) -> Any:
        messages = [SYSTEM_MESSAGE, *self.load(thread)]

        def add(message: Message) -> None:
            self.add(thread, message)
            messages.append(message)

        add({"role": "user", "content": text})
        while True:
            message = self.chat(messages)
            add(message)
            if not message.get("tool_calls"):
                return message["content"]
            for call in message["tool_calls"]:
                add(self.look_up(call))

    def close(self) -> Any:
        self.pool.close()


class ThinBatch(Thin):
    """One commit a turn."""

    def turn(self, thread: str, text: str) -> str:
        history = [SYSTEM_MESSAGE, *self.load(thread)]
        added: list[Message] = [{"role": "user", "content": text}]
        while True:
            message = self.chat(history + added)
            added.append(message)
            if not message.get("tool_calls"):
                break
            added += [self.look_up(call) for call in message["tool_calls"]]
        with self.pool.connection() as connection:
            connection.execute(ADD_ALL, (thread, json.dumps(added)))
        return str(message["content"])


class ThinRawBatch(ThinBatch):
    """One commit a turn and plain httpx: about the least that an outside worker costs."""

    def open_http(self) -> None:
        import httpx

        self.http = httpx.Client(headers={"authorization": "Bearer sk-mock"}, timeout=60)

    def chat(self, messages: list[Message]) -> Message:
        reply = self.http.post(
            self.endpoints.base_url + "/chat/completions",
            json={"model": MODEL, "messages": messages, "tools": CHAT_TOOLS},
        ).json()
        message = reply["choices"][0]["message"]
        return {key: value for key, value in message.items() if value is not None}


class ThinAsync(Thin):
    """A commit per step, asynchronous."""

    is_async = True

    async def open(self, clients: int) -> None:
        import openai
        from psycopg_pool import AsyncConnectionPool

        self.async_pool = AsyncConnectionPool(
            self.endpoints.dsn,
            min_size=1,
            max_size=clients,
            kwargs={"autocommit": True},
            open=False,
        )
        await self.async_pool.open()
        self.async_client = openai.AsyncOpenAI(base_url=self.endpoints.base_url)

    async def turn(self, thread: str, text: str) -> str:
        async with self.async_pool.connection() as connection:
            rows = await (await connection.execute(LOAD, (thread,))).fetchall()
        messages = [SYSTEM_MESSAGE, *(row[0] for row in rows)]

        async def add(message: Message) -> None:
            async with self.async_pool.connection() as connection:
                await connection.execute(ADD, (thread, message["role"], json.dumps(message)))
            messages.append(message)

        await add({"role": "user", "content": text})
        while True:
            reply = await self.async_client.chat.completions.create(
                model=MODEL, messages=messages, tools=CHAT_TOOLS
            )
            message = reply.choices[0].message.model_dump(exclude_none=True)
            await add(message)
            if not message.get("tool_calls"):
                return str(message["content"])
            for call in message["tool_calls"]:
                async with self.async_pool.connection() as connection:
                    cursor = await connection.execute(ORDER_SQL, (order_of_call(call),))
                    row = await cursor.fetchone()
                await add({"role": "tool", "tool_call_id": call["id"], "content": order_json(row)})

    async def close(self) -> None:
        await self.async_client.close()
        await self.async_pool.close()
