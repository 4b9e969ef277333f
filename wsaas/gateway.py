"""The gateway as one service: what starts in which order, and how it ends (protocol §5, ``DRAIN_TIMEOUT``)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import CancelledError, Deferred, maybeDeferred
from twisted.internet.defer import TimeoutError as WaitedTooLongError
from twisted.internet.interfaces import IDelayedCall, IListeningPort, IProtocolFactory
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure

from wsaas.connection import Connection
from wsaas.descriptors import Descriptors
from wsaas.errors import SettingsError
from wsaas.listen import DefaultEndpoint, Endpoint, listen_all
from wsaas.registry import Registry
from wsaas.transport import Buffers
from wsaas.upgrade import UpgradeResource

#: At the stop, connections are closed this many seconds apart, or closer if there are too many for half the time.
_CLOSE_EVERY = 0.002
#: The share of ``DRAIN_TIMEOUT`` after which a client that does not answer its Close frame is cut off, so that its
#: DELETE still has time.
_CUT_AT = 0.75
#: So many clients are looked at in one go, which takes a few milliseconds; then others are served.
_AT_ONCE = 100
#: A pass so many seconds late means that the process stood still, or was not let run.
_STALLED = 2.0
#: Seconds until the next look at a connection whose look failed.
_AFTER_A_FAULT = 1.0


@dataclass(frozen=True, slots=True)
class Listener:
    """A site and where it listens.

    :param site: makes protocols for what connects
    :param places: where
    :param serves: for the log: who connects here
    :param buffers: for transports that write at once; :data:`None` for Twisted's
    :param clients: whether clients come in here
    """

    site: IProtocolFactory
    places: Sequence[Endpoint | DefaultEndpoint]
    serves: str
    buffers: Buffers | None = None
    clients: bool = False


class Gateway(Service):
    """Everything that runs.

    :param reactor: for timers
    :param listeners: where clients and pushers come in
    :param upgrade: told when nobody new is let in any more
    :param registry: who is here
    :param check_every: seconds between two passes over those clients who are due for a look
    :param drain_timeout: seconds from the stop to the end, at most
    :param before: called before anything listens, and waited for
    :param hurry: called when the stop begins: what is owed is to be paid soon
    :param after: called in the end, when no callback is to be made any more, and waited for
    :param descriptors: whether there is one for another connection; without it, nobody counts
    """

    name = "wsaas"
    _log = Logger()

    def __init__(
        self,
        reactor: Any,
        listeners: Sequence[Listener],
        upgrade: UpgradeResource,
        registry: Registry,
        check_every: float,
        drain_timeout: float,
        before: Sequence[Callable[[], Deferred[None]]] = (),
        hurry: Callable[[], None] = lambda: None,
        after: Sequence[Callable[[], Deferred[None]]] = (),
        descriptors: Descriptors | None = None,
    ) -> None:
        self._reactor = reactor
        self._listeners = listeners
        self._upgrade = upgrade
        self._registry = registry
        self._check_every = check_every
        self._drain_timeout = drain_timeout
        self._before = before
        self._hurry = hurry
        self._after = after
        self._descriptors = descriptors
        self._next_check: IDelayedCall | None = None
        self._check_due = 0.0
        #: Since when the event loop has turned without a long pause.
        self._working_since = 0.0
        #: What listens, in the order of the settings.
        self.ports: list[IListeningPort] = []

    def privilegedStartService(self) -> None:
        """Listen, while low ports may still be bound.

        :raises SettingsError: if a place to listen at is not to be had
        """
        self._listen()

    def startService(self) -> None:
        """Begin to look after clients."""
        self._listen()
        super().startService()
        self._check_in(self._check_every)

    def _listen(self) -> None:
        if self.ports:
            return
        failures: list[Failure] = []
        Deferred.fromCoroutine(self._start()).addErrback(failures.append)
        # All of Twisted's server endpoints listen at once.
        if failures:
            failures[0].raiseException()

    async def _start(self) -> None:
        for call in self._before:
            await call()
        try:
            for listener in self._listeners:
                for door in await listen_all(listener.places, listener.site, listener.buffers):
                    self.ports.append(door.port)
                    if self._descriptors is not None:
                        self._descriptors.guard(door, clients=listener.clients)
                    self._log.info("listening: {where} ({serves})", where=_where(door.port), serves=listener.serves)
        except SettingsError:
            ports, self.ports = self.ports, []
            for port in ports:
                # Not waited for: whoever starts the service must hear of it now.
                maybeDeferred(port.stopListening)
            raise

    def _check_in(self, seconds: float) -> None:
        self._check_due = self._reactor.seconds() + seconds
        self._next_check = self._reactor.callLater(seconds, self._check)

    def _check(self) -> None:
        now = self._reactor.seconds()
        if now - self._check_due > _STALLED:
            # Nobody was read and nobody pinged meanwhile: that is nothing to hold against clients.
            self._working_since = now
        looks = self._registry.looks
        connections = looks.take(now, _AT_ONCE)
        for connection in connections:
            try:
                connection.check(now, self._working_since)
            except Exception:  # noqa: BLE001 - one connection's fault must not end the looks at the others
                self._log.failure("{tag} a fault of the gateway", tag=connection.identity.tag)
                looks.put(connection, now + _AFTER_A_FAULT)
        # Many who came at the same time are due at the same time: those who are left over have the next turn.
        self._check_in(0 if len(connections) == _AT_ONCE else self._check_every)

    def stopService(self) -> Deferred[None]:
        """Refuse new clients, close those that are here, tell the API, end."""
        super().stopService()
        if self._next_check is not None:
            self._next_check.cancel()
            self._next_check = None
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        self._upgrade.draining = True
        self._hurry()
        self._log.info("shutting down: {count} connections", count=len(self._registry))
        deadline = self._reactor.seconds() + self._drain_timeout
        await self._close_all(self._drain_timeout / 2)
        if not await self._emptied(deadline - self._drain_timeout * (1 - _CUT_AT)):
            for connection in self._registry:
                connection.abort()
            if not await self._emptied(deadline):
                self._log.error(
                    "{count} connections are left whose DELETE the API may not have got (DRAIN_TIMEOUT)",
                    count=self._registry.unsettled,
                )
        ports, self.ports = self.ports, []
        for port in ports:
            await maybeDeferred(port.stopListening)
        if self._descriptors is not None:
            self._descriptors.stop()
        for call in self._after:
            try:
                await maybeDeferred(call).addTimeout(max(0.0, deadline - self._reactor.seconds()), self._reactor)
            except (WaitedTooLongError, CancelledError):
                # The process ends anyway.
                self._log.warn("the end was not waited for any longer (DRAIN_TIMEOUT)")

    async def _close_all(self, seconds: float) -> None:
        """Close every connection, spread over some seconds at most: the API gets a DELETE for each."""
        connections: list[Connection] = list(self._registry)
        turns = max(1, int(min(seconds, len(connections) * _CLOSE_EVERY) / 0.01))
        for turn in range(turns):
            if turn:
                await deferLater(self._reactor, 0.01)
            for connection in connections[turn::turns]:
                try:
                    connection.shut_down()
                except Exception:  # noqa: BLE001 - as above
                    self._log.failure("{tag} a fault of the gateway", tag=connection.identity.tag)

    async def _emptied(self, deadline: float) -> bool:
        """:returns: whether nothing is owed any more; waits for it no longer than until the deadline"""
        left = deadline - self._reactor.seconds()
        if self._registry.unsettled and left > 0:
            try:
                await self._registry.when_empty().addTimeout(left, self._reactor)
            except (WaitedTooLongError, CancelledError):
                return False
        return not self._registry.unsettled


def _where(port: IListeningPort) -> str:
    address: Any = port.getHost()
    host, number = getattr(address, "host", None), getattr(address, "port", None)
    if host is None:
        name = getattr(address, "name", b"")
        return f"unix:{name.decode() if isinstance(name, bytes) else name}"
    return f"tcp:{f'[{host}]' if ':' in host else host}:{number}"
