"""How a request gets to a provider: by the lean client, or by the vendor's official SDK."""

from __future__ import annotations

from .errors import ProviderError
from .net.client import Client
from .net.message import HttpRequest, HttpResponse, Limits
from .net.wait import Interrupts, Steps
from .providers.base import Endpoint


class Carrier:
    """Carries requests over connections that it keeps for the session.

    Args:
        interrupts: what ends a wait early; the SDKs, which know nothing of waits as values, look at
            it from inside their sockets.
    """

    def __init__(self, interrupts: Interrupts) -> None:
        self._interrupts = interrupts
        self._client = Client()

    def exchange(
        self, request: HttpRequest, endpoint: Endpoint, carrier: str, limits: Limits
    ) -> Steps[HttpResponse]:
        """Carry one request.

        Args:
            carrier: ``wire`` or ``sdk``, as ``aos_meta.provider.carrier`` says.

        Raises:
            ProviderError: no complete response arrived within the limits, or the provider needs a
                key and there is none.
        """
        if endpoint.needs_key and endpoint.api_key is None:
            raise ProviderError(
                "authentication",
                f"there is no key for provider {endpoint.provider}",
                provider=endpoint.provider,
                hint="No secret of that name may be used, and the server's environment has none:"
                " docs/secrets.md.",
            )
        if carrier == "sdk":
            from .providers.sdk import exchange_with_sdk

            response = exchange_with_sdk(request, endpoint, self._interrupts, limits)
        else:
            response = yield from self._client.exchange(request, limits)
        return _without_key(response, endpoint.api_key)


def _without_key(response: HttpResponse, api_key: str | None) -> HttpResponse:
    """Cut the key out of a response that repeats it, before any error or row can quote it."""
    # A shorter key is a placeholder ("none", "ollama") that may well be a word of the answer.
    if api_key is None or len(api_key) < 16 or api_key.encode() not in response.body:
        return response
    return response._replace(body=response.body.replace(api_key.encode(), b"[secret]"))
