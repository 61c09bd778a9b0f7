"""Gemini's wire: generateContent, streamGenerateContent and the embedding methods.

Source: Gemini API reference (ai.google.dev/api/generate-content and /embeddings). Proto JSON allows
every field in camelCase and in snake_case, and the official SDK sends both.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Generator, Iterable, Mapping
from typing import Any

from .chat_piece import Piece
from .wire import WireError, error_body

_TYPES = {"STRING", "NUMBER", "INTEGER", "BOOLEAN", "ARRAY", "OBJECT", "NULL"}
_CONFIG = {
    "maxOutputTokens": "max_tokens",
    "temperature": "temperature",
    "topP": "top_p",
    "topK": "top_k",
    "seed": "seed",
    "stopSequences": "stop",
    "presencePenalty": "presence_penalty",
    "frequencyPenalty": "frequency_penalty",
}
_TOOL_CHOICES = {"ANY": "required", "NONE": "none"}
#: taskType values whose text is a question.
_QUERY_TASKS = {
    "RETRIEVAL_QUERY",
    "QUESTION_ANSWERING",
    "FACT_VERIFICATION",
    "CODE_RETRIEVAL_QUERY",
}


def field(value: Mapping[str, Any], name: str, default: Any = None) -> Any:
    """Return a field that may be spelled in camelCase (*name*) or in snake_case."""
    if name in value:
        return value[name]
    snake = "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name)
    return value.get(snake, default)


def to_openai(body: Mapping[str, Any], model: str) -> dict[str, Any]:
    """Translate the body of generateContent to a chat completion request.

    Raises:
        WireError: 400, the body is not what the API documents.
    """
    try:
        request: dict[str, Any] = {"model": model, "messages": _messages(body)}
        config = field(body, "generationConfig") or {}
        for theirs, ours in _CONFIG.items():
            if (value := field(config, theirs)) is not None:
                request[ours] = value
        schema = field(config, "responseJsonSchema") or field(config, "responseSchema")
        if schema:
            named = {"name": "answer", "schema": json_schema(schema)}
            request["response_format"] = {"type": "json_schema", "json_schema": named}
        elif field(config, "responseMimeType") == "application/json":
            request["response_format"] = {"type": "json_object"}
        if tools := _tools(body):
            request["tools"] = tools
            calling = field(field(body, "toolConfig") or {}, "functionCallingConfig") or {}
            request["tool_choice"] = _TOOL_CHOICES.get(str(calling.get("mode")), "auto")
    except (KeyError, TypeError, AttributeError) as error:
        raise WireError(400, f"the request is malformed: {error}") from error
    return request


def from_piece(piece: Piece, model: str) -> dict[str, Any]:
    """Write one piece as one GenerateContentResponse.

    A call whose arguments are no JSON object cannot be said on this wire: as Gemini itself does,
    the candidate then ends with MALFORMED_FUNCTION_CALL.
    """
    parts: list[dict[str, Any]] = [{"text": piece.text}] if piece.text else []
    malformed = False
    for call in piece.calls:
        if (arguments := call.arguments_object()) is None:
            malformed = True
            continue
        function = {"id": call.call_id or _new_id(), "name": call.name, "args": arguments}
        parts.append({"functionCall": function})
    candidate: dict[str, Any] = {
        "index": 0,
        "content": {"role": "model", "parts": parts or [{"text": ""}]},
    }
    answer: dict[str, Any] = {"candidates": [candidate], "modelVersion": model}
    if piece.finish is not None:
        finish = "MAX_TOKENS" if piece.finish == "length" else "STOP"
        candidate["finishReason"] = "MALFORMED_FUNCTION_CALL" if malformed else finish
        answer["usageMetadata"] = {
            "promptTokenCount": piece.usage.prompt,
            "candidatesTokenCount": piece.usage.completion,
            "totalTokenCount": piece.usage.prompt + piece.usage.completion,
        }
    return answer


def stream_events(
    pieces: Iterable[Piece], model: str, *, as_sse: bool
) -> Generator[bytes, None, None]:
    """Write a stream: server-sent events with ``alt=sse``, else one JSON array that grows.

    An error after the first piece becomes the last event.
    """
    before = b"data: " if as_sse else b"["
    begun = False
    try:
        for piece in pieces:
            yield before + json.dumps(from_piece(piece, model)).encode() + _end(as_sse)
            before = b"data: " if as_sse else b",\r\n"
            begun = True
    except WireError as error:
        if not begun:
            raise
        problem = error_body("gemini", error.status, error.message)
        yield before + json.dumps(problem).encode() + _end(as_sse)
    if not as_sse:
        yield b"]"


def embedding_request(body: Mapping[str, Any]) -> tuple[str, bool]:
    """Return the text of one EmbedContentRequest, and whether it is a query.

    Raises:
        WireError: 400, the body is not what the API documents.
    """
    try:
        text = _text(body["content"]["parts"])
    except (KeyError, TypeError, AttributeError) as error:
        raise WireError(400, f"content is malformed: {error}") from error
    return text, field(body, "taskType") in _QUERY_TASKS


def json_schema(schema: Any) -> Any:
    """Turn Gemini's OpenAPI-like Schema into JSON Schema; a JSON Schema stays as it is."""
    if isinstance(schema, list):
        return [json_schema(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    result: dict[str, Any] = {}
    for key, value in schema.items():
        match key:
            case "type" if isinstance(value, str):
                result["type"] = value.lower() if value in _TYPES else value
            case "properties" | "$defs" | "defs" if isinstance(value, dict):
                # These keys are the user's names, not keywords.
                result[key] = {name: json_schema(sub) for name, sub in value.items()}
            case "any_of" | "anyOf":
                result["anyOf"] = json_schema(value)
            case "enum" | "default" | "example" | "const":
                result[key] = value
            case "nullable" | "propertyOrdering" | "property_ordering":
                pass
            case _:
                result[key] = json_schema(value)
    if schema.get("nullable") and isinstance(result.get("type"), str):
        result["type"] = [result["type"], "null"]
    return result


def _messages(body: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Translate contents; OpenAI pairs calls and results by id, Gemini by id or by name."""
    messages: list[dict[str, Any]] = []
    if system := field(body, "systemInstruction"):
        messages.append({"role": "system", "content": _text(system.get("parts"))})
    open_calls: list[tuple[str, str]] = []
    for content in body["contents"]:
        parts = content.get("parts") or []
        calls = [call for part in parts if (call := field(part, "functionCall"))]
        results = [result for part in parts if (result := field(part, "functionResponse"))]
        text = _text(parts)
        if calls:
            open_calls = [(call.get("id") or _new_id(), call["name"]) for call in calls]
            wire_calls = [
                {
                    "id": call_id,
                    "type": "function",
                    "function": {"name": name, "arguments": json.dumps(call.get("args") or {})},
                }
                for (call_id, name), call in zip(open_calls, calls, strict=True)
            ]
            messages.append({"role": "assistant", "content": text, "tool_calls": wire_calls})
        messages.extend(
            {
                "role": "tool",
                "tool_call_id": result.get("id") or _answered(result["name"], open_calls),
                "content": json.dumps(result.get("response"), ensure_ascii=False),
            }
            for result in results
        )
        if not calls and (text or not results):
            role = "assistant" if content.get("role") == "model" else "user"
            messages.append({"role": role, "content": text})
    return messages


def _answered(name: str, open_calls: list[tuple[str, str]]) -> str:
    for position, (call_id, called) in enumerate(open_calls):
        if called == name:
            open_calls.pop(position)
            return call_id
    return "call_unknown"


def _tools(body: Mapping[str, Any]) -> list[dict[str, Any]]:
    tools = []
    for tool in body.get("tools") or []:
        for declaration in field(tool, "functionDeclarations") or []:
            schema = field(declaration, "parametersJsonSchema") or declaration.get("parameters")
            function = {
                "name": declaration["name"],
                "description": declaration.get("description") or "",
                "parameters": json_schema(schema) or {"type": "object", "properties": {}},
            }
            tools.append({"type": "function", "function": function})
    return tools


def _text(parts: Any) -> str:
    return "".join(part.get("text") or "" for part in parts or [])


def _new_id() -> str:
    return f"call_{uuid.uuid4().hex[:12]}"


def _end(as_sse: bool) -> bytes:
    return b"\n\n" if as_sse else b""
