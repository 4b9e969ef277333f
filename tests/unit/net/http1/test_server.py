"""HTTP on our listeners: heads judged before bodies, bounds, deadlines, pipelining, the way out of HTTP."""

from __future__ import annotations

import gc
import weakref
from itertools import pairwise
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.internet.testing import MemoryReactorClock
from twisted.logger import formatEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from tests.gate import FULL, HttpAnswer, SecureWire, Wire, http_request, read_answer, read_answers
from tests.properties import moderately
from wsaas.net.http1.connection import LINGER, MAX_EARLY, PER_TURN, REFUSED, REFUSED_PAUSE
from wsaas.net.http1.messages import RequestHead, Response, json_response, text_response
from wsaas.net.http1.route import ByValue, HandOver, Route, Visitor
from wsaas.net.http1.server import Channel
from wsaas.net.http1.site import ClientSite, SiteLimits

HEAD_TIMEOUT = 30.0
MAX_BODY = 100


class Attempt:
    """A handshake that waits."""

    def __init__(self, visitor: Visitor) -> None:
        self.visitor = visitor
        self.begun = self.is_over = False

    def begin(self) -> None:
        """It is told to."""
        self.begun = True

    def left(self) -> None:
        """Its client is gone."""
        self.is_over = True


class Rules:
    """Routes by target: refuses what asks for it, answers with the body at once or when told to, keeps handshakes."""

    def __init__(self) -> None:
        self.heads: list[RequestHead] = []
        self.bodies: list[bytes] = []
        self.waiting: list[Deferred[Response]] = []
        self.attempts: list[Attempt] = []
        self.unheard: list[tuple[bytes, int]] = []

    def decide(self, head: RequestHead) -> Route:
        """Refuse what asks for it."""
        self.heads.append(head)
        if head.path == b"/refused":
            return text_response(403, "refused")
        if head.path == b"/handshake":
            return HandOver(self)
        return ByValue(self)

    def judge(self, head: RequestHead) -> Response | None:
        """Refuse what is too long."""
        if head.length is not None and head.length > MAX_BODY:
            return json_response(413, "MESSAGE_TOO_LONG")
        return None

    def respond(self, head: RequestHead, body: bytes) -> Response | Deferred[Response]:
        """Echo the body, now or later."""
        refusal = self.judge(head)
        if refusal is not None:
            return refusal
        self.bodies.append(body)
        if head.path == b"/wait":
            waiting: Deferred[Response] = Deferred()
            self.waiting.append(waiting)
            return waiting
        return Response(200, (), body)

    def missed(self, head: RequestHead, response: Response) -> None:
        """A request was refused while its body came."""
        self.unheard.append((head.method, response.status))

    def is_trusted(self, head: RequestHead) -> bool:
        """:returns: what the request says"""
        return head.path == b"/trusted"

    def attempt(self, visitor: Visitor) -> Attempt | Response:
        """Keep a handshake."""
        self.attempts.append(Attempt(visitor))
        return self.attempts[-1]


class ChannelTestCase(SynchronousTestCase):
    """A site with rules of its own, in memory."""

    def setUp(self) -> None:
        """Make a site."""
        self.clock = MemoryReactorClock()
        self.rules = Rules()
        self.site = ClientSite(self.rules, self.clock, SiteLimits(HEAD_TIMEOUT, MAX_BODY))

    def connect(self, kind: type[Wire] = Wire) -> Wire:
        """Connect to it."""
        wire = kind(self.clock)
        protocol = self.site.buildProtocol(wire.getPeer())
        assert protocol is not None
        return wire.attach(protocol)

    def only(self, wire: Wire, *, head_only: bool = False) -> HttpAnswer:
        """:returns: the one answer that has come"""
        answer, rest = read_answer(wire.take(), head_only=head_only)
        self.assertEqual(rest, b"")
        return answer

    def assert_leaves(self, wire: Wire) -> None:
        """The connection is given up in an orderly way, and for good after a while."""
        self.assertTrue(wire.half_closed)
        self.assertFalse(wire.over)
        self.clock.advance(LINGER)
        self.clock.advance(0)
        self.assertTrue(wire.aborted)
        self.assertTrue(wire.over)
        self.assertEqual(self.clock.getDelayedCalls(), [])


