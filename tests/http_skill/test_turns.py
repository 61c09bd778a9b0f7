"""An http skill in a turn: from the model's call to its next request, and what is left behind."""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable
from typing import Any

import psycopg
import pytest
from psycopg.types.json import Jsonb

from cluster import Database
from kernel.background import Background
from kernel.replies import calls, says, tool_call
from kernel.scene import Scene, make_scene
from pgagentos.skills.http_skill import NO_SECRET, NOT_ALLOWED, UNREACHABLE
from servers.play_server import Answer, Play, PlayServer

#: It looks like no vendor's key, so that only a program that knows it can cut it out.
SECRET = "Zauberwort+geheim/0123456789abcdef=="
#: Far more than a stop may take, and far less than what is waited for.
BOUND = 2.0


def register(scene: Scene, service: Play, skill: str = "order", **named: Any) -> Any:
    """Register a skill of the scene's tenant on the service, allow its host and grant it."""
    given: dict[str, Any] = {
        "description": "An order by its number.",
        "parameters": {
            "type": "object",
            "properties": {"id": {"type": "string"}},
            "required": ["id"],
        },
        "method": "GET",
        "url": f"{service.url}/orders/{{id}}",
        "tenant_id": scene.tenant_id,
    } | named
    values = [Jsonb(v) if isinstance(v, dict) else v for v in given.values()]
    names = ", ".join(f"{name} => %s" for name in given)
    skill_id = scene.value(f"select aos_skills.register_http_skill(%s, {names})", skill, *values)
    allow(scene, service, skill)
    scene.value("select aos_agent.grant_skill(%s, %s)", scene.name, skill)
    return skill_id


def allow(scene: Scene, service: Play, skill: str | None) -> None:
    """Let a skill call the service on this machine, as an operator may."""
    port = int(service.base_url.rpartition(":")[2])
    scene.value(
        "select aos_skills.allow_host('127.0.0.1', %s, %s, %s, 'http', true)",
        scene.tenant_id,
        skill,
        port,
    )


def set_secret(scene: Scene, tenant_id: Any, *hosts: str) -> None:
    """Store :data:`SECRET` under the scene's name."""
    scene.value(
        "select aos_meta.set_secret(%s, %s, %s, %s)",
        scene.name,
        SECRET,
        tenant_id,
        list(hosts) or None,
    )


def result(scene: Scene) -> dict[str, Any]:
    """What the model was shown of the last call's answer."""
    found: dict[str, Any] = json.loads(scene.tool_results()[-1].split("\n")[2])
    return found


def refused_lines(log: str, scene: Scene) -> list[dict[str, Any]]:
    """The lines of the server's log about what was refused to this scene's tenant."""
    found = [line[line.index('{"source"') :] for line in log.splitlines() if '{"source"' in line]
    values = [json.loads(line) for line in found if line.endswith("}")]
    return [
        value
        for value in values
        if value.get("tenant_id") == scene.tenant_id and value["event"].endswith("_refused")
    ]


# --- the way through -----------------------------------------------------------------------------


def test_a_model_calls_a_service_and_reads_its_answer(scene: Scene, service: Play) -> None:
    register(scene, service)
    service.add(Answer({"total": 12.5}))
    scene.says(calls(tool_call("order", {"id": "a/../b"})), says("refused"))
    scene.ask()
    scene.says(calls(tool_call("order", {"id": "7/8"})), says("12.50 euros"))
    assert scene.ask("what does order 7/8 cost?") == "12.50 euros"
    assert [request.path for request in service.requests()] == ["/orders/7%2F8"]
    assert "untrusted data (HTTP response)" in scene.tool_results()[-1]
    assert result(scene) == {
        "status": 200,
        "content_type": "application/json",
        "body": '{"total": 12.5}',
        "truncated": False,
    }
    assert scene.shape() == ["model completed", "tool completed", "model completed"]


def test_http_request_goes_where_the_list_says(scene: Scene, service: Play) -> None:
    allow(scene, service, "http_request")
    scene.value("select aos_agent.grant_skill(%s, 'http_request')", scene.name)
    service.add(Answer("made", status=201, headers={"content-type": "text/plain"}))
    wanted = {
        "url": f"{service.url}/orders",
        "method": "POST",
        "body": "{}",
        "headers": {"X-A": "b"},
    }
    scene.says(calls(tool_call("http_request", wanted)), says("done"))
    assert scene.ask() == "done"
    assert result(scene)["status"] == 201
    assert service.requests()[0].headers["x-a"] == "b"


def test_a_call_that_needs_a_yes_is_sent_after_it_and_not_before(
    scene: Scene, service: Play
) -> None:
    register(scene, service, approval="ask")
    service.add(Answer({"total": 1}))
    scene.says(calls(tool_call("order", {"id": "7"})), says("one"))
    turn_id = scene.start()
    assert scene.run_turn(turn_id)["status"] == "awaiting_approval"
    assert service.requests() == []
    scene.value("select aos_agent.approve_tool_call(%s)", scene.steps()[-1]["step_id"])
    assert scene.run_turn(turn_id)["answer"] == "one"
    assert len(service.requests()) == 1


