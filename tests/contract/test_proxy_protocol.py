"""The PROXY protocol: its bytes, and on real sockets what comes of them, in front of TLS too."""

from __future__ import annotations

import gc
import weakref
from socket import AF_INET6, inet_pton
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.interfaces import IProtocolFactory
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.internet.testing import MemoryReactorClock, StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from bench.ports import free_port
from tests.contract.case import ContractTestCase
from tests.descriptions import escaped
from tests.gate import Gate, handshake_request
from tests.properties import moderately
from tests.tls_case import TlsTestCase
from tests.unit.net.http1.test_parser import slices
from tests.wire import TEXT, Frame, Wire, handshake
from wsaas.net.proxy_protocol import MAX_V1, MAX_V2, ProxiedFactory, ProxiedReactor, read_header

SIGNATURE = b"\x0d\x0a\x0d\x0a\x00\x0d\x0a\x51\x55\x49\x54\x0a"
TCP4 = b"PROXY TCP4 198.51.100.7 192.0.2.80 50000 443\r\n"
TCP6 = b"PROXY TCP6 2001:db8::7 2001:db8::80 50000 443\r\n"


def version2(family: int, addresses: bytes, *, command: int = 0x21, more: bytes = b"") -> bytes:
    """:returns: a header of version 2

    :param more: fields behind the addresses
    """
    body = addresses + more
    return SIGNATURE + bytes([command, family]) + len(body).to_bytes(2, "big") + body


PORTS = (50000).to_bytes(2, "big") + (443).to_bytes(2, "big")
INET = bytes([198, 51, 100, 7, 192, 0, 2, 80]) + PORTS
INET6 = inet_pton(AF_INET6, "2001:db8::7") + inet_pton(AF_INET6, "2001:db8::80") + PORTS
#: What AWS adds: the endpoint of a VPC.
TLV = b"\xea\x00\x17\x01vpce-08d2bf15fac5001c9"
LOCAL = version2(0, b"", command=0x20)
GOOD = (
    TCP4,
    TCP6,
    b"PROXY UNKNOWN\r\n",
    version2(0x11, INET),
    version2(0x21, INET6, more=TLV),
    LOCAL,
)
BAD = (
    b"PROXY \r\n",
    b"PROXY TCP4\r\n",
    b"PROXY TCP5 198.51.100.7 192.0.2.80 50000 443\r\n",
    b"PROXY TCP4 198.51.100.7 192.0.2.80 50000\r\n",
    b"PROXY TCP4 198.51.100.7 192.0.2.80 50000 443 \r\n",
    b"PROXY TCP4  198.51.100.7 192.0.2.80 50000 443\r\n",
    b"PROXY TCP4 198.51.100.777 192.0.2.80 50000 443\r\n",
    b"PROXY TCP4 198.51.100.7 nobody 50000 443\r\n",
    b"PROXY TCP4 198.51.100.7 192.0.2 50000 443\r\n",
    b"PROXY TCP4 2001:db8::7 2001:db8::80 50000 443\r\n",
    b"PROXY TCP6 198.51.100.7 192.0.2.80 50000 443\r\n",
    b"PROXY TCP6 2001:db8::7%eth0 2001:db8::80 50000 443\r\n",
    b"PROXY TCP4 198.51.100.7 192.0.2.80 65536 443\r\n",
    b"PROXY TCP4 198.51.100.7 192.0.2.80 50000 99999\r\n",
    b"PROXY TCP4 198.51.100.7 192.0.2.80 050000 443\r\n",
    b"PROXY TCP4 198.51.100.7 192.0.2.80 -1 443\r\n",
    b"PROXY TCP4 198.51.100.\xb7 192.0.2.80 50000 443\r\n",
    b"PROXY UNKNOWNS\r\n",
    b"proxy UNKNOWN\r\n",
    b"PROXY UNKNOWN " + b"x" * MAX_V1 + b"\r\n",
    version2(0x11, INET, command=0x11),
    version2(0x11, INET, command=0x22),
    version2(0x11, INET[:-1]),
    version2(0x21, INET),
    version2(0x31, INET6),
    version2(0x13, INET),
    version2(0x41, INET6),
    version2(0x11, INET, more=bytes(MAX_V2)),
    SIGNATURE[:-1] + b"\x0b" + version2(0x11, INET)[12:],
    b"GET / HTTP/1.1\r\n\r\n",
    b"\x16\x03\x01\x02\x00",
)