class JudgementTests(ChannelTestCase):
    """The head decides, before any of the body."""

    def test_refused_before_its_body_is_sent(self) -> None:
        """A long body is neither awaited nor read."""
        wire = self.connect()
        wire.deliver(b"PUT /x HTTP/1.1\r\nHost: h\r\nContent-Length: 30000000\r\n\r\n")
        answer = self.only(wire)
        self.assertEqual(answer.status, 413)
        self.assertEqual(answer.header("Connection"), "close")
        self.assertEqual(self.rules.bodies, [])
        self.assert_leaves(wire)

    def test_refused_before_100_continue(self) -> None:
        """Who asks first is not told to go on, and need not send what it announced."""
        wire = self.connect()
        wire.deliver(http_request("PUT", "/refused", None, ("Expect", "100-continue"), ("Content-Length", "5")))
        self.assertEqual(self.only(wire).status, 403)
        self.assert_leaves(wire)

    def test_100_continue_only_for_what_may_be_read(self) -> None:
        """Who may go on is told so, and then answered."""
        wire = self.connect()
        wire.deliver(http_request("PUT", "/x", None, ("Expect", "100-continue"), ("Content-Length", "5")))
        self.assertEqual(wire.take(), b"HTTP/1.1 100 Continue\r\n\r\n")
        wire.deliver(b"hello")
        self.assertEqual(self.only(wire).body, b"hello")

    def test_refused_without_body_keeps_the_connection(self) -> None:
        """There is nothing to read past."""
        wire = self.connect()
        wire.deliver(http_request("GET", "/refused") + http_request("PUT", "/x", b"next"))
        refused, accepted = read_answers(wire.take())
        self.assertEqual((refused.status, accepted.status, accepted.body), (403, 200, b"next"))

    def test_short_refused_body_is_read_past(self) -> None:
        """It is answered before it is complete, then thrown away, and the connection is kept."""
        wire = self.connect()
        wire.deliver(http_request("PUT", "/refused", b"12345")[:-3])
        self.assertEqual(self.only(wire).status, 403)
        wire.deliver(b"345")
        self.assertEqual(wire.take(), b"")
        wire.deliver(http_request("PUT", "/x", b"next"))
        self.assertEqual(self.only(wire).body, b"next")
        self.assertEqual(self.rules.bodies, [b"next"])

    def test_refused_chunked_body_ends_the_connection(self) -> None:
        """Nobody knows how long it is."""
        wire = self.connect()
        wire.deliver(http_request("PUT", "/refused", None, ("Transfer-Encoding", "chunked")) + b"5\r\n")
        self.assertEqual(self.only(wire).header("Connection"), "close")
        self.assert_leaves(wire)

    def test_refusal_of_head_has_no_body(self) -> None:
        """RFC 9110 §9.3.2."""
        wire = self.connect()
        wire.deliver(http_request("HEAD", "/refused"))
        self.assertEqual(self.only(wire, head_only=True).status, 403)
        wire.deliver(http_request("HEAD", "/refused", None, ("Connection", "close")))
        answer = self.only(wire, head_only=True)
        self.assertEqual(answer.header("Connection"), "close")
        self.assertNotEqual(answer.header("Content-Length"), "0")

    def test_the_head_is_told_as_sent(self) -> None:
        """Method, target, version, length, fields."""
        self.connect().deliver(http_request("PUT", "/a/b?c=%20d", b"12345", ("X", " \ta b\t "), ("x", "2")))
        self.connect().deliver(http_request("PUT", "/", None, ("Transfer-Encoding", "chunked")))
        head, chunked = self.rules.heads
        self.assertEqual(
            (head.method, head.target, head.version, head.length, head.all(b"X")),
            (b"PUT", b"/a/b?c=%20d", b"HTTP/1.1", 5, [b"a b", b"2"]),
        )
        self.assertIsNone(chunked.length)

    def test_who_takes_a_socket_over_sees_whose_it_is(self) -> None:
        """Whether it is secure, and the client's address."""
        for kind in (SecureWire, Wire):
            self.connect(kind).deliver(http_request("GET", "/handshake"))
            head = self.rules.attempts[-1].visitor.head
            self.assertEqual((head.secure, head.client), (kind is SecureWire, "192.0.2.1"))


class LingeringTests(ChannelTestCase):
    """A peer that still sends gets to see why it is not read (RFC 9112 §9.6)."""

    def refuse(self, kind: type[Wire] = Wire) -> Wire:
        """Refuse a body that is on its way."""
        wire = self.connect(kind)
        wire.deliver(http_request("PUT", "/x", None, ("Content-Length", "1000000")))
        return wire

    def test_what_still_comes_is_thrown_away(self) -> None:
        """It is no request and gets no answer."""
        wire = self.refuse()
        wire.take()
        wire.deliver(http_request("PUT", "/x", b"smuggled"))
        self.assertEqual(wire.take(), b"")
        self.assertEqual(len(self.rules.heads), 1)
        self.assert_leaves(wire)

    def test_ends_when_the_peer_ends(self) -> None:
        """No timer is left then."""
        wire = self.refuse()
        wire.end()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_tls_is_closed_whole(self) -> None:
        """TLS has no half-closed connections."""
        wire = self.refuse(SecureWire)
        self.assertFalse(wire.half_closed)
        self.assertTrue(wire.disconnecting)
        self.assertEqual(self.only(wire).status, 413)

    def test_refused_without_body_but_with_close_is_aborted_in_the_end(self) -> None:
        """The end of the request, which comes in the same moment, leaves the timer alone."""
        for request in (
            http_request("GET", "/refused", None, ("Connection", "close")),
            http_request("GET", "/refused", version="1.0"),
        ):
            wire = self.connect()
            wire.deliver(request)
            self.assertEqual(self.only(wire).status, 403)
            self.assert_leaves(wire)

    def test_reading_goes_on_after_a_pause(self) -> None:
        """A paused transport would never meet the end of the connection."""
        wire = self.connect()
        wire.stall()
        wire.deliver(http_request("PUT", "/x", b"x" * 90) * 600)
        for _ in range(10):
            self.clock.advance(0)
        self.assertEqual(wire.producerState, "paused")
        wire.flow()
        for _ in range(10):
            self.clock.advance(0)
        self.assertEqual(wire.producerState, "producing")
        wire.stall()
        wire.deliver(http_request("PUT", "/x", b"x" * 90) * 60 + b"nonsense\r\n")
        self.assertEqual(wire.producerState, "producing")


