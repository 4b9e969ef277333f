"""Plots of samples over time: SVG, in the manner of :mod:`bench.plot`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path

from bench.faults.outcome import Outcome
from bench.plot import COLOURS, INK, text
from bench.report import figure

WIDTH, LEFT, RIGHT, PANEL, GAP = 640, 60, 20, 90, 46

#: Which scenarios have a plot, and its title.
PLOTS = {
    "soak": "Two million messages and 200,000 connections through one process",
    "memory-pushed": "1,000 clients that never read, while they are pushed to",
    "memory-silent": "10,000 connections that say nothing",
}


def lines(title: str, at: Sequence[float], series: Mapping[str, Sequence[float]]) -> str:
    """
    A panel for each series, all over the same time.

    :param at: seconds, rising.
    :param series: by name, with its unit; as many values each.
    """
    parts = [text(0, 16, title, size=14)]
    last = at[-1] if at else 1.0
    top = 40.0
    for (name, values), colour in zip(series.items(), COLOURS * len(series), strict=False):
        highest = max(values, default=0) or 1
        scale = (WIDTH - LEFT - RIGHT) / (last or 1)
        points = " ".join(
            f"{LEFT + moment * scale:.1f},{top + PANEL - value / highest * PANEL:.1f}"
            for moment, value in zip(at, values, strict=True)
        )
        parts += [
            text(LEFT, top - 6, name),
            text(LEFT - 6, top + 10, figure(highest), "end"),
            text(LEFT - 6, top + PANEL, "0", "end"),
            f'<path d="M{LEFT} {top}V{top + PANEL}H{WIDTH - RIGHT}" fill="none" stroke="{INK}" stroke-width="1"/>',
            f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="1.5"/>',
        ]
        top += PANEL + GAP
    parts.append(text(WIDTH - RIGHT, top - GAP + 18, f"{last:.0f} s", "end"))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {top - GAP + 26:.0f}" role="img" '
        f'font-family="system-ui, sans-serif" fill="{INK}"><title>{escape(title)}</title>\n'
        + "\n".join(parts)
        + "\n</svg>\n"
    )


def write_plots(outcomes: Mapping[str, Outcome], directory: Path) -> list[Path]:
    """
    Write every plot that there are samples for.

    :param directory: made if it is not there.
    :returns: the files.
    """
    directory.mkdir(parents=True, exist_ok=True)
    written: list[Path] = []
    for name, title in PLOTS.items():
        outcome = outcomes.get(name)
        if outcome is not None and outcome.at:
            file = directory / f"{name}.svg"
            file.write_text(lines(title, outcome.at, outcome.series), "utf-8")
            written.append(file)
    return written
