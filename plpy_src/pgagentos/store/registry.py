"""Statements about the model registry and its providers."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import Any

from ..database import Database
from ..errors import InvalidInput, NotFound
from ..providers.base import Endpoint
from .secrets import stored_secret


def has_api_key(database: Database, provider: str, tenant_id: str | None) -> bool:
    """Whether the provider wants no key, or a secret or the server's environment has it.

    A secret counts by its row: it is not opened.

    Args:
        tenant_id: who wants to call it; None for an operator.
    """
    rows = database.rows(
        "select p.api_key_env, p.secret_name, aos_meta._has_secret(p.secret_name, $2::uuid)"
        " as is_stored from aos_meta.provider as p where p.provider = $1::text",
        provider,
        tenant_id,
    )
    if not rows:
        raise NotFound(
            f"there is no provider {provider!r}",
            hint="SELECT provider FROM aos_meta.provider lists them.",
        )
    variable, secret = rows[0]["api_key_env"], rows[0]["secret_name"]
    if variable is None and secret is None:
        return True
    return bool(rows[0]["is_stored"] or (variable and os.environ.get(variable)))


def embedding_model(database: Database) -> tuple[str, Endpoint]:
    """The model that the setting ``embedding_model`` names.

    Returns:
        its name on the wire, and where and as whom to call it: as the tenant that acts.
    """
    rows = database.rows(
        "select coalesce(m.wire_name, m.model_name) as name, p.provider,"
        " coalesce(m.driver, p.driver) as driver, p.base_url, p.api_key_env, p.secret_name,"
        " case when p.secret_name is not null then aos_auth.tenant_id() end as tenant_id,"
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
    key = api_key(database, row, row["tenant_id"])
    return row["name"], endpoint_of(row, json.loads(row["options"]), key)


def api_key(database: Database, row: Mapping[str, Any], tenant_id: str | None) -> str | None:
    """The key for a provider: the tenant's secret, else the operator's, else the environment's.

    It is looked up each time and kept nowhere: a secret that was dropped, or a grant that was
    taken back, counts from the next call on.

    Args:
        row: ``secret_name`` and ``api_key_env`` of the provider.
        tenant_id: who calls; None for an operator.

    Raises:
        DatabaseError: ``OS901``: there is a secret, and it cannot be opened.
    """
    secret, variable = row["secret_name"], row["api_key_env"]
    if secret is not None:
        stored = stored_secret(database, secret, tenant_id)
        if stored is not None:
            return stored
    return (os.environ.get(variable) or None) if variable else None


def endpoint_of(row: Mapping[str, Any], options: Mapping[str, Any], key: str | None) -> Endpoint:
    """Where and as whom to call.

    Args:
        row: ``provider``, ``driver``, ``base_url``, ``secret_name`` and ``api_key_env``.
        options: the provider's and the model's options, the model's winning.
        key: see :func:`api_key`.
    """
    return Endpoint(
        provider=row["provider"],
        driver=row["driver"],
        base_url=row["base_url"],
        api_key=key,
        options=options,
        needs_key=row["secret_name"] is not None or row["api_key_env"] is not None,
    )
