"""Session memory, by words and by meaning, with an embedding server on TCP."""

from __future__ import annotations

import json
import math
from typing import Any

import psycopg
import pytest

from kernel.replies import AT_ONCE, calls, fails, says, tool_call
from kernel.scene import Scene, add_model
from servers.play_server import Answer, Play


def vector_answer(*numbers: float) -> Answer:
    """An embedding; source: OpenAI API reference, "Create embeddings"."""
    return Answer(
        {
            "object": "list",
            "model": "scripted",
            "data": [{"object": "embedding", "index": 0, "embedding": list(numbers)}],
            "usage": {"prompt_tokens": 3, "total_tokens": 3},
        }
    )


@pytest.fixture
def embedder(connection: psycopg.Connection, play: Play) -> str:
    """An embedding model that plays the script; it is the one that the setting names."""
    name = f"embedder-{play.name}"
    add_model(connection, name, f"{play.url}/v1")
    connection.execute(
        "update aos_meta.setting set value = to_jsonb(%s::text) where name = 'embedding_model'",
        (name,),
    )
    return name


@pytest.fixture(autouse=True)
def words_only(connection: psycopg.Connection) -> None:
    """Every test begins without an embedding model."""
    connection.execute("update aos_meta.setting set value = 'null' where name = 'embedding_model'")


def embed(connection: psycopg.Connection, content: str, *more: Any) -> list[float]:
    """Call aos_meta.embed."""
    row = connection.execute(
        f"select aos_meta.embed(%s{', %s' * len(more)})::text", (content, *more)
    ).fetchone()
    assert row is not None
    return [float(number) for number in row[0].strip("[]").split(",")]


def test_embed_returns_the_servers_vector(
    connection: psycopg.Connection, play: Play, words_only: None, embedder: str
) -> None:
    play.add(vector_answer(0.25, -1, 1e-7))
    assert embed(connection, "뜻") == pytest.approx([0.25, -1, 1e-7])
    (request,) = play.requests()
    assert request.path == "/v1/embeddings"
    assert request.json() == {"model": embedder, "input": ["뜻"], "encoding_format": "float"}


def test_embed_tells_queries_from_passages_where_the_model_does(
    connection: psycopg.Connection, play: Play, embedder: str
) -> None:
    connection.execute(
        """update aos_meta.provider set options = '{"input_type": true}' where provider = %s""",
        (embedder,),
    )
    play.add(vector_answer(1), vector_answer(1))
    embed(connection, "a question")
    embed(connection, "a passage", "passage")
    assert [body["input_type"] for body in play.bodies()] == ["query", "passage"]
    with pytest.raises(psycopg.Error, match="unknown") as caught:
        embed(connection, "x", "other")
    assert caught.value.sqlstate == "OS001"


@pytest.mark.parametrize(
    ("answer", "sqlstate"),
    [
        (fails(401, "who are you?"), "OS101"),
        (fails(404, "no such model"), "OS103"),
        (Answer({"data": []}), "OS111"),
        (Answer({"data": [{"embedding": "AAAA"}]}), "OS111"),
        (Answer("<html>", headers={"content-type": "text/html"}), "OS111"),
    ],
)
def test_embed_raises_what_its_provider_says(
    connection: psycopg.Connection, play: Play, embedder: str, answer: Answer, sqlstate: str
) -> None:
    assert embedder
    play.add(Answer(answer.body, answer.status, answer.headers, is_last=True))
    with pytest.raises(psycopg.Error) as caught:
        embed(connection, "text")
    assert caught.value.sqlstate == sqlstate


def test_embed_tries_again_when_its_provider_is_busy(
    connection: psycopg.Connection, play: Play, embedder: str
) -> None:
    assert embedder
    play.add(fails(429, **AT_ONCE), vector_answer(1, 2))
    assert embed(connection, "text") == [1, 2]


