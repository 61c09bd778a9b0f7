"""A reply with a wrong value anywhere is read or refused; it never crashes the driver."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import pytest

from conformance.cases import ReplyCase, endpoint, load_all, recorded
from pgagentos.errors import ProviderError
from pgagentos.net.message import HttpResponse
from pgagentos.providers.base import ChatReply
from pgagentos.providers.registry import driver

WRONG: tuple[Any, ...] = (None, True, -1, 1e300, "", "wrong", [], [None], {}, {"wrong": 1}, ["x"])


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The way to every value inside *value*."""
    inner = value.items() if isinstance(value, dict) else enumerate(value)
    for key, item in inner:
        yield (*path, key)
        if isinstance(item, (dict, list)):
            yield from places(item, (*path, key))


def damaged(body: Any, path: tuple[Any, ...], wrong: Any) -> bytes:
    changed = copy.deepcopy(body)
    place = changed
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = wrong
    return json.dumps(changed).encode()


@pytest.mark.parametrize(
    ("module", "case"),
    [
        pytest.param(module, case, id=f"{module.DRIVER}: {case.name}")
        for module in load_all()
        for case in module.REPLIES
    ],
)
def test_edge_20_a_wrong_value_anywhere_is_read_or_refused(
    module: ModuleType, case: ReplyCase
) -> None:
    response = recorded(module.DRIVER, case.name)
    body = json.loads(response.body)
    target = endpoint(module, "http://127.0.0.1:1", case.options)
    read = driver(module.DRIVER).from_wire
    crashes: list[str] = []
    for path in places(body):
        for wrong in WRONG:
            changed = HttpResponse(200, response.headers, damaged(body, path, wrong))
            try:
                reply = read(changed, target)
            except ProviderError:
                continue
            except Exception as error:
                crashes.append(f"{path} = {wrong!r}: {error!r}")
                continue
            assert is_storable(reply), (path, wrong, reply)
    assert not crashes, "\n".join(crashes[:20])


def is_storable(reply: ChatReply) -> bool:
    """Tell whether all that a reply holds has the type that its row wants."""
    counts = (
        reply.usage.input_tokens,
        reply.usage.output_tokens,
        reply.usage.cached_tokens,
        reply.usage.cache_write_tokens,
        reply.usage.reasoning_tokens,
    )
    texts = [reply.content]
    texts += [
        text for call in reply.tool_calls for text in (call.call_id, call.name, call.arguments)
    ]
    texts += [
        text
        for text in (reply.refusal, reply.response_id, reply.model, reply.finish_detail)
        if text is not None
    ]
    return (
        all(isinstance(text, str) for text in texts)
        and all(type(count) is int and 0 <= count < 2**31 for count in counts)
        and len({call.call_id for call in reply.tool_calls}) == len(reply.tool_calls)
        and bool(json.dumps(reply.vendor))
    )
