"""The fast lane of handshakes: plain, complete ones at the very beginning of a connection, without twisted.web.

A connection begins here. If its first bytes are a whole handshake in which nothing is unusual, the API is asked at
once, and on its consent the transport becomes a WebSocket's. Whatever else comes, or does not come in time, goes unread
to a :class:`wsaas.net.http1.channel.Channel`. What a handshake must be like is decided where it always is:
:func:`wsaas.websocket.handshake.check_handshake`.
"""

from __future__ import annotations

import re
from typing import Any, Protocol

from twisted.internet.interfaces import IDelayedCall, IProtocol, IReactorTime, ISSLTransport, ITCPTransport
from twisted.internet.protocol import connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from wsaas.connections.messages import Handshake
from wsaas.errors import HandshakeRefused
from wsaas.net.http1.forwarded import believed
from wsaas.net.http1.messages import Head, Response, client_of, text_response
from wsaas.net.http1.site import MAX_AWAITED, ClientSite
from wsaas.websocket.handshake import is_handshake

_log = Logger()

#: Bytes of a head that is looked at; twisted.web allows more.
_MAX_HEAD = 8192
#: Header lines that are looked at; twisted.web allows more.
_MAX_LINES = 100
#: Bytes behind a handshake beyond which the client is not read any more while the API is asked; as in twisted.web.
MAX_EARLY = 0x4000

#: A path in visible ASCII, and lines of RFC 9110 §5.5 in ASCII, none of them folded.
_HEAD = re.compile(rb"GET (/[\x21-\x7e]*) HTTP/1\.1\r\n((?:[!#$%&'*+.^_`|~0-9A-Za-z-]+:[\t\x20-\x7e]*\r\n)+)\r\n")
#: Fields that are twisted.web's business.
_NOT_PLAIN = frozenset({b"content-length", b"expect", b"te", b"trailer", b"transfer-encoding"})


class PlainHead:
    """The head of a plain handshake; see :class:`wsaas.net.http1.messages.RequestHead`.

    :param target: path and query, as sent
    :param fields: the values of each field, by its name in lower case
    :param secure: whether it came over TLS
    :param client: the peer's IP address, if it has one
    """

    __slots__ = ("_fields", "client", "secure", "target")

    method = b"GET"
    version = b"HTTP/1.1"
    length = 0

    def __init__(self, target: bytes, fields: dict[bytes, list[bytes]], secure: bool, client: str | None) -> None:
        self.target = target
        self._fields = fields
        self.secure = secure
        self.client = client

    def all(self, name: bytes) -> list[bytes]:
        """:returns: the values of a header, one for each line it stands in"""
        return self._fields.get(name.lower(), [])

    def tokens(self, name: bytes) -> list[bytes]:
        """:returns: the elements of a list header, in lower case (RFC 9110 §5.6.1)"""
        values = self._fields.get(name.lower(), ())
        if len(values) == 1 and b"," not in values[0]:
            # Values have no blanks around them.
            return [values[0].lower()] if values[0] else []
        return [token.strip().lower() for value in values for token in value.split(b",") if token.strip()]

    @property
    def path(self) -> bytes:
        """The target without its query."""
        return self.target.partition(b"?")[0]


def read_head(data: bytes, transport: Any, proxies: int = 0) -> tuple[PlainHead, int] | None:
    """Read the head of a handshake.

    :param data: the first bytes of a connection
    :param transport: where they came from
    :param proxies: how many in front are believed
    :returns: the head, and how many bytes it has; :data:`None` for whatever is not a plain, complete handshake
    """
    match = _HEAD.match(data, 0, _MAX_HEAD)
    if match is None:
        return None
    lines = match[2].split(b"\r\n")
    if len(lines) > _MAX_LINES:
        return None
    lines.pop()
    fields: dict[bytes, list[bytes]] = {}
    for line in lines:
        name, _, value = line.partition(b":")
        name, value = name.lower(), value.strip(b" \t")
        if name in fields:
            fields[name].append(value)
        else:
            fields[name] = [value]
    if b"upgrade" not in fields or not _NOT_PLAIN.isdisjoint(fields):
        return None
    head = PlainHead(match[1], fields, ISSLTransport.providedBy(transport), client_of(transport.getPeer()))
    if not is_handshake(head) or b"close" in head.tokens(b"Connection"):
        return None
    if proxies:
        head.client, head.secure = believed(proxies, head)
    return head, match.end()


class Attempt(Protocol):
    """One handshake while the API is asked; see :class:`wsaas.websocket.upgrade.UpgradeResource`."""

    def begin(self) -> None:
        """Ask the API."""

    def left(self) -> None:
        """The client went away."""


class Upgrades(Protocol):
    """Lets clients in; see :class:`wsaas.websocket.upgrade.UpgradeResource`."""

    def check(self, head: Head) -> Handshake:
        """:raises HandshakeRefused: if the API is not even asked"""

    def attempt(self, visitor: Arrival, handshake: Handshake) -> Attempt:
        """:returns: what asks the API, and tells the visitor what came of it"""


