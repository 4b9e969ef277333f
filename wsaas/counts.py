"""What happened, as plain numbers: counted where it happens, read by the metrics when somebody asks.

An integer that is added to costs 20 ns; an object of a metrics library ten to fifty times that, with every message.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Sequence

#: Upper ends in seconds, for what the API takes.
CALL_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
#: How an attempt without a complete answer failed: the ``kind`` of its error, or a fault of ours.
FAILURES = ("not_sent", "no_answer", "timed_out", "unusable", "fault")


class Histogram:
    """How often a value fell between which bounds.

    :param bounds: the upper ends, growing; a value on one of them belongs below it
    """

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = tuple(bounds)
        #: One for each bound, and one for what is above them all.
        self.counts = [0] * (len(self.bounds) + 1)
        #: The sum of all values.
        self.total = 0.0

    def add(self, value: float) -> None:
        """Count one value."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value


class Attempts:
    """The attempts of one method at calling the API."""

    __slots__ = ("answers", "failures", "seconds")

    def __init__(self) -> None:
        #: Complete answers, by the first digit of their status.
        self.answers = [0] * 10
        #: Attempts without one, by what happened.
        self.failures = dict.fromkeys(FAILURES, 0)
        #: How long all of them took.
        self.seconds = Histogram(CALL_SECONDS)

    def answered(self, status: int, seconds: float) -> None:
        """Count an attempt that brought a complete answer.

        :param seconds: how long it took
        """
        # A status that begins with 0 is none, but servers are free to say anything.
        self.answers[status // 100 % 10] += 1
        # Not add(): this is the hot path.
        histogram = self.seconds
        histogram.counts[bisect_left(CALL_SECONDS, seconds)] += 1
        histogram.total += seconds

    def failed(self, error: BaseException | None, seconds: float) -> None:
        """Count an attempt that brought none.

        :param error: what happened
        :param seconds: how long it took
        """
        kind = getattr(error, "kind", "fault")
        self.failures[kind if kind in self.failures else "fault"] += 1
        self.seconds.add(seconds)


def attempts() -> defaultdict[str, Attempts]:
    """:returns: what is to count attempts, by method"""
    return defaultdict(Attempts, {method: Attempts() for method in ("POST", "PUT", "DELETE")})
