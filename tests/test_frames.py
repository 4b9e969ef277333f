"""Frames of whole messages: byte for byte what Autobahn's own encoder makes of them."""

from __future__ import annotations

from autobahn.twisted.websocket import WebSocketServerFactory, WebSocketServerProtocol
from autobahn.websocket.protocol import TrafficStats
from hypothesis import example, given
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tests.gate import BINARY, TEXT, Frame, frame, read_frames
from tests.properties import moderately
from wsaas.frames import message_frame

#: Both sides of each step of the length's encoding (RFC 6455 §5.2).
EDGES = (0, 1, 124, 125, 126, 127, 65534, 65535, 65536, 65537, 1 << 20)


class _Sender(WebSocketServerProtocol):
    """Autobahn's encoder, with what it would send kept."""

    def __init__(self) -> None:
        super().__init__()
        self.factory = WebSocketServerFactory(reactor=Clock())
        self.maskServerFrames = False
        self.applyMask = True
        self.logFrames = False
        self.autoFragmentSize = self.maxMessagePayloadSize = 0
        self.trackTimings = False
        self.trackedTimings = None  # type: ignore[assignment]  # Autobahn's own value for "not tracked"
        self._perMessageCompress = None
        self.trafficStats = TrafficStats()
        self.state = self.STATE_OPEN
        self.sent = b""

    def sendData(self, data: bytes, sync: bool = False, chopsize: int | None = None) -> None:
        """Keep it."""
        self.sent += data


def by_autobahn(payload: bytes, binary: bool) -> bytes:
    """:returns: what ``sendMessage`` sends"""
    sender = _Sender()
    sender.sendMessage(payload, binary)
    return sender.sent


class MessageFrameTests(SynchronousTestCase):
    """``message_frame``."""

    def test_examples_of_the_rfc(self) -> None:
        """The unmasked examples of RFC 6455 §5.7."""
        self.assertEqual(message_frame(b"Hello", False), bytes.fromhex("810548656c6c6f"))
        self.assertEqual(message_frame(b"x" * 256, True)[:4], bytes.fromhex("827e0100"))
        self.assertEqual(message_frame(b"x" * 65536, True)[:10], bytes.fromhex("827f0000000000010000"))

    def test_edges(self) -> None:
        """Each length has its shortest form, and what follows the header is the payload."""
        for length in EDGES:
            for binary in (False, True):
                payload = bytes(length)
                self.assertEqual(message_frame(payload, binary), frame(BINARY if binary else TEXT, payload, mask=None))

    def test_every_short_length(self) -> None:
        """The table has no slip."""
        for length in range(130):
            for binary in (False, True):
                self.assertEqual(message_frame(bytes(length), binary), by_autobahn(bytes(length), binary))

    @moderately
    @given(st.one_of(st.binary(max_size=300), st.sampled_from(EDGES).map(bytes)), st.booleans())
    @example(b"", False)
    def test_same_as_autobahn(self, payload: bytes, binary: bool) -> None:
        """Whatever is sent, it is sent as Autobahn would send it, and read as what it was."""
        made = message_frame(payload, binary)
        self.assertEqual(made, by_autobahn(payload, binary))
        self.assertEqual(read_frames(made), [Frame(BINARY if binary else TEXT, payload)])

    @moderately
    @given(st.lists(st.tuples(st.binary(max_size=200), st.booleans()), max_size=8))
    def test_frames_in_a_row(self, messages: list[tuple[bytes, bool]]) -> None:
        """Frames end where they say, so that others can follow."""
        stream = b"".join(message_frame(payload, binary) for payload, binary in messages)
        self.assertEqual(
            [(got.payload, got.opcode == BINARY) for got in read_frames(stream)],
            messages,
        )

    def test_is_bytes(self) -> None:
        """The transport sends bytes at once, and anything else by the slow way."""
        self.assertIs(type(message_frame(b"", False)), bytes)
