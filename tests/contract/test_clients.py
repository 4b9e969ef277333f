"""Clients on real sockets: good, malformed, silent and slow ones (protocol §4)."""

from __future__ import annotations

import os
import sys
import zlib
from base64 import b64encode
from importlib.util import find_spec
from itertools import pairwise

from twisted.internet.task import LoopingCall
from twisted.trial.unittest import SynchronousTestCase

from bench.ports import free_port
from tests.contract.case import ContractTestCase
from tests.processes import ROOT, start, start_gateway
from tests.recording_api import Answer, Call
from tests.waiting import reactor
from tests.wire import (
    BINARY,
    CLOSE,
    CONTINUATION,
    PING,
    PONG,
    TEXT,
    Fields,
    Frame,
    Reply,
    close_payload,
    frame,
    handshake,
)
from wsaas.connections import close_timeout as closing

PLAIN = b"GET / HTTP/1.1\r\nHost: gateway.example\r\n\r\n"  #: a request that is no handshake


class HandshakeTests(ContractTestCase):
    """A handshake is a ``GET`` with ``Upgrade: websocket`` on any path (RFC 6455 §4.2)."""

    async def test_any_path(self) -> None:
        """Any path will do, with any query."""
        await self.serve()
        for path in ("/", "/anything?token=1", "/a/b/c.php", "//", "/%00", "/" + "A" * 24):
            await self.connect(path)
            self.assertEqual((await self.api.call("POST")).header("Ws-Path"), path)

    async def test_letter_case_and_lists(self) -> None:
        """``Upgrade`` and ``Connection`` are lists of tokens in any case, as Firefox sends them."""
        await self.serve()
        headers = [("connection", "keep-alive, UPGRADE"), ("UPGRADE", "WebSocket")]
        await self.connect(headers=headers, without=["Upgrade", "Connection"])

    async def test_early_frames(self) -> None:
        """What a client sends behind its handshake, before the 101, is not lost: in the same segment or in others."""
        await self.serve()
        self.api.script["POST"] = None
        client = await self.dial()
        client.send(handshake() + frame(TEXT, b"one") + frame(BINARY, b"two")[:3])
        post = await self.api.call("POST")
        client.send(frame(BINARY, b"two")[3:] + frame(TEXT, b"three"))
        await self.shake(PLAIN)
        post.answer()
        self.assertEqual((await client.reply()).status, 101)
        self.assertEqual([(await self.api.call("PUT")).body for _ in range(3)], [b"one", b"two", b"three"])

    async def test_byte_by_byte(self) -> None:
        """A handshake and frames that come one byte at a time are understood."""
        await self.serve()
        client = await self.dial()
        trickle = iter(handshake("/slow") + frame(TEXT, b"hello"))
        sending = LoopingCall(lambda: client.send(bytes([next(trickle)])))
        sending.start(0).addErrback(lambda failure: failure.trap(StopIteration))
        self.assertEqual((await client.reply()).status, 101)
        self.assertEqual((await self.api.call("PUT")).body, b"hello")

    async def test_second_request(self) -> None:
        """A second request behind a handshake is no request but broken frames: one POST, one DELETE."""
        await self.serve()
        client = await self.dial()
        client.send(handshake() + handshake())
        self.assertEqual((await client.reply()).status, 101)
        self.assertEqual((await client.closed()).code, 1002)
        await self.api.call("DELETE")
        self.assertEqual([call.method for call in self.api.calls], ["POST", "DELETE"])

    async def test_after_another_request(self) -> None:
        """A handshake may come on a connection that carried other requests before."""
        await self.serve()
        client = await self.dial()
        client.send(PLAIN)
        self.assertEqual((await client.reply()).status, 426)
        client.send(handshake())
        self.assertEqual((await client.reply()).status, 101)

    async def test_secrets_are_not_shown(self) -> None:
        """The client never learns its ``ws_uri``, nor a forwarded header of the API's."""
        await self.serve()
        self.api.script["POST"] = Answer(headers=[("Ws-State", "secret"), ("Set-Cookie", "a=b"), ("X-Api", "secret")])
        client = await self.dial()
        client.send(handshake())
        reply = await client.reply()
        key = (await self.api.call("POST")).ws_uri.rpartition("/")[2]
        for name, values in reply.headers.getAllRawHeaders():
            for value in values:
                self.assertNotIn(key.encode(), value, name)
                self.assertNotIn(b"secret", value, name)
        self.assertIsNone(reply.header("Set-Cookie"))

    async def test_health(self) -> None:
        """A load balancer asks where clients connect; a handshake on that path is one all the same."""
        await self.serve()
        for method, body in (("GET", b"OK\n"), ("HEAD", b"")):
            client = await self.dial()
            client.send(f"{method} /healthz HTTP/1.1\r\nHost: lb\r\n\r\n".encode())
            reply = await client.reply(head_only=method == "HEAD")
            self.assertEqual((reply.status, reply.body), (200, body))
        self.assertEqual(self.api.calls, [])
        self.assertEqual((await self.shake(handshake("/healthz"))).status, 101)

    async def test_subprotocols_of_autobahn(self) -> None:
        """A real client gets the subprotocol that the API chose."""
        await self.serve()
        self.api.script["POST"] = Answer(headers=[("Sec-WebSocket-Protocol", "b")])
        client = await self.autobahn(protocols=["a", "b"])
        self.assertEqual(client.websocket_protocol_in_use, "b")

    async def test_empty_elements_of_lists(self) -> None:
        """They count for nothing, and the API sees the header as it came."""
        await self.serve()
        for value, chosen in (("chat,", "chat"), (",, chat", "chat"), ("", None), (",", None)):
            reply = await self.shake(
                handshake(
                    headers=[
                        ("Sec-WebSocket-Protocol", value),
                        ("Upgrade", "websocket,"),
                        ("Connection", ", Upgrade,"),
                    ],
                    without=["Upgrade", "Connection"],
                )
            )
            self.assertEqual((reply.status, reply.header("Sec-WebSocket-Protocol")), (101, chosen), value)
            self.assertEqual((await self.api.call("POST")).header("Sec-WebSocket-Protocol"), value)

    async def test_echo_of_autobahn(self) -> None:
        """A real client sends and gets messages of each kind and closes in an orderly way."""
        await self.serve()

        def echo(call: Call) -> None:
            kind = "binary" if call.header("Content-Type") == "application/octet-stream" else "text"
            call.answer(200, call.body, [("Ws-Reply", kind)])

        self.api.script["PUT"] = echo
        client = await self.autobahn()
        sent = [(False, "é".encode()), (True, bytes(range(256))), (False, b""), (True, bytes(131072))]
        for binary, payload in sent:
            client.sendMessage(payload, binary)
        await client.until(lambda it: len(it.messages) == len(sent), "the echoes")
        self.assertEqual(client.messages, sent)
        client.sendClose(3000, "done")
        await client.until(lambda it: it.ended, "the end")
        self.assertEqual(client.ended, (True, 3000, "done"))


