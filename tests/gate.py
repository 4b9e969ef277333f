"""What stands in tests where sockets, clients and the API would be: everything in memory, with one clock."""

from __future__ import annotations

import json
import struct
import zlib
from base64 import b64encode
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from random import Random
from typing import Any

from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionAborted, ConnectionDone
from twisted.internet.interfaces import IAddress, IProtocol, IProtocolFactory, ISSLTransport, ITCPTransport
from twisted.internet.testing import MemoryReactorClock, StringTransport
from twisted.python.failure import Failure
from twisted.web.client import ResponseDone
from twisted.web.http_headers import Headers
from twisted.web.iweb import UNKNOWN_LENGTH, IAgent, IBodyProducer, IResponse
from twisted.web.resource import IResource
from zope.interface import implementer

from tests.fakes import TimeOfDay, home
from wsaas.callbacks.access import ApiAccess
from wsaas.callbacks.breaker import Breaker
from wsaas.callbacks.calls import Api
from wsaas.callbacks.client import ApiClient
from wsaas.callbacks.disconnects import Disconnects
from wsaas.callbacks.publishing import AnswerPublisher
from wsaas.callbacks.slots import Slots
from wsaas.callbacks.tracing import Tracer
from wsaas.connections.addresses import Addresses
from wsaas.connections.admission import Admission
from wsaas.connections.connection import Connection
from wsaas.connections.identity import Identity, new_identity
from wsaas.connections.registry import Registry
from wsaas.connections.retry import Backoff, Retries
from wsaas.connections.totals import Shared, Totals
from wsaas.net.http1.site import ClientSite, SiteLimits
from wsaas.operations.admin import Health, Readiness
from wsaas.pushes.named import NamedResource
from wsaas.pushes.resource import PushResource
from wsaas.pushes.settings import PushSettings
from wsaas.pushes.tokens import PushTokens
from wsaas.routes import ClientRoutes, PushRoutes
from wsaas.settings.read import read_settings
from wsaas.websocket.takeover import ClientFactory
from wsaas.websocket.upgrade import UpgradeResource

#: The time of day when a test starts: 2023-11-14T22:13:20Z.
NOW = 1_700_000_000.0
#: What the monotonic clock of the tests says then.
UPTIME = 5000.0

#: What a full buffer is to a transport: Twisted's own number, in bytes.
FULL = 65536

#: RFC 6455 §5.2.
CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10
#: RFC 7692 §7.2.1: what ends a compressed message and is left out.
_TAIL = b"\x00\x00\xff\xff"


@implementer(ITCPTransport)
class Wire(StringTransport):
    """One TCP connection in memory: a transport to the process under test, the other end to the test.

    As with sockets, nothing is delivered while reading is paused, the end is told in a later turn of the reactor, and a
    transport forgets its protocol and its producer with it.

    :param clock: gives the turns of the reactor
    :param peer: where the other end is
    """

    def __init__(self, clock: MemoryReactorClock, peer: IAddress | None = None) -> None:
        super().__init__(
            hostAddress=IPv4Address("TCP", "192.0.2.80", 80),
            peerAddress=peer or IPv4Address("TCP", "192.0.2.1", 50000),
            lenient=True,
        )
        self._clock = clock
        self._inbox: list[bytes] = []
        self.protocol: Any = None
        #: Whether the process under test ended its direction only.
        self.half_closed = False
        self.aborted = False
        #: Whether the protocol knows of the end.
        self.over = False
        #: What the other end does not take; a name that Twisted's transports have.
        self.dataBuffer = b""
        self._stalled = False

    def attach(self, protocol: IProtocol) -> Wire:
        """Connect a protocol."""
        self.protocol = protocol
        protocol.makeConnection(self)
        return self

    # The other end

    def deliver(self, data: bytes) -> None:
        """Send bytes to the process under test."""
        self._inbox.append(data)
        self._read()

    def _read(self) -> None:
        while self._inbox and self.producerState == "producing" and not self.over and not self.disconnecting:
            self.protocol.dataReceived(self._inbox.pop(0))

    def take(self) -> bytes:
        """:returns: what came from the process under test since the last time"""
        data: bytes = self.value()
        self.clear()
        return data

    def stall(self) -> None:
        """Take nothing any more."""
        self._stalled = True

    def flow(self) -> None:
        """Take what waits, and what comes from now on."""
        self._stalled = False
        data, self.dataBuffer = self.dataBuffer, b""
        self.io.write(data)
        if self.disconnecting:
            self._clock.callLater(0, self.end)
        elif self.producer is not None:
            self.producer.resumeProducing()

    def end(self, reason: type[Exception] = ConnectionDone) -> None:
        """End the connection."""
        if self.over:
            return
        self.over = True
        protocol, self.protocol = self.protocol, None
        producer, self.producer = self.producer, None
        if producer is not None:
            producer.stopProducing()
        protocol.connectionLost(Failure(reason()))

    # The transport

    def write(self, data: bytes) -> None:
        if self.over or self.half_closed:
            return
        if not self._stalled:
            super().write(data)
            return
        self.dataBuffer += data
        if len(self.dataBuffer) > FULL and self.producer is not None:
            self.producer.pauseProducing()

    def writeSequence(self, data: Any) -> None:
        self.write(b"".join(data))

    def unregisterProducer(self) -> None:
        self.producer = self.streaming = None

    def resumeProducing(self) -> None:
        super().resumeProducing()
        if self._inbox:
            self._clock.callLater(0, self._read)

    def loseConnection(self) -> None:
        if not self.disconnecting and not self.over:
            self.disconnecting = True
            if not self.dataBuffer:
                self._clock.callLater(0, self.end)

    def loseWriteConnection(self) -> None:
        self.half_closed = True

    def abortConnection(self) -> None:
        if self.over:
            return
        self.aborted = self.disconnecting = True
        self._clock.callLater(0, self.end, ConnectionAborted)

    def getTcpNoDelay(self) -> bool:
        """As sockets have it."""
        return False

    def setTcpNoDelay(self, enabled: bool) -> None:
        """Nothing is delayed in memory."""

    def getTcpKeepAlive(self) -> bool:
        """As sockets have it."""
        return False

    def setTcpKeepAlive(self, enabled: bool) -> None:
        """Nothing is lost in memory."""