def test_a_worker_outside_has_the_call_made_inside(scene: Scene, service: Play) -> None:
    register(scene, service)
    scene.set_agent("runner", "external")
    service.add(Answer({"total": 1}))
    turn_id = scene.start()
    state = scene.value(
        "select aos_agent.process_tool_call(%s, 'order', %s)", turn_id, Jsonb({"id": "7"})
    )
    assert state["status"] == "completed"
    assert "untrusted data" in json.dumps(state["result"])
    assert len(service.requests()) == 1


def test_a_skill_of_another_tenant_is_not_there(
    scene: Scene, service: Play, vault: Database, play_server: PlayServer
) -> None:
    register(scene, service)
    with vault.connect() as connection:
        stranger = make_scene(connection, play_server.play(f"{scene.play.name}-stranger"))
        stranger.value("select aos_agent.grant_skill(%s, 'http_request')", stranger.name)
        stranger.says(
            calls(tool_call("order", {"id": "7"})),
            calls(tool_call("http_request", {"url": f"{service.url}/x"})),
            says("nothing"),
        )
        stranger.ask()
        assert "There is no tool order" in stranger.tool_results()[0]
        assert stranger.tool_results()[-1] == NOT_ALLOWED
    assert service.requests() == []


# --- refusals ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "host", "text"),
    [
        ("https://evil.example/", "evil.example", NOT_ALLOWED),
        ("http://169.254.169.254/latest/meta-data/", "169.254.169.254", UNREACHABLE),
        ("https://10.0.0.1/", "10.0.0.1", UNREACHABLE),
        ("https://[::1]/", "::1", UNREACHABLE),
        ("https://localhost/", "localhost", UNREACHABLE),
        ("http://2130706433/", "", "The host of the URL is not written in its usual form."),
    ],
)
def test_a_refused_call_fails_in_one_sentence_and_stays_in_the_log(
    scene: Scene, log: Callable[[], str], url: str, host: str, text: str
) -> None:
    """Whatever becomes of the turn: here its transaction is rolled back."""
    for listed, scheme, private in (
        ("169.254.169.254", "http", True),
        ("10.0.0.1", "https", False),
        ("::1", "https", False),
        ("localhost", "https", False),
    ):
        scene.value(
            "select aos_skills.allow_host(%s, %s, scheme => %s, allow_private => %s)",
            listed,
            scene.tenant_id,
            scheme,
            private,
        )
    scene.value("select aos_agent.grant_skill(%s, 'http_request')", scene.name)
    scene.says(calls(tool_call("http_request", {"url": url})), says("I could not"))
    with scene.connection.transaction(force_rollback=True):
        assert scene.ask() == "I could not"
        assert scene.shape() == ["model completed", "tool failed", "model completed"]
    assert scene.tool_results() == [text]
    assert scene.rows("select from aos_core.run where tenant_id = %s", scene.tenant_id) == []
    [line] = refused_lines(log(), scene)
    assert (line["event"], line["skill"], line["host"]) == ("ssrf_refused", "http_request", host)


def test_a_call_that_times_out_fails_and_the_turn_goes_on(scene: Scene, service: Play) -> None:
    register(scene, service, timeout_seconds=0.2)
    service.add(Answer("x", fault="silence"))
    scene.says(calls(tool_call("order", {"id": "7"})), says("too slow"))
    assert scene.ask() == "too slow"
    assert scene.tool_results() == ["Timed out after 0.2 s."]


# --- secrets -------------------------------------------------------------------------------------


def test_a_secret_is_sent_and_is_nowhere_else(
    scene: Scene, service: Play, log: Callable[[], str], vault: Database
) -> None:
    """The service repeats it in all it says: in an answer, an error, a redirect, a header."""
    set_secret(scene, scene.tenant_id, "127.0.0.1")
    register(scene, service, headers={"Authorization": f"Bearer {{secret:{scene.name}}}"})
    service.add(
        Answer({"you": f"Bearer {SECRET}", "escaped": SECRET.replace("/", "\\/")}),
        Answer(
            f"bad key {SECRET}", status=401, headers={"content-type": "text/plain", "x-a": SECRET}
        ),
        Answer("", status=302, headers={"location": f"http://evil.example/{SECRET}"}),
        Answer(SECRET, headers={"content-type": f"image/{SECRET}"}),
        Answer(SECRET, headers={"content-encoding": SECRET}),
    )
    scene.says(*[calls(tool_call("order", {"id": str(n)})) for n in range(5)], says("done"))
    assert scene.ask() == "done"
    assert [r.headers["authorization"] for r in service.requests()] == [f"Bearer {SECRET}"] * 5
    assert json.loads(json.loads(scene.tool_results()[0].split("\n")[2])["body"]) == {
        "you": "Bearer [secret]",
        "escaped": "[secret]",
    }
    seen = json.dumps([scene.play.bodies(), scene.warnings]) + scene.everything()
    for row in scene.rows(
        "select format('%I.%I', n.nspname, c.relname) as t from pg_class c"
        " join pg_namespace n on n.oid = c.relnamespace"
        " where n.nspname like 'aos\\_%' and c.relkind = 'r'"
    ):
        seen += json.dumps(scene.rows(f"select to_json(t) as r from {row['t']} as t"), default=str)
    seen += json.dumps(scene.rows("select query from pg_stat_activity"))
    # set_secret above was given it as a parameter, which this server is told not to log.
    seen += log()
    assert SECRET not in seen
    assert SECRET[:-2] not in seen
    assert SECRET.replace("/", "\\/") not in seen


