"""What the documents show is what happens: their SQL is run, their output compared."""

from __future__ import annotations

import itertools
import json
import re
from pathlib import Path

import pytest

from cluster import CHECKOUT, TEMPLATE, Cluster
from docs.pages import PAGES, Block, Note, name, parts, played
from docs.session import Reader, is_new_database, play
from servers.scripted_provider import Script, ScriptedProvider, scripted_provider

__all__ = ["scripted_provider"]  # a fixture

#: The model that the documents use: it wants no key.
MODEL = "qwen2.5-coder-1.5b"
WITH_SQL = [
    page for page in PAGES if any(isinstance(p, Block) and p.language == "sql" for p in parts(page))
]
_numbers = itertools.count(1)


@pytest.mark.parametrize("page", WITH_SQL, ids=name)
def test_the_sql_of_a_page_prints_what_the_page_shows(
    page: Path, cluster: Cluster, scripted_provider: ScriptedProvider
) -> None:
    script = Script(scripted_provider, MODEL)
    for act, what, arguments in played(page):
        _ = script.say(what) if act == "says" else script.call((what, arguments))
    server = (
        f"update aos_meta.provider set base_url = '{scripted_provider.openai_url}'"
        " where provider = 'local';\n"
    )
    template = "template1" if is_new_database(page) else TEMPLATE
    reader = Reader()
    differences = []
    with cluster.database(f"page_{next(_numbers)}", template) as database:
        for step, unseen, printed in play(page, database, server):
            assert "ERROR:" not in unseen, f"{step.where}: {unseen}"
            if step.shown is None:
                difference = printed if "ERROR:" in printed else None
            else:
                difference = reader.compare(step.shown, printed)
            if difference is not None:
                differences.append(f"{step.where}\n{difference}")
    assert not differences, "\n\n".join(differences)
    assert script.pending() == []


def test_a_page_that_shows_something_else_is_found_out() -> None:
    reader = Reader()
    one, two = "11111111-1111-4111-8111-111111111111", "22222222-2222-4222-8222-222222222222"
    assert (
        reader.compare(Block("text", f" id \n----\n {one}\n(1 row)", 1), f"id\n---\n{two}\n(1 row)")
        is None
    )
    assert reader.compare(Block("text", one, 1), two) is None
    assert reader.compare(Block("text", one, 1), one) is not None
    assert reader.compare(Block("text", "42 ... end", 1), "42 teapots at the end") is None
    assert reader.compare(Block("text", "42", 1), "43") is not None
    shown = '{"status": "done", "...": "...", "list": ["..."]}'
    assert (
        reader.compare(Block("json", shown, 1), '{"status": "done", "list": [1], "x": 1}') is None
    )
    assert reader.compare(Block("json", shown, 1), '{"status": "done", "list": 1}') is not None
    assert reader.compare(Block("json", '{"a": 1}', 1), '{"a": 1, "b": 2}') is not None


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_command_of_a_page_is_there(page: Path) -> None:
    targets = set(
        re.findall(r"^([a-z-]+):.*## ", (CHECKOUT / "Makefile").read_text(), re.MULTILINE)
    )
    for part in parts(page):
        if not isinstance(part, Block) or part.language != "sh":
            continue
        for program in re.findall(r"(?<![\w./-])((?:scripts|bench)/\w+(?:\.py)?)", part.body):
            assert (CHECKOUT / program).is_file(), program
        for target in re.findall(r"\bmake ([a-z][a-z-]*)", part.body):
            assert target in targets, f"make {target}"


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_json_in_a_page_is_json(page: Path) -> None:
    for part in parts(page):
        if isinstance(part, Block) and part.language == "json":
            json.loads(part.body)


def test_a_block_is_left_alone_for_a_reason() -> None:
    for page in PAGES:
        for part in parts(page):
            assert not (isinstance(part, Note) and part.verb == "not run" and not part.rest), name(
                page
            )
