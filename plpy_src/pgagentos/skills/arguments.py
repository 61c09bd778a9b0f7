"""Arguments of a tool call against the tool's JSON Schema.

The check is done by fastjsonschema (drafts 4, 6 and 7): it costs a backend 5 ms to import, where
jsonschema costs 43 ms. It makes Python of a schema, and schemas are written by the developers of
tenants, who must not get further than their tenant: it fetches nothing, and has an end.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

from ..cpu_limit import TookTooLong, cpu_limit
from ..errors import InvalidInput
from ..providers.json_text import read_json

#: Seconds that a schema may take to be made ready, and arguments to be checked.
_MOST_SECONDS = 0.5
_HINT = "Correct aos_skills.skill.parameters, or the limits of the skill."


class _NothingRemote(dict[str, Callable[[str], Any]]):
    """How references are followed that lead out of a schema: whatever their scheme, not at all.

    The library itself would open any URL, files of the server included.
    """

    def __contains__(self, scheme: object) -> bool:
        return True

    def __missing__(self, scheme: str) -> Callable[[str], Any]:
        def refuse(_uri: str) -> Any:
            raise ValueError("it refers to another document")

        return refuse


@lru_cache(maxsize=256)
def _validator(schema: str) -> Callable[[Any], Any]:
    import fastjsonschema

    try:
        definition = json.loads(schema)
        _refuse_braces(definition)
        with cpu_limit(_MOST_SECONDS):
            compiled: Callable[[Any], Any] = fastjsonschema.compile(
                definition,
                handlers=_NothingRemote(),
                use_default=False,
                detailed_exceptions=True,
            )
    except TookTooLong:
        raise _unusable("it takes too long to read") from None
    except Exception as error:  # the library raises whatever a broken schema makes it stumble over
        raise _unusable(str(error)) from None
    return compiled


def _unusable(why: str) -> InvalidInput:
    return InvalidInput(f"the JSON Schema of the skill cannot be used: {why}", hint=_HINT)


def _refuse_braces(definition: Any) -> None:
    """The library takes the name of a property for a template, in which braces have a meaning."""
    parts = [definition]
    while parts:
        part = parts.pop()
        if isinstance(part, Mapping):
            if any("{" in name or "}" in name for name in part.get("properties") or ()):
                raise ValueError("the name of a property has a brace")
            parts.extend(part.values())
        elif isinstance(part, list):
            parts.extend(part)


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

    try:
        value = read_json(arguments)
    except ValueError:  # what PostgreSQL reads and Python does not
        return "The arguments are nested too deeply, or have a number that is too long."
    if not isinstance(value, dict):
        return "The arguments must be one JSON object."
    validate = _validator(schema)
    try:
        with cpu_limit(_MOST_SECONDS):
            validate(value)
    except fastjsonschema.JsonSchemaValueException as error:
        # The library calls the whole value "data" and a part of it "data.part".
        what = error.message.removeprefix("data.").replace("data must", "they must", 1)
        return f"The arguments do not fit the tool: {what}."
    except TookTooLong:
        return "The arguments do not fit the tool: to check them takes too long."
    except Exception as error:  # what the library has made of the schema does not run
        raise _unusable(type(error).__name__) from None
    return None
