"""Callbacks: headers and bodies exactly as protocol §2 has them, slots, and what comes of a DELETE."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import unquote

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.address import IPv6Address, UNIXAddress
from twisted.internet.error import ConnectError, ConnectionLost
from twisted.logger import LogLevel, formatEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from tests.gate import (
    BINARY,
    CLOSE,
    NOW,
    TEXT,
    ApiCall,
    Frame,
    Gate,
    HttpAnswer,
    SecureWire,
    Wire,
    close_frame,
    close_payload,
    frame,
    handshake_request,
    read_answer,
    read_frames,
)
from tests.memory_api import MemoryApi, ReceivedRequest, answer_bytes, read_requests
from tests.properties import moderately
from wsaas import __version__
from wsaas.callbacks import disconnects
from wsaas.net.client_tls import ApiTrust
from wsaas.net.http1.agent import PersistentAgent


def fields(call: ApiCall) -> dict[str, list[str]]:
    """:returns: all headers of a call, names in lower case"""
    return {
        name.decode("ascii").lower(): [value.decode("latin-1") for value in values]
        for name, values in call.headers.getAllRawHeaders()
    }


class ApiTestCase(SynchronousTestCase):
    """A gateway in memory."""

    def setUp(self) -> None:
        """Set it up."""
        self.gate = Gate()

    def live(self, *headers: tuple[str, str], target: str = "/chat?room=7") -> list[ApiCall]:
        """:returns: POST, PUT, PUT and DELETE of one connection"""
        before = len(self.gate.agent.calls)
        self.gate.agent.react = lambda call: call.answer(200, b'{"code": "OK"}' if call.method == "POST" else b"")
        wire = self.gate.open_as(handshake_request(target, *headers))
        wire.deliver(frame(TEXT, "grün".encode()) + frame(BINARY, b"\xff") + close_frame(1000))
        self.gate.turn()
        calls = self.gate.agent.calls[before:]
        self.assertEqual([call.method for call in calls], ["POST", "PUT", "PUT", "DELETE"])
        return calls


class HeaderTests(ApiTestCase):
    """Protocol §2's table, on every callback."""

    def test_exactly(self) -> None:
        """These headers and no others."""
        calls = self.live(
            ("Origin", "https://page.test"),
            ("User-Agent", "Browser/1.0"),
            ("Authorization", "Bearer token"),
            ("Cookie", "secret=1"),
            ("X-Other", "secret"),
            ("Accept-Language", "de"),
        )
        ws_uri = self.gate.last_identity.ws_uri
        tag = self.gate.last_identity.tag
        common = {
            "ws-uri": [ws_uri],
            "ws-path": ["/chat?room=7"],
            "ws-host": ["gateway.test"],
            "ws-scheme": ["ws"],
            "ws-client": ["192.0.2.1"],
            "ws-origin": ["https://page.test"],
            "ws-user-agent": ["Browser/1.0"],
            "authorization": ["Bearer token"],
            "x-forwarded-for": ["192.0.2.1"],
            "x-forwarded-proto": ["http"],
            "ws-timestamp": [str(int(NOW))],
            "user-agent": [f"wsaas/{__version__}"],
            "accept-encoding": ["identity"],
        }
        post, text, binary, delete = calls
        self.assertEqual(fields(post), {**common, "ws-id": [f"{tag}-0"], "content-type": ["application/json"]})
        self.assertEqual(fields(text), {**common, "ws-id": [f"{tag}-1"], "content-type": ["text/plain; charset=utf-8"]})
        self.assertEqual(
            fields(binary), {**common, "ws-id": [f"{tag}-2"], "content-type": ["application/octet-stream"]}
        )
        self.assertEqual(
            fields(delete),
            {**common, "ws-id": [f"{tag}-end"], "ws-close-code": ["1000"], "ws-closed-by": ["client"]},
        )
        self.assertEqual(json.loads(post.body or b""), {"ws_uri": ws_uri})
        self.assertEqual((text.body, binary.body, delete.body), ("grün".encode(), b"\xff", None))
        self.assertEqual({call.uri for call in calls}, {"http://api.test/hook"})

    def test_absent_ones(self) -> None:
        """What the client did not send is not there, rather than empty."""
        for call in self.live():
            self.assertEqual(
                {"ws-origin", "ws-user-agent", "authorization", "sec-websocket-protocol", "ws-state"}
                & set(fields(call)),
                set(),
            )

    def test_tls_and_addresses(self) -> None:
        """wss and https; IPv6; nothing where there is no address."""
        wire = self.gate.connect(peer=IPv6Address("TCP", "2001:db8::1", 1), kind=SecureWire)
        wire.deliver(handshake_request())
        found = fields(self.gate.agent.last)
        self.assertEqual((found["ws-scheme"], found["x-forwarded-proto"]), (["wss"], ["https"]))
        self.assertEqual((found["ws-client"], found["x-forwarded-for"]), (["2001:db8::1"], ["2001:db8::1"]))
        self.gate.connect(peer=UNIXAddress(b"")).deliver(handshake_request())
        self.assertEqual({"ws-client", "x-forwarded-for"} & set(fields(self.gate.agent.last)), set())

    def test_forwarded_ones(self) -> None:
        """FORWARD_HEADERS in any case, repeated ones repeated, in their order."""
        self.gate = Gate(FORWARD_HEADERS="X-Tenant, Sec-WebSocket-Protocol")
        for call in self.live(
            ("x-tenant", "a"), ("X-TENANT", "b, c"), ("Sec-WebSocket-Protocol", "v1"), ("Authorization", "Bearer a")
        ):
            self.assertEqual(fields(call)["x-tenant"], ["a", "b, c"])
            self.assertEqual(fields(call)["sec-websocket-protocol"], ["v1"])
            self.assertNotIn("authorization", fields(call))

    def test_api_headers_win(self) -> None:
        """Over forwarded ones of the same name, in any case; repeated ones stay repeated."""
        self.gate = Gate(API_HEADERS="authorization: Basic operator\nX-Fixed: 1\nX-Fixed: 2")
        for call in self.live(("Authorization", "Bearer client"), ("X-Fixed", "client")):
            self.assertEqual(fields(call)["authorization"], ["Basic operator"])
            self.assertEqual(fields(call)["x-fixed"], ["1", "2"])

    def test_a_client_cannot_pretend(self) -> None:
        """Headers of the gateway's own do not come from clients, with dashes or underscores, in any case."""
        for call in self.live(
            ("Ws-Client", "evil"),
            ("Ws_Client", "evil"),
            ("WS-URI", "evil"),
            ("ws_state", "evil"),
            ("X-Forwarded-For", "evil"),
            ("X_Forwarded_Proto", "evil"),
            ("X-Forwarded-Host", "evil"),
            ("Content-Encoding", "evil"),
        ):
            self.assertNotIn("evil", str(fields(call)))

    def test_text_type(self) -> None:
        """API_TEXT_TYPE."""
        self.gate = Gate(API_TEXT_TYPE="application/json")
        _, text, binary, _ = self.live()
        self.assertEqual(text.header("Content-Type"), "application/json")
        self.assertEqual(binary.header("Content-Type"), "application/octet-stream")

    def test_state(self) -> None:
        """What was last set goes with each later call, the DELETE too; empty removes it."""
        wire = self.gate.begin()
        states: list[str | None] = []
        for answer in (("Ws-State", "user=7"), None, ("Ws-State", "two words"), ("Ws-State", "")):
            states.append(self.gate.agent.last.header("Ws-State"))
            self.gate.agent.last.answer(200, b'{"code": "OK"}', *([answer] if answer else []))
            wire.deliver(frame(TEXT, b"a"))
        self.assertEqual(states, [None, "user=7", "user=7", "two words"])
        self.assertIsNone(self.gate.agent.last.header("Ws-State"))
        self.gate.agent.last.answer(200, b"", ("Ws-State", "last"))
        wire.end()
        self.assertEqual(self.gate.agent.last.header("Ws-State"), "last")

    def test_timestamp_is_of_the_attempt(self) -> None:
        """A call that waits for its slot is dated when it goes."""
        self.gate = Gate(API_MAX_REQUESTS="1")
        wire = self.gate.open()
        self.gate.slots.acquire("PUT")
        wire.deliver(frame(TEXT, b"a"))
        self.gate.clock.advance(12.5)
        self.gate.slots.release("PUT")
        self.assertEqual(self.gate.agent.last.header("Ws-Timestamp"), str(int(NOW) + 12))

    def test_a_clock_that_is_set(self) -> None:
        """The next call has the new time; how long messages are tried again does not change."""
        self.gate = Gate(API_RETRY_FOR="60000")
        wire = self.gate.open()
        for set_by in (-3600, 90_000):
            wire.deliver(frame(TEXT, b"a"))
            self.gate.agent.last.answer(503, b"")
            self.gate.now.set_by(set_by)
            self.gate.clock.advance(1)
            self.assertEqual(self.gate.agent.last.method, "PUT")
            self.assertEqual(self.gate.agent.last.header("Ws-Timestamp"), str(int(self.gate.now())))
            self.gate.agent.last.answer(200, b"")
        self.assertEqual(len(self.gate.agent.calls), 5)

    def test_numbers(self) -> None:
        """Each connection counts for itself, in the order in which its client sent."""
        self.gate.agent.react = lambda call: call.answer(200, b'{"code": "OK"}')
        first, second = self.gate.open_as(handshake_request()), self.gate.open_as(handshake_request())
        for wire in (first, second, first):
            wire.deliver(frame(TEXT, b"a"))
        ids = [(call.header("Ws-Id") or "").rpartition("-")[2] for call in self.gate.agent.calls]
        self.assertEqual(ids, ["0", "0", "1", "1", "2"])


