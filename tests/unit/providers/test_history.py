"""Repair of the history before it goes to a vendor."""

from __future__ import annotations

import json
import random

import pytest

from pgagentos.providers.base import Message
from pgagentos.providers.history import INTERRUPTED, is_whole
from pgagentos.providers.wire import iter_messages, repair
from unit.providers.conversation import assistant, note, result, user

ASK = assistant("", ("a", "f", {}), ("b", "g", {"x": 1}))


def summary(messages: object) -> list[str]:
    """Roles with ids, for example ``user call:a,b result:a``."""
    words = []
    for neutral, _ in iter_messages(messages):  # type: ignore[arg-type]
        if neutral.get("tool_calls"):
            words.append("call:" + ",".join(call["call_id"] for call in neutral["tool_calls"]))
        elif neutral["role"] == "tool":
            lost = neutral["content"] == INTERRUPTED
            words.append(("lost:" if lost else "result:") + neutral["call_id"])
        else:
            words.append(neutral["role"])
    return words


def test_a_whole_history_is_returned_itself() -> None:
    history = [user("q"), ASK, result("b", "2"), result("a", "1"), assistant("done"), user("x")]
    assert repair(history) is history


def test_an_empty_history_is_whole() -> None:
    assert repair([]) == []


def test_edge_04_a_dangling_call_gets_an_interrupted_result() -> None:
    repaired = repair([user("q"), ASK, result("a", "1"), user("again")])
    assert summary(repaired) == ["user", "call:a,b", "result:a", "lost:b", "user"]
    assert json.loads(repaired[3].json)["is_error"] is True


def test_edge_04_a_dangling_call_at_the_end_gets_a_result_too() -> None:
    assert summary(repair([user("q"), ASK])) == ["user", "call:a,b", "lost:a", "lost:b"]


def test_edge_04_an_orphan_result_is_dropped() -> None:
    assert summary(repair([result("z", "?"), user("q"), result("y", "?")])) == ["user"]


def test_edge_04_a_second_result_for_one_call_is_dropped_and_the_first_kept() -> None:
    one = assistant("", ("a", "f", {}))
    repaired = repair([user("q"), one, result("a", "first"), result("a", "second"), user("x")])
    assert summary(repaired) == ["user", "call:a", "result:a", "user"]
    assert json.loads(repaired[2].json)["content"] == "first"


def test_edge_04_a_result_before_its_call_is_moved_behind_it() -> None:
    one = assistant("", ("a", "f", {}))
    repaired = repair([user("q"), result("a", "early"), one, user("x")])
    assert summary(repaired) == ["user", "call:a", "result:a", "user"]
    assert json.loads(repaired[2].json)["content"] == "early"


def test_edge_04_a_note_or_a_question_between_call_and_result_goes_behind_the_result() -> None:
    one = assistant("", ("a", "f", {}))
    history = [user("q"), one, note("n"), user("meanwhile"), result("a", "1")]
    assert summary(repair(history)) == ["user", "call:a", "result:a", "system", "user"]


def test_edge_04_ids_that_come_again_later_belong_to_the_nearest_call() -> None:
    one = assistant("", ("a", "f", {}))
    history = [user("q"), one, result("a", "1"), user("q2"), one, user("q3"), result("a", "2")]
    repaired = repair(history)
    assert summary(repaired) == ["user", "call:a", "result:a", "user", "call:a", "result:a", "user"]
    contents = [json.loads(message.json).get("content") for message in repaired]
    assert contents[2] == "1"
    assert contents[5] == "2"


def test_messages_that_are_written_in_another_order_or_with_spaces_are_understood() -> None:
    spaced = Message(
        '{"tool_calls": [{"call_id": "a", "name": "f", "arguments": {}}], '
        '"role": "assistant", "content": ""}'
    )
    answer = Message('{"content": "1", "call_id": "a", "role": "tool"}')
    history = [user("q"), spaced, answer]
    assert repair(history) is history
    assert summary(repair(history[:2])) == ["user", "call:a", "lost:a"]


def test_arguments_and_texts_that_look_like_calls_do_not_confuse_the_check() -> None:
    odd = assistant(
        'say "tool_calls":[{"call_id":"no"}]',
        ("a", "f", {"call_id": "x", "tool_calls": [{"call_id": "y"}], "t": '"call_id":"z"'}),
    )
    history = [user('{"role":"tool","call_id":"q"}'), odd, result("a", '","call_id":"b"')]
    assert repair(history) is history


@pytest.mark.parametrize("call_id", ['with"quote', "back\\slash", "한글", "new\nline"])
def test_ids_that_need_escaping_are_matched(call_id: str) -> None:
    history = [user("q"), assistant("", (call_id, "f", {})), result(call_id, "1")]
    assert repair(history) is history
    assert summary(repair(history[:2])) == ["user", f"call:{call_id}", f"lost:{call_id}"]


@pytest.mark.parametrize("seed", range(200))
def test_edge_04_any_history_is_repaired_once_and_for_all(seed: int) -> None:
    chance = random.Random(seed)
    makers = [
        lambda: user("u"),
        lambda: note("n"),
        lambda: assistant("t"),
        lambda: assistant("", (chance.choice("abc"), "f", {})),
        lambda: assistant("", ("a", "f", {}), ("b", "g", {})),
        lambda: result(chance.choice("abcd"), str(chance.random())),
    ]
    history = [chance.choice(makers)() for _ in range(chance.randrange(1, 15))]
    before = list(history)
    repaired = repair(history)
    assert history == before
    assert is_whole(repaired)
    assert repair(repaired) is repaired
    others = [m for m in history if '"role":"tool"' not in m.json]
    assert [m for m in repaired if '"role":"tool"' not in m.json] == others
