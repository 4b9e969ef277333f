"""Handshakes as they come in: at the beginning of a connection, behind other requests, in pieces, through wrappers."""

from __future__ import annotations

import gc
import weakref

from twisted.protocols.policies import ProtocolWrapper, WrappingFactory
from twisted.trial.unittest import SynchronousTestCase

from tests.gate import (
    BINARY,
    TEXT,
    Gate,
    close_frame,
    frame,
    handshake_request,
    http_request,
    read_answer,
    read_answers,
)
from wsaas.net.http1.connection import MAX_EARLY, REFUSED_PAUSE
from wsaas.net.http1.server import Channel
from wsaas.websocket.protocol import ClientProtocol

HEAD_TIMEOUT = 30.0
USUAL = handshake_request("/chat?room=7")


class EntryTestCase(SynchronousTestCase):
    """A gateway in memory."""

    def setUp(self) -> None:
        """Make it."""
        self.gate = Gate()

    @property
    def timers(self) -> int:
        """How many wait."""
        return len(self.gate.clock.getDelayedCalls())


class EntryTests(EntryTestCase):
    """What becomes of a connection."""

    def test_cut_anywhere(self) -> None:
        """It is the same handshake."""
        for cut in range(1, len(USUAL), 7):
            wire = self.gate.connect()
            wire.deliver(USUAL[:cut])
            self.assertEqual(wire.take(), b"")
            wire.deliver(USUAL[cut:])
            self.gate.agent.last.answer()
            self.assertTrue(wire.take().startswith(b"HTTP/1.1 101 "))
            self.assertIsInstance(wire.protocol, ClientProtocol)

    def test_behind_other_requests(self) -> None:
        """In the same segment, too; their answers come first."""
        wire = self.gate.connect()
        wire.deliver(http_request("GET", "/") + USUAL + frame(TEXT, b"early"))
        self.gate.agent.last.answer()
        answer, rest = read_answer(wire.take())
        self.assertEqual((answer.status, read_answer(rest)[0].status), (426, 101))
        self.assertEqual(self.gate.agent.last.body, b"early")

    def test_what_came_behind_a_refused_handshake(self) -> None:
        """Is the next request, or the beginning of one, which has its own time."""
        wire = self.gate.connect()
        wire.deliver(USUAL + http_request("GET", "/") + USUAL[:-1])
        self.gate.agent.last.answer(403)
        self.assertEqual([answer.status for answer in read_answers(wire.take())], [403, 426])
        # Two refusals are as much as there is in a turn.
        self.gate.clock.advance(REFUSED_PAUSE)
        self.gate.clock.advance(HEAD_TIMEOUT - 1)
        self.assertEqual(wire.take(), b"")
        self.gate.clock.advance(1)
        self.assertEqual(read_answers(wire.take())[0].status, 408)

    def test_early_bytes_are_bounded(self) -> None:
        """A client that sends much while the API thinks is not read any more; then it is, whatever the answer."""
        message = frame(BINARY, bytes(4000))
        for status in (200, 403):
            wire = self.gate.connect()
            wire.deliver(USUAL + message)
            for _ in range(10):
                wire.deliver(message)
            self.assertEqual(wire.producerState, "paused")
            self.assertLessEqual(len(wire._inbox) * len(message), 11 * len(message) - MAX_EARLY)
            self.assertGreater(len(wire._inbox), 5)
            self.gate.agent.calls[-1].answer(status)
            self.gate.turn()
            self.assertEqual(wire.producerState, "producing")
            if status == 200:
                for _ in range(11):
                    self.assertEqual(self.gate.agent.last.body, bytes(4000))
                    self.gate.agent.last.answer(200, b"")
            else:
                self.assertEqual([answer.status for answer in read_answers(wire.take())], [403, 414])

    def test_many_requests_behind_a_refused_handshake(self) -> None:
        """All are answered, those too that were not read before."""
        wire = self.gate.connect()
        wire.deliver(USUAL)
        for _ in range(10):
            wire.deliver(http_request("GET", "/", None, ("A", "a" * 4000)))
        self.assertEqual(wire.producerState, "paused")
        self.gate.agent.last.answer(403)
        for _ in range(10):
            self.gate.clock.advance(REFUSED_PAUSE)
        self.gate.turn()
        self.assertEqual([answer.status for answer in read_answers(wire.take())], [403, *[426] * 10])

    def test_inside_a_wrapper(self) -> None:
        """As with TLS and PROXY: the wrapper stays, what is inside of it changes."""
        factory = WrappingFactory(self.gate.site)
        factory.noisy = False
        for segments in ([USUAL], [USUAL[:5], USUAL[5:]]):
            wire = self.gate.connect(factory)
            wrapper = wire.protocol
            for segment in segments:
                wire.deliver(segment)
            self.assertIs(wire.protocol, wrapper)
            assert isinstance(wrapper, ProtocolWrapper)
            self.assertIsInstance(wrapper.wrappedProtocol, Channel)
            self.gate.agent.last.answer()
            self.assertTrue(wire.take().startswith(b"HTTP/1.1 101 "))
            self.assertIsInstance(wrapper.wrappedProtocol, ClientProtocol)
            wire.deliver(close_frame(1000))
            self.gate.turn()
            self.assertTrue(wire.over)

    def test_answered_at_once(self) -> None:
        """Before the bytes have left the method that received them."""
        self.gate.agent.react = lambda call: call.answer(200 if len(self.gate.agent.calls) > 1 else 403)
        wire = self.gate.connect()
        wire.deliver(USUAL + USUAL + frame(TEXT, b"a"))
        refused, rest = read_answer(wire.take())
        self.assertEqual((refused.status, read_answer(rest)[0].status), (403, 101))
        self.assertEqual(self.gate.agent.last.body, b"a")

    def test_connection_close(self) -> None:
        """It is a handshake all the same; if it is refused, the connection ends."""
        request = handshake_request("/", ("Connection", "Upgrade, close"), without=("Connection",))
        for status in (200, 403):
            wire = self.gate.connect()
            wire.deliver(request)
            self.gate.agent.last.answer(status)
            self.gate.turn()
            answer, _ = read_answer(wire.take())
            self.assertEqual((answer.status, wire.over), (101 if status == 200 else 403, status != 200))


