"""Requests and their answers on pooled connections: reuse, repetition, bounds, failures."""

from __future__ import annotations

import gc
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

from twisted.internet import error as errors
from twisted.internet import reactor as _reactor
from twisted.internet.defer import CancelledError, Deferred, gatherResults
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.ssl import PrivateCertificate
from twisted.internet.task import deferLater
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase, TestCase
from twisted.web.client import ResponseFailed, ResponseNeverReceived
from twisted.web.http_headers import Headers
from twisted.web.iweb import IResponse

from tests.agents import ANSWER, OK, URI, Collected, Content, Network, Ours, Peer
from tests.certificates import self_signed
from tests.unit.net.http1.test_parser import slices
from wsaas.callbacks.client import ApiClient
from wsaas.callbacks.failures import why
from wsaas.errors import NoAnswer, NotSent
from wsaas.net.client_tls import ApiTrust, NoHandshake
from wsaas.net.http1.agent import PersistentAgent
from wsaas.net.http1.messages import BodyCut
from wsaas.net.http1.pool import KEEP_IDLE, Origin, PooledConnection

reactor: Any = _reactor

METHODS = (b"POST", b"PUT", b"DELETE", b"GET")
MAX_BODY = 1000


class ExchangeTests(SynchronousTestCase):
    """What becomes of a request."""

    def setUp(self) -> None:
        self.network = Network()
        self.ours = Ours(self.network)

    def connected(self) -> Peer:
        """:returns: a connection that is idle"""
        answer = self.ours.ask(b"GET", None)
        peer = self.network.accept()
        peer.received()
        peer.send(ANSWER)
        self.successResultOf(answer)
        return peer

    def test_request(self) -> None:
        """A request has its line, its host, its headers and its body with a length."""
        self.ours.ask(b"PUT", b"body", [(b"Ws-Id", b"a-1")])
        head, _, body = self.network.accept().received().partition(b"\r\n\r\n")
        lines = head.split(b"\r\n")
        self.assertEqual(lines[0], b"PUT /websocket?a=b HTTP/1.1")
        self.assertEqual(sorted(lines[1:]), [b"Content-Length: 4", b"Host: 127.0.0.1:5000", b"Ws-Id: a-1"])
        self.assertEqual(body, b"body")

    def test_no_body(self) -> None:
        """PUT and POST without a body say so; other methods need not."""
        for method in METHODS:
            answer = self.ours.ask(method, None)
            peer = self.network.accept()
            head = peer.received()
            self.assertTrue(head.endswith(b"\r\n\r\n"))
            self.assertEqual(b"Content-Length: 0" in head, method in (b"PUT", b"POST"), method)
            peer.send(OK + b"Connection: close\r\nContent-Length: 0\r\n\r\n")
            self.assertEqual(self.successResultOf(answer), (200, {}, b""))

    def test_answers(self) -> None:
        """Answers of each shape are understood."""
        peer = self.connected()
        for stream, expected in (
            (ANSWER, (200, {b"ws-state": [b"s"]}, b"hello")),
            (OK + b"Transfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\nWs-Close: 1000\r\n\r\n", (200, {}, b"hi")),
            (b"HTTP/1.1 204 No Content\r\nA: 1\r\nA: 2\r\n\r\n", (204, {b"a": [b"1", b"2"]}, b"")),
            (b"HTTP/1.1 100 Continue\r\n\r\n" + ANSWER, (200, {b"ws-state": [b"s"]}, b"hello")),
            (b"HTTP/1.0 404 Not Found\r\nContent-Length: 1\r\n\r\nx", (404, {}, b"x")),
        ):
            for step in (len(stream), 7, 1):
                answer = self.ours.ask(b"PUT", b"x")
                if self.network.attempts:
                    peer = self.network.accept()
                peer.send(*slices(stream, range(0, len(stream), step)))
                self.assertEqual(self.successResultOf(answer), expected)

    def test_until_the_end(self) -> None:
        """A body may end where the connection ends."""
        for status in (b"HTTP/1.1 200 OK\r\n\r\n", b"HTTP/1.0 200 OK\r\n\r\n"):
            answer = self.ours.ask(b"PUT", b"x")
            peer = self.network.accept()
            peer.send(status + b"all ", b"of it")
            peer.end()
            self.assertEqual(self.successResultOf(answer), (200, {}, b"all of it"))

    def test_answer_to_head(self) -> None:
        """An answer to HEAD has no body."""
        answer = self.ours.ask(b"HEAD", None)
        self.network.accept().send(OK + b"Content-Length: 5\r\nA: b\r\n\r\n")
        self.assertEqual(self.successResultOf(answer), (200, {b"a": [b"b"]}, b""))

    def test_kept(self) -> None:
        """The next request goes out on the same connection."""
        peer = self.connected()
        answer = self.ours.ask(b"PUT", b"2")
        self.assertEqual(self.network.attempts, 0)
        self.assertTrue(peer.received().startswith(b"PUT "))
        peer.send(b"HTTP/1.1 500 No\r\nContent-Length: 1\r\n\r\n2")
        self.assertEqual(self.successResultOf(answer), (500, {}, b"2"))

    def test_not_shared(self) -> None:
        """One request at a time."""
        peer = self.connected()
        self.ours.ask(b"PUT", b"1")
        self.ours.ask(b"PUT", b"2")
        self.assertEqual((self.network.attempts, peer.received().count(b"PUT ")), (1, 1))

    def test_closing(self) -> None:
        """An answer with ``Connection: close`` is the last."""
        answer = self.ours.ask(b"PUT", b"1")
        peer = self.network.accept()
        peer.send(OK + b"Connection: close\r\nContent-Length: 0\r\n\r\n")
        self.successResultOf(answer)
        self.assertTrue(peer.socket.over)
        self.ours.ask(b"PUT", b"2")
        self.assertEqual(self.network.attempts, 1)

    def test_idle_time(self) -> None:
        """An idle connection is kept for so long, and not longer: shorter than common servers keep theirs (§2.3)."""
        self.assertEqual(KEEP_IDLE, 1.5)
        peer = self.connected()
        self.network.reactor.advance(KEEP_IDLE - 0.01)
        self.assertFalse(peer.socket.over)
        self.network.reactor.advance(0.02)
        self.assertTrue(peer.socket.over)
        self.ours.ask(b"PUT", b"1")
        self.assertEqual(self.network.attempts, 1)

    def test_ended_while_idle(self) -> None:
        """A connection that ended while it was idle is not used."""
        peer = self.connected()
        peer.end()
        self.ours.ask(b"PUT", b"1")
        self.assertEqual(self.network.attempts, 1)

    def test_unasked(self) -> None:
        """What comes while a connection is idle is nobody's answer, and the connection's end."""
        peer = self.connected()
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nwrong")
        self.assertTrue(peer.socket.over)
        peer.end()
        answer = self.ours.ask(b"PUT", b"1")
        fresh = self.network.accept()
        fresh.send(ANSWER)
        self.assertEqual(self.successResultOf(answer), (200, {b"ws-state": [b"s"]}, b"hello"))

    def test_swallowed(self) -> None:
        """Whatever a kept connection swallowed is repeated at once on a fresh one, the same bytes."""
        for error in (ConnectionDone(), ConnectionLost()):
            for method in METHODS:
                peer = self.connected()
                answer = self.ours.ask(method, None if method == b"GET" else b"body", [(b"Ws-Id", b"a-1")])
                peer.received()
                peer.end(error)
                self.assertNoResult(answer)
                fresh = self.network.accept()
                head, _, body = fresh.received().partition(b"\r\n\r\n")
                self.assertTrue(head.startswith(method))
                self.assertIn(b"Ws-Id: a-1", head)
                self.assertEqual(body, b"" if method == b"GET" else b"body")
                fresh.send(OK + b"Connection: close\r\nContent-Length: 0\r\n\r\n")
                self.assertEqual(self.successResultOf(answer), (200, {}, b""))

    def test_repeated_once(self) -> None:
        """It is repeated once."""
        peer = self.connected()
        answer = self.ours.ask(b"PUT", b"body")
        peer.end()
        self.network.accept().end()
        self.failureResultOf(answer, ResponseNeverReceived)
        self.assertEqual(self.network.attempts, 0)

    def test_not_repeated(self) -> None:
        """What a fresh connection swallowed is not repeated, nor what had the first byte of an answer."""
        answer = self.ours.ask(b"PUT", b"body")
        self.network.accept().end()
        self.failureResultOf(answer, ResponseNeverReceived)
        for begun in (b"H", b"HTTP/1.1 20", OK, OK + b"A: b\r\n", b"HTTP/1.1 100 -\r\n\r\n"):
            peer = self.connected()
            answer = self.ours.ask(b"PUT", b"body")
            peer.send(begun)
            peer.end()
            self.failureResultOf(answer, ResponseFailed)
            self.assertEqual(self.network.attempts, 0)

    def test_cut_short(self) -> None:
        """An answer that is not complete is none."""
        for stream in (b"HTTP/1.1 200", OK, OK + b"Content-Length: 3\r\n\r\nab"):
            answer = self.ours.ask(b"PUT", b"body")
            peer = self.network.accept()
            peer.send(stream)
            peer.end()
            self.failureResultOf(answer, ResponseFailed)

    def test_malformed(self) -> None:
        """What is no HTTP is a failure, and the connection's end."""
        answer = self.ours.ask(b"PUT", b"body")
        peer = self.network.accept()
        peer.send(b"220 mail.example ESMTP\r\n")
        self.assertTrue(peer.socket.over)
        peer.end()
        self.failureResultOf(answer, ResponseFailed)
        self.assertEqual(self.network.attempts, 0)

    def test_refused(self) -> None:
        """Where there is no connection, the reason is told."""
        answer = self.ours.ask(b"PUT", b"body")
        self.network.refuse()
        self.failureResultOf(answer, errors.ConnectionRefusedError)

    def test_cancelled_while_connecting(self) -> None:
        """Who cancels does not wait for the connection."""
        answer = self.ours.ask(b"PUT", b"body")
        answer.cancel()
        self.failureResultOf(answer, errors.ConnectingCancelledError)
        self.assertTrue(self.network.reactor.connectors[0].stoppedConnecting)

    def test_cancelled(self) -> None:
        """Who cancels does not wait for the answer, nor does anybody else get it."""
        for begun, error in ((b"", ResponseNeverReceived), (b"HTTP/1.1 2", ResponseFailed)):
            answer = self.ours.ask(b"PUT", b"body")
            peer = self.network.accept()
            peer.send(*[begun] if begun else [])
            answer.cancel()
            failure = self.failureResultOf(answer, error)
            self.assertTrue(failure.value.reasons[0].check(CancelledError))
            self.assertTrue(peer.socket.disconnected)
            peer.end()
            self.assertEqual(self.network.attempts, 0)

    def test_cancelled_on_kept_connection(self) -> None:
        """Nor is it repeated."""
        peer = self.connected()
        answer = self.ours.ask(b"PUT", b"body")
        answer.cancel()
        self.failureResultOf(answer, ResponseNeverReceived)
        self.assertTrue(peer.socket.disconnected)
        peer.end()
        self.assertEqual(self.network.attempts, 0)

    def test_called_from_answer(self) -> None:
        """An answer may lead to the next request at once."""
        answers = []

        def again(answer: Any) -> Any:
            answers.append(answer)
            return self.ours.ask(b"PUT", b"2")

        answer = self.ours.ask(b"PUT", b"1").addCallback(again)
        peer = self.network.accept()
        peer.received()
        peer.send(ANSWER)
        self.assertEqual((peer.received()[-1:], self.network.attempts), (b"2", 0))
        peer.send(OK + b"Content-Length: 6\r\n\r\nsecond")
        self.assertEqual(self.successResultOf(answer), (200, {}, b"second"))
        self.assertFalse(peer.socket.over)

    def test_renew(self) -> None:
        """Nothing more is sent on connections that are there; those in use end their requests first."""
        idle = self.connected()
        used = self.ours.ask(b"PUT", b"1"), idle
        waiting = self.ours.ask(b"PUT", b"2"), self.network.accept()
        waiting[1].received()
        waiting[1].send(ANSWER)
        self.successResultOf(waiting[0])
        self.ours.agent.renew()
        self.network.reactor.advance(0)
        self.assertTrue(waiting[1].socket.over)
        waiting[1].end()
        answer, peer = used
        self.assertFalse(peer.socket.over)
        peer.received()
        peer.send(ANSWER)
        self.successResultOf(answer)
        self.network.reactor.advance(0)
        self.assertTrue(peer.socket.over)
        peer.end()
        # A new one is kept as usual.
        fresh = self.connected()
        answer = self.ours.ask(b"PUT", b"3")
        self.assertEqual(self.network.attempts, 0)
        self.assertTrue(fresh.received().endswith(b"3"))

    def test_close(self) -> None:
        """Idle connections are closed at the end, and waited for."""
        peer = self.connected()
        closed = self.ours.agent.close()
        self.assertNoResult(closed)
        self.assertTrue(peer.socket.over)
        peer.end()
        self.assertIsNone(self.successResultOf(closed))
        self.assertEqual(self.network.reactor.getDelayedCalls(), [])