class LogTests(ChannelTestCase):
    """A line for each refusal that is no push, with who it was and why; limited in their rate."""

    def setUp(self) -> None:
        """Keep what is logged."""
        super().setUp()
        self.events: list[Any] = []
        observer: Any = self.events.append
        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)

    def told(self) -> list[str]:
        """:returns: the lines since the last time"""
        self.assertTrue(all(event["many"] for event in self.events))
        told = [formatEvent(event) for event in self.events]
        self.events.clear()
        return told

    def test_heads(self) -> None:
        """Malformed, too long, TLS, and by its route: without query and key."""
        key = b"k" * 24
        for data, line in (
            (b"nonsense\r\n", "400: 192.0.2.1: malformed request"),
            (b"GET / HTTP/1.1\r\nno colon\r\n\r\n", "400: 192.0.2.1: malformed request"),
            (b"\r\n\r\n", "400: 192.0.2.1: malformed request"),
            (b"GET /" + b"a" * 20000, "414: 192.0.2.1: the request's head is too long (WS_MAX_TARGET)"),
            (
                b"GET / HTTP/1.1\r\nX: " + b"a" * 20000,
                "431: 192.0.2.1: the request's head is too long (WS_MAX_HEADERS)",
            ),
            (b"GET / HTTP/1.1\r\n" + b"X: a\r\n" * 600, "431: 192.0.2.1: the request's head is over 500 lines"),
            (b"\x16\x03\x01\x02\x00\x01\r\n", "400: 192.0.2.1: TLS on a port without"),
            (http_request("GET", "/refused?token=secret"), "403: 192.0.2.1 GET /refused: refused"),
        ):
            self.connect().deliver(data)
            self.assertEqual(self.told(), [f"- refused with {line}"])
        self.rules.decide = lambda _: json_response(404, "NOT_FOUND", "nothing")  # type: ignore[method-assign,assignment]
        self.site.decide = self.rules.decide
        self.connect().deliver(b"GET /a/%b/b HTTP/1.1\r\nHost: h\r\n\r\n" % key)
        self.assertEqual(self.told(), ["- refused with 404: 192.0.2.1 GET /a/…/b: nothing"])

    def test_too_late(self) -> None:
        """408; of a body that is late and refused, nothing more."""
        self.connect().deliver(b"GET / HTTP/1.1\r\n")
        self.clock.advance(HEAD_TIMEOUT)
        self.assertEqual(self.told(), ["- refused with 408: 192.0.2.1: the request was not complete in time"])
        self.connect().deliver(http_request("PUT", "/refused", None, ("Content-Length", "9")))
        self.assertEqual(self.told(), ["- refused with 403: 192.0.2.1 PUT /refused: refused"])
        self.clock.advance(HEAD_TIMEOUT)
        self.assertEqual(self.told(), [])

    def test_pushes(self) -> None:
        """Who answers them counts them."""
        self.connect().deliver(http_request("PUT", "/x", None, ("Content-Length", "9")))
        self.clock.advance(HEAD_TIMEOUT)
        chunked = http_request("PUT", "/x", None, ("Transfer-Encoding", "chunked"))
        self.connect().deliver(chunked + b"x\r\n")
        self.connect().deliver(chunked + b"fff\r\n" + b"a" * 4095 + b"\r\n")
        self.site.bodies.used = self.site.bodies.limit
        self.connect().deliver(http_request("PUT", "/x", None, ("Content-Length", "9")))
        self.assertEqual(self.rules.unheard, [(b"PUT", 408), (b"PUT", 400), (b"PUT", 413), (b"PUT", 503)])
        self.connect().deliver(http_request("PUT", "/x", None, ("Content-Length", str(MAX_BODY + 1))))
        self.assertEqual((len(self.rules.unheard), self.told()), (4, []))


