"""Our agent as an Agent: whatever headers and bodies it is given, complete responses."""

from __future__ import annotations

import gzip
from typing import Any

from treq.client import HTTPClient
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectingCancelledError
from twisted.internet.interfaces import IConsumer
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.client import RequestGenerationFailed, ResponseDone, ResponseNeverReceived
from twisted.web.error import SchemeNotSupported
from twisted.web.http import PotentialDataLoss
from twisted.web.http_headers import Headers
from twisted.web.iweb import UNKNOWN_LENGTH, IAgent, IBodyProducer, IClientRequest, IResponse
from zope.interface import implementer
from zope.interface.verify import verifyObject

from tests.agents import ANSWER, OK, URI, Collected, Network, Peer
from wsaas.net.http1.agent import PersistentAgent
from wsaas.net.http1.client import Exchange
from wsaas.net.http1.headers import EncodedHeaders
from wsaas.net.http1.messages import AnswerHead


@implementer(IBodyProducer)
class Claimed(Exchange):
    """Carries its request itself, and takes the answer without callbacks."""

    content = b"body"
    length = 4

    def __init__(self) -> None:
        super().__init__()
        self.told: list[Any] = []

    def answered(self, head: AnswerHead, body: bytes | None, open_ended: bool) -> None:
        if self.claimed:
            self.broke(Failure(ValueError(head.status, body, open_ended)))
        else:
            super().answered(head, body, open_ended)

    def broke(self, failure: Failure) -> None:
        if self.claimed:
            self.told.append(failure)
            self.callback(None)  # type: ignore[arg-type]  # nobody waits for a response
        else:
            super().broke(failure)

    def startProducing(self, consumer: IConsumer) -> Deferred[None]:
        raise AssertionError("the content is there")

    def stopProducing(self) -> None:
        raise AssertionError("the content is there")

    pauseProducing = resumeProducing = stopProducing


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
    """Any headers, any producer of a body."""

    def setUp(self) -> None:
        self.network = Network()
        self.agent = PersistentAgent(self.network.reactor, self.network.trust, 2, 5, 1000)

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
        response, _ = self.begun(b"HTTP/1.0 404 Nothing here\r\nContent-Length: 0001\r\nB: c\r\n\r\nx")
        self.assertEqual((response.version, response.code, response.phrase), ((b"HTTP", 1, 0), 404, b"Not Found"))
        self.assertEqual((response.length, list(response.headers.getAllRawHeaders())), (1, [(b"B", [b"c"])]))
        request = response.request
        self.assertEqual((request.method, request.absoluteURI), (b"PUT", URI))
        self.assertEqual(list(request.headers.getAllRawHeaders()), [(b"A", [b"b"])])
        self.assertIsNone(response.previousResponse)
        response.setPreviousResponse(response)
        self.assertIs(response.previousResponse, response)

    def test_a_unix_socket(self) -> None:
        """One origin for each socket, whatever is asked for there; the server takes itself for localhost."""
        agent, reactor = self.agent, self.network.reactor
        for target in (b"a", b"b?c:d"):
            agent.request(b"PUT", b"unix:/run/api.sock:/" + target, Headers())
        (path, factory, timeout, _), other = reactor.unixClients
        self.assertEqual((path, timeout, other[0]), ("/run/api.sock", 5, path))
        self.assertEqual(reactor.tcpClients, [])
        peer = Peer(factory.buildProtocol(None))
        self.assertEqual(peer.received(), b"PUT /a HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n")
        self.assertIs(agent.target(b"unix:/run/api.sock:/a").origin, agent.target(b"unix:/run/api.sock:/b").origin)
        self.assertIsNot(agent.target(b"unix:/run/api.sock:/a").origin, agent.target(b"unix:/run/x:/a").origin)
        self.assertIsNot(agent.target(b"unix:/run/x:/").origin, agent.target(b"http://localhost/").origin)
        self.assertRaises(ValueError, agent.request, b"PUT", b"unix:run/api.sock:/a")

    def test_complete(self) -> None:
        """There is no response before all of its body, which is delivered at once, and once."""
        answer = self.agent.request(b"PUT", URI)
        peer = self.network.accept()
        peer.send(OK + b"Content-Length: 6\r\n\r\nab", b"cd")
        self.assertNoResult(answer)
        peer.send(b"ef")
        response = self.successResultOf(answer)
        body = Collected()
        response.deliverBody(body)
        assert body.reason is not None
        self.assertTrue(body.reason.check(ResponseDone))
        self.assertEqual((body.data, response.length), (b"abcdef", 6))
        self.assertRaises(RuntimeError, response.deliverBody, Collected())

    def test_kept_body(self) -> None:
        """A body keeps, while the connection carries the next request."""
        response, peer = self.begun(ANSWER)
        other, same = self.begun(OK + b"Content-Length: 5\r\n\r\nother")
        self.assertIs(same, peer)
        for one, expected in ((response, b"hello"), (other, b"other")):
            body = Collected()
            one.deliverBody(body)
            self.assertEqual(body.data, expected)

    def test_until_the_end(self) -> None:
        """A body that ends with the connection may be incomplete."""
        answer = self.agent.request(b"PUT", URI)
        peer = self.network.accept()
        peer.send(OK + b"\r\nabc")
        peer.end()
        body = Collected()
        self.successResultOf(answer).deliverBody(body)
        assert body.reason is not None
        self.assertTrue(body.reason.check(PotentialDataLoss))
        self.assertEqual(body.data, b"abc")

    def test_no_power_over_the_connection(self) -> None:
        """A protocol that gets a body may do what it likes to its transport."""
        response, peer = self.begun(ANSWER)
        body = Collected()
        response.deliverBody(body)
        transport: Any = body.transport
        for name in ("loseConnection", "abortConnection", "stopProducing", "pauseProducing", "resumeProducing"):
            getattr(transport, name)()
        self.assertEqual((peer.socket.over, peer.socket.producerState), (False, "producing"))

    def test_headers_of_one_answer(self) -> None:
        """Whoever changes them changes no other's, though the head is remembered."""
        for _ in range(3):
            response, _ = self.begun(ANSWER)
            self.assertEqual(response.headers.getRawHeaders(b"Ws-State"), [b"s"])
            response.headers.setRawHeaders(b"Ws-State", [b"changed"])
            self.assertEqual(response.headers.getRawHeaders("ws-state"), ["changed"])

    def claimed(self) -> Claimed:
        """:returns: a request that was sent, and takes its answer itself"""
        carrier = Claimed()
        self.assertIs(self.agent.request(b"PUT", URI, None, carrier), carrier)
        self.assertTrue(carrier.claim())
        return carrier

    def test_claimed(self) -> None:
        """Who brings along what carries the request takes the answer without a response and callbacks."""
        carrier = self.claimed()
        peer = self.network.accept()
        self.assertTrue(peer.received().endswith(b"\r\nContent-Length: 4\r\n\r\nbody"))
        self.assertEqual(carrier.told, [])
        peer.send(ANSWER)
        self.assertEqual([failure.value.args for failure in carrier.told], [(200, b"hello", False)])
        self.assertIsNone(self.successResultOf(carrier))
        carrier.cancel()
        self.assertEqual(len(carrier.told), 1)

    def test_claimed_and_failed(self) -> None:
        """So it is told of a call that fails, is given up before there is a connection, and after."""
        for end in (
            lambda answer: self.network.accept().end(),
            lambda answer: (self.network.accept(), answer.cancel()),
            lambda answer: answer.cancel(),
        ):
            carrier = self.claimed()
            end(carrier)
            [failure] = carrier.told
            self.assertTrue(failure.check(ResponseNeverReceived, ConnectingCancelledError), failure)
            self.assertIsNone(self.successResultOf(carrier))

    def test_not_claimed(self) -> None:
        """Nobody gets past the callbacks of an Agent in between, or takes an answer that has come."""
        carrier = Claimed()
        answer = self.agent.request(b"PUT", URI, None, carrier)
        answer.addCallback(lambda response: response.code)
        self.assertFalse(carrier.claim())
        peer = self.network.accept()
        peer.send(ANSWER)
        self.assertEqual((self.successResultOf(answer), carrier.told), (200, []))
        carrier = Claimed()
        self.agent.request(b"PUT", URI, None, carrier)
        peer.send(ANSWER)
        self.assertFalse(carrier.claim())
        self.assertEqual((self.successResultOf(carrier).code, carrier.told), (200, []))

    def test_sent_again(self) -> None:
        """An Agent in between may send a request twice: what carries the first is only the body of the second."""
        carrier = Claimed()
        self.agent.request(b"PUT", URI, None, carrier)
        again = self.agent.request(b"PUT", URI, None, carrier)
        self.assertIsNot(again, carrier)
        for answer in (carrier, again):
            self.network.accept().send(ANSWER)
            self.assertEqual(self.successResultOf(answer).code, 200)

    def test_a_browser_above(self) -> None:
        """It is an ordinary agent to treq's own client, which wraps, follows and inflates."""
        result: Any = HTTPClient(self.agent).put("http://127.0.0.1:5000/")
        peer = self.network.accept()
        moved = b"HTTP/1.1 303 -\r\nLocation: /websocket\r\nContent-Length: 0\r\n\r\n"
        packed = gzip.compress(b"hello")
        peer.send(moved)
        self.assertIn(b"GET /websocket HTTP/1.1\r\n", peer.received())
        peer.send(OK + b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(packed) + packed)
        self.assertEqual(self.successResultOf(self.successResultOf(result).content()), b"hello")

    def test_encoded_headers(self) -> None:
        """Lines that are ready go out as they are."""
        self.agent.request(b"DELETE", URI, EncodedHeaders(b"ws-id: a-1\r\nB:  c\r\n"))
        self.assertEqual(
            self.network.accept().received(),
            b"DELETE /websocket?a=b HTTP/1.1\r\nHost: 127.0.0.1:5000\r\nws-id: a-1\r\nB:  c\r\n\r\n",
        )

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

    def test_where(self) -> None:
        """IPv6 literals and names."""
        for uri, host, line in (
            (b"http://[2001:db8::1]/x", "2001:db8::1", b"Host: [2001:db8::1]\r\n"),
            (b"http://api.test/x", "127.0.0.1", b"Host: api.test\r\n"),
        ):
            self.agent.request(b"PUT", uri)
            found, port, factory, *_ = self.network.reactor.tcpClients[-1]
            self.assertEqual((found, port), (host, 80))
            self.assertIn(line, Peer(factory.buildProtocol(None)).received())

    def test_targets(self) -> None:
        """URIs are taken apart: path and query, the host with its port if that is not the usual one."""
        for uri, line in (
            (b"http://example.com", b"PUT / HTTP/1.1\r\nHost: example.com\r\n"),
            (b"http://example.com:80/a;b?c#d", b"PUT /a;b?c HTTP/1.1\r\nHost: example.com\r\n"),
            (b"https://example.com:443/", b"PUT / HTTP/1.1\r\nHost: example.com\r\n"),
            (b"https://example.com:80/", b"PUT / HTTP/1.1\r\nHost: example.com:80\r\n"),
            (b"http://[::1]:8000/a", b"PUT /a HTTP/1.1\r\nHost: [::1]:8000\r\n"),
        ):
            self.assertEqual(self.agent.target(uri).encode(b"PUT", None, b""), line + b"Content-Length: 0\r\n\r\n")
        for wrong in (b"http://example.com/\r\nA: b", b"http://example.com/a b", b"http://example.com/\xff"):
            self.assertRaises(ValueError, self.agent.target, wrong)
        self.assertRaises(SchemeNotSupported, self.agent.target, b"ftp://example.com/")
        self.assertRaises(ValueError, self.agent.target(URI).encode, b"PUT /x HTTP/1.1\r\nA:", None, b"")

    def test_origins(self) -> None:
        """URIs of one origin share their connections, others do not."""
        origin = self.agent.target(URI).origin
        self.assertIs(self.agent.target(b"http://127.0.0.1:5000/other").origin, origin)
        for other in (b"http://127.0.0.1:5001/", b"http://localhost:5000/", b"https://127.0.0.1:5000/"):
            self.assertIsNot(self.agent.target(other).origin, origin)
