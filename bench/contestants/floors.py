"""The floors: two model calls and one SELECT, nothing persisted."""

from __future__ import annotations

import collections
import http.client
import json
import urllib.parse
from typing import Any

from .base import Contestant
from .standard_turn import CHAT_TOOLS, MODEL, ORDER_SQL, SYSTEM, order_json, order_of_call

Message = dict[str, Any]


def new_history() -> dict[str, list[Message]]:
    """Conversations in this process's memory."""
    return collections.defaultdict(lambda: [{"role": "system", "content": SYSTEM}])


class Floor(Contestant):
    """What all floors share; a subclass brings the HTTP client."""

    keeps_history = False

    def open(self, clients: int) -> None:
        from psycopg_pool import ConnectionPool

        self.pool = ConnectionPool(
            self.endpoints.dsn, min_size=1, max_size=clients, kwargs={"autocommit": True}, open=True
        )
        self.history = new_history()
        self.open_http(clients)

    def open_http(self, clients: int) -> None:
        raise NotImplementedError

    def chat(self, messages: list[Message]) -> Message:
        raise NotImplementedError

    def turn(self, thread: str, text: str) -> str:
        messages = self.history[thread]
        messages.append({"role": "user", "content": text})
        while True:
            message = self.chat(messages)
            messages.append(message)
            if not message.get("tool_calls"):
                return str(message["content"])
            for call in message["tool_calls"]:
                with self.pool.connection() as connection:
                    row = connection.execute(ORDER_SQL, (order_of_call(call),)).fetchone()
                messages.append(
                    {"role": "tool", "tool_call_id": call["id"], "content": order_json(row)}
                )

    def seed(self, thread: str, turns: int) -> None:
        history = self.history[thread]
        history += (history[1:] * turns)[: 4 * turns]

    def close(self) -> None:
        self.pool.close()


class FloorHttpClient(Floor):
    """The standard library's http.client with one kept-alive connection; one client only."""

    def open_http(self, clients: int) -> None:
        url = urllib.parse.urlsplit(self.endpoints.base_url)
        self.path = url.path + "/chat/completions"
        self.connection = http.client.HTTPConnection(str(url.hostname), url.port)

    def chat(self, messages: list[Message]) -> Message:
        body = json.dumps({"model": MODEL, "messages": messages, "tools": CHAT_TOOLS}).encode()
        self.connection.request(
            "POST",
            self.path,
            body,
            {"content-type": "application/json", "authorization": "Bearer sk-mock"},
        )
        reply = json.loads(self.connection.getresponse().read())
        return dict(reply["choices"][0]["message"])


class FloorHttpx(Floor):
    """httpx, the HTTP client that most Python programs would take."""

    def open_http(self, clients: int) -> None:
        import httpx

        self.http = httpx.Client(headers={"authorization": "Bearer sk-mock"}, timeout=60)

    def chat(self, messages: list[Message]) -> Message:
        reply = self.http.post(
            self.endpoints.base_url + "/chat/completions",
            json={"model": MODEL, "messages": messages, "tools": CHAT_TOOLS},
        ).json()
        return dict(reply["choices"][0]["message"])


class FloorOpenAI(Floor):
    """The vendor's SDK making the same two calls."""

    def open_http(self, clients: int) -> None:
        import openai

        self.client = openai.OpenAI(base_url=self.endpoints.base_url)

    def chat(self, messages: list[Message]) -> Message:
        reply = self.client.chat.completions.create(
            model=MODEL, messages=messages, tools=CHAT_TOOLS
        )
        return dict(reply.choices[0].message.model_dump(exclude_none=True))


class FloorOpenAIAsync(Contestant):
    """The same with the SDK's asynchronous client: what one process can do under load."""

    is_async = True
    keeps_history = False

    async def open(self, clients: int) -> None:
        import openai
        from psycopg_pool import AsyncConnectionPool

        self.pool = AsyncConnectionPool(
            self.endpoints.dsn,
            min_size=1,
            max_size=clients,
            kwargs={"autocommit": True},
            open=False,
        )
        await self.pool.open()
        self.history = new_history()
        self.client = openai.AsyncOpenAI(base_url=self.endpoints.base_url)

    async def turn(self, thread: str, text: str) -> str:
        messages = self.history[thread]
        messages.append({"role": "user", "content": text})
        while True:
            reply = await self.client.chat.completions.create(
                model=MODEL, messages=messages, tools=CHAT_TOOLS
            )
            message = reply.choices[0].message.model_dump(exclude_none=True)
            messages.append(message)
            if not message.get("tool_calls"):
                return str(message["content"])
            for call in message["tool_calls"]:
                async with self.pool.connection() as connection:
                    cursor = await connection.execute(ORDER_SQL, (order_of_call(call),))
                    row = await cursor.fetchone()
                messages.append(
                    {"role": "tool", "tool_call_id": call["id"], "content": order_json(row)}
                )

    async def close(self) -> None:
        await self.client.close()
        await self.pool.close()
