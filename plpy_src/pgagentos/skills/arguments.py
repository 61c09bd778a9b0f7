"""Arguments of a tool call against the tool's JSON Schema.

The check is done by fastjsonschema (drafts 4, 6 and 7): it costs a backend 5 ms to import, where
jsonschema costs 43 ms.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import lru_cache
from typing import Any

from ..errors import InvalidInput


@lru_cache(maxsize=256)
def _validator(schema: str) -> Callable[[Any], Any]:
    import fastjsonschema

    try:
        compiled: Callable[[Any], Any] = fastjsonschema.compile(
            json.loads(schema), use_default=False, detailed_exceptions=True
        )
    except Exception as error:  # the library raises whatever a broken schema makes it stumble over
        raise InvalidInput(
            f"the JSON Schema of the skill cannot be used: {error}",
            hint="Correct aos_skills.skill.parameters.",
        ) from None
    return compiled


def argument_error(schema: str, arguments: str) -> str | None:
    """Say what is wrong with the arguments of a call.

    Args:
        schema: JSON Schema as JSON text.
        arguments: the arguments as JSON text; a JSON string stands for text that was not JSON.

    Returns:
        one sentence for the model, or None when the arguments fit.

    Raises:
        InvalidInput: the schema itself is broken.
    """
    import fastjsonschema

    value = json.loads(arguments)
    if not isinstance(value, dict):
        return "The arguments must be one JSON object."
    try:
        _validator(schema)(value)
    except fastjsonschema.JsonSchemaValueException as error:
        # The library calls the whole value "data" and a part of it "data.part".
        what = error.message.removeprefix("data.").replace("data must", "they must", 1)
        return f"The arguments do not fit the tool: {what}."
    return None
