"""The user's own tools: the functions of the file that ``--tools`` names."""

from __future__ import annotations

import asyncio
import importlib.util
import inspect
import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ..errors import InvalidInput

#: What a function may take besides the arguments of its skill.
IDEMPOTENCY_KEY = "idempotency_key"

Functions = Mapping[str, Callable[..., Any]]


def load_tools(path: Path) -> Functions:
    """Import a Python file and return its functions by name.

    Only what the file itself defines counts, without names that begin with an underscore: an
    imported function is no tool.

    Raises:
        InvalidInput: the file is not there, or importing it fails.
    """
    name = f"pgagentos_tools_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None or not path.is_file():
        raise InvalidInput(
            f"there is no Python file {path}", hint="--tools wants a file whose name ends in .py."
        )
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise InvalidInput(
            f"{path} cannot be imported: {type(error).__name__}: {error}",
            hint="Run it with python to see the whole error.",
        ) from error
    return {
        key: value
        for key, value in vars(module).items()
        if inspect.isfunction(value) and value.__module__ == name and not key.startswith("_")
    }


async def call_function(function: Callable[..., Any], arguments: Any, key: str) -> Any:
    """Call a tool.

    A plain function runs in a thread, so that a slow one holds nothing up. It cannot be stopped
    there: when its turn is cancelled it runs on, and its result is dropped.

    Args:
        arguments: an object; its members are the function's keyword arguments.
        key: passed as ``idempotency_key`` to a function that has such a parameter. It is the same
            when another worker makes the call once more after a crash.

    Returns:
        a value that JSON can hold.

    Raises:
        Exception: whatever the function raised; TypeError for arguments that it does not take, and
            for a result that JSON cannot hold.
    """
    named = dict(arguments)
    if IDEMPOTENCY_KEY in inspect.signature(function).parameters:
        named.setdefault(IDEMPOTENCY_KEY, key)
    if inspect.iscoroutinefunction(function):
        result = await function(**named)
    else:
        result = await asyncio.to_thread(function, **named)
    json.dumps(result, allow_nan=False)
    return result
