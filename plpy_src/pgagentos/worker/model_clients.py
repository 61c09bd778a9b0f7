"""The HTTP clients of the worker: the official SDKs, and httpx2 for vendors that have none here.

The drivers write each request and read each response (``to_wire``, ``from_wire``), as they do in
the database; the SDKs carry them. They never retry: how often a call is repeated is decided by
:mod:`pgagentos.agent.model_call`, which both sides share.
"""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING, Any

from ..errors import ProviderError
from ..net.message import HttpRequest, HttpResponse, Limits
from ..providers.base import Endpoint
from ..providers.http_error import excerpt

if TYPE_CHECKING:
    import httpx2

#: Which SDK carries the requests of a driver; the others go out by httpx2 itself.
SDK_BY_DRIVER = {
    "openai_chat": "openai",
    "openai_responses": "openai",
    "anthropic": "anthropic",
}
#: The SDK wants a key when it is built; the real one travels with each request and is not kept.
_NO_KEY = "the-key-travels-with-each-request"
#: What the SDKs would add from the environment.
_NOT_FROM_ENVIRONMENT = ("authorization", "x-api-key", "openai-organization", "openai-project")


class ModelClients:
    """The clients of one process: they keep connections, never a key.

    A request that is cancelled, as a task of asyncio is, closes its connection at once.
    """

    def __init__(self) -> None:
        self._http_client: httpx2.AsyncClient | None = None
        self._clients: dict[tuple[str, str], Any] = {}
        self._sdks: dict[str, Any] = {}

    async def send(self, request: HttpRequest, endpoint: Endpoint, limits: Limits) -> HttpResponse:
        """Carry one request.

        Args:
            request: as the driver's ``to_wire`` made it; its bytes go out unchanged.
            endpoint: where it goes; its key is in the request's headers already.
            limits: what the exchange may take.

        Returns:
            the response, of any status, for ``from_wire``.

        Raises:
            ProviderError: ``timeout``, ``connection``, ``malformed_response`` for a body that is
                too long, or ``authentication`` when the provider needs a key and there is none.
        """
        if endpoint.needs_key and endpoint.api_key is None:
            raise ProviderError(
                "authentication",
                f"the worker has no key for provider {endpoint.provider}",
                provider=endpoint.provider,
                hint="Set the variable that aos_meta.provider.api_key_env names in the worker's"
                " environment.",
            )
        import httpx2

        try:
            response = await asyncio.wait_for(
                self._send(request, endpoint, limits), limits.total_seconds
            )
        except (asyncio.TimeoutError, httpx2.TimeoutException):
            raise ProviderError(
                "timeout",
                f"no answer within {limits.total_seconds:g} s",
                provider=endpoint.provider,
            ) from None
        except httpx2.TransportError as error:
            raise ProviderError(
                "connection", excerpt(str(error) or type(error).__name__, 200)
            ) from None
        return HttpResponse(
            status=response.status_code,
            headers={name.lower(): value for name, value in response.headers.items()},
            body=_without_key(response.content, endpoint.api_key),
        )

    async def _send(
        self, request: HttpRequest, endpoint: Endpoint, limits: Limits
    ) -> httpx2.Response:
        import httpx2

        timeout = httpx2.Timeout(limits.total_seconds, connect=limits.connect_seconds)
        http_client = self._http()
        name = SDK_BY_DRIVER.get(endpoint.driver)
        if name is None:
            made = http_client.build_request(
                request.method,
                request.url,
                content=request.body,
                headers=dict(request.headers),
                timeout=timeout,
            )
            return await http_client.send(made)
        sdk, client = await self._sdk_client(name, endpoint.base_url)
        given = {key.lower() for key, _ in request.headers}
        headers: dict[str, Any] = dict(request.headers)
        headers.update({key: sdk.omit for key in _NOT_FROM_ENVIRONMENT if key not in given})
        try:
            response: httpx2.Response = await client.post(
                request.url,
                content=request.body,
                cast_to=httpx2.Response,
                options={"headers": headers, "timeout": timeout},
            )
            return response
        except sdk.APIStatusError as error:
            refused: httpx2.Response = error.response
            return refused
        except (sdk.APITimeoutError, sdk.APIConnectionError) as error:
            cause = error.__cause__
            if isinstance(cause, ProviderError | httpx2.TransportError):
                raise cause from None
            kind = "timeout" if isinstance(error, sdk.APITimeoutError) else "connection"
            raise ProviderError(
                kind, excerpt(str(cause or error), 200), provider=endpoint.provider
            ) from None

    def _http(self) -> httpx2.AsyncClient:
        """One pool of connections for both SDKs and for everything else."""
        if self._http_client is None:
            import httpx2

            self._http_client = httpx2.AsyncClient(
                limits=httpx2.Limits(max_connections=None, max_keepalive_connections=64),
                follow_redirects=False,
                event_hooks={"response": [_bound_body]},
            )
        return self._http_client

    async def _sdk_client(self, name: str, base_url: str) -> tuple[Any, Any]:
        """Return the SDK's module and its client for this address."""
        if name not in self._sdks:
            # It takes up to a second: not in the loop's thread, which keeps the claims meanwhile.
            self._sdks[name] = await asyncio.to_thread(importlib.import_module, name)
        sdk = self._sdks[name]
        make: Callable[..., Any] = sdk.AsyncOpenAI if name == "openai" else sdk.AsyncAnthropic
        key = (name, base_url)
        if key not in self._clients:
            self._clients[key] = make(
                api_key=_NO_KEY, base_url=base_url, max_retries=0, http_client=self._http()
            )
        return sdk, self._clients[key]

    async def close(self) -> None:
        """Close all connections."""
        if self._http_client is not None:
            await self._http_client.aclose()
            self._http_client = None
        self._clients.clear()


async def _bound_body(response: httpx2.Response) -> None:
    """Let the body of *response* arrive up to the limit only; httpx2 itself has none."""
    import httpx2

    limit = Limits().max_body_bytes
    assert isinstance(response.stream, httpx2.AsyncByteStream)  # of an asynchronous client
    inner: httpx2.AsyncByteStream = response.stream

    class Bounded(httpx2.AsyncByteStream):
        async def __aiter__(self) -> AsyncIterator[bytes]:
            length = 0
            async for chunk in inner:
                length += len(chunk)
                if length > limit:
                    raise ProviderError(
                        "malformed_response",
                        f"the response is longer than {limit} bytes",
                        status=response.status_code,
                    )
                yield chunk

        async def aclose(self) -> None:
            await inner.aclose()

    response.stream = Bounded()


def _without_key(body: bytes, api_key: str | None) -> bytes:
    """Cut the key out of a response that repeats it, before any error or row can quote it."""
    # A shorter key is a placeholder ("none", "ollama") that may well be a word of the answer.
    if api_key is None or len(api_key) < 16:
        return body
    return body.replace(api_key.encode(), b"[secret]")
