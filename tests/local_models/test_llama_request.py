"""What llama.cpp would refuse or misread is adapted before it gets there."""

from __future__ import annotations

import json
from typing import Any

import pytest

from pgagentos.local_models.llama_request import adapt


def chat(arguments: Any) -> dict[str, Any]:
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": arguments}}
    return {"messages": [{"role": "assistant", "content": None, "tool_calls": [call]}]}


@pytest.mark.parametrize("choice", ["none", {"type": "none"}])
def test_tools_that_must_not_be_called_are_not_shown(choice: Any) -> None:
    assert adapt({"tools": [{}], "tool_choice": choice, "model": "m"}) == {"model": "m"}


@pytest.mark.parametrize("choice", ["auto", "required", {"type": "any"}, None])
def test_tools_that_may_be_called_stay(choice: Any) -> None:
    body = {"tools": [{}], "tool_choice": choice}
    assert adapt(body) == body


@pytest.mark.parametrize("arguments", ['{"a": 1}', "{}"])
def test_a_history_that_is_fine_stays_as_it_is(arguments: str) -> None:
    assert adapt(chat(arguments)) == chat(arguments)


@pytest.mark.parametrize("arguments", ['{"a', "", "[1]", "7", "[" * 100_000])
def test_malformed_arguments_become_an_object_that_holds_them(arguments: str) -> None:
    adapted = adapt(chat(arguments))
    function = adapted["messages"][0]["tool_calls"][0]["function"]
    assert json.loads(function["arguments"]) == {"malformed": arguments}
    assert function["name"] == "f"
    items = adapt({"input": [{"type": "function_call", "arguments": arguments}]})["input"]
    assert json.loads(items[0]["arguments"]) == {"malformed": arguments}


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"messages": 7},
        {"messages": [7, {"role": "user", "content": "x"}, {"tool_calls": [None, {}]}]},
        {"input": "text"},
    ],
)
def test_what_is_not_understood_is_left_to_the_server(body: dict[str, Any]) -> None:
    assert adapt(body) == body