class DeadlineTests(ChannelTestCase):
    """Heads and bodies are complete in time, however slowly they trickle."""

    def assert_408(self, wire: Wire) -> None:
        """It took too long."""
        answer = self.only(wire)
        self.assertEqual((answer.status, answer.header("Connection")), (408, "close"))
        self.assert_leaves(wire)

    def trickle(self, wire: Wire, data: bytes, seconds: float) -> None:
        """Send bytes one by one."""
        for index in range(len(data)):
            wire.deliver(data[index : index + 1])
            self.clock.advance(seconds / len(data) + 1e-6)

    def test_silence(self) -> None:
        """Not even a request line."""
        wire = self.connect()
        self.clock.advance(HEAD_TIMEOUT - 1)
        self.assertEqual(wire.take(), b"")
        self.clock.advance(1)
        self.assert_408(wire)

    def test_trickling_head(self) -> None:
        """Each byte comes long before any idle time-out."""
        wire = self.connect()
        self.trickle(wire, b"GET / HTTP/1.1\r\nX-Pad: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", HEAD_TIMEOUT)
        self.assert_408(wire)

    def test_trickling_body(self) -> None:
        """The body has the same time again."""
        wire = self.connect()
        self.clock.advance(HEAD_TIMEOUT - 1)
        wire.deliver(http_request("PUT", "/x", b"a" * 60)[:-60])
        self.trickle(wire, b"a" * 59, HEAD_TIMEOUT)
        self.assert_408(wire)

    def test_trickling_head_of_the_second_request(self) -> None:
        """Its time begins with its first byte; before that the connection is merely idle."""
        wire = self.connect()
        wire.deliver(http_request("GET", "/x"))
        wire.take()
        self.clock.advance(HEAD_TIMEOUT + 1)
        self.assertEqual(wire.take(), b"")
        self.trickle(wire, b"GET / HTTP/1.1\r\nX-Pad: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", HEAD_TIMEOUT)
        self.assert_408(wire)

    def test_trickling_head_that_began_behind_a_request(self) -> None:
        """A pipelined beginning is a beginning: whole lines of it, or a part of one."""
        for beginning in (b"GET / HTTP/1.1\r\n", b"GET / HT"):
            wire = self.connect()
            wire.deliver(http_request("GET", "/x") + beginning)
            wire.take()
            self.trickle(wire, b"TP/1.1\r\n"[len(beginning) - 8 :] if len(beginning) == 8 else b"A: b", 10)
            self.trickle(wire, b"X-Pad: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", HEAD_TIMEOUT - 10)
            self.assert_408(wire)

    def test_an_empty_line_behind_a_request(self) -> None:
        """It is passed over, and begins nothing."""
        wire = self.connect()
        wire.deliver(http_request("PUT", "/x", b"a") + b"\r\n")
        self.only(wire)
        self.clock.advance(HEAD_TIMEOUT + 1)
        self.assertEqual(wire.take(), b"")

    def test_trickling_head_that_began_while_a_request_was_answered(self) -> None:
        """The time begins when the one before is answered."""
        wire = self.connect()
        wire.deliver(http_request("GET", "/wait"))
        wire.deliver(b"GET / HTTP/1.1\r\n")
        self.clock.advance(10 * HEAD_TIMEOUT)
        self.assertEqual(wire.take(), b"")
        self.rules.waiting[0].callback(Response(204))
        wire.take()
        self.trickle(wire, b"X-Pad: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", HEAD_TIMEOUT)
        self.assert_408(wire)

    def test_refused_body_that_does_not_come(self) -> None:
        """It was answered already; a second answer would be taken for the next request's."""
        wire = self.connect()
        wire.deliver(http_request("PUT", "/refused", b"12345")[:-3])
        self.only(wire)
        self.clock.advance(HEAD_TIMEOUT)
        self.assertEqual(wire.take(), b"")
        self.assert_leaves(wire)

    def test_a_long_time_limit_outlasts_the_idle_one(self) -> None:
        """The idle time-out is for what is between two requests."""
        self.site.awaiting.seconds = 600.0
        wire = self.connect()
        wire.deliver(b"GET / HTTP/1.1\r\n")
        self.clock.advance(599)
        self.assertFalse(wire.disconnecting)
        self.clock.advance(1)
        self.assert_408(wire)

    def test_an_idle_connection_is_closed_without_a_word(self) -> None:
        """Between two requests nobody waits for an answer."""
        wire = self.connect()
        wire.deliver(http_request("GET", "/x"))
        wire.take()
        self.clock.advance(61)
        self.clock.advance(0)
        self.assertTrue(wire.over)
        self.assertEqual(wire.take(), b"")
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_no_408_while_the_answer_is_on_its_way(self) -> None:
        """How long an answer takes is not the client's fault."""
        wire = self.connect()
        wire.deliver(http_request("PUT", "/wait", b"12345"))
        self.clock.advance(10 * HEAD_TIMEOUT)
        self.assertEqual(wire.take(), b"")
        self.rules.waiting[0].callback(Response(204))
        self.assertEqual(self.only(wire).status, 204)


