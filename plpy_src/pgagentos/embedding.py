"""Embeddings over the OpenAI wire, which hosted services and the local model server speak alike."""

from __future__ import annotations

from .carrier import Carrier
from .database import Database
from .errors import InvalidInput, ProviderError
from .net.message import HttpRequest, Limits
from .net.wait import run
from .providers.wire import dumps, error_object, parse_object, raise_for_status
from .store.registry import embedding_model


def embed(database: Database, carrier: Carrier, content: str, input_type: str) -> str:
    """Turn a text into a vector.

    Args:
        content: the text.
        input_type: ``query`` or ``passage``; models that tell them apart are told, others ignore it.

    Returns:
        the vector as pgvector reads it: ``[0.1,-0.2,...]``.

    Raises:
        InvalidInput: no embedding model is set, or *input_type* is neither.
        ProviderError: the provider gave no vector.

    Source: OpenAI API reference, "Create embeddings".
    """
    if input_type not in ("query", "passage"):
        raise InvalidInput(f"input_type {input_type!r} is unknown", hint="Use query or passage.")
    model, endpoint = embedding_model(database)
    body = {"model": model, "input": [content], "encoding_format": "float"}
    if endpoint.options.get("input_type", False):
        body["input_type"] = input_type
    headers = [("content-type", "application/json")]
    if endpoint.api_key:
        headers.append(("authorization", f"Bearer {endpoint.api_key}"))
    request = HttpRequest(
        "POST", f"{endpoint.base_url}/embeddings", tuple(headers), dumps(body).encode()
    )
    response = run(
        carrier.exchange(request, endpoint, "wire", Limits(total_seconds=60.0)),
        database.interrupts,
    )
    if not 200 <= response.status < 300:
        error = error_object(response)
        raise_for_status(
            response, endpoint.provider, message=error.get("message"), code=error.get("code")
        )
    try:
        vector = parse_object(response, endpoint.provider)["data"][0]["embedding"]
        return "[" + ",".join(str(float(x)) for x in vector) + "]"
    except (KeyError, IndexError, TypeError, ValueError):
        raise ProviderError(
            "malformed_response",
            f"provider {endpoint.provider} answered without a vector",
            provider=endpoint.provider,
        ) from None
