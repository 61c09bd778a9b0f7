"""Embeddings over the OpenAI wire, which hosted services and the local model server speak alike."""

from __future__ import annotations

from .carrier import Carrier
from .database import Database
from .errors import InvalidInput, ProviderError
from .net.message import HttpRequest, HttpResponse, Limits
from .net.wait import Steps, run, sleep
from .providers.base import Endpoint
from .providers.openai_options import read_error
from .providers.patience import patience
from .providers.wire import dumps, parse_object
from .store.registry import embedding_model

#: Seconds that one request may take, where the provider's options do not say otherwise.
TIMEOUT_SECONDS = 60.0


def embed(database: Database, carrier: Carrier, content: str, input_type: str) -> str:
    """Turn a text into a vector.

    Args:
        content: the text.
        input_type: ``query`` or ``passage``; only models that tell them apart are told.

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
    return run(_ask(carrier, request, endpoint), database.interrupts)


def _ask(carrier: Carrier, request: HttpRequest, endpoint: Endpoint) -> Steps[str]:
    """Send the request until it is answered or given up."""
    limits = Limits(total_seconds=float(endpoint.options.get("timeout_seconds", TIMEOUT_SECONDS)))
    attempt = 0
    while True:
        attempt += 1
        try:
            response = yield from carrier.exchange(request, endpoint, "wire", limits)
            return _read(response, endpoint)
        except ProviderError as error:
            seconds = patience(error, attempt)
            if seconds is None:
                raise
            yield from sleep(seconds)


def _read(response: HttpResponse, endpoint: Endpoint) -> str:
    """Take the vector out of a response."""
    if not 200 <= response.status < 300:
        read_error(response, endpoint)
    try:
        vector = parse_object(response, endpoint.provider)["data"][0]["embedding"]
        return "[" + ",".join(str(float(x)) for x in vector) + "]"
    except (KeyError, IndexError, TypeError, ValueError):
        raise ProviderError(
            "malformed_response",
            f"provider {endpoint.provider} answered without a vector",
            status=response.status,
            provider=endpoint.provider,
        ) from None
