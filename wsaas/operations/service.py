"""The gateway as one service: what starts in which order, and how it ends (protocol §5, ``DRAIN_TIMEOUT``)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import CancelledError, Deferred, gatherResults, maybeDeferred, succeed
from twisted.internet.defer import TimeoutError as WaitedTooLongError
from twisted.internet.interfaces import IDelayedCall, IListeningPort, IProtocolFactory
from twisted.logger import Logger
from twisted.python.failure import Failure

from wsaas.connections.registry import Registry
from wsaas.connections.totals import Totals
from wsaas.errors import SettingsError
from wsaas.net.descriptors import Descriptors
from wsaas.net.http1.site import ClientSite
from wsaas.net.listen import DefaultEndpoint, Endpoint, ListeningPort, listen_all
from wsaas.net.transport import Buffers
from wsaas.operations.drain import Drain
from wsaas.operations.systemd import Notifier
from wsaas.websocket.upgrade import UpgradeResource

#: So many clients are looked at in one go, which takes a few milliseconds; then others are served.
_AT_ONCE = 100
#: Seconds for the disk when the time is over. It takes some milliseconds, but of a process that stood still, or with a
#: busy disk, the next one would say that it crashed, and not how many messages were undelivered.
_TO_WRITE = 1.0
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
    :param pushes: whether pushes arrive here, alone or beside clients
    :param clients: whether clients do
    """

    site: IProtocolFactory
    places: Sequence[Endpoint | DefaultEndpoint]
    serves: str
    buffers: Buffers | None = None
    pushes: bool = False
    clients: bool = False

    def close(self, door: ListeningPort) -> bool:
        """Let no new client in, if that can be done without keeping pushes out.

        :returns: whether it is done
        """
        if door.adopted:
            # Whoever comes waits in the backlog for the next process: a new push would find nobody here much longer.
            door.pause()
        elif self.pushes:
            return False
        else:
            door.stop()
        return True


