"""Pushes that can be trusted, on real sockets: ``Ws-Confirm`` and ``Idempotency-Key`` (protocol §3)."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

from twisted.internet.threads import deferToThread

from tests.contract.case import ContractTestCase
from tests.recording_api import Answer
from tests.waiting import within
from tests.wire import BINARY, CLOSE, PING, PONG, TEXT, Frame, Reply, Wire, close_payload, frame, handshake


class ReceiptsTestCase(ContractTestCase):
    """What the tests of both headers have in common."""

    async def begin(self, **settings: str) -> tuple[Wire, str]:
        """:returns: a client, and its ``ws_uri``"""
        await self.serve(**settings)
        return await self.connected()

    async def pusher(self, ws_uri: str, body: bytes, *headers: tuple[str, str]) -> Wire:
        """:returns: a pusher that has sent a request and not yet read its answer"""
        wire = await self.dial()
        wire.send(self.request("PUT", ws_uri, body, headers))
        return wire

    async def put(self, ws_uri: str, body: bytes, *headers: tuple[str, str]) -> tuple[int, str]:
        """:returns: status and code of a push"""
        return self.outcome(await self.push("PUT", ws_uri, body, headers))

    def outcome(self, reply: Reply) -> tuple[int, str]:
        """:returns: status and code of an answer, which is as all of them are"""
        self.assertEqual((reply.header("Content-Type") or "").partition(";")[0], "application/json")
        self.assertEqual(reply.header("Cache-Control"), "no-store")
        if reply.json["code"] != "OK":
            self.assertGreater(len(reply.json["message"]), 10)
        return reply.status, reply.json["code"]

    async def check_quiet(self, client: Wire) -> None:
        """A client got nothing that it was not to get."""
        client.send(frame(PING, b"nothing?"))
        self.assertEqual(await client.frame(), Frame(PONG, b"nothing?"))


class ConfirmTests(ReceiptsTestCase):
    """``Ws-Confirm``."""

    async def test_confirmed(self) -> None:
        """A ping follows the message; 200 when its pong is back, and not before."""
        client, ws_uri = await self.begin()
        pusher = await self.pusher(ws_uri, b"a", ("Ws-Confirm", "30000"))
        self.assertEqual(await client.frame(), Frame(TEXT, b"a"))
        ping = await client.frame(pings=True)
        self.assertEqual(ping.opcode, PING)
        client.send(frame(PONG) + frame(PONG, b"unasked"))
        await self.check_quiet(client)
        self.assertEqual(pusher.received, b"")
        client.send(frame(PONG, ping.payload))
        self.assertEqual(self.outcome(await pusher.reply()), (200, "OK"))

    async def test_not_confirmed(self) -> None:
        """202 ``UNCONFIRMED``: sent, not proven. The connection stays."""
        client, ws_uri = await self.begin()
        self.assertEqual(await self.put(ws_uri, b"a", ("Ws-Confirm", "20")), (202, "UNCONFIRMED"))
        self.assertEqual(await client.frame(), Frame(TEXT, b"a"))
        await self.check_quiet(client)

    async def test_one_pong_for_all(self) -> None:
        """A client may answer only the most recent ping (RFC 6455 §5.5.3)."""
        client, ws_uri = await self.begin()
        pushers = []
        for number in range(5):
            pushers.append(await self.pusher(ws_uri, b"%d" % number, ("Ws-Confirm", "30000")))
            self.assertEqual((await client.frame()).payload, b"%d" % number)
            ping = await client.frame(pings=True)
        client.send(frame(PONG, ping.payload))
        for pusher in pushers:
            self.assertEqual(self.outcome(await pusher.reply()), (200, "OK"))

    async def test_the_client_ends(self) -> None:
        """202 at once, by a Close frame or without one."""
        client, ws_uri = await self.begin()
        pusher = await self.pusher(ws_uri, b"a", ("Ws-Confirm", "30000"))
        await client.frame()
        client.send_close(1000)
        self.assertEqual(self.outcome(await pusher.reply()), (202, "UNCONFIRMED"))
        client, ws_uri = await self.connected()
        pusher = await self.pusher(ws_uri, b"a", ("Ws-Confirm", "30000"))
        await client.frame()
        client.drop()
        self.assertEqual(self.outcome(await pusher.reply()), (202, "UNCONFIRMED"))

    async def test_the_api_closes(self) -> None:
        """The client reads message, ping and Close in this order, and its pong counts."""
        client, ws_uri = await self.begin()
        pusher = await self.pusher(ws_uri, b"a", ("Ws-Confirm", "30000"))
        await client.frame()
        ping = await client.frame(pings=True)
        self.assertEqual((await self.push("DELETE", ws_uri)).status, 200)
        self.assertEqual(await client.frame(), Frame(CLOSE, close_payload(1000)))
        client.send(frame(PONG, ping.payload) + frame(CLOSE, close_payload(1000)))
        self.assertEqual(self.outcome(await pusher.reply()), (200, "OK"))

    async def test_autobahn(self) -> None:
        """A client library answers by itself; messages of all sizes, and a client that compresses nothing."""
        await self.serve()
        client = await self.autobahn()
        ws_uri = (await self.api.call("POST")).ws_uri
        for size in (0, 1, 125, 126, 65536, 131072):
            answer = await self.put(
                ws_uri, bytes(size), ("Ws-Confirm", "30000"), ("Content-Type", "application/octet-stream")
            )
            self.assertEqual(answer, (200, "OK"))
            # Proven is proven: it is there.
            self.assertEqual(client.messages[-1], (True, bytes(size)))

    async def test_a_client_that_does_not_read(self) -> None:
        """What it has not read it has not got, though the kernel has taken it; later it is proven."""
        await self.serve()
        client, ws_uri = await self.connected_narrow()
        body = bytes(131072)
        binary = ("Content-Type", "application/octet-stream")
        answer = await self.put(ws_uri, body, binary, ("Ws-Confirm", "20"))
        self.assertEqual(answer, (202, "UNCONFIRMED"))
        pusher = await self.pusher(ws_uri, body, binary, ("Ws-Confirm", "30000"))
        client.read_on()
        for _ in range(2):
            self.assertEqual(await client.frame(), Frame(BINARY, body))
            ping = await client.frame(pings=True)
        client.send(frame(PONG, ping.payload))
        self.assertEqual(self.outcome(await pusher.reply()), (200, "OK"))

    async def test_a_client_that_is_not_read(self) -> None:
        """While its own messages wait for the API its pongs are not read: that time counts."""
        client, ws_uri = await self.begin()
        self.api.script["PUT"] = None
        client.send(frame(TEXT, b"x") * 100)
        put = await self.api.call("PUT")
        pusher = await self.pusher(ws_uri, b"a", ("Ws-Confirm", "20"))
        await client.frame()
        client.send(frame(PONG, (await client.frame(pings=True)).payload))
        self.assertEqual(self.outcome(await pusher.reply()), (202, "UNCONFIRMED"))
        put.answer()

    async def test_during_the_handshake(self) -> None:
        """It is held, and proven once the client is there."""
        await self.serve()
        self.api.script["POST"] = None
        client = await self.dial()
        client.send(handshake())
        post = await self.api.call("POST")
        pusher = await self.pusher(post.ws_uri, b"a", ("Ws-Confirm", "30000"))
        self.assertEqual(await self.put(post.ws_uri, b"b", ("Ws-Confirm", "20")), (202, "UNCONFIRMED"))
        post.answer()
        self.assertEqual((await client.reply()).status, 101)
        self.assertEqual([(await client.frame()).payload for _ in range(2)], [b"a", b"b"])
        client.send(frame(PONG, (await client.frame(pings=True)).payload))
        self.assertEqual(self.outcome(await pusher.reply()), (200, "OK"))

    async def test_pipelined(self) -> None:
        """Answers keep the order of the requests."""
        client, ws_uri = await self.begin()
        pusher = await self.dial()
        confirm = self.request("PUT", ws_uri, b"a", [("Ws-Confirm", "30000")])
        plain = self.request("PUT", ws_uri, b"b")
        gone = self.request("PUT", f"{ws_uri}x", b"b")
        pusher.send(plain + confirm + gone + plain)
        self.assertEqual((await pusher.reply()).status, 200)
        self.assertEqual([(await client.frame()).payload for _ in range(2)], [b"b", b"a"])
        client.send(frame(PONG, (await client.frame(pings=True)).payload))
        self.assertEqual([(await pusher.reply()).status for _ in range(3)], [200, 404, 200])
        self.assertEqual(await client.frame(), Frame(TEXT, b"b"))

    async def test_the_pusher_leaves(self) -> None:
        """The client got the message; nothing else happens, and others are served."""
        client, ws_uri = await self.begin()
        pusher = await self.pusher(ws_uri, b"a", ("Ws-Confirm", "30000"))
        self.assertEqual(await client.frame(), Frame(TEXT, b"a"))
        ping = await client.frame(pings=True)
        pusher.drop()
        await pusher.end()
        client.send(frame(PONG, ping.payload))
        self.assertEqual(await self.put(ws_uri, b"b"), (200, "OK"))
        self.assertEqual(await client.frame(), Frame(TEXT, b"b"))

    async def test_malformed(self) -> None:
        """400, on the head, before the body is asked for."""
        client, ws_uri = await self.begin()
        for value in ("", "0", "30001", "1s", "-5", "1,2"):
            pusher = await self.dial()
            headers = [("Ws-Confirm", value), ("Expect", "100-continue"), ("Content-Length", "5")]
            pusher.send(self.request("PUT", ws_uri, headers=headers))
            self.assertEqual(self.outcome(await pusher.reply()), (400, "BAD_REQUEST"))
        await self.check_quiet(client)


class IdempotencyTests(ReceiptsTestCase):
    """``Idempotency-Key``."""

    async def test_repeated(self) -> None:
        """The earlier answer; the client gets one message."""
        client, ws_uri = await self.begin()
        for _ in range(3):
            self.assertEqual(await self.put(ws_uri, b"a", ("Idempotency-Key", "one")), (200, "OK"))
        self.assertEqual(await self.put(ws_uri, b"b", ("Idempotency-Key", "two")), (200, "OK"))
        self.assertEqual([(await client.frame()).payload for _ in range(2)], [b"a", b"b"])
        await self.check_quiet(client)

    async def test_pipelined(self) -> None:
        """Among pushes of every kind."""
        client, ws_uri = await self.begin()
        pusher = await self.dial()
        with_key = self.request("PUT", ws_uri, b"a", [("Idempotency-Key", "one")])
        pusher.send((with_key + self.request("PUT", ws_uri, b"b")) * 3)
        self.assertEqual([(await pusher.reply()).status for _ in range(6)], [200] * 6)
        self.assertEqual([(await client.frame()).payload for _ in range(4)], [b"a", b"b", b"b", b"b"])

    async def test_a_lost_answer(self) -> None:
        """What it is for: the pusher does not know whether its push was carried out, and repeats it."""
        client, ws_uri = await self.begin()
        headers = (("Idempotency-Key", "one"), ("Ws-Confirm", "30000"))
        pusher = await self.pusher(ws_uri, b"a", *headers)
        self.assertEqual(await client.frame(), Frame(TEXT, b"a"))
        ping = await client.frame(pings=True)
        pusher.drop()
        again = await self.pusher(ws_uri, b"a", *headers)
        client.send(frame(PONG, ping.payload))
        self.assertEqual(self.outcome(await again.reply()), (200, "OK"))
        await self.check_quiet(client)

    async def test_during_the_handshake(self) -> None:
        """202 then is 202 later; a failure is not kept."""
        await self.serve()
        self.api.script["POST"] = None
        client = await self.dial()
        client.send(handshake())
        post = await self.api.call("POST")
        key = ("Idempotency-Key", "one")
        self.assertEqual(await self.put(post.ws_uri, b"\xff", key), (400, "BAD_REQUEST"))
        self.assertEqual(await self.put(post.ws_uri, b"a", key), (202, "OK"))
        post.answer()
        self.assertEqual((await client.reply()).status, 101)
        self.assertEqual(await self.put(post.ws_uri, b"a", key), (202, "OK"))
        self.assertEqual(await client.frame(), Frame(TEXT, b"a"))
        await self.check_quiet(client)

    async def test_before_replies(self) -> None:
        """A repeated push has no place in the order of what goes out."""
        client, ws_uri = await self.begin()
        key = ("Idempotency-Key", "one")
        await self.put(ws_uri, b"a", key)
        self.api.script["PUT"] = Answer(body=b"reply", headers=[("Ws-Reply", "text")])
        client.send_text("x")
        self.assertEqual([(await client.frame()).payload for _ in range(2)], [b"a", b"reply"])
        await self.put(ws_uri, b"a", key)
        await self.check_quiet(client)

    async def test_malformed(self) -> None:
        """400."""
        client, ws_uri = await self.begin()
        for value in ("", "a" * 65, "a b", "\xe9"):
            self.assertEqual(await self.put(ws_uri, b"a", ("Idempotency-Key", value)), (400, "BAD_REQUEST"))
        await self.check_quiet(client)


class WebsocketsTests(ReceiptsTestCase):
    """The ``websockets`` package as the client, in a thread of its own."""

    if find_spec("websockets") is None:
        skip = "websockets is not installed (extra 'test')"

    async def in_thread(self, call: Any, *arguments: Any, **options: Any) -> Any:
        """:returns: what a call that blocks returned"""
        return await within(deferToThread(call, *arguments, **options), "a thread")

    async def connect(self, *_: Any, **options: Any) -> Any:
        """:returns: a client that is open"""
        from websockets.sync.client import connect

        url = f"ws://127.0.0.1:{self.port}/"
        client = await self.in_thread(connect, url, proxy=None, ping_interval=None, **options)
        self.addCleanup(self.in_thread, client.close)
        return client

    async def confirm(self, ws_uri: str, text: str, time: str = "20000") -> tuple[int, str]:
        """:returns: the outcome of a push of text that waits for so many milliseconds"""
        return await self.put(ws_uri, text.encode(), ("Ws-Confirm", time))

    async def test_answers_pings(self) -> None:
        """It does so by itself, with compression and without."""
        await self.serve(WS_COMPRESSION="on")
        for compression in ("deflate", None):
            client = await self.connect(compression=compression)
            ws_uri = (await self.api.call("POST")).ws_uri
            for number in range(3):
                self.assertEqual(await self.confirm(ws_uri, f"{number}"), (200, "OK"))
                self.assertEqual(await self.in_thread(client.recv, timeout=10), f"{number}")

    async def test_does_not_answer_pings(self) -> None:
        """Its program does not fetch its messages, so it stops reading; then it does again."""
        await self.serve()
        client = await self.connect(max_queue=1)
        ws_uri = (await self.api.call("POST")).ws_uri
        # More than it reads at a time, so that the ping is still to be read when it stops.
        sent = [f"{number}" * 100_000 for number in range(4)]
        for text in sent:
            await self.put(ws_uri, text.encode())
        self.assertEqual(await self.confirm(ws_uri, "last", "100"), (202, "UNCONFIRMED"))
        for text in [*sent, "last"]:
            self.assertEqual(await self.in_thread(client.recv, timeout=10), text)
        self.assertEqual(await self.confirm(ws_uri, "again"), (200, "OK"))
