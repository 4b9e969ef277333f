"""What many clients get: rendered once, not copied for those that read slowly, and counted once."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.testing import StringTransport
from twisted.protocols.policies import ProtocolWrapper
from twisted.trial.unittest import SynchronousTestCase

from tests.properties import moderately
from wsaas.connections.messages import Message, SharedMessage
from wsaas.limits import OVERHEAD, Budget, SharedBytes
from wsaas.net.transport import Buffers, EagerServer
from wsaas.websocket.send_queue import MAX_FRAMES, Output

ROOM = 1 << 30


class Kernel:
    """A socket that takes as much as a test says."""

    def __init__(self, takes: int) -> None:
        self.takes = takes
        self.got = b""

    def send(self, data: Any) -> int:
        """Take some."""
        part = bytes(memoryview(data)[: self.takes])
        if not part and len(data):
            raise BlockingIOError(11, "full")
        self.takes -= len(part)
        self.got += part
        return len(part)

    def sendmsg(self, frames: list[bytes]) -> int:
        """Take some of several."""
        return self.send(b"".join(frames))

    def setblocking(self, _: bool) -> None:
        """No-op: it never blocks."""

    def fileno(self) -> int:
        """:returns: a number, as sockets have one"""
        return 0

    def getsockname(self) -> tuple[str, int]:
        """:returns: where it is"""
        return ("127.0.0.1", 1)


class Idle:
    """A reactor that watches nothing."""

    def addWriter(self, _: object) -> None:
        """No-op: the test says when there is room."""

    addReader = removeReader = removeWriter = addWriter


class Link:
    """One client: its socket, its transport, and the queue in front of that.

    :param takes: how many bytes the socket takes now
    """

    def __init__(self, budget: Budget, takes: int = 0, *, wrapped: bool = False) -> None:
        self.kernel: Any = Kernel(takes)
        address = ("127.0.0.1", 1)
        server: Any = EagerServer
        self.transport: Any = server(self.kernel, None, address, None, 1, Idle(), buffers=Buffers(full=0))
        outer = self.transport
        if wrapped:
            outer = ProtocolWrapper.__new__(ProtocolWrapper)
            outer.transport = self.transport
        self.room = 0
        self.output = Output(outer, self._drained, budget)

    def _drained(self) -> None:
        self.room += 1

    def take(self, size: int) -> None:
        """Let the kernel have room for so much more."""
        self.kernel.takes += size
        while self.kernel.takes and (self.transport.dataBuffer or self.transport._tempDataBuffer):
            self.transport.doWrite()


class SharedFrameTests(SynchronousTestCase):
    """Frames in the queues of many."""

    def setUp(self) -> None:
        """Start with nothing."""
        self.budget = Budget(1 << 30)

    def test_counts_once(self) -> None:
        """Ten clients that do not read keep one frame; it counts until the last of them has it, or is gone."""
        frame = SharedBytes(b"x" * 1000)
        links = [Link(self.budget) for _ in range(10)]
        for link in links:
            self.assertTrue(link.output.write_shared(frame, ROOM))
        self.assertEqual(self.budget.used, 1000 + OVERHEAD)
        for link in links[:9]:
            link.take(1000)
        self.assertEqual(self.budget.used, 1000 + OVERHEAD)
        links[9].output.clear()
        self.assertEqual((self.budget.used, frame.kept), (0, 0))

    def test_no_copies(self) -> None:
        """Also behind PROXY, and of what the kernel took a part of."""
        frames = [SharedBytes(bytes([each]) * 5000) for each in range(3)]
        for wrapped in (False, True):
            link = Link(self.budget, 4000, wrapped=wrapped)
            for frame in frames:
                link.output.write_shared(frame, ROOM)
            self.assertIs(link.transport.dataBuffer, frames[0].content)
            link.take(3000)
            self.assertIs(link.transport.dataBuffer, frames[1].content)
            link.take(1)
            self.assertIs(link.transport.dataBuffer, frames[1].content)
            link.take(7999)
            self.assertEqual(link.kernel.got, b"".join(frame.content for frame in frames))
            self.assertEqual((self.budget.used, link.output.buffered, link.room), (0, 0, 1))

    def test_room(self) -> None:
        """To the byte; by the number of frames too; an empty queue has no room either for what is too long."""
        link = Link(self.budget)
        self.assertIsNone(link.output.write_shared(SharedBytes(b"x"), -1))
        link.output.write(b"12345")
        self.assertIsNone(link.output.write_shared(SharedBytes(b"x"), 4))
        self.assertIs(link.output.write_shared(SharedBytes(b"x"), 5), False)
        for _ in range(MAX_FRAMES - 1):
            link.output.write(b"")
        self.assertTrue(link.output.full)
        self.assertIsNone(link.output.write_shared(SharedBytes(b"x"), ROOM))

    def test_the_memory_of_all_is_no_matter(self) -> None:
        """Whoever publishes looks at it; no client is worse off because others read slowly."""
        self.budget.limit = 0
        link = Link(self.budget)
        link.output.write(b"x")
        self.assertIs(link.output.write_shared(SharedBytes(b"x"), ROOM), False)

    def test_transports_that_copy(self) -> None:
        """What TLS makes of a frame is the client's own."""
        transport = StringTransport()
        output = Output(transport, lambda: None, self.budget)
        frame = SharedBytes(b"x" * 100)
        self.assertTrue(output.write_shared(frame, ROOM))
        transport.dataBuffer = b"y" * 120  # type: ignore[attr-defined]  # what a socket does not take
        output.pauseProducing()
        self.assertEqual(self.budget.used, 120)
        output.write_shared(frame, ROOM)
        self.assertEqual(self.budget.used, 120 + 100 + 2 * OVERHEAD)
        transport.dataBuffer = b""  # type: ignore[attr-defined]  # now it did
        output.resumeProducing()
        self.assertEqual((self.budget.used, frame.kept), (0, 0))
        self.assertEqual(transport.value(), b"x" * 200)

    def test_a_transport_that_ends_while_it_is_written_to(self) -> None:
        """Nothing stays counted."""
        transport = StringTransport()
        output = Output(transport, lambda: None, self.budget)
        frame = SharedBytes(b"x" * 100)
        output.pauseProducing()
        for _ in range(3):
            output.write_shared(frame, ROOM)
        transport.write = lambda _: output.stopProducing()  # type: ignore[method-assign]  # it ends
        output.resumeProducing()
        self.assertEqual((self.budget.used, frame.kept), (0, 0))

    @moderately
    @given(st.data())
    def test_any_mixture(self, data: st.DataObject) -> None:
        """Shared and own frames, to clients that read as they like: each gets its own in order, and all is counted."""
        budget = Budget(1 << 30)
        links = [Link(budget, data.draw(st.integers(0, 300))) for _ in range(3)]
        expected = [b""] * 3
        frames: list[SharedBytes] = []
        for number in range(data.draw(st.integers(1, 25))):
            action = data.draw(st.sampled_from(["share", "share", "own", "take", "clear"]))
            which = data.draw(st.integers(0, 2))
            content = bytes([number]) * data.draw(st.integers(1, 400))
            link = links[which]
            if action == "share":
                frames.append(SharedBytes(content))
                for each, other in enumerate(links):
                    other.output.write_shared(frames[-1], ROOM)
                    expected[each] += content
            elif action == "own":
                link.output.write(content)
                expected[which] += content
            elif action == "take":
                link.take(data.draw(st.integers(0, 1000)))
            elif number > 20:
                link.output.clear()
                expected[which] = link.kernel.got + link.transport.dataBuffer[link.transport.offset :]
            for each, other in enumerate(links):
                waits = other.output.buffered
                self.assertEqual(other.output.sent, len(other.kernel.got))
                self.assertEqual(len(other.kernel.got) + waits, len(expected[each]))
        for each, other in enumerate(links):
            other.take(1 << 20)
            self.assertEqual(other.kernel.got, expected[each])
            other.output.clear()
        self.assertEqual(budget.used, 0)
        self.assertEqual({frame.kept for frame in frames} | {0}, {0})


class SharedMessageTests(SynchronousTestCase):
    """The message itself."""

    def test_keep(self) -> None:
        """Once, as long as anybody keeps it."""
        budget = Budget(1 << 20)
        message = SharedMessage(Message(b"hello", False))
        message.keep(budget)
        message.keep(budget)
        self.assertEqual(budget.used, 5 + OVERHEAD)
        message.release(budget)
        message.release(budget)
        self.assertEqual(budget.used, 0)
        self.assertEqual((message.payload, message.size, message.binary), (b"hello", 5, False))
