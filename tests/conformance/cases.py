"""The shape of a provider's cases. A module ``cases_<driver>.py`` beside this one is found by name.

It defines:

* ``DRIVER``: the driver's name
* ``BASE_PATH``: what the base URL has after host and port, for example ``/v1``
* ``AUTH_HEADERS``: the headers that carry the key, compared with what the SDK sends
* ``SDK_ANSWER``: a body that satisfies the SDK's parser
* ``REQUESTS``, ``REPLIES``, ``ERRORS``: tuples of the classes below
* ``as_documented`` (optional): writes the SDK's body with the documented names, where the SDK uses
  others that the API takes too
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

from pgagentos.net.message import HttpResponse
from pgagentos.providers.base import ChatReply, ChatRequest, Endpoint, Message

HERE = Path(__file__).parent
API_KEY = "sk-test-0123456789abcdefghij"


@dataclass(frozen=True)
class RequestCase:
    """A request that must leave as the official SDK's own.

    Args:
        name: what is asked, as words.
        request: the neutral request.
        sdk: calls the official SDK with (base URL, key); must produce the same request.
        options: the endpoint's options.
        provider: name of the provider; default: the driver's module decides by its name.
    """

    name: str
    request: ChatRequest
    sdk: Callable[[str, str], object]
    options: Mapping[str, Any] = field(default_factory=dict)
    provider: str = "test"


@dataclass(frozen=True)
class ReplyCase:
    """A response in the shape that the vendor documents, and what it means.

    Args:
        name: name of the case, and of ``recorded/<driver>/<name>.json``.
        expected: the whole neutral reply.
        options: the endpoint's options.
    """

    name: str
    expected: ChatReply
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class ErrorCase:
    """An error response and the error of ours that it becomes.

    Args:
        name: what went wrong, as words.
        status: HTTP status.
        body: an object becomes JSON, a text is sent as it is.
        kind: expected kind of the ProviderError.
        headers: the response's headers beside the content type.
        code: expected code.
        retry_after: expected seconds.
        is_retryable: expected; None: as the kind says.
        content_type: of the response.
    """

    name: str
    status: int
    body: Any
    kind: str
    headers: Mapping[str, str] = field(default_factory=dict)
    code: str | None = None
    retry_after: float | None = None
    is_retryable: bool | None = None
    content_type: str = "application/json"

    def response(self) -> HttpResponse:
        """Write the response."""
        text = self.body if isinstance(self.body, str) else json.dumps(self.body)
        headers = {"content-type": self.content_type, **self.headers}
        return HttpResponse(self.status, headers, text.encode())


def load_all() -> list[ModuleType]:
    """Import every module of cases."""
    return [import_module(f"conformance.{path.stem}") for path in sorted(HERE.glob("cases_*.py"))]


def recorded(driver: str, name: str) -> HttpResponse:
    """Read a recorded response of status 200."""
    body = (HERE / "recorded" / driver / f"{name}.json").read_bytes()
    return HttpResponse(200, {"content-type": "application/json"}, body)


def endpoint(module: ModuleType, base_url: str, options: Mapping[str, Any], provider: str = "test"):
    """Make the endpoint of a case.

    Args:
        module: the module of cases.
        base_url: with or without the module's base path.
    """
    return Endpoint(
        provider=provider,
        driver=module.DRIVER,
        base_url=base_url + module.BASE_PATH,
        api_key=API_KEY,
        options=options,
    )


def message(neutral: Mapping[str, Any], vendor: Mapping[str, Any] | None = None) -> Message:
    """Write a message as it is stored."""

    def compact(value: Mapping[str, Any]) -> str:
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"))

    return Message(compact(neutral), compact(vendor) if vendor is not None else None)


def user(content: str) -> Message:
    """Write a user's message."""
    return message({"role": "user", "content": content})


def assistant(
    content: str, *calls: tuple[str, str, Any], vendor: Mapping[str, Any] | None = None
) -> Message:
    """Write a model's message; each call is (id, name, arguments)."""
    neutral: dict[str, Any] = {"role": "assistant", "content": content}
    if calls:
        neutral["tool_calls"] = [
            {"call_id": call_id, "name": name, "arguments": arguments}
            for call_id, name, arguments in calls
        ]
    return message(neutral, vendor)


def result(call_id: str, content: str, *, is_error: bool = False) -> Message:
    """Write a tool's result."""
    neutral: dict[str, Any] = {"role": "tool", "call_id": call_id, "content": content}
    if is_error:
        neutral["is_error"] = True
    return message(neutral)


def note(content: str) -> Message:
    """Write a note of the kernel."""
    return message({"role": "system", "content": content})
