"""Compressed messages (RFC 7692): what is agreed on, and what inflates to too much."""

from __future__ import annotations

import zlib

from hypothesis import given
from hypothesis import strategies as st

from tests.gate import (
    BINARY,
    CLOSE,
    CONTINUATION,
    PING,
    TEXT,
    close_payload,
    deflate,
    frame,
    handshake_request,
    inflate,
    read_answer,
)
from tests.properties import moderately
from tests.unit.websocket.test_protocol import WebSocketTestCase

#: Parameters with which permessage-deflate cannot be accepted.
DECLINED = (
    "unknown",
    "server_max_window_bits=7",
    "server_max_window_bits=8",
    "server_max_window_bits=16",
    "server_max_window_bits=09",
    "server_max_window_bits=+9",
    "server_max_window_bits= ",
    "server_max_window_bits",
    "client_max_window_bits=x",
    "client_max_window_bits=7",
    "client_max_window_bits=010",
    "server_no_context_takeover=1",
    "client_no_context_takeover=1",
    "server_no_context_takeover; server_no_context_takeover",
    "server_max_window_bits=9; server_max_window_bits=9",
    "client_max_window_bits; Client_Max_Window_Bits",
    "",
    "a=b=c",
    'client_max_window_bits="9',
)


class CompressionTests(WebSocketTestCase):
    """permessage-deflate, switched on."""

    settings = {"WS_COMPRESSION": "on", "WS_MAX_MESSAGE": "100000"}
    offers = (("Sec-WebSocket-Extensions", "permessage-deflate; client_max_window_bits"),)

    def extensions(self, offer: str) -> str | None:
        """:returns: what is answered to an offer"""
        wire = self.gate.connect()
        wire.deliver(handshake_request("/", ("Sec-WebSocket-Extensions", offer)))
        self.gate.agent.last.answer()
        answer, _ = read_answer(wire.take())
        self.assertEqual(answer.status, 101)
        return answer.header("Sec-WebSocket-Extensions")

    def test_negotiation(self) -> None:
        """The first offer, and the client is told to keep no window, so that we need not; ours is dropped anyway."""
        for offer in (
            "permessage-deflate",
            "x-unknown, permessage-deflate; client_max_window_bits, permessage-deflate",
        ):
            names = [part.strip().partition("=")[0] for part in (self.extensions(offer) or "").split(";")]
            self.assertEqual(names[0], "permessage-deflate")
            self.assertIn("client_no_context_takeover", names)
        self.assertIsNone(self.extensions("x-unknown"))
        self.assertIsNone(self.extensions(""))

    def test_both_directions(self) -> None:
        """Messages are inflated for the API and deflated for the client, each by itself."""
        self.always(("Ws-Reply", "text"))
        text = b"the same words again and again " * 20
        self.gate.agent.react = lambda call: call.answer(200, call.body or b"", ("Ws-Reply", "text"))
        for _ in range(3):
            self.wire.deliver(frame(TEXT, deflate(text), rsv=4))
            (reply,) = self.frames()
            self.assertEqual((reply.opcode, reply.rsv, inflate(reply.payload)), (TEXT, 4, text))
            self.assertLess(len(reply.payload), len(text) / 2)
        self.assertEqual(self.puts, [("text", text)] * 3)

    def test_uncompressed_messages(self) -> None:
        """They are allowed (RFC 7692 §6)."""
        self.wire.deliver(frame(TEXT, b"plain"))
        self.assertEqual(self.puts, [("text", b"plain")])

    def test_compressed_fragments(self) -> None:
        """The bit stands in the first frame only."""
        data = deflate(b"a" * 5000)
        self.wire.deliver(frame(BINARY, data[:5], rsv=4, fin=False) + frame(CONTINUATION, data[5:]))
        self.assertEqual(self.puts, [("binary", b"a" * 5000)])

    def test_longest_message(self) -> None:
        """The limit counts what is inflated."""
        self.wire.deliver(frame(BINARY, deflate(b"a" * 100_000), rsv=4))
        self.assertEqual(self.puts, [("binary", b"a" * 100_000)])

    def test_a_bomb(self) -> None:
        """1009 before it has grown: in one frame, or in fragments."""
        bomb = deflate(b"\0" * 5_000_000)
        for data in (
            frame(BINARY, bomb, rsv=4),
            frame(BINARY, deflate(b"ab" * 50_001), rsv=4),
            frame(BINARY, bomb[:50], rsv=4, fin=False) + frame(CONTINUATION, bomb[50:3_000], fin=False),
        ):
            self.setUp()
            self.wire.deliver(data)
            (last,) = self.frames()
            self.assertEqual((last.opcode, last.payload[:2]), (CLOSE, close_payload(1009)))
            self.assertEqual(self.puts, [])
            self.wire.end()
            self.assertEqual(self.gate.agent.last.header("Ws-Closed-By"), "protocol")

    def test_a_little_too_long(self) -> None:
        """1009 too, and never a part of it: zlib may hold the end of a message back."""
        for length in (100_001, 100_100, 100_256, 100_257, 100_258, 100_259, 100_516, 100_600, 101_000):
            data = deflate(b"a" * length)
            for segment in (
                frame(BINARY, data, rsv=4),
                frame(BINARY, data[:20], rsv=4, fin=False) + frame(CONTINUATION, data[20:]),
            ):
                self.setUp()
                self.wire.deliver(segment)
                self.assertEqual((self.frames()[0].payload[:2], self.puts), (close_payload(1009), []), length)
                self.wire.end()

    @moderately
    @given(st.lists(st.tuples(st.integers(0, 255), st.integers(1, 60_000)), max_size=4), st.integers(1, 200))
    def test_any_message(self, runs: list[tuple[int, int]], cut: int) -> None:
        """It arrives whole, or not at all."""
        self.setUp()
        message = b"".join(bytes([value]) * length for value, length in runs)
        data = deflate(message)
        self.wire.deliver(frame(BINARY, data[:cut], rsv=4, fin=False) + frame(CONTINUATION, data[cut:]))
        self.assertEqual(self.puts, [("binary", message)] if len(message) <= 100_000 else [])
        self.wire.end()

    def test_what_does_not_inflate(self) -> None:
        """It is the client's fault, not ours: 1002 or 1007, without a fault in the log."""
        for data in (b"\xff\xff\xff\xff", b"\x07garbage"):
            self.setUp()
            self.wire.deliver(frame(BINARY, data, rsv=4))
            (last,) = self.frames()
            self.assertEqual(last.opcode, CLOSE)
            self.assertIn(last.payload[:2], (close_payload(1002), close_payload(1007)))
            self.wire.end()
            self.assertEqual(self.gate.agent.last.header("Ws-Closed-By"), "protocol")

    def test_compressed_text_that_is_not_utf_8(self) -> None:
        """1007, looked for in what is inflated."""
        self.wire.deliver(frame(TEXT, deflate(b"a\xff"), rsv=4))
        self.assert_closed(1007, "protocol")

    def test_compressed_control_frames(self) -> None:
        """1002 (RFC 7692 §6.1)."""
        self.wire.deliver(frame(PING, deflate(b"a"), rsv=4))
        self.assert_closed(1002, "protocol")

    def test_declined_offers(self) -> None:
        """The next one that can be accepted is; without one the WebSocket has no extension (RFC 7692 §5.1, §7.1)."""
        for parameters in DECLINED:
            offer = f"permessage-deflate; {parameters}"
            self.assertIsNone(self.extensions(offer), offer)
            self.assertIsNone(self.extensions(f"{offer}, x-unknown; a=1, {offer}"), offer)
            accepted = "permessage-deflate; server_max_window_bits=9; client_no_context_takeover"
            self.assertEqual(self.extensions(f"{offer}, permessage-deflate; server_max_window_bits=9"), accepted, offer)

    def test_without_an_extension(self) -> None:
        """Messages are not compressed then, and may not be."""
        offer = ("Sec-WebSocket-Extensions", "permessage-deflate; server_max_window_bits=8")
        wire = self.gate.open("/", offer)
        wire.deliver(frame(TEXT, b"plain"))
        self.assertEqual(self.gate.agent.last.body, b"plain")
        self.gate.agent.last.answer()
        wire.deliver(frame(TEXT, deflate(b"a"), rsv=4))
        (last,) = self.frames(wire)
        self.assertEqual(last.payload[:2], close_payload(1002))

    def test_acceptable_offers(self) -> None:
        """Whatever RFC 7692 §7.1 allows, but for a window of 8 bits, which zlib does not have."""
        for parameters, echoed in (
            ("client_max_window_bits=8", ""),
            ('server_max_window_bits="10"', "; server_max_window_bits=10"),
            ("CLIENT_MAX_WINDOW_BITS = 15 ;server_no_context_takeover", "; server_no_context_takeover"),
            ("server_max_window_bits=15; client_no_context_takeover", "; server_max_window_bits=15"),
        ):
            self.assertEqual(
                self.extensions(f" , PerMessage-Deflate ; {parameters} ,"),
                f"permessage-deflate{echoed}; client_no_context_takeover",
            )

    def test_a_small_window(self) -> None:
        """What was agreed on holds: the client inflates with its window."""
        wire = self.gate.open("/", ("Sec-WebSocket-Extensions", "permessage-deflate; server_max_window_bits=9"))
        text = bytes(range(250)) * 40
        self.gate.agent.react = lambda call: call.answer(200, call.body or b"", ("Ws-Reply", "binary"))
        wire.deliver(frame(BINARY, text))
        (reply,) = self.frames(wire)
        self.assertEqual(zlib.decompressobj(wbits=-9).decompress(reply.payload + b"\0\0\xff\xff"), text)

    @moderately
    @given(st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=60))
    def test_any_offer(self, offer: str) -> None:
        """It is accepted or declined; the client is let in."""
        for text in (offer, f"permessage-deflate;{offer}"):
            wire = self.gate.connect()
            wire.deliver(handshake_request("/", ("Sec-WebSocket-Extensions", text)))
            self.gate.agent.last.answer()
            self.assertTrue(wire.take().startswith(b"HTTP/1.1 101 "))
            wire.end()


class NoCompressionTests(WebSocketTestCase):
    """permessage-deflate, switched off."""

    offers = CompressionTests.offers

    def test_not_spoken(self) -> None:
        """Whatever is offered; then a compressed frame is an error."""
        wire = self.gate.begin("/", *self.offers)
        self.gate.agent.last.answer()
        self.assertIsNone(read_answer(wire.take())[0].header("Sec-WebSocket-Extensions"))
        self.wire.deliver(frame(TEXT, deflate(b"a"), rsv=4))
        (last,) = self.frames()
        self.assertEqual(last.payload[:2], close_payload(1002))