class DisconnectTests(ApiTestCase):
    """What the DELETE says, and what comes of it."""

    def setUp(self) -> None:
        """Listen to the log."""
        super().setUp()
        self.events: list[Any] = []
        observer: Any = self.events.append
        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)

    def lines(self, level: Any) -> list[str]:
        """:returns: what was logged at a level"""
        return [formatEvent(event) for event in self.events if event["log_level"] is level]

    def end(self) -> ApiCall:
        """:returns: the DELETE of a connection that has just ended"""
        self.gate.open().end()
        call = self.gate.agent.last
        self.assertEqual(call.method, "DELETE")
        return call

    def test_reason(self) -> None:
        """All but unreserved characters (RFC 3986 §2.3) percent-encoded, as UTF-8."""
        wire = self.gate.open()
        wire.deliver(close_frame(1000, "a-b_c.d~e /ü%\n"))
        self.gate.turn()
        self.assertEqual(self.gate.agent.last.header("Ws-Close-Reason"), "a-b_c.d~e%20%2F%C3%BC%25%0A")

    @moderately
    @given(st.text(max_size=30))
    def test_any_reason(self, reason: str) -> None:
        """It comes back as it was, in ASCII that no header minds; absent if empty."""
        wire = self.gate.open()
        wire.deliver(close_frame(4000, reason))
        self.gate.turn()
        value = self.gate.agent.last.header("Ws-Close-Reason")
        self.assertEqual(None if value is None else unquote(value, errors="strict"), reason or None)
        self.gate.agent.last.answer()
        self.assertRegex(value or "", r"\A[A-Za-z0-9._~%-]*\Z")

    def test_undelivered(self) -> None:
        """Messages that were dropped are counted, if there are any."""
        wire = self.gate.open()
        wire.deliver(frame(TEXT, b"1") + frame(TEXT, b"2") + frame(TEXT, b"3"))
        self.gate.agent.last.answer(200, b"", ("Ws-Close", "4000 done"))
        self.assertEqual(read_frames(wire.take()), [Frame(8, close_payload(4000, "done"))])
        wire.end()
        self.assertEqual(self.gate.agent.last.header("Ws-Undelivered"), "2")
        self.assertIsNone(self.end().header("Ws-Undelivered"))

    def test_taken(self) -> None:
        """2xx and 410: nothing to say."""
        for status in (200, 204, 299, 410):
            self.end().answer(status, b"")
        self.assertEqual(self.gate.disconnects.lost, 0)
        self.assertEqual(self.lines(LogLevel.warn) + self.lines(LogLevel.error), [])
        self.assertEqual(len(self.gate.registry), 0)

    def test_no_such_route(self) -> None:
        """405 and 501: one warning a run; nothing is lost."""
        for status in (405, 501, 405):
            self.end().answer(status, b"")
        (warning,) = self.lines(LogLevel.warn)
        self.assertIn("DELETE", warning)
        self.assertIn("405", warning)
        self.assertEqual((self.gate.disconnects.lost, self.lines(LogLevel.error)), (0, []))

    def test_not_taken(self) -> None:
        """Other answers, or none: with one attempt only, an error in the log, and counted."""
        self.gate = Gate(API_RETRY_FOR="0", API_DELETE_FOR="0")
        answers: list[Any] = [302, 400, 401, 404, 429, 500, 503]
        for status in answers:
            self.end().answer(status, b"")
        self.end().fail(ConnectError())
        self.end().fail(ConnectionLost())
        self.end()
        self.gate.clock.advance(self.gate.settings.api.timeout)
        count = len(answers) + 3
        self.assertEqual((self.gate.disconnects.lost, len(self.lines(LogLevel.error))), (count, count))
        self.assertEqual(self.gate.totals.pending.number, 0)
        self.assertEqual(self.gate.slots.held, 0)
        for line in self.lines(LogLevel.error):
            self.assertNotIn(self.gate.key, line)

    def test_tried_again(self) -> None:
        """Nothing of the connection is kept for it; the same call, dated anew."""
        wire = self.gate.open("/p", answer=(("Ws-State", "s"),))
        wire.deliver(close_frame(4000, "why"))
        self.gate.turn()
        first = self.gate.agent.last
        first.answer(503, b"")
        self.assertEqual((len(self.gate.registry), self.gate.totals.pending.number), (0, 1))
        self.gate.clock.advance(1)
        second = self.gate.agent.last
        self.assertIsNot(second, first)
        self.assertEqual(fields(second)["ws-timestamp"], [str(int(self.gate.now()))])
        self.assertEqual(
            {**fields(second), "ws-timestamp": None}, {**fields(first), "ws-timestamp": None}, fields(second)
        )
        second.answer(200)
        self.assertEqual((self.gate.totals.pending.number, self.gate.disconnects.lost), (0, 0))


