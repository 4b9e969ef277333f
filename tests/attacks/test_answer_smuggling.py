"""Answers that two programs in a row read differently, and those that would answer another call."""

from __future__ import annotations

from functools import partial
from typing import Any

from twisted.internet.tcp import Connection

from tests.attacks.answers import GRANT, HEAD, AnswerAttackTestCase, written
from tests.attacks.attack import attack
from tests.recording_api import OK, Answer, Call
from tests.waiting import reactor
from tests.wire import PING, PONG, Frame, frame, handshake

CHUNKED = b"Transfer-Encoding: chunked\r\n"


def surplus(call: Call) -> None:
    """Grant what was answered already."""
    channel: Any = call.connection
    channel.transport.write(GRANT)


class AnswerSmugglingTests(AnswerAttackTestCase):
    """Response smuggling (RFC 9112 §11.2), between the API, proxies in front of it, and us."""

    title = "Malicious answers of the API: smuggling"

    @attack(
        "Two lengths, or a length and chunks",
        sent="a grant with ``Content-Length`` twice (different), with a sign, a list, 10\\ :sup:`30`, in hexadecimal; "
        "with ``gzip, chunked``, ``chunked, chunked``, bad sizes of chunks; less than it says",
        answer="502",
        api="POST, DELETE 1011; POST, DELETE 1013",
    )
    async def test_lengths(self) -> str:
        await self.begin()
        lengths = [b"14\r\nContent-Length: 15", b"-14", b"+14", b"14, 15", b"1" + b"0" * 30, b"0xe", b"14 14", b"15"]
        codings = [b"gzip, chunked", b"chunked, chunked", b"xchunked", b"gzip"]
        chunks = [b"-e", b"0xe", b"ge", b"fffffffffffffffff", b""]
        return await self.refused(
            *(HEAD + b"Content-Length: " + length + b"\r\n\r\n" + OK for length in lengths),
            *(HEAD + b"Transfer-Encoding: " + coding + b"\r\n\r\ne\r\n" + OK + b"\r\n0\r\n\r\n" for coding in codings),
            *(HEAD + CHUNKED + b"\r\n" + size + b"\r\n" + OK + b"\r\n0\r\n\r\n" for size in chunks),
        )

    @attack(
        "Endless heads and bodies",
        sent="a field of 1 MB, a status line of 1 MB, bodies over ``WS_MAX_MESSAGE`` with their length, in "
        "chunks and without an end, a chunk's extension of 1 MB; less than it says",
        answer="502",
        api="POST, DELETE 1011; POST, DELETE 1013",
    )
    async def test_endless(self) -> str:
        await self.begin()
        million, chunk = 1 << 20, b"400\r\n" + bytes(1024) + b"\r\n"
        return await self.refused(
            HEAD + b"X: " + b"x" * million,
            b"HTTP/1.1 200 " + b"O" * million,
            HEAD + b"Content-Length: 1000000\r\n\r\n" + bytes(200_000),
            HEAD + b"\r\n" + bytes(200_000),
            HEAD + CHUNKED + b"\r\n" + chunk * 200,
            HEAD + CHUNKED + b"\r\n4;" + b"x" * million,
            HEAD + b"Content-Length: 100\r\n\r\n" + OK,
        )

    @attack(
        "Invalid statuses, and other protocols",
        sent="``101`` with a WebSocket's fields, 099, 999, -200, letters, none; a line of SMTP, TLS, a frame of a "
        "WebSocket, nothing",
        answer="502",
        api="POST, DELETE 1011; POST, DELETE 1013",
    )
    async def test_statuses(self) -> str:
        await self.begin()
        switch = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"
        lines = [b"HTTP/1.1 099 x", b"HTTP/1.1 999 x", b"HTTP/1.1 -200 x", b"HTTP/1.1 OK", b"HTTP/1.1"]
        others = [b"220 smtp.example ESMTP\r\n", b"\x15\x03\x03\x00\x02\x02\x28", b"\x81\x05hello", b"", b"\r\n\r\n"]
        rest = b"\r\nContent-Length: 14\r\n\r\n" + OK
        return await self.refused(switch, *(line + rest for line in lines), *others)

    @attack(
        "Two answers to one call: the second one for the next client",
        sent="a refusal and a grant at once; a refusal and, when the connection is idle, a grant; the next client is "
        "refused by the API all the same",
        answer="403",
        api="POST",
    )
    async def test_two_answers(self) -> str:
        await self.begin()
        got = []
        for apart in (False, True):
            calls: list[Call] = []

            def script(call: Call, apart: bool = apart, calls: list[Call] = calls) -> None:
                calls.append(call)
                call.answer(403, b"{}")
                if not apart:
                    surplus(call)

            self.api.script["POST"] = script
            got.append(await self.shake(handshake()))
            if apart:
                surplus(calls[0])
                await self.api.until(partial(self.is_over, calls[0]), "the end of the connection")
            self.api.script["POST"] = Answer(403, b"{}")
            got.append(await self.shake(handshake()))
        return self.statuses(*got)

    def is_over(self, call: Call) -> bool:
        """:returns: whether the connection of a call has ended"""
        return call.connection not in self.api.channels

    def leave_unread(self, call: Call) -> None:
        """Have the gateway not read the connection of a call, as if what comes there were still on its way."""
        channel: Any = call.connection
        port = channel.transport.getPeer().port
        (end,) = [it for it in reactor.getReaders() if isinstance(it, Connection) and it.getHost().port == port]
        end.stopReading()

    @attack(
        "A late answer for the next message",
        sent="an answer with ``Ws-Reply`` and ``Ws-Close`` that crosses the end of ``API_TIMEOUT``: the connection is "
        "reset, the message sent again on another one, and the client gets nothing of that answer",
        answer="pong",
        api="POST, PUT, DELETE 1006",
    )
    async def test_late(self) -> str:
        await self.begin(API_TIMEOUT="200", API_RETRY_FOR="5000")
        client, uri = await self.connected()
        self.api.script["PUT"] = None
        client.send_text("one")
        late = await self.api.call("PUT", uri)
        self.leave_unread(late)
        late.write(HEAD + b"Ws-Reply: text\r\nWs-Close: 4000\r\nContent-Length: 4\r\n\r\nevil")
        self.api.script["PUT"] = lambda call: call.answer()
        again = await self.api.call("PUT", uri)
        self.assertEqual(again.header("Ws-Id"), late.header("Ws-Id"))
        await self.api.until(partial(self.is_over, late), "the end of the connection")
        client.send_text("two")
        self.assertEqual((await self.api.call("PUT", uri)).body, b"two")
        client.send(frame(PING, b"?"))
        self.assertEqual(await client.frame(), Frame(PONG, b"?"))
        return "pong"

    @attack(
        "Headers after the body, and before the answer",
        sent="``Ws-Close`` and ``Ws-Reply`` in trailers and in ``103 Early Hints``: not obeyed",
        answer="pong",
        api="POST, PUT, DELETE 1006",
    )
    async def test_trailers(self) -> str:
        await self.begin()
        client, uri = await self.connected()
        evil = b"Ws-Close: 4000\r\nWs-Reply: text\r\nWs-State: evil\r\n\r\n"
        for answer in (
            HEAD + CHUNKED + b"\r\n2\r\nhi\r\n0\r\n" + evil,
            b"HTTP/1.1 103 Early Hints\r\n" + evil + HEAD + b"Content-Length: 2\r\n\r\nhi",
            b"HTTP/1.1 100 Continue\r\n" + evil + HEAD + b"Content-Length: 2\r\n\r\nhi",
        ):
            self.api.script["PUT"] = written(answer)
            client.send_text("hello")
            self.assertIsNone((await self.api.call("PUT", uri)).header("Ws-State"))
        client.send(frame(PING, b"?"))
        self.assertEqual(await client.frame(), Frame(PONG, b"?"))
        return "pong"
