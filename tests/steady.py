"""A reactor's time that stands still while the process does, so that a busy machine makes no client late."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.task import LoopingCall
from twisted.trial.unittest import TestCase

from tests.waiting import reactor

#: Seconds between two beats, by which it is seen that the process runs.
BEAT = 0.01
#: Seconds by which time goes on from one reading to the next, at most.
MAX_STEP = 0.03


class SteadyTime:
    """Goes on by little from one reading to the next, however late that comes. Readings have to come all the time.

    :param seconds: the time that does not wait, in seconds
    """

    def __init__(self, seconds: Callable[[], float]) -> None:
        self._seconds = seconds
        self._read_at = seconds()
        self._lost = 0.0

    def seconds(self) -> float:
        """:returns: the time in seconds, without that in which nobody read it"""
        now = self._seconds()
        self._lost += max(0.0, now - self._read_at - MAX_STEP)
        self._read_at = now
        return now - self._lost


def keep_steady(case: TestCase) -> None:
    """Have the reactor's time stand still while the process does, until the end of a test.

    Time limits of some 100 ms can be tested then: client, gateway and API are in one process, and stand still together.
    """
    case.patch(reactor, "seconds", SteadyTime(reactor.seconds).seconds)
    beat = LoopingCall(lambda: None)
    beat.clock = reactor
    beat.start(BEAT)
    case.addCleanup(beat.stop)
