"""Pushes on real sockets: what a request to a ``ws_uri`` does and is answered (protocol §3)."""

from __future__ import annotations

import json
import re
import shutil
from urllib.parse import quote

from twisted.internet.utils import getProcessOutputAndValue
from twisted.trial.unittest import SkipTest

from bench.ports import free_port
from tests.contract.case import ContractTestCase
from tests.recording_api import Answer
from tests.waiting import PATIENCE, reactor, within
from tests.wire import BINARY, CLOSE, NOBODY, PING, PONG, TEXT, Frame, Reply, Wire, close_payload, frame, handshake

RFC_3339 = r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z$"


class PushTestCase(ContractTestCase):
    """What tests of pushes have in common."""

    def check_ok(self, reply: Reply, status: int = 200) -> None:
        """An answer says OK, and how answers look in general."""
        self.assertEqual((reply.status, reply.json["code"]), (status, "OK"))
        self.check_form(reply)

    def check_form(self, reply: Reply) -> None:
        """JSON that nobody may keep."""
        self.assertEqual((reply.header("Content-Type") or "").partition(";")[0], "application/json")
        self.assertEqual(reply.header("Cache-Control"), "no-store")

    def check_refused(self, reply: Reply, status: int, code: str) -> None:
        """An answer says what is wrong, for programs and for people."""
        self.assertEqual((reply.status, reply.json["code"]), (status, code))
        self.assertGreater(len(reply.json["message"]), 10)
        self.check_form(reply)

    async def check_alive(self, client: Wire) -> None:
        """A client got nothing that it was not to get."""
        client.send(frame(PING, b"nothing?"))
        self.assertEqual(await client.frame(), Frame(PONG, b"nothing?"))


class PutTests(PushTestCase):
    """``PUT ws_uri``: one message to the client, byte for byte."""

    async def check_sent(self, content_type: str | None, body: bytes, expected: Frame) -> None:
        """A push of some type arrives as a certain frame."""
        client, ws_uri = await self.connected()
        headers = [] if content_type is None else [("Content-Type", content_type)]
        self.check_ok(await self.push("PUT", ws_uri, body, headers))
        self.assertEqual(await client.frame(), expected)

    async def test_text_types(self) -> None:
        """``text/*``, ``application/json``, ``*+json``, curl's own type or none: text."""
        await self.serve()
        body = "é {} 🐎".encode()
        for content_type in (
            "text/plain",
            "text/html; charset=UTF-8",
            'text/plain;charset="utf-8"',
            "TEXT/Plain; Charset=utf8",
            "application/json",
            "application/json; charset=utf-8",
            "application/vnd.api+json",
            "application/x-www-form-urlencoded",
            None,
        ):
            await self.check_sent(content_type, body, Frame(TEXT, body))

    async def test_binary_types(self) -> None:
        """Any other type: binary, and nobody looks at whether it is UTF-8."""
        await self.serve()
        for content_type in (
            "application/octet-stream",
            "image/png",
            "application/cbor",
            "multipart/mixed; boundary=x",
        ):
            await self.check_sent(content_type, b"\xff\x00\xc3", Frame(BINARY, b"\xff\x00\xc3"))

    async def test_form(self) -> None:
        """What looks like a form is not parsed as one."""
        await self.serve()
        await self.check_sent("application/x-www-form-urlencoded", b"a=1&b=%20", Frame(TEXT, b"a=1&b=%20"))
        await self.check_sent("multipart/form-data; boundary=x", b"--x", Frame(BINARY, b"--x"))

    async def test_empty(self) -> None:
        """Empty body: empty message, with a length of 0 or without one."""
        await self.serve()
        await self.check_sent("text/plain", b"", Frame(TEXT, b""))
        await self.check_sent("application/octet-stream", b"", Frame(BINARY, b""))
        client, ws_uri = await self.connected()
        self.check_ok(await self.push("PUT", ws_uri))
        self.assertEqual(await client.frame(), Frame(TEXT, b""))

    async def test_largest(self) -> None:
        """A message of exactly ``WS_MAX_MESSAGE`` bytes."""
        await self.serve()
        body = bytes(range(256)) * 512
        await self.check_sent("application/octet-stream", body, Frame(BINARY, body))

    async def test_chunked(self) -> None:
        """A chunked body is one message."""
        await self.serve()
        client, ws_uri = await self.connected()
        pusher = await self.dial()
        head = self.request("PUT", ws_uri, headers=[("Transfer-Encoding", "chunked"), ("Content-Type", "text/plain")])
        pusher.send(head + b"3\r\nabc\r\n2;x=y\r\nde\r\n0\r\n\r\n")
        self.check_ok(await pusher.reply())
        self.assertEqual(await client.frame(), Frame(TEXT, b"abcde"))

    async def test_expect(self) -> None:
        """``Expect: 100-continue`` is answered with 100 once the head is found good."""
        await self.serve()
        client, ws_uri = await self.connected()
        pusher = await self.dial()
        pusher.send(self.request("PUT", ws_uri, headers=[("Expect", "100-continue"), ("Content-Length", "5")]))
        self.assertEqual((await pusher.reply()).status, 100)
        pusher.send(b"hello")
        self.check_ok(await pusher.reply())
        self.assertEqual(await client.frame(), Frame(TEXT, b"hello"))

    async def test_path_and_host_are_not_compared(self) -> None:
        """What stands before the key is the operator's ``WS_HOSTNAME`` and not compared."""
        await self.serve(WS_HOSTNAME="https://Push.Example/some/where")
        client, ws_uri = await self.connected()
        key = ws_uri.rpartition("/")[2]
        for path in (f"/{key}", f"/some/where/{key}", f"/x//y/{key}"):
            reply = await self.push("PUT", f"http://127.0.0.1:{self.port}{path}", b"x")
            self.check_ok(reply)
            self.assertEqual(await client.frame(), Frame(TEXT, b"x"))

    async def test_pipelined(self) -> None:
        """Pushes on one TCP connection, sent without waiting, are carried out and answered in order."""
        await self.serve()
        client, ws_uri = await self.connected()
        pusher = await self.dial()
        pusher.send(b"".join(self.request("PUT", ws_uri, b"%d" % number) for number in range(20)))
        for _ in range(20):
            self.check_ok(await pusher.reply())
        self.assertEqual([(await client.frame()).payload for _ in range(20)], [b"%d" % number for number in range(20)])

    async def test_to_the_right_client(self) -> None:
        """A push reaches its client and nobody else."""
        await self.serve()
        (one, one_uri), (two, two_uri) = await self.connected(), await self.connected()
        await self.put_text(two_uri, "for two")
        await self.put_text(one_uri, "for one")
        self.assertEqual((await one.frame()).payload, b"for one")
        self.assertEqual((await two.frame()).payload, b"for two")

    async def test_autobahn(self) -> None:
        """A client that checks what it gets gets text as text and binary as binary."""
        await self.serve()
        client = await self.autobahn()
        ws_uri = (await self.api.call("POST")).ws_uri
        await self.put_text(ws_uri, "é")
        await self.push("PUT", ws_uri, bytes(100_000), [("Content-Type", "image/png")])
        await client.until(lambda it: len(it.messages) == 2, "two messages")
        self.assertEqual(client.messages, [(False, "é".encode()), (True, bytes(100_000))])


