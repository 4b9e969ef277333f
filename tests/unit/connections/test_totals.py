"""What connections share: how many DELETEs are pending, and who waits until there is none."""

from __future__ import annotations

from twisted.internet.defer import CancelledError
from twisted.trial.unittest import SynchronousTestCase

from wsaas.connections.totals import Pending


class PendingTests(SynchronousTestCase):
    """The number of DELETEs that the API still has to get."""

    def setUp(self) -> None:
        """Begin with none."""
        self.pending = Pending()

    def test_none_at_once(self) -> None:
        """Nothing has to happen first."""
        self.assertEqual(self.pending.number, 0)
        self.successResultOf(self.pending.when_none())

    def test_all_who_wait_are_told_once_the_last_is_settled(self) -> None:
        """Not before."""
        self.pending.add()
        self.pending.add()
        waiting = [self.pending.when_none(), self.pending.when_none()]
        self.pending.settle()
        for deferred in waiting:
            self.assertNoResult(deferred)
        self.pending.settle()
        for deferred in waiting:
            self.successResultOf(deferred)

    def test_more_than_once(self) -> None:
        """Each wait is told of its own end."""
        for _ in range(2):
            self.pending.add()
            waiting = self.pending.when_none()
            self.assertNoResult(waiting)
            self.pending.settle()
            self.successResultOf(waiting)

    def test_a_wait_that_is_cancelled(self) -> None:
        """It is not told, and does not disturb the others."""
        self.pending.add()
        gone, stays = self.pending.when_none(), self.pending.when_none()
        gone.cancel()
        self.failureResultOf(gone, CancelledError)
        self.pending.settle()
        self.successResultOf(stays)
        gone.cancel()
