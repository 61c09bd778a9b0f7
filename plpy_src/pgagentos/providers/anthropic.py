"""Anthropic's Messages API, versions 2023-06-01 and 2026-10-21.

Sources: https://platform.claude.com/docs/en/api/messages, .../api/errors, .../api/versioning and
the types of the official SDK ``anthropic`` 2.12.

Options of the provider or the model that this driver reads:

* ``anthropic_version``: value of the version header, ``2023-06-01`` if absent.
* ``auth``: ``x-api-key`` (the default before version 2026-10-21) or ``bearer`` (since then).
* ``anthropic_beta``: a beta name or a list of them.
* ``prompt_cache``: true sets three cache points: tools, system prompt, last user message.
* ``cache_ttl``: ``5m`` or ``1h``.
* ``max_nonstreaming_tokens``: raises the limit :data:`MAX_NONSTREAMING_TOKENS`.
* ``server_tools``: list of declarations of tools that run at Anthropic, sent as they are.
* ``extra_headers``: object; it wins over the headers written here.

Capabilities that it reads: ``max_output_tokens``, ``temperature``, ``reasoning``, ``thinking``
(``adaptive``, ``budget`` or ``none``; guessed from the model's name if absent), ``efforts`` (list),
``thinking_disabled`` (false: it cannot stop thinking), ``forced_tool_choice``,
``structured_output`` and ``mid_conversation_system`` (bool).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from ..errors import InvalidInput
from ..net.message import HttpRequest
from .anthropic_history import write_history
from .anthropic_reply import from_wire
from .anthropic_schema import closed_schema
from .base import ChatRequest, Endpoint
from .wire import clean_text, dumps, join_body

__all__ = ["from_wire", "to_wire"]

DEFAULT_VERSION = "2023-06-01"
#: Since this version the API refuses sampling parameters and the SDK sends a bearer token.
NO_SAMPLING_VERSION = "2026-10-21"
#: A reply that may be longer can take more than ten minutes, and Anthropic asks for streaming. We
#: do not stream, so more is never asked for. The SDK draws the same line: 3600 s x n / 128000.
MAX_NONSTREAMING_TOKENS = 21_333
#: ``max_tokens`` is required; this is asked for when nobody says how long a reply may be.
DEFAULT_MAX_TOKENS = 8_192
#: The API's smallest thinking budget; it must also stay below ``max_tokens``.
MIN_BUDGET = 1_024

_BUDGETS = {"minimal": 1_024, "low": 4_096, "medium": 8_192, "high": 16_384}
_EFFORTS = ("low", "medium", "high", "xhigh", "max")
# Guesses for models of which the registry does not know it. Claude 4.5 and older think with a
# budget, later ones adaptively; since 4.7 sampling parameters are refused
# (.../build-with-claude/thinking, .../about-claude/models/migration-guide).
_BUDGET_MODEL = re.compile(r"claude-(?:3-7|(?:opus|sonnet|haiku)-4(?:-[0-5])?(?:-\d{8}|@|$))")
_SAMPLING_MODEL = re.compile(
    r"claude-(?:[23]\b|instant|(?:opus|sonnet|haiku)-4(?:-[0-6])?(?:-\d{8}|@|$))"
)


def to_wire(request: ChatRequest, endpoint: Endpoint) -> HttpRequest:
    """Write *request* as ``POST /v1/messages``.

    Raises:
        InvalidInput: there is nothing to send, or an option has an unknown value.
    """
    options, capabilities = endpoint.options, request.capabilities
    version = str(options.get("anthropic_version") or DEFAULT_VERSION)
    cache = _cache_control(options)
    server_tools: list[dict[str, Any]] = list(options.get("server_tools") or ())
    history = write_history(
        request.messages,
        endpoint.provider,
        server_tools=[str(tool.get("name")) for tool in server_tools],
        takes_system=bool(capabilities.get("mid_conversation_system")),
        cache_control=dumps(cache) if cache else None,
    )
    if not history.fragments:
        raise InvalidInput("the conversation holds no text to send")
    body: dict[str, Any] = {"model": request.model, "max_tokens": _max_tokens(request, options)}
    _add_thinking(body, request, is_loop_unthought=history.is_loop_unthought)
    _add_sampling(body, request, version)
    if request.system.strip():
        system = clean_text(request.system)
        body["system"] = (
            [{"type": "text", "text": system, "cache_control": cache}] if cache else system
        )
    _add_tools(body, request, server_tools, history.tool_names, cache)
    return HttpRequest(
        "POST",
        _url(endpoint.base_url),
        _headers(endpoint, version),
        join_body(body, "messages", history.fragments),
    )


def _url(base_url: str) -> str:
    return f"{base_url}/messages" if base_url.endswith("/v1") else f"{base_url}/v1/messages"


def _headers(endpoint: Endpoint, version: str) -> tuple[tuple[str, str], ...]:
    headers = {
        "content-type": "application/json",
        "accept": "application/json",
        "anthropic-version": version,
    }
    auth = endpoint.options.get("auth") or (
        "bearer" if version >= NO_SAMPLING_VERSION else "x-api-key"
    )
    if auth not in ("bearer", "x-api-key"):
        raise InvalidInput(
            f"option auth of provider {endpoint.provider} is {auth!r}",
            hint="Use x-api-key or bearer.",
        )
    if endpoint.api_key and auth == "bearer":
        headers["authorization"] = f"Bearer {endpoint.api_key}"
    elif endpoint.api_key:
        headers["x-api-key"] = endpoint.api_key
    beta = endpoint.options.get("anthropic_beta")
    if beta:
        headers["anthropic-beta"] = beta if isinstance(beta, str) else ",".join(beta)
    for name, value in (endpoint.options.get("extra_headers") or {}).items():
        headers[str(name).lower()] = str(value)
    return tuple(headers.items())


def _cache_control(options: Mapping[str, Any]) -> dict[str, str] | None:
    if not options.get("prompt_cache"):
        return None
    ttl = options.get("cache_ttl")
    return {"type": "ephemeral", "ttl": str(ttl)} if ttl else {"type": "ephemeral"}


def _max_tokens(request: ChatRequest, options: Mapping[str, Any]) -> int:
    """Return what was asked for, else what the model can, within what needs no streaming."""
    limit = int(options.get("max_nonstreaming_tokens") or MAX_NONSTREAMING_TOKENS)
    able = request.capabilities.get("max_output_tokens")
    asked = request.params.get("max_output_tokens") or able or DEFAULT_MAX_TOKENS
    return min(int(asked), int(able or asked), limit)


def _add_thinking(body: dict[str, Any], request: ChatRequest, *, is_loop_unthought: bool) -> None:
    """Translate ``reasoning_effort``; leave it out where the model takes no such wish."""
    effort, capabilities = request.params.get("reasoning_effort"), request.capabilities
    style = capabilities.get("thinking")
    if style is None:
        if not capabilities.get("reasoning", False):
            return
        style = "budget" if _BUDGET_MODEL.search(request.model) else "adaptive"
    if effort is None or style == "none":
        return
    if style == "adaptive":
        if effort == "none":
            # Some models cannot stop thinking; they refuse "disabled" but take the lowest effort.
            if capabilities.get("thinking_disabled", True):
                body["thinking"] = {"type": "disabled"}
                return
            effort = "low"
        body["thinking"] = {"type": "adaptive"}
        body["output_config"] = {"effort": _effort(str(effort), capabilities)}
    elif effort != "none" and not is_loop_unthought:
        budget = min(_BUDGETS.get(str(effort), 16_384), body["max_tokens"] - MIN_BUDGET)
        if budget >= MIN_BUDGET:
            body["thinking"] = {"type": "enabled", "budget_tokens": budget}


def _effort(effort: str, capabilities: Mapping[str, Any]) -> str:
    """Return the highest effort that the model knows and that is not above the wish."""
    known = [level for level in _EFFORTS if level in capabilities.get("efforts", _EFFORTS)]
    wish = _EFFORTS.index(effort) if effort in _EFFORTS else 0
    below = [level for level in known if _EFFORTS.index(level) <= wish]
    return below[-1] if below else (known or ["low"])[0]


def _add_sampling(body: dict[str, Any], request: ChatRequest, version: str) -> None:
    params = request.params
    stop = [text for text in params.get("stop") or () if text.strip()]  # the API refuses blank ones
    if stop:
        body["stop_sequences"] = stop
    if params.get("response_schema") and request.capabilities.get("structured_output", True):
        body.setdefault("output_config", {})["format"] = {
            "type": "json_schema",
            "schema": closed_schema(params["response_schema"]),
        }
    is_thinking = body.get("thinking", {}).get("type") in ("enabled", "adaptive")
    if is_thinking or version >= NO_SAMPLING_VERSION or not _takes_sampling(request):
        return
    if params.get("temperature") is not None:
        body["temperature"] = min(float(params["temperature"]), 1.0)
    elif params.get("top_p") is not None:  # since Claude 4.1 only one of the two is allowed
        body["top_p"] = params["top_p"]


def _takes_sampling(request: ChatRequest) -> bool:
    if request.capabilities.get("temperature") is False:
        return False
    return "claude-" not in request.model or bool(_SAMPLING_MODEL.search(request.model))


def _add_tools(
    body: dict[str, Any],
    request: ChatRequest,
    server_tools: list[dict[str, Any]],
    called: tuple[str, ...],
    cache: dict[str, str] | None,
) -> None:
    """Declare the tools; a history with calls needs declarations even if none may be called."""
    tools: list[dict[str, Any]] = [
        {
            "name": tool.name,
            "description": tool.description,
            "input_schema": {"type": "object", **tool.parameters},
        }
        for tool in request.tools
    ] + server_tools
    choice = request.tool_choice
    if not tools:
        tools = [
            {
                "name": name,
                "description": "Not available any more.",
                "input_schema": {"type": "object"},
            }
            for name in called
        ]
        choice = "none"
    if not tools:
        return
    if cache:
        tools[-1] = {**tools[-1], "cache_control": cache}
    body["tools"] = tools
    if choice == "required" and (
        body.get("thinking", {}).get("type") == "enabled"
        or request.capabilities.get("forced_tool_choice") is False
    ):
        choice = "auto"  # the API refuses to force a call here
    tool_choice: dict[str, Any] = {"type": "any" if choice == "required" else choice}
    if request.params.get("parallel_tool_calls") is False and choice != "none":
        tool_choice["disable_parallel_tool_use"] = True
    if tool_choice != {"type": "auto"}:
        body["tool_choice"] = tool_choice
