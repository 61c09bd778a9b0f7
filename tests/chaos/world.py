"""What is outside the database in a chaos run: a model and a few services, in one process.

The model does what the plan in the last user message says (see :mod:`chaos.plans`) and fails now
and then: 429, 500, a reset connection, half a reply. The services do one thing each. All that
arrives is written down, line by line as JSON, before it is answered:

    {"kind": "model" | "service", "turn", "call", "tool", "key", "outcome"}

``call`` of a model request is the number of the reply that it asks for; ``key`` is the
Idempotency-Key, or null.

    python3 world.py SEED FILE [calm]   prints its port on 127.0.0.1

Calm, it fails nothing and takes no time. PUT /hold/TURN/CALL lets the next such request go
unanswered (its outcome is "held").
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import random
import socket
import struct
import sys
from collections import Counter
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from chaos import plans

#: How the first request for a reply may fail, and the share of each.
FAILURES = {"429": 0.03, "500": 0.03, "reset": 0.02, "half": 0.02}
#: So often a hard turn's first model call fails: more than one call's patience, less than a turn's.
HARD_FAILURES = 4
#: Services that take a while, so that their callers die in the middle.
SLOW = ("charge", "errand")


class World:
    """What was heard, and what is to be said to it."""

    def __init__(self, seed: int, file: Path, is_calm: bool) -> None:
        self.seed = seed
        self.is_calm = is_calm
        self.log = file.open("a", buffering=1)
        self.heard: Counter[tuple[Any, ...]] = Counter()
        self.held: set[tuple[int, str]] = set()

    def is_held(self, turn: int, call: str) -> bool:
        """Whether this request is to go unanswered; the next one is not."""
        if (turn, call) in self.held:
            self.held.remove((turn, call))
            return True
        return False

    def note(self, **entry: Any) -> None:
        """Write an arrival down."""
        self.log.write(json.dumps(entry) + "\n")

    def chance(self, *what: Any) -> random.Random:
        """The same for the same arrival in every run of a seed."""
        return random.Random(repr((self.seed, *what)))

    async def model(self, body: Any, key: str | None) -> tuple[str, Any]:
        """A model call: ``(outcome, reply)``."""
        messages = body["messages"]
        asked = max(n for n, message in enumerate(messages) if message["role"] == "user")
        plan = plans.read(text_of(messages[asked]))
        number = 1 + sum(message["role"] == "assistant" for message in messages[asked:])
        self.heard["model", plan.number, number] += 1
        heard = self.heard["model", plan.number, number]
        chance = self.chance("model", plan.number, number)
        outcome = "ok"
        if self.is_held(plan.number, str(number)):
            outcome = "held"
        elif plan.is_hard and number == 1 and heard <= HARD_FAILURES:
            outcome = "500"
        elif heard == 1 and not self.is_calm:
            drawn = chance.choices([*FAILURES, "ok"], [*FAILURES.values(), 0.9])[0]
            outcome = str(drawn)
        self.note(
            kind="model", turn=plan.number, call=str(number), tool=None, key=key, outcome=outcome
        )
        if not self.is_calm:
            await asyncio.sleep(1.5 if chance.random() < 0.02 else chance.uniform(0.02, 0.12))
        if outcome == "429":
            return outcome, {"error": {"message": "slower, please", "type": "rate_limit"}}
        if outcome == "500":
            return outcome, {"error": {"message": "it failed", "type": "server_error"}}
        return outcome, completion(plan, number)

    async def service(
        self, tool: str, given: dict[str, str], key: str | None
    ) -> tuple[str, dict[str, str]]:
        """A request to a service: its effect happens as it arrives."""
        turn, call = int(given["turn"]), given["call"]
        outcome = "held" if self.is_held(turn, call) else "ok"
        self.note(kind="service", turn=turn, call=call, tool=tool, key=key, outcome=outcome)
        chance = self.chance(tool, turn, call)
        if not self.is_calm:
            await asyncio.sleep(chance.uniform(0.05, 0.4) if tool in SLOW else 0.03)
        return outcome, {"done": f"{tool} {turn} {call}"}


def text_of(message: Any) -> str:
    """The text of a message, whichever way the client wrote it."""
    content = message["content"]
    if isinstance(content, str):
        return content
    return "".join(part["text"] for part in content)


def call_id(*place: int) -> str:
    """The same for the same call; ids that look counted would be replaced by the kernel's own."""
    return f"call_{hashlib.sha256(repr(place).encode()).hexdigest()[:24]}"


def completion(plan: plans.Plan, number: int) -> Any:
    """The *number*-th reply of a turn, from 1.

    Source: OpenAI API reference, "The chat completion object".
    """
    message: dict[str, Any] = {"role": "assistant", "content": None, "refusal": None}
    if number <= len(plan.groups):
        message["tool_calls"] = [
            {
                "id": call_id(plan.number, number, place),
                "type": "function",
                "function": {
                    "name": tool,
                    "arguments": json.dumps({"turn": plan.number, "call": f"{number}.{place}"}),
                },
            }
            for place, tool in enumerate(plan.groups[number - 1], 1)
        ]
    else:
        message["content"] = plan.answer
    return {
        "id": f"chatcmpl-{plan.number}-{number}",
        "object": "chat.completion",
        "created": 1700000000,
        "model": "chaos",
        "choices": [
            {
                "index": 0,
                "message": message,
                "finish_reason": "stop" if message["content"] else "tool_calls",
            }
        ],
        "usage": {"prompt_tokens": 100, "completion_tokens": 10, "total_tokens": 110},
    }


async def serve_one(world: World, reader: asyncio.StreamReader, writer: Any) -> bool:
    """Read one request and answer it.

    Returns:
        whether the connection goes on.
    """
    head = (await reader.readuntil(b"\r\n\r\n")).decode()
    request, *lines = head.rstrip().split("\r\n")
    fields = {name.lower(): value.strip() for name, _, value in (x.partition(":") for x in lines)}
    body = await reader.readexactly(int(fields.get("content-length", 0)))
    path = urlsplit(request.split(" ")[1])
    key = fields.get("idempotency-key")
    outcome = "ok"
    if path.path.startswith("/service/"):
        given = {**dict(parse_qsl(path.query)), **(json.loads(body) if body else {})}
        outcome, reply = await world.service(path.path.rpartition("/")[2], given, key)
    elif path.path.startswith("/hold/"):
        turn, call = path.path.split("/")[2:]
        world.held.add((int(turn), call))
        reply = {}
    else:
        outcome, reply = await world.model(json.loads(body), key)
    if outcome == "reset":
        # Linger 0: the connection ends with a reset, not with an orderly end.
        writer.get_extra_info("socket").setsockopt(
            socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
        )
        writer.transport.abort()
        return False
    if outcome == "held":
        await reader.read()  # until the client gives up
        return False
    data = json.dumps(reply).encode()
    status = outcome if outcome.isdigit() else "200"
    writer.write(
        f"HTTP/1.1 {status} .\r\ncontent-type: application/json\r\nretry-after-ms: 20\r\n"
        f"content-length: {len(data)}\r\n\r\n".encode()
    )
    writer.write(data[: len(data) // 2] if outcome == "half" else data)
    await writer.drain()
    return outcome != "half"


async def serve(world: World) -> None:
    """Listen on an ephemeral port and print it."""

    async def connection(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while await serve_one(world, reader, writer):
                pass
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # the client went away, as the killers make it do
        finally:
            writer.close()

    server = await asyncio.start_server(connection, "127.0.0.1", 0, backlog=512)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve(World(int(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:] == ["calm"])))
