"""The scripted provider says what its script says, and our gateway puts it on Ollama's wire."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from typing import Any

import anthropic
import ollama
import openai
import pytest
from google import genai
from google.genai import errors as genai_errors
from google.genai import types as genai_types

from servers.scripted_provider import Script, ollama_front, script, scripted_provider

__all__ = ["ollama_front", "script", "scripted_provider"]  # fixtures

PARAMETERS = {"type": "object", "properties": {"n": {"type": "integer"}}}
CHAT_TOOL: Any = {"type": "function", "function": {"name": "f", "parameters": PARAMETERS}}


@pytest.fixture
def openai_client(script: Script) -> openai.OpenAI:
    return openai.OpenAI(base_url=script.provider.openai_url, api_key="k", max_retries=0)


@pytest.fixture
def anthropic_client(script: Script) -> anthropic.Anthropic:
    return anthropic.Anthropic(base_url=script.provider.anthropic_url, api_key="k", max_retries=0)


@pytest.fixture
def gemini_client(script: Script) -> genai.Client:
    options = genai_types.HttpOptions(base_url=script.provider.gemini_url, api_version="v1beta")
    return genai.Client(api_key="k", http_options=options)


def ask(client: openai.OpenAI, script: Script) -> Any:
    return client.chat.completions.create(
        model=script.model, messages=[{"role": "user", "content": "hello"}]
    )


def test_replies_come_in_the_order_of_the_script(
    script: Script, openai_client: openai.OpenAI
) -> None:
    script.call(("f", {"n": 1}), ("f", {"n": 2}), text="two at once").say("done")
    first = ask(openai_client, script).choices[0]
    assert first.finish_reason == "tool_calls"
    assert [json.loads(c.function.arguments) for c in first.message.tool_calls] == [
        {"n": 1},
        {"n": 2},
    ]
    assert ask(openai_client, script).choices[0].message.content == "done"
    assert script.pending() == []
    assert [body["messages"][0]["content"] for body in script.bodies()] == ["hello", "hello"]


def test_scripts_of_two_models_do_not_meet(script: Script, openai_client: openai.OpenAI) -> None:
    other = script.provider.new_script().say("for the other one")
    script.say("for this one")
    assert ask(openai_client, script).choices[0].message.content == "for this one"
    assert len(other.pending()) == 1
    assert ask(openai_client, other).choices[0].message.content == "for the other one"


def test_a_rate_limit_names_its_wait(script: Script, openai_client: openai.OpenAI) -> None:
    script.fail(429, retry_after=1.5)
    with pytest.raises(openai.RateLimitError) as caught:
        ask(openai_client, script)
    assert caught.value.response.headers["retry-after"] == "2"
    assert caught.value.response.headers["retry-after-ms"] == "1500"
    assert [entry["status"] for entry in script.requests()] == [429]


@pytest.mark.parametrize("status", [400, 401, 404, 500, 503, 529])
def test_any_failure_can_be_scripted(
    script: Script, anthropic_client: anthropic.Anthropic, status: int
) -> None:
    script.fail(status)
    with pytest.raises(anthropic.APIStatusError) as caught:
        anthropic_client.messages.create(
            model=script.model, max_tokens=9, messages=[{"role": "user", "content": "hello"}]
        )
    assert caught.value.status_code == status


def test_malformed_arguments_are_not_json(script: Script, openai_client: openai.OpenAI) -> None:
    script.call_malformed("f", {"n": 1})
    [call] = ask(openai_client, script).choices[0].message.tool_calls
    assert call.function.name == "f"
    with pytest.raises(json.JSONDecodeError):
        json.loads(call.function.arguments)


def test_a_tool_can_be_called_that_was_never_offered(
    script: Script, anthropic_client: anthropic.Anthropic
) -> None:
    script.call_unknown()
    answer = anthropic_client.messages.create(
        model=script.model, max_tokens=9, messages=[{"role": "user", "content": "hello"}]
    )
    assert [block.name for block in answer.content if block.type == "tool_use"] == [
        "llmock_unknown_tool"
    ]


def test_an_answer_can_be_cut_off(script: Script, gemini_client: genai.Client) -> None:
    script.say("not all of", finish="length")
    answer = gemini_client.models.generate_content(model=script.model, contents="hello")
    assert answer.text == "not all of"
    assert answer.candidates is not None
    assert answer.candidates[0].finish_reason == genai_types.FinishReason.MAX_TOKENS


def test_gemini_failures_have_its_own_shape(script: Script, gemini_client: genai.Client) -> None:
    script.fail(429)
    with pytest.raises(genai_errors.ClientError) as caught:
        gemini_client.models.generate_content(model=script.model, contents="hello")
    assert (caught.value.code, caught.value.status) == (429, "RESOURCE_EXHAUSTED")


def test_usage_is_the_length_of_the_text_divided_by_four(
    script: Script, openai_client: openai.OpenAI
) -> None:
    script.say("x" * 40)
    usage = ask(openai_client, script).usage
    assert (usage.prompt_tokens, usage.completion_tokens) == (len("hello") // 4, 10)


def test_a_script_plays_on_ollamas_wire_too(script: Script, ollama_front: str) -> None:
    script.call(("f", {"n": 1}), ("f", {"n": 2})).say("done")
    client = ollama.Client(host=ollama_front)
    messages: list[Any] = [{"role": "user", "content": "hello"}]
    first = client.chat(model=script.model, messages=messages, tools=[CHAT_TOOL])
    calls = first.message.tool_calls or []
    assert [dict(call.function.arguments) for call in calls] == [{"n": 1}, {"n": 2}]
    messages += [first.message] + [{"role": "tool", "tool_name": "f", "content": "7"}] * 2
    assert client.chat(model=script.model, messages=messages).message.content == "done"
    sent = script.bodies()[1]["messages"]
    assert [call["id"] for call in sent[1]["tool_calls"]] == [m["tool_call_id"] for m in sent[2:]]


def test_a_failure_keeps_its_status_and_wait_on_ollamas_wire(
    script: Script, ollama_front: str
) -> None:
    script.fail(429, retry_after=3, message="slow down")
    body = {"model": script.model, "messages": [{"role": "user", "content": "hello"}]}
    request = urllib.request.Request(f"{ollama_front}/api/chat", json.dumps(body).encode())
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(request, timeout=30)
    assert caught.value.code == 429
    assert caught.value.headers["Retry-After"] == "3"
    assert json.load(caught.value) == {"error": "slow down"}


def test_malformed_arguments_become_text_on_ollamas_wire(script: Script, ollama_front: str) -> None:
    script.call_malformed("f", {"n": 1})
    answer = ollama.Client(host=ollama_front).chat(
        model=script.model, messages=[{"role": "user", "content": "hello"}]
    )
    assert not answer.message.tool_calls
    assert answer.message.content == '{"n"'


@pytest.mark.parametrize("kind", ["truncate", "disconnect", "malformed"])
def test_a_broken_stream_is_never_passed_on_as_a_whole_answer(
    script: Script, ollama_front: str, kind: str
) -> None:
    fault = {"type": "stream_fault", "kind": kind, "after_chunks": 3}
    script.say("one two three four five six seven").add(fault)
    messages = [{"role": "user", "content": "hello"}]
    with pytest.raises(ollama.ResponseError):
        list(ollama.Client(host=ollama_front).chat(script.model, messages, stream=True))
