"""Much of everything: messages, pings, connections, calls."""

from __future__ import annotations

from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol

from bench.ports import free_port
from tests.attacks.attack import AttackTestCase, attack
from tests.recording_api import Answer, Call
from tests.waiting import reactor, within
from tests.wire import BINARY, CLOSE, PING, PONG, TEXT, Reply, Wire, close_payload, frame, handshake
from wsaas.connections import admission
from wsaas.connections import close_timeout as closing
from wsaas.websocket.protocol import FREE_CONTROLS

MESSAGES = 1000


class FloodTestCase(AttackTestCase):
    """Bounds, and what happens at them."""

    title = "Floods"

    async def dial_from(self, address: str) -> Wire:
        """:returns: a new connection to the gateway from another address of loopback"""
        endpoint = TCP4ClientEndpoint(reactor, "127.0.0.1", self.port, bindAddress=(address, 0))
        wire: Wire = await within(connectProtocol(endpoint, Wire()), "a connection to the gateway")
        self.addCleanup(self._drop, wire)
        self.wires.append(wire)
        return wire

    async def replies(self, wires: list[Wire], before: bytes = b"") -> list[Reply]:
        """:returns: the answers to a handshake on each of these connections, sent on all before any is read"""
        for wire in wires:
            wire.send(before + handshake())
        return [await wire.reply() for wire in wires]

    def posts(self) -> int:
        """:returns: how many POSTs the API got, but for the bystander's"""
        return sum(call.method == "POST" for call in self.api.calls) - 1


