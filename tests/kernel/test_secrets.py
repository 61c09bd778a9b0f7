"""A key goes to its provider and nowhere else: to no row, no error, no log."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from cluster import Cluster, Database
from kernel.conftest import API_KEY
from kernel.replies import fails, says
from kernel.scene import Scene, make_scene
from servers.play_server import Answer, Play


@pytest.fixture
def keyed(own_database: Database, play: Play) -> Iterator[Scene]:
    """An agent whose provider takes the key that is in the server's environment."""
    with own_database.connect() as connection:
        connection.execute("set log_min_messages = 'debug1'")
        connection.execute("set client_min_messages = 'debug1'")
        yield make_scene(connection, play, api_key_env="OPENAI_API_KEY")


def all_text_of(scene: Scene) -> str:
    """Everything that is kept or was said about the turn."""
    state = scene.run_turn(scene.run()["run_id"])
    check = scene.rows("select * from aos_core.check_installation()")
    runs = scene.rows("select to_json(r) as r from aos_meta.provider as r")
    return "\n".join(map(str, (scene.everything(), scene.warnings, state, check, runs)))


def test_the_key_is_sent_to_the_provider(keyed: Scene) -> None:
    keyed.says(says("hello"))
    assert keyed.ask() == "hello"
    (request,) = keyed.play.requests()
    assert request.headers["authorization"] == f"Bearer {API_KEY}"
    assert API_KEY not in all_text_of(keyed)


@pytest.mark.parametrize("carrier", ["wire", "sdk"])
@pytest.mark.parametrize(
    "answer",
    [
        fails(401, f"Incorrect API key provided: {API_KEY}."),
        fails(400, f"header 'Authorization: Bearer {API_KEY}' is bad", code=API_KEY),
        fails(400, "another key: sk-proj-abcdefghijklmnop and AIzaSyA0123456789abcdefghij"),
        Answer(f"<html>{API_KEY}</html>", headers={"content-type": "text/html"}),
        Answer(f"<html>Authorization: Bearer {API_KEY}</html>", status=403),
        Answer({"error": {"message": API_KEY, "type": API_KEY, "code": API_KEY}}),
        Answer(API_KEY, status=500, headers={"x-should-retry": "false"}),
    ],
    ids=["401", "400", "other_keys", "html", "403_html", "error_in_200", "500_text"],
)
def test_a_provider_that_repeats_the_key_does_not_get_it_into_rows_or_errors(
    keyed: Scene, own_cluster: Cluster, answer: Answer, carrier: str
) -> None:
    keyed.connection.execute(
        "update aos_meta.provider set carrier = %s where provider = %s", (carrier, keyed.name)
    )
    keyed.says(Answer(answer.body, answer.status, answer.headers, is_last=True))
    assert keyed.ask() is None
    text = all_text_of(keyed)
    for secret in (API_KEY, API_KEY[:16], "sk-proj-abcdefg", "AIzaSyA0123"):
        assert secret not in text
    assert own_cluster.home is not None
    log = Path(own_cluster.home / "server.log").read_text(errors="replace")
    assert API_KEY not in log
    keyed.play.release()


def test_a_base_url_that_cannot_be_used_shows_no_password(keyed: Scene) -> None:
    keyed.connection.execute(
        "update aos_meta.provider set base_url = 'http://user:Geheimnis7@127.0.0.1:1/v1?key=Geheimnis8'"
        " where provider = %s",
        (keyed.name,),
    )
    try:
        keyed.ask()
        text = f"{keyed.everything()} {keyed.warnings}"
    except psycopg.Error as error:
        text = f"{error} {error.diag.message_hint} {error.diag.message_detail}"
    assert "Geheimnis" not in text


def test_without_its_key_a_provider_is_driven_from_outside(
    connection: psycopg.Connection, play: Play
) -> None:
    scene = make_scene(connection, play, api_key_env="OPENAI_API_KEY")
    state = scene.run_turn(scene.start())
    assert state["status"] == "awaiting_model"
    assert state["reason"] == f"the database has no key for provider {scene.name}"
    assert play.requests() == []
