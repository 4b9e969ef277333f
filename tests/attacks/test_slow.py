"""Clients that take their time, and never finish what they began."""

from __future__ import annotations

from twisted.internet.task import LoopingCall

from bench.ports import free_port
from tests.attacks.attack import AttackTestCase, attack
from tests.descriptions import escaped
from tests.recording_api import Answer
from tests.tls_case import TlsTestCase
from tests.wire import BINARY, CLOSE, PING, PONG, TEXT, Wire, close_payload, frame, handshake
from wsaas import assembly
from wsaas.connections import close_timeout as closing
from wsaas.net import descriptors
from wsaas.net.http1 import site

#: Milliseconds of patience.
SHORT = "200"


class SlowTestCase(AttackTestCase):
    """Time-outs, made short."""

    title = "Slow clients"

    def drip(self, wire: Wire, data: bytes) -> None:
        """Send bytes one by one, 50 in a second, for as long as anybody listens."""
        rest = iter(data)

        def send() -> None:
            byte = next(rest, None)
            if byte is None or wire.ended:
                dripping.stop()
            else:
                wire.send(bytes([byte]))

        dripping = LoopingCall(send)
        dripping.start(0.02)
        self.addCleanup(lambda: dripping.stop() if dripping.running else None)

    async def ends(self, *wires: Wire) -> str:
        """:returns: what each of these connections ended with, each kind once"""
        kinds = set()
        for wire in wires:
            received = await wire.end()
            kinds.add(
                received[9:12].decode("ascii") if received.startswith(b"HTTP/1.1 ") else str(received or "cut off")
            )
        return " or ".join(sorted(kinds))

    async def closed_by(self, ws_uri: str) -> str:
        """:returns: the ``Ws-Closed-By`` of a connection, once it is over"""
        return str((await self.api.call("DELETE", ws_uri)).header("Ws-Closed-By"))


