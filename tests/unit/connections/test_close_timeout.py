"""The time that a client has to close (protocol §4)."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tests.fakes import MemoryPeer
from wsaas.connections.close_timeout import CLOSE_ROUNDS, CLOSE_TIMEOUT, CloseTimeout


class ClosingTests(SynchronousTestCase):
    """From the first Close frame on."""

    def setUp(self) -> None:
        """Begin to close."""
        self.clock = Clock()
        self.peer = MemoryPeer()
        self.close_timeout = CloseTimeout(self.peer, self.clock)

    def test_a_client_that_says_nothing_is_aborted(self) -> None:
        """After 5 s, not before."""
        self.clock.advance(CLOSE_TIMEOUT - 0.001)
        self.assertFalse(self.peer.aborted)
        self.clock.advance(0.001)
        self.assertTrue(self.peer.aborted)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_more_time_while_bytes_move(self) -> None:
        """But not for ever."""
        self.peer.buffered = 1000
        for _ in range(CLOSE_ROUNDS - 1):
            self.peer.sent += 10
            self.clock.advance(CLOSE_TIMEOUT)
            self.assertFalse(self.peer.aborted)
        self.peer.sent += 10
        self.clock.advance(CLOSE_TIMEOUT)
        self.assertTrue(self.peer.aborted)

    def test_each_time_they_have_to_move_anew(self) -> None:
        """What moved in the time before does not count."""
        self.peer.buffered = 1000
        self.peer.sent += 10
        self.clock.advance(CLOSE_TIMEOUT)
        self.clock.advance(CLOSE_TIMEOUT)
        self.assertTrue(self.peer.aborted)

    def test_no_more_time_once_all_is_sent(self) -> None:
        """Then only the client's answer is missing."""
        self.peer.sent += 1000
        self.clock.advance(CLOSE_TIMEOUT)
        self.assertTrue(self.peer.aborted)

    def test_it_ends_with_the_connection(self) -> None:
        """In time, and after the abort."""
        self.close_timeout.over()
        self.assertEqual(self.clock.getDelayedCalls(), [])
        late = CloseTimeout(self.peer, self.clock)
        self.clock.advance(CLOSE_TIMEOUT)
        late.over()
        self.assertEqual(self.clock.getDelayedCalls(), [])