@implementer(ISSLTransport)
class SecureWire(Wire):
    """One TLS connection in memory."""

    def getPeerCertificate(self) -> object:
        """The client shows none."""
        return None


# HTTP, read and written by nothing that is under test


@dataclass(frozen=True)
class HttpAnswer:
    """An HTTP response, as a client reads it. Names of headers in lower case."""

    status: int
    headers: Mapping[str, list[str]]
    body: bytes

    @property
    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)

    def header(self, name: str) -> str | None:
        """:returns: the one value of a header"""
        values = self.headers.get(name.lower(), [])
        if len(values) > 1:
            raise AssertionError(f"{name} is there {len(values)} times: {values}")
        return values[0] if values else None


def read_answer(data: bytes, *, head_only: bool = False) -> tuple[HttpAnswer, bytes]:
    """Read one HTTP response strictly (RFC 9112 §4).

    :param head_only: whether it answers ``HEAD``
    :returns: the response and what follows it
    :raises AssertionError: if it is not a whole response
    """
    head, end, rest = data.partition(b"\r\n\r\n")
    if not end:
        raise AssertionError(f"no whole head: {data[:200]!r}")
    first, *lines = head.decode("ascii").split("\r\n")
    version, status, phrase = first.split(" ", 2)
    if version not in ("HTTP/1.1", "HTTP/1.0") or len(status) != 3 or not status.isdigit() or not phrase:
        raise AssertionError(f"no status line: {first!r}")
    headers: dict[str, list[str]] = {}
    for line in lines:
        name, colon, value = line.partition(":")
        if not colon or not name or name != name.strip():
            raise AssertionError(f"no header: {line!r}")
        headers.setdefault(name.lower(), []).append(value.strip())
    if status.startswith("1") or head_only:
        return HttpAnswer(int(status), headers, b""), rest
    (length,) = headers["content-length"]
    if len(rest) < int(length):
        raise AssertionError(f"body cut short: {rest!r}")
    return HttpAnswer(int(status), headers, rest[: int(length)]), rest[int(length) :]


def read_answers(data: bytes) -> list[HttpAnswer]:
    """Read nothing but whole HTTP responses, none of them to ``HEAD``."""
    answers = []
    while data:
        answer, data = read_answer(data)
        answers.append(answer)
    return answers


def http_request(
    method: str, target: str, body: bytes | None = None, *headers: tuple[str, str], version: str = "1.1"
) -> bytes:
    """:returns: a request with ``Host``, and with ``Content-Length`` if it has a body"""
    lines = [
        f"{method} {target} HTTP/{version}",
        "Host: gateway.test",
        *(f"{name}: {value}" for name, value in headers),
    ]
    if body is not None:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + (body or b"")


#: RFC 6455 §1.3's example.
WEBSOCKET_KEY = b64encode(b"the sample nonce").decode("ascii")
WEBSOCKET_ACCEPT = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="


