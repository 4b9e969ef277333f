"""Transports that send at once, over real sockets and a reactor that turns when a test says so."""

from __future__ import annotations

import array
import errno
import gc
import os
import socket
import ssl
import struct
import tempfile
import time
import weakref
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet import ssl as twisted_ssl
from twisted.internet import tcp, unix
from twisted.internet.endpoints import serverFromString
from twisted.internet.epollreactor import EPollReactor
from twisted.internet.interfaces import (
    IHalfCloseableProtocol,
    IListeningPort,
    IPullProducer,
    IPushProducer,
    IStreamServerEndpointStringParser,
)
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.internet.testing import MemoryReactor
from twisted.plugin import getPlugins
from twisted.protocols.haproxy import proxyEndpoint
from twisted.protocols.policies import ProtocolWrapper
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import directlyProvides, implementer

from tests.certificates import self_signed
from tests.properties import moderately
from wsaas.limits import Budget
from wsaas.net.transport import Buffers, EagerServer, EagerUnixServer, install
from wsaas.websocket.send_queue import Output, unsent

#: More than a loopback socket takes at once from a client that does not read.
FLOOD = 24 << 20
#: Seconds after which a test gives up.
LIMIT = 20.0

_PATTERN = bytes(range(251)) * 2000


def piece(start: int, size: int) -> bytes:
    """:returns: bytes in which each position differs from its neighbours"""
    return _PATTERN[start % 251 :][:size]


class Loop(EPollReactor):
    """A reactor that the test turns, and that counts how often it was asked to watch for room to write."""

    def __init__(self) -> None:
        super().__init__()
        self.watched = 0

    def addWriter(self, writer: Any) -> None:
        self.watched += 1
        super().addWriter(writer)

    def turn(self, count: int = 1) -> None:
        """Take turns, waiting for nothing."""
        for _ in range(count):
            self.iterate(0)

    def until(self, condition: Callable[[], bool]) -> None:
        """Turn until something is so."""
        end = time.monotonic() + LIMIT
        while not condition():
            if time.monotonic() > end:
                raise AssertionError("it never came to be")
            self.iterate(0)

    def close(self) -> None:
        """Give every descriptor back."""
        self.runUntilCurrent()
        for selectable in {*self.removeAll()} - {self.waker}:
            selectable.connectionLost(connectionDone)
        self.runUntilCurrent()
        self.waker.connectionLost(connectionDone)
        self._poller.close()


