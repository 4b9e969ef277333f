"""Connections to the API on httptools, and the pool in which they wait for calls.

A connection is one of these at a time: asked (it has a call), idle (in its origin's list), or leaving (closed by us,
and not gone yet). It becomes idle only after the parser has returned with nothing more begun, and a byte that comes
while it is idle is its end: what answers one call must never be taken for the answer to another.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, cast

from twisted.internet.abstract import isIPAddress, isIPv6Address
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP6ClientEndpoint, UNIXClientEndpoint, wrapClientTLS
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import (
    IAddress,
    IDelayedCall,
    IProtocol,
    IProtocolFactory,
    IReactorTime,
    IStreamClientEndpoint,
    ITCPTransport,
)
from twisted.internet.tcp import Client
from twisted.internet.unix import Client as UnixClient
from twisted.python.failure import Failure
from twisted.web.client import URI
from twisted.web.iweb import IPolicyForHTTPS
from zope.interface import implementer

from wsaas.net.host_names import NamedEndpoint
from wsaas.net.http1.known_heads import KnownAnswers
from wsaas.net.http1.messages import AnswerHead
from wsaas.net.http1.parser import AnswerParser, MalformedAnswer

#: Seconds for which an idle connection is kept: shorter than what common servers keep theirs.
KEEP_IDLE = 1.5
#: Seconds between attempts at a name's addresses (RFC 8305 §5 allows down to 0.01): "localhost" is often ::1 first,
#: where nothing listens.
_ATTEMPT_DELAY = 0.05
#: Transports whose socket may be written to directly.
_PLAIN = (Client, UnixClient)


def endpoint_for(reactor: Any, trust: IPolicyForHTTPS, uri: URI, timeout: float) -> IStreamClientEndpoint:
    """Find the way to an ``http`` or ``https`` URI's server.

    :param trust: for ``https``
    :param timeout: seconds for one connection to be made
    """
    host = uri.host.decode("ascii")
    endpoint: Any
    # A literal needs no resolver, which is a thread and its queue.
    if isIPAddress(host):
        endpoint = TCP4ClientEndpoint(reactor, host, uri.port, timeout)
    elif isIPv6Address(host):
        endpoint = TCP6ClientEndpoint(reactor, host, uri.port, timeout)
    else:
        endpoint = NamedEndpoint(reactor, uri.host, uri.port, timeout=timeout, attemptDelay=_ATTEMPT_DELAY)
    if uri.scheme == b"https":
        endpoint = wrapClientTLS(trust.creatorForNetloc(uri.host, uri.port), endpoint)
    return cast(IStreamClientEndpoint, endpoint)


def unix_endpoint(reactor: Any, path: str, timeout: float) -> IStreamClientEndpoint:
    """Find the way to a server on a UNIX socket.

    :param path: of the socket's file
    :param timeout: seconds for one connection to be made
    """
    return cast(IStreamClientEndpoint, UNIXClientEndpoint(reactor, path, timeout))


class Call(Protocol):
    """What a connection carries: a request that has no complete answer yet."""

    data: bytes
    head_only: bool
    max_body: int
    connection: PooledConnection | None

    def connect(self) -> None:
        """Send it on a fresh connection."""

    def answered(self, head: AnswerHead, body: bytes | None, open_ended: bool) -> None:
        """The answer is complete; the connection may already be idle.

        :param body: :data:`None` if it is longer than :attr:`max_body`
        :param open_ended: whether the connection's end was the end of the body
        """

    def lost(self, reason: Failure, heard: bool, kept: bool) -> None:
        """The connection ended, or what came on it is no answer.

        :param heard: whether any byte of an answer came
        :param kept: whether the connection had been idle before
        """


@implementer(IProtocol)
class PooledConnection:
    """A connection to an origin, and the call that it carries."""

    __slots__ = ("_fresh", "_kept", "_origin", "_pool", "call", "era", "parser", "since", "transport", "write_now")

    def __init__(self, origin: Origin) -> None:
        self._origin = origin
        self._pool = origin.pool
        self._kept = False
        #: The pool's when it was made.
        self.era = origin.pool.era
        #: Whether nothing of the answer that is awaited has come.
        self._fresh = True
        self.parser = AnswerParser()
        self.call: Call | None = None
        #: When it became idle, or began to leave.
        self.since = 0.0
        self.transport: Any = None
        #: Sends bytes without a way through the reactor; :data:`None` where that is not possible (any more).
        self.write_now: Callable[[bytes], int] | None = None

    def makeConnection(self, transport: Any) -> None:
        """The connection is made."""
        self.transport = transport
        if ITCPTransport.providedBy(transport):
            transport.setTcpNoDelay(True)
        if type(transport) in _PLAIN:
            # Nothing derived from it: ssl.Client, for one, encrypts in write().
            self.write_now = transport.socket.send
            # Once there is a connection, the endpoint's own protocol in front of this one only passes bytes on.
            transport.protocol = self

    def connectionMade(self) -> None:
        """Nothing more than :meth:`makeConnection`; a part of the interface."""

    def send(self, call: Call) -> None:
        """Send a request, in one piece."""
        self.call = call
        call.connection = self
        self._fresh = True
        data, write_now = call.data, self.write_now
        if write_now is not None:
            # Nothing can be waiting to be written, and a request fits into the kernel's buffer: this saves two
            # epoll_ctl() and a turn of the reactor.
            try:
                written = write_now(data)
            except OSError:
                written = 0
            if written == len(data):
                return
            # It did not fit, or the connection is gone, which the reactor shall find out by itself.
            self.write_now = None
            data = data[written:]
        self.transport.write(data)

    def dataReceived(self, data: bytes) -> None:
        """Bytes came."""
        call = self.call
        if call is None:
            # Not asked for; or the call was cancelled, and this was on its way.
            self.abort()
            return
        parser, fresh = self.parser, self._fresh
        if fresh:
            known = None if call.head_only else self._pool.known.read(data)
            if known is not None:
                head, body = known
                if len(body) <= call.max_body:
                    self.call = None
                    self._kept = True
                    self._origin.keep(self)
                    call.answered(head, body, False)
                    return
            self._fresh = False
            parser.expect(call.head_only, call.max_body)
        try:
            complete = parser.feed(data)
        except MalformedAnswer as error:
            self.abort()
            call.lost(Failure(error), True, False)
            return
        if not complete:
            return
        self.call = None
        head = parser.head()
        if parser.keep:
            if fresh:
                self._pool.known.learn(data, parser, head)
            self._kept = True
            self._origin.keep(self)
        else:
            # The rest of a body that was cut is not waited for.
            self._pool.leave(self, at_once=parser.cut)
        call.answered(head, None if parser.cut else parser.body(), False)

    def connectionLost(self, reason: Failure) -> None:
        """The connection is gone: end the call that it carries."""
        call, self.call = self.call, None
        self._origin.forget(self)
        self._pool.gone(self)
        if call is not None:
            parser = self.parser
            if reason.check(ConnectionDone) is not None and not self._fresh and parser.end():
                call.answered(parser.head(), None if parser.cut else parser.body(), parser.open_ended)
            else:
                call.lost(reason, self.heard, self._kept)
        self.parser.close()
        self.write_now = None

    @property
    def heard(self) -> bool:
        """Whether a part of an answer to its call has come."""
        return not self._fresh and self.parser.received > 0

    def abort(self) -> None:
        """End the connection now. What its call is told is the caller's business."""
        self.call = None
        self._origin.forget(self)
        self._pool.leave(self, at_once=True)