class DuringPostTests(PushTestCase):
    """Pushes while the handshake is not finished: the API may push from inside its POST."""

    async def asking(self) -> tuple[Wire, str]:
        """:returns: a client whose POST waits for its answer, and its ``ws_uri``"""
        await self.serve()
        self.api.script["POST"] = None
        client = await self.dial()
        client.send(handshake())
        self.post = await self.api.call("POST")
        return client, self.post.ws_uri

    async def test_put(self) -> None:
        """202; goes out first once the handshake is finished, in the order of the pushes."""
        client, ws_uri = await self.asking()
        for number in range(3):
            self.check_ok(await self.put_text(ws_uri, str(number)), 202)
        self.assertEqual(client.received, b"")
        self.post.answer()
        self.assertEqual((await client.reply()).status, 101)
        self.check_ok(await self.put_text(ws_uri, "3"))
        self.assertEqual([(await client.frame()).payload for _ in range(4)], [b"0", b"1", b"2", b"3"])

    async def test_before_replies(self) -> None:
        """What was pushed goes before the reply to a message that came with the handshake."""
        client, ws_uri = await self.asking()
        self.api.script["PUT"] = Answer(body=b"reply", headers=[("Ws-Reply", "text")])
        client.send_text("early")
        await self.put_text(ws_uri, "welcome")
        self.post.answer()
        await client.reply()
        self.assertEqual([(await client.frame()).payload for _ in range(2)], [b"welcome", b"reply"])

    async def test_put_forgotten(self) -> None:
        """Forgotten if the POST is refused; the ``ws_uri`` leads nowhere any more."""
        client, ws_uri = await self.asking()
        self.check_ok(await self.put_text(ws_uri, "never seen"), 202)
        self.post.answer(403)
        self.assertEqual((await client.reply()).status, 403)
        self.check_refused(await self.put_text(ws_uri, "x"), 404, "NOT_FOUND")
        self.assertNotIn(b"never seen", client.received)

    async def test_too_much(self) -> None:
        """What waits is bounded by ``WS_MAX_BUFFER``: 503."""
        client, ws_uri = await self.asking()
        statuses = [(await self.push("PUT", ws_uri, bytes(131072))).status for _ in range(9)]
        self.assertEqual(statuses, [202] * 8 + [503])
        self.post.answer()
        await client.reply()
        self.assertEqual([len((await client.frame()).payload) for _ in range(8)], [131072] * 8)

    async def test_get(self) -> None:
        """GET and HEAD find it: ``connected_at`` is null before the 101."""
        _, ws_uri = await self.asking()
        reply = await self.push("GET", ws_uri)
        self.check_ok(reply)
        self.assertIsNone(reply.json["connected_at"])
        self.assertEqual((await self.push("HEAD", ws_uri)).status, 200)

    async def test_delete(self) -> None:
        """DELETE closes after what was pushed before, once the handshake is finished."""
        client, ws_uri = await self.asking()
        await self.put_text(ws_uri, "first")
        self.check_ok(await self.push("DELETE", ws_uri, query="?code=4000&reason=done"))
        self.check_refused(await self.put_text(ws_uri, "second"), 404, "NOT_FOUND")
        self.post.answer()
        self.assertEqual((await client.reply()).status, 101)
        self.assertEqual(await client.frame(), Frame(TEXT, b"first"))
        self.assertEqual(await client.closed(), Frame(CLOSE, close_payload(4000, "done")))
        delete = await self.api.call("DELETE")
        self.assertEqual((delete.header("Ws-Close-Code"), delete.header("Ws-Closed-By")), ("4000", "api"))

    async def test_from_within(self) -> None:
        """The API really can push from inside its POST, before it answers."""
        await self.serve()

        async def answer() -> None:
            call = await self.api.call("POST")
            self.check_ok(await self.put_text(call.ws_uri, "welcome"), 202)
            call.answer()

        self.api.script["POST"] = None
        client = await self.dial()
        client.send(handshake())
        await answer()
        self.assertEqual((await client.reply()).status, 101)
        self.assertEqual(await client.frame(), Frame(TEXT, b"welcome"))


