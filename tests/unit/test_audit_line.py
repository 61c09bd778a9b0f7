"""A line for the server's log is one line of JSON, whatever is in it."""

from __future__ import annotations

import json

from pgagentos.audit import MOST_CHARACTERS, line


def test_a_line_is_json_with_its_event_and_what_is_known() -> None:
    assert json.loads(line("turn_driven", tenant_id="t", model_calls=2, cost=0.5, skill=None)) == {
        "source": "pgagentos",
        "event": "turn_driven",
        "tenant_id": "t",
        "model_calls": 2,
        "cost": 0.5,
    }


def test_text_of_a_stranger_cannot_begin_a_line_of_its_own() -> None:
    text = 'a\nLOG:  {"event": "forged"}\r\u2028\x1b[2J한글'
    written = line("http_refused", host=text)
    assert written.isascii()
    assert written.isprintable()
    assert json.loads(written)["host"] == text


def test_text_of_a_stranger_cannot_fill_the_log() -> None:
    assert json.loads(line("http_refused", host="x" * 10_000_000))["host"] == "x" * MOST_CHARACTERS