class RetryTests(ApiTestCase):
    """PUTs that are tried again."""

    def test_the_same_call(self) -> None:
        """Dated anew; it holds no slot while it waits."""
        wire = self.gate.open()
        wire.deliver(frame(TEXT, b"a"))
        first = self.gate.agent.last
        first.answer(503, b"", ("Retry-After", "7"))
        self.assertEqual((self.gate.slots.held, len(self.gate.agent.calls)), (0, 2))
        self.gate.clock.advance(7)
        self.assertEqual(len(self.gate.agent.calls), 2)
        self.gate.clock.advance(1)
        second = self.gate.agent.last
        self.assertEqual(int(second.header("Ws-Timestamp") or 0), NOW + 8)
        self.assertEqual(second.body, b"a")
        for name, values in fields(first).items():
            if name != "ws-timestamp":
                self.assertEqual(fields(second)[name], values)

    def test_its_time_begins_with_its_first_attempt(self) -> None:
        """Not with its wait for a slot; and it goes on in its next attempts."""
        self.gate = Gate(API_MAX_REQUESTS="1", API_TIMEOUT="5000", API_RETRY_FOR="10000", WS_TIMEOUT="0")
        wire = self.gate.open()
        self.gate.slots.acquire("PUT")
        wire.deliver(frame(TEXT, b"a"))
        self.gate.clock.advance(100)
        self.gate.slots.release("PUT")
        for _ in range(99):
            self.gate.clock.advance(0.1)
        self.assertEqual(read_frames(wire.take()), [])
        # The attempt that is on its way has its own time.
        for _ in range(60):
            self.gate.clock.advance(0.1)
        self.assertEqual(read_frames(wire.take()), [Frame(8, close_payload(1013))])

    def test_attempts_that_are_given_up(self) -> None:
        """What they bring later does not count."""
        self.gate = Gate(API_TIMEOUT="1000", WS_TIMEOUT="0")
        wire = self.gate.open()
        wire.deliver(frame(TEXT, b"a"))
        self.gate.clock.advance(1)
        self.assertTrue(self.gate.agent.last.cancelled)


