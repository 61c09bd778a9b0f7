"""How many calls a second the mock model server can answer: a bare client that sends and counts.

    mock_ceiling.py PORT DELAY_MS CONNECTIONS SECONDS

Every connection sends the same request of about the size of a standard turn's, waits for the reply
and sends it again. Prints {"calls": ..., "seconds": ...} as JSON. A figure about another program
that talks to the mock means nothing unless the mock alone could have done clearly more.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from typing import Any

import uvloop

from contestants.standard_turn import CHAT_TOOLS, MODEL, SYSTEM, user_text


def request(delay_ms: int) -> bytes:
    """A first model call of the standard turn."""
    messages = [{"role": "system", "content": SYSTEM}, {"role": "user", "content": user_text(1)}]
    body = json.dumps({"model": MODEL, "messages": messages, "tools": CHAT_TOOLS}).encode()
    head = (
        f"POST /d{delay_ms}/v1/chat/completions HTTP/1.1\r\nhost: 127.0.0.1\r\n"
        f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


class Caller(asyncio.Protocol):
    """One connection: a reply is counted when its body is whole."""

    calls = 0
    failures = 0
    expected_end = False

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.received = b""

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        transport.write(self.data)

    def data_received(self, data: bytes) -> None:
        self.received += data
        head, found, body = self.received.partition(b"\r\n\r\n")
        if not found or len(body) < int(head.rpartition(b"content-length: ")[2].split(b"\r")[0]):
            return
        if not head.startswith(b"HTTP/1.1 200 "):
            Caller.failures += 1
        Caller.calls += 1
        self.received = b""
        self.transport.write(self.data)

    def connection_lost(self, exc: Exception | None) -> None:
        Caller.failures += not Caller.expected_end


async def measure(port: int, delay_ms: int, connections: int, seconds: float) -> dict[str, float]:
    """Count the replies of a window that begins when all connections have had their first."""
    loop = asyncio.get_running_loop()
    data = request(delay_ms)
    for _ in range(connections):
        await loop.create_connection(lambda: Caller(data), "127.0.0.1", port)
    late = time.monotonic() + 60
    while Caller.calls < connections:
        if time.monotonic() > late:
            raise SystemExit(f"only {Caller.calls} of {connections} calls were answered")
        await asyncio.sleep(0.01)
    calls, start = Caller.calls, time.monotonic()
    await asyncio.sleep(seconds)
    calls, elapsed = Caller.calls - calls, time.monotonic() - start
    Caller.expected_end = True
    if Caller.failures:
        raise SystemExit(f"the mock failed {Caller.failures} calls")
    return {"calls": calls, "seconds": elapsed}


if __name__ == "__main__":
    port, delay_ms, connections = map(int, sys.argv[1:4])
    uvloop.install()
    print(json.dumps(asyncio.run(measure(port, delay_ms, connections, float(sys.argv[4])))))
