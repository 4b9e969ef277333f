"""How late the event loop is."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from wsaas.operations.loop_lag import BOUNDS, Lag


class LagTests(SynchronousTestCase):
    """Measures at regular intervals."""

    def setUp(self) -> None:
        """Make one."""
        self.clock = Clock()
        self.lag = Lag(self.clock)

    def counted(self) -> dict[float, int]:
        """:returns: how many measurements were late by how much at most"""
        counts = zip((*BOUNDS, float("inf")), self.lag.seconds.counts, strict=True)
        return {bound: count for bound, count in counts if count}

    def test_in_time(self) -> None:
        """Ten measurements a second; nothing before the start, nothing after the end."""
        self.clock.advance(1)
        self.lag.start()
        self.lag.start()
        self.clock.pump([0.1] * 10)
        self.assertEqual(self.counted(), {0.001: 10})
        self.lag.stop()
        self.lag.stop()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_late(self) -> None:
        """By as much as the loop was busy; the next measurement is in time again."""
        self.lag.start()
        self.clock.pump([0.1, 0.13, 0.1, 0.1, 9, 0.1])
        self.assertEqual(self.counted(), {0.001: 4, 0.05: 1, float("inf"): 1})
        self.assertAlmostEqual(self.lag.seconds.total, 8.93)
