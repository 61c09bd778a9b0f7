"""One question with one tool through each wire: does the whole loop work here?

The question can only be answered with the tool's result, so a wire passes when the model asked for
the tool with the right argument, and its answer holds what the tool returned.
"""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Callable
from typing import Any

from .embedding import DIMENSIONS, EMBEDDING_MODEL

QUESTION = "What is the tracking number of order 1002?"
SYSTEM = "You answer questions about the orders of a shop. Look facts up with the tools."
RESULT = {"order_id": 1002, "status": "shipped", "tracking": "NW-48213"}
DESCRIPTION = "Look up one order by its number."
PARAMETERS: dict[str, Any] = {
    "type": "object",
    "properties": {"order_id": {"type": "integer", "description": "Number of the order"}},
    "required": ["order_id"],
}
#: Seconds for one answer; a long time on a busy core.
ANSWER_SECONDS = 300.0


class _Failed(Exception):
    """A wire did not answer as it should; the text says how."""


def check_wires(url: str, model: str) -> bool:
    """Print one line a wire and tell whether all of them work.

    Args:
        url: root of the server, without a slash at its end.
        model: name of the chat model.
    """
    checks: dict[str, Callable[[str, str], str]] = {
        "OpenAI chat completions": _openai_chat,
        "OpenAI responses": _openai_responses,
        "Anthropic messages": _anthropic,
        "Gemini generateContent": _gemini,
        "Ollama chat": _ollama,
        "OpenAI embeddings": _openai_embeddings,
        "Gemini embeddings": _gemini_embeddings,
        "Ollama embeddings": _ollama_embeddings,
    }
    failures = sum(not _works(name, check, url, model) for name, check in checks.items())
    return failures == 0


def _works(name: str, check: Callable[[str, str], str], url: str, model: str) -> bool:
    try:
        print(f"ok      {name}: {check(url, model)}", flush=True)
    except (_Failed, OSError, ValueError, KeyError, IndexError, TypeError) as error:
        print(f"FAILED  {name}: {error!r}", flush=True)
        return False
    return True


def _openai_chat(url: str, model: str) -> str:
    tool = {"name": "order_status", "description": DESCRIPTION, "parameters": PARAMETERS}
    messages: list[dict[str, Any]] = [
        {"role": "system", "content": SYSTEM},
        {"role": "user", "content": QUESTION},
    ]
    request = {
        "model": model,
        "messages": messages,
        "tools": [{"type": "function", "function": tool}],
    }
    said = _post(f"{url}/v1/chat/completions", request)["choices"][0]["message"]
    call = _only(said["tool_calls"])
    _expect_call(call["function"]["name"], json.loads(call["function"]["arguments"]))
    messages.append(said)
    messages.append(
        {"role": "tool", "tool_call_id": call["id"], "content": json.dumps(RESULT)},
    )
    said = _post(f"{url}/v1/chat/completions", request)["choices"][0]["message"]
    return _expect_answer(said["content"])


def _openai_responses(url: str, model: str) -> str:
    tool = {"type": "function", "name": "order_status", "description": DESCRIPTION}
    items: list[dict[str, Any]] = [{"role": "user", "content": QUESTION}]
    request = {
        "model": model,
        "instructions": SYSTEM,
        "input": items,
        "tools": [{**tool, "parameters": PARAMETERS}],
    }
    output = _post(f"{url}/v1/responses", request)["output"]
    call = _only([item for item in output if item["type"] == "function_call"])
    _expect_call(call["name"], json.loads(call["arguments"]))
    items.append(call)
    result = json.dumps(RESULT)
    items.append({"type": "function_call_output", "call_id": call["call_id"], "output": result})
    output = _post(f"{url}/v1/responses", request)["output"]
    message = _only([item for item in output if item["type"] == "message"])
    return _expect_answer(message["content"][0]["text"])


def _anthropic(url: str, model: str) -> str:
    tool = {"name": "order_status", "description": DESCRIPTION, "input_schema": PARAMETERS}
    messages: list[dict[str, Any]] = [{"role": "user", "content": QUESTION}]
    request = {
        "model": model,
        "max_tokens": 256,
        "system": SYSTEM,
        "messages": messages,
        "tools": [tool],
    }
    content = _post(f"{url}/v1/messages", request)["content"]
    call = _only([block for block in content if block["type"] == "tool_use"])
    _expect_call(call["name"], call["input"])
    result = {"type": "tool_result", "tool_use_id": call["id"], "content": json.dumps(RESULT)}
    messages.append({"role": "assistant", "content": content})
    messages.append({"role": "user", "content": [result]})
    content = _post(f"{url}/v1/messages", request)["content"]
    return _expect_answer("".join(b["text"] for b in content if b["type"] == "text"))


