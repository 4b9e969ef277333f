"""What holds of a call to the API, whichever Agent is below: one complete, bounded answer in time, or a reason."""

from __future__ import annotations

import gzip
from abc import ABC, abstractmethod
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from treq.testing import RequestTraversalAgent
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.testing import MemoryReactorClock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.http import Request
from twisted.web.http_headers import Headers
from twisted.web.iweb import IAgent
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET

from tests.gate import NOW
from tests.memory_api import MemoryApi, ReceivedRequest, answer_bytes, read_requests
from tests.properties import moderately
from wsaas.callbacks.client import ApiClient
from wsaas.errors import CallbackFailed, NoAnswer, NotSent, TimedOut, Unusable
from wsaas.net.http1.messages import Answer
from wsaas.net.http1.pool import KEEP_IDLE

URI = "http://192.0.2.10:8000/hook"
TIMEOUT = 10.0
MAX_BODY = 100


#: What an API may send, in segments.
SEGMENTS = st.lists(
    st.binary(max_size=40) | st.sampled_from([b"HTTP/1.1 200 -\r\n", b"\r\n", b"Content-Length: 3\r\n"]),
    max_size=6,
)


class TraversalWire:
    """The API's end of a connection of treq's RequestTraversalAgent."""

    def __init__(self, request: Request, agent: RequestTraversalAgent) -> None:
        self._request = request
        self._agent = agent
        self._transport: Any = request.channel.transport

    def take(self) -> bytes:
        """:returns: the request, as bytes again"""
        request: Any = self._request
        lines = [b"%b %b %b" % (request.method, request.uri, request.clientproto)]
        lines += [b"%b: %b" % (name, value) for name, values in request.requestHeaders.getAllRawHeaders()
                  for value in values]  # fmt: skip
        return b"\r\n".join(lines) + b"\r\n\r\n" + bytes(request.content.read())

    def deliver(self, data: bytes) -> None:
        """Send bytes to the client."""
        self._transport.write(data)
        self._agent.flush()

    def end(self, kind: type[Exception] = ConnectionDone) -> None:
        """End the connection; an orderly end is the only one there is."""
        self._transport.loseConnection()
        self._agent.flush()

    @property
    def over(self) -> bool:
        """Whether the client ended the connection."""
        self._agent.flush()
        return bool(self._transport.disconnected)


class TraversalApi(Resource):
    """An API behind treq's RequestTraversalAgent: every connection is made at once."""

    isLeaf = True

    def __init__(self) -> None:
        super().__init__()
        #: For the client.
        self.reactor = MemoryReactorClock()
        self.reactor.advance(NOW)
        self.agent = RequestTraversalAgent(self)
        #: Requests that were not accepted yet.
        self.attempts: list[Request] = []

    def render(self, request: Request) -> int:
        """A request came."""
        self.attempts.append(request)
        return NOT_DONE_YET

    def accept(self) -> TraversalWire:
        """:returns: the way to answer the first request"""
        return TraversalWire(self.attempts.pop(0), self.agent)

    def turn(self) -> None:
        """Let the reactor take a turn, without time passing."""
        self.agent.flush()
        self.reactor.advance(0)


