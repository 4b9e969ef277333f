"""Counters as plain numbers, incremented where things happen and read only when the metrics are scraped.

Adding to an integer takes 20 ns; a metrics library's object takes ten to fifty times as long, for every message.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Sequence

#: Upper bounds in seconds for the duration of calls to the API.
CALL_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
#: Upper bounds in seconds for how long connections were open: the usual patience of proxies among them.
OPEN_SECONDS = (1.0, 5.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0, 21600.0, 86400.0, 604800.0)
#: How an attempt without a complete answer failed: the ``kind`` of its exception, or a fault of the gateway.
FAILURES = ("not_sent", "no_answer", "timed_out", "unusable", "fault")


class Histogram:
    """Counts values by range.

    :param bounds: the upper bounds in ascending order, each included in its range
    """

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = tuple(bounds)
        #: One count for each bound, and one for values above them all.
        self.counts = [0] * (len(self.bounds) + 1)
        #: The sum of all values.
        self.total = 0.0

    def add(self, value: float) -> None:
        """Count one value."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value


class Attempts:
    """Counts the attempts of one method at calling the API."""

    __slots__ = ("answers", "failures", "seconds")

    def __init__(self) -> None:
        #: Complete answers, by the first digit of the status.
        self.answers = [0] * 10
        #: Attempts without a complete answer, by what happened.
        self.failures = dict.fromkeys(FAILURES, 0)
        #: How long the attempts took.
        self.seconds = Histogram(CALL_SECONDS)

    def answered(self, status: int, seconds: float) -> None:
        """Count an attempt that brought a complete answer.

        :param seconds: how long it took
        """
        # There is no status that begins with 0, but a server may send one.
        self.answers[status // 100 % 10] += 1
        # The body of add(), inlined: this is the hot path.
        histogram = self.seconds
        histogram.counts[bisect_left(CALL_SECONDS, seconds)] += 1
        histogram.total += seconds

    def failed(self, error: BaseException | None, seconds: float) -> None:
        """Count an attempt without a complete answer.

        :param error: what happened
        :param seconds: how long it took
        """
        kind = getattr(error, "kind", "fault")
        self.failures[kind if kind in self.failures else "fault"] += 1
        self.seconds.add(seconds)


def attempts() -> defaultdict[str, Attempts]:
    """:returns: counters of attempts, by method"""
    return defaultdict(Attempts, {method: Attempts() for method in ("POST", "PUT", "DELETE")})
