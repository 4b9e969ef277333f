"""Long work on the reactor's thread, in parts between which others have their turn."""

from __future__ import annotations

from collections import deque

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IDelayedCall, IReactorTime

#: How much is done in a turn of the reactor, by all together: some two milliseconds.
PER_TURN = 200


class Pace:
    """Has all who share it do no more in a turn than one of them alone might.

    :param clock: gives the turns
    """

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._spent = 0
        self._waiting: deque[Deferred[None]] = deque()
        self._next: IDelayedCall | None = None

    def spend(self, work: int) -> Deferred[None]:
        """Take part in the turn.

        :param work: how much is about to be done; what takes 10 µs counts 1
        :returns: fires when it may be done
        """
        if self._next is None:
            # So that the count begins anew with each turn.
            self._next = self._clock.callLater(0, self._turn)
        elif self._spent >= PER_TURN or self._waiting:
            waiting: Deferred[None] = Deferred()
            self._waiting.append(waiting)
            return waiting.addCallback(lambda _: self._count(work))
        self._count(work)
        return succeed(None)

    def _count(self, work: int) -> None:
        self._spent += work

    def _turn(self) -> None:
        self._spent = 0
        self._next = self._clock.callLater(0, self._turn) if self._waiting else None
        for _ in range(len(self._waiting)):
            if self._spent >= PER_TURN:
                return
            # Whoever goes on may wait again, behind the others.
            self._waiting.popleft().callback(None)