class DeleteTests(PushTestCase):
    """``DELETE ws_uri``: closes, after what was pushed before."""

    async def closed_with(self, query: str) -> Frame:
        """:returns: the Close frame that a client gets"""
        client, ws_uri = await self.connected()
        self.check_ok(await self.push("DELETE", ws_uri, query=query))
        close = await client.closed()
        await client.end()
        return close

    async def test_default(self) -> None:
        """Default 1000, no reason."""
        await self.serve()
        self.assertEqual(await self.closed_with(""), Frame(CLOSE, close_payload(1000)))

    async def test_code_and_reason(self) -> None:
        """``code`` and ``reason``, in either order, percent-encoded or with + for a blank."""
        await self.serve()
        for query, code, reason in (
            ("?code=4001&reason=bye", 4001, "bye"),
            ("?reason=bye%20now&code=1001", 1001, "bye now"),
            ("?reason=caf%C3%A9+%F0%9F%90%8E", 1000, "café 🐎"),
            ("?code=3000&reason=", 3000, ""),
        ):
            self.assertEqual(await self.closed_with(query), Frame(CLOSE, close_payload(code, reason)), query)

    async def test_each_code(self) -> None:
        """Allowed: 1000, 1001, 1003, 1007-1009, 1011-1014, 3000-4999."""
        await self.serve()
        for code in (1000, 1001, 1003, 1007, 1008, 1009, 1011, 1012, 1013, 1014, 3000, 3999, 4000, 4999):
            self.assertEqual((await self.closed_with(f"?code={code}")).code, code)

    async def test_longest_reason(self) -> None:
        """123 bytes of UTF-8."""
        await self.serve()
        reason = "é" * 61 + "x"
        self.assertEqual((await self.closed_with(f"?reason={quote(reason)}")).reason, reason)

    async def test_after_what_was_pushed(self) -> None:
        """Messages pushed before arrive before the Close frame, also at a client that is slow to read."""
        await self.serve()
        client, ws_uri = await self.connected_narrow()
        taken = await self.fill(client, ws_uri)
        self.check_ok(await self.push("DELETE", ws_uri, query="?code=4000"))
        client.read_on()
        for size in taken:
            self.assertEqual(await client.frame(), Frame(BINARY, bytes(size)))
        self.assertEqual((await client.closed()).code, 4000)
        self.assertEqual((await self.api.call("DELETE")).header("Ws-Close-Code"), "4000")

    async def test_bad(self) -> None:
        """A bad code, reason or parameter: 400, and the connection stays."""
        await self.serve()
        client, ws_uri = await self.connected()
        for query in (
            "?code=999",
            "?code=1002",
            "?code=1004",
            "?code=1005",
            "?code=1006",
            "?code=1010",
            "?code=1015",
            "?code=1016",
            "?code=2999",
            "?code=5000",
            "?code=",
            "?code=abc",
            "?code=+1000",
            "?code=1000.0",
            "?code=%D9%A1%D9%A0%D9%A0%D9%A0",
            "?code=1000&code=1001",
            f"?reason={'x' * 124}",
            f"?reason={quote('é' * 62)}",
            "?reason=%ff",
            "?reasons=x",
            "?code=1000&x=y",
            "?code",
        ):
            self.check_refused(await self.push("DELETE", ws_uri, query=query), 400, "BAD_REQUEST")
        await self.check_alive(client)

    async def test_body_is_no_query(self) -> None:
        """A body says nothing about the close."""
        await self.serve()
        client, ws_uri = await self.connected()
        headers = [("Content-Type", "application/x-www-form-urlencoded")]
        self.check_ok(await self.push("DELETE", ws_uri, b"code=4000", headers))
        self.assertEqual((await client.closed()).code, 1000)


