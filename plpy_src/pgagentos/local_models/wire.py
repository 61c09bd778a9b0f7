"""The four wires that share the port: which path speaks which, and how each one reports errors."""

from __future__ import annotations

import re
from typing import Any, Literal

Wire = Literal["openai", "anthropic", "gemini", "ollama"]

_GEMINI_PATH = re.compile(r"/v1(?:beta|alpha)\w*/|/v1/models/[^/]+:")

#: HTTP status -> ``error.type`` (Anthropic API, "Errors").
_ANTHROPIC_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    529: "overloaded_error",
}
#: HTTP status -> canonical status (google.rpc.Code).
_GEMINI_STATUSES = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    405: "UNIMPLEMENTED",
    413: "INVALID_ARGUMENT",
    429: "RESOURCE_EXHAUSTED",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}


class WireError(Exception):
    """A request that is answered with an error, in the shape of the wire it came on.

    Args:
        status: HTTP status.
        message: one sentence for the client's developer.
        retry_after: value of a ``Retry-After`` header to pass on, or None.
    """

    def __init__(self, status: int, message: str, retry_after: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.retry_after = retry_after


def wire_of(path: str, headers: Any = None) -> Wire:
    """Tell the wire of a request.

    ``/v1/models`` is spoken by three of them; there the vendors' own headers decide.

    Args:
        path: without the query.
        headers: a mapping whose ``get`` ignores case, or None.
    """
    if path == "/" or path.startswith("/api/"):
        return "ollama"
    if _GEMINI_PATH.match(path):
        return "gemini"
    if path.startswith("/v1/messages"):
        return "anthropic"
    if headers is not None and path.startswith("/v1/models"):
        if headers.get("x-goog-api-key"):
            return "gemini"
        if headers.get("anthropic-version"):
            return "anthropic"
    return "openai"


def error_body(wire: Wire, status: int, message: str) -> dict[str, Any]:
    """Return the JSON body that *wire*'s own servers send with *status*."""
    match wire:
        case "openai":
            kind = "invalid_request_error" if status < 500 else "server_error"
            return {"error": {"message": message, "type": kind, "param": None, "code": None}}
        case "anthropic":
            fallback = "invalid_request_error" if status < 500 else "api_error"
            kind = _ANTHROPIC_TYPES.get(status, fallback)
            return {"type": "error", "error": {"type": kind, "message": message}}
        case "gemini":
            fallback = "INVALID_ARGUMENT" if status < 500 else "INTERNAL"
            name = _GEMINI_STATUSES.get(status, fallback)
            return {"error": {"code": status, "message": message, "status": name}}
        case "ollama":
            return {"error": message}
