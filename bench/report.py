"""Markdown tables of a run."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
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
    percentile,
    quiet,
    turns_of,
)
from goals import BARE_SDK, OURS, THIN

Record = dict[str, Any]
REFERENCES = (OURS, THIN, "thin_raw_batch", "limit_plpython")


def number(value: float | None, digits: int = 2) -> str:
    """A figure for the reader, "-" for none."""
    return "-" if value is None else f"{value:,.{digits}f}"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table with columns of even width."""
    lines = [list(head), *map(list, rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    text = [
        " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        for line in lines
    ]
    text.insert(1, "-|-".join("-" * width for width in widths))
    return "".join(f"| {line} |\n" for line in text)


def goals_table(goals: Sequence[Record]) -> str:
    """The verdicts."""

    def row(goal: Record) -> list[str]:
        sign = ">=" if goal["at_least"] else "<="
        bounds = f"{sign} {goal['must']:g}", f"{sign} {goal['aim']:g}"
        values = [
            number(goal["values"].get(name), 3 if goal["must"] < 0.1 else 2) for name in REFERENCES
        ]
        return [goal["metric"], goal["unit"], *values, *bounds, goal["verdict"]]

    head = ["goal", "unit", *REFERENCES, "must", "aim", "verdict on pgagentos"]
    return table(head, map(row, goals))


def check_table(phase: Record) -> str:
    """Continuity."""
    head = ["contestant", "API", "user messages a new process sent (4: history kept)", "bytes"]
    return table(
        head,
        (
            [name, r["api"], str(r["user_messages"]), str(r["request_bytes"])]
            for name, r in phase.items()
        ),
    )


def latency_table(phase: Record) -> str:
    """One client."""

    def row(name: str) -> list[str]:
        blocks = phase[name]["blocks"]
        calm = quiet(blocks)
        turns = turns_of(calm)
        client = sum(block["cpu"] for block in calm) / len(turns) * 1e3
        server = sum(block["server_cpu"] for block in calm) / len(turns) * 1e3
        ratios = [
            number(latency_ratio(phase, name, base, figure))
            for figure in (block_wall, block_cpu)
            for base in (THIN, BARE_SDK)
        ]
        return [
            name,
            number(median(turns)),
            number(percentile(turns, 0.95)),
            number(client),
            number(server),
            *ratios,
            f"{len(turns)} of {len(turns_of(blocks))}",
        ]

    head = [
        "contestant",
        "median ms",
        "p95 ms",
        "client CPU ms",
        "server CPU ms",
        "wall x thin",
        "wall x floor_openai",
        "CPU x thin",
        "CPU x floor_openai",
        "turns used",
    ]
    others = [block["others"] for record in phase.values() for block in record["blocks"]]
    return table(head, map(row, phase)) + (
        f"\nThe rest of the machine was busy {median(others):.0%} of the time (median of blocks), "
        f"{percentile(others, 0.9):.0%} in the worst tenth.\n"
    )


def accounting_table(phase: Record) -> str:
    """What the server is asked to do."""
    keys = ("statements", "transactions", "wal_syncs", "wal_bytes", "disk_bytes")
    rows = (
        [
            name,
            *(number(record[key], 1 if key in keys[:3] else 0) for key in keys),
            number(record["conversation"]["wal_bytes"], 0),
            number(record["conversation"]["row_bytes"], 0),
        ]
        for name, record in phase.items()
    )
    head = [
        "contestant",
        "client statements",
        "transactions",
        "WAL syncs",
        "WAL bytes",
        "disk bytes",
        "opening a conversation: WAL",
        "row bytes",
    ]
    lines = [
        f"- {name}: "
        + "; ".join(f"{count:g}x `{query[:70]}`" for count, query in record["top_statements"][:8])
        for name, record in phase.items()
    ]
    return table(head, rows) + "\n" + "\n".join(lines) + "\n"


def cold_table(phase: Record) -> str:
    """First turns."""
    rows = (
        [
            name,
            number(median(r["seconds"])),
            number(cold_ratio(phase, name, THIN)),
            number(median(r["client_cpu"])),
            number((median(r["server_cpu"]) or 0) * 1e3, 0),
            number((median(r["client_kb"]) or 0) / 1024, 0),
        ]
        for name, r in phase.items()
    )
    return table(
        [
            "contestant",
            "start to first finished turn, s",
            "x thin",
            "client CPU s",
            "server CPU ms",
            "client MB",
        ],
        rows,
    )


def memory_table(phase: Record) -> str:
    """Backends."""

    def megabytes(record: Record) -> list[str]:
        return [number(record[key] / 1024, 1) for key in ("RssAnon", "Private_Dirty")]

    rows = (
        [
            name,
            str(r["first"]["backends"]),
            *megabytes(r["first"]),
            *megabytes(r["later"]),
            number(r["client_kb"] / 1024, 0),
        ]
        for name, r in phase.items()
    )
    return table(
        [
            "contestant",
            "backends",
            "RssAnon MB after one turn",
            "private dirty MB",
            "RssAnon MB later",
            "private dirty MB later",
            "client MB",
        ],
        rows,
    )


def growth_table(phase: Record) -> str:
    """Four tables, a column a length."""
    lengths = sorted(next(iter(phase.values())), key=int)

    def part(title: str, cell: Callable[[str, str], str]) -> str:
        rows = ([name, *(cell(name, length) for length in lengths)] for name in phase)
        head = ["contestant", *(f"turn {length}" for length in lengths)]
        return f"{title}:\n\n" + table(head, rows)

    def with_ratio(key: str, scale: float, digits: int) -> Callable[[str, str], str]:
        def cell(name: str, length: str) -> str:
            value = growth_figure(phase, name, length, key) or 0.0
            ratio = number(growth_ratio(phase, name, THIN, length, key), 3)
            return f"{number(value / scale, digits)} ({ratio})"

        return cell

    def cpu(name: str, length: str) -> str:
        return " + ".join(
            number((growth_figure(phase, name, length, key) or 0.0) * 1e3, 1)
            for key in ("cpu", "server_cpu")
        )

    return "\n".join(
        (
            part("Milliseconds a turn (x thin)", with_ratio("ns", 1e6, 1)),
            part("CPU milliseconds a turn, client + server", cpu),
            part("WAL bytes a turn (x thin)", with_ratio("wal", 1, 0)),
            part(
                "Bytes of rows and index entries stored a turn (x thin)", with_ratio("stored", 1, 0)
            ),
            part(
                "Bytes of the last request to the model",
                lambda name, length: f"{phase[name][length]['request_bytes']:,}",
            ),
        )
    )


def load_table(phase: Record) -> str:
    """Throughput."""

    def row(name: str) -> list[str]:
        def figure(of: Callable[[Record], float], digits: int = 1) -> str:
            return number(load_figure(phase, name, of), digits)

        return [
            name,
            figure(lambda r: r["turns"] / r["elapsed"], 0),
            figure(lambda r: 100 * r["turns"] / r["elapsed"] / r["ceiling"], 0) + " %",
            figure(lambda r: (r["cpu"] + r["server_cpu"]) / r["turns"] * 1e3),
            figure(lambda r: r["mock_cpu"] / r["turns"] * 1e3, 2),
            figure(lambda r: r["latency"] * 1e3, 0),
            figure(lambda r: r["client_kb"] / 1024, 0),
            figure(lambda r: r["backends"]["RssAnon"] / 1024, 0)
            + f" ({figure(lambda r: r['backends']['backends'], 0)})",
            figure(lambda r: 100 * r["others"], 0) + " %",
        ]

    head = [
        "contestant",
        "turns/s",
        "of the ceiling",
        "CPU ms a turn, client + server",
        "mock's CPU ms",
        "turn ms",
        "clients' MB",
        "backends' MB (n)",
        "rest of the machine",
    ]
    return table(head, map(row, phase))


def worker_table(phase: Record) -> str:
    """The queue."""

    def row(name: str) -> list[str]:
        def figure(of: Callable[[Record], float], digits: int = 1) -> str:
            return number(load_figure(phase, name, of), digits)

        return [
            name,
            figure(lambda r: r["calls"] / r["elapsed"], 0),
            figure(lambda r: r["ideal"], 0),
            figure(lambda r: 100 * r["calls"] / r["elapsed"] / r["ideal"]) + " %",
            number(max(r["RssAnon"] for r in phase[name]) / 1024, 1),
            number(max(r["Private_Dirty"] for r in phase[name]) / 1024, 1),
            figure(lambda r: r["backend_cpu"] / r["calls"] * 1e3, 2),
            figure(lambda r: r["server_cpu"] / r["calls"] * 1e3, 2),
            figure(lambda r: r["wal"] / r["calls"], 0),
            figure(lambda r: r["mock_ceiling"], 0),
            figure(lambda r: 100 * r["others"], 0) + " %",
        ]

    head = [
        "contestant",
        "calls/s",
        "ideal",
        "of the ideal",
        "RssAnon MB, at most",
        "private dirty MB, at most",
        "its CPU ms a call",
        "server's CPU ms a call",
        "WAL bytes a call",
        "mock alone, calls/s",
        "rest of the machine",
    ]
    return table(head, map(row, phase))


TABLES = {
    "check": ("A new process continues the conversation", check_table),
    "latency": ("One client, a model that answers at once", latency_table),
    "accounting": ("What PostgreSQL is asked to do for a turn", accounting_table),
    "cold": ("The first turn of a new process", cold_table),
    "memory": ("Private memory of a backend", memory_table),
    "growth": ("Growth with the conversation", growth_table),
    "load": ("Many clients at once, a model that takes its time", load_table),
    "worker": ("One backend that drives the queue", worker_table),
}


def markdown(result: Record) -> str:
    """The whole report; the verdicts come last, where a terminal shows them."""
    parts = [
        f"## {title}\n\n{make(result['phases'][phase])}"
        for phase, (title, make) in TABLES.items()
        if result["phases"].get(phase)
    ]
    if result["goals"]:
        parts.append(f"## Goals\n\n{goals_table(result['goals'])}")
    return "\n".join(parts)
