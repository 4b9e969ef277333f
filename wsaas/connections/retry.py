"""Retries of messages: how long to pause between attempts, and when to give up (protocol §2.3).

Those of a DELETE are in :mod:`wsaas.callbacks.disconnects`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC
from email.utils import parsedate_to_datetime

from twisted.internet.interfaces import IDelayedCall, IReactorTime

#: Seconds of the first pause at most; each one after it may be twice as long.
FIRST_PAUSE = 0.5
#: Seconds that no pause between two attempts of a message exceeds, unless the API asks for more.
LONGEST_PAUSE = 10.0

_SECONDS = re.compile(rb"[0-9]{1,9}")
#: More doublings change nothing but the size of the numbers.
_MAX_DOUBLINGS = 30


def asked_pause(value: bytes | None, now: float) -> float:
    """Read a ``Retry-After`` (RFC 9110 §10.2.3): seconds, or a date.

    :param now: Unix seconds
    :returns: seconds to wait; 0 if it is missing, unreadable or in the past
    """
    if value is None:
        return 0.0
    value = value.strip()
    if value.isdigit():
        # More digits mean a very long time, too.
        return float(value) if _SECONDS.fullmatch(value) else 1e9
    try:
        date = parsedate_to_datetime(value.decode("ascii"))
        if date.tzinfo is None:
            # The asctime() format has no time zone and means UTC (RFC 9110 §5.6.7).
            date = date.replace(tzinfo=UTC)
        return max(0.0, date.timestamp() - now)
    except (ValueError, TypeError, IndexError, OverflowError):
        return 0.0


class Backoff:
    """Pauses that grow exponentially, with full jitter, so that calls that failed together are not repeated together.

    :param random: gives a number from 0 to 1
    :param first: seconds of the first pause at most
    :param longest: seconds of any pause at most
    """

    def __init__(self, random: Callable[[], float], first: float = FIRST_PAUSE, longest: float = LONGEST_PAUSE) -> None:
        self._random = random
        self._first = first
        self._longest = longest

    def pause(self, tries: int) -> float:
        """:returns: seconds to pause

        :param tries: how many pauses there were before
        """
        return self._random() * float(min(self._longest, self._first * 2 ** min(tries, _MAX_DOUBLINGS)))


class Retries:
    """How messages of all connections are tried again.

    :param clock: for durations and timers
    :param now: tells the time of day, in Unix seconds, for dates in ``Retry-After``
    :param backoff: gives the pauses
    :param limit: seconds from the start of the first attempt within which another may start (``API_RETRY_FOR``)
    """

    def __init__(self, clock: IReactorTime, now: Callable[[], float], backoff: Backoff, limit: float) -> None:
        self.clock = clock
        self.now = now
        self.backoff = backoff
        self.limit = limit
        #: How many further attempts were started.
        self.begun = 0

    def begin(self, began: float) -> Retry:
        """Make the retry schedule of a message whose first attempt failed.

        :param began: when that attempt started, in seconds of the clock
        """
        return Retry(self, began + self.limit)


class Retry:
    """The further attempts of one message, made only when its first attempt has failed.

    :param retries: what all messages share
    :param deadline: the time after which no attempt may start, in seconds of the clock
    """

    __slots__ = ("_deadline", "_retries", "_timer", "_tries")

    def __init__(self, retries: Retries, deadline: float) -> None:
        self._retries = retries
        self._deadline = deadline
        self._tries = 0
        self._timer: IDelayedCall | None = None

    @property
    def is_waiting(self) -> bool:
        """Whether the next attempt waits for its pause to end."""
        return self._timer is not None

    def later(self, asked: bytes | None, attempt: Callable[[], None]) -> bool:
        """Schedule another attempt after a pause; the last one at the deadline.

        :param asked: the ``Retry-After`` of the answer, if it has one
        :param attempt: makes the attempt
        :returns: whether one is scheduled; not if the deadline has passed
        """
        retries, clock = self._retries, self._retries.clock
        left = self._deadline - clock.seconds()
        if left <= 0:
            return False
        # The jitter goes on top of the Retry-After, as the API asks every call for the same.
        pause = min(asked_pause(asked, retries.now()) + retries.backoff.pause(self._tries), left)
        self._tries += 1
        self._timer = clock.callLater(pause, self._begin, attempt)
        return True

    def _begin(self, attempt: Callable[[], None]) -> None:
        self._timer = None
        self._retries.begun += 1
        attempt()

    def stop(self) -> None:
        """Cancel the next attempt."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
