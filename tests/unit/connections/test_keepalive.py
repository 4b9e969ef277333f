"""``WS_TIMEOUT`` (protocol §4): silence, pings, and bytes that do not move."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from wsaas.connections.keepalive import MAX_SILENCE, Keepalive
from wsaas.connections.messages import Close, ClosedBy, Message, SharedMessage


class QuietPeer:
    """A client that says nothing: counts its pings, and has buffers that a test sets."""

    def __init__(self) -> None:
        self.buffered = 0
        self.sent = 0
        #: How many pings it got.
        self.pings = 0

    def ping(self, payload: bytes = b"") -> None:
        self.pings += 1

    @property
    def crowded(self) -> bool:
        raise AssertionError("what may wait is the connection's decision")

    full = crowded

    def send_shared(self, message: SharedMessage, room: int) -> bool | None:
        raise AssertionError("looking after a client sends nothing but pings")

    def send(self, message: Message) -> bool:
        raise AssertionError("looking after a client sends nothing but pings")

    def close(self, close: Close) -> None:
        raise AssertionError("what to do with a dead client is the connection's decision")

    def abort(self) -> None:
        raise AssertionError("what to do with a dead client is the connection's decision")

    def pause(self) -> None:
        raise AssertionError("looking after a client does not change what is read")

    resume = pause


class PulseTests(SynchronousTestCase):
    """The signs of life of one client."""

    def setUp(self) -> None:
        self.peer = QuietPeer()
        self.keepalive = Keepalive(1000.0)

    def check(self, at: float, timeout: float = 30.0, *, listening: bool = True) -> ClosedBy | None:
        """:returns: what is wrong, some seconds after the start"""
        found = self.keepalive.check(self.peer, 1000.0 + at, timeout, listening=listening)
        return found if isinstance(found, ClosedBy) else None

    def test_a_ping_goes_out_after_half_of_the_timeout(self) -> None:
        """Once in each silence of that length, not at each look."""
        for at in (1, 14.9):
            self.assertIsNone(self.check(at))
        self.assertEqual(self.peer.pings, 0)
        for at in (15, 16, 29.9):
            self.assertIsNone(self.check(at))
        self.assertEqual(self.peer.pings, 1)

    def test_or_after_25_seconds_if_that_is_less(self) -> None:
        """Below the idle limits of common proxies."""
        self.assertEqual(MAX_SILENCE, 25)
        self.check(24.9, timeout=120)
        self.assertEqual(self.peer.pings, 0)
        self.check(25, timeout=120)
        self.assertEqual(self.peer.pings, 1)

    def test_a_client_of_which_nothing_came_is_dead(self) -> None:
        """After the whole timeout, not even the pong having come."""
        self.check(15)
        self.assertIsNone(self.check(29.9))
        self.assertEqual(self.check(30), ClosedBy.TIMEOUT)

    def test_anything_that_comes_is_a_sign_of_life(self) -> None:
        """A pong or a message starts the silence, and the pings, again."""
        self.check(15)
        self.keepalive.heard_at = 1016.0
        self.assertIsNone(self.check(45.9))
        self.assertEqual(self.peer.pings, 2)
        self.assertEqual(self.keepalive.heard_at, 1016.0)
        self.assertEqual(self.check(46), ClosedBy.TIMEOUT)

    def test_zero_is_never(self) -> None:
        """No check; pings every 25 s, answered or not."""
        for at in range(101):
            self.assertIsNone(self.check(at, timeout=0))
        self.assertEqual(self.peer.pings, 4)
        self.peer.buffered = 1
        self.assertIsNone(self.check(1e6, timeout=0))

    def test_pings_do_not_pile_up(self) -> None:
        """A client that does not read gets no second ping while the first may be what it does not read."""
        self.check(25, timeout=0)
        self.peer.buffered = 2
        for at in range(26, 1000):
            self.check(at, timeout=0)
        self.assertEqual(self.peer.pings, 1)
        self.peer.buffered = 0
        for at in range(1000, 1025):
            self.check(at, timeout=0)
        self.assertEqual(self.peer.pings, 2)

    def test_time_in_which_the_gateway_did_not_read_does_not_count(self) -> None:
        """Neither towards a ping nor towards the end; afterwards the client has the whole time again."""
        self.assertIsNone(self.check(100, listening=False))
        self.assertEqual(self.peer.pings, 0)
        self.keepalive.listening(1100.0)
        self.assertIsNone(self.check(114.9))
        self.assertEqual(self.peer.pings, 0)
        self.assertIsNone(self.check(129.9))
        self.assertEqual(self.peer.pings, 1)
        self.assertEqual(self.check(130), ClosedBy.TIMEOUT)

    def test_reading_again_is_not_hearing(self) -> None:
        """``last_seen_at`` is when bytes came."""
        self.keepalive.listening(1100.0)
        self.assertEqual(self.keepalive.heard_at, 1000.0)

    def test_buffered_bytes_that_do_not_move(self) -> None:
        """For the whole timeout: slow, though it still talks, and though the gateway does not read it."""
        self.peer.buffered = 500
        self.peer.sent = 100
        self.keepalive.about_to_send(1010.0)
        self.assertIsNone(self.check(11))
        self.keepalive.heard_at = 1040.0
        self.assertIsNone(self.check(40.9))
        self.assertEqual(self.check(41), ClosedBy.SLOW)
        self.assertEqual(self.check(41, listening=False), ClosedBy.SLOW)

    def test_any_movement_is_enough(self) -> None:
        """However little; the client reads."""
        self.peer.buffered = 500
        for at in range(0, 300, 20):
            self.peer.sent += 1
            self.keepalive.heard_at = 1000.0 + at
            self.assertIsNone(self.check(at), at)

    def test_an_empty_buffer_is_not_stuck(self) -> None:
        """Nothing sent for hours, then something: its time starts there."""
        for at in range(0, 3600, 20):
            self.keepalive.heard_at = 1000.0 + at
            self.assertIsNone(self.check(at))
        self.keepalive.heard_at = 4600.0
        self.keepalive.about_to_send(4600.0)
        self.peer.buffered = 1
        self.assertIsNone(self.check(3629.9))
        self.keepalive.heard_at = 4630.0
        self.assertEqual(self.check(3630), ClosedBy.SLOW)

    def test_what_was_buffered_first_counts_from_when_it_was(self) -> None:
        """Not from the last look before."""
        self.check(1)
        self.keepalive.about_to_send(1020.0)
        self.peer.buffered = 1
        self.keepalive.heard_at = 1049.0
        self.assertIsNone(self.check(49.9))
        self.assertEqual(self.check(50), ClosedBy.SLOW)


class NextLookTests(SynchronousTestCase):
    """When a look says that the next one is due."""

    def setUp(self) -> None:
        self.peer = QuietPeer()
        self.keepalive = Keepalive(1000.0)

    def check(self, at: float, timeout: float = 30.0, *, listening: bool = True, working_since: float = 0.0) -> float:
        """:returns: the next time, in seconds after the start, as the look itself is"""
        found = self.keepalive.check(self.peer, 1000.0 + at, timeout, listening=listening, working_since=working_since)
        assert isinstance(found, float), found
        return found - 1000

    def test_ping_and_end(self) -> None:
        """First for the ping, then for the end."""
        self.assertEqual(self.check(0), 15)
        self.assertEqual(self.check(14.9), 15)
        self.assertEqual(self.check(15.5), 30)
        self.assertEqual(self.peer.pings, 1)

    def test_heard_since(self) -> None:
        """The silence starts again."""
        self.check(15)
        self.keepalive.heard_at = 1015.1
        self.assertAlmostEqual(self.check(30), 30.1)
        self.assertAlmostEqual(self.check(30.2), 45.1)
        self.assertEqual(self.peer.pings, 2)

    def test_long_time_limits(self) -> None:
        """There are several pings in one silence."""
        self.assertEqual([self.check(at, 120) for at in (0, 25, 50, 75)], [25, 50, 75, 100])
        self.assertEqual(self.check(100, 120), 120)
        self.assertEqual(self.peer.pings, 4)

    def test_no_time_limit(self) -> None:
        """A ping every 25 seconds."""
        self.assertEqual([self.check(at, 0) for at in (0, 25, 50)], [25, 50, 75])

    def test_not_read(self) -> None:
        """Its silence begins later than now."""
        self.assertEqual(self.check(100, listening=False), 115)
        self.assertEqual(self.peer.pings, 0)

    def test_something_is_buffered(self) -> None:
        """Only frequent checks see whether bytes move; they do not miss the end of the silence either."""
        self.peer.buffered = 1
        self.assertEqual(self.check(0), 1)
        self.assertAlmostEqual(self.check(0, 2), 0.2)
        self.assertEqual(self.check(0, 0), 1)
        self.assertEqual(self.check(14.5), 15)
        self.keepalive.heard_at = 1014.6
        self.assertAlmostEqual(self.check(14.7, listening=False), 15.7)

    def test_a_process_that_stood_still(self) -> None:
        """While the gateway itself stood still, no client was silent and no bytes were stuck."""
        self.assertEqual(self.check(100, working_since=1100.0), 115)
        self.peer.buffered = 1
        self.assertEqual(self.check(200, working_since=1200.0), 201)
        self.assertEqual(self.peer.pings, 0)
