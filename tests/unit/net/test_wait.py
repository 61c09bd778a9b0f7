"""The drivers: one generator alone, or many in one loop."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import pytest

from pgagentos.net.wait import (
    PAUSE,
    READ,
    Interrupted,
    Loop,
    NoInterrupts,
    Steps,
    Wait,
    run,
    run_all,
    sleep,
)

from .conftest import After

LONG = 3600.0


@contextmanager
def pipe() -> Iterator[tuple[int, int]]:
    """Both ends of a pipe, closed afterwards."""
    read_end, write_end = os.pipe()
    try:
        yield read_end, write_end
    finally:
        os.close(read_end)
        os.close(write_end)


def readable(fd: int, seconds: float) -> Steps[bool]:
    """Wait for *fd*; return whether it became ready."""
    return (yield Wait(fd, READ, time.monotonic() + seconds))


def both_ways(steps: Steps[Any]) -> Any:
    """Drive by the loop; the other driver is :func:`run`."""
    (result,) = run_all([steps], NoInterrupts())
    if isinstance(result, BaseException):
        raise result
    return result


DRIVERS = [lambda steps: run(steps, NoInterrupts()), both_ways]


@pytest.mark.parametrize("drive", DRIVERS)
def test_a_ready_descriptor_is_true_and_a_time_that_is_over_is_false(drive: Any) -> None:
    with pipe() as (read_end, write_end):
        assert drive(readable(read_end, 0.03)) is False
        os.write(write_end, b"x")
        assert drive(readable(read_end, LONG)) is True
        assert drive(readable(read_end, -1.0)) is True, "what is ready counts, even if late"


@pytest.mark.parametrize("drive", DRIVERS)
def test_a_sleep_never_ends_early(drive: Any) -> None:
    begin = time.monotonic()
    drive(sleep(0.045))
    assert time.monotonic() - begin >= 0.045


@pytest.mark.parametrize("drive", DRIVERS)
def test_the_result_and_the_error_of_a_generator_come_out(drive: Any) -> None:
    def without_a_wait(outcome: Any) -> Steps[Any]:
        if isinstance(outcome, Exception):
            raise outcome
        return outcome
        yield

    assert drive(without_a_wait(42)) == 42
    with pytest.raises(ValueError, match="on purpose"):
        drive(without_a_wait(ValueError("on purpose")))


@pytest.mark.parametrize(
    ("drive", "count"), [(lambda steps, interrupts: run(steps[0], interrupts), 1), (run_all, 3)]
)
def test_an_interrupt_closes_the_generators(drive: Any, count: int) -> None:
    closed = []

    def waits(number: int) -> Steps[None]:
        try:
            yield Wait(-1, 0, time.monotonic() + LONG)
        finally:
            closed.append(number)

    with pytest.raises(Interrupted):
        drive([waits(1), waits(2), waits(3)][:count], After(2))
    assert sorted(closed) == [1, 2, 3][:count]


def test_an_interrupt_passes_a_handler_for_exceptions() -> None:
    assert not issubclass(Interrupted, Exception)


def test_a_wait_that_is_over_at_once_still_looks_at_the_interrupts() -> None:
    def never_waits_long() -> Steps[None]:
        while True:
            yield Wait(-1, 0, 0.0)

    interrupts = After(100)
    with pytest.raises(Interrupted):
        run(never_waits_long(), interrupts)
    assert interrupts.looks == 101


def test_the_loop_hands_back_the_first_to_end_first_with_its_tag() -> None:
    with pipe() as (first, wake_first), pipe() as (second, wake_second):
        loop = Loop()
        loop.add(readable(first, LONG), "first")
        loop.add(readable(second, LONG), "second")
        assert loop.run_once(0.0) == []
        assert len(loop) == 2
        os.write(wake_second, b"x")
        assert loop.run_once(LONG) == [("second", True)]
        os.write(wake_first, b"x")
        assert loop.run_once(LONG) == [("first", True)]
        assert len(loop) == 0
        loop.close_all()


def test_the_loop_takes_new_generators_while_others_wait() -> None:
    with pipe() as (read_end, write_end):
        loop = Loop()
        loop.add(readable(read_end, LONG), "old")
        loop.add(sleep(0.0), "new")
        assert loop.run_once(LONG) == [("new", None)]
        os.write(write_end, b"x")
        loop.add(sleep(LONG), "newest")
        assert loop.run_once(LONG) == [("old", True)]
        loop.close_all()


def test_the_loop_knows_a_descriptor_number_that_is_used_again() -> None:
    with pipe() as (old, _), pipe() as (fresh, write_end):

        def swaps() -> Steps[list[bool]]:
            first = yield Wait(old, READ, time.monotonic())
            os.dup2(fresh, old)  # closes the old pipe; the number now means the other one
            return [first, (yield Wait(old, READ, time.monotonic() + LONG))]

        loop = Loop()
        loop.add(swaps(), "swaps")
        loop.run_once(0.0)
        os.write(write_end, b"x")
        assert loop.run_once(LONG) == [("swaps", [False, True])]
        loop.close_all()


def test_two_waits_for_one_descriptor_are_an_error_and_not_a_hang() -> None:
    with pipe() as (read_end, write_end):
        loop = Loop()
        loop.add(readable(read_end, LONG), "one")
        loop.add(readable(read_end, LONG), "two")
        ((tag, error),) = loop.run_once(LONG)
        assert tag == "two"
        assert isinstance(error, RuntimeError)
        os.write(write_end, b"x")
        assert loop.run_once(LONG) == [("one", True)]
        loop.close_all()


# --- pauses ---------------------------------------------------------------------------------------


def pauses(log: list[str], name: str, times: int = 1) -> Steps[str]:
    """Pause; then end."""
    try:
        for number in range(times):
            log.append(f"{name} {number}")
            assert (yield PAUSE) is True
        return name
    finally:
        log.append(f"{name} closed")


def test_who_pauses_goes_on_when_the_owner_says_so_and_not_before() -> None:
    loop, log = Loop(), list[str]()
    loop.add(pauses(log, "one"), "one")
    loop.add(pauses(log, "two"), "two")
    assert loop.has_paused
    assert loop.run_once(0.0) == []
    assert log == ["one 0", "two 0"]
    assert len(loop) == 2
    loop.go_on()
    assert not loop.has_paused
    assert loop.run_once(LONG) == [("one", "one"), ("two", "two")]
    assert len(loop) == 0
    loop.close_all()


def test_who_has_had_its_time_lets_the_owner_speak_before_the_next() -> None:
    loop, log = Loop(), list[str]()
    for name in ("one", "two", "three"):
        loop.add(pauses(log, name, times=2), name)
    del log[:]
    for _ in range(4):
        loop.go_on(0.0)
    assert log == ["one 1", "two 1", "three 1", "one closed"]
    loop.close_all()


def test_who_pauses_again_waits_for_the_next_word() -> None:
    loop, log = Loop(), list[str]()
    loop.add(pauses(log, "one", times=2), "one")
    loop.go_on()
    assert loop.has_paused
    assert loop.run_once(0.0) == []
    loop.go_on()
    assert log == ["one 0", "one 1", "one closed"]
    assert loop.run_once(LONG) == [("one", "one")]
    loop.close_all()


def test_others_come_to_their_ends_while_one_pauses() -> None:
    with pipe() as (read_end, write_end):
        loop, log = Loop(), list[str]()
        loop.add(pauses(log, "one"), "one")
        loop.add(readable(read_end, LONG), "reader")
        os.write(write_end, b"x")
        assert loop.run_once(LONG) == [("reader", True)]
        assert loop.has_paused
        loop.close_all()
    assert log == ["one 0", "one closed"]


def test_who_goes_on_may_wait_for_a_descriptor() -> None:
    with pipe() as (read_end, write_end):

        def first_pauses() -> Steps[bool]:
            yield PAUSE
            return (yield from readable(read_end, LONG))

        loop = Loop()
        loop.add(first_pauses(), "one")
        os.write(write_end, b"x")
        assert loop.run_once(0.0) == []
        loop.go_on()
        assert loop.run_once(LONG) == [("one", True)]
        loop.close_all()


def test_an_error_after_a_pause_is_the_result_of_that_generator_alone() -> None:
    def fails() -> Steps[None]:
        yield PAUSE
        raise ValueError("on purpose")

    loop, log = Loop(), list[str]()
    loop.add(fails(), "bad")
    loop.add(pauses(log, "good"), "good")
    loop.go_on()
    (bad, error), good = loop.run_once(LONG)
    assert (bad, str(error), good) == ("bad", "on purpose", ("good", "good"))
    loop.close_all()


@pytest.mark.parametrize("wait", [PAUSE, Wait(-1, 0, 0.0)])
def test_after_an_interrupt_the_others_are_still_there_to_be_closed(wait: Wait) -> None:
    log: list[str] = []

    def waits(name: str) -> Steps[None]:
        try:
            yield wait
            raise Interrupted
        finally:
            log.append(name)

    loop = Loop()
    for name in ("one", "two", "three"):
        loop.add(waits(name), name)
    resume = loop.go_on if wait is PAUSE else partial(loop.run_once, LONG)
    with pytest.raises(Interrupted):
        resume()
    assert len(log) == 1
    assert len(loop) == 2
    loop.close_all()
    assert sorted(log) == ["one", "three", "two"]


def test_a_generator_that_waits_is_dropped_without_a_result() -> None:
    with pipe() as (read_end, write_end):
        closed = []

        def waits() -> Steps[None]:
            try:
                yield Wait(read_end, READ, time.monotonic() + LONG)
            finally:
                closed.append(True)

        loop = Loop()
        loop.add(waits(), "one")
        assert loop.drop("one")
        assert closed == [True]
        assert len(loop) == 0
        assert not loop.drop("one")
        # Its descriptor is free for others.
        loop.add(readable(read_end, LONG), "two")
        os.write(write_end, b"x")
        assert loop.run_once(LONG) == [("two", True)]
        loop.close_all()


def test_a_generator_that_sleeps_or_pauses_is_dropped_too() -> None:
    loop, log = Loop(), list[str]()
    loop.add(sleep(0.0), "sleeps")
    loop.add(pauses(log, "pauses"), "pauses")
    assert loop.drop("sleeps")
    assert loop.drop("pauses")
    assert not loop.has_paused
    assert log == ["pauses 0", "pauses closed"]
    loop.go_on()
    assert loop.run_once(0.0) == []
    loop.close_all()


def test_who_has_come_to_its_end_cannot_be_dropped_and_gives_its_result() -> None:
    loop, log = Loop(), list[str]()
    loop.add(pauses(log, "one", times=0), "one")
    assert not loop.drop("one")
    assert loop.run_once(LONG) == [("one", "one")]
    assert not loop.drop("one")
    loop.close_all()


def test_dropping_one_leaves_the_others() -> None:
    loop, log = Loop(), list[str]()
    for name in ("one", "two", "three"):
        loop.add(pauses(log, name), name)
    assert loop.drop("two")
    assert not loop.drop("four")
    loop.go_on()
    assert loop.run_once(LONG) == [("one", "one"), ("three", "three")]
    loop.close_all()


def test_the_end_of_the_loop_closes_who_waits_and_who_pauses_also_when_one_of_them_fails() -> None:
    log: list[str] = []

    def fails_at_its_end() -> Steps[None]:
        try:
            yield PAUSE
        finally:
            log.append("failed")
            raise ValueError("on purpose")

    loop = Loop()
    loop.add(pauses(log, "one"), "one")
    loop.add(fails_at_its_end(), "bad")
    loop.add(pauses(log, "two"), "two")
    with pytest.raises(ValueError, match="on purpose"):
        loop.close_all()
    assert sorted(log) == ["failed", "one 0", "one closed", "two 0", "two closed"]


def test_results_keep_the_order_of_the_generators() -> None:
    def after(seconds: float, outcome: Any) -> Steps[Any]:
        yield from sleep(seconds)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    error = ValueError("on purpose")
    steps = [after(0.06, "slow"), after(0.0, "fast"), after(0.03, error)]
    assert run_all(steps, NoInterrupts()) == ["slow", "fast", error]


def test_nothing_to_do_gives_no_results() -> None:
    assert run_all([], NoInterrupts()) == []
