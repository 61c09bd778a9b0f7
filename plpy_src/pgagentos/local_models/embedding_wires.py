"""The embedding methods of the OpenAI, Ollama and Gemini wires, in front of one model.

Sources: OpenAI API reference ("Create embeddings"), Ollama docs/api.md ("Generate Embeddings"),
Gemini API reference ("Embeddings"). ``input_type`` is no field of OpenAI's own; vendors whose
models tell queries from passages have it.
"""

from __future__ import annotations

import base64
import socket
import time
from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from . import gemini_wire
from .embedding import DIMENSIONS, EMBEDDING_MODEL, Embedder, Embeddings
from .upstream import check_client
from .wire import WireError

_INPUT_TYPES = {"query": True, "passage": False, "document": False, None: False}


@dataclass(frozen=True, slots=True)
class EmbeddingWires:
    """Each method takes a request's body and the client's socket, and returns the answer's body.

    All of them raise WireError for a body that the API would refuse, InvalidInput for a text that
    is too long, and ClientGone when the client closes before the last window.
    """

    embedder: Embedder

    def openai(self, body: Mapping[str, Any], client: socket.socket | None) -> dict[str, Any]:
        """Answer POST /v1/embeddings."""
        kind, encoding = body.get("input_type"), body.get("encoding_format", "float")
        if not (kind is None or isinstance(kind, str)) or kind not in _INPUT_TYPES:
            raise WireError(400, "input_type must be query, passage or document")
        if encoding not in ("float", "base64"):
            raise WireError(400, "encoding_format must be float or base64")
        _check_dimensions(body.get("dimensions"))
        found = self._embed(_texts(body), client, is_query=_INPUT_TYPES[kind])
        data = [
            {
                "object": "embedding",
                "index": index,
                "embedding": _base64(vector) if encoding == "base64" else vector,
            }
            for index, vector in enumerate(found.vectors)
        ]
        usage = {"prompt_tokens": found.token_count, "total_tokens": found.token_count}
        name = str(body.get("model") or EMBEDDING_MODEL)
        return {"object": "list", "model": name, "data": data, "usage": usage}

    def ollama(self, body: Mapping[str, Any], client: socket.socket | None) -> dict[str, Any]:
        """Answer POST /api/embed."""
        started = time.monotonic_ns()
        _check_dimensions(body.get("dimensions"))
        found = self._embed(_texts(body), client)
        return {
            "model": str(body.get("model") or EMBEDDING_MODEL),
            "embeddings": found.vectors,
            "total_duration": time.monotonic_ns() - started,
            "load_duration": 0,
            "prompt_eval_count": found.token_count,
        }

    def ollama_old(self, body: Mapping[str, Any], client: socket.socket | None) -> dict[str, Any]:
        """Answer POST /api/embeddings, which takes one prompt."""
        if not isinstance(prompt := body.get("prompt"), str):
            raise WireError(400, "prompt must be a string")
        return {"embedding": self._embed([prompt], client).vectors[0]}

    def gemini(self, body: Mapping[str, Any], client: socket.socket | None) -> dict[str, Any]:
        """Answer embedContent."""
        _check_dimensions(gemini_wire.field(body, "outputDimensionality"))
        text, is_query = gemini_wire.embedding_request(body)
        return {"embedding": {"values": self._embed([text], client, is_query=is_query).vectors[0]}}

    def gemini_batch(self, body: Mapping[str, Any], client: socket.socket | None) -> dict[str, Any]:
        """Answer batchEmbedContents."""
        requests = body.get("requests")
        if not isinstance(requests, list) or not requests:
            raise WireError(400, "requests must be a list that is not empty")
        if not all(isinstance(one, dict) for one in requests):
            raise WireError(400, "each of requests must be an object")
        return {"embeddings": [self.gemini(one, client)["embedding"] for one in requests]}

    def _embed(
        self, texts: Sequence[str], client: socket.socket | None, *, is_query: bool = False
    ) -> Embeddings:
        return self.embedder.embed(
            texts, is_query=is_query, before_window=lambda: check_client(client)
        )


def _texts(body: Mapping[str, Any]) -> list[str]:
    given = body.get("input")
    texts = [given] if isinstance(given, str) else given
    if not isinstance(texts, list) or not texts or not all(isinstance(t, str) for t in texts):
        raise WireError(400, "input must be a string or a list of strings that is not empty")
    return texts


def _check_dimensions(wanted: Any) -> None:
    if wanted not in (None, DIMENSIONS):
        raise WireError(400, f"{EMBEDDING_MODEL} has {DIMENSIONS} dimensions, no other number")


def _base64(vector: Sequence[float]) -> str:
    return base64.b64encode(array("f", vector).tobytes()).decode()  # little-endian on all we run on
