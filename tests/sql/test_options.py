"""Options of providers and models: a value that no driver could use is refused when written."""

from __future__ import annotations

import re
from typing import Any

import pytest
from psycopg.types.json import Jsonb

from cluster import CHECKOUT
from house import House

TABLES = ["provider", "llm_model_registry"]


def set_options(house: House, table: str, options: dict[str, Any]) -> None:
    with house.connection.transaction(force_rollback=True):
        house.rows(
            f"update aos_meta.{table} set options = %s where provider = 'openai'", Jsonb(options)
        )


@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize(
    "options",
    [
        {"timeout_seconds": 0.5, "extra_headers": {"x": "y"}, "extra_body": {}, "query": {}},
        {"auth_header": "api-key", "tool_choice": False, "call_ids": "vendor"},
        {"anthropic_beta": "one"},
        {"anthropic_beta": ["one", "two"], "anthropic_version": "2023-06-01"},
        {"think": "high", "keep_alive": -1, "num_ctx": 8192, "ollama_options": {"num_gpu": 0}},
        {"think": False, "keep_alive": "30m"},
        {"of_a_gateway": [None]},
    ],
)
def test_what_a_driver_can_use_is_stored(house: House, table: str, options: dict[str, Any]) -> None:
    set_options(house, table, options)


@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"timeout_seconds": "x"}, "timeout_seconds has to be a number of seconds, more than 0"),
        ({"timeout_seconds": 0}, "timeout_seconds has to be"),
        ({"timeout_seconds": 0.0}, "timeout_seconds has to be"),
        ({"timeout_seconds": -1}, "timeout_seconds has to be"),
        ({"timeout_seconds": None}, "timeout_seconds has to be"),
        ({"extra_headers": "x"}, 'extra_headers has to be an object, not "x"'),
        ({"extra_body": []}, "extra_body has to be"),
        ({"query": "a=b"}, "query has to be"),
        ({"tool_mode": "jsonschema"}, "tool_mode has to be native or json_schema"),
        ({"system_role": "boss"}, "system_role has to be"),
        ({"prompt_cache": "yes"}, "prompt_cache has to be true or false"),
        ({"num_ctx": 0}, "num_ctx has to be"),
    ],
)
def test_what_it_could_not_is_refused(
    house: House, table: str, options: dict[str, Any], message: str
) -> None:
    with house.refused("OS001", re.escape(message)):
        set_options(house, table, options)


def test_every_documented_option_is_checked(house: House) -> None:
    checked = re.findall(
        r"\('(\w+)', '",
        house.one("select prosrc from pg_proc where oid = 'aos_meta._refuse_options'::regproc"),
    )
    page = (CHECKOUT / "docs/providers.md").read_text(encoding="utf-8")
    section = page.partition("\n## Options")[2].partition("\n## Capabilities")[0]
    listed = re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE)
    assert sorted(checked) == sorted(set(listed))
