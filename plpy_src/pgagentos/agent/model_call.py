"""A model call with everything that can go wrong on the way: retry, wait, shorten, fall back."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Literal, NamedTuple

from ..errors import InvalidInput, ProviderError
from ..net.message import HttpRequest, HttpResponse, Limits
from ..net.wait import Steps, Wait, sleep
from ..providers.base import ChatReply, ChatRequest, Endpoint, Message, Usage
from ..providers.patience import patience
from ..providers.registry import driver
from ..providers.wire import dumps
from ..turn import Model, Turn
from .tool_call import now

Exchange = Callable[[HttpRequest, Endpoint, str, Limits], Steps[HttpResponse]]

_NOTHING = Usage()

EMPTY_REPLY = "Your last reply was empty. Answer the user, or call a tool."


class NoAnswer(Exception):
    """No model gave a usable answer.

    Args:
        error: the last one, of *model*.
        attempts: how many requests it took.
        usage: what replies of *model* that were of no use have cost all the same.

    Attributes:
        at: when it was given up.
        wasted: of the models before it, those whose replies have cost something.
    """

    def __init__(self, error: ProviderError, model: Model, attempts: int, usage: Usage) -> None:
        super().__init__(error.message)
        self.error = error
        self.model = model
        self.attempts = attempts
        self.usage = usage
        self.at = now()
        self.wasted: tuple[NoAnswer, ...] = ()

    @property
    def has_cost(self) -> bool:
        """Whether a reply has cost something, though it was of no use."""
        return bool(self.wasted) or self.usage != _NOTHING


class Answered(NamedTuple):
    """A model's reply, the model that gave it and how many requests it took.

    Args:
        wasted: the models before it whose replies were of no use and have cost something.
    """

    reply: ChatReply
    model: Model
    attempts: int
    wasted: tuple[NoAnswer, ...]


def call_model(
    turn: Turn,
    tool_choice: Literal["auto", "none"],
    note: str | None,
    exchange: Exchange,
    key: str,
    admit: Callable[[Model], Iterable[Wait]] = lambda _model: (),
) -> Steps[Answered]:
    """Ask the persona's model, and then its fallback model.

    Args:
        tool_choice: ``none`` withholds the tools.
        note: a remark of the kernel at the end of the conversation, which is not stored.
        exchange: carries one request to the provider.
        key: what the call is known by, also when it is made once more after a crash. Each of its
            requests carries it, or, where the request is another one, a longer one
            (draft-ietf-httpapi-idempotency-key-header).
        admit: waits until the fallback model may be called; the caller has waited for the first.

    Raises:
        NoAnswer: all of them failed.
    """
    attempts = 0
    wasted: tuple[NoAnswer, ...] = ()
    failure: NoAnswer | None = None
    for model in turn.context.models:
        request = ChatRequest(
            model=model.name,
            system=turn.context.system_prompt,
            messages=[*turn.messages, _note(note)] if note else turn.messages,
            tools=turn.context.tools if model.capabilities.get("tools", True) else (),
            tool_choice=tool_choice if turn.context.tools else "auto",
            params=turn.context.params,
            capabilities=model.capabilities,
        )
        if failure is not None and failure.usage != _NOTHING:
            # It has a price of its own, so it becomes a step of its own.
            wasted += (failure,)
            attempts = 0
        if failure is not None:
            yield from admit(model)
        try:
            reply, tried = yield from _attempts(request, model, exchange, key)
        except NoAnswer as error:
            error.attempts = attempts = attempts + error.attempts
            error.wasted = wasted
            failure = error
            key += "-fallback"
        else:
            return Answered(reply, model, attempts + tried, wasted)
    assert failure is not None  # a turn has at least one model
    raise failure


def _attempts(
    request: ChatRequest, model: Model, exchange: Exchange, key: str
) -> Steps[tuple[ChatReply, int]]:
    endpoint = model.endpoint
    wire = driver(endpoint.driver)
    limits = Limits(total_seconds=model.timeout_seconds)
    shortened = asked_again = False
    spent = _NOTHING
    for attempt in range(1, 100):
        try:
            sent = wire.to_wire(request, endpoint)
            sent = sent._replace(headers=(*sent.headers, ("idempotency-key", key)))
            response = yield from exchange(sent, endpoint, model.carrier, limits)
            reply = wire.from_wire(response, endpoint)
        except InvalidInput as error:  # it cannot be written for this vendor, or not be carried
            unsendable = ProviderError("invalid_request", error.message, hint=error.hint)
            unsendable.provider = endpoint.provider
            raise NoAnswer(unsendable, model, attempt, spent) from error
        except ProviderError as error:
            error.provider = endpoint.provider
            if error.kind == "context_overflow" and not shortened:
                shortened = True
                shorter = _newer_half(request.messages)
                if len(shorter) < len(request.messages):
                    request = request._replace(messages=shorter)
                    key += "-shortened"
                    continue
            seconds = patience(error, attempt)
            if seconds is None:
                raise NoAnswer(_explained(error, endpoint), model, attempt, spent) from error
            yield from sleep(seconds)
            continue
        spent = _plus(spent, reply.usage) if asked_again else reply.usage
        if _is_empty(reply):
            if asked_again:
                raise NoAnswer(
                    ProviderError(
                        "malformed_response",
                        f"model {request.model} gave an empty reply twice",
                        provider=endpoint.provider,
                    ),
                    model,
                    attempt,
                    spent,
                )
            asked_again = True
            key += "-again"
            request = request._replace(messages=[*request.messages, _note(EMPTY_REPLY)])
            continue
        return reply._replace(usage=spent) if asked_again else reply, attempt
    raise AssertionError("unreachable: every path through the loop is bounded")


def _plus(one: Usage, other: Usage) -> Usage:
    return Usage(
        input_tokens=one.input_tokens + other.input_tokens,
        output_tokens=one.output_tokens + other.output_tokens,
        cached_tokens=one.cached_tokens + other.cached_tokens,
        cache_write_tokens=one.cache_write_tokens + other.cache_write_tokens,
        reasoning_tokens=one.reasoning_tokens + other.reasoning_tokens,
    )


def _is_empty(reply: ChatReply) -> bool:
    return (
        not reply.content.strip()
        and not reply.tool_calls
        and not reply.refusal
        and reply.finish_reason in ("stop", "tool_calls", "other")
    )


def _note(text: str) -> Message:
    return Message(dumps({"role": "system", "content": text}))


def _newer_half(messages: Sequence[Message]) -> list[Message]:
    """The part of the history from the first user's message in its newer half on."""
    history = list(messages)
    for start in range(len(history) // 2, len(history)):
        if history[start].json.startswith('{"role":"user"'):
            return history[start:]
    return history


def _explained(error: ProviderError, endpoint: Endpoint) -> ProviderError:
    if error.kind == "authentication" and error.hint is None:
        error.hint = (
            f"Check the key of provider {endpoint.provider}: SELECT api_key_env, secret_name"
            f" FROM aos_meta.provider WHERE provider = '{endpoint.provider}'."
        )
    elif error.kind == "connection" and error.hint is None:
        error.hint = (
            f"Is the server at {endpoint.base_url} up and reachable from the database server?"
        )
    return error
