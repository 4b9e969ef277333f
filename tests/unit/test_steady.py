"""A time that stands still while the process does."""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock, deferLater
from twisted.trial.unittest import SynchronousTestCase, TestCase

from tests.steady import BEAT, MAX_STEP, SteadyTime, keep_steady
from tests.waiting import reactor


class SteadyTimeTests(SynchronousTestCase):
    """By a clock of the test's."""

    def test_as_long_as_it_is_read(self) -> None:
        """It is the other time."""
        clock = Clock()
        steady = SteadyTime(clock.seconds)
        for number in range(1, 100):
            clock.advance(BEAT)
            self.assertAlmostEqual(steady.seconds(), number * BEAT)

    def test_while_it_is_not(self) -> None:
        """It goes on from where it stood, and a little."""
        clock = Clock()
        steady = SteadyTime(clock.seconds)
        for number in (1, 2, 3):
            clock.advance(1000)
            self.assertAlmostEqual(steady.seconds(), number * MAX_STEP)
        clock.advance(BEAT)
        self.assertAlmostEqual(steady.seconds(), 3 * MAX_STEP + BEAT)


class KeepSteadyTests(TestCase):
    """By the reactor's."""

    async def test_a_process_that_stood_still(self) -> None:
        """What is due in a tenth of a second is not due at once afterwards; and it comes."""
        usual, stood = reactor.seconds, 0.0
        self.patch(reactor, "seconds", lambda: usual() + stood)
        keep_steady(self)
        began = reactor.seconds()
        later: Deferred[None] = deferLater(reactor, 0.1)
        stood = 1000.0
        await deferLater(reactor, 0)
        self.assertFalse(later.called)
        await later
        self.assertTrue(0.1 <= reactor.seconds() - began < 1000)
