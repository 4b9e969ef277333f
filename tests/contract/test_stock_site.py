"""Pushes behind a stock Site of twisted.web's: PushResource is an ordinary Resource (protocol §3)."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.resource import Resource
from twisted.web.server import Site

from tests.gate import (
    BINARY,
    CLOSE,
    PING,
    PONG,
    TEXT,
    Frame,
    Gate,
    HttpAnswer,
    Wire,
    close_payload,
    frame,
    http_request,
    read_answer,
    read_answers,
    read_frames,
)
from wsaas.connections.outbox import Outbox


class StockSiteTests(SynchronousTestCase):
    """All that a pusher may ask for, over the wire, through Twisted's own HTTP server."""

    def setUp(self) -> None:
        """Mount the pushes of a gateway with one client."""
        self.gate = Gate(WS_MAX_MESSAGE="1000", WS_MAX_BUFFER="2000")
        self.client = self.gate.open("/chat")
        self.target = f"/ws/{self.gate.key}"
        root = Resource()
        root.putChild(b"ws", self.gate.pushes)
        self.site = Site(root, reactor=MemoryReactorClock())

    def connect(self) -> Wire:
        """:returns: a connection of a pusher"""
        wire = Wire(self.gate.clock)
        return wire.attach(self.site.buildProtocol(wire.getPeer()))

    def ask(self, method: str, *headers: tuple[str, str], body: bytes | None = None, target: str = "") -> HttpAnswer:
        """Make one request."""
        wire = self.connect()
        wire.deliver(http_request(method, target or self.target, body, *headers))
        answer, rest = read_answer(wire.take(), head_only=method == "HEAD")
        self.assertEqual(rest, b"")
        return answer

    def frames(self) -> list[Frame]:
        """:returns: what the client got"""
        return read_frames(self.client.take())

    def test_put(self) -> None:
        """Text and binary, with a length or in chunks."""
        answer = self.ask("PUT", body="héllo".encode())
        self.assertEqual(
            (answer.status, answer.json, answer.header("Cache-Control")), (200, {"code": "OK"}, "no-store")
        )
        self.assertEqual(self.ask("PUT", ("Content-Type", "image/png"), body=b"\xff").status, 200)
        wire = self.connect()
        wire.deliver(http_request("PUT", self.target, None, ("Transfer-Encoding", "chunked")) + b"2\r\nab\r\n0\r\n\r\n")
        self.assertEqual(read_answers(wire.take())[0].status, 200)
        self.assertEqual(self.frames(), [Frame(TEXT, "héllo".encode()), Frame(BINARY, b"\xff"), Frame(TEXT, b"ab")])

    def test_get_and_head(self) -> None:
        """What is known of a connection."""
        answer = self.ask("GET")
        self.assertEqual((answer.status, answer.json["path"]), (200, "/chat"))
        self.assertEqual(self.ask("HEAD").status, 200)
        self.assertEqual(self.frames(), [])

    def test_delete(self) -> None:
        """It closes the connection."""
        self.assertEqual(self.ask("DELETE", target=self.target + "?code=4001&reason=bye").status, 200)
        self.assertEqual(self.frames(), [Frame(CLOSE, close_payload(4001, "bye"))])

    def test_refusals(self) -> None:
        """Each with its code, and without effect."""
        for status, code, answer in (
            (400, "BAD_REQUEST", self.ask("PUT", body=b"\xff")),
            (400, "BAD_REQUEST", self.ask("PUT", ("Ws-Confirm", "0"), body=b"a")),
            (404, "NOT_FOUND", self.ask("PUT", body=b"a", target="/ws/" + "A" * 24)),
            (405, "METHOD_NOT_ALLOWED", self.ask("POST", body=b"a")),
            (413, "MESSAGE_TOO_LONG", self.ask("PUT", body=b"a" * 1001)),
            (415, "UNSUPPORTED", self.ask("PUT", ("Content-Encoding", "gzip"), body=b"a")),
        ):
            self.assertEqual((answer.status, answer.json["code"]), (status, code))
        self.assertEqual(self.ask("POST").header("Allow"), "GET, HEAD, PUT, DELETE")
        self.assertEqual(self.frames(), [])

    def test_too_slow(self) -> None:
        """503, and when to come back."""
        self.client.stall()
        for _ in range(100):
            answer = self.ask("PUT", body=b"a" * 1000)
            if answer.status != 200:
                break
        self.assertEqual((answer.status, answer.json["code"], answer.header("Retry-After")), (503, "TOO_SLOW", "1"))

    def test_tokens(self) -> None:
        """401 without one."""
        self.gate = Gate(PUSH_TOKEN="right")
        self.client = self.gate.open()
        self.target = f"/{self.gate.key}"
        self.site = Site(self.gate.pushes, reactor=MemoryReactorClock())
        for headers in ((), (("Authorization", "Bearer wrong"),)):
            answer = self.ask("PUT", *headers, body=b"a")
            self.assertEqual((answer.status, answer.header("WWW-Authenticate")), (401, "Bearer"))
        self.assertEqual(self.ask("PUT", ("Authorization", "Bearer right"), body=b"a").status, 200)
        self.assertEqual(self.frames(), [Frame(TEXT, b"a")])

    def test_idempotency(self) -> None:
        """The same key, the same answer, one message."""
        for _ in range(2):
            self.assertEqual(self.ask("PUT", ("Idempotency-Key", "k"), body=b"a").status, 200)
        self.assertEqual(self.frames(), [Frame(TEXT, b"a")])

    def confirm(self) -> tuple[Wire, bytes]:
        """:returns: a pusher that waits, and the payload of the ping behind its message"""
        wire = self.connect()
        wire.deliver(http_request("PUT", self.target, b"a", ("Ws-Confirm", "1000")))
        self.assertEqual(wire.take(), b"")
        message, ping = self.frames()
        self.assertEqual((message, ping.opcode), (Frame(TEXT, b"a"), PING))
        return wire, ping.payload

    def test_confirmed(self) -> None:
        """The answer waits for the pong, or for the end of the time; the body is not kept meanwhile."""
        wire, payload = self.confirm()
        request: Any = (
            wire.protocol.requests[0] if hasattr(wire.protocol, "requests") else wire.protocol._channel.requests[0]
        )
        self.assertEqual(request.content.getbuffer().nbytes, 0)
        self.client.deliver(frame(PONG, payload))
        self.assertEqual(read_answers(wire.take())[0].status, 200)
        wire, _ = self.confirm()
        self.gate.clock.advance(1)
        self.assertEqual(read_answers(wire.take())[0].json["code"], "UNCONFIRMED")

    def test_the_pusher_leaves(self) -> None:
        """That is no fault."""
        wire, payload = self.confirm()
        wire.end()
        self.client.deliver(frame(PONG, payload))
        self.assertEqual(self.ask("HEAD").status, 200)

    def test_a_fault(self) -> None:
        """500, and the log says how."""

        def fail(*_: object) -> object:
            raise ValueError("a fault")

        for later in (False, True):
            failing: Deferred[bool] = Deferred()
            self.patch(Outbox, "push_confirmed", (lambda *_: failing) if later else fail)  # noqa: B023 - used at once
            wire = self.connect()
            wire.deliver(http_request("PUT", self.target, b"a", ("Ws-Confirm", "1000")))
            if later:
                failing.errback(ValueError("a fault"))
            self.assertEqual(read_answers(wire.take())[0].status, 500)
            self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)