class HeaderTests(SynchronousTestCase):
    """Headers as bytes."""

    def test_version_1(self) -> None:
        """Who connected, and where what follows begins."""
        self.assertEqual(read_header(TCP4 + b"GET"), (IPv4Address("TCP", "198.51.100.7", 50000), len(TCP4)))
        self.assertEqual(read_header(TCP6 + b"\r\n"), (IPv6Address("TCP", "2001:db8::7", 50000), len(TCP6)))

    def test_version_2(self) -> None:
        """The same; further fields are passed over."""
        for more in (b"", TLV, bytes(MAX_V2 - 16 - len(INET6))):
            header = version2(0x11, INET, more=more)
            self.assertEqual(read_header(header + b"GET"), (IPv4Address("TCP", "198.51.100.7", 50000), len(header)))
            header = version2(0x21, INET6, more=more)
            self.assertEqual(read_header(header), (IPv6Address("TCP", "2001:db8::7", 50000), len(header)))

    def test_datagrams(self) -> None:
        """A client of HTTP/3 came in such, and has an address like others."""
        header = version2(0x12, INET)
        self.assertEqual(read_header(header), (IPv4Address("TCP", "198.51.100.7", 50000), len(header)))

    def test_unix(self) -> None:
        """A client of the proxy's UNIX socket has no address."""
        header = version2(0x31, bytes(216))
        self.assertEqual(read_header(header), (UNIXAddress(None), len(header)))

    def test_nobody_else(self) -> None:
        """The proxy itself, or somebody of whom it does not tell."""
        for header in (
            b"PROXY UNKNOWN\r\n",
            b"PROXY UNKNOWN ffff:f:f:f:f:f:f:f ffff:f:f:f:f:f:f:f 65535 65535\r\n",
            LOCAL,
            version2(0x11, INET, command=0x20),
            version2(0x99, b"x", command=0x20),
            version2(0, b""),
            version2(0, b"", more=TLV),
        ):
            self.assertEqual(read_header(header + b"GET"), (None, len(header)))

    def test_what_is_none(self) -> None:
        """Malformed, too long, or something else."""
        for data in BAD:
            self.assertRaises(ValueError, read_header, data)

    def test_the_longest(self) -> None:
        """107 bytes, and not one more before it is refused."""
        header = b"PROXY UNKNOWN ".ljust(MAX_V1 - 2, b"x") + b"\r\n"
        self.assertEqual(read_header(header), (None, MAX_V1))
        self.assertIsNone(read_header(header[:-1]))
        self.assertRaises(ValueError, read_header, header[:-2] + b"xx")

    @given(st.sampled_from([*GOOD, *BAD]) | st.binary(max_size=40), st.integers(0, MAX_V2))
    @moderately
    def test_in_pieces(self, data: bytes, cut: int) -> None:
        """The beginning of a header is one of which more is to come, and nothing else."""
        try:
            whole = read_header(data)
        except ValueError:
            whole = None
        try:
            part = read_header(data[:cut])
        except ValueError:
            self.assertIsNone(whole)
        else:
            self.assertTrue(part is None or part == whole)

    @given(st.binary(max_size=300) | st.binary(max_size=300).map(lambda data: SIGNATURE + data))
    @moderately
    def test_anything(self, data: bytes) -> None:
        """Is read, or more is waited for, or it is refused."""
        try:
            read = read_header(data)
        except ValueError:
            return
        if read is None:
            self.assertLess(len(data), MAX_V2)
        else:
            self.assertLessEqual(read[1], len(data))


class Inner(Protocol):
    """What the wrapper is around."""

    def __init__(self) -> None:
        self.received = b""
        self.lost = False

    def dataReceived(self, data: bytes) -> None:
        assert data
        self.received += data

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.lost = True


