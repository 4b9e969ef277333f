"""Connections to the API: their reuse, and the repetition of what a kept one swallowed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from OpenSSL import SSL
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectError, ConnectionLost
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.client import ResponseFailed, ResponseNeverReceived, readBody
from twisted.web.http_headers import Headers
from twisted.web.iweb import IAgent, IResponse

from tests.gate import Wire
from tests.memory_api import MemoryApi, answer_bytes, read_requests
from wsaas.callbacks.treq_client import Body, why
from wsaas.errors import NoAnswer, NotSent, TimedOut
from wsaas.net.client_tls import ApiTrust, NoHandshake, Untrusted
from wsaas.net.http1.persistent_agent import (
    KEEP_IDLE,
    PersistentAgent,
    _after_all_sent,
    is_cancelled,
)

URI = b"http://192.0.2.10:8000/hook?a=b"


class AgentTestCase(SynchronousTestCase):
    """An agent, and the API's end of its connections."""

    def setUp(self) -> None:
        """Make both."""
        self.api = MemoryApi()
        self.agent = self.make_agent()

    def make_agent(self, trust: ApiTrust | None = None, max_idle: int = 2) -> IAgent:
        """:returns: the agent under test"""
        return PersistentAgent(self.api.reactor, trust or ApiTrust(None, None), max_idle, 30.0)

    def request(
        self, method: bytes = b"PUT", body: bytes | None = b"body", uri: bytes = URI, call_id: bytes = b"tag-1"
    ) -> Deferred[IResponse]:
        """Send a request."""
        headers = Headers({b"Ws-Id": [call_id]})
        return self.agent.request(method, uri, headers, None if body is None else Body(body))

    def exchange(self, wire: Wire | None = None, method: bytes = b"PUT") -> Wire:
        """Send a request and answer it.

        :param wire: the kept connection it should take; a fresh one if not given
        :returns: the connection, which may be used again
        """
        result = self.request(method)
        if wire is None:
            wire = self.api.accept()
        self.assertEqual(len(read_requests(wire.take())), 1)
        self.assertEqual(self.api.attempts, [])
        wire.deliver(answer_bytes(200, b"answer"))
        self.assertEqual(self.successResultOf(readBody(self.successResultOf(result))), b"answer")
        return wire


class RequestTests(AgentTestCase):
    """What stands on the wire."""

    def test_request(self) -> None:
        """Method, path with query, Host, the body with its length, never chunked."""
        self.request()
        self.assertEqual(self.api.attempts, [("192.0.2.10", 8000)])
        (request,) = read_requests(self.api.accept().take())
        self.assertEqual(request.line, "PUT /hook?a=b HTTP/1.1")
        self.assertEqual(request.headers["host"], ["192.0.2.10:8000"])
        self.assertEqual(request.headers["content-length"], ["4"])
        self.assertEqual(request.body, b"body")

    def test_empty_body(self) -> None:
        """It has a length of 0; no body at all has none."""
        self.request(body=b"")
        (request,) = read_requests(self.api.accept().take())
        self.assertEqual(request.headers["content-length"], ["0"])
        self.request(b"DELETE", None)
        (request,) = read_requests(self.api.accept().take())
        self.assertNotIn("content-length", request.headers)

    def test_where(self) -> None:
        """IPv6 literals and names."""
        self.request(uri=b"http://[2001:db8::1]/x")
        self.assertEqual(self.api.attempts, [("2001:db8::1", 80)])
        (request,) = read_requests(self.api.accept().take())
        self.assertEqual(request.headers["host"], ["[2001:db8::1]"])
        self.request(uri=b"http://api.test/x")
        self.assertEqual(self.api.attempts, [("127.0.0.1", 80)])
        (request,) = read_requests(self.api.accept().take())
        self.assertEqual(request.headers["host"], ["api.test"])

    def test_no_connection(self) -> None:
        """It fails as such."""
        result = self.request()
        self.api.refuse()
        self.failureResultOf(result, ConnectError)


