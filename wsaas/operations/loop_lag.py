"""How late the event loop is: everybody waits for whoever keeps it busy."""

from __future__ import annotations

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IDelayedCall, IReactorTime

from wsaas.counts import Histogram

#: Seconds between two looks.
EVERY = 0.1
#: Upper ends in seconds.
BOUNDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)


class Lag:
    """Measures by how much a call comes later than it was asked for.

    :param clock: is asked for calls
    :param every: seconds between two of them
    """

    def __init__(self, clock: IReactorTime, every: float = EVERY) -> None:
        self._clock = clock
        self._every = every
        self._due = 0.0
        self._call: IDelayedCall | None = None
        #: What was found so far.
        self.seconds = Histogram(BOUNDS)

    def start(self) -> Deferred[None]:
        """Begin to look.

        :returns: has fired
        """
        if self._call is None:
            self._next()
        return succeed(None)

    def stop(self) -> Deferred[None]:
        """Look no longer.

        :returns: has fired
        """
        call, self._call = self._call, None
        if call is not None:
            call.cancel()
        return succeed(None)

    def _next(self) -> None:
        # From now on, not from when the last one was due: a loop that was late once must not seem late twice.
        self._due = self._clock.seconds() + self._every
        self._call = self._clock.callLater(self._every, self._look)

    def _look(self) -> None:
        # Never less than nothing, whatever the machine does to its clock.
        self.seconds.add(max(0.0, self._clock.seconds() - self._due))
        self._next()
