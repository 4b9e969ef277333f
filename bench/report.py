"""What the rounds of a benchmark come to: medians, a table, and JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

from bench.rig import Measurement

ROLES = ("system", "api", "load")
BUSY = 0.9  #: share of its core that a saturated system uses at least


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
        return [measurement for measurement in self.rounds if not measurement.faults]

    def median(self, metric: str) -> float | None:
        """The median of the rounds that count; None if there is none."""
        values = [measurement.values[metric] for measurement in self.counted]
        return median(values) if values else None

    def busy(self, role: str) -> float:
        """The median share of a core, of all rounds: it tells why the void ones are."""
        return median(measurement.busy[role] for measurement in self.rounds)

    @property
    def remarks(self) -> list[str]:
        """What a reader must know: why rounds are void, and whether the system might have done more."""
        remarks = [f"round {n} is void: {f}" for n, round_ in enumerate(self.rounds, 1) for f in round_.faults]
        if self.saturates and self.busy("system") < BUSY:
            remarks.append("the system did not get or use all of its core: its figures are lower bounds")
        return [f"{self.system} {self.workload}, {remark}" for remark in remarks]

    def as_json(self) -> dict[str, Any]:
        """Everything, for a file."""
        return {
            "system": self.system,
            "workload": self.workload,
            "metrics": {name: {"unit": unit, "median": self.median(name)} for name, unit in self.metrics.items()},
            "remarks": self.remarks,
            "rounds": [asdict(measurement) for measurement in self.rounds],
        }


def table(results: Sequence[Result]) -> str:
    """A table for people: one line for each metric, remarks below."""
    rows = [("system", "workload", "metric", "median", "lowest", "highest", "unit", *(f"{r} busy" for r in ROLES))]
    notes: list[str] = []
    for result in results:
        for name, unit in result.metrics.items():
            values = [measurement.values[name] for measurement in result.counted]
            figures = (_figure(median(values)), _figure(min(values)), _figure(max(values))) if values else ("void",) * 3
            busy = [f"{result.busy(role):.0%}" for role in ROLES]
            rows.append((result.system, result.workload, name, *figures, unit, *busy))
        notes += result.remarks
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = [
        "  ".join(
            cell.ljust(width) if i in (0, 1, 2, 6) else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
    lines.insert(1, "-" * max(map(len, lines)))
    return "\n".join([*lines, *notes])


def _figure(value: float) -> str:
    """Three significant digits or whole numbers, with thousands set apart."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