@implementer(IProtocol)
class Arrival:
    """A connection from its first byte until it is a WebSocket or a channel of twisted.web's.

    :param lane: knows what it may become
    :param site: makes the channel
    """

    __slots__ = ("__weakref__", "_attempt", "_early", "_lane", "_paused", "_site", "_size", "head", "transport")

    head: Head
    transport: Any

    def __init__(self, lane: HandshakeLane, site: ClientSite) -> None:
        self._lane = lane
        self._site = site
        self._attempt: Attempt | None = None
        #: What came behind the handshake; :data:`None` before it is there.
        self._early: list[bytes] | None = None
        self._size = 0
        self._paused = False

    def makeConnection(self, transport: Any) -> None:
        """It is made: from here the handshake has a deadline."""
        self.transport = transport
        if ITCPTransport.providedBy(transport):
            transport.setTcpNoDelay(True)
        self._lane.expect(self)

    def connectionMade(self) -> None:
        """Nothing more than :meth:`makeConnection`; a part of the interface."""

    def dataReceived(self, data: bytes) -> None:
        """The first bytes came, or some that were not waited for."""
        if self._early is not None:
            self._keep(data)
            return
        left = self._lane.stop_expecting(self)
        opening = self._lane.read(data, self.transport)
        if opening is None:
            self._become_channel(left).dataReceived(data)
            return
        self.head, handshake, used = opening
        self._early = []
        if used < len(data):
            self._keep(data[used:])
        try:
            self._attempt = self._lane.upgrades.attempt(self, handshake)
            self._attempt.begin()
        except Exception:  # noqa: BLE001 - whatever it is, it is logged, and the client is owed an answer
            _log.failure("a fault of the gateway")
            if self.transport is not None:
                self.answer(text_response(500, "a fault of the gateway"))

    def _keep(self, data: bytes) -> None:
        assert self._early is not None  # noqa: S101 - for the type checker
        self._early.append(data)
        self._size += len(data)
        if self._size > MAX_EARLY:
            self._paused = True
            self.transport.pauseProducing()

    def connectionLost(self, reason: Failure = connectionDone) -> None:  # noqa: ARG002 - IProtocol's signature
        """The client left."""
        self._lane.stop_expecting(self)
        attempt, self._attempt = self._attempt, None
        self.transport = None
        if attempt is not None:
            attempt.left()

    def dawdles(self) -> None:
        """There are too many of whom nothing was heard, and this one came before the others."""
        self.transport.abortConnection()

    def late(self) -> None:
        """Nothing came in time."""
        self._become_channel(0.0)

    def _become_channel(self, left: float | None) -> Any:
        transport, self.transport = self.transport, None
        channel = self._site.new_channel(transport.getPeer())
        channel.adopt(transport, left)
        return channel

    # While the API is asked

    def answer(self, response: Response) -> None:
        """Refuse the handshake; the connection may carry another one."""
        transport = self.transport
        early = self._leave()
        channel = self._become_channel(None)
        transport.write(response.encode())
        if self._paused:
            transport.resumeProducing()
        if early:
            channel.dataReceived(early)

    def detach(self) -> tuple[Any, bytes]:
        """Give the transport away.

        :returns: the transport, without a producer, and what arrived behind the handshake
        """
        transport, early = self.transport, self._leave()
        self.transport = None
        if self._paused:
            transport.resumeProducing()
        return transport, early

    def _leave(self) -> bytes:
        """:returns: what arrived behind the handshake"""
        early, self._early, self._attempt = b"".join(self._early or ()), [], None
        return early


class HandshakeLane:
    """Where the connections of a listener begin.

    :param upgrades: lets clients in
    :param clock: for the deadline
    :param timeout: seconds until the handshake must be there
    :param most: how many may be silent at the same time
    :param proxies: how many in front are believed (``TRUST_PROXY``)
    """

    def __init__(
        self, upgrades: Upgrades, clock: IReactorTime, timeout: float, most: int = MAX_AWAITED, proxies: int = 0
    ) -> None:
        self.upgrades = upgrades
        self._clock = clock
        self._timeout = timeout
        self._most = most
        self._proxies = proxies
        #: Those of whom nothing was heard yet, and until when they may be silent: the first to come is the first to go.
        self._expected: dict[Arrival, float] = {}
        self._timer: IDelayedCall | None = None

    def __len__(self) -> int:
        """:returns: of how many connections nothing was heard yet"""
        return len(self._expected)

    def arrival(self, site: ClientSite) -> Arrival:
        """:returns: the protocol of a new connection"""
        return Arrival(self, site)

    def read(self, data: bytes, transport: Any) -> tuple[Head, Handshake, int] | None:
        """Look whether the first bytes of a connection are a handshake about which the API can be asked.

        :returns: its head, what it asks for, and how many bytes it has; :data:`None` if all of it is twisted.web's
        """
        read = read_head(data, transport, self._proxies)
        if read is None:
            return None
        head, used = read
        try:
            return head, self.upgrades.check(head), used
        except HandshakeRefused:
            # Refusing it is the channel's business, logging that too.
            return None
        except Exception:  # noqa: BLE001 - so is a fault of ours, which it will meet again
            return None

    def expect(self, arrival: Arrival) -> None:
        """A connection is made."""
        self._expected[arrival] = self._clock.seconds() + self._timeout
        if self._timer is None:
            self._timer = self._clock.callLater(self._timeout, self._expire)
        if len(self._expected) > self._most:
            # Whoever is honest has spoken by now; so it is those who dawdle that make room.
            eldest = next(iter(self._expected))
            del self._expected[eldest]
            eldest.dawdles()

    def stop_expecting(self, arrival: Arrival) -> float:
        """Something came of a connection, or it is over.

        :returns: how many seconds it would have had
        """
        deadline = self._expected.pop(arrival, None)
        if deadline is None:
            return 0.0
        if not self._expected and self._timer is not None:
            self._timer.cancel()
            self._timer = None
        return max(deadline - self._clock.seconds(), 0.0)

    def _expire(self) -> None:
        self._timer = None
        now = self._clock.seconds()
        late = []
        for arrival, deadline in self._expected.items():
            if deadline > now:
                self._timer = self._clock.callLater(deadline - now, self._expire)
                break
            late.append(arrival)
        for arrival in late:
            # One of them may have ended because of another.
            if self._expected.pop(arrival, None) is not None:
                arrival.late()
