"""The command line: ``python -m bench``."""

from __future__ import annotations

import argparse
import json
import signal
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

from bench.api import find_nginx
from bench.load import compile_load, find_compiler
from bench.machine import assign_cores, command_line, describe_machine, describe_software, raise_file_limit
from bench.programs import BenchError
from bench.report import Result, table
from bench.rig import Measurement, Plan
from bench.systems import System, all_systems
from bench.workloads import Workload, all_workloads

SPARE_FILES = 200  #: descriptors that a process needs beside those of its clients

QUICK = Plan(warm=0.5, seconds=2.0, idle_seconds=15.0, idle_rounds=1)


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """:param arguments: by default those of this process."""
    parser = argparse.ArgumentParser(
        prog="python -m bench",
        description="Measures what a gateway does on one core. Needs nginx and a C compiler, and three cores.",
    )
    parser.add_argument("--quick", action="store_true", help="short windows: under two minutes in all")
    parser.add_argument("--system", action="append", choices=list(all_systems()), help="repeatable; default: all")
    parser.add_argument("--workload", action="append", choices=list(all_workloads()), help="repeatable; default: all")
    parser.add_argument("--rounds", type=int, metavar="N", help="runs of each workload (default: 3)")
    parser.add_argument("--seconds", type=float, metavar="S", help="counted window of a run (default: 10, quick: 2)")
    parser.add_argument("--clients", type=int, metavar="N", help="clients with messages (default: 100)")
    parser.add_argument(
        "--idle", type=int, nargs=2, metavar="N", help="numbers of idle clients, rising (default: 1000 5000)"
    )
    parser.add_argument("--idle-seconds", type=float, metavar="S", help="window for pings (default: 60, quick: 15)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything there as well")
    return parser.parse_args(arguments)


def make_plan(options: argparse.Namespace, file_limit: int) -> Plan:
    """
    The plan that the options ask for.

    :param file_limit: descriptors that a process may have.
    :raises BenchError: it cannot be done.
    """
    plan = QUICK if options.quick else Plan()
    if options.rounds is not None:
        plan = replace(plan, rounds=options.rounds, idle_rounds=options.rounds)
    changes = {name: getattr(options, name) for name in ("seconds", "clients", "idle_seconds")}
    plan = replace(plan, **{name: value for name, value in changes.items() if value is not None})
    if options.idle is not None:
        plan = replace(plan, idle=tuple(options.idle))
    if min(plan.rounds, plan.clients, plan.seconds, plan.idle_seconds, plan.idle[0]) <= 0:
        raise BenchError("numbers of rounds, clients and seconds are above 0")
    if plan.idle[0] >= plan.idle[1]:
        raise BenchError("the numbers of --idle rise")
    if max(plan.idle[-1], plan.clients) + SPARE_FILES > file_limit:
        raise BenchError(f"the limit of open files is {file_limit}: too low for so many clients")
    return plan


def run(systems: Sequence[System], workloads: Sequence[Workload], plan: Plan, load_program: Path) -> list[Result]:
    """
    All rounds of all workloads. Systems take turns within a round, so that a slow moment of the machine meets all.

    :param load_program: the compiled generator.
    :raises BenchError: a run could not be made at all.
    """
    cores = assign_cores()
    results: list[Result] = []
    for workload in workloads:
        rounds: dict[str, list[Measurement]] = {system.name: [] for system in systems}
        for number in range(workload.rounds(plan)):
            for system in systems:
                print(f"{workload.name}, {system.name}, round {number + 1}", file=sys.stderr, flush=True)
                rounds[system.name].append(workload.measure(system, load_program, cores, plan))
        for name, measurements in rounds.items():
            results.append(Result(name, workload.name, workload.metrics, workload.saturates, measurements))
    return results


def main(arguments: Sequence[str] | None = None) -> int:
    """
    :param arguments: by default those of this process.
    :returns: the exit status: 0, or 1 if something did not work or a result is void.
    """
    options = parse(arguments)
    # What was started is ended on the way out, also when somebody ends us.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    nginx, compiler = find_nginx(), find_compiler()
    try:
        plan = make_plan(options, raise_file_limit())
        if nginx is None or compiler is None:
            raise BenchError(f"{'nginx' if nginx is None else 'a C compiler'} is needed and not installed")
        systems = [system for name, system in all_systems().items() if not options.system or name in options.system]
        for system in systems:
            if reason := system.missing():
                raise BenchError(f"{system.name} cannot be measured here: {reason}")
        workloads = [w for name, w in all_workloads().items() if not options.workload or name in options.workload]
        with tempfile.TemporaryDirectory(prefix="bench-") as directory:
            results = run(systems, workloads, plan, compile_load(Path(directory)))
    except BenchError as problem:
        print(problem, file=sys.stderr)
        return 1
    machine, software = describe_machine(), describe_software(nginx, compiler)
    software |= {system.name: system.version() for system in systems}
    print(f"{command_line()}\n{machine}\n{software}\n\n{table(results)}")
    if options.json is not None:
        report = {
            "command": command_line(),
            "machine": machine,
            "versions": software,
            "plan": asdict(plan),
            "results": [result.as_json() for result in results],
        }
        options.json.write_text(json.dumps(report, indent=2) + "\n", "utf-8")
    return 0 if all(result.counted for result in results) else 1


if __name__ == "__main__":
    sys.exit(main())