def _gemini(url: str, model: str) -> str:
    tool = {"name": "order_status", "description": DESCRIPTION, "parameters": PARAMETERS}
    contents: list[dict[str, Any]] = [{"role": "user", "parts": [{"text": QUESTION}]}]
    request = {
        "systemInstruction": {"parts": [{"text": SYSTEM}]},
        "contents": contents,
        "tools": [{"functionDeclarations": [tool]}],
    }
    path = f"{url}/v1beta/models/{model}:generateContent"
    content = _post(path, request)["candidates"][0]["content"]
    call = _only([part["functionCall"] for part in content["parts"] if "functionCall" in part])
    _expect_call(call["name"], call["args"])
    answer = {"name": "order_status", "response": RESULT}
    contents.append(content)
    contents.append({"role": "user", "parts": [{"functionResponse": answer}]})
    content = _post(path, request)["candidates"][0]["content"]
    return _expect_answer("".join(part.get("text", "") for part in content["parts"]))


def _ollama(url: str, model: str) -> str:
    tool = {"name": "order_status", "description": DESCRIPTION, "parameters": PARAMETERS}
    messages: list[dict[str, Any]] = [
        {"role": "system", "content": SYSTEM},
        {"role": "user", "content": QUESTION},
    ]
    request = {
        "model": model,
        "stream": False,
        "messages": messages,
        "tools": [{"type": "function", "function": tool}],
    }
    said = _post(f"{url}/api/chat", request)["message"]
    call = _only(said["tool_calls"])["function"]
    _expect_call(call["name"], call["arguments"])
    messages.append(said)
    result = json.dumps(RESULT)
    messages.append({"role": "tool", "tool_name": "order_status", "content": result})
    return _expect_answer(_post(f"{url}/api/chat", request)["message"]["content"])


def _openai_embeddings(url: str, _: str) -> str:
    request = {"model": EMBEDDING_MODEL, "input": ["서울", "Seoul"], "input_type": "query"}
    data = _post(f"{url}/v1/embeddings", request)["data"]
    return _expect_vectors([item["embedding"] for item in data])


def _gemini_embeddings(url: str, _: str) -> str:
    requests = [{"content": {"parts": [{"text": text}]}} for text in ("서울", "Seoul")]
    path = f"{url}/v1beta/models/{EMBEDDING_MODEL}:batchEmbedContents"
    answer = _post(path, {"requests": requests})
    return _expect_vectors([item["values"] for item in answer["embeddings"]])


def _ollama_embeddings(url: str, _: str) -> str:
    answer = _post(f"{url}/api/embed", {"model": EMBEDDING_MODEL, "input": ["서울", "Seoul"]})
    return _expect_vectors(answer["embeddings"])


def _post(url: str, body: Any) -> Any:
    request = urllib.request.Request(
        url, json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    try:
        with urllib.request.urlopen(request, timeout=ANSWER_SECONDS) as answer:
            return json.load(answer)
    except urllib.error.HTTPError as error:
        raise _Failed(f"status {error.code}: {error.read(500).decode(errors='replace')}") from None


def _only(found: list[Any]) -> Any:
    if len(found) != 1:
        raise _Failed(f"one was expected, {len(found)} came: {found}")
    return found[0]


def _expect_call(name: str, arguments: Any) -> None:
    if (name, arguments) != ("order_status", {"order_id": 1002}):
        raise _Failed(f"the model called {name} with {arguments}")


def _expect_answer(text: str) -> str:
    if str(RESULT["tracking"]) not in text:
        raise _Failed(f"the answer does not hold the tool's result: {text!r}")
    return text.strip()


def _expect_vectors(vectors: list[list[float]]) -> str:
    """Check that two names of one city lie close together."""
    one, two = vectors
    similarity = sum(a * b for a, b in zip(one, two, strict=True))
    if len(one) != DIMENSIONS or not 0.8 < similarity < 1.001:
        raise _Failed(f"{len(one)} numbers, similarity {similarity}")
    return f"{len(one)} numbers, similarity of Seoul in two languages {similarity:.3f}"