class SlowTests(SlowTestCase):
    """Before the handshake, in it, after it."""

    @attack(
        "A handshake that never ends",
        sent="byte by byte, header by header, all but the last line, an empty line, nothing at all; five connections",
        answer="408",
    )
    async def test_handshakes(self) -> str:
        await self.begin(WS_TIMEOUT=SHORT)
        wires = [await self.dial() for _ in range(5)]
        self.drip(wires[0], handshake())
        self.drip(wires[1], b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 100)
        wires[2].send(handshake()[:-2])
        wires[3].send(b"\r\n")
        return await self.ends(*wires)

    @attack(
        "Many incomplete requests",
        sent="100 connections that say nothing and 100 with half a handshake, with room for 50; then an honest client",
        answer="the eldest cut off",
    )
    async def test_many(self) -> str:
        # In earnest there is room for 1,024 at least.
        self.patch(descriptors, "_MAX_AWAITED", 50)
        await self.begin()
        wires = [await self.dial() for _ in range(200)]
        for wire in wires[::2]:
            wire.send(handshake()[:60])
        await self.check_bystander("amid them")
        self.assertEqual((await self.shake(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")).status, 426)
        self.assertEqual([wire.ended for wire in wires[-40:]], [False] * 40)
        return f"the eldest {await self.ends(*wires[:100])}"

    @attack(
        "Silence after the handshake",
        sent="nothing, not even a pong",
        answer="a ping, then cut off",
        api="POST, DELETE 1006",
    )
    async def test_silence(self) -> str:
        await self.begin(WS_TIMEOUT=SHORT)
        client, ws_uri = await self.connected()
        ping = await client.frame(pings=True)
        rest = await client.end()
        self.assertEqual((ping.opcode, await self.closed_by(ws_uri)), (PING, "timeout"))
        return "a ping, then cut off" if not rest else repr(rest)

    @attack(
        "Messages that never end, from many",
        sent="20,000 bytes of an unfinished message from each of twelve clients, with room for six of them",
        answer="close 1008 to the six that began first",
        api="POST, DELETE 1006; POST, DELETE 1008",
    )
    async def test_messages(self) -> str:
        # An eighth of it is for parts of messages.
        self.patch(assembly, "total_for", lambda _: 1 << 20)
        await self.begin()
        wires = [await self.connect() for _ in range(12)]
        for wire in wires:
            wire.send(frame(BINARY, bytes(20_000), first=0) + frame(PING))
            self.assertEqual((await wire.frame()).opcode, PONG)
        self.assertEqual({(await wire.closed()).code for wire in wires[:6]}, {1008})
        # Whoever is not closed still answers.
        for wire in wires[6:]:
            wire.send(frame(PING))
            self.assertEqual((await wire.frame()).opcode, PONG)
        return "close 1008 to the six that began first"

    @attack(
        "A close handshake that the client never finishes",
        sent="messages and pings in answer to a Close frame",
        answer="close 4000, then cut off",
        api="POST, DELETE 4000",
    )
    async def test_close_handshake(self) -> str:
        self.patch(closing, "CLOSE_TIMEOUT", 0.05)
        await self.begin()
        client, ws_uri = await self.connected()
        await self.push("DELETE", ws_uri, query="?code=4000")
        code = (await client.frame()).code
        self.drip(client, (frame(TEXT, b"no") + frame(PING)) * 5)
        rest = await client.end()
        self.assertNotIn(bytes([0x80 | CLOSE]), rest[:1])
        self.assertEqual(await self.closed_by(ws_uri), "api")
        return f"close {code}, then cut off"

    @attack(
        "A client that closes, and reads nothing of what waits for it",
        sent="a Close frame, with a full buffer before the answer to it",
        answer="503 to pushers, then cut off",
        api="POST, DELETE 1000",
    )
    async def test_close_unread(self) -> str:
        self.patch(closing, "CLOSE_TIMEOUT", 0.05)
        await self.begin(WS_MAX_MESSAGE="131072", WS_MAX_BUFFER="262144")
        client, ws_uri = await self.connected_narrow()
        await self.fill(client, ws_uri)
        client.send(frame(CLOSE, close_payload(1000)))
        self.assertEqual(await self.closed_by(ws_uri), "client")
        # It does not read: that the connection is reset shows when it writes.
        self.drip(client, frame(PONG) * 1000)
        await client.end()
        return "503 to pushers, then cut off"

    @attack(
        "A client that never reads",
        sent="pongs only, while messages are pushed to it",
        answer="503 to pushers, then cut off",
        api="POST, DELETE 1006",
    )
    async def test_never_reading(self) -> str:
        # Long enough for a few pushes, however busy the machine is.
        await self.begin(WS_TIMEOUT="400", WS_MAX_BUFFER="262144")
        client, ws_uri = await self.connected_narrow()
        statuses = await self.until_given_up(client, ws_uri)
        # The last one may come when it is gone.
        self.assertEqual(set(statuses) - {404}, {200, 503})
        self.assertEqual(await self.closed_by(ws_uri), "slow")
        self.drip(client, frame(PONG) * 1000)
        await client.end()
        return "503 to pushers, then cut off"

    @attack(
        "Sockets that are closed in one direction",
        sent="FIN behind half a handshake, behind a whole one while the API is asked, after the 101, amid a frame",
        answer="cut off",
        api="POST, DELETE 1006",
    )
    async def test_half_closed(self) -> str:
        await self.begin()
        wires = [await self.dial() for _ in range(3)]
        wires[0].send(handshake()[:40])
        wires[1].send(b"GET ")
        self.api.script["POST"] = None
        wires[2].send(handshake())
        post = await self.api.call("POST")
        for wire in wires:
            wire.transport.loseWriteConnection()
        # The answer comes when the client's leaving was seen.
        await self.shake(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        post.answer()
        for data in (b"", frame(TEXT, b"hello")[:-1], frame(BINARY, b"x", first=0)):
            wires.append(await self.connect_when_asked())
            wires[-1].send(data)
            wires[-1].transport.loseWriteConnection()
        return await self.ends(*wires)

    async def connect_when_asked(self) -> Wire:
        """:returns: a client that has its 101, from an API that answers as before"""
        self.api.script["POST"] = Answer()
        return await self.connect()


class SlowTlsTests(SlowTestCase, TlsTestCase):
    """In front of the handshake, where TLS is."""

    @attack(
        "TLS that never begins, or never ends",
        sent="nothing; half a ClientHello; one byte by byte; the head of a record of 16 KiB; to a listener with TLS",
        answer="cut off",
    )
    async def test_tls(self) -> str:
        # The 408 waits for so long for the end of the handshake.
        self.patch(site, "LINGER", 0.02)
        certificate, key = self.authority.issue()
        paths = self.write("cert.pem", certificate), self.write("key.pem", key)
        port = free_port()
        await self.serve(
            WS_LISTEN=f"ssl:{port}:privateKey={escaped(paths[1])}:certKey={escaped(paths[0])}:interface=127.0.0.1",
            WS_HOSTNAME=f"https://localhost:{port}",
            WS_TIMEOUT=SHORT,
        )
        self.port = port
        self.push_tls = self.trusting()
        client = await self.dial(tls=self.push_tls)
        client.send(handshake())
        self.assertEqual((await client.reply()).status, 101)
        await self.stand_by(client, (await self.api.call("POST")).ws_uri)
        wires = [await self.dial() for _ in range(4)]
        hello = bytes.fromhex("16030102000100")
        wires[1].send(hello)
        self.drip(wires[2], hello + bytes(500))
        wires[3].send(bytes.fromhex("1603034000") + bytes(100))
        return await self.ends(*wires)
