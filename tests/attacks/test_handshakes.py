"""Headers with which a client is to be taken for somebody else, or for the gateway."""

from __future__ import annotations

from tests.attacks.attack import attack
from tests.attacks.forged import HOST, ForgeryTestCase
from tests.spellings import REFUSED, TAKEN
from tests.wire import handshake


class ForgedHeaderTests(ForgeryTestCase):
    """Header lines."""

    @attack(
        "The gateway's own headers, sent by the client",
        sent="``Ws-Uri``, ``Ws-State``, ``Ws-Signature``, ``X-Forwarded-For`` and others with ``-`` and ``_``, in any "
        "case, with blanks, NUL, VT or 0xA0 around the name, behind a lone CR or LF, on a folded line, named in "
        "``Connection``",
        answer="101 or 400",
        api="POST, PUT, DELETE 1000",
    )
    async def test_headers_of_ours(self) -> str:
        await self.begin()
        names = ("Ws-Uri", "WS_STATE", "ws-signature", "X_Forwarded_For")
        lines = {
            answer: [f"{spelling.format(name, name)}: admin" for name in names for spelling in spellings]
            for answer, spellings in (("101", TAKEN), ("400", REFUSED))
        }
        lines["101"] += [
            "Ws-Id: admin\r\nws-id: admin\r\nWS_ID: admin",
            "X-Forwarded-Host: admin\r\nX-Forwarded-Proto: https\r\nX_FORWARDED_PROTO: https",
        ]
        return await self.each(lines, self.forged)

    @attack(
        "The gateway's own headers, removed",
        sent="``Connection`` naming ``Ws-Uri``, ``Ws-Signature``, ``Authorization``, ``Host``, ``Content-Length``; "
        "``Keep-Alive``, ``Proxy-Connection`` and ``TE``",
        answer="101",
        api="POST, PUT, DELETE 1000",
    )
    async def test_taken_away(self) -> str:
        await self.begin()
        return await self.forged(
            "Connection: Ws-Uri, Ws-Signature, Ws-Timestamp",
            "Connection: Host, Content-Length, Content-Type, User-Agent",
            "Connection: Authorization\r\nAuthorization: Bearer x",
            "Keep-Alive: timeout=9\r\nProxy-Connection: close\r\nTE: trailers",
        )

    @attack(
        "Headers that contradict the callback's body",
        sent="``Content-Type``, ``Content-Encoding``, ``Content_Length``, ``Transfer_Encoding``, ``Expect_``, "
        "``Content-Length: 0``, ``Accept-Encoding``, ``X-HTTP-Method-Override``",
        answer="101",
        api="POST, PUT, DELETE 1000",
    )
    async def test_content(self) -> str:
        await self.begin()
        return await self.forged(
            "Content-Type: admin\r\nContent-Encoding: gzip\r\nContent-MD5: admin",
            "Content_Length: 5\r\nContent_Type: admin\r\nTransfer_Encoding: chunked\r\nExpect_: 100-continue",
            "Content-Length: 0",
            "Accept-Encoding: gzip\r\nX-HTTP-Method-Override: DELETE\r\nX-Original-URL: /admin\r\nUpgrade-Insecure: 1",
        )

    @attack(
        "Line ends and control characters in header values",
        sent="``User-Agent``, ``Authorization`` and ``Sec-WebSocket-Protocol`` with CR, LF, NUL, VT, ESC, NEL, U+2028 "
        "and 0xFF, a header line behind each of them",
        answer="101 or 400",
        api="POST, PUT, DELETE 1000",
    )
    async def test_values(self) -> str:
        await self.begin()
        ends, odd = ("\r", "\n", "\0", "\x0b", "\x1b[2J"), ("\x85", "\xe2\x80\xa8", "\xff")
        free, strict = ("User-Agent", "Authorization"), ("Sec-WebSocket-Protocol",)

        def lines(names: tuple[str, ...], values: tuple[str, ...]) -> list[str]:
            return [f"{name}: a{value}Ws-State: root" for name in names for value in values]

        tried = {"101": lines(free, odd), "400": lines(free, ends) + lines(strict, ends + odd)}
        return await self.each(tried, self.forged)

    @attack(
        "Duplicate headers",
        sent="two of ``Host``, ``Origin``, ``Authorization``, ``Sec-WebSocket-Key``, ``Sec-WebSocket-Version``",
        answer="400",
    )
    async def test_repeated(self) -> str:
        await self.begin()
        return await self.forged(
            f"host: {HOST}",
            "Origin: https://app.example\r\norigin: https://app.example",
            "Authorization: Bearer a\r\nAUTHORIZATION: Bearer b",
            "sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==",
            "Sec-WebSocket-version: 13",
        )

    @attack(
        "Forged addresses",
        sent="``X-Forwarded-For`` and ``-Proto``, ``Forwarded``, ``X-Real-IP``, ``Client-IP``, ``CF-Connecting-IP``, "
        "``True-Client-IP``, no proxy being trusted",
        answer="101",
        api="POST, PUT, DELETE 1000",
    )
    async def test_addresses(self) -> str:
        await self.begin()
        return await self.forged(
            "X-Forwarded-For: 10.0.0.1\r\nX-Forwarded-Proto: https",
            "x_forwarded_for: 10.0.0.1\r\nX_Forwarded_Proto: https",
            "Forwarded: for=10.0.0.1;proto=https",
            "X-Real-IP: 10.0.0.1\r\nClient-IP: 10.0.0.1\r\nCF-Connecting-IP: 10.0.0.1\r\nTrue-Client-IP: 10.0.0.1",
        )

    @attack(
        "Forged addresses before the trusted proxy's",
        sent="with ``TRUST_PROXY=1``, ``X-Forwarded-For`` with addresses, blanks, commas and a second line before what "
        "the proxy added",
        answer="101",
        api="POST, PUT, DELETE 1000",
    )
    async def test_behind_a_proxy(self) -> str:
        await self.begin(TRUST_PROXY="1")
        self.client = "198.51.100.7"
        return await self.forged(
            "X-Forwarded-For: 10.0.0.1, 198.51.100.7",
            "X-Forwarded-For: 10.0.0.1\r\nX-Forwarded-For: 198.51.100.7",
            "X-Forwarded-For: ,,10.0.0.1,, 198.51.100.7",
            "X-Forwarded-For: 198.51.100.7\r\nX_Forwarded_For: 10.0.0.1\r\nForwarded: for=10.0.0.1",
        )

    @attack(
        "Invalid subprotocols",
        sent="blanks, quotes, slashes, control characters, UTF-8, one offered twice, in ``Sec-WebSocket-Protocol``",
        answer="400",
    )
    async def test_subprotocols(self) -> str:
        await self.begin()
        values = ("a b", '"a"', "a/b", "a;b=c", "a\tb", "a\x7f", "\xc3\xa9", "a,,b c", "a, a", "a\0", "a\x01, b")
        return await self.forged(
            *[f"Sec-WebSocket-Protocol: {value}" for value in values],
            "Sec-WebSocket-Protocol: a\r\nSec-WebSocket-Protocol: a",
        )

    @attack(
        "Invalid key or version",
        sent="``Sec-WebSocket-Key`` empty, too short, too long, not base64, with a header line behind CR; versions 0, "
        "8, 14, 255, ``13, 8`` and ``013``",
        answer="400 or 426",
    )
    async def test_keys(self) -> str:
        await self.begin()
        key, version = "Sec-WebSocket-Key", "Sec-WebSocket-Version"
        keys = ("", "YQ==", "YWFhYWFhYWFhYWFhYWFhYWE=", "????????????????????==")
        fields = {
            "400": [(key, value) for value in (*keys, "dGhlIHNhbXBsZSBub25jZQ==\rWs-State: a")],
            "426": [(version, value) for value in ("0", "8", "14", "255", "13, 8", "013")],
        }
        return await self.each(fields, lambda field: self.forge(handshake(headers=[field], without=[field[0]])))
