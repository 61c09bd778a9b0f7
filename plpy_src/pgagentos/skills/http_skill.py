"""The skill ``http_request`` and skills that are a request to a service.

A call is refused before anything is looked up unless the allow-list has its host; then its
addresses are judged (:mod:`pgagentos.net.public_address`). What a model is told of a failure is one
of a few fixed texts, the same for a host that does not exist and for one inside the network: else
the skill would be a map of the network. What happened is in the server's log.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Mapping

from .. import audit
from ..database import Database, DatabaseError
from ..errors import InstallationError, InvalidInput, ProviderError, Refused
from ..net.judged_clients import Clients, make_clients
from ..net.message import HttpRequest, HttpResponse, Limits
from ..net.plain_url import PlainUrl, parse_plain
from ..net.wait import Steps
from ..store import http
from ..store.http import AllowedHost, Endpoint
from ..store.secrets import secret_for_http
from .http_request import Draft, draft
from .http_response import text_for_model

__all__ = ["Call", "Clients", "call", "make_clients"]

CONNECT_SECONDS = 10.0

NOT_ALLOWED = "The host is not on the allow-list."
UNREACHABLE = "The host could not be reached: it has no public address that answers."
REDIRECT = "The host answered with a redirect, which is not followed."
NO_SECRET = "A secret that the skill needs cannot be used here."

_SECRET = re.compile(r"\{secret:([^{}]+)\}")
_REDIRECTS = (301, 302, 303, 307, 308)
#: All that is sent to another host than the one that the skill was made for.
_HARMLESS = frozenset({"accept", "accept-language", "content-type", "user-agent"})


def call(
    database: Database, clients: Clients, skill_id: str, arguments: str, tenant_id: str, key: str
) -> Steps[tuple[str, str]]:
    """Run a call of an HTTP skill.

    Args:
        skill_id: of a skill whose implementation is ``http``.
        arguments: JSON text of an object that fits the skill's schema.
        tenant_id: for whom the call is made.
        key: sent as ``Idempotency-Key``; the same for the same call, whoever makes it.

    Returns:
        ``(status, content)``: ``completed`` with what came back, whatever its HTTP status, or
        ``failed`` with one sentence for the model.
    """
    endpoint = http.load_endpoint(database, skill_id, tenant_id)
    if endpoint is None:
        return "failed", "The tool has no endpoint."

    def note(kind: str, host: str, reason: str) -> None:
        ids = {"tenant_id": tenant_id, "skill": endpoint.name, "host": host}
        database.log(audit.line(kind, **ids, reason=reason))

    def reveal(name: str, host: str) -> str:
        owner = endpoint.skill_tenant_id
        try:
            return secret_for_http(database, name, tenant_id, owner, host)
        except (Refused, DatabaseError) as error:
            if isinstance(error, DatabaseError) and error.sqlstate[:2] == "40":
                raise  # the whole transaction has to start again
            note("http_secret_refused", host, f"secret {name}: {error}")
            raise Refused(NO_SECRET) from None

    return (yield from Call(endpoint, clients, reveal, note, key).perform(arguments))


class Call:
    """One call on its way; it knows no database.

    Args:
        endpoint: of the skill, with its allow-list.
        clients: of the session.
        reveal: gives the secret of a name for a host, or raises Refused.
        note: writes a kind of event, a host and a reason where a rollback cannot undo it.
        key: see :func:`call`.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        clients: Clients,
        reveal: Callable[[str, str], str],
        note: Callable[[str, str, str], None],
        key: str,
    ) -> None:
        self._endpoint = endpoint
        self._clients = clients
        self._reveal = reveal
        self._note = note
        self._key = key
        self._secrets: list[str] = []

    def perform(self, arguments: str) -> Steps[tuple[str, str]]:
        """Make the request, send it, read the answer: see :func:`call`."""
        try:
            made = draft(self._endpoint, json.loads(arguments))
            return "completed", (yield from self._send(made))
        except Refused as refusal:
            return "failed", refusal.message
        except InvalidInput as error:
            self._note("ssrf_refused", "", error.message)
            return "failed", f"{error.message[0].upper()}{error.message[1:]}."

    def _send(self, made: Draft) -> Steps[str]:
        """Send the request, follow redirects as far as allowed, and read the answer.

        Raises:
            Refused: there is no answer to show.
        """
        endpoint = self._endpoint
        if "idempotency-key" not in {name.lower() for name in endpoint.headers}:
            made = made._replace(headers={**made.headers, "idempotency-key": self._key})
        headers_bytes = sum(len(name) + len(value) for name, value in made.headers.items())
        if headers_bytes + len(made.body) > endpoint.max_request_bytes:
            raise Refused(f"The request has more than {endpoint.max_request_bytes} bytes.")
        row = self._allowed(made.url)
        made = made._replace(headers=self._with_secrets(made.headers, made.url.origin.host))
        until = time.monotonic() + endpoint.timeout_seconds
        redirects = 0
        while True:
            response = yield from self._exchange(made, row, until)
            location = response.headers.get("location")
            if response.status not in _REDIRECTS or location is None:
                return text_for_model(response, self._secrets, endpoint.max_body_characters)
            if redirects == endpoint.max_redirects:
                raise Refused(REDIRECT)
            redirects += 1
            made = self._redirected(made, response.status, location)
            row = self._allowed(made.url)

    def _allowed(self, url: PlainUrl) -> AllowedHost:
        """The row of the allow-list that lets a request go there."""
        rows = [row for row in self._endpoint.hosts if row.is_for(*url.origin)]
        if not rows:
            self._log(url, "not on the allow-list")
            raise Refused(NOT_ALLOWED)
        return max(rows, key=lambda row: row.allow_private)

    def _with_secrets(self, headers: Mapping[str, str], host: str) -> dict[str, str]:
        """Put the secrets into the skill's own headers; what a model wrote is left as it is."""
        filled = dict(headers)
        for name, value in self._endpoint.headers.items():
            filled[name.lower()] = _SECRET.sub(lambda place: self._secret(place[1], host), value)
        return filled

    def _secret(self, name: str, host: str) -> str:
        value = self._reveal(name, host)
        self._secrets.append(value)
        return value

    def _exchange(self, made: Draft, row: AllowedHost, until: float) -> Steps[HttpResponse]:
        """One request and its answer."""
        endpoint = self._endpoint
        left = max(0.0, until - time.monotonic())
        limits = Limits(min(CONNECT_SECONDS, left), left, endpoint.max_response_bytes)
        headers = (*made.headers.items(), ("connection", "close"))
        request = HttpRequest(made.method, made.url.url, headers, made.body)
        client = self._clients.private if row.allow_private else self._clients.public
        try:
            return (yield from client.exchange(request, limits))
        except Refused:
            self._log(made.url, "address not allowed")
            raise Refused(UNREACHABLE) from None
        except InvalidInput:
            raise Refused("A header has a character that HTTP does not allow.") from None
        except ProviderError as error:
            self._note("http_failed", made.url.origin.host, error.message)
            if error.kind == "timeout":
                text = f"Timed out after {endpoint.timeout_seconds:g} s."
            elif error.kind == "connection":
                text = UNREACHABLE
            else:
                most = endpoint.max_response_bytes
                text = f"The host did not give a usable HTTP answer of at most {most} bytes."
            raise Refused(text) from None
        except InstallationError as error:
            self._note("http_failed", made.url.origin.host, error.message)
            raise Refused(UNREACHABLE) from None

    def _redirected(self, made: Draft, status: int, location: str) -> Draft:
        """The next request, of which another host gets as little as possible."""
        from urllib.parse import urljoin  # 2 ms to import, and rarely needed

        try:
            url = parse_plain(urljoin(made.url.url, location))
        except (InvalidInput, ValueError):
            self._log(made.url, "redirect to a URL that is not plain")
            raise Refused(REDIRECT) from None
        headers, method, body = dict(made.headers), made.method, made.body
        # RFC 9110, 15.4: 303 asks for a GET, and 301 and 302 have always turned a POST into one.
        if status == 303 or (status in (301, 302) and method == "POST"):
            method, body = "GET", b""
            headers.pop("content-type", None)
        if url.origin != made.url.origin:
            headers = {name: value for name, value in headers.items() if name in _HARMLESS}
        return Draft(method, url, headers, body)

    def _log(self, url: PlainUrl, reason: str) -> None:
        self._note("ssrf_refused", url.origin.host, reason)
