"""From what the phases measured to figures: medians, and ratios of what ran side by side."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Sequence
from typing import Any

Record = dict[str, Any]


def median(values: Iterable[float]) -> float | None:
    """The median, None of nothing."""
    values = list(values)
    return statistics.median(values) if values else None


def percentile(values: Iterable[float], share: float) -> float | None:
    """The value that `share` (0 to 1) of the values do not exceed, None of nothing."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))] if ordered else None


def quotient(value: float | None, base: float | None) -> float | None:
    """value / base, None where that means nothing."""
    return value / base if value is not None and base else None


def turns_of(blocks: Iterable[Record]) -> list[float]:
    """The milliseconds of every turn in some blocks."""
    return [nanoseconds / 1e6 for block in blocks for nanoseconds in block["ns"]]


def quiet(blocks: Sequence[Record], least_turns: int = 300) -> list[Record]:
    """The blocks with the least going on beside them, enough to hold `least_turns` turns."""
    picked: list[Record] = []
    for block in sorted(blocks, key=lambda block: float(block["others"])):
        if sum(len(p["ns"]) for p in picked) >= least_turns:
            break
        picked.append(block)
    return picked


def block_wall(block: Record) -> float:
    """Median milliseconds of a turn in a block."""
    return statistics.median(block["ns"]) / 1e6


def block_cpu(block: Record) -> float:
    """Milliseconds of CPU of a turn in a block, client and server together."""
    return float(block["cpu"] + block["server_cpu"]) / len(block["ns"]) * 1e3


def latency_ratio(
    phase: Record,
    name: str,
    base: str,
    figure: Callable[[Record], float],
) -> float | None:
    """Median over the rounds of name's figure / base's: both ran within the same seconds."""
    if name not in phase or base not in phase:
        return None
    bases = {block["round"]: figure(block) for block in phase[base]["blocks"]}
    return median(
        figure(block) / bases[block["round"]]
        for block in phase[name]["blocks"]
        if bases.get(block["round"])
    )


def cold_ratio(phase: Record, name: str, base: str) -> float | None:
    """Median over the rounds of name's first turn / base's."""
    if name not in phase or base not in phase:
        return None
    pairs = zip(phase[name]["seconds"], phase[base]["seconds"], strict=True)
    return median(own / other for own, other in pairs)


def growth_figure(phase: Record, name: str, length: str, key: str) -> float | None:
    """One figure of a turn at a length: ns, cpu, server_cpu, wal or stored.

    A median: once in a while a block has the WAL of an autovacuum in it.
    """
    record = phase.get(name, {}).get(length)
    return median(record[key]) if record else None


def growth_ratio(phase: Record, name: str, base: str, length: str, key: str) -> float | None:
    """One figure at a length against another contestant's at the same length."""
    return quotient(
        growth_figure(phase, name, length, key), growth_figure(phase, base, length, key)
    )


def load_figure(phase: Record, name: str, figure: Callable[[Record], float]) -> float | None:
    """Median of a figure over the rounds under load."""
    return median(figure(record) for record in phase.get(name, ()))
