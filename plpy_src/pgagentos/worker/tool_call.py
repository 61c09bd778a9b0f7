"""One tool call of a turn, run by the worker."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, NamedTuple

from ..agent.tool_call import content_of
from ..providers.wire import dumps
from .tool_file import Functions, call_function


class Result(NamedTuple):
    """What ``aos_agent.record_tool_result`` takes: a value for JSON, or what went wrong."""

    value: Any
    is_error: bool


async def run_call(call: Mapping[str, Any], functions: Functions) -> Result:
    """Run one call.

    Args:
        call: an element of ``pending``, with the status ``awaiting_result``.
        functions: of the file that ``--tools`` names.

    Returns:
        its result; whatever goes wrong becomes one for the model, never an exception.
    """
    name, key = call["tool_name"], call["idempotency_key"]
    if call.get("http") is not None and name not in functions:
        from .http_tool import call_service

        arguments = dumps(call["arguments"])
        status, content = await asyncio.to_thread(call_service, call["http"], arguments, key)
        return Result(content, is_error=status != "completed")
    function = functions.get(name)
    if function is None:
        return Result(f"The tool {name} is not available: no worker knows it.", is_error=True)
    try:
        value = await call_function(function, call["arguments"], key)
    except Exception as error:
        return Result(f"{type(error).__name__}: {error}", is_error=True)
    text = dumps(value)
    shown = content_of(text)
    is_cut = len(shown) < len(text) and not isinstance(value, str)
    return Result(shown if is_cut or isinstance(value, str) else value, is_error=False)
