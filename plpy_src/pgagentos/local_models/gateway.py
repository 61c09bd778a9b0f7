"""The gateway: every wire on one port, in front of one chat model and one embedding model."""

from __future__ import annotations

import http.client
import json
import re
import time
import urllib.parse
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..errors import InvalidInput
from . import gemini_wire, ollama_wire
from .embedding import EMBEDDING_MODEL, Embedder
from .embedding_wires import EmbeddingWires
from .http_server import Answer, Request, Stream, json_answer
from .llama_request import adapt
from .upstream import Upstream, upstream_error
from .wire import WireError

#: Version that /api/version reports: the API level that is spoken here.
OLLAMA_API_VERSION = "0.6.0"
#: Path -> the fields that limit the length of the answer; the first one is set if none is there.
_NATIVE = {
    "/v1/chat/completions": ("max_completion_tokens", "max_tokens", "n_predict"),
    "/v1/completions": ("max_tokens", "n_predict"),
    "/v1/responses": ("max_output_tokens",),
    "/v1/messages": ("max_tokens",),
    "/v1/messages/count_tokens": (),
}
_GEMINI_MODEL = re.compile(r"/v1(?:beta|alpha)?\w*/models/([^/:]+)(?::(\w+))?")


@dataclass(frozen=True, slots=True)
class ChatModel:
    """The chat model behind the gateway.

    Args:
        name: what the lists of models say.
        upstream: the server to ask.
        max_tokens: no answer gets longer, whatever the client asks: a small model may never stop
            by itself. None sets no limit.
        temperature: used where the client names none, unless None.
        is_llama_cpp: requests are adapted to it (:mod:`.llama_request`).
        byte_count: size of the model's file, for /api/tags.
        digest: its sha256, for /api/tags.
        keep_alive: whatever must live as long as the model, such as the server in this process.
    """

    name: str
    upstream: Upstream
    max_tokens: int | None = None
    temperature: float | None = None
    is_llama_cpp: bool = False
    byte_count: int = 0
    digest: str = ""
    keep_alive: object = field(default=None, repr=False)


