"""The garbage collector of a process that holds many connections."""

from __future__ import annotations

import gc

from twisted.trial.unittest import SynchronousTestCase

from wsaas.operations.garbage import settle


class SettleTests(SynchronousTestCase):
    """What is there stays out of the collector's way; what comes is still collected."""

    def setUp(self) -> None:
        """Leave the process as it was."""
        self.addCleanup(gc.set_threshold, *gc.get_threshold())
        self.addCleanup(gc.unfreeze)

    def test_what_is_there(self) -> None:
        """The collector no longer visits it."""
        settle()
        self.assertGreater(gc.get_freeze_count(), 1000)
        self.assertGreater(gc.get_threshold(), (10_000,))

    def test_what_comes(self) -> None:
        """A cycle made later is found."""
        settle()
        cycle: list[object] = []
        cycle.append(cycle)
        del cycle
        self.assertGreaterEqual(gc.collect(), 1)