def handshake_request(target: str = "/", *headers: tuple[str, str], without: tuple[str, ...] = ()) -> bytes:
    """Write a handshake (RFC 6455 §4.1).

    :param headers: further headers
    :param without: names of headers that are left out
    """
    usual = [
        ("Host", "gateway.test"),
        ("Upgrade", "websocket"),
        ("Connection", "Upgrade"),
        ("Sec-WebSocket-Key", WEBSOCKET_KEY),
        ("Sec-WebSocket-Version", "13"),
    ]
    lines = [
        f"{name}: {value}" for name, value in [*usual, *headers] if (name, value) in headers or name not in without
    ]
    return "\r\n".join([f"GET {target} HTTP/1.1", *lines]).encode("latin-1") + b"\r\n\r\n"


# WebSocket frames, read and written by nothing that is under test


def frame(opcode: int, payload: bytes = b"", *, fin: bool = True, rsv: int = 0, mask: bytes | None = b"mask") -> bytes:
    """Write a frame (RFC 6455 §5.2).

    :param rsv: the three reserved bits; 4 is RSV1
    :param mask: four bytes; :data:`None` leaves the frame unmasked
    """
    masked = 0x80 if mask is not None else 0
    length = len(payload)
    head = bytes([0x80 * fin | rsv << 4 | opcode])
    if length < 126:
        head += bytes([masked | length])
    elif length < 65536:
        head += bytes([masked | 126]) + struct.pack("!H", length)
    else:
        head += bytes([masked | 127]) + struct.pack("!Q", length)
    if mask is None:
        return head + payload
    keys = (mask * (length // 4 + 1))[:length]
    return head + mask + (int.from_bytes(payload, "big") ^ int.from_bytes(keys, "big")).to_bytes(length, "big")


def close_frame(code: int, reason: str = "") -> bytes:
    """Write a client's Close frame (RFC 6455 §5.5.1)."""
    return frame(CLOSE, close_payload(code, reason))


def close_payload(code: int, reason: str = "") -> bytes:
    """:returns: what a Close frame carries"""
    return struct.pack("!H", code) + reason.encode("utf-8")


@dataclass(frozen=True)
class Frame:
    """A frame, as a client reads it."""

    opcode: int
    payload: bytes
    rsv: int = 0
    fin: bool = True


def deflate(data: bytes) -> bytes:
    """:returns: a compressed message (RFC 7692 §7.2.1)"""
    compressor = zlib.compressobj(wbits=-15)
    return (compressor.compress(data) + compressor.flush(zlib.Z_SYNC_FLUSH)).removesuffix(_TAIL)


def inflate(data: bytes) -> bytes:
    """:returns: a message that was compressed by itself"""
    return zlib.decompressobj(wbits=-15).decompress(data + _TAIL)


def read_frames(data: bytes) -> list[Frame]:
    """Read nothing but whole frames of a server, which are not masked."""
    frames = []
    while data:
        first, second = data[0], data[1]
        if second & 0x80:
            raise AssertionError("a server masks no frame (RFC 6455 §5.1)")
        length, start = second, 2
        if length == 126:
            length, start = struct.unpack("!H", data[2:4])[0], 4
        elif length == 127:
            length, start = struct.unpack("!Q", data[2:10])[0], 10
        if len(data) < start + length:
            raise AssertionError("a frame is cut short")
        frames.append(Frame(first & 15, data[start : start + length], first >> 4 & 7, bool(first & 0x80)))
        data = data[start + length :]
    return frames


# The API


@implementer(IResponse)
class FakeResponse:
    """What an agent answers with.

    :param code: the status
    :param headers: its header fields
    :param body: what of its body is there
    :param ending: how the body ends; :data:`None`: it is not yet complete
    """

    version = (b"HTTP", 1, 1)
    phrase = b"-"
    request = previousResponse = None

    def __init__(self, code: int, headers: Headers, body: bytes, ending: Exception | None) -> None:
        self.code = code
        self.headers = headers
        self.length: Any = len(body) if isinstance(ending, ResponseDone) else UNKNOWN_LENGTH
        self.body = body
        self.ending = ending
        self.transport = StringTransport()
        self.reader: IProtocol | None = None

    def deliverBody(self, protocol: IProtocol) -> None:
        """Deliver what is there."""
        self.reader = protocol
        protocol.makeConnection(self.transport)
        if self.body:
            protocol.dataReceived(self.body)
        if self.ending is not None:
            protocol.connectionLost(Failure(self.ending))

    def setPreviousResponse(self, response: IResponse) -> None:
        """No redirects are followed."""
        raise AssertionError("a redirect was followed")


@dataclass
class ApiCall:
    """A request that an agent was given."""

    method: str
    uri: str
    headers: Headers
    body: bytes | None
    result: Deferred[Any]
    cancelled: bool = field(default=False)

    def all(self, name: str) -> list[str]:
        """:returns: the values of a header"""
        return [value.decode("ascii") for value in self.headers.getRawHeaders(name.encode("ascii"), [])]

    def header(self, name: str) -> str | None:
        """:returns: the one value of a header"""
        values = self.all(name)
        if len(values) > 1:
            raise AssertionError(f"{name} is there {len(values)} times: {values}")
        return values[0] if values else None

    def answer(
        self,
        code: int = 200,
        body: bytes = b'{"code": "OK"}',
        *headers: tuple[str, str],
        ending: Exception | None = None,
        complete: bool = True,
    ) -> FakeResponse:
        """Answer it.

        :param ending: how the body ends, if not in order
        :param complete: whether the body ends at all
        """
        fields = Headers()
        for name, value in headers:
            fields.addRawHeader(name, value)
        response = FakeResponse(code, fields, body, (ending or ResponseDone()) if complete else None)
        self.result.callback(response)
        return response

    def fail(self, error: Exception) -> None:
        """Let it fail."""
        self.result.errback(error)


class _Collector:
    """The consumer of a request's body."""

    def __init__(self) -> None:
        self.data = b""

    def write(self, data: bytes) -> None:
        self.data += data


@implementer(IAgent)
class FakeAgent:
    """Takes requests to the API, and leaves their answers to the test."""

    def __init__(self) -> None:
        #: All requests so far.
        self.calls: list[ApiCall] = []
        #: Called with each request; may answer it.
        self.react: Callable[[ApiCall], object] | None = None

    def request(
        self, method: bytes, uri: bytes, headers: Headers | None = None, bodyProducer: IBodyProducer | None = None
    ) -> Deferred[IResponse]:
        """Take a request."""
        body: bytes | None = None
        if bodyProducer is not None:
            collector: Any = _Collector()
            bodyProducer.startProducing(collector)
            body = collector.data

        def cancel(_: Deferred[Any]) -> None:
            call.cancelled = True

        result: Deferred[Any] = Deferred(cancel)
        call = ApiCall(method.decode(), uri.decode(), (headers or Headers()).copy(), body, result)
        self.calls.append(call)
        if self.react is not None:
            self.react(call)
        return result

    @property
    def last(self) -> ApiCall:
        """The newest request."""
        return self.calls[-1]

    @property
    def methods(self) -> list[str]:
        """The methods of all requests, in order."""
        return [call.method for call in self.calls]


class Gate:
    """The gateway's parts put together in memory, with a fake agent for the API.

    :param pages: what a plain GET finds
    :param settings: as in the environment
    """

    #: The reactor that it is built on.
    make_clock: Callable[[], MemoryReactorClock] = MemoryReactorClock

    def __init__(self, pages: IResource | None = None, **settings: str) -> None:
        given = {
            "API_URI": "http://api.test/hook",
            "WS_HOSTNAME": "http://gateway.test",
            **settings,
        }
        self.settings = read_settings(given)
        limits = self.settings.connection
        self.clock = self.make_clock()
        self.clock.advance(UPTIME)
        self.now = TimeOfDay(self.clock, NOW)
        self.agent = FakeAgent()
        api = self.settings.api
        client = ApiClient(
            self.agent, self.clock, api.timeout, api.max_body, "http://api.test/hook", shows=self.settings.log.debugs
        )
        self.slots = Slots(self.settings.api.max_requests)
        self.registry = Registry()
        self.totals = Totals(addresses=Addresses(self.settings.max_per_address))
        self.budgets = self.totals.budgets
        self.groups = home(self.registry, self.totals, self.clock, limits.max_groups)
        self.breaker = Breaker(self.clock, self._random)
        retries = Retries(self.clock, self.now, Backoff(self._random), api.retry_for)
        # Not that of keys, by whose count the newest connection is known.
        tracer = Tracer(Random(7).randbytes) if api.trace else None
        access = ApiAccess(client, self.slots, self.breaker, self.clock, self.now, api, tracer)
        self.publisher = AnswerPublisher(self.groups, retries, self.budgets.incoming)
        self.disconnects = Disconnects(access, self._random, self.totals.pending, self.publisher)
        self.api = Api(access, retries, self.disconnects, self.publisher)
        self.factory = ClientFactory(self.clock, limits.max_message, self.settings.handshake.compression, self.budgets)
        max_connections = self.settings.max_connections or 1 << 20
        self._made = 0
        self.upgrade = UpgradeResource(
            self.api.calls,
            self.factory,
            lambda: new_identity(self.settings.hostname, self._token_bytes),
            self.settings.handshake,
            Shared(limits, self.registry, self.totals, self.clock, self.now, self.groups),
            Admission(self.registry, self.totals, max_connections, self.settings.api.max_requests).check,
        )
        tokens = PushTokens(self.settings.push_tokens, self.settings.publish_tokens)
        seconds = self.clock.seconds if self.settings.log.debugs else None
        self.pushes = PushResource(self.registry, limits.max_message, tokens, seconds)
        bodies = self.budgets.bodies
        bounds = PushSettings(limits.max_message, self.settings.max_batch, self.settings.log.debugs)
        self.named = NamedResource(self.registry, self.groups, tokens, bounds, self.clock, bodies)
        both = self.pushes, self.named
        shared = not self.settings.listen.pushes
        self.readiness = Readiness()
        path = self.settings.listen.health
        health = None if path is None else (path, Health(self.readiness))
        site_limits = SiteLimits(
            limits.timeout or 30,
            limits.max_message,
            proxies=self.settings.trust_proxy,
            max_head=self.settings.handshake.max_head,
        )
        #: What clients connect to; pushers too, unless PUSH_LISTEN is given.
        self.site = ClientSite(ClientRoutes(self.upgrade, both, shared, pages, health), self.clock, site_limits, bodies)
        #: What pushers connect to.
        self.push_site = self.site if shared else ClientSite(PushRoutes(both), self.clock, site_limits, bodies)

    @staticmethod
    def _random() -> float:
        return 0.5

    def _token_bytes(self, count: int) -> bytes:
        self._made += 1
        return self._made.to_bytes(count, "big")

    def connect(
        self, site: IProtocolFactory | None = None, peer: IAddress | None = None, kind: type[Wire] = Wire
    ) -> Wire:
        """Connect to a listener, the clients' one if not told otherwise."""
        wire = kind(self.clock, peer)
        protocol = (site or self.site).buildProtocol(wire.getPeer())
        assert protocol is not None
        return wire.attach(protocol)

    def turn(self, count: int = 4) -> None:
        """Let the reactor take some turns, without time passing."""
        for _ in range(count):
            self.clock.advance(0)

    def ask(self, method: str, target: str, body: bytes | None = None, *headers: tuple[str, str]) -> HttpAnswer:
        """Make one request to the pushers' listener, on a connection of its own."""
        wire = self.connect(self.push_site)
        wire.deliver(http_request(method, target, body, *headers))
        answer, rest = read_answer(wire.take(), head_only=method == "HEAD")
        if rest:
            raise AssertionError(f"bytes behind the answer: {rest!r}")
        wire.end()
        return answer

    def begin(
        self, target: str = "/", *headers: tuple[str, str], kind: type[Wire] = Wire, peer: IAddress | None = None
    ) -> Wire:
        """Send a handshake, which leaves the API with a POST to answer."""
        wire = self.connect(kind=kind, peer=peer)
        wire.deliver(handshake_request(target, *headers))
        return wire

    def open(self, target: str = "/", *headers: tuple[str, str], answer: tuple[tuple[str, str], ...] = ()) -> Wire:
        """Open a WebSocket.

        :param headers: further headers of the handshake
        :param answer: headers of the API's answer
        """
        wire = self.begin(target, *headers)
        self.agent.last.answer(200, b'{"code": "OK"}', *answer)
        return self._opened(wire)

    def open_as(self, handshake: bytes) -> Wire:
        """Open a WebSocket, where the API answers by itself.

        :param handshake: the whole request
        """
        wire = self.connect()
        wire.deliver(handshake)
        return self._opened(wire)

    def _opened(self, wire: Wire) -> Wire:
        got, rest = read_answer(wire.take())
        if got.status != 101 or rest:
            raise AssertionError(f"no WebSocket: {got}, {rest!r}")
        return wire

    @property
    def last_identity(self) -> Identity:
        """The names of the newest connection."""
        return new_identity(self.settings.hostname, lambda count: self._made.to_bytes(count, "big"))

    @property
    def key(self) -> str:
        """The key of the newest connection."""
        return self.last_identity.key

    @property
    def connection(self) -> Connection:
        """The newest connection, while a push can reach it."""
        connection = self.registry.get(self.key)
        if connection is None:
            raise AssertionError("it cannot be reached")
        return connection
