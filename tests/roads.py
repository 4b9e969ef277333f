"""A network in memory and the ways to send requests over it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from twisted.internet import error as errors
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.protocol import Protocol, connectionDone
from twisted.internet.testing import MemoryReactorClock, StringTransport
from twisted.python.failure import Failure
from twisted.web.client import ResponseDone
from twisted.web.http import PotentialDataLoss
from twisted.web.http_headers import Headers
from twisted.web.iweb import IResponse

from wsaas.callbacks.treq_client import Body
from wsaas.net.client_tls import ApiTrust
from wsaas.net.http1.client import FastAgent
from wsaas.net.http1.persistent_agent import PersistentAgent

URI = b"http://127.0.0.1:5000/websocket?a=b"
OK = b"HTTP/1.1 200 OK\r\n"
ANSWER = OK + b"Content-Length: 5\r\nWs-State: s\r\n\r\nhello"
OF_THE_CONNECTION = (
    b"connection",
    b"content-length",
    b"keep-alive",
    b"proxy-connection",
    b"te",
    b"trailers",
    b"transfer-encoding",
    b"upgrade",
)


class Socket(StringTransport):
    """The agent's end of a connection."""

    def __init__(self) -> None:
        super().__init__()
        #: What was written, call by call.
        self.writes: list[bytes] = []

    def write(self, data: bytes) -> None:
        self.writes.append(data)
        super().write(data)

    @property
    def over(self) -> bool:
        """Whether the agent closed it."""
        return self.disconnecting or self.disconnected


class Peer:
    """The API's end of a connection."""

    def __init__(self, protocol: Any) -> None:
        self.protocol = protocol
        self.socket = Socket()
        protocol.makeConnection(self.socket)

    def received(self) -> bytes:
        """:returns: what came since the last time"""
        value: bytes = self.socket.value()
        self.socket.clear()
        return value

    def send(self, *pieces: bytes) -> None:
        """Send, as long as the agent reads."""
        for piece in pieces:
            if not self.socket.over:
                self.protocol.dataReceived(piece)

    def end(self, error: Exception | None = None) -> None:
        """End the connection, if the agent has not done so: as it should be, or otherwise."""
        if self.socket.disconnected or self.socket.disconnecting:
            error = ConnectionDone()
        self.protocol.connectionLost(Failure(error or ConnectionDone()))


class Network:
    """A reactor whose connections the test makes."""

    def __init__(self) -> None:
        self.reactor = MemoryReactorClock()
        self.trust = ApiTrust(None, None)
        self._next = 0

    @property
    def attempts(self) -> int:
        """How many connections were asked for, and have neither come nor failed."""
        return len(self.reactor.tcpClients) - self._next

    def _attempt(self) -> Any:
        host, port, factory, timeout, _ = self.reactor.tcpClients[self._next]
        assert (host, port, timeout) == ("127.0.0.1", 5000, 5), "another address"
        self._next += 1
        return factory

    def accept(self) -> Peer:
        """Let the next connection come about."""
        return Peer(self._attempt().buildProtocol(None))

    def refuse(self) -> None:
        """Let the next connection fail."""
        self._attempt().clientConnectionFailed(None, Failure(errors.ConnectionRefusedError()))


class Collected(Protocol):
    """A body, and how it ended."""

    def __init__(self) -> None:
        self.data = b""
        self.reason: Failure | None = None

    def dataReceived(self, data: bytes) -> None:
        self.data += data

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        assert self.reason is None, "told twice"
        self.reason = reason


def headers_of(pairs: Sequence[tuple[bytes, bytes]]) -> dict[bytes, list[bytes]]:
    """:returns: header fields, but for those about the connection, which twisted.web hides"""
    fields: dict[bytes, list[bytes]] = {}
    for name, value in pairs:
        if name.lower() not in OF_THE_CONNECTION:
            fields.setdefault(name.lower(), []).append(value)
    return fields


class Road:
    """One way to send requests."""

    agent: Any

    def __init__(self, network: Network) -> None:
        self.agent = self.make(network.reactor, network.trust, 4, 5)

    def make(self, *arguments: Any) -> Any:
        """:returns: an agent"""
        return FastAgent(*arguments)

    def ask(self, method: bytes, body: bytes | None, fields: Sequence[tuple[bytes, bytes]] = ()) -> Deferred[Any]:
        """:returns: fires with status, header fields and body"""
        headers = Headers()
        for name, value in fields:
            headers.addRawHeader(name, value)
        producer = None if body is None else Body(body)
        answer: Deferred[Any] = self.agent.request(method, URI, headers, producer)
        return answer.addCallback(self._read)

    def _read(self, response: IResponse) -> Deferred[Any]:
        whole: Deferred[Any] = Deferred()

        class Reader(Collected):
            def connectionLost(self, reason: Failure = connectionDone) -> None:
                if reason.check(ResponseDone, PotentialDataLoss):
                    pairs = [(name, value) for name, values in response.headers.getAllRawHeaders() for value in values]
                    whole.callback((response.code, headers_of(pairs), self.data))
                else:
                    whole.errback(reason)

        response.deliverBody(Reader())
        return whole


class PlainRoad(Road):
    """Twisted's Agent."""

    def make(self, *arguments: Any) -> Any:
        return PersistentAgent(*arguments)


class ShortRoad(Road):
    """The fast agent's own entry."""

    def ask(self, method: bytes, body: bytes | None, fields: Sequence[tuple[bytes, bytes]] = ()) -> Deferred[Any]:
        head = b"".join(b"%b: %b\r\n" % field for field in fields)
        answer: Deferred[Any] = self.agent.call(method, self.agent.target(URI), head, body, 1 << 30)
        return answer.addCallback(lambda answer: (answer.status, headers_of(answer.headers.pairs()), answer.body))
