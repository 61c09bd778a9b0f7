"""Waiting, kept apart from what is waited for.

Code that has to wait for a socket or for a moment is a generator: it yields a :class:`Wait` and is
sent True when the socket became ready, False when the time was over. One such generator can be
driven alone (:func:`run`), or hundreds of them by one loop (:func:`run_all`, :class:`Loop`), by
the same code and without a thread. Between two slices of a wait the driver looks at PostgreSQL's
interrupt flags, so a cancel lands within about one slice. (The shape is psycopg 3's; asyncio costs
a backend 20 ms more CPU at the first turn and gives nothing that is needed here.)
"""

from __future__ import annotations

import select
import time
from collections.abc import Callable, Generator, Hashable
from contextlib import ExitStack
from typing import Any, NamedTuple, Protocol, TypeVar

T = TypeVar("T")

#: Longest time in seconds between two looks at the interrupt flags.
SLICE = 0.02

READ = select.POLLIN
WRITE = select.POLLOUT


class Wait(NamedTuple):
    """What a generator waits for.

    Args:
        fd: file descriptor, or -1 to wait for the moment only.
        events: ``READ`` or ``WRITE`` (or both, or-ed).
        until: moment on :func:`time.monotonic`'s clock at which the wait is over in any case.
    """

    fd: int
    events: int
    until: float


Steps = Generator[Wait, bool, T]

#: Yielded instead of a wait: "go no further until the owner of the loop lets you".
PAUSE = Wait(-1, 0, float("inf"))


class Interrupted(BaseException):
    """The session was told to stop while it waited.

    Not an :class:`Exception`, so that no library's ``except Exception`` swallows a cancel. The
    gateway turns it into PostgreSQL's own cancel once all frames of libraries are left.
    """


class Interrupts(Protocol):
    """Where the order to stop arrives."""

    def pending(self) -> bool:
        """True when the present work has to stop; called about every 20 ms, so it must be cheap."""


class NoInterrupts:
    """Nobody stops this process from inside: for workers and tests outside a server."""

    def pending(self) -> bool:
        return False


def sleep(seconds: float) -> Steps[None]:
    """Wait for a moment that lies *seconds* ahead."""
    yield Wait(-1, 0, time.monotonic() + seconds)


def run(steps: Steps[T], interrupts: Interrupts) -> T:
    """Drive one generator to its end.

    Args:
        steps: the generator; it is closed in any case, so its ``finally`` blocks have run.
        interrupts: looked at after every slice of every wait, also when the wait was over at once
            (a peer that sends without end would otherwise never let a cancel in).

    Returns:
        what the generator returned.

    Raises:
        Interrupted: the session was told to stop.
        Exception: whatever the generator raised.
    """
    pending = interrupts.pending
    try:
        wait = next(steps)
        while True:
            wait = steps.send(_wait(wait, pending))
    except StopIteration as stop:
        result: T = stop.value
        return result
    finally:
        steps.close()


def _wait(wait: Wait, pending: Callable[[], bool]) -> bool:
    """Wait in slices; True when the descriptor is ready, False when the time is over."""
    fd, events, until = wait
    poller = select.poll()
    if fd >= 0:
        poller.register(fd, events)
    while True:
        left = until - time.monotonic()
        # poll() rounds milliseconds up, so a wait never ends before its moment.
        ready = poller.poll((left if left < SLICE else SLICE) * 1000 if left > 0 else 0)
        if pending():
            raise Interrupted
        if ready:
            return True
        if left <= SLICE and time.monotonic() >= until:
            return False


class _Task:
    """A generator inside a loop, and the wait that it stands in."""

    __slots__ = ("fd", "steps", "tag", "until")

    def __init__(self, steps: Steps[Any], tag: Hashable) -> None:
        self.steps = steps
        self.tag = tag
        self.fd = -1
        self.until = 0.0


