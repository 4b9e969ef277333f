"""What all scenarios come to: text for people, and JSON."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from bench.faults.outcome import Outcome
from bench.report import figure

WIDTH = 110  #: characters of a line of figures


def verdict(outcome: Outcome) -> str:
    """One word."""
    return "skipped" if outcome.skipped else "BROKEN" if outcome.problems else "held"


def describe(outcomes: Mapping[str, Outcome], seconds: Mapping[str, float]) -> str:
    """
    How many held; then each scenario with its figures.

    :param outcomes: by scenario.
    :param seconds: how long each took.
    """
    numbers = Counter(map(verdict, outcomes.values()))
    summary = ", ".join(f"{numbers[word]} {word}" for word in ("held", "BROKEN", "skipped") if numbers[word])
    return "\n".join([summary, "", *(details(name, one, seconds.get(name)) for name, one in outcomes.items())])


def details(name: str, outcome: Outcome, seconds: float | None = None) -> str:
    """
    What came of one scenario: its figures, and what is wrong.

    :param seconds: how long it took, if that is to be said.
    """
    lines = [f"{name}: {verdict(outcome)}" + ("" if seconds is None else f", {seconds:.0f} s")]
    line = "  "
    for label, value in outcome.figures.items():
        part = f"{label}: {figure(value)}"
        if len(line) + len(part) > WIDTH:
            lines.append(line.rstrip())
            line = "  "
        line += f"{part}; "
    lines.append(line.rstrip().removesuffix(";"))
    if outcome.skipped:
        lines.append(f"  skipped: {outcome.skipped}")
    lines += [f"  BROKEN: {problem}" for problem in outcome.problems]
    return "\n".join(one for one in lines if one.strip())


def as_json(outcomes: Mapping[str, Outcome], seconds: Mapping[str, float], **facts: object) -> dict[str, Any]:
    """Everything, for a file."""
    return {
        **facts,
        "outcomes": {name: outcome.as_json() for name, outcome in outcomes.items()},
        "seconds": dict(seconds),
    }
