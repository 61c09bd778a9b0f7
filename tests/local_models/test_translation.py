"""Ollama's and Gemini's requests as chat completions, and chat completions as their answers."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from pgagentos.local_models import gemini_wire, ollama_wire
from pgagentos.local_models.chat_piece import Call, Piece, Usage, streamed_reply, whole_reply
from pgagentos.local_models.wire import WireError, error_body, wire_of

SCHEMA = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}


class TestOllama:
    def test_options_become_parameters(self) -> None:
        options = {"num_predict": 5, "temperature": 0, "top_k": 3, "stop": ["x"], "num_ctx": 99}
        body = {"model": "m", "messages": [], "options": options, "tools": []}
        assert ollama_wire.to_openai(body, chat=True) == {
            "model": "m",
            "messages": [],
            "max_tokens": 5,
            "temperature": 0,
            "top_k": 3,
            "stop": ["x"],
        }

    def test_no_limit_is_said_by_leaving_it_out(self) -> None:
        body = {"messages": [], "options": {"num_predict": -1}}
        assert "max_tokens" not in ollama_wire.to_openai(body, chat=True)

    @pytest.mark.parametrize(
        ("given", "wanted"),
        [
            ("json", {"type": "json_object"}),
            (
                SCHEMA,
                {"type": "json_schema", "json_schema": {"name": "answer", "schema": SCHEMA}},
            ),
        ],
    )
    def test_a_format_becomes_a_response_format(self, given: Any, wanted: Any) -> None:
        request = ollama_wire.to_openai({"prompt": "p", "format": given}, chat=False)
        assert request["response_format"] == wanted

    def test_results_are_paired_with_calls_by_name_and_then_by_order(self) -> None:
        calls = [{"function": {"name": n, "arguments": {"n": i}}} for i, n in enumerate("fgf")]
        messages = [
            {"role": "user", "content": "q"},
            {"role": "assistant", "content": "", "tool_calls": calls},
            {"role": "tool", "tool_name": "g", "content": "of g"},
            {"role": "tool", "tool_name": "f", "content": "of the first f"},
            {"role": "tool", "content": "of the second f"},
        ]
        sent = ollama_wire.to_openai({"messages": messages}, chat=True)["messages"]
        ids = [call["id"] for call in sent[1]["tool_calls"]]
        assert len(set(ids)) == 3
        assert [m["tool_call_id"] for m in sent[2:]] == [ids[1], ids[0], ids[2]]
        assert json.loads(sent[1]["tool_calls"][2]["function"]["arguments"]) == {"n": 2}

    def test_a_prompt_and_its_system_text_become_messages(self) -> None:
        request = ollama_wire.to_openai({"prompt": "p", "system": "s"}, chat=False)
        assert request["messages"] == [
            {"role": "system", "content": "s"},
            {"role": "user", "content": "p"},
        ]

    @pytest.mark.parametrize(
        "body",
        [
            {"messages": "text"},
            {"messages": [{}]},
            {"messages": [{"role": "assistant", "tool_calls": [{}]}]},
            {"messages": [], "options": []},
        ],
    )
    def test_malformed_requests_are_refused(self, body: Any) -> None:
        with pytest.raises(WireError) as caught:
            ollama_wire.to_openai(body | {"options": body.get("options", {}) or [1]}, chat=True)
        assert caught.value.status == 400

    def test_the_last_piece_has_calls_counts_and_reason(self) -> None:
        piece = Piece("", (Call("c1", "f", '{"n":1}'),), "tool_calls", Usage(7, 3))
        said = ollama_wire.from_piece(piece, "m", chat=True, started_ns=0)
        assert said["message"]["tool_calls"][0]["function"] == {
            "index": 0,
            "name": "f",
            "arguments": {"n": 1},
        }
        assert (said["done"], said["done_reason"]) == (True, "stop")
        assert (said["prompt_eval_count"], said["eval_count"]) == (7, 3)

    def test_an_answer_that_was_cut_off_says_so(self) -> None:
        said = ollama_wire.from_piece(Piece("x", finish="length"), "m", chat=False, started_ns=0)
        assert (said["response"], said["done_reason"]) == ("x", "length")


class TestGemini:
    def test_both_spellings_of_a_field_are_read(self) -> None:
        camel = {"contents": [], "generationConfig": {"maxOutputTokens": 5, "topP": 0.5}}
        snake = {"contents": [], "generation_config": {"max_output_tokens": 5, "top_p": 0.5}}
        wanted = {"model": "m", "messages": [], "max_tokens": 5, "top_p": 0.5}
        assert gemini_wire.to_openai(camel, "m") == wanted
        assert gemini_wire.to_openai(snake, "m") == wanted

    def test_a_conversation_with_parallel_calls_becomes_messages(self) -> None:
        contents = [
            {"role": "user", "parts": [{"text": "a"}, {"text": "b"}]},
            {
                "role": "model",
                "parts": [
                    {"text": "wait"},
                    {"functionCall": {"name": "f", "args": {"n": 1}}},
                    {"functionCall": {"id": "given", "name": "g"}},
                ],
            },
            {
                "role": "user",
                "parts": [
                    {"functionResponse": {"id": "given", "name": "g", "response": {"r": 2}}},
                    {"functionResponse": {"name": "f", "response": {"r": "서울"}}},
                ],
            },
        ]
        body = {"contents": contents, "systemInstruction": {"parts": [{"text": "s"}]}}
        sent = gemini_wire.to_openai(body, "m")["messages"]
        assert [m["role"] for m in sent] == ["system", "user", "assistant", "tool", "tool"]
        assert sent[1]["content"] == "ab"
        first, second = sent[2]["tool_calls"]
        assert second["id"] == sent[3]["tool_call_id"] == "given"
        assert first["id"] == sent[4]["tool_call_id"]
        assert sent[4]["content"] == '{"r": "서울"}'
        assert second["function"]["arguments"] == "{}"

    def test_schemas_become_json_schema_but_the_users_names_stay(self) -> None:
        schema = {
            "type": "OBJECT",
            "properties": {
                "type": {"type": "STRING", "enum": ["STRING", "OBJECT"]},
                "nullable": {"type": "INTEGER", "nullable": True},
            },
            "any_of": [{"type": "ARRAY", "items": {"type": "NUMBER"}}],
            "propertyOrdering": ["type"],
        }
        assert gemini_wire.json_schema(schema) == {
            "type": "object",
            "properties": {
                "type": {"type": "string", "enum": ["STRING", "OBJECT"]},
                "nullable": {"type": ["integer", "null"]},
            },
            "anyOf": [{"type": "array", "items": {"type": "number"}}],
        }

    @pytest.mark.parametrize(
        ("mode", "choice"), [("ANY", "required"), ("NONE", "none"), ("AUTO", "auto")]
    )
    def test_tools_and_their_mode(self, mode: str, choice: str) -> None:
        body = {
            "contents": [],
            "tools": [
                {"functionDeclarations": [{"name": "f", "parametersJsonSchema": SCHEMA}]},
                {"functionDeclarations": [{"name": "g", "description": "G"}]},
            ],
            "toolConfig": {"functionCallingConfig": {"mode": mode}},
        }
        request = gemini_wire.to_openai(body, "m")
        assert request["tool_choice"] == choice
        f, g = (tool["function"] for tool in request["tools"])
        assert f["parameters"] == SCHEMA
        assert (g["description"], g["parameters"]["type"]) == ("G", "object")

    @pytest.mark.parametrize("body", [{}, {"contents": [1]}, {"contents": [], "tools": [1]}])
    def test_malformed_requests_are_refused(self, body: Any) -> None:
        with pytest.raises(WireError) as caught:
            gemini_wire.to_openai(body, "m")
        assert caught.value.status == 400

    def test_malformed_arguments_end_the_candidate_as_gemini_does(self) -> None:
        said = gemini_wire.from_piece(Piece(calls=(Call("c", "f", "{"),), finish="stop"), "m")
        assert said["candidates"][0]["finishReason"] == "MALFORMED_FUNCTION_CALL"

    def test_without_sse_a_stream_is_one_json_array(self) -> None:
        pieces = [Piece("a"), Piece("b"), Piece(finish="stop", usage=Usage(2, 1))]
        whole = b"".join(gemini_wire.stream_events(pieces, "m", as_sse=False))
        said = json.loads(whole)
        texts = [part["text"] for r in said for part in r["candidates"][0]["content"]["parts"]]
        assert "".join(texts) == "ab"
        assert said[-1]["usageMetadata"]["totalTokenCount"] == 3


def breaking(pieces: list[Piece]) -> Iterator[Piece]:
    yield from pieces
    raise WireError(502, "it broke off")


class TestStreams:
    def lines(self, *chunks: Any) -> list[bytes]:
        events = [b"data: " + json.dumps(chunk).encode() + b"\n" for chunk in chunks]
        return [b": ping\n", *events, b"\n", b"data: [DONE]\n"]

    def test_fragments_of_calls_are_put_together(self) -> None:
        def delta(index: int, **function: str) -> Any:
            call = {"index": index, "id": f"c{index}" if "name" in function else None}
            return {"choices": [{"delta": {"tool_calls": [{**call, "function": function}]}}]}

        pieces = streamed_reply(
            self.lines(
                {"choices": [{"delta": {"role": "assistant", "content": "hm"}}]},
                delta(0, name="f", arguments='{"n"'),
                delta(1, name="g"),
                delta(0, arguments=":1}"),
                {"choices": [{"delta": {}, "finish_reason": "tool_calls"}]},
                {"choices": [], "usage": {"prompt_tokens": 4, "completion_tokens": 2}},
            )
        )
        assert list(pieces) == [
            Piece("hm"),
            Piece(
                calls=(Call("c0", "f", '{"n":1}'), Call("c1", "g", "")),
                finish="tool_calls",
                usage=Usage(4, 2),
            ),
        ]

    @pytest.mark.parametrize(
        "chunks",
        [
            [{"choices": [{"delta": {"content": "half"}}]}],
            [{"error": {"message": "out of memory"}}],
            [[1]],
            [{"choices": [7]}],
        ],
    )
    def test_a_stream_that_goes_wrong_is_an_error(self, chunks: list[Any]) -> None:
        with pytest.raises(WireError) as caught:
            list(streamed_reply(self.lines(*chunks)))
        assert caught.value.status == 502

    @pytest.mark.parametrize("body", [{}, {"choices": []}, {"choices": [{"message": 1}]}, []])
    def test_a_reply_of_another_shape_is_an_error(self, body: Any) -> None:
        with pytest.raises(WireError):
            whole_reply(body)

    def test_an_error_before_the_first_piece_can_still_become_a_status(self) -> None:
        with pytest.raises(WireError):
            next(ollama_wire.stream_lines(breaking([]), "m", chat=True, started_ns=0))
        with pytest.raises(WireError):
            next(gemini_wire.stream_events(breaking([]), "m", as_sse=True))

    def test_an_error_in_the_middle_is_the_last_thing_said(self) -> None:
        pieces = breaking([Piece("half")])
        lines = list(ollama_wire.stream_lines(pieces, "m", chat=True, started_ns=0))
        assert json.loads(lines[-1]) == {"error": "it broke off"}
        events = list(gemini_wire.stream_events(breaking([Piece("half")]), "m", as_sse=True))
        assert json.loads(events[-1].removeprefix(b"data: "))["error"]["code"] == 502


@pytest.mark.parametrize(
    ("path", "headers", "wire"),
    [
        ("/v1/chat/completions", {}, "openai"),
        ("/v1/responses", {}, "openai"),
        ("/v1/messages/count_tokens", {}, "anthropic"),
        ("/v1beta/models/m:generateContent", {}, "gemini"),
        ("/v1/models/m:generateContent", {}, "gemini"),
        ("/v1/models", {}, "openai"),
        ("/v1/models", {"x-goog-api-key": "k"}, "gemini"),
        ("/v1/models", {"anthropic-version": "2023-06-01"}, "anthropic"),
        ("/api/tags", {}, "ollama"),
        ("/", {}, "ollama"),
        ("/anything/else", {}, "openai"),
    ],
)
def test_the_path_tells_the_wire(path: str, headers: dict[str, str], wire: str) -> None:
    assert wire_of(path, headers) == wire


def test_every_wire_has_its_own_words_for_an_error() -> None:
    assert error_body("anthropic", 529, "m")["error"]["type"] == "overloaded_error"
    assert error_body("gemini", 429, "m")["error"]["status"] == "RESOURCE_EXHAUSTED"
    assert error_body("openai", 500, "m")["error"]["type"] == "server_error"
    assert error_body("ollama", 500, "m") == {"error": "m"}
