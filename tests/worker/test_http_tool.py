"""Requests of http skills by the worker, with the package requests: the rules of the database."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import trustme

from pgagentos.worker.http_tool import call_service
from servers.play_server import Answer, Play, start_play_server


def endpoint(play: Play, **members: Any) -> dict[str, Any]:
    """The member ``http`` of a pending call, as the database writes it."""
    port = int(play.base_url.rpartition(":")[2])
    return {
        "skill_id": "00000000-0000-0000-0000-000000000001",
        "name": "service",
        "skill_tenant_id": None,
        "method": "POST",
        "url_template": f"{play.url}/rate?city={{city}}",
        "headers": {"x-client": "shop"},
        "body_template": {"city": "{city}"},
        "timeout_seconds": 20,
        "max_request_bytes": 262144,
        "max_response_bytes": 1000,
        "max_body_characters": 50,
        "max_redirects": 0,
        "hosts": [{"scheme": "http", "host": "127.0.0.1", "port": port, "allow_private": True}],
    } | members


ARGUMENTS = json.dumps({"city": "Seoul & 서울"})


def test_a_request_goes_out_as_the_templates_say(play: Play) -> None:
    play.add(Answer({"rate": 7}))
    status, content = call_service(endpoint(play), ARGUMENTS, "turn-2")
    assert status == "completed"
    assert '"status":200' in content
    assert '{\\"rate\\": 7}' in content
    [request] = play.requests()
    assert request.path == "/rate?city=Seoul%20%26%20%EC%84%9C%EC%9A%B8"
    assert request.json() == {"city": "Seoul & 서울"}
    assert request.headers["idempotency-key"] == "turn-2"
    assert request.headers["x-client"] == "shop"
    assert request.headers["host"] == play.base_url.removeprefix("http://")


@pytest.mark.parametrize(
    ("members", "answer", "told"),
    [
        ({"hosts": []}, None, "The host is not on the allow-list."),
        ({"headers": {"authorization": "{secret:key}"}}, None, "A secret that the skill needs"),
        ({}, Answer("x" * 1001), "a usable HTTP answer of at most 1000 bytes"),
        ({}, Answer(status=302, headers={"location": "http://169.254.169.254/"}), "a redirect"),
        ({}, Answer(fault="reset"), "could not be reached"),
        ({"timeout_seconds": 0.2}, Answer(fault="silence"), "Timed out after 0.2 s."),
        ({"timeout_seconds": 0.2}, Answer("x" * 500, fault="drip"), "Timed out after 0.2 s."),
    ],
)
def test_what_goes_wrong_is_one_sentence_for_the_model(
    play: Play, members: dict[str, Any], answer: Answer | None, told: str
) -> None:
    if answer is not None:
        play.add(answer)
    status, content = call_service(endpoint(play, **members), ARGUMENTS, "turn-2")
    assert (status, told in content) == ("failed", True), content
    assert len(play.requests()) == (answer is not None)


def test_an_address_inside_needs_an_operators_yes(play: Play) -> None:
    closed = endpoint(play)
    closed["hosts"][0]["allow_private"] = False
    status, content = call_service(closed, ARGUMENTS, "turn-2")
    assert (status, "no public address" in content) == ("failed", True)
    assert play.requests() == []


def test_a_certificate_counts_for_the_name_and_the_connection_goes_to_the_judged_address(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority = trustme.CA()
    issued = authority.issue_cert("localhost")
    certificate, key = tmp_path / "server.pem", tmp_path / "key.pem"
    issued.private_key_and_cert_chain_pem.write_to_path(str(certificate))
    issued.private_key_and_cert_chain_pem.write_to_path(str(key))
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    with start_play_server(certificate, key) as server:
        play = server.play("tls")
        play.add(Answer("fine", headers={"content-type": "text/plain"}))
        host = {"scheme": "https", "host": "localhost", "port": server.port, "allow_private": True}
        members = {"url_template": f"https://localhost:{server.port}/tls/x", "hosts": [host]}
        status, content = call_service(endpoint(play, **members), ARGUMENTS, "turn-2")
        assert (status, "fine" in content) == ("completed", True), content
        [request] = play.requests()
        assert request.headers["host"] == f"localhost:{server.port}"
        # the same server under a name that its certificate has not
        members["url_template"] = f"https://127.0.0.1:{server.port}/tls/x"
        host["host"] = "127.0.0.1"
        status, content = call_service(endpoint(play, **members), ARGUMENTS, "turn-2")
        assert (status, "could not be reached" in content) == ("failed", True)
