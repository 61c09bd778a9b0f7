"""How a request gets to a provider: by the lean client, or by the vendor's official SDK."""

from __future__ import annotations

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
            ProviderError: no complete response arrived within the limits.
        """
        if carrier == "sdk":
            from .providers.sdk import exchange_with_sdk

            return exchange_with_sdk(request, endpoint, self._interrupts, limits)
        response = yield from self._client.exchange(request, limits)
        return response