class ReuseTests(AgentTestCase):
    """Connections are kept for a while."""

    def test_kept(self) -> None:
        """For the next request, whatever its method."""
        wire = self.exchange(method=b"POST")
        self.exchange(wire, b"PUT")
        self.exchange(wire, b"DELETE")

    def test_kept_for_a_second_and_a_half(self) -> None:
        """Shorter than common servers keep theirs (protocol §2.3)."""
        self.assertEqual(KEEP_IDLE, 1.5)
        wire = self.exchange()
        self.api.reactor.advance(KEEP_IDLE - 0.1)
        self.exchange(wire)
        self.api.reactor.advance(KEEP_IDLE - 0.1)
        self.assertFalse(wire.disconnecting)
        self.api.reactor.advance(0.1)
        self.assertTrue(wire.disconnecting)
        self.exchange()

    def test_not_more_than_allowed(self) -> None:
        """A burst leaves no crowd behind."""
        results = [self.request() for _ in range(4)]
        wires = [self.api.accept() for _ in results]
        for wire, result in zip(wires, results, strict=True):
            wire.deliver(answer_bytes())
            readBody(self.successResultOf(result))
        self.api.turn()
        self.assertEqual(sum(not wire.over for wire in wires), 2)

    def test_not_kept_when_the_api_says_so(self) -> None:
        """Connection: close."""
        result = self.request()
        wire = self.api.accept()
        wire.deliver(answer_bytes(200, b"", "Connection: close"))
        readBody(self.successResultOf(result))
        self.api.turn()
        self.assertTrue(wire.over)
        self.exchange()

    def test_bytes_nobody_asked_for(self) -> None:
        """They end the connection; or one client's answer would reach another's request."""
        wire = self.exchange()
        wire.deliver(answer_bytes(200, b"of another"))
        self.api.turn()
        self.assertTrue(wire.over)
        self.exchange()

    def test_bytes_behind_an_answer(self) -> None:
        """They are not taken for the next request's answer."""
        result = self.request()
        wire = self.api.accept()
        wire.deliver(answer_bytes(200, b"mine") + answer_bytes(200, b"of another"))
        self.api.turn()
        self.assertEqual(self.successResultOf(readBody(self.successResultOf(result))), b"mine")
        result = self.request()
        if self.api.attempts:
            wire = self.api.accept()
        self.assertNoResult(result)
        wire.deliver(answer_bytes(200, b"mine too"))
        self.assertEqual(self.successResultOf(readBody(self.successResultOf(result))), b"mine too")

    def test_close(self) -> None:
        """At the end the idle ones are closed."""
        wire = self.exchange()
        closing = cast(Any, self.agent).close()
        self.api.turn()
        self.successResultOf(closing)
        self.assertTrue(wire.over)


