"""What WSAAS is meant to reach, and how far it is: ratios to the other systems, and limits of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bench.report import Result, columns

MANY = 100_000  #: clients that projections are made for
GB = 1e9


@dataclass(frozen=True)
class Ratio:
    """
    A figure of WSAAS divided by one of another system.

    :param workload: its name.
    :param metric: its name.
    :param system: the other system.
    :param goal: what the ratio should be.
    :param at_most: whether it should be at most the goal; otherwise at least.
    """

    workload: str
    metric: str
    system: str
    goal: float
    at_most: bool = False


RATIOS = (
    Ratio("messages-64", "messages", "stock", 7),
    Ratio("messages-64", "messages", "pushpin", 5),
    Ratio("messages-64", "messages", "nchan", 0.75),
    Ratio("pushes-64", "pushes", "stock", 4.5),
    Ratio("pushes-64", "pushes", "pushpin", 5),
    Ratio("pushes-64", "pushes", "nchan", 1.0),
    Ratio("pushes-4096", "pushes", "stock", 4.5),
    Ratio("pushes-4096", "pushes", "pushpin", 5),
    Ratio("pushes-4096", "pushes", "nchan", 1.0),
    Ratio("handshakes", "handshakes", "stock", 1.8),
    Ratio("handshakes", "handshakes", "pushpin", 2),
    Ratio("handshakes", "handshakes", "nchan", 0.7),
    # What a journal (STATE_DIR) may cost: 30 %.
    Ratio("handshakes", "handshakes", "wsaas-journal", 1 / 0.7, at_most=True),
    # What limits may cost: 5 %.
    Ratio("messages-64", "messages", "wsaas-limits", 1 / 0.95, at_most=True),
    Ratio("pushes-64", "pushes", "wsaas-limits", 1 / 0.95, at_most=True),
    Ratio("handshakes", "handshakes", "wsaas-limits", 1 / 0.95, at_most=True),
    Ratio("echo-64", "p99", "stock", 0.25, at_most=True),
    Ratio("idle", "memory", "nchan", 1.0, at_most=True),
    Ratio("idle-tls", "memory", "stock", 0.8, at_most=True),
)


@dataclass(frozen=True)
class Outcome:
    """
    A goal and what was reached.

    :param what: what was measured, in a few words.
    :param value: what it came to.
    :param goal: what it should come to.
    :param at_most: whether it should be at most the goal; otherwise at least.
    :param unit: of both.
    :param by_cpu: the value for CPU time in place of time, where both systems were to take all of a core: what it would
        be if nobody else had used that core.
    """

    what: str
    value: float
    goal: float
    at_most: bool
    unit: str = "times"
    by_cpu: float | None = None

    @property
    def reached(self) -> bool:
        """Whether it is where it should be."""
        return self.value <= self.goal if self.at_most else self.value >= self.goal


Medians = Mapping[tuple[str, str, str], float]


def _divide(medians: Medians, ratio: Ratio) -> float | None:
    ours = medians.get(("wsaas", ratio.workload, ratio.metric))
    theirs = medians.get((ratio.system, ratio.workload, ratio.metric))
    return ours / theirs if ours is not None and theirs else None


def _limits(medians: Medians, crowd: int, idle: int) -> list[Outcome]:
    """What WSAAS should reach whatever the others do."""

    def own(workload: str, metric: str) -> float | None:
        return medians.get(("wsaas", workload, metric))

    outcomes: list[Outcome] = []
    memory, base, cpu = own("idle", "memory"), own("idle", "base"), own("idle", "cpu")
    if memory is not None and base is not None:
        outcomes.append(Outcome("idle: memory of a client", memory, 8, True, "KiB"))
        projected = (base * 2**20 + memory * 1024 * MANY) / GB
        outcomes.append(Outcome(f"idle: memory, projected to {MANY:,} clients", projected, 1.0, True, "GB"))
    if cpu is not None and own("idle", "pings"):  # windows shorter than the pause between pings say nothing
        outcomes.append(Outcome(f"idle: pings of {idle:,} clients", cpu, 3 * max(1, idle / 19000), True, "% of a core"))
        outcomes.append(
            Outcome(f"idle: pings, projected to {MANY:,} clients", cpu * MANY / idle, 15, True, "% of a core")
        )
    if (lag := own("idle", "lag p99.9")) is not None:
        outcomes.append(Outcome("idle: lag p99.9 while clients come and go", lag, 50, True, "ms"))
    few, many = own("messages-64", "messages"), own("messages-64-crowd", "messages")
    if few and many is not None:
        outcomes.append(Outcome(f"messages-64: with {crowd:,} clients open, to few", many / few, 0.85, False))
    return outcomes


def outcomes(results: Sequence[Result], crowd: int, idle: int) -> list[Outcome]:
    """
    Everything that can be said from these results.

    :param crowd: clients open in ``messages-64-crowd``.
    :param idle: clients at which pings and lag were measured.
    """
    medians: dict[tuple[str, str, str], float] = {}
    by_cpu: dict[tuple[str, str, str], float] = {}
    for result in results:
        for metric in result.metrics:
            if (value := result.median(metric)) is not None:
                medians[result.system, result.workload, metric] = value
            if (value := result.median_by_cpu(metric)) is not None:
                by_cpu[result.system, result.workload, metric] = value
    found: list[Outcome] = []
    for ratio in RATIOS:
        value = _divide(medians, ratio)
        if value is not None:
            what = f"{ratio.workload}: {ratio.metric}, to {ratio.system}"
            found.append(Outcome(what, value, ratio.goal, ratio.at_most, by_cpu=_divide(by_cpu, ratio)))
    return found + _limits(medians, crowd, idle)


def outcome_table(found: Sequence[Outcome]) -> str:
    """A table for people."""
    rows = [("wsaas", "reached", "by CPU time", "goal", "unit", "")]
    for outcome in found:
        sign = "≤" if outcome.at_most else "≥"
        verdict = "yes" if outcome.reached else "NO"
        by_cpu = "" if outcome.by_cpu is None else f"{outcome.by_cpu:.3g}"
        value, goal = f"{outcome.value:.3g}", f"{sign} {outcome.goal:.3g}"
        rows.append((outcome.what, value, by_cpu, goal, outcome.unit, verdict))
    return columns(rows, left=(0, 4))
