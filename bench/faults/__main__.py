"""The command line: ``python -m bench.faults``."""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.faults.outcome import Outcome
from bench.faults.plan import FULL, QUICK
from bench.faults.plot import write_plots
from bench.faults.report import as_json, describe, details
from bench.faults.run import run_all
from bench.faults.scenarios import all_scenarios
from bench.machine import PACKAGES, describe_machine, describe_software
from bench.page import write_page
from bench.programs import BenchError
from bench.systems.wsaas import Wsaas

AT_ONCE = 4  #: scenarios at a time with --quick


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """:param arguments: by default those of this process."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.faults",
        description="Breaks what can break around a gateway, and checks that nothing is lost. All of it takes about an "
        "hour and wants four cores, and 12,000 open files for the largest scenarios.",
    )
    parser.add_argument(
        "--quick", action="store_true", help="a short form of each, several at a time: two or three minutes in all"
    )
    parser.add_argument(
        "--scenario",
        action="append",
        metavar="NAME",
        help="repeatable; a name of --list or its beginning; default: all",
    )
    parser.add_argument("--list", action="store_true", help="name all scenarios, and run none")
    parser.add_argument(
        "--json", type=Path, metavar="FILE", help="write everything there as well; what is there is kept"
    )
    parser.add_argument("--plots", type=Path, metavar="FOLDER", help="write SVG plots there")
    parser.add_argument("--page", type=Path, metavar="FILE", help="write table and --plots into docs/reliability.rst")
    parser.add_argument("--report", type=Path, metavar="FILE", help="run nothing: show what --json wrote")
    return parser.parse_args(arguments)


def choose(names: Sequence[str] | None) -> list[str]:
    """
    The scenarios that are meant.

    :raises BenchError: there is none of such a name.
    """
    scenarios = list(all_scenarios())
    if not names:
        return scenarios
    for name in names:
        if not any(scenario.startswith(name) for scenario in scenarios):
            raise BenchError(f"there is no scenario {name}; --list names them")
    return [s for s in scenarios if s in names or any(s.startswith(n) for n in names if n not in scenarios)]


def tell(name: str, outcome: Outcome) -> None:
    """Say what came of one."""
    print(details(name, outcome), file=sys.stderr, flush=True)


def read(file: Path) -> dict[str, Any]:
    """What ``--json`` wrote, if anything."""
    found: dict[str, Any] = json.loads(file.read_text("utf-8")) if file.exists() else {}
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """
    :param arguments: by default those of this process.
    :returns: the exit status: 0, or 1 if a promise was broken.
    """
    options = parse(arguments)
    # What was started is ended on the way out, also when somebody ends us.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    if options.list:
        print("\n".join(all_scenarios()))
        return 0
    try:
        known = read(options.report or options.json) if options.report or options.json else {}
        outcomes = {name: Outcome.from_json(values) for name, values in known.get("outcomes", {}).items()}
        seconds: dict[str, float] = known.get("seconds", {})
        ran: dict[str, Outcome] = {}
        if options.report is None:
            plan, at_once = (QUICK, AT_ONCE) if options.quick else (FULL, 1)
            ran, took = asyncio.run(run_all(choose(options.scenario), plan, at_once, tell))
            outcomes = {name: (outcomes | ran)[name] for name in all_scenarios() if name in outcomes | ran}
            seconds |= took
            versions = describe_software("cc") | {"wsaas": Wsaas().version()}
            versions = {name: value for name, value in versions.items() if name in (*PACKAGES, "python", "wsaas")}
            known = as_json(outcomes, seconds, machine=describe_machine(), versions=versions)
        if options.json is not None:
            options.json.write_text(json.dumps(known, indent=1) + "\n", "utf-8")
        facts = [f"{name}: {value}" for name, value in (known["machine"] | known["versions"]).items()]
        shown = "\n".join([*facts, "", describe(outcomes, seconds)])
        print(shown)
        plots = write_plots(outcomes, options.plots) if options.plots is not None else []
        if options.page is not None:
            write_page(options.page, shown, plots)
    except BenchError as problem:
        print(problem, file=sys.stderr)
        return 1
    return 1 if any(outcome.problems for outcome in (ran or outcomes).values()) else 0


if __name__ == "__main__":
    sys.exit(main())
