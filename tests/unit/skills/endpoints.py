"""Endpoints for the tests of HTTP skills, as the database returns them."""

from __future__ import annotations

from typing import Any

from pgagentos.store.http import AllowedHost, Endpoint


def endpoint(
    method: str | None = "GET", url: str | None = "https://api.example.com/", **fields: Any
) -> Endpoint:
    """An endpoint with the limits of a fresh installation."""
    given: dict[str, Any] = {
        "skill_id": "00000000-0000-4000-8000-000000000001",
        "name": "a_skill",
        "skill_tenant_id": None,
        "method": method,
        "url_template": url,
        "headers": {},
        "body_template": None,
        "timeout_seconds": 20,
        "max_request_bytes": 262144,
        "max_response_bytes": 1048576,
        "max_body_characters": 50000,
        "max_redirects": 0,
        "hosts": (AllowedHost("https", "api.example.com", 443, False),),
    }
    return Endpoint(**given | fields)


def free_endpoint(**fields: Any) -> Endpoint:
    """That of http_request."""
    return endpoint(None, None, **fields)