class RefusalTests(ContractTestCase):
    """The table: who gets no WebSocket. The API never hears of any of them."""

    async def refused(self, request: bytes, status: int) -> Reply:
        """:returns: the answer, which has this status"""
        reply = await self.shake(request)
        self.assertEqual(reply.status, status, request[:200])
        self.assertEqual(self.api.calls, [])
        return reply

    async def test_neither(self) -> None:
        """Neither a handshake nor a push: 426 with ``Upgrade: websocket``."""
        await self.serve()
        for request in (
            PLAIN,
            PLAIN.replace(b"GET / ", b"GET /favicon.ico "),
            PLAIN.replace(b"GET / ", b"POST /form ").replace(b"\r\n\r\n", b"\r\nContent-Length: 3\r\n\r\na=1"),
            handshake(method="POST"),
            handshake(headers=[("Upgrade", "h2c")], without=["Upgrade"]),
            handshake(without=["Upgrade"]),
        ):
            reply = await self.refused(request, 426)
            self.assertEqual((reply.header("Upgrade") or "").lower(), "websocket")

    async def test_push_with_push_listen(self) -> None:
        """With ``PUSH_LISTEN`` set, pushes on ``WS_LISTEN`` get 405."""
        await self.serve(PUSH_LISTEN=f"tcp:{free_port()}:interface=127.0.0.1")
        await self.refused(b"PUT /x HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n", 405)
        await self.refused(PLAIN, 426)

    async def test_malformed(self) -> None:
        """A malformed handshake: 400."""
        await self.serve()
        good = b64encode(bytes(16)).decode("ascii")
        without: list[str]
        headers: Fields
        for without, headers in (
            (["Host"], []),
            (["Connection"], []),
            (["Connection"], [("Connection", "keep-alive")]),
            (["Sec-WebSocket-Key"], []),
            (["Sec-WebSocket-Key"], [("Sec-WebSocket-Key", "")]),
            (["Sec-WebSocket-Key"], [("Sec-WebSocket-Key", "short")]),
            (["Sec-WebSocket-Key"], [("Sec-WebSocket-Key", b64encode(bytes(15)).decode("ascii"))]),
            (["Sec-WebSocket-Key"], [("Sec-WebSocket-Key", good[:-1])]),
            ([], [("Sec-WebSocket-Key", good)]),
            (["Sec-WebSocket-Version"], []),
            ([], [("Sec-WebSocket-Version", "13")]),
            ([], [("Sec-WebSocket-Protocol", "a b")]),
            ([], [("Sec-WebSocket-Protocol", "a, a")]),
            ([], [("Origin", "http://a b")]),
            ([], [("Content-Length", "5")]),
            ([], [("Transfer-Encoding", "chunked")]),
        ):
            await self.refused(handshake(headers=headers, without=without), 400)

    async def test_http_1_0(self) -> None:
        """HTTP/1.0 knows no Upgrade: 400."""
        await self.serve()
        await self.refused(handshake(version="HTTP/1.0"), 400)

    async def test_not_http(self) -> None:
        """What is no HTTP at all: 400."""
        await self.serve()
        for request in (b"hello\r\n\r\n", b"GET\r\n\r\n", b"GET / HTTP/1.1\r\nHost: x\r\nno colon\r\n\r\n"):
            await self.refused(request, 400)

    async def test_smuggling(self) -> None:
        """Two lengths, a length and chunks, a blank before the colon: 400 (RFC 9112 §6.3, §5.1)."""
        await self.serve()
        for lines in (
            b"Content-Length: 3\r\nContent-Length: 4\r\n",
            b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n",
            b"Content-Length: +3\r\n",
            b"Transfer-Encoding: gzip, chunked\r\n",
            b"Host : y\r\n",
        ):
            await self.refused(b"PUT /x HTTP/1.1\r\nHost: x\r\n" + lines + b"\r\nabc", 400)

    async def test_repeated(self) -> None:
        """Repeated ``Host``, ``Origin`` or ``Authorization``: 400, whatever their letter case."""
        await self.serve()
        await self.refused(handshake(headers=[("host", "other.example")]), 400)
        await self.refused(handshake(headers=[("Origin", "http://a"), ("ORIGIN", "http://a")]), 400)
        await self.refused(handshake(headers=[("Authorization", "a"), ("authorization", "a")]), 400)

    async def test_target(self) -> None:
        """A target that is not visible ASCII, or no path: 400."""
        await self.serve()
        for path in ("/\xe9", "/a\x7fb", "/a\x01", "http://gateway.example/", "*", "chat"):
            await self.refused(handshake(path), 400)

    async def test_version(self) -> None:
        """Unknown version: 426 with ``Sec-WebSocket-Version: 13``."""
        await self.serve()
        for version in ("8", "0", "14", "x", "13, 8"):
            reply = await self.refused(
                handshake(headers=[("Sec-WebSocket-Version", version)], without=["Sec-WebSocket-Version"]), 426
            )
            self.assertEqual(reply.header("Sec-WebSocket-Version"), "13")

    async def test_target_too_long(self) -> None:
        """A target over 2048 bytes: 414; 2048 are allowed."""
        await self.serve()
        await self.refused(handshake("/" + "x" * 2048), 414)
        await self.refused(handshake("/" + "x" * 100_000), 414)
        await self.connect("/" + "x" * 2047)

    async def test_headers_too_long(self) -> None:
        """Forwarded headers over 6 KiB: 431; what is not forwarded does not count there."""
        await self.serve()
        await self.refused(handshake(headers=[("Authorization", "x" * 6144)]), 431)
        await self.connect(headers=[("Authorization", "x" * 6100), ("Cookie", "x" * 4096)])

    async def test_head_too_long(self) -> None:
        """A head beyond all measure: 431, in one line or in many."""
        await self.serve()
        await self.refused(handshake(headers=[("X-Long", "x" * 100_000)]), 431)
        await self.refused(handshake(headers=[(f"X-{number}", "x" * 100) for number in range(400)]), 431)
        await self.refused(handshake(headers=[(f"X-{number}", "x") for number in range(4000)]), 431)

    async def test_too_late(self) -> None:
        """A head not complete in ``WS_TIMEOUT``: 408, though bytes trickle in."""
        await self.serve(WS_TIMEOUT="250")
        client = await self.dial()
        client.send(handshake()[:-2])
        trickle = LoopingCall(client.send, b"X: y\r\n")
        trickle.start(0.04)
        self.addCleanup(trickle.stop)
        began = reactor.seconds()
        reply = await client.reply()
        self.assertEqual(reply.status, 408)
        self.assertGreater(reactor.seconds() - began, 0.15)
        await client.end()

    async def test_silent(self) -> None:
        """A connection on which nothing is asked is closed after ``WS_TIMEOUT``."""
        await self.serve(WS_TIMEOUT="150")
        client = await self.dial()
        self.assertIn(b" 408 ", (await client.end())[:13])

    async def test_body_too_late(self) -> None:
        """A push whose body does not come is given up as well."""
        await self.serve(WS_TIMEOUT="150")
        client = await self.dial()
        _, ws_uri = await self.connected()
        client.send(self.request("PUT", ws_uri, headers=[("Content-Length", "5")]))
        self.assertEqual((await client.reply()).status, 408)

    async def test_origin(self) -> None:
        """``Origin`` not in ``WS_ORIGINS``: 403, naming the setting in the log."""
        await self.serve(WS_ORIGINS="https://good.example https://*.good.example:8443")
        for origin in ("https://evil.example", "http://good.example", "https://a.b.good.example:8443", "null"):
            await self.refused(handshake(headers=[("Origin", origin)]), 403)
        self.assertIn("WS_ORIGINS", self.logged())
        for origin in ("https://good.example", "https://good.example:443", "https://a.good.example:8443"):
            await self.connect(headers=[("Origin", origin)])
        # Who sends none is no browser.
        await self.connect()

    async def test_origin_same(self) -> None:
        """``same``: the handshake's own host."""
        await self.serve(WS_ORIGINS="same")
        await self.refused(handshake(headers=[("Origin", "http://other.example")]), 403)
        await self.connect(headers=[("Origin", "http://gateway.example")])

    async def test_shutting_down(self) -> None:
        """Shutting down: 503 to who comes now; with ``Retry-After``."""
        gateway = await self.serve()
        self.api.script["DELETE"] = None
        client, _ = await self.connected()
        stopping = gateway.stopService()
        await client.closed()
        disconnect = await self.api.call("DELETE")
        reply = await self.shake(handshake())
        self.assertEqual(reply.status, 503)
        self.assertRegex(reply.header("Retry-After") or "", r"^[0-9]+$")
        disconnect.answer()
        await stopping
        self.assertEqual([call.method for call in self.api.calls], ["POST", "DELETE"])

    async def test_shutting_down_while_asked(self) -> None:
        """Shutting down while the API is asked: what was begun is finished, and then closed like the others."""
        gateway = await self.serve()
        self.api.script["POST"] = None
        client = await self.dial()
        client.send(handshake())
        post = await self.api.call("POST")
        stopping = gateway.stopService()
        post.answer()
        self.assertEqual((await client.reply()).status, 101)
        self.assertEqual((await client.closed()).code, 1001)
        delete = await self.api.call("DELETE")
        self.assertEqual((delete.header("Ws-Close-Code"), delete.header("Ws-Closed-By")), ("1001", "shutdown"))
        await stopping


