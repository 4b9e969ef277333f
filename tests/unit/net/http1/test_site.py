"""What the connections of a listener share: bounds over all of them, a log without keys."""

from __future__ import annotations

from typing import Any

from twisted.logger import globalLogPublisher

from tests.gate import http_request
from tests.unit.net.http1.test_server import HEAD_TIMEOUT, MAX_BODY, ChannelTestCase
from wsaas.limits import OVERHEAD, Budget
from wsaas.net.http1.connection import LINGER
from wsaas.net.http1.messages import Response
from wsaas.net.http1.site import MAX_AWAITED, ClientSite, SiteLimits


class CrowdTests(ChannelTestCase):
    """Bounds over all connections of a site."""

    def setUp(self) -> None:
        """Make a site with little room."""
        super().setUp()
        self.budget = Budget(1 << 20)
        self.site = ClientSite(self.rules, self.clock, SiteLimits(HEAD_TIMEOUT, MAX_BODY, 3), self.budget)

    def test_those_who_say_nothing(self) -> None:
        """Beyond the bound, those who came first go; who speaks is served."""
        wires = [self.connect() for _ in range(4)]
        self.clock.advance(0)
        self.assertEqual([wire.over for wire in wires], [True, False, False, False])
        self.assertEqual(self.site.awaited, 3)
        wires[1].deliver(http_request("GET", "/x"))
        self.assertEqual(self.only(wires[1]).status, 200)
        self.assertEqual(self.site.awaited, 2)
        self.connect()
        self.connect()
        self.clock.advance(0)
        self.assertEqual([wire.over for wire in wires], [True, False, True, False])

    def test_those_who_ask_for_nothing_more(self) -> None:
        """Kept for another request, they are no better than those who say nothing: the one that was so first goes."""
        wires = [self.connect() for _ in range(3)]
        for wire in wires:
            wire.deliver(http_request("GET", "/refused"))
            self.assertEqual(self.only(wire).status, 403)
        self.assertEqual(len(self.site.idle), 3)
        self.clock.advance(1)
        wires[0].deliver(http_request("GET", "/x"))
        busy = self.connect()
        busy.deliver(http_request("GET", "/wait"))
        partial = self.connect()
        partial.deliver(http_request("GET", "/refused") + b"GET ")
        self.assertEqual(len(self.site.idle), 3)
        wires.append(self.connect())
        wires[-1].deliver(http_request("GET", "/x"))
        self.clock.advance(0)
        self.assertEqual([wire.over for wire in (*wires, busy, partial)], [False, True, False, False, False, False])
        self.rules.waiting[0].callback(Response(200))
        self.clock.advance(0)
        self.assertEqual([wire.over for wire in (*wires, busy, partial)], [False, True, True, False, False, False])
        for wire in (*wires, busy, partial):
            wire.end()
        self.assertEqual((len(self.site.idle), self.site.awaited), (0, 0))

    def test_nobody_is_awaited_any_more(self) -> None:
        """Whether a request was answered, refused or given up, or the connection became a WebSocket's."""
        silent, late, left, given, refused = (self.connect() for _ in range(5))
        silent.end()
        late.deliver(b"GET / HT")
        left.deliver(http_request("GET", "/handshake"))
        self.rules.attempts[0].visitor.detach()
        given.deliver(http_request("PUT", "/x", b"body"))
        refused.deliver(http_request("PUT", "/refused", b"body"))
        self.clock.advance(HEAD_TIMEOUT)
        self.clock.advance(LINGER)
        self.clock.advance(0)
        self.assertEqual((self.site.awaited, len(self.site.lingering), len(self.site.idle)), (0, 0, 2))

    def test_bodies(self) -> None:
        """What was announced counts from its head to its end; chunks for as much as they may become."""
        for end in (b"x" * 50, None):
            wire = self.connect()
            wire.deliver(http_request("PUT", "/x", b"x" * 100)[:-50])
            self.assertEqual(self.budget.used, 100 + OVERHEAD)
            if end is None:
                wire.end()
            else:
                wire.deliver(end)
                self.assertEqual(self.only(wire).status, 200)
            self.assertEqual(self.budget.used, 0)
        wire = self.connect()
        wire.deliver(b"PUT /x HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n")
        self.assertEqual(self.budget.used, MAX_BODY + OVERHEAD)
        self.clock.advance(HEAD_TIMEOUT)
        self.assertEqual((self.only(wire).status, self.budget.used), (408, 0))

    def test_too_many_bodies(self) -> None:
        """503 to those that come too late, before their body is read; the others are not touched."""
        self.budget.limit = 200
        wires = [self.connect() for _ in range(2)]
        for wire in wires:
            wire.deliver(http_request("PUT", "/x", b"x" * 100)[:-50])
        late = self.connect()
        late.deliver(http_request("PUT", "/x", b"x" * 100, ("Expect", "100-continue"))[:-100])
        answer = self.only(late)
        self.assertEqual((answer.status, answer.json["code"], answer.header("Retry-After")), (503, "OVERLOADED", "1"))
        for wire in wires:
            wire.deliver(b"x" * 50)
            self.assertEqual(self.only(wire).status, 200)
        self.assertEqual(self.budget.used, 0)

    def test_without_body(self) -> None:
        """It needs no room."""
        self.budget.limit = 0
        wire = self.connect()
        wire.deliver(http_request("GET", "/x"))
        self.assertEqual(self.only(wire).status, 200)

    def test_lingering(self) -> None:
        """Only so many are listened to after their refusal; the others are cut off, those refused first before."""
        wires = [self.connect() for _ in range(1)]
        for _ in range(257):
            wire = self.connect()
            wire.deliver(b"PUT /refused HTTP/1.1\r\nHost: h\r\nContent-Length: 30000000\r\n\r\n")
            wires.append(wire)
        self.clock.advance(0)
        self.assertEqual([wire.aborted for wire in wires[1:4]], [True, False, False])
        self.assertEqual(len(self.site.lingering), 256)
        self.clock.advance(LINGER)
        self.clock.advance(0)
        self.assertEqual(len(self.site.lingering), 0)


class LogTests(ChannelTestCase):
    """Keys stand in targets."""

    def test_no_access_log(self) -> None:
        """Neither what is answered nor what breaks off shows up in the log; what is refused has one line."""
        events: list[Any] = []
        observer: Any = events.append
        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)
        self.site.doStart()
        for data in (http_request("PUT", "/x", b"a"), http_request("GET", "/refused"), b"nonsense\r\n", b"GET /secret"):
            wire = self.connect()
            wire.deliver(data)
            wire.end()
        self.site.doStop()
        self.assertEqual([event["status"] for event in events], [403, 400])
        self.assertEqual(self.clock.getDelayedCalls(), [])


class BoundsTests(ChannelTestCase):
    """Bounds that hold where nobody gives others."""

    def test_unless_told_otherwise(self) -> None:
        """There are some."""
        self.assertEqual(self.site.bodies.limit, 1 << 26)
        for _ in range(MAX_AWAITED + 1):
            self.connect()
        self.assertEqual(self.site.awaited, MAX_AWAITED)


class TooLongTests(ChannelTestCase):
    """The answer to a body that outgrew the limit."""

    def test_it_names_the_setting(self) -> None:
        """And the number of bytes."""
        answer = self.site.too_long()
        self.assertEqual(answer.status, 413)
        self.assertIn(b"100 bytes (WS_MAX_MESSAGE)", answer.body)