class MalformedTests(ChannelTestCase):
    """What is no request is answered and not read on."""

    def assert_refused(self, data: bytes, status: int) -> None:
        """Exactly one answer comes, and the connection ends."""
        wire = self.connect()
        wire.deliver(data)
        answer = self.only(wire)
        self.assertEqual((answer.status, answer.header("Connection")), (status, "close"), data[:80])
        self.assert_leaves(wire)
        self.assertEqual(self.rules.bodies, [])

    def test_400(self) -> None:
        """Request lines and headers that RFC 9112 does not know."""
        for data in (
            b"nonsense\r\n",
            b"GET /\r\n",
            b"GET  / HTTP/1.1\r\n",
            b"GET / HTTP/2.0\r\n",
            b"GET /\xff HTTP/1.1\r\n",
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n",
            b"GET / HTTP/1.1\r\nno colon\r\n\r\n",
            b"GET / HTTP/1.1\r\nno colon\r\nHost: h\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost : h\r\n\r\n",
            b"GET / HTTP/1.1\r\n : h\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: a\x00b\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: a\rb\r\n\r\n",
        ):
            self.assert_refused(data, 400)

    def test_smuggling(self) -> None:
        """Lengths on which two readers could differ (RFC 9112 §6.3, §11.2)."""
        smuggled = http_request("PUT", "/smuggled", b"")
        for headers in (
            b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
            b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
            b"Content-Length: 5\r\nContent-Length: 6\r\n",
            b"Content-Length: 5\r\nContent-Length: 5\r\n",
            b"Content-Length: 5, 5\r\n",
            b"Content-Length: +5\r\n",
            b"Content-Length: -5\r\n",
            b"Content-Length: 0x5\r\n",
            b"Content-Length: 5 5\r\n",
            b"Content-Length: 5_0\r\n",
            b"Content-Length: \r\n",
            b"Content-Length: \xb2\r\n",
            b"Content-Length: " + b"9" * 5000 + b"\r\n",
            b"Transfer-Encoding: gzip, chunked\r\n",
            b"Transfer-Encoding: chunked, identity\r\n",
            b"Transfer-Encoding: xchunked\r\n",
            b"Transfer-Encoding: identity\r\n",
            b"Transfer-Encoding: identity\r\nTransfer-Encoding: chunked\r\n",
            b"Transfer-Encoding: chunked\r\nTransfer-Encoding: Identity\r\n",
            b"Transfer-Encoding: identity\r\nContent-Length: 5\r\n",
            b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
            b"Transfer-Encoding\t: chunked\r\n",
            b"Transfer-Encoding: \x0bchunked\r\n",
        ):
            self.assert_refused(b"PUT /x HTTP/1.1\r\nHost: h\r\n" + headers + b"\r\n0\r\n\r\n" + smuggled, 400)
        self.assertEqual(self.rules.heads, [])

    def test_bad_chunks(self) -> None:
        """Sizes and ends of chunks are as RFC 9112 §7.1 has them."""
        head = http_request("PUT", "/x", None, ("Transfer-Encoding", "chunked"))
        for chunks in (
            b"x\r\n",
            b"-1\r\n",
            b"+1\r\na\r\n",
            b"0x1\r\na\r\n",
            b" 1\r\na\r\n",
            b"1_0\r\n",
            b"\r\n",
            b"1\r\naa\r\n",
            b"1" * 2000,
            b"1;" + b"e" * 2000,
            b"1;\x00\r\n",
        ):
            self.assert_refused(head + chunks, 400)

    def test_folded_headers(self) -> None:
        """RFC 9112 §5.2: refused, as a proxy in front may have read them in another way."""
        for field in (b"Transfer-Encoding:\r\n chunked", b"Content-Length: 1\r\n 0", b"A: b\r\n\tc", b"\tA: b", b" "):
            self.assert_refused(b"PUT /x HTTP/1.1\r\nHost: h\r\n" + field + b"\r\n\r\n", 400)
            self.assert_refused(b"PUT /x HTTP/1.1\r\n" + field + b"\r\nHost: h\r\n\r\n", 400)

    def test_414(self) -> None:
        """A request line longer than a head may be."""
        self.assert_refused(b"GET /" + b"a" * 20000, 414)

    def test_431(self) -> None:
        """A head that is too long, by one line, by many, or by their number."""
        self.assert_refused(b"GET / HTTP/1.1\r\nX: " + b"a" * 20000, 431)
        self.assert_refused(b"GET / HTTP/1.1\r\n" + b"X: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\n" * 500, 431)
        self.assert_refused(b"GET / HTTP/1.1\r\n" + b"X: a\r\n" * 600, 431)

    def test_nothing_is_answered_twice(self) -> None:
        """Whatever comes behind a refusal."""
        wire = self.connect()
        wire.deliver(b"nonsense\r\n")
        self.assertEqual(self.only(wire).status, 400)
        for data in (b"nonsense\r\n", b"a" * 40000, http_request("GET", "/x")):
            wire.deliver(data)
        self.assertEqual(wire.take(), b"")
        self.assert_leaves(wire)


