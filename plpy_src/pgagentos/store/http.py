"""Statements about skills that call a service over HTTP."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

from ..database import Database


class AllowedHost(NamedTuple):
    """A row of the allow-list.

    Args:
        host: name, address, or ``*.`` and a domain whose subdomains are meant.
        allow_private: its addresses may belong to the organisation's own network.
    """

    scheme: str
    host: str
    port: int
    allow_private: bool

    def is_for(self, scheme: str, host: str, port: int) -> bool:
        """Whether this row allows a request to *host*, which is written as plain_host does."""
        if (scheme, port) != (self.scheme, self.port):
            return False
        if self.host.startswith("*."):
            return host.endswith(self.host[1:]) and len(host) > len(self.host) - 1
        return host == self.host


class Endpoint(NamedTuple):
    """How a skill calls its service, and where it may call.

    Args:
        name: of the skill.
        skill_tenant_id: the skill's own tenant; None when it is every tenant's.
        method: of HTTP; None: the model names method, URL, headers and body.
        url_template: with ``{argument}`` in path and query; None together with *method*.
        headers: values with ``{secret:name}`` where a secret belongs.
        body_template: JSON value with ``"{argument}"`` in its strings; None: what the URL does not
            use becomes the body, or the query of a method without one.
        timeout_seconds: most time for the call, redirects included.
        max_request_bytes: longest body that is sent.
        max_response_bytes: longest body that is read.
        max_body_characters: what the model is shown of it.
        max_redirects: how many are followed.
        hosts: the allow-list for this skill and this tenant.
    """

    skill_id: str
    name: str
    skill_tenant_id: str | None
    method: str | None
    url_template: str | None
    headers: Mapping[str, str]
    body_template: Any
    timeout_seconds: float
    max_request_bytes: int
    max_response_bytes: int
    max_body_characters: int
    max_redirects: int
    hosts: tuple[AllowedHost, ...]


def load_endpoint(database: Database, skill_id: str, tenant_id: str) -> Endpoint | None:
    """Read all that a call needs, in one statement: nothing is read while the call waits.

    Args:
        tenant_id: for whom the call is made.

    Returns:
        None when the skill has no endpoint, or is no skill of this tenant.
    """
    rows = database.rows(
        "select aos_skills._http_call($1::uuid, $2::uuid)::text as call", skill_id, tenant_id
    )
    if rows[0]["call"] is None:
        return None
    call = json.loads(rows[0]["call"])
    hosts = tuple(AllowedHost(**host) for host in call.pop("hosts"))
    return Endpoint(**call, hosts=hosts)
