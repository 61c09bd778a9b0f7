"""An argument fills a place of a template and can never make one."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

import pytest

from pgagentos.errors import InvalidInput, Refused
from pgagentos.skills.http_request import draft
from pgagentos.store.http import AllowedHost

from .endpoints import endpoint, free_endpoint

BASE = "https://api.example.com"
PATH = f"{BASE}/v1/orders/{{order_id}}/items"

#: Values that try to leave their place, and do not: they arrive as they are.
HOSTILE = [
    *("a/b", "/", "//evil.example/", "a?b=c", "a&b=c", "a=b", "a#b", "a;b", "a:b", "@evil.example"),
    *(
        "https://evil.example/",
        "a b",
        "a+b",
        "a%2fb",
        "%2e%2e%2f",
        "%00",
        "..a",
        "a..",
        "...",
        "a\\b",
    ),
    *(
        "\uac00\ub098\ub2e4",
        "\u00e4",
        "\U0001f600",
        "'\"<>`{}|^[]",
        "{order_id}",
        "{secret:key}",
        "x" * 1000,
    ),
]
#: Values that a server might read as steps up, or that no path has.
DOTS = [
    ".",
    "..",
    "a/../b",
    "../../admin",
    "..\\..\\admin",
    "./a",
    "a/.",
    "a/..",
    "..;/admin",
    ".. /a",
    "",
    "\n",
]
CONTROLS = ["a\r\nX-Evil: 1", "a\0b", "\x7f", "\x85", "a\tb"]


def url_of(template: str, arguments: dict[str, Any], method: str = "GET") -> str:
    return draft(endpoint(method, template), arguments).url.url


@pytest.mark.parametrize("value", HOSTILE)
def test_a_value_in_the_path_stays_one_segment(value: str) -> None:
    url = urlsplit(url_of(PATH, {"order_id": value}))
    assert (url.scheme, url.netloc, url.query, url.fragment) == ("https", "api.example.com", "", "")
    before, segment, after = url.path.rpartition("/items")[0], *url.path.split("/")[3:]
    assert before == f"/v1/orders/{segment}"
    assert after == "items"
    assert unquote(segment) == value


@pytest.mark.parametrize("value", [*HOSTILE, *DOTS, *CONTROLS])
@pytest.mark.parametrize("template", [f"{BASE}/s?q={{q}}&n=1", f"{BASE}/s?n=1"])
def test_a_value_in_the_query_stays_one_parameter(value: str, template: str) -> None:
    url = urlsplit(url_of(template, {"q": value}))
    assert (url.netloc, url.path, url.fragment) == ("api.example.com", "/s", "")
    assert sorted(parse_qsl(url.query, keep_blank_values=True)) == [("n", "1"), ("q", value)]


@pytest.mark.parametrize("value", [*DOTS, *CONTROLS, None, [], {}, ["a"]])
def test_a_value_that_could_climb_or_is_no_segment_is_refused(value: Any) -> None:
    with pytest.raises(Refused):
        url_of(PATH, {"order_id": value})


def test_a_template_and_a_value_cannot_be_a_dot_segment_together() -> None:
    with pytest.raises(Refused):
        url_of(f"{BASE}/a/.{{x}}/b", {"x": "."})
    with pytest.raises(Refused):
        url_of(f"{BASE}/a/{{x}}{{y}}/b", {"x": ".", "y": "."})
    with pytest.raises(Refused):
        url_of(f"{BASE}/a/.{{x}}/b", {"x": ".;a"})
    assert url_of(f"{BASE}/a/v{{x}}", {"x": "1.2"}) == f"{BASE}/a/v1.2"


@pytest.mark.parametrize(
    "url", ["https://{host}/", "https://a{b}.example/", "https://h:{p}/", "{scheme}://h/"]
)
def test_a_place_before_the_path_is_never_filled(url: str) -> None:
    """The table refuses such a row; were there one, the URL would be refused."""
    with pytest.raises(InvalidInput):
        url_of(url, {"host": "evil.example", "b": "x", "p": "80", "scheme": "http"})


def test_numbers_and_truth_values_are_written_as_in_json() -> None:
    assert (
        url_of(f"{BASE}/{{id}}?ok={{ok}}", {"id": 7, "ok": True, "f": 1.5})
        == f"{BASE}/7?ok=true&f=1.5"
    )


def test_a_parameter_without_its_argument_is_left_out_and_a_list_is_repeated() -> None:
    template = f"{BASE}/s?q={{q}}&lang={{lang}}&fix=1"
    assert url_of(template, {"q": ["a b", 2]}) == f"{BASE}/s?q=a%20b&q=2&fix=1"
    assert url_of(f"{BASE}/s?lang={{lang}}", {"lang": None}) == f"{BASE}/s"
    with pytest.raises(Refused):
        url_of(f"{BASE}/s?sort=by-{{field}}", {})


def test_what_the_url_does_not_use_becomes_the_query_or_the_body() -> None:
    arguments = {"order_id": "7", "note": "a&b", "tags": ["x"]}
    for method in ("GET", "DELETE"):
        made = draft(endpoint(method, PATH), arguments)
        assert made.url.url == f"{BASE}/v1/orders/7/items?note=a%26b&tags=x"
        assert made.body == b""
    for method in ("POST", "PUT", "PATCH"):
        made = draft(endpoint(method, PATH), arguments)
        assert made.url.url == f"{BASE}/v1/orders/7/items"
        assert json.loads(made.body) == {"note": "a&b", "tags": ["x"]}
        assert made.headers["content-type"] == "application/json"


def test_a_body_template_gets_values_with_their_types() -> None:
    template = {"a": "{n}", "b": ["{t}", "x {n} y", 1, None], "c": {"d": "{list}"}, "e": "{absent}"}
    made = draft(
        endpoint("POST", f"{BASE}/x", body_template=template),
        {"n": 5, "t": '"},{"evil":1', "list": [1, 2]},
    )
    assert json.loads(made.body) == {
        "a": 5,
        "b": ['"},{"evil":1', "x 5 y", 1, None],
        "c": {"d": [1, 2]},
    }


def test_half_a_character_does_not_break_the_request() -> None:
    assert url_of(f"{BASE}/s", {"q": "a\ud800b"}) == f"{BASE}/s?q=a%3Fb"
    assert json.loads(draft(endpoint("POST", BASE), {"q": "\ud800"}).body) == {"q": "\ufffd"}


# --- what the model writes itself ----------------------------------------------------------------


def test_the_model_names_everything() -> None:
    made = draft(
        free_endpoint(),
        {"url": f"{BASE}/x", "method": "post", "headers": {"X-A": "b"}, "body": '{"a":1}'},
    )
    assert (made.method, made.url.url, made.body) == ("POST", f"{BASE}/x", b'{"a":1}')
    assert made.headers == {"x-a": "b", "content-type": "application/json"}
    assert draft(free_endpoint(), {"url": BASE}).method == "GET"
    text = draft(free_endpoint(), {"url": BASE, "method": "PUT", "body": "hello"})
    assert text.headers == {"content-type": "text/plain; charset=utf-8"}


@pytest.mark.parametrize(
    "headers",
    [
        {"x": "a\r\nHost: evil.example"},
        {"x": "a\nb"},
        {"x": "a\0"},
        {"x": "\uac00"},
        {"x\r\nHost": "evil"},
        {"x: y\r\nHost": "evil"},
        {"host: evil": "x"},
        {"x y": "a"},
        {"": "a"},
        {"x": 1},
        {"x": None},
        {"x": ["a"]},
        {"x": "a" * 9000},
        {"Host": "evil.example"},
        {"hOsT": "evil.example"},
        {"Content-Length": "5"},
        {"Transfer-Encoding": "chunked"},
        {"Connection": "upgrade"},
        {"Upgrade": "h2c"},
        {"Expect": "100-continue"},
        {"TE": "trailers"},
        {"Trailer": "x"},
        {"Accept-Encoding": "gzip"},
        {"Keep-Alive": "1"},
        {"Proxy-Authorization": "x"},
    ],
)
@pytest.mark.parametrize("of_the_model", [True, False])
def test_a_header_that_is_not_the_callers_is_refused(
    headers: dict[str, Any], of_the_model: bool
) -> None:
    skill = free_endpoint() if of_the_model else endpoint(headers=headers)
    arguments = {"url": BASE, "headers": headers} if of_the_model else {}
    with pytest.raises(Refused):
        draft(skill, arguments)


def test_the_model_cannot_change_a_header_that_the_skill_sets() -> None:
    made = draft(
        free_endpoint(headers={"Authorization": "Bearer {secret:key}"}),
        {"url": BASE, "headers": {"authorization": "mine", "AUTHORIZATION": "mine"}},
    )
    assert made.headers == {"authorization": "Bearer {secret:key}"}


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"url": BASE, "method": "TRACE"}, Refused),
        ({"url": BASE, "method": "CONNECT"}, Refused),
        ({"url": BASE, "method": "GET / HTTP/1.1\r\nHost: x"}, Refused),
        ({"url": BASE, "method": "HEAD"}, Refused),
        ({"url": BASE, "body": "x"}, Refused),
        ({"url": "http://user:pw@api.example.com/"}, InvalidInput),
        ({"url": 7}, InvalidInput),
        ({}, InvalidInput),
    ],
)
def test_a_request_that_cannot_be_sent_is_refused(
    arguments: dict[str, Any], error: type[Exception]
) -> None:
    with pytest.raises(error):
        draft(free_endpoint(), arguments)


# --- the allow-list ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("row", "host", "allowed"),
    [
        ("api.example.com", "api.example.com", True),
        ("api.example.com", "xapi.example.com", False),
        ("api.example.com", "api.example.com.evil.example", False),
        ("api.example.com", "a.api.example.com", False),
        ("*.example.com", "api.example.com", True),
        ("*.example.com", "a.b.example.com", True),
        ("*.example.com", "example.com", False),
        ("*.example.com", ".example.com", False),
        ("*.example.com", "evilexample.com", False),
        ("*.example.com", "example.com.evil.example", False),
        ("8.8.8.8", "8.8.8.8", True),
        ("2606:4700::1111", "2606:4700::1111", True),
    ],
)
def test_a_row_allows_its_host_or_the_names_below_it(row: str, host: str, allowed: bool) -> None:
    assert AllowedHost("https", row, 443, False).is_for("https", host, 443) is allowed


def test_a_row_allows_one_scheme_and_one_port() -> None:
    row = AllowedHost("https", "h", 443, False)
    assert not row.is_for("http", "h", 443)
    assert not row.is_for("https", "h", 444)
    assert AllowedHost("http", "h", 8080, True).is_for("http", "h", 8080)
