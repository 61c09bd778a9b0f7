"""What pgAgentOS must cost and aims at, as ratios inside one run, and what it did cost."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from figures import (
    block_cpu,
    block_wall,
    cold_ratio,
    growth_figure,
    growth_ratio,
    latency_ratio,
    load_figure,
    median,
    quotient,
)

OURS, WINDOW, THIN, BARE_SDK = "pgagentos", "pgagentos_window", "thin", "floor_openai"
Record = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Goal:
    """One line of the table.

    Args:
        metric: what is compared.
        phase: where it was measured.
        figure: computes it for a contestant, given the phase's record; None: not measured.
        must, aim: the bounds; upper bounds unless `at_least`.
        unit: "x thin" and the like, for the reader.
    """

    metric: str
    phase: str
    figure: Callable[[Record, str], float | None]
    must: float
    aim: float
    unit: str
    at_least: bool = False

    def judge(self, phases: Record) -> Record:
        """The values of all contestants that have one, and the verdict on ours."""
        phase = phases.get(self.phase, {})
        values = {name: self.figure(phase, name) for name in phase}
        values = {name: value for name, value in values.items() if value is not None}
        own = values.get(OURS)
        verdict = "not measured"
        if own is not None:
            verdict = (
                "meets the aim"
                if self.reaches(own, self.aim)
                else "meets the must"
                if self.reaches(own, self.must)
                else "misses"
            )
        goal = asdict(self)
        del goal["figure"]
        return goal | {"values": values, "verdict": verdict}

    def reaches(self, value: float, bound: float) -> bool:
        """Whether `value` is on the right side of `bound`."""
        return value >= bound if self.at_least else value <= bound


def longest(phase: Record) -> str:
    """The longest conversation that was measured."""
    return max(next(iter(phase.values())), key=int)


def of_accounting(key: str) -> Callable[[Record, str], float]:
    """A count per turn; the tenth is enough, statistics of the background are in it."""
    return lambda phase, name: round(float(phase[name][key]), 1)


def growth_in(key: str, at_longest: bool) -> Callable[[Record, str], float | None]:
    """A figure of the growth phase against thin's, at turn 1 or in the longest conversation."""
    return lambda phase, name: growth_ratio(
        phase, name, THIN, longest(phase) if at_longest else "1", key
    )


def window_growth(phase: Record, name: str) -> float | None:
    """The longest conversation against turn 1, with the default window, shown as ours."""
    if name != OURS or WINDOW not in phase:
        return None
    return quotient(
        growth_figure(phase, WINDOW, longest(phase), "ns"), growth_figure(phase, WINDOW, "1", "ns")
    )


GOALS = (
    Goal(
        "wall time of a turn",
        "latency",
        lambda p, n: latency_ratio(p, n, THIN, block_wall),
        0.33,
        0.25,
        "x thin",
    ),
    Goal(
        "CPU of a turn, client and server",
        "latency",
        lambda p, n: latency_ratio(p, n, THIN, block_cpu),
        0.33,
        0.25,
        "x thin",
    ),
    Goal(
        "wall time, against the bare SDK making the same two calls",
        "latency",
        lambda p, n: latency_ratio(p, n, BARE_SDK, block_wall),
        0.5,
        0.5,
        "x floor_openai",
    ),
    Goal(
        "CPU, against the bare SDK making the same two calls",
        "latency",
        lambda p, n: latency_ratio(p, n, BARE_SDK, block_cpu),
        0.5,
        0.5,
        "x floor_openai",
    ),
    Goal("client statements a turn", "accounting", of_accounting("statements"), 1, 1, ""),
    Goal("transactions a turn", "accounting", of_accounting("transactions"), 1, 1, ""),
    Goal("WAL syncs a turn", "accounting", of_accounting("wal_syncs"), 1, 1, ""),
    Goal(
        "WAL of a turn, five turns a conversation",
        "accounting",
        lambda p, n: quotient(p[n]["wal_bytes"], p.get(THIN, {}).get("wal_bytes")),
        2,
        1.5,
        "x thin",
    ),
    Goal(
        "disk of a turn, five turns a conversation",
        "accounting",
        lambda p, n: quotient(p[n]["disk_bytes"], p.get(THIN, {}).get("disk_bytes")),
        2,
        1.5,
        "x thin",
    ),
    Goal("WAL of turn 1", "growth", growth_in("wal", False), 2, 1.5, "x thin"),
    Goal("WAL of the last turn", "growth", growth_in("wal", True), 2, 1.5, "x thin"),
    Goal("rows of turn 1", "growth", growth_in("stored", False), 2, 1.5, "x thin"),
    Goal("rows of the last turn", "growth", growth_in("stored", True), 2, 1.5, "x thin"),
    Goal(
        "last turn with all of the history sent",
        "growth",
        growth_in("ns", True),
        0.04,
        0.02,
        "x thin",
    ),
    Goal("last turn with the default window", "growth", window_growth, 1.3, 1.3, "x turn 1"),
    Goal(
        "throughput under load",
        "load",
        lambda p, n: load_figure(p, n, lambda r: r["turns"] / r["elapsed"] / r["ceiling"]),
        0.87,
        0.92,
        "of the ceiling",
        at_least=True,
    ),
    Goal(
        "process start to first finished turn",
        "cold",
        lambda p, n: cold_ratio(p, n, THIN),
        0.38,
        0.3,
        "x thin",
    ),
    Goal(
        "CPU of a fresh backend to the end of its first turn",
        "cold",
        lambda p, n: quotient(median(p[n]["server_cpu"]), 0.001),
        120,
        65,
        "ms",
    ),
    Goal(
        "private memory of a backend after a turn",
        "memory",
        lambda p, n: p[n]["first"]["RssAnon"] / 1024 / max(1, p[n]["first"]["backends"]),
        18,
        12,
        "MB",
    ),
    Goal(
        "model calls of one queue worker, 256 in flight",
        "worker",
        lambda p, n: load_figure(p, n, lambda r: r["calls"] / r["elapsed"] / r["ideal"]),
        0.9,
        0.94,
        "of the ideal",
        at_least=True,
    ),
    Goal(
        "private memory of that backend",
        "worker",
        lambda p, n: max(r["RssAnon"] for r in p[n]) / 1024,
        64,
        32,
        "MB",
    ),
)


def judge(phases: Record) -> list[Record]:
    """All goals whose phase was run."""
    return [goal.judge(phases) for goal in GOALS if phases.get(goal.phase)]
