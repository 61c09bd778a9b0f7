"""The official SDKs as a carrier: faults, limits, interrupts and what they must not add."""

from __future__ import annotations

import gc
import socket
from collections.abc import Iterator
from types import FunctionType, ModuleType

import pytest

from pgagentos.errors import ProviderError
from pgagentos.net.message import HttpRequest, Limits
from pgagentos.net.wait import Interrupted, NoInterrupts
from pgagentos.providers import sdk
from pgagentos.providers.base import ChatRequest, Endpoint
from pgagentos.providers.registry import driver
from pgagentos.providers.sdk import SdkCarrier, exchange_with_sdk
from servers import FaultServer, start_fault_server
from servers.recording_server import RecordingServer, start_recording_server
from unit.providers.conversation import user

KEY = "sk-the-real-key-0123456789"
DRIVERS = ("openai_chat", "openai_responses", "anthropic")


@pytest.fixture(scope="module")
def faults() -> Iterator[FaultServer]:
    with start_fault_server() as server:
        yield server


@pytest.fixture(scope="module")
def recording() -> Iterator[RecordingServer]:
    with start_recording_server() as server:
        yield server


def made(name: str, base_url: str, key: str | None = KEY) -> tuple[HttpRequest, Endpoint]:
    """A request and its endpoint."""
    endpoint = Endpoint("p", name, base_url, key)
    return driver(name).to_wire(ChatRequest("m", "", [user("q")]), endpoint), endpoint


@pytest.mark.parametrize("name", DRIVERS)
def test_a_refused_connection_is_a_connection_error(name: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(ProviderError) as raised:
        SdkCarrier(NoInterrupts()).exchange(*made(name, f"http://127.0.0.1:{port}"))
    assert raised.value.kind == "connection"
    assert raised.value.provider == "p"
    assert raised.value.message


@pytest.mark.parametrize("name", DRIVERS)
@pytest.mark.parametrize("fault", ["silence", "drip-body"])
def test_the_time_allowed_is_kept_however_the_bytes_drip(
    name: str, fault: str, faults: FaultServer
) -> None:
    request, endpoint = made(name, faults.url(f"/{fault}"))
    with pytest.raises(ProviderError) as raised:
        SdkCarrier(NoInterrupts()).exchange(request, endpoint, Limits(total_seconds=0.3))
    assert raised.value.kind == "timeout"


@pytest.mark.parametrize("name", DRIVERS)
def test_a_body_without_end_is_refused_while_it_arrives(name: str, faults: FaultServer) -> None:
    request, endpoint = made(name, faults.url("/endless-body"))
    with pytest.raises(ProviderError, match="longer than 100000 bytes") as raised:
        SdkCarrier(NoInterrupts()).exchange(request, endpoint, Limits(max_body_bytes=100_000))
    assert raised.value.kind == "malformed_response"


@pytest.mark.parametrize("name", DRIVERS)
def test_an_interrupt_passes_through_the_sdk(name: str, faults: FaultServer) -> None:
    class Pending:
        def pending(self) -> bool:
            return True

    request, endpoint = made(name, faults.url("/silence"))
    with pytest.raises(Interrupted):
        SdkCarrier(Pending()).exchange(request, endpoint)


@pytest.mark.parametrize("name", DRIVERS)
def test_nothing_of_the_server_s_environment_joins_the_request(
    name: str, recording: RecordingServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable in (
        "OPENAI_API_KEY",
        "OPENAI_ORG_ID",
        "OPENAI_PROJECT_ID",
        "OPENAI_BASE_URL",
        "ANTHROPIC_API_KEY",
        "ANTHROPIC_AUTH_TOKEN",
        "ANTHROPIC_BASE_URL",
    ):
        monkeypatch.setenv(variable, "http://from-environment.invalid")
    recording.answer({})
    SdkCarrier(NoInterrupts()).exchange(*made(name, recording.url))
    (sent,) = recording.take()
    assert not [name for name, value in sent.headers.items() if "from-environment" in value]


@pytest.mark.parametrize("name", DRIVERS)
def test_a_server_without_a_key_gets_no_key(name: str, recording: RecordingServer) -> None:
    recording.answer({})
    SdkCarrier(NoInterrupts()).exchange(*made(name, recording.url, key=None))
    (sent,) = recording.take()
    assert not {"authorization", "x-api-key"} & set(sent.headers)


@pytest.mark.parametrize("name", DRIVERS)
def test_the_key_is_not_kept_after_the_call(name: str, recording: RecordingServer) -> None:
    recording.answer({})
    interrupts = NoInterrupts()
    key = "sk-" + name.replace("_", "-") + "-unique-0123456789"
    exchange_with_sdk(*made(name, recording.url, key), interrupts)
    (sent,) = recording.take()
    assert any(key in value for value in sent.headers.values())
    del sent
    assert sdk._carrier is not None
    assert [text for text in texts_below(sdk._carrier[1]) if key in text] == []
    assert any("the-key-travels" in text for text in texts_below(sdk._carrier[1]))


def texts_below(root: object) -> list[str]:
    """All texts that can be reached from *root*, modules and classes left out."""
    seen, queue, texts = {id(root)}, [root], []
    while queue:
        for thing in gc.get_referents(queue.pop()):
            if id(thing) in seen or isinstance(thing, (type, ModuleType, FunctionType)):
                continue
            seen.add(id(thing))
            queue.append(thing)
            if isinstance(thing, (str, bytes)):
                texts.append(str(thing))
    return texts


def test_clients_are_kept_between_calls(recording: RecordingServer) -> None:
    recording.answer({})
    carrier = SdkCarrier(NoInterrupts())
    for name in ("openai_chat", "openai_responses", "openai_chat"):
        carrier.exchange(*made(name, recording.url))
    assert len(carrier._clients) == 1
    recording.take()
