"""Taking URLs apart."""

from __future__ import annotations

import pytest

from pgagentos.errors import InvalidInput
from pgagentos.net.url import Origin, Target, parse


@pytest.mark.parametrize(
    ("url", "target"),
    [
        ("http://a.example", Target(Origin("http", "a.example", 80), "a.example", "/")),
        ("https://a.example/v1", Target(Origin("https", "a.example", 443), "a.example", "/v1")),
        ("HTTPS://A.Example:443/", Target(Origin("https", "a.example", 443), "a.example", "/")),
        ("http://a:8080/x?y=z#f", Target(Origin("http", "a", 8080), "a:8080", "/x?y=z")),
        ("http://a?y=z", Target(Origin("http", "a", 80), "a", "/?y=z")),
        ("http://[::1]:11434/api", Target(Origin("http", "::1", 11434), "[::1]:11434", "/api")),
        ("http://my_host.:1/", Target(Origin("http", "my_host.", 1), "my_host.:1", "/")),
        (
            "https://모델.example/",
            Target(Origin("https", "xn--bo1b89k.example", 443), "xn--bo1b89k.example", "/"),
        ),
    ],
)
def test_a_url_is_taken_apart(url: str, target: Target) -> None:
    assert parse(url) == target


@pytest.mark.parametrize(
    "url",
    [
        "ftp://a.example/",
        "a.example/v1",
        "//a.example",
        "http://",
        "http:///path",
        "http://user:secret@a.example/",
        "http://a.example:0/",
        "http://a.example:65536/",
        "http://a.example:http/",
        "http://a b/",
        "http://a.example/x y",
        "http://a.example/x\r\nhost: evil",
        "http://a.example/한",
        "http://a.example\n/",
        "http://[::1/",
        "http://-a.example/",
    ],
)
def test_what_cannot_be_called_is_refused_without_being_shown(url: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        parse(url)
    assert url not in f"{caught.value.message} {caught.value.hint}"
    assert "secret" not in f"{caught.value.message} {caught.value.hint}"


def test_an_ipv6_origin_is_shown_in_brackets() -> None:
    assert str(parse("http://[::1]:11434/").origin) == "[::1]:11434"
