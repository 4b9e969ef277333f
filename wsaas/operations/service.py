"""The gateway as one service: start order, periodic checks, drain and stop (protocol §5, ``DRAIN_TIMEOUT``)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import CancelledError, Deferred, gatherResults, maybeDeferred
from twisted.internet.defer import TimeoutError as WaitedTooLongError
from twisted.internet.interfaces import IDelayedCall, IListeningPort, IProtocolFactory
from twisted.logger import Logger
from twisted.python.failure import Failure

from wsaas.connections.registry import Registry
from wsaas.connections.totals import Totals
from wsaas.errors import SettingsError, raise_all
from wsaas.net.descriptors import Descriptors
from wsaas.net.http1.site import ClientSite
from wsaas.net.listen import DefaultEndpoint, Endpoint, ListeningPort, listen_all
from wsaas.net.transport import Buffers
from wsaas.operations.drain import Drain
from wsaas.operations.systemd import Notifier
from wsaas.websocket.upgrade import UpgradeResource

#: How many connections are checked in one turn of the reactor, which takes a few milliseconds.
_AT_ONCE = 100
#: Seconds for the last write to disk even if the time is over. It takes some milliseconds; without it, after a stall or
#: with a busy disk, the next process would report a crash and not know how many messages were undelivered.
_TO_WRITE = 1.0
#: If a pass is so many seconds late, the process was stopped or starved of CPU.
_STALLED = 2.0
#: Seconds until the next check of a connection whose check raised an exception.
_AFTER_A_FAULT = 1.0


@dataclass(frozen=True, slots=True)
class Listener:
    """A site and the endpoints it listens on.

    :param site: makes the protocols for connections
    :param places: the endpoints
    :param serves: who connects here, for the log
    :param buffers: for transports that write at once; :data:`None` for Twisted's own transports
    :param pushes: whether pushes arrive here
    :param clients: whether clients connect here
    """

    site: IProtocolFactory
    places: Sequence[Endpoint | DefaultEndpoint]
    serves: str
    buffers: Buffers | None = None
    pushes: bool = False
    clients: bool = False

    def close(self, port: ListeningPort) -> bool:
        """Accept no more connections, if that does not keep pushes out.

        :returns: whether the port is closed or paused
        """
        if port.adopted:
            # New connections wait in the backlog for the next process; this one has no clients for pushes much longer.
            port.pause()
        elif self.pushes:
            return False
        else:
            port.stop()
        return True


#: Something to do at the start or at the end; a Deferred is waited for.
Step = Callable[[], object]


@dataclass(frozen=True, slots=True)
class Clients:
    """The clients' side of the gateway.

    :param registry: the connections
    :param totals: their counters, pending DELETEs and timer wheel
    :param upgrade: refuses new clients once the gateway drains
    """

    registry: Registry
    totals: Totals
    upgrade: UpgradeResource


@dataclass(frozen=True, slots=True)
class Hooks:
    """What the gateway calls when it starts, stops and reloads.

    :param before: before anything listens
    :param listening: when everything listens
    :param stopping: when the stop begins: pending DELETEs are sent soon
    :param after: at the end, when no more callbacks are made
    :param write: after that, even if the time is over: writes to disk what is left
    :param reload: reloads the certificates for the API and files of settings; :data:`None` if there are none
    """

    before: Sequence[Step] = ()
    stopping: Callable[[], None] = lambda: None
    after: Sequence[Step] = ()
    write: Step = lambda: None
    reload: Callable[[], object] | None = None
    listening: Sequence[Step] = ()


@dataclass(frozen=True, slots=True)
class Host:
    """What the gateway needs from the machine it runs on.

    :param notifier: tells systemd the state of the service
    :param descriptors: pauses listeners when file descriptors run out
    """

    notifier: Notifier
    descriptors: Descriptors


class Gateway(Service):
    """The gateway as a Twisted service: starts, checks connections, drains and stops.

    :param reactor: for timers
    :param listeners: where clients and pushers connect
    :param clients: the clients' side
    :param drain_timeout: seconds from the stop to the end, at most (``DRAIN_TIMEOUT``)
    :param hooks: what it calls when it starts, stops and reloads
    :param host: systemd and file descriptors
    """

    name = "wsaas"
    _log = Logger()

    def __init__(
        self,
        reactor: Any,
        listeners: Sequence[Listener],
        clients: Clients,
        drain_timeout: float,
        hooks: Hooks,
        host: Host,
    ) -> None:
        self._reactor = reactor
        self._listeners = listeners
        self._clients = clients
        self._drain_timeout = drain_timeout
        self._hooks = hooks
        self._host = host
        self._next_check: IDelayedCall | None = None
        self._check_due = 0.0
        #: The end of the last long pause of the event loop.
        self._working_since = 0.0
        self._listening: list[tuple[Listener, ListeningPort]] = []
        self._drain: Drain | None = None
        self._hurried = False
        #: Whether it listens and accepts connections.
        self.ready = False
        #: Whether the stop has begun.
        self.stopping = False
        #: The listening ports, in the order of the settings.
        self.ports: list[IListeningPort] = []

    def startService(self) -> None:
        """Listen, if nobody had it listen before, and start the periodic checks of connections."""
        self.privilegedStartService()
        super().startService()
        self._check_in(self._clients.totals.due.width)

    def privilegedStartService(self) -> None:
        """Listen, while low ports may still be bound.

        :raises SettingsError: if it cannot listen on an endpoint
        """
        if self.ports:
            return
        failures: list[Failure] = []
        Deferred.fromCoroutine(self._start()).addErrback(failures.append)
        # All of Twisted's server endpoints listen at once.
        if failures:
            failures[0].raiseException()

    async def _start(self) -> None:
        for call in self._hooks.before:
            await maybeDeferred(call)
        errors: list[SettingsError] = []
        for listener in self._listeners:
            try:
                ports = await listen_all(listener.places, listener.site, listener.buffers)
            except SettingsError as error:
                errors.append(error)
                continue
            for port in ports:
                self._listening.append((listener, port))
                self.ports.append(port.port)
                self._host.descriptors.guard(port, clients=listener.clients)
                if not errors:
                    self._tell(port, listener.serves)
        if errors:
            # Not waited for: the start must fail at once.
            self._stop_listening()
        raise_all(errors)
        for call in self._hooks.listening:
            await maybeDeferred(call)
        # Ready only when the reactor runs: before, no connection is accepted.
        self._reactor.callWhenRunning(self._serve)

    def _tell(self, port: ListeningPort, serves: str) -> None:
        text = "listening: {where} ({serves})" + (", {certificate}" if port.certificate else "")
        self._log.info(text, where=port.where, serves=serves, certificate=port.certificate)

    def _serve(self) -> None:
        if not self.stopping:
            self.ready = True
            self._host.notifier.ready()

    def _stop_listening(self) -> Deferred[Any]:
        listening, self._listening, self.ports = self._listening, [], []
        return gatherResults([port.stop() for _, port in listening], consumeErrors=True)

    def _check_in(self, seconds: float) -> None:
        self._check_due = self._reactor.seconds() + seconds
        self._next_check = self._reactor.callLater(seconds, self._check)

    def _check(self) -> None:
        now = self._reactor.seconds()
        if now - self._check_due > _STALLED:
            # No client was read or pinged meanwhile, so that none counts as silent for that time.
            self._working_since = now
        due = self._clients.totals.due
        connections = due.take(now, _AT_ONCE)
        for connection in connections:
            try:
                connection.check(now, self._working_since)
            except Exception:  # noqa: BLE001 - a fault in one check must not prevent the others
                self._log.failure("{tag} a fault of the gateway", tag=connection.identity.tag)
                due.put(connection, now + _AFTER_A_FAULT)
        # Clients that connected at the same time are due at the same time: check the rest in the next turn.
        self._check_in(0 if len(connections) == _AT_ONCE else due.width)

    def stopService(self) -> Deferred[None]:
        """Refuse new clients, close all connections, send their DELETEs, and stop."""
        super().stopService()
        if self._next_check is not None:
            self._next_check.cancel()
            self._next_check = None
        self.stopping = True
        self.ready = False
        return Deferred.fromCoroutine(self._stop())

    @property
    def can_reload(self) -> bool:
        """Whether there are files to reload: certificates for the listeners or for the API, settings."""
        return self._hooks.reload is not None or any(
            place.encrypted for listener in self._listeners for place in listener.places
        )

    def reload(self) -> None:
        """Reload certificates, for new connections, and files of settings."""
        if not self.can_reload:
            self._log.info("nothing to reload: no certificates, no files of settings")
        if self._hooks.reload is not None:
            self._hooks.reload()
        for listener in self._listeners:
            for place in listener.places:
                place.reload()

    def hurry(self) -> None:
        """Stop as fast as possible: cuts short a drain that is running, or the one to come."""
        self._hurried = True
        if self._drain is not None:
            self._drain.hurry()

    async def _stop(self) -> None:
        clients = self._clients
        self._log.info("shutting down: {count} connections", count=len(clients.registry))
        self._hooks.stopping()
        self._host.notifier.stopping()
        drain = Drain(self._reactor, clients.registry, clients.totals.pending, self._drain_timeout)
        self._drain = drain
        if self._hurried:
            drain.hurry()
        closed = [listener.close(port) for listener, port in self._listening if listener.clients]
        if closed and all(closed):
            # No new connections arrive, and those accepted before are not refused.
            await drain.await_heads(self._heads)
        clients.upgrade.draining = True
        await drain.close_all()
        await self._stop_listening()
        for call in self._hooks.after:
            await self._wait_for(call, drain.deadline)
        await self._wait_for(self._hooks.write, max(drain.deadline, self._reactor.seconds() + _TO_WRITE))
        self._host.descriptors.stop()
        self._host.notifier.stop()

    async def _wait_for(self, call: Step, deadline: float) -> None:
        """Call a step, and wait for it until the deadline."""
        try:
            await maybeDeferred(call).addTimeout(max(0.0, deadline - self._reactor.seconds()), self._reactor)
        except (WaitedTooLongError, CancelledError):
            # The process ends all the same.
            self._log.warn("the end was not waited for any longer (DRAIN_TIMEOUT)")

    def _heads(self) -> int:
        """:returns: how many connections have not sent a whole request yet"""
        return sum(listener.site.awaited for listener, _ in self._listening if isinstance(listener.site, ClientSite))