class GetTests(PushTestCase):
    """``GET ws_uri`` and ``HEAD ws_uri``."""

    async def test_get(self) -> None:
        """Every member of the table."""
        await self.serve()
        self.api.script["POST"] = Answer(headers=[("Ws-State", "user=7")])
        client, ws_uri = await self.connected("/chat?room=7", [("Sec-WebSocket-Protocol", "chat.v1")])
        client.send(frame(TEXT, b"12345") + frame(BINARY, b"678"))
        for _ in range(2):
            await self.api.call("PUT")
        await self.put_text(ws_uri, "1234567")
        await client.frame()
        reply = await self.push("GET", ws_uri)
        self.check_ok(reply)
        value = reply.json
        for name in ("connected_at", "last_seen_at"):
            self.assertRegex(value.pop(name), RFC_3339)
        self.assertEqual(
            value,
            {
                "code": "OK",
                "ws_uri": ws_uri,
                "path": "/chat?room=7",
                "client": "127.0.0.1",
                "protocol": "chat.v1",
                "state": "user=7",
                "user": None,
                "groups": [],
                "messages_in": 2,
                "messages_out": 1,
                "bytes_in": 8,
                "bytes_out": 7,
                "buffered": 0,
            },
        )

    async def test_get_of_little(self) -> None:
        """What there is none of is null."""
        await self.serve()
        _, ws_uri = await self.connected()
        value = (await self.push("GET", ws_uri)).json
        self.assertEqual((value["protocol"], value["state"]), (None, None))

    async def test_buffered(self) -> None:
        """``buffered``: the bytes that wait for the client."""
        await self.serve()
        client, ws_uri = await self.connected_narrow()
        await self.fill(client, ws_uri)
        buffered = (await self.push("GET", ws_uri)).json["buffered"]
        self.assertTrue(1048576 - 4000 < buffered <= 1048576, buffered)

    async def test_head(self) -> None:
        """HEAD: 200 as long as it is there, then 404; no body either way."""
        await self.serve()
        client, ws_uri = await self.connected()
        pusher = await self.dial()
        pusher.send(self.request("HEAD", ws_uri) + self.request("HEAD", f"http://x/{NOBODY}"))
        self.assertEqual((await pusher.reply(head_only=True)).status, 200)
        self.assertEqual((await pusher.reply(head_only=True)).status, 404)
        # A body would stand before this answer.
        pusher.send(self.request("GET", ws_uri))
        self.assertEqual((await pusher.reply()).status, 200)
        client.drop()
        await self.api.call("DELETE")
        self.assertEqual((await self.push("HEAD", ws_uri)).status, 404)