class FrameTests(ContractTestCase):
    """Text that is not UTF-8, messages too big, protocol errors; and what is allowed."""

    async def check_closed(self, code: int, *frames: bytes) -> None:
        """A client that sends these is closed with this code; TCP ends once it has answered."""
        client, _ = await self.connected()
        client.send(b"".join(frames))
        self.assertEqual((await client.closed()).code, code)
        self.assertEqual(await client.end(), b"")

    async def test_not_utf8(self) -> None:
        """Text that is not UTF-8: 1007, at the byte that breaks it, in whatever frame."""
        await self.serve()
        await self.check_closed(1007, frame(TEXT, b"\xc0\x80"))
        await self.check_closed(1007, frame(TEXT, b"\xed\xa0\x80"))
        await self.check_closed(1007, frame(TEXT, b"ok \xe2\x82"))
        # The message is not complete, and never will be.
        await self.check_closed(1007, frame(TEXT, b"ok", first=0), frame(CONTINUATION, b"\xff", first=0))

    async def test_close_reason_not_utf8(self) -> None:
        """A close reason is text too: 1007."""
        await self.serve()
        await self.check_closed(1007, frame(CLOSE, close_payload(1000) + b"\xff"))

    async def test_too_big(self) -> None:
        """Message too big: 1009, as soon as a frame's head says so."""
        await self.serve(WS_MAX_MESSAGE="1000")
        client, _ = await self.connected()
        client.send(frame(BINARY, bytes(1001))[:14])
        self.assertEqual((await client.frame()).code, 1009)
        await self.check_closed(
            1009, *[frame(BINARY, bytes(500), first=0), *[frame(CONTINUATION, bytes(251), first=0)] * 2]
        )

    async def test_protocol_error(self) -> None:
        """Protocol error: 1002."""
        await self.serve()
        for frames in (
            [frame(TEXT, b"x", mask=None)],
            [frame(TEXT, b"x", first=0xC0)],
            [frame(TEXT, b"x", first=0xA0)],
            [frame(3)],
            [frame(11)],
            [frame(CONTINUATION, b"x")],
            [frame(TEXT, b"x", first=0), frame(TEXT, b"y")],
            [frame(PING, b"x", first=0)],
            [frame(PING, bytes(126))],
            [frame(CLOSE, b"\x03")],
            [frame(CLOSE, close_payload(1005))],
            [frame(CLOSE, close_payload(999))],
        ):
            await self.check_closed(1002, *frames)

    async def test_ping(self) -> None:
        """A ping is answered with its own payload, also between the fragments of a message."""
        await self.serve()
        client, _ = await self.connected()
        client.send(frame(PING, bytes(125)) + frame(TEXT, b"x", first=0) + frame(PING))
        self.assertEqual(await client.frame(), Frame(PONG, bytes(125)))
        self.assertEqual(await client.frame(), Frame(PONG, b""))
        self.assertEqual([call.method for call in self.api.calls], ["POST"])

    async def test_nothing_after_close(self) -> None:
        """What a client sends behind its Close frame is not looked at (RFC 6455 §5.5.1)."""
        await self.serve()
        client, _ = await self.connected()
        client.send(frame(CLOSE, close_payload(1000)) + frame(TEXT, b"late"))
        self.assertEqual((await client.frame()).code, 1000)
        await client.end()
        await self.api.call("DELETE")
        self.assertEqual([call.method for call in self.api.calls], ["POST", "DELETE"])

    async def test_no_compression(self) -> None:
        """Compression is off by default, whatever a client offers."""
        await self.serve()
        reply = await self.shake(handshake(headers=[("Sec-WebSocket-Extensions", "permessage-deflate")]))
        self.assertEqual((reply.status, reply.header("Sec-WebSocket-Extensions")), (101, None))

    async def test_compression(self) -> None:
        """With ``WS_COMPRESSION=on`` it is spoken, and what is inflated counts inflated."""
        await self.serve(WS_COMPRESSION="on", WS_MAX_MESSAGE="1000")
        offer = [("Sec-WebSocket-Extensions", "permessage-deflate; client_max_window_bits")]
        client = await self.dial()
        client.send(handshake(headers=offer))
        reply = await client.reply()
        self.assertRegex(reply.header("Sec-WebSocket-Extensions") or "", "^permessage-deflate")
        # RFC 7692 §7.2.3.1: "Hello" in a compressed message.
        client.send(frame(TEXT, bytes.fromhex("f248cdc9c90700"), first=0xC0))
        self.assertEqual((await self.api.call("PUT")).body, b"Hello")
        # A few bytes that inflate to far more than is allowed.
        deflate = zlib.compressobj(wbits=-15)
        bomb = (deflate.compress(bytes(1_000_000)) + deflate.flush(zlib.Z_SYNC_FLUSH)).removesuffix(b"\0\0\xff\xff")
        self.assertLess(len(bomb), 2000)
        client.send(frame(BINARY, bomb[:990], first=0x40) + frame(CONTINUATION, bomb[990:]))
        self.assertEqual((await client.closed()).code, 1009)

    async def test_declined_compression(self) -> None:
        """An offer that cannot be accepted is declined, and the next one is looked at."""
        await self.serve(WS_COMPRESSION="on")
        for offer, accepted in (
            ("permessage-deflate; server_max_window_bits=8", False),
            ("permessage-deflate; unknown", False),
            ("permessage-deflate; client_max_window_bits=x, permessage-deflate", True),
        ):
            reply = await self.shake(handshake(headers=[("Sec-WebSocket-Extensions", offer)]))
            self.assertEqual(reply.status, 101, offer)
            self.assertEqual(reply.header("Sec-WebSocket-Extensions") is not None, accepted, offer)