class DeadlineTests(EntryTestCase):
    """One timer for all that were not heard of."""

    def test_the_same_until_the_end_of_the_head(self) -> None:
        """However slowly it trickles."""
        wire = self.gate.connect()
        self.gate.clock.advance(HEAD_TIMEOUT - 2)
        wire.deliver(USUAL[:10])
        self.gate.clock.advance(1)
        wire.deliver(USUAL[10:20])
        self.assertEqual((wire.take(), self.timers), (b"", 1))
        self.gate.clock.advance(1)
        self.assertEqual(read_answers(wire.take())[0].status, 408)

    def test_none_is_left(self) -> None:
        """Not when it is a handshake, or over."""
        for data in (USUAL, b"", b"PUT", http_request("GET", "/")):
            wire = self.gate.connect()
            if data:
                wire.deliver(data)
            wire.end()
            if data == USUAL:
                self.gate.agent.last.answer(403)
            self.assertEqual(self.timers, 0, data)

    def test_freed(self) -> None:
        """With the collector off, wherever it was."""
        gc.collect()
        gc.disable()
        self.addCleanup(gc.enable)
        for data in (b"", USUAL, USUAL + b"abc", USUAL[:5], http_request("GET", "/")):
            for answer in (200, 403):
                wire = self.gate.connect()
                channel = weakref.ref(wire.protocol)
                if data:
                    wire.deliver(data)
                if data.startswith(USUAL):
                    self.gate.agent.calls.pop().answer(answer)
                    if answer == 200:
                        self.assertIsNone(channel())
                wire.end()
                self.gate.agent.calls.clear()
                self.assertIsNone(channel(), data)
