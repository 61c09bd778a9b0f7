"""Links between the files of the project lead somewhere."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from docs.pages import PAGES, name, prose

_LINK = re.compile(r"\]\(([^)\s]+)\)")


def anchors(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as GitHub makes them."""
    found = set()
    for heading in re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE):
        plain = re.sub(r"[`*]|\[([^\]]*)\]\([^)]*\)", r"\1", heading)
        found.add(re.sub(r"[^\w\- ]", "", plain.strip().lower()).replace(" ", "-"))
    return found


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_links_inside_the_repository_resolve(page: Path) -> None:
    for link in _LINK.findall(prose(page)):
        if re.match(r"[a-z]+:", link):
            continue
        target, _, anchor = link.partition("#")
        path = (page.parent / target).resolve() if target else page
        assert path.exists(), f"{name(page)}: {link}"
        if anchor:
            assert anchor in anchors(path), f"{name(page)}: {link}"


def test_every_page_under_docs_is_linked_from_the_readme() -> None:
    linked = {
        link.partition("#")[0]
        for page in PAGES
        if name(page) == "README.md"
        for link in _LINK.findall(prose(page))
    }
    missing = {name(page) for page in PAGES if page.parent.name == "docs"} - linked
    assert not missing
