"""Our request is the official SDK's request: same path, same key, same JSON."""

from __future__ import annotations

import json
from types import ModuleType

import pytest

from conformance.cases import API_KEY, RequestCase, endpoint, load_all
from pgagentos.errors import InvalidInput
from pgagentos.net.wait import NoInterrupts
from pgagentos.providers.registry import NAMES, driver
from pgagentos.providers.sdk import SdkCarrier
from servers.recording_server import RecordingServer

MODULES = load_all()
CASES = [
    pytest.param(module, case, id=f"{module.DRIVER}: {case.name}")
    for module in MODULES
    for case in module.REQUESTS
]


def test_every_driver_has_request_reply_and_error_cases() -> None:
    by_driver = {module.DRIVER: module for module in MODULES}
    assert set(by_driver) == set(NAMES)
    for module in by_driver.values():
        assert module.REQUESTS
        assert module.REPLIES
        assert module.ERRORS


@pytest.mark.parametrize(("module", "case"), CASES)
def test_our_request_equals_what_the_official_sdk_sends(
    module: ModuleType, case: RequestCase, recording_server: RecordingServer
) -> None:
    recording_server.answer(module.SDK_ANSWER)
    case.sdk(recording_server.url + module.BASE_PATH, API_KEY)
    (theirs,) = recording_server.take()
    target = endpoint(module, recording_server.url, case.options, case.provider)
    ours = driver(module.DRIVER).to_wire(case.request, target)

    assert ours.url == recording_server.url + theirs.path
    assert ours.method == theirs.method
    as_documented = getattr(module, "as_documented", lambda body: body)
    assert json.loads(ours.body) == as_documented(theirs.json())
    names = {name for name, _ in ours.headers}
    for name in module.AUTH_HEADERS:
        if name in theirs.headers:
            assert (name, theirs.headers[name]) in ours.headers
        else:
            assert name not in names


@pytest.mark.parametrize(("module", "case"), CASES)
def test_the_same_request_is_written_with_the_same_bytes(
    module: ModuleType, case: RequestCase
) -> None:
    target = endpoint(module, "http://127.0.0.1:1", case.options, case.provider)
    write = driver(module.DRIVER).to_wire
    assert write(case.request, target) == write(case.request, target)


@pytest.mark.parametrize(
    ("module", "case"),
    [
        pytest.param(module, module.REQUESTS[0], id=module.DRIVER)
        for module in MODULES
        if module.DRIVER in ("openai_chat", "openai_responses", "anthropic")
    ],
)
def test_the_sdk_carrier_sends_our_bytes_and_returns_the_answer_of_any_status(
    module: ModuleType, case: RequestCase, recording_server: RecordingServer
) -> None:
    target = endpoint(module, recording_server.url, case.options, case.provider)
    ours = driver(module.DRIVER).to_wire(case.request, target)
    carrier = SdkCarrier(NoInterrupts())
    for status, retry_after in ((200, "1"), (429, "7"), (500, "2")):
        recording_server.answer({"answer": status}, status, retry_after=retry_after)
        response = carrier.exchange(ours, target)
        (sent,) = recording_server.take()  # one: the SDK does not retry

        assert sent.body == ours.body
        assert recording_server.url + sent.path == ours.url
        for name, value in ours.headers:
            assert sent.headers[name] == value
        for name in ("authorization", "x-api-key"):
            assert sent.headers.get(name) == dict(ours.headers).get(name)
        assert response.status == status
        assert json.loads(response.body) == {"answer": status}
        assert response.headers["retry-after"] == retry_after
    assert API_KEY not in repr(vars(carrier._clients[next(iter(carrier._clients))]))


def test_the_sdk_carrier_refuses_a_driver_without_an_official_sdk() -> None:
    module = MODULES[0]
    target = endpoint(module, "http://127.0.0.1:1", {})
    request = driver(module.DRIVER).to_wire(module.REQUESTS[0].request, target)
    foreign = type(target)(provider="test", driver="ollama", base_url="http://127.0.0.1:1")
    with pytest.raises(InvalidInput, match="no SDK") as raised:
        SdkCarrier(NoInterrupts()).exchange(request, foreign)
    assert "wire" in (raised.value.hint or "")
