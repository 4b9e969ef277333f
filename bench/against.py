"""
Two checkouts of WSAAS side by side: what a change made faster or slower.

Both are measured in the same run, in turn, and compared by CPU time. So a slow minute of the machine meets both, and
what else it does counts for neither.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from bench.checkout import Checkout
from bench.report import IDLE, Result, columns, figure
from bench.rig import Measurement, Plan
from bench.systems.wsaas import Wsaas

NOW = "wsaas"
BEFORE = "wsaas-before"
#: Short windows and several of them: the two meet the same minutes of the machine.
PLAN = Plan(rounds=5, warm=1.0, seconds=3.0)
WORKLOADS = (
    "messages-64",
    "pushes-64",
    "pushes-64-token",
    "pushes-64-key",
    "pushes-64-chunked",
    "handshakes",
    "idle-memory",
)
SHARE = 0.5  #: of its core that a gateway should get at least; what it does in less is no fair sample
#: Units in which differences can be read, and how much of each is in one of the report's.
_FINER = {"KiB/client": ("B/client", 1024)}
NOTE = """\
Before and now: medians; of what a second of the gateway's CPU time brought, where the unit says so. Ratio: now by
before; then the lowest and highest of a single round, and the ratio of the rates by the clock. Rounds: those in which
both gateways had work all the time and at least half of their core. Others are left out, unless they are the most:
then the ratios are rough."""


def other_checkout(path: Path, python: Path | None = None) -> Wsaas:
    """
    The system that ``--against`` names.

    :param path: the top folder of the checkout.
    :param python: its interpreter; by default this very one, so that only WSAAS itself differs.
    """
    # Not resolved: the link in a virtual environment is what tells the interpreter where its packages are.
    checkout = Checkout(path.absolute()) if python is None else Checkout(path.absolute(), python.absolute())
    return Wsaas(BEFORE, checkout=checkout)


@dataclass(frozen=True)
class Change:
    """
    What became of one metric.

    :param workload: its name.
    :param metric: its name.
    :param unit: of both figures.
    :param pairs: the figures before and now, of each round that is compared.
    :param sound: how many rounds are as they should be, with both systems busy; if that is most of them, only these are
        compared.
    :param rounds: how many there were.
    :param by_clock: the ratio of the medians by the clock, if the unit is one of CPU time.
    """

    workload: str
    metric: str
    unit: str
    pairs: Sequence[tuple[float, float]]
    sound: int
    rounds: int
    by_clock: float | None = None

    @property
    def ratio(self) -> float | None:
        """Now by before, of the medians; None if no round counts."""
        before, now = self._medians()
        return now / before if before else None

    def _medians(self) -> tuple[float, float]:
        if not self.pairs:
            return 0.0, 0.0
        return median(before for before, _ in self.pairs), median(now for _, now in self.pairs)

    def row(self) -> tuple[str, ...]:
        """For people."""
        if self.ratio is None:
            figures = ["void"] * 5
        else:
            singles = [now / before for before, now in self.pairs if before]
            ratios = [f"{ratio:.3f}" for ratio in (self.ratio, min(singles), max(singles))]
            figures = [*map(figure, self._medians()), *ratios]
        by_clock = "" if self.by_clock is None else f"{self.by_clock:.3f}"
        return (self.workload, self.metric, *figures, by_clock, f"{self.sound} of {self.rounds}", self.unit)


def _was_busy(measurement: Measurement) -> bool:
    """Whether the system had work all the time, and time to do it."""
    return measurement.idle <= IDLE and measurement.busy["system"] >= SHARE


def _change(before: Result, now: Result, metric: str) -> Change:
    rounds = zip(before.rounds, now.rounds, before.comparable(metric), now.comparable(metric), strict=False)
    pairs: list[tuple[float, float]] = []
    sound: list[tuple[float, float]] = []
    unit, factor = _FINER.get(now.metrics[metric], (now.metrics[metric], 1))
    for one, other, old, new in rounds:
        if old is not None and new is not None:
            pairs.append((old * factor, new * factor))
            if not now.saturates or (_was_busy(one) and _was_busy(other)):
                sound.append(pairs[-1])
    compared = sound if 2 * len(sound) > len(pairs) else pairs
    by_clock = None
    if now.saturates:
        unit, old, new = "1/CPU s", before.median(metric), now.median(metric)
        by_clock = new / old if old and new is not None else None
    return Change(now.workload, metric, unit, compared, len(sound), len(now.rounds), by_clock)


def changes(results: Sequence[Result]) -> list[Change]:
    """What became of each metric that was measured of both; empty if nothing was."""
    before = {result.workload: result for result in results if result.system == BEFORE}
    return [
        _change(before[result.workload], result, metric)
        for result in results
        if result.system == NOW and result.workload in before
        for metric in result.metrics
    ]


def change_table(found: Sequence[Change]) -> str:
    """A table for people, with a word on how to read it."""
    head = ("workload", "metric", "before", "now", "ratio", "lowest", "highest", "by clock", "rounds", "unit")
    return "\n".join([columns([head, *(change.row() for change in found)], left=(0, 1, 9)), NOTE])
