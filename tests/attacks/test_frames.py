"""Frames that break RFC 6455, and messages that are too much."""

from __future__ import annotations

from tests.attacks.attack import attack
from tests.attacks.frames import LIMIT, FrameTestCase
from tests.wire import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, close_payload, frame


def fragments(*payloads: bytes, opcode: int = BINARY) -> bytes:
    """:returns: the beginning of a message that has no last frame"""
    kinds = [opcode, *[CONTINUATION] * len(payloads)]
    return b"".join(frame(kind, payload, first=0) for kind, payload in zip(kinds, payloads, strict=False))


class FrameTests(FrameTestCase):
    """RFC 6455 §5 and §7."""

    @attack(
        "Frames without a mask",
        sent="unmasked text, binary, ping, pong, Close and continuation frames",
        answer="close 1002",
        api="POST, DELETE 1002",
    )
    async def test_unmasked(self) -> str:
        await self.begin()
        kinds = (TEXT, BINARY, PING, PONG, CLOSE, CONTINUATION)
        return await self.sent_frames(*[frame(kind, b"\x03\xe8", mask=None) for kind in kinds])

    @attack(
        "Reserved bits and opcodes",
        sent="RSV1, RSV2 and RSV3 on text, ping and Close frames; the opcodes 3 to 7 and 11 to 15",
        answer="close 1002",
        api="POST, DELETE 1002",
    )
    async def test_reserved(self) -> str:
        await self.begin()
        bits = [frame(kind, b"\x03\xe8", first=first) for kind in (TEXT, PING, CLOSE) for first in (0xC0, 0xA0, 0x90)]
        return await self.sent_frames(*bits, *[frame(kind, b"x") for kind in (*range(3, 8), *range(11, 16))])

    @attack(
        "Control frames that are too long or come in pieces",
        sent="ping, pong and Close of 126 bytes, of 2^16, claiming 2^40; each without FIN",
        answer="close 1002",
        api="POST, DELETE 1002",
    )
    async def test_control_frames(self) -> str:
        await self.begin()
        payload = close_payload(1000) + b"x" * 124
        return await self.sent_frames(
            *[frame(kind, payload) for kind in (PING, PONG, CLOSE)],
            *[frame(kind, bytes(1 << 16))[:14] for kind in (PING, PONG, CLOSE)],
            *[bytes([0x80 | kind, 0xFF]) + (1 << 40).to_bytes(8, "big") + b"mask" for kind in (PING, PONG, CLOSE)],
            *[frame(kind, b"", first=0) for kind in (PING, PONG, CLOSE)],
        )

    @attack(
        "Impossible lengths",
        sent="frames that claim 2^63, 2^64 - 1 bytes; a length of 5 in 16 bits, one of 500 in 64",
        answer="close 1002",
        api="POST, DELETE 1002",
    )
    async def test_lengths(self) -> str:
        await self.begin()
        heads = [b"\x82\xff" + length.to_bytes(8, "big") + b"mask" for length in (1 << 63, (1 << 64) - 1, 500)]
        return await self.sent_frames(*heads, b"\x82\xfe\x00\x05mask")

    @attack(
        "A message of more than ``WS_MAX_MESSAGE``",
        sent="one byte more than the limit, in a frame; 2^62 bytes, by the frame's head; fragments, of which the last "
        "is one byte too long; a fragment of the limit and one more",
        answer="close 1009",
        api="POST, DELETE 1009",
    )
    async def test_too_long(self) -> str:
        await self.begin(WS_MAX_MESSAGE=LIMIT)
        return await self.sent_frames(
            frame(BINARY, bytes(10_001)),
            frame(TEXT, b"x" * 10_001)[:8],
            b"\x82\xff" + (1 << 62).to_bytes(8, "big") + b"mask",
            fragments(bytes(5000), bytes(5001)),
            fragments(bytes(10_000), b"x"),
            fragments(*[bytes(1000)] * 11, opcode=TEXT),
        )

    @attack(
        "Messages in tiny pieces",
        sent="a message in frames of one byte, and one that begins with 4,000 bytes and goes on with empty frames for "
        "ever",
        answer="close 1008",
        api="POST, DELETE 1008",
    )
    async def test_tiny_fragments(self) -> str:
        await self.begin()
        return await self.sent_frames(
            fragments(*[b"x"] * 1000),
            fragments(*[b"x"] * 1000, opcode=TEXT),
            fragments(*[b""] * 5000),
            fragments(b"x" * 4000, *[b""] * 5000),
        )

    @attack(
        "Fragments without a message",
        sent="a continuation without a beginning, with FIN and without; a text, a binary frame amid a message; a "
        "continuation behind a message that is complete",
        answer="close 1002",
        api="POST, DELETE 1002",
    )
    async def test_continuations(self) -> str:
        await self.begin()
        return await self.sent_frames(
            frame(CONTINUATION, b"x"),
            frame(CONTINUATION, b"x", first=0),
            fragments(b"x") + frame(TEXT, b"x"),
            fragments(b"x") + frame(BINARY, b"x", first=0),
            frame(PONG) + frame(CONTINUATION),
        )

    @attack(
        "Text that is not UTF-8",
        sent="overlong forms, surrogates, U+110000, 0xFF, a character cut off by the end, and by a fragment that never "
        "ends; a broken character in a reason to close",
        answer="close 1007",
        api="POST, DELETE 1007",
    )
    async def test_utf_8(self) -> str:
        await self.begin()
        broken = (b"\xc0\x80", b"\xe0\x80\xaf", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xff", b"ok\xe2\x82")
        return await self.sent_frames(
            *[frame(TEXT, text) for text in broken],
            fragments(b"\xe2\x82", b"x", opcode=TEXT),
            fragments(b"ok", b"", b"\xf4\x90", opcode=TEXT),
            frame(TEXT, b"\xe2", first=0) + frame(PONG) + frame(CONTINUATION, b"\x28\xa1"),
            frame(CLOSE, close_payload(1000) + b"bye \xff"),
        )

    @attack(
        "Close codes that are not allowed",
        sent="0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 65535; half a code",
        answer="close 1002",
        api="POST, DELETE 1002",
    )
    async def test_close_codes(self) -> str:
        await self.begin()
        codes = (0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 65535)
        return await self.sent_frames(*[frame(CLOSE, close_payload(code)) for code in codes], frame(CLOSE, b"\x03"))

    @attack(
        "Data after a Close frame",
        sent="a message, a ping, another Close with 4000, an oversized frame's head, 64 KiB of anything",
        answer="close 1000",
        api="POST, DELETE 1000",
    )
    async def test_behind_close(self) -> str:
        await self.begin()
        more = (
            frame(TEXT, b"late"),
            frame(PING, b"late"),
            frame(CLOSE, close_payload(4000)),
            b"\x82\xff" + b"\xff" * 8,
            bytes(1 << 16),
        )
        return await self.sent_frames(*[frame(CLOSE, close_payload(1000)) + data for data in more])
