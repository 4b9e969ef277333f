"""Answers to callbacks on real sockets: what each of them does (protocol §2.2 to §2.4)."""

from __future__ import annotations

import os
import re
from collections.abc import Callable

from twisted.internet.task import LoopingCall

from bench.ports import free_port
from tests.contract.case import ContractTestCase
from tests.recording_api import Answer, Call
from tests.wire import (
    BINARY,
    CLOSE,
    PING,
    PONG,
    TEXT,
    Frame,
    Reply,
    Wire,
    close_payload,
    frame,
    handshake,
)

UNICODE = "é € 🐎 / ? & = % + 100%"


class AnswerToPostTests(ContractTestCase):
    """§2.2: what the client gets."""

    async def check(self, answer: Answer, status: int) -> Reply:
        """The API answers, the client gets this status."""
        await self.serve()
        self.api.script["POST"] = answer
        reply = await self.shake(handshake())
        self.assertEqual(reply.status, status)
        return reply

    async def test_ok(self) -> None:
        """2xx with ``"code": "OK"``: 101, with the accept value of RFC 6455 §1.3."""
        reply = await self.check(Answer(body=b'{"code": "OK"}'), 101)
        self.assertEqual((reply.header("Upgrade") or "").lower(), "websocket")
        self.assertEqual((reply.header("Connection") or "").lower(), "upgrade")
        # The sample nonce of RFC 6455 §1.3.
        self.assertEqual(reply.header("Sec-WebSocket-Accept"), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")

    async def test_ok_in_other_clothes(self) -> None:
        """Any 2xx, any Content-Type, further members: it is the body's ``code`` that counts."""
        body = b' \n{"user": {"code": 1}, "code": "\\u004fK"}\r\n'
        await self.check(Answer(202, body, [("Content-Type", "text/html")]), 101)

    async def test_byte_order_mark(self) -> None:
        """It is ignored before the JSON (RFC 8259 §8.1)."""
        await self.check(Answer(body=b'\xef\xbb\xbf{"code": "OK"}'), 101)

    async def test_another_code(self) -> None:
        """2xx with another code: 403."""
        await self.check(Answer(body=b'{"code": "ok"}'), 403)

    async def test_no_such_json(self) -> None:
        """2xx with no such JSON: 403."""
        await self.serve()
        for body in (
            b"",
            b"OK",
            b'"OK"',
            b"[]",
            b'["code", "OK"]',
            b'{"code": ["OK"]}',
            b'{"code": "OK"',
            b"\xff",
            b"[",
        ):
            self.api.script["POST"] = Answer(body=body)
            self.assertEqual((await self.shake(handshake())).status, 403, body)

    async def test_no_content(self) -> None:
        """204 has no body, so no code: 403."""
        await self.check(Answer(204, b""), 403)

    async def test_4xx(self) -> None:
        """4xx: that status; ``WWW-Authenticate`` and ``Retry-After`` pass through, nothing else does."""
        headers = [
            ("WWW-Authenticate", 'Bearer realm="x"'),
            ("Retry-After", "17"),
            ("X-Internal", "y"),
            ("Server", "z"),
        ]
        reply = await self.check(Answer(401, b"internal", headers), 401)
        self.assertEqual(reply.header("WWW-Authenticate"), 'Bearer realm="x"')
        self.assertEqual(reply.header("Retry-After"), "17")
        self.assertIsNone(reply.header("X-Internal"))
        self.assertNotEqual(reply.header("Server"), "z")

    async def test_each_4xx(self) -> None:
        """4xx: that very status, also those that twisted.web has no phrase for."""
        await self.serve()
        for status in (400, 403, 404, 408, 418, 421, 426, 429, 451, 499):
            self.api.script["POST"] = Answer(status)
            self.assertEqual((await self.shake(handshake())).status, status)

    async def test_3xx(self) -> None:
        """3xx: 502."""
        await self.check(Answer(302, headers=[("Location", "/login")]), 502)

    async def test_5xx(self) -> None:
        """5xx: 502, whatever it says."""
        await self.serve()
        for status in (500, 502, 503, 504, 599):
            self.api.script["POST"] = Answer(status)
            self.assertEqual((await self.shake(handshake())).status, 502)

    async def test_oversized(self) -> None:
        """A body over ``WS_MAX_MESSAGE``: 502, and the rest of it is not waited for."""
        await self.serve(WS_MAX_MESSAGE="1000")
        self.api.script["POST"] = lambda call: call.write(
            b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n" + bytes(1001)
        )
        self.assertEqual((await self.shake(handshake())).status, 502)

    async def test_encoded(self) -> None:
        """An encoded body is malformed: 502."""
        await self.check(Answer(headers=[("Content-Encoding", "gzip")]), 502)

    async def test_unusable_state(self) -> None:
        """``Ws-State`` that breaks its rules: 502."""
        await self.serve()
        for state in ("x" * 1025, "é", "a\tb"):
            self.api.script["POST"] = Answer(headers=[("Ws-State", state)])
            self.assertEqual((await self.shake(handshake())).status, 502, state)

    async def test_no_connection(self) -> None:
        """No connection: 503 with ``Retry-After``."""
        await self.serve(API_URI=f"127.0.0.1:{free_port()}")
        reply = await self.shake(handshake())
        self.assertEqual(reply.status, 503)
        self.assertRegex(reply.header("Retry-After") or "", r"^[0-9]+$")

    async def test_no_slot(self) -> None:
        """No slot in time: 503 with ``Retry-After``, and the API never hears of it."""
        await self.serve(API_MAX_REQUESTS="1", API_TIMEOUT="150")
        self.api.script["POST"] = None
        clients = [await self.dial() for _ in range(6)]
        # All at once, so that who waits for the first one's slot has little time left when it comes free, or none.
        for client in clients:
            client.send(handshake())
        replies = [await client.reply() for client in clients]
        refused = [reply for reply in replies if reply.status == 503]
        self.assertTrue(refused)
        for reply in refused:
            self.assertRegex(reply.header("Retry-After") or "", r"^[0-9]+$")
        # The others had a slot. One whose time was up at once may have been cut off before the API read it.
        asked = [reply.status for reply in replies].count(504)
        self.assertEqual(len(replies), len(refused) + asked)
        await self.stop_gateway()
        self.assertLessEqual([call.method for call in self.api.calls].count("POST"), asked)

    async def test_too_late(self) -> None:
        """No complete answer within ``API_TIMEOUT``: 504; the call is given up."""
        await self.serve(API_TIMEOUT="150")
        self.api.script["POST"] = None
        self.assertEqual((await self.shake(handshake())).status, 504)
        await self.api.call("DELETE")

    async def test_trickling(self) -> None:
        """An answer that trickles is not complete in time either: 504."""
        await self.serve(API_TIMEOUT="200")
        trickles: list[LoopingCall] = []

        def trickle(call: Call) -> None:
            call.write(b"HTTP/1.1 200 OK\r\nContent-Length: 99999\r\n\r\n")
            looping = LoopingCall(call.write, b" ")
            trickles.append(looping)
            looping.start(0.03)

        def stop() -> None:
            for looping in trickles:
                looping.stop()

        self.addCleanup(stop)
        self.api.script["POST"] = trickle
        self.assertEqual((await self.shake(handshake())).status, 504)

    async def test_refusal_keeps_the_connection(self) -> None:
        """A refusal is ordinary HTTP: the next handshake may come on the same connection."""
        await self.serve()
        self.api.script["POST"] = Answer(403)
        client = await self.dial()
        client.send(handshake())
        self.assertEqual((await client.reply()).status, 403)
        self.api.script["POST"] = Answer()
        client.send(handshake())
        self.assertEqual((await client.reply()).status, 101)


def too_long(status: int, *headers: str) -> Callable[[Call], None]:
    """:returns: answers with a body over a ``WS_MAX_MESSAGE`` of 1000, whose end never comes"""
    head = [f"HTTP/1.1 {status} -", "Content-Length: 200000", *headers, "", ""]
    return lambda call: call.write("\r\n".join(head).encode() + b"<p>" * 400)


class LongBodyTests(ContractTestCase):
    """§2.3: a body over ``WS_MAX_MESSAGE`` counts only where the body does, and its end is never waited for."""

    async def test_of_a_refusal(self) -> None:
        """Of the POST: the client gets the status, and no DELETE follows; but for 5xx, as with any body."""
        await self.serve(WS_MAX_MESSAGE="1000")
        for status, told in ((403, 403), (404, 404), (500, 502)):
            self.api.script["POST"] = too_long(status)
            self.assertEqual((await self.shake(handshake())).status, told)
        await self.api.call("DELETE")
        self.assertEqual([call.method for call in self.api.calls], ["POST"] * 3 + ["DELETE"])

    async def test_of_an_error_page(self) -> None:
        """Of a PUT: 503 is tried again, 500 refuses the message, 2xx takes it; the client stays."""
        await self.serve(WS_MAX_MESSAGE="1000")
        client, _ = await self.connected()
        for status in (500, 404, 200):
            self.api.script["PUT"] = too_long(status)
            client.send_text(str(status))
            await self.api.call("PUT")
        self.api.script["PUT"] = too_long(503, "Retry-After: 0")
        client.send_text("again")
        first = await self.api.call("PUT")
        self.api.script["PUT"] = Answer()
        second = await self.api.call("PUT")
        self.assertEqual((second.body, second.header("Ws-Id")), (b"again", first.header("Ws-Id")))
        self.assertIsNot(first.connection, second.connection)
        client.send(frame(PING, b"?"))
        self.assertEqual(await client.frame(), Frame(PONG, b"?"))

    async def test_of_a_reply(self) -> None:
        """It cannot be passed on: 1011."""
        await self.serve(WS_MAX_MESSAGE="1000")
        self.api.script["PUT"] = too_long(200, "Ws-Reply: text")
        client, _ = await self.connected()
        client.send_text("x")
        self.assertEqual((await client.closed()).code, 1011)
        self.assertEqual((await self.api.call("DELETE")).header("Ws-Closed-By"), "error")

    async def test_of_a_delete(self) -> None:
        """A DELETE is done."""
        await self.serve(WS_MAX_MESSAGE="1000")
        for status in (200, 404):
            self.api.script["DELETE"] = too_long(status)
            await self.life()
        self.api.script["DELETE"] = Answer(410)
        await self.stop_gateway()
        self.assertEqual([call.method for call in self.api.calls].count("DELETE"), 3)


class AnswerToPutTests(ContractTestCase):
    """§2.3: answers to a PUT."""

    async def answered(self, answer: Answer) -> Wire:
        """:returns: a client, one of whose messages was answered like this"""
        await self.serve()
        self.api.script["PUT"] = answer
        client, _ = await self.connected()
        client.send_text("x")
        await self.api.call("PUT")
        return client

    async def check_stays(self, client: Wire) -> None:
        """The connection stays: the next message is delivered, and nothing came meanwhile."""
        self.api.script["PUT"] = Answer()
        client.send_text("next")
        self.assertEqual((await self.api.call("PUT")).body, b"next")
        client.send(frame(PING, b"?"))
        self.assertEqual(await client.frame(), Frame(PONG, b"?"))

    async def test_2xx(self) -> None:
        """2xx: delivered; without ``Ws-Reply`` bodies are ignored."""
        for_each = (Answer(200, b"ignored"), Answer(201), Answer(204, b""), Answer(200, b'{"code": "NO"}'))
        await self.serve()
        client, _ = await self.connected()
        for answer in for_each:
            self.api.script["PUT"] = answer
            client.send_text("x")
            await self.api.call("PUT")
        await self.check_stays(client)

    async def test_retry_status(self) -> None:
        """A status that promises success later: with one attempt only, closed with 1013."""
        await self.serve(API_RETRY_FOR="0")
        for status in (408, 425, 429, 502, 503, 504):
            self.api.script["PUT"] = Answer(status, headers=[("Retry-After", "0")])
            client, ws_uri = await self.connected()
            client.send_text("x")
            self.assertEqual((await client.closed()).code, 1013, status)
            delete = await self.api.call("DELETE")
            self.assertEqual((delete.header("Ws-Close-Code"), delete.header("Ws-Closed-By")), ("1013", "unreachable"))
            self.assertEqual([call.method for call in self.api.of(ws_uri)], ["POST", "PUT", "DELETE"])

    async def test_no_complete_answer(self) -> None:
        """No complete answer in time: 1013, and the message counts as not delivered."""
        await self.serve(API_TIMEOUT="150", API_RETRY_FOR="0")
        self.api.script["PUT"] = None
        client, _ = await self.connected()
        client.send_text("x")
        self.assertEqual((await client.closed()).code, 1013)
        delete = await self.api.call("DELETE")
        self.assertEqual(delete.header("Ws-Undelivered"), "1")
        self.assertEqual((delete.header("Ws-Close-Code"), delete.header("Ws-Closed-By")), ("1013", "unreachable"))

    async def test_401(self) -> None:
        """401, the credentials no longer hold: closed with 1008."""
        client = await self.answered(Answer(401))
        self.assertEqual((await client.closed()).code, 1008)
        delete = await self.api.call("DELETE")
        self.assertEqual(delete.header("Ws-Close-Code"), "1008")

    async def test_any_other(self) -> None:
        """Any other: this message is refused and logged, not repeated; the connection stays."""
        await self.serve()
        client, _ = await self.connected()
        for status in (302, 400, 403, 404, 413, 422, 500, 501):
            # What it asks for has no effect: §2.4 speaks of 2xx.
            self.api.script["PUT"] = Answer(
                status, b"no", [("Ws-Reply", "text"), ("Ws-Close", "4000"), ("Ws-State", "n")]
            )
            client.send_text("x")
            await self.api.call("PUT")
        self.api.script["PUT"] = Answer()
        await self.check_stays(client)
        put = self.api.calls[-1]
        self.assertIsNone(put.header("Ws-State"))
        self.assertEqual((put.header("Ws-Id") or "").rpartition("-")[2], "9")
        for status in (302, 400, 500):
            self.assertRegex(self.logged(), rf"WARN .*\b{status}\b")

    async def test_repeated_on_a_fresh_connection(self) -> None:
        """A reused connection that ends before an answer's first byte: the PUT is repeated at once on a fresh one."""
        await self.check_repeated("PUT")

    async def test_post_repeated_on_a_fresh_connection(self) -> None:
        """The POST too, under the same ``Ws-Id``."""
        await self.check_repeated("POST")

    async def test_delete_repeated_on_a_fresh_connection(self) -> None:
        """And the DELETE."""
        await self.check_repeated("DELETE")

    async def check_repeated(self, method: str) -> None:
        """Have the API hang up on the first call of a method that comes on a connection it has answered on."""
        await self.serve()
        await self.life()
        cut: list[Call] = []

        def cut_once(call: Call) -> None:
            if cut:
                call.answer()
            else:
                cut.append(call)
                call.hang_up()

        self.api.script[method] = cut_once
        client, ws_uri = await self.connected()
        client.send(frame(TEXT, b"x") + frame(CLOSE))

        def repeated() -> list[Call]:
            return [call for call in self.api.of(ws_uri) if call.method == method]

        await self.api.until(lambda: len(repeated()) == 2, f"the {method} once more")
        await self.api.call("DELETE", ws_uri)
        first, second = repeated()
        self.assertEqual(first.header("Ws-Id"), second.header("Ws-Id"))
        self.assertEqual(first.body, second.body)
        self.assertIsNot(first.connection, second.connection)
        await self.stop_gateway()
        self.assertEqual(len(self.api.of(ws_uri)), 4, str(self.api))

    async def test_not_repeated_on_the_fresh_one(self) -> None:
        """A fresh connection that ends before an answer: no second attempt."""
        await self.serve()
        self.api.script["POST"] = lambda call: call.hang_up()
        self.assertEqual((await self.shake(handshake())).status, 502)
        await self.api.call("DELETE")
        self.assertEqual([call.method for call in self.api.calls], ["POST", "DELETE"])

    async def test_not_repeated_after_a_first_byte(self) -> None:
        """A reused connection that ends within an answer: not repeated at once, as the API has worked on it."""
        await self.serve(API_RETRY_FOR="0")
        await self.life()

        def cut(call: Call) -> None:
            call.write(b"HTTP/1.1 200 OK\r\n")
            call.hang_up()

        self.api.script["PUT"] = cut
        client, ws_uri = await self.connected()
        client.send_text("x")
        self.assertEqual((await client.closed()).code, 1013)
        await self.api.call("DELETE", ws_uri)
        self.assertEqual([call.method for call in self.api.of(ws_uri)], ["POST", "PUT", "DELETE"])

    async def test_connections_are_kept(self) -> None:
        """Calls share kept connections."""
        await self.serve()
        for _ in range(3):
            await self.life()
        self.assertEqual(self.api.connections, 1)

    async def test_no_cookies(self) -> None:
        """Cookies of the API are not kept."""
        await self.serve()
        self.api.script["POST"] = Answer(headers=[("Set-Cookie", "session=1; Path=/")])
        for call in (await self.life()).calls + (await self.life()).calls:
            self.assertIsNone(call.header("Cookie"))

    async def test_no_proxy(self) -> None:
        """Proxy settings of the environment are not read."""
        nobody = f"http://127.0.0.1:{free_port()}"
        self.patch(os, "environ", {**os.environ, "http_proxy": nobody, "HTTP_PROXY": nobody, "ALL_PROXY": nobody})
        await self.serve()
        self.assertEqual(len((await self.life()).calls), 3)

    async def test_interim_answers(self) -> None:
        """1xx before an answer is not the answer."""
        await self.serve()

        def answer(call: Call) -> None:
            call.write(
                b"HTTP/1.1 103 Early Hints\r\nWs-Close: 4000\r\n\r\n"
                b"HTTP/1.1 200 OK\r\nWs-Reply: text\r\nContent-Length: 2\r\n\r\nhi"
            )
            call.hang_up()

        self.api.script["PUT"] = answer
        client, _ = await self.connected()
        client.send_text("x")
        self.assertEqual(await client.frame(), Frame(TEXT, b"hi"))

    async def test_chunked_answer(self) -> None:
        """A chunked answer is read like any other; a trailer is not a header."""
        await self.serve()

        def answer(call: Call) -> None:
            call.write(
                b"HTTP/1.1 200 OK\r\nWs-Reply: text\r\nTransfer-Encoding: chunked\r\n\r\n"
                b"1\r\nh\r\n1;x=y\r\ni\r\n0\r\nWs-Close: 4000\r\n\r\n"
            )
            call.hang_up()

        self.api.script["PUT"] = answer
        client, _ = await self.connected()
        client.send_text("x")
        self.assertEqual(await client.frame(), Frame(TEXT, b"hi"))
        client.send(frame(PING, b"still here?"))
        self.assertEqual(await client.frame(), Frame(PONG, b"still here?"))

    async def test_answer_until_the_end(self) -> None:
        """An answer that ends with its connection, as of HTTP/1.0, is complete."""
        await self.serve()

        def answer(call: Call) -> None:
            call.write(b"HTTP/1.0 200 OK\r\nWs-Reply: text\r\n\r\nhi")
            call.hang_up()

        self.api.script["PUT"] = answer
        client, _ = await self.connected()
        client.send_text("x")
        self.assertEqual(await client.frame(), Frame(TEXT, b"hi"))


class AnswerToDeleteTests(ContractTestCase):
    """§2.3: answers to a DELETE. What is tried again is in test_contract_retries; here each has one attempt."""

    async def ended(self, answer: Answer) -> None:
        """Lead a life whose DELETE is answered like this, and stop."""
        self.api.script["DELETE"] = answer
        await self.life()

    async def test_done(self) -> None:
        """2xx, 410: done, nothing to say."""
        await self.serve()
        for status in (200, 204, 410):
            await self.ended(Answer(status, b""))
        await self.stop_gateway()
        self.assertNotRegex(self.logged(), r"\b(WARN|ERROR) ")
        self.assertEqual([call.method for call in self.api.calls].count("DELETE"), 3)

    async def test_no_route(self) -> None:
        """405, 501: done; one warning a run."""
        await self.serve()
        for status in (405, 501, 405):
            await self.ended(Answer(status))
        await self.stop_gateway()
        self.assertEqual(len(re.findall(r"\bWARN ", self.logged())), 1)
        self.assertNotRegex(self.logged(), r"\bERROR ")

    async def test_other(self) -> None:
        """Any other: an error in the log that names the connection by its tag."""
        await self.serve(API_RETRY_FOR="0", API_DELETE_FOR="0")
        for status in (301, 400, 404, 500, 503):
            await self.ended(Answer(status))
        await self.stop_gateway()
        for status in (301, 400, 404, 500, 503):
            self.assertRegex(self.logged(), rf"ERROR \S+ [\w-]{{22}} .*\b{status}\b")

    async def test_no_answer(self) -> None:
        """No connection, no complete answer: an error in the log."""
        await self.serve(API_TIMEOUT="100", API_DELETE_FOR="0")
        self.api.script["DELETE"] = None
        client, _ = await self.connected()
        client.send_close()
        delete = await self.api.call("DELETE")
        await self.until_logged(rf"ERROR \S+ {(delete.header('Ws-Id') or '')[:22]} ")


class SubprotocolTests(ContractTestCase):
    """§2.4: ``Sec-WebSocket-Protocol`` in the answer to the POST."""

    async def negotiated(self, offered: list[str], named: str | None) -> Reply:
        """:returns: the answer to a handshake that offers some, when the API names one or none"""
        await self.serve()
        headers = [] if named is None else [("Sec-WebSocket-Protocol", named)]
        self.api.script["POST"] = Answer(headers=headers)
        return await self.shake(handshake(headers=[("Sec-WebSocket-Protocol", value) for value in offered]))

    async def test_named(self) -> None:
        """One that the client offered: that one."""
        reply = await self.negotiated(["chat.v2, chat.v1", "chat.v0"], "chat.v1")
        self.assertEqual((reply.status, reply.header("Sec-WebSocket-Protocol")), (101, "chat.v1"))

    async def test_none_named_one_offered(self) -> None:
        """None named, one offered: that one."""
        reply = await self.negotiated(["chat.v1"], None)
        self.assertEqual((reply.status, reply.header("Sec-WebSocket-Protocol")), (101, "chat.v1"))

    async def test_none_named_several_offered(self) -> None:
        """None named, several offered: none, and a warning that says what to do."""
        reply = await self.negotiated(["chat.v1, chat.v2"], None)
        self.assertEqual((reply.status, reply.header("Sec-WebSocket-Protocol")), (101, None))
        self.assertRegex(self.logged(), r"WARN .*Sec-WebSocket-Protocol")

    async def test_none_offered(self) -> None:
        """None offered, none named: none."""
        reply = await self.negotiated([], None)
        self.assertEqual((reply.status, reply.header("Sec-WebSocket-Protocol")), (101, None))

    async def test_not_offered(self) -> None:
        """One that the client did not offer is unusable: 502."""
        self.assertEqual((await self.negotiated(["chat.v1"], "chat.v2")).status, 502)

    async def test_not_offered_at_all(self) -> None:
        """One, though the client offered none, is unusable: 502."""
        self.assertEqual((await self.negotiated([], "chat.v2")).status, 502)

    async def test_other_case(self) -> None:
        """Names are compared exactly (RFC 6455 §4.1)."""
        self.assertEqual((await self.negotiated(["chat.v1"], "Chat.V1")).status, 502)


class StateTests(ContractTestCase):
    """§2.4: ``Ws-State``."""

    async def test_kept(self) -> None:
        """Set by an answer, it is on each later callback, until another sets it anew or an empty one removes it."""
        await self.serve()
        self.api.script["POST"] = Answer(headers=[("Ws-State", "one")])
        client, _ = await self.connected()
        seen = []
        for state in (None, "two", None, "", None, "three"):
            self.api.script["PUT"] = Answer(headers=[] if state is None else [("Ws-State", state)])
            client.send_text("x")
            seen.append((await self.api.call("PUT")).header("Ws-State"))
        client.send_close()
        seen.append((await self.api.call("DELETE")).header("Ws-State"))
        self.assertEqual(seen, ["one", "one", "two", "two", None, None, "three"])

    async def test_longest(self) -> None:
        """1024 bytes of printable ASCII are allowed."""
        state = ("".join(map(chr, range(0x21, 0x7F))) * 11)[:1024]
        await self.serve()
        self.api.script["POST"] = Answer(headers=[("Ws-State", state)])
        life = await self.life()
        self.assertEqual([call.header("Ws-State") for call in life.calls], [None, state, state])

    async def test_unusable(self) -> None:
        """A PUT's state that breaks this: close 1011."""
        await self.serve()
        for state in ("x" * 1025, "é", "a\tb"):
            self.api.script["PUT"] = Answer(headers=[("Ws-State", state)])
            client, _ = await self.connected()
            client.send_text("x")
            self.assertEqual((await client.closed()).code, 1011, state)


class ReplyTests(ContractTestCase):
    """§2.4: ``Ws-Reply``."""

    async def replied(self, *answers: Answer) -> Wire:
        """:returns: a client whose messages are answered like this, one after the other"""
        await self.serve()
        script = list(answers)

        def answer(call: Call) -> None:
            it = script.pop(0)
            call.answer(it.status, it.body, it.headers)

        self.api.script["PUT"] = answer
        client, _ = await self.connected()
        for _ in answers:
            client.send_text("x")
        return client

    async def test_text(self) -> None:
        """``text``: the body goes to the client as one text message, whatever its Content-Type."""
        client = await self.replied(
            Answer(body=UNICODE.encode(), headers=[("Ws-Reply", "text"), ("Content-Type", "application/octet-stream")]),
            Answer(201, b"", headers=[("Ws-Reply", "text")]),
        )
        self.assertEqual(await client.frame(), Frame(TEXT, UNICODE.encode()))
        self.assertEqual(await client.frame(), Frame(TEXT, b""))

    async def test_binary(self) -> None:
        """``binary``: as one binary message, byte for byte."""
        client = await self.replied(Answer(body=bytes(range(256)) * 300, headers=[("Ws-Reply", "binary")]))
        self.assertEqual(await client.frame(), Frame(BINARY, bytes(range(256)) * 300))

    async def test_largest(self) -> None:
        """A reply of exactly ``WS_MAX_MESSAGE`` bytes is sent."""
        client = await self.replied(Answer(body=bytes(131072), headers=[("Ws-Reply", "binary")]))
        self.assertEqual(await client.frame(), Frame(BINARY, bytes(131072)))

    async def test_not_utf8(self) -> None:
        """Not UTF-8 as text: close 1011, and nothing of it is sent."""
        client = await self.replied(Answer(body=b"\xc3", headers=[("Ws-Reply", "text")]))
        self.assertEqual((await client.closed()).code, 1011)

    async def test_another_value(self) -> None:
        """Another value: close 1011."""
        client = await self.replied(Answer(headers=[("Ws-Reply", "json")]))
        self.assertEqual((await client.closed()).code, 1011)

    async def test_encoded(self) -> None:
        """An encoded body is not decoded but malformed: close 1011."""
        client = await self.replied(Answer(headers=[("Ws-Reply", "binary"), ("Content-Encoding", "gzip")]))
        self.assertEqual((await client.closed()).code, 1011)

    async def test_waits_for_room(self) -> None:
        """If the client is slow the reply waits for room, and the next PUT waits with it."""
        await self.serve()
        client, ws_uri = await self.connected_narrow()
        taken = await self.fill(client, ws_uri)
        self.api.script["PUT"] = lambda call: call.answer(200, bytes(131072), [("Ws-Reply", "binary")])
        client.send(frame(TEXT, b"1") + frame(TEXT, b"2"))
        await self.api.call("PUT")
        # Several round trips through the gateway: a second PUT would have come by now.
        for _ in range(3):
            self.assertEqual((await self.push("GET", ws_uri)).status, 200)
        self.assertEqual([call.method for call in self.api.calls], ["POST", "PUT"])
        # There is room for so short a push, but the reply has its place before it.
        self.assertEqual((await self.put_text(ws_uri, "x")).status, 503)
        client.read_on()
        for size in [*taken, 131072, 131072]:
            self.assertEqual(await client.frame(), Frame(BINARY, bytes(size)))
        self.assertEqual((await self.api.call("PUT")).body, b"2")


class CloseTests(ContractTestCase):
    """§2.4: ``Ws-Close``."""

    async def test_after_the_reply(self) -> None:
        """Close, after the reply."""
        await self.serve()
        self.api.script["PUT"] = Answer(body=b"last words", headers=[("Ws-Reply", "text"), ("Ws-Close", "1000 bye")])
        client, _ = await self.connected()
        client.send_text("x")
        self.assertEqual(await client.frame(), Frame(TEXT, b"last words"))
        self.assertEqual(await client.closed(), Frame(CLOSE, close_payload(1000, "bye")))
        await client.end()

    async def test_on_the_post(self) -> None:
        """On the POST: accept, then close; a refusal whose reason a browser can read."""
        await self.serve()
        self.api.script["POST"] = Answer(headers=[("Ws-Close", "4401 log%20in%20first")])
        client = await self.connect()
        self.assertEqual(await client.closed(), Frame(CLOSE, close_payload(4401, "log in first")))

    async def test_reason_is_decoded(self) -> None:
        """The reason is percent-decoded UTF-8."""
        await self.serve()
        self.api.script["POST"] = Answer(headers=[("Ws-Close", "3000 %C3%A9%20%f0%9f%90%8e plain")])
        client = await self.connect()
        self.assertEqual((await client.closed()).reason, "é 🐎 plain")

    async def test_longest_reason(self) -> None:
        """123 bytes fit."""
        await self.serve()
        self.api.script["POST"] = Answer(headers=[("Ws-Close", "3000 " + "%41" * 123)])
        client = await self.connect()
        self.assertEqual((await client.closed()).reason, "A" * 123)

    async def test_each_code(self) -> None:
        """The codes of §3 are sent."""
        await self.serve()
        client, _ = await self.connected()
        for code in (1000, 1001, 1003, 1007, 1008, 1009, 1011, 1012, 1013, 1014, 3000, 4999):
            self.api.script["POST"] = Answer(headers=[("Ws-Close", str(code))])
            client = await self.connect()
            self.assertEqual((await client.closed()).code, code)

    async def test_invalid_on_a_put(self) -> None:
        """Invalid: close 1011."""
        await self.serve()
        invalid = ("", "bye", "999", "1002", "1004", "1005", "1006", "1010", "1015", "1016", "2000", "2999", "5000")
        for value in (*invalid, "1000 " + "x" * 124, "1000 %ff", "+1000", "01000"):
            self.api.script["PUT"] = Answer(headers=[("Ws-Close", value)])
            client, _ = await self.connected()
            client.send_text("x")
            self.assertEqual((await client.closed()).code, 1011, value)

    async def test_invalid_on_the_post(self) -> None:
        """Invalid on the POST: close 1011 too, which a browser can read."""
        await self.serve()
        self.api.script["POST"] = Answer(headers=[("Ws-Close", "1005")])
        client = await self.connect()
        self.assertEqual((await client.closed()).code, 1011)
