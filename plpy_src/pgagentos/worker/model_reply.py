"""One model call of a turn: from the payload that claim_turn returns to what is recorded of it."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any, NamedTuple, cast

from ..agent.model_call import NoAnswer, call_model
from ..agent.tool_call import arguments_json
from ..errors import ProviderError
from ..net.message import HttpRequest, HttpResponse, Limits
from ..net.wait import Steps, Wait
from ..providers.base import Endpoint, Message, Tool, Usage
from ..providers.wire import dumps
from ..turn import Model, Turn
from .model_clients import ModelClients

#: Seconds that one request may take, where the provider's options do not say otherwise.
TIMEOUT_SECONDS = 600.0
#: Yielded while a request is on its way; :func:`_drive` knows which.
_REQUEST = Wait(-1, 0, float("inf"))

State = Mapping[str, Any]


class Reply(NamedTuple):
    """What ``aos_agent.record_model_reply`` takes."""

    reply: dict[str, Any]
    usage: dict[str, Any]


class Failure(Exception):
    """No model gave a usable answer.

    Args:
        error: what ``aos_agent.fail_turn`` takes.
    """

    def __init__(self, error: dict[str, Any]) -> None:
        super().__init__(error["message"])
        self.error = error


async def ask_model(state: State, clients: ModelClients, environment: Mapping[str, str]) -> Reply:
    """Call the model of a turn that awaits it, and its fallback model when that fails.

    The retries, the waits between them and all else that can go wrong are those of the turns that
    the database drives: :func:`pgagentos.agent.model_call.call_model` does it here, too.

    Args:
        state: with the status ``awaiting_model``, as claim_turn and record_model_reply return it.
        environment: where the keys are, under the names of ``api_key_env``.

    Raises:
        Failure: all models failed.
    """
    requests = _Requests(clients)
    context = SimpleNamespace(
        models=tuple(_model(model, environment) for model in state["models"]),
        system_prompt=state["system_prompt"],
        # A vendor may refuse a history with calls in a request without tools: at the last call of
        # a turn they are sent along, and tool_choice forbids them.
        tools=tuple(
            Tool(tool["name"], tool["description"], tool["parameters"])
            for tool in state["tools"] or state["withheld_tools"]
        ),
        params=state["params"],
    )
    turn = cast(Turn, SimpleNamespace(context=context, messages=_messages(state)))
    began = time.monotonic()
    steps = call_model(
        turn, state["tool_choice"], state["note"], requests.exchange, state["idempotency_key"]
    )
    try:
        answered = await _drive(steps, requests)
    except NoAnswer as failure:
        error = _failed(failure, time.monotonic() - began)
        error["retry_after"] = failure.error.retry_after
        error["wasted"] = [_failed(wasted) for wasted in failure.wasted]
        raise Failure(error) from failure
    reply = answered.reply
    return Reply(
        {
            "content": reply.content,
            "tool_calls": [
                {
                    "call_id": call.call_id,
                    "name": call.name,
                    # As text: JSON would lose the order of the members and the form of numbers.
                    "arguments": _text_of(arguments_json(call)),
                }
                for call in reply.tool_calls
            ],
            "finish_reason": reply.finish_reason,
            "refusal": reply.refusal,
            "vendor": None if reply.vendor is None else dumps(reply.vendor),
            "model": answered.model.model_id,
            "attempts": answered.attempts,
            "seconds": round(time.monotonic() - began, 6),
            "wasted": [_failed(wasted) for wasted in answered.wasted],
            "idempotency_key": state["idempotency_key"],
        },
        _usage(reply.usage),
    )


def _text_of(arguments: str) -> str:
    """The model's own text when that was no JSON object, else the object's."""
    return str(json.loads(arguments)) if arguments.startswith('"') else arguments


def _failed(failure: NoAnswer, seconds: float | None = None) -> dict[str, Any]:
    """A model that gave no usable answer."""
    error: ProviderError = failure.error
    return {
        "kind": error.kind,
        "message": error.message,
        "hint": error.hint,
        "provider": error.provider,
        "status": error.status,
        "code": error.code,
        "model": failure.model.model_id,
        "attempts": failure.attempts,
        "usage": _usage(failure.usage),
        "seconds": None if seconds is None else round(seconds, 6),
    }


def _usage(usage: Usage) -> dict[str, Any]:
    return dict(usage._asdict())


def _messages(state: State) -> list[Message]:
    """The history: byte for byte as it is stored where that matters, with the vendors' blocks."""
    messages = [Message(dumps(message)) for message in state["messages"]]
    for stored in state["stored"]:
        messages[stored["no"]] = Message(stored["message"], stored["vendor"])
    return messages


def _model(model: Mapping[str, Any], environment: Mapping[str, str]) -> Model:
    options = model["options"]
    variable = model["api_key_env"]
    return Model(
        model_id=model["model_id"],
        name=model["wire_name"],
        endpoint=Endpoint(
            provider=model["provider"],
            driver=model["driver"],
            base_url=model["base_url"],
            api_key=(environment.get(variable) or None) if variable else None,
            options=options,
            needs_key=model["needs_key"],
        ),
        carrier="sdk",
        capabilities=model["capabilities"],
        timeout_seconds=float(options.get("timeout_seconds", TIMEOUT_SECONDS)),
        prices=None,
    )


class _Requests:
    """The requests of one model call, one after the other."""

    def __init__(self, clients: ModelClients) -> None:
        self._clients = clients
        self.task: asyncio.Task[HttpResponse] | None = None

    def exchange(
        self, request: HttpRequest, endpoint: Endpoint, _carrier: str, limits: Limits
    ) -> Steps[HttpResponse]:
        """Send one request, as :func:`call_model` wants it; :func:`_drive` waits for the answer."""
        self.task = asyncio.ensure_future(self._clients.send(request, endpoint, limits))
        yield _REQUEST
        return self.task.result()


async def _drive(steps: Steps[Any], requests: _Requests) -> Any:
    """Drive the generator of a model call on the event loop.

    A cancelled task closes the connection of the request that is on its way.
    """
    try:
        wait = next(steps)
        while True:
            if wait is _REQUEST:
                assert requests.task is not None
                try:
                    await asyncio.wait([requests.task])
                finally:
                    requests.task.cancel()  # of no effect on one that is done
                wait = steps.send(True)
            else:
                await asyncio.sleep(max(0.0, wait.until - time.monotonic()))
                wait = steps.send(False)
    except StopIteration as stop:
        return stop.value
    finally:
        steps.close()
