"""Statements about the model registry and its providers."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import Any

from ..database import Database
from ..errors import InvalidInput, NotFound
from ..providers.base import Endpoint


def has_api_key(database: Database, provider: str) -> bool:
    """Whether the provider wants no key, or its key is in the server's environment."""
    rows = database.rows(
        "select p.api_key_env, p.secret_name from aos_meta.provider as p"
        " where p.provider = $1::text",
        provider,
    )
    if not rows:
        raise NotFound(
            f"there is no provider {provider!r}",
            hint="SELECT provider FROM aos_meta.provider lists them.",
        )
    variable, secret = rows[0]["api_key_env"], rows[0]["secret_name"]
    return (variable is None and secret is None) or bool(variable and os.environ.get(variable))


def embedding_model(database: Database) -> tuple[str, Endpoint]:
    """The model that the setting ``embedding_model`` names.

    Returns:
        its name on the wire and where to call it.
    """
    rows = database.rows(
        "select coalesce(m.wire_name, m.model_name) as name, p.provider,"
        " coalesce(m.driver, p.driver) as driver, p.base_url, p.api_key_env,"
        " (p.options || m.options)::text as options"
        " from aos_meta.setting as s"
        " join aos_meta.llm_model_registry as m on m.model_name = s.value #>> '{}'"
        " join aos_meta.provider as p on p.provider = m.provider"
        " where s.name = 'embedding_model'"
    )
    if not rows:
        raise InvalidInput(
            "no embedding model is set, or the one that is set is not registered",
            hint="UPDATE aos_meta.setting SET value = to_jsonb('multilingual-e5-small'::text)"
            " WHERE name = 'embedding_model', with the name of a registered embedding model.",
        )
    row = rows[0]
    return row["name"], endpoint_of(row, json.loads(row["options"]))


def endpoint_of(row: Mapping[str, Any], options: Mapping[str, Any]) -> Endpoint:
    """Where and as whom to call, with the key from the server's environment.

    Args:
        row: ``provider``, ``driver``, ``base_url`` and ``api_key_env``.
        options: the provider's and the model's options, the model's winning.
    """
    variable = row["api_key_env"]
    return Endpoint(
        provider=row["provider"],
        driver=row["driver"],
        base_url=row["base_url"],
        api_key=(os.environ.get(variable) or None) if variable else None,
        options=options,
    )
