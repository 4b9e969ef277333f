"""What all scenarios come to: a table for people, and JSON."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bench.faults.outcome import Outcome
from bench.report import columns, figure

WIDTH = 110  #: characters of a line of figures


def verdict(outcome: Outcome) -> str:
    """One word."""
    return "skipped" if outcome.skipped else "BROKEN" if outcome.problems else "held"


def describe(outcomes: Mapping[str, Outcome], seconds: Mapping[str, float]) -> str:
    """
    A table: one line for each scenario, then its figures.

    :param outcomes: by scenario.
    :param seconds: how long each took.
    """
    rows = [("scenario", "promises", "seconds")]
    rows += [(name, verdict(outcome), f"{seconds.get(name, 0):.0f}") for name, outcome in outcomes.items()]
    return "\n".join([columns(rows, left=(0, 1)), "", *(details(name, one) for name, one in outcomes.items())])


def details(name: str, outcome: Outcome) -> str:
    """The figures of one scenario, and what is wrong."""
    lines, line = [name], "  "
    for label, value in outcome.figures.items():
        part = f"{label}: {figure(value)}"
        if len(line) + len(part) > WIDTH:
            lines.append(line.rstrip(" ;"))
            line = "  "
        line += f"{part}; "
    lines.append(line.rstrip(" ;"))
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
