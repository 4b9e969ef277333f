"""The command line: ``python -m bench``."""

from __future__ import annotations

import argparse
import json
import signal
import sys
import tempfile
from collections.abc import Collection, Sequence
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

from bench import against
from bench.certificate import make_certificate
from bench.load import Compiled, compile_programs, find_compiler
from bench.machine import Cores, assign_cores, command_line, describe_machine, describe_software, raise_file_limit
from bench.page import write_page
from bench.plot import write_plots
from bench.programs import BenchError
from bench.report import Result, table
from bench.rig import Measurement, Plan, Setting
from bench.systems import System, all_systems
from bench.targets import outcome_table, outcomes
from bench.workloads import Workload, all_workloads

SPARE_FILES = 900  #: descriptors that a process needs beside those of its idle clients: visitors, calls of the API

#: On machines with two cores the generator is often woken up late, and 16 would leave the system idle meanwhile.
PUSHERS_FOR_TWO_CORES = 128
QUICK = Plan(
    rounds=1,
    warm=0.5,
    seconds=1.5,
    crowd=1500,
    idle=(300, 1500),
    idle_tls=(100, 500),
    idle_seconds=3.0,
    churn_seconds=3.0,
    subscribers=1000,
    lag_subscribers=1000,
    lag_seconds=2.0,
)
QUICK_SYSTEMS = ("wsaas", "stock")
#: What a setting costs is measured when named, and so are special pushes.
ON_DEMAND = ("wsaas-journal", "wsaas-limits", "wsaas-signed")
WORKLOADS_ON_DEMAND = ("pushes-64-token", "pushes-64-key", "pushes-64-chunked", "idle-memory", "publish-memory")
#: Names for several workloads.
FAMILIES = {"publish-5000": ("publish-64", "publish-1024", "publish-lag", "publish-memory")}


def numbers(text: str) -> tuple[int, ...]:
    """Rising numbers, separated by commas."""
    found = tuple(int(number) for number in text.split(","))
    if len(found) < 2 or found[0] <= 0 or list(found) != sorted(set(found)):
        raise argparse.ArgumentTypeError(f"{text!r} are not at least two rising numbers above 0")
    return found


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """:param arguments: by default those of this process."""
    parser = argparse.ArgumentParser(
        prog="python -m bench",
        description="Measures what a gateway does on one core. Needs a C compiler and two cores, better three; for TLS "
        "the headers of OpenSSL. Systems that are not installed are left out.",
    )
    parser.add_argument(
        "--quick", action="store_true", help="one round of short windows, wsaas and stock: under two minutes"
    )
    parser.add_argument(
        "--system", action="append", choices=list(all_systems()), help="repeatable; default: all but wsaas-…"
    )
    parser.add_argument(
        "--workload",
        action="append",
        choices=[*all_workloads(), *FAMILIES],
        help=f"repeatable; default: all but {', '.join(WORKLOADS_ON_DEMAND)}; publish-5000 stands for all publish-…",
    )
    parser.add_argument(
        "--against",
        type=Path,
        metavar="FOLDER",
        help=f"compare this checkout with that one, in turn; by default {', '.join(against.WORKLOADS)}",
    )
    parser.add_argument(
        "--against-python", type=Path, metavar="FILE", help="the interpreter for that one (default: this one)"
    )
    parser.add_argument(
        "--rounds", type=int, metavar="N", help="runs of each workload (default: 3; quick: 1; --against: 5)"
    )
    parser.add_argument("--seconds", type=float, metavar="S", help="counted window of a run (default: 8, quick: 1.5)")
    parser.add_argument("--warm", type=float, metavar="S", help="seconds before the window (default: 2, quick: 0.5)")
    parser.add_argument("--clients", type=int, metavar="N", help="clients with messages (default: 100)")
    parser.add_argument(
        "--pushers",
        type=int,
        metavar="N",
        help=f"connections that push (default: 16, with API and generator on one core {PUSHERS_FOR_TWO_CORES})",
    )
    parser.add_argument("--crowd", type=int, metavar="N", help="clients in messages-64-crowd (default: 18000)")
    parser.add_argument("--idle", type=numbers, metavar="N,N", help="idle clients, rising (default: 1000,5000,19000)")
    parser.add_argument("--idle-tls", type=numbers, metavar="N,N", help="with TLS (default: 1000,5000)")
    parser.add_argument(
        "--idle-seconds", type=float, metavar="S", help="window for pings (default: 60, quick: 3, too short for pings)"
    )
    parser.add_argument("--churn-seconds", type=float, metavar="S", help="window for lag (default: 20, quick: 3)")
    parser.add_argument("--subscribers", type=int, metavar="N", help="members of a group (default: 5000)")
    parser.add_argument("--publishers", type=int, metavar="N", help="publishes on their way (default: 2)")
    parser.add_argument(
        "--lag-subscribers", type=int, metavar="N", help="members in publish-lag and publish-memory (default: 10000)"
    )
    parser.add_argument("--lag-seconds", type=float, metavar="S", help="windows of publish-lag (default: 10, quick: 2)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything there as well")
    parser.add_argument("--plots", type=Path, metavar="FOLDER", help="write SVG plots there")
    parser.add_argument(
        "--page", type=Path, metavar="FILE", help="write the tables and --plots into docs/benchmarks.rst"
    )
    parser.add_argument("--report", type=Path, metavar="FILE", help="measure nothing: show what --json wrote")
    return parser.parse_args(arguments)


