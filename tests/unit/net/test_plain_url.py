"""A URL that could be read in two ways is not read at all."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

import pytest

from pgagentos.errors import InvalidInput
from pgagentos.net.plain_url import MAX_URL, parse_plain, plain_host

from . import address_vectors as vectors

ODD_HOSTS = [
    *vectors.ANTISSRF_ODD,
    *(
        "127.1",
        "127.0.1",
        "0x7f.1",
        "0x7f.0.0.1",
        "017700000001",
        "127.0.0.0x1",
        "127.0.0.01",
        "1.2.3",
    ),
    *(
        "0x",
        "example.0x7f",
        "example.1",
        "999.1.1.1",
        "1.1.1.1.1",
        "1.1.1.1.",
        "example.com.",
        "com..",
    ),
    *(
        ".example.com",
        "a..b",
        "-a.example",
        "a-.example",
        "a b.example",
        "a%2eexample",
        "%31.1.1.1",
    ),
    *("127.0.0.1%00.example", "a_b-", "x" * 64 + ".example", ".".join(["x" * 60] * 5)),
    *(
        "[::ffff:7f00:1]",
        "[::ffff:127.0.0.1]",
        "[::ffff:8.8.8.8]",
        "[::127.0.0.1]",
        "[fe80::1%25eth0]",
    ),
    *(
        "[::1%lo]",
        "[::1",
        "::1",
        "[1.2.3.4]",
        "[]",
        "[:::]",
        "[v1.a]",
        "[0::0%.trusted.example]",
        "[::1]x",
    ),
    *(
        "\uff11\uff12\uff17.0.0.1",
        "\uff45xample.com",
        "ex\u00e4mple.com",
        "\u2460.1.1.1",
        "a\u3002example",
    ),
    *(
        "evil.c\u2101.example",
        "\u0131.example",
        "\U0001f609.example",
        "a\u00adb.example",
        "a\u200db.example",
    ),
    *(
        "",
        " ",
        "*",
        "*.example.com",
        "a,b",
        "a;b",
        "a$b",
        "a'b",
        "(a)",
        "a!b",
        "~",
        "a+b",
        "a=b",
        "a&b",
    ),
]

ODD_URLS = [
    # a user name before the host, in all positions that readers disagree about
    *(
        "https://user@example.com/",
        "https://user:pw@example.com/",
        "https://example.com@127.0.0.1/",
    ),
    *(
        "https://127.0.0.1@example.com/",
        "https://@example.com/",
        "https://a:80@b:80/",
        "https://:@a/",
    ),
    *("https://example.com#@127.0.0.1:80@evil.example/\\", "https://example.com:443@evil.example/"),
    # a fragment where a path is expected
    *("https://example.com#@evil.example/", "https://example.com#a", "https://example.com/#a\\b"),
    # backslashes
    *(
        "https://example.com\\@evil.example/",
        "https:\\\\example.com/",
        "https:/\\example.com",
        "https://a\\b/",
    ),
    *(
        "https://example.com/a\\b",
        "https:example.com",
        "https:/example.com",
        "https:///example.com/",
    ),
    # other schemes, and what only looks like one
    *("file:///etc/passwd", "gopher://example.com/", "dict://example.com/", "ftp://example.com/"),
    *(
        "sftp://example.com",
        "jar:https://example.com!/",
        "ldap://example.com",
        "tftp://example.com",
    ),
    *("data:text/plain,x", "javascript:alert(1)", "ws://example.com/", "evil.com://example.com"),
    *(
        "//example.com/",
        "example.com",
        "/path",
        "",
        "https",
        "https:",
        "https://",
        "httpsx://example.com",
    ),
    # ports
    *("https://example.com:/", "https://example.com:0/", "https://example.com:65536/"),
    *("https://example.com:0443/", "https://example.com:badPort/", "https://example.com:-1/"),
    *("https://example.com:80:80/", "https://example.com: 80/", "https://example.com:+80/"),
    *("https://example.com:99999999999/", "https://:example.com", "https://:443/"),
    # control characters, white space, and line breaks that would begin a header of their own
    *("https://example.com/a\r\nX: y", "https://example.com/\n", "\nhttps://example.com/"),
    *(
        "https://example.com\t/",
        "https://exa\tmple.com/",
        "https://example.com/\0",
        "https://example.com/\x7f",
    ),
    *(
        " https://example.com/",
        "https://example.com/ ",
        "https://example.com/a b",
        "https://example.com /",
    ),
    *(
        "https://example.com\r\n/",
        "https://example.com/?a=\x1f",
        "https://example.com/\x85",
        "https://a\u2028/",
    ),
    # characters that a URL does not have
    *(
        "https://example.com/\u00e4",
        "https://example.com/?q=\uac00",
        'https://example.com/"',
        "https://example.com/<",
    ),
    *(
        "https://example.com/{a}",
        "https://example.com/|",
        "https://example.com/^",
        "https://example.com/`",
    ),
    *(
        "https://example.com/%",
        "https://example.com/%2",
        "https://example.com/%zz",
        "https://example.com/[a]",
    ),
    "https://example.com/" + "a" * MAX_URL,
]


@pytest.mark.parametrize("host", ODD_HOSTS)
def test_a_host_that_some_reader_takes_for_another_is_refused(host: str) -> None:
    with pytest.raises(InvalidInput):
        parse_plain(f"https://{host}/")


@pytest.mark.parametrize("url", ODD_URLS)
def test_a_url_with_two_readings_is_refused(url: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        parse_plain(url)
    assert len(url) < 8 or url not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "plain", "origin"),
    [
        ("https://example.com", "https://example.com", ("https", "example.com", 443)),
        ("HTTPS://Example.COM/A?b=C", "https://example.com/A?b=C", ("https", "example.com", 443)),
        ("http://example.com:8080/", "http://example.com:8080/", ("http", "example.com", 8080)),
        (
            "https://a.b-c.d_e.example/",
            "https://a.b-c.d_e.example/",
            ("https", "a.b-c.d_e.example", 443),
        ),
        (
            "https://xn--bcher-kva.example/",
            "https://xn--bcher-kva.example/",
            ("https", "xn--bcher-kva.example", 443),
        ),
        ("https://8.8.8.8/", "https://8.8.8.8/", ("https", "8.8.8.8", 443)),
        ("https://127.0.0.1:9/", "https://127.0.0.1:9/", ("https", "127.0.0.1", 9)),
        (
            "https://[2606:4700:0:0::1111]/",
            "https://[2606:4700::1111]/",
            ("https", "2606:4700::1111", 443),
        ),
        ("https://[FD00::1]:8443/x", "https://[fd00::1]:8443/x", ("https", "fd00::1", 8443)),
        ("https://h/a%2Fb?c=%20#d@e", "https://h/a%2Fb?c=%20", ("https", "h", 443)),
        ("https://h?a=b@c:d", "https://h?a=b@c:d", ("https", "h", 443)),
        ("https://3com.example/", "https://3com.example/", ("https", "3com.example", 443)),
    ],
)
def test_a_plain_url_is_brought_into_one_form(
    url: str, plain: str, origin: tuple[str, str, int]
) -> None:
    assert parse_plain(url) == (plain, origin)


@pytest.mark.parametrize(
    "text", ["https://example.com/x?y#z", "http://[fd00::1]:8443/x", "https://1.1.1.1"]
)
def test_another_reader_sees_the_same_host_and_port(text: str) -> None:
    found = parse_plain(text)
    other = urlsplit(found.url)
    assert other.hostname == found.origin.host
    assert (other.port or {"http": 80, "https": 443}[other.scheme]) == found.origin.port


def test_a_plain_host_stays_as_it_is_when_read_again() -> None:
    for host in ("example.com", "8.8.8.8", "a_b.example"):
        assert plain_host(host) == host
    assert plain_host("[2606:4700:0::1]") == "2606:4700::1"


@pytest.mark.parametrize(
    "url", ["https://" + "a." * 4000, "https://" + "a" * 7000, "https://h/" + "%41" * 2600]
)
def test_a_long_url_is_read_or_refused_in_one_pass(url: str) -> None:
    if re.fullmatch(r"https://h/(%41)+", url):
        assert parse_plain(url).origin.host == "h"
    else:
        with pytest.raises(InvalidInput):
            parse_plain(url)