class PersistenceTests(ChannelTestCase):
    """Which connections are kept."""

    def test_pipelining(self) -> None:
        """Answers come in the order of their requests, one at a time, whatever is waited for."""
        wire = self.connect()
        wire.deliver(http_request("PUT", "/wait", b"1") + http_request("PUT", "/x", b"2"))
        wire.deliver(http_request("GET", "/refused"))
        self.assertEqual(wire.take(), b"")
        self.assertEqual(len(self.rules.heads), 1)
        self.rules.waiting[0].callback(Response(200, (), b"1"))
        self.assertEqual([(a.status, a.body) for a in read_answers(wire.take())][:2], [(200, b"1"), (200, b"2")])

    def test_what_is_pipelined_is_bounded(self) -> None:
        """Behind a request that waits, reading stops."""
        for segments in ([b"", b"a" * 20000], [b"a" * 20000]):
            wire = self.connect()
            wire.deliver(http_request("GET", "/wait") + segments[0])
            for segment in segments[1:]:
                wire.deliver(segment)
            self.assertEqual(wire.producerState, "paused")
            self.rules.waiting.pop().callback(Response(200))
            self.assertEqual([answer.status for answer in read_answers(wire.take())], [200, 414])

    def test_http_1_0_is_closed(self) -> None:
        """Whatever it says about keeping alive."""
        wire = self.connect()
        wire.deliver(http_request("PUT", "/x", b"a", ("Connection", "keep-alive"), version="1.0"))
        self.assertEqual(self.only(wire).body, b"a")
        self.clock.advance(0)
        self.assertTrue(wire.over)

    def test_connection_close(self) -> None:
        """As one of several options, too, and in any of several lines (RFC 9110 §7.6.1)."""
        for headers in (
            [("Connection", "close")],
            [("Connection", "Close")],
            [("Connection", "close, te")],
            [("Connection", "keep-alive,close")],
            [("Connection", "te"), ("Connection", "close")],
        ):
            wire = self.connect()
            wire.deliver(http_request("PUT", "/x", b"a", *headers))
            answer = self.only(wire)
            self.assertEqual((answer.body, answer.header("Connection")), (b"a", "close"), headers)
            self.clock.advance(0)
            self.assertTrue(wire.over)

    def test_no_connection_close(self) -> None:
        """Other options leave the connection as it is."""
        wire = self.connect()
        wire.deliver(http_request("PUT", "/x", b"a", ("Connection", "keep-alive, closed")))
        self.only(wire)
        self.clock.advance(0)
        self.assertFalse(wire.disconnecting)


class UnreadTests(ChannelTestCase):
    """Whoever does not read its answers is not read either."""

    def test_pipelined_requests(self) -> None:
        """What waits for it does not grow with what it sends, and is all there once it reads."""
        for target in ("/x", "/refused"):
            wire = self.connect()
            wire.stall()
            once = http_request("PUT", target, b"x" * 90) * 50
            for _ in range(50):
                wire.deliver(once)
            self.assertEqual(wire.producerState, "paused", target)
            self.assertLess(len(wire.dataBuffer), FULL + 50 * 250)
            answers = []
            for _ in range(50 * 50 * REFUSED // PER_TURN):
                wire.flow()
                answers += read_answers(wire.take())
                wire.stall()
                self.clock.advance(REFUSED_PAUSE)
                self.assertLess(len(wire.dataBuffer), FULL + 50 * 250)
            self.assertEqual(len(answers), 50 * 50)

    def test_a_slow_answer(self) -> None:
        """So it is with an answer that took a while."""
        wire = self.connect()
        wire.stall()
        while wire.producerState == "producing" and len(wire.dataBuffer) < 2 * FULL:
            wire.deliver(http_request("GET", "/wait"))
            self.rules.waiting.pop().callback(Response(200, (), b"x" * 90))
        self.assertEqual(wire.producerState, "paused")
        wire.flow()
        self.clock.advance(0)
        self.assertEqual(wire.producerState, "producing")

    def test_the_last_answer(self) -> None:
        """A connection that ends with its answers is not kept for somebody who does not read them."""
        for version, fields in (("1.1", [("Connection", "close")]), ("1.0", [])):
            wire = self.connect()
            wire.stall()
            wire.deliver(
                http_request("PUT", "/x", b"x" * 90) * 200 + http_request("GET", "/x", None, *fields, version=version)
            )
            self.clock.advance(0)
            self.assertTrue(wire.disconnecting)
            self.clock.advance(LINGER)
            self.clock.advance(0)
            self.assertTrue(wire.over)
            self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_a_peer_that_does_not_end_tls(self) -> None:
        """Nor is it for somebody who does not end it, as TLS would have it."""
        wire = self.connect(SecureWire)
        wire.dataBuffer = b"close_notify"
        wire.deliver(http_request("GET", "/x", None, ("Connection", "close")))
        self.assertEqual(self.only(wire).status, 200)
        self.clock.advance(LINGER)
        self.clock.advance(0)
        self.assertTrue(wire.over)


class HandshakeTests(ChannelTestCase):
    """The way out of HTTP."""

    def begin(self, *segments: bytes) -> tuple[Wire, Attempt]:
        """Send a handshake."""
        wire = self.connect()
        for segment in segments:
            wire.deliver(segment)
        attempt = self.rules.attempts[-1]
        self.assertTrue(attempt.begun)
        return wire, attempt

    def detach(self, *segments: bytes) -> tuple[Wire, Any, bytes]:
        """Take a socket over."""
        wire, attempt = self.begin(*segments)
        return (wire, *attempt.visitor.detach())

    def test_early_bytes_of_the_same_segment(self) -> None:
        """They belong to the new protocol."""
        wire, transport, early = self.detach(http_request("GET", "/handshake") + b"early\r\nbytes")
        self.assertIs(transport, wire)
        self.assertEqual(early, b"early\r\nbytes")

    def test_early_bytes_of_later_segments(self) -> None:
        """All of them, in order."""
        *_, early = self.detach(http_request("GET", "/handshake") + b"1", b"\r\n2", b"3\n")
        self.assertEqual(early, b"1\r\n23\n")

    def test_early_bytes_when_it_is_decided_at_once(self) -> None:
        """They are not read on as HTTP; what was answered before goes out before."""
        found: list[tuple[Any, bytes]] = []
        self.patch(Attempt, "begin", lambda attempt: found.append(attempt.visitor.detach()))
        wire = self.connect()
        wire.deliver(http_request("GET", "/x") + http_request("GET", "/handshake") + b"early\r\nbytes")
        self.assertEqual(found, [(wire, b"early\r\nbytes")])
        self.assertEqual(self.only(wire).status, 200)

    def test_leaves_no_producer_and_no_timer(self) -> None:
        """The new protocol registers its own, and a paused transport reads again."""
        wire, _, early = self.detach(http_request("GET", "/x") + http_request("GET", "/handshake"), b"a" * 20000)
        self.assertEqual(len(early), 20000)
        self.assertIsNone(wire.producer)
        self.assertEqual(wire.producerState, "producing")
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_no_early_bytes(self) -> None:
        """As a rule there are none."""
        *_, early = self.detach(http_request("GET", "/handshake"))
        self.assertEqual(early, b"")

    def test_early_bytes_are_bounded(self) -> None:
        """Behind a handshake that waits, reading stops; after a refusal it goes on, and what came is read."""
        wire, attempt = self.begin(http_request("GET", "/handshake") + http_request("PUT", "/x", b"1"))
        self.assertEqual(wire.producerState, "producing")
        wire.deliver(b"\r\nGET /" + b"a" * MAX_EARLY)
        self.assertEqual(wire.producerState, "paused")
        attempt.visitor.answer(text_response(403, "no"))
        self.assertEqual([answer.status for answer in read_answers(wire.take())], [403, 200, 414])

    def test_refused(self) -> None:
        """The connection is kept for other requests, without a deadline until one begins."""
        wire, attempt = self.begin(http_request("GET", "/handshake"))
        self.assertEqual((len(self.site.idle), self.site.awaited), (0, 0))
        attempt.visitor.answer(text_response(403, "no"))
        self.assertEqual(self.only(wire).header("Connection"), None)
        self.assertEqual((len(self.site.idle), self.site.awaited), (1, 0))
        self.clock.advance(HEAD_TIMEOUT + 1)
        wire.deliver(http_request("GET", "/x"))
        self.assertEqual(self.only(wire).status, 200)
        self.clock.advance(59)
        self.assertFalse(wire.disconnecting)
        self.clock.advance(1)
        self.assertTrue(wire.disconnecting)

    def test_refused_at_once(self) -> None:
        """By who would take it over; what is behind it is answered too."""
        self.patch(self.rules, "attempt", lambda _: text_response(403, "no"))
        wire = self.connect()
        wire.deliver(http_request("GET", "/handshake") + http_request("GET", "/x"))
        self.assertEqual([answer.status for answer in read_answers(wire.take())], [403, 200])

    def test_the_client_leaves(self) -> None:
        """Who decides is told, once; an answer that comes late goes nowhere."""
        wire, attempt = self.begin(http_request("GET", "/handshake"))
        wire.end()
        self.assertTrue(attempt.is_over)
        attempt.visitor.answer(text_response(403, "no"))
        self.assertEqual(wire.take(), b"")

    def test_faults(self) -> None:
        """In a check, or when it is begun: 500 in plain text, and the log says how."""

        def fail(_: object) -> None:
            raise ValueError("a fault")

        for place, name in ((Attempt, "begin"), (self.rules, "attempt")):
            patch = self.patch(place, name, fail)
            wire = self.connect()
            wire.deliver(http_request("GET", "/handshake") + http_request("GET", "/x"))
            self.assertEqual([answer.status for answer in read_answers(wire.take())], [500, 200])
            self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)
            patch.restore()


