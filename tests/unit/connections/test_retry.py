"""Trying again: pauses, what the API asks for, and the end of it (protocol §2.3)."""

from __future__ import annotations

from datetime import UTC, datetime
from email.utils import format_datetime

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tests.fakes import TimeOfDay
from tests.properties import moderately
from wsaas.connections.retry import FIRST_PAUSE, LONGEST_PAUSE, Backoff, Retries, asked_pause

UPTIME = 5000.0
NOW = 784_111_777.0  # Sun, 06 Nov 1994 08:49:37 GMT, the example of RFC 9110


class AskedPauseTests(SynchronousTestCase):
    """``Retry-After`` (RFC 9110 §10.2.3)."""

    def test_seconds(self) -> None:
        """Digits."""
        for value, seconds in ((b"0", 0), (b"7", 7), (b" 120 ", 120), (b"007", 7)):
            self.assertEqual(asked_pause(value, NOW), seconds)

    def test_more_seconds_than_anybody_waits(self) -> None:
        """A long time, not an error."""
        self.assertGreater(asked_pause(b"9" * 5000, NOW), 1e8)

    def test_dates(self) -> None:
        """The three forms of RFC 9110 §5.6.7."""
        for value in (
            b"Sun, 06 Nov 1994 08:49:37 GMT",
            b"Sunday, 06-Nov-94 08:49:37 GMT",
            b"Sun Nov  6 08:49:37 1994",
        ):
            self.assertEqual(asked_pause(value, NOW - 30), 30, value)

    def test_a_date_that_is_over(self) -> None:
        """Nothing to wait for."""
        self.assertEqual(asked_pause(b"Sun, 06 Nov 1994 08:49:37 GMT", NOW + 1), 0)

    def test_nothing_that_can_be_read(self) -> None:
        """As if it were not there."""
        for value in (
            None,
            b"",
            b"soon",
            b"-1",
            b"1.5",
            b"\xff",
            "٣".encode(),
            b"Sun, 99 Nov 1994 08:49:37 GMT",
            b"1 2",
        ):
            self.assertEqual(asked_pause(value, NOW), 0, value)

    @moderately
    @given(st.integers(1, 3_000_000_000))
    def test_any_date(self, seconds: int) -> None:
        """To the second."""
        date = datetime.fromtimestamp(NOW + seconds, UTC)
        self.assertEqual(asked_pause(format_datetime(date, usegmt=True).encode(), NOW), seconds)

    @moderately
    @given(st.binary(max_size=40) | st.text("0123456789 :,-SunNovGMT+", max_size=40).map(str.encode))
    def test_any_bytes(self, value: bytes) -> None:
        """A number that is none below 0."""
        self.assertGreaterEqual(asked_pause(value, NOW), 0)


class BackoffTests(SynchronousTestCase):
    """Exponential, with full jitter."""

    def test_the_most_doubles_up_to_a_limit(self) -> None:
        """However often."""
        backoff = Backoff(lambda: 1.0, 1.0, 10.0)
        self.assertEqual([backoff.pause(tries) for tries in (0, 1, 2, 3, 4, 5, 5000)], [1, 2, 4, 8, 10, 10, 10])

    def test_full_jitter(self) -> None:
        """From nothing to the most."""
        for drawn in (0.0, 0.25, 1.0):
            self.assertEqual(Backoff(lambda drawn=drawn: drawn, 2.0, 10.0).pause(1), 4 * drawn)  # type: ignore[misc]


class RetryTests(SynchronousTestCase):
    """The further attempts of one message."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(UPTIME)
        self.now = TimeOfDay(self.clock, NOW)
        self.drawn = 0.5
        self.attempts: list[float] = []

    def begin(self, limit: float, began: float = UPTIME) -> None:
        """A first attempt failed."""
        self.retry = Retries(self.clock, self.now, Backoff(lambda: self.drawn), limit).begin(began)

    def later(self, asked: bytes | None = None) -> bool:
        """Have another one made."""
        return self.retry.later(asked, lambda: self.attempts.append(self.clock.seconds() - UPTIME))

    def test_pauses_grow(self) -> None:
        """And no attempt begins before its pause is over."""
        self.begin(1000)
        at = 0.0
        for tries in range(10):
            self.assertTrue(self.later())
            self.assertTrue(self.retry.is_waiting)
            pause = min(FIRST_PAUSE * 2**tries, LONGEST_PAUSE) / 2
            self.clock.advance(pause - 0.001)
            self.assertEqual(len(self.attempts), tries)
            self.clock.advance(0.001)
            at += pause
            self.assertFalse(self.retry.is_waiting)
            self.assertAlmostEqual(self.attempts[-1], at, 5)

    def test_the_api_may_ask_for_more(self) -> None:
        """The jitter goes on top: it asks all for the same."""
        self.begin(1000)
        self.later(b"20")
        self.clock.advance(20 + FIRST_PAUSE / 2)
        self.assertEqual(len(self.attempts), 1)
        self.assertAlmostEqual(self.attempts[0], 20 + FIRST_PAUSE / 2, 5)

    def test_no_attempt_begins_after_the_end(self) -> None:
        """The last one begins when the time is just over, whatever the API asks for."""
        self.begin(60)
        self.assertTrue(self.later(b"3600"))
        self.clock.advance(60)
        self.assertEqual(self.attempts, [60.0])
        self.assertFalse(self.later())
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_the_time_of_day_is_set(self) -> None:
        """A date is counted from what it is now; the end of all attempts stays where it was."""
        for set_by, pause in ((-20, 20), (90_000, 0)):
            self.setUp()
            self.drawn = 0.0
            self.begin(60)
            self.now.set_by(set_by)
            self.assertTrue(self.later(b"Sun, 06 Nov 1994 08:49:37 GMT"))
            self.clock.advance(pause)
            self.assertTrue(self.later(b"3600"))
            self.clock.advance(60 - pause)
            self.assertEqual(self.attempts, [pause, 60])

    def test_time_counts_from_the_first_attempt(self) -> None:
        """Which may have taken all of it."""
        self.begin(60, UPTIME - 60)
        self.assertFalse(self.later())
        self.begin(60, UPTIME - 59)
        self.assertTrue(self.later(b"9"))
        self.clock.advance(1)
        self.assertEqual(self.attempts, [1.0])

    def test_0_is_one_attempt(self) -> None:
        """However quickly that failed."""
        self.begin(0)
        self.assertFalse(self.later())

    def test_stop(self) -> None:
        """No further attempt; no timer; more than once."""
        self.begin(60)
        self.retry.stop()
        self.later()
        self.retry.stop()
        self.retry.stop()
        self.assertFalse(self.retry.is_waiting)
        self.clock.advance(100)
        self.assertEqual((self.attempts, self.clock.getDelayedCalls()), ([], []))
