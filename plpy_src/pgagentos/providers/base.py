"""The neutral chat request and reply, and the shape of a driver.

Neutral message format (the text of column ``message`` in ``aos_core.step``, the elements of
``messages`` in the payload for outside workers):

* ``{"role":"user","content":"..."}``
* ``{"role":"assistant","content":"...","tool_calls":[{"call_id":"...","name":"...",
  "arguments":{...}}]}`` -- ``tool_calls`` is absent when there are none; ``arguments`` is an
  object, or the model's own text when that was not a JSON object
* ``{"role":"tool","call_id":"...","content":"...","is_error":true}`` -- ``is_error`` is absent when
  the call succeeded
* ``{"role":"system","content":"..."}`` -- a note of the kernel in the middle of the conversation
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, Literal, NamedTuple, Protocol

from ..net.message import HttpRequest, HttpResponse

#: An empty mapping that nobody can fill.
NOTHING: Mapping[str, Any] = MappingProxyType({})

FinishReason = Literal["stop", "tool_calls", "length", "content_filter", "pause", "other"]


class Message(NamedTuple):
    """One message of the history as it is stored.

    Args:
        json: the neutral message as compact JSON text.
        vendor: JSON text of the opaque blocks that came with it, or None. It is an object
            ``{"driver": name, "provider": name, "model": name, ...}``; only the driver that wrote
            it looks further in.
    """

    json: str
    vendor: str | None = None


class ToolCall(NamedTuple):
    """A call that the model asks for.

    Args:
        call_id: unique within the turn; made by us when the vendor gave none.
        name: name of the tool.
        arguments: the arguments as JSON text, exactly as the vendor gave them (an empty text
            becomes ``{}``); it may be invalid JSON.
    """

    call_id: str
    name: str
    arguments: str


class Tool(NamedTuple):
    """A tool that the model may call. *parameters* is a JSON Schema of type object."""

    name: str
    description: str
    parameters: Mapping[str, Any]


class Endpoint(NamedTuple):
    """Where and as whom to call.

    Args:
        provider: the provider's name in ``aos_meta.provider``.
        driver: ``openai_chat``, ``openai_responses``, ``anthropic``, ``gemini`` or ``ollama``.
        base_url: without a slash at its end, for example ``https://api.openai.com/v1``.
        api_key: None for servers that want none.
        options: the provider's and the model's options, the model's winning. Known keys are listed
            in docs/providers.md; drivers ignore what they do not know.
        needs_key: without *api_key* it is not called.
    """

    provider: str
    driver: str
    base_url: str
    api_key: str | None = None
    options: Mapping[str, Any] = NOTHING
    needs_key: bool = False

    def __repr__(self) -> str:
        """Leave the key out: a repr ends up in messages and logs."""
        return f"Endpoint({self.provider!r}, {self.driver!r}, {self.base_url!r})"


class ChatRequest(NamedTuple):
    """Everything a model call is made of.

    Args:
        model: the vendor's name of the model.
        system: system prompt, may be empty.
        messages: the history, oldest first.
        tools: in a stable order (prompt caches match prefixes).
        tool_choice: ``auto``, ``none`` or ``required``.
        params: neutral parameters: ``max_output_tokens``, ``temperature``, ``top_p``, ``stop``,
            ``seed``, ``reasoning_effort`` (none, minimal, low, medium, high, xhigh, max),
            ``response_schema`` (JSON Schema), ``parallel_tool_calls`` (bool). A driver leaves out
            what its model refuses.
        capabilities: the model's flags from the registry, for example
            ``{"tools": true, "reasoning": true, "temperature": false}``.
    """

    model: str
    system: str
    messages: Sequence[Message]
    tools: Sequence[Tool] = ()
    tool_choice: Literal["auto", "none", "required"] = "auto"
    params: Mapping[str, Any] = NOTHING
    capabilities: Mapping[str, Any] = NOTHING


class Usage(NamedTuple):
    """Tokens of one call, in one meaning for all vendors.

    Args:
        input_tokens: all tokens of the prompt, cached ones and cache writes included.
        output_tokens: all tokens generated, reasoning included.
        cached_tokens: the part of *input_tokens* that was read from the vendor's cache.
        cache_write_tokens: the part of *input_tokens* that was written to it.
        reasoning_tokens: the part of *output_tokens* that was reasoning.
    """

    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0
    cache_write_tokens: int = 0
    reasoning_tokens: int = 0


class ChatReply(NamedTuple):
    """A model's reply.

    Args:
        content: the text, may be empty.
        tool_calls: in the vendor's order.
        finish_reason: ``length`` means cut off: its tool calls must not be executed.
        usage: see :class:`Usage`.
        vendor: what the vendor must get back byte for byte when this reply is part of a later
            request (signatures, reasoning items, ...), or None when there is nothing of that kind.
        refusal: the model's own words when it refused, else None.
        response_id: the vendor's id of the reply, for logs.
        model: the model that the vendor says it used.
        finish_detail: the vendor's own words for the end when finish_reason is ``other``, for logs.
    """

    content: str
    tool_calls: tuple[ToolCall, ...] = ()
    finish_reason: FinishReason = "stop"
    usage: Usage = Usage()
    vendor: Mapping[str, Any] | None = None
    refusal: str | None = None
    response_id: str | None = None
    model: str | None = None
    finish_detail: str | None = None


class Driver(Protocol):
    """What a driver module provides. Both functions are pure: no clock, no network, no globals."""

    def to_wire(self, request: ChatRequest, endpoint: Endpoint) -> HttpRequest:
        """Write *request* for the vendor.

        Raises:
            InvalidInput: the request cannot be expressed for this vendor.
        """

    def from_wire(self, response: HttpResponse, endpoint: Endpoint) -> ChatReply:
        """Read the vendor's response.

        Raises:
            ProviderError: for every status other than 2xx, and for a body that is not what the
                vendor documents.
        """
