"""Callbacks on real sockets: what the API is told, and in which order (protocol §2, §2.1)."""

from __future__ import annotations

import json
import time
from base64 import urlsafe_b64encode
from hashlib import sha256

from tests.contract.case import ContractTestCase, Life
from tests.recording_api import OK, Answer, Call
from tests.waiting import reactor
from tests.wire import (
    BINARY,
    CLOSE,
    CONTINUATION,
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
from wsaas import __version__

UNICODE = "é € 🐎 / ? & = % + 100%"


class RequestTests(ContractTestCase):
    """§2, the first table: which request each event brings."""

    async def test_post(self) -> None:
        """A client asks to connect: POST with the ``ws_uri`` as JSON."""
        await self.serve()
        post = (await self.life()).post
        self.assertEqual((post.method, post.target), ("POST", "/hook"))
        self.assertEqual(json.loads(post.body), {"ws_uri": post.ws_uri})
        self.assertEqual(post.header("Content-Type"), "application/json")

    async def test_put_text(self) -> None:
        """The client sent text: PUT with its bytes as ``API_TEXT_TYPE``."""
        await self.serve()
        client, _ = await self.connected()
        client.send_text(UNICODE)
        put = await self.api.call("PUT")
        self.assertEqual(put.body.decode("utf-8"), UNICODE)
        self.assertEqual(put.header("Content-Type"), "text/plain; charset=utf-8")

    async def test_put_text_of_another_type(self) -> None:
        """``API_TEXT_TYPE`` names text as the API likes it; binary messages keep their type."""
        await self.serve(API_TEXT_TYPE="application/json")
        client, _ = await self.connected()
        client.send_text("{}")
        client.send_binary(b"{}")
        types = [(await self.api.call("PUT")).header("Content-Type") for _ in range(2)]
        self.assertEqual(types, ["application/json", "application/octet-stream"])

    async def test_put_binary(self) -> None:
        """The client sent binary: PUT with its bytes, each of them, as ``application/octet-stream``."""
        await self.serve()
        put = (await self.life(message=bytes(range(256)) * 400)).put
        self.assertEqual(put.body, bytes(range(256)) * 400)
        self.assertEqual(put.header("Content-Type"), "application/octet-stream")

    async def test_put_fragmented(self) -> None:
        """A message in several frames, with a ping in between, is one PUT."""
        await self.serve()
        client, _ = await self.connected()
        euro = "€".encode()
        client.send(frame(TEXT, euro[:1], first=0) + frame(PING, b"!") + frame(CONTINUATION, euro[1:2], first=0))
        self.assertEqual(await client.frame(), Frame(PONG, b"!"))
        client.send(frame(CONTINUATION, euro[2:]))
        self.assertEqual((await self.api.call("PUT")).body, euro)

    async def test_put_empty(self) -> None:
        """An empty message is a PUT of length 0."""
        await self.serve()
        put = (await self.life(message=b"")).put
        self.assertEqual((put.body, put.header("Content-Length")), (b"", "0"))

    async def test_put_largest(self) -> None:
        """A message of exactly ``WS_MAX_MESSAGE`` bytes is delivered."""
        await self.serve()
        self.assertEqual(len((await self.life(message=bytes(131072))).put.body), 131072)

    async def test_delete(self) -> None:
        """The connection is over: DELETE without a body, and nothing that speaks of one."""
        await self.serve()
        delete = (await self.life()).delete
        self.assertEqual((delete.method, delete.target, delete.body), ("DELETE", "/hook", b""))
        for name in ("Content-Type", "Transfer-Encoding"):
            self.assertIsNone(delete.header(name))
        self.assertIn(delete.header("Content-Length"), (None, "0"))

    async def test_framing(self) -> None:
        """POST and PUT carry their length and are never chunked; nothing but identity is asked for."""
        await self.serve()
        life = await self.life(message=bytes(100_000))
        for call in (life.post, life.put):
            self.assertEqual(call.header("Content-Length"), str(len(call.body)))
        for call in life.calls:
            self.assertIsNone(call.header("Transfer-Encoding"))
            self.assertIsNone(call.header("Expect"))
            self.assertEqual(call.header("Accept-Encoding"), "identity")

    async def test_query_of_the_api(self) -> None:
        """A query in ``API_URI`` is kept, and so is its path."""
        await self.serve(API_URI=f"http://127.0.0.1:{self.api.port}/a/b.php?app=1&x=%20")
        self.assertEqual({call.target for call in (await self.life()).calls}, {"/a/b.php?app=1&x=%20"})


class HeaderTests(ContractTestCase):
    """§2, the second table: headers on every callback, each on POST, PUT and DELETE."""

    async def headers(self, name: str, life: Life) -> list[list[str]]:
        """:returns: the values of a header on the POST, the PUT and the DELETE"""
        return [call.all(name) for call in life.calls]

    async def check(self, name: str, expected: str | None, life: Life) -> None:
        """All three callbacks carry a header once and with this value, or not at all."""
        values = [] if expected is None else [expected]
        self.assertEqual(await self.headers(name, life), [values] * 3)

    async def test_ws_uri(self) -> None:
        """``Ws-Uri``: as in the POST's body; ``WS_HOSTNAME`` stands before it byte for byte, a trailing / aside."""
        await self.serve(WS_HOSTNAME="LocalHost:8080/Some/Path/")
        life = await self.life()
        ws_uri = json.loads(life.post.body)["ws_uri"]
        self.assertRegex(ws_uri, r"^LocalHost:8080/Some/Path/[A-Za-z0-9_-]{22,}$")
        await self.check("Ws-Uri", ws_uri, life)

    async def test_ws_uri_differs(self) -> None:
        """No two connections share a key."""
        await self.serve()
        keys = {(await self.connected())[1] for _ in range(5)}
        self.assertEqual(len(keys), 5)

    async def test_ws_id(self) -> None:
        """``Ws-Id``: the tag, and the number of the call; tag: from SHA-256 of the key."""
        await self.serve()
        client, ws_uri = await self.connected()
        for _ in range(3):
            client.send_text("x")
            await self.api.call("PUT")
        client.send_close()
        await self.api.call("DELETE")
        digest = sha256(ws_uri.rpartition("/")[2].encode("ascii")).digest()
        tag = urlsafe_b64encode(digest).decode("ascii")[:22]
        self.assertEqual(
            [call.header("Ws-Id") for call in self.api.calls], [f"{tag}-{end}" for end in ("0", "1", "2", "3", "end")]
        )

    async def test_ws_path(self) -> None:
        """``Ws-Path``: path and query of the handshake as sent, neither decoded nor normalised."""
        await self.serve()
        for path in ("/", "/chat?room=7", "//a/../b/%7e%2F?x=%zz&&;=?", "/?token=a+b%20c"):
            await self.check("Ws-Path", path, await self.life(path))

    async def test_ws_host_scheme_client(self) -> None:
        """``Ws-Host``, ``Ws-Scheme``, ``Ws-Client``: the Host asked for, ws, the address without a port."""
        await self.serve()
        life = await self.life()
        await self.check("Ws-Host", "gateway.example", life)
        await self.check("Ws-Scheme", "ws", life)
        await self.check("Ws-Client", "127.0.0.1", life)

    async def test_ws_origin_user_agent(self) -> None:
        """``Ws-Origin``, ``Ws-User-Agent``: as the client sent them."""
        await self.serve()
        life = await self.life(headers=[("Origin", "https://Shop.example:8443"), ("User-Agent", "Mozilla/5.0 (x; y)")])
        await self.check("Ws-Origin", "https://Shop.example:8443", life)
        await self.check("Ws-User-Agent", "Mozilla/5.0 (x; y)", life)

    async def test_ws_origin_user_agent_absent(self) -> None:
        """They are absent if the client did not send them."""
        await self.serve()
        life = await self.life()
        await self.check("Ws-Origin", None, life)
        await self.check("Ws-User-Agent", None, life)

    async def test_ws_state(self) -> None:
        """``Ws-State``: absent until set, then on each later callback."""
        await self.serve()
        self.api.script["POST"] = Answer(headers=[("Ws-State", "user=7; role=admin")])
        life = await self.life()
        self.assertEqual(await self.headers("Ws-State", life), [[], ["user=7; role=admin"], ["user=7; role=admin"]])

    async def test_forwarded_by_default(self) -> None:
        """``Authorization`` and ``Sec-WebSocket-Protocol`` of the handshake are on every callback."""
        await self.serve()
        life = await self.life(headers=[("Authorization", "Bearer abc"), ("Sec-WebSocket-Protocol", "chat.v1")])
        await self.check("Authorization", "Bearer abc", life)
        await self.check("Sec-WebSocket-Protocol", "chat.v1", life)

    async def test_forwarded_absent(self) -> None:
        """What the handshake does not have is absent, and what the list does not name is not forwarded."""
        await self.serve()
        life = await self.life(headers=[("Cookie", "session=1"), ("Accept-Language", "de"), ("X-Request-Id", "4")])
        for name in ("Authorization", "Sec-WebSocket-Protocol", "Cookie", "Accept-Language", "X-Request-Id"):
            await self.check(name, None, life)

    async def test_forward_headers(self) -> None:
        """``FORWARD_HEADERS`` replaces the list; repeated headers stay repeated, in their order."""
        await self.serve(FORWARD_HEADERS="X-Tenant, accept-language, Cookie", WS_ORIGINS="same")
        given = [("X-Tenant", "b"), ("Accept-Language", "de"), ("x-tenant", "a, c"), ("Cookie", "s=1")]
        life = await self.life(headers=[*given, ("Authorization", "Bearer abc")])
        self.assertEqual(await self.headers("X-Tenant", life), [["b", "a, c"]] * 3)
        await self.check("Accept-Language", "de", life)
        await self.check("Cookie", "s=1", life)
        await self.check("Authorization", None, life)

    async def test_x_forwarded(self) -> None:
        """``X-Forwarded-For``, ``X-Forwarded-Proto``: the client's address, http."""
        await self.serve()
        life = await self.life()
        await self.check("X-Forwarded-For", "127.0.0.1", life)
        await self.check("X-Forwarded-Proto", "http", life)

    async def test_api_headers(self) -> None:
        """``API_HEADERS``: the operator's are on every callback and win over forwarded ones."""
        await self.serve(API_HEADERS="X-Api-Key: s3cret, and more\nAuthorization: Basic Zm9v")
        life = await self.life(headers=[("Authorization", "Bearer abc"), ("X-Api-Key", "mine")])
        await self.check("X-Api-Key", "s3cret, and more", life)
        await self.check("Authorization", "Basic Zm9v", life)

    async def test_ws_timestamp(self) -> None:
        """``Ws-Timestamp``: Unix seconds of the attempt."""
        await self.serve()
        before = int(time.time())
        life = await self.life()
        after = int(time.time())
        for (stamp,) in await self.headers("Ws-Timestamp", life):
            self.assertTrue(before <= int(stamp) <= after, stamp)

    async def test_user_agent(self) -> None:
        """``User-Agent``: wsaas and its version, whatever the client's is."""
        await self.serve()
        await self.check("User-Agent", f"wsaas/{__version__}", await self.life(headers=[("User-Agent", "curl/8")]))

    async def test_host(self) -> None:
        """``Host`` is the API's own, not the client's."""
        await self.serve()
        await self.check("Host", f"127.0.0.1:{self.api.port}", await self.life())

    async def test_spoofed(self) -> None:
        """``Ws-*`` and ``X-Forwarded-*`` of a client, with - or _ and in any case, are never forwarded."""
        await self.serve()
        spoofed = [
            ("Ws-Uri", "http://evil.example/x"),
            ("WS-STATE", "admin"),
            ("Ws_State", "admin"),
            ("ws-client", "10.0.0.1"),
            ("Ws-Evil", "admin"),
            ("Ws_Evil", "admin"),
            ("X-Forwarded-For", "10.0.0.1"),
            ("X_Forwarded_For", "10.0.0.1"),
            ("X-Forwarded-Proto", "https"),
            ("X-Forwarded-Host", "evil.example"),
            ("X-Forwarded_Host", "evil.example"),
        ]
        life = await self.life(headers=spoofed)
        for call in life.calls:
            values = [value for _, raw in call.headers.getAllRawHeaders() for value in raw]
            self.assertFalse({b"admin", b"10.0.0.1", b"evil.example", b"http://evil.example/x"} & set(values), values)
        await self.check("X-Forwarded-For", "127.0.0.1", life)
        await self.check("X-Forwarded-Proto", "http", life)
        await self.check("Ws-State", None, life)


class EndTests(ContractTestCase):
    """§2, the third table: each end with its code and ``Ws-Closed-By``."""

    async def check(self, code: int, by: str, reason: str | None = None, undelivered: str | None = None) -> Call:
        """Wait for the DELETE and look at what it says.

        :param reason: percent-encoded
        """
        delete = await self.api.call("DELETE")
        self.assertEqual(
            {
                name: delete.header(name)
                for name in ("Ws-Close-Code", "Ws-Closed-By", "Ws-Close-Reason", "Ws-Undelivered")
            },
            {
                "Ws-Close-Code": str(code),
                "Ws-Closed-By": by,
                "Ws-Close-Reason": reason,
                "Ws-Undelivered": undelivered,
            },
        )
        return delete

    async def test_close_frame_of_the_client(self) -> None:
        """The client's Close frame: its code and reason, by client; the frame is echoed (RFC 6455 §5.5.1)."""
        await self.serve()
        client, _ = await self.connected()
        client.send_close(4001, "bye")
        self.assertEqual(await client.frame(), Frame(CLOSE, close_payload(4001, "bye")))
        await client.end()
        await self.check(4001, "client", "bye")

    async def test_close_reason_is_encoded(self) -> None:
        """All of a reason but unreserved characters is percent-encoded UTF-8 (RFC 3986 §2.3)."""
        await self.serve()
        client, _ = await self.connected()
        client.send_close(1000, "a-z_0.9~ é/%\r\n🐎")
        await self.check(1000, "client", "a-z_0.9~%20%C3%A9%2F%25%0D%0A%F0%9F%90%8E")

    async def test_close_frame_without_code(self) -> None:
        """The client's Close frame without a code: 1005, by client."""
        await self.serve()
        client, _ = await self.connected()
        client.send_close()
        self.assertEqual(await client.frame(), Frame(CLOSE, b""))
        await self.check(1005, "client")

    async def test_tcp_ended(self) -> None:
        """TCP ended without a Close frame, by a reset: 1006, by client."""
        await self.serve()
        client, _ = await self.connected()
        client.drop()
        await self.check(1006, "client")

    async def test_tcp_ended_in_an_orderly_way(self) -> None:
        """TCP ended without a Close frame, by a FIN: 1006, by client."""
        await self.serve()
        client, _ = await self.connected()
        client.transport.loseConnection()
        await self.check(1006, "client")

    async def test_asked_for_by_a_push(self) -> None:
        """Asked for by the API with a DELETE on the ``ws_uri``: that code and reason, by api."""
        await self.serve()
        client, ws_uri = await self.connected()
        self.assertEqual((await self.push("DELETE", ws_uri, query="?code=4002&reason=too%20late")).status, 200)
        self.assertEqual(await client.closed(), Frame(CLOSE, close_payload(4002, "too late")))
        await client.end()
        await self.check(4002, "api", "too%20late")

    async def test_asked_for_by_an_answer(self) -> None:
        """Asked for by the API with ``Ws-Close``: that code and reason, by api."""
        await self.serve()
        self.api.script["PUT"] = Answer(headers=[("Ws-Close", "4003 no%20more")])
        client, _ = await self.connected()
        client.send_text("x")
        self.assertEqual(await client.closed(), Frame(CLOSE, close_payload(4003, "no more")))
        await self.check(4003, "api", "no%20more")

    async def test_first_cause_wins(self) -> None:
        """The API closed, then the client answers with another code: the API's counts."""
        await self.serve()
        client, ws_uri = await self.connected()
        await self.push("DELETE", ws_uri, query="?code=4002")
        await client.frame()
        client.send_close(1000, "mine")
        await client.end()
        await self.check(4002, "api")

    async def test_first_cause_wins_over_a_drop(self) -> None:
        """The API closed, then the client drops TCP: the API's close counts."""
        await self.serve()
        client, ws_uri = await self.connected()
        await self.push("DELETE", ws_uri, query="?code=1001")
        client.drop()
        await self.check(1001, "api")

    async def test_timeout(self) -> None:
        """Nothing heard for ``WS_TIMEOUT``, not even a pong: 1006, by timeout."""
        await self.serve(WS_TIMEOUT="200")
        client, _ = await self.connected()
        began = reactor.seconds()
        await self.check(1006, "timeout")
        self.assertGreaterEqual(reactor.seconds() - began, 0.15)
        await client.end()

    async def test_slow(self) -> None:
        """Buffered bytes make no progress for ``WS_TIMEOUT``, though the client lives: 1006, by slow."""
        await self.serve(WS_TIMEOUT="400")
        client, ws_uri = await self.connected_narrow()
        await self.until_given_up(client, ws_uri)
        await self.check(1006, "slow")

    async def test_protocol_error(self) -> None:
        """The client broke the protocol: 1002, by protocol."""
        await self.serve()
        for broken in (frame(3), frame(TEXT, b"x", first=0xC0), frame(TEXT, b"x", mask=None), frame(CONTINUATION)):
            client, _ = await self.connected()
            client.send(broken)
            self.assertEqual((await client.closed()).code, 1002)
            await client.end()
            delete = await self.api.call("DELETE")
            self.assertEqual((delete.header("Ws-Close-Code"), delete.header("Ws-Closed-By")), ("1002", "protocol"))

    async def test_not_utf8(self) -> None:
        """The client sent text that is not UTF-8: 1007, by protocol; nothing of it reaches the API."""
        await self.serve()
        client, ws_uri = await self.connected()
        client.send(frame(TEXT, b"\xff"))
        self.assertEqual((await client.closed()).code, 1007)
        delete = await self.api.call("DELETE")
        self.assertEqual((delete.header("Ws-Close-Code"), delete.header("Ws-Closed-By")), ("1007", "protocol"))
        self.assertEqual([call.method for call in self.api.of(ws_uri)], ["POST", "DELETE"])

    async def test_too_big(self) -> None:
        """The client sent more than ``WS_MAX_MESSAGE``, in one frame or in several: 1009, by protocol."""
        await self.serve(WS_MAX_MESSAGE="1000")
        for parts in (
            [frame(BINARY, bytes(1001))],
            [frame(BINARY, bytes(600), first=0), frame(CONTINUATION, bytes(600))],
        ):
            client, ws_uri = await self.connected()
            client.send(b"".join(parts))
            self.assertEqual((await client.closed()).code, 1009)
            delete = await self.api.call("DELETE")
            self.assertEqual((delete.header("Ws-Close-Code"), delete.header("Ws-Closed-By")), ("1009", "protocol"))
            self.assertEqual([call.method for call in self.api.of(ws_uri)], ["POST", "DELETE"])

    async def test_unreachable(self) -> None:
        """The API cannot be reached with a message: 1013, by unreachable, to the client and to the API."""
        await self.serve(API_RETRY_FOR="200")
        client, _ = await self.connected()
        port = self.api.port
        await self.api.stop_listening()
        client.send_text("x")
        got = await client.frame()
        self.assertEqual(got.code, 1013)
        # The API is back before the client has answered the Close frame, so the DELETE gets through.
        self.api.listen(port=port)
        client.send(frame(CLOSE, got.payload))
        await self.check(1013, "unreachable", undelivered="1")

    async def test_shutdown(self) -> None:
        """Shutdown: 1001, by shutdown, to the client and to the API."""
        gateway = await self.serve()
        client, _ = await self.connected()
        stopping = gateway.stopService()
        self.assertEqual((await client.closed()).code, 1001)
        await self.check(1001, "shutdown")
        await stopping

    async def test_error(self) -> None:
        """The API's answer cannot be carried out: 1011, by error."""
        await self.serve()
        self.api.script["PUT"] = Answer(body=b"\xff", headers=[("Ws-Reply", "text")])
        client, _ = await self.connected()
        client.send_text("x")
        self.assertEqual((await client.closed()).code, 1011)
        delete = await self.api.call("DELETE")
        self.assertEqual((delete.header("Ws-Close-Code"), delete.header("Ws-Closed-By")), ("1011", "error"))


class OrderTests(ContractTestCase):
    """§2.1: order and number."""

    async def test_one_at_a_time(self) -> None:
        """The POST, then the PUTs in the order of the messages, then the DELETE, each finished before the next."""
        await self.serve()
        self.api.script.update(POST=None, PUT=None, DELETE=None)
        client = await self.dial()
        # The client does not wait for anything.
        messages = b"".join(frame(TEXT, b"%d" % number) for number in range(5))
        client.send(handshake() + messages + frame(CLOSE))
        seen: list[bytes] = []
        for method in ("POST", *["PUT"] * 5, "DELETE"):
            call = await self.api.call(method)
            self.assertEqual(len(self.api.calls), len(seen) + 1, "a call begun before the one before was finished")
            seen.append(call.body)
            call.answer()
        self.assertEqual(seen[1:], [b"0", b"1", b"2", b"3", b"4", b""])

    async def test_side_by_side(self) -> None:
        """Different connections run side by side: one that waits for the API keeps nobody else waiting."""
        await self.serve()
        self.api.script["PUT"] = lambda call: None if call.body == b"slow" else call.answer()
        slow, ws_uri = await self.connected()
        slow.send_text("slow")
        waiting = await self.api.call("PUT", ws_uri)
        life = await self.life()
        self.assertEqual(life.put.body, b"hello")
        self.assertFalse(waiting.answered)

    async def test_max_requests(self) -> None:
        """No more than ``API_MAX_REQUESTS`` calls are on the wire; the others wait for their turn."""
        await self.serve(API_MAX_REQUESTS="4")
        self.api.script["POST"] = None
        wires = []
        for _ in range(6):
            wire = await self.dial()
            wire.send(handshake())
            wires.append(wire)
        most = 0
        for _ in range(6):
            post = await self.api.call("POST")
            # One round trip through the gateway: whatever it would send has been sent.
            await self.shake(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            most = max(most, sum(not call.answered for call in self.api.calls))
            post.answer()
        self.assertTrue(1 < most <= 4, most)
        for wire in wires:
            self.assertEqual((await wire.reply()).status, 101)

    async def test_client_closed(self) -> None:
        """The client closed: messages that arrived before are still delivered, in order, then the DELETE."""
        await self.serve()
        self.api.script["PUT"] = None
        client, _ = await self.connected()
        client.send_text("1")
        first = await self.api.call("PUT")
        client.send(frame(TEXT, b"2") + frame(TEXT, b"3") + frame(CLOSE, close_payload(1000)))
        self.assertEqual((await client.frame()).code, 1000)
        await client.end()
        self.assertEqual([call.method for call in self.api.calls], ["POST", "PUT"])
        first.answer()
        for body in (b"2", b"3"):
            put = await self.api.call("PUT")
            self.assertEqual(put.body, body)
            put.answer()
        delete = await self.api.call("DELETE")
        self.assertIsNone(delete.header("Ws-Undelivered"))

    async def test_client_dropped(self) -> None:
        """TCP ended: messages that arrived before are still delivered, in order, then the DELETE."""
        await self.serve()
        self.api.script["PUT"] = None
        client, _ = await self.connected()
        client.send(frame(TEXT, b"1") + frame(TEXT, b"2"))
        first = await self.api.call("PUT")
        client.drop()
        first.answer()
        second = await self.api.call("PUT")
        self.assertEqual(second.body, b"2")
        self.assertNotIn("DELETE", [call.method for call in self.api.calls])
        second.answer()
        self.assertEqual((await self.api.call("DELETE")).header("Ws-Close-Code"), "1006")

    async def dropped(self, client: Wire) -> Call:
        """Let three messages arrive of which only the first's PUT is begun.

        :returns: that PUT
        """
        client.send(b"".join(frame(TEXT, text) for text in (b"1", b"2", b"3")) + frame(PING, b"all"))
        put = await self.api.call("PUT")
        self.assertEqual(await client.frame(), Frame(PONG, b"all"))
        return put

    async def check_dropped(self, put: Call) -> None:
        """The PUT in flight gets its answer first; the two messages not begun are dropped and counted."""
        self.assertNotIn("DELETE", [call.method for call in self.api.calls])
        put.answer()
        delete = await self.api.call("DELETE")
        self.assertEqual(delete.header("Ws-Undelivered"), "2")
        self.assertEqual([call.method for call in self.api.calls], ["POST", "PUT", "DELETE"])

    async def test_api_closed(self) -> None:
        """The API closed: messages not begun are dropped and counted in ``Ws-Undelivered``."""
        await self.serve()
        self.api.script["PUT"] = None
        client, ws_uri = await self.connected()
        put = await self.dropped(client)
        await self.push("DELETE", ws_uri)
        await client.closed()
        await client.end()
        await self.check_dropped(put)

    async def test_protocol_error(self) -> None:
        """The client broke the protocol: the same; the Close frame follows what the PUT in flight is answered."""
        await self.serve()
        self.api.script["PUT"] = None
        client, _ = await self.connected()
        put = await self.dropped(client)
        client.send(frame(3))
        # Not before the gateway has read it: then pushes do not find the connection any more.
        await self.until_gone(put.ws_uri)
        self.assertEqual([call.method for call in self.api.calls], ["POST", "PUT"])
        put.answer(200, b"last words", [("Ws-Reply", "text")])
        self.assertEqual(await client.frame(), Frame(TEXT, b"last words"))
        self.assertEqual((await client.closed()).code, 1002)
        delete = await self.api.call("DELETE")
        self.assertEqual(delete.header("Ws-Undelivered"), "2")
        self.assertEqual([call.method for call in self.api.calls], ["POST", "PUT", "DELETE"])

    async def test_shutdown(self) -> None:
        """Shutdown: the same."""
        gateway = await self.serve()
        self.api.script["PUT"] = None
        client, _ = await self.connected()
        put = await self.dropped(client)
        stopping = gateway.stopService()
        await client.closed()
        await client.end()
        await self.check_dropped(put)
        await stopping

    async def test_one_delete(self) -> None:
        """Each connection gets exactly one DELETE, however many reasons there were to end it."""
        await self.serve()
        client, ws_uri = await self.connected()
        await self.push("DELETE", ws_uri)
        client.send(frame(CLOSE, close_payload(1000)) + frame(3))
        client.drop()
        await self.api.call("DELETE")
        await self.stop_gateway()
        self.assertEqual([call.method for call in self.api.calls], ["POST", "DELETE"])


class DisconnectTests(ContractTestCase):
    """§2.1: the DELETE is owed from before the POST is sent, unless the API refused or cannot have seen it."""

    async def check_owed(self, status: int) -> Reply:
        """A client is refused with this status, and a DELETE follows under the POST's names."""
        reply = await self.shake(handshake())
        self.assertEqual(reply.status, status)
        post, delete = await self.api.call("POST"), await self.api.call("DELETE")
        self.assertEqual(delete.ws_uri, post.ws_uri)
        self.assertEqual(delete.header("Ws-Id"), f"{(post.header('Ws-Id') or '').removesuffix('0')}end")
        await self.stop_gateway()
        self.assertEqual([call.method for call in self.api.calls], ["POST", "DELETE"])
        return reply

    async def check_not_owed(self, status: int) -> Reply:
        """A client is refused with this status, and no DELETE follows."""
        reply = await self.shake(handshake())
        self.assertEqual(reply.status, status)
        await self.stop_gateway()
        self.assertNotIn("DELETE", [call.method for call in self.api.calls])
        return reply

    async def test_timed_out(self) -> None:
        """No complete answer in time: owed."""
        await self.serve(API_TIMEOUT="150")
        self.api.script["POST"] = None
        await self.check_owed(504)

    async def test_timed_out_within_the_body(self) -> None:
        """The head of an answer, then no more in time: owed."""
        await self.serve(API_TIMEOUT="150")
        self.api.script["POST"] = lambda call: call.write(b"HTTP/1.1 200 OK\r\nContent-Length: 14\r\n\r\n{")
        await self.check_owed(504)

    async def test_cut(self) -> None:
        """The connection ended before an answer: owed."""
        await self.serve()
        self.api.script["POST"] = lambda call: call.hang_up()
        await self.check_owed(502)

    async def test_cut_within_the_body(self) -> None:
        """The connection ended within an answer's body, though what came says OK: owed."""
        await self.serve()

        def cut(call: Call) -> None:
            call.write(b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n" + OK)
            call.hang_up()

        self.api.script["POST"] = cut
        await self.check_owed(502)

    async def test_server_error(self) -> None:
        """5xx: owed."""
        await self.serve()
        self.api.script["POST"] = Answer(500)
        await self.check_owed(502)

    async def test_redirected(self) -> None:
        """3xx: owed, and nobody follows it."""
        await self.serve()
        self.api.script["POST"] = Answer(307, headers=[("Location", f"http://127.0.0.1:{self.api.port}/elsewhere")])
        await self.check_owed(502)
        self.assertEqual({call.target for call in self.api.calls}, {"/hook"})

    async def test_unusable(self) -> None:
        """2xx that says OK but asks for the impossible: owed."""
        await self.serve()
        self.api.script["POST"] = Answer(headers=[("Sec-WebSocket-Protocol", "never.offered")])
        await self.check_owed(502)

    async def test_malformed(self) -> None:
        """What is no HTTP: owed."""
        await self.serve()

        def chatter(call: Call) -> None:
            call.write(b"hello there\r\n\r\n")
            call.hang_up()

        self.api.script["POST"] = chatter
        await self.check_owed(502)

    async def test_refused_with_4xx(self) -> None:
        """A complete 4xx: not owed."""
        await self.serve()
        self.api.script["POST"] = Answer(401, b"")
        await self.check_not_owed(401)

    async def test_refused_with_another_code(self) -> None:
        """2xx with another code: not owed."""
        await self.serve()
        self.api.script["POST"] = Answer(body=b'{"code": "BANNED"}')
        await self.check_not_owed(403)

    async def test_never_reached(self) -> None:
        """No connection to the API: not owed."""
        await self.serve()
        port = self.api.port
        await self.api.stop_listening()
        reply = await self.shake(handshake())
        self.assertEqual(reply.status, 503)
        self.api.listen(port=port)
        await self.stop_gateway()
        self.assertEqual(self.api.calls, [])

    async def test_client_leaves_while_the_api_thinks(self) -> None:
        """The client left meanwhile and the API accepted: owed, as the client's 1006."""
        await self.serve()
        self.api.script["POST"] = None
        client = await self.dial()
        client.send(handshake())
        post = await self.api.call("POST")
        client.drop()
        # Not before the gateway knows that the client left.
        await self.round_trip()
        self.assertEqual([call.method for call in self.api.calls], ["POST"])
        post.answer()
        delete = await self.api.call("DELETE")
        self.assertEqual((delete.header("Ws-Close-Code"), delete.header("Ws-Closed-By")), ("1006", "client"))

    async def round_trip(self) -> None:
        """Wait one round trip through the gateway, so that what was sent before has been read there."""
        await self.shake(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")

    async def test_client_leaves_and_the_api_refuses(self) -> None:
        """The client left meanwhile and the API refused: not owed."""
        await self.serve()
        self.api.script["POST"] = None
        client = await self.dial()
        client.send(handshake())
        post = await self.api.call("POST")
        client.drop()
        await self.round_trip()
        post.answer(403)
        await self.stop_gateway()
        self.assertEqual([call.method for call in self.api.calls], ["POST"])

    async def test_grant_closes_at_once(self) -> None:
        """Accepted only to be closed: owed like any other."""
        await self.serve()
        self.api.script["POST"] = Answer(headers=[("Ws-Close", "4000")])
        client = await self.connect()
        self.assertEqual((await client.closed()).code, 4000)
        delete = await self.api.call("DELETE")
        self.assertEqual((delete.header("Ws-Close-Code"), delete.header("Ws-Closed-By")), ("4000", "api"))
