"""What waits for a client: order, and exact counts (protocol §3: "in the socket or its bounded buffer")."""

from __future__ import annotations

import socket
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from twisted.internet import reactor as global_reactor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP4ServerEndpoint, UNIXClientEndpoint, UNIXServerEndpoint
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.internet.ssl import Certificate, PrivateCertificate, optionsForClientTLS
from twisted.internet.task import deferLater
from twisted.internet.testing import StringTransport
from twisted.protocols.policies import ProtocolWrapper, WrappingFactory
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase, TestCase

from tests.certificates import self_signed
from wsaas.limits import OVERHEAD, Budget
from wsaas.websocket.send_queue import MAX_FRAMES, Output, unsent

reactor: Any = global_reactor


class OutputTests(SynchronousTestCase):
    """Order and counts over a transport in memory, which takes everything at once."""

    def setUp(self) -> None:
        self.transport = StringTransport()
        self.told = 0
        self.budget = Budget(1 << 30)
        self.output = Output(self.transport, self.drained, self.budget)

    def drained(self) -> None:
        """Count."""
        self.told += 1

    def test_it_is_the_transport_s_push_producer(self) -> None:
        """So that it is told when the transport's buffer is full."""
        self.assertIs(self.transport.producer, self.output)
        self.assertTrue(self.transport.streaming)

    def test_frames_are_written_at_once(self) -> None:
        """As long as nothing holds them back."""
        self.output.write(b"ab")
        self.output.write(b"c")
        self.assertEqual(self.transport.value(), b"abc")
        self.assertEqual((self.output.buffered, self.output.sent), (0, 3))

    def test_frames_are_held_back_while_the_transport_is_full(self) -> None:
        """And leave in order, before any later one; then it is told that there is room."""
        self.output.write(b"a")
        self.output.pauseProducing()
        self.assertTrue(self.output.paused)
        self.output.write(b"bc")
        self.output.write(b"d")
        self.assertEqual(self.transport.value(), b"a")
        self.assertEqual((self.output.buffered, self.output.sent, self.told), (3, 1, 0))
        self.output.resumeProducing()
        self.output.write(b"e")
        self.assertEqual(self.transport.value(), b"abcde")
        self.assertEqual((self.output.buffered, self.output.sent, self.told), (0, 5, 1))
        self.assertFalse(self.output.paused)

    def test_a_transport_that_is_full_again_holds_the_rest_back(self) -> None:
        """Without room, ``drained`` is not called."""
        write = self.transport.write

        def fills(data: bytes) -> None:
            write(data)
            if len(data) > 1:
                self.output.pauseProducing()

        self.transport.write = fills  # type: ignore[method-assign]  # a transport that fills up
        self.output.pauseProducing()
        for frame in (b"a", b"b" * 65536, b"c"):
            self.output.write(frame)
        self.output.resumeProducing()
        self.assertEqual(self.transport.value(), b"a" + b"b" * 65536)
        self.assertEqual((self.output.buffered, self.output.sent, self.told), (1, 65537, 0))
        self.assertEqual(self.budget.used, 1 + OVERHEAD)
        self.output.resumeProducing()
        self.assertEqual(self.transport.value(), b"a" + b"b" * 65536 + b"c")
        self.assertEqual((self.output.buffered, self.told, self.budget.used), (0, 1, 0))

    def test_many_short_frames_are_written_together(self) -> None:
        """One system call for each would take longer than to make them."""
        written: list[bytes] = []
        self.transport.write = written.append  # type: ignore[method-assign]  # counts the calls
        self.output.pauseProducing()
        for number in range(5000):
            self.output.write(b"%050d" % number)
        self.output.resumeProducing()
        self.assertEqual(b"".join(written), b"".join(b"%050d" % number for number in range(5000)))
        self.assertEqual(len(written), 4)

    def test_what_is_held_back_counts_for_all(self) -> None:
        """Each frame with what it takes besides its bytes; what the kernel has does not count."""
        self.output.write(b"x" * 1000)
        self.assertEqual(self.budget.used, 0)
        self.transport.dataBuffer = b"x" * 300  # type: ignore[attr-defined]  # what a socket does not take
        self.output.pauseProducing()
        self.output.pauseProducing()
        self.assertEqual(self.budget.used, 300)
        self.output.write(b"x" * 20)
        self.output.write(b"")
        self.assertEqual(self.budget.used, 320 + 2 * OVERHEAD)
        self.transport.dataBuffer = b""  # type: ignore[attr-defined]  # now it did
        self.output.resumeProducing()
        self.assertEqual(self.budget.used, 0)

    def test_what_is_forgotten_does_not_count(self) -> None:
        """Whether it is cleared or the transport is gone; also twice."""
        for forget in (self.output.clear, self.output.stopProducing):
            self.output.pauseProducing()
            self.output.write(b"lost")
            forget()
            forget()
            self.assertEqual(self.budget.used, 0)

    def test_crowded(self) -> None:
        """By the number of frames, for what empty ones take; or by what all take together."""
        self.output.pauseProducing()
        for _ in range(MAX_FRAMES):
            self.assertFalse(self.output.crowded)
            self.output.write(b"")
        self.assertTrue(self.output.crowded)
        self.output.resumeProducing()
        self.assertFalse(self.output.crowded)
        self.budget.limit = 0
        self.assertTrue(self.output.crowded)

    def test_what_is_written_when_there_is_room_follows_what_was_held_back(self) -> None:
        """A reply that waited for room."""

        def drained() -> None:
            self.output.write(b"reply")

        self.output = Output(StringTransport(), drained, Budget(1 << 30))
        transport = self.output._transport
        self.output.pauseProducing()
        self.output.write(b"held ")
        self.output.resumeProducing()
        self.assertEqual(transport.value(), b"held reply")

    def test_frames_can_be_forgotten(self) -> None:
        """The answer to a client's Close frame must not wait behind frames that the client will not read."""
        self.output.write(b"a")
        self.output.pauseProducing()
        self.output.write(b"lost")
        self.output.clear()
        self.output.write(b"close")
        self.assertEqual(self.transport.value(), b"aclose")
        self.assertEqual((self.output.buffered, self.output.sent), (0, 6))

    def test_a_transport_that_is_gone_keeps_nothing(self) -> None:
        """Its frames would stay as long as the protocol."""
        self.output.pauseProducing()
        self.output.write(b"lost")
        self.output.stopProducing()
        self.assertEqual(self.output.buffered, 0)
        self.assertEqual(self.transport.value(), b"")

    def test_an_unknown_transport_counts_as_empty(self) -> None:
        """There is no public name for what it holds."""
        self.assertEqual(unsent(object()), 0)