class DownTests(ApiTestCase):
    """New clients while the API is known to be down, or owed too much."""

    def refused(self) -> HttpAnswer:
        """:returns: the answer to a handshake of which the API does not hear"""
        before = len(self.gate.agent.calls)
        wire = self.gate.begin()
        answer, _ = read_answer(wire.take())
        self.assertEqual(len(self.gate.agent.calls), before)
        self.assertEqual(answer.status, 503)
        return answer

    def go_down(self) -> None:
        """Let POSTs fail until it is known."""
        self.gate.agent.react = lambda call: call.fail(ConnectError())
        while not self.gate.breaker.is_open:
            self.gate.begin()
            self.gate.clock.advance(0.3)

    def test_refused_at_once(self) -> None:
        """503 with Retry-After, and nothing is owed."""
        self.go_down()
        self.assertEqual(self.refused().header("Retry-After"), "1")
        self.assertEqual(self.gate.totals.pending.number, 0)

    def test_a_probe(self) -> None:
        """One is let through after a while; its answer lets everybody in, whatever it says."""
        self.go_down()
        self.gate.clock.advance(1)
        self.gate.agent.react = None
        self.gate.begin()
        self.assertEqual(self.gate.agent.last.method, "POST")
        self.refused()
        self.gate.agent.last.answer(500)
        self.gate.open()

    def test_a_message_is_a_probe(self) -> None:
        """Also one that is tried again."""
        wire = self.gate.open()
        self.go_down()
        wire.deliver(frame(TEXT, b"a"))
        self.refused()
        self.gate.agent.react = None
        self.gate.clock.advance(0.26)
        self.assertEqual(self.gate.agent.last.method, "PUT")
        self.gate.agent.last.answer(503)
        self.gate.open()

    def test_a_status_is_no_outage(self) -> None:
        """However bad, and however often."""
        self.gate.agent.react = lambda call: call.answer(503)
        for _ in range(50):
            self.gate.begin()
            self.gate.clock.advance(0.3)
        self.gate.agent.react = None
        self.gate.open()

    def test_too_much_owed(self) -> None:
        """503 with Retry-After, until some of it is paid."""
        self.patch(disconnects, "MAX_BYTES", 1000)
        while not self.gate.disconnects.is_full:
            self.gate.open().end()
            self.gate.agent.last.answer(500)
        self.assertEqual(self.refused().header("Retry-After"), "30")
        self.gate.agent.react = lambda call: call.answer()
        self.gate.clock.pump([1.0] * 5)
        self.gate.agent.react = None
        self.gate.open()


