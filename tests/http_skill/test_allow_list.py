"""Who may call what is rows of the allow-list: a tenant's own, and what operators open for all."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any
from uuid import UUID

import psycopg
import pytest
from psycopg import sql
from psycopg.types.json import Jsonb

from cluster import Database
from house import House, name

HTTP_REQUEST = "b0a05000-0000-5000-8000-000000000006"
SCHEMA = {"type": "object", "properties": {"id": {"type": "string"}}, "required": ["id"]}
URL = "https://api.example.com/v1/{id}"


@pytest.fixture
def login(database: Database, house: House) -> Iterator[Callable[..., House]]:
    """Make a database role with some access, for a tenant or none, and log in as it."""
    made: list[str] = []
    with ExitStack() as stack:

        def log_in(access: str, tenant_id: UUID | None = None) -> House:
            role = name("login")
            made.append(role)
            house.rows(f"create role {role} login")
            house.call("aos_auth.grant_access", role, access)
            if tenant_id is not None:
                house.insert("aos_auth.principal", tenant_id=tenant_id, db_role=role)
            return House(stack.enter_context(database.connect(user=role)))

        yield log_in
    for role in made:
        house.connection.execute(sql.SQL("drop role {}").format(sql.Identifier(role)))


@pytest.fixture
def two(login: Callable[..., House], house: House) -> tuple[House, House, UUID, UUID]:
    """Developers of two tenants, and the tenants."""
    one, other = house.tenant(), house.tenant()
    return login("developer", one), login("developer", other), one, other


def hosts_for(house: House, tenant_id: UUID, skill_id: Any = HTTP_REQUEST) -> list[str]:
    """What a skill may call for a tenant, as the kernel reads it."""
    found = house.one("select aos_skills._http_call(%s, %s)", skill_id, tenant_id)
    return sorted(f"{h['scheme']}://{h['host']}:{h['port']}" for h in found["hosts"])


def register(house: House, skill: str | None = None, **named: Any) -> UUID:
    """Register a skill on ``api.example.com``."""
    given = {"description": "Does it.", "parameters": SCHEMA, "method": "get", "url": URL} | named
    return house.call("aos_skills.register_http_skill", skill or name("http"), **given)


# --- hosts ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "stored"),
    [
        ("API.Example.COM", "api.example.com"),
        ("*.Example.com", "*.example.com"),
        ("8.8.8.8", "8.8.8.8"),
        ("[2606:4700:0:0::1111]", "2606:4700::1111"),
        ("FD00::0:1", "fd00::1"),
        ("intranet", "intranet"),
        ("a_b.example", "a_b.example"),
        ("xn--bcher-kva.example", "xn--bcher-kva.example"),
    ],
)
def test_a_host_is_stored_as_requests_are_compared_with_it(
    house: House, given: str, stored: str
) -> None:
    tenant = house.tenant()
    host_id = house.call("aos_skills.allow_host", given, tenant)
    row = house.rows(
        "select scheme, host, port from aos_skills.http_host where host_id = %s", host_id
    )
    assert row == [("https", stored, 443)]


@pytest.mark.parametrize(
    "given",
    [
        *(
            "https://api.example.com",
            "api.example.com/x",
            "api.example.com:443",
            "https://api.example.com:443/v1",
            "user@api.example.com",
        ),
        *("", "*", "*.", "*.com", "a.*.com", "**.example.com", "*example.com", ".example.com"),
        *(
            "example.com.",
            "a..b",
            "-a.example",
            "a-.example",
            "a b",
            "a\nb",
            "b\u00fccher.example",
            "a?b",
        ),
        *(
            "127.1",
            "0x7f.1",
            "2130706433",
            "0177.0.0.1",
            "256.1.1.1",
            "1.2.3",
            "example.0x1",
            "example.1",
        ),
        *(
            "10.0.0.0/8",
            "fd00::/8",
            "::ffff:7f00:g",
            "fe80::1%lo",
            "[::1]:80",
            "x" * 64 + ".example",
        ),
    ],
)
def test_what_is_no_host_is_refused(house: House, given: str) -> None:
    with pytest.raises(psycopg.Error) as caught:
        house.call("aos_skills.allow_host", given, house.tenant())
    assert (
        caught.value.sqlstate == "OS001"
        or caught.value.diag.constraint_name == "http_host_is_a_name_or_an_address"
    )


def test_plain_http_has_port_80_and_another_port_can_be_named(house: House) -> None:
    tenant = house.tenant()
    house.call("aos_skills.allow_host", "a.example", tenant, scheme="http")
    house.call("aos_skills.allow_host", "a.example", tenant, port=8443)
    assert hosts_for(house, tenant) == ["http://a.example:80", "https://a.example:8443"]


def test_allowing_a_host_again_changes_its_row(house: House) -> None:
    tenant = house.tenant()
    first = house.call("aos_skills.allow_host", "a.example", tenant)
    assert house.call("aos_skills.allow_host", "A.example", tenant, allow_private=True) == first
    assert house.rows(
        "select allow_private from aos_skills.http_host where host_id = %s", first
    ) == [(True,)]


def test_a_host_is_allowed_for_a_tenant_a_skill_or_all(house: House) -> None:
    one, other = house.tenant(), house.tenant()
    skill = name("http")
    skill_id = register(house, skill, tenant_id=one)
    house.call("aos_skills.allow_host", "all.example")
    house.call("aos_skills.allow_host", "one.example", one)
    house.call("aos_skills.allow_host", "skill.example", one, skill)
    house.call("aos_skills.allow_host", "request.example", other, "http_request")
    try:
        assert hosts_for(house, one) == ["https://all.example:443", "https://one.example:443"]
        assert hosts_for(house, other) == ["https://all.example:443", "https://request.example:443"]
        assert hosts_for(house, one, skill_id) == [
            "https://all.example:443",
            "https://one.example:443",
            "https://skill.example:443",
        ]
    finally:
        house.call("aos_skills.disallow_host", "all.example")
    assert hosts_for(house, other) == ["https://request.example:443"]


def test_a_host_can_be_taken_off_again_and_only_once(house: House) -> None:
    tenant = house.tenant()
    house.call("aos_skills.allow_host", "a.example", tenant, "http_request", port=8443)
    with house.refused("OS002", "a.example is not on this allow-list"):
        house.call("aos_skills.disallow_host", "a.example", tenant, port=8443)
    house.call("aos_skills.disallow_host", "A.example", tenant, "http_request", port=8443)
    assert hosts_for(house, tenant) == []
    with house.refused("OS002", "a.example is not on this allow-list"):
        house.call("aos_skills.disallow_host", "a.example", tenant, "http_request", port=8443)


def test_a_skill_that_is_not_there_or_is_no_http_skill_has_no_hosts(house: House) -> None:
    with house.refused("OS002", "there is no http skill 'web_search'"):
        house.call("aos_skills.allow_host", "a.example", house.tenant(), "web_search")


# --- who may -------------------------------------------------------------------------------------


def test_a_developer_allows_hosts_for_the_own_tenant_alone(
    house: House, two: tuple[House, House, UUID, UUID]
) -> None:
    developer, stranger, one, other = two
    developer.call("aos_skills.allow_host", "a.example")
    assert hosts_for(house, one) == ["https://a.example:443"]
    assert hosts_for(house, other) == []
    assert developer.rows("select tenant_id, host from aos_skills.http_host") == [
        (one, "a.example")
    ]
    assert stranger.rows("select host from aos_skills.http_host") == []
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        stranger.call("aos_skills.allow_host", "b.example", one)
    with stranger.refused("OS002", "is not on this allow-list"):
        stranger.call("aos_skills.disallow_host", "a.example", one)
    assert hosts_for(house, one) == ["https://a.example:443"]


@pytest.mark.parametrize("named", [{"allow_private": True}, {"scheme": "http"}])
def test_only_an_operator_opens_the_own_network_and_plain_http(
    login: Callable[..., House], two: tuple[House, House, UUID, UUID], named: dict[str, Any]
) -> None:
    developer, _, one, _ = two
    with developer.refused("42501", "only an operator may open"):
        developer.call("aos_skills.allow_host", "a.example", **named)
    login("operator").call("aos_skills.allow_host", "a.example", one, **named)
    with developer.refused("42501", "permission denied"):
        developer.rows("update aos_skills.http_host set allow_private = true")


def test_the_operators_rows_are_used_for_tenants_and_not_shown_to_them(
    house: House, login: Callable[..., House], two: tuple[House, House, UUID, UUID]
) -> None:
    developer, _, one, _ = two
    operator = login("operator")
    skill = name("http")
    skill_id = register(operator, skill, headers={"x": "{secret:inner_key}"})
    operator.call("aos_skills.allow_host", "inner.example", skill_name=skill, allow_private=True)
    assert hosts_for(house, one, skill_id) == ["https://inner.example:443"]
    assert (
        developer.rows("select host from aos_skills.http_host where host = 'inner.example'") == []
    )
    assert (
        developer.rows("select headers from aos_skills.http_endpoint where tenant_id is null") == []
    )
    assert (
        operator.one("select count(*) from aos_skills.http_endpoint where skill_id = %s", skill_id)
        == 1
    )
    with developer.refused("OS002", "is not on this allow-list"):
        developer.call("aos_skills.disallow_host", "inner.example", skill_name=skill)
    with developer.refused("42501", "permission denied"):
        developer.rows("delete from aos_skills.http_endpoint")


@pytest.mark.parametrize("access", ["user", "approver", "auditor", "worker", "secret_manager"])
def test_others_may_not_register_or_allow(
    house: House, login: Callable[..., House], access: str
) -> None:
    person = login(access, house.tenant())
    for call in (
        "aos_skills.allow_host('a.example')",
        "aos_skills.disallow_host('a.example')",
        f"aos_skills._http_call('{HTTP_REQUEST}', null)",
        "aos_skills.register_http_skill('x', 'x', '{\"type\": \"object\"}', 'GET', 'https://a.example/')",
    ):
        with person.refused("42501", "permission denied"):
            person.rows(f"select {call}")


# --- skills --------------------------------------------------------------------------------------


def test_a_developers_skill_belongs_to_the_own_tenant(
    house: House, two: tuple[House, House, UUID, UUID]
) -> None:
    developer, stranger, one, other = two
    skill_id = register(developer, headers={"Accept": "text/csv"}, timeout_seconds=5)
    row = house.one("select aos_skills._http_call(%s, %s)", skill_id, one)
    assert (row["method"], row["url_template"], row["timeout_seconds"]) == ("GET", URL, 5)
    assert row["headers"] == {"Accept": "text/csv"}
    assert row["skill_tenant_id"] == str(one)
    assert house.one("select aos_skills._http_call(%s, %s)", skill_id, other) is None
    assert stranger.rows("select url_template from aos_skills.http_endpoint") == []
    assert developer.rows("select tenant_id from aos_skills.http_endpoint") == [(one,)]
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        register(stranger, tenant_id=one)


def test_registering_again_renews_the_skill(house: House) -> None:
    tenant, skill = house.tenant(), name("http")
    first = register(house, skill, tenant_id=tenant, max_redirects=3, headers={"a": "b"})
    second = register(
        house,
        skill,
        tenant_id=tenant,
        method="POST",
        url="https://b.example/",
        body={"id": "{id}"},
        approval="ask",
        risk="high",
    )
    assert first == second
    row = house.one("select aos_skills._http_call(%s, %s)", first, tenant)
    assert (row["url_template"], row["max_redirects"], row["headers"]) == (
        "https://b.example/",
        0,
        {},
    )
    assert row["body_template"] == {"id": "{id}"}
    assert house.rows("select approval, risk from aos_skills.skill where skill_id = %s", first) == [
        ("ask", "high")
    ]


@pytest.mark.parametrize(
    ("named", "sqlstate", "message"),
    [
        ({"url": "https://a.example/{other}"}, "OS001", "names {other}, which is no argument"),
        ({"url": "https://a.example/?q={other}"}, "OS001", "names {other}"),
        ({"method": "POST", "body": {"a": ["x {other}"]}}, "OS001", "names {other}"),
        (
            {"parameters": {"type": "object", "properties": {"id": {}}}},
            "OS001",
            "stands in the path",
        ),
        ({"headers": {"Host": "evil.example"}}, "OS001", "the header 'Host' cannot be set"),
        ({"headers": {"content-LENGTH": "1"}}, "OS001", "cannot be set"),
        ({"headers": {"a": "b\r\nc: d"}}, "OS001", "cannot be set"),
        ({"headers": {"a b": "c"}}, "OS001", "cannot be set"),
        ({"headers": {"a": 1}}, "OS001", "cannot be set"),
        ({"url": None}, "OS001", "needs a method and a url"),
        ({"method": None}, "OS001", "needs a method and a url"),
        ({"method": "TRACE"}, "23514", "http_endpoint_method_is_known"),
        ({"url": "ftp://a.example/{id}"}, "23514", "http_endpoint_url_has_a_fixed_host"),
        ({"url": "https://{id}/"}, "23514", "fixed_host"),
        ({"url": "https://{id}.example/"}, "23514", "fixed_host"),
        ({"url": "https://a.example:{id}/"}, "23514", "fixed_host"),
        ({"url": "https://user@a.example/{id}"}, "23514", "fixed_host"),
        ({"url": "https://a.example/{id}#x"}, "23514", "fixed_host"),
        ({"url": "https://b\u00fccher.example/{id}"}, "23514", "fixed_host"),
        ({"url": "https://a%2eexample/{id}"}, "23514", "fixed_host"),
        ({"url": "https://a.example/\u00e4/{id}"}, "23514", "fixed_host"),
        ({"url": "https://a.example/{id} "}, "23514", "fixed_host"),
        ({"url": "https://a.example:0/{id}"}, "23514", "fixed_host"),
        ({"url": "https://a.example\\{id}"}, "23514", "fixed_host"),
        ({"url": "https://a.example/{id}?k={secret:key}"}, "23514", "fixed_host"),
        ({"body": {}}, "23514", "http_endpoint_body_needs_a_method_that_has_one"),
        ({"timeout_seconds": 0}, "23514", "http_endpoint_timeout_is_between_0_and_300_seconds"),
        (
            {"max_response_bytes": 1 << 25},
            "23514",
            "http_endpoint_response_has_at_most_16_mebibytes",
        ),
        ({"max_redirects": 11}, "23514", "http_endpoint_redirects_are_at_most_10"),
    ],
)
def test_a_skill_that_could_not_work_or_could_leave_its_host_is_refused(
    house: House, named: dict[str, Any], sqlstate: str, message: str
) -> None:
    with house.refused(sqlstate, message):
        register(house, tenant_id=house.tenant(), **named)


def test_a_key_in_plain_text_is_warned_of(house: House) -> None:
    said: list[str] = []
    house.connection.add_notice_handler(
        lambda notice: said.append(f"{notice.severity_nonlocalized} {notice.message_primary}")
    )
    tenant = house.tenant()
    house.call("aos_skills.allow_host", "api.example.com", tenant)
    skill = register(house, tenant_id=tenant, headers={"Authorization": "Bearer sk-123"})
    skill_name = house.one("select name from aos_skills.skill where skill_id = %s", skill)
    assert said == [f"WARNING the header Authorization of {skill_name} is stored as plain text"]
    said.clear()
    register(house, tenant_id=tenant, headers={"Authorization": "Bearer {secret:key}"})
    assert said == []


@pytest.mark.parametrize(
    ("url", "allowed", "missing"),
    [
        (URL, "*.example.com", None),
        (URL, "api.example.com", None),
        (URL, "example.com", "api.example.com"),
        ("https://[fd00::1]:8443/{id}", "fd00::2", "fd00::1"),
        ("https://Other.example:8443/{id}", "api.example.com", "other.example"),
    ],
)
def test_a_host_that_is_not_allowed_yet_is_said(
    house: House, url: str, allowed: str, missing: str | None
) -> None:
    said: list[str | None] = []
    house.connection.add_notice_handler(lambda notice: said.append(notice.message_primary))
    tenant = house.tenant()
    house.call("aos_skills.allow_host", allowed, tenant)
    register(house, tenant_id=tenant, url=url)
    assert said == ([] if missing is None else [f"{missing} is not on the allow-list yet"])


@pytest.mark.parametrize(
    "url",
    [URL, "https://[fd00::1]:8443/{id}", "http://10.0.0.5:8080/{id}", "http://a.example/{id}"],
)
def test_the_call_that_allows_it_can_be_taken_from_the_hint(house: House, url: str) -> None:
    hints: list[str] = []
    house.connection.add_notice_handler(lambda notice: hints.append(notice.message_hint or ""))
    tenant, skill = house.tenant(), name("http")
    skill_id = register(house, skill, tenant_id=tenant, url=url)
    house.rows(hints.pop().partition(" lets the skill call it")[0])
    scheme, _, rest = url.partition("://")
    host, given_port, port = rest.partition("/")[0].rpartition(":")
    if not given_port:
        host, port = port, "443" if scheme == "https" else "80"
    assert hosts_for(house, tenant, skill_id) == [f"{scheme}://{host.strip('[]')}:{port}"]
    register(house, skill, tenant_id=tenant, url=url)
    assert hints == []


def test_hosts_and_endpoint_go_with_their_skill(house: House) -> None:
    tenant, skill = house.tenant(), name("http")
    skill_id = register(house, skill, tenant_id=tenant)
    house.call("aos_skills.allow_host", "api.example.com", tenant, skill)
    house.rows("delete from aos_skills.skill where skill_id = %s", skill_id)
    assert house.one("select count(*) from aos_skills.http_host where tenant_id = %s", tenant) == 0
    assert (
        house.one("select count(*) from aos_skills.http_endpoint where tenant_id = %s", tenant) == 0
    )


def test_http_request_is_there_and_nobody_has_it_by_default(house: House) -> None:
    assert house.rows(
        "select implementation, is_builtin from aos_skills.skill where skill_id = %s", HTTP_REQUEST
    ) == [("http", True)]
    assert (
        house.one("select count(*) from aos_skills.role_skill where skill_id = %s", HTTP_REQUEST)
        == 0
    )


def test_the_settings_are_the_limits_and_an_endpoint_may_have_its_own(house: House) -> None:
    tenant = house.tenant()
    skill_id = register(house, tenant_id=tenant, timeout_seconds=2.5, max_response_bytes=10)
    limits = "timeout_seconds", "max_request_bytes", "max_response_bytes", "max_body_characters"
    with house.connection.transaction(force_rollback=True):
        for number, limit in enumerate(limits, 7):
            house.rows(
                "update aos_meta.setting set value = %s where name = %s",
                str(number),
                f"http_{limit}",
            )
        plain = house.one("select aos_skills._http_call(%s, %s)", HTTP_REQUEST, tenant)
        assert [plain[limit] for limit in limits] == [7, 8, 9, 10]
        own = house.one("select aos_skills._http_call(%s, %s)", skill_id, tenant)
        assert [own[limit] for limit in limits] == [2.5, 8, 10, 10]
        house.rows("delete from aos_meta.setting where name like 'http%%'")
        bare = house.one("select aos_skills._http_call(%s, %s)", HTTP_REQUEST, tenant)
        assert [bare[limit] for limit in limits] == [20, 262144, 1048576, 50000]


@pytest.mark.parametrize(
    ("setting", "good", "bad"),
    [
        ("timeout_seconds", (1, 99, 300), (0, 301, -1, 1.5, "20", None, [])),
        ("max_request_bytes", (1, 99999999), (0, 100000000, -1, "1", None)),
        ("max_response_bytes", (1, 99999999), (0, 100000000, -1, "1", None)),
        ("max_body_characters", (1, 99999), (0, 100000, None)),
        ("max_redirects", (0, 10), (11, -1, None)),
    ],
)
def test_a_limit_that_no_call_could_use_is_refused(
    house: House, setting: str, good: tuple[Any, ...], bad: tuple[Any, ...]
) -> None:
    statement = "update aos_meta.setting set value = %s where name = %s"
    for value in good:
        with house.connection.transaction(force_rollback=True):
            house.rows(statement, Jsonb(value), f"http_{setting}")
    for value in bad:
        with pytest.raises(psycopg.errors.CheckViolation):
            house.rows(statement, Jsonb(value), f"http_{setting}")


@pytest.mark.parametrize("access", ["developer", "user", "secret_manager", "auditor"])
def test_nobody_below_an_operator_says_where_models_are_called(
    house: House, login: Callable[..., House], access: str
) -> None:
    """A provider's address is judged by nothing: an operator may name any, and nobody else one."""
    person = login(access, house.tenant())
    for statement in (
        "update aos_meta.provider set base_url = 'http://169.254.169.254'",
        "insert into aos_meta.provider (provider, driver, base_url)"
        " values ('evil', 'openai_chat', 'http://169.254.169.254')",
        "delete from aos_meta.provider",
    ):
        with person.refused("42501", "permission denied"):
            person.rows(statement)
    operator = login("operator")
    operator.rows(
        "insert into aos_meta.provider (provider, driver, base_url)"
        " values (%s, 'openai_chat', 'http://127.0.0.1:1234')",
        name("provider"),
    )
