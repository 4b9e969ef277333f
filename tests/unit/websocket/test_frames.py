"""Frames that are read and written without Autobahn: byte for byte what Autobahn itself would read and write."""

from __future__ import annotations

from typing import Any

from autobahn.twisted.websocket import WebSocketServerFactory, WebSocketServerProtocol
from autobahn.websocket.protocol import TrafficStats
from hypothesis import example, given
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tests.gate import (
    BINARY,
    CLOSE,
    PING,
    TEXT,
    Frame,
    Gate,
    close_frame,
    close_payload,
    frame,
    read_frames,
)
from tests.properties import moderately
from tests.unit.net.http1.test_parser import slices
from wsaas.connections.messages import Message
from wsaas.websocket.frames import message_frame, read_close, read_message

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


CODES = st.one_of(
    st.sampled_from([1000, 1001, 1002, 1003, 1004, 1005, 1006, 1007, 1011, 1012, 1013, 1014, 1015, 3000, 4999, 5000]),
    st.integers(0, 65535),
)
CLOSES = st.one_of(
    st.builds(close_frame, CODES, st.text(max_size=20)),
    st.builds(
        lambda payload, fin, rsv, mask: frame(CLOSE, payload, fin=fin, rsv=rsv, mask=mask),
        st.sampled_from(
            [b"", b"\x03", b"\x03\xe8", b"\x03\xe8\xff", b"\x03\xe8" + b"a" * 123, b"\x03\xe8" + b"a" * 124]
        ),
        st.sampled_from([True, True, True, False]),
        st.sampled_from([0, 0, 0, 4]),
        st.sampled_from([b"mask", b"\0\0\0\0", None]),
    ),
)


class ReadCloseTests(SynchronousTestCase):
    """``read_close``."""

    def test_what_is_read(self) -> None:
        """Code, reason, the answer, and where it ends; whatever follows."""
        for code, reason in ((1000, ""), (1001, "going"), (3000, "\u20ac"), (4999, "a" * 123)):
            data = close_frame(code, reason)
            found = read_close(data + b"more")
            assert found is not None
            self.assertEqual((found[0], found[1], found[3]), (code, reason, len(data)))
            self.assertEqual(read_frames(found[2]), [Frame(CLOSE, close_payload(code, reason))])

    def test_without_a_code(self) -> None:
        """The answer has none either (RFC 6455 §5.5.1)."""
        self.assertEqual(read_close(frame(CLOSE)), (None, "", b"\x88\x00", 6))

    def test_what_autobahn_judges(self) -> None:
        """Other frames, other bits, no mask, lengths, codes, reasons."""
        for data in (
            b"",
            frame(TEXT, b"hello"),
            frame(PING),
            frame(CLOSE, fin=False),
            frame(CLOSE, rsv=4),
            frame(CLOSE, mask=None),
            frame(CLOSE, close_payload(1000), mask=None),
            frame(CLOSE, b"\x03"),
            frame(CLOSE, close_payload(1000, "a" * 124)),
            bytes([0x88, 0x80 | 126, 0, 2]) + b"mask" + b"ab",
            close_frame(999),
            close_frame(1004),
            close_frame(1005),
            close_frame(1006),
            close_frame(1015),
            close_frame(2999),
            close_frame(5000),
            frame(CLOSE, b"\x03\xe8\xff"),
            frame(CLOSE, b"\x03\xe8\xed\xa0\x80"),
        ):
            self.assertIsNone(read_close(data), data)
        whole = close_frame(1000, "bye")
        for end in range(len(whole)):
            self.assertIsNone(read_close(whole[:end]), end)


class CloseTests(SynchronousTestCase):
    """The end of a connection."""

    def test_nothing_keeps_the_transport_open(self) -> None:
        """With a producer, a socket's transport would wait for more to send."""
        wire = Gate().open()
        self.assertIsNotNone(wire.producer)
        wire.deliver(close_frame(1000))
        self.assertTrue(wire.disconnecting)
        self.assertIsNone(wire.producer)


class DifferentialTests(SynchronousTestCase):
    """Frames end in the same way with Autobahn's close handshake and with this one."""

    @moderately
    @given(
        st.lists(
            st.one_of(
                CLOSES, CLOSES, st.sampled_from([frame(TEXT, b"a"), frame(PING, b"p"), frame(TEXT, b"a", fin=False)])
            ),
            min_size=1,
            max_size=4,
        ).map(b"".join),
        st.lists(st.integers(0, 300), max_size=3),
        st.booleans(),
        st.booleans(),
    )
    def test_any_frames(self, stream: bytes, cuts: list[int], stalled: bool, answered: bool) -> None:
        """Whatever comes, in whatever slices; to a client that reads or does not, while the API is quick or slow."""
        seen: list[Any] = []
        for plain in (True, False):
            gate = Gate(WS_MAX_MESSAGE="70000")
            wire = gate.open()
            if not plain:
                # Autobahn parses all frames then.
                type(wire.protocol)._take_plain = lambda _: False
            for _ in range(3 if stalled else 0):
                wire.stall()
                gate.ask("PUT", f"/{gate.key}", b"a" * 70000)
            if answered:
                gate.agent.react = lambda call: call.answer(200, b"")
            for data in slices(stream, cuts):
                if not wire.over:
                    wire.deliver(data)
                gate.turn()
                seen.append((wire.take(), wire.over, wire.disconnecting, gate.agent.methods))
            wire.flow()
            gate.clock.pump([1, 4, 5])
            wire.end()
            for call in gate.agent.calls:
                if not call.result.called:
                    call.answer(200, b"")
            calls = [(call.method, sorted(call.headers.getAllRawHeaders()), call.body) for call in gate.agent.calls]
            seen.append((wire.take(), calls, len(gate.registry)))
            self.assertEqual(gate.clock.getDelayedCalls(), [])
        half = len(seen) // 2
        self.assertEqual(seen[:half], seen[half:])
