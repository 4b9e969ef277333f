"""What is said of pushes that were refused: a line with their numbers, at most once a minute."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from wsaas.pushes.answering import AnsweringResource

#: Seconds between two lines.
EVERY = 60.0
_REFUSED = 400


class RefusedPushes:
    """Tells how many pushes were refused, by status, as long as there are any.

    A back end that pushes to clients that have gone would fill the log with a line for each.

    :param clock: for the time between two lines
    :param pushes: count them
    """

    _log = Logger()

    def __init__(self, clock: IReactorTime, pushes: Sequence[AnsweringResource]) -> None:
        self._clock = clock
        self._pushes = pushes
        self._call: IDelayedCall | None = None
        #: Those that were told of.
        self._told: Counter[int] = Counter()

    def start(self) -> Deferred[None]:
        """Begin.

        :returns: has fired
        """
        if self._call is None:
            self._call = self._clock.callLater(EVERY, self._again)
        return succeed(None)

    def stop(self) -> Deferred[None]:
        """Tell of the last ones.

        :returns: has fired
        """
        call, self._call = self._call, None
        if call is not None:
            call.cancel()
            self._tell()
        return succeed(None)

    def _again(self) -> None:
        self._call = self._clock.callLater(EVERY, self._again)
        self._tell()

    def _tell(self) -> None:
        refused: Counter[int] = Counter()
        for resource in self._pushes:
            for answers in (*resource.answers.values(), resource.unheard):
                refused.update({status: count for status, count in answers.items() if status >= _REFUSED})
        new = refused - self._told
        if new:
            self._told = refused
            count = new.total()
            self._log.info(
                "{count} {pushes} refused: {statuses}",
                count=count,
                pushes="pushes were" if count > 1 else "push was",
                statuses=", ".join(f"{status} x{new[status]}" for status in sorted(new)),
            )