class RefusalTests(PushTestCase):
    """The table of refusals."""

    async def test_text_not_utf8(self) -> None:
        """Text that is not UTF-8: 400, and the client gets nothing."""
        await self.serve()
        client, ws_uri = await self.connected()
        for content_type in ("text/plain", "application/json", "application/x-www-form-urlencoded"):
            reply = await self.push("PUT", ws_uri, b"ok \xff", [("Content-Type", content_type)])
            self.check_refused(reply, 400, "BAD_REQUEST")
        self.check_refused(await self.push("PUT", ws_uri, b"\xed\xa0\x80"), 400, "BAD_REQUEST")
        await self.check_alive(client)

    async def test_no_such_connection(self) -> None:
        """No such connection: 404, for each method and for whatever a key might look like."""
        await self.serve()
        for key in (NOBODY, "x", "", "%41" * 24, "A" * 23):
            for method in ("PUT", "DELETE"):
                reply = await self.push(method, f"http://127.0.0.1:{self.port}/{key}", b"")
                self.check_refused(reply, 404, "NOT_FOUND")
        self.check_refused(await self.push("GET", f"http://127.0.0.1:{self.port}/{NOBODY}"), 404, "NOT_FOUND")
        self.assertEqual((await self.push("HEAD", f"http://127.0.0.1:{self.port}/{NOBODY}")).status, 404)

    async def check_gone(self, ws_uri: str) -> None:
        """Nothing reaches a connection any more."""
        self.check_refused(await self.put_text(ws_uri, "x"), 404, "NOT_FOUND")
        self.check_refused(await self.push("DELETE", ws_uri), 404, "NOT_FOUND")
        self.check_refused(await self.push("GET", ws_uri), 404, "NOT_FOUND")
        self.assertEqual((await self.push("HEAD", ws_uri)).status, 404)

    async def test_over(self) -> None:
        """No longer there: 404."""
        await self.serve()
        client, ws_uri = await self.connected()
        client.drop()
        await self.api.call("DELETE")
        await self.check_gone(ws_uri)

    async def test_over_but_not_yet_said(self) -> None:
        """TCP is over, the PUT in flight still unanswered: 404."""
        await self.serve()
        self.api.script["PUT"] = None
        client, ws_uri = await self.connected()
        client.send_text("x")
        await self.api.call("PUT")
        client.transport.loseConnection()
        await client.end()
        await self.until_gone(ws_uri)
        await self.check_gone(ws_uri)

    async def test_close_asked_for(self) -> None:
        """Closing from the moment a Close was asked for: 404, though the client has not answered it."""
        await self.serve()
        client, ws_uri = await self.connected()
        self.check_ok(await self.push("DELETE", ws_uri))
        await self.check_gone(ws_uri)
        self.assertEqual(await client.frame(), Frame(CLOSE, close_payload(1000)))
        self.assertFalse(client.ended)

    async def test_close_received(self) -> None:
        """Closing from the moment a Close was received: 404, though messages are still to be delivered."""
        await self.serve()
        self.api.script["PUT"] = None
        client, ws_uri = await self.connected()
        client.send(frame(TEXT, b"x") + frame(CLOSE))
        self.assertEqual((await client.frame()).opcode, CLOSE)
        await self.check_gone(ws_uri)

    async def test_method(self) -> None:
        """Another method: 405 with ``Allow``; OPTIONS too, without a word about CORS."""
        await self.serve()
        _, ws_uri = await self.connected()
        preflight = [("Origin", "https://page.example"), ("Access-Control-Request-Method", "PUT")]
        for method in ("POST", "PATCH", "OPTIONS", "TRACE", "BREW"):
            for where in (ws_uri, f"http://127.0.0.1:{self.port}/{NOBODY}"):
                reply = await self.push(method, where, b"", preflight)
                self.check_refused(reply, 405, "METHOD_NOT_ALLOWED")
                allowed = {name.strip() for name in (reply.header("Allow") or "").split(",")}
                self.assertEqual(allowed, {"GET", "HEAD", "PUT", "DELETE"})
                self.assertFalse([name for name, _ in reply.headers.getAllRawHeaders() if b"access" in name.lower()])

    async def test_too_long(self) -> None:
        """Over ``WS_MAX_MESSAGE``: 413."""
        await self.serve(WS_MAX_MESSAGE="1000")
        client, ws_uri = await self.connected()
        self.check_refused(await self.push("PUT", ws_uri, bytes(1001)), 413, "MESSAGE_TOO_LONG")
        self.check_ok(await self.push("PUT", ws_uri, bytes(1000)))
        self.assertEqual(await client.frame(), Frame(TEXT, bytes(1000)))

    async def test_much_too_long(self) -> None:
        """A body of megabytes is refused too, in a way that its sender gets to see the answer."""
        await self.serve()
        _, ws_uri = await self.connected()
        self.check_refused(await self.push("PUT", ws_uri, bytes(5_000_000)), 413, "MESSAGE_TOO_LONG")

    async def test_chunked_too_long(self) -> None:
        """A chunked body is cut there: 413 as soon as it is over, without its end."""
        await self.serve(WS_MAX_MESSAGE="1000")
        client, ws_uri = await self.connected()
        pusher = await self.dial()
        pusher.send(self.request("PUT", ws_uri, headers=[("Transfer-Encoding", "chunked")]))
        pusher.send(b"258\r\n" + bytes(600) + b"\r\n258\r\n" + bytes(600) + b"\r\n")
        self.check_refused(await pusher.reply(), 413, "MESSAGE_TOO_LONG")
        await self.check_alive(client)

    async def test_encoded(self) -> None:
        """``Content-Encoding``: 415."""
        await self.serve()
        client, ws_uri = await self.connected()
        reply = await self.push("PUT", ws_uri, b"x", [("Content-Encoding", "gzip"), ("Content-Type", "text/plain")])
        self.check_refused(reply, 415, "UNSUPPORTED")
        await self.check_alive(client)

    async def test_charset(self) -> None:
        """A text charset that is not UTF-8: 415."""
        await self.serve()
        client, ws_uri = await self.connected()
        for content_type in (
            "text/plain; charset=iso-8859-1",
            'application/json;charset="UTF-16"',
            "text/html;CHARSET=x",
        ):
            reply = await self.push("PUT", ws_uri, b"x", [("Content-Type", content_type)])
            self.check_refused(reply, 415, "UNSUPPORTED")
        await self.check_alive(client)

    async def test_too_slow(self) -> None:
        """The client does not read and its buffer is full: 503 with ``Retry-After``; later there is room again."""
        await self.serve()
        client, ws_uri = await self.connected_narrow()
        taken = await self.fill(client, ws_uri)
        reply = await self.push("PUT", ws_uri, bytes(20_000))
        self.check_refused(reply, 503, "TOO_SLOW")
        self.assertRegex(reply.header("Retry-After") or "", r"^[0-9]+$")
        client.read_on()
        # Everything that was taken arrives, and nothing that was not.
        for size in taken:
            self.assertEqual(await client.frame(), Frame(BINARY, bytes(size)))
        self.check_ok(await self.put_text(ws_uri, "room again"))
        self.assertEqual(await client.frame(), Frame(TEXT, b"room again"))

    async def test_refusal_keeps_the_connection(self) -> None:
        """After a refusal the next push may come on the same TCP connection, whatever body the refused one had."""
        await self.serve()
        client, ws_uri = await self.connected()
        nobody = f"http://127.0.0.1:{self.port}/{NOBODY}"
        pusher = await self.dial()
        pusher.send(
            self.request("PUT", nobody, b"PUT / HTTP/1.1\r\n\r\n")
            + self.request("POST", nobody, b"x" * 1000)
            + self.request("PUT", ws_uri, b"x", [("Content-Encoding", "br")])
            + self.request("PUT", ws_uri, b"good")
        )
        self.assertEqual([(await pusher.reply()).status for _ in range(4)], [404, 405, 415, 200])
        self.assertEqual(await client.frame(), Frame(TEXT, b"good"))


