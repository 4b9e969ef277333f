"""A network in memory, and the agents that send requests over it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from twisted.internet import error as errors
from twisted.internet.defer import Deferred, succeed
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IConsumer
from twisted.internet.protocol import Protocol, connectionDone
from twisted.internet.testing import MemoryReactorClock, StringTransport
from twisted.python.failure import Failure
from twisted.web.client import Agent, ResponseDone
from twisted.web.http import PotentialDataLoss
from twisted.web.iweb import IResponse

from wsaas.net.client_tls import ApiTrust
from wsaas.net.http1.agent import PersistentAgent
from wsaas.net.http1.headers import EncodedHeaders

URI = b"http://127.0.0.1:5000/websocket?a=b"
OK = b"HTTP/1.1 200 OK\r\n"
ANSWER = OK + b"Content-Length: 5\r\nWs-State: s\r\n\r\nhello"
#: Bytes of an answer's body, where a test does not mind.
MAX_BODY = 1 << 30


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


class Content:
    """A request's body as the gateway's client has it."""

    def __init__(self, content: bytes) -> None:
        self.content = content
        self.length = len(content)

    def startProducing(self, consumer: IConsumer) -> Deferred[None]:
        consumer.write(self.content)
        return succeed(None)


class Ours:
    """The gateway's agent, asked as the gateway asks it: with headers and a body that are ready for the wire."""

    agent: Any

    def __init__(self, network: Network, max_body: int = MAX_BODY) -> None:
        self.agent = self.make(network, max_body)

    def make(self, network: Network, max_body: int) -> Any:
        """:returns: an agent"""
        return PersistentAgent(network.reactor, network.trust, 4, 5, max_body)

    def ask(self, method: bytes, body: bytes | None, fields: Sequence[tuple[bytes, bytes]] = ()) -> Deferred[Any]:
        """:returns: fires with status, header fields and body"""
        headers = EncodedHeaders(b"".join(b"%b: %b\r\n" % field for field in fields))
        producer: Any = None if body is None else Content(body)
        answer: Deferred[Any] = self.agent.request(method, URI, headers, producer)
        return answer.addCallback(self._read)

    def _read(self, response: IResponse) -> Deferred[Any]:
        whole: Deferred[Any] = Deferred()

        class Reader(Collected):
            def connectionLost(self, reason: Failure = connectionDone) -> None:
                if reason.check(ResponseDone, PotentialDataLoss):
                    fields: dict[bytes, list[bytes]] = {}
                    for name, values in response.headers.getAllRawHeaders():
                        fields.setdefault(name.lower(), []).extend(values)
                    # Which Twisted shows for HEAD only.
                    fields.pop(b"content-length", None)
                    whole.callback((response.code, fields, self.data))
                else:
                    whole.errback(reason)

        response.deliverBody(Reader())
        return whole


class Twisteds(Ours):
    """Twisted's Agent, the reference for what an answer is."""

    def make(self, network: Network, max_body: int) -> Any:
        return Agent(network.reactor, connectTimeout=5)
