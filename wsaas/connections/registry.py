"""Who is here: the one place that leads from a key to a connection.

Groups, and pushes that arrive at another instance, would start from here; keys are opaque to everyone else.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from twisted.internet.defer import Deferred, succeed

from wsaas.connections.addresses import Addresses
from wsaas.connections.timer_wheel import WIDTH, Wheel
from wsaas.counts import Counts
from wsaas.limits import Budgets

if TYPE_CHECKING:
    from wsaas.connections.connection import Connection


class Registry:
    """The connections of this process.

    A connection can be *addressed* from before its POST is sent until a Close is asked for or received; it is
    *unfinished* until its DELETE is settled, or is all that is left of it: then its goodbye is *owed*.

    :param width: of the buckets of :attr:`looks`, in seconds
    :param budgets: what is kept for all of them together
    :param addresses: how many of them each address has
    """

    def __init__(
        self, width: float = WIDTH, budgets: Budgets | None = None, addresses: Addresses | None = None
    ) -> None:
        #: Whose client is to be looked at when.
        self.looks: Wheel[Connection] = Wheel(width)
        self.budgets = budgets or Budgets()
        self.addresses = Addresses() if addresses is None else addresses
        #: How many handshakes wait for the API's answer.
        self.asking = 0
        self._addressed: dict[str, Connection] = {}
        self._unfinished: dict[str, Connection] = {}
        self._owed = 0
        self._waiting: list[Deferred[None]] = []
        #: What all of them did.
        self.counts = Counts()

    @property
    def unsettled(self) -> int:
        """How many DELETEs the API still has to get: of unfinished connections, and of those that are forgotten."""
        return len(self._unfinished) + self._owed

    def __len__(self) -> int:
        """:returns: how many connections are unfinished"""
        return len(self._unfinished)

    def __iter__(self) -> Iterator[Connection]:
        """Go through the unfinished connections as they are now."""
        return iter(list(self._unfinished.values()))

    @property
    def addressed(self) -> int:
        """How many connections pushes can reach."""
        return len(self._addressed)

    def get(self, key: str) -> Connection | None:
        """:returns: the connection that pushes for this key go to"""
        return self._addressed.get(key)

    def add(self, connection: Connection) -> None:
        """Take a connection in, before its POST is sent."""
        self._addressed[connection.identity.key] = connection
        self._unfinished[connection.identity.key] = connection

    def unlist(self, connection: Connection) -> None:
        """Let pushes no longer find a connection."""
        self._addressed.pop(connection.identity.key, None)

    def remove(self, connection: Connection) -> None:
        """Forget a connection that owes nothing any more."""
        self.unlist(connection)
        self._unfinished.pop(connection.identity.key, None)
        self._look()

    def owe(self) -> None:
        """A goodbye outlives its connection."""
        self._owed += 1

    def settle(self) -> None:
        """Such a goodbye is paid, or dropped."""
        self._owed -= 1
        self._look()

    def _look(self) -> None:
        if not self.unsettled:
            waiting, self._waiting = self._waiting, []
            for deferred in waiting:
                deferred.callback(None)

    def when_empty(self) -> Deferred[None]:
        """:returns: a Deferred that fires once no connection is unfinished and no goodbye owed"""
        if not self.unsettled:
            return succeed(None)
        # Whoever gives up waiting cancels; the list must not fire a cancelled Deferred's successor twice.
        deferred: Deferred[None] = Deferred(self._forget)
        self._waiting.append(deferred)
        return deferred

    def _forget(self, deferred: Deferred[None]) -> None:
        if deferred in self._waiting:
            self._waiting.remove(deferred)