class HeadTests(PushTestCase):
    """Checked on the request head, in this order, before any body is read: method, key, length, type."""

    HUGE = ("Content-Length", "999999999")
    ENCODED = ("Content-Encoding", "gzip")
    LATIN = ("Content-Type", "text/plain; charset=latin1")

    async def answers(self, method: str, ws_uri: str, *headers: tuple[str, str]) -> list[tuple[int, str]]:
        """:returns: status and code of the answer to a head alone, without and with ``Expect: 100-continue``"""
        found = []
        for more in ([], [("Expect", "100-continue")]):
            pusher = await self.dial()
            pusher.send(self.request(method, ws_uri, headers=[*headers, *more]))
            reply = await pusher.reply()
            found.append((reply.status, reply.json["code"]))
        return found

    async def test_method_first(self) -> None:
        """The method, before the key, the length and the type."""
        await self.serve()
        answers = await self.answers("POST", f"http://x/{NOBODY}", self.HUGE, self.ENCODED, self.LATIN)
        self.assertEqual(answers, [(405, "METHOD_NOT_ALLOWED")] * 2)

    async def test_then_key(self) -> None:
        """The key, before the length and the type."""
        await self.serve()
        answers = await self.answers("PUT", f"http://x/{NOBODY}", self.HUGE, self.ENCODED, self.LATIN)
        self.assertEqual(answers, [(404, "NOT_FOUND")] * 2)

    async def test_then_length(self) -> None:
        """The length, before the type."""
        await self.serve()
        _, ws_uri = await self.connected()
        answers = await self.answers("PUT", ws_uri, self.HUGE, self.ENCODED, self.LATIN)
        self.assertEqual(answers, [(413, "MESSAGE_TOO_LONG")] * 2)

    async def test_then_type(self) -> None:
        """The type, before any of the body has come."""
        await self.serve()
        _, ws_uri = await self.connected()
        for headers in ([self.ENCODED], [self.LATIN]):
            answers = await self.answers("PUT", ws_uri, *headers, ("Content-Length", "5"))
            self.assertEqual(answers, [(415, "UNSUPPORTED")] * 2)

    async def test_chunked(self) -> None:
        """A chunked body that is not wanted is not waited for either."""
        await self.serve()
        answers = await self.answers("PUT", f"http://x/{NOBODY}", ("Transfer-Encoding", "chunked"))
        self.assertEqual(answers, [(404, "NOT_FOUND")] * 2)

    async def test_closed_meanwhile(self) -> None:
        """The connection closes while the body arrives: 404."""
        await self.serve()
        client, ws_uri = await self.connected()
        pusher = await self.dial()
        pusher.send(self.request("PUT", ws_uri, headers=[("Content-Length", "5"), ("Expect", "100-continue")]))
        self.assertEqual((await pusher.reply()).status, 100)
        client.drop()
        await self.api.call("DELETE")
        pusher.send(b"hello")
        self.check_refused(await pusher.reply(), 404, "NOT_FOUND")