@implementer(IProtocolFactory)
class Origin:
    """A scheme, host and port, or a UNIX socket: the way there, the idle connections, and the factory of all of them.

    :param pool: keeps the time
    :param endpoint: the way there
    """

    __slots__ = ("_endpoint", "_idle", "pool")

    #: Read by Twisted: say nothing at each connection.
    noisy = False

    def __init__(self, pool: Pool, endpoint: IStreamClientEndpoint) -> None:
        self.pool = pool
        self._endpoint = endpoint
        #: Those that have been idle for longest come first.
        self._idle: list[PooledConnection] = []

    def connect(self) -> Deferred[PooledConnection]:
        """:returns: fires with a fresh connection"""
        return cast("Deferred[PooledConnection]", self._endpoint.connect(self))

    def send(self, call: Call) -> None:
        """Send a request, on an idle connection if there is one."""
        if self._idle:
            self._idle.pop().send(call)
        else:
            call.connect()

    def keep(self, connection: PooledConnection) -> None:
        """Keep a connection that has become idle."""
        idle, pool = self._idle, self.pool
        if pool.closed or connection.era != pool.era:
            pool.leave(connection)
            return
        connection.since = pool.seconds()
        idle.append(connection)
        if len(idle) > pool.max_idle:
            pool.leave(idle.pop(0))
        if pool.sweep is None:
            pool.watch()

    def forget(self, connection: PooledConnection) -> None:
        """Forget a connection that is idle no more."""
        if connection in self._idle:
            self._idle.remove(connection)

    def release(self, before: float) -> float | None:
        """Let go of connections that have been idle since a time, or longer.

        :returns: since when the one has been idle that is next
        """
        idle = self._idle
        while idle and idle[0].since <= before:
            self.pool.leave(idle.pop(0))
        return idle[0].since if idle else None

    def buildProtocol(self, addr: IAddress | None) -> PooledConnection:  # noqa: ARG002 - the interface has an address
        """:returns: the protocol of a new connection"""
        return PooledConnection(self)

    def doStart(self) -> None:
        """Nothing to prepare."""

    def doStop(self) -> None:
        """Nothing to clean up."""