class ConnectionTests(SynchronousTestCase):
    """One connection in memory."""

    def setUp(self) -> None:
        """Connect."""
        factory = ProxiedFactory(Factory.forProtocol(Inner))
        self.transport = StringTransport(peerAddress=IPv4Address("TCP", "192.0.2.1", 1))
        built: Any = factory.buildProtocol(self.transport.getPeer())
        self.connection = built
        self.connection.makeConnection(self.transport)
        self.inner: Any = self.connection.wrappedProtocol

    @given(st.sampled_from(GOOD), st.lists(st.integers(0, 1 << 16), max_size=6))
    @moderately
    def test_pieces(self, header: bytes, cuts: list[int]) -> None:
        """However it comes, what follows it gets through, and the peer is the client."""
        self.setUp()
        for piece in slices(header + b"hello", cuts):
            if piece:
                self.connection.dataReceived(piece)
        self.assertEqual(self.inner.received, b"hello")
        said = read_header(header)
        assert said is not None
        self.assertEqual(self.inner.transport.getPeer(), said[0] or self.transport.getPeer())

    def test_before_the_header(self) -> None:
        """The proxy is the peer, and the protocol inside is there already, with its deadline."""
        self.assertEqual(self.inner.transport.getPeer(), self.transport.getPeer())
        self.assertTrue(self.inner.connected)

    def test_refused(self) -> None:
        """Closed without a word, and nothing of it gets through."""
        for data in BAD:
            self.setUp()
            self.connection.dataReceived(data)
            self.assertTrue(self.transport.disconnecting, data)
            self.connection.dataReceived(TCP4 + b"hello")
            self.assertEqual((self.inner.received, self.transport.value()), (b"", b""))
            self.connection.connectionLost(Failure(connectionDone.value))
            self.assertTrue(self.inner.lost)

    def test_what_is_over_is_freed(self) -> None:
        """At once, without a search for cycles."""
        gc.disable()
        self.addCleanup(gc.enable)
        gate = Gate(None)
        wire = gate.connect(ProxiedFactory(gate.site))
        proxied = weakref.ref(wire.protocol)
        wire.deliver(TCP4 + handshake_request())
        gate.agent.last.answer()
        inner = weakref.ref(wire.protocol.wrappedProtocol)
        self.assertTrue(wire.take().startswith(b"HTTP/1.1 101"))
        wire.end()
        gate.agent.last.answer()
        gate.turn()
        self.assertEqual((proxied(), inner()), (None, None))

    def test_a_second_header(self) -> None:
        """Is not one: whoever is behind the proxy may have sent it."""
        self.connection.dataReceived(TCP4 + TCP6)
        self.assertEqual(self.inner.received, TCP6)
        self.assertEqual(self.inner.transport.getPeer().host, "198.51.100.7")


class Machine(MemoryReactorClock):
    """A reactor that also adopts ports, in memory."""

    def __init__(self) -> None:
        super().__init__()
        #: What was adopted: descriptor, family, factory.
        self.adopted: list[tuple[int, int, IProtocolFactory]] = []

    def adoptStreamPort(self, fileDescriptor: int, addressFamily: int, factory: Any) -> Any:
        self.adopted.append((fileDescriptor, addressFamily, factory))


class ReactorTests(SynchronousTestCase):
    """Ports of all kinds."""

    def test_every_kind(self) -> None:
        """The header is looked for outside of everything else."""
        factory: Any = Factory.forProtocol(Inner)
        machine = Machine()
        proxied = ProxiedReactor(machine)
        proxied.listenTCP(80, factory, 7, interface="127.0.0.1")
        proxied.listenUNIX("/run/x", factory, mode=0o600)
        proxied.adoptStreamPort(5, AF_INET6, factory)
        servers: Any = machine.tcpServers, machine.unixServers, machine.adopted
        (plain,), (unix,), (adopted,) = servers
        for outer in (plain[1], unix[1], adopted[2]):
            self.assertIsInstance(outer, ProxiedFactory)
        self.assertIs(plain[1].wrappedFactory, factory)
        self.assertEqual((plain[0], *plain[2:]), (80, 7, "127.0.0.1"))
        self.assertEqual(adopted[:2], (5, AF_INET6))
        self.assertEqual(proxied.seconds(), machine.seconds())


