"""Whose secret is used, who may set it, and who may see what of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import psycopg
import pytest

from house import House
from kernel.replies import says
from kernel.scene import Scene
from stored_secrets.conftest import ENVIRONMENT_KEY

Login = Callable[..., House]

VISIBLE = "secret_id, tenant_id, name, key_id, hosts, available_to, updated_by"


def keys_sent(scene: Scene) -> list[str]:
    """The keys that the provider was called with, in order."""
    return [request.headers["authorization"] for request in scene.play.requests()]


def test_a_tenants_secret_comes_before_the_operators_and_that_before_the_environments(
    scene: Scene, operator: House
) -> None:
    scene.connection.execute("update aos_meta.provider set api_key_env = 'OPENAI_API_KEY'")
    scene.says(*(says("hello") for _ in range(4)))
    assert scene.ask() == "hello"
    operator.call("aos_meta.set_secret", "model_key", "of-the-operator")
    assert scene.ask() == "hello"
    operator.call("aos_meta.set_secret", "model_key", "of-the-tenant", scene.tenant_id)
    operator.call("aos_meta.set_secret", "model_key", "of-another", operator.tenant())
    assert scene.ask() == "hello"
    operator.call("aos_meta.drop_secret", "model_key", scene.tenant_id)
    assert scene.ask() == "hello"
    assert keys_sent(scene) == [
        f"Bearer {ENVIRONMENT_KEY}",
        "Bearer of-the-operator",
        "Bearer of-the-tenant",
        "Bearer of-the-operator",
    ]


def test_a_tenant_without_a_key_is_driven_from_outside(scene: Scene, operator: House) -> None:
    operator.call("aos_meta.set_secret", "model_key", "of-another", operator.tenant())
    assert not operator.call("aos_meta.has_api_key", scene.name, scene.tenant_id)
    state = scene.run_turn(scene.start())
    assert state["status"] == "awaiting_model"
    assert scene.play.requests() == []


def test_a_granted_secret_is_used_by_whom_it_was_granted_to_until_it_is_taken_back(
    scene: Scene, operator: House
) -> None:
    operator.call("aos_meta.set_secret", "model_key", "for-some")
    operator.rows("update aos_meta.secret set available_to = 'granted'")
    assert not operator.call("aos_meta.has_api_key", scene.name, scene.tenant_id)
    operator.rows(
        "insert into aos_meta.secret_grant (secret_id, tenant_id)"
        " select secret_id, %s from aos_meta.secret",
        scene.tenant_id,
    )
    assert operator.call("aos_meta.has_api_key", scene.name, scene.tenant_id)
    scene.says(says("hello"))
    assert scene.ask() == "hello"
    waiting = scene.start()  # for the database, which has the key still
    operator.rows("delete from aos_meta.secret_grant")
    failed = scene.run_turn(waiting)
    assert (failed["status"], failed["error"]["sqlstate"]) == ("failed", "OS101")
    assert failed["error"]["message"] == f"there is no key for provider {scene.name}"
    assert keys_sent(scene) == ["Bearer for-some"]
    assert scene.run_turn(scene.start())["status"] == "awaiting_model"


def test_embeddings_use_the_secret_of_the_tenant_that_acts(
    scene: Scene, operator: House, login: Login
) -> None:
    operator.rows(
        "update aos_meta.setting set value = to_jsonb(%s::text) where name = 'embedding_model'",
        scene.name,
    )
    operator.call("aos_meta.set_secret", "model_key", "of-the-tenant", scene.tenant_id)
    developer = login("developer", tenant_id=scene.tenant_id)
    with pytest.raises(psycopg.Error):  # the script has no vector
        developer.rows("select aos_meta.embed('hello')")
    assert set(keys_sent(scene)) == {"Bearer of-the-tenant"}


def test_a_manager_sets_the_secrets_of_his_own_tenant_alone(operator: House, login: Login) -> None:
    mine, other = operator.tenant(), operator.tenant()
    operator.call("aos_meta.set_secret", "theirs", "value", other)
    operator.call("aos_meta.set_secret", "shared", "value")
    manager = login("secret_manager", tenant_id=mine)
    manager.call("aos_meta.set_secret", "own", "value")
    manager.call("aos_meta.set_secret", "named", "value", mine)
    assert operator.rows(
        "select tenant_id, name, updated_by like 'login%%/%%' from aos_meta.secret order by name"
    ) == [
        (mine, "named", True),
        (mine, "own", True),
        (None, "shared", False),
        (other, "theirs", False),
    ]
    for function, arguments in (
        ("aos_meta.set_secret", ("theirs", "mine now", other)),
        ("aos_meta.drop_secret", ("theirs", other)),
        ("aos_meta.has_api_key", ("openai", other)),
    ):
        with manager.refused("42501", "of a tenant are its own|permission denied"):
            manager.call(function, *arguments)
    for name in ("theirs", "shared"):  # not seen, or not his
        with manager.refused("OS002", "there is no secret"):
            manager.call("aos_meta.drop_secret", name)
    with (
        pytest.raises(psycopg.Error, match="are its own"),
        manager.connection.cursor().copy(
            "copy aos_meta.secret_input (name, value, tenant_id) from stdin"
        ) as copy,
    ):
        copy.write_row(("theirs", "mine now", other))
    manager.call("aos_meta.set_secret", "shared", "of my own")
    assert manager.one("select count(*) from aos_meta.secret where name = 'shared'") == 2
    with manager.refused("42501", "permission denied"):
        manager.rows("select aos_meta.rotate_secrets()")
    manager.call("aos_meta.drop_secret", "own")
    assert operator.one("select aos_meta._secret('theirs', %s)", other) == "value"
    assert operator.one("select aos_meta._secret('shared', null)") == "value"


def test_a_manager_sees_the_names_of_what_his_tenant_may_use(operator: House, login: Login) -> None:
    mine, other = operator.tenant(), operator.tenant()
    for name, tenant in (("own", mine), ("theirs", other), ("all", None), ("some", None)):
        operator.call("aos_meta.set_secret", name, "value", tenant)
    operator.rows("update aos_meta.secret set available_to = 'granted' where name = 'some'")
    manager = login("secret_manager", tenant_id=mine)

    def seen() -> list[Any]:
        rows = manager.rows(f"select {VISIBLE} from aos_meta.secret order by name")
        return [name for _, _, name, *_ in rows]

    assert seen() == ["all", "own"]
    operator.rows(
        "insert into aos_meta.secret_grant (secret_id, tenant_id)"
        " select secret_id, %s from aos_meta.secret where name = 'some'",
        mine,
    )
    assert seen() == ["all", "own", "some"]


@pytest.mark.parametrize(
    "access", ["secret_manager", "operator", "auditor", "developer", "approver", "worker", "user"]
)
def test_nobody_reads_a_value_sealed_or_open(operator: House, login: Login, access: str) -> None:
    tenant = operator.tenant()
    operator.call("aos_meta.set_secret", "own", "value", tenant)
    person = login(access, tenant_id=tenant)
    for statement in (
        "select ciphertext from aos_meta.secret",
        "select * from aos_meta.secret",
        "select s from aos_meta.secret as s",
        "copy aos_meta.secret to stdout",
        "select aos_meta._secret('own', null)",
        "select aos_meta._secret_for_http('own', null, null, 'a.example')",
        "select aos_meta._find_secret('own', null)",
        "select aos_meta._open_sealed('secret operator own', 'x', '')",
        "select aos_meta._master_key()",
        "select aos_meta._decrypt('', '')",
        "select aos_meta._take_secret_input()",
        "update aos_meta.secret set ciphertext = ''",
        "update aos_meta.secret set hosts = '{evil.example}'",
    ):
        with person.refused("42501", "permission denied"):
            person.rows(statement)


@pytest.mark.parametrize("access", ["auditor", "developer", "approver", "worker", "user"])
def test_who_is_no_manager_sets_no_secret(operator: House, login: Login, access: str) -> None:
    person = login(access, tenant_id=operator.tenant())
    for statement in (
        "select aos_meta.set_secret('a', 'value')",
        "select aos_meta.drop_secret('a')",
        "select aos_meta.rotate_secrets()",
        "insert into aos_meta.secret_input (name, value) values ('a', 'value')",
        "insert into aos_meta.secret (name, ciphertext, key_id) values ('a', '', '')",
        "insert into aos_meta.secret_grant (secret_id, tenant_id) select null, null",
    ):
        with person.refused("42501", "permission denied"):
            person.rows(statement)


def test_a_manager_without_a_tenant_has_no_secrets(login: Login) -> None:
    person = login("secret_manager")
    with person.refused("42501", "of a tenant are its own"):
        person.call("aos_meta.set_secret", "a", "value")
    with person.refused("42501", "of a tenant are its own"):
        person.rows("insert into aos_meta.secret_input (name, value) values ('a', 'value')")
    assert person.rows(f"select {VISIBLE} from aos_meta.secret") == []


def test_an_operator_who_is_no_superuser_sets_grants_and_rotates(
    operator: House, login: Login
) -> None:
    tenant = operator.tenant()
    person = login("operator")
    person.call("aos_meta.set_secret", "shared", "value")
    person.call("aos_meta.set_secret", "own", "value", tenant)
    person.rows("update aos_meta.secret set available_to = 'granted' where name = 'shared'")
    person.rows(
        "insert into aos_meta.secret_grant (secret_id, tenant_id)"
        " select secret_id, %s from aos_meta.secret where name = 'shared'",
        tenant,
    )
    assert person.call("aos_meta.rotate_secrets") == 0
    assert operator.one("select aos_meta._secret('shared', %s)", tenant) == "value"
    with person.refused("OS002", "there is no tenant"):
        person.call("aos_meta.set_secret", "a", "v", "00000000-0000-0000-0000-0000000000ff")


def test_a_tenants_secrets_go_with_it(operator: House) -> None:
    tenant = operator.tenant()
    operator.call("aos_meta.set_secret", "own", "value", tenant)
    operator.rows("delete from aos_auth.tenant where tenant_id = %s", tenant)
    assert operator.one("select count(*) from aos_meta.secret") == 0


def test_a_skill_sends_a_secret_only_to_its_hosts_and_only_as_whose_it_is(operator: House) -> None:
    mine, other = operator.tenant(), operator.tenant()
    hosts = ["api.example.com", "*.example.org"]
    for value, owner in (("operators", None), ("mine", mine)):
        operator.rows("select aos_meta.set_secret('key', %s, %s, %s)", value, owner, hosts)
    operator.call("aos_meta.set_secret", "model", "for providers alone")

    def sent(tenant: Any, skill_tenant: Any, host: str, name: str = "key") -> Any:
        return operator.call("aos_meta._secret_for_http", name, tenant, skill_tenant, host)

    for host in ("api.example.com", "API.EXAMPLE.com", "a.example.org", "a.b.example.org"):
        assert sent(mine, mine, host) == "mine"
        assert sent(mine, None, host) == "operators"
        assert sent(other, None, host) == "operators"
        assert sent(other, other, host) is None
        assert sent(other, mine, host) is None  # another tenant's skill
    for host in (
        "example.com", "evil.example", "api.example.com.evil.example", "xapi.example.com",
        "example.org", ".example.org", "xexample.org", "api.example.com.", "", "*.example.org%",
    ):  # fmt: skip
        assert sent(mine, mine, host) is None, host
        assert sent(mine, None, host) is None, host
    assert sent(mine, None, "api.example.com", "model") is None
    operator.rows("update aos_meta.secret set available_to = 'granted' where tenant_id is null")
    assert sent(mine, None, "api.example.com") is None


def test_the_hosts_stay_when_the_value_is_set_anew_and_go_when_none_are_named(
    operator: House,
) -> None:
    def hosts() -> Any:
        return operator.one("select hosts from aos_meta.secret")

    def put(value: str, named: list[str] | None) -> None:
        operator.rows("select aos_meta.set_secret('key', %s, null, %s)", value, named)

    put("one", ["a.example"])
    put("two", None)
    assert hosts() == ["a.example"]
    put("three", [])
    assert hosts() is None
    for wrong in ("https://a.example", "a.example:443", "a.example/x", "*", "*.com", "", "a b"):
        with operator.refused("OS001", "not the name of a host"):
            put("four", [wrong])