@pytest.mark.parametrize(
    ("owner", "skill_is_shared", "hosts", "works"),
    [
        ("tenant", False, ("127.0.0.1",), True),
        ("operator", True, ("127.0.0.1",), True),
        # An operator's secret in a skill that a tenant has written would go where the tenant says.
        ("operator", False, ("127.0.0.1",), False),
        ("tenant", True, ("127.0.0.1",), False),
        ("other tenant", False, ("127.0.0.1",), False),
        ("tenant", False, ("api.example",), False),
        ("tenant", False, (), False),
        ("nobody", False, (), False),
    ],
)
def test_a_secret_goes_only_with_its_owners_skill_to_its_own_hosts(
    scene: Scene,
    service: Play,
    log: Callable[[], str],
    owner: str,
    skill_is_shared: bool,
    hosts: tuple[str, ...],
    works: bool,
) -> None:
    owners = {"tenant": scene.tenant_id, "operator": None}
    if owner == "other tenant":
        owners[owner] = scene.value(
            "insert into aos_auth.tenant (name) values (%s) returning tenant_id",
            f"{scene.name}_other",
        )
    if owner != "nobody":
        set_secret(scene, owners[owner], *hosts)
    register(
        scene,
        service,
        headers={"X-Key": f"{{secret:{scene.name}}}"},
        tenant_id=None if skill_is_shared else scene.tenant_id,
    )
    service.add(Answer("ok"))
    scene.says(calls(tool_call("order", {"id": "7"})), says("done"))
    assert scene.ask() == "done"
    assert (len(service.requests()) == 1) is works
    if not works:
        assert scene.tool_results() == [NO_SECRET]
        [line] = refused_lines(log(), scene)
        assert (line["event"], line["host"]) == ("http_secret_refused", "127.0.0.1")


def test_a_secret_that_is_taken_back_is_not_sent_again(scene: Scene, service: Play) -> None:
    """In the same session: nothing remembers it."""
    set_secret(scene, scene.tenant_id, "127.0.0.1")
    register(scene, service, headers={"X-Key": f"{{secret:{scene.name}}}"})
    service.add(Answer("ok", is_last=True))
    for works in (True, False):
        scene.says(calls(tool_call("order", {"id": "7"})), says("done"))
        scene.ask()
        assert (scene.tool_results()[-1] != NO_SECRET) is works
        if works:
            scene.value("select aos_meta.drop_secret(%s, %s)", scene.name, scene.tenant_id)
    assert len(service.requests()) == 1


# --- a cancel ------------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", ["silence", "drip"])
@pytest.mark.parametrize("stop", ["pg_cancel_backend", "pg_terminate_backend"])
def test_a_stop_ends_the_wait_for_a_service_and_leaves_nothing(
    scene: Scene,
    service: Play,
    vault: Database,
    in_background: Background,
    fault: str,
    stop: str,
) -> None:
    register(scene, service)
    service.add(Answer("x" * 100_000, fault=fault))
    scene.says(calls(tool_call("order", {"id": "7"})))

    def outcome() -> tuple[float, psycopg.Error]:
        with pytest.raises(psycopg.Error) as caught:
            scene.ask()
        return time.monotonic(), caught.value

    turn = in_background(outcome)
    service.arrived(1)
    with vault.connect() as observer:
        sent = time.monotonic()
        observer.execute(f"select {stop}(%s)", (scene.connection.info.backend_pid,))
        ended, error = turn.result()
        assert ended - sent < BOUND
        assert error.sqlstate in ("57014", "57P01", None)
        print(f"\n{stop} during {fault}: {(ended - sent) * 1000:.0f} ms")
        for table in ("aos_core.run", "aos_core.step", "aos_agent.conversation"):
            row = observer.execute(
                f"select count(*) from {table} where tenant_id = %s", (scene.tenant_id,)
            ).fetchone()
            assert row == (0,), table
    if stop == "pg_cancel_backend":
        scene.says(says("still here"))
        assert scene.ask() == "still here"


def test_what_a_call_costs(scene: Scene, service: Play) -> None:
    """Prints it; nothing is asserted on time."""
    register(scene, service)
    service.add(Answer({"total": 1}, is_last=True))
    turns = []
    for _ in range(20):
        scene.says(calls(tool_call("order", {"id": "7"})), says("one"))
        began = time.perf_counter()
        assert scene.ask() == "one"
        turns.append(time.perf_counter() - began)
    print(f"\na turn with one http call: {statistics.median(turns) * 1000:.1f} ms in the median")
    assert len(service.requests()) == 20
