"""docs/providers.md lists every option and every capability that the code reads."""

from __future__ import annotations

import re

from cluster import CHECKOUT
from docs.pages import PAGES, name

PAGE = CHECKOUT / "docs/providers.md"
#: The kernel's own Python; the local model server reads options of requests, not of providers.
SOURCES = [
    path
    for path in (CHECKOUT / "plpy_src/pgagentos").rglob("*.py")
    if "local_models" not in path.parts
]


def read_by_the_code(word: str) -> set[str]:
    """Return the keys that are taken from a mapping called *word*."""
    pattern = re.compile(rf'\b{word}(?:\.get\(\s*|\[)["\'](\w+)["\']')
    return {key for path in SOURCES for key in pattern.findall(path.read_text(encoding="utf-8"))}


def test_every_option_that_is_read_is_listed() -> None:
    listed = set(re.findall(r"^\| `(\w+)` \|", PAGE.read_text(encoding="utf-8"), re.MULTILINE))
    drivers = {"openai_chat", "openai_responses", "anthropic", "gemini", "ollama"}
    assert listed - drivers == read_by_the_code("options")


def test_every_capability_that_is_read_is_named() -> None:
    text = PAGE.read_text(encoding="utf-8")
    missing = {key for key in read_by_the_code("capabilities") if f"`{key}`" not in text}
    assert not missing


def test_the_page_of_models_explains_the_capabilities_of_the_presets() -> None:
    [page] = [path for path in PAGES if name(path) == "docs/models.md"]
    presets = (CHECKOUT / "sql/aos_meta/presets.sql").read_text(encoding="utf-8")
    used = set(re.findall(r'"(\w+)":', " ".join(re.findall(r"'(\{\"tools\".*?\})'", presets))))
    text = page.read_text(encoding="utf-8")
    assert used
    assert not {key for key in used if f"`{key}`" not in text}
