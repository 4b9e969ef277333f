"""Requests of which one reader sees one and another two: on the clients' face."""

from __future__ import annotations

from tests.attacks.attack import AttackTestCase, attack, statuses_in
from tests.recording_api import Answer
from tests.wire import NOBODY, TEXT, frame, handshake

#: What is hidden behind the first request; were it read as a request, the API would be told of it.
HIDDEN = handshake("/smuggled", [("Connection", "close")])
LAST = b"GET / HTTP/1.1\r\nHost: gateway.example\r\nConnection: close\r\n\r\n"


def put(fields: str, body: str = "", end: str = "\r\n") -> bytes:
    """:returns: a request to nobody's ``ws_uri``, and another one behind what is its body for some"""
    head = end.join([f"PUT /{NOBODY} HTTP/1.1", "Host: gateway.example", fields, "", body])
    return head.encode("latin-1") + HIDDEN


class SmugglingTests(AttackTestCase):
    """RFC 9112 §11.2. To whoever stands in front, a connection carries what the gateway takes it for, or it ends."""

    title = "Request smuggling"

    async def said(self, *attempts: bytes) -> str:
        """Send bytes, each on a connection of its own, until the gateway ends it.

        :returns: the statuses that came on one connection, those of each kind once
        """
        kinds = set()
        wires = []
        for data in attempts:
            wires.append(await self.dial())
            wires[-1].send(data)
        for wire in wires:
            received = await wire.end()
            kinds.add(", ".join(statuses_in(received)) or "cut off")
        return " or ".join(sorted(kinds))

    @attack(
        "A length and chunks at the same time",
        sent="``Content-Length`` and ``Transfer-Encoding: chunked`` in either order, in any case; a handshake behind "
        "either body",
        answer="400",
    )
    async def test_length_and_chunks(self) -> str:
        await self.begin()
        both = ("Content-Length: 5", "Transfer-Encoding: chunked")
        return await self.said(
            put("\r\n".join(both), "0\r\n\r\n"),
            put("\r\n".join(reversed(both)), "0\r\n\r\n"),
            put("content-length: 0\r\ntransfer-encoding: Chunked", "5\r\nhello\r\n0\r\n\r\n"),
            put("Content-Length: 3\r\nTransfer-Encoding: identity\r\nTransfer-Encoding: chunked", "8\r\n"),
        )

    @attack(
        "``Transfer-Encoding`` that some programs overlook",
        sent="``xchunked``, ``gzip, chunked``, ``chunked, identity``, ``chunked`` twice, quoted, behind VT, NUL or a "
        "lone CR, a blank before the colon, a folded line",
        answer="400",
    )
    async def test_hidden_chunks(self) -> str:
        await self.begin()
        return await self.said(
            *[
                put(f"Transfer-Encoding{text}", "0\r\n\r\n")
                for text in (
                    ": xchunked",
                    ": gzip, chunked",
                    ": chunked, identity",
                    ": chunked\r\nTransfer-Encoding: chunked",
                    ": chunked\r\nTransfer-Encoding: x",
                    ': "chunked"',
                    ": \x0bchunked",
                    ": chunked\0",
                    ": x\rTransfer-Encoding: chunked",
                    " : chunked",
                    "\t: chunked",
                    ":\r\n x",
                    ": chunked;q=1",
                )
            ]
        )

    @attack(
        "Lengths that are read in two ways",
        sent="two of them, ``5, 5``, ``+5``, ``-1``, ``0x5``, ``5 5``, ``5.0``, an empty one, 2^64, 5,000 digits, "
        "Arabic digits, a lone CR",
        answer="400",
    )
    async def test_lengths(self) -> str:
        await self.begin()
        values = ("5, 5", "5,6", "+5", "-1", "0x5", "5 5", "5.0", "5e0", "5_0", "", str(1 << 64), "5" * 5000)
        more = ("5\r\nContent-Length: 6", "0\r\ncontent-length: 5", "\xd9\xa5", "5\rX: y", "\x0b5", "5\0")
        return await self.said(*[put(f"Content-Length: {value}", "hello") for value in (*values, *more)])

    @attack(
        "Invalid names for ``Content-Length``",
        sent="``Content_Length: 5``, ``Content-Length : 5``, and with NUL, VT or a blank around the name; five bytes "
        "of a body",
        answer="400 or 404, 426",
    )
    async def test_names(self) -> str:
        await self.begin()
        names = {
            # It is another field: the five bytes are the beginning of a request, which is answered, too.
            "404, 426": ("Content_Length",),
            "400": ("Content-Length ", "Content-Length\0", " Content-Length", "\x0bContent-Length"),
        }
        return await self.each(names, lambda name: self.said(put(f"{name}: 5", "hello")))

    @attack(
        "Chunks that other programs end elsewhere",
        sent="sizes with sign, ``0x``, blanks, 17 digits, an extension with LF, LF in place of CR LF, no end; all on a "
        "push to an unknown key, a handshake behind it",
        answer="404",
    )
    async def test_chunks(self) -> str:
        await self.begin()
        bodies = (
            "+0\r\n\r\n",
            "0x0\r\n\r\n",
            "0 \r\n\r\n",
            "0;a\n\r\n\r\n",
            "0\n\n",
            "1\r\nab\r\n0\r\n\r\n",
            "f" * 17,
            "\r\n",
        )
        return await self.said(*[put("Transfer-Encoding: chunked", body) for body in bodies])

    @attack(
        "A handshake with a body, and in it another request",
        sent="a handshake as the body of another, with its ``Content-Length``, and a plain ``GET`` behind it; a "
        "handshake with ``Transfer-Encoding: chunked``, another behind it",
        answer="400 or 400, 426",
    )
    async def test_handshakes_with_bodies(self) -> str:
        await self.begin()
        length, chunked = ("Content-Length", str(len(HIDDEN))), ("Transfer-Encoding", "chunked")
        return await self.each(
            {
                # The body is passed over, and the GET behind it read.
                "400, 426": [handshake(headers=[length]) + HIDDEN + LAST],
                "400": [
                    handshake(headers=[chunked]) + b"0\r\n\r\n" + HIDDEN,
                    handshake(headers=[chunked, ("Content-Length", "0")]) + b"0\r\n\r\n" + HIDDEN,
                ],
            },
            self.said,
        )

    @attack(
        "Requests behind a handshake that is granted",
        sent="a second handshake, a push, half of either, in one segment with the handshake, or while the API is asked",
        answer="101, close 1002",
        api="POST, DELETE 1002",
    )
    async def test_behind_a_grant(self) -> str:
        await self.begin()
        kinds = set()
        for hidden in (HIDDEN, put("Content-Length: 5", "hello"), HIDDEN[:40], b"PUT "):
            for at_once in (True, False):
                self.api.script["POST"] = None
                wire = await self.dial()
                wire.send(handshake() + (hidden if at_once else b""))
                post = await self.api.call("POST")
                wire.send(b"" if at_once else hidden)
                # What was sent has arrived when somebody behind it is answered.
                await self.shake(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
                post.answer()
                kinds.add(f"{(await wire.reply()).status}, close {(await wire.closed()).code}")
        return " or ".join(sorted(kinds))

    @attack(
        "Requests behind a handshake that is refused",
        sent="two more handshakes behind one, in one segment, the API saying 403: the API is asked about each",
        answer="403, 403, 403",
        api="POST",
    )
    async def test_behind_a_refusal(self) -> str:
        await self.begin()
        self.api.script["POST"] = Answer(403)
        last = handshake("/c", [("Connection", "close")])
        answer = await self.said(handshake("/a") + handshake("/b") + last)
        paths = [call.header("Ws-Path") for call in self.api.calls if call.method == "POST"]
        self.assertEqual(paths, ["/bystander", "/a", "/b", "/c"])
        return answer

    @attack(
        "Lines that end with LF alone",
        sent="a handshake, one with LF between two fields, a push; CR CR LF; LF before the request",
        answer="400 or 408",
    )
    async def test_bare_line_feeds(self) -> str:
        await self.begin(WS_TIMEOUT="200")
        request = handshake()
        return await self.said(
            request.replace(b"\r\n", b"\n"),
            request.replace(b"\r\nUpgrade", b"\nUpgrade", 1),
            request.replace(b"\r\n\r\n", b"\n\n"),
            request.replace(b"\r\n", b"\r\r\n"),
            b"\n" + request,
            put("Content-Length: 0", end="\n"),
        )

    @attack(
        "Other versions of HTTP",
        sent="handshakes with HTTP/1.0, 0.9, 1.2, 2.0, 11, ``http/1.1``, ``HTTPS/1.1`` and none, another behind each",
        answer="400",
    )
    async def test_versions(self) -> str:
        await self.begin()
        versions = (
            "HTTP/1.0",
            "HTTP/0.9",
            "HTTP/1.2",
            "HTTP/2.0",
            "HTTP/11",
            "http/1.1",
            "HTTPS/1.1",
            "",
            "HTTP/1.1 x",
        )
        return await self.said(
            *[handshake(version=version) + HIDDEN for version in versions], b"GET /\r\n\r\n" + HIDDEN
        )

    @attack(
        "HTTP/2",
        sent="the preface of a connection with prior knowledge; an upgrade to ``h2c``, with frames behind it",
        answer="400 or 426, 400",
    )
    async def test_http_2(self) -> str:
        await self.begin()
        preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\x04\0\0\0\0\0"
        fields = [("Upgrade", "h2c"), ("Connection", "Upgrade, HTTP2-Settings"), ("HTTP2-Settings", "AAMAAABkAAQAAP__")]
        upgrade = handshake(headers=fields, without=["Upgrade", "Connection"])
        return await self.each({"400": [preface], "426, 400": [upgrade + preface]}, self.said)

    @attack(
        "Other protocols",
        sent="TLS, SSH, SMTP, SOCKS and Redis to the port without TLS, PROXY where no proxy is expected, WebSocket "
        "frames without a handshake",
        answer="400 or 408",
    )
    async def test_other_protocols(self) -> str:
        await self.begin(WS_TIMEOUT="200")
        return await self.said(
            bytes.fromhex("16030100050100000100") + b"\r\n\r\n",
            b"SSH-2.0-OpenSSH_9.6\r\n\r\n",
            b"EHLO evil.example\r\nMAIL FROM:<a@b>\r\n\r\n",
            b"\x05\x01\x00",
            b"*1\r\n$4\r\nPING\r\n",
            b"PROXY TCP4 10.0.0.1 10.0.0.2 1 2\r\n" + handshake(),
            frame(TEXT, b"hello"),
        )

    @attack(
        "Calls that only the gateway may make",
        sent="``POST``, ``PUT``, ``DELETE`` and ``GET`` on the API's path, with ``Ws-Uri`` of the bystander and the "
        "POST's body",
        answer="404 or 426",
    )
    async def test_callbacks(self) -> str:
        await self.begin()
        fields = [("Ws-Uri", self._bystanders_uri), ("Ws-Id", "a-0"), ("Content-Type", "application/json")]
        body = f'{{"ws_uri": "{self._bystanders_uri}"}}'.encode()
        methods = {"404": ("PUT", "DELETE"), "426": ("POST", "GET")}
        return await self.each(methods, lambda method: self.shaken(self.request(method, "http://x/hook", body, fields)))