class Loop:
    """Many generators at once, one epoll descriptor.

    The owner looks at the interrupt flags between two calls of :meth:`run_once` (with a timeout of
    at most :data:`SLICE`) and calls :meth:`close_all` at the end, whatever happened.
    """

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._waiting: set[_Task] = set()
        self._by_fd: dict[int, _Task] = {}
        self._finished: list[tuple[Any, Any]] = []
        self._paused: list[_Task] = []
        # Never later than the earliest `until` of a waiting task; may be earlier, which costs one
        # look at all tasks and nothing else.
        self._earliest = float("inf")

    def __len__(self) -> int:
        """How many generators are unfinished, or finished but not yet returned."""
        return len(self._waiting) + len(self._finished) + len(self._paused)

    @property
    def has_paused(self) -> bool:
        """Whether a generator has yielded :data:`PAUSE`."""
        return bool(self._paused)

    def go_on(self, seconds: float = float("inf")) -> None:
        """Let the generators that have paused run up to their next wait.

        Args:
            seconds: after that no other one is begun with; the rest stays paused.
        """
        until = time.monotonic() + seconds
        paused, self._paused = self._paused, []
        paused.reverse()
        try:
            while paused:
                self._resume(paused.pop(), True)
                if time.monotonic() >= until:
                    break
        finally:
            self._paused = paused[::-1] + self._paused  # in their order, before those that went on

    def drop(self, tag: Hashable) -> bool:
        """Close a generator before its end; it has no result.

        Returns:
            False when it has come to its end already: its result is still to be returned.
        """
        for task in [*self._waiting, *self._paused]:
            if task.tag == tag:
                self._waiting.discard(task)
                if task in self._paused:
                    self._paused.remove(task)
                if self._by_fd.get(task.fd) is task:
                    del self._by_fd[task.fd]
                    self._epoll.unregister(task.fd)
                task.steps.close()
                return True
        return False

    def add(self, steps: Steps[Any], tag: Hashable) -> None:
        """Take a generator in and run it up to its first wait.

        Args:
            steps: the generator; the loop closes it.
            tag: handed back with its result.
        """
        self._resume(_Task(steps, tag), None)

    def run_once(self, timeout: float, most: int = -1) -> list[tuple[Any, Any]]:
        """Wait once for anything to happen and run what became ready.

        Args:
            timeout: seconds to wait at most; 0 only looks.
            most: at most so many generators whose socket became ready; -1: all of them.

        Returns:
            ``(tag, result)`` of each generator that ended, in the order of their ends; where it
            raised an :class:`Exception`, that exception is the result.
        """
        if self._finished:
            timeout = 0.0
        else:
            timeout = max(0.0, min(timeout, self._earliest - time.monotonic()))
        for fd, _ in self._epoll.poll(timeout, most):
            task = self._by_fd.pop(fd, None)
            if task is not None:
                self._waiting.discard(task)
                self._resume(task, True)
        now = time.monotonic()
        if now >= self._earliest:
            self._expire(now)
        finished, self._finished = self._finished, []
        return finished

    def close_all(self) -> None:
        """Close every generator that has not ended, and the loop itself."""
        waiting, self._waiting = [*self._waiting, *self._paused], set()
        self._paused = []
        self._by_fd.clear()
        self._finished.clear()
        self._epoll.close()
        with ExitStack() as stack:  # closes all of them, also when one raises on the way out
            for task in waiting:
                stack.callback(task.steps.close)

    def _resume_all(self, tasks: list[_Task], ready: bool) -> None:
        """Run tasks up to their next wait, one after the other."""
        tasks.reverse()
        try:
            while tasks:
                self._resume(tasks.pop(), ready)
        finally:
            self._paused += tasks  # after an interrupt, for close_all

    def _resume(self, task: _Task, ready: bool | None) -> None:
        """Run a task up to its next wait, or to its end."""
        try:
            # A generator that has not begun takes None only (language reference, 6.2.9.1).
            wait = next(task.steps) if ready is None else task.steps.send(ready)
            self._arm(task, wait)
        except StopIteration as stop:
            self._finished.append((task.tag, stop.value))
        except Exception as error:
            task.steps.close()
            self._finished.append((task.tag, error))

    def _arm(self, task: _Task, wait: Wait) -> None:
        """Note what the task waits for."""
        if wait is PAUSE:
            self._paused.append(task)
            return
        fd = wait.fd
        if fd >= 0:
            if fd in self._by_fd:
                raise RuntimeError("two generators wait for the same descriptor")
            # One-shot: a kept-alive connection that nobody waits for stays silent, and each wait is
            # one system call. The kernel forgets a closed descriptor by itself, so a number that is
            # in use again has to be registered anew.
            events = wait.events | select.EPOLLONESHOT
            try:
                self._epoll.modify(fd, events)
            except FileNotFoundError:
                self._epoll.register(fd, events)
            self._by_fd[fd] = task
        task.fd, task.until = fd, wait.until
        self._waiting.add(task)
        self._earliest = min(self._earliest, wait.until)

    def _expire(self, now: float) -> None:
        """Tell the tasks whose time is over."""
        over = [task for task in self._waiting if task.until <= now]
        for task in over:
            self._waiting.discard(task)
            if task.fd >= 0:
                del self._by_fd[task.fd]
                # Nothing was delivered, so it is still armed.
                self._epoll.unregister(task.fd)
        self._earliest = min((task.until for task in self._waiting), default=float("inf"))
        self._resume_all(over, False)


def run_all(all_steps: list[Steps[Any]], interrupts: Interrupts) -> list[Any | BaseException]:
    """Drive several generators at the same time.

    Args:
        all_steps: the generators; all are closed in the end.
        interrupts: looked at after every slice.

    Returns:
        for each generator, in the order given, what it returned or the exception that it raised.

    Raises:
        Interrupted: the session was told to stop.
    """
    results: list[Any | BaseException] = [None] * len(all_steps)
    loop = Loop()
    try:
        for number, steps in enumerate(all_steps):
            loop.add(steps, number)
        while loop:
            for number, result in loop.run_once(SLICE):
                results[number] = result
            if loop and interrupts.pending():
                raise Interrupted
    finally:
        loop.close_all()
    return results