def make_plan(options: argparse.Namespace, cores: Cores, file_limit: int) -> Plan:
    """
    The plan that the options ask for.

    :param cores: who runs where.
    :param file_limit: descriptors that a process may have.
    :raises BenchError: it cannot be done.
    """
    plan = QUICK if options.quick else against.PLAN if options.against else Plan()
    if cores.load_side_shared:
        plan = replace(plan, pushers=PUSHERS_FOR_TWO_CORES)
    changes = {item.name: getattr(options, item.name, None) for item in fields(Plan)}
    plan = replace(plan, **{name: value for name, value in changes.items() if value is not None})
    counts = (plan.rounds, plan.clients, plan.pushers, plan.subscribers, plan.publishers, plan.lag_subscribers)
    if min(*counts, plan.seconds, plan.idle_seconds, plan.churn_seconds, plan.lag_seconds) <= 0:
        raise BenchError("numbers of rounds, clients, pushers, members and seconds are above 0")
    if plan.crowd < plan.clients:
        raise BenchError("the crowd of --crowd includes the clients of --clients")
    crowds = (plan.idle[-1], plan.idle_tls[-1], plan.crowd, plan.subscribers, plan.lag_subscribers)
    if max(crowds) + SPARE_FILES > file_limit:
        raise BenchError(f"the limit of open files is {file_limit}: too low for so many clients")
    return plan


def all_of(names: Sequence[str] | None) -> list[str]:
    """Names of workloads, with those that a name of :data:`FAMILIES` stands for."""
    return [each for name in names or () for each in FAMILIES.get(name, (name,))]


def choose_names(options: argparse.Namespace) -> tuple[Collection[str], Collection[str]]:
    """
    What the options ask for.

    :returns: names of systems and of workloads.
    """
    systems, workloads = options.system, options.workload
    if options.against:
        return {against.NOW, *(systems or ())}, all_of(workloads) or against.WORKLOADS
    if not systems:
        systems = QUICK_SYSTEMS if options.quick else [name for name in all_systems() if name not in ON_DEMAND]
    return systems, all_of(workloads) or [name for name in all_workloads() if name not in WORKLOADS_ON_DEMAND]


def choose(options: argparse.Namespace, compiled: Compiled) -> tuple[list[System], list[Workload]]:
    """
    What is measured; what cannot be measured here is left out, with a word.

    :raises BenchError: nothing is left, or the checkout to compare with cannot be run.
    """
    names, chosen = choose_names(options)
    systems: list[System] = []
    for name, system in all_systems().items():
        if name in names and (reason := system.missing()):
            print(f"{name} is left out: {reason}", file=sys.stderr)
        elif name in names:
            systems.append(system)
    if options.against:
        other = against.other_checkout(options.against, options.against_python)
        if reason := other.missing():
            raise BenchError(f"{options.against} cannot be measured: {reason}")
        systems.append(other)
    workloads = [workload for name, workload in all_workloads().items() if name in chosen]
    if not compiled.tls and any(workload.tls for workload in workloads):
        print("workloads with TLS are left out: OpenSSL's headers are not installed", file=sys.stderr)
        workloads = [workload for workload in workloads if not workload.tls]
    able = any(workload.needs <= system.abilities for workload in workloads for system in systems)
    if not able:
        raise BenchError("nothing is left to measure")
    return systems, workloads


