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
    Ratio("publish-64", "deliveries", "nchan", 0.9),
    Ratio("publish-64", "deliveries", "centrifugo", 2),
    Ratio("publish-1024", "deliveries", "nchan", 0.9),
    Ratio("publish-1024", "deliveries", "centrifugo", 2),
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
    :param value: what it came to; None if there is no figure but by CPU.
    :param goal: what it should come to.
    :param at_most: whether it should be at most the goal; otherwise at least.
    :param unit: of both.
    :param by_cpu: the value for CPU time in place of time, where both systems were to take all of a core: what it would
        be if nobody else had used that core.
    """

    what: str
    value: float | None
    goal: float
    at_most: bool
    unit: str = "times"
    by_cpu: float | None = None

    @property
    def reached(self) -> bool:
        """Whether it is where it should be; by CPU if there is nothing else."""
        value = self.by_cpu if self.value is None else self.value
        if value is None:
            return False
        return value <= self.goal if self.at_most else value >= self.goal

    def row(self) -> tuple[str, ...]:
        """For people."""
        figures = ["void" if self.value is None else f"{self.value:.3g}"]
        figures.append("" if self.by_cpu is None else f"{self.by_cpu:.3g}")
        verdict = ("yes" if self.reached else "NO") + (", by CPU" if self.value is None else "")
        return (self.what, *figures, f"{'≤' if self.at_most else '≥'} {self.goal:.3g}", self.unit, verdict)


Medians = Mapping[tuple[str, str, str], float]


def _divide(medians: Medians, ratio: Ratio) -> float | None:
    ours = medians.get(("wsaas", ratio.workload, ratio.metric))
    theirs = medians.get((ratio.system, ratio.workload, ratio.metric))
    return ours / theirs if ours is not None and theirs else None


def _crowd(medians: Medians) -> float | None:
    """How many of its messages are left to WSAAS when a crowd looks on."""
    few = medians.get(("wsaas", "messages-64", "messages"))
    many = medians.get(("wsaas", "messages-64-crowd", "messages"))
    return many / few if few and many is not None else None


def _limits(medians: Medians, idle: int) -> list[Outcome]:
    """
    What WSAAS should reach whatever the others do.

    :param idle: as in :func:`outcomes`.
    """

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
    if (more := own("publish-lag", "push p99 more")) is not None:
        outcomes.append(Outcome("publish-lag: p99 of a push, above the quiet one", more, 5, True, "ms"))
    if (membership := own("publish-memory", "membership")) is not None:
        outcomes.append(Outcome("publish-memory: a membership", membership, 96, True, "B"))
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
        what = f"{ratio.workload}: {ratio.metric}, to {ratio.system}"
        found.append(Outcome(what, _divide(medians, ratio), ratio.goal, ratio.at_most, by_cpu=_divide(by_cpu, ratio)))
    found += _limits(medians, idle)
    what = f"messages-64: with {crowd:,} clients open, to few"
    found.append(Outcome(what, _crowd(medians), 0.85, False, by_cpu=_crowd(by_cpu)))
    return [outcome for outcome in found if outcome.value is not None or outcome.by_cpu is not None]


def outcome_table(found: Sequence[Outcome]) -> str:
    """A table for people."""
    head = ("wsaas", "reached", "by CPU", "goal", "unit", "")
    return columns([head, *(outcome.row() for outcome in found)], left=(0, 4))
