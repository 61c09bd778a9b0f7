"""Recorded responses become the neutral reply; errors become ours."""

from __future__ import annotations

import json
from types import ModuleType

import pytest

from conformance.cases import API_KEY, ErrorCase, ReplyCase, endpoint, load_all, recorded
from pgagentos.errors import ProviderError
from pgagentos.net.message import HttpResponse
from pgagentos.providers.registry import driver

MODULES = load_all()


@pytest.mark.parametrize(
    ("module", "case"),
    [
        pytest.param(module, case, id=f"{module.DRIVER}: {case.name}")
        for module in MODULES
        for case in module.REPLIES
    ],
)
def test_a_recorded_response_becomes_the_neutral_reply(module: ModuleType, case: ReplyCase) -> None:
    target = endpoint(module, "http://127.0.0.1:1", case.options)
    reply = driver(module.DRIVER).from_wire(recorded(module.DRIVER, case.name), target)
    assert reply == case.expected


@pytest.mark.parametrize(
    ("module", "case"),
    [
        pytest.param(module, case, id=f"{module.DRIVER}: {case.name}")
        for module in MODULES
        for case in module.ERRORS
    ],
)
def test_an_error_response_becomes_an_error_of_ours(module: ModuleType, case: ErrorCase) -> None:
    target = endpoint(module, "http://127.0.0.1:1", {})
    with pytest.raises(ProviderError) as raised:
        driver(module.DRIVER).from_wire(case.response(), target)
    error = raised.value
    assert error.kind == case.kind
    assert error.code == case.code
    assert error.retry_after == case.retry_after
    assert error.provider == "test"
    expected = ProviderError.KINDS[case.kind][1] if case.is_retryable is None else case.is_retryable
    assert error.is_retryable is expected
    assert error.message
    assert API_KEY not in error.message


@pytest.mark.parametrize("module", MODULES, ids=[module.DRIVER for module in MODULES])
@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html><body>502</body></html>",
        b"null",
        b"[]",
        b'"ok"',
        b'{"x":42}',
        b'{"choices":null,"output":null,"content":null,"candidates":null,"message":null}',
        b'{"choices":[],"output":7,"content":7,"candidates":7,"message":7}',
        b'{"truncated":',
        b'{"value":NaN}',
        b"\xff\xfe\x00",
        b"[" * 100_000,
    ],
    ids=lambda body: body[:30].decode("latin-1"),
)
def test_a_200_that_is_no_reply_is_a_clear_error_and_never_a_crash(
    module: ModuleType, body: bytes
) -> None:
    target = endpoint(module, "http://127.0.0.1:1", {})
    response = HttpResponse(200, {"content-type": "application/json"}, body)
    with pytest.raises(ProviderError) as raised:
        driver(module.DRIVER).from_wire(response, target)
    assert raised.value.kind == "malformed_response"
    assert len(raised.value.message) <= 200
    assert raised.value.message.isprintable()


@pytest.mark.parametrize("module", MODULES, ids=[module.DRIVER for module in MODULES])
def test_a_reply_with_a_wrong_content_type_is_malformed(module: ModuleType) -> None:
    target = endpoint(module, "http://127.0.0.1:1", {})
    response = recorded(module.DRIVER, module.REPLIES[0].name)
    response = HttpResponse(200, {"content-type": "text/html; charset=utf-8"}, response.body)
    with pytest.raises(ProviderError, match="text/html") as raised:
        driver(module.DRIVER).from_wire(response, target)
    assert raised.value.kind == "malformed_response"


@pytest.mark.parametrize("module", MODULES, ids=[module.DRIVER for module in MODULES])
def test_unknown_members_and_values_pass_through(module: ModuleType) -> None:
    target = endpoint(module, "http://127.0.0.1:1", {})
    case = module.REPLIES[0]
    response = recorded(module.DRIVER, case.name)
    body = json.loads(response.body)
    body["added_in_2031"] = {"type": "hologram", "items": [None, 1, "x"]}
    read = driver(module.DRIVER).from_wire
    changed = HttpResponse(200, response.headers, json.dumps(body).encode())
    assert read(changed, target).content == case.expected.content