class SlotTests(ApiTestCase):
    """API_MAX_REQUESTS attempts on the wire."""

    def test_all_in_all(self) -> None:
        """Of all connections together; who waits holds none."""
        self.gate = Gate(API_MAX_REQUESTS="2")
        for _ in range(5):
            self.gate.begin()
        self.assertEqual(len(self.gate.agent.calls), 2)
        self.gate.agent.calls[0].answer(403)
        self.assertEqual(len(self.gate.agent.calls), 3)

    def test_given_back(self) -> None:
        """Whatever the call brought."""
        self.gate = Gate(API_MAX_REQUESTS="1", API_TIMEOUT="1000")
        endings: list[Any] = [
            lambda call: call.answer(403),
            lambda call: call.answer(500),
            lambda call: call.fail(ConnectError()),
            lambda call: self.gate.clock.advance(1),
            lambda call: call.answer(200, b"a" * 200_000),
        ]
        for ending in endings:
            self.gate.begin()
            ending(self.gate.agent.last)
            if self.gate.agent.last.method == "DELETE":
                self.gate.agent.last.answer()
            self.assertEqual((self.gate.slots.held, self.gate.slots.waiting), (0, 0))

    def test_waiting_is_a_part_of_the_time(self) -> None:
        """A POST that waited for its slot has only the rest."""
        self.gate = Gate(API_MAX_REQUESTS="1", API_TIMEOUT="3000")
        self.gate.slots.acquire("POST")
        wire = self.gate.begin()
        self.gate.clock.advance(2)
        self.gate.slots.release("POST")
        self.assertEqual(self.gate.agent.methods, ["POST"])
        self.gate.clock.advance(0.9)
        self.assertEqual(wire.take(), b"")
        self.gate.clock.advance(0.1)
        self.assertTrue(wire.take().startswith(b"HTTP/1.1 504 "))

    def test_a_message_waits_for_its_slot(self) -> None:
        """Its own time begins when it is sent."""
        self.gate = Gate(API_MAX_REQUESTS="1", API_TIMEOUT="3000", WS_TIMEOUT="0")
        wire = self.gate.open()
        self.gate.slots.acquire("PUT")
        wire.deliver(frame(TEXT, b"a"))
        self.gate.clock.advance(2.9)
        self.gate.slots.release("PUT")
        self.gate.clock.advance(2.9)
        self.gate.agent.last.answer(200, b"reply", ("Ws-Reply", "text"))
        self.assertEqual(read_frames(wire.take()), [Frame(TEXT, b"reply")])

    def test_a_message_waits_no_longer_than_an_attempt_takes(self) -> None:
        """Then the client is told that the API is away; nobody's slot is given away."""
        self.gate = Gate(API_MAX_REQUESTS="1", API_TIMEOUT="3000", WS_TIMEOUT="0", API_RETRY_FOR="0")
        wire = self.gate.open()
        self.gate.slots.acquire("PUT")
        wire.deliver(frame(TEXT, b"a"))
        self.gate.clock.advance(3.1)
        (found,) = read_frames(wire.take())
        self.assertEqual((found.opcode, found.payload[:2]), (CLOSE, b"\x03\xf5"))
        self.assertEqual((self.gate.slots.held, self.gate.slots.waiting), (1, 0))
        self.gate.slots.release("PUT")
        wire.end()
        self.assertEqual(self.gate.agent.last.header("Ws-Closed-By"), "unreachable")
        self.assertEqual(self.gate.agent.last.header("Ws-Undelivered"), "1")


