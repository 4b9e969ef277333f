"""Compressed messages that become too much, or nothing (``WS_COMPRESSION``)."""

from __future__ import annotations

import zlib

from tests.attacks.attack import attack
from tests.attacks.frames import LIMIT, FrameTestCase
from tests.wire import BINARY, CLOSE, CONTINUATION, PING, TEXT, close_payload, frame, handshake


def deflated(data: bytes) -> bytes:
    """:returns: the payload of a compressed message (RFC 7692 §7.2.1)"""
    deflate = zlib.compressobj(wbits=-15)
    return (deflate.compress(data) + deflate.flush(zlib.Z_SYNC_FLUSH)).removesuffix(b"\0\0\xff\xff")


class DeflateTests(FrameTestCase):
    """RFC 7692, switched on."""

    offer = (("Sec-WebSocket-Extensions", "permessage-deflate; client_max_window_bits"),)

    async def begin(self, **settings: str) -> None:
        await super().begin(WS_COMPRESSION="on", WS_MAX_MESSAGE=LIMIT, **settings)

    @attack(
        "Inflation bombs",
        sent="the first 9 KB of what becomes 10 MB, as a frame, as text, in fragments that never end; one byte more "
        "than ``WS_MAX_MESSAGE``; twice as many",
        answer="close 1009",
        api="POST, DELETE 1009",
    )
    async def test_bombs(self) -> str:
        await self.begin()
        bomb = deflated(bytes(10_000_000))
        return await self.sent_frames(
            frame(BINARY, bomb[:9_000], first=0xC0),
            frame(TEXT, deflated(b"a" * 10_000_000)[:9_000], first=0xC0),
            frame(BINARY, bomb[:100], first=0x40) + frame(CONTINUATION, bomb[100:200], first=0),
            frame(BINARY, deflated(bytes(10_001)), first=0xC0),
            frame(BINARY, deflated(bytes(20_000)), first=0xC0),
            headers=self.offer,
        )

    @attack(
        "Many small bombs",
        sent="200 messages of 31 bytes that become 10,000 each, which is the limit; the client is not read while they "
        "wait for the API",
        answer="200 messages",
        api="POST, PUT, DELETE 1000",
    )
    async def test_many_bombs(self) -> str:
        await self.begin(WS_MAX_BUFFER="20000")
        client = await self.connect(headers=self.offer)
        one = frame(BINARY, deflated(bytes(10_000)), first=0xC0)
        client.send(one * 200 + frame(CLOSE, close_payload(1000)))
        await client.end()
        await self.api.until(lambda: self.api.calls[-1].method == "DELETE", "the end of it")
        arrived = [call.body for call in self.api.calls if call.method == "PUT" and call.ws_uri != self._bystanders_uri]
        self.assertEqual(set(arrived), {bytes(10_000)})
        return f"{len(arrived)} messages"

    @attack(
        "Invalid compressed data",
        sent="reserved block types, broken trees, references to the message before this one; text that is not UTF-8",
        answer="close 1007",
        api="POST, DELETE 1007",
    )
    async def test_broken_streams(self) -> str:
        await self.begin()
        keeping = zlib.compressobj(wbits=-15)
        text = b"the same words, "
        first = keeping.compress(text) + keeping.flush(zlib.Z_SYNC_FLUSH)
        second = keeping.compress(text) + keeping.flush(zlib.Z_SYNC_FLUSH)
        self.assertLess(len(second), len(first))
        return await self.sent_frames(
            frame(BINARY, b"\xff\xff\xff\xff", first=0xC0),
            frame(BINARY, b"\x07garbage", first=0xC0),
            frame(BINARY, second.removesuffix(b"\0\0\xff\xff"), first=0xC0),
            frame(TEXT, deflated(b"ok\xff"), first=0xC0),
            headers=self.offer,
        )

    @attack(
        "Streams that break off, or end before their frame does",
        sent="compressed messages without their last bytes, and with bytes behind the last block",
        answer="what inflates is the message",
        api="POST, PUT, DELETE 1000",
    )
    async def test_cut_streams(self) -> str:
        await self.begin()
        client, ws_uri = await self.connected(headers=self.offer)
        for data in (deflated(b"hello")[:-2], zlib.compress(b"end", wbits=-15) + b"more", deflated(b"whole")):
            client.send(frame(BINARY, data, first=0xC0))
        client.send_close(1000)
        await client.end()
        await self.api.call("DELETE")
        self.assertEqual([call.body for call in self.of_method("PUT", ws_uri)], [b"hell", b"end", b"whole"])
        return "what inflates is the message"

    @attack(
        "Compression bits where they are not allowed",
        sent="RSV1 on a control frame and on a continuation, with the extension; RSV1 without it",
        answer="close 1002",
        api="POST, DELETE 1002",
    )
    async def test_misplaced(self) -> str:
        await self.begin()
        data = deflated(b"hello")
        answers = {
            await self.sent_frames(
                frame(PING, data, first=0xC0),
                frame(CLOSE, data, first=0xC0),
                frame(BINARY, data[:3], first=0x40) + frame(CONTINUATION, data[3:], first=0xC0),
                headers=self.offer,
            ),
            await self.sent_frames(frame(BINARY, data, first=0xC0), frame(TEXT, data, first=0xC0)),
        }
        return " or ".join(sorted(answers))

    @attack(
        "Invalid offers of an extension",
        sent="unknown parameters, windows of 7 and 16 bits, a parameter twice, no number, 3,000 offers",
        answer="101 without the extension, or 431",
        api="POST, DELETE 1006",
    )
    async def test_offers(self) -> str:
        await self.begin()
        parameters = ("unknown", "server_max_window_bits=7", "server_max_window_bits=16", "client_max_window_bits=x")
        offers = [
            f"permessage-deflate; {text}"
            for text in (*parameters, "server_max_window_bits", "server_no_context_takeover=1")
        ]
        offers += ["permessage-deflate; client_max_window_bits; client_max_window_bits", "permessage-deflate, " * 3000]
        replies = [await self.shake(handshake(headers=[("Sec-WebSocket-Extensions", offer)])) for offer in offers]
        self.assertEqual({reply.header("Sec-WebSocket-Extensions") for reply in replies}, {None})
        return self.statuses(*replies).replace(" or", " without the extension, or")
