"""The drivers by name; a driver's module is imported when it is first asked for."""

from __future__ import annotations

from importlib import import_module
from typing import cast

from ..errors import InvalidInput
from .base import Driver

NAMES = ("openai_chat", "openai_responses", "anthropic", "gemini", "ollama")


def driver(name: str) -> Driver:
    """Return the driver *name*.

    Raises:
        InvalidInput: there is no such driver.
    """
    if name not in NAMES:
        raise InvalidInput(
            f"there is no driver {name!r}",
            hint=f"Drivers are: {', '.join(NAMES)}. A compatible server uses openai_chat.",
        )
    return cast(Driver, import_module(f".{name}", __package__))
