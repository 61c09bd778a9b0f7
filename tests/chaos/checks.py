"""What has to be true after a chaos run: no turn lost, none doubled, every act done once."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg

from chaos.plans import FUNCTIONS, SERVICES, Plan
from kernel.scene import rows

Row = Mapping[str, Any]

#: The requests that may be made again with the same key.
REPEATABLE = frozenset({"fetch", "put"})


@dataclass
class Findings:
    """What was found: problems, and figures for the reader."""

    problems: list[str] = field(default_factory=list)
    figures: dict[str, Any] = field(default_factory=dict)

    def expect(self, holds: bool, problem: str) -> None:
        """Note a problem unless something holds."""
        if not holds:
            self.problems.append(problem)


@dataclass(frozen=True)
class Rows:
    """The rows that turns have left, by turn."""

    runs: Mapping[str, Row]
    steps: Mapping[str, list[Row]]
    decisions: Mapping[str, Sequence[str]]


def read(admin: psycopg.Connection) -> Rows:
    """Read what turns have left."""
    steps: dict[str, list[Row]] = defaultdict(list)
    for step in rows(
        admin, "select s.*, s.step_id::text as id from aos_core.step as s order by run_id, step_no"
    ):
        steps[str(step["run_id"])].append(step)
    decisions: dict[str, list[str]] = defaultdict(list)
    for row in rows(
        admin,
        "select detail ->> 'step_id' as id, detail ->> 'decision' as decision"
        " from aos_core.event_log where event_type = 'approval_decided' order by created_at",
    ):
        decisions[row["id"]].append(row["decision"])
    return Rows(
        {str(run["run_id"]): run for run in rows(admin, "select * from aos_core.run")},
        steps,
        decisions,
    )


def check(
    admin: psycopg.Connection,
    plans: Sequence[Plan],
    turn_ids: Mapping[int, str],
    log: Path,
) -> Findings:
    """Look at everything.

    Args:
        plans: of all turns.
        turn_ids: by the number of the plan, what those who started the turns were told.
        log: what :mod:`chaos.world` has heard.
    """
    findings = Findings()
    kept = read(admin)
    heard = [json.loads(line) for line in log.read_text().splitlines()]
    _check_turns(admin, findings, kept, plans, turn_ids)
    for plan in plans:
        run = kept.runs.get(turn_ids.get(plan.number, ""))
        if run is not None and run["status"] == "completed":
            _check_steps(findings, plan, kept.steps[str(run["run_id"])], kept.decisions)
    _check_ledger(admin, findings, kept, plans, turn_ids)
    _check_keys(findings, kept, plans, turn_ids, heard)
    _check_rest(admin, findings)
    return findings


def _check_turns(
    admin: psycopg.Connection,
    findings: Findings,
    kept: Rows,
    plans: Sequence[Plan],
    turn_ids: Mapping[int, str],
) -> None:
    """Every turn that was started is there once, and is completed."""
    findings.figures["turns"] = len(kept.runs)
    findings.figures["statuses"] = dict(Counter(run["status"] for run in kept.runs.values()))
    lost = [plan for plan in plans if turn_ids.get(plan.number) not in kept.runs]
    findings.figures["lost"] = len(lost)
    findings.expect(not lost, f"lost: {[plan.content for plan in lost][:5]}")
    findings.expect(
        len(kept.runs) == len(plans) == len(set(turn_ids.values())),
        f"{len(kept.runs)} turns for {len(plans)} plans",
    )
    for plan in plans:
        run = kept.runs.get(turn_ids.get(plan.number, ""))
        findings.expect(
            run is None or run["status"] == "completed",
            f"{plan.driver} {plan.content}: {run and run['status']} {run and run['error']}"
            f" {[(s['kind'], s['status']) for s in kept.steps[turn_ids.get(plan.number, '')]]}",
        )
    doubled = rows(
        admin,
        "select content, count(*) as n, count(distinct run_id) as runs from aos_agent.message"
        " group by content having count(*) <> 1 or count(run_id) <> 1",
    )
    findings.figures["doubled"] = len(doubled)
    findings.expect(not doubled, f"messages doubled, or of no turn: {doubled[:5]}")
    events = rows(
        admin,
        "select r.run_id, count(*) filter (where e.event_type = 'turn_started') as started,"
        " count(*) filter (where e.event_type in"
        "   ('turn_completed', 'turn_failed', 'turn_cancelled')) as ended"
        " from aos_core.run as r left join aos_core.event_log as e on e.run_id = r.run_id"
        " group by r.run_id",
    )
    wrong = [event for event in events if (event["started"], event["ended"]) != (1, 1)]
    findings.expect(not wrong, f"turns that did not start and end once: {wrong[:5]}")
    broken = rows(admin, "select * from aos_core.verify_event_log()")
    findings.expect(not broken, f"the event log: {broken[:5]}")


def _check_steps(
    findings: Findings, plan: Plan, steps: Sequence[Row], decisions: Mapping[str, Sequence[str]]
) -> None:
    """The steps of a turn are those of its plan, in its order, each once."""
    # A reply that never came is a step of its own where a claim ended with it.
    real = [step for step in steps if (step["kind"], step["status"]) != ("model", "failed")]
    findings.expect(
        len(real) == len(steps) or plan.is_hard,
        f"{plan.content}: failed model calls {[step['error'] for step in steps if step['error']]}",
    )
    wanted: list[tuple[str, str | None]] = []
    for number, group in enumerate(plan.groups, 1):
        wanted.append(("model", None))
        wanted += [(tool, f"{number}.{place}") for place, tool in enumerate(group, 1)]
    wanted.append(("model", None))
    found = [(s["tool_name"] or "model", (s["arguments"] or {}).get("call")) for s in real]
    findings.expect(found == wanted, f"{plan.content}: {found}")
    for step in real:
        allowed = {"completed"}
        if "rejected" in decisions.get(step["id"], ()):
            allowed = {"rejected"}
        findings.expect(
            step["status"] in allowed,
            f"{plan.content}: {step['tool_name']} is {step['status']}: {step['message']}"
            f" {decisions.get(step['id'])}",
        )
        if step["tool_name"] == "sign":
            findings.expect(
                len(decisions.get(step["id"], ())) == 1, f"{plan.content}: sign without one yes"
            )
    findings.expect(
        bool(real) and real[-1]["message"]["content"] == plan.answer,
        f"{plan.content}: {real and real[-1]['message']}",
    )


def _check_ledger(
    admin: psycopg.Connection,
    findings: Findings,
    kept: Rows,
    plans: Sequence[Plan],
    turn_ids: Mapping[int, str],
) -> None:
    """A row for each call of a SQL function that was completed, and no other."""
    ledger = Counter(
        (row["turn"], row["call"], row["tool"]) for row in rows(admin, "select * from ledger")
    )
    wanted: Counter[tuple[int, str, str]] = Counter()
    for plan in plans:
        for step in kept.steps.get(turn_ids.get(plan.number, ""), ()):
            if step["tool_name"] in FUNCTIONS and step["status"] == "completed":
                wanted[plan.number, step["arguments"]["call"], step["tool_name"]] += 1
    findings.figures["rows in the ledger"] = ledger.total()
    more, fewer = ledger - wanted, wanted - ledger
    findings.figures["doubled"] += more.total()
    findings.figures["lost"] += fewer.total()
    findings.expect(not more, f"effects without a step, or doubled: {dict(more)}")
    findings.expect(not fewer, f"steps without an effect: {dict(fewer)}")


def _check_keys(
    findings: Findings,
    kept: Rows,
    plans: Sequence[Plan],
    turn_ids: Mapping[int, str],
    heard: Sequence[Row],
) -> None:
    """Requests carry the key of their step, and no two steps share one."""
    number_of = {turn_ids[plan.number]: plan for plan in plans if plan.number in turn_ids}
    steps = {
        step["id"]: (number_of[run_id].number, str(step["arguments"]["call"]))
        for run_id, of_turn in kept.steps.items()
        for step in of_turn
        if step["tool_name"] in SERVICES and run_id in number_of
    }
    by_number = {plan.number: plan for plan in plans}
    repeated = Counter[str]()
    requests: dict[str, list[Row]] = defaultdict(list)
    for entry in heard:
        plan = by_number[entry["turn"]]
        findings.expect(bool(entry["key"]), f"no key: {plan.driver} {entry}")
        if entry["key"]:
            requests[entry["key"]].append(entry)
    for key, entries in requests.items():
        calls = {(entry["kind"], entry["turn"], entry["call"]) for entry in entries}
        findings.expect(len(calls) == 1, f"one key for several calls: {key} {calls}")
        kind, turn, call = next(iter(calls))
        plan = by_number[turn]
        if kind == "service" and plan.driver not in ("select", "outside"):
            findings.expect(steps.get(key) == (turn, call), f"{plan.driver} {key}: {entries}")
        if kind == "service" and len(entries) > 1:
            repeated[entries[0]["tool"]] += 1
            if entries[0]["tool"] not in REPEATABLE:
                yes = kept.decisions.get(key, ()).count("approved")
                findings.expect(len(entries) <= 1 + yes, f"repeated without a yes: {entries}")
    keys_of: dict[tuple[Any, ...], set[str]] = defaultdict(set)
    for key, entries in requests.items():
        keys_of[entries[0]["kind"], entries[0]["turn"], entries[0]["call"]].add(key)
    for (kind, turn, call), keys in keys_of.items():
        if by_number[turn].driver not in ("select", "outside"):
            findings.expect(len(keys) == 1, f"{kind} {turn} {call}: several keys {keys}")
    models = [entries for entries in requests.values() if entries[0]["kind"] == "model"]
    findings.figures["model requests"] = sum(map(len, models))
    findings.figures["model requests that failed on purpose"] = sum(
        entry["kind"] == "model" and entry["outcome"] != "ok" for entry in heard
    )
    findings.figures["service requests"] = sum(entry["kind"] == "service" for entry in heard)
    findings.figures["service requests repeated with the same key"] = dict(repeated)
    asked = [step for step, many in kept.decisions.items() if step in steps]
    findings.figures["unknown outcomes that a person decided about"] = len(asked)


def _check_rest(admin: psycopg.Connection, findings: Findings) -> None:
    """Nothing is left over: no open step, no row in the queue, no lock."""
    for what, query in {
        "open steps": "select run_id, step_no, status from aos_core.step where finished_at is null",
        "rows in the queue": "select run_id, worker, attempt, error from aos_core.queue",
        "advisory locks": "select pid, objid from pg_locks where locktype = 'advisory'",
        "open approvals": "select step_id from aos_agent.pending_approval",
    }.items():
        left = rows(admin, query)
        findings.expect(not left, f"{what}: {left[:5]}")
