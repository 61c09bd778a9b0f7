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
    by_number = {plan.number: plan for plan in plans}
    requests: dict[str, list[Row]] = defaultdict(list)
    for entry in heard:
        findings.expect(bool(entry["key"]), f"no key: {by_number[entry['turn']].driver} {entry}")
        if entry["key"]:
            requests[entry["key"]].append(entry)
    steps = _steps_by_key(kept, plans, turn_ids)
    repeated = Counter[str]()
    keys_of: dict[tuple[Any, ...], set[str]] = defaultdict(set)
    for key, entries in requests.items():
        calls = {(entry["kind"], entry["turn"], entry["call"]) for entry in entries}
        findings.expect(len(calls) == 1, f"one key for several calls: {key} {calls}")
        call = next(iter(calls))
        plan = by_number[call[1]]
        keys_of[call].add(key)
        wanted, step = steps.get(key, (None, None))
        findings.expect(wanted == call, f"{plan.driver} {key} is of {wanted}, not of {call}")
        if len(entries) > 1:
            repeated[entries[0]["tool"] or "model"] += 1
        if call[0] == "service" and entries[0]["tool"] not in REPEATABLE:
            yes = kept.decisions.get(step["id"], ()).count("approved") if step else 0
            findings.expect(len(entries) <= 1 + yes, f"repeated without a yes: {entries}")
    for call, keys in keys_of.items():
        findings.expect(
            len(keys) == 1 or by_number[call[1]].is_hard, f"{call}: several keys {keys}"
        )
    findings.figures["requests to the model"] = sum(entry["kind"] == "model" for entry in heard)
    findings.figures["of these, failed on purpose"] = sum(e["outcome"] != "ok" for e in heard)
    findings.figures["requests to services"] = sum(entry["kind"] == "service" for entry in heard)
    findings.figures["calls repeated with the same key"] = dict(repeated)
    asked = [s for _, s in steps.values() if s["tool_name"] in SERVICES]
    findings.figures["unknown outcomes that a person decided about"] = sum(
        bool(kept.decisions.get(step["id"])) for step in asked
    )


def _steps_by_key(
    kept: Rows, plans: Sequence[Plan], turn_ids: Mapping[int, str]
) -> dict[str, tuple[tuple[str, int, str], Row]]:
    """Each step that calls somebody outside: what it calls, as the world writes it down."""
    steps = {}
    for plan in plans:
        replies = 0
        for step in kept.steps.get(turn_ids.get(plan.number, ""), ()):
            key = f"{step['run_id']}-{step['step_no']}"
            if step["kind"] == "model":
                steps[key] = (("model", plan.number, str(replies + 1)), step)
                replies += step["status"] == "completed"
            elif step["tool_name"] in SERVICES:
                steps[key] = (("service", plan.number, str(step["arguments"]["call"])), step)
    return steps


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