class LivenessTests(ContractTestCase):
    """``WS_TIMEOUT``."""

    async def test_ping_schedule(self) -> None:
        """A ping goes out after ``WS_TIMEOUT``/2 of silence; who answers it is not dead."""
        await self.serve(WS_TIMEOUT="400")
        client, _ = await self.connected()
        at = [reactor.seconds()]
        for _ in range(3):
            ping = await client.frame(pings=True)
            self.assertEqual(ping.opcode, PING)
            client.send(frame(PONG, ping.payload))
            at.append(reactor.seconds())
        for pause in (after - before for before, after in pairwise(at)):
            self.assertTrue(0.15 < pause < 0.4, pause)

    async def test_anything_is_a_sign_of_life(self) -> None:
        """Whatever comes counts: while there are messages nobody is pinged."""
        await self.serve(WS_TIMEOUT="300")
        client, _ = await self.connected()
        talking = LoopingCall(client.send_text, "x")
        talking.start(0.05)
        self.addCleanup(talking.stop)
        for _ in range(10):
            await self.api.call("PUT")
        self.assertEqual(client.received, b"")

    async def test_dead(self) -> None:
        """No pong: dead after ``WS_TIMEOUT``, and cut off without a close handshake."""
        await self.serve(WS_TIMEOUT="200")
        client, _ = await self.connected()
        began = reactor.seconds()
        self.assertEqual((await client.frame(pings=True)).opcode, PING)
        self.assertNotIn(bytes([0x80 | CLOSE]), (await client.end())[:1])
        self.assertTrue(0.15 < reactor.seconds() - began < 0.6)
        delete = await self.api.call("DELETE")
        self.assertEqual((delete.header("Ws-Close-Code"), delete.header("Ws-Closed-By")), ("1006", "timeout"))

    async def test_autobahn_lives(self) -> None:
        """A real client, which answers pings by itself, outlives several time-outs."""
        await self.serve(WS_TIMEOUT="120")
        client = await self.autobahn()
        pings: list[bytes] = []
        answer = client.onPing

        def count(payload: bytes) -> None:
            pings.append(payload)
            answer(payload)
            client._condition.changed()

        client.onPing = count  # type: ignore[method-assign]  # Autobahn calls it on the instance
        await client.until(lambda _: len(pings) == 6, "six pings")
        self.assertIsNone(client.ended)

    async def test_not_read_is_not_silent(self) -> None:
        """Time in which the gateway itself chose not to read does not count."""
        await self.serve(WS_TIMEOUT="200", WS_MAX_MESSAGE="10000", WS_MAX_BUFFER="20000")
        self.api.script["PUT"] = None
        client, ws_uri = await self.connected()
        for _ in range(20):
            client.send_binary(bytes(10_000))
        first = await self.api.call("PUT")
        # What is not read cannot be answered: this ping is behind all of it.
        client.send(frame(PING, b"last"))
        began = reactor.seconds()
        while reactor.seconds() - began < 0.5:
            self.assertEqual((await self.push("HEAD", ws_uri)).status, 200)
        self.assertEqual(client.received, b"")
        self.api.script["PUT"] = Answer()
        first.answer()
        for _ in range(19):
            await self.api.call("PUT")
        self.assertEqual(await client.frame(), Frame(PONG, b"last"))

    async def test_read_again(self) -> None:
        """Read again, a client that has nothing more to say is pinged first, not given up at once."""
        await self.serve(WS_TIMEOUT="200", WS_MAX_MESSAGE="1000", WS_MAX_BUFFER="2000")
        self.api.script["PUT"] = None
        client, ws_uri = await self.connected()
        # Read in one go; the second message is one too many to go on reading.
        client.send(frame(BINARY, bytes(1000)) * 2)
        first = await self.api.call("PUT")
        began = reactor.seconds()
        while reactor.seconds() - began < 0.4:
            self.assertEqual((await self.push("HEAD", ws_uri)).status, 200)
        client.received = b""  # pings from before the pause, if any
        self.api.script["PUT"] = Answer()
        first.answer()
        await self.api.call("PUT")
        ping = await client.frame(pings=True)
        self.assertEqual(ping.opcode, PING)
        client.send(frame(PONG, ping.payload))
        self.assertEqual((await client.frame(pings=True)).opcode, PING)

    async def test_back_pressure(self) -> None:
        """A client that sends faster than the API takes is not read, and loses nothing."""
        await self.serve(WS_MAX_MESSAGE="10000", WS_MAX_BUFFER="20000")
        client, ws_uri = await self.connected()
        await self.check_slowed_down(client, ws_uri, 100)

    async def test_close_handshake(self) -> None:
        """A close handshake that the client does not finish in time is aborted."""
        self.patch(closing, "CLOSE_TIMEOUT", 0.1)
        await self.serve()
        client, ws_uri = await self.connected()
        await self.push("DELETE", ws_uri, query="?code=4000")
        self.assertEqual((await client.frame()).code, 4000)
        await client.end()
        delete = await self.api.call("DELETE")
        self.assertEqual((delete.header("Ws-Close-Code"), delete.header("Ws-Closed-By")), ("4000", "api"))

    async def test_close_handshake_of_the_client(self) -> None:
        """The same when the client began it, and then reads nothing."""
        self.patch(closing, "CLOSE_TIMEOUT", 0.1)
        await self.serve()
        client, ws_uri = await self.connected_narrow()
        await self.fill(client, ws_uri)
        client.send_close(1000)
        delete = await self.api.call("DELETE")
        self.assertEqual((delete.header("Ws-Close-Code"), delete.header("Ws-Closed-By")), ("1000", "client"))


