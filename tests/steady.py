"""A clock for the reactor that stops while the process does, so that no client is late on a busy machine."""

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
    """A clock that goes on by :data:`MAX_STEP` at most between two readings; something must read it all the time.

    :param seconds: gives the real time, in seconds
    """

    def __init__(self, seconds: Callable[[], float]) -> None:
        self._seconds = seconds
        self._read_at = seconds()
        self._lost = 0.0

    def seconds(self) -> float:
        """:returns: the time in seconds, less the gaps between readings"""
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
