"""The fast agent as an Agent: responses whose bodies come later, requests whose bodies do."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IConsumer
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.client import RequestGenerationFailed, ResponseDone, ResponseFailed
from twisted.web.error import SchemeNotSupported
from twisted.web.http import PotentialDataLoss
from twisted.web.http_headers import Headers
from twisted.web.iweb import UNKNOWN_LENGTH, IAgent, IClientRequest, IResponse
from zope.interface.verify import verifyObject

from tests.roads import ANSWER, OK, URI, Collected, Network, Peer
from wsaas.net.http1.client import FastAgent


class Produced:
    """A request's body that is produced when the test says so."""

    def __init__(self, length: Any) -> None:
        self.length = length
        self.done: Deferred[None] = Deferred()
        self.stopped = False

    def startProducing(self, consumer: IConsumer) -> Deferred[None]:
        self.consumer = consumer
        consumer.registerProducer(self, True)  # type: ignore[arg-type]  # it stands for a producer
        return self.done

    def stopProducing(self) -> None:
        self.stopped = True

    def finish(self, *parts: bytes) -> None:
        """Produce."""
        for part in parts:
            self.consumer.write(part)
        self.consumer.unregisterProducer()
        self.done.callback(None)


class RequestTests(SynchronousTestCase):
    """The fast agent as an Agent, where the short road does less."""

    def setUp(self) -> None:
        self.network = Network()
        self.agent = FastAgent(self.network.reactor, self.network.trust, 2, 5)

    def begun(self, *pieces: bytes, method: bytes = b"PUT") -> tuple[IResponse, Peer]:
        """:returns: the response that the first bytes make"""
        answer = self.agent.request(method, URI, Headers({b"A": [b"b"]}))
        if self.network.attempts:
            self.peer = self.network.accept()
        self.peer.send(*pieces)
        return self.successResultOf(answer), self.peer

    def test_interfaces(self) -> None:
        """They are complete."""
        verifyObject(IAgent, self.agent)
        response, _ = self.begun(ANSWER)
        verifyObject(IResponse, response)
        verifyObject(IClientRequest, response.request)

    def test_response(self) -> None:
        """A response says what was asked and what came."""
        response, _ = self.begun(b"HTTP/1.0 404 Nothing here\r\nContent-Length: 0012\r\nB: c\r\n\r\n")
        self.assertEqual((response.version, response.code, response.phrase), ((b"HTTP", 1, 0), 404, b"Not Found"))
        self.assertEqual((response.length, list(response.headers.getAllRawHeaders())), (12, [(b"B", [b"c"])]))
        request = response.request
        self.assertEqual((request.method, request.absoluteURI), (b"PUT", URI))
        self.assertEqual(list(request.headers.getAllRawHeaders()), [(b"A", [b"b"])])
        self.assertIsNone(response.previousResponse)
        response.setPreviousResponse(response)
        self.assertIs(response.previousResponse, response)

    def test_lengths(self) -> None:
        """The length is known, or not; leading zeros, thousands of them, are no hindrance."""
        for head, method, length in (
            (b"Content-Length: " + b"0" * 5000 + b"7\r\n", b"PUT", 7),
            (b"Transfer-Encoding: chunked\r\n", b"PUT", UNKNOWN_LENGTH),
            (b"Content-Length: 7\r\n", b"HEAD", 0),
        ):
            response, peer = self.begun(OK + head + b"\r\n", method=method)
            self.assertEqual(
                (response.length, response.headers.hasHeader(b"Content-Length")), (length, method == b"HEAD")
            )
            peer.end()

    def test_waits_for_protocol(self) -> None:
        """No more than the first piece is read until somebody wants the body."""
        response, peer = self.begun(OK + b"Content-Length: 6\r\n\r\nab")
        self.assertEqual(peer.socket.producerState, "paused")
        body = Collected()
        response.deliverBody(body)
        self.assertEqual((peer.socket.producerState, body.data), ("producing", b"ab"))
        peer.send(b"cd")
        self.assertEqual((body.data, body.reason), (b"abcd", None))
        peer.send(b"ef")
        assert body.reason is not None
        self.assertEqual(body.data, b"abcdef")
        self.assertTrue(body.reason.check(ResponseDone))
        self.assertRaises(RuntimeError, response.deliverBody, Collected())

    def test_whole_at_once(self) -> None:
        """A body that came with the head keeps, while the connection carries the next request."""
        response, peer = self.begun(ANSWER)
        self.assertEqual(peer.socket.producerState, "producing")
        other, same = self.begun(OK + b"Content-Length: 5\r\n\r\nother")
        self.assertIs(same, peer)
        for one, expected in ((response, b"hello"), (other, b"other")):
            body = Collected()
            one.deliverBody(body)
            assert body.reason is not None
            self.assertTrue(body.reason.check(ResponseDone))
            self.assertEqual(body.data, expected)

    def test_until_the_end(self) -> None:
        """A body that ends with the connection may be incomplete, and one that breaks off is."""
        for error, reason in ((ConnectionDone(), PotentialDataLoss), (ConnectionLost(), ResponseFailed)):
            for late in (False, True):
                response, peer = self.begun(OK + b"\r\n")
                body = Collected()
                if not late:
                    response.deliverBody(body)
                    peer.send(b"abc")
                peer.end(error)
                if late:
                    response.deliverBody(body)
                assert body.reason is not None
                self.assertTrue(body.reason.check(reason))
                self.assertEqual(body.data, b"" if late else b"abc")

    def test_broken(self) -> None:
        """A body that turns out to be malformed fails."""
        response, peer = self.begun(OK + b"Transfer-Encoding: chunked\r\n\r\n")
        body = Collected()
        response.deliverBody(body)
        peer.send(b"2\r\nabc")
        assert body.reason is not None
        self.assertTrue(body.reason.check(ResponseFailed))
        self.assertTrue(peer.socket.disconnected)
        peer.end()

    def test_enough(self) -> None:
        """A protocol that has had enough ends the connection."""
        for name in ("loseConnection", "stopProducing", "abortConnection"):
            response, peer = self.begun(OK + b"Content-Length: 6\r\n\r\nab")
            body = Collected()
            response.deliverBody(body)
            transport: Any = body.transport
            getattr(transport, name)()
            self.assertTrue(peer.socket.disconnected)
            peer.end(ConnectionLost())
            assert body.reason is not None
            self.assertTrue(body.reason.check(ResponseFailed))

    def test_enough_too_late(self) -> None:
        """Once its body is over, a protocol has no power over the connection any more."""
        response, peer = self.begun(ANSWER)
        body = Collected()
        response.deliverBody(body)
        transport: Any = body.transport
        for name in ("loseConnection", "pauseProducing", "resumeProducing"):
            getattr(transport, name)()
        self.assertEqual((peer.socket.over, peer.socket.producerState), (False, "producing"))

    def test_paused_at_the_end(self) -> None:
        """A protocol that pauses, and gets the rest all the same, leaves no paused connection behind."""
        response, peer = self.begun(OK + b"Content-Length: 3\r\n\r\n")
        body = Collected()
        response.deliverBody(body)
        transport: Any = body.transport
        transport.pauseProducing()
        peer.send(b"abc")
        self.assertEqual((body.data, peer.socket.producerState), (b"abc", "producing"))
        self.assertFalse(peer.socket.over)

    def test_own_host(self) -> None:
        """A request may name its host itself."""
        self.agent.request(b"PUT", URI, Headers({b"host": [b"example.com"]}))
        self.assertEqual(
            self.network.accept().received(),
            b"PUT /websocket?a=b HTTP/1.1\r\nHost: example.com\r\nContent-Length: 0\r\n\r\n",
        )

    def test_scheme(self) -> None:
        """Another scheme is a failure, as with Agent."""
        self.failureResultOf(self.agent.request(b"GET", b"ftp://example.com/"), SchemeNotSupported)

    def test_many_uris(self) -> None:
        """Parsed URIs are not remembered for ever."""
        for number in range(200):
            self.agent.request(b"GET", b"http://127.0.0.1:5000/%d" % number)
        self.assertLessEqual(len(self.agent._targets), 64)

    def test_produced_later(self) -> None:
        """A body may take its time, and need not say how long it will be."""
        for length in (4, UNKNOWN_LENGTH):
            producer = Produced(length)
            self.agent.request(b"PUT", URI, None, producer)  # type: ignore[arg-type]  # it stands for an IBodyProducer
            self.assertEqual(self.network.attempts, 0)
            producer.finish(b"bo", b"dy")
            head, _, body = self.network.accept().received().partition(b"\r\n\r\n")
            self.assertEqual((head.count(b"Content-Length: 4"), body), (1, b"body"))

    def test_produced_wrongly(self) -> None:
        """A body that is not as long as was said is not sent; nor is one that failed."""
        for parts in ((b"bod",), (b"body", b"x"), None):
            producer = Produced(4)
            answer = self.agent.request(b"PUT", URI, None, producer)  # type: ignore[arg-type]  # it stands for one
            if parts is None:
                producer.done.errback(ValueError("no"))
            else:
                producer.finish(*parts)
            self.failureResultOf(answer, RequestGenerationFailed)
        self.assertEqual(self.network.attempts, 0)

    def test_cancelled_while_produced(self) -> None:
        """Who cancels stops the production."""
        producer = Produced(4)
        answer = self.agent.request(b"PUT", URI, None, producer)  # type: ignore[arg-type]  # it stands for one
        answer.cancel()
        self.failureResultOf(answer, CancelledError)
        self.assertTrue(producer.stopped)
        producer.finish(b"body")
        self.assertEqual(self.network.attempts, 0)

    def test_other_connect_failures(self) -> None:
        """Why there is no connection is told as the endpoint tells it."""
        answer = self.agent.request(b"GET", URI)
        self.network._attempt().clientConnectionFailed(None, Failure(ValueError("no such thing")))
        self.failureResultOf(answer, ValueError)
