"""aos_meta.call_cost, the settings and the registry."""

from __future__ import annotations

from decimal import Decimal

import pytest

from house import House


@pytest.mark.parametrize(
    ("prices", "tokens", "cost"),
    [
        # input, cached, cache write, output: US dollars for a million tokens
        (("2", None, None, "10"), (1_000_000, 0, 0, 1_000_000), "12"),
        (("2.5", "1.25", None, "10"), (1000, 0, 0, 500), "0.0075"),
        # cached tokens are part of the input and cost less
        (("2.5", "1.25", None, "10"), (1000, 400, 0, 0), "0.002"),
        # writes into the cache are part of the input and cost more
        (("3", "0.3", "3.75", "15"), (1000, 400, 200, 100), "0.00357"),
        # without prices of their own they cost what input costs
        (("3", None, None, "15"), (1000, 400, 200, 100), "0.0045"),
        (("3", "0.3", "3.75", "15"), (0, 0, 0, 0), "0"),
        (("3", "0.3", "3.75", "15"), (None, None, None, None), "0"),
        (("0.075", None, None, "0.3"), (1, 0, 0, 1), "0.00000038"),
        (("0", None, None, "0"), (1000, 0, 0, 1000), "0"),
        ((None, None, None, None), (1000, 0, 0, 1000), None),
        (("2", None, None, None), (1000, 0, 0, 1000), None),
    ],
)
def test_what_a_call_costs(
    house: House,
    prices: tuple[str | None, ...],
    tokens: tuple[int | None, ...],
    cost: str | None,
) -> None:
    found = house.one(
        "select aos_meta.call_cost(m, %s, %s, %s, %s) from (select (jsonb_populate_record("
        "null::aos_meta.llm_model_registry, jsonb_build_object('input_price', %s::numeric,"
        " 'cached_input_price', %s::numeric, 'cache_write_price', %s::numeric,"
        " 'output_price', %s::numeric))).*) as m",
        *tokens,
        *prices,
    )
    assert found == (None if cost is None else Decimal(cost))


def test_a_setting_is_read_by_its_name(house: House) -> None:
    assert house.call("aos_meta.setting", "max_model_calls") == 10
    assert house.call("aos_meta.setting", "no_such_setting") is None


@pytest.mark.parametrize(
    ("provider", "has_key"), [("ollama", True), ("local", True), ("openai", False)]
)
def test_a_provider_that_wants_no_key_can_be_called(
    house: House, provider: str, has_key: bool
) -> None:
    assert house.call("aos_meta.has_api_key", provider) is has_key


def test_has_api_key_refuses_an_unknown_provider(house: House) -> None:
    with house.refused("OS002", "there is no provider 'nobody'"):
        house.call("aos_meta.has_api_key", "nobody")


def test_embed_says_that_no_embedding_model_is_set(house: House) -> None:
    with house.refused("OS001", "no embedding model is set"):
        house.rows("select aos_meta.embed('hello')")


def test_new_ids_sort_by_time(house: House) -> None:
    ids = [house.one("select aos_core.new_id()") for _ in range(3)]
    for made in ids:
        assert (made.version, made.variant) == (7, "specified in RFC 4122")
    milliseconds = [made.int >> 80 for made in ids]
    assert milliseconds == sorted(milliseconds)
    now = house.one("select (extract(epoch from clock_timestamp()) * 1000)::bigint")
    assert abs(now - milliseconds[-1]) < 60_000


def test_check_installation_has_a_line_for_each_part_and_a_hint_where_something_is_wrong(
    house: House,
) -> None:
    lines = house.rows("select component, status, detail, hint from aos_core.check_installation()")
    assert len(lines) > 3
    for component, status, _, hint in lines:
        assert component
        assert status == "ok" or hint, f"{component} is {status} and has no hint"