class Pool:
    """What the connections of all origins have in common: one timer, and what is leaving.

    :param clock: for that timer
    :param max_idle: how many idle connections an origin keeps
    """

    def __init__(self, clock: IReactorTime, max_idle: int) -> None:
        self._clock = clock
        self.seconds = clock.seconds
        self.max_idle = max_idle
        self.origins: list[Origin] = []
        #: Nothing is kept any more.
        self.closed = False
        #: Connections of an earlier one are not kept.
        self.era = 0
        self._leaving: dict[PooledConnection, None] = {}
        self.sweep: IDelayedCall | None = None
        #: Shared by all connections: answers are alike, not connections.
        self.known = KnownAnswers()
        self._closing: list[Deferred[None]] = []

    def watch(self) -> None:
        """Start the timer, if it does not run: something is idle or leaving."""
        if self.sweep is None:
            self.sweep = self._clock.callLater(KEEP_IDLE, self._sweep_up)

    def leave(self, connection: PooledConnection, *, at_once: bool = False) -> None:
        """Close a connection.

        :param at_once: throw away what is still to be written
        """
        connection.since = self.seconds()
        self._leaving[connection] = None
        if at_once:
            connection.transport.abortConnection()
        else:
            # This waits for what is unsent, and TLS for the other side's close_notify: the timer waits for neither.
            connection.transport.loseConnection()
            self.watch()

    def gone(self, connection: PooledConnection) -> None:
        """Forget a connection that has ended."""
        self._leaving.pop(connection, None)
        self._look_whether_closed()

    def renew(self) -> None:
        """Close the idle connections, and keep none that is there: what they were made by does not hold any more."""
        self.era += 1
        for origin in self.origins:
            origin.release(self.seconds())

    def close(self) -> Deferred[None]:
        """Close the idle connections, and keep none from now on.

        :returns: fires when they are gone
        """
        self.closed = True
        for origin in self.origins:
            origin.release(self.seconds())
        done: Deferred[None] = Deferred()
        self._closing.append(done)
        self._look_whether_closed()
        return done

    def _look_whether_closed(self) -> None:
        if not self.closed or self._leaving:
            return
        if self.sweep is not None:
            self.sweep.cancel()
            self.sweep = None
        closing, self._closing = self._closing, []
        for done in closing:
            done.callback(None)

    def _sweep_up(self) -> None:
        self.sweep = None
        before = self.seconds() - KEEP_IDLE
        for connection in [leaving for leaving in self._leaving if leaving.since <= before]:
            connection.transport.abortConnection()
        waiting = [since for origin in self.origins if (since := origin.release(before)) is not None]
        waiting += [connection.since for connection in self._leaving]
        if waiting:
            delay = max(min(waiting) - before, 0.05)
            if self.sweep is not None:
                # One that was let go of just now has set it.
                self.sweep.cancel()
            self.sweep = self._clock.callLater(delay, self._sweep_up)