class ClientTestCase(SynchronousTestCase, ABC):
    """A client over memory, and the API's end."""

    api: Any

    def setUp(self) -> None:
        """Make both."""
        self.api = self.make_api()
        self.client = ApiClient(self.make_agent(), self.api.reactor, TIMEOUT, MAX_BODY, URI)

    def make_api(self) -> MemoryApi | TraversalApi:
        """:returns: what the agent speaks to"""
        return MemoryApi()

    @abstractmethod
    def make_agent(self) -> IAgent:
        """:returns: the agent below the client"""

    def timers(self) -> list[IDelayedCall]:
        """:returns: the timers that run, but for those of idle connections"""
        soon = self.api.reactor.seconds() + KEEP_IDLE
        return [timer for timer in self.api.reactor.getDelayedCalls() if timer.getTime() > soon]

    def call(
        self, method: str = "PUT", content: bytes | None = b"body", timeout: float | None = None
    ) -> Deferred[Answer]:
        """Make a call."""
        verb: Any = getattr(self.client, method.lower())
        given = {} if content is None else {"data": content}
        answer: Deferred[Answer] = verb(self.client.uri, headers=Headers({}), timeout=timeout, **given)
        return answer

    def begin(self, method: str = "PUT", content: bytes | None = b"body") -> tuple[Deferred[Answer], Any]:
        """Make a call, on a fresh connection."""
        result = self.call(method, content)
        wire = self.api.accept()
        return result, wire

    def assert_failed(self, result: Deferred[Answer], kind: type[CallbackFailed]) -> CallbackFailed:
        """It failed so, in words, and no timer is left of it."""
        error = self.failureResultOf(result, CallbackFailed).value
        assert isinstance(error, CallbackFailed)
        self.assertIs(type(error), kind)
        self.assertGreater(len(error.reason), 10)
        self.api.turn()
        self.assertEqual(self.timers(), [])
        return error


