"""Whether the API is known to be down."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.logger import globalLogPublisher
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.http_headers import Headers

from tests.properties import moderately
from wsaas.callbacks.breaker import LONGEST_INTERVAL, MIN_FAILURES, Breaker
from wsaas.errors import CallbackFailed, GatewayFault, NoAnswer, NotSent, NotVerified, TimedOut, Unusable
from wsaas.net.http1.messages import Answer


def answer(status: int = 200) -> Answer:
    """:returns: a complete answer"""
    return Answer(status, Headers(), b"")


class BreakerTests(SynchronousTestCase):
    """Open, closed, and in between."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(1000)
        self.drawn = 0.5
        self.breaker = Breaker(self.clock, lambda: self.drawn)
        self.events: list[Any] = []
        observer: Any = self.events.append
        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)

    def report(self, kind: type[CallbackFailed] = NotSent, tag: str = "a", times: int = 1, each: float = 0.0) -> None:
        """Attempts fail, each after some seconds."""
        for _ in range(times):
            self.clock.advance(each)
            self.breaker.report(Failure(kind("why")), tag)

    def open(self) -> None:
        """Have it open."""
        self.report(times=MIN_FAILURES, each=0.5)
        self.assertTrue(self.breaker.is_open)

    def test_several_failures_open_it(self) -> None:
        """In a row, over a second at least."""
        self.report(times=MIN_FAILURES - 1, each=1)
        self.assertFalse(self.breaker.is_open)
        self.assertTrue(self.breaker.admits())
        self.report()
        self.assertTrue(self.breaker.is_open)
        self.assertFalse(self.breaker.admits())
        self.assertIn("down", self.events[-1]["log_format"])

    def test_a_certificate_that_is_not_accepted(self) -> None:
        """Is said once, as an error, and again after the API was reached in between; not for each call."""
        for _ in range(2):
            self.report(NotVerified, times=3)
            self.report()
            self.report(NotVerified, times=3)
            (said,) = [event for event in self.events if event["log_level"].name == "error"]
            self.assertEqual(said["reason"], "why")
            self.breaker.report(answer(500), "b")
            self.events.clear()

    def test_a_blip_does_not(self) -> None:
        """However many fail at once, as when the API starts again."""
        self.report(times=1000)
        self.assertFalse(self.breaker.is_open)
        self.report(each=0.99)
        self.assertFalse(self.breaker.is_open)
        self.report(each=0.01)
        self.assertTrue(self.breaker.is_open)

    def test_an_answer_in_between_begins_the_count_again(self) -> None:
        """Whatever its status: who answers is not down."""
        for status in (200, 404, 500, 503):
            self.report(times=MIN_FAILURES - 1, each=1)
            self.breaker.report(answer(status), "b")
            self.assertEqual(self.breaker.failures, 0)
        self.report(times=MIN_FAILURES - 1, each=1)
        self.assertFalse(self.breaker.is_open)

    def test_one_call_that_the_api_chokes_on_does_not_open_it(self) -> None:
        """However often it is repeated; nor two of them."""
        for kind in (NoAnswer, TimedOut):
            self.report(kind, "a", 50, 30.0)
            self.report(kind, "b", 50, 30.0)
            self.assertFalse(self.breaker.is_open)
        self.report(TimedOut, "c")
        self.assertTrue(self.breaker.is_open)

    def test_no_connection_says_enough(self) -> None:
        """It is the same for everybody."""
        self.report(TimedOut, "a", 10, 30.0)
        self.report(NotSent, "a")
        self.assertTrue(self.breaker.is_open)

    def test_what_speaks_badly_is_not_down(self) -> None:
        """A malformed or oversized answer."""
        self.open()
        self.report(Unusable)
        self.assertFalse(self.breaker.is_open)

    def test_a_fault_of_ours_says_nothing(self) -> None:
        """Either way."""
        self.report(GatewayFault, times=100, each=1)
        self.assertEqual(self.breaker.failures, 0)
        self.open()
        self.report(GatewayFault)
        self.assertTrue(self.breaker.is_open)

    def test_any_complete_answer_closes_it(self) -> None:
        """At once."""
        for status in (200, 401, 503):
            self.open()
            self.breaker.report(answer(status), "z")
            self.assertFalse(self.breaker.is_open)
            self.assertTrue(self.breaker.admits())
            self.assertIn("answers again", self.events[-1]["log_format"])

    def test_probes_are_let_through_one_at_a_time_less_and_less_often(self) -> None:
        """Half open: intervals double up to a limit."""
        self.open()
        self.drawn = 1.0
        self.clock.advance(1)
        self.assertTrue(self.breaker.admits())
        for interval in (2, 4, 8, LONGEST_INTERVAL, LONGEST_INTERVAL):
            self.assertFalse(self.breaker.admits())
            self.clock.advance(interval - 0.01)
            self.assertFalse(self.breaker.admits())
            self.report()
            self.clock.advance(0.01)
            self.assertTrue(self.breaker.admits())

    def test_jitter(self) -> None:
        """From half of an interval to all of it."""
        for drawn, seconds in ((0.0, 0.5), (1.0, 1.0)):
            self.setUp()
            self.drawn = drawn
            self.open()
            self.clock.advance(seconds - 0.01)
            self.assertFalse(self.breaker.admits())
            self.clock.advance(0.01)
            self.assertTrue(self.breaker.admits())

    def test_what_is_known_gets_old(self) -> None:
        """After a long silence somebody finds out, instead of being refused for what was long ago."""
        self.open()
        self.clock.advance(3600)
        self.assertTrue(self.breaker.admits())

    def test_retry_after(self) -> None:
        """Whole seconds, one at least."""
        self.open()
        self.assertEqual(self.breaker.retry_after, 1)
        self.drawn = 1.0
        for _ in range(10):
            self.clock.advance(60)
            self.breaker.admits()
        self.assertEqual(self.breaker.retry_after, LONGEST_INTERVAL)
        self.clock.advance(100)
        self.assertEqual(self.breaker.retry_after, 1)

    def test_renew(self) -> None:
        """The next who asks is a probe, the one after it is not; a certificate that is not accepted is said again."""
        self.breaker.renew()
        self.assertTrue(self.breaker.admits())
        self.report(NotVerified)
        self.open()
        self.drawn = 1.0
        for _ in range(10):
            self.clock.advance(60)
            self.breaker.admits()
        self.assertFalse(self.breaker.admits())
        self.breaker.renew()
        self.assertEqual(self.breaker.retry_after, 1)
        self.assertTrue(self.breaker.admits())
        self.assertFalse(self.breaker.admits())
        self.report(NotVerified)
        self.assertEqual(len([event for event in self.events if event["log_level"].name == "error"]), 2)

    def test_it_opens_again(self) -> None:
        """By as many failures, and with short intervals."""
        self.open()
        self.clock.advance(100)
        self.breaker.admits()
        self.breaker.report(answer(), "a")
        self.report()
        self.assertTrue(self.breaker.admits())
        self.open()
        self.assertEqual(self.breaker.retry_after, 1)

    @moderately
    @given(
        st.lists(
            st.tuples(
                st.sampled_from([NotSent, NoAnswer, TimedOut, Unusable, GatewayFault, None]),
                st.sampled_from("abcd"),
                st.sampled_from([0.0, 0.3, 2.0, 20.0]),
            )
        )
    )
    def test_any_course_of_events(self, events: list[tuple[type[CallbackFailed] | None, str, float]]) -> None:
        """Open only after failures in a row; never is everybody refused for longer than the longest interval."""
        self.setUp()
        failures, refused_since = 0, None
        for kind, tag, seconds in events:
            self.clock.advance(seconds)
            now = self.clock.seconds()
            if self.breaker.admits():
                refused_since = None
            elif refused_since is None:
                refused_since = now
            else:
                self.assertLess(now - refused_since, LONGEST_INTERVAL)
            self.breaker.report(answer() if kind is None else Failure(kind("why")), tag)
            failures = 0 if kind in (None, Unusable) else failures + (kind is not GatewayFault)
            self.assertEqual(self.breaker.failures, failures)
            if failures < MIN_FAILURES:
                self.assertFalse(self.breaker.is_open)
