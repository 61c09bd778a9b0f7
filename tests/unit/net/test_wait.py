"""The drivers: one generator alone, or many in one loop."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from pgagentos.net.wait import (
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
