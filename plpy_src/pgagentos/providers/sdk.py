"""The second carrier: the official SDKs of OpenAI and Anthropic send what a driver has written.

``to_wire`` and ``from_wire`` stay the same; only the way between them differs. It is for accounts
whose sign-in or network needs the vendor's own client, and costs a backend 0.4 s (openai) to 0.85 s
(anthropic) of CPU at its first use. The SDKs run on our interruptible sockets and never retry: they
would sleep where no cancel reaches them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from ..errors import InvalidInput, ProviderError
from ..net.message import HttpRequest, HttpResponse, Limits
from ..net.sdk_transport import Budget, make_http_client
from ..net.wait import Interrupts
from .base import Endpoint
from .http_error import excerpt

if TYPE_CHECKING:
    import httpx2

_SDK_BY_DRIVER = {
    "openai_chat": "openai",
    "openai_responses": "openai",
    "anthropic": "anthropic",
}
#: The SDK wants a key when it is built; the real one travels with each request and is not kept.
_NO_KEY = "the-key-travels-with-each-request"
#: What the SDKs would add from the server's environment.
_NOT_FROM_ENVIRONMENT = ("authorization", "x-api-key", "openai-organization", "openai-project")


class SdkCarrier:
    """The SDKs' clients of one process; they hold connections, never a key.

    Args:
        interrupts: looked at in every wait.
    """

    def __init__(self, interrupts: Interrupts) -> None:
        self._budget = Budget()
        self._http_client: httpx2.Client | None = None
        self._interrupts = interrupts
        self._max_body_bytes = 0
        self._clients: dict[tuple[str, str], Any] = {}

    def exchange(
        self, request: HttpRequest, endpoint: Endpoint, limits: Limits | None = None
    ) -> HttpResponse:
        """Send *request* through the SDK of the endpoint's driver.

        Args:
            request: as the driver's ``to_wire`` made it; its bytes go out unchanged.
            endpoint: where it goes; its key is in the request's headers already.
            limits: what the exchange may take.

        Returns:
            the response, of any status, for ``from_wire``.

        Raises:
            InvalidInput: the driver has no SDK, or the SDK is not installed.
            ProviderError: ``timeout``, ``connection``, or ``malformed_response`` for a body that is
                too long.
            Interrupted: the session was told to stop.
        """
        limits = limits or Limits()
        sdk, client = self._client(endpoint)
        given = {name.lower() for name, _ in request.headers}
        headers: dict[str, Any] = dict(request.headers)
        headers.update({name: sdk.omit for name in _NOT_FROM_ENVIRONMENT if name not in given})

        import httpx2

        self._budget.start(limits.total_seconds)
        self._max_body_bytes = limits.max_body_bytes
        try:
            response: httpx2.Response = client.post(
                request.url,
                content=request.body,
                cast_to=httpx2.Response,
                options={
                    "headers": headers,
                    "timeout": httpx2.Timeout(limits.total_seconds, connect=limits.connect_seconds),
                },
            )
        except sdk.APIStatusError as error:
            response = error.response
        except sdk.APITimeoutError as error:
            raise _no_response("timeout", error, endpoint) from None
        except sdk.APIConnectionError as error:
            raise _no_response("connection", error, endpoint) from None
        return HttpResponse(
            status=response.status_code,
            headers={name.lower(): value for name, value in response.headers.items()},
            body=response.content,
        )

    def _bound_body(self, response: httpx2.Response) -> None:
        """Let the body of *response* arrive up to the limit only; httpx2 itself has none."""
        import httpx2

        limit = self._max_body_bytes
        assert isinstance(response.stream, httpx2.SyncByteStream)  # of a synchronous client
        inner: httpx2.SyncByteStream = response.stream

        class Bounded(httpx2.SyncByteStream):
            def __iter__(self) -> Iterator[bytes]:
                length = 0
                for chunk in inner:
                    length += len(chunk)
                    if length > limit:
                        raise ProviderError(
                            "malformed_response",
                            f"the response is longer than {limit} bytes",
                            status=response.status_code,
                        )
                    yield chunk

            def close(self) -> None:
                inner.close()

        response.stream = Bounded()

    def _client(self, endpoint: Endpoint) -> tuple[Any, Any]:
        """Return the SDK's module and its client for this address."""
        name = _SDK_BY_DRIVER.get(endpoint.driver)
        if name is None:
            raise InvalidInput(
                f"the driver {endpoint.driver} has no SDK to carry it",
                hint='Set the provider\'s carrier to "wire".',
            )
        try:
            if name == "openai":
                import openai as sdk
            else:
                import anthropic as sdk  # type: ignore[no-redef]
        except ImportError:
            raise InvalidInput(
                f"the Python package {name} is not installed",
                hint='Install it for the server\'s Python, or set the carrier to "wire".',
            ) from None
        key = (name, endpoint.base_url)
        if key not in self._clients:
            if self._http_client is None:
                self._http_client = make_http_client(self._interrupts, self._budget)
                self._http_client.event_hooks = {"response": [self._bound_body]}
            make = sdk.OpenAI if name == "openai" else sdk.Anthropic  # type: ignore[attr-defined]
            self._clients[key] = make(
                api_key=_NO_KEY,
                base_url=endpoint.base_url,
                max_retries=0,
                http_client=self._http_client,
            )
        return sdk, self._clients[key]


def _no_response(kind: str, error: Exception, endpoint: Endpoint) -> ProviderError:
    cause = error.__cause__ or error
    if isinstance(cause, ProviderError):  # ours, wrapped by the SDK
        cause.provider = endpoint.provider
        return cause
    return ProviderError(kind, excerpt(str(cause) or str(error), 200), provider=endpoint.provider)


_carrier: tuple[Interrupts, SdkCarrier] | None = None


def exchange_with_sdk(
    request: HttpRequest,
    endpoint: Endpoint,
    interrupts: Interrupts,
    limits: Limits | None = None,
) -> HttpResponse:
    """Send *request* through the official SDK, with clients that are kept between calls.

    See :meth:`SdkCarrier.exchange` for arguments, result and errors.
    """
    global _carrier
    if _carrier is None or _carrier[0] is not interrupts:
        _carrier = (interrupts, SdkCarrier(interrupts))
    return _carrier[1].exchange(request, endpoint, limits)
