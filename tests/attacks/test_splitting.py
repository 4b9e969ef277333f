"""The API's answers as a weapon: what an attacker gets into them, or an API that belongs to the attacker says."""

from __future__ import annotations

import gzip

from twisted.internet.protocol import Factory, Protocol

from tests.attacks.answers import HEAD, AnswerAttackTestCase, written
from tests.attacks.attack import attack
from tests.recording_api import OK, Answer
from tests.waiting import reactor
from tests.wire import CLOSE, Fields, handshake


class SplittingTests(AnswerAttackTestCase):
    """Values that want to be more than one."""

    title = "Malicious answers of the API: splitting"

    @attack(
        "Splitting later callbacks through ``Ws-State``",
        sent="a carriage return, a line feed, a zero byte, a line break with a blank behind it, 1,025 bytes, letters "
        "beyond ASCII, two fields, in answers to ``POST``: no later call has another field of it",
        answer="101 or 502",
        api="POST, DELETE 1011; POST, PUT, DELETE 1000",
    )
    async def test_state(self) -> str:
        await self.begin()
        lines = [b"a\rWs-Id: x", b"a\nWs-Evil: x", b"a\r\n Ws-Evil: x"]
        values = {"101": [b"plain"], "502": [b"a\x00b", b"\xc3\xa4", b"x" * 1025, b"a\r\nWs-State: b", *lines]}
        return await self.each(values, self._granted_with)

    async def _granted_with(self, state: bytes) -> str:
        self.api.script["POST"] = written(HEAD + b"Ws-State: " + state + b"\r\nContent-Length: 14\r\n\r\n" + OK)
        wire = await self.dial()
        wire.send(handshake())
        status = (await wire.reply()).status
        uri = (await self.api.call("POST")).ws_uri
        if status == 101:
            wire.send_text("hello")
            put = await self.api.call("PUT", uri)
            self.assertEqual(len(put.all("Ws-Id")), 1)
            self.assertIsNone(put.header("Ws-Evil"))
            wire.send_close(1000)
            await wire.closed()
        return str(status)

    @attack(
        "Splitting through the subprotocol",
        sent="a subprotocol with a carriage return, one in other case, part of one, two of them, one that was not "
        "offered, in the answer to a ``POST``",
        answer="502",
        api="POST, DELETE 1011",
    )
    async def test_subprotocol(self) -> str:
        await self.begin()
        values = [b"chat\rSet-Cookie: a=b", b"Chat", b"cha", b"chat, superchat", b"chat superchat", b"evil", b"chat;x"]
        values += [b"chat\r\nSec-WebSocket-Protocol: superchat", b"\xffchat"]
        return await self.refused(
            *(HEAD + b"Sec-WebSocket-Protocol: " + value + b"\r\nContent-Length: 14\r\n\r\n" + OK for value in values),
            headers=[("Sec-WebSocket-Protocol", "chat, superchat")],
        )

    @attack(
        "Splitting the refusal that a client gets",
        sent="``WWW-Authenticate`` and ``Retry-After`` with a carriage return, a zero byte or a line feed in them, and "
        "a page of HTML, cookies and CORS fields beside them, with 401: nothing of that reaches the client",
        answer="401 or 502",
        api="POST; POST, DELETE 1011",
    )
    async def test_refusal(self) -> str:
        await self.begin()
        got = []
        beside = (
            b"Set-Cookie: a=b\r\nAccess-Control-Allow-Origin: *\r\nContent-Type: text/html\r\nContent-Length: 4\r\n"
        )
        values = [b"x", b"x\rSet-Cookie: a=b", b"x\nSet-Cookie: a=b", b"x\r\n Set-Cookie: a=b", b"x\x00y"]
        values.append(b"x\r\nContent-Length: 7")
        for name in (b"WWW-Authenticate", b"Retry-After"):
            for value in values:
                data = b"HTTP/1.1 401 No\r\n" + name + b": " + value + b"\r\n" + beside + b"\r\nevil"
                self.api.script["POST"] = written(data)
                got.append(await self.shake(handshake()))
                post = await self.api.call("POST")
                # Else a DELETE is owed.
                post.status = 401 if got[-1].status == 401 else None
                self.assertEqual(got[-1].headers.getRawHeaders("Content-Type"), ["text/plain; charset=utf-8"])
                self.assertIsNone(got[-1].header("Set-Cookie"))
                self.assertIsNone(got[-1].header("Access-Control-Allow-Origin"))
                self.assertNotIn(b"evil", got[-1].body)
        return self.statuses(*got)

    @attack(
        "Splitting through the reason of ``Ws-Close``",
        sent="``4000 x%0d%0aWs-State:%20evil``, in the answer to a ``PUT``: the client gets it as text, the API "
        "percent-encoded, in one field",
        answer="close 4000",
        api="POST, PUT, DELETE 4000",
    )
    async def test_reason(self) -> str:
        await self.begin()
        client = await self.connect()
        self.api.script["PUT"] = Answer(headers=[("Ws-Close", "4000 x%0d%0aWs-State:%20evil")])
        client.send_text("hello")
        close = await client.closed()
        self.assertEqual((close.opcode, close.reason), (CLOSE, "x\r\nWs-State: evil"))
        delete = await self.api.call("DELETE")
        self.assertEqual(delete.header("Ws-Close-Reason"), "x%0D%0AWs-State%3A%20evil")
        self.assertIsNone(delete.header("Ws-State"))
        return f"close {close.code}"

    @attack(
        "Invalid closes, replies and states",
        sent="``Ws-Close`` with code 1006, 0, 70000, with a reason of 124 bytes or not UTF-8, twice; ``Ws-Reply: "
        "html``, text that is not UTF-8, gzip; ``Ws-State`` beyond ASCII; in answers to ``PUT``",
        answer="close 1011",
        api="POST, PUT, DELETE 1011",
    )
    async def test_unusable(self) -> str:
        await self.begin()
        closes = ("1006 x", "0", "70000", "1000 %ff", "4000 " + "x" * 124)
        fields: list[Fields] = [[("Ws-Close", close)] for close in closes]
        fields += [[("Ws-Close", "1000"), ("Ws-Close", "1000")], [("Ws-Reply", "html")], [("Ws-State", "\xe4")]]
        fields += [[("Ws-Reply", "text"), ("Ws-Reply", "text")], [("Ws-Reply", "text"), ("Content-Encoding", "gzip")]]
        codes = set()
        for answer in [*(Answer(headers=each) for each in fields), Answer(200, b"\xff", [("Ws-Reply", "text")])]:
            client = await self.connect()
            self.api.script["PUT"] = answer
            client.send_text("hello")
            codes.add((await client.closed()).code)
        return " or ".join(f"close {code}" for code in sorted(codes, key=str))

    @attack(
        "Headers of other servers that pass to the client, or come back with the next call",
        sent="``Set-Cookie``, ``Location``, ``Alt-Svc``, ``Sec-WebSocket-Accept`` and ``-Extensions`` in a grant",
        answer="101",
        api="POST, PUT, DELETE 1006",
    )
    async def test_other_fields(self) -> str:
        await self.begin()
        names = ["Set-Cookie", "Location", "Alt-Svc", "Sec-WebSocket-Extensions", "Sec-WebSocket-Accept", "X-Evil"]
        self.api.script["POST"] = Answer(headers=[(name, "evil=1; path=/") for name in names])
        wire = await self.dial()
        wire.send(handshake())
        reply = await wire.reply()
        self.assertNotIn("evil", str(reply.headers))
        wire.send_text("hello")
        put = await self.api.call("PUT", (await self.api.call("POST")).ws_uri)
        self.assertNotIn("evil", str(put.headers))
        return self.statuses(reply)