class CallContract(ClientTestCase):
    """What every Agent gives the client."""

    # Complete answers

    def test_answer(self) -> None:
        """Status, headers, body."""
        result, wire = self.begin()
        (request,) = read_requests(wire.take())
        self.assertEqual((request.line, request.body), ("PUT /hook HTTP/1.1", b"body"))
        wire.deliver(answer_bytes(299, b"hello", "Ws-State: a", "Ws-State: b"))
        answer = self.successResultOf(result)
        self.assertEqual((answer.status, answer.body), (299, b"hello"))
        self.assertEqual(answer.headers.getRawHeaders(b"ws-state", []), [b"a", b"b"])

    def test_any_slices(self) -> None:
        """Byte by byte."""
        result, wire = self.begin()
        for byte in answer_bytes(200, b"hello"):
            self.assertNoResult(result)
            wire.deliver(bytes([byte]))
        self.assertEqual(self.successResultOf(result).body, b"hello")

    def test_without_body(self) -> None:
        """204, and a length of 0."""
        for data in (b"HTTP/1.1 204 -\r\n\r\n", answer_bytes(200)):
            result, wire = self.begin()
            wire.deliver(data)
            self.assertEqual(self.successResultOf(result).body, b"")
            wire.end()

    def test_the_end_of_the_connection_ends_the_body(self) -> None:
        """As HTTP/1.0 and PHP's built-in server do it."""
        for version in (b"1.0", b"1.1"):
            result, wire = self.begin()
            wire.deliver(b"HTTP/" + version + b" 200 OK\r\nConnection: close\r\n\r\nhel")
            wire.deliver(b"lo")
            self.assertNoResult(result)
            wire.end()
            self.assertEqual(self.successResultOf(result).body, b"hello")

    # Bodies are bounded while they arrive.

    def test_longest(self) -> None:
        """The limit is inclusive."""
        result, wire = self.begin()
        wire.deliver(answer_bytes(200, b"a" * MAX_BODY))
        answer = self.successResultOf(result)
        self.assertEqual((len(answer.body), answer.cut), (MAX_BODY, None))

    def test_too_long(self) -> None:
        """It is an answer without its body, however that is framed. The rest is not read: the connection is closed."""
        for head in (
            b"HTTP/1.1 200 -\r\nContent-Length: 100000\r\n\r\n",
            b"HTTP/1.1 200 -\r\nTransfer-Encoding: chunked\r\n\r\nfffff\r\n",
            b"HTTP/1.1 200 -\r\n\r\n",
        ):
            result, wire = self.begin()
            wire.deliver(head + b"a" * MAX_BODY)
            self.assertNoResult(result)
            wire.deliver(b"a")
            answer = self.successResultOf(result)
            self.assertEqual((answer.status, answer.body, answer.cut), (200, b"", MAX_BODY))
            self.api.turn()
            self.assertEqual(self.timers(), [])
            self.assertTrue(wire.over)

    # Nothing is remembered, followed or decoded.

    def exchange(self, *headers: str, status: int = 200, body: bytes = b"") -> tuple[ReceivedRequest, Answer]:
        """:returns: a request, and its answer"""
        result, wire = self.begin()
        (request,) = read_requests(wire.take())
        wire.deliver(answer_bytes(status, body, "Connection: close", *headers))
        return request, self.successResultOf(result)

    def test_cookies(self) -> None:
        """One client's would be sent for another."""
        self.exchange("Set-Cookie: session=1; Path=/")
        request, _ = self.exchange()
        self.assertNotIn("cookie", request.headers)

    def test_redirects(self) -> None:
        """They are answers like others."""
        for status in (301, 302, 303, 307, 308):
            _, answer = self.exchange("Location: http://192.0.2.10:8000/other", status=status)
            self.assertEqual(answer.status, status)
            self.assertEqual(self.api.attempts, [])

    def test_encodings(self) -> None:
        """None is asked for, none is undone."""
        data = gzip.compress(b"a" * 50)
        request, answer = self.exchange("Content-Encoding: gzip", body=data)
        self.assertEqual(answer.body, data)
        self.assertNotIn("gzip", request.headers.get("accept-encoding", [""])[0])

    def test_nothing_of_its_own(self) -> None:
        """What is sent is what it was given, with Host and length."""
        request, _ = self.exchange()
        self.assertEqual(set(request.headers) - {"connection"}, {"host", "content-length"})

    # Why there is no answer, and whether the API can have seen the call.

    def test_ended_before_an_answer(self) -> None:
        """NoAnswer: it may have been carried out."""
        for data in (b"", b"HT", b"HTTP/1.1 200 -\r\nA: b\r\n"):
            for method, content in (("POST", b"{}"), ("DELETE", None)):
                result, wire = self.begin(method, content)
                wire.deliver(data)
                wire.end(ConnectionLost)
                self.assert_failed(result, NoAnswer)

    def test_truncated(self) -> None:
        """NoAnswer, never a part of a body."""
        for data in (
            answer_bytes(200, b"hello")[:-1],
            b"HTTP/1.1 200 -\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
            b"HTTP/1.1 200 -\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel",
        ):
            result, wire = self.begin()
            wire.deliver(data)
            wire.end()
            self.assert_failed(result, NoAnswer)

    def test_no_http(self) -> None:
        """Unusable."""
        for data in (
            b"SSH-2.0-OpenSSH\r\n",
            b"HTTP/1.1 abc OK\r\n\r\n",
            b"220 mail ready\r\n",
            b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
            b"HTTP/1.1 200 OK\r\nContent-Length: 2a\r\n\r\n{}",
        ):
            result, wire = self.begin()
            wire.deliver(data)
            self.api.turn()
            if not wire.over:
                wire.end()
            self.assert_failed(result, Unusable)

    def test_reasons_are_short(self) -> None:
        """They go into the log; what came may be long, and somebody's."""
        long = b"a" * 5000
        for data in (
            b"HTTP/1.1 %b\r\n\r\n" % long,
            b"%b %b\r\n\r\n" % (long, long),
            b"HTTP/1.%b 200 OK\r\n\r\n" % (b"9" * 5000),
            b"HTTP/1.1 200 OK\r\nContent-Length: %b\r\n\r\n" % (b"9" * 5000),
            b"HTTP/1.1 200 OK\r\n%b\xff: b\r\n\r\n" % long,
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%b\r\n" % long,
        ):
            result, wire = self.begin()
            wire.deliver(data)
            self.api.turn()
            wire.end()
            self.api.reactor.advance(TIMEOUT)
            self.assertLess(len(self.failureResultOf(result, CallbackFailed).value.reason), 700, data[:30])

    @moderately
    @given(SEGMENTS)
    def test_any_bytes(self, segments: list[bytes]) -> None:
        """Whatever comes is an answer or a reason."""
        result, wire = self.begin()
        for segment in segments:
            if not wire.over:
                wire.deliver(segment)
                self.api.turn()
        self.api.reactor.advance(TIMEOUT)
        self.api.turn()
        outcome: list[Any] = []
        result.addBoth(outcome.append)
        self.assertEqual(len(outcome), 1)
        if isinstance(outcome[0], Failure):
            outcome[0].trap(CallbackFailed)
        # After a whole answer the connection is kept for a while, and then watched until it is gone.
        for _ in range(2):
            self.api.reactor.advance(KEEP_IDLE)
            self.api.turn()
        self.assertEqual(self.api.reactor.getDelayedCalls(), [])

    # One time limit for all of a call, in each of its phases.

    def assert_in_time(self, result: Deferred[Answer], kind: type[CallbackFailed], already: float = 0) -> None:
        """It fails when the time is over, not before."""
        self.api.reactor.advance(TIMEOUT - already - 0.1)
        self.assertNoResult(result)
        self.api.reactor.advance(0.1)
        self.api.turn()
        self.assert_failed(result, kind)

    def test_waiting_for_the_head(self) -> None:
        """TimedOut; the connection is not used again."""
        result, wire = self.begin()
        wire.deliver(b"HTTP/1.1 200 -\r\n")
        self.assert_in_time(result, TimedOut)
        self.assertTrue(wire.over)

    def test_in_the_body(self) -> None:
        """TimedOut, though bytes keep coming; the connection is closed."""
        result, wire = self.begin()
        wire.deliver(answer_bytes(200, b"a" * 50)[:-50])
        for _ in range(9):
            self.api.reactor.advance(1)
            wire.deliver(b"a")
        self.assert_in_time(result, TimedOut, 9)
        self.assertTrue(wire.over)

    def test_the_time_of_all_phases_counts(self) -> None:
        """Connecting is a part of it."""
        result = self.call()
        self.api.reactor.advance(6)
        wire = self.api.accept()
        self.api.reactor.advance(3)
        wire.deliver(answer_bytes(200, b"ab")[:-1])
        self.assert_in_time(result, TimedOut, 9)

    def test_another_limit(self) -> None:
        """For one call."""
        result = self.call(timeout=2.0)
        self.api.accept()
        self.api.reactor.advance(2)
        self.api.turn()
        self.assert_failed(result, TimedOut)

    def test_a_longer_limit(self) -> None:
        """For one call, too."""
        result = self.call(timeout=2 * TIMEOUT)
        self.api.reactor.advance(TIMEOUT / 2)
        self.api.accept()
        self.assert_in_time(result, TimedOut, TIMEOUT / 2 - TIMEOUT)

    def test_late_answers(self) -> None:
        """They go nowhere."""
        result, wire = self.begin()
        self.assert_in_time(result, TimedOut)
        self.assertTrue(wire.over)
        result, wire = self.begin()
        wire.deliver(answer_bytes(201))
        self.assertEqual(self.successResultOf(result).status, 201)


class ConnectingContract(CallContract):
    """What every Agent over a network gives the client, too."""

    def test_nobody_there(self) -> None:
        """NotSent, whatever the method."""
        for method, content in (("POST", b"{}"), ("PUT", b""), ("DELETE", None)):
            result = self.call(method, content)
            self.api.refuse()
            # Some wait for a moment whether there is another address.
            self.api.reactor.advance(1)
            self.assert_failed(result, NotSent)

    def test_connecting(self) -> None:
        """NotSent, whatever the method."""
        for method, content in (("POST", b"{}"), ("PUT", b""), ("DELETE", None)):
            result = self.call(method, content)
            self.api.reactor.advance(TIMEOUT / 2)
            self.assertNoResult(result)
            self.api.reactor.advance(TIMEOUT / 2)
            self.assertIs(type(self.failureResultOf(result, CallbackFailed).value), NotSent)
            self.api.reactor.tcpClients.clear()
            self.api.reactor.connectors.clear()
