"""A mock model server on loopback: deterministic, stateless and fast.

It serves /v1/chat/completions and /v1/responses, not streamed. A path that starts with /d<ms>
delays the reply by that many milliseconds (/d50/v1/chat/completions). The reply depends only on
the request's body:

* the last message is a tool result: a final text that quotes the order's status;
* otherwise: one call of the tool lookup_order with the last "order #<n>" of the body.

It looks at the tail of the body with plain byte searches and does not parse the JSON, so that a
long history costs this server next to nothing. GET /last describes the last request: the harness
learns there whether a new process really continued the conversation. GET /count tells how many
requests there were.
"""

from __future__ import annotations

import asyncio
import json
import re
import socket
from typing import Any

import httptools

try:
    import uvloop
except ImportError:  # the standard event loop will do; only the server's own CPU grows
    uvloop = None

ORDER = re.compile(rb"order #(\d+)")
# A tool result may be JSON inside a JSON string (\") and may have spaces around the colon.
STATUS = re.compile(rb'\\*"status\\*"\s*:\s*\\*"([a-z_]+)')
last_request: dict[str, Any] = {"body": b"", "path": "", "number": 0}


def last_match(pattern: re.Pattern[bytes], needle: bytes, body: bytes) -> str | None:
    """The last match of `pattern`, found by walking back over the plain bytes `needle`."""
    end = len(body)
    while (at := body.rfind(needle, 0, end)) >= 0:
        if found := pattern.search(body, max(0, at - 8), at + 64):
            return found.group(1).decode()
        end = at
    return None


def wants_text(body: bytes, responses_api: bool) -> bool:
    """Whether a tool result comes after the last user message."""
    user = max(body.rfind(b'"role":"user"'), body.rfind(b'"role": "user"'))
    if responses_api:
        return body.rfind(b'"function_call_output"') > user
    return max(body.rfind(b'"role":"tool"'), body.rfind(b'"role": "tool"')) > user


def final_text(order: str, status: str) -> str:
    """An answer of about the length a support agent would write."""
    return (
        f"Thanks for waiting. Your order no. {order} is currently {status}. "
        "It left our warehouse in the usual packaging, and the carrier gives two to four "
        "working days for the last leg. You will get a mail with the tracking link as soon "
        "as the parcel is scanned; tell me if you want me to change the delivery address."
    )


def responses_reply(number: int, text: str | None, arguments: str, tokens: int) -> dict[str, Any]:
    """A reply of the Responses API (https://platform.openai.com/docs/api-reference/responses)."""
    if text is None:
        item = {
            "id": f"fc_{number}",
            "type": "function_call",
            "call_id": f"call_{number}",
            "name": "lookup_order",
            "arguments": arguments,
            "status": "completed",
        }
    else:
        content = [{"type": "output_text", "text": text, "annotations": []}]
        item = {
            "id": f"msg_{number}",
            "type": "message",
            "role": "assistant",
            "status": "completed",
            "content": content,
        }
    return {
        "id": f"resp_{number}",
        "object": "response",
        "created_at": 1760000000,
        "status": "completed",
        "error": None,
        "incomplete_details": None,
        "instructions": None,
        "metadata": {},
        "model": "mock-1",
        "output": [item],
        "parallel_tool_calls": True,
        "temperature": 1.0,
        "tool_choice": "auto",
        "tools": [],
        "top_p": 1.0,
        "usage": {
            "input_tokens": tokens,
            "output_tokens": 40,
            "total_tokens": tokens + 40,
            "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
            "output_tokens_details": {"reasoning_tokens": 0},
        },
    }


def chat_reply(number: int, text: str | None, arguments: str, tokens: int) -> dict[str, Any]:
    """A reply of Chat Completions (https://platform.openai.com/docs/api-reference/chat)."""
    message: dict[str, Any] = {"role": "assistant", "content": text, "refusal": None}
    if text is None:
        message["tool_calls"] = [
            {
                "id": f"call_{number}",
                "type": "function",
                "function": {"name": "lookup_order", "arguments": arguments},
            }
        ]
    choice = {
        "index": 0,
        "message": message,
        "logprobs": None,
        "finish_reason": "tool_calls" if text is None else "stop",
    }
    return {
        "id": f"chatcmpl-{number}",
        "object": "chat.completion",
        "created": 1760000000,
        "model": "mock-1",
        "choices": [choice],
        "usage": {
            "prompt_tokens": tokens,
            "completion_tokens": 40,
            "total_tokens": tokens + 40,
            "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
            "completion_tokens_details": {"reasoning_tokens": 0},
        },
    }


def reply(path: str, body: bytes, number: int) -> bytes:
    """The answer to one request, as JSON text."""
    responses_api = path.endswith("/responses")
    order = last_match(ORDER, b"order #", body) or "1"
    text = None
    if wants_text(body, responses_api):
        text = final_text(order, last_match(STATUS, b"status", body) or "unknown")
    document = (responses_reply if responses_api else chat_reply)(
        number, text, json.dumps({"order_id": int(order)}), len(body) // 4
    )
    return json.dumps(document, separators=(",", ":")).encode()


def describe_last() -> dict[str, Any]:
    """What the last request carried, message kind by message kind."""
    path, body = last_request["path"], last_request["body"]
    document = json.loads(body or b"{}")
    items = document.get("messages") or document.get("input") or []
    if isinstance(items, str):
        items = [{"role": "user"}]
    kinds: dict[str, int] = {}
    for item in items:
        kind = item.get("role") or item.get("type")
        kinds[kind] = kinds.get(kind, 0) + 1
    return {"path": path, "bytes": len(body), "items": len(items), "kinds": kinds}


class Connection(asyncio.Protocol):
    """One client's connection; the on_* methods are the HTTP parser's callbacks."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.transport: Any = None
        self.path = ""
        self.body: list[bytes] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.parser = httptools.HttpRequestParser(self)

    def data_received(self, data: bytes) -> None:
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserError:
            self.transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self.transport = None

    def on_url(self, url: bytes) -> None:
        self.path = url.decode()

    def on_body(self, chunk: bytes) -> None:
        self.body.append(chunk)

    def on_message_complete(self) -> None:
        path, body, delay_ms = self.path, b"".join(self.body), 0
        self.body = []
        if path == "/last":
            self.send(json.dumps(describe_last()).encode())
            return
        if path == "/count":
            self.send(json.dumps(last_request["number"]).encode())
            return
        if path.startswith("/d"):
            head, _, rest = path[2:].partition("/")
            delay_ms, path = int(head), "/" + rest
        last_request.update(path=path, body=body, number=last_request["number"] + 1)
        out = reply(path, body, last_request["number"])
        if delay_ms:
            self.loop.call_later(delay_ms / 1000, self.send, out)
        else:
            self.send(out)

    def send(self, out: bytes) -> None:
        if self.transport is not None:
            self.transport.write(
                b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"
                b"content-length: %d\r\n\r\n" % len(out) + out
            )


async def serve() -> None:
    """Listen on an ephemeral port and print it."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Connection(loop), "127.0.0.1", 0, backlog=1024)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    if uvloop is not None:
        uvloop.install()
    asyncio.run(serve())