def run(systems: Sequence[System], workloads: Sequence[Workload], setting: Setting) -> list[Result]:
    """
    All rounds of all workloads. Systems take turns within a round, so that a slow moment of the machine meets all.

    A run that breaks off is a void round.
    """
    results: list[Result] = []
    for workload in workloads:
        able = [system for system in systems if workload.needs <= system.abilities]
        rounds: dict[str, list[Measurement]] = {system.name: [] for system in able}
        for number in range(setting.plan.rounds):
            for system in able:
                print(f"{workload.name}, {system.name}, round {number + 1}", file=sys.stderr, flush=True)
                try:
                    measurement = workload.measure(system, setting)
                except BenchError as problem:
                    measurement = Measurement(
                        {}, dict.fromkeys(("system", "api", "load", "others"), 0.0), [str(problem)]
                    )
                rounds[system.name].append(measurement)
        for name, measurements in rounds.items():
            results.append(Result(name, workload.name, workload.metrics, workload.saturates, measurements))
    return results


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """
    Do what the options ask for.

    :returns: everything, as ``--json`` writes it.
    :raises BenchError: it cannot be done.
    """
    cores = assign_cores()
    plan = make_plan(options, cores, raise_file_limit())
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        compiled = compile_programs(Path(name))
        systems, workloads = choose(options, compiled)
        certificate = make_certificate(Path(name)) if compiled.tls else None
        results = run(systems, workloads, Setting(compiled, cores, plan, certificate))
    versions = describe_software(find_compiler() or "cc") | {system.name: system.version() for system in systems}
    return {
        "command": command_line(),
        "machine": describe_machine() | {"placement": cores.describe()},
        "versions": versions,
        "plan": asdict(plan),
        "results": [result.as_json() for result in results],
    }


def read_results(report: dict[str, Any]) -> list[Result]:
    """The results in what ``--json`` wrote."""
    return [
        Result(
            entry["system"],
            entry["workload"],
            {name: metric["unit"] for name, metric in entry["metrics"].items()},
            entry["saturates"],
            [Measurement(**measurement) for measurement in entry["rounds"]],
        )
        for entry in report["results"]
    ]


def describe(report: dict[str, Any], results: Sequence[Result]) -> str:
    """
    What is printed.

    :returns: command, machine, versions, the figures, and how far they are from the goals or from the other checkout.
    """
    plan = report["plan"]
    facts = [f"{name}: {value}" for name, value in (report["machine"] | report["versions"]).items()]
    if found := against.changes(results):
        verdict = against.change_table(found)
    else:
        verdict = outcome_table(outcomes(results, plan["crowd"], plan["idle"][-1]))
    return "\n".join([report["command"], *facts, "", table(results), "", verdict])


def main(arguments: Sequence[str] | None = None) -> int:
    """
    :param arguments: by default those of this process.
    :returns: the exit status: 0, or 1 if something did not work or a result is void.
    """
    options = parse(arguments)
    # What was started is ended on the way out, also when somebody ends us.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        report = json.loads(options.report.read_text("utf-8")) if options.report else measure(options)
        if options.json is not None:
            options.json.write_text(json.dumps(report, indent=2) + "\n", "utf-8")
        results = read_results(report)
        text = describe(report, results)
        print(text)
        plots = write_plots(results, options.plots) if options.plots is not None else []
        if options.page is not None:
            write_page(options.page, text, plots)
    except BenchError as problem:
        print(problem, file=sys.stderr)
        return 1
    return 0 if all(result.counted for result in results) else 1


if __name__ == "__main__":
    sys.exit(main())