class Recorder(Protocol):
    """One end of a connection on loopback, which reads or does not."""

    def __init__(self) -> None:
        self.made: Deferred[Any] = Deferred()
        self.lost: Deferred[None] = Deferred()
        self.data = bytearray()
        self.output: Output | None = None
        self.room = 0

    def connectionMade(self) -> None:
        """The test may begin."""
        self.made.callback(self.transport)

    def dataReceived(self, data: bytes) -> None:
        """Keep what came."""
        self.data += data

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The test may end."""
        self.lost.callback(None)

    def drained(self) -> None:
        """Count."""
        self.room += 1


class CountingWrapper(ProtocolWrapper):
    """Below TLS: counts what comes from the network."""

    received = 0

    def dataReceived(self, data: bytes) -> None:
        """Count, and pass on."""
        self.received += len(data)
        super().dataReceived(data)


class CountingFactory(WrappingFactory):
    """Makes :class:`CountingWrapper`."""

    protocol = CountingWrapper
    noisy = False


class LoopbackTests(TestCase):
    """The counts over sockets: what was written and is not unsent is what the other end can read."""

    timeout = 20

    async def connect(self, server_end: Any, client_end: Callable[[Any], Any], *, tls: bool) -> None:
        """Connect two ends; the gateway's side is ``server``, with an output in front of it."""
        self.server, self.client = Recorder(), Recorder()
        servers: Any = Factory.forProtocol(lambda: self.server)
        clients: Any = Factory.forProtocol(lambda: self.client)
        self.tls = tls
        if tls:
            certificate, key = self_signed()
            ours = PrivateCertificate.loadPEM(certificate + key)
            trusted = optionsForClientTLS("localhost", Certificate.loadPEM(certificate))
            servers = TLSMemoryBIOFactory(ours.options(), False, servers)
            clients = TLSMemoryBIOFactory(trusted, True, clients)
        clients = CountingFactory(clients)
        port = await server_end.listen(servers)
        self.addCleanup(port.stopListening)
        self.wire: Any = await client_end(port).connect(clients)
        self.transport: Any = await self.server.made
        await self.client.made
        self.addCleanup(self.end)
        self.output = Output(self.transport, self.server.drained, Budget(1 << 30))

    async def connect_tcp(self, *, tls: bool = False) -> None:
        """Over TCP."""
        await self.connect(
            TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1"),
            lambda port: TCP4ClientEndpoint(reactor, "127.0.0.1", port.getHost().port),
            tls=tls,
        )

    def raw(self) -> Any:
        """:returns: the transport below all wrappers"""
        transport = self.transport
        while isinstance(transport, ProtocolWrapper):
            transport = transport.transport
        return transport

    async def end(self) -> None:
        """Close both ends."""
        self.transport.abortConnection()
        self.wire.transport.abortConnection()
        await self.server.lost
        await self.client.lost

    async def turns(self, until: Callable[[], bool]) -> None:
        """Let the reactor turn until something is so."""
        while not until():
            await deferLater(reactor, 0, lambda: None)

    async def stalled(self) -> None:
        """Let the reactor turn until nothing moves any more."""
        still, before = 0, -1
        while still < 50:
            await deferLater(reactor, 0, lambda: None)
            now = unsent(self.transport)
            still, before = (still + 1 if now == before else 0), now

    async def check_a_client_that_stops_reading(self) -> None:
        """Fill the connection, check the counts against what the client can still read, once nothing more is sent."""
        raw = self.raw()
        raw.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 16384)
        self.output.write(b"first")
        # Nothing goes to the kernel before the reactor's next turn.
        self.assertEqual((self.output.buffered, self.output.sent), (5, 0))
        await self.turns(lambda: len(self.client.data) == 5)
        await self.stalled()
        self.assertEqual((self.output.buffered, self.output.sent), (0, 5))
        below = self.wire.received
        self.wire.transport.pauseProducing()
        # Longer than what Twisted joins and sends at once, so that a part of the buffer is sent.
        frame = b"f" * 300_000
        frames = 0
        while not self.output.paused:
            self.output.write(frame)
            frames += 1
            await deferLater(reactor, 0, lambda: None)
        for _ in range(3):
            self.output.write(frame)
        await self.stalled()
        waiting = unsent(self.transport)
        self.assertGreater(waiting, 0)
        self.assertEqual(self.output.buffered, waiting + 3 * len(frame))
        self.assertEqual(self.output.sent, 5 + frames * len(frame) - waiting)
        # From here on the kernel gets no more; what it has, the client can read.
        raw.stopWriting()
        raw.socket.shutdown(socket.SHUT_WR)
        written = len(raw.dataBuffer) - raw.offset + sum(map(len, raw._tempDataBuffer))
        self.assertEqual(waiting, written)
        self.wire.transport.resumeProducing()
        await self.client.lost
        came = self.wire.received - below
        if self.tls:
            # Records are longer than what is in them, so the count of sent bytes errs on the careful side.
            self.assertGreaterEqual(came, self.output.sent - 5)
        else:
            self.assertEqual(came, self.output.sent - 5)
            self.assertEqual(bytes(self.client.data[5:]), (frame * frames)[:came])

    async def check_a_client_that_reads_again(self) -> None:
        """Everything comes, in order, and then nothing counts as unsent."""
        self.wire.transport.pauseProducing()
        frames = [b"%06d" % number * 1000 for number in range(200)]
        for number, frame in enumerate(frames):
            self.output.write(frame)
            if number % 20 == 0:
                await deferLater(reactor, 0, lambda: None)
        self.wire.transport.resumeProducing()
        whole = b"".join(frames)
        await self.turns(lambda: len(self.client.data) == len(whole) and not self.output.buffered)
        self.assertEqual(bytes(self.client.data), whole)
        self.assertEqual(self.output.sent, len(whole))
        self.assertFalse(self.output.paused)

    async def test_tcp_counts_to_the_byte(self) -> None:
        """Of a client that does not read."""
        await self.connect_tcp()
        await self.check_a_client_that_stops_reading()

    async def test_tcp_delivers_in_order(self) -> None:
        """To a client that reads again."""
        await self.connect_tcp()
        await self.check_a_client_that_reads_again()

    async def test_unix_counts_to_the_byte(self) -> None:
        """As behind a proxy on the same machine."""
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        path = str(Path(folder.name) / "s")
        await self.connect(UNIXServerEndpoint(reactor, path), lambda port: UNIXClientEndpoint(reactor, path), tls=False)
        await self.check_a_client_that_stops_reading()

    async def test_tls_counts_what_waits_for_the_kernel(self) -> None:
        """Encrypted, so in the longer form."""
        await self.connect_tcp(tls=True)
        await self.check_a_client_that_stops_reading()

    async def test_tls_delivers_in_order(self) -> None:
        """To a client that reads again."""
        await self.connect_tcp(tls=True)
        await self.check_a_client_that_reads_again()

    async def test_tls_counts_what_it_gathers_in_one_turn(self) -> None:
        """Twisted joins small writes until the reactor's next turn; they are not sent yet."""
        await self.connect_tcp(tls=True)
        self.output.write(b"warm")
        await self.turns(lambda: len(self.client.data) == 4)
        await self.stalled()
        for _ in range(10):
            self.output.write(b"x" * 100)
        self.assertEqual(self.output.buffered, 1000)
        self.assertEqual(self.output.sent, 4)
        await self.turns(lambda: len(self.client.data) == 1004)
        self.assertEqual((self.output.buffered, self.output.sent), (0, 1004))

    async def test_tls_counts_what_waits_for_its_handshake(self) -> None:
        """What is written before the handshake is done is kept in the clear."""
        certificate, key = self_signed()
        protocol = Recorder()
        factory = TLSMemoryBIOFactory(
            PrivateCertificate.loadPEM(certificate + key).options(), False, Factory.forProtocol(lambda: protocol)
        )
        tls: Any = factory.buildProtocol(None)
        below = StringTransport()
        tls.makeConnection(below)
        self.assertEqual(unsent(tls), 0)
        tls.write(b"y" * 100)
        self.assertEqual(unsent(tls), 100)
        # The writes were gathered; now they wait for the client's hello.
        await deferLater(reactor, 0, lambda: None)
        self.assertEqual(unsent(tls), 100)
        self.assertEqual(below.value(), b"")