class SocketTests(ContractTestCase):
    """On real sockets."""

    async def serve_proxied(self, **settings: str) -> None:
        """Start the gateway with a port for a proxy."""
        port = free_port()
        await self.serve(
            WS_LISTEN=f"haproxy:tcp:{port}:interface=127.0.0.1",
            WS_HOSTNAME=f"http://127.0.0.1:{port}",
            **settings,
        )
        self.port = port

    async def check(self, header: bytes, client: str | None) -> Wire:
        """A client gets through behind a header.

        :param client: what the API is told
        :returns: its connection, open
        """
        wire = await self.dial()
        wire.send(header + handshake())
        self.assertEqual((await wire.reply()).status, 101)
        self.assertEqual((await self.api.call("POST")).header("Ws-Client"), client)
        return wire

    async def test_both_versions(self) -> None:
        """The API is told of the client; of the proxy where that does not tell; of nobody behind a UNIX socket."""
        await self.serve_proxied()
        for header, client in (
            (TCP4, "198.51.100.7"),
            (TCP6, "2001:db8::7"),
            (b"PROXY TCP6 ::ffff:198.51.100.7 ::1 1 2\r\n", "198.51.100.7"),
            (b"PROXY UNKNOWN\r\n", "127.0.0.1"),
            (version2(0x11, INET), "198.51.100.7"),
            (version2(0x21, INET6, more=TLV), "2001:db8::7"),
            (LOCAL, "127.0.0.1"),
            (version2(0x31, bytes(216)), None),
        ):
            await self.check(header, client)

    async def test_messages(self) -> None:
        """A whole life behind it."""
        await self.serve_proxied()
        wire = await self.dial()
        wire.send(TCP4 + handshake())
        self.assertEqual((await wire.reply()).status, 101)
        ws_uri = (await self.api.call("POST")).ws_uri
        wire.send_text("hello")
        self.assertEqual((await self.api.call("PUT", ws_uri)).body, b"hello")
        pusher = await self.dial()
        pusher.send(TCP6 + self.request("PUT", ws_uri, b"hi", [("Content-Type", "text/plain")]))
        self.assertEqual((await pusher.reply()).status, 200)
        self.assertEqual(await wire.frame(), Frame(TEXT, b"hi"))
        wire.send_close(1000)
        disconnect = await self.api.call("DELETE", ws_uri)
        self.assertEqual((disconnect.header("Ws-Client"), disconnect.header("Ws-Close-Code")), ("198.51.100.7", "1000"))

    async def test_byte_by_byte(self) -> None:
        """A header that trickles is waited for."""
        await self.serve_proxied()
        for header in (TCP4, version2(0x11, INET)):
            wire = await self.dial()
            for at in range(len(header)):
                wire.send(header[at : at + 1])
                # An answer to somebody else: so far the gateway has read.
                await self.check(LOCAL, "127.0.0.1") if at in (1, 14) else None
            wire.send(handshake())
            self.assertEqual((await wire.reply()).status, 101)
            self.assertEqual((await self.api.call("POST")).header("Ws-Client"), "198.51.100.7")

    async def test_refused(self) -> None:
        """Without a header, or with a broken one: closed, and the log says why."""
        await self.serve_proxied()
        for data in (handshake(), BAD[4] + handshake(), version2(0x13, INET) + handshake(), b"\x16\x03\x01"):
            wire = await self.dial()
            wire.send(data)
            self.assertEqual(await wire.end(), b"")
        self.assertEqual(self.api.calls, [])
        await self.until_logged("- refused: 127.0.0.1: no PROXY header")
        await self.until_logged("- refused: 127.0.0.1: a malformed PROXY header")

    async def test_the_deadline(self) -> None:
        """That of the request's head: from the beginning of the connection, whatever trickles in."""
        await self.serve_proxied(WS_TIMEOUT="200")
        for beginning in (b"", b"PROXY TCP4", SIGNATURE):
            wire = await self.dial()
            wire.send(beginning)
            await wire.end()
        self.assertEqual(self.api.calls, [])

    async def test_trust_proxy(self) -> None:
        """Such a proxy is not one of those that are counted."""
        await self.serve_proxied(TRUST_PROXY="1")
        wire = await self.dial()
        wire.send(TCP4 + handshake("/", [("X-Forwarded-For", "10.0.0.9, 10.0.0.1"), ("X-Forwarded-Proto", "https")]))
        self.assertEqual((await wire.reply()).status, 101)
        post = await self.api.call("POST")
        self.assertEqual((post.header("Ws-Client"), post.header("Ws-Scheme")), ("10.0.0.1", "wss"))

    async def test_per_address(self) -> None:
        """Clients are counted, not the proxy."""
        await self.serve_proxied(WS_MAX_PER_ADDRESS="1")
        first = await self.check(TCP4, "198.51.100.7")
        await self.check(TCP6, "2001:db8::7")
        wire = await self.dial()
        wire.send(version2(0x11, INET) + handshake())
        self.assertEqual((await wire.reply()).status, 429)
        first.drop()
        await self.api.call("DELETE")
        await self.check(TCP4, "198.51.100.7")

    async def test_elsewhere(self) -> None:
        """Where no proxy is expected, a header is a bad request."""
        await self.serve()
        for header in GOOD:
            wire = await self.dial()
            wire.send(header + handshake())
            self.assertEqual((await wire.reply()).status, 400)
            wire.drop()
        self.assertEqual(self.api.calls, [])