class Recorder(Protocol):
    """Keeps what the transport tells."""

    transport: Any

    def __init__(self) -> None:
        self.received = b""
        self.sizes: list[int] = []
        #: What happened, data apart.
        self.events: list[str] = []
        self.greeting = b""
        self.echo = False
        self.last_words = b""

    def connectionMade(self) -> None:
        self.events.append("made")
        if self.greeting:
            self.transport.write(self.greeting)

    def dataReceived(self, data: bytes) -> None:
        self.received += data
        self.sizes.append(len(data))
        if self.echo:
            self.transport.write(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.events.append(type(reason.value).__name__)
        if self.last_words:
            self.transport.write(self.last_words)

    # An IHalfCloseableProtocol, for those that say so

    def readConnectionLost(self) -> None:
        self.events.append("read side lost")

    def writeConnectionLost(self) -> None:
        self.events.append("write side lost")

    @property
    def over(self) -> bool:
        """Whether the end was told."""
        return any(event.startswith("Connection") for event in self.events)


@implementer(IPushProducer)
class Push:
    """A streaming producer that only keeps what it is told."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def pauseProducing(self) -> None:
        self.told.append("pause")

    def resumeProducing(self) -> None:
        self.told.append("resume")

    def stopProducing(self) -> None:
        self.told.append("stop")


@implementer(IPullProducer)
class Pull:
    """Writes a piece whenever it is asked, so many times."""

    def __init__(self, transport: Any, pieces: Sequence[bytes]) -> None:
        self.transport = transport
        self.left = list(pieces)
        self.asked = 0
        self.stopped = False

    def resumeProducing(self) -> None:
        self.asked += 1
        if self.left:
            self.transport.write(self.left.pop(0))
        if not self.left:
            self.transport.unregisterProducer()

    def stopProducing(self) -> None:
        self.stopped = True


class Scripted:
    """A socket whose sends go as the test says; after that, as they go.

    :param inner: the socket
    :param script: for each send an error, or how many bytes are taken
    """

    def __init__(self, inner: socket.socket, *script: OSError | int) -> None:
        self._inner = inner
        self._script = list(script)
        self.sends = 0

    def send(self, data: Any) -> int:
        """Send, as the script says."""
        self.sends += 1
        step = self._script.pop(0) if self._script else len(data)
        if isinstance(step, OSError):
            # A new one: an exception that its own frame keeps would keep the caller too.
            raise OSError(*step.args)
        return self._inner.send(memoryview(data)[:step])

    def sendmsg(self, frames: Sequence[bytes]) -> int:
        """Send several, as the script says."""
        return self.send(b"".join(frames))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


class Line:
    """One connection: a client's socket, and what was accepted.

    :param loop: turns
    :param listen: listens
    :param buffers: of what is accepted; :data:`None` for Twisted's own transport
    :param prepare: is given the protocol before it is connected
    :param small_window: whether the client's kernel takes little
    """

    def __init__(
        self,
        loop: Loop,
        listen: Callable[[Factory[Any]], Any],
        *,
        buffers: Buffers | None = Buffers(),  # noqa: B008 - it is frozen
        prepare: Callable[[Recorder], object] = lambda _: None,
        small_window: bool = False,
    ) -> None:
        self.loop = loop
        self.protocol = Recorder()
        prepare(self.protocol)
        factory: Any = Factory.forProtocol(lambda: self.protocol)
        factory.noisy = False
        self.port: Any = listen(factory)
        self.installed = buffers is not None and install(self.port, buffers)
        self.client = socket.socket(self.port.addressFamily)
        if small_window:
            self.client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self.client.connect(self.port.socket.getsockname())
        self.client.setblocking(False)
        #: What the client has read.
        self.got = bytearray()
        self.ended = ""
        self.loop.until(lambda: bool(self.protocol.events))
        self.loop.watched = 0

    @property
    def transport(self) -> Any:
        """What was accepted."""
        return self.protocol.transport

    def script(self, *script: OSError | int) -> Scripted:
        """Let sends go as told."""
        scripted = Scripted(self.transport.socket, *script)
        self.transport.socket = scripted
        return scripted

    def read(self, size: int = 1 << 20) -> int:
        """Have the client read what is there, and note the end."""
        if self.ended:
            return 0
        try:
            data = self.client.recv(size)
        except BlockingIOError:
            return 0
        except ConnectionResetError:
            self.ended = "reset"
            return 0
        self.got += data
        if not data:
            self.ended = "end"
        return len(data)

    def drain(self) -> bytes:
        """Have the client read until nothing comes any more."""
        idle = 0
        while idle < 4:
            self.loop.turn()
            idle = 0 if self.read() else idle + 1
        return bytes(self.got)

    def read_until(self, size: int) -> bytes:
        """Have the client read so much."""

        def enough() -> bool:
            self.read()
            return len(self.got) >= size or bool(self.ended)

        self.loop.until(enough)
        return bytes(self.got)

    def over(self) -> None:
        """Turn until the protocol knows of the end."""
        self.loop.until(lambda: self.protocol.over)

    def flood(self) -> int:
        """Write more than goes at once.

        :returns: how much
        """
        size = 0
        while not unsent(self.transport):
            self.transport.write(piece(size, 100_000))
            size += 100_000
        return size


def written(*sizes: int) -> bytes:
    """:returns: what :func:`piece` gives for writes of these sizes, one behind the other"""
    result, start = bytearray(), 0
    for size in sizes:
        result += piece(start, size)
        start += size
    return bytes(result)


def reset(client: socket.socket) -> None:
    """Close with a reset."""
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()


class Sockets(SynchronousTestCase):
    """A loop, and connections of one kind."""

    kind = "tcp"
    server: type[EagerServer] = EagerServer
    loop_class: type[Loop] = Loop

    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        self.loop = self.loop_class()
        self.addCleanup(self.loop.close)
        self._listened = 0

    def listen(self, factory: Factory[Any]) -> IListeningPort:
        """Listen at a socket of the kind."""
        if self.kind == "unix":
            self._listened += 1
            port: IListeningPort = self.loop.listenUNIX(str(self.folder / str(self._listened)), factory)
        else:
            port = self.loop.listenTCP(0, factory, interface="127.0.0.1")
        return port

    def line(self, **options: Any) -> Line:
        """Connect."""
        line = Line(self.loop, self.listen, **options)
        self.addCleanup(line.client.close)
        return line


class WriteTests(Sockets):
    """``write``: at once if it can be, in order always."""

    def test_what_is_accepted_is_eager(self) -> None:
        """An installed port accepts transports of this module."""
        line = self.line()
        self.assertTrue(line.installed)
        self.assertIs(type(line.transport), self.server)

    def test_sends_before_the_next_turn(self) -> None:
        """The client has the bytes without a turn of the reactor, which is not asked to watch the socket."""
        line = self.line()
        line.transport.write(b"at once")
        line.read()
        self.assertEqual((bytes(line.got), line.loop.watched), (b"at once", 0))

    def test_stock_needs_a_turn(self) -> None:
        """What this saves is there to be saved: Twisted's own transport sends in a later turn."""
        line = self.line(buffers=None)
        line.transport.write(b"later")
        line.read()
        self.assertEqual((bytes(line.got), line.loop.watched), (b"", 1))
        self.assertEqual(line.drain(), b"later")

    def test_many_writes_stay_in_order(self) -> None:
        """Small writes arrive one behind the other."""
        line = self.line()
        for number in range(100):
            line.transport.write(b"%d," % number)
        self.assertEqual(line.drain(), b"".join(b"%d," % number for number in range(100)))
        self.assertEqual(line.loop.watched, 0)

    def test_nothing_is_sent_for_nothing(self) -> None:
        """Empty bytes cost no call of the kernel."""
        line = self.line()
        scripted = line.script()
        line.transport.write(b"")
        self.assertEqual((scripted.sends, line.loop.watched), (0, 0))

    def test_takes_bytes_only(self) -> None:
        """As Twisted's, it raises a TypeError for anything else."""
        line = self.line()
        for wrong in ("text", bytearray(b"x"), memoryview(b"x"), None):
            self.assertRaises(TypeError, line.transport.write, wrong)
        self.assertEqual(line.drain(), b"")

    def test_subclass_of_bytes(self) -> None:
        """A subclass of bytes is sent, by the ordinary way."""

        class Special(bytes):
            pass

        line = self.line()
        line.transport.write(Special(b"special"))
        self.assertEqual(line.loop.watched, 1)
        self.assertEqual(line.drain(), b"special")

    def test_rest_waits(self) -> None:
        """What the kernel does not take waits, exactly, and arrives."""
        line = self.line()
        line.script(1000)
        line.transport.write(piece(0, 5000))
        self.assertEqual((unsent(line.transport), line.loop.watched), (4000, 1))
        self.assertEqual(line.drain(), piece(0, 5000))
        self.assertEqual(unsent(line.transport), 0)

    def test_writes_go_behind_what_waits(self) -> None:
        """While a rest waits, nothing overtakes it."""
        line = self.line()
        line.script(1)
        line.transport.write(b"abc")
        line.transport.write(b"def")
        line.read()
        self.assertEqual((bytes(line.got), unsent(line.transport)), (b"a", 5))
        self.assertEqual(line.drain(), b"abcdef")

    def test_writes_go_behind_a_rest_that_was_sent_in_part(self) -> None:
        """Neither does anything when the reactor got rid of a part."""
        line = self.line()
        line.script(1, 1)
        line.transport.write(b"abc")
        line.loop.turn()
        line.transport.write(b"def")
        self.assertEqual(unsent(line.transport), 4)
        self.assertEqual(line.drain(), b"abcdef")

    def test_at_once_again_after_the_rest(self) -> None:
        """When nothing waits any more, sends are at once again."""
        line = self.line()
        line.script(1)
        line.transport.write(b"abc")
        line.drain()
        line.loop.watched = 0
        line.transport.write(b"def")
        line.read()
        self.assertEqual((bytes(line.got), line.loop.watched), (b"abcdef", 0))

    def test_client_that_does_not_read(self) -> None:
        """Megabytes wait, are counted to the byte, and arrive in order when the client reads."""
        line = self.line()
        line.transport.write(_PATTERN)
        sizes = [len(_PATTERN)]
        while sum(sizes) < FLOOD:
            line.transport.write(piece(sum(sizes), 400_000))
            sizes.append(400_000)
        waiting = unsent(line.transport)
        self.assertGreater(waiting, 0)
        self.assertLess(waiting, sum(sizes))
        self.assertEqual(line.read_until(sum(sizes)), _PATTERN + written(*sizes)[len(_PATTERN) :])

    def test_write_sequence_is_buffered(self) -> None:
        """``writeSequence`` gathers, so it goes the ordinary way."""
        line = self.line()
        line.transport.writeSequence([b"a", b"b"])
        line.read()
        self.assertEqual((bytes(line.got), line.loop.watched), (b"", 1))
        self.assertEqual(line.drain(), b"ab")

    def test_write_behind_write_sequence(self) -> None:
        """Nothing overtakes a sequence, not even one of nothing."""
        line = self.line()
        line.transport.writeSequence([b"a", b"b"])
        line.transport.write(b"c")
        line.transport.writeSequence([b""])
        line.transport.write(b"d")
        self.assertEqual(line.drain(), b"abcd")

    def test_write_from_connection_made(self) -> None:
        """A protocol that speaks first does so at once."""
        line = self.line(prepare=lambda protocol: setattr(protocol, "greeting", b"hello"))
        line.read()
        self.assertEqual(bytes(line.got), b"hello")

    def test_write_from_data_received(self) -> None:
        """An answer leaves in the turn in which the question came."""
        line = self.line(prepare=lambda protocol: setattr(protocol, "echo", True))
        line.client.send(b"question")
        line.loop.until(lambda: bool(line.protocol.received))
        line.read()
        self.assertEqual((bytes(line.got), line.loop.watched), (b"question", 0))

    def test_addresses(self) -> None:
        """Host and peer are told as by Twisted's own, and so is the name in logs."""
        eager, stock = self.line(), self.line(buffers=None)
        self.assertEqual(type(eager.transport.getPeer()), type(stock.transport.getPeer()))
        self.assertEqual(eager.transport.getHost(), eager.port.getHost())
        self.assertEqual(eager.transport.logPrefix().split(",")[0], stock.transport.logPrefix().split(",")[0])


class CopiesTests(Sockets):
    """What waits for many clients must not become a copy for each."""

    def test_the_rest_is_the_same_object(self) -> None:
        """Whether the kernel takes some of it, nothing, or some later."""
        for first in (3, OSError(errno.EAGAIN, "full")):
            line = self.line()
            line.script(first, 1, 2)
            data = b"0123456789"
            self.assertFalse(line.transport.send(data))
            line.loop.turn()
            self.assertIs(line.transport.dataBuffer, data)
            self.assertEqual(line.drain(), data)

    def test_frames_of_a_batch_stay_what_they_are(self) -> None:
        """All of them in one call; those that the kernel does not take at all are left to the caller."""
        frames = [b"abc", b"defg", b"hi"]
        for step, taken, waiting in ((9, 3, None), (3, 2, frames[1]), (4, 2, frames[1]), (0, 1, frames[0])):
            line = self.line()
            scripted = line.script(step)
            self.assertEqual(line.transport.send_all(frames), taken)
            self.assertEqual(scripted.sends, 1)
            if waiting is not None:
                self.assertIs(line.transport.dataBuffer, waiting)
            self.assertEqual(line.drain(), b"".join(frames[:taken]))

    def test_a_batch_that_cannot_be_sent(self) -> None:
        """Now, or not at all; or while something waits."""
        for number in (errno.EAGAIN, errno.ENOBUFS):
            line = self.line()
            line.script(OSError(number, "not now"))
            self.assertEqual(line.transport.send_all([b"abc", b"def"]), 1)
            self.assertEqual(line.drain(), b"abc")
        line = self.line()
        line.script(1)
        line.transport.write(b"abc")
        self.assertEqual(line.transport.send_all([b"d", b"e"]), 2)
        self.assertEqual(line.drain(), b"abcde")
        line = self.line()
        line.script(OSError(errno.ECONNRESET, "gone"), OSError(errno.EPIPE, "gone"))
        line.transport.send_all([b"abc", b"def"])
        line.over()
        self.assertEqual(line.protocol.events, ["made", "ConnectionLost"])

    @moderately
    @given(
        st.lists(st.binary(min_size=1, max_size=9), min_size=1, max_size=9), st.lists(st.integers(0, 20), max_size=9)
    )
    def test_any_batch(self, frames: list[bytes], script: list[int]) -> None:
        """However little the kernel takes each time."""
        line = self.line()
        line.script(*script)
        left = list(frames)
        while left:
            del left[: line.transport.send_all(left)]
            self.loop.until(lambda: not unsent(line.transport))
        self.assertEqual(line.read_until(sum(map(len, frames))), b"".join(frames))
        line.port.stopListening()
        line.client.close()


class UnixCopiesTests(CopiesTests):
    """The same over a UNIX socket."""

    kind = "unix"
    server = EagerUnixServer


class UnixWriteTests(WriteTests):
    """The same over a UNIX socket."""

    kind = "unix"
    server = EagerUnixServer

    def _receive_descriptor(self, line: Line) -> tuple[bytes, int]:
        line.loop.turn()
        data, ancillary, _, _ = line.client.recvmsg(100, socket.CMSG_LEN(4))
        descriptors = array.array("i")
        descriptors.frombytes(ancillary[0][2])
        return data, descriptors[0]

    def test_descriptors_travel_with_their_bytes(self) -> None:
        """A descriptor that waits is not left behind by its byte."""
        line = self.line()
        reading, writing = os.pipe()
        self.addCleanup(os.close, reading)
        self.addCleanup(os.close, writing)
        line.transport.sendFileDescriptor(writing)
        line.transport.write(b"x")
        data, descriptor = self._receive_descriptor(line)
        os.write(descriptor, b"through")
        os.close(descriptor)
        self.assertEqual((data, os.read(reading, 10)), (b"x", b"through"))
        self.assertFalse(line.protocol.over)

    def test_many_descriptors_pause(self) -> None:
        """A producer is paused when too many descriptors wait, however few bytes do."""
        line = self.line()
        producer = Push()
        line.transport.registerProducer(producer, True)
        line.transport.writeSequence([b"x" * 100])
        for _ in range(64):
            line.transport.sendFileDescriptor(line.client.fileno())
        self.assertEqual(producer.told, [])
        line.transport.sendFileDescriptor(line.client.fileno())
        self.assertEqual(producer.told, ["pause"])
        del line.transport._sendmsgQueue[:]


class ErrorTests(Sockets):
    """Errors of a send: never raised, met by the reactor."""

    def test_temporary(self) -> None:
        """A send that may succeed later is tried again later."""
        for number in (errno.EAGAIN, errno.EWOULDBLOCK, errno.ENOBUFS, errno.EINTR):
            line = self.line()
            line.script(OSError(number, "not now"))
            line.transport.write(b"abc")
            self.assertEqual(unsent(line.transport), 3)
            self.assertEqual(line.drain(), b"abc")
            line.client.close()
            line.over()
            self.assertEqual(line.protocol.events, ["made", "ConnectionDone"])

    def test_told_by_the_reactor_only(self) -> None:
        """Who writes learns nothing; the protocol is told in a later turn, once, and not of an orderly end."""
        for number in (errno.EPIPE, errno.ECONNRESET, errno.ETIMEDOUT, errno.EHOSTUNREACH, errno.EIO):
            line = self.line()
            line.script(OSError(number, "gone"), OSError(number, "gone"))
            line.transport.write(b"abc")
            line.transport.write(b"def")
            self.assertEqual(line.protocol.events, ["made"])
            line.over()
            line.loop.turn(3)
            self.assertEqual(line.protocol.events, ["made", "ConnectionLost"])

    def test_read_before_the_write_that_failed(self) -> None:
        """Even if reading is what meets the end, a failed send makes it no orderly one."""
        line = self.line()
        line.script(OSError(errno.ECONNRESET, "gone"))
        line.transport.write(b"abc")
        line.client.shutdown(socket.SHUT_WR)
        line.over()
        self.assertEqual(line.protocol.events, ["made", "ConnectionLost"])

    def test_what_had_arrived_is_delivered(self) -> None:
        """Bytes that came before the failure are still read."""
        line = self.line()
        line.client.send(b"last")
        line.script(OSError(errno.ECONNRESET, "gone"), OSError(errno.EPIPE, "gone"))
        line.transport.write(b"abc")
        line.over()
        self.assertEqual((line.protocol.received, line.protocol.events[1:]), (b"last", ["ConnectionLost"]))

    def test_no_send_after_a_failure(self) -> None:
        """Until the reactor has met the error, no other send is tried."""
        line = self.line()
        scripted = line.script(OSError(errno.ECONNRESET, "gone"))
        for _ in range(10):
            line.transport.write(b"abc")
        self.assertEqual(scripted.sends, 1)

    def test_client_that_is_gone(self) -> None:
        """The same with a client that really is gone, as it is with Twisted's own transport."""
        for buffers in (Buffers(), None):
            line = self.line(buffers=buffers)
            reset(line.client)
            line.transport.write(b"abc")
            line.transport.write(b"def")
            self.assertEqual(line.protocol.events, ["made"])
            line.over()
            expected = "ConnectionLost"
            if self.kind == "unix" and buffers is None:
                # There is no reset; Twisted reads the end before it finds that it cannot write.
                expected = "ConnectionDone"
            self.assertEqual(line.protocol.events, ["made", expected])

    def test_client_that_is_gone_while_reading_is_paused(self) -> None:
        """The send finds an end that was not read yet."""
        for buffers in (Buffers(), None):
            line = self.line(buffers=buffers)
            line.transport.pauseProducing()
            reset(line.client)
            line.transport.write(b"abc")
            line.over()
            self.assertEqual(line.protocol.events, ["made", "ConnectionLost"])

    def test_write_from_connection_lost(self) -> None:
        """A protocol that writes when it is told of the end writes nothing."""
        line = self.line(prepare=lambda protocol: setattr(protocol, "last_words", b"oh"))
        line.client.close()
        line.over()
        line.transport.write(b"oh")
        line.loop.turn(2)
        self.assertEqual(line.protocol.events, ["made", "ConnectionDone"])

    def test_orderly_end(self) -> None:
        """A client that closes after eager sends ends in order."""
        line = self.line()
        line.transport.write(b"abc")
        line.read()
        line.client.close()
        line.over()
        self.assertEqual(line.protocol.events, ["made", "ConnectionDone"])


class UnixErrorTests(ErrorTests):
    """The same over a UNIX socket."""

    kind = "unix"
    server = EagerUnixServer


class EndTests(Sockets):
    """Ends from this side."""

    def test_lose_connection(self) -> None:
        """What was sent arrives before the end."""
        line = self.line()
        line.transport.write(b"abc")
        line.transport.loseConnection()
        self.assertEqual((line.drain(), line.ended), (b"abc", "end"))
        self.assertEqual(line.protocol.events, ["made", "ConnectionDone"])

    def test_lose_connection_while_a_rest_waits(self) -> None:
        """The end waits for the rest."""
        line = self.line()
        line.script(1)
        line.transport.write(b"abc")
        line.transport.loseConnection()
        self.assertEqual((line.drain(), line.ended), (b"abc", "end"))

    def test_write_after_lose_connection(self) -> None:
        """As with Twisted's own, it is buffered like anything else before the end."""
        for buffers in (Buffers(), None):
            line = self.line(buffers=buffers)
            line.transport.write(b"abc")
            line.transport.loseConnection()
            line.loop.watched = 0
            line.transport.write(b"def")
            self.assertEqual((unsent(line.transport) >= 3, line.loop.watched), (True, 1))
            self.assertEqual((line.drain(), line.ended), (b"abcdef", "end"))

    def test_abort(self) -> None:
        """After an abort nothing is sent, though the transport counts as connected for another turn."""
        line = self.line()
        line.transport.write(b"abc")
        line.read()
        scripted = line.script()
        line.transport.abortConnection()
        self.assertEqual(line.transport.connected, 1)
        line.transport.write(b"def")
        self.assertEqual((scripted.sends, bytes(line.got)), (0, b"abc"))
        line.over()
        self.assertEqual(line.protocol.events, ["made", "ConnectionAborted"])
        self.assertEqual(line.drain(), b"abc")

    def test_abort_while_a_rest_waits(self) -> None:
        """The rest is dropped."""
        line = self.line()
        line.script(1)
        line.transport.write(b"abc")
        line.transport.abortConnection()
        line.over()
        self.assertEqual(line.drain(), b"a")

    def test_half_close(self) -> None:
        """Between the wish and the shutdown writes are buffered; then come the end, and reading goes on."""
        for buffers in (Buffers(), None):
            line = self.line(buffers=buffers)
            line.transport.write(b"abc")
            line.transport.loseWriteConnection()
            line.loop.watched = 0
            line.transport.write(b"def")
            self.assertEqual((unsent(line.transport) >= 3, line.loop.watched), (True, 1))
            self.assertEqual((line.drain(), line.ended), (b"abcdef", "end"))
            line.client.send(b"still heard")
            line.loop.until(lambda line=line: line.protocol.received == b"still heard")  # type: ignore[misc]  # bound in the loop
            self.assertEqual(line.protocol.events, ["made"])

    def test_half_close_while_a_rest_waits(self) -> None:
        """The shutdown waits for the rest."""
        line = self.line()
        line.script(1)
        line.transport.write(b"abc")
        line.transport.loseWriteConnection()
        self.assertEqual((line.drain(), line.ended), (b"abc", "end"))

    def test_write_after_half_close(self) -> None:
        """After the shutdown writes are dropped, as by Twisted's own."""
        line = self.line()
        line.transport.loseWriteConnection()
        line.drain()
        scripted = line.script()
        line.transport.write(b"it is never read")
        line.loop.turn(3)
        self.assertEqual((scripted.sends, line.protocol.events), (0, ["made"]))

    def test_client_half_closes(self) -> None:
        """A protocol that goes on when the client has said all may write on, at once."""
        line = self.line(prepare=lambda protocol: directlyProvides(protocol, IHalfCloseableProtocol))
        line.client.shutdown(socket.SHUT_WR)
        line.loop.until(lambda: "read side lost" in line.protocol.events)
        line.transport.write(b"abc")
        line.read()
        self.assertEqual(bytes(line.got), b"abc")

    def test_write_when_over(self) -> None:
        """After the end a write does nothing."""
        line = self.line()
        line.transport.loseConnection()
        line.over()
        line.transport.write(b"abc")
        self.assertEqual(unsent(line.transport), 0)

    def test_nothing_is_left(self) -> None:
        """When a connection is over and its protocol lets go, the transport is freed without the collector."""
        for failing in (False, True):
            line = self.line()
            if failing:
                line.script(OSError(errno.EPIPE, "gone"), OSError(errno.EPIPE, "gone"))
            line.transport.write(b"abc")
            line.client.close()
            line.over()
            seen = weakref.ref(line.transport)
            gc.disable()
            try:
                line.protocol.transport = None
                self.assertIsNone(seen())
            finally:
                gc.enable()


class UnixEndTests(EndTests):
    """The same over a UNIX socket."""

    kind = "unix"
    server = EagerUnixServer


class ProducerTests(Sockets):
    """Producers: told what Twisted tells them, of what really waits."""

    def test_pull_producer(self) -> None:
        """A pull producer is asked until it has no more; eager sends would leave it waiting for ever."""
        pieces = [piece(0, 10), piece(10, 70_000), piece(70_010, 1)]
        line = self.line()
        producer = Pull(line.transport, pieces)
        line.transport.registerProducer(producer, False)
        self.assertEqual(line.read_until(70_011), b"".join(pieces))
        self.assertEqual(producer.asked, 3)

    def test_write_beside_a_pull_producer(self) -> None:
        """Others' writes are buffered too while there is one."""
        line = self.line()
        line.transport.registerProducer(Pull(line.transport, [b"a", b"c"]), False)
        line.transport.write(b"b")
        self.assertEqual(unsent(line.transport), 2)
        self.assertEqual(line.drain(), b"abc")

    def test_eager_beside_a_streaming_producer(self) -> None:
        """A streaming producer changes nothing."""
        line = self.line()
        producer = Push()
        line.transport.registerProducer(producer, True)
        line.transport.write(b"abc")
        line.read()
        self.assertEqual((bytes(line.got), producer.told), (b"abc", []))

    def test_sent_bytes_do_not_pause(self) -> None:
        """What the kernel took does not count, however much it was."""
        line = self.line()
        producer = Push()
        line.transport.registerProducer(producer, True)
        line.script(100_000 - 65536)
        line.transport.write(piece(0, 100_000))
        self.assertEqual((unsent(line.transport), producer.told), (65536, []))

    def test_paused_when_more_waits(self) -> None:
        """One byte more than the fill pauses; room for everything resumes."""
        line = self.line()
        producer = Push()
        line.transport.registerProducer(producer, True)
        line.script(100_000 - 65537)
        line.transport.write(piece(0, 100_000))
        self.assertEqual(producer.told, ["pause"])
        self.assertEqual(line.drain(), piece(0, 100_000))
        self.assertEqual(producer.told, ["pause", "resume"])

    def test_paused_by_many_small_rests(self) -> None:
        """A rest and what was written behind it add up."""
        line = self.line()
        producer = Push()
        line.transport.registerProducer(producer, True)
        line.script(1)
        line.transport.write(piece(0, 1 + 30_000))
        line.transport.write(piece(1, 35_536))
        self.assertEqual(producer.told, [])
        line.transport.write(b"!")
        self.assertEqual(producer.told, ["pause"])

    def test_fill_is_a_setting(self) -> None:
        """How much may wait is said by ``full``, and not by how much is read at a time."""
        line = self.line(buffers=Buffers(receive=4096, full=10_000))
        producer = Push()
        line.transport.registerProducer(producer, True)
        line.script(0)
        line.transport.write(piece(0, 10_000))
        self.assertEqual(producer.told, [])
        line.transport.write(b"!")
        self.assertEqual(producer.told, ["pause"])

    def test_resumed_producer_writes_at_once(self) -> None:
        """A producer that writes when it is resumed does so while the reactor writes; order is kept."""
        line = self.line()
        transport = line.transport

        class Refill(Push):
            def resumeProducing(self) -> None:
                super().resumeProducing()
                transport.write(b"behind")

        producer = Refill()
        transport.registerProducer(producer, True)
        line.script(0)
        transport.write(piece(0, 70_000))
        self.assertEqual(line.read_until(70_006), piece(0, 70_000) + b"behind")
        self.assertEqual(producer.told, ["pause", "resume"])

    def test_stopped_at_the_end(self) -> None:
        """The producer is told when the connection is over."""
        line = self.line()
        producer = Push()
        line.transport.registerProducer(producer, True)
        line.client.close()
        line.over()
        self.assertEqual(producer.told, ["stop"])

    def test_end_waits_for_the_producer(self) -> None:
        """A connection that is to end ends when its producer, which was paused, is gone."""
        line = self.line()
        producer = Push()
        line.script(0)
        line.transport.registerProducer(producer, True)
        line.transport.write(piece(0, 70_000))
        line.transport.loseConnection()
        line.read_until(70_000)
        line.loop.turn(3)
        self.assertEqual(line.protocol.events, ["made"])
        line.transport.unregisterProducer()
        line.over()
        self.assertEqual(line.protocol.events, ["made", "ConnectionDone"])

    def test_output_over_it(self) -> None:
        """The queue of frames counts to the byte and drains in order."""
        line = self.line()
        drained: list[None] = []
        output = Output(line.transport, lambda: drained.append(None), Budget(1 << 30))
        line.script(5, 0)
        output.write(piece(0, 70_000))
        output.write(b"held")
        self.assertEqual((output.paused, output.buffered, output.sent), (True, 70_000 - 5 + 4, 5))
        self.assertEqual(line.read_until(70_004), piece(0, 70_000) + b"held")
        self.assertEqual((output.paused, output.buffered, output.sent, len(drained)), (False, 0, 70_004, 1))


class UnixProducerTests(ProducerTests):
    """The same over a UNIX socket."""

    kind = "unix"
    server = EagerUnixServer


class _NoOptions(socket.socket):
    """A socket of a client that left at once, on some systems."""

    def setsockopt(self, *_: Any) -> None:
        raise OSError(errno.EINVAL, "gone")


class BufferTests(Sockets):
    """The sizes."""

    def test_as_twisted_has_them(self) -> None:
        """If nothing is said, reads and the kernel's buffer are Twisted's and the kernel's own."""
        eager, stock = self.line(), self.line(buffers=None)
        self.assertEqual(eager.transport.bufferSize, stock.transport.bufferSize)
        sizes = [line.transport.socket.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF) for line in (eager, stock)]
        self.assertEqual(sizes[0], sizes[1])

    def test_small_reads(self) -> None:
        """No read is longer than said, and others get their turn in between."""
        line = self.line(buffers=Buffers(receive=4096))
        line.client.send(piece(0, 20_000))
        line.loop.until(lambda: len(line.protocol.received) == 20_000)
        self.assertEqual(line.protocol.received, piece(0, 20_000))
        self.assertEqual(max(line.protocol.sizes), 4096)

    def test_send_buffer(self) -> None:
        """The kernel is told how much to keep."""
        line = self.line(buffers=Buffers(send=65536))
        self.assertEqual(line.transport.socket.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF), 65536)

    def test_client_that_does_not_read_costs_the_kernel_little(self) -> None:
        """What the kernel takes for it is bounded, and less than without the setting; all of it arrives."""
        line, stock = (self.line(buffers=Buffers(send=size), small_window=True) for size in (32768, None))
        taken = []
        for one in (line, stock):
            for number in range(FLOOD // 400_000):
                one.transport.write(piece(number, 400_000))
                one.loop.turn()
            taken.append(FLOOD // 400_000 * 400_000 - unsent(one.transport))
        self.assertLess(taken[0], 100_000)
        self.assertLess(taken[0], taken[1])

    def test_socket_that_takes_no_options(self) -> None:
        """A socket that is broken already is left to be found out by reading."""
        left, right = socket.socketpair()
        self.addCleanup(right.close)
        broken = _NoOptions(fileno=left.detach())
        protocol = Recorder()
        transport = self.server(broken, protocol, ("192.0.2.1", 1), None, 0, self.loop, buffers=Buffers(send=4096))
        transport.repstr = "broken"
        protocol.makeConnection(transport)
        right.close()
        self.loop.until(lambda: protocol.over)
        self.assertEqual(protocol.events, ["made", "ConnectionDone"])


class UnixBufferTests(BufferTests):
    """The same over a UNIX socket."""

    kind = "unix"
    server = EagerUnixServer


class Secure:
    """A client's TLS over a connection.

    :param line: the connection
    """

    def __init__(self, line: Line) -> None:
        self._line = line
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._in, self._out)
        self.got = b""
        #: Whether the server said that nothing follows.
        self.closed = False
        self._until(self._tls.do_handshake)

    def _step(self) -> None:
        data = self._out.read()
        if data:
            self._line.client.sendall(data)
        self._line.loop.turn()
        self._line.read()
        self._in.write(bytes(self._line.got))
        self._line.got.clear()

    def _until(self, call: Callable[[], Any]) -> Any:
        end = time.monotonic() + LIMIT
        while time.monotonic() < end:
            try:
                result = call()
            except ssl.SSLWantReadError:
                self._step()
            else:
                self._step()
                return result
        raise AssertionError("it never came to be")

    def send(self, data: bytes) -> None:
        """Send bytes, encrypted."""
        self._until(lambda: self._tls.write(data))

    def read_until(self, size: int) -> bytes:
        """Read so many bytes, or up to the end."""
        while len(self.got) < size and not self.closed:
            data = self._until(lambda: self._tls.read(65536))
            self.got += data
            self.closed = not data
        return self.got


class WrappedTests(Sockets):
    """TLS and PROXY on top, and every way to get a port."""

    def setUp(self) -> None:
        super().setUp()
        certificate, key = self_signed()
        self.pem = self.folder / "cert.pem"
        self.pem.write_bytes(certificate + key)
        self.context = twisted_ssl.PrivateCertificate.loadPEM(certificate + key).options()

    def _listen_tls(self, factory: Factory[Any]) -> IListeningPort:
        # listenSSL would gather small writes with the global reactor's timers.
        return self.listen(TLSMemoryBIOFactory(self.context, False, factory, self.loop))

    def _listen_proxy(self, factory: Factory[Any]) -> IListeningPort:
        endpoint = proxyEndpoint(serverFromString(self.loop, "tcp:0:interface=127.0.0.1"))
        port: IListeningPort = self.successResultOf(endpoint.listen(factory))
        return port

    def _wrapped(self, listen: Callable[[Factory[Any]], IListeningPort], **options: Any) -> Line:
        line = Line(self.loop, listen, **options)
        self.addCleanup(line.client.close)
        self.assertTrue(line.installed)
        return line

    def _socket_of(self, line: Line) -> Any:
        transport = line.transport
        while isinstance(transport, ProtocolWrapper):
            transport = transport.transport
        return transport

    def test_tls(self) -> None:
        """Encrypted bytes go out at once, both ways in order."""
        line = self._wrapped(self._listen_tls, prepare=lambda protocol: setattr(protocol, "echo", True))
        secure = Secure(line)
        self.assertIsInstance(self._socket_of(line), EagerServer)
        line.loop.watched = 0
        secure.send(piece(0, 50_000))
        self.assertEqual(secure.read_until(50_000), piece(0, 50_000))
        self.assertEqual((line.protocol.received, line.loop.watched), (piece(0, 50_000), 0))

    def test_tls_flood(self) -> None:
        """A client that does not read makes it wait, is counted, and gets everything in the end."""
        line = self._wrapped(self._listen_tls, buffers=Buffers(send=131072))
        secure = Secure(line)
        producer = Push()
        line.transport.registerProducer(producer, True)
        size = 0
        while "pause" not in producer.told:
            line.transport.write(piece(size, 100_000))
            size += 100_000
        self.assertGreater(unsent(line.transport), 0)
        self.assertEqual(secure.read_until(size), written(*[100_000] * (size // 100_000)))
        self.assertEqual(producer.told[-1], "resume")

    def test_tls_end(self) -> None:
        """TLS sends its close_notify before the connection ends."""
        line = self._wrapped(self._listen_tls)
        secure = Secure(line)
        line.transport.write(b"abc")
        line.transport.loseConnection()
        self.assertEqual(secure.read_until(100), b"abc")
        self.assertTrue(secure.closed)

    def test_tls_abort(self) -> None:
        """An abort sends nothing more, and is told as over Twisted's own."""
        told = []
        for buffers in (Buffers(), None):
            line = Line(self.loop, self._listen_tls, buffers=buffers)
            self.addCleanup(line.client.close)
            Secure(line)
            line.transport.abortConnection()
            # TLS's own last word went before; nothing goes behind.
            scripted = Scripted(self._socket_of(line).socket)
            self._socket_of(line).socket = scripted
            line.transport.write(b"abc")
            line.over()
            told.append((scripted.sends, line.protocol.events))
        self.assertEqual(told[0], told[1])
        self.assertEqual(told[0], (0, ["made", "ConnectionLost"]))

    def test_tls_client_that_is_gone(self) -> None:
        """A reset is told by the reactor, to TLS as to others."""
        line = self._wrapped(self._listen_tls)
        Secure(line)
        reset(line.client)
        line.transport.write(b"abc")
        line.over()
        self.assertEqual(line.protocol.events, ["made", "ConnectionLost"])

    def test_start_tls(self) -> None:
        """A connection that becomes encrypted later sends nothing in the clear from then on."""
        line = self.line()
        line.transport.write(b"go")
        self.assertEqual(line.drain(), b"go")
        line.got.clear()
        line.transport.startTLS(self.context)
        # What follows is TLS's to send, which gathers small writes with timers of the global reactor.
        line.transport.protocol._aggregator._clock = line.loop
        secure = Secure(line)
        line.loop.until(lambda: not unsent(line.transport))
        line.transport.write(b"secret")
        self.assertEqual(secure.read_until(6), b"secret")

    def test_proxy(self) -> None:
        """Behind PROXY writes are eager, and the peer is the client's."""
        line = self._wrapped(self._listen_proxy, prepare=lambda protocol: setattr(protocol, "echo", True))
        line.loop.watched = 0
        line.client.send(b"PROXY TCP4 192.0.2.7 192.0.2.8 1234 80\r\nquestion")
        line.loop.until(lambda: bool(line.protocol.received))
        line.read()
        self.assertEqual((bytes(line.got), line.loop.watched), (b"question", 0))
        self.assertEqual(line.transport.getPeer().host, "192.0.2.7")

    def test_proxy_that_says_nonsense(self) -> None:
        """What is not PROXY is closed."""
        line = self._wrapped(self._listen_proxy)
        line.client.send(b"nonsense, and more of it")
        self.assertEqual((line.drain(), line.protocol.events), (b"", ["made", "ConnectionDone"]))

    def _accepted(self, port: Any) -> Any:
        """:returns: the transport that a port makes for the next client"""
        seen: list[Any] = []
        make = port.transport

        def watched(*arguments: Any) -> Any:
            seen.append(make(*arguments))
            return seen[0]

        port.transport = watched
        client = socket.socket(port.addressFamily)
        self.addCleanup(client.close)
        client.connect(port.socket.getsockname())
        self.loop.until(lambda: bool(seen))
        return seen[0]

    def test_every_endpoint(self) -> None:
        """Each kind of endpoint that listens at a socket can be installed at."""
        (self.folder / "keys").mkdir()
        (self.folder / "keys" / "localhost.pem").write_bytes(self.pem.read_bytes())
        endpoints = {
            "tcp:0:interface=127.0.0.1": EagerServer,
            r"tcp6:0:interface=\:\:1": EagerServer,
            f"unix:{self.folder / 'u'}": EagerUnixServer,
            f"ssl:0:interface=127.0.0.1:privateKey={self.pem}:certKey={self.pem}": EagerServer,
            f"tls:{self.folder / 'keys'}:0": EagerServer,
            "haproxy:tcp:0:interface=127.0.0.1": EagerServer,
            f"haproxy:unix:{self.folder / 'h'}": EagerUnixServer,
            f"haproxy:ssl:0:interface=127.0.0.1:privateKey={self.pem}:certKey={self.pem}": EagerServer,
        }
        known = {parser.prefix for parser in getPlugins(IStreamServerEndpointStringParser)}
        if "tls" not in known:  # as in older versions of Twisted
            endpoints = {name: kind for name, kind in endpoints.items() if not name.startswith("tls:")}
        for description, kind in endpoints.items():
            factory = Factory.forProtocol(Protocol)
            factory.noisy = False
            try:
                port = self.successResultOf(serverFromString(self.loop, description).listen(factory))
            except self.failureException:
                if description.startswith("tcp6:"):
                    continue  # a machine without IPv6
                raise
            self.assertTrue(install(port, Buffers()), description)
            self.assertIs(type(self._accepted(port)), kind, description)

    def test_adopted_sockets(self) -> None:
        """A socket from another process, such as systemd, is like any other."""
        for family, address, kind in (
            (socket.AF_INET, ("127.0.0.1", 0), EagerServer),
            (socket.AF_UNIX, str(self.folder / "adopted"), EagerUnixServer),
        ):
            with socket.socket(family) as listening:
                listening.bind(address)
                listening.listen()
                listening.setblocking(False)
                port = self.loop.adoptStreamPort(listening.fileno(), family, Factory.forProtocol(Protocol))
            self.assertTrue(install(port, Buffers()))
            self.assertIs(type(self._accepted(port)), kind)

    def test_other_ports_are_left_alone(self) -> None:
        """A port in memory, one with transports of its own, and one that is installed already stay as they are."""
        memory = MemoryReactor().listenTCP(0, Factory())
        self.assertFalse(install(memory, Buffers()))

        class Special(tcp.Server):
            pass

        own = self.loop.listenTCP(0, Factory.forProtocol(Protocol), interface="127.0.0.1")
        own.transport = Special
        self.assertFalse(install(own, Buffers()))
        self.assertIs(own.transport, Special)
        twice = self.loop.listenTCP(0, Factory.forProtocol(Protocol), interface="127.0.0.1")
        self.assertTrue(install(twice, Buffers()))
        self.assertFalse(install(twice, Buffers()))

    def test_other_ports_of_the_process(self) -> None:
        """Installing at one port changes no other."""
        self.line()
        self.assertIs(type(self.line(buffers=None).transport), tcp.Server)
        self.assertEqual((tcp.Port.transport, unix.Port.transport), (tcp.Server, unix.Server))


_SIZES = st.sampled_from([0, 1, 2, 125, 4096, 65536, 65537, 300_000])
_ACTIONS = st.one_of(
    st.tuples(st.just("write"), _SIZES),
    st.tuples(st.just("write"), _SIZES),
    st.tuples(st.just("turn"), st.integers(1, 3)),
    st.tuples(st.just("sequence"), st.integers(0, 3)),
    st.tuples(st.just("read"), st.sampled_from([1, 5000, 1 << 20])),
    st.tuples(st.just("hear"), st.sampled_from([1, 100])),
    st.tuples(st.sampled_from(["pause", "resume", "push", "pull", "unregister", "abort", "client ends"]), st.just(0)),
    st.tuples(st.sampled_from(["lose", "half-close"]), _SIZES),
)


class Play:
    """One sequence of actions on one transport.

    :param line: the connection
    """

    def __init__(self, line: Line) -> None:
        self.line = line
        self.transport = line.transport
        #: What was written, as far as the transport had to take it.
        self.written = bytearray()
        self.heard = b""
        self.push: Push | None = None
        self.pulls: list[Pull] = []
        self.faults: list[str] = []

    def _piece(self, size: int) -> bytes:
        data = piece(len(self.written), size)
        self.written += data
        return data

    def act(self, action: str, size: int) -> None:
        """Take one action, if it makes sense yet."""
        over = self.line.protocol.over
        if over and action not in ("write", "sequence", "turn", "read", "abort"):
            return
        try:
            self._act(action, size)
        except RuntimeError as error:
            self.faults.append(f"{action}: {error}"[:40])
        except OSError:
            # The client finds the connection ended, which it may be earlier if bytes go faster.
            assert action in ("hear", "client ends"), action

    def _act(self, action: str, size: int) -> None:  # noqa: C901 - a table of actions
        transport, client = self.transport, self.line.client
        match action:
            case "write":
                transport.write(self._piece(size))
            case "sequence":
                transport.writeSequence([self._piece(size) for size in (10, 0, 2000)[:size]])
            case "turn":
                self.line.loop.turn(size)
            case "read":
                self.line.read(size)
            case "hear":
                self.heard += piece(len(self.heard), size)
                client.send(self.heard[-size:])
            case "pause":
                transport.pauseProducing()
            case "resume":
                transport.resumeProducing()
            case "push":
                self.push = Push()
                transport.registerProducer(self.push, True)
            case "pull" if transport.producer is None:
                pieces = [self._piece(size) for size in (1, 70_000, 10)]
                self.pulls.append(Pull(transport, pieces))
                transport.registerProducer(self.pulls[-1], False)
                # When it is asked depends on how fast bytes go, and so would the place of what others write meanwhile.
                self.line.drain()
            case "unregister":
                transport.unregisterProducer()
            case "lose" | "half-close":
                # A producer delays an end. When it comes depends on how fast bytes go, so what follows waits for it.
                transport.unregisterProducer()
                (transport.loseConnection if action == "lose" else transport.loseWriteConnection)()
                transport.write(self._piece(size))
                self.line.drain()
            case "abort":
                transport.abortConnection()
            case "client ends":
                client.shutdown(socket.SHUT_WR)

    def finish(self) -> None:
        """Let everything that can happen still happen, then end it."""
        protocol = self.line.protocol
        if not protocol.over:
            self.transport.resumeProducing()
        self.line.drain()
        if not protocol.over:
            self.transport.unregisterProducer()
            self.transport.loseConnection()
        self.line.drain()
        self.line.loop.until(lambda: protocol.over)
        self.line.drain()
        self.line.client.close()


class _Differential(Sockets):
    """Whatever is done, the client gets the same bytes and the protocol is told the same as with Twisted's own."""

    def compare(self, actions: list[tuple[str, int]], half_closeable: bool) -> None:
        def prepare(protocol: Recorder) -> None:
            if half_closeable:
                directlyProvides(protocol, IHalfCloseableProtocol)

        plays = [Play(self.line(buffers=buffers, prepare=prepare)) for buffers in (Buffers(), None)]
        for play in plays:
            for action in actions:
                play.act(*action)
            play.finish()
            play.line.port.stopListening()
        self.loop.turn(2)
        eager, stock = plays
        names = [name for name, _ in actions]
        # Who cuts a connection off loses what is under way, and that is what differs: less of it here.
        cut = (
            "abort" in names
            or "client ends" in names
            or any(play.line.protocol.received != play.heard for play in plays)
        )
        self.assertEqual(eager.faults, stock.faults)
        if cut:
            for play in plays:
                self.assertEqual(play.line.got, play.written[: len(play.line.got)])
        else:
            self.assertEqual(eager.line.got, stock.line.got)
            self.assertEqual(eager.line.protocol.received, stock.line.protocol.received)
            self.assertEqual([pull.asked for pull in eager.pulls], [pull.asked for pull in stock.pulls])
            if eager.push is not None and stock.push is not None:
                for play in plays:
                    self._check_turns(play)
        told = [play.line.protocol.events for play in plays]
        # Which direction ends first may depend on how fast bytes go.
        self.assertEqual(sorted(told[0]), sorted(told[1]))
        self.assertEqual(told[0][-1], told[1][-1])

    def _check_turns(self, play: Play) -> None:
        """A producer that was paused is resumed before it is paused for good."""
        assert play.push is not None
        told = [what for what in play.push.told if what != "stop"]
        if "pause" in told and "resume" in told:
            self.assertLess(told.index("pause"), told.index("resume"))


class DifferentialTests(_Differential):
    """Over TCP."""

    @moderately
    @given(st.lists(_ACTIONS, max_size=14), st.booleans())
    def test_same_as_twisted(self, actions: list[tuple[str, int]], half_closeable: bool) -> None:
        """Random sequences of everything that can be done with a transport."""
        self.compare(actions, half_closeable)


class UnixDifferentialTests(_Differential):
    """Over a UNIX socket."""

    kind = "unix"
    server = EagerUnixServer

    @moderately
    @given(st.lists(_ACTIONS, max_size=14), st.booleans())
    def test_same_as_twisted(self, actions: list[tuple[str, int]], half_closeable: bool) -> None:
        """Random sequences of everything that can be done with a transport."""
        self.compare(actions, half_closeable)