class OrderTests(PushTestCase):
    """One output queue per connection."""

    async def test_push_before_reply(self) -> None:
        """A push answered before a PUT's answer goes before that answer's ``Ws-Reply``."""
        await self.serve()
        self.api.script["PUT"] = None
        client, ws_uri = await self.connected()
        client.send_text("question")
        put = await self.api.call("PUT")
        self.check_ok(await self.put_text(ws_uri, "push"))
        put.answer(200, b"reply", [("Ws-Reply", "text")])
        self.assertEqual([(await client.frame()).payload for _ in range(2)], [b"push", b"reply"])

    async def test_complete_first(self) -> None:
        """Pushes leave in the order in which they were completely received, not begun."""
        await self.serve()
        client, ws_uri = await self.connected()
        pusher = await self.dial()
        pusher.send(self.request("PUT", ws_uri, headers=[("Content-Length", "5"), ("Expect", "100-continue")]))
        await pusher.reply()
        pusher.send(b"slo")
        self.check_ok(await self.put_text(ws_uri, "quick"))
        pusher.send(b"ow")
        self.check_ok(await pusher.reply())
        self.assertEqual([(await client.frame()).payload for _ in range(2)], [b"quick", b"sloow"])

    async def test_nothing_overtakes(self) -> None:
        """Pushes and replies to a client that reads late come in the order in which they were accepted."""
        await self.serve()
        replies = iter(range(100, 200))
        self.api.script["PUT"] = lambda call: call.answer(
            200, b"%d" % next(replies) + bytes(60_000), [("Ws-Reply", "binary")]
        )
        client, ws_uri = await self.connected_narrow()
        accepted: list[bytes] = []
        for number in range(100, 130):
            client.send_text("x")
            await self.api.call("PUT")
            await self.until_out(ws_uri, len(accepted) + 1)
            accepted.append(b"%d" % number)
            if (await self.push("PUT", ws_uri, b"p%d" % number + bytes(30_000))).status == 200:
                accepted.append(b"p%d" % number)
            if (await self.push("GET", ws_uri)).json["buffered"] > 900_000:
                break
        client.read_on()
        got = [(await client.frame()).payload.rstrip(b"\0") for _ in accepted]
        self.assertEqual(got, accepted)

    async def until_out(self, ws_uri: str, count: int) -> None:
        """Wait until so many messages have been sent to a client, or wait for it."""
        deadline = reactor.seconds() + PATIENCE
        while (await self.push("GET", ws_uri)).json["messages_out"] < count:
            self.assertLess(reactor.seconds(), deadline, "a reply is missing")


