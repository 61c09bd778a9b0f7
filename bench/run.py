#!/usr/bin/env python3
"""Measures what one agent turn costs, pgAgentOS and its peers side by side.

    bench/run                                      the figures to quote, some minutes
    bench/run --quick                              two to three minutes
    bench/run --only pgagentos,thin --phases latency,growth
    bench/run --only thin,langgraph,dbos           frameworks are run when they are named
    bench/run --report result.json                 the tables of an earlier run

A report goes to the standard output; everything measured goes to the file of --json.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import platform
import signal
import subprocess
import sys
import time
from pathlib import Path

import venvs
from contestants import CONTESTANTS

PHASES = ("check", "latency", "accounting", "cold", "memory", "growth", "load", "worker")


def arguments() -> argparse.Namespace:
    """The command line, with the names in lists checked."""

    def names_of(known: tuple[str, ...]) -> object:
        def parse(text: str) -> list[str]:
            names = text.split(",")
            if unknown := set(names) - set(known):
                raise argparse.ArgumentTypeError(
                    f"unknown: {', '.join(sorted(unknown))} (known: {', '.join(known)})"
                )
            return names

        return parse

    parser = argparse.ArgumentParser(
        prog="bench/run", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="fewer turns, rounds and seconds")
    parser.add_argument(
        "--only",
        type=names_of(tuple(CONTESTANTS)),
        metavar="NAME,...",
        help=f"contestants out of\n{', '.join(CONTESTANTS)}",
    )
    parser.add_argument(
        "--phases",
        type=names_of(PHASES),
        default=list(PHASES),
        metavar="NAME,...",
        help=f"phases out of {', '.join(PHASES)}",
    )
    parser.add_argument(
        "--json",
        type=Path,
        metavar="FILE",
        default=Path(__file__).resolve().parent / "result.json",
        help="where the result goes (default: %(default)s)",
    )
    parser.add_argument(
        "--data",
        type=Path,
        metavar="FOLDER",
        default=Path("/var/tmp"),
        help="where the private cluster lies; on a disk (default: %(default)s)",
    )
    parser.add_argument(
        "--installed",
        action="store_true",
        help="run the installed extension; default: stage this checkout's",
    )
    parser.add_argument(
        "--report",
        type=Path,
        metavar="FILE",
        help="measure nothing, print the tables of this result",
    )
    parser.add_argument(
        "--strict", action="store_true", help="exit with status 1 if pgagentos misses a must"
    )
    return parser.parse_args()


def use_own_environment() -> None:
    """Go on in the harness's environment, which has psycopg; does not return if this is not it."""
    own = venvs.python("harness")
    if Path(sys.prefix) != own.parent.parent:
        venvs.ensure(["harness"])
        os.execv(own, [str(own), str(Path(__file__).resolve()), *sys.argv[1:]])


def measure(args: argparse.Namespace) -> dict[str, object]:
    """Run the phases; a contestant that fails ends the run, what was measured is kept."""
    from phases import PHASES as RUN
    from private_cluster import PrivateCluster
    from processes import MockServer, WorkerError
    from session import FULL, QUICK, Session, names_in

    sizes = QUICK if args.quick else FULL
    result: dict[str, object] = {
        "sizes": dataclasses.asdict(sizes),
        "machine": f"{os.cpu_count()} x {platform.machine()}",
        "phases": {},
        "seconds": {},
        "failure": None,
    }
    used = {name for phase in args.phases for name in names_in(phase, args.only)}
    venvs.ensure(CONTESTANTS[name].venv for name in used)
    staged = not args.installed and any(CONTESTANTS[name].module == "pgagentos" for name in used)
    with PrivateCluster(args.data, staged) as cluster, MockServer() as mock:
        session = Session(cluster, mock, sizes, args.only)
        result["server"] = session.meter.admin.info.parameter_status("server_version")
        try:
            for phase in args.phases:
                print(time.strftime("%H:%M:%S"), phase, file=sys.stderr, flush=True)
                start = time.monotonic()
                result["phases"][phase] = RUN[phase](session)  # type: ignore[index]
                result["seconds"][phase] = round(time.monotonic() - start)  # type: ignore[index]
        except WorkerError as error:
            result["failure"] = str(error)
        finally:
            session.close()
    return result


def main() -> int:
    """Measure or read, judge, print."""
    args = arguments()
    if args.report:
        result = json.loads(args.report.read_text())
    else:
        use_own_environment()
        # So that a terminated run stops its cluster and its processes too.
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
        try:
            result = measure(args)
        except (subprocess.CalledProcessError, FileNotFoundError, RuntimeError) as error:
            sys.exit(
                f"bench/run: {error}\nhint: it needs the server's programs (PG_CONFIG, the "
                "package postgresql-NN), and as root the user postgres"
            )
    import goals
    import report

    result["goals"] = goals.judge(result["phases"])
    if not args.report:
        args.json.write_text(json.dumps(result, indent=1))
    print(report.markdown(result))
    if result["failure"]:
        print(f"bench/run: stopped: {result['failure']}", file=sys.stderr)
        return 1
    missed = [goal["metric"] for goal in result["goals"] if goal["verdict"] == "misses"]
    if missed:
        print(f"pgagentos misses: {'; '.join(missed)}", file=sys.stderr)
    return 1 if missed and args.strict else 0


if __name__ == "__main__":
    sys.exit(main())