class FloodTests(FloodTestCase):
    """From one client, and from many."""

    @attack(
        "Messages as fast as one client can send them",
        sent=f"{MESSAGES:,} messages of two to five bytes and a Close frame in one go",
        answer=f"{MESSAGES:,} messages in order, the bystander served among the first tenth",
        api="POST, PUT, DELETE 1000",
    )
    async def test_messages(self) -> str:
        await self.begin()
        client, ws_uri = await self.connected()
        texts = [b"n%d" % number for number in range(MESSAGES)]
        client.send(b"".join(frame(TEXT, text) for text in texts) + frame(CLOSE, close_payload(1000)))
        await self.api.call("PUT", ws_uri)
        await self.check_bystander("amid it")
        meanwhile = len(self.of_method("PUT", ws_uri))
        await self.api.call("DELETE", ws_uri)
        self.assertEqual([call.body for call in self.of_method("PUT", ws_uri)], texts)
        return f"{MESSAGES:,} messages in order, the bystander served among the first " + (
            "tenth" if meanwhile <= MESSAGES // 10 else f"{meanwhile}"
        )

    @attack(
        "Messages while the API hangs",
        sent="2 MB in messages of 1,000 bytes, the API answering none of them",
        answer="not read beyond 64 messages and ``WS_MAX_BUFFER``",
        api="POST, PUT, DELETE 1000",
    )
    async def test_while_the_api_hangs(self) -> str:
        self.patch(closing, "CLOSE_TIMEOUT", 0.05)
        await self.begin(WS_MAX_MESSAGE="1000", WS_MAX_BUFFER="20000")
        waiting: list[Call] = []
        self.api.script["PUT"] = waiting.append
        client, ws_uri = await self.connected_narrow()
        for _ in range(2000):
            client.send(frame(BINARY, bytes(1000)))
        await self.api.call("PUT", ws_uri)
        await self.check_bystander("meanwhile")
        told = (await self.push("GET", ws_uri)).json
        self.assertLessEqual(told["messages_in"], 64 + 20)
        self.assertEqual(len(waiting), 1)
        client.read_on()
        await self.push("DELETE", ws_uri)
        waiting[0].answer()
        return "not read beyond 64 messages and ``WS_MAX_BUFFER``"

    @attack(
        "Pings and pongs without end",
        sent="20,000 pings; as many unsolicited pongs; pings of 125 bytes from a client that does not read",
        answer="close 1008",
        api="POST, DELETE 1008",
    )
    async def test_pings(self) -> str:
        # They have that long to read what waits before the 1008, and it.
        self.patch(closing, "CLOSE_TIMEOUT", 0.5)
        await self.begin()
        clients = [(await self.connected())[0] for _ in range(2)]
        clients.append((await self.connected_narrow())[0])
        for client, data in zip(clients, (frame(PING), frame(PONG), frame(PING, bytes(125))), strict=True):
            client.send(data * 20_000)
        await self.check_bystander("amid them")
        clients[-1].read_on()
        codes = set()
        for client in clients:
            pongs = 0
            while (last := await client.frame()).opcode == PONG:
                pongs += 1
            self.assertLessEqual(pongs, 2 * FREE_CONTROLS)
            codes.add(f"close {last.code}")
        return " or ".join(codes)

    @attack(
        "Connections from one address",
        sent="20 handshakes from 127.0.0.1 with ``WS_MAX_PER_ADDRESS=5``, one of 127.0.0.2 behind them",
        answer="4 times 101, 16 times 429; the other address 101",
        api="POST, DELETE 1006",
    )
    async def test_one_address(self) -> str:
        await self.begin(WS_MAX_PER_ADDRESS="5")
        replies = await self.replies([await self.dial() for _ in range(20)])
        (other,) = await self.replies([await self.dial_from("127.0.0.2")])
        return f"{self.counted(replies)}; the other address {other.status}"

    @attack(
        "Connections from many addresses",
        sent="20 handshakes from four addresses with ``WS_MAX_CONNECTIONS=5``",
        answer="4 times 101, 16 times 503",
        api="POST, DELETE 1006",
    )
    async def test_many_addresses(self) -> str:
        await self.begin(WS_MAX_CONNECTIONS="5")
        wires = [await self.dial_from(f"127.0.0.{number % 4 + 1}") for number in range(20)]
        replies = await self.replies(wires)
        for reply in replies:
            if reply.status == 503:
                self.assertRegex(reply.header("Retry-After") or "", "^[0-9]+$")
        return self.counted(replies)

    @staticmethod
    def counted(replies: list[Reply]) -> str:
        """:returns: how many had which status"""
        statuses = [reply.status for reply in replies]
        return ", ".join(f"{statuses.count(status)} times {status}" for status in sorted(set(statuses)))

    @attack(
        "Connecting and leaving at once",
        sent="100 clients that leave behind their handshake, 100 that reset the connection upon the 101, all at once",
        answer="200 POSTs, 200 DELETEs",
        api="POST, DELETE 1006",
    )
    async def test_coming_and_going(self) -> str:
        # Fewer than the backlog of the test's API.
        await self.begin(API_MAX_REQUESTS="40")
        for _ in range(100):
            wire = await self.dial()
            wire.send(handshake())
            wire.transport.loseConnection()
        wires = [await self.dial() for _ in range(100)]
        await self.replies(wires)
        for wire in wires:
            wire.drop()

        def deletes() -> int:
            return sum(call.method == "DELETE" for call in self.api.calls)

        await self.api.until(lambda: deletes() >= 200, "the DELETEs")
        return f"{self.posts()} POSTs, {deletes()} DELETEs"

    @attack(
        "Handshakes while the API hangs",
        sent="40 handshakes, where 32 may wait for the API, which answers none before all are there",
        answer="32 times 403, 8 times 503",
        api="POST",
    )
    async def test_hanging_api(self) -> str:
        # In earnest it is 256 at least.
        self.patch(admission, "_ASKING", 1)
        await self.begin(API_MAX_REQUESTS="8")
        asked: list[Call] = []
        self.api.script["POST"] = asked.append
        wires = [await self.dial() for _ in range(40)]
        for wire in wires:
            wire.send(handshake())
        replies = [await wire.reply() for wire in wires[32:]]
        # Handshakes never take all calls that may be on the wire.
        await self.check_bystander("meanwhile")
        self.assertEqual(len(asked), 6)
        self.api.script["POST"] = Answer(403)
        for call in asked:
            call.answer(403)
        return self.counted(replies + [await wire.reply() for wire in wires[:32]])

    @attack(
        "Handshakes that the API never answers",
        sent="six handshakes with ``API_TIMEOUT=150``",
        answer="504",
        api="POST, DELETE 1013",
    )
    async def test_silent_api(self) -> str:
        await self.begin(API_TIMEOUT="150")
        self.api.script["POST"] = None
        return self.statuses(*await self.replies([await self.dial() for _ in range(6)]))

    @attack(
        "Resets in the middle of everything",
        sent="RST amid a handshake, while the API is asked, amid a frame, amid a message, behind a Close frame, behind "
        "ours",
        answer="nothing",
        api="POST, DELETE 1000; POST, DELETE 1006; POST, DELETE 4000",
    )
    async def test_resets(self) -> str:
        await self.begin()
        early = await self.dial()
        early.send(handshake()[:50])
        await self.check_bystander("meanwhile")
        early.drop()
        self.api.script["POST"] = None
        asked = await self.dial()
        asked.send(handshake())
        post = await self.api.call("POST")
        asked.drop()
        await self.check_bystander("meanwhile")
        post.answer()
        self.api.script["POST"] = Answer()
        for data in (b"\x81\xfe", frame(BINARY, bytes(1000))[:500], frame(TEXT, b"x", first=0), frame(PING)[:1]):
            wire, _ = await self.connected()
            wire.send(data)
            await self.check_bystander("meanwhile")
            wire.drop()
        closing, _ = await self.connected()
        closing.send_close(1000)
        await closing.frame()
        closing.drop()
        closed, ws_uri = await self.connected()
        await self.push("DELETE", ws_uri, query="?code=4000")
        self.assertEqual((await closed.frame()).code, 4000)
        closed.drop()
        return "nothing"

    @attack(
        "Addresses of one IPv6 network",
        sent="20 handshakes, each from another address of a /64, with ``WS_MAX_PER_ADDRESS=5``; one from the next "
        "network",
        answer="5 times 101, 15 times 429; the other network 101",
        api="POST, DELETE 1006",
    )
    async def test_one_network(self) -> str:
        clients, pushes = free_port(), free_port()
        await self.serve(
            WS_LISTEN=f"haproxy:tcp:{clients}:interface=127.0.0.1",
            PUSH_LISTEN=f"tcp:{pushes}:interface=127.0.0.1",
            WS_HOSTNAME=f"http://127.0.0.1:{pushes}",
            WS_MAX_PER_ADDRESS="5",
        )
        self.port = clients

        async def arrive(address: str) -> Wire:
            wire = await self.dial()
            wire.send(f"PROXY TCP6 {address} 2001:db8:2::80 50000 443\r\n".encode() + handshake())
            return wire

        bystander = await arrive("2001:db8:3::1")
        self.assertEqual((await bystander.reply()).status, 101)
        await self.stand_by(bystander, (await self.api.call("POST")).ws_uri)
        wires = [await arrive(f"2001:db8:1:1:{number:x}::{number:x}") for number in range(1, 21)]
        other = await arrive("2001:db8:1:2::1")
        replies = [await wire.reply() for wire in wires]
        return f"{self.counted(replies)}; the other network {(await other.reply()).status}"
