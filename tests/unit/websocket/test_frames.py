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
from wsaas.connections.messages import Message
from wsaas.websocket.frames import message_frame, read_message

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


class ReadMessageTests(SynchronousTestCase):
    """``read_message``."""

    def test_the_example_of_the_rfc(self) -> None:
        """RFC 6455 §5.7: a single-frame masked text message."""
        self.assertEqual(read_message(bytes.fromhex("818537fa213d7f9f4d5158")), (Message(b"Hello", False), 11))

    @moderately
    @given(
        st.one_of(
            st.text(max_size=200).map(lambda text: (text.encode(), False)),
            st.binary(max_size=4096).map(lambda data: (data, True)),
        ),
        st.binary(min_size=4, max_size=4),
        st.binary(max_size=20),
    )
    def test_what_was_framed(self, message: tuple[bytes, bool], mask: bytes, more: bytes) -> None:
        """It comes back, whatever the mask and whatever follows; and not before it is complete."""
        payload, binary = message
        data = frame(BINARY if binary else TEXT, payload, mask=mask)
        self.assertEqual(read_message(data + more), (Message(payload, binary), len(data)))
        for end in {0, 1, 2, 5, 7, len(data) // 2, len(data) - 1} - {len(data)}:
            self.assertIsNone(read_message(data[:end]) if end < len(data) else None)

    def test_edges(self) -> None:
        """Each length in its shortest form, up to where Autobahn is faster."""
        for length in (0, 1, 125, 126, 127, 4096):
            data = frame(BINARY, bytes(length), mask=b"abcd")
            self.assertEqual(read_message(data), (Message(bytes(length), True), len(data)))
        for length in (4097, 65535, 65536):
            self.assertIsNone(read_message(frame(BINARY, bytes(length), mask=b"abcd")))

    def test_what_autobahn_judges(self) -> None:
        """Fragments, control frames, reserved bits, no mask, a long form of a short length."""
        whole = frame(TEXT, b"Hello", mask=b"abcd")
        for first in (0x01, 0x02, 0x00, 0x80, 0x83, 0x88, 0x89, 0x8A, 0xC1, 0xA1, 0x91):
            self.assertIsNone(read_message(bytes([first]) + whole[1:]), hex(first))
        self.assertIsNone(read_message(frame(TEXT, b"Hello", mask=None)))
        self.assertIsNone(read_message(bytes([0x81, 0x80 | 126, 0, 5]) + b"abcd" + bytes(5)))
        self.assertIsNone(read_message(bytes([0x81, 0x80 | 127]) + bytes(7) + b"\5abcd" + bytes(5)))

    def test_text_that_is_not_utf8(self) -> None:
        """Autobahn closes with 1007."""
        for text in (b"\xff", b"\xc0\x80", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xe2\x82"):
            self.assertIsNone(read_message(frame(TEXT, text, mask=b"abcd")))
            self.assertIsNotNone(read_message(frame(BINARY, text, mask=b"abcd")))
