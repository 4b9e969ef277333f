"""What the rounds of a benchmark come to: medians, a table, and JSON."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

from bench.rig import Measurement

ROLES = ("system", "api", "load")
BUSY = 0.9  #: share of its core that a saturated system uses at least
IDLE = 0.1  #: share of the system's core that nobody used, from which on its CPU time says less
SHARED = 0.1  #: share of the system's core that others used, from which on the reader should know
BY_CPU_COUNTS = "Where only the rates of a round are void, its figures by CPU count: waiting takes no CPU time."


@dataclass(frozen=True)
class Result:
    """
    All rounds of one workload on one system.

    :param system: its name.
    :param workload: its name.
    :param metrics: unit of each metric.
    :param saturates: whether the workload is meant to take all of the system's core.
    :param rounds: what each round yielded.
    """

    system: str
    workload: str
    metrics: Mapping[str, str]
    saturates: bool
    rounds: Sequence[Measurement]

    @property
    def counted(self) -> list[Measurement]:
        """The rounds that are not void."""
        return [measurement for measurement in self.rounds if not measurement.faults and not measurement.limits]

    def median(self, metric: str) -> float | None:
        """The median of the rounds that count; None if there is none."""
        values = self.figures(metric)
        return median(values) if values else None

    def figures(self, metric: str) -> list[float]:
        """What the rounds that count yielded."""
        return [measurement.values[metric] for measurement in self.counted if metric in measurement.values]

    def median_by_cpu(self, metric: str) -> float | None:
        """The median for a second of the system's CPU time: what a core for itself alone would have brought."""
        if not self.saturates:
            return None
        values = [value for value in self.comparable(metric) if value is not None]
        return median(values) if values else None

    def comparable(self, metric: str) -> list[float | None]:
        """
        What each round says of the system alone; None if it says nothing.

        Of a workload that saturates, that is the figure for a second of the system's CPU time, whoever was the
        bottleneck.
        """
        if self.saturates:
            return [
                one.values[metric] / one.busy["system"]
                if metric in one.values and one.busy["system"] and not one.faults
                else None
                for one in self.rounds
            ]
        return [None if one.faults or one.limits else one.values.get(metric) for one in self.rounds]

    def busy(self, role: str) -> float:
        """The median share of a core, of all rounds: it tells why the void ones are."""
        return median(measurement.busy[role] for measurement in self.rounds)

    @property
    def remarks(self) -> list[str]:
        """What a reader must know: why rounds are void, and whether the system might have done more."""
        remarks = [f"round {n} is void: {f}" for n, round_ in enumerate(self.rounds, 1) for f in round_.faults]
        void = "the rates of round {} are void: {}" if self.saturates else "round {} is void: {}"
        remarks += [void.format(n, limit) for n, round_ in enumerate(self.rounds, 1) for limit in round_.limits]
        remarks += [f"round {n}: {note}" for n, round_ in enumerate(self.rounds, 1) for note in round_.notes]
        if self.busy("others") > SHARED:
            remarks.append(f"others used or withheld {self.busy('others'):.0%} of the system's core")
        if self.saturates and self.busy("system") < BUSY:
            remarks.append("the system did not get or use all of its core: its figures are lower bounds")
        idle = [round_.idle for round_ in self.rounds if not round_.faults]
        if self.saturates and idle and median(idle) > IDLE:
            # It does less at each turn then, and to wake others up takes it longer.
            remarks.append(f"the system's core was idle for {median(idle):.0%} of the time: figures by CPU are rough")
        return [f"{self.system} {self.workload}, {remark}" for remark in remarks]

    def as_json(self) -> dict[str, Any]:
        """Everything, for a file."""
        return {
            "system": self.system,
            "workload": self.workload,
            "saturates": self.saturates,
            "metrics": {
                name: {"unit": unit, "median": self.median(name), "by_cpu": self.median_by_cpu(name)}
                for name, unit in self.metrics.items()
            },
            "remarks": self.remarks,
            "rounds": [asdict(measurement) for measurement in self.rounds],
        }


def columns(rows: Sequence[Sequence[str]], left: Collection[int]) -> str:
    """
    A table of text, its first row set apart.

    :param rows: all of the same length.
    :param left: numbers of the columns that begin at the left.
    """
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = [
        "  ".join(
            cell.ljust(width) if i in left else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
    lines.insert(1, "-" * max(map(len, lines)))
    return "\n".join(lines)


def table(results: Sequence[Result]) -> str:
    """A table for people: one line for each metric, remarks below."""
    heads = ("median", "lowest", "highest", "by CPU", "unit", *(f"{role} busy" for role in ROLES))
    rows = [("workload", "metric", "system", *heads)]
    notes: list[str] = []
    for result in results:
        for name, unit in result.metrics.items():
            values = result.figures(name)
            figures = [figure(median(values)), figure(min(values)), figure(max(values))] if values else ["void"] * 3
            by_cpu = result.median_by_cpu(name)
            figures.append("" if by_cpu is None else figure(by_cpu))
            busy = [f"{result.busy(role):.0%}" for role in ROLES]
            rows.append((result.workload, name, result.system, *figures, unit, *busy))
        notes += result.remarks
    order = list(dict.fromkeys((row[0], row[1]) for row in rows))
    rows.sort(key=lambda row: order.index((row[0], row[1])))  # stable: one metric of all systems together
    if any(result.saturates and round_.limits for result in results for round_ in result.rounds):
        notes.append(BY_CPU_COUNTS)
    return "\n".join([columns(rows, left=(0, 1, 2, 7)), *notes])


def figure(value: float) -> str:
    """Three significant digits or whole numbers, with thousands set apart."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
