"""Skills that are a request to a service, where the database cannot make it.

In a database without PL/Python the worker makes these requests, with the package ``requests``. The
rules are those of the database (docs/http_skills.md): the allow-list, which addresses may be
connected to, how arguments fill the templates, how the answer is shown to the model. It knows no
stored secret, so a skill that needs one fails with a sentence that says so.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

from ..errors import ProviderError, Refused
from ..net.judged_clients import Clients
from ..net.message import HttpRequest, HttpResponse, Limits
from ..net.public_address import judge_private, judge_public
from ..net.resolver import resolve
from ..net.stream import Judge
from ..net.url import parse
from ..net.wait import NoInterrupts, Steps, run
from ..skills.http_skill import NO_SECRET, Call
from ..store.http import AllowedHost, Endpoint

if TYPE_CHECKING:
    import requests

    from ..net.client import Client


def call_service(endpoint: Mapping[str, Any], arguments: str, key: str) -> tuple[str, str]:
    """Make the request of a call; blocks, so it belongs in a thread.

    Args:
        endpoint: the member ``http`` of a pending call.
        arguments: JSON text of an object that fits the skill's schema.
        key: what the request is known by, also when it is made once more.

    Returns:
        ``(status, content)``: ``completed`` with what came back, whatever its HTTP status, or
        ``failed`` with one sentence for the model.
    """
    members = dict(endpoint)
    hosts = tuple(AllowedHost(**host) for host in members.pop("hosts"))
    ways_out = (_Client(judge_public), _Client(judge_private))
    clients = Clients(*(cast("Client", way_out) for way_out in ways_out))
    call = Call(Endpoint(**members, hosts=hosts), clients, _no_secret, _no_note, key)
    return run(call.perform(arguments), NoInterrupts())


def _no_secret(_name: str, _host: str) -> str:
    raise Refused(NO_SECRET)


def _no_note(_kind: str, _host: str, _reason: str) -> None:
    """The worker has no log but its progress, which shows how the call ended."""


class _Client:
    """What :class:`pgagentos.net.client.Client` is to the kernel, by ``requests``.

    Args:
        judge: decides which of a host's addresses may be connected to.
    """

    def __init__(self, judge: Judge) -> None:
        self._judge = judge

    def exchange(self, request: HttpRequest, limits: Limits) -> Steps[HttpResponse]:
        """Send one request to an address that was judged, and to no other.

        Raises:
            Refused: no address of the host may be connected to.
            ProviderError: ``timeout``, ``connection`` or ``malformed_response``.
        """
        import socket

        until = time.monotonic() + limits.total_seconds
        host, port = parse(request.url).origin.host, parse(request.url).origin.port
        try:
            found = yield from resolve(host, port, time.monotonic() + limits.connect_seconds)
        except (socket.gaierror, TimeoutError) as error:
            raise ProviderError("connection", str(error)) from None
        _, address = self._judge(host, found)[0]
        return _send(request, str(address[0]), limits, until)


def _send(request: HttpRequest, address: str, limits: Limits, until: float) -> HttpResponse:
    import requests

    with requests.Session() as session:
        session.trust_env = False  # a proxy would connect to an address that nobody has judged
        # Of the environment only what says whom to trust, as for Python's own TLS.
        session.verify = os.environ.get("SSL_CERT_FILE") or True
        session.mount("https://", _adapter(address))
        session.mount("http://", _adapter(address))
        try:
            with session.request(
                request.method,
                request.url,
                headers=dict(request.headers),
                data=request.body or None,
                timeout=(limits.connect_seconds, limits.total_seconds),
                allow_redirects=False,
                stream=True,
            ) as response:
                return _read(response, limits, until)
        except requests.Timeout as error:
            raise ProviderError("timeout", str(error)) from None
        except requests.ConnectionError as error:
            kind = "timeout" if "timed out" in str(error) else "connection"
            raise ProviderError(kind, str(error)) from None
        except requests.RequestException as error:
            raise ProviderError("malformed_response", str(error)) from None


def _read(response: requests.Response, limits: Limits, until: float) -> HttpResponse:
    """Read the body up to its limits; ``requests`` bounds neither its length nor the whole time."""
    body = bytearray()
    for chunk in response.iter_content(65536):
        body += chunk
        if len(body) > limits.max_body_bytes:
            raise ProviderError("malformed_response", "the response is too long")
        if time.monotonic() > until:
            raise ProviderError("timeout", "the response did not end in time")
    headers = {name.lower(): value for name, value in response.headers.items()}
    return HttpResponse(response.status_code, headers, bytes(body))


def _adapter(address: str) -> requests.adapters.HTTPAdapter:
    """An adapter whose connections go to *address*, whatever the name of the host leads to by now.

    The name in the URL stays the one that is asked for and whose certificate counts.
    """
    from requests.adapters import HTTPAdapter

    class Pinned(HTTPAdapter):
        def get_connection_with_tls_context(self, *args: Any, **kwargs: Any) -> Any:
            pool: Any = super().get_connection_with_tls_context(*args, **kwargs)
            make: Any = pool.ConnectionCls

            class Connection(make):  # type: ignore[misc]
                _dns_host: str

                def _new_conn(self) -> Any:
                    # The one place where urllib3 looks at the name to connect to; the header
                    # field Host and the certificate go by the name that was asked for.
                    asked, self._dns_host = self._dns_host, address
                    try:
                        return super()._new_conn()
                    finally:
                        self._dns_host = asked

            pool.ConnectionCls = Connection
            return pool

    return Pinned(max_retries=0)
