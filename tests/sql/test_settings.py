"""Settings: a value that a turn could not use is refused when it is written."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest
from psycopg.types.json import Jsonb

from house import House


def set_to(house: House, name: str, value: Any) -> None:
    with house.connection.transaction(force_rollback=True):
        house.rows("update aos_meta.setting set value = %s where name = %s", Jsonb(value), name)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("max_model_calls", 1),
        ("max_model_calls", 250),
        ("history_turns", 0),
        ("history_turns", None),
        ("approval_expires_after", "36 hours"),
        ("embedding_model", None),
        ("embedding_model", "multilingual-e5-small"),
    ],
)
def test_a_value_that_fits_is_stored(house: House, name: str, value: Any) -> None:
    set_to(house, name, value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("max_model_calls", -3),
        ("max_model_calls", None),
        ("max_model_calls", "10"),
        ("max_model_calls", 1.5),
        ("history_turns", -1),
        ("history_turns", "x"),
        ("history_turns", 2147483647),
        ("approval_expires_after", None),
        ("approval_expires_after", "0 days"),
        ("embedding_model", 5),
    ],
)
def test_a_value_that_does_not_is_refused_by_the_name_of_the_setting(
    house: House, name: str, value: Any
) -> None:
    with pytest.raises(psycopg.errors.CheckViolation) as caught:
        set_to(house, name, value)
    assert str(caught.value.diag.constraint_name).startswith(f"{name}_is_a_")


def test_a_time_that_is_none_is_refused(house: House) -> None:
    with pytest.raises(psycopg.errors.InvalidDatetimeFormat, match="next tuesday"):
        set_to(house, "approval_expires_after", "next tuesday")


def test_a_setting_of_ones_own_holds_anything(house: House) -> None:
    with house.connection.transaction(force_rollback=True):
        house.rows("insert into aos_meta.setting (name, value) values ('own', '[1, null]')")
        assert house.one("select aos_meta.setting('own')") == [1, None]