class Gateway:
    """Answers requests on all wires.

    Args:
        chat: the chat model, or None to serve embeddings only.
        embedder: the embedding model, or None to serve chat only.
    """

    def __init__(self, chat: ChatModel | None, embedder: Embedder | None) -> None:
        self._chat = chat
        self._embedder = embedder

    def handle(self, request: Request) -> Answer | Stream:
        """Answer one request.

        Raises:
            WireError: the request cannot be answered; the caller shapes the error for its wire.
            ClientGone: the client closed while the model was working.
        """
        try:
            if request.method == "GET":
                return self._get(request)
            return self._post(request, _json_body(request.body))
        except InvalidInput as error:
            raise WireError(400, f"{error.message}. {error.hint or ''}".rstrip()) from error

    # -- reading ---------------------------------------------------------------------------------

    def _get(self, request: Request) -> Answer:
        path, names = request.path, self._names()
        match path:
            case "/":
                return Answer(200, b"Ollama is running", "text/plain; charset=utf-8")
            case "/health":
                return json_answer({"status": "ok", "models": names})
            case "/api/version":
                return json_answer({"version": OLLAMA_API_VERSION})
            case "/api/tags" | "/api/ps":
                return json_answer({"models": self._ollama_models()})
            case "/v1/models" if request.headers.get("x-goog-api-key"):
                return json_answer({"models": [_gemini_model(name) for name in names]})
            case "/v1/models" if request.headers.get("anthropic-version"):
                return json_answer(
                    {"data": [_anthropic_model(n) for n in names], "has_more": False}
                )
            case "/v1/models":
                return json_answer({"object": "list", "data": [_openai_model(n) for n in names]})
            case "/v1beta/models":
                return json_answer({"models": [_gemini_model(name) for name in names]})
        wanted = urllib.parse.unquote(path.rpartition("/")[2])
        if path.startswith(("/v1/models/", "/v1beta/models/")):
            if wanted not in names:
                raise WireError(404, f"there is no model {wanted}, only {', '.join(names)}")
            is_openai = path.startswith("/v1/")
            return json_answer(_openai_model(wanted) if is_openai else _gemini_model(wanted))
        if path in _NATIVE or path.startswith("/api/"):
            raise WireError(405, f"{path} wants POST")
        raise WireError(404, f"there is no {path} here")

    def _names(self) -> list[str]:
        names = [self._chat.name] if self._chat else []
        return names + ([EMBEDDING_MODEL] if self._embedder else [])

    def _ollama_models(self) -> list[dict[str, Any]]:
        models = []
        if self._chat:
            chat = self._chat
            models.append(ollama_wire.model_entry(chat.name, "qwen2", chat.byte_count, chat.digest))
        if self._embedder:
            models.append(ollama_wire.model_entry(EMBEDDING_MODEL, "bert", 0, ""))
        return models

    # -- asking ----------------------------------------------------------------------------------

    def _post(self, request: Request, body: dict[str, Any]) -> Answer | Stream:
        match request.path:
            case "/v1/embeddings":
                return json_answer(self._embeddings().openai(body, request.client))
            case "/api/embed":
                return json_answer(self._embeddings().ollama(body, request.client))
            case "/api/embeddings":
                return json_answer(self._embeddings().ollama_old(body, request.client))
            case "/api/chat" | "/api/generate":
                return self._ollama(request, body, chat=request.path == "/api/chat")
            case "/api/show":
                return self._ollama_show(body)
            case path if path in _NATIVE:
                return self._relay(request, body)
        if (match := _GEMINI_MODEL.fullmatch(request.path)) and match[2]:
            return self._gemini(request, urllib.parse.unquote(match[1]), match[2], body)
        raise WireError(404, f"there is no {request.path} here")

    def _relay(self, request: Request, body: dict[str, Any]) -> Answer | Stream:
        """Pass a request on to a server that speaks its wire natively."""
        chat = self._chat_model()
        body = _prepared(body, chat, _NATIVE[request.path])
        passed = {
            name: value
            for name in ("anthropic-version", "anthropic-beta")
            if (value := request.headers.get(name))
        }
        path = request.path.removeprefix("/v1")
        reply = chat.upstream.open("POST", path, body, request.client, passed)
        if reply.status >= 400:
            with reply:
                raise upstream_error(reply, reply.read())
        kind = reply.getheader("Content-Type") or "application/json"
        if "event-stream" in kind:
            return Stream(kind, _relayed(reply))
        with reply:
            return Answer(reply.status, reply.read(), kind)

    def _ollama(self, request: Request, body: dict[str, Any], *, chat: bool) -> Answer | Stream:
        model, started = self._chat_model(), time.monotonic_ns()
        name = str(body.get("model") or model.name)
        if not body.get("messages" if chat else "prompt"):
            # Ollama answers an empty request at once: that is how its clients preload a model.
            return json_answer(ollama_wire.loaded(name, chat=chat))
        asked = _prepared(ollama_wire.to_openai(body, chat=chat), model, ("max_tokens",))
        if ollama_wire.is_streaming(body):
            pieces = model.upstream.stream(asked, request.client)
            lines = ollama_wire.stream_lines(pieces, name, chat=chat, started_ns=started)
            return Stream("application/x-ndjson", lines)
        piece = model.upstream.ask(asked, request.client)
        return json_answer(ollama_wire.from_piece(piece, name, chat=chat, started_ns=started))

    def _ollama_show(self, body: Mapping[str, Any]) -> Answer:
        wanted = str(body.get("model") or body.get("name") or "")
        for entry in self._ollama_models():
            if entry["name"] == wanted.removesuffix(":latest"):
                is_chat = entry["name"] != EMBEDDING_MODEL
                can = ["completion", "tools"] if is_chat else ["embedding"]
                shown = {"details": entry["details"], "model_info": {}, "capabilities": can}
                return json_answer({**shown, "modified_at": entry["modified_at"]})
        raise WireError(404, f"model '{wanted}' not found")

    def _gemini(
        self, request: Request, model: str, verb: str, body: dict[str, Any]
    ) -> Answer | Stream:
        match verb:
            case "generateContent":
                chat = self._chat_model()
                asked = _prepared(gemini_wire.to_openai(body, model), chat, ("max_tokens",))
                piece = chat.upstream.ask(asked, request.client)
                return json_answer(gemini_wire.from_piece(piece, model))
            case "streamGenerateContent":
                chat = self._chat_model()
                asked = _prepared(gemini_wire.to_openai(body, model), chat, ("max_tokens",))
                as_sse = "sse" in urllib.parse.parse_qs(request.query).get("alt", [])
                pieces = chat.upstream.stream(asked, request.client)
                kind = "text/event-stream" if as_sse else "application/json"
                return Stream(kind, gemini_wire.stream_events(pieces, model, as_sse=as_sse))
            case "embedContent":
                return json_answer(self._embeddings().gemini(body, request.client))
            case "batchEmbedContents":
                return json_answer(self._embeddings().gemini_batch(body, request.client))
        raise WireError(404, f"there is no method {verb} here")

    def _embeddings(self) -> EmbeddingWires:
        if self._embedder is None:
            raise WireError(404, "this server was started without an embedding model")
        return EmbeddingWires(self._embedder)

    def _chat_model(self) -> ChatModel:
        if self._chat is None:
            raise WireError(404, "this server was started without a chat model")
        return self._chat


def _json_body(body: bytes) -> dict[str, Any]:
    try:
        value = json.loads(body or b"{}")
    except (ValueError, RecursionError) as error:
        raise WireError(400, f"the body is not valid JSON: {error}") from error
    if not isinstance(value, dict):
        raise WireError(400, "the body must be a JSON object")
    return value


def _prepared(body: dict[str, Any], chat: ChatModel, fields: Sequence[str]) -> dict[str, Any]:
    """Return *body* as *chat* shall get it: its answer's length limited, a temperature set."""
    prepared = adapt(body) if chat.is_llama_cpp else dict(body)
    if chat.max_tokens is not None:
        given = [name for name in fields if prepared.get(name) is not None]
        for name in given or fields[:1]:
            asked = prepared.get(name)
            if not isinstance(asked, int) or asked <= 0 or asked > chat.max_tokens:
                prepared[name] = chat.max_tokens
    if chat.temperature is not None and prepared.get("temperature") is None:
        prepared["temperature"] = chat.temperature
    return prepared


def _relayed(reply: http.client.HTTPResponse) -> Generator[bytes, None, None]:
    with reply:
        try:
            while block := reply.read1(1 << 16):
                yield block
        except (OSError, http.client.HTTPException) as error:
            raise WireError(502, f"the upstream server broke off: {error}") from error


def _openai_model(name: str) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": 1767225600, "owned_by": "pgagentos"}


def _anthropic_model(name: str) -> dict[str, Any]:
    made = "2026-01-01T00:00:00Z"
    return {"type": "model", "id": name, "display_name": name, "created_at": made}


def _gemini_model(name: str) -> dict[str, Any]:
    is_embedding = name == EMBEDDING_MODEL
    methods = ["embedContent"] if is_embedding else ["generateContent"]
    return {"name": f"models/{name}", "displayName": name, "supportedGenerationMethods": methods}