class FaultTests(ChannelTestCase):
    """Faults of who answers: 500, the log says how, and the connection goes on."""

    def check(self, name: str, *requests: bytes) -> None:
        """Have a part of the rules fail."""

        def fail(*_: object) -> None:
            raise ValueError("a fault")

        patch = self.patch(self.site if name == "decide" else self.rules, name, fail)
        for request in requests:
            wire = self.connect()
            wire.deliver(request)
            self.assertEqual(self.only(wire).status, 500)
            self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)
            self.assertFalse(wire.disconnecting)
        patch.restore()

    def test_faults(self) -> None:
        """When it is decided, judged, or answered."""
        whole = http_request("PUT", "/x", b"12345")
        self.check("decide", whole, whole[:-1])
        self.check("judge", whole[:-1])
        self.check("respond", whole)

    def test_later(self) -> None:
        """In an answer that takes a while."""
        wire = self.connect()
        wire.deliver(http_request("GET", "/wait") + http_request("GET", "/x"))
        self.rules.waiting[0].errback(ValueError("a fault"))
        self.assertEqual([answer.status for answer in read_answers(wire.take())], [500, 200])
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)

    def test_behind_a_body_in_pieces(self) -> None:
        """When it is complete, and is answered at last."""

        def fail(*_: object) -> None:
            raise ValueError("a fault")

        wire = self.connect()
        wire.deliver(http_request("PUT", "/x", b"12345")[:-1])
        self.patch(self.rules, "respond", fail)
        wire.deliver(b"5")
        self.assertEqual(self.only(wire).status, 500)
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)

    def test_nobody_is_left(self) -> None:
        """An answer that nobody waits for is cancelled, and is no fault."""
        wire = self.connect()
        wire.deliver(http_request("GET", "/wait"))
        wire.end()
        self.assertTrue(self.rules.waiting[0].called)


