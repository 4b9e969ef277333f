"""The push side: bodies that are too long, too slow, or not what they say, and what a push may ask for."""

from __future__ import annotations

import gzip

from tests.attacks.attack import attack
from tests.attacks.pushes import EVIL, PushAttackTestCase, request
from tests.wire import CLOSE, NOBODY, PING, PONG, Wire, frame, handshake


class BodyTests(PushAttackTestCase):
    """What is said of a body, and the body."""

    title = "The push side: bodies, and what a push asks for"

    @attack(
        "Pushes with endless heads",
        sent="a path of 20,000 bytes, a query of that length, a field of that length, 1,000 fields, an unknown method "
        "of that length",
        answer="414 or 431",
    )
    async def test_head(self) -> str:
        await self.begin()
        long, fields = "x" * 20_000, [(f"X-{number}", "y") for number in range(1000)]
        return await self.told_once(
            self.put(target=f"/{long}/{self.key}"),
            self.put(target=f"/{self.key}?{long}"),
            self.put([("X-Long", long)]),
            self.put(fields),
            self.put(method=long),
        )

    @attack(
        "Messages over ``WS_MAX_MESSAGE``",
        sent="one byte more; 10 GB announced and not sent; 10\\ :sup:`17` bytes; one byte more in chunks; chunks "
        "without end; chunks of 2\\ :sup:`62` and 2\\ :sup:`64` + 4 bytes",
        answer="413",
    )
    async def test_too_long(self) -> str:
        await self.begin(WS_MAX_MESSAGE="1000")
        line, chunked = f"PUT /{self.key} HTTP/1.1", [("Transfer-Encoding", "chunked")]
        return await self.told_once(
            self.put([("Connection", "close")], bytes(1001)),
            *(request(line, [("Content-Length", length)]) for length in ("10000000000", "1" + "0" * 17)),
            request(line, chunked, b"3e9\r\n" + bytes(1001) + b"\r\n0\r\n\r\n"),
            request(line, chunked, (b"64\r\n" + bytes(100) + b"\r\n") * 500),
            *(
                request(line, chunked, size + b"\r\n" + bytes(1001))
                for size in (b"4" + b"0" * 15, b"1" + b"0" * 15 + b"4")
            ),
        )

    @attack(
        "Invalid lengths",
        sent="``Content-Length`` of 10\\ :sup:`30`, of 5,000 digits, negative, with a sign, a point, an exponent, an "
        "underscore, in hexadecimal, in Arabic digits, empty, a list",
        answer="400",
    )
    async def test_length(self) -> str:
        await self.begin()
        lengths = ["1" + "0" * 30, "9" * 5000, "-1", "-4", "+4", "4.0", "4e0", "0x4", "1_0", "\xd9\xa4", "", "4, 4"]
        lengths += ["4 4"]
        line = f"PUT /{self.key} HTTP/1.1"
        return await self.told_once(*(request(line, [("Content-Length", length)], EVIL) for length in lengths))

    @attack(
        "Bodies that inflate",
        sent="``Content-Encoding`` of ``gzip`` (10 KB that become 10 MB), ``x-gzip``, ``deflate``, ``br``, ``zstd``, "
        "``identity``, twice ``gzip``",
        answer="415",
    )
    async def test_inflate(self) -> str:
        await self.begin()
        bomb = gzip.compress(bytes(10_000_000))
        codings = ["gzip", "x-gzip", "GZIP", "deflate", "br", "zstd", "identity", "gzip, gzip", "*"]
        return await self.told_each(*(self.put([("Content-Encoding", coding)], bomb) for coding in codings))

    @attack(
        "Text that is not what its type says",
        sent="charsets ``utf-7``, ``utf-16``, ``utf-32``, ``iso-2022-jp``, ``latin-1``, one in quotes; and, as UTF-8 "
        "or without a charset, text in UTF-16, over-long forms, surrogates, half a character",
        answer="400 or 415",
    )
    async def test_text(self) -> str:
        await self.begin()
        charsets = ["utf-7", "utf-16", "UTF-32", "iso-2022-jp", "latin-1", '"utf-16"']
        texts = ["evil".encode("utf-16"), b"\xc0\xae\xc0\xae/", b"\xed\xa0\xbd\xed\xb8\x80", b"\xe2\x82"]
        texts += [b"\xf4\x90\x80\x80"]
        types = ["text/plain", "text/plain; charset=utf-8", "application/json", "application/x+json", "TEXT/HTML"]
        return await self.told_each(
            *(self.put([("Content-Type", f"text/plain; charset={charset}")]) for charset in charsets),
            *(self.put([("Content-Type", each)], text) for each in types for text in texts),
            *(self.put((), text) for text in texts),
        )

    @attack(
        "Making the gateway ask for a body that it will refuse",
        sent="``Expect: 100-continue`` on an unknown key, with a length over the limit, an encoding, a charset, "
        "another method, and the body behind it: no ``100 Continue``",
        answer="404 or 405 or 413 or 415",
    )
    async def test_continue(self) -> str:
        await self.begin()
        expect = [("Expect", "100-continue")]
        return await self.told_once(
            self.put(expect, target=f"/{NOBODY}"),
            self.put(expect, bytes(131073)),
            self.put([*expect, ("Content-Encoding", "gzip")]),
            self.put([*expect, ("Content-Type", "text/plain; charset=utf-16")]),
            self.put(expect, method="POST"),
        )

    @attack(
        "Slow bodies that hold connections",
        sent="the head of a push and one byte of its body, the same in chunks, half a head: then nothing for "
        "``WS_TIMEOUT``",
        answer="408",
    )
    async def test_slow(self) -> str:
        await self.begin(WS_TIMEOUT="500")
        slow = (
            self.put((), EVIL)[:-3],
            request(f"PUT /{self.key} HTTP/1.1", [("Transfer-Encoding", "chunked")], b"4\r\ne"),
            b"PUT /" + self.key.encode() + b" HTTP/1.1\r\nHost: x\r\n",
            self.put([("Ws-Confirm", "9")], EVIL)[:-1],
        )
        wires = [await self.pusher() for _ in slow]
        for wire, data in zip(wires, slow, strict=True):
            wire.send(data)
        return self.statuses(*[await wire.reply() for wire in wires])

    @attack(
        "An invalid ``Idempotency-Key``",
        sent="``Idempotency-Key`` of 65 characters, of 10,000, empty, with a blank, with bytes beyond ASCII, twice",
        answer="400",
    )
    async def test_bad_idempotency_key(self) -> str:
        await self.begin()
        keys = ["k" * 65, "k" * 10_000, "", "two words", "\xe4", "k\tk"]
        return await self.told_each(
            *(self.put([("Idempotency-Key", key)]) for key in keys),
            self.put([("Idempotency-Key", "a"), ("Idempotency-Key", "a")]),
        )

    @attack(
        "Swallowing another's push, or seeing its answer, by using its ``Idempotency-Key``",
        sent="the key of a push to the bystander, on the attacker's own ``ws_uri``, and the other way round: each "
        "message reaches its client",
        answer="200",
        api="POST, DELETE 1006",
    )
    async def test_idempotency_key_of_another(self) -> str:
        await self.begin()
        mine, my_uri = await self.connected()
        assert self.bystander is not None
        replies = []
        for wire, uri in ((mine, my_uri), (self.bystander, self._bystanders_uri)):
            replies += [await self.push("PUT", uri, b"for this one", [("Idempotency-Key", "the-same")]) for _ in "12"]
            self.assertEqual((await wire.frame()).payload, b"for this one")
        return self.statuses(*replies)

    @attack(
        "An invalid ``Ws-Confirm``",
        sent="``Ws-Confirm`` of 0, 30001, -1, +1, 1.5, 1e3, 99999999999, nothing, a word, twice",
        answer="400",
    )
    async def test_bad_confirm(self) -> str:
        await self.begin()
        times = ["0", "30001", "-1", "+1", "1.5", "1e3", "99999999999", "", "true", "1, 1", "\xb2"]
        return await self.told_each(
            *(self.put([("Ws-Confirm", each)]) for each in times),
            self.put([("Ws-Confirm", "1"), ("Ws-Confirm", "1")]),
        )

    @attack(
        "A client that confirms messages it has not read",
        sent="guessed pongs: empty, the payload of an earlier ping, of a ping with other bits, 125 zero bytes; for "
        "pushes with ``Ws-Confirm``",
        answer="202",
        api="POST, DELETE 1000",
    )
    async def test_forged_pongs(self) -> str:
        await self.begin()
        liar, uri = await self.connected()
        first = self.push("PUT", uri, b"1", [("Ws-Confirm", "20")])
        self.assertEqual((await first).status, 202)
        await liar.frame()
        ping = await liar.frame(pings=True)
        self.assertEqual(ping.opcode, PING)
        number = int.from_bytes(ping.payload[:8], "big") + 1
        forged = [b"", number.to_bytes(8, "big") + ping.payload[8:], bytes(125), ping.payload + b"x"]
        forged += [ping.payload[::-1]]
        wire = await self.pusher()
        wire.send(self.request("PUT", uri, b"2", [("Ws-Confirm", "40")]))
        await liar.frame()
        for payload in forged:
            liar.send(frame(PONG, payload))
        reply = await wire.reply()
        self.assertEqual(reply.json["code"], "UNCONFIRMED")
        liar.send_close(1000)
        await liar.closed()
        return self.statuses(reply)

    @attack(
        "More pushes waiting for a pong than allowed",
        sent="65 pushes with ``Ws-Confirm: 30000`` for a client that answers no ping: the last of them",
        answer="503",
        api="POST, DELETE 1006",
    )
    async def test_many_wait(self) -> str:
        await self.begin()
        _, uri = await self.connected()
        wires: list[Wire] = []
        for _ in range(65):
            wires.append(await self.pusher())
            wires[-1].send(self.request("PUT", uri, b"x", [("Ws-Confirm", "30000")]))
        return self.statuses(await wires[-1].reply())

    @attack(
        "Invalid close codes and reasons",
        sent="``DELETE`` with code 0, 999, 1004 to 1006, 1015, 2999, 5000, -1000, 1e3, in Arabic digits, twice; a "
        "reason of 124 bytes, not UTF-8, a surrogate; other parameters",
        answer="400",
    )
    async def test_close(self) -> str:
        await self.begin()
        codes = ["0", "999", "1004", "1005", "1006", "1010", "1015", "1016", "2999", "5000", "-1000", "1e3", ""]
        codes += ["%201000"]
        codes += ["%D9%A1%D9%A0%D9%A0%D9%A0", "1000&code=1000", "1_00", "01000", "1000%00"]
        queries = [f"code={code}" for code in codes]
        queries += ["reason=" + "x" * 124, "reason=%ff", "reason=%ed%a0%80", "evil=1", "code", "reason=a&reason=b", "&"]
        return await self.told_each(
            *(self.put((), b"", method="DELETE", target=f"/{self.key}?{query}") for query in queries)
        )

    @attack(
        "Splitting through the reason of a close",
        sent="``reason=x%0d%0aWs-State:%20evil%0d%0a%0d%0a``: the client gets it as text, and the API percent-encoded, "
        "in one field",
        answer="200, close 4000",
        api="POST, DELETE 4000",
    )
    async def test_reason(self) -> str:
        await self.begin()
        client, uri = await self.connected()
        reply = await self.push("DELETE", uri, query="?code=4000&reason=x%0d%0aWs-State:%20evil%0d%0a%0d%0a")
        close = await client.closed()
        self.assertEqual((close.opcode, close.reason), (CLOSE, "x\r\nWs-State: evil\r\n\r\n"))
        delete = await self.api.call("DELETE")
        self.assertEqual(delete.header("Ws-Close-Reason"), "x%0D%0AWs-State%3A%20evil%0D%0A%0D%0A")
        self.assertIsNone(delete.header("Ws-State"))
        return f"{reply.status}, close {close.code}"

    @attack(
        "Pushing to a client that the API refused, or that is gone",
        sent="pushes from inside a ``POST`` that is then refused, and once more after it; after a close",
        answer="404",
        api="POST; POST, DELETE 1000",
    )
    async def test_nobody_there(self) -> str:
        await self.begin()
        self.api.script["POST"] = None
        wire = await self.dial()
        wire.send(handshake())
        call = await self.api.call("POST")
        self.assertEqual((await self.push("PUT", call.ws_uri, EVIL)).status, 202)
        call.answer(403)
        self.assertEqual((await wire.reply()).status, 403)
        self.assertEqual(wire.received, b"")
        late = await self.push("PUT", call.ws_uri, EVIL)
        self.api.release()
        client, uri = await self.connected()
        client.send_close(1000)
        await client.closed()
        return self.statuses(late, await self.push("PUT", uri, EVIL), await self.push("GET", uri))
