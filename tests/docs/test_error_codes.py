"""docs/errors.md lists every SQLSTATE that the code raises, and no other."""

from __future__ import annotations

import re

from cluster import CHECKOUT
from docs.pages import prose
from pgagentos.errors import AgentOSError, ProviderError

PAGE = CHECKOUT / "docs/errors.md"
_CODE = re.compile(r"\bOS\d{3}\b")


def listed() -> dict[str, str]:
    """Return the table's rows by their code."""
    rows = re.findall(
        r"^\| `([A-Z0-9]{5})` \|(.*)$", PAGE.read_text(encoding="utf-8"), re.MULTILINE
    )
    return dict(rows)


def test_the_table_lists_the_codes_of_the_sources_and_no_other() -> None:
    sources = [*(CHECKOUT / "sql").rglob("*.sql"), *(CHECKOUT / "plpy_src/pgagentos").rglob("*.py")]
    raised = {
        code for source in sources for code in _CODE.findall(source.read_text(encoding="utf-8"))
    }
    assert {code for code in listed() if code.startswith("OS")} == raised


def test_no_code_is_listed_twice() -> None:
    rows = re.findall(r"^\| `([A-Z0-9]{5})` \|", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    assert len(rows) == len(set(rows))


def test_every_kind_of_provider_error_stands_beside_its_code() -> None:
    for kind, (sqlstate, is_retryable) in ProviderError.KINDS.items():
        row = listed()[sqlstate]
        assert f"`{kind}`" in row
        assert ("| yes |" in row) == is_retryable, kind


def test_every_class_of_error_stands_beside_its_code() -> None:
    for kind in AgentOSError.__subclasses__():
        if kind is not ProviderError:
            assert kind.sqlstate in listed(), kind


def test_the_text_names_only_listed_codes() -> None:
    assert set(_CODE.findall(prose(PAGE))) <= set(listed())
