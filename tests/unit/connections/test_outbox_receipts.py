"""What a connection keeps for pushers who want to be sure."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from wsaas.connections.outbox import Receipts


class ReceiptsTests(SynchronousTestCase):
    """Both kinds."""

    def test_both(self) -> None:
        """By the connection's own secret and clock."""
        clock = Clock()
        receipts, others = Receipts(b"one", clock), Receipts(b"two", clock)
        confirmed = receipts.confirmations.wait(1)
        unconfirmed = others.confirmations.wait(1)
        ping = receipts.confirmations.ping()
        assert ping is not None
        others.confirmations.pong(ping)
        self.assertNoResult(unconfirmed)
        receipts.confirmations.pong(ping)
        self.assertTrue(self.successResultOf(confirmed))
        clock.advance(1)
        self.assertFalse(self.successResultOf(unconfirmed))
        self.assertIsNot(receipts.answers, others.answers)
