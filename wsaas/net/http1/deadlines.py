"""Connections that have some seconds for something, with one timer for all of them.

A timer of its own for each would cost more than most of what a connection does.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.interfaces import IDelayedCall, IReactorTime


class Deadlines:
    """Who has begun something, the eldest first.

    All have the same time. Beyond a bound, the eldest is evicted: over the limit, drop the connection that has been
    silent longest.

    :param clock: tells the time
    :param seconds: how long each has
    :param late: called with the one whose time is over; it has left then
    :param most: how many there may be; :data:`None`: any number
    :param evict: called with the eldest if there are more; it has left then
    """

    __slots__ = ("_clock", "_evict", "_late", "_most", "_since", "_timer", "seconds")

    def __init__(
        self,
        clock: IReactorTime,
        seconds: float,
        late: Callable[[Any], object],
        most: int | None = None,
        evict: Callable[[Any], object] = lambda _: None,
    ) -> None:
        self._clock = clock
        self.seconds = seconds
        self._late = late
        self._most = most
        self._evict = evict
        # A dict keeps the order in which they came, and lets anyone leave at the cost of one look.
        self._since: dict[object, float] = {}
        self._timer: IDelayedCall | None = None

    def __len__(self) -> int:
        """:returns: how many there are"""
        return len(self._since)

    def enter(self, who: object) -> None:
        """Begin, behind all others."""
        self._since[who] = self._clock.seconds()
        if self._timer is None:
            self._timer = self._clock.callLater(self.seconds, self._expire)
        if self._most is not None and len(self._since) > self._most:
            eldest = next(iter(self._since))
            del self._since[eldest]
            self._evict(eldest)

    def renew(self, who: object) -> None:
        """Begin again; within a second of the last time, at the same place, as to move costs more than that."""
        now = self._clock.seconds()
        since = self._since
        if now - since[who] >= 1.0:
            del since[who]
        since[who] = now

    def leave(self, who: object) -> None:
        """Finish; no effect if it has left."""
        self._since.pop(who, None)
        if not self._since and self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _expire(self) -> None:
        self._timer = None
        now = self._clock.seconds()
        late = []
        for who, since in self._since.items():
            if since + self.seconds > now:
                self._timer = self._clock.callLater(since + self.seconds - now, self._expire)
                break
            late.append(who)
        for who in late:
            # One of them may have ended because of another.
            if self._since.pop(who, None) is not None:
                self._late(who)
