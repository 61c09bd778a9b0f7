"""The official SDKs, unmodified, on our sockets."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from typing import Any

import anthropic
import httpx2
import openai
import pytest

from pgagentos.errors import InvalidInput
from pgagentos.net.resolver import Address
from pgagentos.net.sdk_transport import Budget, make_http_client
from pgagentos.net.wait import Interrupted, Interrupts, NoInterrupts
from servers import FaultServer

from .conftest import After

LOOKS = 5


class Switch:
    """Interrupts whose source can be exchanged between two calls."""

    def __init__(self) -> None:
        self.source: Interrupts = NoInterrupts()

    def pending(self) -> bool:
        return self.source.pending()


@pytest.fixture
def interrupts() -> Switch:
    return Switch()


@pytest.fixture
def budget() -> Budget:
    return Budget()


@pytest.fixture
def http_client(
    interrupts: Switch, budget: Budget, tls_context: ssl.SSLContext
) -> Iterator[httpx2.Client]:
    with make_http_client(interrupts, budget, tls_context=tls_context) as made:
        yield made


def ask_openai(http_client: httpx2.Client, base_url: str) -> str | None:
    """One chat completion through the SDK."""
    sdk = openai.OpenAI(
        api_key="k", base_url=f"{base_url}/v1", http_client=http_client, max_retries=0
    )
    completion = sdk.chat.completions.create(
        model="scripted", messages=[{"role": "user", "content": "hello"}]
    )
    return completion.choices[0].message.content


def ask_anthropic(http_client: httpx2.Client, base_url: str) -> str | None:
    """One message through the SDK."""
    sdk = anthropic.Anthropic(
        api_key="k", base_url=base_url, http_client=http_client, max_retries=0
    )
    message = sdk.messages.create(
        model="scripted", max_tokens=10, messages=[{"role": "user", "content": "hello"}]
    )
    (block,) = message.content
    assert block.type == "text"
    return block.text


BOTH = pytest.mark.parametrize(
    ("ask", "sdk"), [(ask_openai, openai), (ask_anthropic, anthropic)], ids=["openai", "anthropic"]
)
CARRIERS = pytest.mark.parametrize("carrier", ["server", "tls_server"])


@BOTH
@CARRIERS
def test_an_sdk_gets_its_answer(
    carrier: str, ask: Any, sdk: Any, http_client: httpx2.Client, request: pytest.FixtureRequest
) -> None:
    server: FaultServer = request.getfixturevalue(carrier)
    assert ask(http_client, server.url("/ok")) == "hello from the server"


def test_both_sdks_share_one_connection(server: FaultServer, http_client: httpx2.Client) -> None:
    before = server.stats()["connections"]
    for _ in range(3):
        ask_openai(http_client, server.url("/ok"))
        ask_anthropic(http_client, server.url("/ok"))
    assert server.stats()["connections"] == before + 2  # one, and the one of stats()


@BOTH
@CARRIERS
@pytest.mark.parametrize("fault", ["silence", "drip-body", "slow-headers"])
def test_an_interrupt_passes_through_an_sdk_and_its_client_works_on(
    carrier: str,
    fault: str,
    ask: Any,
    sdk: Any,
    interrupts: Switch,
    http_client: httpx2.Client,
    request: pytest.FixtureRequest,
) -> None:
    server: FaultServer = request.getfixturevalue(carrier)
    ask(http_client, server.url("/ok"))
    interrupts.source = counted = After(LOOKS)
    with pytest.raises(Interrupted):
        ask(http_client, server.url(f"/{fault}"))
    assert counted.looks == LOOKS + 1
    interrupts.source = NoInterrupts()
    assert ask(http_client, server.url("/ok")) == "hello from the server"


@BOTH
@pytest.mark.parametrize("fault", ["silence", "drip-body", "slow-headers", "endless-body"])
def test_the_budget_bounds_the_whole_call_however_its_bytes_drip(
    fault: str, ask: Any, sdk: Any, server: FaultServer, http_client: httpx2.Client, budget: Budget
) -> None:
    budget.start(0.2)
    with pytest.raises(sdk.APITimeoutError):
        ask(http_client, server.url(f"/{fault}"))
    with pytest.raises(sdk.APITimeoutError):
        ask(http_client, server.url("/ok"))
    budget.start(600.0)
    assert ask(http_client, server.url("/ok")) == "hello from the server"


@BOTH
@pytest.mark.parametrize(
    "fault", ["half-body", "reset-mid-header", "reset-at-once", "close-at-once", "garbage"]
)
def test_a_broken_connection_is_the_sdks_own_connection_error(
    fault: str, ask: Any, sdk: Any, server: FaultServer, http_client: httpx2.Client
) -> None:
    with pytest.raises(sdk.APIConnectionError):
        ask(http_client, server.url(f"/{fault}"))


@BOTH
def test_a_handshake_can_be_interrupted(
    ask: Any, sdk: Any, silent_port: int, interrupts: Switch, http_client: httpx2.Client
) -> None:
    interrupts.source = counted = After(LOOKS)
    with pytest.raises(Interrupted):
        ask(http_client, f"https://127.0.0.1:{silent_port}")
    assert counted.looks == LOOKS + 1


def test_a_redirect_is_not_followed(server: FaultServer, http_client: httpx2.Client) -> None:
    assert http_client.post(server.url("/redirect")).status_code == 302


def test_proxies_of_the_environment_are_not_used(
    server: FaultServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:1")
    with make_http_client(NoInterrupts()) as made:
        assert made.get(server.url("/ok/x")).status_code == 200


def test_the_judge_is_asked_here_too(server: FaultServer) -> None:
    def judge(host: str, addresses: list[Address]) -> list[Address]:
        raise InvalidInput("this address may not be called")

    with (
        make_http_client(NoInterrupts(), judge=judge) as made,
        pytest.raises(InvalidInput, match="may not be called"),
    ):
        made.get(server.url("/ok/x"))