class BoundedTests(SynchronousTestCase):
    """One URI, and answers with bounded bodies."""

    def setUp(self) -> None:
        self.network = Network()
        self.ours = Ours(self.network, MAX_BODY)
        self.agent = self.ours.agent

    @property
    def origin(self) -> Origin:
        """Where the connections of all calls are."""
        return cast(Origin, self.agent.target(URI).origin)

    def call(self, body: bytes | None = b"body") -> Deferred[Any]:
        """:returns: what a PUT brings"""
        return self.ours.ask(b"PUT", body, [(b"Ws-Id", b"a-1")])

    def connected(self, count: int = 1) -> list[Peer]:
        """:returns: connections, all of them idle"""
        answers = [self.call() for _ in range(count)]
        peers = [self.network.accept() for _ in range(count)]
        for answer, peer in zip(answers, peers, strict=True):
            peer.received()
            peer.send(ANSWER)
            self.successResultOf(answer)
        return peers

    def test_one_write(self) -> None:
        """A request is one write, head and body."""
        self.call()
        head = b"PUT /websocket?a=b HTTP/1.1\r\nHost: 127.0.0.1:5000\r\nWs-Id: a-1\r\nContent-Length: 4\r\n\r\n"
        self.assertEqual(self.network.accept().socket.writes, [head + b"body"])

    def test_body_too_long(self) -> None:
        """A body that is too long ends the answer while it comes, and the connection; nothing of it is delivered."""
        answer = self.call()
        peer = self.network.accept()
        peer.send(OK + b"Content-Length: 1000000\r\n\r\n", b"x" * MAX_BODY)
        self.assertNoResult(answer)
        peer.send(b"x")
        self.failureResultOf(answer, BodyCut)
        self.assertTrue(peer.socket.disconnected)

    def test_surplus(self) -> None:
        """A second answer behind the first is nobody's, and nothing is sent on that connection again."""
        first = self.call()
        peer = self.network.accept()
        peer.send(ANSWER + ANSWER)
        self.successResultOf(first)
        self.assertTrue(peer.socket.over)
        second = self.call()
        self.assertNoResult(second)
        self.assertEqual(self.network.attempts, 1)

    def test_unasked(self) -> None:
        """Nor on one that said something while it was idle, not even before it is gone."""
        (peer,) = self.connected()
        peer.send(b"\n")
        self.assertTrue(peer.socket.disconnected)
        answer = self.call()
        self.assertEqual(self.network.attempts, 1)
        peer.protocol.dataReceived(ANSWER)
        peer.end()
        self.assertNoResult(answer)

    def test_cancelled_unheard(self) -> None:
        """The answer to a call that was cancelled reaches nobody, even if it still comes."""
        (peer,) = self.connected()
        cancelled = self.call()
        cancelled.cancel()
        self.failureResultOf(cancelled, ResponseNeverReceived)
        answer = self.call()
        peer.protocol.dataReceived(ANSWER)
        self.assertNoResult(answer)

    def test_reset(self) -> None:
        """A body that ends where the connection breaks is not complete."""
        answer = self.call()
        peer = self.network.accept()
        peer.send(OK + b"\r\nall of")
        peer.end(ConnectionLost())
        self.failureResultOf(answer, ResponseFailed)

    def test_repeat_refused(self) -> None:
        """What was sent once is never said not to have been sent, though the repeat was not."""
        for result in ("refused", "ended"):
            (peer,) = self.connected()
            answer = self.call()
            peer.end(ConnectionLost())
            if result == "refused":
                self.network.refuse()
            else:
                self.network.accept().end()
            failure = self.failureResultOf(answer, ResponseNeverReceived)
            first, second = failure.value.reasons
            self.assertTrue(first.check(ConnectionLost))
            self.assertIn("repeated", str(second.value))

    def test_repeat_cancelled(self) -> None:
        """Nor if somebody cancels while the repeat waits for its connection."""
        (peer,) = self.connected()
        answer = self.call()
        peer.end()
        answer.cancel()
        self.failureResultOf(answer, ResponseNeverReceived)

    def test_repeat_refused_by_tls(self) -> None:
        """Nor if it was TLS that failed, which alone would tell that the API has seen nothing."""
        error = NoHandshake([("SSL routines", "", "wrong version number")])
        for kept, kind in ((False, NotSent), (True, NoAnswer)):
            peers = self.connected() if kept else []
            answer = self.call()
            for peer in peers:
                peer.end()
            self.network.accept().end(error)
            self.assertIs(type(why(self.failureResultOf(answer, ResponseNeverReceived), False, True)), kind)

    def test_repeated_on_a_fresh_one(self) -> None:
        """Not on another that is idle, which may have ended just so."""
        first, second = self.connected(2)
        answer = self.call()
        second.end(ConnectionLost())
        self.assertEqual((self.network.attempts, first.received()), (1, b""))
        self.network.accept().send(ANSWER)
        self.successResultOf(answer)

    def test_cancelled_while_it_is_repeated(self) -> None:
        """The repetition ends too."""
        (peer,) = self.connected()
        answer = self.call()
        peer.end()
        fresh = self.network.accept()
        answer.cancel()
        self.failureResultOf(answer, ResponseNeverReceived)
        self.assertTrue(fresh.socket.disconnected)

    def test_repeat_cut_short(self) -> None:
        """A repeat whose answer is cut short fails as any call."""
        (peer,) = self.connected()
        answer = self.call()
        peer.end()
        fresh = self.network.accept()
        fresh.send(b"HTTP/1.1 200 OK\r\n")
        fresh.end()
        self.failureResultOf(answer, ResponseFailed)

    def test_other_connect_failures(self) -> None:
        """Whatever keeps a connection from being made: the call was not sent."""
        answer = self.call()
        factory = self.network._attempt()
        factory.clientConnectionFailed(None, Failure(ValueError("no such thing")))
        self.assertIn("no such thing", self.failureResultOf(answer, NotSent).getErrorMessage())

    def test_connected_all_the_same(self) -> None:
        """A connection that comes about though nobody wants it any more is not left open."""
        made: list[Peer] = []

        class Stubborn:
            def connect(self, factory: Any) -> Deferred[Any]:
                def canceller(connecting: Deferred[Any]) -> None:
                    made.append(Peer(factory.buildProtocol(None)))
                    connecting.callback(made[-1].protocol)

                return Deferred(canceller)

        for kept in (False, True):
            peers = self.connected() if kept else []
            self.origin._endpoint, endpoint = Stubborn(), self.origin._endpoint  # type: ignore[assignment]  # as much of one as is needed
            answer = self.call()
            for peer in peers:
                peer.end()
            answer.cancel()
            self.failureResultOf(answer, ResponseNeverReceived if kept else CancelledError)
            self.assertTrue(made[-1].socket.disconnected)
            self.origin._endpoint = endpoint

    def test_most_recent_first(self) -> None:
        """The connection that was idle for the shortest time is used, so that the others can go."""
        first, second = self.connected(2)
        self.call()
        self.assertEqual((first.received(), second.received()[:3]), (b"", b"PUT"))

    def test_max_idle(self) -> None:
        """No more than so many idle connections are kept, the most recent."""
        peers = self.connected(6)
        self.assertEqual([peer.socket.over for peer in peers], [True, True, False, False, False, False])

    def test_one_timer(self) -> None:
        """However many connections are idle, one timer runs, and each connection has its time."""
        clock = self.network.reactor
        (first,) = self.connected()
        clock.advance(1)
        held = self.call()
        (second,) = self.connected()
        first.send(ANSWER)
        self.successResultOf(held)
        self.assertEqual(len(clock.getDelayedCalls()), 1)
        clock.advance(1)
        self.assertFalse(first.socket.over or second.socket.over)
        self.assertEqual(len(clock.getDelayedCalls()), 1)
        clock.advance(KEEP_IDLE - 0.99)
        self.assertTrue(first.socket.over and second.socket.over)
        # For those that leave, as for those that stay.
        self.assertEqual(len(clock.getDelayedCalls()), 1)
        first.end()
        second.end()
        clock.pump([KEEP_IDLE, KEEP_IDLE])
        self.assertEqual(clock.getDelayedCalls(), [])

    def test_will_not_leave(self) -> None:
        """A connection that does not end though it was asked to is ended, after as long as one may be idle."""
        answer = self.call()
        peer = self.network.accept()
        peer.send(OK + b"Connection: close\r\nContent-Length: 0\r\n\r\n")
        self.successResultOf(answer)
        self.assertEqual((peer.socket.disconnecting, peer.socket.disconnected), (True, False))
        self.network.reactor.advance(KEEP_IDLE + 0.1)
        self.assertTrue(peer.socket.disconnected)
        peer.end()
        self.network.reactor.pump([KEEP_IDLE, KEEP_IDLE])
        self.assertEqual(self.network.reactor.getDelayedCalls(), [])

    def test_after_close(self) -> None:
        """After the end calls still go out, but no connection is kept."""
        self.assertIsNone(self.successResultOf(self.agent.close()))
        answer = self.call()
        peer = self.network.accept()
        peer.send(ANSWER)
        self.successResultOf(answer)
        self.assertTrue(peer.socket.over)
        peer.end()
        self.assertEqual(self.network.reactor.getDelayedCalls(), [])

    def test_written_at_once(self) -> None:
        """Where a transport can send at once it does; what does not fit is written as usual."""
        for taken, written in ((None, b""), (3, b"rest"), (BrokenPipeError(), b"all")):
            answer = self.call()
            peer = self.network.accept()
            peer.send(ANSWER)
            self.successResultOf(answer)
            peer.received()
            connection = self.origin._idle[-1]
            sent: list[bytes] = []

            def write_now(data: bytes, taken: Any = taken, sent: list[bytes] = sent) -> Any:
                sent.append(data)
                if isinstance(taken, Exception):
                    raise taken
                return len(data) if taken is None else taken

            connection.write_now = write_now
            answer = self.call()
            (data,) = sent
            expected = {b"": b"", b"rest": data[3:], b"all": data}[written]
            self.assertEqual(peer.received(), expected)
            if written:
                self.assertIsNone(connection.write_now)
            peer.send(OK + b"Connection: close\r\nContent-Length: 0\r\n\r\n")
            self.successResultOf(answer)
            peer.end()


