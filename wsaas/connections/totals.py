"""What all connections of a process share: budgets, counters, pending DELETEs, and the timer wheel."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IReactorTime

from wsaas.connections.addresses import Addresses
from wsaas.connections.interfaces import NO_JOURNAL
from wsaas.connections.log import ConnectionLog
from wsaas.connections.messages import End
from wsaas.connections.timer_wheel import WIDTH, TimerWheel
from wsaas.counts import OPEN_SECONDS, Histogram
from wsaas.limits import Budgets

if TYPE_CHECKING:
    from wsaas.connections.connection import Connection
    from wsaas.connections.interfaces import Groups, Journal
    from wsaas.connections.registry import Registry
    from wsaas.connections.settings import ConnectionSettings

#: Close codes that have a name (RFC 6455 §7.4.1 and IANA's registry).
_CODES = frozenset({*range(1000, 1004), *range(1005, 1016)})


@dataclass(slots=True)
class Counts:
    """Counters over all connections of a process: how many there are now, and what they did since the start."""

    #: Now: the client has its 101, and no Close was asked for or received.
    open: int = 0
    #: Now: not read, so that TCP slows the client down (back-pressure).
    paused: int = 0
    messages_in: int = 0
    messages_out: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
    #: Messages that the API refused for good (a status that is not tried again).
    rejected: int = 0
    #: Messages that the API may not have got.
    undelivered: int = 0
    #: Ends, by close code and cause; see :meth:`ended`.
    ends: defaultdict[tuple[str, str], int] = field(default_factory=lambda: defaultdict(int))
    #: For how long they were open that are over.
    seconds: Histogram = field(default_factory=lambda: Histogram(OPEN_SECONDS))

    def ended(self, end: End, undelivered: int) -> None:
        """A connection is over.

        :param undelivered: how many of its messages were dropped
        """
        # Clients may choose any code from 3000 to 4999 (RFC 6455 §7.4.2), and must not create thousands of time series.
        code = str(end.close.code) if end.close.code in _CODES else "other"
        self.ends[code, end.by.value] += 1
        self.undelivered += undelivered


class Pending:
    """Counts the DELETEs that the API still has to get: one for each connection from before its POST on."""

    __slots__ = ("_waiting", "number")

    def __init__(self) -> None:
        self.number = 0
        self._waiting: list[Deferred[None]] = []

    def add(self) -> None:
        """Count one more."""
        self.number += 1

    def settle(self) -> None:
        """Count one less: the API took it, or it was given up, or was never needed."""
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

    :param width: seconds that one bucket of :attr:`due` covers
    :param budgets: bounds on memory for all of them together
    :param addresses: counts connections by client address
    """

    __slots__ = ("addresses", "asking", "budgets", "counts", "due", "pending")

    def __init__(
        self, width: float = WIDTH, budgets: Budgets | None = None, addresses: Addresses | None = None
    ) -> None:
        #: When each connection is due for its next check.
        self.due: TimerWheel[Connection] = TimerWheel(width)
        self.budgets = budgets or Budgets()
        self.addresses = Addresses() if addresses is None else addresses
        #: How many handshakes wait for the API's answer.
        self.asking = 0
        #: DELETEs that the API still has to get.
        self.pending = Pending()
        #: Counters over all of them.
        self.counts = Counts()


@dataclass(frozen=True, slots=True)
class Shared:
    """What a connection has in common with all others, and what is done there when one comes and goes.

    :param settings: the bounds of each connection
    :param registry: finds connections by key
    :param totals: counters and budgets over all of them
    :param clock: for timers and durations
    :param now: tells the time of day, in Unix seconds
    :param groups: who is in which group
    :param journal: records which DELETEs are pending
    """

    settings: ConnectionSettings
    registry: Registry
    totals: Totals
    clock: IReactorTime
    now: Callable[[], float]
    groups: Groups
    journal: Journal = NO_JOURNAL

    _log: ClassVar[ConnectionLog] = ConnectionLog()

    def enter(self, connection: Connection) -> None:
        """The API is about to be asked: pushes find the connection, and its DELETE is pending."""
        self.registry.add(connection)
        self.totals.pending.add()
        self.totals.addresses.enter(connection.handshake.client)
        self.totals.asking += 1

    def refused(self, connection: Connection) -> None:
        """The API did not let the client in: it needs no DELETE."""
        self.totals.addresses.leave(connection.handshake.client)
        self.journal.settle(connection.identity.key)
        self.gone(connection)

    def ended(self, connection: Connection, end: End, undelivered: int) -> None:
        """The connection is over, and its DELETE follows.

        Only now its address has one less, not when TCP ends: a client that connects and leaves at once, again and
        again, would get past the limit.

        :param undelivered: how many of its messages were dropped
        """
        self.totals.addresses.leave(connection.handshake.client)
        self.registry.unlist(connection)
        self.totals.counts.ended(end, undelivered)
        if connection.traffic.connected_at is not None:
            # Of others, one line says already what became of the handshake.
            seconds = self.clock.seconds() - connection.traffic.opened_at
            self.totals.counts.seconds.add(seconds)
            self._log.closed(connection, end, undelivered, seconds)
        self.journal.ended(connection.identity.key, end, undelivered)

    def gone(self, connection: Connection) -> None:
        """Nothing but a small record of its DELETE is needed of the connection any more, or not even that."""
        self.registry.remove(connection)
        self.totals.pending.settle()
