"""What both OpenAI drivers share: address and headers, parameters, errors, token counts."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, NoReturn

from ..errors import InvalidInput, ProviderError
from ..net.message import HttpRequest, HttpResponse
from .base import ChatReply, ChatRequest, Endpoint, Tool
from .schema import openai_strict, with_object_root
from .wire import error_object, raise_for_status

_EFFORTS = ("none", "minimal", "low", "medium", "high", "xhigh", "max")
#: Codes of a refusal that arrives as an error (Azure's filter; OpenAI's usage policies).
_FILTER_CODES = {"content_filter", "content_policy_violation", "ResponsibleAIPolicyViolation"}
_NEEDS_RESPONSES = re.compile(r"gpt-(?:5\.(?:[4-9]|\d\d)|[6-9]|\d\d)")


def is_openai(endpoint: Endpoint) -> bool:
    """Tell whether OpenAI itself (or Azure's copy) answers, not a compatible server."""
    host = endpoint.base_url.partition("://")[2].partition("/")[0].partition(":")[0]
    return endpoint.provider in ("openai", "azure") or host.endswith(
        ("api.openai.com", ".openai.azure.com")
    )


def post(endpoint: Endpoint, path: str, body: bytes) -> HttpRequest:
    """Write the request line and the headers.

    Options: ``query`` (object, for example Azure's ``api-version``), ``auth_header`` (default
    ``authorization`` with a bearer token; any other name carries the bare key),
    ``extra_headers`` (object; it wins over ours).
    """
    url = endpoint.base_url + path
    query = endpoint.options.get("query")
    if query:
        from urllib.parse import urlencode  # few endpoints need it

        url += "?" + urlencode(query)
    headers = {"content-type": "application/json", "accept": "application/json"}
    if endpoint.api_key:
        name = str(endpoint.options.get("auth_header", "authorization")).lower()
        bearer = "Bearer " if name == "authorization" else ""
        headers[name] = bearer + endpoint.api_key
    for name, value in (endpoint.options.get("extra_headers") or {}).items():
        headers[str(name).lower()] = str(value)
    return HttpRequest("POST", url, tuple(headers.items()), body)


# --- parameters --------------------------------------------------------------------------------


def effort_of(request: ChatRequest) -> str | None:
    """Return the reasoning effort to send, or None.

    The nearest effort is taken when the capability ``efforts`` lists what the model
    accepts; at equal distance the lower one.
    """
    effort = request.params.get("reasoning_effort")
    if effort is None or not request.capabilities.get("reasoning"):
        return None
    accepted = request.capabilities.get("efforts")
    if accepted and effort not in accepted and effort in _EFFORTS:
        wanted = _EFFORTS.index(effort)
        ranked = [_EFFORTS.index(name) for name in accepted if name in _EFFORTS]
        if ranked:
            return _EFFORTS[min(ranked, key=lambda rank: (abs(rank - wanted), rank))]
    return str(effort)


def sampling_of(request: ChatRequest) -> dict[str, Any]:
    """Return ``temperature`` and ``top_p``, or nothing for a model that refuses them.

    A model refuses them when the registry says so (``temperature`` false), and while it reasons.
    """
    if request.capabilities.get("temperature") is False:
        return {}
    if effort_of(request) not in (None, "none"):
        return {}
    return {
        name: request.params[name]
        for name in ("temperature", "top_p")
        if request.params.get(name) is not None
    }


def tools_of(request: ChatRequest, endpoint: Endpoint) -> tuple[Tool, ...]:
    """Return the tools to declare, in the caller's order.

    A server that ignores ``tool_choice`` (option ``tool_choice`` false) gets no tools when none
    may be called.

    Raises:
        InvalidInput: the model cannot call tools.
    """
    tools = tuple(request.tools)
    if not tools or (request.tool_choice == "none" and not takes_tool_choice(endpoint)):
        return ()
    if request.capabilities.get("tools") is False and not is_prompted(endpoint):
        raise InvalidInput(
            f"model {request.model} cannot call tools",
            hint='Set the model\'s option tool_mode to "json_schema", or give the agent no tools.',
        )
    return tools


def takes_tool_choice(endpoint: Endpoint) -> bool:
    """Tell whether the server accepts a forced or forbidden tool choice."""
    return endpoint.options.get("tool_choice", True) is not False


def is_prompted(endpoint: Endpoint) -> bool:
    """Tell whether tools are described in the prompt instead of declared."""
    return endpoint.options.get("tool_mode") == "json_schema"


def tool_settings(request: ChatRequest, endpoint: Endpoint) -> dict[str, Any]:
    """Return ``tool_choice`` and ``parallel_tool_calls``; call it only when tools are sent."""
    settings: dict[str, Any] = {}
    if request.tool_choice != "auto" and takes_tool_choice(endpoint):
        settings["tool_choice"] = request.tool_choice
    if request.params.get("parallel_tool_calls") is not None:
        settings["parallel_tool_calls"] = request.params["parallel_tool_calls"]
    return settings


def function_of(tool: Tool, endpoint: Endpoint) -> dict[str, Any]:
    """Describe a tool, strictly where its schema allows that without a change of meaning.

    Option ``strict_tools``: default true for OpenAI itself, false for compatible servers, some of
    which refuse the member.
    """
    function: dict[str, Any] = {"name": tool.name, "description": tool.description}
    strict = None
    if endpoint.options.get("strict_tools", is_openai(endpoint)):
        strict = openai_strict(tool.parameters)
        function["strict"] = strict is not None
    function["parameters"] = strict or with_object_root(tool.parameters)
    return function


def schema_format(request: ChatRequest, endpoint: Endpoint) -> dict[str, Any]:
    """Return name, schema and strictness of the answer that is asked for."""
    schema = request.params["response_schema"]
    strict = None
    if endpoint.options.get("strict_schema", True):
        strict = openai_strict(schema)
    return {"name": "answer", "schema": strict or dict(schema), "strict": strict is not None}


def refuse_reasoning_with_tools(request: ChatRequest, endpoint: Endpoint) -> None:
    """Stop a request that Chat Completions answers with 400.

    Raises:
        InvalidInput: tools and reasoning together on GPT-5.4 or later.
    """
    if (
        request.tools
        and is_openai(endpoint)
        and _NEEDS_RESPONSES.match(request.model)
        and effort_of(request) not in (None, "none")
        and not endpoint.options.get("tools_with_reasoning")
    ):
        raise InvalidInput(
            f"Chat Completions does not serve tools together with reasoning on {request.model}",
            hint="Use the driver openai_responses for this model, or set reasoning_effort to "
            '"none". If your route serves both, set the option tools_with_reasoning to true.',
        )


# --- responses ---------------------------------------------------------------------------------


def count(value: Any) -> int:
    """Read a number of tokens; whatever is not one counts as 0."""
    return value if type(value) is int and 0 < value < 2**31 else 0


def part(value: Any, name: str) -> Mapping[str, Any]:
    """Return the object *name* in *value*, or an empty one."""
    inner = value.get(name) if isinstance(value, dict) else None
    return inner if isinstance(inner, dict) else {}


def read_error(response: HttpResponse, endpoint: Endpoint) -> ChatReply:
    """Read a response that is not a success.

    Returns:
        A reply without content for a prompt that a content filter blocked (Azure answers that with
        400): the same outcome as a refusal in a 200.

    Raises:
        ProviderError: everything else.
    """
    return read_error_object(error_object(response), response, endpoint)


def read_error_object(
    body: Mapping[str, Any], response: HttpResponse, endpoint: Endpoint
) -> ChatReply:
    """As :func:`read_error`, for the error object of a body that has been parsed."""
    error = body.get("error", body)
    if not isinstance(error, dict):
        error = {"message": error}
    message = error.get("message") or error.get("detail")
    codes = [
        code
        for code in (error.get("code"), error.get("type"), error.get("status"))
        if isinstance(code, str)
    ]
    if _FILTER_CODES.isdisjoint((*codes, part(error, "innererror").get("code"))):
        raise_for_status(
            response,
            endpoint.provider,
            message=str(message) if message is not None else None,
            code=codes[0] if codes else None,
            api_key=endpoint.api_key,
        )
    return ChatReply(
        content="", finish_reason="content_filter", refusal=str(message or "content filter")
    )


def malformed(endpoint: Endpoint, what: str) -> NoReturn:
    """Raise the error for a 200 that is not what the API documents."""
    raise ProviderError(
        "malformed_response",
        what,
        status=200,
        provider=endpoint.provider,
        hint="Check that the provider's driver fits the API that answers at its base_url.",
    )
