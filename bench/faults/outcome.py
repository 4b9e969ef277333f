"""What a scenario comes to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Self


@dataclass(slots=True)
class Outcome:
    """
    What was seen.

    :param figures: numbers for a reader, by what they say, each with its unit in the name.
    :param problems: what broke a promise; none: it held.
    :param series: for plots: samples by name, one for each of ``at``.
    :param at: when the samples were taken, in the unit of the plot.
    :param skipped: why nothing was tried.
    """

    figures: dict[str, float] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    series: dict[str, list[float]] = field(default_factory=dict)
    at: list[float] = field(default_factory=list)
    skipped: str = ""

    def check(self, holds: bool, problem: str) -> None:
        """Note a problem unless something holds."""
        if not holds:
            self.problems.append(problem)

    def add(self, problems: Sequence[str], limit: int = 10) -> None:
        """Note problems: the first ones, and how many there are."""
        self.problems += problems[:limit]
        if len(problems) > limit:
            self.problems.append(f"… and {len(problems) - limit} more")

    def as_json(self) -> dict[str, Any]:
        """Everything, for a file."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """What :meth:`as_json` made."""
        return cls(**values)


def percentile(values: Sequence[float], share: float) -> float:
    """What so many of the values do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))] if ordered else 0.0