class RepeatTests(AgentTestCase):
    """What a kept connection swallowed is sent once more, on a fresh one."""

    def swallow(
        self, method: bytes, body: bytes | None, end: Callable[[Wire], None]
    ) -> tuple[Deferred[IResponse], Wire]:
        """:returns: a request that was sent on a kept connection which then ended, and that connection"""
        wire = self.exchange()
        result = self.request(method, body, call_id=b"tag-7")
        end(wire)
        self.api.turn()
        return result, wire

    def test_every_method(self) -> None:
        """POST too: same body, same Ws-Id."""
        for method, body in ((b"POST", b"{}"), (b"PUT", b"message"), (b"PUT", b""), (b"DELETE", None)):
            result, wire = self.swallow(method, body, lambda wire: wire.end(ConnectionLost))
            (first,) = read_requests(wire.take())
            fresh = self.api.accept()
            (second,) = read_requests(fresh.take())
            self.assertEqual((first.line, first.headers["ws-id"], first.body), (second.line, ["tag-7"], body or b""))
            self.assertEqual((second.headers["ws-id"], second.body), (["tag-7"], body or b""))
            fresh.deliver(answer_bytes(204))
            self.assertEqual(self.successResultOf(result).code, 204)
            self.setUp()

    def test_an_orderly_end_too(self) -> None:
        """The API's idle time-out and our request crossed."""
        result, _ = self.swallow(b"POST", b"{}", lambda wire: wire.end())
        self.api.accept().deliver(answer_bytes(204))
        self.assertEqual(self.successResultOf(result).code, 204)

    def test_only_once(self) -> None:
        """The fresh one has no excuse."""
        result, _ = self.swallow(b"POST", b"{}", lambda wire: wire.end())
        self.api.accept().end(ConnectionLost)
        self.api.turn()
        self.assertEqual(self.api.attempts, [])
        self.failureResultOf(result, ResponseNeverReceived)

    def test_not_on_a_kept_one_again(self) -> None:
        """Others of the pool may have ended just so."""
        second = self.request()
        third = self.request()
        wires = [self.api.accept(), self.api.accept()]
        for wire, result in zip(wires, (second, third), strict=True):
            wire.take()
            wire.deliver(answer_bytes())
            readBody(self.successResultOf(result))
        result = self.request()
        (used,) = [wire for wire in wires if wire.take()]
        used.end(ConnectionLost)
        self.api.turn()
        self.assertEqual(len(self.api.attempts), 1)
        self.api.accept().deliver(answer_bytes(204))
        self.assertEqual(self.successResultOf(result).code, 204)

    def test_no_tls_when_it_was_repeated(self) -> None:
        """As it was sent before, nothing tells that the API has not had it."""
        for error in (
            NoHandshake([("SSL routines", "", "wrong version number")]),
            SSL.Error([("SSL routines", "", "tlsv13 alert certificate required")]),
            Untrusted("it has expired"),
        ):
            for first, kind in ((False, NotSent), (True, NoAnswer)):
                failure = Failure(ResponseNeverReceived([Failure(error)]))
                result = _after_all_sent(failure) if first else failure
                assert isinstance(result, Failure)
                self.assertIsInstance(why(result, False, True), kind)

    def test_tls_that_breaks_later(self) -> None:
        """Is no sign that the API has not had it, whatever somebody slips in."""
        error = SSL.Error([("SSL routines", "", "wrong version number")])
        self.assertIs(type(why(Failure(ResponseNeverReceived([Failure(error)])), False, True)), NoAnswer)

    def test_not_when_the_connection_was_fresh(self) -> None:
        """Then the API has had it."""
        result = self.request(b"POST")
        self.api.accept().end(ConnectionLost)
        self.api.turn()
        self.assertEqual(self.api.attempts, [])
        self.failureResultOf(result, ResponseNeverReceived)

    def test_not_when_an_answer_had_begun(self) -> None:
        """Not even its status line need be complete."""
        for beginning in (
            b"H",
            b"HTTP/1.1 20",
            b"HTTP/1.1 200 -\r\n",
            b"HTTP/1.1 200 -\r\nA: b\r\n",
            b"HTTP/1.1 100 -\r\n\r\n",
        ):
            self.setUp()
            wire = self.exchange()
            result = self.request(b"POST", b"{}")
            wire.deliver(beginning)
            wire.end(ConnectionLost)
            self.api.turn()
            self.assertEqual(self.api.attempts, [], beginning)
            self.failureResultOf(result)

    def test_not_when_it_was_cancelled(self) -> None:
        """Whoever timed it out wants no other."""
        wire = self.exchange()
        result = self.request(b"POST")
        result.cancel()
        self.api.turn()
        self.assertEqual(self.api.attempts, [])
        self.assertTrue(is_cancelled(self.failureResultOf(result)))
        self.assertTrue(wire.over)

    def test_cancelled_while_it_is_repeated(self) -> None:
        """The repetition ends too."""
        result, _ = self.swallow(b"POST", b"{}", lambda wire: wire.end())
        fresh = self.api.accept()
        result.cancel()
        self.api.turn()
        self.failureResultOf(result)
        self.assertTrue(fresh.over)

    def test_the_repetition_finds_nobody(self) -> None:
        """It fails, as one that was sent: nobody knows what became of the first."""
        result, _ = self.swallow(b"POST", b"{}", lambda wire: wire.end())
        self.api.refuse()
        self.failureResultOf(result, NoAnswer)

    def test_the_repetition_finds_nobody_in_time(self) -> None:
        """The same, if the caller gives up meanwhile."""
        result, _ = self.swallow(b"POST", b"{}", lambda wire: wire.end())
        result.cancel()
        self.failureResultOf(result, TimedOut)


class AnswerTests(AgentTestCase):
    """What answers may be like."""

    def test_informational_answers_are_passed_over(self) -> None:
        """RFC 9110 §15.2."""
        result = self.request()
        wire = self.api.accept()
        wire.deliver(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n")
        self.assertNoResult(result)
        wire.deliver(answer_bytes(201))
        self.assertEqual(self.successResultOf(result).code, 201)

    def test_chunked_answers(self) -> None:
        """Their trailers are no headers."""
        result = self.request()
        wire = self.api.accept()
        wire.deliver(b"HTTP/1.1 200 -\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nWs-Close: 4000\r\n\r\n")
        response = self.successResultOf(result)
        self.assertEqual(self.successResultOf(readBody(response)), b"hello")
        self.assertFalse(response.headers.hasHeader(b"Ws-Close"))

    def test_an_answer_that_breaks_off(self) -> None:
        """In its head."""
        result = self.request()
        wire = self.api.accept()
        wire.deliver(b"HTTP/1.1 200 -\r\nContent-")
        wire.end(ConnectionLost)
        self.failureResultOf(result, ResponseFailed)
