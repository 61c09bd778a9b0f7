"""What the gemini driver sends."""

from __future__ import annotations

from typing import Any

import pytest

from pgagentos.errors import InvalidInput
from pgagentos.providers import gemini
from pgagentos.providers.base import ChatRequest, Endpoint, Message
from pgagentos.providers.gemini_history import FOREIGN_SIGNATURE
from unit.providers.conversation import WEATHER, assistant, note, result, sent, user, wire

BASE = "https://generativelanguage.googleapis.com"
ENDPOINT = Endpoint("gemini", "gemini", BASE, "AIza1")


def with_options(**options: Any) -> Endpoint:
    return Endpoint("gemini", "gemini", BASE, "AIza1", options)


def body(*messages: Message, endpoint: Endpoint = ENDPOINT, **more: Any) -> dict[str, Any]:
    more.setdefault("model", "gemini-3.5-flash")
    return sent(gemini, endpoint, *messages, **more)


def contents(*messages: Message, **more: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = body(*messages, **more)["contents"]
    return found


def url(endpoint: Endpoint = ENDPOINT, model: str = "gemini-3.5-flash") -> str:
    return wire(gemini, endpoint, ChatRequest(model, "", [user("Hi")])).url


def own(*parts: dict[str, Any], ids: tuple[str, ...] = ()) -> dict[str, Any]:
    return {
        "driver": "gemini",
        "provider": "gemini",
        "model": "gemini-3.5-flash",
        "parts": list(parts),
        "call_ids": list(ids),
    }


def test_a_plain_conversation_is_sent_as_contents() -> None:
    assert body(user('안녕 "du"\n'), assistant("Hallo"), user("go on"), system="Be brief.") == {
        "systemInstruction": {"parts": [{"text": "Be brief."}], "role": "user"},
        "contents": [
            {"parts": [{"text": '안녕 "du"\n'}], "role": "user"},
            {"parts": [{"text": "Hallo"}], "role": "model"},
            {"parts": [{"text": "go on"}], "role": "user"},
        ],
        "generationConfig": {},
    }


def test_the_address_holds_version_and_model() -> None:
    assert url() == f"{BASE}/v1beta/models/gemini-3.5-flash:generateContent"
    assert url(with_options(api_version="v1")).startswith(f"{BASE}/v1/models/")
    assert url(Endpoint("g", "gemini", "http://h/v1alpha")).startswith("http://h/v1alpha/models/")
    assert url(model="tunedModels/mine").endswith("/v1beta/tunedModels/mine:generateContent")


@pytest.mark.parametrize("model", ["", "a b", "x?key=1", "../v1/files", "m#1"])
def test_a_model_name_that_would_change_the_address_is_refused(model: str) -> None:
    with pytest.raises(InvalidInput):
        url(model=model)


def test_the_key_travels_in_a_header_and_not_in_the_address() -> None:
    made = wire(gemini, ENDPOINT, ChatRequest("gemini-3.5-flash", "", [user("Hi")]))
    assert dict(made.headers)["x-goog-api-key"] == "AIza1"
    assert "AIza1" not in made.url


def test_a_conversation_without_text_is_refused() -> None:
    with pytest.raises(InvalidInput):
        body(user(" "))


# --- calls and responses -------------------------------------------------------------------------


def test_edge_01_arguments_are_an_object_and_broken_ones_are_wrapped() -> None:
    for given, args in (({"a": 1}, {"a": 1}), ("{bad", {"invalid_json": "{bad"}), ("", {})):
        found = contents(user("?"), assistant("", ("c", "f", given)), result("c", "x"))
        assert found[1]["parts"][0]["functionCall"] == {"args": args, "name": "f"}


def test_edge_02_a_generated_id_is_never_sent() -> None:
    found = contents(user("?"), assistant("", ("call_9", "f", {})), result("call_9", "x"))
    assert "call_9" not in str(found)


def test_edge_02_geminis_own_id_goes_back_with_call_and_response() -> None:
    part = {"functionCall": {"id": "fc-7", "name": "f", "args": {}}, "thoughtSignature": "AB=="}
    reply = assistant("", ("fc-7", "f", {}), vendor=own(part, ids=("fc-7",)))
    found = contents(user("?"), reply, result("fc-7", "x"))
    assert found[1]["parts"] == [part]
    assert found[2]["parts"][0]["functionResponse"]["id"] == "fc-7"


def test_edge_04_a_call_without_a_result_gets_an_error_response() -> None:
    found = contents(user("?"), assistant("", ("c", "f", {})), user("go on"))
    assert list(found[2]["parts"][0]["functionResponse"]["response"]) == ["error"]


def test_parallel_calls_and_their_responses_are_one_content_each() -> None:
    found = contents(
        user("?"),
        assistant("Both.", ("c1", "f", {}), ("c2", "g", {})),
        result("c1", "one"),
        result("c2", "boom", is_error=True),
        model="gemini-2.5-flash",
    )
    assert found[1:] == [
        {
            "parts": [
                {"text": "Both."},
                {"functionCall": {"args": {}, "name": "f"}},
                {"functionCall": {"args": {}, "name": "g"}},
            ],
            "role": "model",
        },
        {
            "parts": [
                {"functionResponse": {"name": "f", "response": {"output": "one"}}},
                {"functionResponse": {"name": "g", "response": {"error": "boom"}}},
            ],
            "role": "user",
        },
    ]


def test_edge_25_responses_and_text_never_share_a_content() -> None:
    found = contents(
        user("?"), assistant("", ("c1", "f", {})), result("c1", "one"), user("and?"), note("N")
    )
    kinds = [{key for part in content["parts"] for key in part} for content in found]
    assert kinds == [
        {"text"},
        {"functionCall", "thoughtSignature"},
        {"functionResponse"},
        {"text"},
    ]


def test_edge_19_a_history_that_begins_with_the_model_gets_an_empty_user_content() -> None:
    assert contents(assistant("Hello"), user("Hi"))[0] == {"parts": [{"text": ""}], "role": "user"}


def test_edge_19_an_empty_reply_is_skipped() -> None:
    assert contents(user("a"), assistant(""), user("b")) == [
        {"parts": [{"text": "a"}, {"text": "b"}], "role": "user"}
    ]


# --- edge case 8: signatures ---------------------------------------------------------------------


def test_edge_08_a_signature_goes_back_on_its_own_part() -> None:
    parts = (
        {"text": "Let me see."},
        {"functionCall": {"name": "f", "args": {}}, "thoughtSignature": "c2ln+/=="},
        {"functionCall": {"name": "g", "args": {}}},
        {"text": "", "thoughtSignature": "ZW5k"},
    )
    reply = assistant(
        "Let me see.", ("c1", "f", {}), ("c2", "g", {}), vendor=own(*parts, ids=("c1", "c2"))
    )
    found = contents(user("?"), reply, result("c1", "x"), result("c2", "y"))
    assert found[1]["parts"] == list(parts)
    assert [part["functionResponse"]["name"] for part in found[2]["parts"]] == ["f", "g"]


def test_edge_08_foreign_calls_get_the_documented_stand_in_on_the_first_of_each_step() -> None:
    found = contents(
        user("?"),
        assistant("", ("c1", "f", {}), ("c2", "g", {})),
        result("c1", "x"),
        result("c2", "y"),
        assistant("", ("c3", "f", {})),
        result("c3", "z"),
    )
    signatures = [
        [part.get("thoughtSignature") for part in content["parts"]]
        for content in found
        if content["role"] == "model"
    ]
    assert signatures == [[FOREIGN_SIGNATURE, None], [FOREIGN_SIGNATURE]]


def test_edge_08_models_before_gemini_3_get_no_stand_in() -> None:
    found = contents(
        user("?"), assistant("", ("c1", "f", {})), result("c1", "x"), model="gemini-2.5-pro"
    )
    assert FOREIGN_SIGNATURE not in str(found)


def test_edge_28_the_signature_of_another_provider_is_not_sent() -> None:
    vendor = {
        **own({"functionCall": {"name": "f", "args": {}}, "thoughtSignature": "xx"}, ids=("c1",)),
        "provider": "vertex",
    }
    found = contents(user("?"), assistant("", ("c1", "f", {}), vendor=vendor), result("c1", "x"))
    assert found[1]["parts"][0]["thoughtSignature"] == FOREIGN_SIGNATURE


def test_edge_27_parts_of_a_server_tool_go_back_only_while_one_is_declared() -> None:
    code = {"executableCode": {"language": "PYTHON", "code": "1"}}
    reply = assistant("One.", vendor=own(code, {"text": "One."}))
    assert contents(user("?"), reply, user("ok"))[1]["parts"] == [{"text": "One."}]
    declared = with_options(server_tools=[{"codeExecution": {}}])
    found = body(user("?"), reply, user("ok"), endpoint=declared)
    assert found["contents"][1]["parts"] == [code, {"text": "One."}]
    assert found["tools"] == [{"codeExecution": {}}]


# --- tools, configuration ------------------------------------------------------------------------


def test_tools_are_declared_with_their_json_schema() -> None:
    found = body(user("Hi"), tools=(WEATHER,))
    assert found["tools"] == [
        {
            "functionDeclarations": [
                {
                    "description": "Current weather of a city",
                    "name": "get_weather",
                    "parametersJsonSchema": WEATHER.parameters,
                }
            ]
        }
    ]
    assert "toolConfig" not in found


def test_edge_23_the_openapi_dialect_rewrites_the_schemas() -> None:
    endpoint = with_options(schema_dialect="openapi")
    declaration = body(user("Hi"), tools=(WEATHER,), endpoint=endpoint)["tools"][0]
    parameters = declaration["functionDeclarations"][0]["parameters"]
    assert "additionalProperties" not in parameters
    assert parameters["properties"] == {"city": {"type": "string"}}
    config = body(
        user("Hi"),
        endpoint=endpoint,
        params={"response_schema": {"const": "a", "title": "T"}},
    )["generationConfig"]
    assert config["responseSchema"] == {"enum": ["a"], "type": "string"}


@pytest.mark.parametrize(("choice", "mode"), [("required", "ANY"), ("none", "NONE")])
def test_edge_13_a_tool_choice_is_sent_only_with_tools(choice: str, mode: str) -> None:
    found = body(user("Hi"), tools=(WEATHER,), tool_choice=choice)
    assert found["toolConfig"] == {"functionCallingConfig": {"mode": mode}}
    assert "toolConfig" not in body(user("Hi"), tool_choice=choice)


def test_parameters_have_geminis_names() -> None:
    params = {
        "max_output_tokens": 100000,
        "temperature": 0.2,
        "top_p": 0.9,
        "stop": ["a", "", "b", "c", "d", "e", "f"],
        "seed": 0,
    }
    found = body(user("Hi"), params=params, capabilities={"max_output_tokens": 65536})
    assert found["generationConfig"] == {
        "temperature": 0.2,
        "topP": 0.9,
        "maxOutputTokens": 65536,
        "stopSequences": ["a", "b", "c", "d", "e"],
        "seed": 0,
    }


def test_edge_10_sampling_is_left_out_where_the_registry_says_so() -> None:
    found = body(user("Hi"), params={"temperature": 1}, capabilities={"temperature": False})
    assert found["generationConfig"] == {}


@pytest.mark.parametrize(
    ("model", "capabilities", "effort", "expected"),
    [
        ("gemini-3.5-flash", {}, "high", {"thinkingLevel": "HIGH"}),
        ("gemini-3.5-flash", {}, "max", {"thinkingLevel": "HIGH"}),
        ("gemini-3.5-flash", {}, "none", {"thinkingLevel": "MINIMAL"}),
        ("gemini-4-argon", {"efforts": ["low", "high"]}, "medium", {"thinkingLevel": "LOW"}),
        ("gemini-4-argon", {"efforts": ["low", "high"]}, "none", {"thinkingLevel": "LOW"}),
        ("gemini-2.5-flash", {"reasoning": True}, "none", {"thinkingBudget": 0}),
        ("gemini-2.5-pro", {"reasoning": True}, "none", {"thinkingBudget": 128}),
        ("gemini-2.5-flash", {"reasoning": True}, "high", {"thinkingBudget": 24576}),
        ("gemini-2.0-flash", {}, "high", None),
        ("gemini-3.5-flash", {"reasoning": False}, "high", None),
        ("gemini-3.5-flash", {}, None, None),
    ],
)
def test_effort_is_a_level_or_a_budget(
    model: str, capabilities: dict[str, Any], effort: str | None, expected: Any
) -> None:
    params = {"reasoning_effort": effort} if effort else {}
    found = body(user("Hi"), model=model, capabilities=capabilities, params=params)
    assert found["generationConfig"].get("thinkingConfig") == expected


def test_thoughts_can_be_asked_for() -> None:
    found = body(user("Hi"), endpoint=with_options(include_thoughts=True))
    assert found["generationConfig"]["thinkingConfig"] == {"includeThoughts": True}


def test_json_mode_and_tools_go_together_only_since_gemini_3() -> None:
    wish: dict[str, Any] = {
        "params": {"response_schema": {"type": "object"}},
        "tools": (WEATHER,),
    }
    assert body(user("Hi"), **wish)["generationConfig"] == {
        "responseMimeType": "application/json",
        "responseJsonSchema": {"type": "object"},
    }
    assert body(user("Hi"), model="gemini-2.5-flash", **wish)["generationConfig"] == {}


def test_edge_22_a_longer_history_keeps_the_prefix_of_the_shorter_one() -> None:
    history = [user("a"), assistant("", ("x", "f", {})), result("x", "1")]
    shorter = contents(*history)
    assert contents(*history, assistant("b"), user("c"))[: len(shorter)] == shorter


def test_edge_26_a_note_in_the_middle_is_tagged_text_of_the_user() -> None:
    found = contents(user("a"), assistant("b"), note("Be quick."))
    assert found[2] == {"parts": [{"text": "<system>Be quick.</system>"}], "role": "user"}