class ByNameTests(StockSiteTests):
    """The same for requests by name; what they have in common is tested again beside them."""

    def setUp(self) -> None:
        """Mount them beside the pushes."""
        super().setUp()
        self.gate = Gate(PUBLISH_TOKEN="right", WS_MAX_MESSAGE="1000", WS_MAX_BUFFER="2000")
        self.client = self.gate.open("/chat")
        self.target = f"/ws/{self.gate.key}"
        root = Resource()
        root.putChild(b"ws", self.gate.pushes)
        root.putChild(b"named", self.gate.named)
        self.site = Site(root, reactor=MemoryReactorClock())

    def by_name(self, method: str, target: str, body: bytes | None = None) -> HttpAnswer:
        """Make one request with a token."""
        return self.ask(method, ("Authorization", "Bearer right"), body=body, target=f"/named/{target}")

    def test_by_name(self) -> None:
        """Now or later, in order."""
        key = self.gate.key
        self.assertEqual(self.by_name("PUT", f"{key}/groups/a%20b").json, {"code": "OK", "joined": 1})
        self.assertEqual(self.by_name("GET", "groups/a%20b").json, {"code": "OK", "members": 1})
        self.assertEqual(self.by_name("HEAD", "groups/a%20b").status, 200)
        self.assertEqual(self.by_name("PUT", "groups/a%20b", b"hello").json["sent"], 1)
        (member,) = self.by_name("GET", "all/members?limit=1").json["members"]
        self.assertEqual(member["user"], None)
        (result,) = self.by_name("POST", "batch", b'{"to": "all", "text": "a"}').json["results"]
        self.assertEqual(result["sent"], 1)
        self.assertEqual(self.frames(), [Frame(TEXT, b"hello"), Frame(TEXT, b"a")])
        self.assertEqual(self.by_name("DELETE", "groups/a%20b").json, {"code": "OK", "closed": 1})

    def test_refusals_by_name(self) -> None:
        """Each with its code; a ws_uri is found elsewhere."""
        for status, answer in (
            (400, self.by_name("GET", "groups/..")),
            (401, self.ask("GET", target="/named/all")),
            (404, self.by_name("PUT", self.gate.key, b"a")),
            (404, self.by_name("GET", "")),
            (405, self.by_name("POST", "nothing")),
            (405, self.by_name("DELETE", "all")),
            (413, self.by_name("PUT", "all", b"a" * 1001)),
        ):
            self.assertEqual(answer.status, status)
        self.assertEqual(self.frames(), [])