class WireTests(SynchronousTestCase):
    """Callbacks as bytes."""

    def setUp(self) -> None:
        """Put the real client over memory."""
        self.gate = Gate()
        self.api = MemoryApi()
        client = self.gate.api.client
        client._agent = PersistentAgent(self.api.reactor, ApiTrust(None, None), 2, 30.0, 1 << 20)
        client.uri = "http://192.0.2.10/hook?a=b"

    def request(self, wire: Wire) -> ReceivedRequest:
        """:returns: the one request that came"""
        (request,) = read_requests(wire.take())
        return request

    def test_lengths(self) -> None:
        """POST and PUT have one, 0 too, and are not chunked; DELETE has neither body nor type; the query is kept."""
        client = self.gate.begin()
        api = self.api.accept()
        post = self.request(api)
        self.assertEqual(post.line, "POST /hook?a=b HTTP/1.1")
        self.assertEqual(post.headers["content-length"], [str(len(post.body))])
        self.assertEqual(post.headers["accept-encoding"], ["identity"])
        api.deliver(answer_bytes(200, b'{"code":"OK"}'))
        client.deliver(frame(TEXT, b""))
        put = self.request(api)
        self.assertEqual((put.line, put.headers["content-length"]), ("PUT /hook?a=b HTTP/1.1", ["0"]))
        self.assertEqual(put.headers["content-type"], ["text/plain; charset=utf-8"])
        api.deliver(answer_bytes(204))
        client.end()
        delete = self.request(api)
        self.assertEqual(delete.line, "DELETE /hook?a=b HTTP/1.1")
        self.assertEqual({"content-length", "content-type"} & set(delete.headers), set())
        self.assertEqual(delete.body, b"")

    def test_the_repetition_has_the_same_id(self) -> None:
        """It is the idempotency key."""
        self.gate.begin()
        api = self.api.accept()
        api.deliver(answer_bytes(403))
        api.take()
        client = self.gate.begin()
        first = self.request(api)
        api.end()
        self.api.turn()
        fresh = self.api.accept()
        second = self.request(fresh)
        self.assertEqual(first.headers["ws-id"], second.headers["ws-id"])
        self.assertEqual((first.line, first.body), (second.line, second.body))
        fresh.deliver(answer_bytes(200, b'{"code":"OK"}'))
        self.assertTrue(client.take().startswith(b"HTTP/1.1 101 "))