def test_embed_without_a_model_says_which_setting_is_missing(
    connection: psycopg.Connection,
) -> None:
    with pytest.raises(psycopg.Error) as caught:
        embed(connection, "text")
    assert caught.value.sqlstate == "OS001"
    assert "embedding_model" in (caught.value.diag.message_hint or "")


def remember(scene: Scene, **facts: str) -> None:
    """Let the model store facts and end the turn."""
    scene.says(
        calls(*(tool_call("memory_store", {"key": k, "content": v}) for k, v in facts.items())),
        says("stored"),
    )


def recalled(scene: Scene, query: dict[str, str]) -> list[str]:
    """Keys in the order in which the model reads them."""
    scene.says(calls(tool_call("memory_recall", query)), says("recalled"))
    assert scene.ask("what was it?", scene.run()["conversation_id"]) == "recalled"
    return [fact["key"] for fact in json.loads(scene.tool_results()[-1])]


def test_the_model_stores_and_recalls_by_words(scene: Scene) -> None:
    remember(scene, colour="the favourite colour is green", town="lives in 서울", pet="a cat")
    assert scene.ask("remember") == "stored"
    assert recalled(scene, {"query": "favourite colour"})[0] == "colour"
    assert recalled(scene, {"query": "서울"})[0] == "town"
    assert sorted(recalled(scene, {})) == ["colour", "pet", "town"]
    assert "context_conversation_id" not in str(scene.play.bodies()[0]["tools"])


def test_the_same_key_again_replaces_the_fact(scene: Scene) -> None:
    remember(scene, colour="green")
    scene.ask("remember")
    remember(scene, colour="blue")
    scene.ask("no, blue", scene.run()["conversation_id"])
    assert scene.rows(
        "select key, content from aos_core.session_memory where tenant_id = %s", scene.tenant_id
    ) == [{"key": "colour", "content": "blue"}]


def test_memory_belongs_to_its_conversation(scene: Scene) -> None:
    remember(scene, colour="green")
    scene.ask("remember")
    scene.says(calls(tool_call("memory_recall", {"query": "green"})), says("nothing"))
    assert scene.ask("another conversation") == "nothing"
    assert scene.tool_results() == ["[]"]


def test_with_an_embedding_model_memory_is_ordered_by_meaning(
    scene: Scene, connection: psycopg.Connection, embedder: str
) -> None:
    """The script is one for both: embeddings and replies come in the order of the requests."""
    assert embedder

    def direction(degrees: float) -> Answer:
        return vector_answer(math.cos(math.radians(degrees)), math.sin(math.radians(degrees)))

    facts = {"east": "a", "north": "b", "west": "c"}
    scene.says(
        calls(*(tool_call("memory_store", {"key": k, "content": v}) for k, v in facts.items())),
        *(direction(degrees) for degrees in (0, 90, 180)),
        says("stored"),
    )
    assert scene.ask("remember") == "stored"
    inputs = [body["input"] for body in scene.play.bodies() if "input" in body]
    assert inputs == [["east: a"], ["north: b"], ["west: c"]]
    for degrees, expected in ((170, "west north east"), (60, "north east west")):
        scene.says(
            calls(tool_call("memory_recall", {"query": "where?"})), direction(degrees), says("ok")
        )
        assert scene.ask("where?", scene.run()["conversation_id"]) == "ok"
        keys = [row["key"] for row in json.loads(scene.tool_results()[-1])]
        assert " ".join(keys) == expected


def test_an_embedding_server_that_is_down_fails_the_call_and_not_the_turn(
    scene: Scene, connection: psycopg.Connection, embedder: str
) -> None:
    connection.execute(
        "update aos_meta.provider set base_url = 'http://127.0.0.1:1/v1' where provider = %s",
        (embedder,),
    )
    remember(scene, colour="green")
    assert scene.ask("remember") == "stored"
    assert scene.tool_results()[0].startswith("OS110: ")
    assert (
        scene.value(
            "select count(*) from aos_core.session_memory where tenant_id = %s", scene.tenant_id
        )
        == 0
    )
