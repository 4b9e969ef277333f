"""What all connections of a process share: room, counters, and who is due for a look."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from twisted.internet.defer import Deferred, succeed

from wsaas.connections.addresses import Addresses
from wsaas.connections.messages import End
from wsaas.connections.timer_wheel import WIDTH, TimerWheel
from wsaas.limits import Budgets

if TYPE_CHECKING:
    from wsaas.connections.connection import Connection

#: Close codes that have a name (RFC 6455 §7.4.1 and IANA's registry).
_CODES = frozenset({*range(1000, 1004), *range(1005, 1016)})


@dataclass(slots=True)
class Counts:
    """All connections of a process together: how many there are now, and what they did since the start."""

    #: Now: the client has its 101, and no Close was asked for or received.
    open: int = 0
    #: Now: not read, so that TCP slows the client down.
    paused: int = 0
    messages_in: int = 0
    messages_out: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
    #: Messages that the API refused for good.
    rejected: int = 0
    #: Messages that the API may not have got.
    undelivered: int = 0
    #: Ends, by close code and cause; see :meth:`ended`.
    ends: defaultdict[tuple[str, str], int] = field(default_factory=lambda: defaultdict(int))

    def ended(self, end: End, undelivered: int) -> None:
        """A connection is over.

        :param undelivered: how many of its messages were dropped
        """
        # 3000 to 4999 are free for all (RFC 6455 §7.4.2): nobody is to make up thousands of time series.
        code = str(end.close.code) if end.close.code in _CODES else "other"
        self.ends[code, end.by.value] += 1
        self.undelivered += undelivered


class Pending:
    """How many DELETEs the API still has to get: one for each connection that was begun and is not settled."""

    __slots__ = ("_waiting", "number")

    def __init__(self) -> None:
        self.number = 0
        self._waiting: list[Deferred[None]] = []

    def add(self) -> None:
        """One more has to be sent."""
        self.number += 1

    def settle(self) -> None:
        """One was taken by the API, or dropped."""
        self.number -= 1
        if not self.number:
            waiting, self._waiting = self._waiting, []
            for deferred in waiting:
                deferred.callback(None)

    def when_none(self) -> Deferred[None]:
        """:returns: fires once no DELETE is pending; may be cancelled"""
        if not self.number:
            return succeed(None)
        deferred: Deferred[None] = Deferred(self._forget)
        self._waiting.append(deferred)
        return deferred

    def _forget(self, deferred: Deferred[None]) -> None:
        if deferred in self._waiting:
            self._waiting.remove(deferred)


class Totals:
    """What all connections of a process share.

    :param width: seconds of time that share a bucket of :attr:`due`
    :param budgets: what is kept in memory for all of them together
    :param addresses: how many of them each address has
    """

    __slots__ = ("addresses", "asking", "budgets", "counts", "due", "pending")

    def __init__(
        self, width: float = WIDTH, budgets: Budgets | None = None, addresses: Addresses | None = None
    ) -> None:
        #: When each connection is due for its next keepalive check.
        self.due: TimerWheel[Connection] = TimerWheel(width)
        self.budgets = budgets or Budgets()
        self.addresses = Addresses() if addresses is None else addresses
        #: How many handshakes wait for the API's answer.
        self.asking = 0
        #: DELETEs that the API still has to get.
        self.pending = Pending()
        #: What all of them did.
        self.counts = Counts()
