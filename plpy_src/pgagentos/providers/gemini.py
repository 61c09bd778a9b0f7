"""Google's Gemini API, ``models.generateContent``.

Sources: https://ai.google.dev/api/generate-content, .../gemini-api/docs/thinking,
.../gemini-api/docs/function-calling and the official SDK ``google-genai`` 3.4.

Options of the provider or the model that this driver reads:

* ``api_version``: ``v1beta`` if absent. A ``base_url`` that ends with a version wins.
* ``include_thoughts``: true asks for summaries of the thoughts; they are billed either way.
* ``safety_settings``: list, sent as it is.
* ``server_tools``: list of tools that run at Google, for example ``[{"googleSearch": {}}]``.
* ``schema_dialect``: ``openapi`` for models and gateways that know only the fields ``parameters``
  and ``responseSchema``.
* ``extra_headers``: object; it wins over the headers written here.

Capabilities that it reads: ``reasoning``, ``thinking`` (``level``, ``budget`` or ``none``; guessed
from the model's name if absent), ``efforts`` (list), ``max_output_tokens``, ``temperature``,
``thought_signatures``, ``structured_output`` and ``structured_output_with_tools`` (bool).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from ..errors import InvalidInput
from ..net.message import HttpRequest
from .base import ChatRequest, Endpoint
from .gemini_history import write_contents
from .gemini_reply import from_wire
from .schema import gemini_openapi
from .wire import clean_text, join_body

__all__ = ["from_wire", "to_wire"]

DEFAULT_API_VERSION = "v1beta"

_MODEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/@-]*")
_VERSIONED = re.compile(r"/v\d+(?:alpha|beta)?\d*$")
# Everything that calls itself neither Gemini 1 nor 2 (aliases such as gemini-flash-latest
# included) has levels of thinking and checks signatures.
_BEFORE_3 = re.compile(r"gemini-(?:[12]\b|pro$|pro-vision)|gemma|learnlm")
_EFFORTS = ("minimal", "low", "medium", "high", "xhigh")
_BUDGETS = {"none": 0, "minimal": 512, "low": 1_024, "medium": 8_192}
_MAX_BUDGET = 24_576  # what every 2.5 model takes
_MIN_PRO_BUDGET = 128  # 2.5 Pro cannot stop thinking
_MAX_STOPS = 5


def to_wire(request: ChatRequest, endpoint: Endpoint) -> HttpRequest:
    """Write *request* as ``POST /v1beta/models/...:generateContent``.

    Raises:
        InvalidInput: there is nothing to send, or the model's name cannot stand in a URL.
    """
    options, capabilities = endpoint.options, request.capabilities
    is_old = bool(_BEFORE_3.search(request.model))
    server_tools: list[dict[str, Any]] = list(options.get("server_tools") or ())
    contents = write_contents(
        request.messages,
        endpoint.provider,
        wants_signatures=bool(capabilities.get("thought_signatures", not is_old)),
        has_server_tools=bool(server_tools),
    )
    if not contents:
        raise InvalidInput("the conversation holds no text to send")
    body: dict[str, Any] = {}
    if request.system.strip():
        body["systemInstruction"] = {
            "parts": [{"text": clean_text(request.system)}],
            "role": "user",
        }
    if options.get("safety_settings"):
        body["safetySettings"] = options["safety_settings"]
    _add_tools(body, request, options, server_tools)
    body["generationConfig"] = _generation_config(
        request, options, is_old=is_old, has_tools="tools" in body
    )
    headers = {"content-type": "application/json", "accept": "application/json"}
    if endpoint.api_key:
        headers["x-goog-api-key"] = endpoint.api_key
    for name, value in (options.get("extra_headers") or {}).items():
        headers[str(name).lower()] = str(value)
    return HttpRequest(
        "POST",
        _url(request.model, endpoint),
        tuple(headers.items()),
        join_body({}, "contents", contents, body),
    )


def _url(model: str, endpoint: Endpoint) -> str:
    if not _MODEL.fullmatch(model) or ".." in model:
        raise InvalidInput(
            f"model name {model!r} cannot stand in a URL",
            hint="Use the name that https://ai.google.dev/gemini-api/docs/models gives.",
        )
    base = endpoint.base_url
    if not _VERSIONED.search(base):
        base = f"{base}/{endpoint.options.get('api_version') or DEFAULT_API_VERSION}"
    path = model if "/" in model else f"models/{model}"
    return f"{base}/{path}:generateContent"


def _is_openapi(options: Mapping[str, Any]) -> bool:
    return options.get("schema_dialect") == "openapi"


def _add_tools(
    body: dict[str, Any],
    request: ChatRequest,
    options: Mapping[str, Any],
    server_tools: list[dict[str, Any]],
) -> None:
    tools = list(server_tools)
    if request.tools:
        is_openapi = _is_openapi(options)
        declarations = [
            {
                "description": tool.description,
                "name": tool.name,
                "parameters": gemini_openapi(tool.parameters),
            }
            if is_openapi
            else {
                "description": tool.description,
                "name": tool.name,
                "parametersJsonSchema": dict(tool.parameters),
            }
            for tool in request.tools
        ]
        tools.insert(0, {"functionDeclarations": declarations})
    if tools:
        body["tools"] = tools
    # A mode without declarations is refused.
    if request.tools and request.tool_choice != "auto":
        mode = "ANY" if request.tool_choice == "required" else "NONE"
        body["toolConfig"] = {"functionCallingConfig": {"mode": mode}}


def _generation_config(
    request: ChatRequest, options: Mapping[str, Any], *, is_old: bool, has_tools: bool
) -> dict[str, Any]:
    params, capabilities = request.params, request.capabilities
    config: dict[str, Any] = {}
    if capabilities.get("temperature") is not False:
        for name, key in (("temperature", "temperature"), ("top_p", "topP")):
            if params.get(name) is not None:
                config[key] = params[name]
    if params.get("max_output_tokens"):
        able = capabilities.get("max_output_tokens") or params["max_output_tokens"]
        config["maxOutputTokens"] = min(int(params["max_output_tokens"]), int(able))
    stop = [text for text in params.get("stop") or () if text][:_MAX_STOPS]
    if stop:
        config["stopSequences"] = stop
    if params.get("seed") is not None:
        config["seed"] = params["seed"]
    if (
        params.get("response_schema")
        and capabilities.get("structured_output", True)
        # Before Gemini 3, JSON mode and function calling exclude each other (400).
        and (not has_tools or capabilities.get("structured_output_with_tools", not is_old))
    ):
        config["responseMimeType"] = "application/json"
        if _is_openapi(options):
            config["responseSchema"] = gemini_openapi(params["response_schema"])
        else:
            config["responseJsonSchema"] = params["response_schema"]
    thinking = _thinking(request, options, is_old=is_old)
    if thinking:
        config["thinkingConfig"] = thinking
    return config


def _thinking(request: ChatRequest, options: Mapping[str, Any], *, is_old: bool) -> dict[str, Any]:
    """Translate ``reasoning_effort``: a level since Gemini 3, a budget of tokens before."""
    effort, capabilities = request.params.get("reasoning_effort"), request.capabilities
    style = capabilities.get("thinking")
    if style is None:
        is_able = capabilities.get("reasoning", not is_old)
        style = ("budget" if is_old else "level") if is_able else "none"
    if style == "none":
        return {}
    thinking: dict[str, Any] = {}
    if options.get("include_thoughts"):
        thinking["includeThoughts"] = True
    if effort is None:
        return thinking
    if style == "level":
        thinking["thinkingLevel"] = _level(str(effort), capabilities)
    else:
        budget = _BUDGETS.get(str(effort), _MAX_BUDGET)
        if "pro" in request.model:
            budget = max(budget, _MIN_PRO_BUDGET)
        thinking["thinkingBudget"] = budget
    return thinking


def _level(effort: str, capabilities: Mapping[str, Any]) -> str:
    """Return the highest level that the model knows and that is not above the wish."""
    known = [level for level in _EFFORTS if level in capabilities.get("efforts", _EFFORTS[:4])]
    wish = 0 if effort == "none" else len(_EFFORTS) - 1
    if effort in _EFFORTS:
        wish = _EFFORTS.index(effort)
    below = [level for level in known if _EFFORTS.index(level) <= wish]
    return (below[-1] if below else (known or ["low"])[0]).upper()