class ListenerTests(PushTestCase):
    """``PUSH_LISTEN`` and IPv6."""

    async def test_push_listen(self) -> None:
        """With ``PUSH_LISTEN`` pushes are taken there; on ``WS_LISTEN`` they get 405, and clients nothing there."""
        pushes = free_port()
        await self.serve(
            PUSH_LISTEN=f"tcp:{pushes}:interface=127.0.0.1", WS_HOSTNAME=f"http://127.0.0.1:{pushes}/internal"
        )
        client, ws_uri = await self.connected()
        self.check_ok(await self.put_text(ws_uri, "hello"))
        self.assertEqual(await client.frame(), Frame(TEXT, b"hello"))
        here = ws_uri.replace(str(pushes), str(self.port))
        for method in ("PUT", "DELETE", "GET"):
            reply = await self.push(method, here, b"")
            self.assertEqual((reply.status, reply.json["code"]), (405, "METHOD_NOT_ALLOWED"))
            self.assertIsNotNone(reply.header("Allow"))
        self.assertEqual((await self.push("HEAD", here)).status, 405)
        # What is 405 for a connection is 405 for none: it says nothing about which keys exist.
        self.assertEqual((await self.push("PUT", f"http://127.0.0.1:{self.port}/{NOBODY}", b"")).status, 405)
        await self.check_alive(client)
        stranger = await self.dial(pushes)
        stranger.send(handshake(f"/{NOBODY}") + handshake("/chat"))
        self.assertEqual((await stranger.reply()).status, 404)
        self.assertEqual((await stranger.reply()).status, 404)
        self.assertEqual([call.method for call in self.api.calls], ["POST"])

    async def test_ipv6(self) -> None:
        """An IPv6 listener: clients, their addresses, and pushes."""
        port = free_port("::1")
        await self.serve(WS_LISTEN=rf"tcp6:{port}:interface=\:\:1", WS_HOSTNAME=f"http://[::1]:{port}")
        self.port = port
        client = await self.dial(host="::1")
        client.send(handshake(host=f"[::1]:{port}"))
        self.assertEqual((await client.reply()).status, 101)
        post = await self.api.call("POST")
        self.assertEqual(post.header("Ws-Client"), "::1")
        self.assertEqual(post.header("X-Forwarded-For"), "::1")
        self.assertEqual(post.header("Ws-Host"), f"[::1]:{port}")
        self.check_ok(await self.put_text(post.ws_uri, "hello"))
        self.assertEqual(await client.frame(), Frame(TEXT, b"hello"))

    async def test_several(self) -> None:
        """Several endpoints, separated by blanks, serve the same clients."""
        first, second = free_port(), free_port()
        await self.serve(WS_LISTEN=f"tcp:{first}:interface=127.0.0.1  tcp:{second}:interface=127.0.0.1")
        self.port = first
        client, ws_uri = await self.connected()
        key = ws_uri.rpartition("/")[2]
        self.check_ok(await self.put_text(f"http://127.0.0.1:{second}/{key}", "hello"))
        self.assertEqual(await client.frame(), Frame(TEXT, b"hello"))


class CurlTests(PushTestCase):
    """curl, as the documentation shows it."""

    async def curl(self, *arguments: str) -> str:
        """:returns: what curl writes"""
        curl = shutil.which("curl")
        if curl is None:
            raise SkipTest("curl is not installed")
        out, _, status = await within(
            getProcessOutputAndValue(
                curl, ["-q", "-sS", "-g", "--noproxy", "*", "--max-time", "5", *arguments], env={}
            ),
            "curl",
        )
        self.assertEqual(status, 0)
        return str(out.decode())

    async def test_text(self) -> None:
        """``curl -X PUT -d`` sends text."""
        await self.serve()
        client, ws_uri = await self.connected()
        self.assertEqual(json.loads(await self.curl("-X", "PUT", "-d", "héllo", ws_uri)), {"code": "OK"})
        self.assertEqual(await client.frame(), Frame(TEXT, "héllo".encode()))

    async def test_file(self) -> None:
        """``curl -T`` sends a file, without a type: text; with a type of its own: binary."""
        await self.serve()
        client, ws_uri = await self.connected()
        path = self.scratch() / "message"
        path.write_bytes(b"from a file")
        await self.curl("-T", str(path), ws_uri)
        self.assertEqual(await client.frame(), Frame(TEXT, b"from a file"))
        await self.curl("-T", str(path), "-H", "Content-Type: image/png", ws_uri)
        self.assertEqual(await client.frame(), Frame(BINARY, b"from a file"))

    async def test_too_long(self) -> None:
        """A file that is too long is refused before it is sent, and curl shows the answer."""
        await self.serve()
        _, ws_uri = await self.connected()
        path = self.scratch() / "message"
        path.write_bytes(bytes(2_000_000))
        shown = await self.curl("-T", str(path), "-w", "\n%{http_code} %{size_upload}", ws_uri)
        answer, _, numbers = shown.rpartition("\n")
        self.assertEqual(json.loads(answer)["code"], "MESSAGE_TOO_LONG")
        self.assertEqual(numbers, "413 0")

    async def test_close_and_look(self) -> None:
        """GET, HEAD and DELETE."""
        await self.serve()
        client, ws_uri = await self.connected()
        self.assertEqual(json.loads(await self.curl(ws_uri))["ws_uri"], ws_uri)
        self.assertTrue(re.match(r"HTTP/1\.1 200 ", await self.curl("-I", ws_uri)))
        await self.curl("-X", "DELETE", f"{ws_uri}?code=4001&reason=bye")
        self.assertEqual(await client.closed(), Frame(CLOSE, close_payload(4001, "bye")))
        self.assertTrue(re.match(r"HTTP/1\.1 404 ", await self.curl("-I", ws_uri)))
