"""Much of HTTP: requests behind requests, idle connections, messages that are refused."""

from __future__ import annotations

from bench.ports import free_port
from tests.attacks.attack import AttackTestCase, any_of, attack, statuses_in
from tests.attacks.pushes import request
from tests.recording_api import Answer
from tests.wire import CLOSE, NOBODY, TEXT, Wire, close_payload, frame
from wsaas.net import descriptors
from wsaas.net.http1 import connection

REQUESTS = 5000
MESSAGES = 1000
GET = request("GET / HTTP/1.1")


class RequestTests(AttackTestCase):
    """Bounds of what one connection gets done, and of connections that do nothing."""

    title = "Floods of requests"

    async def flooded(self, wire: Wire, data: bytes) -> str:
        """Send a request many times at once, and see how far the gateway gets while it serves the bystander.

        :returns: the statuses of the answers, of which there have to be few
        """
        # In earnest a connection that is refused so much waits much longer, also with its end.
        self.patch(connection, "REFUSED_PAUSE", 0.001)
        wire.send(data * REQUESTS)
        await self.check_bystander("amid it")
        wire.read_on()
        await self.check_bystander("and again")
        statuses = statuses_in(wire.received)
        wire.drop()
        self.assertTrue(0 < len(statuses) <= REQUESTS // 10, len(statuses))
        return any_of(statuses)

    @attack(
        "Requests whose answers are not read",
        sent=f"{REQUESTS:,} on one connection, to the clients' listener, to a ``ws_uri``, for ``/metrics``; none of "
        "the answers read until the bystander was served",
        answer="200 or 426, the bystander served among the first tenth",
    )
    async def test_unread(self) -> str:
        admin = free_port()
        await self.begin(ADMIN_LISTEN=f"tcp:{admin}:interface=127.0.0.1")
        clients, kinds = self.port, set()
        for port, data in (
            (clients, GET),
            (clients, self.request("GET", self._bystanders_uri)),
            (admin, request("GET /metrics HTTP/1.1")),
        ):
            self.port = port
            wire = self.dial_narrow()
            self.port = clients
            wire.stop_reading()
            kinds.add(await self.flooded(wire, data))
        return f"{any_of(kinds)}, the bystander served among the first tenth"

    @attack(
        "Pushes to an unknown key, as fast as one connection can",
        sent=f"{REQUESTS:,} ``PUT`` and as many ``GET`` on an unknown key, each in one go",
        answer="404, the bystander served among the first tenth",
    )
    async def test_nobody(self) -> str:
        await self.begin()
        uri = self._bystanders_uri.rpartition("/")[0] + f"/{NOBODY}"
        tried = (self.request("PUT", uri, b"x"), self.request("GET", uri))
        statuses = {await self.flooded(await self.dial(), data) for data in tried}
        return f"{any_of(statuses)}, the bystander served among the first tenth"

    @attack(
        "Idle keep-alive connections",
        sent="200 connections with a request that is answered, and then nothing, with room for 50; then an "
        "honest client",
        answer="426, the eldest cut off",
    )
    async def test_kept_alive(self) -> str:
        # In earnest there is room for 1,024 at least.
        self.patch(descriptors, "_MAX_AWAITED", 50)
        await self.begin()
        wires: list[Wire] = []
        statuses = set()
        for _ in range(200):
            wires.append(await self.dial())
            wires[-1].send(GET)
            statuses.add((await wires[-1].reply()).status)
        for wire in wires[:100]:
            self.assertEqual(await wire.end(), b"")
        self.assertEqual([wire.ended for wire in wires[-40:]], [False] * 40)
        self.assertEqual(statuses, {426})
        return f"{await self.shaken(GET)}, the eldest cut off"

    @attack(
        "Messages that the API refuses, without end",
        sent=f"{MESSAGES:,} messages in one go, the API answering 400 to each: the log has 100 lines of them "
        "in a second",
        answer="close 1000",
        api="POST, PUT, DELETE 1000",
    )
    async def test_refused_messages(self) -> str:
        # That many lines in so many seconds, on a busy machine.
        self.log_lines = 100 * 4
        await self.begin()
        client, ws_uri = await self.connected()
        self.api.script["PUT"] = Answer(400)
        client.send(b"".join(frame(TEXT, b"n%d" % number) for number in range(MESSAGES)))
        client.send(frame(CLOSE, close_payload(1000)))
        await self.api.call("DELETE", ws_uri)
        self.assertEqual(len(self.of_method("PUT", ws_uri)), MESSAGES)
        return f"close {(await client.frame()).code}"