class Gateway(Service):
    """Everything that runs.

    :param reactor: for timers
    :param listeners: where clients and pushers come in
    :param upgrade: told when nobody new is let in any more
    :param registry: the connections
    :param totals: what they share
    :param check_every: seconds between two passes over those clients who are due for a look
    :param drain_timeout: seconds from the stop to the end, at most
    :param before: called before anything listens, and waited for
    :param hurry: called when the stop begins: what is owed is to be paid soon
    :param after: called in the end, when no callback is to be made any more, and waited for
    :param write: called after that, and waited for even if all the time is over: what is left is written to disk
    :param notifier: tells systemd
    :param descriptors: whether there is one for another connection; without it, nobody counts
    :param read_anew: reads the certificates for the API anew; :data:`None` where there are none
    """

    name = "wsaas"
    _log = Logger()

    def __init__(
        self,
        reactor: Any,
        listeners: Sequence[Listener],
        upgrade: UpgradeResource,
        registry: Registry,
        totals: Totals,
        check_every: float,
        drain_timeout: float,
        before: Sequence[Callable[[], Deferred[None]]] = (),
        hurry: Callable[[], None] = lambda: None,
        after: Sequence[Callable[[], Deferred[None]]] = (),
        write: Callable[[], Deferred[None]] = lambda: succeed(None),
        notifier: Notifier | None = None,
        descriptors: Descriptors | None = None,
        read_anew: Callable[[], object] | None = None,
    ) -> None:
        self._reactor = reactor
        self._listeners = listeners
        self._upgrade = upgrade
        self._registry = registry
        self._totals = totals
        self._check_every = check_every
        self._drain_timeout = drain_timeout
        self._before = before
        self._hurry = hurry
        self._after = after
        self._write = write
        self._next_check: IDelayedCall | None = None
        self._check_due = 0.0
        #: Since when the event loop has turned without a long pause.
        self._working_since = 0.0
        self._notifier = notifier
        self._descriptors = descriptors
        self._read_anew = read_anew
        self._doors: list[tuple[Listener, ListeningPort]] = []
        self._drain: Drain | None = None
        self._hurried = False
        #: Whether it listens, and takes whoever comes.
        self.ready = False
        #: Whether the end has begun.
        self.stopping = False
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
                    self._doors.append((listener, door))
                    self.ports.append(door.port)
                    if self._descriptors is not None:
                        self._descriptors.guard(door, clients=listener.clients)
                    self._log.info("listening: {where} ({serves})", where=_where(door.port), serves=listener.serves)
        except SettingsError:
            # Not waited for: whoever starts the service must hear of it now.
            self._stop_listening()
            raise
        # When the reactor runs: before, nobody is accepted yet.
        self._reactor.callWhenRunning(self._serve)

    def _serve(self) -> None:
        if not self.stopping:
            self.ready = True
            if self._notifier is not None:
                self._notifier.ready()

    def _stop_listening(self) -> Deferred[Any]:
        doors, self._doors, self.ports = self._doors, [], []
        return gatherResults([door.stop() for _, door in doors], consumeErrors=True)

    def _check_in(self, seconds: float) -> None:
        self._check_due = self._reactor.seconds() + seconds
        self._next_check = self._reactor.callLater(seconds, self._check)

    def _check(self) -> None:
        now = self._reactor.seconds()
        if now - self._check_due > _STALLED:
            # Nobody was read and nobody pinged meanwhile: that is nothing to hold against clients.
            self._working_since = now
        due = self._totals.due
        connections = due.take(now, _AT_ONCE)
        for connection in connections:
            try:
                connection.check(now, self._working_since)
            except Exception:  # noqa: BLE001 - one connection's fault must not end the looks at the others
                self._log.failure("{tag} a fault of the gateway", tag=connection.identity.tag)
                due.put(connection, now + _AFTER_A_FAULT)
        # Many who came at the same time are due at the same time: those who are left over have the next turn.
        self._check_in(0 if len(connections) == _AT_ONCE else self._check_every)

    def stopService(self) -> Deferred[None]:
        """Refuse new clients, close those that are here, tell the API, end."""
        super().stopService()
        if self._next_check is not None:
            self._next_check.cancel()
            self._next_check = None
        self.stopping = True
        self.ready = False
        return Deferred.fromCoroutine(self._stop())

    @property
    def has_certificates(self) -> bool:
        """Whether there are files of certificates: for TLS where it listens, or with the API."""
        return self._read_anew is not None or any(
            place.encrypted for listener in self._listeners for place in listener.places
        )

    def reload(self) -> None:
        """Read certificates anew, for connections to come."""
        if not self.has_certificates:
            self._log.info("no certificates to read anew")
        if self._read_anew is not None:
            self._read_anew()
        for listener in self._listeners:
            for place in listener.places:
                place.reload()

    def hurry(self) -> None:
        """Take as little time for the end as possible, now or when it begins."""
        self._hurried = True
        if self._drain is not None:
            self._drain.hurry()

    async def _stop(self) -> None:
        self._log.info("shutting down: {count} connections", count=len(self._registry))
        self._hurry()
        if self._notifier is not None:
            self._notifier.stopping()
        drain = self._drain = Drain(self._reactor, self._registry, self._totals.pending, self._drain_timeout)
        if self._hurried:
            drain.hurry()
        closed = [listener.close(door) for listener, door in self._doors if listener.clients]
        if closed and all(closed):
            # Nobody new comes. Who was accepted before is not refused.
            await drain.await_heads(self._heads)
        self._upgrade.draining = True
        await drain.close_all()
        await self._stop_listening()
        for call in self._after:
            await self._wait_for(call, drain.deadline)
        await self._wait_for(self._write, max(drain.deadline, self._reactor.seconds() + _TO_WRITE))
        if self._descriptors is not None:
            self._descriptors.stop()
        if self._notifier is not None:
            self._notifier.stop()

    async def _wait_for(self, call: Callable[[], Deferred[None]], deadline: float) -> None:
        """Call something, and wait for it until the deadline."""
        try:
            await maybeDeferred(call).addTimeout(max(0.0, deadline - self._reactor.seconds()), self._reactor)
        except (WaitedTooLongError, CancelledError):
            # The process ends anyway.
            self._log.warn("the end was not waited for any longer (DRAIN_TIMEOUT)")

    def _heads(self) -> int:
        """:returns: how many requests are awaited"""
        return sum(listener.site.awaited for listener, _ in self._doors if isinstance(listener.site, ClientSite))


def _where(port: IListeningPort) -> str:
    address: Any = port.getHost()
    host, number = getattr(address, "host", None), getattr(address, "port", None)
    if host is None:
        name = getattr(address, "name", b"")
        return f"unix:{name.decode() if isinstance(name, bytes) else name}"
    return f"tcp:{f'[{host}]' if ':' in host else host}:{number}"
