"""The drain: close all connections, spread over some time; then cut off the rest; send each DELETE if time allows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from wsaas.connections.connection import Connection, State
from wsaas.connections.registry import Registry
from wsaas.connections.totals import Pending

#: Seconds between two closes; less if there are too many connections for half of the time.
_CLOSE_EVERY = 0.002
#: The share of the time after which clients that do not answer their Close frame are cut off, which leaves time for
#: their DELETEs.
_CUT_AT = 0.75
#: Seconds between two checks.
_TURN = 0.01
#: Seconds for accepted connections to send their request, once no new ones are accepted: those are not refused.
_GRACE = 1.0
#: The share of the time that is kept for the steps after the drain, such as the last write to disk; and the most
#: seconds of it.
_REST = 0.05
_LONGEST_REST = 0.25
#: Seconds for DELETEs once the drain is hurried.
LAST_CHANCE = 1.0


class Drain:
    """Closes all connections, once.

    :param reactor: for timers
    :param registry: the connections
    :param pending: the DELETEs that the API still has to get
    :param timeout: seconds that the drain may take (``DRAIN_TIMEOUT``)
    """

    _log = Logger()

    def __init__(self, reactor: Any, registry: Registry, pending: Pending, timeout: float) -> None:
        self._reactor = reactor
        self._registry = registry
        self._pending = pending
        self._timeout = timeout
        self._began = reactor.seconds()
        #: When the process must end.
        self.deadline: float = self._began + timeout
        self._rest = min(timeout * _REST, _LONGEST_REST)
        self._hurried = False
        self._waking: Deferred[None] | None = None

    def hurry(self) -> None:
        """Cut off all connections, and leave only :data:`LAST_CHANCE` for their DELETEs."""
        if self._hurried:
            return
        self._hurried = True
        self.deadline = min(self.deadline, self._reactor.seconds() + LAST_CHANCE)
        self._rest = min(self._rest, LAST_CHANCE * _REST)
        self._log.info("in a hurry: {count} connections are cut off", count=len(self._registry))
        self._wake()

    async def await_heads(self, waiting: Callable[[], int]) -> None:
        """Wait a little for accepted connections that have not sent their request yet.

        :param waiting: tells how many there are
        """
        until = self._began + min(_GRACE, self._timeout / 10)
        while waiting() and not self._hurried and self._reactor.seconds() < until:
            await self._sleep(self._reactor.seconds() + _TURN)

    async def close_all(self) -> None:
        """Close every connection, cut off the clients that stay, and wait for the pending DELETEs.

        A handshake that waits for the API gets its answer, and then its Close.
        """
        half = self._began + self._timeout / 2
        connections = list(self._registry)
        asking = [found for found in connections if found.state is State.AUTHORISING]
        await self._close([found for found in connections if found.state is not State.AUTHORISING], half)
        await self._close_as_they_open(asking, half)
        if not self._hurried:
            await self._emptied(lambda: self._began + self._timeout * _CUT_AT)
        for connection in self._registry:
            connection.abort()
        # A function, as hurry() moves the deadline while this waits.
        if not await self._emptied(lambda: self.deadline - self._rest, again=True):
            self._log.error(
                "{count} connections are left whose DELETE the API may not have got (DRAIN_TIMEOUT)",
                count=self._pending.number,
            )
            for connection in self._registry:
                connection.record_end()

    async def _close(self, connections: list[Connection], until: float) -> None:
        """Close connections, spread over some time, as the API gets a DELETE for each."""
        left = until - self._reactor.seconds()
        turns = max(1, int(min(left, len(connections) * _CLOSE_EVERY) / _TURN))
        for turn in range(turns):
            if turn and not self._hurried:
                await self._sleep(self._reactor.seconds() + _TURN)
            for connection in connections[turn::turns]:
                self._shut_down(connection)

    async def _close_as_they_open(self, asking: list[Connection], until: float) -> None:
        """Close connections as their handshakes end; at the time, the rest."""
        while asking:
            late = self._hurried or self._reactor.seconds() >= until
            for connection in asking:
                if late or connection.state is not State.AUTHORISING:
                    self._shut_down(connection)
            if late:
                return
            asking = [found for found in asking if found.state is State.AUTHORISING]
            if asking:
                await self._sleep(self._reactor.seconds() + _TURN)

    def _shut_down(self, connection: Connection) -> None:
        try:
            connection.shut_down()
        except Exception:  # noqa: BLE001 - a fault in one connection must not keep the others open
            self._log.failure("{tag} a fault of the gateway", tag=connection.identity.tag)

    async def _emptied(self, deadline: Callable[[], float], *, again: bool = False) -> bool:
        """Wait until no DELETE is pending, or the deadline.

        :param again: whether to go on waiting, until the new deadline, if the drain is hurried meanwhile
        :returns: whether no DELETE is pending
        """
        while self._pending.number and self._reactor.seconds() < deadline():
            hurried = self._hurried
            await self._sleep(deadline(), or_empty=True)
            if self._hurried and not hurried and not again:
                break
        return not self._pending.number

    async def _sleep(self, until: float, *, or_empty: bool = False) -> None:
        """Wait until a time, or until the drain is hurried.

        :param or_empty: also wake up when no DELETE is pending
        """
        waking: Deferred[None] = Deferred()
        self._waking = waking
        timer = self._reactor.callLater(max(0.0, until - self._reactor.seconds()), self._wake)
        empty = self._pending.when_none() if or_empty else None
        if empty is not None:
            empty.addCallbacks(lambda _: self._wake(), lambda _: None)
        await waking
        if timer.active():
            timer.cancel()
        if empty is not None:
            empty.cancel()

    def _wake(self) -> None:
        waking, self._waking = self._waking, None
        if waking is not None:
            waking.callback(None)
