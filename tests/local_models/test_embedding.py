"""The embedding model: the guard before its C code, long texts, and the three wires to it."""

from __future__ import annotations

import math
import struct
import unicodedata
from base64 import b64decode
from itertools import pairwise
from typing import Any

import ollama
import openai
import pytest
from google import genai
from google.genai import types as genai_types

from local_models.server_process import ServerProcess
from pgagentos.local_models.embedding import MAX_TEXT_CHARACTERS, Embedder, clean_text, windows

MODEL = "multilingual-e5-small"
#: Each stands for a way to break the engine; the first one aborts it without the guard.
HOSTILE = {
    "U+FDFA x 500": "\ufdfa" * 500,
    "NULs": "before\0after" * 100,
    "only a NUL": "\0",
    "lone surrogates": "a\ud800b\udfffc" * 50,
    "a surrogate pair the wrong way round": "\udc00\ud800",
    "combining marks": "e" + "\u0301" * 2_500,
    "the last code points": "\U0010ffff\U000fffff\ufffe\uffff",
    "no text": "",
    "white space": " \t\n\u3000" * 500,
    "one long word": "w" * 3_000,
    "72,000 characters": "Seoul is the capital of Korea.. " * 2_250,
}


def embed(server: ServerProcess, texts: str | list[str], **more: Any) -> list[list[float]]:
    status, answer = server.post("/v1/embeddings", {"model": MODEL, "input": texts, **more})
    assert status == 200, answer
    return [item["embedding"] for item in answer["data"]]


def similarity(one: list[float], two: list[float]) -> float:
    return sum(a * b for a, b in zip(one, two, strict=True))


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE.keys())
def test_no_text_brings_the_server_down(embedding_server: ServerProcess, text: str) -> None:
    [vector] = embed(embedding_server, text)
    assert len(vector) == 384
    assert math.isclose(similarity(vector, vector), 1, abs_tol=1e-5)
    assert embedding_server.process.poll() is None


def test_what_reaches_the_engine_is_normalised_and_clean() -> None:
    for text in HOSTILE.values():
        clean = clean_text(text)
        assert unicodedata.is_normalized("NFKC", clean)
        assert "\0" not in clean
        clean.encode("utf-8")


@pytest.mark.parametrize("length", [0, 1, 1_999, 2_000, 2_001, 12_345])
@pytest.mark.parametrize("pattern", ["ab", "word ", "긴글 "])
def test_windows_cover_the_text_and_keep_their_limit(pattern: str, length: int) -> None:
    text = (pattern * length)[:length]
    pieces = list(windows(text))
    assert "".join(pieces) == text
    assert all(len(piece) <= 2_000 for piece in pieces)
    assert all(one and two for one, two in pairwise(pieces))


def test_windows_end_at_white_space_where_there_is_some() -> None:
    pieces = list(windows("eleven 글자씩 " * 1_000))
    assert len(pieces) > 1
    assert all(piece.startswith(" ") for piece in pieces[1:])


def test_a_long_text_is_near_to_what_it_is_about(embedding_server: ServerProcess) -> None:
    about_bread = "Knead the dough, let it rise and bake the bread in a hot oven. " * 200
    long, bread, planet = embed(
        embedding_server, [about_bread, "How bread is baked", "The orbits of the planets"]
    )
    assert similarity(long, bread) > similarity(long, planet) + 0.05


def test_a_question_finds_its_passage_in_another_language(embedding_server: ServerProcess) -> None:
    passages = ["The Han river flows through Seoul.", "Bread is made of flour and water."]
    river, bread = embed(embedding_server, passages, input_type="passage")
    [question] = embed(embedding_server, "서울에는 어떤 강이 흐르나요?", input_type="query")
    assert similarity(question, river) > similarity(question, bread) + 0.03


def test_query_and_passage_differ_and_a_text_may_say_which_it_is(
    embedding_server: ServerProcess,
) -> None:
    [query] = embed(embedding_server, "Seoul", input_type="query")
    [passage] = embed(embedding_server, "Seoul", input_type="document")
    [default, said] = embed(embedding_server, ["Seoul", "query: Seoul"])
    assert default == passage
    assert said == query
    assert query != passage


def test_a_client_that_goes_away_ends_the_work() -> None:
    class Gone(Exception):
        pass

    def leave_before_the_third_window() -> None:
        seen.append(1)
        if len(seen) == 3:
            raise Gone

    seen: list[int] = []
    embedder = Embedder()
    with pytest.raises(Gone):
        embedder.embed(["word " * 10_000], before_window=leave_before_the_third_window)
    assert len(seen) == 3
    assert len(embedder.embed(["the next one is served"]).vectors) == 1


def test_the_number_of_tokens_is_reported(embedding_server: ServerProcess) -> None:
    _, short = embedding_server.post("/v1/embeddings", {"input": "a word"})
    _, long = embedding_server.post("/v1/embeddings", {"input": "a word " * 1_000})
    assert 0 < short["usage"]["prompt_tokens"] < 12
    assert 2_000 <= long["usage"]["total_tokens"] < 2_100


@pytest.mark.parametrize(
    ("body", "complaint"),
    [
        ({}, "input must be"),
        ({"input": []}, "input must be"),
        ({"input": [1, 2, 3]}, "input must be"),
        ({"input": ["a", None]}, "input must be"),
        ({"input": "a", "dimensions": 256}, "384 dimensions"),
        ({"input": "a", "encoding_format": "int8"}, "encoding_format"),
        ({"input": "a", "input_type": "song"}, "input_type"),
        ({"input": "a", "input_type": ["query"]}, "input_type"),
        ({"input": ["a"] * 2_049}, "at most 2048"),
        ({"input": "a" * (MAX_TEXT_CHARACTERS + 1)}, "more than 100000 characters"),
        ({"input": "\ufdfa" * 20_000}, "more than 100000 characters"),
    ],
)
def test_what_cannot_be_embedded_is_refused(
    embedding_server: ServerProcess, body: Any, complaint: str
) -> None:
    status, answer = embedding_server.post("/v1/embeddings", body)
    assert status == 400
    assert complaint in answer["error"]["message"]
    assert answer["error"]["type"] == "invalid_request_error"


def test_base64_and_numbers_are_the_same_vector(embedding_server: ServerProcess) -> None:
    [numbers] = embed(embedding_server, "Seoul")
    [text] = embed(embedding_server, "Seoul", encoding_format="base64")
    decoded = struct.unpack("<384f", b64decode(str(text)))
    assert decoded == pytest.approx(numbers, abs=1e-6)


def test_the_official_clients_get_the_same_vector(embedding_server: ServerProcess) -> None:
    url, text = embedding_server.url, "서울"
    by_openai = (
        openai.OpenAI(base_url=f"{url}/v1", api_key="k")
        .embeddings.create(model=MODEL, input=[text])
        .data[0]
        .embedding
    )
    by_ollama = ollama.Client(host=url).embed(model=MODEL, input=text).embeddings[0]
    gemini = genai.Client(api_key="k", http_options=genai_types.HttpOptions(base_url=url))
    config = genai_types.EmbedContentConfig(task_type="RETRIEVAL_DOCUMENT")
    answer = gemini.models.embed_content(model=MODEL, contents=text, config=config)
    assert answer.embeddings is not None
    by_gemini = answer.embeddings[0].values
    assert list(by_ollama) == pytest.approx(by_openai, abs=1e-6)
    assert by_gemini == pytest.approx(by_openai, abs=1e-6)
