"""Plots for the documentation: SVG, written by hand, readable on light and dark pages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path

from bench.report import Result, figure

WIDTH, LEFT, RIGHT, LINE, BAR = 640, 180, 70, 22, 15
COLOURS = ("#2a78d6", "#8d99a6", "#c9822b", "#3c9d6b", "#9b5fc0")
INK = "#7a7f87"  #: reads on white and on black

#: file name, title, and the (workload, metric) pairs that are its groups; all of one unit
BARS: Mapping[str, tuple[str, Sequence[tuple[str, str]]]] = {
    "messages": (
        "Client messages → API, 1/s",
        (("messages-64", "messages"), ("messages-64-tls", "messages"), ("messages-64-crowd", "messages")),
    ),
    "pushes": (
        "Pushes → frames received, 1/s",
        (
            ("pushes-64", "pushes"),
            ("pushes-4096", "pushes"),
            ("pushes-64-tls", "pushes"),
            ("pushes-4096-tls", "pushes"),
        ),
    ),
    "publish": (
        "Publishes → messages at members, 1/s",
        (("publish-64", "deliveries"), ("publish-1024", "deliveries")),
    ),
    "handshakes": (
        "Handshakes with POST, closes with DELETE, 1/s",
        (("handshakes", "handshakes"), ("handshakes", "disconnects")),
    ),
    "echo": (
        "Echo through the API at half of the highest load, ms",
        (("echo-64", "p50"), ("echo-64", "p99"), ("echo-64", "p99.9")),
    ),
    "memory": ("Memory of an idle client, KiB", (("idle", "memory"), ("idle-tls", "memory"))),
    "lag": (
        "Lag among idle clients while others come and go, ms",
        (("idle", "lag p50"), ("idle", "lag p99"), ("idle", "lag p99.9")),
    ),
}


def text(x: float, y: float, content: str, anchor: str = "start", size: int = 12) -> str:
    """One line of text."""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}">{escape(content)}</text>'


def bars(title: str, systems: Sequence[str], groups: Sequence[tuple[str, Mapping[str, float]]]) -> str:
    """
    A chart of horizontal bars.

    :param title: with the unit.
    :param systems: in their order; each has a colour.
    :param groups: a label and the value of each system that has one.
    """
    longest = max((value for _, values in groups for value in values.values()), default=0) or 1
    scale = (WIDTH - LEFT - RIGHT) / longest
    parts = [text(0, 16, title, size=14)]
    for i, system in enumerate(systems):
        x = LEFT + i * 100
        parts += [f'<rect x="{x}" y="28" width="10" height="10" fill="{COLOURS[i]}"/>', text(x + 15, 37, system)]
    y = 56.0
    for label, values in groups:
        parts.append(text(LEFT - 10, y + 12, label, "end"))
        for i, system in enumerate(systems):
            if system in values:
                width = max(1.0, values[system] * scale)
                parts.append(
                    f'<rect x="{LEFT}" y="{y:.1f}" width="{width:.1f}" height="{BAR}" fill="{COLOURS[i]}">'
                    f"<title>{escape(f'{system}, {label}: {figure(values[system])}')}</title></rect>"
                )
                parts.append(text(LEFT + width + 5, y + 12, figure(values[system])))
                y += LINE - 4
        y += 12
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {y:.0f}" role="img" '
        f'font-family="system-ui, sans-serif" fill="{INK}"><title>{escape(title)}</title>\n'
        + "\n".join(parts)
        + "\n</svg>\n"
    )


def write_plots(results: Sequence[Result], directory: Path) -> list[Path]:
    """
    Write every plot that these results have figures for.

    :param directory: made if it is not there.
    :returns: the files.
    """
    directory.mkdir(parents=True, exist_ok=True)
    systems = list(dict.fromkeys(result.system for result in results))
    written: list[Path] = []
    for name, (title, pairs) in BARS.items():
        groups: list[tuple[str, Mapping[str, float]]] = []
        for workload, metric in pairs:
            values = {
                result.system: value
                for result in results
                if result.workload == workload and (value := result.median(metric)) is not None
            }
            label = workload if metric == workload.partition("-")[0] or metric == "memory" else f"{workload} {metric}"
            if values:
                groups.append((label, values))
        if groups:
            file = directory / f"{name}.svg"
            file.write_text(bars(title, systems, groups), "utf-8")
            written.append(file)
    return written
