"""The lag of the event loop: how late its timers are while something keeps it busy."""

from __future__ import annotations

from twisted.internet.interfaces import IDelayedCall, IReactorTime

from wsaas.counts import Histogram

#: Seconds between two measurements.
EVERY = 0.1
#: Upper bounds of the histogram, in seconds.
BOUNDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)


class Lag:
    """Measures how late scheduled calls are made.

    :param clock: schedules the calls
    """

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._due = 0.0
        self._call: IDelayedCall | None = None
        #: The lags measured so far.
        self.seconds = Histogram(BOUNDS)

    def start(self) -> None:
        """Start measuring."""
        if self._call is None:
            self._next()

    def stop(self) -> None:
        """Stop measuring."""
        call, self._call = self._call, None
        if call is not None:
            call.cancel()

    def _next(self) -> None:
        # Counted from now, not from when the last one was due: one delay must not be measured twice.
        self._due = self._clock.seconds() + EVERY
        self._call = self._clock.callLater(EVERY, self._measure)

    def _measure(self) -> None:
        self.seconds.add(self._clock.seconds() - self._due)
        self._next()