class RealClientTests(SynchronousTestCase):
    """The gateway's process, the Flask example as API, and the ``websockets`` package as client."""

    if find_spec("websockets") is None or find_spec("flask") is None:
        skip = "websockets and flask are not both installed (extra 'test')"

    def test_flask_and_websockets(self) -> None:
        """Connect, send, get the echo, hear others, close; and the API forgets who left."""
        from websockets.sync.client import connect

        port = free_port()
        env = {**os.environ, "PYTHONUNBUFFERED": "1"}
        flask = [sys.executable, "-m", "flask", "--app", str(ROOT / "examples" / "flask" / "app.py"), "run"]
        start(self, [*flask, "--port", str(port)], env).wait_for_port(port)
        gateway = start_gateway(self, API_URI=f"localhost:{port}/websocket")
        with (
            connect(f"{gateway.websocket_url}/room?x=1", proxy=None) as one,
            connect(gateway.websocket_url, proxy=None, ping_interval=None) as two,
        ):
            for message in ("héllo", b"\x00\xff", ""):
                one.send(message)
                self.assertEqual(one.recv(timeout=10), message)
                self.assertEqual(two.recv(timeout=10), message)
            two.close(4001, "bye")
            gateway.wait_for_line(r"closed: 4001 by client")
            one.send("still here")
            self.assertEqual(one.recv(timeout=10), "still here")
        gateway.wait_for_line(r"closed: 1000 by client")
        gateway.stop()
        self.assertNotRegex(gateway.output, r"Traceback|ERROR")
