"""Parameters of a persona: what no driver knows or could use is refused when it is written."""

from __future__ import annotations

import re
from typing import Any

import pytest
from psycopg.types.json import Jsonb

from cluster import CHECKOUT
from house import House


@pytest.mark.parametrize(
    "params",
    [
        {},
        {"temperature": 0},
        {"temperature": 0.7, "top_p": 0.95, "seed": -1},
        {"max_output_tokens": 1},
        {"stop": []},
        {"stop": ["END", 'a "quoted" \\ one, with a comma', "끝"]},
        {"reasoning_effort": "xhigh", "parallel_tool_calls": False},
        {"response_schema": {"type": "object", "properties": {}}},
        {"history_turns": 0},
        {"history_turns": None, "max_output_tokens": None, "temperature": None},
    ],
)
def test_what_the_drivers_know_is_stored(house: House, params: dict[str, Any]) -> None:
    persona = house.persona(house.tenant(), params=params)
    assert params == house.one(
        "select params from aos_persona.persona where persona_id = %s", persona
    )


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"temperature": "hot"}, 'temperature has to be a number, 0 or more, not "hot"'),
        ({"temperature": -0.1}, "temperature has to be"),
        ({"top_p": True}, "top_p has to be"),
        ({"max_output_tokens": 0}, "max_output_tokens has to be a whole number, 1 or more, not 0"),
        ({"max_output_tokens": "77"}, "max_output_tokens has to be"),
        ({"max_output_tokens": 1.5}, "max_output_tokens has to be"),
        ({"max_output_tokens": 10**10}, "max_output_tokens has to be"),
        ({"stop": "END"}, 'stop has to be an array of strings, not "END"'),
        ({"stop": [1]}, "stop has to be"),
        ({"stop": [["END"]]}, "stop has to be"),
        ({"seed": "x"}, "seed has to be"),
        ({"reasoning_effort": "huge"}, "reasoning_effort has to be none, minimal"),
        ({"response_schema": "x"}, "response_schema has to be an object"),
        ({"parallel_tool_calls": "yes"}, "parallel_tool_calls has to be true or false"),
        ({"history_turns": -1}, "history_turns has to be a whole number, 0 or more, not -1"),
        ({"history_turns": 2147483647}, "history_turns has to be"),
        ({"history_turns": [1]}, "history_turns has to be"),
        ({"temprature": 1}, "a persona has no parameter 'temprature'"),
        ({"temprature": None}, "a persona has no parameter 'temprature'"),
    ],
)
def test_what_they_do_not_know_or_cannot_use_is_refused(
    house: House, params: dict[str, Any], message: str
) -> None:
    tenant = house.tenant()
    with house.refused("OS001", re.escape(message)):
        house.persona(tenant, params=params)
    persona = house.persona(tenant)
    with house.refused("OS001", re.escape(message)):
        house.rows(
            "update aos_persona.persona set params = %s where persona_id = %s",
            Jsonb(params),
            persona,
        )


def test_every_parameter_that_a_driver_reads_is_known(house: House) -> None:
    known = set(
        re.findall(
            r"\('(\w+)',",
            house.one(
                "select prosrc from pg_proc where oid = 'aos_persona._refuse_params'::regproc"
            ),
        )
    )
    read = {
        key
        for path in (CHECKOUT / "plpy_src/pgagentos/providers").rglob("*.py")
        for key in re.findall(r'\bparams(?:\.get\(\s*|\[)"(\w+)"', path.read_text(encoding="utf-8"))
    }
    assert read <= known
    page = (CHECKOUT / "docs/providers.md").read_text(encoding="utf-8")
    section = page.partition("## Parameters")[2].partition("\n## ")[0]
    assert known <= set(re.findall(r"`(\w+)`", section))