class Server(Protocol):
    """An API on a real socket."""

    factory: Any
    _data = b""

    def dataReceived(self, data: bytes) -> None:
        self._data += data
        head, found, body = self._data.partition(b"\r\n\r\n")
        if not found or len(body) < int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]):
            return
        self._data = b""
        self.factory.requests.append((id(self), len(body)))
        self.factory.answer(self.transport, body)


def tell_length(transport: Any, body: bytes) -> None:
    """Answer with the length of the body."""
    transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n%9d" % len(body))


def put(agent: PersistentAgent, uri: bytes, body: bytes) -> Deferred[bytes]:
    """:returns: fires with the body of the answer"""

    def read(response: IResponse) -> bytes:
        collected = Collected()
        response.deliverBody(collected)
        return collected.data

    content: Any = Content(body)
    return agent.request(b"PUT", uri, None, content).addCallback(read)


class Api(Factory[Server]):
    """An API that answers with the length of the body, or as a test says."""

    protocol = Server

    def __init__(self) -> None:
        #: Which connection, and how long the body was.
        self.requests: list[tuple[int, int]] = []
        self.answer: Callable[[Any, bytes], None] = tell_length


class SocketsTests(TestCase):
    """On real sockets, with and without TLS."""

    def setUp(self) -> None:
        self.factory = Api()

    def agent_of(self, ca: Path | None = None) -> PersistentAgent:
        """:returns: an agent, closed in the end"""
        agent = PersistentAgent(reactor, ApiTrust(ca, None), 8, 5, MAX_BODY)
        self.addCleanup(agent.close)
        return agent

    def listen(self) -> bytes:
        """:returns: the URI of a server without TLS"""
        port = reactor.listenTCP(0, self.factory, interface="127.0.0.1")
        self.addCleanup(port.stopListening)
        return b"http://127.0.0.1:%d/" % port.getHost().port

    def listen_tls(self, name: str = "localhost") -> tuple[bytes, Path]:
        """:returns: the URI of a server with TLS, and the file of its certificate"""
        certificate, key = self_signed(name)
        options = PrivateCertificate.loadPEM(certificate + key).options()
        port = reactor.listenSSL(0, self.factory, options, interface="127.0.0.1")
        self.addCleanup(port.stopListening)
        path = Path(self.mktemp())
        path.write_bytes(certificate)
        return b"https://localhost:%d/" % port.getHost().port, path

    async def test_many(self) -> None:
        """Calls one after the other share a connection, calls at once do not; nothing is mixed up."""
        agent, uri = self.agent_of(), self.listen()

        async def some(length: int) -> None:
            for number in range(20):
                body = b"x" * (length * 100 + number)
                answer = await put(agent, uri, body)
                self.assertEqual(int(answer), len(body))

        await gatherResults([Deferred.fromCoroutine(some(length)) for length in range(5)])
        self.assertIsNotNone(agent.target(uri).origin._idle[0].write_now)
        self.assertEqual(len({connection for connection, _ in self.factory.requests}), 5)

    async def test_long_bodies(self) -> None:
        """A body that does not fit into the kernel at once arrives all the same."""
        agent, uri = self.agent_of(), self.listen()
        for length in (20_000_000, 10):
            answer = await put(agent, uri, b"x" * length)
            self.assertEqual(int(answer), length)

    async def test_tls(self) -> None:
        """A trusted server is believed, and its connection kept."""
        uri, certificate = self.listen_tls()
        agent = self.agent_of(certificate)
        for _ in range(3):
            answer = await put(agent, uri, b"body")
            self.assertEqual(int(answer), 4)
            self.assertIsNone(agent.target(uri).origin._idle[0].write_now)
        self.assertEqual(len({connection for connection, _ in self.factory.requests}), 1)

    async def test_no_trust(self) -> None:
        """A server that is not trusted, or has another name, gets nothing, and the gateway can tell."""
        for name, trusted in (("localhost", False), ("example.com", True)):
            uri, certificate = self.listen_tls(name)
            agent = self.agent_of(certificate if trusted else None)
            client = ApiClient(agent, reactor, 5, MAX_BODY)
            error: Any = await self.assertFailure(client.put(uri.decode("ascii"), b"body", headers=Headers()), NotSent)
            self.assertIn("certificate", error.reason)
            self.assertEqual(self.factory.requests, [])

    async def test_tls_cut_short(self) -> None:
        """With TLS a connection that just ends is no end of a body: anybody could have cut it."""

        def answer(transport: Any, _: bytes) -> None:
            transport.write(b"HTTP/1.1 200 OK\r\n\r\nhalf of")
            reactor.callLater(0.02, transport.abortConnection)

        self.factory.answer = answer
        uri, certificate = self.listen_tls()
        agent = self.agent_of(certificate)
        await self.assertFailure(put(agent, uri, b""), ResponseFailed)

    async def test_tls_until_the_end(self) -> None:
        """One that closes TLS in order is."""

        def answer(transport: Any, _: bytes) -> None:
            transport.write(b"HTTP/1.1 200 OK\r\n\r\nall of it")
            transport.loseConnection()

        self.factory.answer = answer
        uri, certificate = self.listen_tls()
        agent = self.agent_of(certificate)
        result = await put(agent, uri, b"")
        self.assertEqual(result, b"all of it")

    async def test_server_that_closes(self) -> None:
        """A server may end the connection after each answer, with a word or without."""
        agent, uri = self.agent_of(), self.listen()
        for head in (b"Connection: close\r\n", b""):

            def answer(transport: Any, _: bytes, head: bytes = head) -> None:
                transport.write(b"HTTP/1.1 200 OK\r\n" + head + b"Content-Length: 2\r\n\r\nhi")
                transport.loseConnection()

            self.factory.answer = answer
            for _ in range(5):
                result = await put(agent, uri, b"body")
                self.assertEqual(result, b"hi")

    async def test_reset_when_idle(self) -> None:
        """A kept connection that the server has reset costs no call."""
        agent, uri = self.agent_of(), self.listen()
        transports: list[Any] = []

        def answer(transport: Any, body: bytes) -> None:
            transports.append(transport)
            tell_length(transport, body)

        self.factory.answer = answer
        for number in range(1, 6):
            result = await put(agent, uri, b"x" * number)
            self.assertEqual(int(result), number)
            # In the same turn of the reactor: the agent cannot know yet.
            transports[-1].abortConnection()

    async def test_nobody_listens(self) -> None:
        """Where nobody listens the call was not sent."""
        port = reactor.listenTCP(0, self.factory, interface="127.0.0.1")
        uri = b"http://localhost:%d/" % port.getHost().port
        await port.stopListening()
        agent = self.agent_of()
        await self.assertFailure(put(agent, uri, b""), errors.ConnectError)

    async def test_no_garbage(self) -> None:
        """Connections go when they end, without the garbage collector."""
        agent, uri = self.agent_of(), self.listen()
        gc.collect()
        gc.disable()
        self.addCleanup(gc.enable)
        before = sum(isinstance(one, PooledConnection) for one in gc.get_objects())
        await gatherResults([put(agent, uri, b"") for _ in range(5)])
        await agent.close()
        await deferLater(reactor, 0, lambda: None)
        self.assertEqual(sum(isinstance(one, PooledConnection) for one in gc.get_objects()), before)