class MemoryTests(ChannelTestCase):
    """What is over is freed at once; full collections grow with the number of connections."""

    def setUp(self) -> None:
        """Switch the collector off."""
        super().setUp()
        gc.collect()
        gc.disable()
        self.addCleanup(gc.enable)

    def assert_freed(self, *segments: bytes) -> None:
        """Nothing of a connection is left when it ends."""
        wire = self.connect()
        channel = weakref.ref(wire.protocol)
        for segment in segments:
            wire.deliver(segment)
        wire.end()
        del wire
        self.rules.waiting.clear()
        self.rules.attempts.clear()
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertIsNone(channel(), segments)

    def test_freed(self) -> None:
        """Wherever in its life the connection was."""
        self.assert_freed()
        self.assert_freed(b"GET / HTTP/1.1\r\nHo")
        self.assert_freed(http_request("GET", "/x"))
        self.assert_freed(http_request("PUT", "/x", b"12345"))
        self.assert_freed(http_request("PUT", "/x", b"12345")[:-1])
        self.assert_freed(http_request("GET", "/wait"))
        self.assert_freed(http_request("GET", "/handshake") + b"early")
        self.assert_freed(http_request("GET", "/refused"))
        self.assert_freed(http_request("PUT", "/refused", b"12345")[:-1])
        self.assert_freed(http_request("PUT", "/refused", b"12345", ("Connection", "close")))
        self.assert_freed(http_request("PUT", "/x", None, ("Transfer-Encoding", "chunked")) + b"5\r\nab")
        self.assert_freed(b"nonsense\r\n")

    def test_a_detached_channel_is_freed(self) -> None:
        """It is of no use while the WebSocket lives."""
        wire = self.connect()
        channel = weakref.ref(wire.protocol)
        wire.deliver(http_request("GET", "/handshake"))
        self.rules.attempts.pop().visitor.detach()
        wire.protocol = None
        self.assertIsNone(channel())

    def test_nothing_is_kept_of_what_is_answered(self) -> None:
        """Between two requests a connection holds none of their bytes."""
        wire = self.connect()
        wire.deliver(http_request("PUT", "/x", b"12345") * 2)
        channel: Channel = wire.protocol
        self.assertEqual((channel._data, channel._out, channel._body, channel._answering), (b"", b"", None, None))


_PIECES = st.sampled_from(
    [
        http_request("GET", "/x"),
        http_request("GET", "/refused"),
        http_request("PUT", "/x", b"12345"),
        http_request("PUT", "/refused", b"12345"),
        http_request("PUT", "/x", b"a" * 101),
        http_request("PUT", "/x", b"a", ("Connection", "close")),
        http_request("PUT", "/x", b"a", version="1.0"),
        http_request("PUT", "/x", None, ("Transfer-Encoding", "chunked")),
        http_request("PUT", "/x", b"a", ("Expect", "100-continue")),
        b"5\r\nhello\r\n",
        b"0\r\n\r\n",
        b"GET / HTTP/1.1\r\n",
        b"PUT /refused HTTP/1.1\r\n",
        b"POST /x?a=b HTTP/1.0\r\n",
        b"Content-Length: 3\r\n",
        b"Transfer-Encoding: chunked\r\n",
        b"Content-Type: multipart/form-data\r\n",
        b"Cookie: a=b; c\r\n",
        b"Expect: 100-continue\r\n",
        b"\r\n",
        b"\n",
        b" ",
        b":",
        b"a" * 20000,
    ]
)
_STREAMS = st.lists(_PIECES | st.binary(max_size=20), max_size=12).map(b"".join)


class AnythingTests(ChannelTestCase):
    """Whatever comes, in whatever slices."""

    def answers(self, segments: list[bytes]) -> list[tuple[int, bytes]]:
        """:returns: what is answered to a stream; it is nothing but whole HTTP responses"""
        wire = self.connect()
        for segment in segments:
            wire.deliver(segment)
            self.clock.advance(0)
        for _ in range(6):
            self.clock.advance(REFUSED_PAUSE)
        found = [(answer.status, answer.body) for answer in read_answers(wire.take())]
        if not wire.over:
            wire.end()
        self.assertEqual(self.clock.getDelayedCalls(), [])
        return found

    @moderately
    @given(_STREAMS, st.lists(st.integers(0, 400), max_size=6))
    def test_any_stream_in_any_slices(self, stream: bytes, cuts: list[int]) -> None:
        """Nothing raises, all that is answered is HTTP, and where the segments end makes no difference."""
        edges = [0, *sorted(cut for cut in cuts if cut < len(stream)), len(stream)]
        sliced = [stream[begin:end] for begin, end in pairwise(edges)]
        self.assertEqual(self.answers(sliced), self.answers([stream]))

    @moderately
    @given(st.lists(st.binary(max_size=60), max_size=8))
    def test_any_bytes(self, segments: list[bytes]) -> None:
        """Noise is answered with 400 at most."""
        for status, _ in self.answers(segments):
            self.assertEqual(status, 400)
