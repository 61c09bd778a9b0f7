"""What a vendor must get back survives storage; what is another vendor's does not travel."""

from __future__ import annotations

import json
from types import ModuleType
from typing import Any

import pytest

from conformance.cases import endpoint, load_all, recorded, result, user
from pgagentos.providers.base import ChatReply, ChatRequest, Endpoint, Message, Tool
from pgagentos.providers.registry import driver

MODULES = {module.DRIVER: module for module in load_all()}
TOOL = Tool("get_weather", "Current weather", {"type": "object", "properties": {}})
MODELS = {
    "openai_chat": "gpt-4o",
    "openai_responses": "gpt-5.4",
    "anthropic": "claude-opus-5",
    "gemini": "gemini-3.5-flash",
    "ollama": "qwen3:8b",
}
SERVER_TOOLS = {
    "anthropic": {"server_tools": [{"type": "web_search_20260209", "name": "web_search"}]}
}


def target_of(name: str, provider: str = "test") -> Endpoint:
    return endpoint(MODULES[name], "http://127.0.0.1:1", SERVER_TOOLS.get(name, {}), provider)


def stored(reply: ChatReply) -> Message:
    """What is left of a reply in the rows: two JSON texts."""
    neutral: dict[str, Any] = {"role": "assistant", "content": reply.content}
    if reply.tool_calls:
        neutral["tool_calls"] = [
            {"call_id": call.call_id, "name": call.name, "arguments": json.loads(call.arguments)}
            for call in reply.tool_calls
        ]
    vendor = None
    if reply.vendor is not None:
        # As the kernel stores it, or as PostgreSQL's jsonb would print it: the same to us.
        vendor = json.dumps(reply.vendor, ensure_ascii=False, separators=(", ", ": "))
    return Message(json.dumps(neutral, ensure_ascii=False, separators=(",", ":")), vendor)


def next_request(reply: ChatReply, target: Endpoint) -> str:
    """The body of the request that follows the reply and the results of its calls."""
    messages = [user("?"), stored(reply)]
    messages += [result(call.call_id, "21") for call in reply.tool_calls]
    if not reply.tool_calls and reply.finish_reason != "pause":
        messages.append(user("Thanks"))
    request = ChatRequest(
        MODELS[target.driver],
        "Be brief.",
        messages,
        (TOOL,),
        capabilities={"reasoning": True, "tools": True},
    )
    return driver(target.driver).to_wire(request, target).body.decode()


def opaque_texts(value: Any) -> set[str]:
    """The signatures, encrypted contents and the like anywhere in *value*."""
    names = {
        "signature",
        "data",
        "thoughtSignature",
        "thought_signature",
        "encrypted_content",
        "encrypted_index",
        "reasoning_content",
        "thinking",
    }
    found: set[str] = set()
    if isinstance(value, dict):
        for name, inner in value.items():
            if name in names and isinstance(inner, str) and inner:
                found.add(inner)
            else:
                found |= opaque_texts(inner)
    elif isinstance(value, list):
        for inner in value:
            found |= opaque_texts(inner)
    return found


def replies_with_vendor_blocks() -> list[tuple[ModuleType, str, ChatReply]]:
    return [
        (module, case.name, case.expected)
        for module in MODULES.values()
        for case in module.REPLIES
        if case.expected.vendor is not None and opaque_texts(dict(case.expected.vendor))
    ]


CASES = replies_with_vendor_blocks()


def test_every_driver_has_a_recorded_reply_with_something_to_send_back() -> None:
    assert {module.DRIVER for module, _, _ in CASES} == set(MODULES)


@pytest.mark.parametrize(
    ("module", "name"),
    [pytest.param(module, name, id=f"{module.DRIVER}: {name}") for module, name, _ in CASES],
)
def test_vendor_blocks_go_back_byte_for_byte_after_storage(module: ModuleType, name: str) -> None:
    target = target_of(module.DRIVER)
    reply = driver(module.DRIVER).from_wire(recorded(module.DRIVER, name), target)
    assert reply.vendor is not None
    opaque = opaque_texts(dict(reply.vendor))
    body = next_request(reply, target)
    assert opaque <= opaque_texts(json.loads(body))
    for text in opaque:
        assert json.dumps(text, ensure_ascii=False) in body


@pytest.mark.parametrize("there", MODULES)
@pytest.mark.parametrize(
    ("module", "name"),
    [pytest.param(module, name, id=f"{module.DRIVER}: {name}") for module, name, _ in CASES],
)
def test_edge_28_a_switch_of_provider_keeps_the_text_and_drops_the_blocks(
    module: ModuleType, name: str, there: str
) -> None:
    reply = driver(module.DRIVER).from_wire(
        recorded(module.DRIVER, name), target_of(module.DRIVER, "first")
    )
    assert reply.vendor is not None
    body = next_request(reply, target_of(there, "second"))
    sent = json.loads(body)
    for text in opaque_texts(dict(reply.vendor)):
        assert text not in body
    if reply.content:
        assert json.dumps(reply.content, ensure_ascii=False)[1:-1] in body
    for call in reply.tool_calls:
        assert call.name in body
    assert "vendor" not in sent


@pytest.mark.parametrize("there", MODULES)
@pytest.mark.parametrize("here", MODULES)
def test_edge_28_calls_made_at_one_provider_are_answered_at_another(here: str, there: str) -> None:
    cases = [case for case in MODULES[here].REPLIES if case.expected.finish_reason == "tool_calls"]
    case = max(cases, key=lambda case: len(case.expected.tool_calls))
    reply = driver(here).from_wire(recorded(here, case.name), target_of(here, "first"))
    sent = json.loads(next_request(reply, target_of(there, "second")))
    history = json.dumps(
        sent.get("messages") or sent.get("contents") or sent["input"], ensure_ascii=False
    )
    for call in reply.tool_calls:
        assert call.name in history
        for value in json.loads(call.arguments).values():
            assert str(value) in history
    assert history.count('"21"') == len(reply.tool_calls)