class _Elsewhere(Protocol):
    """Another server, which nobody should call."""

    def connectionMade(self) -> None:
        self.factory.called += 1


class AnswerTests(AnswerAttackTestCase):
    """Answers that are not what they seem."""

    title = "Malicious answers of the API: other"

    @attack(
        "Sending the gateway elsewhere",
        sent="301, 302, 303, 307 and 308 to another server, to ``file:///etc/passwd``, to the gateway, to itself: not "
        "followed",
        answer="502",
        api="POST, DELETE 1011",
    )
    async def test_redirects(self) -> str:
        elsewhere = Factory.forProtocol(_Elsewhere)
        elsewhere.noisy, elsewhere.called = False, 0  # type: ignore[attr-defined]  # the test's
        port = reactor.listenTCP(0, elsewhere, interface="127.0.0.1")
        self.addCleanup(port.stopListening)
        await self.begin()
        to = ["file:///etc/passwd", "/hook"]
        to += [*(f"http://127.0.0.1:{each}/" for each in (port.getHost().port, self.port))]
        answers = [Answer(status, OK, [("Location", place)]) for status in (301, 302, 303, 307, 308) for place in to]
        status = await self.refused(*answers)
        self.assertEqual(elsewhere.called, 0)  # type: ignore[attr-defined]  # the test's
        return status

    @attack(
        "Bodies that a careless reader takes for ``OK``",
        sent="``OK``, ``true``, a list, ``Code``, ``ok``, ``OK`` with a blank, a zero byte or a Cyrillic letter, a "
        "list of it, two codes with another one last, two documents, UTF-16, JSON 100,000 lists deep, numbers of 5,000 "
        "digits, nothing; with 200, 201 and 204",
        answer="403",
        api="POST",
    )
    async def test_look_alikes(self) -> str:
        await self.begin()
        codes = ['"ok"', '"OK "', '" OK"', '"OK\\u0000"', '"\u041eK"', '["OK"]', '{"code": "OK"}', "true", "1", "null"]
        bodies = [f'{{"code": {code}}}'.encode() for code in codes] + [b"", b"OK", b'"OK"', b"true", b'["code", "OK"]']
        bodies += [b'{"Code": "OK"}', b'{"code": "OK", "code": "NO"}', OK + OK, OK + b"x", OK + b"\xef\xbb\xbf"]
        bodies += [OK.decode().encode("utf-16"), b"[" * 100_000, b'{"code":' * 10_000, b'{"a": ' + b"9" * 5000 + b"}"]
        bodies += [b"{'code': 'OK'}", b'{"code": "OK",}', b"<code>OK</code>", b'{"x": {"code": "OK"}}', b"\xff" + OK]
        answers = [Answer(200, body) for body in bodies] + [Answer(201, b"{}"), Answer(204, b"")]
        return await self.refused(*answers)

    @attack(
        "Encoded answers, and bombs",
        sent="a grant in ``gzip``, ``deflate``, ``br``; 10 MB of zeros in ``gzip``",
        answer="502",
        api="POST, DELETE 1011",
    )
    async def test_encoded(self) -> str:
        await self.begin()
        encoded = [(coding, gzip.compress(OK)) for coding in ("gzip", "deflate", "br", "GZIP", "identity, gzip")]
        encoded.append(("gzip", gzip.compress(bytes(10_000_000))))
        return await self.refused(
            *(
                HEAD + b"Content-Encoding: %b\r\nContent-Length: %d\r\n\r\n" % (coding.encode(), len(body)) + body
                for coding, body in encoded
            )
        )