class TlsTests(TlsTestCase):
    """In front of TLS."""

    async def serve_proxied(self, kind: str) -> None:
        """Start the gateway with a port for a proxy that passes TLS on.

        :param kind: of the endpoint, ``ssl`` or ``tls``
        """
        port = free_port()
        if kind == "ssl":
            certificate, key = self.authority.issue()
            paths = self.write("cert.pem", certificate), self.write("key.pem", key)
            place = f"ssl:{port}:privateKey={escaped(paths[1])}:certKey={escaped(paths[0])}:interface=127.0.0.1"
        else:
            self.write("tls/localhost.pem", *self.authority.issue())
            place = f"tls:{escaped((self.folder / 'tls').absolute())}:{port}:interface=127.0.0.1"
        await self.serve(WS_LISTEN=f"haproxy:{place}", WS_HOSTNAME=f"https://localhost:{port}")
        self.port = port

    async def test_header_then_tls(self) -> None:
        """As proxies send it: in the clear, before the first byte of TLS."""
        for kind in ("ssl", "tls"):
            await self.serve_proxied(kind)
            for header, client in ((TCP4, "198.51.100.7"), (version2(0x21, INET6, more=TLV), "2001:db8::7")):
                wire = await self.dial()
                wire.send(header)
                wire.transport.startTLS(self.trusting())
                wire.send(handshake())
                self.assertEqual((await wire.reply()).status, 101)
                post = await self.api.call("POST")
                self.assertEqual((post.header("Ws-Client"), post.header("Ws-Scheme")), (client, "wss"))
                wire.send_text("hello")
                self.assertEqual((await self.api.call("PUT", post.ws_uri)).body, b"hello")
                wire.send_close(1000)
                await self.api.call("DELETE", post.ws_uri)
            await self.stop_gateway()

    async def test_tls_without_a_header(self) -> None:
        """Closed, before the handshake of TLS."""
        await self.serve_proxied("ssl")
        wire = await self.dial(tls=self.trusting())
        self.assertEqual(await wire.end(), b"")

    async def test_a_header_inside_of_tls(self) -> None:
        """Is a bad request, whoever is behind the proxy sent it."""
        await self.serve_proxied("ssl")
        wire = await self.dial()
        wire.send(TCP4)
        wire.transport.startTLS(self.trusting())
        wire.send(TCP6 + handshake())
        self.assertEqual((await wire.reply()).status, 400)
