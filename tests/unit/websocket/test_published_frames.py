"""Publications as frames: one for all clients with which the same was negotiated (RFC 6455 §5, RFC 7692 §7)."""

from __future__ import annotations

import zlib

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from tests.gate import BINARY, CLOSE, TEXT, Frame, Gate, Wire, close_payload, frame, read_answer, read_frames
from tests.properties import moderately
from wsaas.connections.messages import Message, Publication, Reached
from wsaas.connections.outbox import MAX_HELD
from wsaas.groups.names import EVERYONE, group
from wsaas.websocket.frames import compressed_frame, message_frame

OFFER = "Sec-WebSocket-Extensions"


class PublishedCase(SynchronousTestCase):
    """A gate, and publications."""

    settings: dict[str, str] = {}

    def setUp(self) -> None:
        """Make it."""
        self.gate = Gate(None, **self.settings)

    def publish(self, payload: bytes, binary: bool = False, *targets: str) -> Deferred[Reached]:
        """Publish to everyone, if not told otherwise."""
        return self.gate.groups.publish(Publication(targets or (EVERYONE,), Message(payload, binary)))


class PlainTests(PublishedCase):
    """Without extensions."""

    def test_kinds(self) -> None:
        """Text and binary messages, of any length."""
        wires = [self.gate.open("/") for _ in range(3)]
        for size in (0, 1, 125, 126, 65535, 65536):
            for binary in (False, True):
                self.publish(b"x" * size, binary)
                frames = {tuple(read_frames(wire.take())) for wire in wires}
                self.assertEqual(frames, {(Frame(BINARY if binary else TEXT, b"x" * size),)})

    def test_not_to_who_is_leaving(self) -> None:
        """Nothing comes behind a Close of either side."""
        wire, other = self.gate.open("/"), self.gate.open("/")
        wire.deliver(frame(CLOSE, close_payload(1000)))
        self.assertEqual(self.successResultOf(self.publish(b"x")), Reached(sent=1))
        self.assertEqual([each.opcode for each in read_frames(wire.take())], [CLOSE])
        self.assertEqual(len(read_frames(other.take())), 1)

    def test_missed_in_the_handshake(self) -> None:
        """The client gets its 101, what was held, and 1013."""
        wire = self.gate.begin("/")
        (connection,) = self.gate.registry
        self.gate.groups.join(connection, ["a"])
        for number in range(MAX_HELD + 1):
            self.publish(b"%d" % number, False, group("a"))
        self.gate.agent.last.answer()
        answer, rest = read_answer(wire.take())
        frames = read_frames(rest)
        self.assertEqual(answer.status, 101)
        self.assertEqual([each.payload for each in frames[:-1]], [b"%d" % number for number in range(MAX_HELD)])
        self.assertEqual(frames[-1], Frame(CLOSE, close_payload(1013)))
        wire.deliver(frame(CLOSE, close_payload(1013)))
        self.gate.turn()
        self.assertEqual((self.gate.agent.last.method, self.gate.agent.last.header("Ws-Closed-By")), ("DELETE", "slow"))
        self.assertEqual(self.gate.budgets.outgoing.used, 0)


class CompressedTests(PublishedCase):
    """With permessage-deflate."""

    settings = {"WS_COMPRESSION": "on"}

    def open(self, bits: int | None) -> Wire:
        """:returns: a client with a window of so many bits; without the extension, if none"""
        window = "" if bits in (None, 15) else f"; server_max_window_bits={bits}"
        return self.gate.open("/", *([] if bits is None else [(OFFER, "permessage-deflate" + window)]))

    def test_one_rendering_for_each_window(self) -> None:
        """Every client can read its own, and those with the same window have the same bytes."""
        wires = [(bits, self.open(bits)) for bits in (None, 9, 9, 12, 15, 15, None)]
        payload = bytes(range(250)) * 40
        self.assertEqual(self.successResultOf(self.publish(payload, True)), Reached(sent=7))
        bytes_of: dict[int | None, set[bytes]] = {}
        for bits, wire in wires:
            data = wire.take()
            bytes_of.setdefault(bits, set()).add(data)
            (got,) = read_frames(data)
            if bits is None:
                self.assertEqual(got, Frame(BINARY, payload))
            else:
                self.assertEqual((data[0], got.opcode), (0x80 | 0x40 | BINARY, BINARY))
                inflated = zlib.decompressobj(wbits=-bits).decompress(got.payload + b"\0\0\xff\xff")
                self.assertEqual(inflated, payload)
        self.assertEqual({bits: len(each) for bits, each in bytes_of.items()}, {None: 1, 9: 1, 12: 1, 15: 1})

    def test_pushes_between(self) -> None:
        """A client's own messages and those for many do not depend on each other: there is no context."""
        wire = self.open(15)
        for number in range(4):
            payload = b"the same text again and again %d" % number
            if number % 2:
                (connection,) = self.gate.registry
                connection.outbox.push(Message(payload, False))
            else:
                self.publish(payload)
            (got,) = read_frames(wire.take())
            inflated = zlib.decompressobj(wbits=-15).decompress(got.payload + b"\0\0\xff\xff")
            self.assertEqual(inflated, payload)

    def test_empty(self) -> None:
        """An empty message, too."""
        wire = self.open(15)
        self.publish(b"")
        (got,) = read_frames(wire.take())
        self.assertEqual(zlib.decompressobj(wbits=-15).decompress(got.payload + b"\0\0\xff\xff"), b"")


class FramesTests(SynchronousTestCase):
    """Frames of compressed messages."""

    @moderately
    @given(st.integers(0, 70_000), st.booleans())
    def test_any_length(self, size: int, binary: bool) -> None:
        """As plain ones, but for one bit."""
        plain, compressed = message_frame(b"x" * size, binary), compressed_frame(b"x" * size, binary)
        self.assertEqual(compressed[0], plain[0] | 0x40)
        self.assertEqual(compressed[1:], plain[1:])
