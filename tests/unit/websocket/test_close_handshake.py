"""The client's Close frame: read and answered as Autobahn reads and answers it."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.gate import CLOSE, PING, TEXT, Frame, Gate, close_frame, close_payload, frame, read_frames
from tests.properties import moderately
from tests.unit.net.http1.test_parser import slices
from wsaas.websocket.close_handshake import read_close

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
        for lanes in ("on", "off"):
            gate = Gate(WS_MAX_MESSAGE="70000")
            wire = gate.open()
            if lanes == "off":
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
                seen.append((lanes, wire.take(), wire.over, wire.disconnecting, gate.agent.methods))
            wire.flow()
            gate.clock.pump([1, 4, 5])
            wire.end()
            for call in gate.agent.calls:
                if not call.result.called:
                    call.answer(200, b"")
            calls = [(call.method, sorted(call.headers.getAllRawHeaders()), call.body) for call in gate.agent.calls]
            seen.append((lanes, wire.take(), calls, len(gate.registry)))
            self.assertEqual(gate.clock.getDelayedCalls(), [])
        half = len(seen) // 2
        self.assertEqual([step[1:] for step in seen[:half]], [step[1:] for step in seen[half:]])
