"""Trying again: how long to pause, and for how long at all (protocol §2.3)."""

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
#: More doublings would only make large numbers.
_MAX_DOUBLINGS = 30


def asked_pause(value: bytes | None, now: float) -> float:
    """Read a ``Retry-After`` (RFC 9110 §10.2.3): seconds, or a date.

    :param now: Unix seconds
    :returns: seconds to wait; 0 if there is none that can be read, or its time is over
    """
    if value is None:
        return 0.0
    value = value.strip()
    if value.isdigit():
        # More digits than that are a very long time as well.
        return float(value) if _SECONDS.fullmatch(value) else 1e9
    try:
        date = parsedate_to_datetime(value.decode("ascii"))
        if date.tzinfo is None:
            # asctime() names none and means UTC (RFC 9110 §5.6.7).
            date = date.replace(tzinfo=UTC)
        return max(0.0, date.timestamp() - now)
    except (ValueError, TypeError, IndexError, OverflowError):
        return 0.0


class Backoff:
    """Pauses that grow exponentially, with full jitter: those who failed together do not come back together.

    :param random: a number from 0 to 1
    :param first: seconds of the first pause at most
    :param longest: seconds of any pause at most
    """

    def __init__(self, random: Callable[[], float], first: float = FIRST_PAUSE, longest: float = LONGEST_PAUSE) -> None:
        self._random = random
        self._first = first
        self._longest = longest

    def pause(self, tries: int) -> float:
        """:returns: seconds to wait after so many attempts before the last one"""
        return self._random() * float(min(self._longest, self._first * 2 ** min(tries, _MAX_DOUBLINGS)))


class Retries:
    """How messages are tried again, for all connections.

    :param clock: for times and timers
    :param backoff: how long to pause
    :param limit: seconds from the beginning of the first attempt in which another may begin: ``API_RETRY_FOR``
    """

    def __init__(self, clock: IReactorTime, backoff: Backoff, limit: float) -> None:
        self.clock = clock
        self.backoff = backoff
        self.limit = limit
        #: How many further attempts were begun.
        self.begun = 0

    def begin(self, began: float) -> Retry:
        """Have a message tried again whose first attempt failed.

        :param began: when that began, in seconds of the clock
        """
        return Retry(self, began + self.limit)


class Retry:
    """The further attempts of one message. Made once its first attempt has failed, so that others cost nothing.

    :param retries: how
    :param deadline: the time after which no attempt may begin
    """

    __slots__ = ("_deadline", "_retries", "_timer", "_tries")

    def __init__(self, retries: Retries, deadline: float) -> None:
        self._retries = retries
        self._deadline = deadline
        self._tries = 0
        self._timer: IDelayedCall | None = None

    @property
    def is_waiting(self) -> bool:
        """Whether no attempt is being made now."""
        return self._timer is not None

    def later(self, asked: bytes | None, attempt: Callable[[], None]) -> bool:
        """Make another attempt after a pause, the last one when the time is just over.

        :param asked: the ``Retry-After`` of the answer, if it has one
        :param attempt: makes it
        :returns: whether there is time for one; else nothing happens
        """
        clock = self._retries.clock
        now = clock.seconds()
        left = self._deadline - now
        if left <= 0:
            return False
        # The jitter goes on top of what the API asks for: it asks everybody for the same.
        pause = min(asked_pause(asked, now) + self._retries.backoff.pause(self._tries), left)
        self._tries += 1
        self._timer = clock.callLater(pause, self._begin, attempt)
        return True

    def _begin(self, attempt: Callable[[], None]) -> None:
        self._timer = None
        self._retries.begun += 1
        attempt()

    def stop(self) -> None:
        """Make no further attempt."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
